// Little-endian numbers and length-prefixed strings: writing them to a buffer, and reading them without ever leaving
// it.
#ifndef EACOPY_SOURCE_NET_BYTES_H_
#define EACOPY_SOURCE_NET_BYTES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace eacopy {
namespace net {

template <typename Number>
void StoreNumber(char* to, Number number) {
  const auto value = static_cast<std::make_unsigned_t<Number>>(number);
  for (size_t i = 0; i < sizeof(Number); ++i) {
    to[i] = static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  }
}

template <typename Number>
Number LoadNumber(const char* from) {
  std::make_unsigned_t<Number> value = 0;
  for (size_t i = 0; i < sizeof(Number); ++i) {
    value = static_cast<std::make_unsigned_t<Number>>(
        value | static_cast<std::make_unsigned_t<Number>>(static_cast<unsigned char>(from[i])) << (8 * i));
  }
  return static_cast<Number>(value);
}

template <typename Number>
void PutNumber(std::string* out, Number number) {
  char bytes[sizeof(Number)];
  StoreNumber(bytes, number);
  out->append(bytes, sizeof(bytes));
}

// Overwrites what was put before, for counts that are known late.
template <typename Number>
void PutNumberAt(std::string* out, size_t offset, Number number) {
  StoreNumber(&(*out)[offset], number);
}

inline void PutBytes(std::string* out, std::string_view bytes) { out->append(bytes.data(), bytes.size()); }
inline void PutZeros(std::string* out, size_t count) { out->append(count, '\0'); }

// A u16 length and the bytes; at most 65,535.
inline void PutString16(std::string* out, std::string_view text) {
  PutNumber<uint16_t>(out, static_cast<uint16_t>(text.size()));
  PutBytes(out, text);
}

template <size_t kSize>
void PutArray(std::string* out, const std::array<uint8_t, kSize>& bytes) {
  out->append(reinterpret_cast<const char*>(bytes.data()), kSize);
}

// Reads from the front. After the first read beyond the end everything is zero and empty, and ok() false for good.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // All was there, and nothing is left over.
  bool complete() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

  std::string_view Bytes(size_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      rest_ = std::string_view();
      return std::string_view();
    }
    std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }
  template <typename Number>
  Number Take() {
    const std::string_view bytes = Bytes(sizeof(Number));
    return bytes.size() == sizeof(Number) ? LoadNumber<Number>(bytes.data()) : Number();
  }
  std::string_view String16() { return Bytes(Take<uint16_t>()); }
  std::string_view String32() { return Bytes(Take<uint32_t>()); }
  template <size_t kSize>
  std::array<uint8_t, kSize> Array() {
    std::array<uint8_t, kSize> array{};
    const std::string_view bytes = Bytes(kSize);
    if (bytes.size() == kSize) std::memcpy(array.data(), bytes.data(), kSize);
    return array;
  }
  void Skip(size_t count) { Bytes(count); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_BYTES_H_
