// Copying one file; see file_copy.h.

#include "file_copy.h"

#include <cerrno>
#include <cstring>

#include "delta/fill.h"
#include "delta/patch.h"
#include "delta/reference.h"
#include "eacopy/copy.h"
#include "temporary.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;
using platform::Handle;

namespace {

constexpr int kMaxLinks = 40;  // as many as Linux follows

bool IsSeparator(char c) { return c == '/' || c == platform::kSeparator; }

bool IsAbsolute(const std::string& path) {
  return !path.empty() && (IsSeparator(path[0]) || (platform::kSeparator == '\\' && path.size() > 1 && path[1] == ':'));
}

// The directory part of a path, with its separator; "" when there is none.
std::string DirectoryPart(const std::string& path) {
  return path.substr(0, static_cast<size_t>(BaseName(path.c_str()) - path.c_str()));
}

void AppendName(std::string* path, const char* name) {
  if (!path->empty() && !IsSeparator(path->back())) *path += platform::kSeparator;
  *path += name;
}

// Where a name leads when its links are followed, as a name relative to the same directory. The last one need not
// exist.
Status ResolveLinks(const Directory& parent, std::string* name, bool* exists, FileInfo* info) {
  for (int links = 0; links < kMaxLinks; ++links) {
    Status status = platform::GetInfo(parent, name->c_str(), false, info);
    *exists = status.ok();
    if (status.error_number() == ENOENT) return Status();
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenDestination);
    if (info->type != FileType::kSymlink) return Status();
    std::string target;
    status = platform::ReadLink(parent, name->c_str(), &target);
    if (!status.ok()) return status;
    *name = IsAbsolute(target) ? target : DirectoryPart(*name) + target;
  }
  return Status::FromErrno(ELOOP, Operation::kOpenDestination);
}

// Whether a destination that is a directory takes the file in. In a tree every name is a final one.
bool TakesIn(const FileTask& task, const Options& options) { return options.into_directory && !task.in_tree; }

// The destination while it is being written. Until Commit() it is the business of the destructor to take back what was
// created.
class Destination {
 public:
  Destination(const FileTask& task, const Options& options)
      : task_(task), options_(options), given_(task.destination_name) {}
  ~Destination() {
    if (created_) Abandon();
  }
  Destination(const Destination&) = delete;
  Destination& operator=(const Destination&) = delete;

  // Opens or creates an empty file to write to. Only the file `kept`, which may be null, is not emptied.
  Status Open(const FileInfo& source_info, const FileInfo* kept, bool* into_directory);
  // All is written: gives it its metadata and its name. `verify`: compares, whatever the options say.
  Status Commit(const Handle& source, const FileInfo& source_info, bool verify, platform::Scratch& scratch,
                FileMonitor& monitor);
  // Something was written to it, or may have been.
  void NoteWritten();
  // Takes back what was created and tells what is at the destination now.
  DestinationState Abandon();

  const Handle& handle() const { return handle_; }
  // Of a file that was there before; null when it was created.
  const FileInfo* existing_info() const { return in_place_ ? &existing_info_ : nullptr; }
  // It is the one that was to be kept.
  bool is_kept() const { return in_place_ && kept_ != nullptr && existing_info_.id == kept_->id; }

 private:
  Status Create(const std::string& name, const FileInfo& source_info);
  Status OpenAtomic(const FileInfo& source_info);
  Status OpenInPlace(const FileInfo& source_info);
  Status RefuseSameFile(const FileInfo& source_info, const FileInfo& destination_info) const;
  Status SyncDirectory() const;

  const FileTask& task_;
  const Options& options_;
  std::string given_;    // the name as it was given, in the directory that takes the file in if there is one
  std::string name_;     // where the file is to be in the end: what given_ leads to
  std::string written_;  // the name under which it is written: name_, or that of the temporary file
  Handle handle_;
  FileInfo existing_info_;
  const FileInfo* kept_ = nullptr;
  bool existed_ = false;
  bool created_ = false;   // written_ is ours to remove
  bool in_place_ = false;  // an existing file is written over
  bool touched_ = false;   // and is not what it was
};

