// Open files and directories, and what Windows says of them.

#include <cerrno>

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

// Tags that stand for something the engine knows; from the WSL file system and ntifs.h.
constexpr ULONG kTagUnixSocket = 0x80000023;
constexpr ULONG kTagWslFifo = 0x80000024;
constexpr ULONG kTagWslCharacterDevice = 0x80000025;
constexpr ULONG kTagWslBlockDevice = 0x80000026;

// NTFS keeps time in units of 100 ns since 1601.
constexpr int64_t kTicksPerSecond = 10000000;
constexpr int64_t kSecondsTo1970 = 11644473600;

Timestamp TimeOfTicks(int64_t ticks) {
  int64_t seconds = ticks / kTicksPerSecond;
  int64_t rest = ticks % kTicksPerSecond;
  if (rest < 0) {
    rest += kTicksPerSecond;
    --seconds;
  }
  return {seconds - kSecondsTo1970, static_cast<int32_t>(rest * 100)};
}

// A file's identity has 128 bits on ReFS, where the upper half is the directory and both are small numbers. The product
// spreads the upper half; on NTFS it is 0, and the number stays what other tools show.
uint64_t Fold(const FILE_ID_128& id) {
  uint64_t low = 0;
  uint64_t high = 0;
  for (int i = 7; i >= 0; --i) {
    low = low << 8 | id.Identifier[i];
    high = high << 8 | id.Identifier[i + 8];
  }
  return low ^ high * 0x9E3779B97F4A7C15u;
}

FileId IdOf(HANDLE handle) {
  FILE_ID_INFO id;
  if (::GetFileInformationByHandleEx(handle, FileIdInfo, &id, sizeof(id)) != 0) {
    return {id.VolumeSerialNumber, Fold(id.FileId)};
  }
  // FAT and some servers know only the older question.
  BY_HANDLE_FILE_INFORMATION info;
  if (::GetFileInformationByHandle(handle, &info) == 0) return {};
  return {info.dwVolumeSerialNumber, static_cast<uint64_t>(info.nFileIndexHigh) << 32 | info.nFileIndexLow};
}

}  // namespace

