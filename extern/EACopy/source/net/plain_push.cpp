// Pushing in plain v20: one file after the other on each connection. Modes, links and attributes cannot be said.

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../ranges.h"
#include "plain_client.h"
#include "remote_job.h"
#include "source_walk.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

// Counts what CopyFile does, for files that the server leaves to us.
class UncountedMonitor : public FileMonitor {
 public:
  explicit UncountedMonitor(JobContext& job) : FileMonitor(job.cancel_flag(), job.throttle()) {}
  void Begin(uint64_t) override {}
  void Advance(uint64_t) override {}
  void Finish(uint64_t) override {}
};

constexpr uint32_t kMostChanges = 3;

struct PlainPushState {
  explicit PlainPushState(RemoteJob& remote_job) : remote(remote_job), walk(remote_job) {}

  RemoteJob& remote;
  SourceWalk walk;
  std::string net_directory;
  std::atomic<uint32_t> lanes{1};
};

// A source that cannot be sent to its end breaks the connection, but is the file's failure.
struct FileFailure {
  Status status;
  std::string text;
};

class PlainPushLane {
 public:
  PlainPushLane(PlainPushState& state, Worker& worker, Session session, uint32_t index)
      : state_(state),
        remote_(state.remote),
        worker_(worker),
        options_(state.remote.job.options()),
        client_(std::make_unique<PlainClient>(state.remote, worker, std::move(session))),
        index_(index),
        directories_(state.walk.share(), options_.follow_symlinks) {}

  void RunTree();
  // Pushes one file, with the tries that are wanted. `target`: its path on the server, in our form.
  void PushFile(SourceEntry entry, const std::string& target, bool root);
  void Finish() {
    if (client_ && !remote_.stopping()) client_->Finish();
  }

 private:
  bool MakeDirectory(const std::string& path);
  // A Status is the connection's; *failure the file's.
  Status TryFile(const SourceEntry& entry, const std::string& target, FileFailure* failure);
  Status SendContent(const SourceEntry& entry, uint64_t size, bool compressed, FileFailure* failure);
  Status OpenFile(const SourceEntry& entry, platform::Handle* file, FileInfo* info);
  Status CopyItself(const SourceEntry& entry, const std::string& target);
  bool LookAgain(SourceEntry* entry);
  bool Reconnect(const Status& why, uint32_t* losses);
  void StartMoreLanes();

  PlainPushState& state_;
  RemoteJob& remote_;
  Worker& worker_;
  const Options& options_;
  std::unique_ptr<PlainClient> client_;
  const uint32_t index_;
  OpenDirectories directories_;
  uint64_t counted_ = 0;
};

// False when the job ends with this.
bool PlainPushLane::Reconnect(const Status& why, uint32_t* losses) {
  Status status = why;
  while (!remote_.stopping()) {
    if (status.cancelled() || !remote_.CanRetry(status, *losses) || !remote_.WaitBeforeRetry()) break;
    ++*losses;
    WorkerCounters::Add(worker_.counters->retries, 1);
    Session session;
    std::string text;
    status = remote_.Connect(worker_, index_, state_.net_directory, &session, &text);
    if (!status.ok()) continue;
    client_ = std::make_unique<PlainClient>(remote_, worker_, std::move(session));
    return true;
  }
  remote_.FailWhole(worker_, status);
  return false;
}

// False when it is no file any more.
bool PlainPushLane::LookAgain(SourceEntry* entry) {
  platform::Handle file;
  FileInfo info;
  if (!OpenFile(*entry, &file, &info).ok() || info.type != FileType::kRegular) return false;
  entry->info = info;
  return true;
}

bool PlainPushLane::MakeDirectory(const std::string& path) {
  std::string wire_path;
  if (!wire::ToWirePath(path, &wire_path)) {
    remote_.Fail(worker_, Status::Of(Kind::kEncoding, Operation::kMakeDirectory, EILSEQ), path,
                 "the server's protocol cannot say this name");
    return false;
  }
  if (!wire_path.empty()) wire_path += '\\';  // as all directories end there
  for (uint32_t losses = 0;;) {
    uint8_t answer = 0;
    const Status status = client_->CreateDirectory(wire_path, &answer);
    if (!status.ok()) {
      if (!Reconnect(status, &losses)) return false;
      continue;
    }
    if (answer >= 2) {
      WorkerCounters::Add(worker_.counters->directories_created, answer - 2u);
      return true;
    }
    // The protocol does not say why.
    const Status failure = Status::Of(Kind::kServer, Operation::kMakeDirectory);
    const char* text = answer == 0 ? "the server could not make the directory; a file may be in the way"
                                   : "the server has no such place";
    if (path.empty()) {
      remote_.FailWhole(worker_, failure, text);
    } else {
      remote_.Fail(worker_, failure, path, text);
    }
    return false;
  }
}

