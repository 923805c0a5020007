// Digests; see digest.h.

#include "digest.h"

#include <algorithm>
#include <cstring>

#include "bytes.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define EACOPY_CRC_X86 1
// GCC for Windows does not align what it puts on the stack to more than 16 bytes, and then uses it as if it had.
#if !defined(_WIN32) || defined(__clang__)
#define EACOPY_CRC_X86_WIDE 1
#endif
#include <immintrin.h>
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define EACOPY_CRC_ARM 1
#include <arm_acle.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif
#endif

namespace eacopy {
namespace net {
namespace {

uint32_t RotateLeft(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }
uint32_t RotateRight(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

uint32_t LoadBigEndian(const uint8_t* from) {
  return static_cast<uint32_t>(from[0]) << 24 | static_cast<uint32_t>(from[1]) << 16 |
         static_cast<uint32_t>(from[2]) << 8 | from[3];
}

// Gives `block` whole blocks of 64 bytes, and keeps the rest in `buffer`.
template <typename Block>
void Feed(std::string_view bytes, uint64_t* size, uint8_t* buffer, Block block) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t left = bytes.size();
  if (left == 0) return;
  const size_t kept = *size % 64;
  *size += left;
  if (kept != 0) {
    const size_t taken = std::min(left, 64 - kept);
    std::memcpy(buffer + kept, data, taken);
    if (kept + taken < 64) return;
    block(buffer);
    data += taken;
    left -= taken;
  }
  for (; left >= 64; data += 64, left -= 64) block(data);
  if (left != 0) std::memcpy(buffer, data, left);
}

// Both digests end with a one bit, zeros, and the size in bits.
template <typename Block>
void Pad(uint64_t size, bool big_endian, uint8_t* buffer, Block block) {
  size_t kept = size % 64;
  buffer[kept++] = 0x80;
  if (kept > 56) {
    std::memset(buffer + kept, 0, 64 - kept);
    block(buffer);
    kept = 0;
  }
  std::memset(buffer + kept, 0, 56 - kept);
  const uint64_t bits = size * 8;
  for (int i = 0; i < 8; ++i) buffer[56 + i] = static_cast<uint8_t>(bits >> (big_endian ? 56 - 8 * i : 8 * i));
  block(buffer);
}

// MD5's additive constants: floor(2^32 * |sin(i + 1)|).
constexpr uint32_t kMd5Constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr int kMd5Shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

// SHA-256's: the first 32 bits of the fractions of the cube roots of the first 64 primes.
constexpr uint32_t kSha256Constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// CRC-32
// ---------------------------------------------------------------------------------------------------------------

constexpr uint32_t kCrcPolynomial = 0xedb88320u;  // reflected

// tables[k][b]: what byte b does to the CRC when k more bytes follow it.
struct CrcTables {
  uint32_t tables[16][256];
  constexpr CrcTables() : tables() {
    for (uint32_t b = 0; b < 256; ++b) {
      uint32_t crc = b;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kCrcPolynomial : 0);
      tables[0][b] = crc;
    }
    for (uint32_t b = 0; b < 256; ++b) {
      for (int k = 1; k < 16; ++k) {
        const uint32_t before = tables[k - 1][b];
        tables[k][b] = before >> 8 ^ tables[0][before & 0xff];
      }
    }
  }
};
constexpr CrcTables kCrc;

// These take and return the CRC without the inversions at both ends.
uint32_t CrcByTables(uint32_t crc, const uint8_t* data, size_t size) {
  for (; size >= 16; data += 16, size -= 16) {
    uint32_t next = 0;
    for (int k = 0; k < 4; ++k) {
      uint32_t word = LoadNumber<uint32_t>(reinterpret_cast<const char*>(data) + 4 * k);
      if (k == 0) word ^= crc;
      next ^= kCrc.tables[15 - 4 * k][word & 0xff] ^ kCrc.tables[14 - 4 * k][word >> 8 & 0xff] ^
              kCrc.tables[13 - 4 * k][word >> 16 & 0xff] ^ kCrc.tables[12 - 4 * k][word >> 24];
    }
    crc = next;
  }
  for (; size != 0; ++data, --size) crc = crc >> 8 ^ kCrc.tables[0][(crc ^ *data) & 0xff];
  return crc;
}

#ifdef EACOPY_CRC_X86

// Carry-less multiplication folds 64 bytes at a time: a block of 128 bits that lies n bits before another one is
// multiplied by x^n modulo the polynomial and added to it. The constants are those powers, bit-reflected.
__attribute__((target("pclmul,sse4.1"))) uint32_t CrcByMultiplying(uint32_t crc, const uint8_t* data, size_t size) {
  const __m128i by_512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);  // x^(512-32), x^(512+32)
  const __m128i by_128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);  // x^(128-32), x^(128+32)
  const __m128i by_64 = _mm_set_epi64x(0, 0x163cd6124);             // x^64
  const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
  const __m128i low_32 = _mm_setr_epi32(-1, 0, -1, 0);
  auto load = [](const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); };

  __m128i a = _mm_xor_si128(load(data), _mm_cvtsi32_si128(static_cast<int>(crc)));
  __m128i b = load(data + 16), c = load(data + 32), d = load(data + 48);
  data += 64;
  size -= 64;
