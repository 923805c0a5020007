// What a file has beside its data: attributes, times, alternate data streams. Access lists are left to what the
// destination's directory hands down.

#include <cerrno>

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

// The attributes that are the user's; others say how the file system keeps the file.
constexpr ULONG kUserAttributes = FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM |
                                  FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED;

constexpr int64_t kTicksPerSecond = 10000000;
constexpr int64_t kSecondsTo1970 = 11644473600;

LARGE_INTEGER TicksOfTime(const Timestamp& time) {
  LARGE_INTEGER ticks;
  ticks.QuadPart = (time.seconds + kSecondsTo1970) * kTicksPerSecond + time.nanoseconds / 100;
  return ticks;
}

// Whether the destination's file system (or device) just does not keep such a thing.
bool IsNotKept(int error) { return error == EINVAL || error == ENOTSUP; }

int SetBasic(HANDLE handle, FILE_BASIC_INFO& basic) {
  if (::SetFileInformationByHandle(handle, FileBasicInfo, &basic, sizeof(basic)) != 0) return 0;
  return ErrnoOfError(::GetLastError());
}

int SetTimes(HANDLE handle, const Timestamp& accessed, const Timestamp& modified) {
  FILE_BASIC_INFO basic = {};  // what is 0 is left alone
  basic.LastAccessTime = TicksOfTime(accessed);
  basic.LastWriteTime = TicksOfTime(modified);
  return SetBasic(handle, basic);
}

// shutil.copy's idea of a mode: whether the file may be written to.
Status CopyReadOnly(const FileInfo& source_info, HANDLE destination) {
  FILE_BASIC_INFO basic;
  if (::GetFileInformationByHandleEx(destination, FileBasicInfo, &basic, sizeof(basic)) == 0) {
    const int error = ErrnoOfError(::GetLastError());
    return MakeStatus(IsNotKept(error) ? 0 : error, Operation::kSetMode);
  }
  const ULONG old_attributes = basic.FileAttributes;
  const ULONG wanted =
      (old_attributes & ~static_cast<ULONG>(FILE_ATTRIBUTE_READONLY)) | (source_info.mode & FILE_ATTRIBUTE_READONLY);
  if (wanted == old_attributes) return Status();
  const int error = SetAttributes(destination, wanted != 0 ? wanted : FILE_ATTRIBUTE_NORMAL);
  return MakeStatus(IsNotKept(error) ? 0 : error, Operation::kSetMode);
}

// Attributes and times, in one call. `source` may be null; then the time of creation is left alone.
Status SetAttributesAndTimes(HANDLE source, const FileInfo& source_info, HANDLE destination) {
  FILE_BASIC_INFO basic = {};
  if (source != nullptr) {
    FILE_BASIC_INFO of_source;
    if (::GetFileInformationByHandleEx(source, FileBasicInfo, &of_source, sizeof(of_source)) != 0) {
      basic.CreationTime = of_source.CreationTime;
    }
  }
  basic.LastAccessTime = TicksOfTime(source_info.accessed);
  basic.LastWriteTime = TicksOfTime(source_info.modified);
  basic.FileAttributes = source_info.mode & kUserAttributes;
  if (basic.FileAttributes == 0) basic.FileAttributes = FILE_ATTRIBUTE_NORMAL;
  int error = SetBasic(destination, basic);
  if (error == 0) return Status();
  // A server may refuse some of it. What is in the file counts more than when it was made, so the time of the last
  // change is what must not get lost.
  basic.FileAttributes = 0;
  basic.CreationTime.QuadPart = 0;
  error = SetBasic(destination, basic);
  return MakeStatus(IsNotKept(error) ? 0 : error, Operation::kSetTimes);
}

Status CopyAll(HANDLE source, const FileInfo& source_info, HANDLE destination) {
  // Streams first: writing one changes the time of the last change, and cannot be done to a read-only file.
  Status status = CopyStreams(source, destination);
  return status.ok() ? SetAttributesAndTimes(source, source_info, destination) : status;
}

}  // namespace

Status CopyMetadata(const Handle& source, const FileInfo& source_info, const Handle& destination, Metadata metadata,
                    bool mode_is_right, Archivist* /*archivist*/) {
  switch (metadata) {
    case Metadata::kStat:
      return CopyAll(source.get(), source_info, destination.get());
    case Metadata::kMode:
      return mode_is_right ? Status() : CopyReadOnly(source_info, destination.get());
    case Metadata::kNone:
      break;
  }
  return Status();
}

Status CopyMetadata(const Directory& source, const FileInfo& source_info, const Directory& destination,
                    Metadata /*metadata*/, Archivist* /*archivist*/) {
  // Directories are opened for reading only, so that one that may not be changed can still be read.
  OpenMode mode{FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
  mode.options = FILE_DIRECTORY_FILE;
  Handle writable;
  const int error = Reopen(destination.get(), mode, &writable);
  if (error != 0) return Status::FromErrno(error, Operation::kSetTimes);
  return CopyAll(source.get(), source_info, writable.get());
}

Status CopyLinkMetadata(const Directory& /*source_parent*/, const char* /*source_name*/, const FileInfo& source_info,
                        const Directory& destination_parent, const char* destination_name, Archivist* /*archivist*/) {
  Location at;
  int error = Locate(destination_parent, destination_name, &at);
  Handle destination;
  if (error == 0) {
    OpenMode mode{FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT;
    error = Open(at, mode, &destination);
  }
  if (error != 0) return Status::FromErrno(error, Operation::kSetTimes);
  return SetAttributesAndTimes(nullptr, source_info, destination.get());
}

Status SetMode(const Handle& /*file*/, uint32_t /*mode*/) { return Status(); }

Status SetMode(const Directory& /*directory*/, uint32_t /*mode*/) { return Status(); }

Status SetTimes(const Handle& file, const Timestamp& accessed, const Timestamp& modified) {
  return MakeStatus(SetTimes(file.get(), accessed, modified), Operation::kSetTimes);
}

Status SetTimes(const Directory& directory, const Timestamp& accessed, const Timestamp& modified) {
  Handle writable;
  int error = Reopen(directory.get(), OpenMode{FILE_WRITE_ATTRIBUTES}, &writable);
  if (error == 0) error = SetTimes(writable.get(), accessed, modified);
  return MakeStatus(error, Operation::kSetTimes);
}

Status SetLinkTimes(const Directory& parent, const char* name, const Timestamp& accessed, const Timestamp& modified) {
  Location at;
  int error = Locate(parent, name, &at);
  Handle link;
  if (error == 0) {
    OpenMode mode{FILE_WRITE_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT;
    error = Open(at, mode, &link);
  }
  if (error == 0) error = SetTimes(link.get(), accessed, modified);
  return MakeStatus(error, Operation::kSetTimes);
}

Status Mend(const Directory& parent, const char* name, const FileInfo& is, const FileInfo& wanted, Mending mending,
            Archivist* /*archivist*/, bool* done) {
  *done = false;
  Location at;
  int error = Locate(parent, name, &at);
  Handle handle;
  FileInfo opened;
  if (error == 0) {
    error = OpenItself(at, OpenMode{FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES}, &handle, &opened);
  }
  if (error != 0) return Status::FromErrno(error, Operation::kOpenDestination);
  if (!(opened.id == is.id)) return Status();
  if (mending.times) {
    error = SetTimes(handle.get(), wanted.accessed, wanted.modified);
    if (error != 0) return Status::FromErrno(error, Operation::kSetTimes);
  }
  *done = true;
  return Status();
}

}  // namespace platform
}  // namespace eacopy
