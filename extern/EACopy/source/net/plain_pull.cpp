// Pulling in plain v20: listings and files one after the other on each connection.

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../ranges.h"
#include "../temporary.h"
#include "arrival.h"
#include "local_tree.h"
#include "older_version.h"
#include "plain_client.h"
#include "remote_job.h"
#include "store.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

constexpr std::chrono::milliseconds kBusyWait{100};
constexpr uint32_t kAttributeReparsePoint = 0x400;

class UncountedMonitor : public FileMonitor {
 public:
  explicit UncountedMonitor(JobContext& job) : FileMonitor(job.cancel_flag(), job.throttle()) {}
  void Begin(uint64_t) override {}
  void Advance(uint64_t) override {}
  void Finish(uint64_t) override {}
};

// Directories and files that wait. Directories have a size of UINT64_MAX.
struct PlainPullState {
  explicit PlainPullState(RemoteJob& remote_job) : remote(remote_job) {}

  RemoteJob& remote;
  LocalTree local;
  bool tree = false;
  std::string net_directory;
  std::string prefix;     // of every path on the wire: the item's own name, when that is not the net directory
  std::string file_name;  // of a single file
  std::atomic<uint32_t> lanes{1};

  std::mutex mutex;
  std::condition_variable more;
  std::vector<RemoteEntry> directories;
  std::deque<RemoteEntry> files;
  size_t working = 0;
};

class PlainPullLane {
 public:
  PlainPullLane(PlainPullState& state, Worker& worker, Session session, uint32_t index)
      : state_(state),
        remote_(state.remote),
        worker_(worker),
        options_(state.remote.job.options()),
        client_(std::make_unique<PlainClient>(state.remote, worker, std::move(session))),
        index_(index),
        directories_(state.local.share()) {}

  void Run();
  void Finish() {
    if (!remote_.stopping()) client_->Finish();
  }

 private:
  bool TakeWork(RemoteEntry* entry, bool* directory);
  void ListDirectory(const RemoteEntry& directory);
  void PullFile(const RemoteEntry& entry);
  Status TryFile(const RemoteEntry& entry, Status* failure, std::string* text);
  Status Receive(const RemoteEntry& entry, uint64_t size, uint64_t last_write, bool compressed, Status* failure);
  // A file that was made of what is here and what came.
  struct Rebuilt {
    std::unique_ptr<Arrival> arrival;
    OpenDirectory parent;
    uint64_t last_write = 0;
    uint64_t size = 0;
    bool checked = false;  // it is right
  };
  Status ReceiveDelta(const RemoteEntry& entry, std::optional<Rebuilt>* rebuilt);
  bool MayBeDelta(const RemoteEntry& entry, const FileInfo& here) const;
  Status Finish(const RemoteEntry& entry, Arrival& arrival, const OpenDirectory& parent, uint64_t last_write);
  Status CopyItself(const RemoteEntry& entry);
  bool Reconnect(const Status& why, uint32_t* losses);
  void StartMoreLanes();
  bool WirePath(std::string_view path, std::string* wire_path) const {
    std::string below;
    if (!wire::ToWirePath(path, &below)) return false;
    *wire_path = state_.prefix;
    if (!wire_path->empty() && !below.empty()) *wire_path += '\\';
    *wire_path += below;
    return true;
  }
  std::string Name(const RemoteEntry& entry) const {
    return state_.file_name.empty() ? std::string(NameOf(entry.path)) : state_.file_name;
  }
  std::string_view Parent(const RemoteEntry& entry) const {
    return state_.tree ? ParentOf(entry.path) : std::string_view();
  }
  void Fail(const RemoteEntry& entry, const Status& status, std::string text) {
    if (state_.tree && !entry.path.empty()) {
      remote_.Fail(worker_, status, entry.path, std::move(text));
    } else {
      remote_.FailWhole(worker_, status, std::move(text));
    }
  }

