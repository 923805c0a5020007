// Copying a directory tree: a directory is a task; the worker that takes it lists it, makes its twin, leaves its
// subdirectories to whoever is free, and copies its files. A directory gets its times and mode when all in it is done.

#include "tree_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tree_parts.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;
using platform::Listing;

namespace {

// Files are handed on in slices of so many: enough to be worth a task, few enough that nobody waits long for the last
// one.
constexpr size_t kSlice = 64;

// What the nodes of one tree have in common.
struct Tree {
  Tree(TreeServices& tree_services, std::string source_path, std::string destination_path)
      : services(tree_services), source(std::move(source_path)), destination(std::move(destination_path)) {}

  TreeServices& services;
  const std::string source;
  const std::string destination;
  platform::FileId destination_id;  // set before any child is looked at
  std::atomic<bool> failed{false};
};

using TreePointer = std::shared_ptr<Tree>;
using NodePointer = std::shared_ptr<DirectoryNode>;

struct FileEntry {
  uint32_t index;  // in the listing
  FileType type;   // kUnknown: reached through a link that is followed
};

// One more thing in `node` has ended. The last one completes the directory, which may complete its parent, and so on
// up.
void Complete(const TreePointer& tree, NodePointer node, Worker& worker) {
  JobContext& job = tree->services.job;
  DirectoryCache& cache = tree->services.cache;
  while (node && node->pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (node->ready) {
      if (!job.cancelled()) {
        Status status = PinPatiently(cache, *node);
        if (status.ok()) {
          status = platform::CopyMetadata(node->source, node->source_info, node->destination);
          if (status.ok() && job.options().fsync) status = platform::Sync(node->destination);
          cache.Unpin(*node);
        }
        if (!status.ok()) {
          tree->failed = true;
          status.set_destination_state(DestinationState::kOld);
          job.Fail(worker, status, PathOf(*node, tree->source), PathOf(*node, tree->destination), false);
        }
      }
      cache.Retire(*node);
    }
    NodePointer parent = node->parent;
    if (!parent && tree->failed) job.EndItemWithFailure();
    node = std::move(parent);
  }
}

// Copies files [begin, end) of a directory.
class SliceTask : public Task {
 public:
  SliceTask(TreePointer tree, NodePointer node, std::shared_ptr<const Listing> listing,
            std::shared_ptr<const std::vector<FileEntry>> files, size_t begin, size_t end)
      : tree_(std::move(tree)),
        node_(std::move(node)),
        listing_(std::move(listing)),
        files_(std::move(files)),
        begin_(begin),
        end_(end) {}

  void Run(Worker& worker) override {
    JobContext& job = tree_->services.job;
    if (!job.cancelled()) {
      Status status = PinPatiently(tree_->services.cache, *node_);
      if (status.ok()) {
        CopyFiles(worker);
        tree_->services.cache.Unpin(*node_);
      } else {
        tree_->failed = true;
        job.Fail(worker, status, PathOf(*node_, tree_->source), PathOf(*node_, tree_->destination), false);
      }
    }
    Complete(tree_, std::move(node_), worker);
  }

  // With the node pinned.
  void CopyFiles(Worker& worker) const {
    JobContext& job = tree_->services.job;
    const bool follow = job.options().follow_symlinks;
    std::string source_path;  // of the directory; made when it is first needed
    for (size_t i = begin_; i < end_ && !job.cancelled(); ++i) {
      const FileEntry& entry = (*files_)[i];
      const char* name = listing_->name(entry.index);
      auto path = [&] {
        if (source_path.empty()) source_path = PathOf(*node_, tree_->source);
        return Join(source_path, name);
      };
      FileTask task{node_->source,
                    name,
                    node_->destination,
                    name,
                    follow && entry.type == FileType::kUnknown,
                    true,
                    entry.type == FileType::kRegular,
                    UINT64_MAX,
                    job.scheduler().idle() + 1,
                    &node_->new_modes};
      Status status = Patiently(tree_->services.cache, [&] { return job.Copy(task, worker, path); });
      if (status.ok()) continue;
      tree_->failed = true;
      job.Fail(worker, status, path(), Join(PathOf(*node_, tree_->destination), name), false);
    }
  }

 private:
  const TreePointer tree_;
  NodePointer node_;
  const std::shared_ptr<const Listing> listing_;
  const std::shared_ptr<const std::vector<FileEntry>> files_;
  const size_t begin_;
  const size_t end_;
};

class DirectoryTask : public Task {
 public:
  DirectoryTask(TreePointer tree, NodePointer node)
      : tree_(std::move(tree)), node_(std::move(node)), job_(tree_->services.job) {}

