// Signatures: what one side tells of a file that the other does not have, so that the other can find in a file of its
// own what both have. For each block of the file a weak sum, which can be rolled along byte by byte, and the beginning
// of a strong digest.
#ifndef EACOPY_SOURCE_DELTA_SIGNATURES_H_
#define EACOPY_SOURCE_DELTA_SIGNATURES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "eacopy/status.h"

namespace eacopy {
namespace delta {

constexpr uint32_t kSmallestBlock = 256;
constexpr uint32_t kLargestBlock = 16u << 20;
// Memory is bounded by the number of blocks: larger files have larger ones.
constexpr uint64_t kMostBlocks = uint64_t{1} << 20;

struct BlockSignature {
  uint32_t weak = 0;    // Adler-32, as in zlib
  uint64_t strong = 0;  // the first 8 bytes of the MD5 of salt and block
};

// The Adler-32 of RFC 1950.
uint32_t Adler32(std::string_view bytes);
// `salt` keeps anybody from preparing contents whose digests are equal.
BlockSignature SignatureOf(uint32_t salt, std::string_view block);
// The same of blocks of one size that follow each other, kBlocksAtOnce of them: several times as fast.
constexpr size_t kBlocksAtOnce = 8;
void SignaturesOf(uint32_t salt, std::string_view blocks, BlockSignature* signatures);

// Of a whole file; the last block may be shorter than the others.
class Signatures {
 public:
  // The size of blocks that suits a file; 0 for one that is too large.
  static uint32_t BlockSizeFor(uint64_t file_size);

  Signatures() = default;
  Signatures(uint64_t file_size, uint32_t block_size, uint32_t salt)
      : file_size_(file_size), block_size_(block_size), salt_(salt) {}
  // Whether such sizes may be used: what a peer says has to be looked at.
  static bool IsValid(uint64_t file_size, uint32_t block_size);

  void Add(const BlockSignature& block) { blocks_.push_back(block); }
  const std::vector<BlockSignature>& blocks() const { return blocks_; }
  uint64_t count() const { return (file_size_ + block_size_ - 1) / block_size_; }
  bool complete() const { return blocks_.size() == count(); }
  uint64_t file_size() const { return file_size_; }
  uint32_t block_size() const { return block_size_; }
  uint32_t salt() const { return salt_; }

 private:
  uint64_t file_size_ = 0;
  uint32_t block_size_ = kSmallestBlock;
  uint32_t salt_ = 0;
  std::vector<BlockSignature> blocks_;
};

// Finds blocks in a stream of bytes, wherever they begin.
class BlockFinder {
 public:
  // A part of the stream: bytes that were not found, 256 KiB at most; or none, and where the other file has what was.
  struct Part {
    std::string_view bytes;
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  using Take = std::function<Status(const Part&)>;

  // `signatures` must be complete, and stay as long as this.
  explicit BlockFinder(const Signatures& signatures);

  // Goes on with what follows; `take` is told of parts as they are known, in order and without gaps.
  Status Add(std::string_view bytes, const Take& take);
  // Nothing follows what was added: the rest is told. `last`: here ends the file, where a shorter block may be found.
  Status Finish(bool last, const Take& take);

 private:
  Status Search(size_t end, const Take& take);
  bool FindAt(const char* window, uint32_t weak, size_t* block);
  bool AreBlocks(const char* window, size_t first);
  bool IsBlock(const char* window, size_t length, uint32_t weak, size_t block);
  Status Found(size_t block, size_t length, const Take& take);
  Status TellBytes(size_t end, const Take& take);
  Status TellReused(const Take& take);

  const Signatures& signatures_;
  const size_t block_size_;
  size_t full_blocks_ = 0;        // that are not shorter
  std::vector<uint64_t> filter_;  // bits of the weak sums that there are
  unsigned filter_shift_ = 0;
  std::vector<uint32_t> table_;  // number of a block + 1, by its weak sum; 0: free
  size_t table_mask_ = 0;
  unsigned table_shift_ = 0;
  uint32_t leaving_[256] = {};
  std::vector<char> buffer_;
  size_t begin_ = 0;     // of what was not told yet, in buffer_
  size_t position_ = 0;  // of the window
  size_t end_ = 0;
  Part reused_;                 // put off, to be told together with what continues it
  size_t in_a_row_ = 0;         // how many were found where they were expected
  size_t expected_ = SIZE_MAX;  // the block after the one that was found last
  uint64_t in_vain_ = 0;        // bytes that were digested without a match
  uint64_t found_ = 0;          // and with one
};

}  // namespace delta
}  // namespace eacopy

#endif  // EACOPY_SOURCE_DELTA_SIGNATURES_H_
