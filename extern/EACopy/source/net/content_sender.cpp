// Reading files and sending them, as they are or compressed; listing directories.

#include "content_sender.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "../ranges.h"
#include "../temporary.h"
#include "file_reader.h"
#include "store.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

constexpr size_t kChunk = 512 * 1024;  // of a large one
// What is compressed together. With the largest message on top it stays below kMaxUnpacked.
constexpr size_t kPackAt = 1472 * 1024;
constexpr size_t kEntriesPerMessage = 512;
constexpr size_t kMaxEntries = 256 * 1024;  // bytes of one message

}  // namespace

ContentSender::ContentSender(ServerContext& context, Peer& peer, Workspace& workspace, uint32_t capabilities)
    : context_(context), peer_(peer), workspace_(workspace), capabilities_(capabilities) {}

Status ContentSender::SetLevel(uint8_t level) {
  if ((capabilities_ & kCapabilityZstd) == 0) level = 0;
  if (level == level_) return Status();
  Status status = Finish();
  level_ = level;
  packing_ = level != 0;
  controller_.reset();
  if (level == kAdaptive) controller_ = std::make_unique<CompressionLevel>();
  return status;
}

Status ContentSender::AfterMessage() {
  if (packing_) return packed_.size() >= kPackAt ? Pack() : Status();
  return peer_.FlushIfLarge();
}

// Compresses what waits, or sends it as it is when that is no larger.
Status ContentSender::Pack() {
  if (packed_.empty()) return Status();
  const int level = controller_ ? controller_->Next(packed_.size(), peer_.socket().IsBehind()) : level_;
  const auto begin = std::chrono::steady_clock::now();
  frame_.clear();
  const bool compressed = level > 0 && packed_.size() <= kMaxUnpacked &&
                          compressor_.Compress(packed_, level, &frame_, &context_.stopping) &&
                          frame_.size() < packed_.size() - packed_.size() / 32;
  const auto took = std::chrono::steady_clock::now() - begin;
  // What was sent before has kept the wire busy all the while: compressing cost no time.
  const bool behind = peer_.socket().IsBehind();
  Status status;
  const auto waiting = std::chrono::steady_clock::now();
  if (compressed) {
    EncodePackedHead(&peer_.out(), static_cast<uint8_t>(level), static_cast<uint32_t>(packed_.size()), frame_.size());
    status = peer_.Flush(frame_);
  } else {
    status = peer_.Flush(packed_);
  }
  if (controller_) {
    controller_->Sent(level, packed_.size(), compressed ? frame_.size() : packed_.size(), took,
                      std::chrono::steady_clock::now() - waiting, behind);
  }
  packed_.clear();
  return status;
}

Status ContentSender::Finish() { return packing_ ? Pack() : Status(); }

Status ContentSender::Abandon_(uint32_t index, const Status& status, std::string_view path) {
  Count(&context_.totals.errors);
  EncodeAbandon(&messages(), Abandon{index, ToErrorView(status, path)});
  return AfterMessage();
}

Status ContentSender::OpenFile(uint32_t index, std::string_view path, platform::Handle* file, FileInfo* info) {
  if (path.empty() || !IsFreePath(path)) {
    return Abandon_(index, Status::Of(Kind::kInvalidArgument, Operation::kOpenSource, EINVAL), path);
  }
  const std::string full = workspace_.FullPath(path);
  OpenDirectory parent;
  Status status = workspace_.directories().Open(ParentOf(full), &parent);
  if (!status.ok()) return Abandon_(index, Status::FromErrno(status.error_number(), Operation::kOpenSource), path);
  status = platform::OpenSource(*parent, std::string(NameOf(full)).c_str(), false, file, info);
  if (status.ok() && info->type == FileType::kDirectory) status = Status::FromErrno(EISDIR, Operation::kOpenSource);
  if (status.ok() && info->type != FileType::kRegular) status = Status::FromErrno(EINVAL, Operation::kSpecialFile);
  if (status.ok()) return Status();
  *file = platform::Handle();
  return Abandon_(index, status, path);
}

Status ContentSender::SendFile(uint32_t index, std::string_view path, const delta::Signatures* older) {
  platform::Handle file;
  FileInfo info;
  Status status = OpenFile(index, path, &file, &info);
  if (!status.ok() || !file.valid()) return status;
  if (!buffer_) buffer_.reset(new char[kChunk]);
  bool done = false;
  if (older == nullptr) status = SendSmall(index, file, info, &done);
  if (status.ok() && !done) status = SendLarge(index, file, info, older);
  return status;
}

Status ContentSender::SendUnknownReference(uint32_t index) {
  EncodeUnknownReference(&messages(), index);
  return AfterMessage();
}

