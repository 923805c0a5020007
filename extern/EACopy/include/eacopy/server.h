// Server: serves copies to clients over TCP, from threads of its own.
//
// Any thread may call the methods. Nothing calls back: the log is fetched.
#ifndef EACOPY_SERVER_H_
#define EACOPY_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eacopy/job.h"
#include "eacopy/status.h"

namespace eacopy {

// How a file that is known is brought to another place. The values are those of enum eac_link_mode.
enum class LinkMode : uint8_t {
  kAuto = 0,  // a clone where the file system can, else a hard link
  kHard = 1,
  kReflink = 2,  // a clone, else a copy
  kNever = 3,
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;          // 0: a free one
  uint32_t thread_count = 4;  // requests that are worked on at the same time
  uint32_t max_connections = 256;
  double idle_timeout = 300;                                // seconds
  std::vector<std::pair<std::string, std::string>> shares;  // names and directories; none: absolute paths
  std::string token;                                        // empty: none
  LinkMode link_mode = LinkMode::kAuto;
  uint64_t link_min_size = 0;  // bytes
  bool link_by_name = false;
  bool use_hash = false;
  bool security_file = true;
  bool compression = true;
  bool delta = true;
  uint64_t history_size = 500000;
  std::string history_file;  // empty: none
};

struct ServerStatistics {
  uint64_t connections = 0;
  uint64_t active_connections = 0;
  uint64_t bytes_sent = 0;  // on the wire
  uint64_t bytes_received = 0;
  uint64_t files_sent = 0;
  uint64_t files_received = 0;
  uint64_t files_linked = 0;
  uint64_t files_skipped = 0;
  uint64_t bytes_linked = 0;
  uint64_t bytes_skipped = 0;
  uint64_t errors = 0;
  uint64_t history_size = 0;
  double uptime = 0;  // seconds
};

class Server {
 public:
  // Returns when it listens. On failure *failure tells why, with the share's directory as its source.
  static std::unique_ptr<Server> Start(const ServerOptions& options, Failure* failure);
  // Stops it.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  ServerStatistics GetStatistics() const;
  // Waits for a line of the log; false when there was none in that time. Levels: 10 debug, 20 info, 30 warning, 40
  // error.
  bool WaitLog(int timeout_milliseconds, int* level, std::string* text);
  // Cuts all connections, removes what is unfinished, and returns when all threads have ended. Once is enough.
  void Stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace eacopy

#endif  // EACOPY_SERVER_H_
