// Pushing in the extended dialect: entries are offered by the batch, contents are sent as soon as the server wants
// them, and nothing waits for an answer.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../ranges.h"
#include "../temporary.h"
#include "file_reader.h"
#include "older_version.h"
#include "remote_job.h"
#include "source_walk.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kChunk = 256 * 1024;
constexpr size_t kEntriesOfOffer = 512;
constexpr size_t kBytesOfOffer = 256 * 1024;
constexpr uint64_t kContentOfOffer = 8u << 20;    // more of it is left for other connections
constexpr size_t kEnoughWaiting = 512 * 1024;     // bytes for the wire
constexpr uint64_t kFilesForMore = 256;           // more connections are worth while from here on
constexpr uint64_t kDeltasOnTheWay = 256u << 20;  // bytes of files whose signatures may be here at a time
constexpr milliseconds kSlice{40};
constexpr milliseconds kSoon{5};  // while something waits that is not for the server
constexpr milliseconds kProgressInterval{50};

// What the connections of one push share.
struct PushState {
  explicit PushState(RemoteJob& remote_job) : remote(remote_job), walk(remote_job) {}

  RemoteJob& remote;
  SourceWalk walk;
  std::atomic<uint32_t> lanes{1};
  uint32_t most_lanes = 1;
  // The older version that this side has too, if it has one.
  OlderVersion older;
  ReferenceDigest reference;
};

// An entry between its offer and its final result.
struct Offered {
  enum class Kind : uint8_t { kEntry, kMakeDirectory, kSetDirectory };
  Kind kind = Kind::kEntry;
  bool finished = false;
  bool told = false;                         // its progress was begun
  bool delta = false;                        // what differs is enough
  uint64_t counted = 0;                      // bytes that were counted as copied
  uint64_t reused = 0;                       // and as reused
  std::unique_ptr<delta::Signatures> older;  // of what the server has
  Status own_failure;                        // why it was abandoned
  SourceEntry entry;                         // kEntry
  SourceDirectoryPointer directory;
};

// One connection, and what is on its way there.
class PushLane {
 public:
  PushLane(PushState& state, Worker& worker, Session session, uint32_t index)
      : state_(state),
        remote_(state.remote),
        worker_(worker),
        options_(state.remote.job.options()),
        session_(std::move(session)),
        index_(index),
        directories_(state.walk.share(), options_.follow_symlinks) {}

  // Pushes what the walk finds until there is no more. A failure that is not told yet goes into *text, too.
  void RunTree() {
    Run([this] { return GatherFromWalk(); });
  }
  void RunFile(SourceEntry entry) {
    again_.push_back({std::move(entry), steady_clock::now()});
    Run([] { return Gathered::kAll; });
  }
  // Gives directories their metadata, children first.
  void RunDirectories(std::vector<SourceDirectoryPointer> directories) {
    setting_ = std::move(directories);
    Run([this] { return GatherDirectories(); });
  }
  bool broken() const { return broken_; }
  void SayGoodbye() {
    if (broken_ || !session_.channel) return;
    session_.channel->SayGoodbye(Status());
  }

 private:
  enum class Gathered { kSome, kNothingNow, kAll };

  template <typename Gather>
  void Run(Gather gather);
  template <typename Gather>
  Status Work(Gather gather);

  Gathered GatherFromWalk();
  Gathered GatherDirectories();
  void GatherAgain();
  Status Offer();
  Status Handle(const Message& message);
  Status HandleResult(const Result& result);
  Status HandleSignatures(std::string_view payload);
  void Finish(Offered& offered, const Result& result);
  void FinishFailed(Offered& offered, const Result& result);
  Status SendWanted();
  Status SendDigest(uint32_t index);
  Status SendContent(uint32_t index, ResultCode code);
  Status SendSmall(uint32_t index, const platform::Handle& file, const FileInfo& info);
  Status SendLarge(uint32_t index, const platform::Handle& file, const FileInfo& info);
  Status SendPatch(uint32_t index, const platform::Handle& file, const FileInfo& info);
  Status Abandon(uint32_t index, const Status& status);
  Status OpenFile(const SourceEntry& entry, platform::Handle* file, FileInfo* info);
  void TellProgress(Offered& offered, uint64_t copied, uint64_t total);
  void TakeBack(Offered& offered);
  bool IsForDelta(const Offered& offered) const;
  bool MayBePatched(const Offered& offered) const {
    return state_.older.size() != 0 && state_.older.size() <= kMostPatched && offered.entry.info.size <= kMostPatched;
  }
  void StartMoreLanes();
  Offered* Find(uint32_t index);
  void Add(Offered offered);
  std::string_view PathOf(const Offered& offered) const {
    return offered.kind == Offered::Kind::kEntry ? offered.entry.path : offered.directory->path;
  }
  void Fail(const Offered& offered, const Status& status, std::string text);
  bool WantsAttributes() const {
    return options_.metadata == Metadata::kStat && (session_.capabilities & kCapabilityAttributes) != 0;
  }
  Entry EntryOf(const Offered& offered) const;

