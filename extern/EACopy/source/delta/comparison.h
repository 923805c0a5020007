// Comparison: which blocks of a stride of one file another one has too, at a distance that is given. The next stride is
// compared at the same time, in a thread of its own: reading is what takes the time, and one thread cannot read from
// memory as fast as the machine can.
#ifndef EACOPY_SOURCE_DELTA_COMPARISON_H_
#define EACOPY_SOURCE_DELTA_COMPARISON_H_

#include <bitset>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "../platform.h"

namespace eacopy {
namespace delta {

// The unit in which changes in place are told apart: that of file systems' blocks.
constexpr size_t kBlock = 4096;
constexpr size_t kStride = 1u << 20;  // the longest

struct Files {
  Status ReadSource(uint64_t offset, size_t size, std::string* out) const;
  // What lies outside of the reference is like nothing.
  Status ReadReference(int64_t offset, size_t size, std::string* out) const;

  const platform::Handle& source;
  const platform::Handle& reference;
  uint64_t reference_size;
};

struct Stride {
  uint64_t position = 0;  // in the source
  int64_t shift = 0;      // what lies at `position` is expected at `position + shift` of the reference
  size_t wanted = 0;
  Status status;
  size_t size = 0;                      // less than wanted where the source ends
  uint64_t read = 0;                    // bytes, of both files
  std::bitset<kStride / kBlock> equal;  // the last block may be a short one
};

class Comparison {
 public:
  // With `ahead` there is a second thread, if there can be one.
  Comparison(const Files& files, bool ahead);
  ~Comparison();
  Comparison(const Comparison&) = delete;
  Comparison& operator=(const Comparison&) = delete;

  // The `size` bytes at `position`, or as many as there are before `end`; valid until the next call. The longest are
  // taken for some of many: the next is begun already.
  const Stride& Compare(uint64_t position, size_t size, uint64_t end, int64_t shift);

  // Of both files, so far.
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  struct Work {
    Stride stride;
    std::string ours;
    std::string theirs;
  };

  void Run(Work* work) const;
  void Loop();
  void Ask(uint64_t position, size_t size, int64_t shift);
  bool Asked(uint64_t position, size_t size, int64_t shift);

  const Files files_;
  uint64_t bytes_read_ = 0;
  Work now_;
  Work next_;  // the other thread's, while it is `asked_`
  bool has_next_ = false;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  bool asked_ = false;
  bool closing_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_COMPARISON_H_