  void Run(Worker& worker) override {
    Status status;
    bool parked = false;
    // A tree that was taken from the queue just when another item failed.
    const bool refused = !node_->parent && listing_ == nullptr && job_.refuses_items();
    if (!job_.cancelled() && !refused) {
      DirectoryCache& cache = tree_->services.cache;
      // Shared: once parked, the node is another task's, which may complete it and its parent before this one is
      // through.
      const NodePointer parent = node_->parent;
      status = parent != nullptr ? PinPatiently(cache, *parent) : Status();
      if (status.ok()) {
        status = OpenBoth(worker, &parked);
        if (parent != nullptr) cache.Unpin(*parent);
      }
      if (!parked && status.ok() && node_->ready) {
        CopyContents(worker);
        if (parent != nullptr) cache.Unpin(*node_);  // a root stays pinned until it is complete
      }
    }
    if (!status.ok()) Fail(worker, status);
    if (!parked) Complete(tree_, std::move(node_), worker);
  }

 private:
  // Opens the source, lists it, asks the filter, makes and opens the destination. With the parent pinned. `ready` stays
  // false when there is nothing to copy; *parked when the filter has been asked.
  Status OpenBoth(Worker& worker, bool* parked) {
    Directory source;
    Status status = OpenSourceDirectory(&source);
    if (!status.ok()) return status;
    FileInfo info;
    status = platform::GetInfo(source, &info);
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kListDirectory);
    if (listing_ != nullptr) {
      // Back from the filter, so listed before; somebody may have put another directory there meanwhile.
      if (!(info.id == node_->source_info.id)) return Status::FromErrno(ENOENT, Operation::kListDirectory);
    } else {
      node_->source_info = info;
      if (node_->parent) {
        // A tree that is copied into itself: its own copy is not part of it.
        if (info.id == tree_->destination_id) return Status();
        if (node_->via_link && LeadsUp(node_->parent.get(), info.id))
          return Status::FromErrno(ELOOP, Operation::kListDirectory);
      }
      auto listing = std::make_shared<Listing>();
      status = platform::ListDirectory(source, listing.get());
      if (!status.ok()) return status;
      listing_ = std::move(listing);
      if (job_.options().want_filter) {
        Park(parked);
        return Status();
      }
    }
    Directory destination;
    status = MakeDestination(worker, &destination);
    if (!status.ok()) return status;
    if (!node_->parent) {
      status = platform::GetInfo(destination, &info);
      if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kMakeDirectory);
      tree_->destination_id = info.id;
    }
    tree_->services.cache.Adopt(*node_, std::move(source), std::move(destination));
    return Status();
  }

  Status OpenSourceDirectory(Directory* out) {
    if (!node_->parent) {
      return Patiently(tree_->services.cache,
                       [&] { return platform::OpenDirectory(Directory::Paths(), tree_->source.c_str(), true, out); });
    }
    return Patiently(tree_->services.cache, [&] {
      return platform::OpenDirectory(node_->parent->source, node_->name.c_str(), node_->via_link, out);
    });
  }

  void Park(bool* parked) {
    *parked = true;
    FilterRequest request;
    request.directory = PathOf(*node_, tree_->source);
    request.names = listing_->names();
    request.count = listing_->size();
    leave_out_.assign(listing_->size(), 0);
    job_.scheduler().Hold();
    // A task of its own goes on, because this one ends with the call that runs it.
    auto rest = std::make_unique<DirectoryTask>(tree_, std::move(node_));
    rest->listing_ = std::move(listing_);
    rest->leave_out_ = std::move(leave_out_);
    std::vector<uint8_t>* leave_out = &rest->leave_out_;
    request.ticket = tree_->services.desk.Park(std::move(rest), leave_out);
    job_.events().AddFilter(std::move(request));
    // A cancel that came just before has been at the desk already.
    if (!job_.cancelled()) return;
    for (auto& task : tree_->services.desk.TakeAll()) job_.scheduler().Resume(std::move(task));
  }

  Status MakeDestination(Worker& worker, Directory* out) {
    const Directory& parent = node_->parent ? node_->parent->destination : Directory::Paths();
    const char* name = node_->parent ? node_->name.c_str() : tree_->destination.c_str();
    uint64_t created = 0;
    Status status;
    if (node_->parent) {
      status = platform::MakeDirectory(parent, name);
      created = status.ok() ? 1 : 0;
    } else {
      status = MakeDirectories(tree_->destination, job_.options().fsync, &created);
    }
    WorkerCounters::Add(worker.counters->directories_created, created);
    if (status.error_number() == EEXIST && job_.options().dirs_exist_ok) {
      node_->merged = true;
    } else if (!status.ok()) {
      return status;
    }
    // What was just made is a directory and nothing else; what was there may be a link to one, as for shutil.
    status =
        Patiently(tree_->services.cache, [&] { return platform::OpenDirectory(parent, name, node_->merged, out); });
    if (status.ok()) return status;
    // A file, or a link that leads nowhere.
    const bool is_no_directory = node_->merged && (status.error_number() == ENOTDIR || status.error_number() == ENOENT);
    return Status::FromErrno(is_no_directory ? EEXIST : status.error_number(), Operation::kMakeDirectory);
  }

  // With the node pinned.
  void CopyContents(Worker& worker) {
    auto files = std::make_shared<std::vector<FileEntry>>();
    std::vector<std::unique_ptr<Task>> tasks;
    for (uint32_t i = 0; i < listing_->size(); ++i) {
      if (!leave_out_.empty() && leave_out_[i] != 0) continue;
      Sort(worker, i, files.get(), &tasks);
    }
    WorkerCounters::Add(worker.counters->files_found, files->size());
    const size_t own_end = std::min(files->size(), kSlice);
    for (size_t begin = own_end; begin < files->size(); begin += kSlice) {
      const size_t end = std::min(begin + kSlice, files->size());
      tasks.push_back(std::make_unique<SliceTask>(tree_, node_, listing_, files, begin, end));
    }
    node_->pending.fetch_add(static_cast<uint32_t>(tasks.size()), std::memory_order_relaxed);
    job_.scheduler().Push(std::move(tasks));
    SliceTask(tree_, node_, listing_, files, 0, own_end).CopyFiles(worker);
  }

  // Decides what to do with an entry: a file to copy, a directory to descend into, or nothing.
  void Sort(Worker& worker, uint32_t index, std::vector<FileEntry>* files, std::vector<std::unique_ptr<Task>>* tasks) {
    const char* name = listing_->name(index);
    FileType type = listing_->type(index);
    FileInfo info;
    Status status;
    if (type == FileType::kUnknown) {
      status = platform::GetInfo(node_->source, name, false, &info);
      type = info.type;
    }
    bool via_link = false;
    if (status.ok() && type == FileType::kSymlink && job_.options().follow_symlinks) {
      status = platform::GetInfo(node_->source, name, true, &info);
      if (Dangles(status) && job_.options().ignore_dangling_symlinks) return;
      via_link = true;
      type = info.type;
    }
    if (!status.ok()) {
      tree_->failed = true;
      status = Status::FromErrno(status.error_number(), Operation::kOpenSource);
      const bool there = platform::GetInfo(node_->destination, name, false, &info).ok();
      status.set_destination_state(there ? DestinationState::kOld : DestinationState::kAbsent);
      job_.Fail(worker, status, Join(PathOf(*node_, tree_->source), name),
                Join(PathOf(*node_, tree_->destination), name), false);
      return;
    }
    if (type == FileType::kDirectory) {
      auto child = std::make_shared<DirectoryNode>(node_, name, via_link, job_.umask());
      tasks->push_back(std::make_unique<DirectoryTask>(tree_, std::move(child)));
    } else {
      files->push_back({index, via_link ? FileType::kUnknown : type});
    }
  }

  void Fail(Worker& worker, Status status) {
    const bool root = !node_->parent;
    const std::string destination = PathOf(*node_, tree_->destination);
    FileInfo info;
    const Directory* parent = &Directory::Paths();
    const char* name = tree_->destination.c_str();
    if (!root) {
      parent = nullptr;
      if (PinPatiently(tree_->services.cache, *node_->parent).ok()) parent = &node_->parent->destination;
      name = node_->name.c_str();
    }
    const bool there = parent != nullptr && platform::GetInfo(*parent, name, false, &info).ok();
    if (!root && parent != nullptr) tree_->services.cache.Unpin(*node_->parent);
    status.set_destination_state(there ? DestinationState::kOld : DestinationState::kAbsent);
    tree_->failed = true;
    job_.Fail(worker, status, PathOf(*node_, tree_->source), destination, root);
  }

  const TreePointer tree_;
  NodePointer node_;
  JobContext& job_;
  std::shared_ptr<const Listing> listing_;
  std::vector<uint8_t> leave_out_;
};

}  // namespace

