// Temporary files, renaming and removing.

#include "store.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include "../ranges.h"
#include "../temporary.h"
#include "digest.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

// Of an open file or directory.
template <typename Opened>
Status SetMetadataOf(const Opened& opened, const NewMetadata& metadata) {
  Status status;
  if (!metadata.attributes.empty()) status = WriteAttributes(opened.get(), metadata.attributes);
  if (status.ok() && metadata.mode != kUnknownMode) status = platform::SetMode(opened, metadata.mode & 07777u);
  if (status.ok() && metadata.set_times) {
    status = platform::SetTimes(opened, FromNanoseconds(metadata.atime), FromNanoseconds(metadata.mtime));
  }
  return status;
}

Status WithSpace(Status status, const platform::Handle& file, uint64_t needed) {
  if (status.kind() == Kind::kDiskFull) status.set_space(needed, platform::FreeSpace(file));
  return status;
}

// Walks down with one handle a level.
struct Level {
  platform::Directory directory;
  platform::Listing names;
  size_t next = 0;
};
constexpr size_t kDeepest = 256;

bool IsDirectory(const Level& level, size_t i) {
  FileType type = level.names.type(i);
  FileInfo info;
  if (type == FileType::kUnknown && platform::GetInfo(level.directory, level.names.name(i), false, &info).ok()) {
    type = info.type;
  }
  return type == FileType::kDirectory;
}

}  // namespace

Status TemporaryFile::Create(OpenDirectory parent, uint32_t mode) {
  for (int tries = 0;; ++tries) {
    name_ = TemporaryName();
    Status status = platform::CreateFile(*parent, name_.c_str(), mode, &handle_);
    if (!status.ok()) {
      if (status.error_number() == EEXIST && tries < 100) continue;
      return WithSpace(status, handle_, 0);
    }
    if (platform::LockTemporary(handle_)) break;
    handle_.Close();  // somebody who clears up took it for dead
  }
  parent_ = std::move(parent);
  size_ = written_ = 0;
  holes_.clear();
  return Status();
}

Status TemporaryFile::Write(std::string_view bytes) {
  Status status = platform::WriteRange(handle_, size_, bytes.data(), bytes.size());
  if (!status.ok()) return WithSpace(status, handle_, bytes.size());
  written_ = size_ += bytes.size();
  return Status();
}

Status TemporaryFile::Hole(uint64_t length) {
  if (length == 0) return Status();
  if (length > static_cast<uint64_t>(INT64_MAX) - size_) return Status::FromErrno(EFBIG, Operation::kTruncate, size_);
  if (!holes_.empty() && holes_.back().second == size_) {
    holes_.back().second += length;
  } else {
    holes_.emplace_back(size_, size_ + length);
  }
  size_ += length;
  return Status();
}

Status TemporaryFile::Share(const platform::Handle& source, uint64_t offset, uint64_t length, bool* shared) {
  Status status = platform::ShareRange(source, offset, handle_, size_, length, shared);
  if (!status.ok()) return WithSpace(status, handle_, length);
  if (*shared) written_ = size_ += length;
  return Status();
}

Status TemporaryFile::Verify(uint32_t crc) {
  platform::DropCached(handle_);
  std::vector<char> buffer(256 * 1024);
  uint32_t found = 0;
  uint64_t offset = 0;
  size_t hole = 0;
  while (offset < size_) {
    if (hole < holes_.size() && holes_[hole].first == offset) {
      offset = holes_[hole++].second;
      continue;
    }
    const uint64_t end = hole < holes_.size() ? holes_[hole].first : size_;
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(buffer.size(), end - offset));
    size_t got = 0;
    Status status = platform::ReadRange(handle_, Operation::kVerify, offset, buffer.data(), wanted, &got);
    if (status.ok() && got < wanted) status = Status::FromErrno(0, Operation::kVerify, offset + got);
    if (!status.ok()) return status;
    found = Crc32(found, buffer.data(), got);
    offset += got;
  }
  return found == crc ? Status() : Status::FromErrno(0, Operation::kVerify, 0);
}

Status TemporaryFile::Finish(const char* name, const NewMetadata& metadata) {
  if (size_ != written_) {
    Status status = platform::Truncate(handle_, size_);
    if (!status.ok()) return WithSpace(status, handle_, size_);
  }
  Status status = SetMetadataOf(handle_, metadata);
  if (!status.ok()) return status;
  if (metadata.durable) {
    status = platform::Sync(handle_);
    if (!status.ok()) return WithSpace(status, handle_, size_);
  }
  status = platform::Rename(*parent_, name_.c_str(), name);
  if (!status.ok()) return status;
  // Network file systems may tell only now that they could not write. The name is the new file's already.
  name_.clear();
  const int error_number = handle_.Close();
  if (error_number != 0) return Status::FromErrno(error_number, Operation::kClose);
  if (metadata.durable) status = platform::Sync(*parent_);
  parent_.reset();
  return status;
}

void TemporaryFile::Discard() {
  // Removed while it is still locked.
  if (handle_.valid() && !name_.empty()) platform::RemoveFile(*parent_, name_.c_str());
  name_.clear();
  handle_.Close();
  parent_.reset();
}

Status SetMetadata(const platform::Handle& file, const NewMetadata& metadata) { return SetMetadataOf(file, metadata); }

Status SetMetadata(const platform::Directory& directory, const NewMetadata& metadata) {
  Status status = SetMetadataOf(directory, metadata);
  return status.ok() && metadata.durable ? platform::Sync(directory) : status;
}

bool TakesMode(const platform::Handle& file, uint32_t mode) {
  FileInfo info;
  return platform::SetMode(file, mode).ok() && platform::GetInfo(file, &info).ok() && info.mode == mode;
}

