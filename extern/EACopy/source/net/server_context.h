// ServerContext: what all sessions of a server share.
#ifndef EACOPY_SOURCE_NET_SERVER_CONTEXT_H_
#define EACOPY_SOURCE_NET_SERVER_CONTEXT_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <set>
#include <string>

#include "eacopy/server.h"
#include "history.h"
#include "open_directories.h"
#include "security_file.h"
#include "share.h"

namespace eacopy {
namespace net {

// Sums over all connections.
struct Totals {
  std::atomic<uint64_t> connections{0};
  std::atomic<uint64_t> active_connections{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> files_sent{0};
  std::atomic<uint64_t> files_received{0};
  std::atomic<uint64_t> files_linked{0};
  std::atomic<uint64_t> files_skipped{0};
  std::atomic<uint64_t> bytes_linked{0};
  std::atomic<uint64_t> bytes_skipped{0};
  std::atomic<uint64_t> errors{0};
};

inline void Count(std::atomic<uint64_t>* total, uint64_t amount = 1) {
  total->fetch_add(amount, std::memory_order_relaxed);
}

// Lines for people. When nobody fetches them the oldest go.
class Log {
 public:
  enum Level : int { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40 };

  void Write(Level level, std::string text);
  bool Wait(std::chrono::milliseconds wait, int* level, std::string* text);
  // Nothing more will be written: nobody waits any longer.
  void Close();

 private:
  std::mutex mutex_;
  std::condition_variable written_;
  std::deque<std::pair<Level, std::string>> lines_;
  bool closed_ = false;
};

// Lets so many threads work at a time. A permit is held while a request is worked on, never while waiting for the
// network.
class Gate {
 public:
  explicit Gate(uint32_t permits) : permits_(permits) {}
  void Enter();
  void Leave();

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  uint32_t permits_;
};

// Which file systems refused to clone.
class CloneRefusals {
 public:
  bool Contains(uint64_t device) const;
  void Add(uint64_t device);

 private:
  mutable std::mutex mutex_;
  std::set<uint64_t> devices_;
};

// Directories in which dead temporary files are to be looked for.
class Sweeps {
 public:
  // Each place once in the life of a server.
  void Add(const Place& place);
  bool Take(Place* place);

 private:
  std::mutex mutex_;
  std::set<std::pair<uint32_t, std::string>> known_;
  std::deque<Place> waiting_;
};

struct ServerContext {
  explicit ServerContext(const ServerOptions& server_options)
      : options(server_options), history(server_options.history_size), gate(server_options.thread_count) {}

  // Bit 0 of the Version's flags.
  bool UsesSecurityFile() const {
    return options.security_file && (options.token.empty() || shares.whole_file_system());
  }
  // How many directories one more session may keep open: fewer, the more sessions there are.
  size_t OpenDirectoriesForSession() const;
  ServerStatistics Statistics() const;
  // For people.
  std::string Report() const;

  const ServerOptions options;
  const size_t descriptors = platform::OpenFileBudget();
  Shares shares;
  History history;
  Secrets secrets;
  Totals totals;
  Log log;
  Gate gate;
  CloneRefusals clone_refusals;
  Sweeps sweeps;
  MadeDirectories made_directories;
  std::atomic<bool> stopping{false};
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SERVER_CONTEXT_H_
