// One file, or one link: whether it has to be copied, and from where; see files.h.

#include "files.h"

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "../temporary.h"
#include "../tree_parts.h"
#include "removal.h"

namespace eacopy {

using platform::Directory;
using platform::FileInfo;
using platform::FileType;
using platform::Handle;

namespace {

// Counts nothing: what it watches is one step of something that is counted.
class QuietMonitor : public FileMonitor {
 public:
  explicit QuietMonitor(const JobContext& job) : FileMonitor(job.cancel_flag(), job.throttle()) {}
  void Begin(uint64_t) override {}
  void Advance(uint64_t) override {}
  void Finish(uint64_t) override {}
};

// Replaces `to`. Renaming one name of a file to another of the same file does nothing, and leaves both.
Status RenameOver(const Place& place, const std::string& from, const char* to) {
  Status status = platform::Rename(*place.target, from.c_str(), to);
  if (status.ok()) (void)platform::RemoveFile(*place.target, from.c_str());
  return status;
}

// Whether it is the same ----------------------------------------------------------------------------------------------

Status HasSameBytes(Place& place, const char* name, bool follow, bool* same) {
  Handle source, target;
  FileInfo info;
  DirectoryCache& cache = place.services.cache;
  Status status = Patiently(
      cache, [&] { return platform::OpenSource(*place.source, place.SourceName(name), follow, &source, &info); });
  if (!status.ok()) return status;
  status = Patiently(
      cache, [&] { return platform::OpenSource(*place.target, place.TargetName(name), false, &target, &info); });
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenDestination);
  QuietMonitor monitor(place.services.job);
  status = platform::CompareData(source, target, false, place.worker.scratch, monitor);
  *same = status.ok();
  const bool differs = status.operation() == Operation::kVerify && status.error_number() == 0;
  return differs ? Status() : status;
}

// Whether the destination has what the source has, as far as the job looks.
Status IsSame(Place& place, const char* name, const FileInfo& info, const FileInfo& target, bool follow, bool* same) {
  *same = info.size == target.size;
  if (!*same) return Status();
  if (!place.services.sync.compare_bytes) {
    *same = SameTime(info, target, place.traits);
    return Status();
  }
  return info.id == target.id ? Status() : HasSameBytes(place, name, follow, same);
}

// Gives a file whose contents are right the metadata that is not.
Status MendFile(Place& place, const char* name, const FileInfo& info, const FileInfo& target) {
  const Sync& sync = place.services.sync;
  platform::Mending mending;
  mending.mode = place.traits.modes && info.mode != target.mode;
  mending.owner = sync.archive && (info.user != target.user || info.group != target.group);
  mending.times = sync.compare_bytes && !SameTime(info, target, place.traits);
  if (!mending.mode && !mending.owner && !mending.times) return Status();
  if (!sync.dry_run) {
    bool done = false;
    Status status =
        platform::Mend(*place.target, place.TargetName(name), target, info, mending, place.services.archivist(), &done);
    if (status.kind() == Kind::kPermissionDenied) {
      // Somebody else's file, with the right contents.
      if (sync.archive) place.services.losses.Lose("the mode");
      return Status();
    }
    if (!status.ok() || !done) return status;
  }
  if (sync.want_actions) {
    place.services.Act(Action::kMend, place.SourcePath(name), place.TargetPath(name), info.size);
  }
  return Status();
}

// Older copies --------------------------------------------------------------------------------------------------------

// Whether two files have the same permissions; attributes say other things too, which a copy need not have.
bool HasSameMode(const FileInfo& a, const FileInfo& b) {
#ifdef _WIN32
  constexpr uint32_t kReadOnly = 0x1;  // FILE_ATTRIBUTE_READONLY
  return ((a.mode ^ b.mode) & kReadOnly) == 0;
#else
  return a.mode == b.mode;
#endif
}

bool IsLike(const Sync& sync, const Directory& directory, const char* name, const FileInfo& info, FileInfo* found) {
  if (!platform::GetInfo(directory, name, false, found).ok() || found->type != info.type) return false;
  const bool same = found->size == info.size && found->modified.seconds == info.modified.seconds &&
                    found->modified.nanoseconds == info.modified.nanoseconds && HasSameMode(*found, info);
  return same && (!sync.archive || (found->user == info.user && found->group == info.group));
}

// A file that was copied before and can be linked to instead.
bool FindOlder(Place& place, const char* name, const FileInfo& info, OlderFile* out) {
  const SyncServices& services = place.services;
  for (const OlderPlace& older : place.older) {
    const std::string there = older.prefix + name;
    if (!IsLike(services.sync, *older.directory, there.c_str(), info, &out->info)) continue;
    out->directory = older.directory;
    out->name = there;
    out->path = older.prefix.empty() ? Join(older.path, name) : older.path + name;
    return true;
  }
  if (!services.has_database || !services.database.Find(place.Where(name), info, &out->path)) return false;
  out->directory = &Directory::Paths();
  out->name = out->path;
  return IsLike(services.sync, *out->directory, out->name.c_str(), info, &out->info);
}

// Makes a file another name, or a clone, of an older one.
Status LinkTo(Place& place, const char* name, const OlderFile& older, bool replace, bool* made) {
  JobContext& job = place.services.job;
  if (job.options().reflink != Reflink::kAlways) return MakeLink(place, name, older, replace, made);
  FileTask task{
      *older.directory, older.name.c_str(), *place.target, place.TargetName(name), false, true, true, UINT64_MAX, 1,
      nullptr};
  task.replaces_links = true;
  task.archivist = place.services.archivist();
  QuietMonitor monitor(job);
  FileOutcome outcome;
  const Status status = CopyFile(task, job.options(), place.worker.scratch, monitor, &outcome);
  *made = status.ok();
  return status.cancelled() ? status : Status();
}

// Copies the file.
Status Copy(Place& place, const char* name, bool follow, bool listed) {
  JobContext& job = place.services.job;
  FileTask task{
      *place.source, place.SourceName(name),     *place.target,  place.TargetName(name), follow, !place.root, listed,
      UINT64_MAX,    job.scheduler().idle() + 1, place.new_modes};
  task.replaces_links = true;
  task.archivist = place.services.archivist();
  return Patiently(place.services.cache,
                   [&] { return job.Copy(task, place.worker, [&] { return place.SourcePath(name); }); });
}

void Remember(Place& place, const char* name, const FileInfo& info) {
  if (place.services.has_database) place.services.database.Add(place.Where(name), info, place.TargetPath(name));
}

// Links ---------------------------------------------------------------------------------------------------------------

// Makes a link like the source's, in place of what is there.
Status MakeSymlink(Place& place, const char* name, bool replace) {
  const char* target = place.TargetName(name);
  for (int tries = 0;; ++tries) {
    const std::string made = replace ? place.Beside(TemporaryName()) : target;
    FileTask task{*place.source, place.SourceName(name), *place.target, made.c_str(), false, true, false, UINT64_MAX, 1,
                  nullptr};
    task.archivist = place.services.archivist();
    bool into_directory = false;
    Status status = CopySymlink(task, place.services.job.options(), &into_directory);
    if (status.error_number() == EEXIST && tries < kTemporaryTries) {
      replace = true;
      continue;
    }
    if (!replace) return status;
    const bool is_made = status.ok();
    if (is_made) status = RenameOver(place, made, target);
    // Somebody who clears up took it for left behind.
    if (status.error_number() == ENOENT && tries < kTemporaryTries) {
      LetWhoClearsUpPass(tries);
      continue;
    }
    if (is_made && !status.ok()) (void)platform::RemoveFile(*place.target, made.c_str());
    return status;
  }
}

}  // namespace

