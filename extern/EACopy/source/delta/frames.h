// zstd frames made with a prefix: RFC 8878 frames whose matches may reach back into a reference, as those of
// `zstd --patch-from=REFERENCE` do.
#ifndef EACOPY_SOURCE_DELTA_FRAMES_H_
#define EACOPY_SOURCE_DELTA_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "eacopy/status.h"

namespace eacopy {
namespace delta {

constexpr size_t kFrameHeaderMaximum = 18;

// What the header of a frame says.
struct FrameHeader {
  bool has_content_size = false;
  uint64_t content_size = 0;
  uint64_t window_size = 0;  // memory that decoding needs
  bool has_checksum = false;
  uint32_t dictionary = 0;  // the number of the one that it needs; 0 for none, or a prefix
};

// False where no frame begins, or its header is not all there.
bool ReadFrameHeader(std::string_view bytes, FrameHeader* out);

// The logarithm of a window that holds `size` bytes, as far as there is one.
int WindowLog(uint64_t size);

// Makes one frame.
class FrameWriter {
 public:
  // `size`: of the content, exactly. `owner` keeps the prefix where it is.
  // Indexing the prefix takes half a minute at the highest levels, and nothing interrupts it: once `cancelled` it is
  // left to end in a thread of its own. ENOMEM also where there is no zstd.
  Status Begin(std::shared_ptr<const void> owner, std::string_view prefix, uint64_t size, int level,
               const std::function<bool()>& cancelled);
  // Appends what the encoder yields; with `last` the end of the frame.
  bool Add(std::string_view content, bool last, std::string* out);

 private:
  struct Encoder;

  std::shared_ptr<Encoder> encoder_;
};

// Decodes one frame.
class FrameReader {
 public:
  FrameReader() = default;
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  bool Begin(std::string_view prefix, uint64_t most_window);
  // Takes from the front of *packed, and replaces *out by at most `room` bytes. False: damaged. *ended: the frame is
  // complete, and its checksum right.
  bool Take(std::string_view* packed, size_t room, std::string* out, bool* ended);

 private:
  void* context_ = nullptr;
};

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_FRAMES_H_
