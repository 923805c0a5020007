// Pulling in the extended dialect: the server lists, and files are fetched by the batch while the listing still comes.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../temporary.h"
#include "arrival.h"
#include "local_tree.h"
#include "older_version.h"
#include "remote_job.h"
#include "store.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kPathsOfFetch = 256;
constexpr size_t kBytesOfFetch = 256 * 1024;
constexpr uint64_t kContentOfFetch = 8u << 20;  // more of it is left for other connections
constexpr uint64_t kFilesForMore = 256;         // more connections are worth while from here on
constexpr milliseconds kSlice{40};
constexpr milliseconds kProgressInterval{50};

// What the connections of one pull share.
struct PullState {
  explicit PullState(RemoteJob& remote_job) : remote(remote_job) {}

  RemoteJob& remote;
  LocalTree local;
  bool tree = false;
  std::string file_name;  // of a single file, where it is to have another name than on the server
  std::atomic<uint32_t> lanes{1};
  uint32_t most_lanes = 1;

  std::mutex mutex;
  std::condition_variable more;
  std::deque<RemoteEntry> waiting;
  uint64_t bytes_waiting = 0;
  bool listed = false;
};

class PullLane {
 public:
  PullLane(PullState& state, Worker& worker, Session session, uint32_t index, bool lists)
      : state_(state),
        remote_(state.remote),
        worker_(worker),
        options_(state.remote.job.options()),
        session_(std::move(session)),
        index_(index),
        lists_(lists),
        directories_(state.local.share()) {}

  // Fetches until there is no more.
  void Run();
  void SayGoodbye() {
    if (broken_) return;
    session_.channel->SayGoodbye(Status());
  }

 private:
  Status Work();
  void AskForListing();
  Status Handle(const Message& message);
  Status HandleEntries(std::string_view payload);
  Status HandleListed(std::string_view payload);
  void Take(const Entry& entry);
  void TakeFile(RemoteEntry entry);
  void TakeSymlink(const Entry& entry);
  void StartMoreLanes(size_t waiting, uint64_t bytes);
  bool IsForDelta(const RemoteEntry& entry) const;
  bool AskForDelta(uint32_t index, const RemoteEntry& entry);
  bool MayBePatched(const RemoteEntry& entry, const OlderVersion& older) const;
  bool FetchMore(bool* all);

  Status CheckAnswer(uint32_t index) const {
    return fetched_.empty() || index != first_ || arrival_ ? Violation() : Status();
  }
  void StartFile(int64_t mtime, uint64_t size);
  void CountPacked(const Message& message, size_t content);
  void EndFile(uint8_t flags);
  void EndFailed(const Status& status, std::string text);
  void NextFile();
  void Advance(uint64_t bytes);
  void TakeBack();
  std::string Name(std::string_view path) const {
    return state_.file_name.empty() ? std::string(NameOf(path)) : state_.file_name;
  }
  std::string_view ShownPath(std::string_view path) const { return state_.tree ? path : std::string_view(); }
  void Fail(std::string_view path, const Status& status, std::string text = {}) {
    if (state_.tree && !path.empty()) {
      remote_.Fail(worker_, status, path, std::move(text));
    } else {
      remote_.FailWhole(worker_, status, std::move(text));
    }
  }
  uint8_t Level() const {
    if ((session_.capabilities & kCapabilityZstd) == 0) return 0;
    return remote_.remote.level < 0 ? kAdaptive : static_cast<uint8_t>(remote_.remote.level);
  }

  PullState& state_;
  RemoteJob& remote_;
  Worker& worker_;
  const Options& options_;
  Session session_;
  const uint32_t index_;
  const bool lists_;
  bool broken_ = false;
  std::string reason_;    // the server's, for hanging up
  bool listing_ = false;  // asked for, and not ended
  uint32_t losses_ = 0;
  OpenDirectories directories_;
  std::unordered_map<std::string, bool> listed_;  // directories of the listing, and whether they could be made
  std::unordered_set<std::string> seen_;          // of the listing, when it may have to be asked for again

