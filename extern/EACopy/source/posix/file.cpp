// Files: opening, creating, truncating, making durable.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "internal.h"

namespace eacopy {
namespace platform {

Status OpenSource(const Directory& parent, const char* name, bool follow, Handle* out, FileInfo* info) {
  // O_NONBLOCK: a FIFO that took the file's place since it was looked at must not hang the copy.
  int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW);
  auto open = [&](int how) {
    int opened = Uninterrupted([&] { return ::openat(parent.get(), name, how); });
    // Somebody holds a lease on the file, a file server as a rule, and is asked to give it back: wait for that.
    if (opened >= 0 || errno != EWOULDBLOCK) return opened;
    return Uninterrupted([&] { return ::openat(parent.get(), name, how & ~O_NONBLOCK); });
  };
  int descriptor = -1;
#ifdef O_NOATIME
  // Reading should not dirty the source's inode; only its owner and root may ask for that.
  descriptor = open(flags | O_NOATIME);
  if (descriptor < 0 && errno == EPERM)
#endif
    descriptor = open(flags);
  if (descriptor < 0) return LastError(Operation::kOpenSource);
  Handle handle(descriptor);
  struct stat st;
  if (::fstat(descriptor, &st) != 0) return LastError(Operation::kOpenSource);
  FillInfo(st, info);
  if (info->type == FileType::kDevice) ::fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
  *out = static_cast<Handle&&>(handle);
  return Status();
}

Status CreateFile(const Directory& parent, const char* name, uint32_t mode, Handle* out) {
  // Readable, so that the copy can be verified through the same descriptor.
  int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY;
  int descriptor = Uninterrupted([&] { return ::openat(parent.get(), name, flags, static_cast<mode_t>(mode)); });
  if (descriptor < 0) return LastError(Operation::kOpenDestination);
  *out = Handle(descriptor);
  return Status();
}

Status CreateSecret(const Directory& parent, const char* name, Handle* out) {
  return CreateFile(parent, name, 0600, out);
}

Status OpenExisting(const Directory& parent, const char* name, bool readable, Handle* out) {
  int flags = (readable ? O_RDWR : O_WRONLY) | O_CLOEXEC | O_NOCTTY;
  int descriptor = Uninterrupted([&] { return ::openat(parent.get(), name, flags); });
  if (descriptor < 0) return LastError(Operation::kOpenDestination);
  *out = Handle(descriptor);
  return Status();
}

Status Truncate(const Handle& file, uint64_t size) {
  if (Uninterrupted([&] { return ::ftruncate(file.get(), static_cast<off_t>(size)); }) != 0) {
    return LastError(Operation::kTruncate, size);
  }
  return Status();
}

bool LockTemporary(const Handle& file) {
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat st;  // who clears up may have been faster, and is through already
  return ::fstat(file.get(), &st) != 0 || st.st_nlink != 0;
}

Handle Duplicate(const Handle& file) { return Handle(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)); }

bool RemoveTemporaryIfDead(const Directory& parent, const char* name) {
  struct stat st, opened;
  if (::fstatat(parent.get(), name, &st, AT_SYMLINK_NOFOLLOW) != 0) return false;
  // Whoever made a link, if he lives, makes another.
  if (S_ISLNK(st.st_mode)) return ::unlinkat(parent.get(), name, 0) == 0;
  if (!S_ISREG(st.st_mode)) return false;
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  Handle file(Uninterrupted([&] { return ::openat(parent.get(), name, flags); }));
  // Where files cannot be locked, nobody can tell who lives.
  if (!file.valid() || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  if (::fstat(file.get(), &opened) != 0 || opened.st_ino != st.st_ino || opened.st_dev != st.st_dev) return false;
  return ::unlinkat(parent.get(), name, 0) == 0;
}

static Status SyncDescriptor(int descriptor) {
#ifdef __APPLE__
  // fsync only hands the data to the drive there.
  if (::fcntl(descriptor, F_FULLFSYNC) == 0) return Status();
#endif
  if (Uninterrupted([&] { return ::fsync(descriptor); }) == 0) return Status();
  // Pipes and some FUSE file systems have nothing to flush.
  if (errno == EINVAL || errno == ENOTSUP || errno == ENOSYS || errno == EROFS) return Status();
  return LastError(Operation::kSync);
}

Status Sync(const Handle& file) { return SyncDescriptor(file.get()); }

Status Sync(const Directory& directory) { return SyncDescriptor(directory.get()); }

void DropCached(const Handle& file) {
#ifdef POSIX_FADV_DONTNEED
  // Only clean pages can be dropped.
  if (::fsync(file.get()) == 0) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
#else
  (void)file;
#endif
}

uint64_t FreeSpace(const Handle& file) {
  struct statvfs vfs;
  if (::fstatvfs(file.get(), &vfs) != 0) return 0;
  return static_cast<uint64_t>(vfs.f_bavail) * vfs.f_frsize;
}

}  // namespace platform
}  // namespace eacopy
