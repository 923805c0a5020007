// What NTFS keeps in a link: the data of a reparse point.
//
// A junction is read as a target that begins with \??\ , which no symbolic link's target does here; a target of that
// form makes a junction again. So each is copied as what it is, and a junction needs no privilege.
#ifndef EACOPY_SOURCE_WINDOWS_REPARSE_H_
#define EACOPY_SOURCE_WINDOWS_REPARSE_H_

#include <cstddef>
#include <string>

namespace eacopy {
namespace platform {

constexpr size_t kReparseMaximum = 16 * 1024;  // MAXIMUM_REPARSE_DATA_BUFFER_SIZE

bool IsJunctionTarget(const std::wstring& target);

// Where a link leads, from the data that FSCTL_GET_REPARSE_POINT answers. Returns an errno: ENOTSUP for what is neither
// a symbolic link nor a junction, EINVAL for data that is damaged.
int TargetOfData(const char* data, size_t size, std::wstring* target);

// The data with which FSCTL_SET_REPARSE_POINT makes a junction. Returns an errno: ENAMETOOLONG.
int JunctionData(const std::wstring& target, std::string* data);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_REPARSE_H_
