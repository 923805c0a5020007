// Bringing a tree up to date: a directory is a task, as in a copy (see ../tree_copy.cpp). The worker that takes it
// lists it at both ends, leaves its subdirectories to whoever is free, brings its files up to date, and removes what
// the source does not have.

#include "tree.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "../temporary.h"
#include "../tree_parts.h"
#include "files.h"
#include "overlap.h"
#include "place.h"
#include "removal.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;
using platform::Listing;

namespace {

// Files are handed on in slices of so many. Looking at one takes a microsecond or two.
constexpr size_t kSlice = 256;

using TreePointer = std::shared_ptr<SyncTree>;
using NodePointer = std::shared_ptr<SyncNode>;

// What is in a directory, by what is to be done with it, and what is at its destination. Indexes into the listings.
struct Plan {
  Listing names;
  std::vector<uint32_t> files;
  std::vector<uint32_t> directories;
  std::vector<uint32_t> links;
  std::vector<uint32_t> others;  // what cannot be copied, and what could not be looked at
  Listing targets;               // what dead writers left is not in it
  bool occupied = false;         // there may be something where its files go

  bool has_content() const { return !files.empty() || !links.empty() || !others.empty(); }
};

using PlanPointer = std::shared_ptr<Plan>;

// Where flat, all directories have the root's.
SyncNode& TargetNode(const SyncTree& tree, SyncNode& node) { return tree.flat ? *tree.root : node; }

// The names in a directory that is pinned at both ends, with the older copies of it.
class InTree : public Place {
 public:
  InTree(TreePointer tree, NodePointer directory, Worker& worker)
      : Place(tree->services, worker), tree_(std::move(tree)), node_(std::move(directory)) {
    SyncNode& at = TargetNode(*tree_, *node_);
    node = tree_->flat ? std::static_pointer_cast<DirectoryNode>(RootOf(node_)) : node_;
    source = &node_->source;
    target = at.there ? &at.destination : nullptr;
    new_modes = &at.new_modes;
    const uint64_t device = node_->source_info.id.device;
    traits = services.file_systems.Of(device, at.there ? at.target_id.device : device);
    for (size_t i = 0; i < at.older.size(); ++i) {
      DirectoryNode* copy = at.older[i].get();
      // One that was removed just now is none.
      if (copy == nullptr || !PinPatiently(services.cache, *copy).ok()) continue;
      pinned_.push_back(copy);
      const std::string& path = services.sync.link_dirs[i];
      older.push_back({&copy->source, "", at.parent ? PathOf(at, path) : path});
    }
  }
  ~InTree() override {
    for (DirectoryNode* copy : pinned_) services.cache.Unpin(*copy);
  }

  std::string SourcePath(const char* name) override {
    if (source_path_.empty()) source_path_ = PathOf(*node_, tree_->source);
    return Join(source_path_, name);
  }
  std::string TargetPath(const char* name) override {
    if (target_path_.empty()) target_path_ = PathOf(TargetNode(*tree_, *node_), tree_->destination);
    return Join(target_path_, name);
  }
  std::string Where(const char* name) override {
    if (!where_known_ && !tree_->flat) where_ = node_->Where();
    where_known_ = true;
    return where_ + name;
  }

 private:
  static std::shared_ptr<DirectoryNode> RootOf(const NodePointer& node) {
    std::shared_ptr<DirectoryNode> root = node;
    while (root->parent) root = root->parent;
    return root;
  }

  const TreePointer tree_;
  const NodePointer node_;
  std::vector<DirectoryNode*> pinned_;
  std::string source_path_;
  std::string target_path_;
  std::string where_;
  bool where_known_ = false;
};

// Takes a name of a flat destination. False, and a failure, when another file has it already.
bool TakeName(SyncTree& tree, Place& place, const char* name) {
  if (!tree.flat) return true;
  {
    std::lock_guard<std::mutex> lock(tree.mutex);
    if (tree.placed.insert(name).second) return true;
  }
  tree.failed = true;
  return place.RefuseMismatch(name, EEXIST, "another file of this name goes into the same directory");
}

// Brings files [begin, end) of a directory up to date.
void BringFiles(SyncTree& tree, Place& place, const Plan& plan, size_t begin, size_t end) {
  const JobContext& job = tree.services.job;
  const bool exists = plan.occupied;
  for (size_t i = begin; i < end && !job.cancelled(); ++i) {
    const char* name = plan.names.name(plan.files[i]);
    if (!TakeName(tree, place, name)) continue;
    if (!BringFile(place, name, exists, false)) tree.failed = true;
  }
}

// Removing what the source does not have ------------------------------------------------------------------------------

// From the destination of a directory that is pinned.
class Purge {
 public:
  Purge(SyncTree& tree, SyncNode& node, Worker& worker)
      : tree_(tree), services_(tree.services), node_(node), worker_(worker) {}