  // What is to be tried again, and when.
  struct Again {
    SourceEntry entry;
    steady_clock::time_point when;
  };

  PushState& state_;
  RemoteJob& remote_;
  Worker& worker_;
  const Options& options_;
  Session session_;
  const uint32_t index_;
  OpenDirectories directories_;
  bool broken_ = false;
  std::string reason_;   // the server's, for hanging up
  uint32_t losses_ = 0;  // of the connection, without a result between them

  std::deque<Offered> gathered_;  // not offered yet
  std::deque<Offered> offered_;   // by number, from first_ on
  uint32_t first_ = 0;
  size_t unfinished_ = 0;
  uint64_t deltas_on_the_way_ = 0;   // bytes of files
  bool held_back_ = false;           // what would be offered next has to wait for them
  std::deque<uint32_t> offer_ends_;  // the number behind each offer that has no answer yet
  uint32_t answered_ = 0;            // entries that have had an answer, in the order of the offers' sizes
  std::deque<std::pair<uint32_t, ResultCode>> wanted_;
  std::vector<Again> again_;
  std::vector<SourceDirectoryPointer> setting_;
  steady_clock::time_point last_told_;
  std::unique_ptr<char[]> buffer_;
  std::vector<SourceEntry> looked_;
  std::vector<SourceDirectoryPointer> listed_;
};

// Runs until all is done, over new connections when one breaks and that is wanted.
template <typename Gather>
void PushLane::Run(Gather gather) {
  for (;;) {
    Status status = Work(gather);
    if (status.ok()) return;
    std::string text = std::move(reason_);
    reason_.clear();
    if (text.empty()) status = session_.channel->Reason(status, &text);
    broken_ = true;
    if (status.kind() == Kind::kClient && status.operation() == Operation::kReceive) {
      session_.channel->SayGoodbye(status);
      if (text.empty()) text = "the server sent what the protocol does not know";
    }
    if (remote_.stopping() || status.cancelled()) {
      for (Offered& offered : offered_) {
        if (!offered.finished) TakeBack(offered);
      }
      remote_.FailWhole(worker_, Status::Cancelled());
      return;
    }
    // What has no final result is offered again.
    std::deque<Offered> lost = std::move(offered_);
    offered_.clear();
    first_ = answered_ = 0;
    unfinished_ = 0;
    deltas_on_the_way_ = 0;
    offer_ends_.clear();
    wanted_.clear();
    for (Offered& offered : lost) {
      if (offered.finished) continue;
      TakeBack(offered);
      offered.own_failure = Status();
      offered.older.reset();
      gathered_.push_back(std::move(offered));
    }
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

template <typename Gather>
Status PushLane::Work(Gather gather) {
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
    }
    Gathered found = Gathered::kNothingNow;
    if (offer_ends_.size() < kMaxOffersOnTheWay && unfinished_ + kEntriesOfOffer <= kMaxEntriesOnTheWay) {
      GatherAgain();
      found = gathered_.size() < kEntriesOfOffer ? gather() : Gathered::kSome;
      status = Offer();
      if (!status.ok()) return status;
      if (held_back_) found = Gathered::kNothingNow;
    }
    const size_t wanted = wanted_.size();
    status = SendWanted();
    if (!status.ok()) return status;
    const bool owed = unfinished_ != 0;
    if (found == Gathered::kSome || (wanted_.size() < wanted && channel.unsent() < kEnoughWaiting)) {
      status = channel.Pump(milliseconds(0), owed);
    } else if (!owed && again_.empty() && gathered_.empty() && found == Gathered::kAll) {
      while (channel.waiting() != 0) {
        status = channel.Flush();
        if (status.ok()) status = channel.Pump(kSlice, true);
        if (!status.ok()) return status;
      }
      return Status();
    } else {
      // While the wire is busy, more may come to be packed together.
      if (!channel.IsBusy()) status = channel.Flush();
      if (!status.ok()) return status;
      if (!owed && channel.waiting() == 0 && again_.empty() && state_.remote.tree()) {
        state_.walk.WaitForMore();
      } else {
        const bool soon = (found == Gathered::kNothingNow && !owed) || channel.waiting() != channel.unsent();
        status = channel.Pump(soon ? kSoon : kSlice, owed);
      }
    }
    if (!status.ok()) return status;
  }
}

