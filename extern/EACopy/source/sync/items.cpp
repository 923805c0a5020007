// A single file that is an item of a sync; see items.h.

#include "items.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "../temporary.h"
#include "../tree_parts.h"
#include "files.h"
#include "place.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;

namespace {

// The path of a destination below `root`; its last name when that is empty, or somewhere else.
std::string PathBelow(const std::string& destination, const std::string& root) {
  const auto is_separator = [](char c) { return c == '/' || c == platform::kSeparator; };
  if (!root.empty() && destination.compare(0, root.size(), root) == 0) {
    size_t begin = root.size();
    const bool ends = is_separator(root.back()) || is_separator(destination[begin]);
    while (begin < destination.size() && is_separator(destination[begin])) ++begin;
    if (ends && begin < destination.size()) {
      std::string below = destination.substr(begin);
      std::replace(below.begin(), below.end(), platform::kSeparator, '/');
      return below;
    }
  }
  return BaseName(destination.c_str());
}

// The file; its name is empty, and what is looked up are its paths.
class Alone : public Place {
 public:
  Alone(SyncServices& services, Worker& worker, const std::string& source_path, const std::string& target_path)
      : Place(services, worker),
        source_path_(source_path),
        target_path_(target_path),
        where_(PathBelow(target_path, services.sync.root)) {
    root = true;
    for (const std::string& directory : services.sync.link_dirs) {
      const std::string path = Join(directory, where_.c_str());
      older.push_back({&Directory::Paths(), path, path});
    }
  }

  const char* SourceName(const char* /*name*/) const override { return source_path_.c_str(); }
  const char* TargetName(const char* /*name*/) const override { return target_path_.c_str(); }
  std::string Beside(const std::string& other) const override {
    return target_path_.substr(0, static_cast<size_t>(BaseName(target_path_.c_str()) - target_path_.c_str())) + other;
  }
  std::string SourcePath(const char* /*name*/) override { return source_path_; }
  std::string TargetPath(const char* /*name*/) override { return target_path_; }
  std::string Where(const char* /*name*/) override { return where_; }

 private:
  const std::string source_path_;
  const std::string target_path_;
  const std::string where_;
};

class FileItemTask : public Task {
 public:
  FileItemTask(SyncServices& services, std::string source, std::string destination)
      : services_(services), source_(std::move(source)), destination_(std::move(destination)) {}

  void Run(Worker& worker) override {
    JobContext& job = services_.job;
    if (job.cancelled()) return;
    WorkerCounters::Add(worker.counters->files_found, 1);
    Alone place(services_, worker, source_, destination_);
    bool exists = false, link = false;
    Status status = Prepare(&place, &exists, &link);
    if (!status.ok()) {
      place.Lose("", status);
    } else if (link) {
      BringLink(place, "", exists);
    } else {
      BringFile(place, "", exists, job.options().follow_symlinks);
    }
  }

 private:
  // Looks at the source, and makes the directory that the file goes into. *exists: it was there.
  Status Prepare(Alone* place, bool* exists, bool* link) {
    const Directory& paths = Directory::Paths();
    const JobContext& job = services_.job;
    const bool dry_run = services_.sync.dry_run;
    FileInfo source, directory;
    Status status = platform::GetInfo(paths, source_.c_str(), job.options().follow_symlinks, &source);
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
    *link = source.type == FileType::kSymlink;
    std::string above = ParentPath(destination_);
    if (above.empty()) above = ".";
    auto look = [&] { return platform::GetInfo(paths, above.c_str(), true, &directory); };
    *exists = look().ok() && directory.type == FileType::kDirectory;
    if (!*exists && !dry_run) {
      uint64_t made = 0;
      status = MakeDirectories(above, job.options().fsync, &made);
      WorkerCounters::Add(place->worker.counters->directories_created, made);
      const bool taken = status.error_number() == EEXIST;
      if (status.ok() || taken) status = look();
      // A file, or a link that leads to none, is where it should be.
      if (taken && !(status.ok() && directory.type == FileType::kDirectory)) {
        status = Status::FromErrno(EEXIST, Operation::kNone);
      }
      if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kMakeDirectory);
    }
    if (*exists && !dry_run) Sweep(above);
    const uint64_t device = source.id.device;
    place->traits = services_.file_systems.Of(device, *exists || !dry_run ? directory.id.device : device);
    return Status();
  }

  // Removes what dead writers left in a directory; once.
  void Sweep(const std::string& path) {
    {
      std::lock_guard<std::mutex> lock(services_.sweeping);
      if (!services_.swept.insert(path).second) return;
    }
    Directory directory;
    platform::Listing names;
    const Status status = Patiently(
        services_.cache, [&] { return platform::OpenDirectory(Directory::Paths(), path.c_str(), true, &directory); });
    if (!status.ok() || !platform::ListDirectory(directory, &names).ok()) return;
    for (size_t i = 0; i < names.size(); ++i) {
      if (IsTemporaryName(names.name(i))) platform::RemoveTemporaryIfDead(directory, names.name(i));
    }
  }

  SyncServices& services_;
  const std::string source_;
  const std::string destination_;
};

}  // namespace

std::unique_ptr<Task> MakeSyncFileTask(SyncServices& services, std::string source, std::string destination) {
  return std::make_unique<FileItemTask>(services, std::move(source), std::move(destination));
}

}  // namespace eacopy
