// Walking the tree that is pushed; see source_walk.h.

#include "source_walk.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "../tree_parts.h"
#include "store.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

constexpr size_t kSlice = 128;

// Whether it is this directory, or one above it.
bool LeadsUp(const SourceDirectory* directory, const platform::FileId& id) {
  for (const SourceDirectory* d = directory; d != nullptr; d = d->parent.get()) {
    if (d->info.id == id) return true;
  }
  return false;
}

}  // namespace

Status LookAt(const platform::Directory& parent, const char* name, bool follow, bool with_attributes,
              SourceEntry* entry) {
  Status status = platform::GetInfo(parent, name, follow, &entry->info);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
  switch (entry->info.type) {
    case FileType::kRegular:
      if (with_attributes && !follow) {
        ReadAttributesAt(parent, name, &entry->attributes);
      } else if (with_attributes) {
        platform::Handle file;
        FileInfo info;
        if (platform::OpenSource(parent, name, true, &file, &info).ok()) ReadAttributes(file.get(), &entry->attributes);
      }
      return Status();
    case FileType::kSymlink:
      return ReadTarget(parent, name, &entry->target);
    case FileType::kDirectory:
      return Status();
    case FileType::kSocket:
      return Status::FromErrno(ENXIO, Operation::kOpenSource);
    default:
      return Status::FromErrno(0, Operation::kSpecialFile);
  }
}

Status SourceWalk::Open(const std::string& path) {
  auto root = std::make_shared<platform::Directory>();
  Status status = platform::OpenDirectory(platform::Directory::Paths(), path.c_str(), true, root.get());
  if (!status.ok()) return status;
  share_.directory = path;
  share_.root = std::move(root);
  Unit unit;
  unit.directory = std::make_shared<SourceDirectory>();
  std::lock_guard<std::mutex> lock(mutex_);
  units_.push_back(std::move(unit));
  return Status();
}

SourceWalk::Taken SourceWalk::Take(Unit* unit) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (units_.empty()) return taken_ == 0 ? Taken::kDone : Taken::kNothingNow;
  // Names before directories, and what was found last before the rest: the walk stays narrow.
  *unit = std::move(units_.back());
  units_.pop_back();
  ++taken_;
  return Taken::kUnit;
}

void SourceWalk::Done() {
  std::lock_guard<std::mutex> lock(mutex_);
  --taken_;
  more_.notify_all();
}

void SourceWalk::WaitForMore() {
  std::unique_lock<std::mutex> lock(mutex_);
  more_.wait_for(lock, std::chrono::milliseconds(20), [this] { return !units_.empty() || taken_ == 0; });
}

bool SourceWalk::HasUnits() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return !units_.empty();
}

std::vector<SourceDirectoryPointer> SourceWalk::TakeDirectories() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::move(listed_);
}

Status SourceWalk::ListInto(OpenDirectories& directories, const Unit& unit, platform::Listing* names) {
  OpenDirectory directory;
  SourceDirectory& node = *unit.directory;
  Status status = directories.Open(node.path, &directory);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kListDirectory);
  status = platform::GetInfo(*directory, &node.info);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kListDirectory);
  // It may have been another when its name was found.
  if (node.via_link && LeadsUp(node.parent.get(), node.info.id))
    return Status::FromErrno(ELOOP, Operation::kListDirectory);
  ReadAttributes(directory->get(), &node.attributes);
  return platform::ListAgain(*directory, names);
}

