// Open files and directories, and what fstat says of them.

#include <fcntl.h>
#include <unistd.h>

#include "internal.h"

namespace eacopy {
namespace platform {

int Handle::Close() {
  NativeHandle native = Release();
  if (native < 0) return 0;
  // Never close again after EINTR: on Linux the descriptor is gone by then, and may be somebody else's already.
  return ::close(native) == 0 || errno == EINTR ? 0 : errno;
}

const Directory& Directory::Paths() {
  static const Directory paths{Handle(AT_FDCWD)};
  return paths;
}

void FillInfo(const struct stat& st, FileInfo* out) {
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
      out->type = FileType::kRegular;
      break;
    case S_IFDIR:
      out->type = FileType::kDirectory;
      break;
    case S_IFLNK:
      out->type = FileType::kSymlink;
      break;
    case S_IFIFO:
      out->type = FileType::kFifo;
      break;
    case S_IFSOCK:
      out->type = FileType::kSocket;
      break;
    case S_IFCHR:
    case S_IFBLK:
      out->type = FileType::kDevice;
      break;
    default:
      out->type = FileType::kUnknown;
      break;
  }
  out->mode = static_cast<uint32_t>(st.st_mode) & 07777;
  out->user = static_cast<uint32_t>(st.st_uid);
  out->group = static_cast<uint32_t>(st.st_gid);
  out->links = static_cast<uint64_t>(st.st_nlink);
  out->size = static_cast<uint64_t>(st.st_size);
  out->allocated =
      static_cast<uint64_t>(st.st_blocks) * 512;  // st_blocks counts 512-byte units whatever st_blksize says
  out->block_size = static_cast<uint64_t>(st.st_blksize);
  out->id = {static_cast<uint64_t>(st.st_dev), static_cast<uint64_t>(st.st_ino)};
#ifdef __APPLE__
  const struct timespec& accessed = st.st_atimespec;
  const struct timespec& modified = st.st_mtimespec;
  const struct timespec& changed = st.st_ctimespec;
  out->flags = st.st_flags;
#else
  const struct timespec& accessed = st.st_atim;
  const struct timespec& modified = st.st_mtim;
  const struct timespec& changed = st.st_ctim;
#endif
  out->accessed = {static_cast<int64_t>(accessed.tv_sec), static_cast<int32_t>(accessed.tv_nsec)};
  out->modified = {static_cast<int64_t>(modified.tv_sec), static_cast<int32_t>(modified.tv_nsec)};
  out->changed = {static_cast<int64_t>(changed.tv_sec), static_cast<int32_t>(changed.tv_nsec)};
}

Status GetInfo(const Directory& parent, const char* name, bool follow, FileInfo* out) {
  struct stat st;
  if (Uninterrupted([&] { return ::fstatat(parent.get(), name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW); }) != 0)
    return LastError(Operation::kStat);
  FillInfo(st, out);
  return Status();
}

static Status GetInfo(int descriptor, FileInfo* out) {
  struct stat st;
  if (Uninterrupted([&] { return ::fstat(descriptor, &st); }) != 0) return LastError(Operation::kStat);
  FillInfo(st, out);
  return Status();
}

Status GetInfo(const Handle& file, FileInfo* out) { return GetInfo(file.get(), out); }

Status GetInfo(const Directory& directory, FileInfo* out) { return GetInfo(directory.get(), out); }

}  // namespace platform
}  // namespace eacopy
