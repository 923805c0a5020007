// zstd frames made with a prefix: RFC 8878 frames whose matches may reach back into a reference, as those of
// `zstd --patch-from=REFERENCE` do.
#ifndef EACOPY_SOURCE_DELTA_FRAMES_H_
#define EACOPY_SOURCE_DELTA_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

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

// Makes one frame. The prefix must stay where it is until the frame is complete.
class FrameWriter {
 public:
  FrameWriter() = default;
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // `size`: of the content, exactly. False when memory is short or there is no zstd.
  bool Begin(std::string_view prefix, uint64_t size, int level);
  // Appends what the encoder yields; with `last` the end of the frame.
  bool Add(std::string_view content, bool last, std::string* out);

 private:
  void* context_ = nullptr;
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