  PlainPullState& state_;
  RemoteJob& remote_;
  Worker& worker_;
  const Options& options_;
  std::unique_ptr<PlainClient> client_;
  const uint32_t index_;
  OpenDirectories directories_;
  bool takes_deltas_ = true;  // until one was of no use
};

// What cannot be read has another digest than anything.
Md5Digest DigestOf(const platform::Handle& file) {
  Md5 md5;
  std::vector<char> buffer(256 * 1024);
  for (uint64_t offset = 0;;) {
    size_t got = 0;
    if (!platform::ReadRange(file, Operation::kRead, offset, buffer.data(), buffer.size(), &got).ok()) {
      return Md5Digest{};
    }
    if (got == 0) return md5.Finish();
    md5.Update(std::string_view(buffer.data(), got));
    offset += got;
  }
}

bool PlainPullLane::Reconnect(const Status& why, uint32_t* losses) {
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

bool PlainPullLane::TakeWork(RemoteEntry* entry, bool* directory) {
  std::unique_lock<std::mutex> lock(state_.mutex);
  while (!remote_.stopping()) {
    *directory = !state_.directories.empty();
    if (*directory) {
      *entry = std::move(state_.directories.back());
      state_.directories.pop_back();
    } else if (!state_.files.empty()) {
      *entry = std::move(state_.files.front());
      state_.files.pop_front();
    } else if (state_.working == 0) {
      return false;
    } else {
      state_.more.wait_for(lock, std::chrono::milliseconds(20));
      continue;
    }
    ++state_.working;
    return true;
  }
  return false;
}

void PlainPullLane::Run() {
  RemoteEntry entry;
  bool directory = false;
  while (TakeWork(&entry, &directory)) {
    if (directory) {
      ListDirectory(entry);
    } else {
      PullFile(entry);
    }
    std::lock_guard<std::mutex> lock(state_.mutex);
    --state_.working;
    state_.more.notify_all();
  }
}

void PlainPullLane::StartMoreLanes() {
  const uint32_t most = options_.thread_count;
  if (state_.lanes.load(std::memory_order_relaxed) >= most) return;
  {
    std::lock_guard<std::mutex> lock(state_.mutex);
    if (state_.files.size() < 64 && state_.directories.size() < 8) return;
  }
  const uint32_t lanes = state_.lanes.exchange(most, std::memory_order_relaxed);
  if (lanes >= most) return;
  PlainPullState& state = state_;
  remote_.StartLanes(most - lanes, [&state](Worker& worker, uint32_t index) {
    Session session;
    std::string text;
    if (!state.remote.Connect(worker, index, state.net_directory, &session, &text).ok()) return;
    PlainPullLane lane(state, worker, std::move(session), index);
    lane.Run();
    lane.Finish();
  });
}

void PlainPullLane::ListDirectory(const RemoteEntry& directory) {
  OpenDirectory opened;
  std::vector<std::string> made;
  Status status = directories_.Make(directory.path, &opened, &made);
  WorkerCounters::Add(worker_.counters->directories_created, made.size());
  if (!status.ok()) {
    const int error_number = status.error_number();
    const bool in_the_way = error_number == ENOTDIR || error_number == ELOOP;
    Fail(directory, Status::FromErrno(in_the_way ? EEXIST : error_number, Operation::kMakeDirectory), std::string());
    return;
  }
  if (made.empty() && !directory.path.empty()) RemoveDeadFilesIn(*opened);
  std::string pattern;
  if (!WirePath(directory.path, &pattern)) return;  // it came from the wire
  if (!pattern.empty()) pattern += '\\';
  pattern += "*.*";
  std::vector<wire::FoundFile> found_files;
  bool found = false;
  for (uint32_t losses = 0;;) {
    found_files.clear();
    status = client_->FindFiles(pattern, &found_files, &found);
    if (status.ok()) break;
    if (!Reconnect(status, &losses)) return;
  }
  if (!found) {
    Fail(directory, Status::Of(Kind::kServer, Operation::kListDirectory), "the server cannot list the directory");
    return;
  }
  if (options_.metadata == Metadata::kStat) state_.local.Remember(directory);
  {
    std::lock_guard<std::mutex> lock(state_.mutex);
    for (const wire::FoundFile& file : found_files) {
      RemoteEntry entry;
      entry.path = JoinPaths(directory.path, file.name);
      entry.mode = kUnknownMode;
      entry.mtime = entry.atime = wire::NanosecondsFromFileTime(file.last_write_time);
      if (IsTemporaryName(file.name)) continue;
      // Names that lead elsewhere.
      if (file.name.empty() || file.name == "." || file.name == ".." ||
          file.name.find_first_of("/\\") != std::string::npos) {
        remote_.FailWhole(worker_, Violation(), "the server sent a name that is none");
        return;
      }
      if (!IsProtocolPath(entry.path)) {
        remote_.Fail(worker_, Status::FromErrno(ENAMETOOLONG, Operation::kOpenDestination), entry.path);
      } else if (!platform::IsPossibleName(file.name)) {
        remote_.Fail(worker_, NoPossibleName(), entry.path, kNoPossibleName);
      } else if ((file.attributes & kAttributeReparsePoint) != 0) {
        remote_.Fail(worker_, Status::Of(Kind::kUnsupported, Operation::kReadLink, ENOTSUP), entry.path,
                     "the server's protocol has no symbolic links");
      } else if ((file.attributes & wire::kAttributeDirectory) != 0) {
        state_.directories.push_back(std::move(entry));
      } else {
        entry.size = file.size;
        WorkerCounters::Add(worker_.counters->files_found, 1);
        WorkerCounters::Add(worker_.counters->bytes_found, entry.size);
        state_.files.push_back(std::move(entry));
      }
    }
    state_.more.notify_all();
  }
  StartMoreLanes();
}

void PlainPullLane::PullFile(const RemoteEntry& entry) {
  OpenDirectory parent;
  if (options_.metadata == Metadata::kStat && directories_.Open(Parent(entry), &parent).ok() &&
      IsThere(*parent, Name(entry).c_str(), entry, 100)) {
    WorkerCounters::Add(worker_.counters->files_skipped, 1);
    WorkerCounters::Add(worker_.counters->bytes_skipped, entry.size);
    remote_.TellFile(state_.tree ? entry.path : "", entry.size);
    return;
  }
  uint32_t losses = 0;
  for (uint32_t tries = 0; !remote_.stopping();) {
    Status failure;
    std::string text;
    const Status status = TryFile(entry, &failure, &text);
    if (!status.ok()) {
      if (!Reconnect(status, &losses)) return;
      continue;
    }
    if (failure.ok()) return;
    if (!remote_.CanRetry(failure, tries) || !remote_.WaitBeforeRetry()) {
      Fail(entry, failure, text);
      return;
    }
    ++tries;
    WorkerCounters::Add(worker_.counters->retries, 1);
  }
}

// A Status is the connection's; *failure the file's.
Status PlainPullLane::TryFile(const RemoteEntry& entry, Status* failure, std::string* text) {
  wire::ReadFile read;
  if (!WirePath(entry.path, &read.path)) return Violation();
  if (!state_.tree) read.path = state_.prefix;
  int level = ZstdAvailable() ? remote_.remote.level : 0;
  OpenDirectory parent;
  platform::Handle here;
  FileInfo info;
  const std::string name = Name(entry);
  const bool have = directories_.Open(Parent(entry), &parent).ok() &&
                    platform::OpenSource(*parent, name.c_str(), false, &here, &info).ok() &&
                    info.type == FileType::kRegular;
  uint8_t byte = 0;
  bool deltas = have && level != 0 && MayBeDelta(entry, info);
  std::optional<Rebuilt> rebuilt;
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                             std::chrono::duration<double>(std::min(remote_.remote.timeout, 1e9)));
  for (;;) {
    read.level = level < 0 ? wire::kAdaptiveLevel : static_cast<uint8_t>(level);
    // With a level, a real server that knows of this file may send a delta to whatever it has at that path now (Q1).
    read.info = wire::FileInfo();
    if (rebuilt) {
      // Of the right size, with a time that it does not have: a server that compares digests asks for this one's.
      read.info.last_write_time = rebuilt->last_write ^ 1;
      read.info.size = rebuilt->size;
    } else if (have && (level == 0 || deltas)) {
      read.info.last_write_time = wire::FileTimeFromTimestamp(info.modified);
      read.info.size = info.size;
    }
    Status status = client_->AskToRead(read, &byte);
    if (!status.ok()) return status;
    const bool asked_back = static_cast<wire::ReadAnswer>(byte) == wire::ReadAnswer::kHash;
    if (asked_back) {
      const Md5Digest md5 = rebuilt ? rebuilt->arrival->md5() : have ? DigestOf(here) : Md5Digest{};
      status = client_->SendHash(md5, &byte);
      if (!status.ok()) return status;
    }
    const auto answer = static_cast<wire::ReadAnswer>(byte);
    if (rebuilt && answer != wire::ReadAnswer::kServerBusy) {
      rebuilt->checked = asked_back && answer == wire::ReadAnswer::kSkip;
      if (rebuilt->checked) break;
      // It is wrong, or this server does not tell.
      rebuilt.reset();
      takes_deltas_ = false;
      if (answer == wire::ReadAnswer::kSkip) continue;
    }
    if (answer == wire::ReadAnswer::kCopyDelta) {
      if (deltas) {
        deltas = false;
        status = ReceiveDelta(entry, &rebuilt);
        if (!status.ok()) return status;
        if (!rebuilt) takes_deltas_ = false;
        if (rebuilt && rebuilt->checked) break;
        continue;
      }
      status = client_->DropDelta();
      if (!status.ok()) return status;
      if (level == 0) break;
      level = 0;
      continue;
    }
    if (answer != wire::ReadAnswer::kServerBusy) break;
    if (std::chrono::steady_clock::now() > until) {
      *failure = Status::FromErrno(ETIMEDOUT, Operation::kReceive);
      *text = "the server is busy";
      return Status();
    }
    if (remote_.stopping()) return Status::Cancelled();
    std::this_thread::sleep_for(kBusyWait);
  }
  if (rebuilt) {
    *failure = Finish(entry, *rebuilt->arrival, rebuilt->parent, rebuilt->last_write);
    return Status();
  }
  switch (static_cast<wire::ReadAnswer>(byte)) {
    case wire::ReadAnswer::kCopy: {
      uint64_t last_write = 0, size = 0;
      Status status = client_->ReceiveNumber(&last_write);
      if (status.ok()) status = client_->ReceiveNumber(&size);
      if (!status.ok()) return status;
      if (size > static_cast<uint64_t>(INT64_MAX)) return Violation();
      return Receive(entry, size, last_write, level != 0, failure);
    }
    case wire::ReadAnswer::kCopyUsingSmb: {
      uint64_t last_write = 0;
      Status status = client_->ReceiveNumber(&last_write);
      if (!status.ok()) return status;
      *failure = CopyItself(entry);
      if (!failure->ok() && remote_.remote.local_directory.empty()) {
        *text = "the server leaves the copying to its client, which cannot reach the directory";
      }
      return Status();
    }
    case wire::ReadAnswer::kSkip:
      if (!have) {
        *failure = Status::Of(Kind::kServer, Operation::kReceive);
        *text = "the server takes the file for copied, and it is not there";
        return Status();
      }
      if (options_.metadata == Metadata::kStat) {
        NewMetadata metadata;
        metadata.set_times = true;
        metadata.mtime = entry.mtime;
        metadata.atime = ToNanoseconds(info.accessed);
        *failure = SetMetadata(here, metadata);
        if (!failure->ok()) return Status();
      }
      WorkerCounters::Add(worker_.counters->files_skipped, 1);
      WorkerCounters::Add(worker_.counters->bytes_skipped, entry.size);
      remote_.TellFile(state_.tree ? entry.path : "", entry.size);
      return Status();
    case wire::ReadAnswer::kBadSource:
      *failure = Status::FromErrno(ENOENT, Operation::kOpenSource);
      *text = "the server cannot read it";
      return Status();
    case wire::ReadAnswer::kCopyDelta:
      *failure = Status::Of(Kind::kServer, Operation::kReceive);
      *text = "the server sends nothing but deltas";
      return Status();
    default:
      return Violation();
  }
}

