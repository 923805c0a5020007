// Stretches of files on POSIX systems; see ranges.h.

#include "../ranges.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "internal.h"

#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#endif

namespace eacopy {
namespace platform {

Status ReadRange(const Handle& file, Operation operation, uint64_t offset, char* data, size_t size, size_t* got) {
  *got = 0;
  while (*got < size) {
    const auto at = static_cast<off_t>(offset + *got);
    const ssize_t count = Uninterrupted([&] { return ::pread(file.get(), data + *got, size - *got, at); });
    if (count < 0) return LastError(operation, offset + *got);
    if (count == 0) break;
    *got += static_cast<size_t>(count);
  }
  return Status();
}

Status WriteRange(const Handle& file, uint64_t offset, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = Uninterrupted([&] { return ::pwrite(file.get(), data, size, static_cast<off_t>(offset)); });
    if (count < 0) return LastError(Operation::kWrite, offset);
    if (count == 0) return Status::FromErrno(EIO, Operation::kWrite, offset);
    data += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return Status();
}

void FindData(const Handle& file, uint64_t offset, uint64_t size, uint64_t* begin, uint64_t* end) {
  *begin = offset;
  *end = size;
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
  const off_t data = ::lseek(file.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) {
    *begin = size;
    return;
  }
  const off_t hole = data < 0 ? -1 : ::lseek(file.get(), data, SEEK_HOLE);
  // Not supported here, or the file changes under us: the rest is data.
  if (data < 0 || hole < 0 || static_cast<uint64_t>(data) < offset || hole <= data) return;
  *begin = std::min(static_cast<uint64_t>(data), size);
  *end = std::min(static_cast<uint64_t>(hole), size);
#else
  (void)file;
#endif
}

Status ShareRange(const Handle& source, uint64_t source_offset, const Handle& destination, uint64_t destination_offset,
                  uint64_t length, bool* shared) {
  *shared = false;
#ifdef FICLONERANGE
  struct file_clone_range range;
  range.src_fd = source.get();
  range.src_offset = source_offset;
  range.src_length = length;
  range.dest_offset = destination_offset;
  if (Uninterrupted([&] { return ::ioctl(destination.get(), FICLONERANGE, &range); }) == 0) {
    *shared = true;
    return Status();
  }
  // Others mean "not supported here".
  if (errno == EIO || errno == ENOSPC || errno == ENOMEM) return LastError(Operation::kClone, destination_offset);
#else
  (void)source, (void)source_offset, (void)destination, (void)destination_offset, (void)length;
#endif
  return Status();
}

Status TransferRange(const Handle& source, uint64_t source_offset, const Handle& destination,
                     uint64_t destination_offset, uint64_t length, uint64_t* copied) {
  *copied = 0;
#if defined(__linux__) && defined(SYS_copy_file_range)
  // By number: the C library may be older than the call, or have one of its own that reads and writes.
  auto from = static_cast<int64_t>(source_offset);
  auto to = static_cast<int64_t>(destination_offset);
  const long count = Uninterrupted([&] {
    return ::syscall(SYS_copy_file_range, source.get(), &from, destination.get(), &to, static_cast<size_t>(length), 0u);
  });
  if (count > 0) *copied = static_cast<uint64_t>(count);
  if (count < 0 && (errno == ENOSPC || errno == EDQUOT)) return LastError(Operation::kCopy, destination_offset);
#else
  (void)source, (void)source_offset, (void)destination, (void)destination_offset, (void)length;
#endif
  return Status();
}

bool PunchHole(const Handle& file, uint64_t offset, uint64_t length) {
#if defined(__linux__) && defined(FALLOC_FL_PUNCH_HOLE)
  return Uninterrupted([&] {
           return ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                              static_cast<off_t>(length));
         }) == 0;
#else
  (void)file, (void)offset, (void)length;
  return false;
#endif
}

}  // namespace platform
}  // namespace eacopy
