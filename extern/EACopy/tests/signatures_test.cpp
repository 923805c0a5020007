// Finding the blocks of one file in another by their signatures.

#include "delta/signatures.h"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "check.h"
#include "noise.h"

using namespace eacopy;
using namespace eacopy::delta;
using namespace eacopy::test;

namespace {

constexpr uint32_t kSalt = 0x01020304;

Signatures SignaturesOf(std::string_view file, uint32_t block_size) {
  Signatures signatures(file.size(), block_size, kSalt);
  for (size_t at = 0; at < file.size(); at += block_size) {
    signatures.Add(SignatureOf(kSalt, file.substr(at, block_size)));
  }
  return signatures;
}

struct Outcome {
  std::string file;     // put together again
  uint64_t reused = 0;  // bytes
  int stretches = 0;    // of them
};

// Adds `file` in pieces.
Outcome Find(const Signatures& signatures, std::string_view old, std::string_view file, size_t piece) {
  Outcome outcome;
  auto take = [&](const BlockFinder::Part& part) {
    if (part.bytes.empty()) {
      CHECK(part.length > 0 && part.offset + part.length <= old.size());
      outcome.file += old.substr(part.offset, part.length);
      outcome.reused += part.length;
      ++outcome.stretches;
    } else {
      outcome.file += part.bytes;
    }
    return Status();
  };
  BlockFinder finder(signatures);
  for (size_t at = 0; at < file.size(); at += piece) CHECK(finder.Add(file.substr(at, piece), take).ok());
  CHECK(finder.Finish(true, take).ok());
  return outcome;
}

}  // namespace

TEST(SumsAreThoseOfZlibAndMd5) {
  CHECK_EQUAL(Adler32(""), 1u);
  CHECK_EQUAL(Adler32("Wikipedia"), 0x11E60398u);
  CHECK_EQUAL(Adler32(std::string(100000, '\xff')), 0x149a302cu);
  const BlockSignature signature = SignatureOf(kSalt, "abc");
  CHECK_EQUAL(signature.weak, 0x024d0127u);
  CHECK_EQUAL(signature.strong, 0xe9083078bf343361u);
}

TEST(EightAtOnceAreTheSameAsOneByOne) {
  for (const size_t size : {1u, 51u, 52u, 55u, 59u, 60u, 61u, 115u, 116u, 124u, 1024u, 5000u}) {
    const std::string blocks = Noise(size * kBlocksAtOnce, size);
    BlockSignature together[kBlocksAtOnce];
    delta::SignaturesOf(kSalt, blocks, together);
    for (size_t i = 0; i < kBlocksAtOnce; ++i) {
      const BlockSignature one = SignatureOf(kSalt, std::string_view(blocks).substr(i * size, size));
      CHECK_EQUAL(together[i].weak, one.weak);
      CHECK_EQUAL(together[i].strong, one.strong);
    }
  }
}

TEST(SizesOfBlocks) {
  CHECK_EQUAL(Signatures::BlockSizeFor(0), 1024u);
  CHECK_EQUAL(Signatures::BlockSizeFor(uint64_t{64} << 20), 2048u);
  CHECK_EQUAL(Signatures::BlockSizeFor(uint64_t{1} << 40), 1u << 20);
  CHECK_EQUAL(Signatures::BlockSizeFor(uint64_t{1} << 44), 1u << 24);
  CHECK_EQUAL(Signatures::BlockSizeFor(uint64_t{1} << 45), 0u);
  CHECK(Signatures::IsValid(0, 1024) && Signatures::IsValid(uint64_t{1} << 30, 1024));
  CHECK(!Signatures::IsValid((uint64_t{1} << 30) + 1, 1024));
  CHECK(!Signatures::IsValid(UINT64_MAX, kLargestBlock));
  CHECK(!Signatures::IsValid(10, 0) && !Signatures::IsValid(10, kSmallestBlock - 1));
  CHECK(!Signatures::IsValid(10, kLargestBlock + 1));
}

