// SyncJob: a job that brings trees, or files, up to date.
#ifndef EACOPY_SOURCE_SYNC_SYNC_JOB_H_
#define EACOPY_SOURCE_SYNC_SYNC_JOB_H_

#include <memory>
#include <string>

#include "../directory_node.h"
#include "../job_context.h"
#include "eacopy/job.h"
#include "eacopy/sync.h"

namespace eacopy {

struct SyncServices;

class SyncJob {
 public:
  SyncJob(JobContext& job, DirectoryCache& cache, Sync sync);
  ~SyncJob();
  SyncJob(const SyncJob&) = delete;
  SyncJob& operator=(const SyncJob&) = delete;

  // Looks whether the job can be done, and reads the database. False, and *failure is set, when not.
  bool Open(Failure* failure);
  std::unique_ptr<Task> MakeTask(ItemType type, std::string source, std::string destination);
  // All items are done: saves the database, unless the job was cancelled.
  void Finish(Worker& worker);
  // What could not be kept of files, and how often: lines, each ended by NUL.
  std::string NotKept() const;

 private:
  const std::unique_ptr<SyncServices> services_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SYNC_SYNC_JOB_H_
