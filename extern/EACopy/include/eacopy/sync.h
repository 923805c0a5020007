// Sync: which files a job brings up to date, and how it tells that they are.
#ifndef EACOPY_SYNC_H_
#define EACOPY_SYNC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace eacopy {

// Patterns have "*" (any bytes) and "?" (any one character); all else stands for itself. They are compared with a name,
// and those with a "/" in them with the path below the source; a "/" at the beginning only says that it is a path.
struct Sync {
  std::vector<std::string> files{"*"};     // only files that match one of these
  std::vector<std::string> exclude_files;  // what is left out is not purged either
  std::vector<std::string> exclude_dirs;
  std::vector<std::string> link_dirs;  // older copies, whose files are linked to instead of copied
  std::string link_database;           // a LINKDB file; empty: none
  std::string root;                    // of file items: where link_dirs and the database see their destinations below
  std::string include_attributes;      // letters: R read-only, H hidden
  std::string exclude_attributes;
  uint64_t link_min_size = 0;  // bytes; smaller files are copied
  uint32_t max_depth = 0;      // levels of directories, the source itself being the first; 0: no limit
  bool subdirs = true;
  bool empty_dirs = true;
  bool purge = false;
  bool flatten = false;
  bool exclude_changed = false;
  bool compare_bytes = false;  // instead of times
  bool link_by_name = false;
  bool keep_dir_symlinks = false;
  bool dir_times = true;
  bool hard_links = false;
  bool archive = false;  // owners and groups too
  bool dry_run = false;
  bool want_actions = false;
};

// What a sync did, or would do. The values are those of enum eac_action.
enum class Action : uint8_t {
  kCopy = 0,
  kOverwrite = 1,
  kLink = 2,
  kSymlink = 3,
  kMakeDirectory = 4,
  kRemove = 5,
  kRemoveDirectory = 6,
  kMend = 7,
};

// Actions in columns.
struct Actions {
  std::vector<uint64_t> sizes;  // bytes
  std::vector<uint8_t> types;   // Action
  std::string sources;          // each ended by NUL; empty when there is none
  std::string destinations;     // the same

  size_t count() const { return types.size(); }
  void Clear() {
    sizes.clear();
    types.clear();
    sources.clear();
    destinations.clear();
  }
};

}  // namespace eacopy

#endif  // EACOPY_SYNC_H_
