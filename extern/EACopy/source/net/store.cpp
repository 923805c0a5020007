// Temporary files and renaming, with the calls of the operating system that they need.

#include "store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#include <sys/xattr.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>

#include "../posix/internal.h"
#include "../ranges.h"
#include "../temporary.h"
#include "digest.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;
using platform::LastError;
using platform::Uninterrupted;

namespace {

struct timespec ToTimespec(int64_t nanoseconds) {
  const platform::Timestamp timestamp = FromNanoseconds(nanoseconds);
  struct timespec time;
  time.tv_sec = static_cast<time_t>(timestamp.seconds);
  time.tv_nsec = timestamp.nanoseconds;
  return time;
}

Status SetMetadataOf(int descriptor, const NewMetadata& metadata) {
  if (!metadata.attributes.empty()) {
    Status status = WriteAttributes(descriptor, metadata.attributes);
    if (!status.ok()) return status;
  }
  if (metadata.mode != kUnknownMode &&
      Uninterrupted([&] { return ::fchmod(descriptor, static_cast<mode_t>(metadata.mode & 07777)); }) != 0 &&
      // File systems with one mode for all their files say so.
      errno != EPERM && errno != ENOTSUP && errno != EOPNOTSUPP && errno != ENOSYS) {
    return LastError(Operation::kSetMode);
  }
  if (metadata.set_times) {
    const struct timespec times[2] = {ToTimespec(metadata.atime), ToTimespec(metadata.mtime)};
    if (::futimens(descriptor, times) != 0) return LastError(Operation::kSetTimes);
  }
  return Status();
}

Status WithSpace(Status status, const platform::Handle& file, uint64_t needed) {
  if (status.kind() == Kind::kDiskFull) status.set_space(needed, platform::FreeSpace(file));
  return status;
}

// Lists a directory that may have been listed before.
Status ListAgain(const platform::Directory& directory, platform::Listing* out) {
  ::lseek(directory.get(), 0, SEEK_SET);
  return platform::ListDirectory(directory, out);
}

// Walks down with one descriptor a level.
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
  while (!bytes.empty()) {
    const ssize_t put =
        Uninterrupted([&] { return ::pwrite(handle_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_)); });
    if (put < 0) return WithSpace(LastError(Operation::kWrite, size_), handle_, bytes.size());
    if (put == 0) return Status::FromErrno(EIO, Operation::kWrite, size_);
    size_ += static_cast<uint64_t>(put);
    written_ = size_;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
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
#ifdef POSIX_FADV_DONTNEED
  if (::fsync(handle_.get()) == 0) ::posix_fadvise(handle_.get(), 0, 0, POSIX_FADV_DONTNEED);
#endif
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
    const ssize_t got =
        Uninterrupted([&] { return ::pread(handle_.get(), buffer.data(), wanted, static_cast<off_t>(offset)); });
    if (got < 0) return LastError(Operation::kVerify, offset);
    if (got == 0) return Status::FromErrno(0, Operation::kVerify, offset);
    found = Crc32(found, buffer.data(), static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return found == crc ? Status() : Status::FromErrno(0, Operation::kVerify, 0);
}

Status TemporaryFile::Finish(const char* name, const NewMetadata& metadata) {
  if (size_ != written_) {
    Status status = platform::Truncate(handle_, size_);
    if (!status.ok()) return WithSpace(status, handle_, size_);
  }
  Status status = SetMetadataOf(handle_.get(), metadata);
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

Status SetMetadata(const platform::Handle& file, const NewMetadata& metadata) {
  return SetMetadataOf(file.get(), metadata);
}

Status SetMetadata(const platform::Directory& directory, const NewMetadata& metadata) {
  Status status = SetMetadataOf(directory.get(), metadata);
  return status.ok() && metadata.durable ? platform::Sync(directory) : status;
}

Status StoreSymlink(const platform::Directory& parent, const char* name, const std::string& target,
                    const NewMetadata& metadata, bool* same) {
  *same = false;
  std::string made = name;
  for (int tries = 0;; ++tries) {
    Status status = platform::MakeSymlink(target, parent, made.c_str(), false);
    if (status.error_number() == EEXIST && tries < kTemporaryTries) {
      std::string there;
      if (platform::ReadLink(parent, name, &there).ok() && there == target) {
        *same = true;
        return Status();
      }
      made = TemporaryName();
      continue;
    }
    if (!status.ok()) return status;
    if (metadata.set_times) {
      const struct timespec times[2] = {ToTimespec(metadata.atime), ToTimespec(metadata.mtime)};
      // Some file systems have no times for links.
      ::utimensat(parent.get(), made.c_str(), times, AT_SYMLINK_NOFOLLOW);
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

#ifdef __linux__

// The number of listxattrat(2), which Linux has since 6.13, where the headers are older.
#if defined(SYS_listxattrat)
constexpr long kListAttributesAt = SYS_listxattrat;
#elif defined(__x86_64__) || defined(__aarch64__)
constexpr long kListAttributesAt = 465;
#else
constexpr long kListAttributesAt = -1;  // no system call
#endif

// The bytes that the names of a file's attributes take; -1 with errno.
static ssize_t SizeOfAttributeNames(const platform::Directory& parent, const char* name) {
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const long size = ::syscall(kListAttributesAt, parent.get(), name, AT_SYMLINK_NOFOLLOW, nullptr, size_t{0});
    // EPERM is what a sandbox says that does not know the call.
    if (size >= 0 || (errno != ENOSYS && errno != EPERM)) return size;
    missing.store(true, std::memory_order_relaxed);
  }
  char path[64 + kMaxComponent];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent.get(), name);
  return ::llistxattr(path, nullptr, 0);
}

#endif

void ReadAttributesAt(const platform::Directory& parent, const char* name, std::string* encoded) {
  encoded->clear();
#ifdef __linux__
  const ssize_t size = SizeOfAttributeNames(parent, name);
  if (size == 0 || (size < 0 && errno != ENOENT && errno != ENOTDIR)) return;
#endif
  platform::Handle file(Uninterrupted(
      [&] { return ::openat(parent.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); }));
  if (file.valid()) ReadAttributes(file.get(), encoded);
}

bool EqualAttributes(std::string_view a, std::string_view b) {
  if (a == b) return true;
  std::vector<std::pair<std::string, std::string_view>> left, right;
  if (!a.empty() && !DecodeAttributes(a, &left)) return false;
  if (!b.empty() && !DecodeAttributes(b, &right)) return false;
  std::sort(left.begin(), left.end());
  std::sort(right.begin(), right.end());
  return left == right;
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
  if (!ListAgain(directory, &names).ok()) return;
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
    if (status.ok()) status = ListAgain(level->directory, &level->names);
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
      if (::unlinkat(levels.back()->directory.get(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
        failed(LastError(Operation::kRemove));
      }
      continue;
    }
    const size_t i = level.next++;
    const char* name = level.names.name(i);
    if (!IsDirectory(level, i)) {
      Status status = platform::RemoveFile(level.directory, name);
      if (!status.ok() && status.error_number() != ENOENT) failed(status);
    } else if (::unlinkat(level.directory.get(), name, AT_REMOVEDIR) != 0) {
      if (levels.size() >= kDeepest) {
        failed(Status::FromErrno(ENAMETOOLONG, Operation::kRemove));
      } else if (errno == ENOTEMPTY || errno == EEXIST) {
        enter(level.directory, name);
      } else if (errno != ENOENT) {
        failed(LastError(Operation::kRemove));
      }
    }
  }
  return first;
}

}  // namespace net
}  // namespace eacopy
