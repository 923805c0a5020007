// RemoteJob: a job whose one item goes through a server. What its connections share, and how they are made.
#ifndef EACOPY_SOURCE_NET_REMOTE_JOB_H_
#define EACOPY_SOURCE_NET_REMOTE_JOB_H_

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../job_context.h"
#include "client_channel.h"
#include "eacopy/remote.h"
#include "messages.h"
#include "wire.h"

namespace eacopy {
namespace net {

// A connection that is set up.
struct Session {
  std::unique_ptr<ClientChannel> channel;
  uint32_t flags = 0;  // of the server's Version
  bool extended = false;
  uint32_t capabilities = 0;  // of both sides
  uint32_t advised = 1;       // how many connections the server wants at most
  Opened what = Opened::kDirectory;
  uint32_t made = 0;  // directories, for it
};

class RemoteJob {
 public:
  RemoteJob(JobContext& context, const Remote& remote_server) : job(context), remote(remote_server) {}
  RemoteJob(const RemoteJob&) = delete;
  RemoteJob& operator=(const RemoteJob&) = delete;

  // The one item. `tree`: of a push; of a pull the server knows.
  void SetItem(bool tree, std::string source, std::string destination);
  bool tree() const { return tree_; }
  const std::string& source() const { return source_; }
  const std::string& destination() const { return destination_; }
  // The path of something in the item as the user would write it; "" is the item itself.
  std::string SourcePath(std::string_view path) const;
  std::string DestinationPath(std::string_view path) const;

  // Connects, agrees on a dialect, proves what is asked for. In the extended dialect the directory is open then; in the
  // plain one `net_directory` is, if there is any. *text: what the server said of a failure.
  Status Connect(Worker& worker, uint32_t index, const std::string& net_directory, Session* out, std::string* text);

  // Tells of a failure. `path` is relative to the item; "" with `root`.
  void Fail(Worker& worker, const Status& status, std::string_view path, std::string text = {});
  void FailWhole(Worker& worker, const Status& status, std::string text = {});
  // All connections are to stop, because of one of them.
  void Stop() { stopping_.store(true, std::memory_order_relaxed); }
  bool stopping() const { return stopping_.load(std::memory_order_relaxed) || job.cancelled(); }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

  // Asks the coordinator which of a directory's names to leave out, and waits. False when the job is to stop.
  bool AskFilter(std::string_view path, const platform::Listing& names, std::vector<uint8_t>* leave_out);
  void AnswerFilter(uint64_t ticket, const uint8_t* leave_out);

  // Progress of a file that is begun and finished at once.
  void TellFile(std::string_view path, uint64_t size);

  bool CanRetry(const Status& status, uint32_t tries) const;
  // False when the job is to stop meanwhile.
  bool WaitBeforeRetry() const;

  // The text of the server's greeting; "" as long as there is none.
  std::string server() const;

  // Runs `lane` in further workers, `count` of them at most; WaitForLanes waits for those that were begun, and lets no
  // more begin.
  void StartLanes(uint32_t count, std::function<void(Worker&, uint32_t index)> lane);
  void WaitForLanes();

  JobContext& job;
  const Remote remote;

 private:
  class LaneTask;

  // A pull replaces what is there when all has come, so whatever is there was there before.
  Status WithDestinationState(Status status, const std::string& destination) const;
  Status Greet(Session* session, std::string* transcript, std::string* text);
  Status SetUpExtended(Session* session, uint32_t index, std::string transcript, std::string* text);
  Status SetUpPlain(Session* session, uint32_t index, const std::string& net_directory, std::string* text);
  // False when it cannot be read. `told`: the path that the server told, which may be empty.
  bool ReadSecurityFile(const Guid& guid, std::string_view told, Secret* secret) const;
  Patience MakePatience() const;

  bool tree_ = false;
  std::string source_;
  std::string destination_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  std::string server_;
  Secret secret_{};
  std::map<uint64_t, std::vector<uint8_t>*> filters_;  // asked for, by ticket
  uint64_t next_ticket_ = 1;
  std::condition_variable filter_answered_;
  std::function<void(Worker&, uint32_t)> lane_;
  std::condition_variable lane_ended_;
  uint32_t lanes_running_ = 0;
  uint32_t lanes_made_ = 0;
  bool lanes_closed_ = false;
};

// The task that copies the item.
std::unique_ptr<Task> MakeRemoteTask(RemoteJob& remote);

// What the task does, one for each dialect and direction. The first connection is open.
void Push(RemoteJob& remote, Worker& worker, Session first);
void Pull(RemoteJob& remote, Worker& worker, Session first);
void PushPlain(RemoteJob& remote, Worker& worker, Session first);
void PullPlain(RemoteJob& remote, Worker& worker, Session first);

// For plain v20: asks the first question of a session, which tells whether the server serves the directory at all; over
// new connections when that is wanted.
Status AskFirst(RemoteJob& remote, Worker& worker, const std::string& net_directory, Session* session,
                const std::function<Status(Session*)>& ask);

// For plain v20: the directory that is asked for, and the rest of the path, in the wire's form. False when it cannot be
// said.
bool NetDirectoryOf(const RemoteJob& remote, std::string* net_directory, std::string* rest);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_REMOTE_JOB_H_
