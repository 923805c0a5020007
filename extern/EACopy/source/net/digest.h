// Digests: MD5 and SHA-256 as the protocols want them, HMAC-SHA-256, and a fast CRC-32.
#ifndef EACOPY_SOURCE_NET_DIGEST_H_
#define EACOPY_SOURCE_NET_DIGEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace eacopy {
namespace net {

using Md5Digest = std::array<uint8_t, 16>;
using Sha256Digest = std::array<uint8_t, 32>;

class Md5 {
 public:
  void Update(std::string_view bytes);
  Md5Digest Finish();

 private:
  void Block(const uint8_t* data);
  uint32_t state_[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
  uint64_t size_ = 0;
  uint8_t buffer_[64] = {};
};

// The MD5 of eight messages of one size, each of them behind `first` (as 4 bytes, little-endian): in a fraction of the
// time that they would take one after the other.
constexpr size_t kMd5AtOnce = 8;
void Md5OfEight(uint32_t first, const char* const* messages, size_t size, Md5Digest* digests);

class Sha256 {
 public:
  void Update(std::string_view bytes);
  Sha256Digest Finish();

 private:
  void Block(const uint8_t* data);
  uint32_t state_[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                        0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
  uint64_t size_ = 0;
  uint8_t buffer_[64] = {};
};

// Of the concatenation of the two messages.
Sha256Digest HmacSha256(std::string_view key, std::string_view message, std::string_view more = {});

// Takes the same time whatever the difference. Unequal sizes are unequal.
bool EqualInConstantTime(const void* a, size_t a_size, const void* b, size_t b_size);
template <size_t kSize>
bool EqualInConstantTime(const std::array<uint8_t, kSize>& a, const std::array<uint8_t, kSize>& b) {
  return EqualInConstantTime(a.data(), kSize, b.data(), kSize);
}

// CRC-32 as in zlib (ISO 3309): begin with 0, go on with what the last call returned.
uint32_t Crc32(uint32_t crc, const void* data, size_t size);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_DIGEST_H_