Status PlainPullLane::Receive(const RemoteEntry& entry, uint64_t size, uint64_t last_write, bool compressed,
                              Status* failure) {
  OpenDirectory parent;
  const Status made = directories_.Make(Parent(entry), &parent, nullptr);
  Arrival arrival(made.ok() ? parent : state_.local.share().root, 0666, false);
  if (!made.ok()) arrival.Fail(Status::FromErrno(made.error_number(), Operation::kOpenDestination));
  WorkerCounters& counters = *worker_.counters;
  Status status = client_->ReceiveBody(size, compressed, [&](std::string_view piece) {
    arrival.Write(piece);
    WorkerCounters::Add(counters.bytes_copied, piece.size());
  });
  counters.bytes_copied.fetch_sub(arrival.size(), std::memory_order_relaxed);
  if (status.ok()) *failure = Finish(entry, arrival, parent, last_write);
  return status;
}

// `parent`: null when there is none.
Status PlainPullLane::Finish(const RemoteEntry& entry, Arrival& arrival, const OpenDirectory& parent,
                             uint64_t last_write) {
  NewMetadata metadata;
  metadata.durable = options_.fsync;
  if (options_.metadata == Metadata::kStat) {
    metadata.set_times = true;
    metadata.mtime = metadata.atime = wire::NanosecondsFromFileTime(last_write);
  }
  FileInfo there;
  if (parent && platform::GetInfo(*parent, Name(entry).c_str(), false, &there).ok() &&
      there.type == FileType::kRegular) {
    metadata.mode = ModeOf(there);  // the server has none to tell
  }
  Status status = arrival.Finish(Name(entry), metadata, options_.verify);
  if (!status.ok()) return status;
  WorkerCounters::Add(worker_.counters->files_copied, 1);
  WorkerCounters::Add(worker_.counters->bytes_copied, arrival.size());
  remote_.TellFile(state_.tree ? entry.path : "", arrival.size());
  return Status();
}

