// EventQueue: what the workers have to say, kept until the coordinating thread asks.
#ifndef EACOPY_SOURCE_EVENTS_H_
#define EACOPY_SOURCE_EVENTS_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "eacopy/job.h"

namespace eacopy {

class EventQueue {
 public:
  // For workers. Progress waits while the coordinator is far behind, so that memory stays bounded; never after Close().
  void AddProgress(bool first, uint64_t copied, uint64_t total, const std::string& path);
  void AddFilter(FilterRequest request);
  void AddFailure(Failure failure);
  // Waits as AddProgress does.
  void AddAction(Action action, const std::string& source, const std::string& destination, uint64_t size);
  void NotifyRoom();
  void NotifyDone();
  // The job ends early: nobody waits for the coordinator any more.
  void Close();

  // For the coordinator.
  int Wait(int timeout_milliseconds);
  bool TakeProgress(Progress* out);
  bool TakeFilter(FilterRequest* out);
  bool TakeFailure(Failure* out);
  bool TakeActions(Actions* out);

 private:
  int News() const;

  std::mutex mutex_;
  std::condition_variable news_;     // waited for by the coordinator
  std::condition_variable drained_;  // waited for by workers with progress, or actions, to tell
  Progress progress_;
  std::deque<FilterRequest> filters_;
  std::deque<Failure> failures_;
  Actions actions_;
  bool room_ = false;
  bool done_ = false;
  bool closed_ = false;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_EVENTS_H_
