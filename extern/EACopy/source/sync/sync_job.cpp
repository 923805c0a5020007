// A job that brings trees, or files, up to date; see sync_job.h.

#include "sync_job.h"

#include <cerrno>
#include <utility>

#include "items.h"
#include "services.h"
#include "tree.h"

namespace eacopy {

void Losses::Lose(const std::string& what) {
  std::lock_guard<std::mutex> lock(mutex_);
  ++lost_[what];
}

std::string Losses::Text() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  for (const auto& [what, times] : lost_) text += what + " (" + std::to_string(times) + " times)" + '\0';
  return text;
}

void ProtectedDirectories::Add(const platform::FileId& id) {
  std::lock_guard<std::mutex> lock(mutex_);
  ids_.push_back(id);
}

bool ProtectedDirectories::Has(const platform::FileId& id) const {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const platform::FileId& each : ids_) {
    if (each == id) return true;
  }
  return false;
}

SyncJob::SyncJob(JobContext& job, DirectoryCache& cache, Sync sync)
    : services_(std::make_unique<SyncServices>(job, cache, std::move(sync))) {}

SyncJob::~SyncJob() = default;

bool SyncJob::Open(Failure* failure) {
  const Sync& sync = services_->sync;
  const char unknown = Selection::UnknownAttribute(sync);
  if (unknown != 0) {
    failure->status = Status::Unsupported(ENOTSUP, Operation::kStart);
    failure->text = std::string("there is no attribute \"") + unknown + "\" on this system; \"R\" and \"H\" are all";
    return false;
  }
  if (sync.link_database.empty()) return true;
  failure->status = services_->database.Open(sync.link_database, sync.link_by_name);
  failure->source = sync.link_database;
  services_->has_database = failure->status.ok();
  return services_->has_database;
}

std::unique_ptr<Task> SyncJob::MakeTask(ItemType type, std::string source, std::string destination) {
  if (type == ItemType::kTree) return MakeSyncTreeTask(*services_, std::move(source), std::move(destination));
  return MakeSyncFileTask(*services_, std::move(source), std::move(destination));
}

void SyncJob::Finish(Worker& worker) {
  if (!services_->has_database || services_->sync.dry_run || services_->job.cancelled()) return;
  const Status status = services_->database.Save();
  if (!status.ok()) services_->job.Fail(worker, status, "", services_->sync.link_database, false);
}

std::string SyncJob::NotKept() const { return services_->losses.Text(); }

}  // namespace eacopy
