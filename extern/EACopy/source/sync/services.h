// SyncServices: what all parts of one sync share.
#ifndef EACOPY_SOURCE_SYNC_SERVICES_H_
#define EACOPY_SOURCE_SYNC_SERVICES_H_

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../directory_node.h"
#include "../job_context.h"
#include "database.h"
#include "eacopy/sync.h"
#include "file_systems.h"
#include "hard_links.h"
#include "selection.h"

namespace eacopy {

// Counts what could not be kept.
class Losses : public platform::Archivist {
 public:
  void Lose(const std::string& what) override;
  // Lines like "the owner (3 times)", sorted, each ended by NUL.
  std::string Text() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> lost_;
};

// Directories that must not be removed, whatever leads to them.
class ProtectedDirectories {
 public:
  void Add(const platform::FileId& id);
  bool Has(const platform::FileId& id) const;

 private:
  mutable std::mutex mutex_;
  std::vector<platform::FileId> ids_;
};

struct SyncServices {
  SyncServices(JobContext& context, DirectoryCache& directories, Sync asked)
      : job(context), cache(directories), sync(std::move(asked)), selection(sync), hard_links(*this) {}

  JobContext& job;
  DirectoryCache& cache;
  const Sync sync;
  const Selection selection;
  const FileSystems file_systems;
  HardLinks hard_links;
  Losses losses;
  ProtectedDirectories protected_directories;
  std::mutex making;  // held while directories are made at the destination
  Database database;
  bool has_database = false;
  std::mutex sweeping;
  std::set<std::string> swept;  // the directories of items in which dead writers left nothing any more

  platform::Archivist* archivist() { return sync.archive ? &losses : nullptr; }
  // Tells of what was done, or would be.
  void Act(Action action, const std::string& source, const std::string& destination, uint64_t size = 0) {
    job.events().AddAction(action, source, destination, size);
  }
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_SERVICES_H_
