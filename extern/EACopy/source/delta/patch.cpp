// Making and applying patch files; see patch.h.

#include "patch.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "../net/bytes.h"
#include "../ranges.h"
#include "fill.h"
#include "frames.h"

namespace eacopy {
namespace delta {
namespace {

constexpr size_t kPiece = 256u << 10;
constexpr size_t kPrefixPiece = 16u << 20;

// A skippable frame of RFC 8878: its magic number and size, then a tag, where the prefix begins and ends in the
// reference, and how long the segment is.
constexpr uint32_t kSegmentMagic = 0x184D2A5E;
constexpr size_t kSegmentHead = 40;
constexpr std::string_view kTag = "eacopyP1";

struct SegmentHead {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t length = 0;
};

Status Damaged(uint64_t offset) { return Status::Of(Kind::kDeltaCopy, Operation::kReadPatch, 0, offset); }
Status OutOfMemory() { return Status::FromErrno(ENOMEM, Operation::kStart); }

// A stretch of the reference, in memory.
class Prefix {
 public:
  Status Read(const Reference& reference, uint64_t first, uint64_t last, const Monitor& monitor) {
    size_ = static_cast<size_t>(last - first);
    data_.reset(new (std::nothrow) char[size_ == 0 ? 1 : size_]);
    if (!data_) return OutOfMemory();
    for (size_t at = 0; at < size_;) {
      if (monitor.cancelled()) return Status::Cancelled();
      size_t got = 0;
      Status status = platform::ReadRange(reference.handle(), Operation::kReadReference, first + at, data_.get() + at,
                                          std::min(size_ - at, kPrefixPiece), &got);
      if (!status.ok()) return status;
      if (got == 0) return Status::Of(Kind::kDeltaCopy, Operation::kReadReference, EBUSY);
      at += got;
    }
    return Status();
  }
  const std::shared_ptr<char[]>& data() const { return data_; }
  std::string_view bytes() const { return std::string_view(data_.get(), size_); }

 private:
  std::shared_ptr<char[]> data_;
  size_t size_ = 0;
};

class PatchWriter {
 public:
  PatchWriter(const FillRequest& request, int level, FillResult* result)
      : request_(request), level_(level), result_(*result) {}

  Status Run() {
    const uint64_t size = request_.source_info.size;
    const uint64_t reference_size = request_.reference.info().size;
    const bool whole = std::max(size, reference_size) <= kWholeMaximum;
    Status status;
    uint64_t begin = 0;
    do {
      const uint64_t end = whole ? size : std::min(begin + kSegment, size);
      uint64_t first = 0;
      uint64_t last = reference_size;
      if (!whole) {
        first = std::min(begin > kReach ? begin - kReach : 0, reference_size);
        last = std::min(end + kReach, reference_size);
        status = WriteHead({first, last, end - begin});
      }
      if (status.ok()) status = WriteFrame(begin, end, first, last);
      begin = end;
    } while (status.ok() && begin < size);
    if (status.ok()) status = request_.reference.CheckUnchanged();
    result_.size = size;
    result_.read = size + reference_size;
    return status;
  }

 private:
  Status WriteHead(const SegmentHead& head) {
    std::string bytes;
    net::PutNumber(&bytes, kSegmentMagic);
    net::PutNumber(&bytes, static_cast<uint32_t>(kSegmentHead - 8));
    net::PutBytes(&bytes, kTag);
    net::PutNumber(&bytes, head.first);
    net::PutNumber(&bytes, head.last);
    net::PutNumber(&bytes, head.length);
    return Append(bytes);
  }

  Status WriteFrame(uint64_t begin, uint64_t end, uint64_t first, uint64_t last) {
    Prefix prefix;
    Status status = prefix.Read(request_.reference, first, last, request_.monitor);
    if (!status.ok()) return status;
    FrameWriter frame;
    status = frame.Begin(prefix.data(), prefix.bytes(), end - begin, level_,
                         [this] { return request_.monitor.cancelled(); });
    if (!status.ok()) return status;
    size_t room = 0;
    char* buffer = request_.scratch.Buffer(kPiece, &room);
    std::string packed;
    do {
      if (request_.monitor.cancelled()) return Status::Cancelled();
      const auto wanted = static_cast<size_t>(std::min<uint64_t>(room, end - begin));
      size_t got = 0;
      status = platform::ReadRange(request_.source, Operation::kRead, begin, buffer, wanted, &got);
      if (!status.ok()) return status;
      if (got < wanted) return Status::Of(Kind::kDeltaCopy, Operation::kRead, EBUSY, begin + got);  // it shrank
      begin += got;
      packed.clear();
      if (!frame.Add(std::string_view(buffer, got), begin == end, &packed)) return OutOfMemory();
      status = Append(packed);
      if (!status.ok()) return status;
      request_.monitor.Advance(got);
    } while (begin < end);
    return status;
  }

  Status Append(std::string_view bytes) {
    Status status = WriteAdmitted(request_, result_.written, bytes.data(), bytes.size());
    if (status.ok()) result_.written += bytes.size();
    return status;
  }

  const FillRequest& request_;
  const int level_;
  FillResult& result_;
};

class PatchReader {
 public:
  PatchReader(const FillRequest& request, bool allow_unchecked, FileMonitor& monitor, FillResult* result)
      : request_(request), allow_unchecked_(allow_unchecked), monitor_(monitor), result_(*result) {}