void PlainPushLane::RunTree() {
  std::vector<SourceDirectoryPointer> listed;
  std::vector<SourceEntry> looked;
  while (!remote_.stopping()) {
    SourceWalk::Unit unit;
    const SourceWalk::Taken taken = state_.walk.Take(&unit);
    if (taken == SourceWalk::Taken::kDone) break;
    if (taken == SourceWalk::Taken::kNothingNow) {
      state_.walk.WaitForMore();
      continue;
    }
    if (unit.names == nullptr) {
      listed.clear();
      if (MakeDirectory(unit.directory->path)) state_.walk.List(worker_, directories_, unit, &listed);
      StartMoreLanes();
    } else {
      looked.clear();
      state_.walk.Look(worker_, directories_, unit, false, &looked);
      for (const SourceEntry& entry : looked) {
        if (remote_.stopping()) break;
        PushFile(entry, entry.path, false);
      }
    }
    state_.walk.Done();
  }
}

void PlainPushLane::StartMoreLanes() {
  const uint32_t most = options_.thread_count;
  if (state_.lanes.load(std::memory_order_relaxed) >= most || !state_.walk.HasUnits()) return;
  if (state_.walk.files_found() < 64) return;
  const uint32_t lanes = state_.lanes.exchange(most, std::memory_order_relaxed);
  if (lanes >= most) return;
  PlainPushState& state = state_;
  remote_.StartLanes(most - lanes, [&state](Worker& worker, uint32_t index) {
    Session session;
    std::string text;
    if (!state.remote.Connect(worker, index, state.net_directory, &session, &text).ok()) return;
    PlainPushLane lane(state, worker, std::move(session), index);
    lane.RunTree();
    lane.Finish();
  });
}

void PlainPushLane::PushFile(SourceEntry entry, const std::string& target, bool root) {
  uint32_t losses = 0;
  uint32_t changes = 0;
  for (uint32_t tries = 0;; ++tries) {
    FileFailure failure;
    const Status status = TryFile(entry, target, &failure);
    if (!status.ok() || !failure.status.ok()) {
      worker_.counters->bytes_copied.fetch_sub(counted_, std::memory_order_relaxed);
    }
    counted_ = 0;
    if (!status.ok() && failure.status.ok()) {
      if (!Reconnect(status, &losses)) return;
      --tries;
      continue;
    }
    if (failure.status.ok()) return;
    if (failure.status.cancelled()) {
      remote_.FailWhole(worker_, failure.status);
      return;
    }
    // A file that was made shorter is sent as it is now.
    const bool changed = failure.status.kind() == Kind::kReadError && failure.status.error_number() == 0 &&
                         changes++ < kMostChanges && LookAgain(&entry);
    const bool again = changed || (remote_.CanRetry(failure.status, tries) && remote_.WaitBeforeRetry());
    if (again && !changed) WorkerCounters::Add(worker_.counters->retries, 1);
    if (!again) {
      if (root) {
        remote_.FailWhole(worker_, failure.status, failure.text);
        return;
      }
      remote_.Fail(worker_, failure.status, entry.path, failure.text);
    }
    if (!status.ok()) {
      // The connection had to be given up for it.
      Session session;
      std::string text;
      const Status connected = remote_.Connect(worker_, index_, state_.net_directory, &session, &text);
      if (!connected.ok()) {
        remote_.FailWhole(worker_, connected, text);
        return;
      }
      client_ = std::make_unique<PlainClient>(remote_, worker_, std::move(session));
    }
    if (!again) return;
  }
}

Status PlainPushLane::OpenFile(const SourceEntry& entry, platform::Handle* file, FileInfo* info) {
  Status status;
  if (!remote_.tree()) {
    return platform::OpenSource(platform::Directory::Paths(), remote_.source().c_str(), options_.follow_symlinks, file,
                                info);
  }
  OpenDirectory parent;
  status = directories_.Open(ParentOf(entry.path), &parent);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
  return platform::OpenSource(*parent, NameOf(entry.path).data(), options_.follow_symlinks, file, info);
}

