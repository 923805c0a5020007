// LocalTree: where a pull writes to. Directories are made as they are needed, and get their metadata at the very end.
#ifndef EACOPY_SOURCE_NET_LOCAL_TREE_H_
#define EACOPY_SOURCE_NET_LOCAL_TREE_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../platform.h"
#include "eacopy/options.h"
#include "eacopy/status.h"
#include "open_directories.h"
#include "share.h"

namespace eacopy {
namespace net {

// A file or directory as the server lists it.
struct RemoteEntry {
  std::string path;  // on the server, relative to the session's directory
  uint32_t mode = 0;
  int64_t mtime = 0;  // nanoseconds since 1970
  int64_t atime = 0;
  uint64_t size = 0;
  std::string attributes;  // encoded
  uint32_t tries = 0;
  bool whole = false;      // not as a delta any more
  bool unpatched = false;  // the server does not have the older version that is here
};

class LocalTree {
 public:
  // The root of a tree, made with the parents that are missing. *made: how many directories were.
  Status OpenTree(const std::string& path, uint64_t* made);
  // The directory that takes a single file: `path` itself if it is one, else the parent of the file that it names.
  // Links are followed, parents that are missing made. *name: the file's, where `path` says it.
  Status OpenForFile(const std::string& path, std::string* name, uint64_t* made);

  const Share& share() const { return share_; }

  // For the end.
  void Remember(RemoteEntry directory);
  // Gives remembered directories their metadata, children first. `failed` is told of each that cannot be.
  template <typename Failed>
  void Complete(bool durable, Failed failed) {
    for (auto directory = directories_.rbegin(); directory != directories_.rend(); ++directory) {
      const Status status = CompleteOne(*directory, durable);
      if (!status.ok()) failed(directory->path, status);
    }
    directories_.clear();
  }

 private:
  Status CompleteOne(const RemoteEntry& directory, bool durable);

  Share share_;
  std::mutex mutex_;
  std::vector<RemoteEntry> directories_;
};

// What becomes of a file whose name cannot be that of one here.
Status NoPossibleName();
constexpr char kNoPossibleName[] = "no file can have this name on this system";

// Whether the file of an entry is there already: a regular file with its size, time (in steps of `step` nanoseconds,
// which is what the dialect can say) and mode. A mode that differs is set, unless the file has other names.
bool IsThere(const platform::Directory& parent, const char* name, const RemoteEntry& entry, int64_t step);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_LOCAL_TREE_H_
