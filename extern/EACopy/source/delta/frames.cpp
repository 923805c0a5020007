// zstd frames with a prefix; see frames.h.

#include "frames.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

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
constexpr size_t kLongToIndex = 1u << 20;
constexpr std::chrono::milliseconds kPatience(10);

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

// What a thread that is left behind still needs.
struct FrameWriter::Encoder {
  Encoder() : context(TheZstdLibrary().create_compressor()) {}
  ~Encoder() {
    if (context != nullptr) TheZstdLibrary().free_compressor(context);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  bool Set(std::string_view with, uint64_t size, int level) {
    const ZstdLibrary& library = TheZstdLibrary();
    auto set = [&](int parameter, int value) {
      return library.is_error(library.set_compression(context, parameter, value)) == 0;
    };
    return context != nullptr && set(net::kZstdLevel, level) &&
           set(net::kZstdWindowLog, WindowLog(std::max<uint64_t>(with.size(), size))) &&
           set(net::kZstdLongDistance, 1) && set(net::kZstdContentSize, 1) && set(net::kZstdChecksum, 1) &&
           library.is_error(library.pledge_size(context, size)) == 0 &&
           library.is_error(library.compress_with(context, with.data(), with.size())) == 0;
  }

  bool Add(std::string_view content, int directive, std::string* out) {
    const ZstdLibrary& library = TheZstdLibrary();
    ZstdInput input{content.data(), content.size(), 0};
    for (;;) {
      const size_t before = out->size();
      out->resize(before + kPiece);
      ZstdOutput output{&(*out)[before], kPiece, 0};
      const size_t left = library.compress_some(context, &output, &input, directive);
      out->resize(before + output.pos);
      if (library.is_error(left) != 0) return false;
      if (input.pos == input.size && (directive != net::kZstdEnd || left == 0)) return true;
    }
  }

  // The prefix is indexed with the first call, whatever it brings.
  void Index() {
    const bool indexed = Add({}, net::kZstdContinue, &head);
    std::lock_guard<std::mutex> lock(mutex);
    ok = indexed;
    done = true;
    ended.notify_one();
  }

  CompressionContext* const context;
  std::shared_ptr<const void> prefix;
  std::string head;  // what came of the frame before any content
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  bool ok = false;
};

Status FrameWriter::Begin(std::shared_ptr<const void> owner, std::string_view prefix, uint64_t size, int level,
                          const std::function<bool()>& cancelled) {
  const Status out_of_memory = Status::FromErrno(ENOMEM, Operation::kStart);
  if (!TheZstdLibrary().complete) return out_of_memory;
  encoder_ = std::make_shared<Encoder>();
  encoder_->prefix = std::move(owner);
  if (!encoder_->Set(prefix, size, level)) return out_of_memory;
  if (prefix.size() < kLongToIndex) return Status();
  try {
    std::thread([encoder = encoder_] { encoder->Index(); }).detach();
  } catch (const std::system_error&) {
    return Status();  // then it is indexed with the first content, and nothing can be done about it
  }
  std::unique_lock<std::mutex> lock(encoder_->mutex);
  while (!encoder_->ended.wait_for(lock, kPatience, [this] { return encoder_->done; })) {
    if (!cancelled()) continue;
    lock.unlock();
    encoder_.reset();
    return Status::Cancelled();
  }
  return encoder_->ok ? Status() : out_of_memory;
}

bool FrameWriter::Add(std::string_view content, bool last, std::string* out) {
  out->append(encoder_->head);
  encoder_->head.clear();
  return encoder_->Add(content, last ? net::kZstdEnd : net::kZstdContinue, out);
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
