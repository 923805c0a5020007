// One connection in plain v20; see plain_client.h.

#include "plain_client.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace eacopy {
namespace net {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kRawChunk = 256 * 1024;
constexpr size_t kReceiveAtOnce = 256 * 1024;
constexpr uint32_t kMaxListing = 256u << 20;

Status Unsayable() { return Status::Of(Kind::kEncoding, Operation::kSend, EILSEQ); }

}  // namespace

Status PlainClient::ReceiveByte(uint8_t* byte) {
  Status status = Need(1);
  if (!status.ok()) return status;
  *byte = static_cast<uint8_t>(session_.channel->bytes()[0]);
  session_.channel->Consume(1);
  return status;
}

Status PlainClient::ReceiveNumber(uint64_t* number) {
  Status status = Need(8);
  if (!status.ok()) return status;
  *number = LoadNumber<uint64_t>(session_.channel->bytes().data());
  session_.channel->Consume(8);
  return status;
}

Status PlainClient::SendByte(uint8_t byte) {
  out().push_back(static_cast<char>(byte));
  return session_.channel->Need(0);
}

Status PlainClient::CreateDirectory(std::string_view path, uint8_t* answer) {
  if (!wire::EncodePathCommand(&out(), wire::Command::kCreateDir, path)) return Unsayable();
  return ReceiveByte(answer);
}

Status PlainClient::GetFileInfo(std::string_view path, wire::FoundInfo* out_info) {
  if (!wire::EncodePathCommand(&out(), wire::Command::kGetFileInfo, path)) return Unsayable();
  Status status = Need(32);
  if (!status.ok()) return status;
  const bool decoded = wire::DecodeFoundInfo(session_.channel->bytes().substr(0, 32), out_info);
  session_.channel->Consume(32);
  return decoded ? Status() : Violation();
}

Status PlainClient::FindFiles(std::string_view pattern, std::vector<wire::FoundFile>* found_files, bool* found) {
  *found = false;
  if (!wire::EncodePathCommand(&out(), wire::Command::kFindFiles, pattern)) return Unsayable();
  uint64_t total = 0;
  for (bool first = true;; first = false) {
    Status status = Need(4);
    if (!status.ok()) return status;
    const uint32_t size = LoadNumber<uint32_t>(session_.channel->bytes().data());
    session_.channel->Consume(4);
    if (size == wire::kListingFailed && first) return Status();
    if (size == 0) {
      // EACopy's own server ends the listing of an empty directory twice: with an empty block, and as all others.
      if (first && !ours()) {
        status = Need(4);
        if (!status.ok()) return status;
        if (LoadNumber<uint32_t>(session_.channel->bytes().data()) != 0) return Violation();
        session_.channel->Consume(4);
      }
      *found = true;
      return Status();
    }
    total += size;
    if (size > kMaxListing || total > kMaxListing) return Violation();
    status = Need(size);
    if (!status.ok()) return status;
    if (!wire::DecodeFoundFiles(session_.channel->bytes().substr(0, size), found_files)) return Violation();
    session_.channel->Consume(size);
  }
}

Status PlainClient::AskToWrite(const wire::WriteFile& write, wire::WriteAnswer* answer) {
  if (!wire::EncodeWriteFile(&out(), write)) return Unsayable();
  uint8_t byte = 0;
  Status status = ReceiveByte(&byte);
  if (status.ok() && byte > static_cast<uint8_t>(wire::WriteAnswer::kBadDestination)) return Violation();
  *answer = static_cast<wire::WriteAnswer>(byte);
  return status;
}

Status PlainClient::SendHash(const Md5Digest& digest, uint8_t* answer) {
  PutArray(&out(), digest);
  return ReceiveByte(answer);
}

Status PlainClient::AskToRead(const wire::ReadFile& read, uint8_t* answer) {
  if (!wire::EncodeReadFile(&out(), read)) return Unsayable();
  Status status = ReceiveByte(answer);
  if (status.ok() && *answer > static_cast<uint8_t>(wire::ReadAnswer::kBadSource)) return Violation();
  return status;
}

