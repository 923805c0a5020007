// Files that have several names at the source; see hard_links.h.

#include "hard_links.h"

#include <cerrno>
#include <string>

#include "../tree_parts.h"
#include "files.h"

namespace eacopy {

using platform::FileInfo;
using platform::FileType;

// A file with several names. The lock is held while one of them is brought up to date; whoever holds it waits for
// nobody.
struct HardLinks::File {
  std::mutex mutex;
  uint64_t seen = 0;  // names; guarded by the mutex of HardLinks
  bool done = false;
  std::shared_ptr<DirectoryNode> node;  // the directory of the name that was brought up to date; null for an item
  std::string name;
  std::string path;  // as the user would write it
};

bool HardLinks::Bring(Place& place, const char* name, const FileInfo& info, bool exists, bool follow) {
  std::shared_ptr<File> file;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const std::pair<uint64_t, uint64_t> key{info.id.device, info.id.inode};
    std::shared_ptr<File>& entry = files_[key];
    if (!entry) entry = std::make_shared<File>();
    file = entry;
    if (++file->seen == info.links) files_.erase(key);  // this is the last name
  }
  std::lock_guard<std::mutex> lock(file->mutex);
  if (file->done) return BringOther(place, name, info, exists, follow, *file);
  if (!eacopy::Bring(place, name, info, exists, follow)) return false;
  if (place.node) services_.cache.Remember(*place.node);  // it may be complete when the next name comes
  file->node = place.node;
  file->name = place.TargetName(name);
  file->path = place.TargetPath(name);
  file->done = true;
  return true;
}

bool HardLinks::BringOther(Place& place, const char* name, const FileInfo& info, bool exists, bool follow,
                           const File& file) {
  const Sync& sync = services_.sync;
  OlderFile first;
  first.directory = &platform::Directory::Paths();
  first.name = file.name;
  first.path = file.path;
  // In a dry run the directory may not be there; and somebody may have moved it away.
  bool pinned = file.node != nullptr && file.node->has_destination;
  if (pinned) {
    const Status status = PinPatiently(services_.cache, *file.node);
    pinned = status.ok();
    if (pinned) first.directory = &file.node->destination;
    const bool gone = status.error_number() == ENOENT || status.error_number() == ENOTDIR;
    if (!pinned && !gone) return place.Lose(name, status);
  }
  struct Unpinner {
    DirectoryCache& cache;
    DirectoryNode* node;
    ~Unpinner() {
      if (node != nullptr) cache.Unpin(*node);
    }
  } unpinner{services_.cache, pinned ? file.node.get() : nullptr};

  const bool first_there = (pinned || file.node == nullptr) &&
                           platform::GetInfo(*first.directory, first.name.c_str(), false, &first.info).ok();
  FileInfo target;
  Status status;
  bool there = exists && Look(place, name, &target, &status);
  if (!status.ok()) return place.Lose(name, status);
  if (there) {
    if ((first_there && first.info.id == target.id) || (sync.exclude_changed && target.type != FileType::kDirectory)) {
      CountSkipped(place, info.size);
      return true;
    }
    if (target.type == FileType::kDirectory) {
      if (!Clear(place, name)) return false;
      there = false;
    }
  }
  if (!sync.dry_run) {
    bool made = false;
    if (first_there) status = MakeLink(place, name, first, there, &made);
    if (!status.ok()) return place.Lose(name, status);
    if (!made) return eacopy::Bring(place, name, info, exists, follow);
  }
  CountLinked(place, info.size);
  if (sync.want_actions) services_.Act(Action::kLink, file.path, place.TargetPath(name), info.size);
  return true;
}

}  // namespace eacopy