Status Destination::RefuseSameFile(const FileInfo& source_info, const FileInfo& destination_info) const {
  if (!(source_info.id == destination_info.id)) return Status();
  return Status::FromErrno(0, Operation::kSameFile);
}

Status Destination::Create(const std::string& name, const FileInfo& source_info) {
  const uint32_t mode = options_.metadata == Metadata::kNone ? 0666 : source_info.mode & 0777;
  Status status = platform::CreateFile(task_.destination_parent, name.c_str(), mode, &handle_);
  if (!status.ok()) return status;
  written_ = name;
  created_ = true;
  return status;
}

Status Destination::Open(const FileInfo& source_info, const FileInfo* kept, bool* into_directory) {
  kept_ = kept;
  for (;;) {
    name_ = given_;
    existed_ = false;
    Status status = options_.atomic ? OpenAtomic(source_info) : Create(name_, source_info);
    if (!options_.atomic && status.error_number() == EEXIST) status = OpenInPlace(source_info);
    if (status.error_number() != EISDIR) return status;
    FileInfo info;
    if (!platform::GetInfo(task_.destination_parent, name_.c_str(), true, &info).ok()) {
      // "missing/" with a slash, or "file/": what is missing is a directory.
      return Status::FromErrno(ENOENT, Operation::kOpenDestination);
    }
    if (!TakesIn(task_, options_) || *into_directory) return status;
    *into_directory = true;
    AppendName(&given_, BaseName(task_.source_name));
  }
}

Status Destination::OpenAtomic(const FileInfo& source_info) {
  // Writing through a link replaces what it leads to, as writing in place would.
  Status status;
  if (task_.replaces_links) {
    status = platform::GetInfo(task_.destination_parent, name_.c_str(), false, &existing_info_);
    existed_ = status.ok();
    if (status.error_number() == ENOENT) status = Status();
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenDestination);
  } else {
    status = ResolveLinks(task_.destination_parent, &name_, &existed_, &existing_info_);
    if (!status.ok()) return status;
  }
  if (existed_ && !(task_.replaces_links && existing_info_.type == FileType::kSymlink)) {
    if (existing_info_.type == FileType::kDirectory) return Status::FromErrno(EISDIR, Operation::kOpenDestination);
    // A device must not be replaced by a file.
    if (existing_info_.type != FileType::kRegular) {
      const bool refused = task_.replaces_links && existing_info_.type != FileType::kFifo;
      return refused ? Status::FromErrno(EEXIST, Operation::kOpenDestination) : OpenInPlace(source_info);
    }
    status = RefuseSameFile(source_info, existing_info_);
    if (!status.ok()) return status;
  } else if (name_.empty() || IsSeparator(name_.back())) {
    return Status::FromErrno(ENOENT, Operation::kOpenDestination);
  }
  const std::string directory = DirectoryPart(name_);
  for (;;) {
    status = Create(directory + TemporaryName(), source_info);
    if (status.ok() && !platform::LockTemporary(handle_)) {
      handle_.Close();  // somebody who clears up took it for dead
      created_ = false;
      continue;
    }
    if (status.error_number() != EEXIST) return status;
  }
}

Status Destination::OpenInPlace(const FileInfo& source_info) {
  // Looked at before it is opened, because opening a FIFO would wait for, or disturb, its reader.
  Status status = platform::GetInfo(task_.destination_parent, name_.c_str(), true, &existing_info_);
  existed_ = status.ok();
  if (status.error_number() == ENOENT) {
    // A link that leads nowhere: its target is created, and is ours to remove again.
    status = ResolveLinks(task_.destination_parent, &name_, &existed_, &existing_info_);
    if (!status.ok()) return status;
    if (!existed_) return Create(name_, source_info);
  } else if (!status.ok()) {
    return Status::FromErrno(status.error_number(), Operation::kOpenDestination);
  }
  if (existing_info_.type == FileType::kFifo) return Status::FromErrno(0, Operation::kSpecialFile);
  status = RefuseSameFile(source_info, existing_info_);
  if (!status.ok()) return status;
  const bool readable = options_.verify || task_.delta != nullptr;
  status = platform::OpenExisting(task_.destination_parent, name_.c_str(), readable, &handle_);
  if (!status.ok()) return status;
  status = platform::GetInfo(handle_, &existing_info_);
  if (status.ok()) status = RefuseSameFile(source_info, existing_info_);
  if (!status.ok()) return status;
  in_place_ = true;
  if (existing_info_.type != FileType::kRegular || is_kept()) return Status();
  // A clone takes the place of all old data at once, and when it is refused they have to stay.
  const bool cloned_only = options_.reflink == Reflink::kAlways && source_info.type == FileType::kRegular;
  if (cloned_only && source_info.size != 0) return Status();
  // An empty file that comes over an empty one is written by this alone: it gets a new time as any other.
  const bool empties = existing_info_.size != 0 || source_info.size == 0;
  status = empties ? platform::Truncate(handle_, 0) : Status();
  // Some FUSE file systems refuse; then the old tail goes when the size is set at the end.
  const bool refused = status.kind() == Kind::kPermissionDenied || status.kind() == Kind::kUnsupported;
  const bool tail_would_stay = refused && existing_info_.size > source_info.size;
  if (!status.ok() && (!refused || tail_would_stay)) return status;
  touched_ = true;
  if (!refused) existing_info_.size = 0;
  return Status();
}