Status PlainPushLane::TryFile(const SourceEntry& entry, const std::string& target, FileFailure* failure) {
  wire::WriteFile write;
  if (entry.info.type == FileType::kSymlink) {
    *failure = {Status::Of(Kind::kUnsupported, Operation::kMakeLink, ENOTSUP),
                "the server's protocol has no symbolic links; copy what they point to"};
    return Status();
  }
  if (!wire::ToWirePath(target, &write.path)) {
    *failure = {Status::Of(Kind::kEncoding, Operation::kOpenDestination, EILSEQ),
                "the server's protocol cannot say this name"};
    return Status();
  }
  const int level = ZstdAvailable() ? remote_.remote.level : 0;
  write.type = level != 0 ? wire::WriteType::kCompressed : wire::WriteType::kSend;
  write.info.last_write_time = wire::FileTimeFromTimestamp(entry.info.modified);
  write.info.size = entry.info.size;
  wire::WriteAnswer answer;
  Status status = client_->AskToWrite(write, &answer);
  while (status.ok() && answer == wire::WriteAnswer::kHash) {
    platform::Handle file;
    FileInfo info;
    Md5 md5;
    Status read = OpenFile(entry, &file, &info);
    std::vector<char> buffer(256 * 1024);
    for (uint64_t offset = 0; read.ok();) {
      size_t got = 0;
      read = platform::ReadRange(file, Operation::kRead, offset, buffer.data(), buffer.size(), &got);
      if (got == 0) break;
      if (remote_.stopping()) return Status::Cancelled();
      md5.Update(std::string_view(buffer.data(), got));
      offset += got;
    }
    if (!read.ok()) {
      failure->status = read;
      return read;
    }
    uint8_t byte = 0;
    status = client_->SendHash(md5.Finish(), &byte);
    if (status.ok() && byte > static_cast<uint8_t>(wire::WriteAnswer::kBadDestination)) return Violation();
    answer = static_cast<wire::WriteAnswer>(byte);
  }
  if (!status.ok()) return status;
  WorkerCounters& counters = *worker_.counters;
  const std::string_view shown = remote_.tree() ? std::string_view(entry.path) : std::string_view();
  switch (answer) {
    case wire::WriteAnswer::kLink:
    case wire::WriteAnswer::kOdx:
      WorkerCounters::Add(counters.files_linked, 1);
      WorkerCounters::Add(counters.bytes_linked, entry.info.size);
      remote_.TellFile(shown, entry.info.size);
      return Status();
    case wire::WriteAnswer::kSkip:
      WorkerCounters::Add(counters.files_skipped, 1);
      WorkerCounters::Add(counters.bytes_skipped, entry.info.size);
      remote_.TellFile(shown, entry.info.size);
      return Status();
    case wire::WriteAnswer::kCopy: {
      status = SendContent(entry, entry.info.size, level != 0, failure);
      uint8_t done = 0;
      if (status.ok()) status = client_->ReceiveByte(&done);
      if (!status.ok()) return status;
      if (done == 0) {
        *failure = {Status::Of(Kind::kServer, Operation::kWrite), "the server could not write the file"};
        return Status();
      }
      break;
    }
    case wire::WriteAnswer::kCopyUsingSmb: {
      const Status copied = CopyItself(entry, target);
      status = client_->SendByte(copied.ok() ? 1 : 0);
      if (!copied.ok()) {
        *failure = {copied, remote_.remote.local_directory.empty()
                                ? "the server leaves the copying to its client, which cannot reach the directory"
                                : ""};
        return status;
      }
      WorkerCounters::Add(counters.bytes_copied, entry.info.size);
      if (!status.ok()) return status;
      break;
    }
    case wire::WriteAnswer::kBadDestination:
      *failure = {Status::Of(Kind::kServer, Operation::kOpenDestination), "the server has no such directory"};
      return Status();
    default:
      *failure = {Status::Of(Kind::kServer, Operation::kSend, ENOTSUP),
                  "the server wants a delta, and has no word for it"};
      return Status();
  }
  WorkerCounters::Add(counters.files_copied, 1);
  remote_.TellFile(shown, entry.info.size);
  return Status();
}

