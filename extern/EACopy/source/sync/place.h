// Place: where the files of a sync are at both ends, and in the older copies that may be linked to.
#ifndef EACOPY_SOURCE_SYNC_PLACE_H_
#define EACOPY_SOURCE_SYNC_PLACE_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "services.h"

namespace eacopy {

struct SyncNode;

// The destination of a walk, and what its directories have in common.
struct SyncTree {
  SyncTree(SyncServices& sync_services, std::string source_path, std::string destination_path)
      : services(sync_services),
        source(std::move(source_path)),
        destination(std::move(destination_path)),
        flat(services.sync.flatten) {}

  SyncServices& services;
  const std::string source;
  const std::string destination;
  const bool flat;           // all files go directly into the destination
  SyncNode* root = nullptr;  // it lives as long as any node does
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::unordered_set<std::string> placed;  // where flat: the names that are taken
};

// A directory that is brought up to date.
struct SyncNode : DirectoryNode {
  using DirectoryNode::DirectoryNode;

  SyncNode* above() const { return static_cast<SyncNode*>(parent.get()); }
  // Its path below the root, with "/" between names and at its end; empty for the root.
  std::string Where() const;

  uint32_t depth = 1;
  std::atomic<bool> there{false};   // the destination exists, and can be opened; in a dry run it may not
  std::atomic<bool> made{false};    // it was made by this job, or would be
  std::atomic<bool> filled{false};  // something of the source is in it
  std::atomic<uint64_t> left{0};    // how much of what was at the destination is still there, or would be
  platform::FileId target_id;
  std::vector<std::shared_ptr<DirectoryNode>> older;  // the directories of older copies, null where there is none
};

// A directory where an older copy of a file may be, what comes before its name there, and as the user would write it.
struct OlderPlace {
  const platform::Directory* directory;
  std::string prefix;
  std::string path;
};

class Place {
 public:
  Place(SyncServices& sync_services, Worker& of_worker) : services(sync_services), worker(of_worker) {}
  virtual ~Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // A name at both ends, to be looked up in `source` and `target`.
  virtual const char* SourceName(const char* name) const { return name; }
  virtual const char* TargetName(const char* name) const { return name; }
  // Another name in the directory in which a name is at the destination.
  virtual std::string Beside(const std::string& other) const { return other; }
  // As the user would write them.
  virtual std::string SourcePath(const char* name) = 0;
  virtual std::string TargetPath(const char* name) = 0;
  // The path of a file below the destination, by which the database knows it.
  virtual std::string Where(const char* name) = 0;

  // Each tells of a failure and returns false.
  bool Lose(const char* name, Status status);
  bool RefuseMismatch(const char* name, int error_number, const char* text);

  SyncServices& services;
  Worker& worker;
  const platform::Directory* source = &platform::Directory::Paths();
  const platform::Directory* target = &platform::Directory::Paths();  // null: there is none yet
  std::shared_ptr<DirectoryNode> node;  // the directory, kept alive for those who come later; null for an item
  NewFileModes* new_modes = nullptr;
  Traits traits{};
  std::vector<OlderPlace> older;
  bool root = false;  // what is brought up to date is an item of the job
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_PLACE_H_