void Destination::NoteWritten() {
  if (in_place_ && existing_info_.type == FileType::kRegular) touched_ = true;
}

Status Destination::SyncDirectory() const {
  const std::string path = DirectoryPart(name_);
  Directory directory;
  Status status =
      platform::OpenDirectory(task_.destination_parent, path.empty() ? "." : path.c_str(), true, &directory);
  return status.ok() ? platform::Sync(directory) : Status::FromErrno(status.error_number(), Operation::kSync);
}

Status Destination::Commit(const Handle& source, const FileInfo& source_info, bool verify, platform::Scratch& scratch,
                           FileMonitor& monitor) {
  Status status;
  const bool regular = created_ || existing_info_.type == FileType::kRegular;
  if (!regular) {
    // A device keeps its own.
  } else if (options_.metadata != Metadata::kNone) {
    const bool mode_is_right =
        created_ && task_.new_modes != nullptr && task_.new_modes->IsRight(handle_, source_info.mode);
    status = platform::CopyMetadata(source, source_info, handle_, options_.metadata, mode_is_right, task_.archivist);
  } else if (created_ && existed_) {
    // Overwriting keeps the mode of what was there, atomically or not.
    status = platform::CopyMetadata(source, existing_info_, handle_, Metadata::kMode, false);
  }
  if (!status.ok()) return status;
  if (options_.fsync && regular) {
    status = platform::Sync(handle_);
    if (!status.ok()) return status;
  }
  if ((verify || options_.verify) && regular) {
    status = platform::CompareData(source, handle_, true, scratch, monitor);
    if (!status.ok()) return status;
  }
  // Until it has its name, who clears up must see that somebody is alive.
  const Handle lock = created_ && written_ != name_ ? platform::Duplicate(handle_) : Handle();
  // Network file systems tell here what they could not write.
  const int close_error = handle_.Close();
  if (close_error != 0) return Status::FromErrno(close_error, Operation::kClose);
  if (created_ && written_ != name_) {
    status = platform::Rename(task_.destination_parent, written_.c_str(), name_.c_str());
    if (!status.ok()) return status;
    written_ = name_;
    created_ = !existed_;  // what was there before is gone: the new one stays, whatever comes
    touched_ = existed_;
  }
  // A tree flushes its directories when they are complete.
  if (options_.fsync && regular && !task_.in_tree) {
    status = SyncDirectory();
    if (!status.ok()) return status;
  }
  created_ = false;  // it is the user's now
  in_place_ = false;
  return status;
}