Offered* PushLane::Find(uint32_t index) {
  const uint32_t place = index - first_;
  if (place >= offered_.size() || offered_[place].finished) return nullptr;
  return &offered_[place];
}

void PushLane::Add(Offered offered) { gathered_.push_back(std::move(offered)); }

void PushLane::GatherAgain() {
  const auto now = steady_clock::now();
  for (size_t i = 0; i < again_.size();) {
    if (again_[i].when > now) {
      ++i;
      continue;
    }
    Offered offered;
    offered.entry = std::move(again_[i].entry);
    again_[i] = std::move(again_.back());
    again_.pop_back();
    Add(std::move(offered));
  }
}

PushLane::Gathered PushLane::GatherFromWalk() {
  uint64_t content = 0;
  bool some = false;
  while (gathered_.size() < kEntriesOfOffer && content < kContentOfOffer) {
    SourceWalk::Unit unit;
    const SourceWalk::Taken taken = state_.walk.Take(&unit);
    if (taken == SourceWalk::Taken::kDone) return some ? Gathered::kSome : Gathered::kAll;
    if (taken == SourceWalk::Taken::kNothingNow) break;
    some = true;
    if (unit.names == nullptr) {
      listed_.clear();
      state_.walk.List(worker_, directories_, unit, &listed_);
      for (SourceDirectoryPointer& directory : listed_) {
        Offered offered;
        offered.kind = Offered::Kind::kMakeDirectory;
        offered.directory = std::move(directory);
        Add(std::move(offered));
      }
    } else {
      looked_.clear();
      state_.walk.Look(worker_, directories_, unit, WantsAttributes(), &looked_);
      for (SourceEntry& entry : looked_) {
        content += entry.info.type == FileType::kRegular ? entry.info.size : 0;
        Offered offered;
        offered.entry = std::move(entry);
        Add(std::move(offered));
      }
    }
    state_.walk.Done();
    if (remote_.stopping()) break;
  }
  StartMoreLanes();
  return some ? Gathered::kSome : Gathered::kNothingNow;
}

PushLane::Gathered PushLane::GatherDirectories() {
  while (!setting_.empty() && gathered_.size() < kEntriesOfOffer) {
    Offered offered;
    offered.kind = Offered::Kind::kSetDirectory;
    offered.directory = std::move(setting_.back());  // children are behind their parents
    setting_.pop_back();
    Add(std::move(offered));
  }
  return setting_.empty() ? Gathered::kAll : Gathered::kSome;
}

// More connections when there is work for them.
void PushLane::StartMoreLanes() {
  if (state_.lanes.load(std::memory_order_relaxed) >= state_.most_lanes || !state_.walk.HasUnits()) return;
  if (state_.walk.files_found() < kFilesForMore && state_.walk.bytes_found() < kContentOfOffer) return;
  const uint32_t lanes = state_.lanes.exchange(state_.most_lanes, std::memory_order_relaxed);
  if (lanes >= state_.most_lanes) return;
  PushState& state = state_;
  remote_.StartLanes(state_.most_lanes - lanes, [&state](Worker& worker, uint32_t index) {
    Session session;
    std::string text;
    // The others do without one that does not come about.
    if (!state.remote.Connect(worker, index, std::string(), &session, &text).ok() || !session.extended) return;
    PushLane lane(state, worker, std::move(session), index);
    lane.RunTree();
    lane.SayGoodbye();
  });
}

