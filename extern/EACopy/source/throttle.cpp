// A bucket of tokens, kept as the time at which it will not be in debt any more; see throttle.h.

#include "throttle.h"

#include <algorithm>
#include <thread>

namespace eacopy {

namespace {

// A cancelled wait ends within this time.
constexpr std::chrono::milliseconds kSlice{20};
// What was not used lately may be made up for, no more than this: waking up is never exactly on time.
constexpr std::chrono::milliseconds kCredit{50};
constexpr uint64_t kPiecesASecond = 20;
// Smaller pieces would cost more than they are worth.
constexpr uint64_t kPieceMinimum = 4096;

}  // namespace

Throttle::Throttle(uint64_t rate, const std::atomic<bool>* cancelled)
    : rate_(static_cast<double>(rate)),
      piece_(std::max(rate / kPiecesASecond, kPieceMinimum)),
      cancelled_(cancelled),
      paid_until_(Clock::now()) {}

Throttle::Clock::duration Throttle::TimeFor(uint64_t bytes) const {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(static_cast<double>(bytes) / rate_));
}

uint64_t Throttle::Take(uint64_t wanted) {
  const uint64_t granted = std::min(wanted, piece_);
  for (;;) {
    if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) return 0;
    Clock::duration left{0};
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto now = Clock::now();
      left = paid_until_ - now;
      if (left <= Clock::duration(0)) {
        paid_until_ = std::max(paid_until_, now - Clock::duration(kCredit)) + TimeFor(granted);
        return granted;
      }
    }
    std::this_thread::sleep_for(std::min<Clock::duration>(left, kSlice));
  }
}

void Throttle::GiveBack(uint64_t bytes) {
  if (bytes == 0) return;
  std::lock_guard<std::mutex> lock(mutex_);
  paid_until_ -= TimeFor(bytes);
}

}  // namespace eacopy
