// Stretches of files on Windows; see ranges.h. Clusters are not shared yet, and holes are read as zeros.

#include "../ranges.h"

#include <cerrno>

#include "internal.h"

namespace eacopy {
namespace platform {

Status ReadRange(const Handle& file, Operation operation, uint64_t offset, char* data, size_t size, size_t* got) {
  *got = 0;
  while (*got < size) {
    size_t count = 0;
    const int error = ReadAt(file.get(), offset + *got, data + *got, size - *got, &count);
    if (error != 0) return Status::FromErrno(error, operation, offset + *got);
    if (count == 0) break;
    *got += count;
  }
  return Status();
}

Status WriteRange(const Handle& file, uint64_t offset, const char* data, size_t size) {
  while (size > 0) {
    size_t count = 0;
    const int error = WriteAt(file.get(), offset, data, size, &count);
    if (error != 0) return Status::FromErrno(error, Operation::kWrite, offset);
    if (count == 0) return Status::FromErrno(EIO, Operation::kWrite, offset);
    data += count;
    offset += count;
    size -= count;
  }
  return Status();
}

void FindData(const Handle& /*file*/, uint64_t offset, uint64_t size, uint64_t* begin, uint64_t* end) {
  *begin = offset;
  *end = size;
}

Status ShareRange(const Handle& /*source*/, uint64_t /*source_offset*/, const Handle& /*destination*/,
                  uint64_t /*destination_offset*/, uint64_t /*length*/, bool* shared) {
  *shared = false;
  return Status();
}

Status TransferRange(const Handle& /*source*/, uint64_t /*source_offset*/, const Handle& /*destination*/,
                     uint64_t /*destination_offset*/, uint64_t /*length*/, uint64_t* copied) {
  *copied = 0;
  return Status();
}

bool PunchHole(const Handle& /*file*/, uint64_t /*offset*/, uint64_t /*length*/) { return false; }

}  // namespace platform
}  // namespace eacopy
