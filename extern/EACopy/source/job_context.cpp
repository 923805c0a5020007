// What the tasks of one job share; see job_context.h.

#include "job_context.h"

#include <cerrno>
#include <new>
#include <utility>

namespace eacopy {
namespace {

// A callback need not hear more often of one file.
constexpr auto kProgressInterval = std::chrono::milliseconds(50);
// Seconds. Clocks count nanoseconds in 64 bits, and begin again where those end.
constexpr double kLongestWait = 1e9;
// A smaller file is begun and finished in one record.
constexpr uint64_t kSmallFile = 256 * 1024;

// Counts a file's bytes and, when progress is wanted, tells how far it is.
class JobMonitor : public FileMonitor {
 public:
  JobMonitor(JobContext& job, Worker& worker, const std::function<std::string()>& source_path)
      : FileMonitor(job.cancel_flag(), job.throttle()), job_(job), counters_(*worker.counters) {
    if (job.options().want_progress) path_ = source_path();
  }

  void Begin(uint64_t total) override {
    total_ = total;
    copied_.store(0, std::memory_order_relaxed);
    begun_ = false;
    if (!size_counted_) WorkerCounters::Add(counters_.bytes_found, total);
    size_counted_ = true;
    if (!job_.options().want_progress || total < kSmallFile) return;
    begun_ = true;
    last_told_ = std::chrono::steady_clock::now();
    job_.events().AddProgress(true, 0, total, path_);
  }

  void Advance(uint64_t bytes) override {
    WorkerCounters::Add(counters_.bytes_copied, bytes);
    const uint64_t copied = copied_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (!begun_) return;
    // Whoever does not get the lock leaves it to the thread that is telling.
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || copied < told_) return;
    const auto now = std::chrono::steady_clock::now();
    // The last record is Finish's, when all is done that can fail.
    if (now - last_told_ < kProgressInterval || copied == total_) return;
    last_told_ = now;
    told_ = copied;
    job_.events().AddProgress(false, copied, std::max(copied, total_), path_);
  }

  void Finish(uint64_t total) override {
    if (job_.options().want_progress) job_.events().AddProgress(!begun_, total, total, path_);
  }

