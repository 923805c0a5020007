// Finding blocks by a rolling sum; see signatures.h.

#include "signatures.h"

#include <algorithm>
#include <cstring>

#include "../net/bytes.h"
#include "../net/digest.h"

namespace eacopy {
namespace delta {
namespace {

constexpr uint32_t kModulus = 65521;
constexpr size_t kPiece = 256u << 10;
// More of a file is not digested without finding anything: only signatures that were made up need more.
constexpr uint64_t kMostInVain = 64u << 20;

// How many numbers below twice the modulus may be summed up in 32 bits, with some room.
constexpr size_t kUnreduced = 16384;

// Spreads the sums, whose halves are anything but random; the upper bits are the good ones.
uint32_t Spread(uint32_t weak) { return weak * 0x9e3779b1u; }

}  // namespace

uint32_t Adler32(std::string_view bytes) {
  constexpr size_t kLanes = 16, kChunks = 345;  // so many that 32 bits hold the sums
  uint32_t a = 1, b = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  while (left >= kLanes) {
    // A sum for each place in a chunk, and the sum of those after each chunk: the compiler makes registers of them.
    uint32_t sums[kLanes] = {}, sums_of_sums[kLanes] = {};
    const size_t chunks = std::min(left / kLanes, kChunks);
    for (size_t chunk = 0; chunk < chunks; ++chunk, data += kLanes) {
      for (size_t i = 0; i < kLanes; ++i) {
        sums[i] += data[i];
        sums_of_sums[i] += sums[i];
      }
    }
    const size_t size = chunks * kLanes;
    left -= size;
    // A byte counts once for each byte from it on to the end.
    uint64_t weighted = uint64_t{size} * a;
    for (size_t i = 0; i < kLanes; ++i) {
      weighted += uint64_t{kLanes} * sums_of_sums[i] - i * sums[i];
      a += sums[i];
    }
    a %= kModulus;
    b = static_cast<uint32_t>((b + weighted) % kModulus);
  }
  for (; left > 0; --left) {
    a += *data++;
    b += a;
  }
  return b % kModulus << 16 | a % kModulus;
}

BlockSignature SignatureOf(uint32_t salt, std::string_view block) {
  char first[4];
  net::StoreNumber(first, salt);
  net::Md5 md5;
  md5.Update(std::string_view(first, sizeof(first)));
  md5.Update(block);
  BlockSignature signature;
  signature.weak = Adler32(block);
  signature.strong = net::LoadNumber<uint64_t>(reinterpret_cast<const char*>(md5.Finish().data()));
  return signature;
}

static_assert(kBlocksAtOnce == net::kMd5AtOnce);

void SignaturesOf(uint32_t salt, std::string_view blocks, BlockSignature* signatures) {
  const size_t size = blocks.size() / kBlocksAtOnce;
  const char* beginnings[kBlocksAtOnce];
  for (size_t i = 0; i < kBlocksAtOnce; ++i) {
    beginnings[i] = blocks.data() + i * size;
    signatures[i].weak = Adler32(blocks.substr(i * size, size));
  }
  net::Md5Digest digests[kBlocksAtOnce];
  net::Md5OfEight(salt, beginnings, size, digests);
  for (size_t i = 0; i < kBlocksAtOnce; ++i) {
    signatures[i].strong = net::LoadNumber<uint64_t>(reinterpret_cast<const char*>(digests[i].data()));
  }
}

uint32_t Signatures::BlockSizeFor(uint64_t file_size) {
  // With half the size there are twice the signatures to send, and half as much to send anew at each change: the root
  // balances them.
  uint64_t block = 1024;
  while (block < 65536 && block * block < file_size / 16) block *= 2;
  while (block <= kLargestBlock && (file_size + block - 1) / block > kMostBlocks) block *= 2;
  return block <= kLargestBlock ? static_cast<uint32_t>(block) : 0;
}

bool Signatures::IsValid(uint64_t file_size, uint32_t block_size) {
  return block_size >= kSmallestBlock && block_size <= kLargestBlock &&
         file_size / block_size + (file_size % block_size != 0 ? 1 : 0) <= kMostBlocks;
}

BlockFinder::BlockFinder(const Signatures& signatures) : signatures_(signatures), block_size_(signatures.block_size()) {
  const auto& blocks = signatures.blocks();
  full_blocks_ = static_cast<size_t>(signatures.file_size() / block_size_);
  unsigned bits = 10;
  while ((size_t{1} << bits) < 2 * full_blocks_) ++bits;
  table_.resize(size_t{1} << bits);
  table_mask_ = table_.size() - 1;
  table_shift_ = 32 - bits;
  filter_shift_ = 32 - std::min(bits + 4, 31u);
  filter_.resize((size_t{1} << (32 - filter_shift_)) / 64);
  // What the byte that leaves the window takes from the second sum, and the 1 that the first one begins with.
  const auto weight = static_cast<uint32_t>(block_size_ % kModulus);
  for (uint32_t i = 0; i < 256; ++i) leaving_[i] = (256 * kModulus - 1 - weight * i) % kModulus;
  for (size_t i = 0; i < full_blocks_; ++i) {
    const uint32_t spread = Spread(blocks[i].weak);
    size_t place = spread >> table_shift_;
    bool known = false;
    // Of equal blocks one is enough; of those that only look alike a few are.
    for (size_t tries = 0; table_[place] != 0 && !known; place = (place + 1) & table_mask_) {
      const BlockSignature& other = blocks[table_[place] - 1];
      if (other.weak == blocks[i].weak) known = other.strong == blocks[i].strong || ++tries == 8;
    }
    if (known) continue;
    table_[place] = static_cast<uint32_t>(i + 1);
    const uint32_t bit = spread >> filter_shift_;
    filter_[bit / 64] |= uint64_t{1} << (bit % 64);
  }
}

Status BlockFinder::TellBytes(size_t end, const Take& take) {
  if (end == begin_) return Status();
  Status status = TellReused(take);
  while (status.ok() && begin_ < end) {
    Part part;
    part.bytes = std::string_view(buffer_.data() + begin_, std::min(end - begin_, kPiece));
    begin_ += part.bytes.size();
    status = take(part);
  }
  return status;
}

Status BlockFinder::TellReused(const Take& take) {
  if (reused_.length == 0) return Status();
  const Part part = reused_;
  reused_ = Part();
  return take(part);
}

bool BlockFinder::IsBlock(const char* window, size_t length, uint32_t weak, size_t block) {
  const BlockSignature& signature = signatures_.blocks()[block];
  if (signature.weak != weak) return false;
  if (in_vain_ > kMostInVain + found_) return false;
  const bool is = SignatureOf(signatures_.salt(), std::string_view(window, length)).strong == signature.strong;
  (is ? found_ : in_vain_) += length;
  return is;
}

// Whether the windows from here on are the blocks from `first` on, kBlocksAtOnce of them.
bool BlockFinder::AreBlocks(const char* window, size_t first) {
  const BlockSignature* wanted = &signatures_.blocks()[first];
  for (size_t i = 0; i < kBlocksAtOnce; ++i) {
    if (Adler32(std::string_view(window + i * block_size_, block_size_)) != wanted[i].weak) return false;
  }
  BlockSignature found[kBlocksAtOnce];
  SignaturesOf(signatures_.salt(), std::string_view(window, kBlocksAtOnce * block_size_), found);
  return std::equal(found, found + kBlocksAtOnce, wanted,
                    [](const BlockSignature& a, const BlockSignature& b) { return a.strong == b.strong; });
}

bool BlockFinder::FindAt(const char* window, uint32_t weak, size_t* block) {
  size_t place = Spread(weak) >> table_shift_;
  for (; table_[place] != 0; place = (place + 1) & table_mask_) {
    *block = table_[place] - 1;
    if (IsBlock(window, block_size_, weak, *block)) return true;
  }
  return false;
}

// The window at position_ is this block.
Status BlockFinder::Found(size_t block, size_t length, const Take& take) {
  Status status = TellBytes(position_, take);
  const uint64_t offset = uint64_t{block} * block_size_;
  if (status.ok() && reused_.length != 0 && reused_.offset + reused_.length != offset) status = TellReused(take);
  if (reused_.length == 0) reused_.offset = offset;
  reused_.length += length;
  position_ += length;
  begin_ = position_;
  in_a_row_ = block == expected_ ? in_a_row_ + 1 : 0;
  expected_ = block + (length + block_size_ - 1) / block_size_;
  return status;
}

// Looks at all windows that end at or before `end`.
Status BlockFinder::Search(size_t end, const Take& take) {
  const size_t size = block_size_;
  if (full_blocks_ == 0) return Status();
  while (position_ + size <= end) {
    const char* window = buffer_.data() + position_;
    size_t block = expected_;
    if (in_a_row_ >= kBlocksAtOnce && full_blocks_ - expected_ >= kBlocksAtOnce &&
        position_ + kBlocksAtOnce * size <= end && AreBlocks(window, block)) {
      Status status = Found(block, kBlocksAtOnce * size, take);
      if (!status.ok()) return status;
      continue;
    }
    uint32_t weak = Adler32(std::string_view(window, size));
    if (expected_ < full_blocks_ && IsBlock(window, size, weak, expected_)) {
      Status status = Found(block, size, take);
      if (!status.ok()) return status;
      continue;
    }
    // The sums are kept without their modulus, so that none is waited for from one byte to the next: the first is never
    // too large for its bits, the second is brought back now and then.
    const auto* bytes = reinterpret_cast<const unsigned char*>(window);
    uint32_t a = 1, b = weak >> 16;
    for (size_t k = 0; k < size; ++k) a += bytes[k];
    const size_t windows = end - size - position_ + 1;
    size_t i = 0;
    size_t bring_back = kUnreduced;
    bool found = false;
    for (;;) {
      weak = b % kModulus << 16 | a % kModulus;
      const uint32_t bit = Spread(weak) >> filter_shift_;
      if ((filter_[bit / 64] >> (bit % 64) & 1) != 0 && FindAt(window + i, weak, &block)) {
        found = true;
        break;
      }
      if (i + 1 == windows) break;
      const uint32_t out = bytes[i];
      a += bytes[i + size] - out;
      b += a % kModulus + leaving_[out];
      ++i;
      if (i == bring_back) {
        b %= kModulus;
        bring_back += kUnreduced;
      }
    }
    position_ += i;
    if (!found) {
      ++position_;
      return Status();
    }
    Status status = Found(block, size, take);
    if (!status.ok()) return status;
  }
  return Status();
}

Status BlockFinder::Add(std::string_view bytes, const Take& take) {
  while (!bytes.empty()) {
    if (end_ == buffer_.size()) {
      // What was told makes room.
      const size_t kept = end_ - begin_;
      if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, kept);
      position_ -= begin_;
      begin_ = 0;
      end_ = kept;
      if (buffer_.size() < block_size_ + 2 * kPiece) buffer_.resize(block_size_ + 2 * kPiece);
    }
    const size_t some = std::min(bytes.size(), buffer_.size() - end_);
    std::memcpy(buffer_.data() + end_, bytes.data(), some);
    bytes.remove_prefix(some);
    end_ += some;
    Status status = Search(end_, take);
    if (full_blocks_ == 0) position_ = end_;
    // No window that is still to be looked at begins before this.
    if (status.ok() && (position_ - begin_ >= kPiece || end_ == buffer_.size())) status = TellBytes(position_, take);
    if (!status.ok()) return status;
  }
  return Status();
}

Status BlockFinder::Finish(bool last, const Take& take) {
  const size_t tail = static_cast<size_t>(signatures_.file_size() % block_size_);
  Status status;
  if (last && tail > 0 && end_ - begin_ >= tail) {
    const char* window = buffer_.data() + end_ - tail;
    const size_t block = full_blocks_;
    if (IsBlock(window, tail, Adler32(std::string_view(window, tail)), block)) {
      position_ = end_ - tail;
      status = Found(block, tail, take);
    }
  }
  if (status.ok()) status = TellBytes(end_, take);
  if (status.ok()) status = TellReused(take);
  begin_ = position_ = end_ = 0;
  return status;
}

}  // namespace delta
}  // namespace eacopy
