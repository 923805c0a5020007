// Telling what an older version has, and taking from it; see older_version.h.

#include "older_version.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "../ranges.h"

namespace eacopy {
namespace net {

using delta::BlockSignature;
using delta::Signatures;
using platform::FileType;

namespace {

constexpr size_t kPiece = 256 * 1024;
constexpr size_t kBlocksOfMessage = 16 * 1024;
constexpr uint64_t kBlock = 4096;  // that file systems share
// Sharing less costs more than writing it.
constexpr uint64_t kWorthCloning = 128 * 1024;
constexpr uint64_t kClonedPiece = uint64_t{64} << 20;

Status Different(Operation operation) { return Status::Of(Kind::kDeltaCopy, operation, EBUSY); }

bool Stops(const std::atomic<bool>* stopping) {
  return stopping != nullptr && stopping->load(std::memory_order_relaxed);
}

}  // namespace

Status OlderVersion::Open(const platform::Directory& parent, const char* name, bool follow) {
  Status status = platform::OpenSource(parent, name, follow, &handle_, &info_);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenReference);
  if (info_.type == FileType::kDirectory) return Status::FromErrno(EISDIR, Operation::kOpenReference);
  if (info_.type != FileType::kRegular) return Status::FromErrno(0, Operation::kSpecialFile);
  return info_.size == 0 ? Different(Operation::kOpenReference) : Status();
}

bool OlderVersion::IsLike(uint64_t size) const {
  const uint32_t block = Signatures::BlockSizeFor(this->size());
  return block != 0 && this->size() / block * kSignatureSize <= size / 4;
}

template <typename Take>
Status OlderVersion::ReadPieces(const std::atomic<bool>* stopping, size_t piece, Take take) const {
  std::unique_ptr<char[]> buffer(new (std::nothrow) char[piece]);
  if (!buffer) return Status::FromErrno(ENOMEM, Operation::kReadReference);
  for (uint64_t offset = 0; offset < size();) {
    if (Stops(stopping)) return Status::Cancelled();
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(piece, size() - offset));
    size_t got = 0;
    Status status = platform::ReadRange(handle_, Operation::kReadReference, offset, buffer.get(), wanted, &got);
    if (!status.ok()) return status;
    if (got < wanted) return Different(Operation::kReadReference);  // it was cut off
    status = take(std::string_view(buffer.get(), wanted));
    if (!status.ok()) return status;
    offset += wanted;
  }
  return Status();
}

Status OlderVersion::Digest(const std::atomic<bool>* stopping, Md5Digest* md5) const {
  Md5 sum;
  Status status = ReadPieces(stopping, kPiece, [&](std::string_view bytes) {
    sum.Update(bytes);
    return Status();
  });
  *md5 = sum.Finish();
  return status;
}

Status OlderVersion::Compare(const ReferenceDigest& reference, const std::atomic<bool>* stopping) const {
  if (size() != reference.size) return Different(Operation::kReadReference);
  Md5Digest md5;
  Status status = Digest(stopping, &md5);
  if (!status.ok()) return status;
  return md5 == reference.md5 ? Status() : Different(Operation::kReadReference);
}

Status OlderVersion::Read(const std::atomic<bool>* stopping, std::string* content) const {
  try {
    content->reserve(static_cast<size_t>(size()));
  } catch (const std::bad_alloc&) {
    return Status::FromErrno(ENOMEM, Operation::kReadReference);
  }
  return ReadPieces(stopping, kPiece, [&](std::string_view bytes) {
    content->append(bytes);
    return Status();
  });
}

Status OlderVersion::ReadExactly(const ReferenceDigest& reference, const std::atomic<bool>* stopping,
                                 std::string* content) const {
  if (size() != reference.size) return Different(Operation::kReadReference);
  Status status = Read(stopping, content);
  if (!status.ok()) return status;
  Md5 sum;
  sum.Update(*content);
  return sum.Finish() == reference.md5 ? Status() : Different(Operation::kReadReference);
}

Status OlderVersion::TellSignatures(uint32_t index, const std::atomic<bool>* stopping, std::string* out,
                                    const std::function<Status()>& appended) const {
  SignaturesMessage message;
  message.index = index;
  message.block_size = Signatures::BlockSizeFor(size());
  message.file_size = size();
  platform::RandomBytes(&message.salt, sizeof(message.salt));
  std::string blocks;
  uint32_t count = 0;
  auto tell = [&] {
    EncodeSignaturesHead(out, message, count);
    out->append(blocks);
    message.first += count;
    count = 0;
    blocks.clear();
    return appended();
  };
  auto put = [&](const BlockSignature& signature) {
    PutNumber<uint32_t>(&blocks, signature.weak);
    PutNumber<uint64_t>(&blocks, signature.strong);
    ++count;
  };
  // Sizes of blocks are powers of two: pieces are whole blocks, but the last.
  const size_t together = message.block_size * delta::kBlocksAtOnce;
  const size_t piece = std::max<size_t>(message.block_size <= kPiece ? together : message.block_size, kPiece);
  Status status = ReadPieces(stopping, piece, [&](std::string_view bytes) {
    for (; bytes.size() >= together; bytes.remove_prefix(together)) {
      BlockSignature signatures[delta::kBlocksAtOnce];
      delta::SignaturesOf(message.salt, bytes.substr(0, together), signatures);
      for (const BlockSignature& signature : signatures) put(signature);
    }
    while (!bytes.empty()) {
      const std::string_view block = bytes.substr(0, message.block_size);
      put(delta::SignatureOf(message.salt, block));
      bytes.remove_prefix(block.size());
    }
    return count >= kBlocksOfMessage ? tell() : Status();
  });
  return status.ok() && count > 0 ? tell() : status;
}

