// Job: the coordinator's side of the engine; see eacopy/job.h.

#include "eacopy/job.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "job_context.h"
#include "net/remote_job.h"
#include "sync/sync_job.h"
#include "tree_copy.h"

namespace eacopy {
namespace {

// A worker that makes a directory has that one and its parent open, on both sides, and copies a file meanwhile. More
// workers than there are descriptors for would only wait for each other's.
constexpr size_t kFilesOfWorker = 8;

Options WithinBudget(Options options) {
  const size_t workers = std::max<size_t>(platform::OpenFileBudget() / kFilesOfWorker, 1);
  options.thread_count = static_cast<uint32_t>(std::min<size_t>(options.thread_count, workers));
  return options;
}

// A sync replaces what differs, and never writes into what is there.
Options Atomically(Options options) {
  options.atomic = true;
  return options;
}

// Each open directory of a tree is two descriptors, and each worker needs a few for the file it copies.
size_t OpenDirectoryLimit(uint32_t thread_count) {
  const size_t budget = platform::OpenFileBudget();
  const size_t for_files = 4 * static_cast<size_t>(thread_count) + 16;
  const size_t for_directories = budget > for_files ? (budget - for_files) / 2 : 0;
  return std::min<size_t>(std::max<size_t>(for_directories, 4), 256);
}

class FileItemTask : public Task {
 public:
  FileItemTask(JobContext& job, std::string source, std::string destination, const Delta* delta)
      : job_(job), source_(std::move(source)), destination_(std::move(destination)), delta_(delta) {}

  void Run(Worker& worker) override {
    if (job_.cancelled() || job_.refuses_items()) return;
    const platform::Directory& paths = platform::Directory::Paths();
    WorkerCounters::Add(worker.counters->files_found, 1);
    FileTask task{paths, source_.c_str(), paths,      destination_.c_str(),        job_.options().follow_symlinks,
                  false, false,           UINT64_MAX, job_.scheduler().idle() + 1, nullptr};
    task.delta = delta_;
    Status status = job_.Copy(task, worker, [this] { return source_; });
    if (status.ok()) return;
    const bool about_reference =
        status.operation() == Operation::kOpenReference || status.operation() == Operation::kReadReference;
    if (about_reference && delta_ != nullptr) source_ = delta_->reference;
    job_.Fail(worker, status, std::move(source_), std::move(destination_), true);
    job_.EndItemWithFailure();
  }

 private:
  JobContext& job_;
  std::string source_;
  std::string destination_;
  const Delta* delta_;
};

}  // namespace

class Job::Impl {
 public:
  Impl(const Options& options, std::optional<Delta> with)
      : delta(std::move(with)),
        context(WithinBudget(options)),
        cache(OpenDirectoryLimit(context.options().thread_count)) {}

  ~Impl() {
    Cancel();
    context.scheduler().Join();
  }

  void Cancel() {
    context.Cancel();
    // Nobody will answer them any more; run, they only sign off.
    for (auto& task : desk.TakeAll()) context.scheduler().Resume(std::move(task));
  }

  std::unique_ptr<Task> MakeTask(ItemType type, const char* source, const char* destination) {
    if (remote) {
      remote->SetItem(type == ItemType::kTree, source, destination);
      return net::MakeRemoteTask(*remote);
    }
    if (sync) return sync->MakeTask(type, source, destination);
    if (type == ItemType::kTree) return MakeTreeTask(services, source, destination);
    return std::make_unique<FileItemTask>(context, source, destination, delta ? &*delta : nullptr);
  }

  const std::optional<Delta> delta;
  JobContext context;
  DirectoryCache cache;
  FilterDesk desk;
  TreeServices services{context, cache, desk};
  std::unique_ptr<net::RemoteJob> remote;
  std::unique_ptr<SyncJob> sync;
  std::optional<Failure> unable;  // why no item can be begun
};

Job::Job(const Options& options) : impl_(std::make_unique<Impl>(options, std::nullopt)) {}

Job::Job(const Options& options, Delta delta) : impl_(std::make_unique<Impl>(options, std::move(delta))) {}

Job::Job(const Options& options, const Remote& remote) : Job(options) {
  impl_->remote = std::make_unique<net::RemoteJob>(impl_->context, remote);
}

Job::Job(const Options& options, Sync sync) : Job(Atomically(options)) {
  impl_->sync = std::make_unique<SyncJob>(impl_->context, impl_->cache, std::move(sync));
  Failure failure;
  if (!impl_->sync->Open(&failure)) impl_->unable = std::move(failure);
  impl_->context.set_before_done([job = impl_->sync.get()](Worker& worker) { job->Finish(worker); });
}

Job::~Job() = default;

bool Job::Add(ItemType type, const char* source, const char* destination) {
  JobContext& context = impl_->context;
  if (context.refuses_items() || context.cancelled()) return true;  // the job is ending: nothing more is begun
  if (impl_->unable) {
    if (!impl_->unable->status.ok()) context.FailToStart(std::exchange(*impl_->unable, Failure()));
    return true;
  }
  if (!context.scheduler().AddItem(impl_->MakeTask(type, source, destination))) return false;
  if (!context.scheduler().started()) {
    context.FailToStart({Status::FromErrno(EAGAIN, Operation::kStart), source, destination, true, std::string()});
  }
  return true;
}

void Job::End() { impl_->context.scheduler().End(); }

int Job::Wait(int timeout_milliseconds) { return impl_->context.events().Wait(timeout_milliseconds); }

bool Job::TakeProgress(Progress* out) { return impl_->context.events().TakeProgress(out); }

bool Job::TakeFilter(FilterRequest* out) { return impl_->context.events().TakeFilter(out); }

bool Job::TakeFailure(Failure* out) { return impl_->context.events().TakeFailure(out); }

bool Job::TakeActions(Actions* out) { return impl_->context.events().TakeActions(out); }

void Job::AnswerFilter(uint64_t ticket, const uint8_t* leave_out) {
  if (impl_->remote) impl_->remote->AnswerFilter(ticket, leave_out);
  std::unique_ptr<Task> task = impl_->desk.Answer(ticket, leave_out);
  if (task != nullptr) impl_->context.scheduler().Resume(std::move(task));
}

void Job::Cancel() { impl_->Cancel(); }

Counters Job::GetCounters() const { return impl_->context.GetCounters(); }

std::string Job::Server() const { return impl_->remote ? impl_->remote->server() : std::string(); }

std::string Job::NotKept() const { return impl_->sync ? impl_->sync->NotKept() : std::string(); }

}  // namespace eacopy
