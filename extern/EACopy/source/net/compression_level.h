// CompressionLevel: adapts zstd's level to the wire. While the wire is the slower of the two there is time to compress
// harder.
#ifndef EACOPY_SOURCE_NET_COMPRESSION_LEVEL_H_
#define EACOPY_SOURCE_NET_COMPRESSION_LEVEL_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace eacopy {
namespace net {

// For one thread at a time.
class CompressionLevel {
 public:
  using Duration = std::chrono::steady_clock::duration;

  // The level for so many bytes; 0: send them as they are. `behind`: the wire has not taken what was sent before.
  int Next(size_t size, bool behind = false);
  // What became of them: how large they were then, how long compressing took, and how long the socket made us wait.
  void Sent(int level, size_t size, size_t sent_size, Duration compressing, Duration waiting, bool behind = false);

 private:
  int level_ = 3;
  int idle_frames_ = 0;          // in a row, that the wire was faster than
  bool was_behind_ = false;      // the wire, at least once
  uint64_t raw_left_ = 0;        // bytes to send as they are
  uint64_t raw_after_next_ = 0;  // how many more after the next that cannot be compressed
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_COMPRESSION_LEVEL_H_