  std::deque<RemoteEntry> fetched_;  // asked for, in the order of their numbers, from first_ on
  uint32_t first_ = 0;
  std::deque<uint32_t> fetch_ends_;  // the number behind each Fetch that is not answered completely
  struct Again {
    RemoteEntry entry;
    steady_clock::time_point when;
  };
  std::vector<Again> again_;

  struct Older {
    OlderVersion version;
    bool patch = false;  // that was asked for
  };
  std::unordered_map<uint32_t, Older> older_;  // of files that were asked for as a delta

  // The file that is arriving.
  std::unique_ptr<Arrival> arrival_;
  std::unique_ptr<DeltaArrival> delta_;
  int64_t mtime_ = 0;
  uint64_t size_ = 0;
  uint64_t advanced_ = 0;  // bytes that were counted as copied
  bool told_ = false;
  steady_clock::time_point last_told_;
};

void PullLane::Run() {
  for (;;) {
    if (lists_ && !state_.listed) AskForListing();
    Status status = Work();
    if (status.ok()) return;
    std::string text = std::move(reason_);
    reason_.clear();
    if (text.empty()) status = session_.channel->Reason(status, &text);
    broken_ = true;
    if (status.kind() == Kind::kClient && status.operation() == Operation::kReceive) {
      session_.channel->SayGoodbye(status);
      if (text.empty()) text = "the server sent what the protocol does not know";
    }
    TakeBack();
    if (remote_.stopping() || status.cancelled()) {
      remote_.FailWhole(worker_, Status::Cancelled());
      return;
    }
    // What has not arrived is asked for again.
    while (!fetched_.empty()) {
      again_.push_back({std::move(fetched_.front()), steady_clock::now()});
      fetched_.pop_front();
    }
    first_ = 0;
    fetch_ends_.clear();
    older_.clear();
    for (;; ++losses_) {
      if (!remote_.CanRetry(status, losses_) || !remote_.WaitBeforeRetry()) {
        remote_.FailWhole(worker_, status, text);
        return;
      }
      WorkerCounters::Add(worker_.counters->retries, 1);
      Session session;
      Status again = remote_.Connect(worker_, index_, std::string(), &session, &text);
      if (again.ok() && session.extended && session.what == session_.what) {
        session_ = std::move(session);
        broken_ = false;
        break;
      }
      if (!again.ok()) status = again;
    }
    ++losses_;
  }
}

void PullLane::AskForListing() {
  List list;
  list.level = Level();
  if (state_.tree) list.flags |= kListRecursive;
  if (options_.metadata == Metadata::kStat) list.flags |= kListAttributes;
  std::string name = remote_.remote.directory;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  const std::string path = state_.tree ? std::string() : std::string(NameOf(name));
  list.path = path;
  EncodeList(&session_.channel->messages(), list);
  listing_ = true;
}

Status PullLane::Work() {
  ClientChannel& channel = *session_.channel;
  for (;;) {
    if (remote_.stopping()) return Status::Cancelled();
    Message message;
    bool there = true;
    Status status;
    while (there) {
      status = channel.Next(&message, &there);
      if (status.ok() && there) status = Handle(message);
      if (!status.ok()) return status;
      if (remote_.stopping()) return Status::Cancelled();
    }
    bool all = false;
    if (fetch_ends_.size() < kMaxOffersOnTheWay && fetched_.size() + kPathsOfFetch <= kMaxEntriesOnTheWay) {
      FetchMore(&all);
    }
    const bool owed = listing_ || !fetched_.empty();
    if (all && !owed && again_.empty()) return Status();
    if (!owed && again_.empty() && channel.waiting() == 0) {
      std::unique_lock<std::mutex> lock(state_.mutex);
      state_.more.wait_for(lock, milliseconds(20), [this] { return !state_.waiting.empty() || state_.listed; });
      continue;
    }
    status = channel.Pump(kSlice, owed);
    if (!status.ok()) return status;
  }
}