bool AddSignatures(const SignaturesMessage& message, std::unique_ptr<Signatures>* signatures) {
  if (!*signatures) {
    if (message.file_size == 0 || !Signatures::IsValid(message.file_size, message.block_size)) return false;
    *signatures = std::make_unique<Signatures>(message.file_size, message.block_size, message.salt);
  }
  Signatures& known = **signatures;
  const size_t count = message.blocks.size() / kSignatureSize;
  if (message.file_size != known.file_size() || message.block_size != known.block_size() ||
      message.salt != known.salt() || message.first != known.blocks().size() || count == 0 ||
      count > known.count() - known.blocks().size()) {
    return false;
  }
  Reader reader(message.blocks);
  for (size_t i = 0; i < count; ++i) {
    BlockSignature block;
    block.weak = reader.Take<uint32_t>();
    block.strong = reader.Take<uint64_t>();
    known.Add(block);
  }
  return true;
}

void DeltaArrival::Fail() {
  failed_ = true;
  arrival_.Fail(Different(Operation::kReadReference));
}

bool DeltaArrival::Reuse(const net::Reuse& reuse, const std::atomic<bool>& stopping) {
  if (by_patch_ || reuse.length == 0 || reuse.offset > older_.size() || reuse.length > older_.size() - reuse.offset)
    return false;
  used_ = true;
  uint64_t offset = reuse.offset, length = reuse.length;
  const uint64_t block = std::max<uint64_t>(older_.info().block_size, kBlock);
  if (clones_ && length >= kWorthCloning && offset % block == arrival_.size() % block) {
    // Its whole blocks need not be written.
    const uint64_t head = (block - offset % block) % block;
    Take(offset, head, stopping);
    offset += head;
    length -= head;
    while (clones_ && !failed_ && length >= block) {
      const uint64_t some = std::min(length - length % block, kClonedPiece);
      clones_ = arrival_.Share(older_.handle(), offset, some, stopping);
      if (!clones_) break;
      offset += some;
      length -= some;
    }
  }
  Take(offset, length, stopping);
  if (!failed_) reused_ += reuse.length;
  return true;
}

// Reads and writes it.
void DeltaArrival::Take(uint64_t offset, uint64_t length, const std::atomic<bool>& stopping) {
  if (!buffer_) buffer_.reset(new char[kPiece]);
  for (const uint64_t end = offset + length; offset < end;) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kPiece, end - offset));
    size_t got = 0;
    Status status;
    if (!failed_ && !Stops(&stopping)) {
      status = platform::ReadRange(older_.handle(), Operation::kReadReference, offset, buffer_.get(), wanted, &got);
    }
    if (!status.ok() || got < wanted) {
      Fail();
      arrival_.Skip(end - offset);
      return;
    }
    arrival_.Write(std::string_view(buffer_.get(), wanted));
    offset += wanted;
  }
}

// Refuses what cannot be right before memory is taken for it.
bool DeltaArrival::BeginPatch(uint64_t size, const std::atomic<bool>& stopping) {
  delta::FrameHeader header;
  if (!delta::ReadFrameHeader(head_, &header) || header.dictionary != 0 || (checked_ && !header.has_checksum) ||
      !header.has_content_size || header.content_size != size || older_.size() > kMostPatched || size > kMostPatched) {
    return false;
  }
  has_checksum_ = header.has_checksum;
  frame_ = std::make_unique<delta::FrameReader>();
  return older_.Read(&stopping, &prefix_).ok() && frame_->Begin(prefix_, std::max<uint64_t>(prefix_.size(), size));
}

bool DeltaArrival::Patch(std::string_view bytes, uint64_t size, const std::atomic<bool>& stopping) {
  if (!by_patch_) return false;
  used_ = true;
  if (failed_) return true;
  if (ended_) return bytes.empty();
  if (!frame_) {
    delta::FrameHeader header;
    head_.append(bytes);
    if (head_.size() < delta::kFrameHeaderMaximum && !delta::ReadFrameHeader(head_, &header)) return true;
    if (!BeginPatch(size, stopping)) {
      Fail();
      return true;
    }
    bytes = head_;
  }
  do {
    if (Stops(&stopping) || !frame_->Take(&bytes, kPiece, &content_, &ended_) ||
        content_.size() > size - arrival_.size()) {
      Fail();
      return true;
    }
    arrival_.Write(content_);
  } while (!ended_ && (!bytes.empty() || content_.size() == kPiece));
  if (!ended_) {
    if (!head_.empty()) head_ = std::string();
    return true;
  }
  frame_.reset();
  prefix_ = std::string();
  return bytes.empty();
}

}  // namespace net
}  // namespace eacopy