Status PlainPushLane::SendContent(const SourceEntry& entry, uint64_t size, bool compressed, FileFailure* failure) {
  platform::Handle file;
  FileInfo info;
  Status opened = OpenFile(entry, &file, &info);
  if (opened.ok() && info.type != FileType::kRegular) opened = Status::FromErrno(0, Operation::kSpecialFile);
  if (!opened.ok()) {
    failure->status = opened;
    return opened;
  }
  auto read = [&](char* data, size_t wanted, uint64_t offset) {
    size_t got = 0;
    Status status = platform::ReadRange(file, Operation::kRead, offset, data, wanted, &got);
    // Files may have been made shorter.
    if (status.ok() && got < wanted) status = Status::FromErrno(0, Operation::kRead, offset + got);
    if (!status.ok()) failure->status = status;
    return status;
  };
  auto sent = [&](uint64_t bytes) {
    counted_ += bytes;
    WorkerCounters::Add(worker_.counters->bytes_copied, bytes);
  };
  return client_->SendBody(size, compressed ? remote_.remote.level : 0, read, sent);
}

Status PlainPushLane::CopyItself(const SourceEntry& entry, const std::string& target) {
  if (remote_.remote.local_directory.empty()) return Status::Of(Kind::kServer, Operation::kOpenDestination);
  // What is the directory of a tree is, for a file, the file.
  const std::string destination =
      remote_.tree() ? JoinPaths(remote_.remote.local_directory, target) : remote_.remote.local_directory;
  const std::string source = remote_.tree() ? JoinPaths(remote_.source(), entry.path) : remote_.source();
  const platform::Directory& paths = platform::Directory::Paths();
  UncountedMonitor monitor(remote_.job);
  FileOutcome outcome;
  Options options = options_;
  options.atomic = true;
  options.into_directory = true;
  FileTask task{paths, source.c_str(), paths, destination.c_str(), true, false, false, UINT64_MAX, 1, nullptr};
  return CopyFile(task, options, worker_.scratch, monitor, &outcome);
}

}  // namespace

void PushPlain(RemoteJob& remote, Worker& worker, Session first) {
  PlainPushState state(remote);
  std::string rest;
  if (!NetDirectoryOf(remote, &state.net_directory, &rest)) return;  // it was sayable before
  if (remote.tree()) {
    const Status status = state.walk.Open(remote.source());
    if (!status.ok()) {
      remote.FailWhole(worker, status);
      return;
    }
    PlainPushLane lane(state, worker, std::move(first), 0);
    lane.RunTree();
    remote.WaitForLanes();
    lane.Finish();
    return;
  }
  SourceEntry entry;
  WorkerCounters::Add(worker.counters->files_found, 1);
  Status status = LookAt(platform::Directory::Paths(), remote.source().c_str(), remote.job.options().follow_symlinks,
                         false, &entry);
  if (status.ok() && entry.info.type == FileType::kDirectory)
    status = Status::FromErrno(EISDIR, Operation::kOpenSource);
  if (!status.ok()) {
    remote.FailWhole(worker, status);
    return;
  }
  if (entry.info.type == FileType::kRegular) WorkerCounters::Add(worker.counters->bytes_found, entry.info.size);
  // Onto a directory means into it.
  std::string target = wire::FromWirePath(rest);
  wire::FoundInfo found;
  uint8_t made = 0;
  status = AskFirst(remote, worker, state.net_directory, &first, [&](Session* session) {
    PlainClient client(remote, worker, std::move(*session));
    Status asked = client.CreateDirectory("", &made);
    if (asked.ok()) asked = client.GetFileInfo(rest, &found);
    *session = std::move(client.session());
    return asked;
  });
  if (!status.ok()) {
    remote.FailWhole(worker, status);
    return;
  }
  if (made > 2) WorkerCounters::Add(worker.counters->directories_created, made - 2u);
  if (target.empty() || (found.error == 0 && (found.attributes & wire::kAttributeDirectory) != 0)) {
    target = JoinPaths(target, BaseName(remote.source().c_str()));
  }
  entry.path = BaseName(remote.source().c_str());
  PlainPushLane lane(state, worker, std::move(first), 0);
  lane.PushFile(entry, target, true);
  lane.Finish();
}

}  // namespace net
}  // namespace eacopy