bool PullLane::FetchMore(bool* all) {
  std::vector<RemoteEntry> batch;
  uint64_t content = 0;
  const auto now = steady_clock::now();
  for (size_t i = 0; i < again_.size();) {
    // Those that may come as a delta are asked for one by one.
    if (again_[i].when > now || batch.size() == kPathsOfFetch || (!batch.empty() && IsForDelta(again_[i].entry))) {
      ++i;
      continue;
    }
    batch.push_back(std::move(again_[i].entry));
    again_[i] = std::move(again_.back());
    again_.pop_back();
  }
  {
    std::lock_guard<std::mutex> lock(state_.mutex);
    size_t bytes = 0;
    while (!state_.waiting.empty() && batch.size() < kPathsOfFetch && content < kContentOfFetch &&
           bytes < kBytesOfFetch && (batch.empty() || !IsForDelta(batch.back()))) {
      if (!batch.empty() && IsForDelta(state_.waiting.front())) break;  // those are asked for one by one
      content += state_.waiting.front().size;
      bytes += state_.waiting.front().path.size() + 2;
      state_.bytes_waiting -= state_.waiting.front().size;
      batch.push_back(std::move(state_.waiting.front()));
      state_.waiting.pop_front();
    }
    *all = state_.waiting.empty() && state_.listed;
  }
  if (batch.empty()) return false;
  std::string& messages = session_.channel->messages();
  const uint32_t first = first_ + static_cast<uint32_t>(fetched_.size());
  if (batch.size() == 1 && IsForDelta(batch[0]) && AskForDelta(first, batch[0])) {
    fetched_.push_back(std::move(batch[0]));
    fetch_ends_.push_back(first + 1);
    return true;
  }
  CountedMessage fetch = CountedMessage::Fetch(&messages, first, Level());
  for (RemoteEntry& entry : batch) {
    PutString16(&messages, entry.path);
    fetch.Add();
    fetched_.push_back(std::move(entry));
  }
  fetch.Finish();
  fetch_ends_.push_back(first_ + static_cast<uint32_t>(fetched_.size()));
  return true;
}

bool PullLane::IsForDelta(const RemoteEntry& entry) const {
  if ((session_.capabilities & kCapabilityDelta) == 0 || entry.whole || entry.size == 0) return false;
  return entry.size >= kWorthDelta || remote_.remote.delta == DeltaMode::kAlways || !remote_.remote.reference.empty();
}

// Whether to ask for a patch, which the server can make only if it has that older version too.
bool PullLane::MayBePatched(const RemoteEntry& entry, const OlderVersion& older) const {
  if ((session_.capabilities & kCapabilityPatches) == 0 || entry.unpatched) return false;
  if (remote_.remote.level == 0 && remote_.remote.reference.empty()) return false;
  return older.size() <= kMostPatched && entry.size <= kMostPatched;
}

// False when there is no older version here that would be of use.
bool PullLane::AskForDelta(uint32_t index, const RemoteEntry& entry) {
  OlderVersion older;
  const std::string& reference = remote_.remote.reference;
  OpenDirectory parent;
  Status status;
  if (!reference.empty()) {
    status = older.Open(platform::Directory::Paths(), reference.c_str(), true);
  } else {
    status = directories_.Open(state_.tree ? ParentOf(entry.path) : std::string_view(), &parent);
    if (status.ok()) status = older.Open(*parent, Name(entry.path).c_str(), false);
  }
  if (!status.ok() || !older.IsLike(entry.size)) return false;
  if (MayBePatched(entry, older)) {
    FetchPatch fetch;
    fetch.index = index;
    fetch.level = Level();
    fetch.path = entry.path;
    fetch.reference.size = older.size();
    if (!older.Digest(remote_.job.cancel_flag(), &fetch.reference.md5).ok()) return false;
    EncodeFetchPatch(&session_.channel->messages(), fetch);
    older_.emplace(index, Older{std::move(older), true});
    return true;
  }
  std::string signatures;
  if (!older.TellSignatures(index, remote_.job.cancel_flag(), &signatures, [] { return Status(); }).ok()) return false;
  FetchDelta fetch;
  fetch.index = index;
  fetch.level = Level();
  fetch.path = entry.path;
  EncodeFetchDelta(&session_.channel->messages(), fetch);
  session_.channel->messages() += signatures;
  older_.emplace(index, Older{std::move(older), false});
  return true;
}

