// Directories: opening, listing, making, and changing the names in them.

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "internal.h"
#include "wtf8.h"

namespace eacopy {
namespace platform {
namespace {

bool IsDotOrDotDot(const wchar_t* name, size_t length) {
  return name[0] == L'.' && (length == 1 || (length == 2 && name[1] == L'.'));
}

// FILE_RENAME_INFO and FILE_LINK_INFO, whose first field the headers of older compilers call a BOOLEAN.
struct RenameHeader {
  ULONG flags;
  HANDLE root;
  ULONG length;  // of the name that follows, in bytes
};
constexpr size_t kRenameNameOffset = offsetof(RenameHeader, length) + sizeof(ULONG);

// FILE_RENAME_REPLACE_IF_EXISTS; also what a BOOLEAN "replace" looks like.
constexpr ULONG kReplace = 0x01;
// FILE_RENAME_POSIX_SEMANTICS: the old file stays readable for those who have it open.
constexpr ULONG kPosixRename = 0x02;
// FILE_RENAME_IGNORE_READONLY_ATTRIBUTE, from Windows 10 1809.
constexpr ULONG kReplaceReadOnly = 0x40;

// FILE_DISPOSITION_DELETE, _POSIX_SEMANTICS and _IGNORE_READONLY_ATTRIBUTE.
constexpr ULONG kDelete = 0x01;
constexpr ULONG kPosixDelete = 0x02;
constexpr ULONG kDeleteReadOnly = 0x10;

NTSTATUS SetInformation(HANDLE handle, void* data, size_t size, int information) {
  IO_STATUS_BLOCK io;
  return Ntdll::Get().set_information_file(handle, &io, data, static_cast<ULONG>(size), information);
}

bool IsDirectory(const Location& at) {
  Handle handle;
  FileInfo info;
  return Open(at, OpenMode{FILE_READ_ATTRIBUTES}, &handle) == 0 && FillInfo(handle.get(), &info) == 0 &&
         info.type == FileType::kDirectory;
}

}  // namespace

Status OpenDirectory(const Directory& parent, const char* name, bool follow, Directory* out) {
  Location at;
  int error = Locate(parent, name, &at);
  Handle handle;
  if (error == 0) {
    OpenMode mode{FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES};
    mode.options = FILE_DIRECTORY_FILE;
    if (follow) {
      error = Open(at, mode, &handle);
    } else {
      FileInfo info;
      error = OpenItself(at, mode, &handle, &info);
      if (error == 0 && info.type != FileType::kDirectory) error = ENOTDIR;  // a link or a junction
    }
  }
  if (error == 0) *out = Directory(static_cast<Handle&&>(handle));
  return MakeStatus(error, Operation::kListDirectory);
}

Status OpenParent(const Directory& directory, Directory* out) { return OpenDirectory(directory, "..", false, out); }

Status ListDirectory(const Directory& directory, Listing* out) {
  // Network file systems answer no more than 64 KiB at once.
  alignas(8) char records[64 * 1024];
  std::string name;
  out->Clear();
  FILE_INFO_BY_HANDLE_CLASS information = FileFullDirectoryRestartInfo;
  for (;;) {
    if (::GetFileInformationByHandleEx(directory.get(), information, records, sizeof(records)) == 0) {
      const DWORD error = ::GetLastError();
      // The root of an empty volume has not even ".".
      if (error == ERROR_NO_MORE_FILES || error == ERROR_FILE_NOT_FOUND) return Status();
      return Status::FromErrno(ErrnoOfError(error), Operation::kListDirectory);
    }
    information = FileFullDirectoryInfo;
    for (const char* position = records;;) {
      const auto* record = reinterpret_cast<const FILE_FULL_DIR_INFO*>(position);
      const size_t length = record->FileNameLength / sizeof(wchar_t);
      if (!IsDotOrDotDot(record->FileName, length)) {
        name.clear();
        AppendWtf8(record->FileName, length, &name);
        // The tag of a reparse point stands where the size of extended attributes is otherwise.
        out->Add(name.data(), name.size(), TypeOf(record->FileAttributes, record->EaSize));
      }
      if (record->NextEntryOffset == 0) break;
      position += record->NextEntryOffset;
    }
  }
}

// Each listing starts anew.
Status ListAgain(const Directory& directory, Listing* out) { return ListDirectory(directory, out); }

Status MakeDirectory(const Directory& parent, const char* name, uint32_t /*mode*/) {
  Location at;
  int error = Locate(parent, name, &at);
  if (error == 0) {
    OpenMode mode{FILE_READ_ATTRIBUTES};
    mode.disposition = FILE_CREATE;
    mode.options = FILE_DIRECTORY_FILE;
    Handle handle;
    error = Open(at, mode, &handle);
    // Roots of volumes and shares say all sorts of things instead of "exists".
    if (error != 0 && error != EEXIST && error != ENOENT && IsDirectory(at)) error = EEXIST;
  }
  return MakeStatus(error, Operation::kMakeDirectory);
}

Status Rename(const Directory& parent, const char* from, const char* to) {
  Location source, target;
  int error = Locate(parent, from, &source);
  if (error == 0) error = Locate(parent, to, &target);
  Handle handle;
  if (error == 0) {
    OpenMode mode{DELETE | FILE_READ_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT;
    mode.denied_may_pass = true;
    error = Open(source, mode, &handle);
  }
  if (error != 0) return Status::FromErrno(error, Operation::kRename);

  const size_t name_size = target.name.size() * sizeof(wchar_t);
  // At least the whole header with its padding, even for a name that would fit in there.
  const size_t size = sizeof(RenameHeader) + name_size;
  auto buffer = std::make_unique<char[]>(size);
  RenameHeader header = {0, target.root, static_cast<ULONG>(name_size)};
  std::memcpy(buffer.get() + kRenameNameOffset, target.name.data(), name_size);
  auto rename = [&](ULONG flags, int information) {
    header.flags = flags;
    std::memcpy(buffer.get(), &header, kRenameNameOffset);
    return Patiently(true, [&] { return SetInformation(handle.get(), buffer.get(), size, information); });
  };
  NTSTATUS status = rename(kReplace | kPosixRename | kReplaceReadOnly, kFileRenameInformationEx);
  if (IsUnknownRequest(status)) {
    ULONG old_attributes = 0;
    const bool cleared = ClearReadOnly(target, FILE_OPEN_REPARSE_POINT, &old_attributes);
    status = rename(kReplace, kFileRenameInformation);
    if (!NT_SUCCESS(status) && cleared) {
      OpenMode mode{FILE_WRITE_ATTRIBUTES};
      mode.options = FILE_OPEN_REPARSE_POINT;
      Handle old;
      if (Open(target, mode, &old) == 0) SetAttributes(old.get(), old_attributes);
    }
  }
  if (NT_SUCCESS(status)) return Status();
  error = ErrnoOfStatus(status);
  if (error == EACCES && IsDirectory(target)) error = EISDIR;
  return Status::FromErrno(error, Operation::kRename);
}

NTSTATUS MarkForRemoval(HANDLE handle) {
  ULONG flags = kDelete | kPosixDelete | kDeleteReadOnly;
  NTSTATUS status = SetInformation(handle, &flags, sizeof(flags), kFileDispositionInformationEx);
  if (!IsUnknownRequest(status)) return status;
  BOOLEAN remove = TRUE;
  return SetInformation(handle, &remove, sizeof(remove), kFileDispositionInformation);
}

namespace {

// Removes what is not a directory, or an empty directory.
Status Remove(const Directory& parent, const char* name, bool directory) {
  Location at;
  int error = Locate(parent, name, &at);
  Handle handle;
  if (error == 0) {
    OpenMode mode{DELETE | FILE_READ_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT;
    mode.denied_may_pass = true;
    error = Open(at, mode, &handle);
  }
  FileInfo info;
  if (error == 0) error = FillInfo(handle.get(), &info);
  if (error == 0 && (info.type == FileType::kDirectory) != directory) error = directory ? ENOTDIR : EISDIR;
  if (error == 0) {
    NTSTATUS status = Patiently(false, [&] { return MarkForRemoval(handle.get()); });
    ULONG old_attributes = 0;
    if (status == kStatusCannotDelete && ClearReadOnly(at, FILE_OPEN_REPARSE_POINT, &old_attributes)) {
      status = MarkForRemoval(handle.get());
    }
    error = ErrnoOfStatus(status);
  }
  return MakeStatus(error, Operation::kRemove);
}

}  // namespace

Status RemoveFile(const Directory& parent, const char* name) { return Remove(parent, name, false); }

Status RemoveDirectory(const Directory& parent, const char* name) { return Remove(parent, name, true); }

bool RemoveTemporaryIfDead(const Directory& parent, const char* name) {
  Location at;
  if (Locate(parent, name, &at) != 0) return false;
  // Whoever writes it has it open, and then nobody can open it alone.
  OpenMode mode{DELETE | FILE_READ_ATTRIBUTES};
  mode.share = 0;
  mode.options = FILE_OPEN_REPARSE_POINT;
  Handle handle;
  FileInfo info;
  if (Open(at, mode, &handle) != 0 || FillInfo(handle.get(), &info) != 0) return false;
  if (info.type != FileType::kRegular && info.type != FileType::kSymlink) return false;
  return NT_SUCCESS(MarkForRemoval(handle.get()));
}

Status MakeHardLink(const Directory& from_parent, const char* from, const Directory& parent, const char* name) {
  Location source, target;
  int error = Locate(from_parent, from, &source);
  if (error == 0) error = Locate(parent, name, &target);
  Handle handle;
  if (error == 0) {
    OpenMode mode{FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT | FILE_NON_DIRECTORY_FILE;
    error = Open(source, mode, &handle);
  }
  if (error == 0) {
    const size_t name_size = target.name.size() * sizeof(wchar_t);
    const size_t size = sizeof(RenameHeader) + name_size;
    auto buffer = std::make_unique<char[]>(size);
    const RenameHeader header = {0, target.root, static_cast<ULONG>(name_size)};
    std::memcpy(buffer.get(), &header, kRenameNameOffset);
    std::memcpy(buffer.get() + kRenameNameOffset, target.name.data(), name_size);
    error = ErrnoOfStatus(SetInformation(handle.get(), buffer.get(), size, kFileLinkInformation));
  }
  return MakeStatus(error, Operation::kMakeLink);
}

}  // namespace platform
}  // namespace eacopy