uint64_t FilterDesk::Park(std::unique_ptr<Task> task, std::vector<uint8_t>* leave_out) {
  std::lock_guard<std::mutex> lock(mutex_);
  parked_.push_back({next_ticket_, std::move(task), leave_out});
  return next_ticket_++;
}

std::unique_ptr<Task> FilterDesk::Answer(uint64_t ticket, const uint8_t* leave_out) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto parked = std::find_if(parked_.begin(), parked_.end(), [ticket](const Parked& p) { return p.ticket == ticket; });
  if (parked == parked_.end()) return nullptr;
  std::copy(leave_out, leave_out + parked->leave_out->size(), parked->leave_out->begin());
  std::unique_ptr<Task> task = std::move(parked->task);
  *parked = std::move(parked_.back());
  parked_.pop_back();
  return task;
}

std::vector<std::unique_ptr<Task>> FilterDesk::TakeAll() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::unique_ptr<Task>> tasks;
  for (Parked& parked : parked_) tasks.push_back(std::move(parked.task));
  parked_.clear();
  return tasks;
}

std::unique_ptr<Task> MakeTreeTask(TreeServices& services, std::string source, std::string destination) {
  auto tree = std::make_shared<Tree>(services, std::move(source), std::move(destination));
  auto root = std::make_shared<DirectoryNode>(nullptr, "", true, services.job.umask());
  return std::make_unique<DirectoryTask>(std::move(tree), std::move(root));
}

}  // namespace eacopy