Status PullLane::Handle(const Message& message) {
  switch (message.type) {
    case MessageType::kEntries:
      return listing_ ? HandleEntries(message.payload) : Violation();
    case MessageType::kListed:
      return listing_ ? HandleListed(message.payload) : Violation();
    case MessageType::kBody: {
      Body body;
      if (!DecodeBody(message.payload, &body)) return Violation();
      Status status = CheckAnswer(body.index);
      if (!status.ok()) return status;
      StartFile(body.mtime, body.content.size());
      arrival_->Write(body.content);
      if (arrival_->crc() != body.crc) return Violation();
      CountPacked(message, body.content.size());
      Advance(body.content.size());
      EndFile(body.flags);
      return Status();
    }
    case MessageType::kBegin: {
      Begin begin;
      if (!DecodeBegin(message.payload, &begin)) return Violation();
      Status status = CheckAnswer(begin.index);
      if (!status.ok()) return status;
      StartFile(begin.mtime, begin.size);
      const auto older = older_.find(begin.index);
      if (older != older_.end()) {
        delta_ = std::make_unique<DeltaArrival>(*arrival_, older->second.version, older->second.patch);
        if (options_.reflink == Reflink::kNever) delta_->NeverClone();
      }
      return Status();
    }
    case MessageType::kReuse: {
      Reuse reuse;
      if (!DecodeReuse(message.payload, &reuse) || !delta_ || reuse.length > size_ - arrival_->size() ||
          !delta_->Reuse(reuse, *remote_.job.cancel_flag())) {
        return Violation();
      }
      Advance(reuse.length);
      return Status();
    }
    case MessageType::kData:
      if (!arrival_ || message.payload.size() > size_ - arrival_->size()) return Violation();
      arrival_->Write(message.payload);
      CountPacked(message, message.payload.size());
      Advance(message.payload.size());
      return Status();
    case MessageType::kHole: {
      uint64_t length = 0;
      if (!DecodeHole(message.payload, &length)) return Violation();
      if (!arrival_ || length > size_ - arrival_->size()) return Violation();
      arrival_->Hole(length);
      Advance(length);
      return Status();
    }
    case MessageType::kEnd: {
      End end;
      if (!DecodeEnd(message.payload, &end)) return Violation();
      if (!arrival_) return Violation();
      const bool complete = !delta_ || delta_->IsComplete();
      if (!complete || arrival_->size() != size_ || arrival_->crc() != end.crc) {
        if (!delta_ || !delta_->used()) return Violation();
        delta_->Fail();
      }
      EndFile(end.flags);
      return Status();
    }
    case MessageType::kPatchData: {
      const uint64_t before = arrival_ ? arrival_->size() : 0;
      if (!delta_ || !delta_->Patch(message.payload, size_, *remote_.job.cancel_flag())) return Violation();
      Advance(arrival_->size() - before);
      return Status();
    }
    case MessageType::kUnknownReference: {
      uint32_t index = 0;
      if (!DecodeUnknownReference(message.payload, &index)) return Violation();
      Status status = CheckAnswer(index);
      const auto older = older_.find(index);
      if (!status.ok() || older == older_.end() || !older->second.patch) return Violation();
      RemoteEntry& entry = fetched_.front();
      entry.unpatched = true;
      again_.push_back({std::move(entry), steady_clock::now()});
      NextFile();
      return Status();
    }
    case MessageType::kAbandon: {
      Abandon abandon;
      if (!DecodeAbandon(message.payload, &abandon)) return Violation();
      if (fetched_.empty() || abandon.index != first_) return Violation();
      TakeBack();
      EndFailed(FromErrorView(abandon.error), std::string(abandon.error.text));
      return Status();
    }
    case MessageType::kGoodbye:
      return FromGoodbye(message.payload, &reason_);
    default:
      return Violation();
  }
}