#define EACOPY_FOLD(x, by, next) \
  _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00), _mm_clmulepi64_si128(x, by, 0x11)), next)
  for (; size >= 64; data += 64, size -= 64) {
    a = EACOPY_FOLD(a, by_512, load(data));
    b = EACOPY_FOLD(b, by_512, load(data + 16));
    c = EACOPY_FOLD(c, by_512, load(data + 32));
    d = EACOPY_FOLD(d, by_512, load(data + 48));
  }
  a = EACOPY_FOLD(a, by_128, b);
  a = EACOPY_FOLD(a, by_128, c);
  a = EACOPY_FOLD(a, by_128, d);
  for (; size >= 16; data += 16, size -= 16) a = EACOPY_FOLD(a, by_128, load(data));
#undef EACOPY_FOLD
  // From 128 bits to 64, and from there to the 32 of the remainder by Barrett's reduction.
  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_128, 0x10));
  a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_32), by_64, 0x00));
  __m128i quotient = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low_32), barrett, 0x10), low_32);
  a = _mm_xor_si128(a, _mm_clmulepi64_si128(quotient, barrett, 0x00));
  return CrcByTables(static_cast<uint32_t>(_mm_extract_epi32(a, 1)), data, size);
}

#ifdef EACOPY_CRC_X86_WIDE
// The same with 256 bytes at a time, in registers of 512 bits. For 256 bytes and more.
__attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.1"))) uint32_t CrcByWideMultiplying(uint32_t crc,
                                                                                          const uint8_t* data,
                                                                                          size_t size) {
  if (size < 256) return CrcByMultiplying(crc, data, size);
  // Each of the four blocks in a register is folded alike.
  const __m512i by_2048 = _mm512_set4_epi64(0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a);
  const __m512i by_512 = _mm512_set4_epi64(0x1c6e41596, 0x154442bd4, 0x1c6e41596, 0x154442bd4);
  __m512i a =
      _mm512_xor_si512(_mm512_loadu_si512(data), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
  __m512i b = _mm512_loadu_si512(data + 64), c = _mm512_loadu_si512(data + 128), d = _mm512_loadu_si512(data + 192);
  data += 256;
  size -= 256;
#define EACOPY_FOLD(x, by, next) \
  _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, by, 0x00), _mm512_clmulepi64_epi128(x, by, 0x11), next, 0x96)
  for (; size >= 256; data += 256, size -= 256) {
    a = EACOPY_FOLD(a, by_2048, _mm512_loadu_si512(data));
    b = EACOPY_FOLD(b, by_2048, _mm512_loadu_si512(data + 64));
    c = EACOPY_FOLD(c, by_2048, _mm512_loadu_si512(data + 128));
    d = EACOPY_FOLD(d, by_2048, _mm512_loadu_si512(data + 192));
  }
  a = EACOPY_FOLD(a, by_512, b);
  a = EACOPY_FOLD(a, by_512, c);
  a = EACOPY_FOLD(a, by_512, d);
