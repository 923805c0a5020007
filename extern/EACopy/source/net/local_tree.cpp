// Where a pull writes to; see local_tree.h.

#include "local_tree.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "../file_copy.h"
#include "messages.h"
#include "store.h"

namespace eacopy {
namespace net {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;

namespace {

Status OpenRoot(const std::string& path, Share* share) {
  auto root = std::make_shared<Directory>();
  Status status = platform::OpenDirectory(Directory::Paths(), path.empty() ? "." : path.c_str(), true, root.get());
  if (!status.ok()) {
    return Status::FromErrno(status.error_number() == ENOTDIR ? EEXIST : status.error_number(),
                             Operation::kMakeDirectory);
  }
  RemoveDeadFilesIn(*root);  // of a pull before this one that was killed
  share->directory = path;
  share->root = std::move(root);
  return Status();
}

bool EndsWithSeparator(const std::string& path) {
  return !path.empty() && (path.back() == '/' || path.back() == platform::kSeparator);
}

// The directory part of a plain path, without the last separators; "" when there is none.
std::string DirectoryOf(std::string path) {
  while (EndsWithSeparator(path)) path.pop_back();
  while (!path.empty() && !EndsWithSeparator(path)) path.pop_back();
  while (path.size() > 1 && EndsWithSeparator(path)) path.pop_back();
  return path;
}

Status MakeDirectories(const std::string& path, uint64_t* made) {
  Status status = platform::MakeDirectory(Directory::Paths(), path.c_str());
  if (status.error_number() == ENOENT) {
    const std::string parent = DirectoryOf(path);
    if (parent.empty() || parent.size() >= path.size()) return status;
    status = MakeDirectories(parent, made);
    if (!status.ok() && status.error_number() != EEXIST) return status;
    status = platform::MakeDirectory(Directory::Paths(), path.c_str());
  }
  if (status.ok()) ++*made;
  return status;
}

}  // namespace

Status LocalTree::OpenTree(const std::string& path, uint64_t* made) {
  Status status = MakeDirectories(path, made);
  if (!status.ok() && status.error_number() != EEXIST) return status;
  return OpenRoot(path, &share_);
}

Status LocalTree::OpenForFile(const std::string& path, std::string* name, uint64_t* made) {
  FileInfo info;
  if (platform::GetInfo(Directory::Paths(), path.c_str(), true, &info).ok() && info.type == FileType::kDirectory) {
    return OpenRoot(path, &share_);
  }
  // What a link leads to is replaced, and not the link.
  std::string final_path = path;
  if (platform::GetInfo(Directory::Paths(), path.c_str(), false, &info).ok() && info.type == FileType::kSymlink) {
    std::string resolved;
    if (platform::RealPath(path, &resolved)) final_path = std::move(resolved);
  }
  *name = EndsWithSeparator(final_path) ? std::string() : BaseName(final_path.c_str());
  if (name->empty()) return Status::FromErrno(ENOENT, Operation::kOpenDestination);
  if (platform::GetInfo(Directory::Paths(), final_path.c_str(), false, &info).ok() && info.type != FileType::kRegular &&
      info.type != FileType::kSymlink) {
    return Status::FromErrno(0, Operation::kSpecialFile);
  }
  const std::string directory = DirectoryOf(final_path);
  Status status = directory.empty() ? Status() : MakeDirectories(directory, made);
  if (!status.ok() && status.error_number() != EEXIST) return status;
  status = OpenRoot(directory, &share_);
  if (status.ok()) return status;
  return Status::FromErrno(status.error_number() == EEXIST ? ENOTDIR : status.error_number(),
                           Operation::kOpenDestination);
}

void LocalTree::Remember(RemoteEntry directory) {
  std::lock_guard<std::mutex> lock(mutex_);
  directories_.push_back(std::move(directory));
}

Status LocalTree::CompleteOne(const RemoteEntry& entry, bool durable) {
  OpenDirectories directories(share_);
  OpenDirectory directory;
  Status status = directories.Open(entry.path, &directory);
  if (!status.ok()) return status;
  NewMetadata metadata;
  metadata.mode = entry.mode;
  metadata.set_times = true;
  metadata.mtime = entry.mtime;
  metadata.atime = entry.atime;
  metadata.attributes = entry.attributes;
  metadata.durable = durable;
  return SetMetadata(*directory, metadata);
}

Status NoPossibleName() { return Status::Of(Kind::kInvalidArgument, Operation::kOpenDestination, EINVAL); }

bool IsThere(const Directory& parent, const char* name, const RemoteEntry& entry, int64_t step) {
  FileInfo info;
  if (!platform::GetInfo(parent, name, false, &info).ok()) return false;
  if (info.type != FileType::kRegular || info.size != entry.size) return false;
  if (!IsSameTime(info.modified, entry.mtime, step)) return false;
  if (entry.mode == kUnknownMode || info.mode == (entry.mode & 07777u)) return true;
  platform::Handle file;
  return platform::OpenSource(parent, name, false, &file, &info).ok() && info.links == 1 &&
         TakesMode(file, entry.mode & 07777u);
}

}  // namespace net
}  // namespace eacopy