Entry PushLane::EntryOf(const Offered& offered) const {
  const bool directory = offered.kind != Offered::Kind::kEntry;
  const FileInfo& info = directory ? offered.directory->info : offered.entry.info;
  Entry entry;
  if ((session_.capabilities & kCapabilityModes) != 0) entry.mode = info.mode & 07777u;
  entry.mtime = ToNanoseconds(info.modified);
  entry.atime = ToNanoseconds(info.accessed);
  if (options_.fsync) entry.flags |= kEntryDurable;
  if (directory) {
    entry.type = EntryType::kDirectory;
    entry.path = offered.directory->path;
    if (offered.kind == Offered::Kind::kSetDirectory) {
      entry.flags |= kEntrySetNow;
      if ((session_.capabilities & kCapabilityAttributes) != 0) entry.attributes = offered.directory->attributes;
    } else {
      entry.mode = kUnknownMode;  // it has not been looked at yet
    }
    return entry;
  }
  entry.path = offered.entry.path;
  if (options_.metadata == Metadata::kNone) entry.flags |= kEntryNoMetadata;
  if (options_.metadata == Metadata::kMode) entry.flags |= kEntryModeOnly;
  if (info.type == FileType::kSymlink) {
    entry.type = EntryType::kSymlink;
    entry.target = offered.entry.target;
    return entry;
  }
  if (options_.verify) entry.flags |= kEntryVerify;
  if (offered.delta) {
    entry.flags |= kEntryDelta;
    if (MayBePatched(offered)) {
      entry.flags |= kEntryReference;
      entry.reference = state_.reference;
    }
  }
  entry.size = info.size;
  entry.attributes = offered.entry.attributes;
  return entry;
}

bool PushLane::IsForDelta(const Offered& offered) const {
  if ((session_.capabilities & kCapabilityDelta) == 0 || offered.kind != Offered::Kind::kEntry) return false;
  const SourceEntry& entry = offered.entry;
  if (entry.info.type != FileType::kRegular || entry.whole || entry.info.size == 0) return false;
  return entry.info.size >= kWorthDelta || remote_.remote.delta == DeltaMode::kAlways ||
         !remote_.remote.reference.empty();
}

Status PushLane::Offer() {
  held_back_ = false;
  if (gathered_.empty()) return Status();
  ClientChannel& channel = *session_.channel;
  const uint32_t first = first_ + static_cast<uint32_t>(offered_.size());
  std::optional<CountedMessage> message = CountedMessage::Offer(&channel.messages(), first);
  while (!gathered_.empty() && message->count() < kEntriesOfOffer && message->size() < kBytesOfOffer) {
    Offered& offered = gathered_.front();
    const std::string_view path = PathOf(offered);
    Status status;
    if (!path.empty() && !IsProtocolPath(path)) {
      status = Status::FromErrno(ENAMETOOLONG, Operation::kOpenSource);
    } else if (IsTemporaryName(NameOf(path))) {
      // What a copy is writing here at the moment, or left behind.
      status = Status::Of(Kind::kInvalidArgument, Operation::kOpenSource, EINVAL);
    } else if (offered.kind == Offered::Kind::kEntry && offered.entry.info.type == FileType::kSymlink &&
               (session_.capabilities & kCapabilitySymlinks) == 0) {
      status = Status::Of(Kind::kUnsupported, Operation::kMakeLink, ENOTSUP);
    }
    offered.delta = IsForDelta(offered);
    held_back_ =
        offered.delta && deltas_on_the_way_ != 0 && deltas_on_the_way_ + offered.entry.info.size > kDeltasOnTheWay;
    if (held_back_) break;
    if (!status.ok()) {
      Fail(offered, status, std::string());
    } else {
      if (offered.delta) deltas_on_the_way_ += offered.entry.info.size;
      PutEntry(&channel.messages(), EntryOf(offered));
      message->Add();
      offered_.push_back(std::move(offered));
      ++unfinished_;
    }
    gathered_.pop_front();
  }
  const bool any = message->count() != 0;
  message->Finish();
  if (!any) return Status();
  offer_ends_.push_back(first_ + static_cast<uint32_t>(offered_.size()));
  return channel.Queued();
}

Status PushLane::Handle(const Message& message) {
  if (message.type == MessageType::kGoodbye) return FromGoodbye(message.payload, &reason_);
  if (message.type == MessageType::kSignatures) return HandleSignatures(message.payload);
  if (message.type != MessageType::kResults) return Violation();
  Reader reader(message.payload);
  uint32_t count = 0;
  if (!TakeCount(&reader, &count)) return Violation();
  for (; count != 0; --count) {
    Result result;
    if (!TakeResult(&reader, &result)) return Violation();
    Status status = HandleResult(result);
    if (!status.ok()) return status;
  }
  return reader.complete() ? Status() : Violation();
}