  Status Run() {
    const uint64_t reference_size = request_.reference.info().size;
    Status status = Peek(kSegmentHead);
    const bool segments = net::Reader(ahead_).Take<uint32_t>() == kSegmentMagic;
    while (status.ok()) {
      SegmentHead head{0, reference_size, 0};
      if (segments) status = ReadHead(&head);
      if (status.ok()) status = ReadFrame(head, segments);
      if (!status.ok()) break;
      status = Peek(1);
      if (!status.ok() || ahead_.empty()) break;
      if (!segments) return Damaged(offset_);  // something follows the frame
    }
    result_.size = result_.written;
    result_.read = offset_ + reference_size;
    return status;
  }

 private:
  // Has at least `count` bytes in ahead_, or what there is.
  Status Peek(size_t count) {
    if (ahead_.size() >= count) return Status();
    buffer_.erase(0, buffer_.size() - ahead_.size());
    const size_t held = buffer_.size();
    buffer_.resize(held + std::max(count, kPiece));
    size_t got = 0;
    Status status = platform::ReadRange(request_.source, Operation::kReadPatch, offset_ + held, &buffer_[held],
                                        buffer_.size() - held, &got);
    buffer_.resize(held + got);
    ahead_ = buffer_;
    return status;
  }
  void Consume(size_t count) {
    ahead_.remove_prefix(count);
    offset_ += count;
  }

  Status ReadHead(SegmentHead* head) {
    Status status = Peek(kSegmentHead);
    if (!status.ok()) return status;
    net::Reader reader(ahead_.substr(0, kSegmentHead));
    const auto magic = reader.Take<uint32_t>();
    const auto size = reader.Take<uint32_t>();
    const std::string_view tag = reader.Bytes(kTag.size());
    head->first = reader.Take<uint64_t>();
    head->last = reader.Take<uint64_t>();
    head->length = reader.Take<uint64_t>();
    const bool right = reader.complete() && magic == kSegmentMagic && size == kSegmentHead - 8 && tag == kTag &&
                       head->first <= head->last && head->last <= request_.reference.info().size &&
                       head->last - head->first <= kSegment + 2 * kReach && head->length <= kSegment;
    if (!right) return Damaged(offset_);
    Consume(kSegmentHead);
    return status;
  }

  Status ReadFrame(const SegmentHead& head, bool segment) {
    Status status = Peek(kFrameHeaderMaximum);
    if (!status.ok()) return status;
    FrameHeader header;
    if (!ReadFrameHeader(ahead_, &header) || header.dictionary != 0) return Damaged(offset_);
    if (segment && (!header.has_content_size || header.content_size != head.length)) return Damaged(offset_);
    status = Check(header);
    if (!status.ok()) return status;
    Prefix prefix;
    status = prefix.Read(request_.reference, head.first, head.last, request_.monitor);
    if (!status.ok()) return status;
    FrameReader frame;
    if (!frame.Begin(prefix.bytes(), std::max<uint64_t>(header.window_size, head.last - head.first))) {
      return OutOfMemory();
    }
    if (result_.written == 0) monitor_.Begin(header.content_size);
    const uint64_t end = header.has_content_size ? result_.written + header.content_size : UINT64_MAX;
    std::string content;
    for (bool ended = false; !ended;) {
      if (monitor_.cancelled()) return Status::Cancelled();
      status = Peek(1);
      if (!status.ok()) return status;
      const size_t before = ahead_.size();
      std::string_view rest = ahead_;
      if (!frame.Take(&rest, kPiece, &content, &ended)) return Damaged(offset_);
      Consume(before - rest.size());
      if (content.empty() && before == 0 && !ended) return Damaged(offset_);  // it is cut off
      if (content.size() > end - result_.written) return Damaged(offset_);
      status = WriteAdmitted(request_, result_.written, content.data(), content.size());
      if (!status.ok()) return status;
      result_.written += content.size();
      monitor_.Advance(content.size());
    }
    return header.has_content_size && result_.written != end ? Damaged(offset_) : Status();
  }

  // Refuses what cannot be right before memory or disk is taken for it.
  Status Check(const FrameHeader& header) const {
    if (!header.has_checksum && !allow_unchecked_) return Status::Of(Kind::kConfiguration, Operation::kReadPatch);
    if (header.window_size > uint64_t{1} << 31) return Status::Of(Kind::kUnsupported, Operation::kReadPatch);
    const uint64_t available = platform::FreeSpace(request_.destination);
    if (available == 0 || header.content_size <= available) return Status();
    Status status = Status::FromErrno(ENOSPC, Operation::kWrite);
    status.set_space(header.content_size, available);
    return status;
  }

  const FillRequest& request_;
  const bool allow_unchecked_;
  FileMonitor& monitor_;
  FillResult& result_;
  std::string buffer_;
  std::string_view ahead_;  // the end of buffer_, which was not taken yet
  uint64_t offset_ = 0;     // of ahead_ in the patch
};

}  // namespace

Status CreatePatch(const FillRequest& request, int level, FillResult* result) {
  return PatchWriter(request, level, result).Run();
}

Status ApplyPatch(const FillRequest& request, bool allow_unchecked, FileMonitor& monitor, FillResult* result) {
  return PatchReader(request, allow_unchecked, monitor, result).Run();
}

}  // namespace delta
}  // namespace eacopy