  // `known`: all names of the source, left out or not, sorted.
  void Run(const Listing& targets, const std::vector<const char*>& known) {
    std::vector<size_t> extras;
    auto less = [](const char* a, const char* b) { return std::strcmp(a, b) < 0; };
    for (size_t i = 0; i < targets.size(); ++i) {
      if (!std::binary_search(known.begin(), known.end(), targets.name(i), less)) extras.push_back(i);
    }
    if (extras.empty()) return;
    FindSpellings(targets, known);
    const std::string path = PathOf(node_, tree_.destination);
    const std::string where = node_.Where();
    for (const size_t i : extras) {
      if (services_.job.cancelled()) return;
      if (Remove(targets.name(i), targets.type(i), path, where)) node_.left.fetch_sub(1, std::memory_order_relaxed);
    }
  }

 private:
  bool Remove(const char* name, FileType type, const std::string& path, const std::string& where) {
    FileInfo info;
    if (!listed_.empty() && listed_.count(name) == 0) return true;  // it has got the name that the source says
    if (type == FileType::kUnknown && platform::GetInfo(node_.destination, name, false, &info).ok()) type = info.type;
    if (IsSpelling(name)) return false;
    if (type == FileType::kDirectory) {
      if (!services_.selection.Enters(name, [&where] { return where; })) return false;
      return RemoveTree(services_, worker_, node_.destination, name, Join(path, name), where + name + '/');
    }
    return IsConcerned(services_, node_.destination, name, where) &&
           RemoveFile(services_, worker_, node_.destination, name, Join(path, name));
  }

  // Where case, or how an accent is written, does not count, a name of the destination that the source does not have
  // may be one of the source's all the same: that one is found at the destination, and no listing has it.
  void FindSpellings(const Listing& targets, const std::vector<const char*>& known) {
    std::vector<const char*> before;
    for (size_t i = 0; i < targets.size(); ++i) before.push_back(targets.name(i));
    auto less = [](const char* a, const char* b) { return std::strcmp(a, b) < 0; };
    std::sort(before.begin(), before.end(), less);
    for (const char* name : known) {
      FileInfo info;
      if (std::binary_search(before.begin(), before.end(), name, less)) continue;
      if (platform::GetInfo(node_.destination, name, false, &info).ok()) spellings_.emplace_back(name);
    }
    if (spellings_.empty()) return;
    // Most were made by this job, and have a name of their own by now.
    Directory again;
    Listing now;
    const Status status =
        Patiently(services_.cache, [&] { return platform::OpenDirectory(node_.destination, ".", false, &again); });
    if (!status.ok() || !platform::ListDirectory(again, &now).ok()) return;
    for (size_t i = 0; i < now.size(); ++i) listed_.insert(now.name(i));
    spellings_.erase(std::remove_if(spellings_.begin(), spellings_.end(),
                                    [this](const std::string& spelling) { return listed_.count(spelling) != 0; }),
                     spellings_.end());
  }

  // Files of a large directory may still be replaced meanwhile: both names are looked at until nothing has changed.
  bool IsSpelling(const char* name) const {
    if (spellings_.empty()) return false;
    FileInfo info, again;
    auto look = [&](FileInfo* found) { return platform::GetInfo(node_.destination, name, false, found).ok(); };
    for (bool there = look(&again); there; there = look(&again)) {
      info = again;
      for (const std::string& spelling : spellings_) {
        FileInfo other;
        if (platform::GetInfo(node_.destination, spelling.c_str(), false, &other).ok() && other.id == info.id)
          return true;
      }
      if (look(&again) && again.id == info.id) return false;
    }
    return true;  // gone already
  }