void SourceWalk::List(Worker& worker, OpenDirectories& directories, const Unit& unit,
                      std::vector<SourceDirectoryPointer>* found) {
  platform::Listing all;
  Status status = ListInto(directories, unit, &all);
  if (!status.ok()) {
    if (unit.directory->path.empty()) {
      remote_.FailWhole(worker, status);
    } else {
      remote_.Fail(worker, status, unit.directory->path);
    }
    return;
  }
  const bool follow = remote_.job.options().follow_symlinks;
  auto names = std::make_shared<platform::Listing>();
  std::vector<SourceDirectoryPointer> below;
  OpenDirectory directory;
  std::vector<uint8_t> leave_out(all.size(), 0);
  if (remote_.job.options().want_filter && !remote_.AskFilter(unit.directory->path, all, &leave_out)) return;
  for (size_t i = 0; i < all.size(); ++i) {
    if (leave_out[i] != 0) continue;
    FileType type = all.type(i);
    const char* name = all.name(i);
    bool via_link = false;
    FileInfo info;
    if ((type == FileType::kSymlink && follow) || type == FileType::kUnknown) {
      // Where that fails, Look() will say so.
      const bool open = directory || directories.Open(unit.directory->path, &directory).ok();
      if (open && type == FileType::kUnknown && platform::GetInfo(*directory, name, false, &info).ok())
        type = info.type;
      if (open && type == FileType::kSymlink && follow) {
        via_link = true;
        if (platform::GetInfo(*directory, name, true, &info).ok()) type = info.type;
      }
    }
    if (type == FileType::kDirectory && via_link && LeadsUp(unit.directory.get(), info.id)) {
      remote_.Fail(worker, Status::FromErrno(ELOOP, Operation::kListDirectory), JoinPaths(unit.directory->path, name));
    } else if (type == FileType::kDirectory) {
      auto child = std::make_shared<SourceDirectory>();
      child->path = JoinPaths(unit.directory->path, name);
      child->parent = unit.directory;
      child->via_link = via_link;
      below.push_back(std::move(child));
    } else {
      names->Add(name, std::char_traits<char>::length(name), type);
    }
  }
  files_found_.fetch_add(names->size(), std::memory_order_relaxed);
  WorkerCounters::Add(worker.counters->files_found, names->size());
  // In the order of their names, so that what is alike is sent together, and shrinks more. What was added last is taken
  // first.
  names->Sort();
  std::sort(below.begin(), below.end(),
            [](const SourceDirectoryPointer& x, const SourceDirectoryPointer& y) { return x->path > y->path; });
  std::lock_guard<std::mutex> lock(mutex_);
  listed_.push_back(unit.directory);
  for (const SourceDirectoryPointer& child : below) {
    Unit next;
    next.directory = child;
    units_.push_back(std::move(next));
    found->push_back(child);
  }
  for (size_t end = names->size(); end != 0;) {
    Unit next;
    next.directory = unit.directory;
    next.names = names;
    next.end = end;
    next.begin = end = (end - 1) / kSlice * kSlice;
    units_.push_back(std::move(next));
  }
  more_.notify_all();
}

void SourceWalk::Look(Worker& worker, OpenDirectories& directories, const Unit& unit, bool with_attributes,
                      std::vector<SourceEntry>* found) {
  OpenDirectory directory;
  Status status = directories.Open(unit.directory->path, &directory);
  const Options& options = remote_.job.options();
  uint64_t bytes = 0;
  for (size_t i = unit.begin; i < unit.end; ++i) {
    const char* name = unit.names->name(i);
    SourceEntry entry;
    entry.directory = unit.directory;
    entry.path = JoinPaths(unit.directory->path, name);
    Status looked = status.ok() ? LookAt(*directory, name, options.follow_symlinks, with_attributes, &entry)
                                : Status::FromErrno(status.error_number(), Operation::kOpenSource);
    if (looked.ok() && entry.info.type == FileType::kDirectory) {
      looked = Status::FromErrno(EISDIR, Operation::kOpenSource);  // it was none when it was listed
    }
    if (!looked.ok()) {
      const bool is_link = unit.names->type(i) == FileType::kSymlink;
      if (!(is_link && Dangles(looked) && options.follow_symlinks && options.ignore_dangling_symlinks)) {
        remote_.Fail(worker, looked, entry.path);
      }
      continue;
    }
    if (entry.info.type == FileType::kRegular) bytes += entry.info.size;
    found->push_back(std::move(entry));
  }
  bytes_found_.fetch_add(bytes, std::memory_order_relaxed);
  WorkerCounters::Add(worker.counters->bytes_found, bytes);
}

}  // namespace net
}  // namespace eacopy