Status PullLane::HandleEntries(std::string_view payload) {
  Reader reader(payload);
  uint32_t count = 0;
  if (!TakeCount(&reader, &count)) return Violation();
  for (; count != 0; --count) {
    Entry entry;
    if (!TakeEntry(&reader, &entry) || !IsProtocolPath(entry.path) || IsTemporaryName(NameOf(entry.path))) {
      return Violation();
    }
    if (entry.target.find('\0') != std::string_view::npos) return Violation();
    if (state_.tree && !entry.path.empty()) {
      // Nothing comes before the directory it is in. What lies in one that could not be made is no failure of its own.
      const auto parent = listed_.find(std::string(ParentOf(entry.path)));
      if (parent == listed_.end()) return Violation();
      if (!parent->second) {
        if (entry.type == EntryType::kDirectory) listed_[std::string(entry.path)] = false;
        continue;
      }
    }
    if (options_.strategy == Strategy::kRetry && !seen_.insert(std::string(entry.path)).second) continue;
    if (state_.tree && !entry.path.empty() && !platform::IsPossibleName(NameOf(entry.path))) {
      if (entry.type == EntryType::kDirectory) listed_[std::string(entry.path)] = false;
      Fail(entry.path, NoPossibleName(), kNoPossibleName);
      continue;
    }
    Take(entry);
  }
  return reader.complete() ? Status() : Violation();
}

void PullLane::Take(const Entry& entry) {
  if (!state_.tree && entry.type == EntryType::kDirectory) {
    Fail(entry.path, Status::FromErrno(EISDIR, Operation::kOpenSource));  // it was a file a moment ago
    return;
  }
  if (entry.type == EntryType::kSymlink) {
    TakeSymlink(entry);
    return;
  }
  RemoteEntry found;
  found.path = std::string(entry.path);
  found.mode = entry.mode;
  found.mtime = entry.mtime;
  found.atime = entry.atime;
  found.size = entry.size;
  found.attributes = std::string(entry.attributes);
  if (entry.type == EntryType::kFile) {
    TakeFile(std::move(found));
    return;
  }
  OpenDirectory directory;
  std::vector<std::string> made;
  Status status = directories_.Make(found.path, &directory, &made);
  WorkerCounters::Add(worker_.counters->directories_created, made.size());
  listed_[found.path] = status.ok();
  if (!status.ok()) {
    const int error_number = status.error_number();
    const bool in_the_way = error_number == ENOTDIR || error_number == ELOOP;
    Fail(found.path, Status::FromErrno(in_the_way ? EEXIST : error_number, Operation::kMakeDirectory));
    return;
  }
  if (made.empty() && !found.path.empty()) RemoveDeadFilesIn(*directory);
  state_.local.Remember(std::move(found));
}

void PullLane::TakeFile(RemoteEntry entry) {
  WorkerCounters& counters = *worker_.counters;
  WorkerCounters::Add(counters.files_found, 1);
  WorkerCounters::Add(counters.bytes_found, entry.size);
  OpenDirectory parent;
  const std::string_view parent_path = state_.tree ? ParentOf(entry.path) : std::string_view();
  if (options_.metadata == Metadata::kStat && directories_.Open(parent_path, &parent).ok() &&
      IsThere(*parent, Name(entry.path).c_str(), entry, 1)) {
    WorkerCounters::Add(counters.files_skipped, 1);
    WorkerCounters::Add(counters.bytes_skipped, entry.size);
    remote_.TellFile(ShownPath(entry.path), entry.size);
    return;
  }
  size_t waiting = 0;
  uint64_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(state_.mutex);
    state_.bytes_waiting += entry.size;
    state_.waiting.push_back(std::move(entry));
    waiting = state_.waiting.size();
    bytes = state_.bytes_waiting;
    state_.more.notify_one();
  }
  StartMoreLanes(waiting, bytes);
}

