// zstd frames with a prefix; see frames.h.

#include "frames.h"

#include <algorithm>

#include "../net/bytes.h"
#include "../net/zstd_library.h"

namespace eacopy {
namespace delta {

using net::CompressionContext;
using net::DecompressionContext;
using net::TheZstdLibrary;
using net::ZstdInput;
using net::ZstdLibrary;
using net::ZstdOutput;

namespace {

constexpr uint32_t kMagic = 0xFD2FB528;
constexpr int kWindowLogMinimum = 10;
constexpr int kWindowLogMaximum = sizeof(size_t) >= 8 ? 31 : 30;
constexpr size_t kPiece = 128u << 10;

uint64_t TakeNumber(net::Reader* reader, size_t size) {
  uint64_t number = 0;
  const std::string_view bytes = reader->Bytes(size);
  for (size_t i = bytes.size(); i > 0; --i) number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return number;
}

}  // namespace

bool ReadFrameHeader(std::string_view bytes, FrameHeader* out) {
  *out = FrameHeader();
  net::Reader reader(bytes);
  if (reader.Take<uint32_t>() != kMagic) return false;
  const auto descriptor = reader.Take<uint8_t>();
  if (!reader.ok() || (descriptor & 0x08) != 0) return false;  // reserved
  const bool single_segment = (descriptor & 0x20) != 0;
  if (!single_segment) {
    const auto window = reader.Take<uint8_t>();
    const uint64_t base = uint64_t{1} << (10 + (window >> 3));
    out->window_size = base + base / 8 * (window & 7);
  }
  constexpr size_t kDictionarySizes[] = {0, 1, 2, 4};
  out->dictionary = static_cast<uint32_t>(TakeNumber(&reader, kDictionarySizes[descriptor & 3]));
  const size_t content_sizes[] = {single_segment ? size_t{1} : size_t{0}, 2, 4, 8};
  const size_t size = content_sizes[descriptor >> 6];
  out->has_content_size = size > 0;
  out->content_size = TakeNumber(&reader, size) + (size == 2 ? 256 : 0);
  if (single_segment) out->window_size = out->content_size;
  out->has_checksum = (descriptor & 0x04) != 0;
  return reader.ok();
}

int WindowLog(uint64_t size) {
  int log = kWindowLogMinimum;
  while (log < kWindowLogMaximum && (uint64_t{1} << (log - 1)) < size) ++log;
  return log;
}

FrameWriter::~FrameWriter() {
  if (context_ != nullptr) TheZstdLibrary().free_compressor(static_cast<CompressionContext*>(context_));
}

bool FrameWriter::Begin(std::string_view prefix, uint64_t size, int level) {
  const ZstdLibrary& library = TheZstdLibrary();
  if (!library.complete || context_ != nullptr) return false;
  CompressionContext* context = library.create_compressor();
  if (context == nullptr) return false;
  context_ = context;
  auto set = [&](int parameter, int value) {
    return library.is_error(library.set_compression(context, parameter, value)) == 0;
  };
  return set(net::kZstdLevel, level) && set(net::kZstdWindowLog, WindowLog(std::max<uint64_t>(prefix.size(), size))) &&
         set(net::kZstdLongDistance, 1) && set(net::kZstdContentSize, 1) && set(net::kZstdChecksum, 1) &&
         library.is_error(library.pledge_size(context, size)) == 0 &&
         library.is_error(library.compress_with(context, prefix.data(), prefix.size())) == 0;
}

bool FrameWriter::Add(std::string_view content, bool last, std::string* out) {
  const ZstdLibrary& library = TheZstdLibrary();
  ZstdInput input{content.data(), content.size(), 0};
  for (;;) {
    const size_t before = out->size();
    out->resize(before + kPiece);
    ZstdOutput output{&(*out)[before], kPiece, 0};
    const size_t left = library.compress_some(static_cast<CompressionContext*>(context_), &output, &input,
                                              last ? net::kZstdEnd : net::kZstdContinue);
    out->resize(before + output.pos);
    if (library.is_error(left) != 0) return false;
    if (input.pos == input.size && (!last || left == 0)) return true;
  }
}

FrameReader::~FrameReader() {
  if (context_ != nullptr) TheZstdLibrary().free_decompressor(static_cast<DecompressionContext*>(context_));
}

bool FrameReader::Begin(std::string_view prefix, uint64_t most_window) {
  const ZstdLibrary& library = TheZstdLibrary();
  if (!library.complete || context_ != nullptr) return false;
  DecompressionContext* context = library.create_decompressor();
  if (context == nullptr) return false;
  context_ = context;
  return library.is_error(library.set_decompression(context, net::kZstdWindowLogMax, WindowLog(most_window))) == 0 &&
         library.is_error(library.decompress_with(context, prefix.data(), prefix.size())) == 0;
}

bool FrameReader::Take(std::string_view* packed, size_t room, std::string* out, bool* ended) {
  const ZstdLibrary& library = TheZstdLibrary();
  out->resize(room);
  ZstdInput input{packed->data(), packed->size(), 0};
  ZstdOutput output{&(*out)[0], room, 0};
  const size_t left = library.decompress_some(static_cast<DecompressionContext*>(context_), &output, &input);
  out->resize(output.pos);
  packed->remove_prefix(input.pos);
  *ended = left == 0;
  return library.is_error(left) == 0;
}

}  // namespace delta
}  // namespace eacopy
