// Worker: what a worker thread has of its own.
#ifndef EACOPY_SOURCE_WORKER_H_
#define EACOPY_SOURCE_WORKER_H_

#include <atomic>
#include <cstdint>

#include "eacopy/options.h"
#include "platform.h"

namespace eacopy {

// One worker's share of the counters, so that threads do not fight for a cache line.
struct alignas(64) WorkerCounters {
  std::atomic<uint64_t> files_found{0};
  std::atomic<uint64_t> bytes_found{0};
  std::atomic<uint64_t> files_copied{0};
  std::atomic<uint64_t> symlinks_copied{0};
  std::atomic<uint64_t> directories_created{0};
  std::atomic<uint64_t> bytes_copied{0};
  std::atomic<uint64_t> errors{0};
  std::atomic<uint64_t> retries{0};
  std::atomic<uint64_t> methods[kMethodCount] = {};
  // Through a server, or of a sync.
  std::atomic<uint64_t> files_skipped{0};
  std::atomic<uint64_t> files_linked{0};
  std::atomic<uint64_t> bytes_skipped{0};
  std::atomic<uint64_t> bytes_linked{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> bytes_packed{0};
  std::atomic<uint64_t> bytes_packed_level{0};
  std::atomic<uint64_t> bytes_reused{0};
  std::atomic<uint64_t> bytes_written{0};
  std::atomic<uint64_t> bytes_read{0};
  // Of a sync.
  std::atomic<uint64_t> files_removed{0};
  std::atomic<uint64_t> bytes_removed{0};
  std::atomic<uint64_t> directories_removed{0};
  std::atomic<uint64_t> mismatches{0};

  static void Add(std::atomic<uint64_t>& counter, uint64_t n) { counter.fetch_add(n, std::memory_order_relaxed); }
};

// What a worker thread has of its own.
struct Worker {
  WorkerCounters* counters = nullptr;
  platform::Scratch scratch;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_WORKER_H_
