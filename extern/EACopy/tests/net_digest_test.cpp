// Digests against published vectors: RFC 1321, FIPS 180-4, RFC 4231, and the check value of CRC-32.

#include <string>

#include "check.h"
#include "net/digest.h"
#include "noise.h"

using namespace eacopy;
using namespace eacopy::net;
using namespace eacopy::test;

namespace {

template <size_t kSize>
std::string Hex(const std::array<uint8_t, kSize>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

template <typename Digest>
std::string HexOf(const std::string& text, size_t piece) {
  Digest digest;
  for (size_t i = 0; i < text.size(); i += piece) digest.Update(std::string_view(text).substr(i, piece));
  return Hex(digest.Finish());
}

// Bit by bit, as the definition says it.
uint32_t SlowCrc(const std::string& text) {
  uint32_t crc = 0xffffffffu;
  for (const char c : text) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

}  // namespace

TEST(Md5IsThatOfRfc1321) {
  for (const size_t piece : {1u, 7u, 64u, 1000u}) {
    CHECK_EQUAL(HexOf<Md5>("", piece), "d41d8cd98f00b204e9800998ecf8427e");
    CHECK_EQUAL(HexOf<Md5>("abc", piece), "900150983cd24fb0d6963f7d28e17f72");
    CHECK_EQUAL(HexOf<Md5>("message digest", piece), "f96b697d7cb7938d525a2f31aaf161d0");
    CHECK_EQUAL(HexOf<Md5>("12345678901234567890123456789012345678901234567890123456789012345678901234567890", piece),
                "57edf4a22be3c955ac49da2e2107b67a");
  }
}

TEST(Sha256IsThatOfFips180) {
  for (const size_t piece : {1u, 7u, 64u, 1000u}) {
    CHECK_EQUAL(HexOf<Sha256>("", piece), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_EQUAL(HexOf<Sha256>("abc", piece), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_EQUAL(HexOf<Sha256>("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", piece),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  }
  CHECK_EQUAL(HexOf<Sha256>(std::string(1000000, 'a'), 4096),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HmacIsThatOfRfc4231) {
  CHECK_EQUAL(Hex(HmacSha256(std::string(20, '\x0b'), "Hi ", "There")),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK_EQUAL(Hex(HmacSha256("Jefe", "what do ya want for nothing?")),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK_EQUAL(Hex(HmacSha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Crc32IsThatOfIso3309) {
  CHECK_EQUAL(Crc32(0, "123456789", 9), 0xcbf43926u);
  CHECK_EQUAL(Crc32(0, "", 0), 0u);
  const std::string noise = Noise(5000);
  for (size_t size = 0; size < 300; ++size) {
    CHECK_EQUAL(Crc32(0, noise.data() + size % 16, size), SlowCrc(noise.substr(size % 16, size)));
  }
  CHECK_EQUAL(Crc32(0, noise.data(), noise.size()), SlowCrc(noise));
  for (const size_t cut : {1u, 63u, 64u, 65u, 1000u, 4999u}) {
    const uint32_t first = Crc32(0, noise.data(), cut);
    CHECK_EQUAL(Crc32(first, noise.data() + cut, noise.size() - cut), SlowCrc(noise));
  }
}

TEST(EqualityLooksAtEveryByte) {
  Sha256Digest a{}, b{};
  CHECK(EqualInConstantTime(a, b));
  for (size_t i = 0; i < b.size(); ++i) {
    b[i] = 0x80;
    CHECK(!EqualInConstantTime(a, b));
    b[i] = 0;
  }
  CHECK(!EqualInConstantTime("ab", 2, "abc", 3));
}