bool SameTime(const FileInfo& a, const FileInfo& b, const Traits& traits) {
  constexpr int64_t kSecond = 1000000000, kFar = 1000;
  const int64_t seconds = a.modified.seconds - b.modified.seconds;
  if (seconds > kFar || seconds < -kFar) return false;
  const int64_t difference = seconds * kSecond + (a.modified.nanoseconds - b.modified.nanoseconds);
  return difference == 0 || std::llabs(difference) < traits.granularity;
}

bool Look(const Place& place, const char* name, FileInfo* info, Status* status) {
  *status = platform::GetInfo(*place.target, place.TargetName(name), false, info);
  if (status->ok()) return true;
  *status = status->error_number() == ENOENT ? Status()
                                             : Status::FromErrno(status->error_number(), Operation::kOpenDestination);
  return false;
}

void CountSkipped(Place& place, uint64_t size) {
  WorkerCounters& counters = *place.worker.counters;
  WorkerCounters::Add(counters.files_skipped, 1);
  WorkerCounters::Add(counters.bytes_skipped, size);
  WorkerCounters::Add(counters.bytes_found, size);
}

void CountLinked(Place& place, uint64_t size) {
  WorkerCounters& counters = *place.worker.counters;
  WorkerCounters::Add(counters.files_linked, 1);
  WorkerCounters::Add(counters.bytes_linked, size);
  WorkerCounters::Add(counters.bytes_found, size);
}

