// zstd; see zstd.h. When the library was not there to be linked in, the few functions that are needed are looked up in
// the system's: they have been stable since zstd 1.4.

#include "zstd.h"

#include <new>
#include <utility>

#ifdef EACOPY_LINKED_ZSTD
#include <zstd.h>
#else
#include <dlfcn.h>
extern "C" {
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;
}
#endif

namespace eacopy {
namespace net {
namespace {

#ifdef EACOPY_LINKED_ZSTD
using CompressionContext = ZSTD_CCtx;
using DecompressionContext = ZSTD_DCtx;
#else
using CompressionContext = ZSTD_CCtx_s;
using DecompressionContext = ZSTD_DCtx_s;
#endif

struct Library {
  CompressionContext* (*create_compressor)() = nullptr;
  size_t (*free_compressor)(CompressionContext*) = nullptr;
  size_t (*compress)(CompressionContext*, void*, size_t, const void*, size_t, int) = nullptr;
  size_t (*compress_bound)(size_t) = nullptr;
  DecompressionContext* (*create_decompressor)() = nullptr;
  size_t (*free_decompressor)(DecompressionContext*) = nullptr;
  size_t (*decompress)(DecompressionContext*, void*, size_t, const void*, size_t) = nullptr;
  unsigned (*is_error)(size_t) = nullptr;
  bool complete = false;
};

#ifdef EACOPY_LINKED_ZSTD

Library Load() {
  return {ZSTD_createCCtx,     ZSTD_freeCCtx,   ZSTD_compressCCtx,
          ZSTD_compressBound,  ZSTD_createDCtx, ZSTD_freeDCtx,
          ZSTD_decompressDCtx, ZSTD_isError,    true};
}

#else

template <typename Function>
bool Find(void* handle, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(::dlsym(handle, name));
  return *out != nullptr;
}

Library Load() {
  Library library;
#ifdef __APPLE__
  const char* const names[] = {"libzstd.1.dylib", "/opt/homebrew/lib/libzstd.1.dylib",
                               "/usr/local/lib/libzstd.1.dylib"};
#else
  const char* const names[] = {"libzstd.so.1"};
#endif
  void* handle = nullptr;
  for (const char* name : names) {
    if (handle == nullptr) handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  if (handle == nullptr) return library;
  // It stays open as long as the process lives.
  library.complete =
      Find(handle, "ZSTD_createCCtx", &library.create_compressor) &&
      Find(handle, "ZSTD_freeCCtx", &library.free_compressor) && Find(handle, "ZSTD_compressCCtx", &library.compress) &&
      Find(handle, "ZSTD_compressBound", &library.compress_bound) &&
      Find(handle, "ZSTD_createDCtx", &library.create_decompressor) &&
      Find(handle, "ZSTD_freeDCtx", &library.free_decompressor) &&
      Find(handle, "ZSTD_decompressDCtx", &library.decompress) && Find(handle, "ZSTD_isError", &library.is_error);
  return library;
}

#endif

const Library& TheLibrary() {
  static const Library library = Load();
  return library;
}

}  // namespace

bool ZstdAvailable() { return TheLibrary().complete; }

Compressor::Compressor() = default;

Compressor::~Compressor() {
  if (context_ != nullptr) TheLibrary().free_compressor(static_cast<CompressionContext*>(context_));
}

bool Compressor::Compress(std::string_view content, int level, std::string* out) {
  const Library& library = TheLibrary();
  if (!library.complete) return false;
  if (context_ == nullptr) context_ = library.create_compressor();
  if (context_ == nullptr) return false;
  const size_t before = out->size();
  const size_t bound = library.compress_bound(content.size());
  out->resize(before + bound);
  const size_t size = library.compress(static_cast<CompressionContext*>(context_), &(*out)[before], bound,
                                       content.data(), content.size(), level);
  const bool failed = library.is_error(size) != 0;
  out->resize(before + (failed ? 0 : size));
  return !failed;
}

Decompressor::Decompressor() = default;

Decompressor::~Decompressor() {
  if (context_ != nullptr) TheLibrary().free_decompressor(static_cast<DecompressionContext*>(context_));
}

bool Decompressor::Decompress(std::string_view packed, size_t limit, std::string_view* content) {
  const Library& library = TheLibrary();
  if (!library.complete) return false;
  if (context_ == nullptr) context_ = library.create_decompressor();
  if (context_ == nullptr) return false;
  if (capacity_ < limit || buffer_ == nullptr) {
    buffer_.reset(new (std::nothrow) char[limit == 0 ? 1 : limit]);
    capacity_ = buffer_ ? limit : 0;
    if (!buffer_) return false;
  }
  // In one call into memory of that size: what the frame says of itself is never the reason for an allocation.
  const size_t size = library.decompress(static_cast<DecompressionContext*>(context_), buffer_.get(), limit,
                                         packed.data(), packed.size());
  if (library.is_error(size) != 0) return false;
  *content = std::string_view(buffer_.get(), size);
  return true;
}

}  // namespace net
}  // namespace eacopy
