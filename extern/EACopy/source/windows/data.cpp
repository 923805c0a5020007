// Moving the data of a file: a clone where the file system can do that, the stretches with data of a sparse file, and
// reading and writing.
//
// CopyFile2 has no place here. It wants to open the destination by its path and for itself alone, while it is open
// already: created under this name by us, so that a failure can take back that file and no other. What it would add is
// cloning, which is done below, and copying on a file server without sending the data through this machine.
//
// A file is copied by one thread. NTFS fills what lies before a write beyond the valid data of a file with zeros first,
// so threads that write pieces out of order would write much of it twice.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "../monitor.h"
#include "clone.h"
#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

// Below this size, moving the bytes is cheaper than a change to the metadata of both files.
constexpr uint64_t kCloneMinimum = 64 * 1024;
// Calls cost more here than on POSIX systems, and a file server is asked for this much at once; still a piece takes few
// milliseconds, so that a cancel does not wait.
constexpr size_t kBufferMaximum = 1u << 20;
// What a file that is read and written without the cache must be aligned to: the largest sector there is.
constexpr size_t kSector = 4096;

class DataCopier {
 public:
  explicit DataCopier(const DataRequest& request)
      : request_(request), source_(request.source.get()), destination_(request.destination.get()) {}

  Status Run(Method* method, uint64_t* size);

 private:
  Status CopyStream(uint64_t* end);
  Status CopyRange(uint64_t begin, uint64_t end, uint64_t* reached);
  Status CopyExtents(uint64_t size, uint64_t* end);
  Status Write(uint64_t offset, const char* data, size_t size);
  char* Buffer(uint64_t wanted, size_t* room);

  const DataRequest& request_;
  const HANDLE source_;
  const HANDLE destination_;
};

char* DataCopier::Buffer(uint64_t wanted, size_t* room) {
  const uint64_t most = std::min<uint64_t>(request_.options.buffer_size, kBufferMaximum);
  return request_.scratch.Buffer(static_cast<size_t>(std::min(wanted, most)), room);
}

Status DataCopier::Write(uint64_t offset, const char* data, size_t size) {
  while (size > 0) {
    size_t put = 0;
    const int error = WriteAt(destination_, offset, data, size, &put);
    if (error != 0) return Status::FromErrno(error, Operation::kWrite, offset);
    offset += put;
    data += put;
    size -= put;
  }
  return Status();
}

// Reads and writes until there is nothing more: for devices, pipes, and small files.
Status DataCopier::CopyStream(uint64_t* end) {
  const FileInfo& info = request_.source_info;
  const bool regular = info.type == FileType::kRegular;
  size_t room = 0;
  // A byte more than expected: a read that comes back short has seen the end, and needs no other to find it.
  char* buffer = Buffer(regular ? info.size + 1 : kBufferMaximum, &room);
  for (*end = 0;;) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    const size_t piece = static_cast<size_t>(request_.monitor.Admit(room));
    if (piece == 0) return Status::Cancelled();
    size_t got = 0;
    const int error = ReadAt(source_, *end, buffer, piece, &got);
    if (error != 0) return Status::FromErrno(error, Operation::kRead, *end);
    request_.monitor.GiveBack(piece - got);
    if (got == 0) return Status();
    Status status = Write(*end, buffer, got);
    if (!status.ok()) return status;
    *end += got;
    request_.monitor.Advance(got);
    if (regular && got < piece && *end >= info.size) return Status();
  }
}

// Copies [begin, end). *reached < end: the source ends there.
Status DataCopier::CopyRange(uint64_t begin, uint64_t end, uint64_t* reached) {
  *reached = begin;
  size_t room = 0;
  char* buffer = Buffer(end - begin, &room);
  while (*reached < end) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    size_t got = 0;
    const size_t wanted = static_cast<size_t>(request_.monitor.Admit(std::min<uint64_t>(room, end - *reached)));
    if (wanted == 0) return Status::Cancelled();
    const int error = ReadAt(source_, *reached, buffer, wanted, &got);
    if (error != 0) return Status::FromErrno(error, Operation::kRead, *reached);
    request_.monitor.GiveBack(wanted - got);
    if (got == 0) return Status();
    Status status = Write(*reached, buffer, got);
    if (!status.ok()) return status;
    *reached += got;
    request_.monitor.Advance(got);
  }
  return Status();
}

// Copies the stretches with data and leaves the holes between them.
Status DataCopier::CopyExtents(uint64_t size, uint64_t* end) {
  constexpr size_t kRanges = 256;
  auto ranges = std::make_unique<FILE_ALLOCATED_RANGE_BUFFER[]>(kRanges);
  uint64_t offset = 0;
  *end = size;
  while (offset < size) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    FILE_ALLOCATED_RANGE_BUFFER asked;
    asked.FileOffset.QuadPart = static_cast<LONGLONG>(offset);
    asked.Length.QuadPart = static_cast<LONGLONG>(size - offset);
    DWORD returned = 0;
    bool more = false;
    if (::DeviceIoControl(source_, FSCTL_QUERY_ALLOCATED_RANGES, &asked, sizeof(asked), ranges.get(),
                          kRanges * sizeof(ranges[0]), &returned, nullptr) == 0) {
      more = ::GetLastError() == ERROR_MORE_DATA;
      // Not known here: the rest is copied as data.
      if (!more) return CopyRange(offset, size, end);
    }
    const size_t count = returned / sizeof(ranges[0]);
    if (more && count == 0) return CopyRange(offset, size, end);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t begin = std::max(offset, static_cast<uint64_t>(ranges[i].FileOffset.QuadPart));
      const uint64_t stop = std::min(size, static_cast<uint64_t>(ranges[i].FileOffset.QuadPart) +
                                               static_cast<uint64_t>(ranges[i].Length.QuadPart));
      if (stop <= begin) continue;
      request_.monitor.Advance(begin - offset);
      uint64_t reached = begin;
      Status status = CopyRange(begin, stop, &reached);
      if (!status.ok()) return status;
      if (reached < stop) {
        *end = reached;
        return Status();
      }
      offset = stop;
    }
    if (!more) {  // only a hole is left
      request_.monitor.Advance(size - offset);
      offset = size;
    }
  }
  // A source that shrank meanwhile ends where it ends now; zeros must not stand in for what was cut off.
  FileInfo now;
  if (FillInfo(source_, &now) == 0) *end = std::min(*end, now.size);
  return Status();
}