Status ReadTarget(const platform::Directory& parent, const char* name, std::string* target) {
  Status status = platform::ReadLink(parent, name, target);
  if (platform::kSeparator != '/') std::replace(target->begin(), target->end(), platform::kSeparator, '/');
  return status;
}

// Windows has links to directories, which are to be told from others when they are made. Only what a relative target
// leads to is looked at: the path of a server would have this machine introduce itself there.
static bool LeadsToDirectory(const platform::Directory& parent, const std::string& target) {
  if (platform::kSeparator == '/' || target.empty() || target[0] == '/') return false;
  if (target.find_first_of("\\:") != std::string::npos) return false;
  FileInfo info;
  return platform::GetInfo(parent, target.c_str(), true, &info).ok() && info.type == FileType::kDirectory;
}

Status StoreSymlink(const platform::Directory& parent, const char* name, const std::string& target,
                    const NewMetadata& metadata, bool* same) {
  *same = false;
  std::string made = name;
  for (int tries = 0;; ++tries) {
    Status status = platform::MakeSymlink(target, parent, made.c_str(), LeadsToDirectory(parent, target));
    if (status.error_number() == EEXIST && tries < kTemporaryTries) {
      std::string there;
      if (ReadTarget(parent, name, &there).ok() && there == target) {
        *same = true;
        return Status();
      }
      made = TemporaryName();
      continue;
    }
    if (!status.ok()) return status;
    if (metadata.set_times) {
      // Some file systems have no times for links.
      platform::SetLinkTimes(parent, made.c_str(), FromNanoseconds(metadata.atime), FromNanoseconds(metadata.mtime));
    }
    if (made == name) break;
    status = platform::Rename(parent, made.c_str(), name);
    if (status.ok()) break;
    // Links cannot be locked: who clears up took it for left behind.
    if (status.error_number() == ENOENT && tries < kTemporaryTries) {
      LetWhoClearsUpPass(tries);
      continue;
    }
    platform::RemoveFile(parent, made.c_str());
    return status;
  }
  return metadata.durable ? platform::Sync(parent) : Status();
}

size_t RemoveDeadFiles(const platform::Directory& root, const std::atomic<bool>& stop) {
  size_t removed = 0;
  std::vector<std::unique_ptr<Level>> levels;
  auto enter = [&](const platform::Directory& parent, const char* name) {
    auto level = std::make_unique<Level>();
    if (!platform::OpenDirectory(parent, name, false, &level->directory).ok()) return;
    if (platform::ListDirectory(level->directory, &level->names).ok()) levels.push_back(std::move(level));
  };
  enter(root, ".");
  while (!levels.empty() && !stop.load(std::memory_order_relaxed)) {
    Level& level = *levels.back();
    if (level.next == level.names.size()) {
      levels.pop_back();
      continue;
    }
    const size_t i = level.next++;
    const char* name = level.names.name(i);
    if (IsTemporaryName(name)) {
      if (platform::RemoveTemporaryIfDead(level.directory, name)) ++removed;
    } else if (levels.size() < kDeepest && IsDirectory(level, i)) {
      enter(level.directory, name);
    }
  }
  return removed;
}

void RemoveDeadFilesIn(const platform::Directory& directory) {
  platform::Listing names;
  if (!platform::ListAgain(directory, &names).ok()) return;
  for (size_t i = 0; i < names.size(); ++i) {
    if (IsTemporaryName(names.name(i))) platform::RemoveTemporaryIfDead(directory, names.name(i));
  }
}

Status RemoveContents(const platform::Directory& directory, const std::atomic<bool>& stop) {
  // Deletes depth first. A directory that is not empty when its turn comes is entered, and tried again afterwards.
  struct Doomed : Level {
    std::string name;
  };
  std::vector<std::unique_ptr<Doomed>> levels;
  Status first;
  auto failed = [&](const Status& status) {
    if (first.ok()) first = status;
  };
  auto enter = [&](const platform::Directory& parent, const char* name) {
    auto level = std::make_unique<Doomed>();
    level->name = name;
    Status status = platform::OpenDirectory(parent, name, false, &level->directory);
    if (status.ok()) status = platform::ListAgain(level->directory, &level->names);
    if (status.ok()) {
      levels.push_back(std::move(level));
    } else if (status.error_number() != ENOENT) {
      failed(status);
    }
  };
  enter(directory, ".");
  while (!levels.empty()) {
    if (stop.load(std::memory_order_relaxed)) return Status::Cancelled();
    Doomed& level = *levels.back();
    if (level.next == level.names.size()) {
      const std::string name = level.name;
      levels.pop_back();
      if (levels.empty()) break;
      Status status = platform::RemoveDirectory(levels.back()->directory, name.c_str());
      if (!status.ok() && status.error_number() != ENOENT) failed(status);
      continue;
    }
    const size_t i = level.next++;
    const char* name = level.names.name(i);
    if (!IsDirectory(level, i)) {
      Status status = platform::RemoveFile(level.directory, name);
      if (!status.ok() && status.error_number() != ENOENT) failed(status);
    } else {
      Status status = platform::RemoveDirectory(level.directory, name);
      const int error_number = status.error_number();
      if (status.ok() || error_number == ENOENT) continue;
      if (levels.size() >= kDeepest) {
        failed(Status::FromErrno(ENAMETOOLONG, Operation::kRemove));
      } else if (error_number == ENOTEMPTY || error_number == EEXIST) {
        enter(level.directory, name);
      } else {
        failed(status);
      }
    }
  }
  return first;
}

}  // namespace net
}  // namespace eacopy