Status ContentSender::SendPatched(uint32_t index, std::string_view path, const OlderVersion& older,
                                  const ReferenceDigest& reference) {
  platform::Handle file;
  FileInfo info;
  Status status = OpenFile(index, path, &file, &info);
  if (!status.ok() || !file.valid()) return status;
  if (info.size == 0 || info.size > kMostPatched) return SendUnknownReference(index);
  const auto prefix = std::make_shared<std::string>();
  delta::FrameWriter frame;
  status = older.ReadExactly(reference, &context_.stopping, prefix.get());
  const int level = level_ > 0 && level_ != kAdaptive ? level_ : kPatchLevel;
  if (status.ok()) {
    status = frame.Begin(prefix, *prefix, info.size, level, [this] { return context_.stopping.load(); });
  }
  if (status.cancelled()) return status;
  if (!status.ok()) return SendUnknownReference(index);
  EncodeBegin(&messages(), Begin{index, ToNanoseconds(info.modified), info.size});
  status = Finish();  // a patch is not packed once more
  if (!buffer_) buffer_.reset(new char[kChunk]);
  std::string packed;
  FileReader reader(file, info, buffer_.get(), kChunk, false);
  while (status.ok() && !reader.done()) {
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
    FileReader::Piece piece;
    status = reader.Next(&piece);
    if (!status.ok()) return Abandon_(index, status, {});
    packed.clear();
    if (!frame.Add(piece.data, reader.done(), &packed)) {
      return Abandon_(index, Status::FromErrno(ENOMEM, Operation::kRead, reader.offset()), {});
    }
    for (std::string_view rest = packed; status.ok() && !rest.empty();
         rest.remove_prefix(std::min(rest.size(), kChunk))) {
      EncodePatchData(&peer_.out(), rest.substr(0, kChunk));
      status = peer_.FlushIfLarge();
    }
  }
  if (!status.ok()) return status;
  EncodeEnd(&messages(), End{reader.crc(), reader.IsUnchanged() ? uint8_t{0} : kChangedWhileRead});
  Count(&context_.totals.files_sent);
  return AfterMessage();
}

Status ContentSender::SendSmall(uint32_t index, const platform::Handle& file, const FileInfo& info, bool* done) {
  if (!IsSmall(info)) return Status();
  *done = true;
  size_t size = 0;
  const auto wanted = static_cast<size_t>(info.size);
  Status status = platform::ReadRange(file, Operation::kRead, 0, buffer_.get(), wanted, &size);
  if (!status.ok()) return Abandon_(index, status, {});
  Body body;
  body.index = index;
  body.crc = Crc32(0, buffer_.get(), size);
  body.mtime = ToNanoseconds(info.modified);
  if (size < wanted || !IsUnchanged(file, info)) body.flags |= kChangedWhileRead;
  EncodeBodyHead(&messages(), body, size);
  messages().append(buffer_.get(), size);
  Count(&context_.totals.files_sent);
  return AfterMessage();
}

Status ContentSender::SendData(std::string_view bytes) {
  EncodeDataHead(&messages(), bytes.size());
  if (!packing_) return peer_.Flush(bytes);
  messages().append(bytes);
  return AfterMessage();
}

Status ContentSender::SendLarge(uint32_t index, const platform::Handle& file, const FileInfo& info,
                                const delta::Signatures* older) {
  EncodeBegin(&messages(), Begin{index, ToNanoseconds(info.modified), info.size});
  std::optional<delta::BlockFinder> finder;
  if (older != nullptr) finder.emplace(*older);
  const delta::BlockFinder::Take send_part = [this](const delta::BlockFinder::Part& part) {
    if (!part.bytes.empty()) return SendData(part.bytes);
    EncodeReuse(&messages(), Reuse{part.offset, part.length});
    return AfterMessage();
  };
  FileReader reader(file, info, buffer_.get(), kChunk, true);
  while (!reader.done()) {
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
    FileReader::Piece piece;
    Status status = reader.Next(&piece);
    if (!status.ok()) return Abandon_(index, status, {});
    if (piece.hole > 0) {
      if (finder) status = finder->Finish(false, send_part);
      if (!status.ok()) return status;
      EncodeHole(&messages(), piece.hole);
    } else {
      status = finder ? finder->Add(piece.data, send_part) : SendData(piece.data);
      if (!status.ok()) return status;
    }
  }
  Status status = finder ? finder->Finish(true, send_part) : Status();
  if (!status.ok()) return status;
  EncodeEnd(&messages(), End{reader.crc(), reader.IsUnchanged() ? uint8_t{0} : kChangedWhileRead});
  Count(&context_.totals.files_sent);
  return AfterMessage();
}

// Listing -------------------------------------------------------------------------------------------------------------

namespace {

// The entries and failures of one listing, as they are found.
class ListingWriter {
 public:
  // `sent` is called after each message that was put into `out`.
  ListingWriter(std::string& out, std::function<Status()> sent, uint32_t capabilities, bool attributes)
      : out_(out), sent_(std::move(sent)), capabilities_(capabilities), with_attributes_(attributes) {}

