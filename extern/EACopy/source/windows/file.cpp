// Files: opening, creating, truncating, reading and writing at an offset, making durable.

#include <algorithm>
#include <cerrno>
#include <memory>

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

constexpr size_t kIoMaximum = 64u << 20;  // sizes are 32 bits in the calls below

// Where a synchronous handle is to read or write.
OVERLAPPED At(uint64_t offset) {
  OVERLAPPED overlapped = {};
  overlapped.Offset = static_cast<DWORD>(offset);
  overlapped.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return overlapped;
}

Status Flush(HANDLE handle) {
  if (::FlushFileBuffers(handle) != 0) return Status();
  switch (const int error = ErrnoOfError(::GetLastError())) {
    case ENOTSUP:  // devices and some network file systems have nothing to flush
    case EINVAL:
    case EROFS:
      return Status();
    default:
      return Status::FromErrno(error, Operation::kSync);
  }
}

}  // namespace

Status OpenSource(const Directory& parent, const char* name, bool follow, Handle* out, FileInfo* info) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0) {
    OpenMode mode{FILE_READ_DATA | FILE_READ_ATTRIBUTES};
    mode.options = FILE_SEQUENTIAL_ONLY;
    Handle handle;
    if (follow) {
      error = Open(at, mode, &handle);
      if (error == 0) error = FillInfo(handle.get(), info);
    } else {
      error = OpenItself(at, mode, &handle, info);
      if (error == 0 && info->type == FileType::kSymlink) error = ELOOP;
    }
    if (error == 0) *out = static_cast<Handle&&>(handle);
  }
  return MakeStatus(error, Operation::kOpenSource);
}

Status CreateFile(const Directory& parent, const char* name, uint32_t /*mode*/, Handle* out) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0 && at.directory) error = EISDIR;  // "name\" cannot be a file
  if (error == 0) {
    // Readable, so that the copy can be verified through the same handle. Others may look, rename and remove, but a
    // file that is being made is nobody else's to write to.
    OpenMode mode{FILE_READ_DATA | FILE_WRITE_DATA | FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
    mode.share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    mode.disposition = FILE_CREATE;
    mode.options = FILE_NON_DIRECTORY_FILE | FILE_SEQUENTIAL_ONLY;
    error = Open(at, mode, out);
  }
  return MakeStatus(error, Operation::kOpenDestination);
}

Status CreateSecret(const Directory& parent, const char* name, Handle* out) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0) {
    // A list of its own, instead of what the directory hands down: everything for the owner, nothing for others.
    OpenMode mode{FILE_READ_DATA | FILE_WRITE_DATA | FILE_READ_ATTRIBUTES};
    mode.share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    mode.disposition = FILE_CREATE;
    mode.options = FILE_NON_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT;
    PSECURITY_DESCRIPTOR descriptor = nullptr;
    if (::ConvertStringSecurityDescriptorToSecurityDescriptorW(L"D:P(A;;FA;;;OW)", SDDL_REVISION_1, &descriptor,
                                                               nullptr) == 0) {
      return LastError(Operation::kOpenDestination);
    }
    const std::unique_ptr<void, decltype(&::LocalFree)> release(descriptor, &::LocalFree);
    mode.security = descriptor;
    error = Open(at, mode, out);
  }
  return MakeStatus(error, Operation::kOpenDestination);
}

Status OpenExisting(const Directory& parent, const char* name, bool readable, Handle* out) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0) {
    OpenMode mode{FILE_WRITE_DATA | FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
    if (readable) mode.access |= FILE_READ_DATA;
    mode.options = at.directory ? 0u : FILE_NON_DIRECTORY_FILE | FILE_SEQUENTIAL_ONLY;
    error = Open(at, mode, out);
    if (error == EACCES) {
      ULONG old_attributes = 0;
      const bool cleared = ClearReadOnly(at, 0, &old_attributes);
      mode.denied_may_pass = true;
      error = Open(at, mode, out);
      Handle refused;
      if (error != 0 && cleared && Open(at, OpenMode{FILE_WRITE_ATTRIBUTES}, &refused) == 0) {
        SetAttributes(refused.get(), old_attributes);
      }
    }
    if (error == 0 && at.directory) error = EISDIR;
  }
  return MakeStatus(error, Operation::kOpenDestination);
}

int SetSize(HANDLE handle, uint64_t size) {
  FILE_END_OF_FILE_INFO end;
  end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
  if (::SetFileInformationByHandle(handle, FileEndOfFileInfo, &end, sizeof(end)) != 0) return 0;
  return ErrnoOfError(::GetLastError());
}

Status Truncate(const Handle& file, uint64_t size) {
  return MakeStatus(SetSize(file.get(), size), Operation::kTruncate, size);
}

// What is open cannot be removed by others.
bool LockTemporary(const Handle& /*file*/) { return true; }

Handle Duplicate(const Handle& /*file*/) { return Handle(); }

int ReadAt(HANDLE handle, uint64_t offset, char* buffer, size_t size, size_t* got) {
  OVERLAPPED at = At(offset);
  DWORD moved = 0;
  *got = 0;
  if (::ReadFile(handle, buffer, static_cast<DWORD>(std::min(size, kIoMaximum)), &moved, &at) == 0) {
    const DWORD error = ::GetLastError();
    return error == ERROR_HANDLE_EOF || error == ERROR_BROKEN_PIPE ? 0 : ErrnoOfError(error);
  }
  *got = moved;
  return 0;
}

int WriteAt(HANDLE handle, uint64_t offset, const char* buffer, size_t size, size_t* put) {
  OVERLAPPED at = At(offset);
  DWORD moved = 0;
  *put = 0;
  if (::WriteFile(handle, buffer, static_cast<DWORD>(std::min(size, kIoMaximum)), &moved, &at) == 0) {
    const int error = ErrnoOfError(::GetLastError());
    // FAT says "full" of a file that would pass 4 GiB.
    const bool too_large = error == ENOSPC && offset + size > UINT32_MAX && offset <= UINT32_MAX;
    return too_large && FreeSpace(handle) >= size ? EFBIG : error;
  }
  *put = moved;
  return moved != 0 || size == 0 ? 0 : EIO;
}

Status Sync(const Handle& file) { return Flush(file.get()); }

void DropCached(const Handle& file) { ::FlushFileBuffers(file.get()); }

Status Sync(const Directory& directory) {
  // Only a handle that may write can flush. Where a directory cannot be opened so, or the file system does not flush
  // one, its journal keeps the names in order anyway.
  Handle writable;
  if (Reopen(directory.get(), OpenMode{FILE_WRITE_DATA}, &writable) != 0) return Status();
  Status status = Flush(writable.get());
  return status.error_number() == EACCES ? Status() : status;
}

uint64_t FreeSpace(HANDLE handle) {
  struct FullSizeInformation {
    int64_t total_units;
    int64_t caller_available_units;
    int64_t available_units;
    ULONG sectors_per_unit;
    ULONG bytes_per_sector;
  } information;
  IO_STATUS_BLOCK io;
  const NTSTATUS status = Ntdll::Get().query_volume_information_file(handle, &io, &information, sizeof(information),
                                                                     kFileFsFullSizeInformation);
  if (!NT_SUCCESS(status)) return 0;
  return static_cast<uint64_t>(information.caller_available_units) * information.sectors_per_unit *
         information.bytes_per_sector;
}

uint64_t FreeSpace(const Handle& file) { return FreeSpace(file.get()); }

}  // namespace platform
}  // namespace eacopy