FileType TypeOf(ULONG attributes, ULONG reparse_tag) {
  if ((attributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0) {
    // The bit of a tag that says "stands for another name": symbolic links, junctions, mount points.
    if ((reparse_tag & 0x20000000u) != 0) return FileType::kSymlink;
    switch (reparse_tag) {
      case kTagUnixSocket:
        return FileType::kSocket;
      case kTagWslFifo:
        return FileType::kFifo;
      case kTagWslCharacterDevice:
      case kTagWslBlockDevice:
        return FileType::kDevice;
      default:
        break;
    }
  }
  return (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0 ? FileType::kDirectory : FileType::kRegular;
}

int Handle::Close() {
  NativeHandle native = Release();
  if (native == Invalid() || native == nullptr) return 0;
  return ::CloseHandle(native) != 0 ? 0 : ErrnoOfError(::GetLastError());
}

const Directory& Directory::Paths() {
  static const Directory paths{Handle(nullptr)};
  return paths;
}

int FillInfo(HANDLE handle, FileInfo* out) {
  *out = FileInfo();
  const DWORD kind = ::GetFileType(handle);
  if (kind == FILE_TYPE_CHAR || kind == FILE_TYPE_PIPE) {
    out->type = kind == FILE_TYPE_CHAR ? FileType::kDevice : FileType::kFifo;
    return 0;
  }
  FILE_BASIC_INFO basic;
  if (::GetFileInformationByHandleEx(handle, FileBasicInfo, &basic, sizeof(basic)) == 0) {
    const int error = ErrnoOfError(::GetLastError());
    if (error != EINVAL && error != ENOTSUP) return error;
    out->type = FileType::kDevice;  // a raw volume or disk
    return 0;
  }
  FILE_STANDARD_INFO standard;
  if (::GetFileInformationByHandleEx(handle, FileStandardInfo, &standard, sizeof(standard)) == 0) {
    return ErrnoOfError(::GetLastError());
  }
  ULONG reparse_tag = 0;
  if ((basic.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0) {
    FILE_ATTRIBUTE_TAG_INFO tag;
    if (::GetFileInformationByHandleEx(handle, FileAttributeTagInfo, &tag, sizeof(tag)) == 0) {
      return ErrnoOfError(::GetLastError());
    }
    reparse_tag = tag.ReparseTag;
  }
  out->type = TypeOf(basic.FileAttributes, reparse_tag);
  out->links = standard.NumberOfLinks;
  out->mode = basic.FileAttributes;
  if (out->type == FileType::kRegular) {
    out->size = static_cast<uint64_t>(standard.EndOfFile.QuadPart);
    out->allocated = static_cast<uint64_t>(standard.AllocationSize.QuadPart);
  }
  out->block_size = 4096;  // the usual cluster; nothing depends on it
  out->id = IdOf(handle);
  out->accessed = TimeOfTicks(basic.LastAccessTime.QuadPart);
  out->modified = TimeOfTicks(basic.LastWriteTime.QuadPart);
  out->changed = TimeOfTicks(basic.ChangeTime.QuadPart);
  return 0;
}

int Open(const Location& at, const OpenMode& mode, Handle* out) {
  if (at.name.size() > 0x7FFF) return ENAMETOOLONG;  // lengths are 16 bits, and count bytes
  UNICODE_STRING name;
  name.Buffer = const_cast<wchar_t*>(at.name.c_str());
  name.Length = static_cast<USHORT>(at.name.size() * sizeof(wchar_t));
  name.MaximumLength = name.Length;
  OBJECT_ATTRIBUTES attributes = {};
  attributes.Length = sizeof(attributes);
  attributes.RootDirectory = at.root;
  attributes.ObjectName = &name;
  // Directories that tell upper from lower case do so whatever is asked for here.
  attributes.Attributes = OBJ_CASE_INSENSITIVE;
  attributes.SecurityDescriptor = mode.security;
  ULONG options = mode.options | FILE_SYNCHRONOUS_IO_NONALERT;
  // A directory cannot be asked for together with a hint on how a file is read.
  if (at.directory) options = (options & ~static_cast<ULONG>(FILE_SEQUENTIAL_ONLY)) | FILE_DIRECTORY_FILE;
  HANDLE handle = nullptr;
  const NTSTATUS status = Patiently(mode.denied_may_pass, [&] {
    IO_STATUS_BLOCK io;
    return Ntdll::Get().create_file(&handle, mode.access | SYNCHRONIZE, &attributes, &io, nullptr,
                                    FILE_ATTRIBUTE_NORMAL, mode.share, mode.disposition, options, nullptr, 0);
  });
  if (NT_SUCCESS(status)) {
    *out = Handle(handle);
    return 0;
  }
  if (status == kStatusObjectNameInvalid || status == kStatusObjectNameNotFound) {
    // A part that is too long for any file system is "invalid", or "not there" on some.
    size_t length = 0;
    for (const wchar_t c : at.name) {
      length = c == L'\\' ? 0 : length + 1;
      if (length > 255) return ENAMETOOLONG;
    }
  }
  return ErrnoOfStatus(status);
}

int OpenItself(const Location& at, OpenMode mode, Handle* out, FileInfo* info) {
  const ULONG options = mode.options;
  // "link\" is what the link leads to.
  if (!at.directory) mode.options |= FILE_OPEN_REPARSE_POINT;
  Handle handle;
  int error = Open(at, mode, &handle);
  if (error == 0) error = FillInfo(handle.get(), info);
  if (error != 0) return error;
  if (!at.directory && (info->mode & FILE_ATTRIBUTE_REPARSE_POINT) != 0 &&
      (info->type == FileType::kRegular || info->type == FileType::kDirectory)) {
    const FileId id = info->id;
    mode.options = options;
    error = Open(at, mode, &handle);
    if (error == 0) error = FillInfo(handle.get(), info);
    if (error != 0) return error;
    // Somebody put a link there in between.
    if (!(info->id == id)) return ELOOP;
  }
  *out = static_cast<Handle&&>(handle);
  return 0;
}

int Reopen(HANDLE handle, const OpenMode& mode, Handle* out) {
  Location at;
  at.root = handle;
  int error = Open(at, mode, out);
  if (error == 0 || error == EACCES || error == EBUSY) return error;
  // Not every network file system knows an empty name.
  std::wstring path;
  if (PathOfHandle(handle, &path) != 0) return error;
  FileInfo before, after;
  Handle found;
  at = Location();
  at.name = L"\\??\\" + path.substr(4);
  error = Open(at, mode, &found);
  if (error == 0) error = FillInfo(handle, &before);
  if (error == 0) error = FillInfo(found.get(), &after);
  if (error != 0) return error;
  if (!(before.id == after.id)) return ENOENT;  // somebody put another one there
  *out = static_cast<Handle&&>(found);
  return 0;
}

bool ClearReadOnly(const Location& at, ULONG options, ULONG* old_attributes) {
  OpenMode mode{FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
  mode.options = options;
  Handle handle;
  FILE_BASIC_INFO basic;
  if (Open(at, mode, &handle) != 0 ||
      ::GetFileInformationByHandleEx(handle.get(), FileBasicInfo, &basic, sizeof(basic)) == 0 ||
      (basic.FileAttributes & FILE_ATTRIBUTE_READONLY) == 0) {
    return false;
  }
  *old_attributes = basic.FileAttributes;
  const ULONG others = basic.FileAttributes & ~static_cast<ULONG>(FILE_ATTRIBUTE_READONLY);
  return SetAttributes(handle.get(), others != 0 ? others : FILE_ATTRIBUTE_NORMAL) == 0;
}

int SetAttributes(HANDLE handle, ULONG attributes) {
  FILE_BASIC_INFO basic = {};  // a time of 0 is left alone
  basic.FileAttributes = attributes;
  if (::SetFileInformationByHandle(handle, FileBasicInfo, &basic, sizeof(basic)) != 0) return 0;
  return ErrnoOfError(::GetLastError());
}

bool IsUnknownRequest(NTSTATUS status) {
  switch (status) {
    case kStatusInvalidInfoClass:  // before Windows 10 1607
    case kStatusInvalidParameter:  // FAT, network file systems
    case kStatusNotSupported:      // a flag that came later
    case kStatusNotImplemented:    // some network file systems
    case kStatusInvalidDeviceRequest:
      return true;
    default:
      return false;
  }
}

Status GetInfo(const Directory& parent, const char* name, bool follow, FileInfo* out) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0) {
    const OpenMode mode{FILE_READ_ATTRIBUTES};
    Handle handle;
    if (follow) {
      error = Open(at, mode, &handle);
      if (error == 0) error = FillInfo(handle.get(), out);
    } else {
      error = OpenItself(at, mode, &handle, out);
    }
  }
  return MakeStatus(error, Operation::kStat);
}

Status GetInfo(const Handle& file, FileInfo* out) { return MakeStatus(FillInfo(file.get(), out), Operation::kStat); }

Status GetInfo(const Directory& directory, FileInfo* out) {
  return MakeStatus(FillInfo(directory.get(), out), Operation::kStat);
}

}  // namespace platform
}  // namespace eacopy