#undef EACOPY_FOLD
  // What is left has the same remainder as all that was folded into it.
  alignas(64) uint8_t folded[64];
  _mm512_store_si512(folded, a);
  crc = CrcByMultiplying(0, folded, sizeof(folded));
  return size >= 64 ? CrcByMultiplying(crc, data, size) : CrcByTables(crc, data, size);
}

bool CanMultiplyWide() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq"); }
#endif

bool CanMultiply() { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }

#elif defined(EACOPY_CRC_ARM)

#ifdef __clang__
__attribute__((target("crc")))
#else
__attribute__((target("+crc")))
#endif
uint32_t
CrcByInstruction(uint32_t crc, const uint8_t* data, size_t size) {
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word;
    std::memcpy(&word, data, sizeof(word));
    crc = __crc32d(crc, word);
  }
  for (; size != 0; ++data, --size) crc = __crc32b(crc, *data);
  return crc;
}

bool HasCrcInstruction() {
#ifdef __linux__
  constexpr unsigned long kHwcapCrc32 = 1ul << 7;
  return (::getauxval(AT_HWCAP) & kHwcapCrc32) != 0;
#else
  return true;  // all of Apple's have it
#endif
}

#endif

using CrcFunction = uint32_t (*)(uint32_t, const uint8_t*, size_t);

// The fastest way for sizes of 64 bytes and more.
CrcFunction ChooseCrc() {
#ifdef EACOPY_CRC_X86
#ifdef EACOPY_CRC_X86_WIDE
  if (CanMultiply() && CanMultiplyWide()) return CrcByWideMultiplying;
#endif
  if (CanMultiply()) return CrcByMultiplying;
#elif defined(EACOPY_CRC_ARM)
  if (HasCrcInstruction()) return CrcByInstruction;
#endif
  return CrcByTables;
}

}  // namespace

void Md5::Block(const uint8_t* data) {
  uint32_t words[16];
  for (int i = 0; i < 16; ++i) words[i] = LoadNumber<uint32_t>(reinterpret_cast<const char*>(data) + 4 * i);
  uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3];
  auto step = [&](uint32_t f, int i, int word) {
    const uint32_t sum = a + f + kMd5Constants[i] + words[word];
    a = d;
    d = c;
    c = b;
    b += RotateLeft(sum, kMd5Shifts[i / 16][i % 4]);
  };
  for (int i = 0; i < 16; ++i) step((b & c) | (~b & d), i, i);
  for (int i = 16; i < 32; ++i) step((d & b) | (~d & c), i, (5 * i + 1) % 16);
  for (int i = 32; i < 48; ++i) step(b ^ c ^ d, i, (3 * i + 5) % 16);
  for (int i = 48; i < 64; ++i) step(c ^ (b | ~d), i, (7 * i) % 16);
  state_[0] += a;
  state_[1] += b;
  state_[2] += c;
  state_[3] += d;
}

void Md5::Update(std::string_view bytes) {
  Feed(bytes, &size_, buffer_, [this](const uint8_t* data) { Block(data); });
}

Md5Digest Md5::Finish() {
  Pad(size_, false, buffer_, [this](const uint8_t* data) { Block(data); });
  Md5Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<uint8_t>(state_[i / 4] >> (8 * (i % 4)));
  return digest;
}