void PullLane::TakeSymlink(const Entry& entry) {
  if (options_.follow_symlinks) {
    Fail(entry.path, Status::Of(Kind::kUnsupported, Operation::kReadLink, ENOTSUP),
         "a server does not follow symbolic links; copy them as links");
    return;
  }
  OpenDirectory parent;
  Status status = directories_.Make(state_.tree ? ParentOf(entry.path) : std::string_view(), &parent, nullptr);
  bool same = false;
  if (status.ok()) {
    NewMetadata metadata;
    metadata.set_times = options_.metadata == Metadata::kStat;
    metadata.mtime = entry.mtime;
    metadata.atime = entry.atime;
    metadata.durable = options_.fsync;
    status = StoreSymlink(*parent, Name(entry.path).c_str(), std::string(entry.target), metadata, &same);
  }
  if (!status.ok()) {
    Fail(entry.path, status);
  } else if (!same) {
    WorkerCounters::Add(worker_.counters->symlinks_copied, 1);
  }
}

Status PullLane::HandleListed(std::string_view payload) {
  Reader reader(payload);
  uint32_t count = 0;
  if (!TakeCount(&reader, &count)) return Violation();
  for (; count != 0; --count) {
    ErrorView error;
    if (!TakeError(&reader, &error)) return Violation();
    Fail(error.path, FromErrorView(error), std::string(error.text));
  }
  listing_ = false;
  losses_ = 0;
  std::lock_guard<std::mutex> lock(state_.mutex);
  state_.listed = true;
  state_.more.notify_all();
  return reader.complete() ? Status() : Violation();
}

void PullLane::StartMoreLanes(size_t waiting, uint64_t bytes) {
  if (state_.lanes.load(std::memory_order_relaxed) >= state_.most_lanes || waiting < 2) return;
  if (waiting < kFilesForMore && bytes < kContentOfFetch) return;
  const uint32_t lanes = state_.lanes.exchange(state_.most_lanes, std::memory_order_relaxed);
  if (lanes >= state_.most_lanes) return;
  PullState& state = state_;
  remote_.StartLanes(state_.most_lanes - lanes, [&state](Worker& worker, uint32_t index) {
    Session session;
    std::string text;
    // The others do without one that does not come about.
    if (!state.remote.Connect(worker, index, std::string(), &session, &text).ok() || !session.extended) return;
    PullLane lane(state, worker, std::move(session), index, false);
    lane.Run();
    lane.SayGoodbye();
  });
}

// Content -------------------------------------------------------------------------------------------------------------

void PullLane::StartFile(int64_t mtime, uint64_t size) {
  const RemoteEntry& entry = fetched_.front();
  mtime_ = mtime;
  size_ = size;
  advanced_ = 0;
  told_ = false;
  OpenDirectory parent;
  const Status status = directories_.Make(state_.tree ? ParentOf(entry.path) : std::string_view(), &parent, nullptr);
  const bool own_mode = options_.metadata == Metadata::kNone || entry.mode == kUnknownMode;
  const uint32_t mode = own_mode ? 0666 : entry.mode & 0777u;
  arrival_ = std::make_unique<Arrival>(status.ok() ? parent : state_.local.share().root, mode, false);
  if (!status.ok()) arrival_->Fail(Status::FromErrno(status.error_number(), Operation::kOpenDestination));
}

void PullLane::CountPacked(const Message& message, size_t content) {
  if (message.level == 0) return;
  WorkerCounters::Add(worker_.counters->bytes_packed, content);
  WorkerCounters::Add(worker_.counters->bytes_packed_level, content * uint64_t{message.level});
}

void PullLane::Advance(uint64_t bytes) {
  advanced_ += bytes;
  WorkerCounters::Add(worker_.counters->bytes_copied, bytes);
  if (!options_.want_progress || size_ < 256 * 1024) return;
  const auto now = steady_clock::now();
  const uint64_t copied = arrival_->size();
  if (told_ && (now - last_told_ < kProgressInterval || copied == size_)) return;
  last_told_ = now;
  remote_.job.events().AddProgress(!told_, told_ ? copied : 0, size_,
                                   remote_.SourcePath(ShownPath(fetched_.front().path)));
  told_ = true;
}