  SyncTree& tree_;
  SyncServices& services_;
  SyncNode& node_;
  Worker& worker_;
  std::vector<std::string> spellings_;      // of the source, found at the destination under another name
  std::unordered_set<std::string> listed_;  // what was at the destination after they were looked up
};

// The end of a directory ----------------------------------------------------------------------------------------------

// Whether a directory of the destination has the metadata of its source already.
bool HasMetadata(const SyncServices& services, const SyncNode& node, const FileInfo& found) {
  const FileInfo& wanted = node.source_info;
  if (node.made || found.mode != wanted.mode) return false;
  const Traits traits = services.file_systems.Of(wanted.id.device, found.id.device);
  if (services.sync.dir_times && !SameTime(found, wanted, traits)) return false;
  return !services.sync.archive || (found.user == wanted.user && found.group == wanted.group);
}

// Gives a pinned directory the metadata of its source, where it has not.
Status SetDirectoryMetadata(SyncTree& tree, SyncNode& node) {
  SyncServices& services = tree.services;
  FileInfo found;
  Status status = platform::GetInfo(node.destination, &found);
  if (status.ok() && !HasMetadata(services, node, found)) {
    FileInfo wanted = node.source_info;
    if (!services.sync.dir_times) {
      wanted.accessed = found.accessed;
      wanted.modified = found.modified;
    }
    status = platform::CopyMetadata(node.source, wanted, node.destination, Metadata::kStat, services.archivist());
  }
  if (!status.ok() || !services.job.options().fsync) return status;
  status = platform::Sync(node.destination);
  if (!status.ok() || node.parent) return status;
  const std::string above = ParentPath(tree.destination);
  Directory directory;
  status = platform::OpenDirectory(Directory::Paths(), above.empty() ? "." : above.c_str(), true, &directory);
  return status.ok() ? platform::Sync(directory) : Status::FromErrno(status.error_number(), Operation::kSync);
}

// Removes a directory that would not have been made, where all that is not wanted is removed.
bool RemoveUnfilled(SyncTree& tree, SyncNode& node, Worker& worker) {
  const SyncServices& services = tree.services;
  const Sync& sync = services.sync;
  SyncNode* above = node.above();
  if (!sync.purge || sync.empty_dirs || tree.flat || node.filled || above == nullptr) return false;
  if (!node.there || node.made || node.left != 0) return false;
  if (!sync.dry_run) {
    if (!PinPatiently(services.cache, *above).ok()) return false;
    const Status status = platform::RemoveDirectory(above->destination, node.name.c_str());
    services.cache.Unpin(*above);
    if (!status.ok()) return false;  // something is left in it
  }
  above->left.fetch_sub(1, std::memory_order_relaxed);
  WorkerCounters::Add(worker.counters->directories_removed, 1);
  if (sync.want_actions) tree.services.Act(Action::kRemoveDirectory, "", PathOf(node, tree.destination));
  return true;
}

// Where flat, only at the end it is known what goes there.
void PurgeFlat(SyncTree& tree, SyncNode& root, Worker& worker) {
  if (!tree.services.sync.purge || root.made || tree.failed || tree.services.job.cancelled()) return;
  Directory again;
  Listing targets, kept;
  Status status =
      Patiently(tree.services.cache, [&] { return platform::OpenDirectory(root.destination, ".", false, &again); });
  if (status.ok()) status = platform::ListDirectory(again, &targets);
  if (!status.ok()) return;
  std::vector<const char*> known;
  for (const std::string& name : tree.placed) known.push_back(name.c_str());
  std::sort(known.begin(), known.end(), [](const char* a, const char* b) { return std::strcmp(a, b) < 0; });
  for (size_t i = 0; i < targets.size(); ++i) {
    const char* name = targets.name(i);
    if (!IsTemporaryName(name)) kept.Add(name, std::strlen(name), targets.type(i));
  }
  Purge(tree, root, worker).Run(kept, known);
}

// Nothing in the directory is going to change any more.
Status Finish(SyncTree& tree, SyncNode& node, Worker& worker) {
  SyncServices& services = tree.services;
  const bool dry_run = services.sync.dry_run;
  if (node.there && tree.flat && !node.parent) PurgeFlat(tree, node, worker);
  if (!node.there || (tree.flat && node.parent)) return Status();
  if (RemoveUnfilled(tree, node, worker) || dry_run) return Status();
  Status status = PinPatiently(services.cache, node);
  if (!status.ok()) return status;
  status = SetDirectoryMetadata(tree, node);
  services.cache.Unpin(node);
  return status;
}

// One more thing in `node` has ended. The last one completes the directory, which may complete its parent, and so on
// up.
void Complete(const TreePointer& tree, NodePointer node, Worker& worker) {
  JobContext& job = tree->services.job;
  DirectoryCache& cache = tree->services.cache;
  while (node && node->pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (node->ready) {
      if (!job.cancelled()) {
        if (node->filled && node->above() != nullptr) node->above()->filled = true;
        Status status = Finish(*tree, *node, worker);
        if (!status.ok()) {
          tree->failed = true;
          status.set_destination_state(DestinationState::kOld);
          job.Fail(worker, status, PathOf(*node, tree->source), PathOf(*node, tree->destination), false);
        }
      }
      for (const auto& older : node->older) {
        if (older) cache.Retire(*older);
      }
      cache.Retire(*node);
    }
    NodePointer parent = std::static_pointer_cast<SyncNode>(node->parent);
    if (!parent && tree->failed) job.EndItemWithFailure();
    node = std::move(parent);
  }
}

// The tasks -----------------------------------------------------------------------------------------------------------

class SliceTask : public Task {
 public:
  SliceTask(TreePointer tree, NodePointer node, PlanPointer plan, size_t begin, size_t end)
      : tree_(std::move(tree)), node_(std::move(node)), plan_(std::move(plan)), begin_(begin), end_(end) {}

