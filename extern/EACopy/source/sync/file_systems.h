// FileSystems: what a file system cannot remember of a file, so that its absence is no difference.
#ifndef EACOPY_SOURCE_SYNC_FILE_SYSTEMS_H_
#define EACOPY_SOURCE_SYNC_FILE_SYSTEMS_H_

#include <cstdint>
#include <map>

namespace eacopy {

struct Traits {
  int64_t granularity = 1;  // nanoseconds: times that differ by less are the same
#ifdef _WIN32
  bool modes = false;  // files have permissions
#else
  bool modes = true;  // files have permissions
#endif
};

class FileSystems {
 public:
  // Looks at what is mounted now.
  FileSystems();

  // What a source on one device and a copy on another can have in common. The devices are those of FileId.
  Traits Of(uint64_t source_device, uint64_t target_device) const;

 private:
  Traits Of(uint64_t device) const;

  std::map<uint64_t, Traits> unusual_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_FILE_SYSTEMS_H_