// What was counted of the file that is arriving does not count any more.
void PullLane::TakeBack() {
  if (!arrival_) return;
  delta_.reset();
  worker_.counters->bytes_copied.fetch_sub(advanced_, std::memory_order_relaxed);
  advanced_ = 0;
  arrival_.reset();
}

void PullLane::EndFile(uint8_t /*flags*/) {
  const RemoteEntry& entry = fetched_.front();
  const std::string name = Name(entry.path);
  NewMetadata metadata;
  metadata.durable = options_.fsync;
  if (options_.metadata != Metadata::kNone) metadata.mode = entry.mode;
  if (options_.metadata == Metadata::kStat) {
    metadata.set_times = true;
    metadata.mtime = mtime_;
    metadata.atime = entry.atime;
    metadata.attributes = entry.attributes;
  }
  FileInfo there;
  OpenDirectory parent;
  if (options_.metadata == Metadata::kNone &&
      directories_.Open(state_.tree ? ParentOf(entry.path) : std::string_view(), &parent).ok() &&
      platform::GetInfo(*parent, name.c_str(), false, &there).ok() && there.type == FileType::kRegular) {
    metadata.mode = ModeOf(there);  // overwriting keeps it
  }
  const Status status = arrival_->Finish(name, metadata, options_.verify);
  if (!status.ok()) {
    TakeBack();
    EndFailed(status, std::string());
    return;
  }
  const uint64_t size = arrival_->size();
  if (delta_) WorkerCounters::Add(worker_.counters->bytes_reused, delta_->reused());
  delta_.reset();
  arrival_.reset();
  WorkerCounters::Add(worker_.counters->files_copied, 1);
  if (options_.want_progress) {
    remote_.job.events().AddProgress(!told_, size, size, remote_.SourcePath(ShownPath(entry.path)));
  }
  NextFile();
}

void PullLane::EndFailed(const Status& status, std::string text) {
  RemoteEntry& entry = fetched_.front();
  if (status.kind() == Kind::kDeltaCopy && older_.count(first_) != 0) {
    // What is here is not what it was any more: all of the file is asked for then.
    entry.whole = true;
    again_.push_back({std::move(entry), steady_clock::now()});
    NextFile();
    return;
  }
  if (remote_.CanRetry(status, entry.tries)) {
    WorkerCounters::Add(worker_.counters->retries, 1);
    ++entry.tries;
    const auto delay = std::chrono::duration<double>(std::min(options_.retry_delay, 1e9));
    again_.push_back(
        {std::move(entry), steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(delay)});
  } else {
    Fail(entry.path, status, std::move(text));
  }
  NextFile();
}

void PullLane::NextFile() {
  fetched_.pop_front();
  older_.erase(first_);
  ++first_;
  losses_ = 0;
  while (!fetch_ends_.empty() && first_ >= fetch_ends_.front()) fetch_ends_.pop_front();
}

}  // namespace

void Pull(RemoteJob& remote, Worker& worker, Session first) {
  PullState state(remote);
  state.tree = first.what == Opened::kDirectory;
  if (state.tree && !remote.remote.reference.empty()) {
    remote.FailWhole(worker, Status::Of(Kind::kInvalidArgument, Operation::kOpenReference, EINVAL),
                     "a reference goes with one file");
    return;
  }
  state.most_lanes = std::max(1u, std::min(remote.job.options().thread_count, first.advised));
  uint64_t made = 0;
  const Status status = state.tree ? state.local.OpenTree(remote.destination(), &made)
                                   : state.local.OpenForFile(remote.destination(), &state.file_name, &made);
  WorkerCounters::Add(worker.counters->directories_created, made);
  if (!status.ok()) {
    remote.FailWhole(worker, status);
    return;
  }
  PullLane lane(state, worker, std::move(first), 0, true);
  lane.Run();
  remote.WaitForLanes();
  lane.SayGoodbye();
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
