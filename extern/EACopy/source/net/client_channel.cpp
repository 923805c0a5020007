// A client's end of a connection; see client_channel.h.

#include "client_channel.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace eacopy {
namespace net {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kReceiveAtOnce = 512 * 1024;
// The more in one frame, the smaller it gets. With the largest message on top it stays below kMaxUnpacked.
constexpr size_t kPackAt = 1472 * 1024;
constexpr milliseconds kSlice{40};

}  // namespace

Status Violation() { return Status::Of(Kind::kClient, Operation::kReceive); }

ClientChannel::ClientChannel(Socket socket, const Patience& patience, WorkerCounters& counters, Throttle* throttle)
    : socket_(std::move(socket)),
      patience_(patience),
      counters_(counters),
      throttle_(throttle),
      last_moved_(steady_clock::now()) {}

void ClientChannel::UseZstd(int level) {
  unpacks_ = true;
  level_ = level;
}

Status ClientChannel::Pack() {
  if (packed_.empty()) return Status();
  SendSome();  // the wire has something to do while this is compressed
  const int level = level_ < 0 ? controller_.Next(packed_.size(), IsBusy()) : level_;
  const auto begin = steady_clock::now();
  frame_.clear();
  const bool compressed = level > 0 && packed_.size() <= kMaxUnpacked &&
                          compressor_.Compress(packed_, level, &frame_, patience_.cancelled) &&
                          frame_.size() < packed_.size() - packed_.size() / 32;
  if (level_ < 0) {
    controller_.Sent(level, packed_.size(), compressed ? frame_.size() : packed_.size(), steady_clock::now() - begin,
                     waited_, socket_.IsBehind());
    waited_ = steady_clock::duration(0);
  }
  if (compressed) {
    EncodePackedHead(&out_, static_cast<uint8_t>(level), static_cast<uint32_t>(packed_.size()), frame_.size());
    out_ += frame_;
    WorkerCounters::Add(counters_.bytes_packed, packed_content_);
    WorkerCounters::Add(counters_.bytes_packed_level, packed_content_ * static_cast<uint64_t>(level));
  } else {
    out_ += packed_;
  }
  packed_.clear();
  packed_content_ = 0;
  SendSome();
  return Status();
}

// What the system takes at once. A failure is left for Move, which knows what the server may have said before.
void ClientChannel::SendSome() {
  if (unsent() == 0 || throttle_ != nullptr) return;
  size_t sent = 0;
  if (!socket_.SendNow(std::string_view(out_).substr(sent_), &sent).ok() || sent == 0) return;
  sent_ += sent;
  last_moved_ = steady_clock::now();
  WorkerCounters::Add(counters_.bytes_sent, sent);
  if (sent_ != out_.size()) return;
  out_.clear();
  sent_ = 0;
}

Status ClientChannel::Flush() { return Pack(); }

void ClientChannel::SayGoodbye(const Status& failure) {
  if (!Flush().ok()) return;
  EncodeGoodbye(&out_, failure.ok() ? ErrorView() : ToErrorView(failure));
  size_t none = 0;
  bool moved = false;
  Move(std::string_view(), &none, &moved);
}

Status ClientChannel::Queued(size_t content) {
  if (!packs()) return Status();
  packed_content_ += content;
  return packed_.size() >= kPackAt ? Pack() : Status();
}

Status ClientChannel::QueuedHeadAnd(std::string_view content) {
  if (packs()) {
    packed_.append(content);
    return Queued(content.size());
  }
  while (sent_ < out_.size() || !content.empty()) {
    size_t of_content = 0;
    bool moved = false;
    Status status = Move(content, &of_content, &moved);
    if (!status.ok()) return status;
    content.remove_prefix(of_content);
    if (patience_.cancelled != nullptr && patience_.cancelled->load(std::memory_order_relaxed)) {
      return Status::Cancelled();
    }
    if (moved) continue;
    if (inbox_.ended()) return Status::FromErrno(ECONNRESET, Operation::kReceive);
    status = Wait(kSlice, true);
    if (!status.ok()) return status;
  }
  return Status();
}

size_t ClientChannel::Admit(size_t wanted, bool sending) {
  if (throttle_ == nullptr) return wanted;
  const auto begin = steady_clock::now();
  const auto admitted = static_cast<size_t>(throttle_->Take(wanted));
  const auto took = steady_clock::now() - begin;
  last_moved_ += took;           // it is us who are silent meanwhile
  if (sending) waited_ += took;  // as for a wire that is as slow as that
  return admitted;
}

Status ClientChannel::Move(std::string_view more, size_t* moved_of_more, bool* moved) {
  *moved_of_more = 0;
  size_t sent = 0;
  if (sent_ < out_.size() || !more.empty()) {
    const size_t left = out_.size() - sent_;
    const size_t admitted = Admit(left + more.size(), true);
    if (admitted == 0) return Status::Cancelled();
    const std::string_view first = std::string_view(out_).substr(sent_, admitted);
    Status status = socket_.SendNow(first, more.substr(0, admitted - first.size()), &sent);
    if (throttle_ != nullptr) throttle_->GiveBack(admitted - sent);
    if (!status.ok()) {
      // What the server said before it hung up is worth more than that it did.
      size_t got = 0;
      inbox_.FillNow(socket_, kReceiveAtOnce, &got);
      if (got == 0 && inbox_.size() == 0) return status;
      out_.clear();
      sent_ = 0;
      *moved_of_more = more.size();
      *moved = true;
      return Status();
    }
    const size_t of_out = std::min(sent, left);
    sent_ += of_out;
    *moved_of_more = sent - of_out;
    if (sent_ == out_.size()) {
      out_.clear();
      sent_ = 0;
    }
    WorkerCounters::Add(counters_.bytes_sent, sent);
  }
  size_t got = 0;
  const size_t admitted = Admit(kReceiveAtOnce, false);
  if (admitted == 0) return Status::Cancelled();
  Status status = inbox_.FillNow(socket_, admitted, &got);
  if (throttle_ != nullptr) throttle_->GiveBack(admitted - got);
  if (!status.ok()) return status;
  WorkerCounters::Add(counters_.bytes_received, got);
  *moved = sent != 0 || got != 0;
  if (*moved) last_moved_ = steady_clock::now();
  return Status();
}

