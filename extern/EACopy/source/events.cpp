// What the workers have to say; see events.h.

#include "events.h"

#include <chrono>
#include <utility>

namespace eacopy {
namespace {

// Records are fetched by the batch: waking the coordinator for each would cost more than copying a small file.
constexpr size_t kWakeAt = 1024;
constexpr size_t kWaitAt = 16 * 1024;

}  // namespace

void Progress::Clear() {
  copied.clear();
  total.clear();
  first.clear();
  paths.clear();
}

void EventQueue::AddProgress(bool first, uint64_t copied, uint64_t total, const std::string& path) {
  std::unique_lock<std::mutex> lock(mutex_);
  drained_.wait(lock, [this] { return closed_ || progress_.count() < kWaitAt; });
  progress_.first.push_back(first ? 1 : 0);
  progress_.copied.push_back(copied);
  progress_.total.push_back(total);
  progress_.paths.append(path);
  progress_.paths.push_back('\0');
  if (progress_.count() == kWakeAt) news_.notify_one();
}

void EventQueue::AddFilter(FilterRequest request) {
  std::lock_guard<std::mutex> lock(mutex_);
  filters_.push_back(std::move(request));
  news_.notify_one();
}

void EventQueue::AddFailure(Failure failure) {
  std::lock_guard<std::mutex> lock(mutex_);
  failures_.push_back(std::move(failure));
  news_.notify_one();
}

void EventQueue::AddAction(Action action, const std::string& source, const std::string& destination, uint64_t size) {
  std::unique_lock<std::mutex> lock(mutex_);
  drained_.wait(lock, [this] { return closed_ || actions_.count() < kWaitAt; });
  actions_.types.push_back(static_cast<uint8_t>(action));
  actions_.sizes.push_back(size);
  actions_.sources.append(source).push_back('\0');
  actions_.destinations.append(destination).push_back('\0');
  if (actions_.count() == kWakeAt) news_.notify_one();
}

void EventQueue::NotifyRoom() {
  std::lock_guard<std::mutex> lock(mutex_);
  room_ = true;
  news_.notify_one();
}

void EventQueue::NotifyDone() {
  std::lock_guard<std::mutex> lock(mutex_);
  done_ = true;
  news_.notify_one();
}

void EventQueue::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  drained_.notify_all();
}

int EventQueue::News() const {
  return (progress_.count() != 0 ? kNewsProgress : 0) | (filters_.empty() ? 0 : kNewsFilter) |
         (failures_.empty() ? 0 : kNewsError) | (actions_.count() != 0 ? kNewsAction : 0) | (room_ ? kNewsRoom : 0) |
         (done_ ? kNewsDone : 0);
}

int EventQueue::Wait(int timeout_milliseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  news_.wait_for(lock, std::chrono::milliseconds(timeout_milliseconds), [this] {
    return (News() & ~(kNewsProgress | kNewsAction)) != 0 || progress_.count() >= kWakeAt ||
           actions_.count() >= kWakeAt;
  });
  const int news = News();
  room_ = false;
  return news;
}

bool EventQueue::TakeProgress(Progress* out) {
  std::lock_guard<std::mutex> lock(mutex_);
  out->Clear();
  std::swap(*out, progress_);
  drained_.notify_all();
  return out->count() != 0;
}

bool EventQueue::TakeFilter(FilterRequest* out) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (filters_.empty()) return false;
  *out = std::move(filters_.front());
  filters_.pop_front();
  return true;
}

bool EventQueue::TakeFailure(Failure* out) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (failures_.empty()) return false;
  *out = std::move(failures_.front());
  failures_.pop_front();
  return true;
}

bool EventQueue::TakeActions(Actions* out) {
  std::lock_guard<std::mutex> lock(mutex_);
  out->Clear();
  std::swap(*out, actions_);
  drained_.notify_all();
  return out->count() != 0;
}

}  // namespace eacopy