DestinationState Destination::Abandon() {
  if (created_) {
    created_ = false;
    // By name, so only if the name still stands for the file that was created.
    FileInfo ours, there;
    const bool same = handle_.valid() && platform::GetInfo(handle_, &ours).ok() &&
                      platform::GetInfo(task_.destination_parent, written_.c_str(), false, &there).ok() &&
                      ours.id == there.id;
    handle_.Close();  // Windows removes no open file
    Status removed;
    if (same || !ours.id.inode) removed = platform::RemoveFile(task_.destination_parent, written_.c_str());
    if (!removed.ok() && written_ == name_) return DestinationState::kPartial;
    return written_ != name_ && existed_ ? DestinationState::kOld : DestinationState::kAbsent;
  }
  FileInfo info;
  const bool same_size = !in_place_ || !platform::GetInfo(handle_, &info).ok() || info.size == existing_info_.size;
  handle_.Close();
  if (touched_ || !same_size) return DestinationState::kPartial;
  const bool there = platform::GetInfo(task_.destination_parent, given_.c_str(), false, &info).ok();
  return there ? DestinationState::kOld : DestinationState::kAbsent;
}

Status FillWithDelta(const Delta& delta, const delta::FillRequest& request, FileMonitor& monitor,
                     FileOutcome* outcome) {
  delta::FillResult result;
  Status status;
  if (delta.action != DeltaAction::kApply) monitor.Begin(request.source_info.size);
  switch (delta.action) {
    case DeltaAction::kCopy:
      status = delta::Fill(request, &result);
      break;
    case DeltaAction::kCreate:
      status = delta::CreatePatch(request, delta.level, &result);
      break;
    case DeltaAction::kApply:
      status = delta::ApplyPatch(request, delta.allow_unchecked, monitor, &result);
      break;
  }
  outcome->size = result.size;
  outcome->reused = result.reused;
  outcome->written = result.written;
  outcome->read = result.read;
  if (result.cloned) outcome->method = Method::kClone;
  return status;
}

}  // namespace

Status RefuseSpecial(const FileInfo& info, bool in_tree) {
  // Opening a FIFO disturbs its writer, opening a device may do anything.
  switch (info.type) {
    case FileType::kFifo:
      return Status::FromErrno(0, Operation::kSpecialFile);
    case FileType::kSocket:
      return Status::FromErrno(ENXIO, Operation::kOpenSource);
    case FileType::kDevice:
      return in_tree ? Status::FromErrno(0, Operation::kSpecialFile) : Status();
    case FileType::kDirectory:
      return Status::FromErrno(EISDIR, Operation::kOpenSource);
    default:
      return Status();
  }
}

const char* BaseName(const char* path) {
  const char* base = path;
  for (const char* p = path; *p != '\0'; ++p) {
    if (IsSeparator(*p)) base = p + 1;
  }
  return base;
}

bool NewFileModes::IsRight(const Handle& file, uint32_t mode) {
  if ((mode & ~0777u) != 0 || (mode & umask_) != 0) return false;
  if (seen_.load(std::memory_order_relaxed) == mode) return true;
  FileInfo info;
  if (!platform::GetInfo(file, &info).ok() || info.mode != mode) return false;
  seen_.store(mode, std::memory_order_relaxed);
  return true;
}

Status CopySymlink(const FileTask& task, const Options& options, bool* into_directory) {
  FileInfo info, target_info;
  std::string name = task.destination_name;
  Status status = platform::GetInfo(task.source_parent, task.source_name, false, &info);
  std::string target;
  if (status.ok()) status = platform::ReadLink(task.source_parent, task.source_name, &target);
  if (status.ok()) {
    const bool directory = platform::GetInfo(task.source_parent, task.source_name, true, &target_info).ok() &&
                           target_info.type == FileType::kDirectory;
    status = platform::MakeSymlink(target, task.destination_parent, name.c_str(), directory);
    FileInfo there;
    if (status.error_number() == EEXIST && TakesIn(task, options) &&
        platform::GetInfo(task.destination_parent, name.c_str(), true, &there).ok() &&
        there.type == FileType::kDirectory) {
      *into_directory = true;
      AppendName(&name, BaseName(task.source_name));
      status = platform::MakeSymlink(target, task.destination_parent, name.c_str(), directory);
    }
    if (status.ok() && (task.in_tree || options.metadata == Metadata::kStat)) {
      status = platform::CopyLinkMetadata(task.source_parent, task.source_name, info, task.destination_parent,
                                          name.c_str(), task.archivist);
      if (!status.ok()) platform::RemoveFile(task.destination_parent, name.c_str());  // made just now
    }
  }
  if (!status.ok()) {
    FileInfo there;
    const bool exists = platform::GetInfo(task.destination_parent, name.c_str(), false, &there).ok();
    status.set_destination_state(exists ? DestinationState::kOld : DestinationState::kAbsent);
  }
  return status;
}

