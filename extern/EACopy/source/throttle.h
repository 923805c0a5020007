// Throttle: keeps what all workers of a job move together below a rate.
#ifndef EACOPY_SOURCE_THROTTLE_H_
#define EACOPY_SOURCE_THROTTLE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace eacopy {

// For any number of threads.
class Throttle {
 public:
  // `rate`: bytes a second, 1 or more. `cancelled`: ends every wait soon; may be null.
  Throttle(uint64_t rate, const std::atomic<bool>* cancelled);
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  // Waits until something may be moved, and returns how much of `wanted` (1 or more) that is: no more than the rate
  // allows in about 50 ms. 0: cancelled.
  uint64_t Take(uint64_t wanted);
  // So much of what was taken was not moved after all.
  void GiveBack(uint64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;

  Clock::duration TimeFor(uint64_t bytes) const;

  const double rate_;
  const uint64_t piece_;
  const std::atomic<bool>* cancelled_;
  std::mutex mutex_;
  Clock::time_point paid_until_;  // when all that was taken is within the rate
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_THROTTLE_H_
