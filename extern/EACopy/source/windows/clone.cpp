// Block cloning; see clone.h. The rules (whole clusters, less than 4 GiB at once, the destination's size first, the
// same sparse and integrity state on both sides) are those of FSCTL_DUPLICATE_EXTENTS_TO_FILE's documentation.

#include "clone.h"

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace eacopy {
namespace platform {
namespace {

// Not in the headers of every compiler.
constexpr DWORD kDuplicateExtents = 0x98344;   // FSCTL_DUPLICATE_EXTENTS_TO_FILE
constexpr DWORD kGetIntegrity = 0x9027C;       // FSCTL_GET_INTEGRITY_INFORMATION
constexpr DWORD kSetIntegrity = 0x9C280;       // FSCTL_SET_INTEGRITY_INFORMATION
constexpr DWORD kSharesClusters = 0x08000000;  // FILE_SUPPORTS_BLOCK_REFCOUNTING
constexpr DWORD kTooManyReferences = 347;      // ERROR_BLOCK_TOO_MANY_REFERENCES
constexpr DWORD kOffsetAlignment = 327;        // ERROR_OFFSET_ALIGNMENT_VIOLATION
constexpr uint64_t kMost = uint64_t{1} << 30;  // a multiple of every cluster size

struct DuplicateExtents {
  HANDLE source;
  int64_t source_offset;
  int64_t destination_offset;
  int64_t length;
};

struct Integrity {
  WORD algorithm;
  WORD reserved;
  DWORD flags;
  DWORD checksum_chunk;  // these two only when asked for, not when set
  DWORD cluster_size;
};
constexpr DWORD kIntegritySetSize = 8;

bool Control(HANDLE handle, DWORD code, void* in, DWORD in_size, void* out, DWORD out_size) {
  DWORD returned = 0;
  return ::DeviceIoControl(handle, code, in, in_size, out, out_size, &returned, nullptr) != 0;
}

// Whether the volume of a file can clone. The one that could not is remembered, because most machines have no other.
bool VolumeClones(HANDLE handle, uint64_t device) {
  static std::atomic<uint64_t> does_not{0};
  if (device != 0 && does_not.load(std::memory_order_relaxed) == device) return false;
  DWORD flags = 0;
  if (::GetVolumeInformationByHandleW(handle, nullptr, 0, nullptr, nullptr, &flags, nullptr, 0) != 0 &&
      (flags & kSharesClusters) != 0) {
    return true;
  }
  does_not.store(device, std::memory_order_relaxed);
  return false;
}

bool MeansUnsupported(DWORD error) {
  switch (error) {
    case ERROR_INVALID_FUNCTION:
    case ERROR_NOT_SUPPORTED:
    case ERROR_INVALID_PARAMETER:  // another volume, a state that differs, or a source that shrank meanwhile
    case ERROR_NOT_SAME_DEVICE:
    case ERROR_ACCESS_DENIED:
    case ERROR_CALL_NOT_IMPLEMENTED:
    case kTooManyReferences:  // a cluster can be shared only so often
    case kOffsetAlignment:
      return true;
    default:
      return false;
  }
}

bool MatchIntegrity(HANDLE source, HANDLE destination, uint64_t* cluster_size) {
  Integrity wanted = {};
  Integrity present = {};
  if (!Control(source, kGetIntegrity, nullptr, 0, &wanted, sizeof(wanted)) || wanted.cluster_size == 0 ||
      !Control(destination, kGetIntegrity, nullptr, 0, &present, sizeof(present)) ||
      wanted.cluster_size != present.cluster_size) {
    return false;
  }
  *cluster_size = wanted.cluster_size;
  if (wanted.algorithm == present.algorithm && wanted.flags == present.flags) return true;
  return Control(destination, kSetIntegrity, &wanted, kIntegritySetSize, nullptr, 0);
}

}  // namespace

bool MakeSparse(HANDLE destination) {
  FILE_SET_SPARSE_BUFFER sparse;
  sparse.SetSparse = TRUE;
  return Control(destination, FSCTL_SET_SPARSE, &sparse, sizeof(sparse), nullptr, 0);
}

Status Clone(HANDLE source, const FileInfo& source_info, HANDLE destination, uint64_t old_size, Monitor& monitor,
             bool* cloned) {
  *cloned = false;
  uint64_t cluster = 0;
  if (!VolumeClones(source, source_info.id.device) || !MatchIntegrity(source, destination, &cluster)) return Status();
  if ((source_info.mode & FILE_ATTRIBUTE_SPARSE_FILE) != 0 && !MakeSparse(destination)) return Status();
  const uint64_t size = source_info.size;
  const uint64_t end = (size + cluster - 1) / cluster * cluster;
  for (uint64_t offset = 0; offset < end;) {
    if (monitor.cancelled()) return Status::Cancelled();
    const uint64_t length = std::min(kMost, end - offset);
    // Clusters go only where the file is long enough already; but what is killed must not look complete by its size.
    // What the file has too much is cut off when all went well.
    const uint64_t reached = std::min(offset + length, size);
    int error = old_size < reached ? SetSize(destination, reached) : 0;
    if (error != 0) return Status::FromErrno(error, Operation::kClone, offset);
    DuplicateExtents extents = {source, static_cast<int64_t>(offset), static_cast<int64_t>(offset),
                                static_cast<int64_t>(length)};
    if (!Control(destination, kDuplicateExtents, &extents, sizeof(extents), nullptr, 0)) {
      const DWORD reason = ::GetLastError();
      // Old data that is gone cannot be brought back; of a new file what was shared so far is let go.
      const bool undone = (offset == 0 || old_size == 0) && SetSize(destination, old_size) == 0;
      if (undone && MeansUnsupported(reason)) return Status();
      error = MeansUnsupported(reason) ? EIO : ErrnoOfError(reason);
      return Status::FromErrno(error, Operation::kClone, offset);
    }
    offset += length;
  }
  const int error = old_size > size ? SetSize(destination, size) : 0;
  if (error != 0) return Status::FromErrno(error, Operation::kTruncate, size);
  *cloned = true;
  monitor.Advance(size);
  return Status();
}

}  // namespace platform
}  // namespace eacopy
