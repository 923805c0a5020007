// The process and the machine: limits, random bytes, capabilities.

#include <random>

#include "internal.h"

namespace eacopy {
namespace platform {

// There are no permission bits, so no new file has exactly those that were asked for.
uint32_t Umask() { return 07777; }

// A process may have millions of handles, but a file server grants some ten thousand to all of a machine.
size_t OpenFileBudget() { return 4096; }

void RandomBytes(void* data, size_t size) {
  std::random_device device;
  auto* bytes = static_cast<unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(device());
}

bool IsSuperuser() { return true; }

const char* Capabilities() { return "clone,sparse,symlinks,streams,attributes,threads,delta"; }

}  // namespace platform
}  // namespace eacopy
