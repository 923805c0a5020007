// Job: copies files and trees with worker threads, and tells one coordinating thread about it.
//
// The coordinator adds items, waits for news, takes what there is and answers filter requests; it alone calls the
// methods, except Cancel and GetCounters, which any thread may call. Workers never call out of the engine.
#ifndef EACOPY_JOB_H_
#define EACOPY_JOB_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eacopy/delta.h"
#include "eacopy/options.h"
#include "eacopy/remote.h"
#include "eacopy/status.h"
#include "eacopy/sync.h"

namespace eacopy {

// A failure with the paths it belongs to, as the user would write them.
struct Failure {
  Status status;
  std::string source;
  std::string destination;
  bool root = true;  // the item itself failed, not something inside a tree
  std::string text;  // what the peer said about it
};

struct Counters {
  uint64_t files_found = 0;
  uint64_t bytes_found = 0;
  uint64_t files_copied = 0;
  uint64_t symlinks_copied = 0;
  uint64_t directories_created = 0;
  uint64_t files_skipped = 0;
  uint64_t bytes_copied = 0;
  uint64_t errors = 0;
  uint64_t retries = 0;
  uint64_t methods[kMethodCount] = {};
  uint64_t bytes_reused = 0;  // of deltas: taken from the reference
  uint64_t bytes_written = 0;
  uint64_t bytes_read = 0;
  uint64_t files_linked = 0;  // through a server, or of a sync
  uint64_t bytes_linked = 0;
  uint64_t bytes_skipped = 0;
  uint64_t bytes_sent = 0;  // on the wire, through a server, as all below
  uint64_t bytes_received = 0;
  uint64_t bytes_packed = 0;        // content that went compressed
  uint64_t bytes_packed_level = 0;  // the sum of its bytes' zstd levels
  uint64_t files_removed = 0;       // of a sync, as all below
  uint64_t bytes_removed = 0;
  uint64_t directories_removed = 0;
  uint64_t mismatches = 0;  // files where a directory is to go, and the reverse
};

// Progress records in columns; see eac_progress in the C header for how to read them.
struct Progress {
  std::vector<uint64_t> copied;
  std::vector<uint64_t> total;
  std::vector<uint8_t> first;
  std::string paths;  // each ended by NUL

  size_t count() const { return copied.size(); }
  void Clear();
};

// A directory whose names wait to be thinned out.
struct FilterRequest {
  uint64_t ticket = 0;
  std::string directory;
  std::string names;  // each ended by NUL
  size_t count = 0;
};

enum class ItemType : uint8_t { kFile = 0, kTree = 1 };

enum News : int { kNewsProgress = 1, kNewsFilter = 2, kNewsError = 4, kNewsRoom = 8, kNewsDone = 16, kNewsAction = 32 };

class Job {
 public:
  explicit Job(const Options& options);
  // For one item that is copied through a server. A pull is a tree if the server says so.
  Job(const Options& options, const Remote& remote);
  // For files that are made with the help of a reference.
  Job(const Options& options, Delta delta);
  // Brings its items up to date.
  Job(const Options& options, Sync sync);
  // Cancels what still runs and waits for the threads.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // False when the queue is full: wait for kNewsRoom and call again.
  bool Add(ItemType type, const char* source, const char* destination);
  // No more items will come.
  void End();
  // Waits until there is news or the time is over. Returns the bits of News.
  int Wait(int timeout_milliseconds);

  // Each replaces *out and returns whether there was something to take.
  bool TakeProgress(Progress* out);
  bool TakeFilter(FilterRequest* out);
  bool TakeFailure(Failure* out);
  bool TakeActions(Actions* out);
  // One byte a name; not 0 leaves the name out.
  void AnswerFilter(uint64_t ticket, const uint8_t* leave_out);

  void Cancel();
  Counters GetCounters() const;
  // The text with which the server greeted; "" when there is none, or none was reached. For the coordinator.
  std::string Server() const;
  // What a sync could not keep of files, and how often: lines, each ended by NUL. For the coordinator, at the end.
  std::string NotKept() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace eacopy

#endif  // EACOPY_JOB_H_