Status PlainClient::SendBody(uint64_t size, int level, const Read& read, const std::function<void(uint64_t)>& sent) {
  ClientChannel& channel = *session_.channel;
  if (!buffer_) buffer_.reset(new char[wire::kBlockContent]);
  steady_clock::duration waited{0};
  for (uint64_t offset = 0; offset < size;) {
    if (remote_.stopping()) return Status::Cancelled();
    const size_t most = level == 0 ? kRawChunk : wire::kBlockContent;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(size - offset, most));
    Status status = read(buffer_.get(), wanted, offset);
    if (!status.ok()) return status;
    std::string_view piece(buffer_.get(), wanted);
    const auto begin = steady_clock::now();
    if (level != 0) {
      // Blocks are compressed, whatever it is worth: what is least work when it is worth nothing is level 1.
      const int used = level > 0 ? level : std::max(1, controller_.Next(wanted, channel.socket().IsBehind()));
      frame_.clear();
      if (!compressor_.Compress(piece, used, &frame_, remote_.job.cancel_flag())) {
        return remote_.stopping() ? Status::Cancelled() : Status::FromErrno(ENOMEM, Operation::kSend);
      }
      if (level < 0)
        controller_.Sent(used, wanted, frame_.size(), steady_clock::now() - begin, waited, channel.socket().IsBehind());
      PutNumber<uint32_t>(&out(), static_cast<uint32_t>(frame_.size()));
      piece = frame_;
      WorkerCounters::Add(worker_.counters->bytes_packed, wanted);
      WorkerCounters::Add(worker_.counters->bytes_packed_level, wanted * static_cast<uint64_t>(used));
    }
    const auto sending = steady_clock::now();
    status = channel.QueuedHeadAnd(piece);
    if (!status.ok()) return status;
    waited = steady_clock::now() - sending;
    offset += wanted;
    sent(wanted);
  }
  return Status();
}

Status PlainClient::ReceiveBody(uint64_t size, bool compressed, const std::function<void(std::string_view)>& take) {
  ClientChannel& channel = *session_.channel;
  for (uint64_t got = 0; got < size;) {
    if (remote_.stopping()) return Status::Cancelled();
    if (!compressed) {
      Status status = Need(1);
      if (!status.ok()) return status;
      const std::string_view piece = channel.bytes().substr(
          0, static_cast<size_t>(std::min<uint64_t>({size - got, kReceiveAtOnce, channel.bytes().size()})));
      take(piece);
      got += piece.size();
      channel.Consume(piece.size());
      continue;
    }
    Status status = Need(4);
    if (!status.ok()) return status;
    const uint32_t block = LoadNumber<uint32_t>(channel.bytes().data());
    if (block > wire::kMaxBlock) return Violation();
    status = Need(4 + size_t{block});
    if (!status.ok()) return status;
    std::string_view content;
    const std::string_view frame = channel.bytes().substr(4, block);
    if (!frame.empty() && !decompressor_.Decompress(frame, wire::kMaxBlock, &content)) return Violation();
    if (content.size() > size - got) return Violation();
    take(content);
    got += content.size();
    received_packed_ += content.size();
    channel.Consume(4 + size_t{block});
  }
  return Status();
}

Status PlainClient::ReceiveDeltaHead(DeltaHead* head) {
  Status status = ReceiveNumber(&head->last_write);
  if (status.ok()) status = ReceiveNumber(&head->size);
  if (status.ok()) status = ReceiveByte(&head->codec);
  return status;
}

Status PlainClient::ReceiveDelta(const std::function<void(std::string_view)>& take) {
  ClientChannel& channel = *session_.channel;
  for (;;) {
    Status status = Need(4);
    if (!status.ok()) return status;
    uint64_t left = LoadNumber<uint32_t>(channel.bytes().data());
    channel.Consume(4);
    if (left == 0) return Status();
    while (left != 0) {
      if (remote_.stopping()) return Status::Cancelled();
      status = Need(1);
      if (!status.ok()) return status;
      const std::string_view piece =
          channel.bytes().substr(0, static_cast<size_t>(std::min<uint64_t>(left, channel.bytes().size())));
      take(piece);
      left -= piece.size();
      channel.Consume(piece.size());
    }
  }
}

Status PlainClient::DropDelta() {
  DeltaHead head;
  Status status = ReceiveDeltaHead(&head);
  return status.ok() ? ReceiveDelta([](std::string_view) {}) : status;
}

void PlainClient::Finish() {
  wire::EncodeBareCommand(&out(), wire::Command::kDone);
  uint64_t level_sum = 0;
  if (!ReceiveNumber(&level_sum).ok()) return;
  WorkerCounters::Add(worker_.counters->bytes_packed, received_packed_);
  WorkerCounters::Add(worker_.counters->bytes_packed_level, level_sum);
}

}  // namespace net
}  // namespace eacopy