bool PlainPullLane::MayBeDelta(const RemoteEntry& entry, const FileInfo& here) const {
  if (!takes_deltas_ || remote_.remote.delta == DeltaMode::kNever || here.size == 0) return false;
  if (std::max(entry.size, here.size) > kMostPatched) return false;
  return entry.size >= kWorthDelta || remote_.remote.delta == DeltaMode::kAlways;
}

// *rebuilt stays empty where what came does not fit what is here.
Status PlainPullLane::ReceiveDelta(const RemoteEntry& entry, std::optional<Rebuilt>* rebuilt) {
  PlainClient::DeltaHead head;
  Status status = client_->ReceiveDeltaHead(&head);
  if (!status.ok()) return status;
  Rebuilt made;
  made.last_write = head.last_write;
  made.size = head.size;
  OlderVersion older;
  const bool usable = head.codec == 0 && directories_.Open(Parent(entry), &made.parent).ok() &&
                      older.Open(*made.parent, Name(entry).c_str(), false).ok();
  if (!usable) return client_->ReceiveDelta([](std::string_view) {});
  made.arrival = std::make_unique<Arrival>(made.parent, 0666, true);
  DeltaArrival delta(*made.arrival, older, true, false);
  bool fits = true;
  status = client_->ReceiveDelta(
      [&](std::string_view piece) { fits = fits && delta.Patch(piece, head.size, *remote_.job.cancel_flag()); });
  if (!status.ok()) return status;
  if (!fits || !delta.used() || !delta.IsComplete() || delta.failed() || made.arrival->size() != head.size) {
    return Status();
  }
  made.checked = delta.has_checksum();
  *rebuilt = std::move(made);
  return Status();
}