Status DataCopier::Run(Method* method, uint64_t* size) {
  const FileInfo& info = request_.source_info;
  const bool regular = info.type == FileType::kRegular &&
                       (request_.destination_info == nullptr || request_.destination_info->type == FileType::kRegular);
  const Reflink reflink = request_.options.reflink;
  *method = Method::kReadWrite;
  *size = 0;
  // Of a destination that could not be truncated, or was not for the sake of a clone.
  const uint64_t old_size = regular && request_.destination_info != nullptr ? request_.destination_info->size : 0;
  const bool worth_cloning = info.size >= kCloneMinimum && old_size == 0;
  if (regular && info.size != 0 && reflink != Reflink::kNever && (worth_cloning || reflink == Reflink::kAlways)) {
    bool cloned = false;
    Status status = Clone(source_, info, destination_, old_size, request_.monitor, &cloned);
    if (!status.ok()) return status;
    if (cloned) {
      *method = Method::kClone;
      *size = info.size;
      return Status();
    }
    if (reflink == Reflink::kAlways) return Status::FromErrno(EOPNOTSUPP, Operation::kClone);
  }
  // What was there before must not show through the holes.
  const bool sparse = regular && old_size == 0 && (info.mode & FILE_ATTRIBUTE_SPARSE_FILE) != 0 &&
                      info.allocated < info.size && MakeSparse(destination_);
  Status status;
  if (!regular || (info.size < kBufferMaximum && !sparse)) {
    status = CopyStream(size);
  } else if (sparse) {
    status = CopyExtents(info.size, size);
  } else {
    // Room for all of it in one piece. The size stays what was written, so a partial file still looks like one; and
    // where there is no room, writing will tell.
    FILE_ALLOCATION_INFO allocation;
    allocation.AllocationSize.QuadPart = static_cast<LONGLONG>(info.size);
    ::SetFileInformationByHandle(destination_, FileAllocationInfo, &allocation, sizeof(allocation));
    status = CopyRange(0, info.size, size);
    // What was appended meanwhile belongs to the file, up to where it ends now; not what is appended during that, or a
    // log that grows faster than it is copied would never end.
    FileInfo now;
    if (status.ok() && *size == info.size && FillInfo(source_, &now) == 0 && now.size > info.size) {
      status = CopyRange(info.size, now.size, size);
    }
  }
  if (!status.ok() || !regular) return status;
  // A hole at the end has written nothing; what was there before may have been longer.
  if (!sparse && old_size <= *size) return Status();
  return MakeStatus(SetSize(destination_, *size), Operation::kTruncate, *size);
}

// As many bytes as there are, up to `size`.
int ReadFully(HANDLE file, uint64_t offset, char* buffer, size_t size, size_t* got) {
  *got = 0;
  while (*got < size) {
    size_t piece = 0;
    const int error = ReadAt(file, offset + *got, buffer + *got, size - *got, &piece);
    if (error != 0) return error;
    if (piece == 0) return 0;
    *got += piece;
    // Without the cache only the end of a file may come in part, and nothing may be asked for from the middle of a
    // sector.
    if (*got % kSector != 0) return 0;
  }
  return 0;
}

}  // namespace

Status CopyData(const DataRequest& request, Method* method, uint64_t* size) {
  return DataCopier(request).Run(method, size);
}

Status CompareData(const Handle& source, const Handle& destination, bool /*from_device*/, Scratch& scratch,
                   Monitor& monitor) {
  // Read what the device has, not what the cache remembers.
  Handle uncached;
  OpenMode mode{FILE_READ_DATA};
  mode.options = FILE_NON_DIRECTORY_FILE | FILE_NO_INTERMEDIATE_BUFFERING;
  const bool flushed = ::FlushFileBuffers(destination.get()) != 0;
  const bool direct = flushed && Reopen(destination.get(), mode, &uncached) == 0;
  const HANDLE copy = direct ? uncached.get() : destination.get();
  size_t room = 0;
  char* memory = scratch.Buffer(2 * kBufferMaximum + kSector, &room);
  char* buffer = memory + (kSector - reinterpret_cast<uintptr_t>(memory) % kSector) % kSector;
  const size_t half = (room - kSector) / 2 / kSector * kSector;
  for (uint64_t offset = 0;; offset += half) {
    if (monitor.cancelled()) return Status::Cancelled();
    size_t expected = 0;
    int error = ReadFully(source.get(), offset, buffer, half, &expected);
    if (error != 0) return Status::FromErrno(error, Operation::kRead, offset);
    size_t found = 0;
    error = ReadFully(copy, offset, buffer + half, half, &found);
    if (error != 0) return Status::FromErrno(error, Operation::kVerify, offset);
    const size_t common = std::min(expected, found);
    const size_t same = static_cast<size_t>(std::mismatch(buffer, buffer + common, buffer + half).first - buffer);
    if (same < common || expected != found) return Status::FromErrno(0, Operation::kVerify, offset + same);
    if (expected < half) return Status();
  }
}

}  // namespace platform
}  // namespace eacopy