  void Run(Worker& worker) override {
    JobContext& job = tree_->services.job;
    if (!job.cancelled()) {
      const Status status = PinPatiently(tree_->services.cache, *node_);
      if (status.ok()) {
        {
          InTree place(tree_, node_, worker);
          BringFiles(*tree_, place, *plan_, begin_, end_);
        }
        tree_->services.cache.Unpin(*node_);
      } else {
        tree_->failed = true;
        job.Fail(worker, status, PathOf(*node_, tree_->source), PathOf(*node_, tree_->destination), false);
      }
    }
    Complete(tree_, std::move(node_), worker);
  }

 private:
  const TreePointer tree_;
  NodePointer node_;
  const PlanPointer plan_;
  const size_t begin_;
  const size_t end_;
};

class DirectoryTask : public Task {
 public:
  DirectoryTask(TreePointer tree, NodePointer node)
      : tree_(std::move(tree)),
        node_(std::move(node)),
        services_(tree_->services),
        sync_(services_.sync),
        job_(services_.job),
        cache_(services_.cache) {}

  void Run(Worker& worker) override {
    Status status;
    const bool refused = !node_->parent && job_.refuses_items();
    if (!job_.cancelled() && !refused) {
      const NodePointer parent = std::static_pointer_cast<SyncNode>(node_->parent);
      status = parent != nullptr ? PinPatiently(cache_, *parent) : Status();
      if (status.ok()) {
        status = OpenBoth(worker);
        if (parent != nullptr) cache_.Unpin(*parent);
      }
      if (status.ok()) {
        Fill(worker);
        if (parent != nullptr) cache_.Unpin(*node_);  // a root stays pinned until it is complete
      }
    }
    if (!status.ok()) Fail(worker, status);
    Complete(tree_, std::move(node_), worker);
  }