bool CopyUnlisted(Place& place, const char* name, bool follow) {
  Status status;
  if (place.target != nullptr && !place.services.sync.dry_run) {
    status = Copy(place, name, follow, false);
  } else {
    FileInfo info;  // looked at, and no more
    status = platform::GetInfo(*place.source, place.SourceName(name), follow, &info);
    status = status.ok() ? RefuseSpecial(info, !place.root)
                         : Status::FromErrno(status.error_number(), Operation::kOpenSource);
    return status.ok() || place.Lose(name, status);
  }
  if (status.ok()) return true;
  place.services.job.Fail(place.worker, status, place.SourcePath(name), place.TargetPath(name), place.root);
  return false;
}

bool BringFile(Place& place, const char* name, bool exists, bool follow) {
  SyncServices& services = place.services;
  FileInfo info;
  Status status = platform::GetInfo(*place.source, place.SourceName(name), follow, &info);
  if (!status.ok()) return place.Lose(name, Status::FromErrno(status.error_number(), Operation::kOpenSource));
  if (info.type != FileType::kRegular) return CopyUnlisted(place, name, follow);
  const Selection& selection = services.selection;
  if (selection.by_attributes() && !selection.HasAttributes(BaseName(place.SourceName(name)), info)) {
    place.worker.counters->files_found.fetch_sub(1, std::memory_order_relaxed);
    return true;
  }
  if (info.links > 1 && services.sync.hard_links) return services.hard_links.Bring(place, name, info, exists, follow);
  return Bring(place, name, info, exists, follow);
}

bool Bring(Place& place, const char* name, const FileInfo& info, bool exists, bool follow) {
  SyncServices& services = place.services;
  const Sync& sync = services.sync;
  FileInfo target;
  Status status;
  exists = exists && Look(place, name, &target, &status);
  if (!status.ok()) return place.Lose(name, status);
  if (exists && target.type == FileType::kDirectory) {
    if (!Clear(place, name)) return false;
    exists = false;
  } else if (exists) {
    bool same = false;
    if (target.type == FileType::kRegular) {
      status = IsSame(place, name, info, target, follow, &same);
      if (same && status.ok()) status = MendFile(place, name, info, target);
      if (!status.ok()) return place.Lose(name, status);
    }
    if (same || sync.exclude_changed) {
      CountSkipped(place, info.size);
      if (same) Remember(place, name, info);
      return true;
    }
  }
  OlderFile older;
  bool linked = info.size >= sync.link_min_size && FindOlder(place, name, info, &older);
  if (linked && !sync.dry_run) {
    status = LinkTo(place, name, older, exists, &linked);
    if (!status.ok()) return place.Lose(name, status);
  }
  if (linked) {
    CountLinked(place, info.size);
  } else if (sync.dry_run) {
    WorkerCounters& counters = *place.worker.counters;
    WorkerCounters::Add(counters.files_copied, 1);
    WorkerCounters::Add(counters.bytes_copied, info.size);
    WorkerCounters::Add(counters.bytes_found, info.size);
  } else {
    status = Copy(place, name, follow, !follow);
    if (!status.ok()) {
      services.job.Fail(place.worker, status, place.SourcePath(name), place.TargetPath(name), place.root);
      return false;
    }
  }
  if (sync.want_actions) {
    const Action action = linked ? Action::kLink : exists ? Action::kOverwrite : Action::kCopy;
    services.Act(action, linked ? older.path : place.SourcePath(name), place.TargetPath(name), info.size);
  }
  Remember(place, name, info);
  return true;
}