namespace {

// Four numbers in one register, and two of those, so that one is worked on while the other's result is waited for.
using Four = uint32_t __attribute__((vector_size(16)));

struct Eight {
  Four low, high;
};

// One step of MD5 on each: a += f + word + constant, turned left and added to b. `f` is of b, c and d.
template <int kBits, typename Function>
void Step(Function f, Eight* a, const Eight& b, const Eight& c, const Eight& d, const Eight& word, uint32_t constant) {
  const Four added = {constant, constant, constant, constant};
  const Four low = a->low + f(b.low, c.low, d.low) + word.low + added;
  const Four high = a->high + f(b.high, c.high, d.high) + word.high + added;
  a->low = b.low + (low << kBits | low >> (32 - kBits));
  a->high = b.high + (high << kBits | high >> (32 - kBits));
}

template <int kFirst, int kSecond, int kThird, int kFourth, int kStart, int kStride, typename Function>
void Round(int round, Function f, Eight* state, const Eight* words) {
  for (int i = 0; i < 16; i += 4) {
    const uint32_t* constants = kMd5Constants + 16 * round + i;
    auto word = [&](int step) -> const Eight& { return words[(kStart + kStride * (i + step)) % 16]; };
    Step<kFirst>(f, &state[0], state[1], state[2], state[3], word(0), constants[0]);
    Step<kSecond>(f, &state[3], state[0], state[1], state[2], word(1), constants[1]);
    Step<kThird>(f, &state[2], state[3], state[0], state[1], word(2), constants[2]);
    Step<kFourth>(f, &state[1], state[2], state[3], state[0], word(3), constants[3]);
  }
}

// A block of 64 bytes of each message.
void BlockOfEight(const char* const* blocks, Eight* state) {
  Eight words[16];
  for (size_t i = 0; i < 16; ++i) {
    auto load = [&](size_t lane) { return LoadNumber<uint32_t>(blocks[lane] + 4 * i); };
    words[i].low = Four{load(0), load(1), load(2), load(3)};
    words[i].high = Four{load(4), load(5), load(6), load(7)};
  }
  const Eight before[4] = {state[0], state[1], state[2], state[3]};
  Round<7, 12, 17, 22, 0, 1>(
      0, [](const Four& b, const Four& c, const Four& d) { return d ^ (b & (c ^ d)); }, state, words);
  Round<5, 9, 14, 20, 1, 5>(
      1, [](const Four& b, const Four& c, const Four& d) { return c ^ (d & (b ^ c)); }, state, words);
  Round<4, 11, 16, 23, 5, 3>(
      2, [](const Four& b, const Four& c, const Four& d) { return b ^ c ^ d; }, state, words);
  Round<6, 10, 15, 21, 0, 7>(
      3, [](const Four& b, const Four& c, const Four& d) { return c ^ (b | ~d); }, state, words);
  for (int i = 0; i < 4; ++i) {
    state[i].low += before[i].low;
    state[i].high += before[i].high;
  }
}

}  // namespace

