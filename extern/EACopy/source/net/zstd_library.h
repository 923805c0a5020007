// The functions of libzstd that are used: those of the library that was linked in, or of the system's. They have been
// stable since zstd 1.4.
#ifndef EACOPY_SOURCE_NET_ZSTD_LIBRARY_H_
#define EACOPY_SOURCE_NET_ZSTD_LIBRARY_H_

#include <cstddef>

#ifdef EACOPY_LINKED_ZSTD
#include <zstd.h>
#else
// What zstd.h declares, as far as it is needed, under its names. NOLINTBEGIN(readability-identifier-naming)
extern "C" {
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;
struct ZSTD_inBuffer_s {
  const void* src;
  size_t size;
  size_t pos;
};
struct ZSTD_outBuffer_s {
  void* dst;
  size_t size;
  size_t pos;
};
}
// NOLINTEND(readability-identifier-naming)
#endif

namespace eacopy {
namespace net {

using CompressionContext = ZSTD_CCtx_s;
using DecompressionContext = ZSTD_DCtx_s;
using ZstdInput = ZSTD_inBuffer_s;
using ZstdOutput = ZSTD_outBuffer_s;

// ZSTD_cParameter, ZSTD_dParameter and ZSTD_EndDirective.
constexpr int kZstdLevel = 100;
constexpr int kZstdWindowLog = 101;
constexpr int kZstdLongDistance = 160;
constexpr int kZstdContentSize = 200;
constexpr int kZstdChecksum = 201;
constexpr int kZstdWindowLogMax = 100;
constexpr int kZstdContinue = 0;
constexpr int kZstdEnd = 2;

struct ZstdLibrary {
  CompressionContext* (*create_compressor)() = nullptr;
  size_t (*free_compressor)(CompressionContext*) = nullptr;
  size_t (*compress)(CompressionContext*, void*, size_t, const void*, size_t, int) = nullptr;
  size_t (*compress_bound)(size_t) = nullptr;
  DecompressionContext* (*create_decompressor)() = nullptr;
  size_t (*free_decompressor)(DecompressionContext*) = nullptr;
  size_t (*decompress)(DecompressionContext*, void*, size_t, const void*, size_t) = nullptr;
  unsigned (*is_error)(size_t) = nullptr;
  // Streams with a prefix.
  size_t (*set_compression)(CompressionContext*, int, int) = nullptr;
  size_t (*pledge_size)(CompressionContext*, unsigned long long) = nullptr;
  size_t (*compress_with)(CompressionContext*, const void*, size_t) = nullptr;
  size_t (*compress_some)(CompressionContext*, ZstdOutput*, ZstdInput*, int) = nullptr;
  size_t (*set_decompression)(DecompressionContext*, int, int) = nullptr;
  size_t (*decompress_with)(DecompressionContext*, const void*, size_t) = nullptr;
  size_t (*decompress_some)(DecompressionContext*, ZstdOutput*, ZstdInput*) = nullptr;
  bool complete = false;
};

const ZstdLibrary& TheZstdLibrary();

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_ZSTD_LIBRARY_H_