bool Clear(Place& place, const char* name) {
  WorkerCounters::Add(place.worker.counters->mismatches, 1);
  if (!place.services.sync.purge || place.root) {
    return place.RefuseMismatch(
        name, EISDIR, "there is a directory where the file is to go; remove it, or let purge or mirror do that");
  }
  if (RemoveTree(place.services, place.worker, *place.target, name, place.TargetPath(name), place.Where(name) + '/')) {
    return true;
  }
  if (place.services.job.cancelled()) return false;
  return place.RefuseMismatch(name, EISDIR,
                              "there is a directory where the file is to go, which holds what is left out; remove it");
}

Status MakeLink(Place& place, const char* name, const OlderFile& older, bool replace, bool* made) {
  *made = false;
  const char* target = place.TargetName(name);
  for (int tries = 0; tries < kTemporaryTries; ++tries) {
    const std::string link = replace ? place.Beside(TemporaryName()) : target;
    Status status = platform::MakeHardLink(*older.directory, older.name.c_str(), *place.target, link.c_str());
    if (status.error_number() == EEXIST) {
      replace = true;
      continue;
    }
    if (!status.ok()) return Status();  // another file system, too many links, or forbidden
    FileInfo found;
    status = platform::GetInfo(*place.target, link.c_str(), false, &found);
    if (status.ok()) {
      const bool same = found.id == older.info.id && found.modified.seconds == older.info.modified.seconds &&
                        found.modified.nanoseconds == older.info.modified.nanoseconds;
      if (!same) return platform::RemoveFile(*place.target, link.c_str());  // it was changed just now
      if (replace) status = RenameOver(place, link, target);
    }
    if (status.error_number() == ENOENT) continue;  // somebody who clears up took it for left behind
    if (!status.ok()) (void)platform::RemoveFile(*place.target, link.c_str());
    *made = status.ok();
    return status;
  }
  return Status();
}

bool BringLink(Place& place, const char* name, bool exists) {
  SyncServices& services = place.services;
  std::string text;
  Status status = platform::ReadLink(*place.source, place.SourceName(name), &text);
  if (!status.ok()) return place.Lose(name, status);
  FileInfo target;
  exists = exists && Look(place, name, &target, &status);
  if (!status.ok()) return place.Lose(name, status);
  if (exists && target.type == FileType::kDirectory) {
    if (!Clear(place, name)) return false;
    exists = false;
  } else if (exists) {
    std::string there;
    bool same = services.sync.exclude_changed;
    if (!same && target.type == FileType::kSymlink) {
      status = platform::ReadLink(*place.target, place.TargetName(name), &there);
      if (!status.ok()) return place.Lose(name, status);
      same = text == there;
    }
    if (same) {
      CountSkipped(place, 0);
      return true;
    }
  }
  if (!services.sync.dry_run) {
    status = MakeSymlink(place, name, exists);
    if (!status.ok()) return place.Lose(name, status);
  }
  WorkerCounters::Add(place.worker.counters->symlinks_copied, 1);
  if (services.sync.want_actions) services.Act(Action::kSymlink, place.SourcePath(name), place.TargetPath(name));
  return true;
}

}  // namespace eacopy