Status PlainPullLane::CopyItself(const RemoteEntry& entry) {
  if (remote_.remote.local_directory.empty()) return Status::Of(Kind::kServer, Operation::kOpenSource);
  const std::string source =
      state_.tree ? JoinPaths(remote_.remote.local_directory, entry.path) : remote_.remote.local_directory;
  OpenDirectory parent;
  Status status = directories_.Make(Parent(entry), &parent, nullptr);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenDestination);
  const std::string name = Name(entry);
  UncountedMonitor monitor(remote_.job);
  FileOutcome outcome;
  Options options = options_;
  options.atomic = true;
  FileTask task{
      platform::Directory::Paths(), source.c_str(), *parent, name.c_str(), true, true, false, UINT64_MAX, 1, nullptr};
  status = CopyFile(task, options, worker_.scratch, monitor, &outcome);
  if (!status.ok()) return status;
  WorkerCounters::Add(worker_.counters->files_copied, 1);
  WorkerCounters::Add(worker_.counters->bytes_copied, outcome.size);
  remote_.TellFile(state_.tree ? entry.path : "", outcome.size);
  return status;
}

}  // namespace

void PullPlain(RemoteJob& remote, Worker& worker, Session first) {
  PlainPullState state(remote);
  if (!NetDirectoryOf(remote, &state.net_directory, &state.prefix)) return;  // it was sayable before
  wire::FoundInfo found;
  Status status = AskFirst(remote, worker, state.net_directory, &first, [&](Session* session) {
    PlainClient client(remote, worker, std::move(*session));
    const Status asked = client.GetFileInfo(state.prefix, &found);
    *session = std::move(client.session());
    return asked;
  });
  if (status.ok() && found.error != 0) {
    const bool missing = found.error == wire::kErrorFileNotFound || found.error == wire::kErrorPathNotFound;
    status =
        missing ? Status::FromErrno(ENOENT, Operation::kOpenSource) : Status::Of(Kind::kServer, Operation::kOpenSource);
  }
  if (!status.ok()) {
    remote.FailWhole(worker, status);
    return;
  }
  RemoteEntry root;
  root.mode = kUnknownMode;
  root.mtime = root.atime = wire::NanosecondsFromFileTime(found.info.last_write_time);
  state.tree = (found.attributes & wire::kAttributeDirectory) != 0;
  uint64_t made = 0;
  if (state.tree) {
    status = state.local.OpenTree(remote.destination(), &made);
    state.directories.push_back(root);
  } else {
    status = state.local.OpenForFile(remote.destination(), &state.file_name, &made);
    root.path = wire::FromWirePath(state.prefix);
    root.size = found.info.size;
    WorkerCounters::Add(worker.counters->files_found, 1);
    WorkerCounters::Add(worker.counters->bytes_found, root.size);
    state.files.push_back(root);
  }
  WorkerCounters::Add(worker.counters->directories_created, made);
  if (!status.ok()) {
    remote.FailWhole(worker, status);
    return;
  }
  PlainPullLane lane(state, worker, std::move(first), 0);
  lane.Run();
  remote.WaitForLanes();
  lane.Finish();
  if (remote.job.cancelled()) return;
  state.local.Complete(remote.job.options().fsync, [&](const std::string& path, const Status& failure) {
    if (path.empty()) {
      remote.FailWhole(worker, failure);
    } else {
      remote.Fail(worker, failure, path);
    }
  });
}

}  // namespace net
}  // namespace eacopy
