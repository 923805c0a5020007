// SourceWalk: the tree that is pushed, as work for several connections: directories to list, and slices of their names.
#ifndef EACOPY_SOURCE_NET_SOURCE_WALK_H_
#define EACOPY_SOURCE_NET_SOURCE_WALK_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../platform.h"
#include "open_directories.h"
#include "remote_job.h"
#include "share.h"

namespace eacopy {
namespace net {

// A directory of the tree.
struct SourceDirectory {
  std::string path;  // relative to the tree
  std::shared_ptr<const SourceDirectory> parent;
  bool via_link = false;
  platform::FileInfo info;  // once it was listed
  std::string attributes;
  mutable std::atomic<bool> failed{false};  // it could not be made
};
using SourceDirectoryPointer = std::shared_ptr<SourceDirectory>;

// What there is at a name.
struct SourceEntry {
  std::shared_ptr<const SourceDirectory> directory;  // that it is in; null for a single file
  std::string path;                                  // relative to the tree
  platform::FileInfo info;
  std::string target;      // of a symbolic link
  std::string attributes;  // encoded
  uint32_t tries = 0;
  bool whole = false;  // not as a delta any more
};

class SourceWalk {
 public:
  // A piece of work.
  struct Unit {
    SourceDirectoryPointer directory;
    std::shared_ptr<const platform::Listing> names;  // null: the directory is to be listed
    size_t begin = 0;
    size_t end = 0;
  };
  enum class Taken { kUnit, kNothingNow, kDone };

  explicit SourceWalk(RemoteJob& remote) : remote_(remote) {}

  // Opens the root, whose links are followed.
  Status Open(const std::string& path);
  const Share& share() const { return share_; }

  Taken Take(Unit* unit);
  // Each unit that was taken is done once, when all that came out of it was added.
  void Done();
  // Waits for others, who may find more; at most for a moment.
  void WaitForMore();
  bool HasUnits() const;

  // Lists a directory: what is a directory itself becomes a unit and is appended to *found, all else becomes slices.
  // Directories are remembered for the end.
  void List(Worker& worker, OpenDirectories& directories, const Unit& unit, std::vector<SourceDirectoryPointer>* found);
  // Looks at a slice's names.
  void Look(Worker& worker, OpenDirectories& directories, const Unit& unit, bool with_attributes,
            std::vector<SourceEntry>* found);

  uint64_t files_found() const { return files_found_.load(std::memory_order_relaxed); }
  uint64_t bytes_found() const { return bytes_found_.load(std::memory_order_relaxed); }
  // All that were listed, each behind its parent.
  std::vector<SourceDirectoryPointer> TakeDirectories();

 private:
  Status ListInto(OpenDirectories& directories, const Unit& unit, platform::Listing* names);

  RemoteJob& remote_;
  Share share_;
  mutable std::mutex mutex_;
  std::condition_variable more_;
  std::vector<Unit> units_;
  size_t taken_ = 0;
  std::vector<SourceDirectoryPointer> listed_;
  std::atomic<uint64_t> files_found_{0};
  std::atomic<uint64_t> bytes_found_{0};
};

// Looks at one name, for the walk and for a single file. `follow`: a link is what it leads to. Something that cannot be
// copied is a failure.
Status LookAt(const platform::Directory& parent, const char* name, bool follow, bool with_attributes,
              SourceEntry* entry);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SOURCE_WALK_H_
