// HardLinks: files that have several names at the source get as many at the destination.
#ifndef EACOPY_SOURCE_SYNC_HARD_LINKS_H_
#define EACOPY_SOURCE_SYNC_HARD_LINKS_H_

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "../platform.h"

namespace eacopy {

class Place;
struct SyncServices;

class HardLinks {
 public:
  explicit HardLinks(SyncServices& services) : services_(services) {}
  HardLinks(const HardLinks&) = delete;
  HardLinks& operator=(const HardLinks&) = delete;

  // As Bring of files.h: the first name is brought up to date, the others become names of the same file.
  bool Bring(Place& place, const char* name, const platform::FileInfo& info, bool exists, bool follow);

 private:
  struct File;
  bool BringOther(Place& place, const char* name, const platform::FileInfo& info, bool exists, bool follow,
                  const File& file);

  SyncServices& services_;
  std::mutex mutex_;
  std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<File>> files_;  // by device and inode
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_HARD_LINKS_H_
