// Monitor: what code that moves bytes tells the job, and asks it: progress one way, cancellation and the allowed rate
// the other.
#ifndef EACOPY_SOURCE_MONITOR_H_
#define EACOPY_SOURCE_MONITOR_H_

#include <atomic>
#include <cstdint>

#include "throttle.h"

namespace eacopy {

class Monitor {
 public:
  virtual ~Monitor() = default;

  bool cancelled() const { return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed); }

  // Whether the rate is limited at all.
  bool limited() const { return throttle_ != nullptr; }
  // How much of `wanted` may be written now; waits for it where the rate is limited. 0: cancelled meanwhile. What
  // clones extents writes nothing, and need not ask.
  uint64_t Admit(uint64_t wanted) { return throttle_ == nullptr ? wanted : throttle_->Take(wanted); }
  // So much of what was admitted was not written.
  void GiveBack(uint64_t bytes) {
    if (throttle_ != nullptr) throttle_->GiveBack(bytes);
  }

  // `bytes` more of the current file are at the destination. May be called by several threads at once.
  virtual void Advance(uint64_t bytes) = 0;

 protected:
  // `throttle`: of the job; null without a limit.
  explicit Monitor(const std::atomic<bool>* cancelled, Throttle* throttle = nullptr)
      : cancelled_(cancelled), throttle_(throttle) {}

 private:
  const std::atomic<bool>* cancelled_;
  Throttle* const throttle_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_MONITOR_H_
