// zstd; see zstd.h. When the library was not there to be linked in, the few functions that are needed are looked up in
// the system's: they have been stable since zstd 1.4.

#include "zstd.h"

#include <algorithm>
#include <new>
#include <utility>

#include "zstd_library.h"

#if !defined(EACOPY_LINKED_ZSTD) && !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace eacopy {
namespace net {
namespace {

#ifdef EACOPY_LINKED_ZSTD

size_t SetCompression(CompressionContext* context, int parameter, int value) {
  return ZSTD_CCtx_setParameter(context, static_cast<ZSTD_cParameter>(parameter), value);
}

size_t SetDecompression(DecompressionContext* context, int parameter, int value) {
  return ZSTD_DCtx_setParameter(context, static_cast<ZSTD_dParameter>(parameter), value);
}

size_t CompressSome(CompressionContext* context, ZstdOutput* output, ZstdInput* input, int directive) {
  return ZSTD_compressStream2(context, output, input, static_cast<ZSTD_EndDirective>(directive));
}

ZstdLibrary Load() {
  ZstdLibrary library;
  library.create_compressor = ZSTD_createCCtx;
  library.free_compressor = ZSTD_freeCCtx;
  library.compress = ZSTD_compressCCtx;
  library.compress_bound = ZSTD_compressBound;
  library.create_decompressor = ZSTD_createDCtx;
  library.free_decompressor = ZSTD_freeDCtx;
  library.decompress = ZSTD_decompressDCtx;
  library.is_error = ZSTD_isError;
  library.set_compression = SetCompression;
  library.pledge_size = ZSTD_CCtx_setPledgedSrcSize;
  library.compress_with = ZSTD_CCtx_refPrefix;
  library.compress_some = CompressSome;
  library.set_decompression = SetDecompression;
  library.decompress_with = ZSTD_DCtx_refPrefix;
  library.decompress_some = ZSTD_decompressStream;
  library.complete = true;
  return library;
}

#elif defined(_WIN32)

// Nobody has a library there that could be found.
ZstdLibrary Load() { return ZstdLibrary(); }

#else

template <typename Function>
bool Find(void* handle, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(::dlsym(handle, name));
  return *out != nullptr;
}

ZstdLibrary Load() {
  ZstdLibrary library;
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
      Find(handle, "ZSTD_decompressDCtx", &library.decompress) && Find(handle, "ZSTD_isError", &library.is_error) &&
      Find(handle, "ZSTD_CCtx_setParameter", &library.set_compression) &&
      Find(handle, "ZSTD_CCtx_setPledgedSrcSize", &library.pledge_size) &&
      Find(handle, "ZSTD_CCtx_refPrefix", &library.compress_with) &&
      Find(handle, "ZSTD_compressStream2", &library.compress_some) &&
      Find(handle, "ZSTD_DCtx_setParameter", &library.set_decompression) &&
      Find(handle, "ZSTD_DCtx_refPrefix", &library.decompress_with) &&
      Find(handle, "ZSTD_decompressStream", &library.decompress_some);
  return library;
}

#endif

// Up to this level a frame takes no longer than anybody may wait.
constexpr int kQuick = 9;
constexpr size_t kPiece = 128 * 1024;  // a block

}  // namespace

const ZstdLibrary& TheZstdLibrary() {
  static const ZstdLibrary library = Load();
  return library;
}

bool ZstdAvailable() { return TheZstdLibrary().complete; }

Compressor::Compressor() = default;

Compressor::~Compressor() {
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): only a complete library makes contexts
  if (context_ != nullptr) TheZstdLibrary().free_compressor(static_cast<CompressionContext*>(context_));
}

// So that nobody has to wait for the highest levels, which take a second for a frame.
bool Compressor::CompressInPieces(std::string_view content, int level, char* out, size_t room,
                                  const std::atomic<bool>* stop, size_t* size) {
  const ZstdLibrary& library = TheZstdLibrary();
  auto* context = static_cast<CompressionContext*>(context_);
  bool ok = library.is_error(library.set_compression(context, kZstdLevel, level)) == 0 &&
            library.is_error(library.pledge_size(context, content.size())) == 0;
  ZstdOutput output = {out, room, 0};
  ZstdInput input = {content.data(), 0, 0};
  for (size_t left = 1; ok && left != 0;) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) {
      ok = false;
      break;
    }
    input.size = std::min(input.size + kPiece, content.size());
    const bool last = input.size == content.size();
    left = library.compress_some(context, &output, &input, last ? kZstdEnd : kZstdContinue);
    ok = library.is_error(left) == 0 && (output.pos < room || (last && left == 0));
    if (!last) left = 1;
  }
  *size = output.pos;
  if (ok) return true;
  library.free_compressor(context);  // it is in the middle of a frame
  context_ = nullptr;
  return false;
}

bool Compressor::Compress(std::string_view content, int level, std::string* out, const std::atomic<bool>* stop) {
  const ZstdLibrary& library = TheZstdLibrary();
  if (!library.complete) return false;
  if (context_ == nullptr) context_ = library.create_compressor();
  if (context_ == nullptr) return false;
  const size_t before = out->size();
  const size_t bound = library.compress_bound(content.size());
  out->resize(before + bound);
  size_t size = 0;
  bool failed = false;
  if (level > kQuick && content.size() > kPiece) {
    failed = !CompressInPieces(content, level, &(*out)[before], bound, stop, &size);
  } else {
    size = library.compress(static_cast<CompressionContext*>(context_), &(*out)[before], bound, content.data(),
                            content.size(), level);
    failed = library.is_error(size) != 0;
  }
  out->resize(before + (failed ? 0 : size));
  return !failed;
}

Decompressor::Decompressor() = default;

Decompressor::~Decompressor() {
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): only a complete library makes contexts
  if (context_ != nullptr) TheZstdLibrary().free_decompressor(static_cast<DecompressionContext*>(context_));
}

bool Decompressor::Decompress(std::string_view packed, size_t limit, std::string_view* content) {
  const ZstdLibrary& library = TheZstdLibrary();
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