 private:
  // Opens and lists both ends, making the destination where it has to be made. With the parent pinned; the node is
  // pinned when that succeeds.
  Status OpenBoth(Worker& worker) {
    Directory source, target;
    Status status = OpenSource(&source);
    if (!status.ok()) return status;
    plan_ = std::make_shared<Plan>();
    status = platform::ListDirectory(source, &plan_->names);
    if (!status.ok()) return status;
    for (uint32_t i = 0; i < plan_->names.size(); ++i) Sort(source, i);
    status = FindTarget(worker, &target);
    if (!status.ok()) return status;
    status = ListTarget(target);
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kListDirectory);
    node_->left = plan_->targets.size();
    if (plan_->targets.size() != 0) plan_->occupied = true;
    FindOlderCopies();
    cache_.Adopt(*node_, std::move(source), std::move(target));
    return Status();
  }

  Status OpenSource(Directory* out) {
    const SyncNode* parent = node_->above();
    const Directory& above = parent != nullptr ? parent->source : Directory::Paths();
    const char* name = parent != nullptr ? node_->name.c_str() : tree_->source.c_str();
    Status status = Patiently(cache_, [&] { return platform::OpenDirectory(above, name, node_->via_link, out); });
    if (status.ok()) {
      status = platform::GetInfo(*out, &node_->source_info);
      if (!status.ok()) status = Status::FromErrno(status.error_number(), Operation::kListDirectory);
    }
    const platform::FileId& id = node_->source_info.id;
    if (!status.ok()) return status;
    if (parent == nullptr) {
      text_ = OverlapOf(tree_->source, id, tree_->destination);
      if (!text_.empty()) return Status::Of(Kind::kInvalidArgument, Operation::kNone, EINVAL);
      services_.protected_directories.Add(id);
    } else if ((node_->via_link && LeadsUp(parent, id)) || (job_.options().follow_symlinks && IsBeingFilled(id))) {
      status = Status::FromErrno(ELOOP, Operation::kListDirectory);
    }
    return status;
  }

  // Whether a directory of the source is one at the destination in which this one goes: a link led there, and it would
  // be filled with itself without end.
  bool IsBeingFilled(const platform::FileId& id) const {
    for (const SyncNode* n = node_->above(); n != nullptr; n = n->above()) {
      if (n->there && n->target_id == id) return true;
    }
    return false;
  }

  std::function<std::string()> Where() {
    return [this] {
      if (where_.empty()) where_ = node_->Where();
      return where_;
    };
  }

  // Decides what to do with a name of the source.
  void Sort(const Directory& source, uint32_t index) {
    const char* name = plan_->names.name(index);
    FileType type = plan_->names.type(index);
    FileInfo info;
    if (type == FileType::kUnknown && platform::GetInfo(source, name, false, &info).ok()) type = info.type;
    const Selection& selection = services_.selection;
    const bool all = selection.all_names();
    switch (type) {
      case FileType::kDirectory:
        if (all || selection.Enters(name, Where())) plan_->directories.push_back(index);
        break;
      case FileType::kSymlink:
        // What a link that is followed leads to is looked at later.
        if (all || job_.options().follow_symlinks || selection.TakesFile(name, Where())) {
          if (!IsTemporaryName(name)) plan_->links.push_back(index);
        }
        break;
      case FileType::kRegular:
        if ((all || selection.TakesFile(name, Where())) && !IsTemporaryName(name)) plan_->files.push_back(index);
        break;
      default:
        if (all || selection.TakesFile(name, Where())) plan_->others.push_back(index);
    }
  }

  // Opens the destination, or makes it; *out is not valid where there is none and none is needed yet.
  Status FindTarget(Worker& worker, Directory* out) {
    SyncNode* parent = node_->above();
    if (tree_->flat && parent != nullptr) {
      node_->there = parent->there.load();
      node_->made = parent->made.load();
      return Status();
    }
    Status status;
    if (parent == nullptr) {
      tree_->root = node_.get();
      status = Patiently(
          cache_, [&] { return platform::OpenDirectory(Directory::Paths(), tree_->destination.c_str(), true, out); });
      if (status.error_number() == ENOTDIR) text_ = "the destination is a file; remove it, or name a directory";
    } else if (!parent->there || parent->made) {
      status = Status::FromErrno(ENOENT, Operation::kMakeDirectory);
    } else {
      status = OpenTarget(worker, *parent, out);
    }
    if (status.ok()) return EnterTarget(*out);
    if (status.error_number() != ENOENT) {
      return status.kind() == Kind::kDestinationExists
                 ? status
                 : Status::FromErrno(status.error_number(), Operation::kMakeDirectory);
    }
    const bool needed = parent == nullptr || sync_.empty_dirs || plan_->has_content();
    return needed ? MakeTarget(worker, out) : Status();
  }

