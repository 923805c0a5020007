// Copying a directory tree with many threads.
#ifndef EACOPY_SOURCE_TREE_COPY_H_
#define EACOPY_SOURCE_TREE_COPY_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "directory_node.h"
#include "job_context.h"

namespace eacopy {

// Where directories wait while the coordinator decides which of their names to leave out.
class FilterDesk {
 public:
  // Keeps `task` until its answer comes, which goes into *leave_out. Returns the ticket.
  uint64_t Park(std::unique_ptr<Task> task, std::vector<uint8_t>* leave_out);
  // Fills in the answer and returns the task to go on with; null for an unknown ticket.
  std::unique_ptr<Task> Answer(uint64_t ticket, const uint8_t* leave_out);
  // All that still wait, because the job was cancelled.
  std::vector<std::unique_ptr<Task>> TakeAll();

 private:
  struct Parked {
    uint64_t ticket;
    std::unique_ptr<Task> task;
    std::vector<uint8_t>* leave_out;
  };
  std::mutex mutex_;
  uint64_t next_ticket_ = 1;
  std::vector<Parked> parked_;
};

// What the trees of one job share.
struct TreeServices {
  JobContext& job;
  DirectoryCache& cache;
  FilterDesk& desk;
};

// The task that copies the tree at `source` to `destination`.
std::unique_ptr<Task> MakeTreeTask(TreeServices& services, std::string source, std::string destination);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_TREE_COPY_H_
