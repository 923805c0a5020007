// Filling a destination with the help of a reference; see fill.h.

#include "fill.h"

#include <algorithm>
#include <cstring>

#include "../ranges.h"
#include "matching.h"

namespace eacopy {
namespace delta {
namespace {

constexpr size_t kPiece = 256u << 10;
constexpr uint64_t kSharedPiece = 64u << 20;
constexpr uint64_t kLarge = 8u << 20;  // from here on a second thread pays

class Filler {
 public:
  Filler(const FillRequest& request, FillResult* result)
      : request_(request),
        result_(*result),
        shares_(request.options.reflink != Reflink::kNever),
        transfers_(request.options.reflink != Reflink::kNever),  // it may clone without being asked to
        block_(std::max<uint64_t>(request.source_info.block_size, 4096)) {}

  Status Run();

 private:
  Status CloneSource(bool* done);
  Status Clone();
  Status LeaveHole(uint64_t begin, uint64_t end);
  Status Put(const Stretch& stretch);
  Status Flush();
  Status Share(Stretch* rest);
  Status Transfer(Stretch* rest);
  Status Write(uint64_t start, uint64_t length);
  void Reused(uint64_t count) {
    result_.reused += count;
    request_.monitor.Advance(count);
  }

  const FillRequest& request_;
  FillResult& result_;
  bool shares_;
  bool transfers_;
  const uint64_t block_;
  bool is_reference_ = false;  // the destination is the reference or a clone of it: what is the same is there already
  Stretch pending_;            // what the reference has is put off, to be done together with what comes next
};

Status Filler::Run() {
  const uint64_t size = request_.source_info.size;
  bool done = false;
  Status cloned = CloneSource(&done);
  if (done || !cloned.ok()) return cloned;
  const bool ahead = size >= kLarge && request_.options.thread_count > 1;
  Matcher matcher({request_.source, request_.reference.handle(), request_.reference.info().size}, ahead,
                  request_.monitor);
  uint64_t reached = 0;
  bool cut_off = false;
  is_reference_ = request_.in_place;
  Status status = request_.in_place ? Status() : Clone();
  for (uint64_t offset = 0; status.ok() && !cut_off && offset < size;) {
    uint64_t begin = 0;
    uint64_t end = 0;
    platform::FindData(request_.source, offset, size, &begin, &end);
    status = Flush();
    if (status.ok()) status = LeaveHole(reached, begin);
    if (!status.ok() || begin >= size) {
      reached = std::max(reached, begin);
      break;
    }
    status = matcher.Match(
        begin, end, [this](const Stretch& stretch) { return Put(stretch); }, &reached);
    cut_off = reached < end;
    offset = std::max(end, offset + 1);
  }
  if (status.ok()) status = Flush();
  if (!status.ok()) return status;
  // A source that shrank ends where it ends now; zeros must not stand in for what was cut off.
  platform::FileInfo now;
  status = platform::GetInfo(request_.source, &now);
  if (!status.ok()) return status;
  result_.size = std::min(cut_off ? reached : size, now.size);
  result_.read = matcher.bytes_read();
  // XFS flushes on closing what was truncated, even to the size that it had.
  status = platform::GetInfo(request_.destination, &now);
  if (!status.ok()) return status;
  if (now.size != result_.size) status = platform::Truncate(request_.destination, result_.size);
  if (status.ok() && !request_.in_place) status = request_.reference.CheckUnchanged();
  return status;
}

// Nothing is written or read at all where the source itself can be cloned.
Status Filler::CloneSource(bool* done) {
  const uint64_t size = request_.source_info.size;
  if (!shares_ || request_.in_place || size == 0) return Status();
  Status status = platform::ShareRange(request_.source, 0, request_.destination, 0, size, done);
  if (!status.ok() || !*done) return status;
  result_.size = size;
  result_.cloned = true;
  request_.monitor.Advance(size);
  return status;
}

// Begins with a clone of the whole reference, where the file system can make one and much of it can be used: changing
// that here and there costs less than sharing what lies between the changes piece by piece.
Status Filler::Clone() {
  const uint64_t size = request_.reference.info().size;
  if (!shares_ || size == 0 || size / 2 > request_.source_info.size) return Status();
  return platform::ShareRange(request_.reference.handle(), 0, request_.destination, 0, size, &is_reference_);
}

Status Filler::LeaveHole(uint64_t begin, uint64_t end) {
  if (end <= begin) return Status();
  const uint64_t stop = std::min(end, request_.reference.info().size);
  if (is_reference_ && begin < stop && !platform::PunchHole(request_.destination, begin, stop - begin)) {
    size_t room = 0;
    char* zeros = request_.scratch.Buffer(kPiece, &room);
    std::memset(zeros, 0, room);
    for (uint64_t offset = begin; offset < stop; offset += room) {
      const auto count = static_cast<size_t>(std::min<uint64_t>(room, stop - offset));
      Status status = WriteAdmitted(request_, offset, zeros, count);
      if (!status.ok()) return status;
      result_.written += count;
    }
  }
  request_.monitor.Advance(end - begin);
  return Status();
}

Status Filler::Put(const Stretch& stretch) {
  const bool follows = pending_.reference != kNowhere && stretch.reference == pending_.reference + pending_.length &&
                       stretch.start == pending_.start + pending_.length;
  if (follows && pending_.length < kSharedPiece) {
    pending_.length += stretch.length;
    return Status();
  }
  Status status = Flush();
  if (!status.ok()) return status;
  if (stretch.reference == kNowhere) return Write(stretch.start, stretch.length);
  pending_ = stretch;
  return status;
}

Status Filler::Flush() {
  Stretch rest = pending_;
  pending_ = Stretch();
  if (rest.reference == kNowhere) return Status();
  if (is_reference_ && rest.reference == rest.start) {
    Reused(rest.length);
    return Status();
  }
  // What it would be taken from may be overwritten already.
  if (request_.in_place) return Write(rest.start, rest.length);
  Status status = Share(&rest);
  if (status.ok()) status = Transfer(&rest);
  return status.ok() && rest.length > 0 ? Write(rest.start, rest.length) : status;
}

void Advance(Stretch* rest, uint64_t count) {
  rest->start += count;
  rest->reference += count;
  rest->length -= count;
}

// Shares the extents of as much as the file system allows: whole blocks.
Status Filler::Share(Stretch* rest) {
  if (!shares_ || rest->start % block_ != 0 || rest->reference % block_ != 0) return Status();
  uint64_t length = rest->length;
  if (rest->reference + length != request_.reference.info().size) length -= length % block_;
  if (length == 0) return Status();
  bool shared = false;
  Status status = platform::ShareRange(request_.reference.handle(), rest->reference, request_.destination, rest->start,
                                       length, &shared);
  shares_ = shared;
  if (!shared) return status;
  Reused(length);
  Advance(rest, length);
  return status;
}

Status Filler::Transfer(Stretch* rest) {
  while (transfers_ && rest->length > 0) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    uint64_t copied = 0;
    const uint64_t piece = request_.monitor.Admit(std::min(rest->length, kSharedPiece));
    if (piece == 0) return Status::Cancelled();
    Status status = platform::TransferRange(request_.reference.handle(), rest->reference, request_.destination,
                                            rest->start, piece, &copied);
    if (!status.ok()) return status;
    request_.monitor.GiveBack(piece - copied);
    transfers_ = copied > 0;
    Reused(copied);
    Advance(rest, copied);
  }
  return Status();
}

Status Filler::Write(uint64_t start, uint64_t length) {
  size_t room = 0;
  char* buffer = request_.scratch.Buffer(kPiece, &room);
  for (const uint64_t end = start + length; start < end;) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    size_t got = 0;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(room, end - start));
    Status status = platform::ReadRange(request_.source, Operation::kRead, start, buffer, wanted, &got);
    if (!status.ok() || got == 0) return status;
    status = WriteAdmitted(request_, start, buffer, got);
    if (!status.ok()) return status;
    result_.written += got;
    request_.monitor.Advance(got);
    start += got;
  }
  return Status();
}

}  // namespace

Status Fill(const FillRequest& request, FillResult* result) { return Filler(request, result).Run(); }

Status WriteAdmitted(const FillRequest& request, uint64_t offset, const char* data, size_t size) {
  while (size > 0) {
    const auto piece = static_cast<size_t>(request.monitor.Admit(size));
    if (piece == 0) return Status::Cancelled();
    Status status = platform::WriteRange(request.destination, offset, data, piece);
    if (!status.ok()) return status;
    offset += piece;
    data += piece;
    size -= piece;
  }
  return Status();
}

}  // namespace delta
}  // namespace eacopy
