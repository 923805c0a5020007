// Symbolic links and junctions.
//
// A junction is read as a target that begins with \??\ , which no symbolic link's target does here; a target of that
// form makes a junction again. So each is copied as what it is, and a junction needs no privilege.

#include <cerrno>
#include <cstring>
#include <memory>

#include "internal.h"
#include "wtf8.h"

namespace eacopy {
namespace platform {
namespace {

constexpr wchar_t kJunctionPrefix[] = L"\\??\\";
constexpr size_t kPrefixLength = 4;

constexpr ULONG kTagMountPoint = 0xA0000003;
constexpr ULONG kTagSymlink = 0xA000000C;
constexpr ULONG kRelative = 1;  // SYMLINK_FLAG_RELATIVE
constexpr DWORD kReparseMaximum = 16 * 1024;

// How a REPARSE_DATA_BUFFER begins; offsets and lengths are in bytes, from where the names begin.
struct ReparseHeader {
  ULONG tag;
  USHORT length;  // of what follows the third field
  USHORT reserved;
  USHORT substitute_offset;
  USHORT substitute_length;
  USHORT print_offset;
  USHORT print_length;
};
constexpr size_t kBeforeLength = 8;

// The target in the form that programs use: \??\C:\x becomes C:\x, \??\UNC\server\share becomes \\server\share. Others
// (\??\Volume{…}\) keep a prefix, \\?\ .
std::wstring PlainTarget(const std::wstring& substitute) {
  if (substitute.compare(0, kPrefixLength, kJunctionPrefix) != 0) return substitute;
  if (substitute.compare(kPrefixLength, 4, L"UNC\\") == 0) return L"\\\\" + substitute.substr(kPrefixLength + 4);
  if (substitute.size() > kPrefixLength + 1 && substitute[kPrefixLength + 1] == L':') {
    return substitute.substr(kPrefixLength);
  }
  return L"\\\\?\\" + substitute.substr(kPrefixLength);
}

int MakeJunction(const std::wstring& target, const Location& at) {
  // Two names, each ended by NUL: the real one and the one to show.
  const std::wstring shown = target.substr(kPrefixLength);
  const size_t names = (target.size() + shown.size() + 2) * sizeof(wchar_t);
  const size_t size = sizeof(ReparseHeader) + names;
  if (size > kReparseMaximum) return ENAMETOOLONG;
  ReparseHeader header = {};
  header.tag = kTagMountPoint;
  header.length = static_cast<USHORT>(size - kBeforeLength);
  header.substitute_length = static_cast<USHORT>(target.size() * sizeof(wchar_t));
  header.print_offset = static_cast<USHORT>(header.substitute_length + sizeof(wchar_t));
  header.print_length = static_cast<USHORT>(shown.size() * sizeof(wchar_t));
  auto buffer = std::make_unique<char[]>(size);  // all zero
  std::memcpy(buffer.get(), &header, sizeof(header));
  char* text = buffer.get() + sizeof(header);
  std::memcpy(text, target.data(), header.substitute_length);
  std::memcpy(text + header.print_offset, shown.data(), header.print_length);

  OpenMode mode{FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES | DELETE};
  mode.disposition = FILE_CREATE;
  mode.options = FILE_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT;
  Handle handle;
  int error = Open(at, mode, &handle);
  if (error != 0) return error;
  DWORD returned = 0;
  if (::DeviceIoControl(handle.get(), FSCTL_SET_REPARSE_POINT, buffer.get(), static_cast<DWORD>(size), nullptr, 0,
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
  ReparseHeader header = {};
  if (got < sizeof(header)) return Status::FromErrno(EINVAL, Operation::kReadLink);
  std::memcpy(&header, buffer.get(), sizeof(header));
  // A link of another kind (of WSL, say) cannot be made anew.
  if (header.tag != kTagSymlink && header.tag != kTagMountPoint)
    return Status::FromErrno(ENOTSUP, Operation::kReadLink);
  ULONG flags = 0;
  size_t names = sizeof(header);
  if (header.tag == kTagSymlink) {
    if (got < names + sizeof(flags)) return Status::FromErrno(EINVAL, Operation::kReadLink);
    std::memcpy(&flags, buffer.get() + names, sizeof(flags));
    names += sizeof(flags);
  }
  if (names + header.substitute_offset + header.substitute_length > got) {
    return Status::FromErrno(EINVAL, Operation::kReadLink);
  }
  std::wstring substitute(header.substitute_length / sizeof(wchar_t), L'\0');
  std::memcpy(&substitute[0], buffer.get() + names + header.substitute_offset, substitute.size() * sizeof(wchar_t));
  if (header.tag == kTagSymlink && (flags & kRelative) == 0) substitute = PlainTarget(substitute);
  target->clear();
  AppendWtf8(substitute.data(), substitute.size(), target);
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
    const bool junction = wide.compare(0, kPrefixLength, kJunctionPrefix) == 0;
    error = junction ? MakeJunction(wide, at) : MakeSymbolicLink(wide, at, directory);
  }
  return MakeStatus(error, Operation::kMakeLink);
}

}  // namespace platform
}  // namespace eacopy
