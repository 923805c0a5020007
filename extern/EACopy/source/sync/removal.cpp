// Removing what the source does not have; see removal.h.

#include "removal.h"

#include <cerrno>
#include <deque>
#include <utility>
#include <vector>

#include "../temporary.h"
#include "../tree_parts.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;
using platform::Listing;

namespace {

constexpr uint32_t kOwner = 0700;
// So many levels of what is removed are open at once; those above them are found again by "..".
constexpr size_t kOpenLevels = 8;

class TreeRemoval {
 public:
  TreeRemoval(SyncServices& services, Worker& worker) : services_(services), job_(services.job), worker_(worker) {}

  bool Run(const Directory& parent, const char* name, const std::string& path, const std::string& where) {
    bool gone = false;
    if (!Enter(parent, name, path, where, &gone)) return gone;
    for (;;) {
      Level& level = levels_.back();
      if (!level.directories.empty() && !job_.cancelled()) {
        const std::string inner = std::move(level.directories.back());
        level.directories.pop_back();
        const std::string inner_path = Join(level.path, inner.c_str());
        if (!Enter(level.directory, inner.c_str(), inner_path, level.where + inner + '/', &gone) && !gone) {
          level.kept = true;
        }
        continue;
      }
      if (levels_.size() == 1) return Leave(parent);
      Level& above = levels_[levels_.size() - 2];
      const Status status = Return(level.directory, &above);
      if (!status.ok()) return Fail(status, above.path);
      if (!Leave(above.directory)) levels_.back().kept = true;
    }
  }

  bool RemoveOne(const Directory& parent, const char* name, const std::string& path) {
    FileInfo info;
    Status status = platform::GetInfo(parent, name, false, &info);
    if (status.ok() && !services_.sync.dry_run) status = platform::RemoveFile(parent, name);
    if (status.error_number() == ENOENT) return true;
    if (!status.ok()) return Fail(status, path);
    WorkerCounters::Add(worker_.counters->files_removed, 1);
    WorkerCounters::Add(worker_.counters->bytes_removed, info.size);
    if (services_.sync.want_actions) services_.Act(Action::kRemove, "", path, info.size);
    return true;
  }

 private:
  // A directory that is being removed.
  struct Level {
    Directory directory;
    std::string name;
    std::string path;
    std::string where;
    platform::FileId id;
    std::vector<std::string> directories;
    bool kept = false;  // something in it stays
  };

  // Opens a directory that is to go, and removes the files in it. False: it stays, or is *gone already.
  bool Enter(const Directory& parent, const char* name, const std::string& path, const std::string& where, bool* gone) {
    Level level;
    FileInfo info;
    Listing listing;
    Status status = Patiently(services_.cache, [&] {
      const Status opened = platform::OpenDirectory(parent, name, false, &level.directory);
      // Every worker may be removing something.
      if (opened.error_number() == EMFILE) CloseAllButLast();
      return opened;
    });
    *gone = status.error_number() == ENOENT;
    if (*gone) return false;
    if (status.ok()) status = platform::GetInfo(level.directory, &info);
    // The source itself, mounted here.
    if (status.ok() && services_.protected_directories.Has(info.id))
      status = Status::FromErrno(EBUSY, Operation::kRemove);
    if (status.ok()) MakeWritable(services_, level.directory, info);
    if (status.ok()) status = platform::ListDirectory(level.directory, &listing);
    if (!status.ok()) return Fail(status, path);
    level.name = name;
    level.path = path;
    level.where = where;
    level.id = info.id;
    for (size_t i = 0; i < listing.size() && !job_.cancelled(); ++i) Take(listing.name(i), listing.type(i), &level);
    if (levels_.size() >= kOpenLevels) levels_[levels_.size() - kOpenLevels].directory.Close();
    levels_.push_back(std::move(level));
    return true;
  }

  void CloseAllButLast() {
    for (size_t i = 0; i + 1 < levels_.size(); ++i) levels_[i].directory.Close();
  }

  void Take(const char* name, FileType type, Level* level) {
    FileInfo info;
    if (type == FileType::kUnknown && platform::GetInfo(level->directory, name, false, &info).ok()) type = info.type;
    if (type == FileType::kDirectory) {
      if (services_.selection.Enters(name, [level] { return level->where; })) {
        level->directories.emplace_back(name);
      } else {
        level->kept = true;
      }
    } else if (!services_.sync.dry_run && IsTemporaryName(name)) {
      if (!platform::RemoveTemporaryIfDead(level->directory, name)) level->kept = true;
    } else if (!IsConcerned(services_, level->directory, name, level->where) ||
               !RemoveOne(level->directory, name, Join(level->path, name))) {
      level->kept = true;
    }
  }

  // Opens the level above again if it was closed; somebody may have moved what is below it.
  Status Return(const Directory& below, Level* above) {
    if (above->directory.valid()) return Status();
    FileInfo info;
    Status status = Patiently(services_.cache, [&] { return platform::OpenParent(below, &above->directory); });
    if (status.ok()) status = platform::GetInfo(above->directory, &info);
    if (status.ok() && !(info.id == above->id)) status = Status::FromErrno(ENOENT, Operation::kRemove);
    return status;
  }

  // Removes the directory of the last level, unless something in it stays.
  bool Leave(const Directory& parent) {
    const Level level = std::move(levels_.back());
    levels_.pop_back();
    if (level.kept || job_.cancelled()) return false;
    if (!services_.sync.dry_run) {
      const Status status = platform::RemoveDirectory(parent, level.name.c_str());
      if (status.error_number() == ENOENT) return true;
      if (!status.ok()) return Fail(status, level.path);
    }
    WorkerCounters::Add(worker_.counters->directories_removed, 1);
    if (services_.sync.want_actions) services_.Act(Action::kRemoveDirectory, "", level.path);
    return true;
  }

  bool Fail(const Status& failed, const std::string& path) {
    Status status = Status::FromErrno(failed.error_number(), Operation::kRemove);
    status.set_destination_state(DestinationState::kOld);
    job_.Fail(worker_, status, path, "", false);
    return false;
  }

  SyncServices& services_;
  JobContext& job_;
  Worker& worker_;
  std::deque<Level> levels_;  // references to its elements stay valid
};

}  // namespace

bool RemoveFile(SyncServices& services, Worker& worker, const Directory& parent, const char* name,
                const std::string& path) {
  return TreeRemoval(services, worker).RemoveOne(parent, name, path);
}

bool RemoveTree(SyncServices& services, Worker& worker, const Directory& parent, const char* name,
                const std::string& path, const std::string& where) {
  return TreeRemoval(services, worker).Run(parent, name, path, where);
}

bool IsConcerned(const SyncServices& services, const Directory& parent, const char* name, const std::string& where) {
  const Selection& selection = services.selection;
  if (!selection.all_names() && !selection.TakesFile(name, [&where] { return where; })) return false;
  if (!selection.by_attributes()) return true;
  FileInfo info;
  return platform::GetInfo(parent, name, false, &info).ok() && selection.HasAttributes(name, info);
}

void MakeWritable(const SyncServices& services, const Directory& directory, const FileInfo& info) {
  if ((info.mode & kOwner) == kOwner || services.sync.dry_run || platform::IsSuperuser()) return;
  (void)platform::SetMode(directory, info.mode | kOwner);  // what cannot be done in it will tell
}

}  // namespace eacopy