TEST(BlocksAreFoundWhereverTheyAre) {
  const std::string old = Noise(300000 + 123);
  const Signatures signatures = SignaturesOf(old, 1024);
  for (const size_t piece : {size_t{1000}, size_t{65536}, size_t{1} << 20}) {
    Outcome same = Find(signatures, old, old, piece);
    CHECK(same.file == old);
    CHECK_EQUAL(same.reused, old.size());
    CHECK_EQUAL(same.stretches, 1);

    const std::string inserted = old.substr(0, 5000) + "something" + old.substr(5000);
    Outcome outcome = Find(signatures, old, inserted, piece);
    CHECK(outcome.file == inserted);
    CHECK(outcome.reused >= old.size() - 2 * 1024);
    CHECK_EQUAL(outcome.stretches, 2);

    const std::string swapped = old.substr(150000) + old.substr(0, 150000);
    outcome = Find(signatures, old, swapped, piece);
    CHECK(outcome.file == swapped);
    CHECK(outcome.reused >= old.size() - 4 * 1024);

    // Removed from the front, cut off at the end.
    const std::string cut = old.substr(777, 200000);
    outcome = Find(signatures, old, cut, piece);
    CHECK(outcome.file == cut);
    CHECK(outcome.reused >= cut.size() - 2 * 1024);
  }
}

TEST(NothingIsFoundWhereNothingIs) {
  const std::string old = Noise(100000);
  const std::string other = Noise(120000, 5);
  for (const std::string& file : {other, std::string(), std::string("x")}) {
    const Outcome outcome = Find(SignaturesOf(old, 1024), old, file, 4096);
    CHECK(outcome.file == file);
    CHECK_EQUAL(outcome.reused, 0u);
  }
  const Outcome outcome = Find(SignaturesOf("", 1024), "", other, 4096);
  CHECK(outcome.file == other);
}

TEST(ALastShortBlockEndsTheFile) {
  const std::string old = Noise(500);
  const std::string file = Noise(10000, 5) + old;
  Outcome outcome = Find(SignaturesOf(old, 1024), old, file, 4096);
  CHECK(outcome.file == file);
  CHECK_EQUAL(outcome.reused, 500u);
  outcome = Find(SignaturesOf(old, 1024), old, file + "x", 4096);
  CHECK(outcome.file == file + "x");
  CHECK_EQUAL(outcome.reused, 0u);
}

TEST(EditsAtRandom) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::string old = Noise(20000 + random() % 50000, random());
    // Stretches of one byte, whose blocks are all alike.
    if (round % 3 == 0) old.replace(random() % 10000, 5000, 5000, '\0');
    std::string file = old;
    for (unsigned edits = random() % 6; edits > 0 && !file.empty(); --edits) {
      const size_t at = random() % file.size();
      switch (random() % 4) {
        case 0:
          file.insert(at, Noise(random() % 3000, random()));
          break;
        case 1:
          file.erase(at, random() % 3000);
          break;
        case 2:
          file[at] = static_cast<char>(file[at] + 1);
          break;
        default:
          file += file.substr(at, 7000);
      }
    }
    const uint32_t block_size = 256 + random() % 1500;
    const Outcome outcome = Find(SignaturesOf(old, block_size), old, file, 1 + random() % 100000);
    CHECK(outcome.file == file);
  }
}

// Signatures whose weak sums fit everywhere and whose digests never do must not cost a digest for every byte.
TEST(SignaturesThatLieAreGivenUp) {
  Signatures signatures(1u << 20, 1u << 20, kSalt);
  const std::string file(24u << 20, 'x');
  BlockSignature lie = SignatureOf(kSalt, std::string_view(file).substr(0, 1u << 20));
  lie.strong ^= 1;
  signatures.Add(lie);
  std::string got;
  auto take = [&](const BlockFinder::Part& part) {
    got += part.bytes;
    return Status();
  };
  BlockFinder finder(signatures);
  CHECK(finder.Add(file, take).ok());
  CHECK(finder.Finish(true, take).ok());
  CHECK(got == file);
}