Status PushLane::HandleSignatures(std::string_view payload) {
  SignaturesMessage message;
  if (!DecodeSignatures(payload, &message)) return Violation();
  Offered* offered = Find(message.index);
  if (offered == nullptr || !offered->delta || !AddSignatures(message, &offered->older)) return Violation();
  return Status();
}

Status PushLane::HandleResult(const Result& result) {
  Offered* offered = Find(result.index);
  if (offered == nullptr) return Violation();
  // The first answers come in the order of the offers.
  if (!offer_ends_.empty() && result.index + 1 > answered_) answered_ = result.index + 1;
  while (!offer_ends_.empty() && answered_ >= offer_ends_.front()) offer_ends_.pop_front();
  const bool as_delta = result.code == ResultCode::kSendDelta || result.code == ResultCode::kSendPatch;
  if (as_delta || result.code == ResultCode::kSend || result.code == ResultCode::kSendDigest) {
    if (offered->kind != Offered::Kind::kEntry || offered->entry.info.type != FileType::kRegular) return Violation();
    if (as_delta && !offered->delta) return Violation();
    if (result.code == ResultCode::kSendPatch && !MayBePatched(*offered)) return Violation();
    if (result.code == ResultCode::kSendDelta && (!offered->older || !offered->older->complete())) return Violation();
    if (result.code != ResultCode::kSendDelta) offered->older.reset();
    wanted_.emplace_back(result.index, result.code);
    return Status();
  }
  offered->finished = true;
  offered->older.reset();
  if (offered->delta) deltas_on_the_way_ -= offered->entry.info.size;
  --unfinished_;
  losses_ = 0;
  Finish(*offered, result);
  while (!offered_.empty() && offered_.front().finished) {
    offered_.pop_front();
    ++first_;
  }
  return Status();
}

void PushLane::Finish(Offered& offered, const Result& result) {
  if (result.code == ResultCode::kFailed) {
    FinishFailed(offered, result);
    return;
  }
  WorkerCounters& counters = *worker_.counters;
  if (offered.kind != Offered::Kind::kEntry) {
    const bool made = offered.kind == Offered::Kind::kMakeDirectory && result.code == ResultCode::kMade;
    if (made) WorkerCounters::Add(counters.directories_created, 1);
    return;
  }
  const uint64_t size = offered.entry.info.size;
  if (offered.entry.info.type == FileType::kSymlink) {
    if (result.code == ResultCode::kMade) WorkerCounters::Add(counters.symlinks_copied, 1);
    return;
  }
  switch (result.code) {
    case ResultCode::kLinked:
      WorkerCounters::Add(counters.files_linked, 1);
      WorkerCounters::Add(counters.bytes_linked, size);
      break;
    case ResultCode::kSkipped:
      WorkerCounters::Add(counters.files_skipped, 1);
      WorkerCounters::Add(counters.bytes_skipped, size);
      break;
    default:
      WorkerCounters::Add(counters.files_copied, 1);
      if (!options_.want_progress) return;
      if (offered.told) {
        remote_.job.events().AddProgress(false, offered.counted, offered.counted,
                                         remote_.SourcePath(remote_.tree() ? offered.entry.path : ""));
        return;
      }
      remote_.TellFile(remote_.tree() ? offered.entry.path : "", offered.counted);
      return;
  }
  if (options_.want_progress) remote_.TellFile(remote_.tree() ? offered.entry.path : "", size);
}

void PushLane::FinishFailed(Offered& offered, const Result& result) {
  TakeBack(offered);
  Status status = offered.own_failure.ok() ? FromErrorView(result.error) : offered.own_failure;
  if (status.kind() == Kind::kDeltaCopy && offered.delta && offered.own_failure.ok()) {
    // What the server has is not what it was any more: all of the file is sent then.
    offered.entry.whole = true;
    again_.push_back({std::move(offered.entry), steady_clock::now()});
    return;
  }
  if (offered.kind == Offered::Kind::kEntry && remote_.CanRetry(status, offered.entry.tries)) {
    WorkerCounters::Add(worker_.counters->retries, 1);
    Again again;
    again.entry = std::move(offered.entry);
    ++again.entry.tries;
    again.when = steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                           std::chrono::duration<double>(std::min(options_.retry_delay, 1e9)));
    again_.push_back(std::move(again));
    return;
  }
  Fail(offered, status, std::string(result.error.text));
}

