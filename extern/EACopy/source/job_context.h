// JobContext: what the tasks of one job share: its options, its counters, the way to cancel it and to tell of failures.
#ifndef EACOPY_SOURCE_JOB_CONTEXT_H_
#define EACOPY_SOURCE_JOB_CONTEXT_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "eacopy/job.h"
#include "events.h"
#include "file_copy.h"
#include "scheduler.h"
#include "throttle.h"
#include "worker.h"

namespace eacopy {

class JobContext {
 public:
  explicit JobContext(const Options& options);
  // Called by a worker when all items are done, before the coordinator hears of it. Set before any item is added.
  void set_before_done(std::function<void(Worker&)> call) { before_done_ = std::move(call); }

  const Options& options() const { return options_; }
  uint32_t umask() const { return umask_; }
  EventQueue& events() { return events_; }
  Scheduler& scheduler() { return scheduler_; }

  void Cancel();
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  const std::atomic<bool>* cancel_flag() const { return &cancelled_; }
  // Null when the rate is not limited.
  Throttle* throttle() const { return throttle_.get(); }

  // Tells the coordinator. A file that was stopped by cancelling is told of too, for the state that its destination is
  // in.
  // `text`: what a peer said about it.
  void Fail(Worker& worker, const Status& status, std::string source, std::string destination, bool root,
            std::string text = {});
  // No item can be begun.
  void FailToStart(Failure failure);
  // An item is over, and something in it failed: unless failures are ignored, no further item is begun.
  void EndItemWithFailure();
  bool refuses_items() const { return refuses_items_.load(std::memory_order_relaxed); }

  // Copies a file (or a link that is not followed) with the retries that were asked for, counts it, and tells of its
  // progress. `source_path` makes its path as the user would write it; called only when it is needed.
  Status Copy(const FileTask& task, Worker& worker, const std::function<std::string()>& source_path);

  Counters GetCounters() const;

 private:
  std::unique_ptr<Worker> MakeWorker();
  void RunTask(Task& task, Worker& worker);
  void Done();
  // False when the job was cancelled meanwhile.
  bool WaitBeforeRetry();

  const Options options_;
  const uint32_t umask_;
  std::atomic<bool> cancelled_{false};
  const std::unique_ptr<Throttle> throttle_;
  std::atomic<bool> refuses_items_{false};
  std::mutex cancel_mutex_;
  std::condition_variable cancel_condition_;
  std::function<void(Worker&)> before_done_;
  EventQueue events_;
  mutable std::mutex counters_mutex_;
  std::vector<std::unique_ptr<WorkerCounters>> counters_;
  Scheduler scheduler_;  // last: its threads use all of the above
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_JOB_CONTEXT_H_