  Status EnterTarget(const Directory& target) {
    FileInfo info;
    const Status status = platform::GetInfo(target, &info);
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kMakeDirectory);
    if (info.id == node_->source_info.id) return Status::FromErrno(0, Operation::kSameFile);
    MakeWritable(services_, target, info);
    node_->target_id = info.id;
    node_->there = true;
    return Status();
  }

  // ENOENT when there is nothing, or nothing any more.
  Status OpenTarget(Worker& worker, const SyncNode& parent, Directory* out) {
    const char* name = node_->name.c_str();
    auto open = [&](bool follow) {
      return Patiently(cache_, [&] { return platform::OpenDirectory(parent.destination, name, follow, out); });
    };
    Status status = open(false);
    if (status.error_number() != ENOTDIR && status.error_number() != ELOOP) return status;
    FileInfo info, leads_to;
    status = platform::GetInfo(parent.destination, name, false, &info);
    if (!status.ok()) return status;
    const bool leads_to_directory = info.type == FileType::kSymlink &&
                                    platform::GetInfo(parent.destination, name, true, &leads_to).ok() &&
                                    leads_to.type == FileType::kDirectory;
    if (leads_to_directory) {
      node_->merged = sync_.keep_dir_symlinks;
      if (node_->merged) return open(true);
    } else {
      WorkerCounters::Add(worker.counters->mismatches, 1);
      if (!sync_.purge) {
        text_ = "there is a file where the directory is to go; remove it, or let purge or mirror do that";
        return Status::Of(Kind::kDestinationExists, Operation::kMakeDirectory, EEXIST);
      }
    }
    if (!RemoveFile(services_, worker, parent.destination, name, PathOf(*node_, tree_->destination))) {
      return Status::FromErrno(EEXIST, Operation::kMakeDirectory);
    }
    return Status::FromErrno(ENOENT, Operation::kMakeDirectory);
  }

  // Makes the destination of a directory that has none, and of those above it.
  Status MakeTarget(Worker& worker, Directory* out) {
    std::lock_guard<std::mutex> lock(services_.making);
    std::vector<SyncNode*> missing;
    for (SyncNode* n = node_->above(); n != nullptr && !n->there && !n->made; n = n->above()) missing.push_back(n);
    for (auto n = missing.rbegin(); n != missing.rend(); ++n) {
      SyncNode& node = **n;
      Status status = PinPatiently(cache_, node);
      if (!status.ok()) return status;
      Directory made;
      status = MakeOne(worker, node, &made);
      if (status.ok() && made.valid()) {
        cache_.SetDestination(node, std::move(made));
        node.there = true;
      }
      cache_.Unpin(node);
      if (!status.ok()) return status;
    }
    Status status = MakeOne(worker, *node_, out);
    if (status.ok() && out->valid()) status = EnterTarget(*out);
    return status;
  }

  // With the lock held.
  Status MakeOne(Worker& worker, SyncNode& node, Directory* out) {
    uint64_t made = 1;
    SyncNode* parent = node.above();
    if (!sync_.dry_run) {
      Status status;
      made = 0;
      const Directory* above = &Directory::Paths();
      const char* name = tree_->destination.c_str();
      if (parent == nullptr) {
        status = MakeDirectories(tree_->destination, job_.options().fsync, &made);
      } else {
        status = PinPatiently(cache_, *parent);
        if (!status.ok()) return status;
        above = &parent->destination;
        name = node.name.c_str();
        // Never more open than the source, not even while it is filled.
        status = platform::MakeDirectory(*above, name, (node.source_info.mode & 0777) | 0700);
        made = status.ok() ? 1 : 0;
      }
      if (status.ok() || status.error_number() == EEXIST) {
        status = Patiently(cache_, [&] { return platform::OpenDirectory(*above, name, parent == nullptr, out); });
        FileInfo info;
        if (status.ok()) status = platform::GetInfo(*out, &info);
        if (status.ok()) node.target_id = info.id;
        if (!status.ok()) status = Status::FromErrno(status.error_number(), Operation::kMakeDirectory);
      }
      if (parent != nullptr) cache_.Unpin(*parent);
      if (!status.ok()) return status;
    }
    WorkerCounters::Add(worker.counters->directories_created, made);
    node.made = true;
    if (sync_.want_actions) {
      services_.Act(Action::kMakeDirectory, PathOf(node, tree_->source), PathOf(node, tree_->destination));
    }
    return Status();
  }

  // Lists the destination; what dead writers left there is removed.
  Status ListTarget(const Directory& target) {
    if (tree_->flat && node_->parent) {
      plan_->occupied = node_->there;
      return Status();
    }
    if (!target.valid() || (node_->made && !tree_->flat)) return Status();
    Listing all;
    const Status status = platform::ListDirectory(target, &all);
    if (!status.ok()) return status;
    bool sweep = false;
    for (size_t i = 0; i < all.size() && !sweep; ++i) sweep = IsTemporaryName(all.name(i));
    if (!sweep) {
      plan_->targets = std::move(all);
      return Status();
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const char* name = all.name(i);
      if (!IsTemporaryName(name)) {
        plan_->targets.Add(name, std::strlen(name), all.type(i));
      } else if (!sync_.dry_run) {
        platform::RemoveTemporaryIfDead(target, name);
      }
    }
    return Status();
  }

  // The directories of older copies in which the files of this one may be.
  void FindOlderCopies() {
    SyncNode* parent = node_->above();
    if (sync_.link_dirs.empty() || (tree_->flat && parent != nullptr)) return;
    for (size_t i = 0; i < sync_.link_dirs.size(); ++i) {
      std::shared_ptr<DirectoryNode> above = parent != nullptr ? parent->older[i] : nullptr;
      std::shared_ptr<DirectoryNode> copy;
      Directory directory;
      Status status;
      if (parent == nullptr) {
        status = Patiently(cache_, [&] {
          return platform::OpenDirectory(Directory::Paths(), sync_.link_dirs[i].c_str(), true, &directory);
        });
      } else if (above != nullptr && PinPatiently(cache_, *above).ok()) {
        status = Patiently(
            cache_, [&] { return platform::OpenDirectory(above->source, node_->name.c_str(), false, &directory); });
        cache_.Unpin(*above);
      }
      if (status.ok() && directory.valid()) {
        copy = std::make_shared<DirectoryNode>(above, parent != nullptr ? node_->name : "", parent == nullptr,
                                               job_.umask());
        if (platform::GetInfo(directory, &copy->source_info).ok()) {
          if (parent == nullptr) services_.protected_directories.Add(copy->source_info.id);
          cache_.Adopt(*copy, std::move(directory), Directory());
          if (parent != nullptr) cache_.Unpin(*copy);  // a root stays pinned
        } else {
          copy = nullptr;
        }
      }
      node_->older.push_back(std::move(copy));
    }
  }

  // With the node pinned: brings the files and links up to date, hands on the directories, and removes the rest.
  void Fill(Worker& worker) {
    const bool follow = job_.options().follow_symlinks;
    const bool descends = sync_.subdirs && (sync_.max_depth == 0 || node_->depth < sync_.max_depth);
    const Plan& plan = *plan_;
    WorkerCounters::Add(worker.counters->files_found,
                        plan.files.size() + plan.others.size() + (follow ? 0 : plan.links.size()));
    node_->filled = plan.has_content();
    std::vector<std::unique_ptr<Task>> tasks;
    if (descends) {
      for (const uint32_t i : plan.directories) tasks.push_back(MakeTask(plan.names.name(i), false));
    }
    const size_t own_end = std::min(plan.files.size(), kSlice);
    for (size_t begin = own_end; begin < plan.files.size(); begin += kSlice) {
      const size_t end = std::min(begin + kSlice, plan.files.size());
      tasks.push_back(std::make_unique<SliceTask>(tree_, node_, plan_, begin, end));
    }
    PushTasks(std::move(tasks));
    {
      InTree place(tree_, node_, worker);
      BringFiles(*tree_, place, plan, 0, own_end);
      for (const uint32_t i : plan.others) {
        if (!CopyUnlisted(place, plan.names.name(i), false)) tree_->failed = true;
      }
      if (follow) {
        FollowLinks(place, descends);
      } else {
        for (const uint32_t i : plan.links) {
          if (job_.cancelled()) return;
          const char* name = plan.names.name(i);
          if (TakeName(*tree_, place, name) && !BringLink(place, name, plan.occupied)) tree_->failed = true;
        }
      }
    }
    if (sync_.purge && node_->there && !node_->made && !tree_->flat && !job_.cancelled()) {
      std::vector<const char*> known;
      for (size_t i = 0; i < plan.names.size(); ++i) {
        if (!IsTemporaryName(plan.names.name(i))) known.push_back(plan.names.name(i));
      }
      std::sort(known.begin(), known.end(), [](const char* a, const char* b) { return std::strcmp(a, b) < 0; });
      Purge(*tree_, *node_, worker).Run(plan.targets, known);
    }
  }

  std::unique_ptr<Task> MakeTask(const char* name, bool via_link) {
    auto child = std::make_shared<SyncNode>(node_, name, via_link, job_.umask());
    child->depth = node_->depth + 1;
    return std::make_unique<DirectoryTask>(tree_, std::move(child));
  }

  void PushTasks(std::vector<std::unique_ptr<Task>> tasks) {
    node_->pending.fetch_add(static_cast<uint32_t>(tasks.size()), std::memory_order_relaxed);
    job_.scheduler().Push(std::move(tasks));
  }

  // Brings up to date what links lead to.
  void FollowLinks(Place& place, bool descends) {
    const Selection& selection = services_.selection;
    std::vector<std::unique_ptr<Task>> tasks;
    for (const uint32_t i : plan_->links) {
      if (job_.cancelled()) return;
      const char* name = plan_->names.name(i);
      FileInfo info;
      const Status status = platform::GetInfo(node_->source, name, true, &info);
      if (status.ok() && info.type == FileType::kDirectory) {
        if (descends && selection.Enters(name, Where())) tasks.push_back(MakeTask(name, true));
        continue;
      }
      if (!selection.all_names() && !selection.TakesFile(name, Where())) continue;
      WorkerCounters::Add(place.worker.counters->files_found, 1);
      const bool brought = status.ok()
                               ? TakeName(*tree_, place, name) && BringFile(place, name, plan_->occupied, true)
                               : place.Lose(name, Status::FromErrno(status.error_number(), Operation::kOpenSource));
      if (!brought) tree_->failed = true;
    }
    PushTasks(std::move(tasks));
  }

  void Fail(Worker& worker, Status status) {
    const bool root = !node_->parent;
    FileInfo info;
    bool there = false;
    if (root) {
      there = platform::GetInfo(Directory::Paths(), tree_->destination.c_str(), false, &info).ok();
    } else if (PinPatiently(cache_, *node_->parent).ok()) {
      there = node_->above()->there && !tree_->flat &&
              platform::GetInfo(node_->parent->destination, node_->name.c_str(), false, &info).ok();
      cache_.Unpin(*node_->parent);
    }
    status.set_destination_state(there ? DestinationState::kOld : DestinationState::kAbsent);
    tree_->failed = true;
    job_.Fail(worker, status, PathOf(*node_, tree_->source), PathOf(*node_, tree_->destination), root, text_);
  }

  const TreePointer tree_;
  NodePointer node_;
  SyncServices& services_;
  const Sync& sync_;
  JobContext& job_;
  DirectoryCache& cache_;
  PlanPointer plan_;
  std::string where_;
  std::string text_;  // what a failure has to say beside its kind
};

}  // namespace

std::unique_ptr<Task> MakeSyncTreeTask(SyncServices& services, std::string source, std::string destination) {
  auto tree = std::make_shared<SyncTree>(services, std::move(source), std::move(destination));
  auto root = std::make_shared<SyncNode>(nullptr, "", true, services.job.umask());
  return std::make_unique<DirectoryTask>(std::move(tree), std::move(root));
}

}  // namespace eacopy
