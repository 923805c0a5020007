// What a file system cannot remember of a file; see file_systems.h.

#include "file_systems.h"

#include <algorithm>
#include <cstddef>

#ifdef __linux__
#include <sys/sysmacros.h>

#include <fstream>
#include <sstream>
#include <string>
#endif

namespace eacopy {

#ifdef __linux__

namespace {

struct Named {
  const char* type;
  Traits traits;
};

constexpr Named kUnusual[] = {
    {"vfat", {2000000000, false}},  {"msdos", {2000000000, false}},
    {"exfat", {2000000000, false}},  // 10 ms, but other systems write 2 s
    {"hfs", {1000000000, true}},    {"hfsplus", {1000000000, true}},
    {"ext2", {1000000000, true}},   {"ext3", {1000000000, true}},
    {"minix", {1000000000, true}},  {"udf", {1000, true}},
    {"ntfs", {100, false}},         {"ntfs3", {100, false}},
    {"fuseblk", {100, false}},      {"cifs", {100, false}},
    {"smb3", {100, false}},
};

}  // namespace

FileSystems::FileSystems() {
  // "36 35 98:0 /root /mount options - type source options"; see proc_pid_mountinfo(5).
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const size_t separator = line.find(" - ");
    std::istringstream before(line);
    std::string skipped, type;
    unsigned major_number = 0, minor_number = 0;
    char colon = 0;
    if (separator == std::string::npos || !(before >> skipped >> skipped >> major_number >> colon >> minor_number)) {
      continue;
    }
    std::istringstream(line.substr(separator + 3)) >> type;
    for (const Named& named : kUnusual) {
      if (type == named.type) unusual_[makedev(major_number, minor_number)] = named.traits;
    }
  }
}

#else

FileSystems::FileSystems() = default;

#endif

Traits FileSystems::Of(uint64_t source_device, uint64_t target_device) const {
  if (unusual_.empty()) return Traits();
  const Traits source = Of(source_device), target = Of(target_device);
  return {std::max(source.granularity, target.granularity), source.modes && target.modes};
}

Traits FileSystems::Of(uint64_t device) const {
  const auto found = unusual_.find(device);
  return found == unusual_.end() ? Traits() : found->second;
}

}  // namespace eacopy