void Md5OfEight(uint32_t first, const char* const* messages, size_t size, Md5Digest* digests) {
  constexpr uint32_t kBegin[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
  Eight state[4];
  for (int i = 0; i < 4; ++i) {
    state[i].low = state[i].high = Four{kBegin[i], kBegin[i], kBegin[i], kBegin[i]};
  }
  // `first` stands before the messages: so blocks in the middle begin 4 bytes before a multiple of 64.
  const size_t whole = size + 4;
  const char* blocks[kMd5AtOnce];
  char ends[kMd5AtOnce][128];
  size_t done = 0;
  if (whole >= 64) {
    for (size_t lane = 0; lane < kMd5AtOnce; ++lane) {
      StoreNumber(ends[lane], first);
      std::memcpy(ends[lane] + 4, messages[lane], 60);
      blocks[lane] = ends[lane];
    }
    BlockOfEight(blocks, state);
    for (done = 64; done + 64 <= whole; done += 64) {
      for (size_t lane = 0; lane < kMd5AtOnce; ++lane) blocks[lane] = messages[lane] + done - 4;
      BlockOfEight(blocks, state);
    }
  }
  const size_t left = whole - done;
  const size_t padded = left < 56 ? 64 : 128;
  for (size_t lane = 0; lane < kMd5AtOnce; ++lane) {
    char* end = ends[lane];
    if (done == 0) StoreNumber(end, first);
    const size_t before = done == 0 ? 4 : 0;
    std::memcpy(end + before, messages[lane] + done + before - 4, left - before);
    std::memset(end + left, 0, padded - left);
    end[left] = static_cast<char>(0x80);
    StoreNumber<uint64_t>(end + padded - 8, uint64_t{whole} * 8);
    blocks[lane] = end;
  }
  BlockOfEight(blocks, state);
  if (padded == 128) {
    for (const char*& block : blocks) block += 64;
    BlockOfEight(blocks, state);
  }
  for (size_t lane = 0; lane < kMd5AtOnce; ++lane) {
    for (size_t i = 0; i < 4; ++i) {
      const uint32_t number = lane < 4 ? state[i].low[lane] : state[i].high[lane - 4];
      StoreNumber(reinterpret_cast<char*>(digests[lane].data()) + 4 * i, number);
    }
  }
}

void Sha256::Block(const uint8_t* data) {
  uint32_t words[64];
  for (int i = 0; i < 16; ++i) words[i] = LoadBigEndian(data + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t x = words[i - 15], y = words[i - 2];
    words[i] = words[i - 16] + words[i - 7] + (RotateRight(x, 7) ^ RotateRight(x, 18) ^ x >> 3) +
               (RotateRight(y, 17) ^ RotateRight(y, 19) ^ y >> 10);
  }
  uint32_t s[8];
  std::memcpy(s, state_, sizeof(s));
  for (int i = 0; i < 64; ++i) {
    const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const uint32_t first = s[7] + (RotateRight(s[4], 6) ^ RotateRight(s[4], 11) ^ RotateRight(s[4], 25)) + choice +
                           kSha256Constants[i] + words[i];
    const uint32_t second = (RotateRight(s[0], 2) ^ RotateRight(s[0], 13) ^ RotateRight(s[0], 22)) + majority;
    std::memmove(s + 1, s, 7 * sizeof(s[0]));
    s[4] += first;
    s[0] = first + second;
  }
  for (int i = 0; i < 8; ++i) state_[i] += s[i];
}

void Sha256::Update(std::string_view bytes) {
  Feed(bytes, &size_, buffer_, [this](const uint8_t* data) { Block(data); });
}

Sha256Digest Sha256::Finish() {
  Pad(size_, true, buffer_, [this](const uint8_t* data) { Block(data); });
  Sha256Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

Sha256Digest HmacSha256(std::string_view key, std::string_view message, std::string_view more) {
  char block[64] = {};
  if (key.size() > sizeof(block)) {
    Sha256 shortened;
    shortened.Update(key);
    const Sha256Digest digest = shortened.Finish();
    std::memcpy(block, digest.data(), digest.size());
  } else if (!key.empty()) {
    std::memcpy(block, key.data(), key.size());
  }
  char pad[sizeof(block)];
  for (size_t i = 0; i < sizeof(block); ++i) pad[i] = static_cast<char>(block[i] ^ 0x36);
  Sha256 inner;
  inner.Update(std::string_view(pad, sizeof(pad)));
  inner.Update(message);
  inner.Update(more);
  const Sha256Digest digest = inner.Finish();
  for (size_t i = 0; i < sizeof(block); ++i) pad[i] = static_cast<char>(block[i] ^ 0x5c);
  Sha256 outer;
  outer.Update(std::string_view(pad, sizeof(pad)));
  outer.Update(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
  return outer.Finish();
}

bool EqualInConstantTime(const void* a, size_t a_size, const void* b, size_t b_size) {
  if (a_size != b_size) return false;
  const auto* left = static_cast<const volatile uint8_t*>(a);
  const auto* right = static_cast<const volatile uint8_t*>(b);
  unsigned difference = 0;
  for (size_t i = 0; i < a_size; ++i) difference |= static_cast<unsigned>(left[i] ^ right[i]);
  return difference == 0;
}

uint32_t Crc32(uint32_t crc, const void* data, size_t size) {
  static const CrcFunction for_many = ChooseCrc();
  const auto* bytes = static_cast<const uint8_t*>(data);
  return ~(size >= 64 ? for_many(~crc, bytes, size) : CrcByTables(~crc, bytes, size));
}

}  // namespace net
}  // namespace eacopy
