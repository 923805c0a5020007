// Scheduler: worker threads, and the tasks they take. Tasks that come out of a tree are taken last-in first-out, which
// keeps a walk narrow; items that a caller queues are taken in order, when no tree has work left.
#ifndef EACOPY_SOURCE_SCHEDULER_H_
#define EACOPY_SOURCE_SCHEDULER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace eacopy {

struct Worker;

class Task {
 public:
  virtual ~Task() = default;
  virtual void Run(Worker& worker) = 0;
};

class Scheduler {
 public:
  struct Hooks {
    std::function<std::unique_ptr<Worker>()> make_worker;
    std::function<void(Task&, Worker&)> run;  // must not throw
    std::function<void()> item_taken;         // there is room in the queue of items
    std::function<void()> finished;           // all items are done, and no more will come
  };

  Scheduler(uint32_t thread_count, Hooks hooks);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Queues an item; false when the queue is full. Starts threads as they are needed. An item that no thread could be
  // started for stays queued; `started()` tells whether there is any.
  bool AddItem(std::unique_ptr<Task> task);
  // No more items.
  void End();
  // Forgets the items that are still queued.
  void DropItems();
  bool started() const;

  // For running tasks: adds tasks that belong to the same item.
  void Push(std::vector<std::unique_ptr<Task>> tasks);
  // A task that waits for something outside is kept alive by Hold, until it is given to Resume.
  void Hold();
  void Resume(std::unique_ptr<Task> task);

  // How many workers have nothing to do, counting those that have not been started.
  uint32_t idle() const;

  // Waits for the threads. Call after cancelling, or after `finished`.
  void Join();

 private:
  void Loop();
  std::unique_ptr<Task> Take();
  void StartThreads(size_t wanted);  // with mutex_ held
  bool Finished() const;             // with mutex_ held

  const uint32_t thread_count_;
  const Hooks hooks_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::vector<std::unique_ptr<Task>> stack_;
  std::deque<std::unique_ptr<Task>> items_;
  std::vector<std::thread> threads_;
  size_t waiting_ = 0;                // threads without a task
  std::atomic<uint32_t> running_{0};  // tasks being run; changed with mutex_ held, so that idle() needs no lock
  size_t held_ = 0;                   // tasks waiting for something outside
  bool ended_ = false;
  bool told_finished_ = false;
  bool closing_ = false;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_SCHEDULER_H_
