// One step up or down after each frame.

#include "compression_level.h"

#include <algorithm>

namespace eacopy {
namespace net {
namespace {

constexpr int kHighest = 12;
constexpr int kCheap = 7;  // up to here no waiting has to be seen: the wire is busy, that is enough
// So many frames in a row have to find the wire idle before the level is lowered.
constexpr int kPatience = 2, kPatienceAtFirst = 4;
// What is sent as it is before compressing is tried again, when it was slower than the wire.
constexpr uint64_t kRawOnFastWire = 8u << 20;
// The same after what could not be compressed: at first, and at most.
constexpr uint64_t kRawAtFirst = 1u << 20;
constexpr uint64_t kRawAtMost = 16u << 20;

}  // namespace

int CompressionLevel::Next(size_t size, bool behind) {
  if (behind && raw_after_next_ == 0) raw_left_ = 0;
  if (raw_left_ == 0) return level_;
  raw_left_ -= std::min<uint64_t>(raw_left_, size);
  return 0;
}

void CompressionLevel::Sent(int level, size_t size, size_t sent_size, Duration compressing, Duration waiting,
                            bool behind) {
  if (level == 0) return;
  if (sent_size >= size - size / 32) {
    raw_after_next_ = std::min(std::max(2 * raw_after_next_, kRawAtFirst), kRawAtMost);
    raw_left_ = raw_after_next_;
    return;
  }
  raw_after_next_ = 0;
  if (waiting > compressing || behind) {
    idle_frames_ = 0;
    was_behind_ = true;
    if (waiting > compressing || level_ < kCheap) level_ = std::min(level_ + 1, kHighest);
    return;
  }
  // Buffers swallow the first frames, however slow the wire is.
  if (++idle_frames_ < (was_behind_ ? kPatience : kPatienceAtFirst)) return;
  idle_frames_ = 0;
  if (level_ > 1) {
    --level_;
  } else {
    raw_left_ = kRawOnFastWire;
  }
}

}  // namespace net
}  // namespace eacopy