  // The file failed: its bytes do not count.
  void TakeBack() {
    counters_.bytes_copied.fetch_sub(copied_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    copied_.store(0, std::memory_order_relaxed);
    told_ = 0;
  }

 private:
  JobContext& job_;
  WorkerCounters& counters_;
  std::string path_;
  uint64_t total_ = 0;
  bool begun_ = false;
  bool size_counted_ = false;
  std::atomic<uint64_t> copied_{0};
  std::mutex mutex_;
  uint64_t told_ = 0;
  std::chrono::steady_clock::time_point last_told_;
};

}  // namespace

JobContext::JobContext(const Options& options)
    : options_(options),
      umask_(platform::Umask()),
      throttle_(options.bandwidth_limit == 0 ? nullptr
                                             : std::make_unique<Throttle>(options.bandwidth_limit, &cancelled_)),
      scheduler_(options.thread_count == 0 ? 1 : options.thread_count,
                 {[this] { return MakeWorker(); }, [this](Task& task, Worker& worker) { RunTask(task, worker); },
                  [this] { events_.NotifyRoom(); }, [this] { Done(); }}) {}

std::unique_ptr<Worker> JobContext::MakeWorker() {
  auto worker = std::make_unique<Worker>();
  std::lock_guard<std::mutex> lock(counters_mutex_);
  counters_.push_back(std::make_unique<WorkerCounters>());
  worker->counters = counters_.back().get();
  return worker;
}

void JobContext::RunTask(Task& task, Worker& worker) {
  try {
    task.Run(worker);
  } catch (const std::exception&) {
    // The engine itself throws nothing; the standard library does when memory is short.
    Fail(worker, Status::FromErrno(ENOMEM, Operation::kStart), "", "", true);
    EndItemWithFailure();
  }
}

void JobContext::Done() {
  if (before_done_) {
    try {
      before_done_(*MakeWorker());
    } catch (const std::exception&) {
      Fail(*MakeWorker(), Status::FromErrno(ENOMEM, Operation::kStart), "", "", true);
    }
  }
  events_.NotifyDone();
}

void JobContext::Cancel() {
  {
    std::lock_guard<std::mutex> lock(cancel_mutex_);
    cancelled_.store(true, std::memory_order_relaxed);
    cancel_condition_.notify_all();
  }
  events_.Close();
}

bool JobContext::WaitBeforeRetry() {
  std::unique_lock<std::mutex> lock(cancel_mutex_);
  const double seconds = options_.retry_delay < kLongestWait ? options_.retry_delay : kLongestWait;
  const auto delay = std::chrono::duration<double>(seconds);
  return !cancel_condition_.wait_for(lock, delay, [this] { return cancelled(); });
}

void JobContext::Fail(Worker& worker, const Status& status, std::string source, std::string destination, bool root,
                      std::string text) {
  if (!status.cancelled()) WorkerCounters::Add(worker.counters->errors, 1);
  events_.AddFailure({status, std::move(source), std::move(destination), root, std::move(text)});
}

void JobContext::FailToStart(Failure failure) {
  scheduler_.DropItems();
  Fail(*MakeWorker(), failure.status, std::move(failure.source), std::move(failure.destination), failure.root,
       std::move(failure.text));
  EndItemWithFailure();
}

void JobContext::EndItemWithFailure() {
  if (options_.strategy == Strategy::kIgnore) return;
  refuses_items_.store(true, std::memory_order_relaxed);
  scheduler_.DropItems();
  events_.NotifyRoom();
}

Status JobContext::Copy(const FileTask& task, Worker& worker, const std::function<std::string()>& source_path) {
  JobMonitor monitor(*this, worker, source_path);
  FileOutcome outcome;
  Status status;
  for (uint32_t tries = 0;; ++tries) {
    if (cancelled()) return Status::Cancelled();
    outcome = FileOutcome();
    status = CopyFile(task, options_, worker.scratch, monitor, &outcome);
    if (status.ok()) break;
    monitor.TakeBack();
    if (options_.strategy != Strategy::kRetry || tries >= options_.retry_count || !status.retryable()) return status;
    if (!WaitBeforeRetry()) return status;
    WorkerCounters::Add(worker.counters->retries, 1);
  }
  if (outcome.symlink) {
    WorkerCounters::Add(worker.counters->symlinks_copied, 1);
  } else {
    WorkerCounters::Add(worker.counters->files_copied, 1);
    // Of a delta only a clone of the source has a method: the others take what they need from here and there.
    if (task.delta == nullptr || outcome.method == Method::kClone)
      WorkerCounters::Add(worker.counters->methods[static_cast<int>(outcome.method)], 1);
    WorkerCounters::Add(worker.counters->bytes_reused, outcome.reused);
    WorkerCounters::Add(worker.counters->bytes_written, outcome.written);
    WorkerCounters::Add(worker.counters->bytes_read, outcome.read);
  }
  return status;
}

Counters JobContext::GetCounters() const {
  Counters sum;
  std::lock_guard<std::mutex> lock(counters_mutex_);
  for (const auto& counters : counters_) {
    auto get = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
    sum.files_found += get(counters->files_found);
    sum.bytes_found += get(counters->bytes_found);
    sum.files_copied += get(counters->files_copied);
    sum.symlinks_copied += get(counters->symlinks_copied);
    sum.directories_created += get(counters->directories_created);
    sum.bytes_copied += get(counters->bytes_copied);
    sum.errors += get(counters->errors);
    sum.retries += get(counters->retries);
    sum.bytes_reused += get(counters->bytes_reused);
    sum.bytes_written += get(counters->bytes_written);
    sum.bytes_read += get(counters->bytes_read);
    for (int i = 0; i < kMethodCount; ++i) sum.methods[i] += get(counters->methods[i]);
    sum.files_skipped += get(counters->files_skipped);
    sum.files_linked += get(counters->files_linked);
    sum.bytes_skipped += get(counters->bytes_skipped);
    sum.bytes_linked += get(counters->bytes_linked);
    sum.bytes_sent += get(counters->bytes_sent);
    sum.bytes_received += get(counters->bytes_received);
    sum.bytes_packed += get(counters->bytes_packed);
    sum.bytes_packed_level += get(counters->bytes_packed_level);
    sum.files_removed += get(counters->files_removed);
    sum.bytes_removed += get(counters->bytes_removed);
    sum.directories_removed += get(counters->directories_removed);
    sum.mismatches += get(counters->mismatches);
  }
  return sum;
}

}  // namespace eacopy
