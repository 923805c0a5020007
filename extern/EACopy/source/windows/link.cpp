// Symbolic links and junctions.
//
// A junction is read as a target that begins with \??\ , which no symbolic link's target does here; a target of that
// form makes a junction again. So each is copied as what it is, and a junction needs no privilege.

#include <cerrno>
#include <memory>

#include "internal.h"
#include "reparse.h"
#include "wtf8.h"

namespace eacopy {
namespace platform {
namespace {

int MakeJunction(const std::wstring& target, const Location& at) {
  std::string data;
  int error = JunctionData(target, &data);
  if (error != 0) return error;
  OpenMode mode{FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES | DELETE};
  mode.disposition = FILE_CREATE;
  mode.options = FILE_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT;
  Handle handle;
  error = Open(at, mode, &handle);
  if (error != 0) return error;
  DWORD returned = 0;
  if (::DeviceIoControl(handle.get(), FSCTL_SET_REPARSE_POINT, &data[0], static_cast<DWORD>(data.size()), nullptr, 0,
                        &returned, nullptr) == 0) {
    error = ErrnoOfError(::GetLastError());
    MarkForRemoval(handle.get());
  }
  return error;
}

// By path, because only this call gets at the permission that "developer mode" gives to users without the privilege.
// The path is that of the open directory, as it is at this moment.
int MakeSymbolicLink(const std::wstring& target, const Location& at, bool directory) {
  std::wstring path;
  const int error = Win32Path(at, &path);
  if (error != 0) return error;
  const DWORD kind = directory ? SYMBOLIC_LINK_FLAG_DIRECTORY : 0u;
  constexpr DWORD kUnprivileged = 0x2;  // SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE, from Windows 10 1703
  if (::CreateSymbolicLinkW(path.c_str(), target.c_str(), kind | kUnprivileged) != 0) return 0;
  if (::GetLastError() == ERROR_INVALID_PARAMETER && ::CreateSymbolicLinkW(path.c_str(), target.c_str(), kind) != 0) {
    return 0;
  }
  return ErrnoOfError(::GetLastError());
}

}  // namespace

Status ReadLink(const Directory& parent, const char* name, std::string* target) {
  Location at;
  int error = Locate(parent, name, &at);
  Handle handle;
  if (error == 0) {
    OpenMode mode{FILE_READ_ATTRIBUTES};
    mode.options = FILE_OPEN_REPARSE_POINT;
    error = Open(at, mode, &handle);
  }
  if (error != 0) return Status::FromErrno(error, Operation::kReadLink);
  auto buffer = std::make_unique<char[]>(kReparseMaximum);
  DWORD got = 0;
  if (::DeviceIoControl(handle.get(), FSCTL_GET_REPARSE_POINT, nullptr, 0, buffer.get(), kReparseMaximum, &got,
                        nullptr) == 0) {
    return LastError(Operation::kReadLink);
  }
  std::wstring wide;
  error = TargetOfData(buffer.get(), got, &wide);
  if (error != 0) return Status::FromErrno(error, Operation::kReadLink);
  target->clear();
  AppendWtf8(wide.data(), wide.size(), target);
  return Status();
}

Status MakeSymlink(const std::string& target, const Directory& parent, const char* name, bool directory) {
  std::wstring wide;
  Location at;
  int error = AppendWide(target.data(), target.size(), &wide) ? Locate(parent, name, &at) : EILSEQ;
  if (error == 0) {
    for (wchar_t& c : wide) {
      if (c == L'/') c = L'\\';  // Windows does not follow a link with slashes in it
    }
    error = IsJunctionTarget(wide) ? MakeJunction(wide, at) : MakeSymbolicLink(wide, at, directory);
  }
  return MakeStatus(error, Operation::kMakeLink);
}

}  // namespace platform
}  // namespace eacopy