  Status Add(const platform::Directory& parent, const char* name, const std::string& path, FileInfo* info,
             bool asked_for) {
    Status status = platform::GetInfo(parent, name, false, info);
    if (!status.ok()) {
      // What went away since it was listed is not missed, unless it was asked for by name.
      if (status.error_number() != ENOENT || asked_for) Fail(status, path);
      return Status();
    }
    Entry entry;
    entry.path = path;
    entry.mode = (capabilities_ & kCapabilityModes) != 0 ? info->mode : kUnknownMode;
    entry.mtime = ToNanoseconds(info->modified);
    entry.atime = ToNanoseconds(info->accessed);
    switch (info->type) {
      case FileType::kRegular:
        entry.type = EntryType::kFile;
        entry.size = info->size;
        break;
      case FileType::kDirectory:
        entry.type = EntryType::kDirectory;
        break;
      case FileType::kSymlink:
        if ((capabilities_ & kCapabilitySymlinks) == 0) {
          Fail(Status::Of(Kind::kUnsupported, Operation::kReadLink, ENOTSUP), path);
          return Status();
        }
        entry.type = EntryType::kSymlink;
        status = ReadTarget(parent, name, &target_);
        if (!status.ok()) {
          Fail(status, path);
          return Status();
        }
        entry.target = target_;
        break;
      case FileType::kSocket:
        Fail(Status::FromErrno(ENXIO, Operation::kOpenSource), path);
        return Status();
      default:
        Fail(Status::FromErrno(0, Operation::kSpecialFile), path);
        return Status();
    }
    if (with_attributes_ && entry.type != EntryType::kSymlink) {
      ReadAttributesAt(parent, name, &attributes_);
      entry.attributes = attributes_;
      if (!attributes_.empty()) entry.flags |= kEntryAttributes;
    }
    if (!entries_) entries_.emplace(CountedMessage::Entries(&out_));
    PutEntry(&out_, entry);
    entries_->Add();
    if (entries_->count() < kEntriesPerMessage && entries_->size() < kMaxEntries) return Status();
    FinishEntries();
    return sent_();
  }

  void Fail(const Status& status, std::string_view path) { failures_.emplace_back(status, std::string(path)); }

  Status Finish() {
    FinishEntries();
    // All of them in one message, as far as it has room.
    CountedMessage listed = CountedMessage::Listed(&out_);
    for (const auto& [status, path] : failures_) {
      if (listed.size() + path.size() > kMaxMessage - 4096) break;
      PutError(&out_, ToErrorView(status, path));
      listed.Add();
    }
    listed.Finish();
    return sent_();
  }

 private:
  void FinishEntries() {
    if (entries_) entries_->Finish();
    entries_.reset();
  }

  std::string& out_;
  const std::function<Status()> sent_;
  const uint32_t capabilities_;
  const bool with_attributes_;
  std::optional<CountedMessage> entries_;
  std::vector<std::pair<Status, std::string>> failures_;
  std::string target_;
  std::string attributes_;
};

}  // namespace

Status ContentSender::SendListing(const List& list) {
  const bool attributes = (list.flags & kListAttributes) != 0 && (capabilities_ & kCapabilityAttributes) != 0;
  ListingWriter writer(
      messages(), [this] { return AfterMessage(); }, capabilities_, attributes);
  const std::string top(list.path);
  FileInfo info;
  OpenDirectory directory;
  Status status;
  if (!IsFreePath(top)) {
    writer.Fail(Status::Of(Kind::kInvalidArgument, Operation::kListDirectory, EINVAL), top);
    return writer.Finish();
  }
  const std::string full = workspace_.FullPath(top);
  status = workspace_.directories().Open(ParentOf(full), &directory);
  if (!status.ok()) {
    writer.Fail(Status::FromErrno(status.error_number(), Operation::kStat), top);
    return writer.Finish();
  }
  info.type = FileType::kUnknown;
  status = writer.Add(*directory, full.empty() ? "." : std::string(NameOf(full)).c_str(), top, &info, true);
  if (!status.ok()) return status;
  std::vector<std::string> waiting;
  if (info.type == FileType::kDirectory) waiting.push_back(top);
  const bool recursive = (list.flags & kListRecursive) != 0;
  platform::Listing names;
  while (!waiting.empty()) {
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
    const std::string path = std::move(waiting.back());
    waiting.pop_back();
    status = workspace_.directories().Open(workspace_.FullPath(path), &directory);
    if (status.ok()) {
      status = platform::ListAgain(*directory, &names);
      names.Sort();  // what is alike is fetched together, and shrinks more
    }
    if (!status.ok()) {
      writer.Fail(status, path);
      continue;
    }
    const size_t before = waiting.size();
    for (size_t i = 0; i < names.size(); ++i) {
      const char* name = names.name(i);
      if (IsTemporaryName(name)) continue;
      const std::string child = JoinPaths(path, name);
      if (child.size() > kMaxPath) {
        writer.Fail(Status::FromErrno(ENAMETOOLONG, Operation::kStat), path);
        continue;
      }
      info.type = FileType::kUnknown;
      status = writer.Add(*directory, name, child, &info, false);
      if (!status.ok()) return status;
      if (recursive && info.type == FileType::kDirectory) waiting.push_back(child);
    }
    std::reverse(waiting.begin() + static_cast<std::ptrdiff_t>(before), waiting.end());
  }
  return writer.Finish();
}

}  // namespace net
}  // namespace eacopy