Status ClientChannel::Pump(milliseconds wait, bool owed) {
  if (patience_.cancelled != nullptr && patience_.cancelled->load(std::memory_order_relaxed)) {
    return Status::Cancelled();
  }
  size_t none = 0;
  bool moved = false;
  const bool began_idle = waiting() == 0 && !owed;
  Status status = Move(std::string_view(), &none, &moved);
  if (!status.ok() || moved) return status;
  if (inbox_.ended()) return Status::FromErrno(ECONNRESET, Operation::kReceive);
  if (wait.count() == 0) return Status();
  if (began_idle) last_moved_ = steady_clock::now();  // there is nothing to be silent about
  return Wait(wait, sent_ < out_.size());
}

Status ClientChannel::Wait(milliseconds wait, bool sending) {
  const auto begin = steady_clock::now();
  int ready = 0;
  Status status =
      socket_.Wait(Socket::kReadable | (sending ? Socket::kWritable : 0), wait, patience_.cancelled, &ready);
  if (!status.ok()) return status;
  const auto now = steady_clock::now();
  if (sending) waited_ += now - begin;
  if (ready == 0 && now - last_moved_ > patience_.silence) {
    return Status::FromErrno(ETIMEDOUT, sending ? Operation::kSend : Operation::kReceive);
  }
  return Status();
}

Status ClientChannel::Next(Message* message, bool* there) {
  *there = false;
  for (;;) {
    if (!unpacked_.empty()) {
      MessageHeader header;
      if (unpacked_.size() < kMessageHeader || !DecodeMessageHeader(unpacked_, &header) ||
          header.size > unpacked_.size() || header.type == static_cast<uint8_t>(MessageType::kPacked) ||
          header.type < static_cast<uint8_t>(MessageType::kOffer)) {
        return Violation();
      }
      message->type = static_cast<MessageType>(header.type);
      message->payload = unpacked_.substr(kMessageHeader, header.size - kMessageHeader);
      message->level = unpacked_level_;
      unpacked_.remove_prefix(header.size);
      *there = true;
      return Status();
    }
    const std::string_view bytes = inbox_.bytes();
    if (bytes.size() < kMessageHeader) return Status();
    MessageHeader header;
    if (!DecodeMessageHeader(bytes, &header)) return Violation();
    if (bytes.size() < header.size) return Status();
    const std::string_view payload = bytes.substr(kMessageHeader, header.size - kMessageHeader);
    inbox_.Consume(header.size);
    if (header.type != static_cast<uint8_t>(MessageType::kPacked)) {
      message->type = static_cast<MessageType>(header.type);
      message->payload = payload;
      message->level = 0;
      *there = true;
      return Status();
    }
    Packed packed;
    if (!unpacks_ || !DecodePacked(payload, &packed) ||
        !decompressor_.Decompress(packed.frame, packed.unpacked_size, &unpacked_) ||
        unpacked_.size() != packed.unpacked_size) {
      return Violation();
    }
    unpacked_level_ = header.level;
  }
}

Status FromGoodbye(std::string_view payload, std::string* text) {
  ErrorView error;
  if (!DecodeGoodbye(payload, &error)) return Violation();
  *text = std::string(error.text);
  if (error.kind == 0) return Status::FromErrno(ECONNRESET, Operation::kReceive);
  const Status status = FromErrorView(error);
  if (status.kind() != Kind::kUnknown) return status;
  return Status::Of(Kind::kServer, status.operation(), status.error_number());
}

Status ClientChannel::Reason(const Status& failure, std::string* text) {
  if (failure.cancelled()) return failure;
  Message message;
  bool there = true;
  while (there && Next(&message, &there).ok()) {
    if (there && message.type == MessageType::kGoodbye) return FromGoodbye(message.payload, text);
  }
  return failure;
}

Status ClientChannel::Receive(Message* message, std::string* text) {
  for (;;) {
    bool there = false;
    Status status = Next(message, &there);
    if (!status.ok()) return status;
    if (there) break;
    status = Pack();
    if (status.ok()) status = Pump(kSlice, true);
    if (!status.ok()) return status;
  }
  if (message->type != MessageType::kGoodbye) return Status();
  return FromGoodbye(message->payload, text);
}

Status ClientChannel::Need(size_t size) {
  while (inbox_.size() < size || sent_ < out_.size()) {
    if (inbox_.ended()) return Status::FromErrno(ECONNRESET, Operation::kReceive);
    Status status = Pump(kSlice, true);
    if (!status.ok()) return status;
  }
  return Status();
}

}  // namespace net
}  // namespace eacopy
