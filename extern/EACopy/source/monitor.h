// Monitor: what code that moves bytes tells the job, and asks it: progress one way, cancellation the other.
#ifndef EACOPY_SOURCE_MONITOR_H_
#define EACOPY_SOURCE_MONITOR_H_

#include <atomic>
#include <cstdint>

namespace eacopy {

class Monitor {
 public:
  virtual ~Monitor() = default;

  bool cancelled() const { return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed); }

  // `bytes` more of the current file are at the destination. May be called by several threads at once.
  virtual void Advance(uint64_t bytes) = 0;

 protected:
  explicit Monitor(const std::atomic<bool>* cancelled) : cancelled_(cancelled) {}

 private:
  const std::atomic<bool>* cancelled_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_MONITOR_H_