void PushLane::Fail(const Offered& offered, const Status& status, std::string text) {
  // What is in a directory that could not be made is no failure of its own.
  const SourceDirectory* inside = offered.entry.directory.get();
  if (offered.kind == Offered::Kind::kMakeDirectory) offered.directory->failed.store(true);
  if (offered.kind == Offered::Kind::kMakeDirectory) inside = offered.directory->parent.get();
  if (offered.kind == Offered::Kind::kSetDirectory) inside = offered.directory.get();
  for (; inside != nullptr; inside = inside->parent.get()) {
    if (inside->failed.load(std::memory_order_relaxed)) return;
  }
  if (!remote_.tree() || PathOf(offered).empty()) {
    remote_.FailWhole(worker_, status, std::move(text));
  } else {
    remote_.Fail(worker_, status, PathOf(offered), std::move(text));
  }
}

void PushLane::TakeBack(Offered& offered) {
  worker_.counters->bytes_copied.fetch_sub(offered.counted, std::memory_order_relaxed);
  worker_.counters->bytes_reused.fetch_sub(offered.reused, std::memory_order_relaxed);
  offered.counted = 0;
  offered.reused = 0;
  offered.told = false;
}

// Contents, as long as not too much waits to be sent.
Status PushLane::SendWanted() {
  ClientChannel& channel = *session_.channel;
  while (!wanted_.empty() && channel.unsent() < kEnoughWaiting) {
    const auto [index, code] = wanted_.front();
    wanted_.pop_front();
    Status status = code == ResultCode::kSendDigest ? SendDigest(index) : SendContent(index, code);
    if (!status.ok()) return status;
    if (remote_.stopping()) return Status::Cancelled();
  }
  return Status();
}

Status PushLane::OpenFile(const SourceEntry& entry, platform::Handle* file, FileInfo* info) {
  Status status;
  if (!remote_.tree()) {
    status = platform::OpenSource(platform::Directory::Paths(), remote_.source().c_str(), options_.follow_symlinks,
                                  file, info);
  } else {
    OpenDirectory parent;
    status = directories_.Open(ParentOf(entry.path), &parent);
    if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
    const std::string_view name = NameOf(entry.path);
    status = platform::OpenSource(*parent, name.data(), options_.follow_symlinks, file, info);
  }
  if (!status.ok()) return status;
  if (info->type == FileType::kDirectory) return Status::FromErrno(EISDIR, Operation::kOpenSource);
  if (info->type != FileType::kRegular) return Status::FromErrno(0, Operation::kSpecialFile);
  return Status();
}

Status PushLane::Abandon(uint32_t index, const Status& status) {
  Find(index)->own_failure = status;
  net::Abandon message;
  message.index = index;
  message.error = ToErrorView(status);
  EncodeAbandon(&session_.channel->messages(), message);
  return session_.channel->Queued();
}

Status PushLane::SendDigest(uint32_t index) {
  platform::Handle file;
  FileInfo info;
  Status status = OpenFile(Find(index)->entry, &file, &info);
  if (!status.ok()) return Abandon(index, status);
  if (!buffer_) buffer_.reset(new char[kChunk]);
  Md5 md5;
  for (uint64_t offset = 0;;) {
    size_t got = 0;
    status = platform::ReadRange(file, Operation::kRead, offset, buffer_.get(), kChunk, &got);
    if (!status.ok()) return Abandon(index, status);
    if (got == 0) break;
    md5.Update(std::string_view(buffer_.get(), got));
    offset += got;
    if (remote_.stopping()) return Status::Cancelled();
  }
  DigestMessage message;
  message.index = index;
  message.digest = md5.Finish();
  EncodeDigest(&session_.channel->messages(), message);
  return session_.channel->Queued();
}

