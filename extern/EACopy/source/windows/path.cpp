// Names and paths; see path.h.

#include "path.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "errors.h"
#include "internal.h"
#include "wtf8.h"

namespace eacopy {
namespace platform {
namespace {

constexpr size_t kLongestPath = 32000;  // UNICODE_STRING has 32,767 units, and prefixes need some
constexpr wchar_t kObjectPrefix[] = L"\\??\\";
constexpr wchar_t kVerbatimPrefix[] = L"\\\\?\\";
constexpr size_t kPrefixLength = 4;  // of both

bool IsSeparator(wchar_t c) { return c == L'\\' || c == L'/'; }

bool StartsWith(const std::wstring& text, const wchar_t* prefix) {
  return text.compare(0, std::wcslen(prefix), prefix) == 0;
}

bool IsAbsolute(const std::wstring& name) {
  return IsSeparator(name[0]) || (name.size() > 2 && name[1] == L':' && IsSeparator(name[2]));
}

// Takes off the separators at the end, except those without which a root is something else: \??\C: is the volume, not
// its root directory.
void TrimSeparators(std::wstring* path) {
  while (path->size() > 1 && path->back() == L'\\') {
    const wchar_t before = (*path)[path->size() - 2];
    if (before == L':' || before == L'}') return;
    path->pop_back();
  }
}

// The form that the object manager knows. Relative paths start at the current directory; ".", "..", "/" and device
// names are worked out as everywhere in Windows, except after \\?\, which asks for a name to be taken as it is.
int ObjectPath(const std::wstring& path, std::wstring* out) {
  std::wstring full;
  if (StartsWith(path, kVerbatimPrefix) || StartsWith(path, kObjectPrefix)) {
    full = path;
  } else {
    DWORD size = ::GetFullPathNameW(path.c_str(), 0, nullptr, nullptr);
    for (;;) {
      if (size == 0) return ErrnoOfError(::GetLastError());
      full.resize(size);
      const DWORD length = ::GetFullPathNameW(path.c_str(), size, &full[0], nullptr);
      if (length < size) {  // else the current directory became longer meanwhile
        full.resize(length);
        if (length == 0) return ErrnoOfError(::GetLastError());
        break;
      }
      size = length + 1;
    }
  }
  if (full.size() > kLongestPath) return ENAMETOOLONG;
  *out = kObjectPrefix;
  if (StartsWith(full, kVerbatimPrefix) || StartsWith(full, kObjectPrefix) || StartsWith(full, L"\\\\.\\")) {
    out->append(full, kPrefixLength, std::wstring::npos);
  } else if (StartsWith(full, L"\\\\")) {
    *out += L"UNC\\";
    out->append(full, 2, std::wstring::npos);
  } else {
    *out += full;
  }
  TrimSeparators(out);
  return 0;
}

// How much of a path of the form \\?\… is its root, with the separator at its end.
size_t RootLength(const std::wstring& path) {
  size_t separators = StartsWith(path, L"\\\\?\\UNC\\") ? 3 : 1;  // UNC\server\share\ or C:\ or Volume{…}\ .
  for (size_t i = kPrefixLength; i < path.size(); ++i) {
    if (path[i] == L'\\' && --separators == 0) return i + 1;
  }
  return path.size();
}

// Calls `take(begin, length)` for each part of `name`, "." left out.
template <typename Take>
void ForEachPart(const std::wstring& name, Take take) {
  for (size_t begin = 0; begin < name.size();) {
    size_t end = begin;
    while (end < name.size() && !IsSeparator(name[end])) ++end;
    const size_t length = end - begin;
    if (length != 0 && !(length == 1 && name[begin] == L'.')) take(begin, length);
    begin = end + 1;
  }
}

bool IsDotDot(const std::wstring& name, size_t begin, size_t length) {
  return length == 2 && name[begin] == L'.' && name[begin + 1] == L'.';
}

bool HasDotDot(const std::wstring& name) {
  bool found = false;
  ForEachPart(name, [&](size_t begin, size_t length) { found = found || IsDotDot(name, begin, length); });
  return found;
}

// The native calls know no ".."; so the names are put together, which is also how Windows reads a link's target.
int JoinDotDot(HANDLE directory, const std::wstring& name, std::wstring* out) {
  std::wstring path;
  const int error = PathOfHandle(directory, &path);
  if (error != 0) return error;
  const size_t root = RootLength(path);
  ForEachPart(name, [&](size_t begin, size_t length) {
    if (IsDotDot(name, begin, length)) {
      const size_t last = path.find_last_of(L'\\');
      path.resize(last == std::wstring::npos || last < root ? root : last);
    } else {
      if (path.back() != L'\\') path += L'\\';
      path.append(name, begin, length);
    }
  });
  return ObjectPath(path, out);
}

// A path of the form \\?\… or \??\… without that prefix, '/' between its names.
std::string WithSlashes(const std::wstring& path) {
  const bool on_server = path.compare(kPrefixLength, 4, L"UNC\\") == 0;
  std::wstring wide = on_server ? L"/" + path.substr(kPrefixLength + 3) : path.substr(kPrefixLength);
  std::replace(wide.begin(), wide.end(), L'\\', L'/');
  std::string text;
  AppendWtf8(wide.data(), wide.size(), &text);
  return text;
}

}  // namespace

int Locate(const Directory& parent, const char* name, Location* out) {
  const size_t length = std::strlen(name);
  if (length == 0) return ENOENT;
  std::wstring wide;
  if (!AppendWide(name, length, &wide)) return EILSEQ;
  if (wide.size() > kLongestPath) return ENAMETOOLONG;
  out->directory = IsSeparator(wide.back());
  out->root = nullptr;
  if (parent.get() == nullptr || IsAbsolute(wide)) return ObjectPath(wide, &out->name);
  const bool plain = wide.find_first_of(L"\\/") == std::wstring::npos && wide != L"." && wide != L"..";
  if (!plain && HasDotDot(wide)) return JoinDotDot(parent.get(), wide, &out->name);
  out->root = parent.get();
  if (plain) {
    out->name = std::move(wide);
    return 0;
  }
  out->name.clear();
  ForEachPart(wide, [&](size_t begin, size_t part_length) {
    if (!out->name.empty()) out->name += L'\\';
    out->name.append(wide, begin, part_length);
  });
  return 0;
}

int PathOfHandle(HANDLE handle, std::wstring* out) {
  // A volume without a letter has no name but its GUID.
  for (const DWORD kind : {VOLUME_NAME_DOS, VOLUME_NAME_GUID}) {
    DWORD size = 512;
    for (;;) {
      out->resize(size);
      const DWORD length = ::GetFinalPathNameByHandleW(handle, &(*out)[0], size, FILE_NAME_NORMALIZED | kind);
      if (length == 0) break;
      if (length < size) {
        out->resize(length);
        return 0;
      }
      size = length + 1;
    }
    if (::GetLastError() != ERROR_PATH_NOT_FOUND) break;
  }
  return ErrnoOfError(::GetLastError());
}

int Win32Path(const Location& at, std::wstring* out) {
  if (at.root == nullptr) {
    *out = kVerbatimPrefix;
    out->append(at.name, kPrefixLength, std::wstring::npos);
    return 0;
  }
  const int error = PathOfHandle(at.root, out);
  if (error != 0 || at.name.empty()) return error;
  if (out->back() != L'\\') *out += L'\\';
  *out += at.name;
  return 0;
}

bool IsPossibleName(std::string_view name) {
  std::wstring wide;
  if (name.empty() || !AppendWide(name.data(), name.size(), &wide)) return false;
  for (const wchar_t c : wide) {
    if (c < L' ' || std::wcschr(L"\"*/:<>?\\|", c) != nullptr) return false;
  }
  if (wide.back() == L'.' || wide.back() == L' ') return false;  // most of Windows takes them away
  // Devices in every directory, with whatever behind a dot; from "Naming Files, Paths, and Namespaces".
  std::wstring stem = wide.substr(0, wide.find(L'.'));
  while (!stem.empty() && stem.back() == L' ') stem.pop_back();
  for (const wchar_t* device : {L"CON", L"PRN", L"AUX", L"NUL", L"CONIN$", L"CONOUT$"}) {
    if (::_wcsicmp(stem.c_str(), device) == 0) return false;
  }
  if (stem.size() != 4 || (::_wcsnicmp(stem.c_str(), L"COM", 3) != 0 && ::_wcsnicmp(stem.c_str(), L"LPT", 3) != 0)) {
    return true;
  }
  // The digits are those of Latin-1, superscripts included.
  return std::wcschr(L"123456789\u00b9\u00b2\u00b3", stem[3]) == nullptr;
}

std::string AbsolutePath(const std::string& path) {
  std::wstring wide, object;
  if (path.empty() || !AppendWide(path.data(), path.size(), &wide) || ObjectPath(wide, &object) != 0) return path;
  return WithSlashes(object);
}

bool RealPath(const std::string& path, std::string* out) {
  Location at;
  int error = Locate(Directory::Paths(), path.c_str(), &at);
  Handle handle;
  if (error == 0) error = Open(at, OpenMode{FILE_READ_ATTRIBUTES}, &handle);
  std::wstring wide;
  if (error == 0) error = PathOfHandle(handle.get(), &wide);
  if (error != 0) {
    errno = error;
    return false;
  }
  *out = WithSlashes(wide);
  return true;
}

std::string FoldCase(const std::string& name) {
  std::wstring wide;
  if (name.empty() || !AppendWide(name.data(), name.size(), &wide)) return name;
  std::wstring upper(wide.size(), L'\0');
  const int size = static_cast<int>(wide.size());
  if (::LCMapStringEx(LOCALE_NAME_INVARIANT, LCMAP_UPPERCASE, wide.data(), size, &upper[0], size, nullptr, nullptr,
                      0) != size) {
    return name;
  }
  std::string folded;
  AppendWtf8(upper.data(), upper.size(), &folded);
  return folded;
}

}  // namespace platform
}  // namespace eacopy