Status CopyFile(const FileTask& task, const Options& options, platform::Scratch& scratch, FileMonitor& monitor,
                FileOutcome* outcome) {
  Destination destination(task, options);
  Handle source;
  FileInfo info;
  auto copy = [&]() -> Status {
    if (!task.listed_regular) {
      Status status = platform::GetInfo(task.source_parent, task.source_name, task.follow, &info);
      if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
      if (info.type == FileType::kSymlink) {
        outcome->symlink = true;
        return Status();
      }
      status = RefuseSpecial(info, task.in_tree);
      if (!status.ok()) return status;
    }
    Status status = platform::OpenSource(task.source_parent, task.source_name, task.follow, &source, &info);
    if (!status.ok()) return status;
    status = RefuseSpecial(info, task.in_tree);
    if (!status.ok()) return status;
    if (info.size > task.size_limit || (info.type != FileType::kRegular && task.size_limit != UINT64_MAX)) {
      outcome->too_large = true;
      return Status();
    }
    delta::Reference reference;
    if (task.delta != nullptr) status = reference.Open(task.delta->reference.c_str());
    if (status.ok()) {
      const FileInfo* kept = task.delta != nullptr ? &reference.info() : nullptr;
      status = destination.Open(info, kept, &outcome->into_directory);
    }
    if (!status.ok()) return status;
    bool verify = false;
    if (task.delta != nullptr) {
      delta::FillRequest request{source,  info,    reference, destination.handle(), destination.is_kept(),
                                 options, scratch, monitor};
      status = FillWithDelta(*task.delta, request, monitor, outcome);
      destination.NoteWritten();
      verify = reference.fresh() && task.delta->action == DeltaAction::kCopy && outcome->method != Method::kClone;
    } else {
      monitor.Begin(info.size);
      platform::DataRequest request{
          source,  info,   destination.handle(), destination.existing_info(), options, task.thread_count,
          scratch, monitor};
      status = platform::CopyData(request, &outcome->method, &outcome->size);
      if (status.kind() != Kind::kUnsupported) destination.NoteWritten();
    }
    if (status.ok()) status = destination.Commit(source, info, verify, scratch, monitor);
    if (status.kind() == Kind::kDiskFull && status.size() == 0)
      status.set_space(info.size, platform::FreeSpace(destination.handle()));
    if (status.kind() == Kind::kFileTooLarge) status.set_space(info.size, 0);
    return status;
  };
  Status status = copy();
  if (!status.ok()) {
    status.set_destination_state(destination.Abandon());
    return status;
  }
  if (outcome->too_large) return status;
  if (outcome->symlink) return CopySymlink(task, options, &outcome->into_directory);
  monitor.Finish(outcome->size);
  return status;
}

namespace {

// The direct path has nobody to tell.
class SilentMonitor : public FileMonitor {
 public:
  SilentMonitor() : FileMonitor(nullptr) {}
  void Begin(uint64_t) override {}
  void Advance(uint64_t) override {}
  void Finish(uint64_t) override {}
};

constexpr uint64_t kDirectLimit = 1u << 20;  // a millisecond or so: nobody waits for progress or to cancel

}  // namespace

CopyResult CopySmallFile(const char* source, const char* destination, const Options& options, Failure* failure) {
  if (options.bandwidth_limit != 0) return CopyResult::kNeedsJob;  // it may take a while
  const Directory& paths = Directory::Paths();
  FileTask task{paths, source, paths, destination, options.follow_symlinks, false, false, kDirectLimit, 1, nullptr};
  platform::Scratch scratch;
  SilentMonitor monitor;
  FileOutcome outcome;
  Status status = CopyFile(task, options, scratch, monitor, &outcome);
  if (!status.ok()) {
    failure->status = status;
    failure->source = source;
    failure->destination = destination;
    failure->root = true;
    return CopyResult::kFailed;
  }
  if (outcome.too_large) return CopyResult::kNeedsJob;
  return outcome.into_directory ? CopyResult::kCopiedInto : CopyResult::kCopied;
}

}  // namespace eacopy