Status PushLane::SendContent(uint32_t index, ResultCode code) {
  platform::Handle file;
  FileInfo info;
  Status status = OpenFile(Find(index)->entry, &file, &info);
  if (!status.ok()) return Abandon(index, status);
  if (!buffer_) buffer_.reset(new char[kChunk]);
  if (code == ResultCode::kSendPatch && info.size <= kMostPatched) return SendPatch(index, file, info);
  return code != ResultCode::kSendDelta && IsSmall(info) ? SendSmall(index, file, info) : SendLarge(index, file, info);
}

Status PushLane::SendSmall(uint32_t index, const platform::Handle& file, const FileInfo& info) {
  size_t size = 0;
  const auto wanted = static_cast<size_t>(info.size);
  Status status = platform::ReadRange(file, Operation::kRead, 0, buffer_.get(), wanted, &size);
  if (!status.ok()) return Abandon(index, status);
  Body body;
  body.index = index;
  body.crc = Crc32(0, buffer_.get(), size);
  body.mtime = ToNanoseconds(info.modified);
  if (size < wanted || !IsUnchanged(file, info)) body.flags |= kChangedWhileRead;
  std::string& messages = session_.channel->messages();
  EncodeBodyHead(&messages, body, size);
  messages.append(buffer_.get(), size);
  Find(index)->counted = size;
  WorkerCounters::Add(worker_.counters->bytes_copied, size);
  return session_.channel->Queued(size);
}

void PushLane::TellProgress(Offered& offered, uint64_t copied, uint64_t total) {
  if (!options_.want_progress) return;
  const auto now = steady_clock::now();
  if (offered.told && (now - last_told_ < kProgressInterval || copied == total)) return;
  last_told_ = now;
  remote_.job.events().AddProgress(!offered.told, copied, total,
                                   remote_.SourcePath(remote_.tree() ? offered.entry.path : ""));
  offered.told = true;
}

Status PushLane::SendLarge(uint32_t index, const platform::Handle& file, const FileInfo& info) {
  ClientChannel& channel = *session_.channel;
  Offered& offered = *Find(index);
  Begin begin_message;
  begin_message.index = index;
  begin_message.mtime = ToNanoseconds(info.modified);
  begin_message.size = info.size;
  EncodeBegin(&channel.messages(), begin_message);
  Status status = channel.Queued();
  TellProgress(offered, 0, info.size);
  auto advance = [&](uint64_t bytes) {
    offered.counted += bytes;
    WorkerCounters::Add(worker_.counters->bytes_copied, bytes);
    TellProgress(offered, offered.counted, info.size);
  };
  auto send = [&](std::string_view bytes) {
    EncodeDataHead(&channel.messages(), bytes.size());
    Status sent = channel.QueuedHeadAnd(bytes);
    while (sent.ok() && channel.unsent() > kEnoughWaiting) sent = channel.Pump(kSlice, true);
    return sent;
  };
  const delta::BlockFinder::Take send_part = [&](const delta::BlockFinder::Part& part) {
    if (!part.bytes.empty()) return send(part.bytes);
    offered.reused += part.length;
    WorkerCounters::Add(worker_.counters->bytes_reused, part.length);
    EncodeReuse(&channel.messages(), Reuse{part.offset, part.length});
    return channel.Queued();
  };
  std::optional<delta::BlockFinder> finder;
  if (offered.older) finder.emplace(*offered.older);
  FileReader reader(file, info, buffer_.get(), kChunk, true);
  while (!reader.done()) {
    if (remote_.stopping()) return Status::Cancelled();
    FileReader::Piece piece;
    status = reader.Next(&piece);
    if (!status.ok()) return Abandon(index, status);
    if (piece.hole > 0) {
      if (finder) status = finder->Finish(false, send_part);
      if (!status.ok()) return status;
      EncodeHole(&channel.messages(), piece.hole);
      status = channel.Queued();
    } else {
      status = finder ? finder->Add(piece.data, send_part) : send(piece.data);
    }
    if (!status.ok()) return status;
    advance(piece.size());
  }
  if (finder) status = finder->Finish(true, send_part);
  if (!status.ok()) return status;
  End end_message;
  end_message.crc = reader.crc();
  if (!reader.IsUnchanged()) end_message.flags |= kChangedWhileRead;
  EncodeEnd(&channel.messages(), end_message);
  return channel.Queued();
}

