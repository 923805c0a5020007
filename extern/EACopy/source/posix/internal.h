// Helpers shared by the POSIX files.
#ifndef EACOPY_SOURCE_POSIX_INTERNAL_H_
#define EACOPY_SOURCE_POSIX_INTERNAL_H_

#include <sys/stat.h>

#include <cerrno>

#include "../platform.h"

namespace eacopy {
namespace platform {

// Calls again what a signal interrupted. `call` returns -1 and sets errno on failure.
template <typename Call>
auto Uninterrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// The Status of a call that returned -1 just now.
inline Status LastError(Operation operation, uint64_t offset = 0) {
  return Status::FromErrno(errno, operation, offset);
}

void FillInfo(const struct stat& st, FileInfo* out);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_POSIX_INTERNAL_H_
