// zstd: compressing and decompressing single frames. The library is linked in, or looked for when it is first needed.
#ifndef EACOPY_SOURCE_NET_ZSTD_H_
#define EACOPY_SOURCE_NET_ZSTD_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace eacopy {
namespace net {

// Whether there is a library on this machine; without one everything below fails.
bool ZstdAvailable();

// For one thread at a time. The context is made by the first call and kept.
class Compressor {
 public:
  Compressor();
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // Appends one frame with its content size in the header. False when memory is short, there is no zstd, or `stop`,
  // which may be null, was set meanwhile; *out is then as before.
  bool Compress(std::string_view content, int level, std::string* out, const std::atomic<bool>* stop = nullptr);

 private:
  bool CompressInPieces(std::string_view content, int level, char* out, size_t room, const std::atomic<bool>* stop,
                        size_t* size);

  void* context_ = nullptr;
};

// For one thread at a time.
class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // Decodes all frames in `packed`. False when they are damaged, incomplete, or hold more than `limit` bytes. *content
  // is valid until the next call.
  bool Decompress(std::string_view packed, size_t limit, std::string_view* content);

 private:
  void* context_ = nullptr;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_ZSTD_H_