// As a patch of the older version that both sides have.
Status PushLane::SendPatch(uint32_t index, const platform::Handle& file, const FileInfo& info) {
  ClientChannel& channel = *session_.channel;
  Offered& offered = *Find(index);
  const auto older = std::make_shared<std::string>();
  Status status = state_.older.Read(remote_.job.cancel_flag(), older.get());
  delta::FrameWriter frame;
  const int level = remote_.remote.level > 0 ? remote_.remote.level : kPatchLevel;
  if (status.ok()) status = frame.Begin(older, *older, info.size, level, [this] { return remote_.stopping(); });
  if (!status.ok()) return status.cancelled() ? status : Abandon(index, status);
  Begin begin_message;
  begin_message.index = index;
  begin_message.mtime = ToNanoseconds(info.modified);
  begin_message.size = info.size;
  EncodeBegin(&channel.messages(), begin_message);
  status = channel.Queued();
  TellProgress(offered, 0, info.size);
  std::string packed;
  FileReader reader(file, info, buffer_.get(), kChunk, false);
  do {
    if (remote_.stopping()) return Status::Cancelled();
    FileReader::Piece piece;
    status = reader.Next(&piece);
    if (!status.ok()) return Abandon(index, status);
    packed.clear();
    if (!frame.Add(piece.data, reader.done(), &packed)) {
      return Abandon(index, Status::FromErrno(ENOMEM, Operation::kRead, reader.offset()));
    }
    for (std::string_view rest = packed; !rest.empty() && status.ok();
         rest.remove_prefix(std::min(rest.size(), kChunk))) {
      EncodePatchData(&channel.messages(), rest.substr(0, kChunk));
      status = channel.Queued();
    }
    while (status.ok() && channel.unsent() > kEnoughWaiting) status = channel.Pump(kSlice, true);
    if (!status.ok()) return status;
    offered.counted += piece.size();
    WorkerCounters::Add(worker_.counters->bytes_copied, piece.size());
    TellProgress(offered, offered.counted, info.size);
  } while (!reader.done());
  End end_message;
  end_message.crc = reader.crc();
  if (!reader.IsUnchanged()) end_message.flags |= kChangedWhileRead;
  EncodeEnd(&channel.messages(), end_message);
  return channel.Queued();
}

}  // namespace

void Push(RemoteJob& remote, Worker& worker, Session first) {
  PushState state(remote);
  const Opened what = first.what;
  state.most_lanes = std::max(1u, std::min(remote.job.options().thread_count, first.advised));
  if (remote.tree()) {
    const Status status = state.walk.Open(remote.source());
    if (!status.ok()) {
      remote.FailWhole(worker, status);
      return;
    }
  }
  if (!remote.remote.reference.empty() && (first.capabilities & kCapabilityDelta) != 0) {
    Status status = state.older.Open(platform::Directory::Paths(), remote.remote.reference.c_str(), true);
    const bool empty = status.kind() == Kind::kDeltaCopy;  // as good as none
    state.reference.size = state.older.size();
    if (status.ok() && state.older.size() <= kMostPatched) {
      status = state.older.Digest(remote.job.cancel_flag(), &state.reference.md5);
    }
    if (!status.ok() && !empty) {
      remote.FailWhole(worker, status);
      return;
    }
  }
  PushLane lane(state, worker, std::move(first), 0);
  if (remote.tree()) {
    lane.RunTree();
    remote.WaitForLanes();
    if (!remote.stopping() && !lane.broken()) lane.RunDirectories(state.walk.TakeDirectories());
  } else {
    SourceEntry entry;
    std::string name = remote.remote.directory;
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    entry.path = what == Opened::kFile ? std::string(NameOf(name)) : BaseName(remote.source().c_str());
    const Options& options = remote.job.options();
    WorkerCounters::Add(worker.counters->files_found, 1);
    Status status = LookAt(platform::Directory::Paths(), remote.source().c_str(), options.follow_symlinks,
                           options.metadata == Metadata::kStat, &entry);
    if (status.ok() && entry.info.type == FileType::kDirectory) {
      status = Status::FromErrno(EISDIR, Operation::kOpenSource);
    }
    if (!status.ok()) {
      remote.FailWhole(worker, status);
    } else {
      if (entry.info.type == FileType::kRegular) WorkerCounters::Add(worker.counters->bytes_found, entry.info.size);
      lane.RunFile(std::move(entry));
    }
  }
  lane.SayGoodbye();
}

}  // namespace net
}  // namespace eacopy
