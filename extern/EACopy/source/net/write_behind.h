// WriteBehind: writes a large file in a thread of its own, while the next of its content is received and summed up.
#ifndef EACOPY_SOURCE_NET_WRITE_BEHIND_H_
#define EACOPY_SOURCE_NET_WRITE_BEHIND_H_

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "store.h"

namespace eacopy {
namespace net {

// For one thread beside its own. Memory is bounded: Write waits while too much is still to be written.
class WriteBehind {
 public:
  // Appends to `file`, which nobody else may use until Flush has returned. Throws std::system_error where there can be
  // no further thread.
  explicit WriteBehind(TemporaryFile& file);
  // What is still to be written is dropped.
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  void Write(std::string_view bytes);
  // Waits until all is written; the first failure, if there was one. `file` may be used until the next Write.
  Status Flush();

 private:
  struct Block {
    std::unique_ptr<char[]> data;
    size_t size = 0;
    size_t room = 0;  // as much as ends it where one of its kind begins in the file
  };

  void Loop();
  void HandOver();

  TemporaryFile& file_;
  Block current_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable progress_;
  std::deque<Block> full_;
  std::vector<Block> empty_;
  Status status_;
  bool writing_ = false;
  bool closing_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_WRITE_BEHIND_H_
