// From the engine's names to those of the native calls: an open directory and a name in it.
#ifndef EACOPY_SOURCE_WINDOWS_PATH_H_
#define EACOPY_SOURCE_WINDOWS_PATH_H_

#include <string>

#include "../platform.h"
#include "ntdll.h"

namespace eacopy {
namespace platform {

// Where a native call is to look.
struct Location {
  HANDLE root = nullptr;   // an open directory; null when `name` is a whole path of the object manager (\??\C:\…)
  std::wstring name;       // empty: the directory itself
  bool directory = false;  // was written with a separator at its end, so it can only be a directory
};

// Works out where `name` in `parent` is. Returns an errno: ENOENT for an empty name, EILSEQ for one that is not WTF-8,
// ENAMETOOLONG. A name in an open directory stays relative to it unless it is absolute or has ".." in it; those that
// have, and plain paths, may be as long as the system can go (32,767 units).
int Locate(const Directory& parent, const char* name, Location* out);

// The path of an open file or directory in the form \\?\C:\…. Returns an errno.
int PathOfHandle(HANDLE handle, std::wstring* out);

// The path of a location in the form \\?\C:\…, for the few calls that take no handle. Returns an errno.
int Win32Path(const Location& at, std::wstring* out);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_PATH_H_
