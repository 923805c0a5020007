// Worker threads and their tasks; see scheduler.h.

#include "scheduler.h"

#include <iterator>
#include <system_error>
#include <utility>

#include "worker.h"

namespace eacopy {
namespace {

constexpr size_t kItemQueue = 1024;

}  // namespace

Scheduler::Scheduler(uint32_t thread_count, Hooks hooks) : thread_count_(thread_count), hooks_(std::move(hooks)) {}

Scheduler::~Scheduler() { Join(); }

void Scheduler::StartThreads(size_t wanted) {
  if (closing_) return;  // the threads are being waited for
  while (waiting_ < wanted && threads_.size() < thread_count_) {
    try {
      threads_.emplace_back([this] { Loop(); });
    } catch (const std::system_error&) {
      return;  // as many as the system gives
    }
    ++waiting_;  // it will wait as soon as it runs
  }
}

bool Scheduler::AddItem(std::unique_ptr<Task> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (items_.size() >= kItemQueue) return false;
  items_.push_back(std::move(task));
  StartThreads(items_.size());
  work_.notify_one();
  return true;
}

void Scheduler::End() {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_ = true;
  if (!Finished() || told_finished_) return;
  told_finished_ = true;
  lock.unlock();
  hooks_.finished();
}

void Scheduler::DropItems() {
  std::lock_guard<std::mutex> lock(mutex_);
  items_.clear();
}

bool Scheduler::started() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return !threads_.empty();
}

void Scheduler::Push(std::vector<std::unique_ptr<Task>> tasks) {
  if (tasks.empty()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t count = tasks.size();
  stack_.insert(stack_.end(), std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end()));
  StartThreads(stack_.size());
  if (waiting_ == 0) return;
  if (count == 1) {
    work_.notify_one();
  } else {
    work_.notify_all();
  }
}

void Scheduler::Hold() {
  std::lock_guard<std::mutex> lock(mutex_);
  ++held_;
}

void Scheduler::Resume(std::unique_ptr<Task> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  --held_;
  stack_.push_back(std::move(task));
  StartThreads(stack_.size());
  work_.notify_one();
}

uint32_t Scheduler::idle() const {
  const uint32_t running = running_.load(std::memory_order_relaxed);
  return thread_count_ > running ? thread_count_ - running : 0;
}

bool Scheduler::Finished() const { return ended_ && items_.empty() && stack_.empty() && running_ == 0 && held_ == 0; }

std::unique_ptr<Task> Scheduler::Take() {
  std::unique_ptr<Task> task;
  if (!stack_.empty()) {
    task = std::move(stack_.back());
    stack_.pop_back();
  } else {
    task = std::move(items_.front());
    items_.pop_front();
  }
  return task;
}

void Scheduler::Loop() {
  std::unique_ptr<Worker> worker = hooks_.make_worker();
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return closing_ || !stack_.empty() || !items_.empty(); });
    if (closing_) break;
    const bool made_room = stack_.empty() && items_.size() == kItemQueue / 2 && !ended_;
    std::unique_ptr<Task> task = Take();
    --waiting_;
    ++running_;
    lock.unlock();
    if (made_room) hooks_.item_taken();
    hooks_.run(*task, *worker);
    task.reset();
    lock.lock();
    --running_;
    ++waiting_;
    if (Finished() && !told_finished_) {
      told_finished_ = true;
      lock.unlock();
      hooks_.finished();
      lock.lock();
    }
  }
}

void Scheduler::Join() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    work_.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace eacopy
