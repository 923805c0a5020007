// The errno for what Windows says, because the engine speaks errno.
#ifndef EACOPY_SOURCE_WINDOWS_ERRORS_H_
#define EACOPY_SOURCE_WINDOWS_ERRORS_H_

namespace eacopy {
namespace platform {

// For a code of GetLastError().
int ErrnoOfError(unsigned long error);

// For what a native call returned.
int ErrnoOfStatus(long status);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_ERRORS_H_
