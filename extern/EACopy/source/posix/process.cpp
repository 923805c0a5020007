// The process and the machine: umask, limits, random bytes, capabilities.

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "internal.h"

namespace eacopy {
namespace platform {

bool IsSuperuser() { return ::geteuid() == 0; }

uint32_t Umask() {
  // umask(2) can only be read by setting it, which other threads would notice; Linux also tells it here.
  Handle status(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  if (!status.valid()) return 07777;
  char text[512];
  ssize_t size = ::read(status.get(), text, sizeof(text) - 1);
  if (size <= 0) return 07777;
  text[size] = '\0';
  const char* line = std::strstr(text, "\nUmask:");
  return line != nullptr ? static_cast<uint32_t>(std::strtoul(line + 7, nullptr, 8)) : 07777;
}

size_t OpenFileBudget() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1024;
  // The lowest free number is about the count of what is open.
  int next = ::open("/", O_RDONLY | O_CLOEXEC);
  size_t used = next >= 0 ? static_cast<size_t>(next) : static_cast<size_t>(limit.rlim_cur);
  if (next >= 0) ::close(next);
  return limit.rlim_cur > used ? static_cast<size_t>(limit.rlim_cur) - used : 0;
}

void RandomBytes(void* data, size_t size) {
  // The kernel's own; std::random_device asks the processor, which takes half a millisecond in some virtual machines.
  if (::getentropy(data, size) == 0) return;
  std::random_device device;  // a kernel older than the call
  auto* bytes = static_cast<unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(device());
}

const char* Capabilities() {
#if defined(__linux__)
  return "clone,copy_file_range,sendfile,sparse,symlinks,xattr,threads,delta";
#elif defined(__APPLE__)
  return "sparse,symlinks,xattr,flags,threads,delta";
#else
  return "symlinks,threads,delta";
#endif
}

}  // namespace platform
}  // namespace eacopy
