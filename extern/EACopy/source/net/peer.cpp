// Waiting for a client, and sending to it, outside of the gate.

#include "peer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace eacopy {
namespace net {
namespace {

constexpr std::chrono::seconds kSilence(60);
// What is taken from the socket at once. As much as stays in the processor's cache.
constexpr size_t kReceive = 256 * 1024;
constexpr size_t kLeast = 64 * 1024;
constexpr size_t kLargeOut = 128 * 1024;
constexpr std::chrono::seconds kFarewell(1);
constexpr size_t kMostRest = 16u << 20;

// Works outside of the gate.
class Outside {
 public:
  explicit Outside(Gate& gate) : gate_(gate) { gate_.Leave(); }
  ~Outside() { gate_.Enter(); }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

 private:
  Gate& gate_;
};

}  // namespace

Peer::Peer(ServerContext& context, const Socket& socket) : context_(context), socket_(socket) { context_.gate.Enter(); }

Peer::~Peer() { context_.gate.Leave(); }

Status Peer::Need(size_t size, bool between) {
  inbox_.Consume(taken_);
  taken_ = 0;
  if (inbox_.size() >= size) return Status();
  size_t got = 0;
  Status status = inbox_.FillNow(socket_, std::max(kReceive, std::min(size, kReceive + inbox_.size())), &got);
  if (status.ok() && inbox_.size() < size) {
    status = Flush();
    if (status.ok()) status = Wait(size, between);
  }
  Count(&context_.totals.bytes_received, inbox_.received() - counted_);
  counted_ = inbox_.received();
  if (!status.ok() && status.kind() != Kind::kTimeout) broken_ = true;
  return status;
}

bool Peer::HasNow(size_t size) {
  inbox_.Consume(taken_);
  taken_ = 0;
  if (inbox_.size() >= size) return true;
  size_t got = 0;
  inbox_.FillNow(socket_, std::max(kReceive, std::min(size, kReceive + inbox_.size())), &got);
  return inbox_.size() >= size;  // a failure is told by who waits for more
}

Status Peer::Wait(size_t size, bool between) {
  Outside outside(context_.gate);
  Patience patience;
  patience.cancelled = &context_.stopping;
  const double seconds = std::min(std::max(context_.options.idle_timeout, 0.001), 1e6);
  const std::chrono::milliseconds idle(static_cast<int64_t>(std::ceil(seconds * 1000)));
  if (between && inbox_.size() == 0) {
    patience.silence = idle;
    Status status = inbox_.Fill(socket_, 1, patience);
    if (!status.ok()) return status;
  }
  patience.silence = std::min<std::chrono::milliseconds>(idle, kSilence);
  // Memory grows with what has come, not with what was announced.
  while (inbox_.size() < size) {
    Status status = inbox_.Fill(socket_, std::min(size, std::max(2 * inbox_.size(), kReceive)), patience);
    if (!status.ok()) return status;
  }
  return Status();
}

Status Peer::Some(uint64_t most, std::string_view* bytes) {
  // Not in crumbs: what is left of the last time is moved, which costs less than a call for it alone.
  Status status = Need(static_cast<size_t>(std::min<uint64_t>(most, kLeast)));
  if (!status.ok()) return status;
  *bytes = inbox_.bytes().substr(0, static_cast<size_t>(std::min<uint64_t>(most, inbox_.size())));
  taken_ = bytes->size();
  return status;
}

Status Peer::Flush(std::string_view more) {
  if (out_.empty() && more.empty()) return Status();
  Patience patience;
  patience.silence = kSilence;
  patience.cancelled = &context_.stopping;
  Status status;
  {
    Outside outside(context_.gate);
    status = socket_.Send(out_, more, patience);
  }
  sent_ += out_.size() + more.size();
  Count(&context_.totals.bytes_sent, out_.size() + more.size());
  out_.clear();
  if (!status.ok()) broken_ = true;
  return status;
}

void Peer::Farewell() {
  if (!Flush().ok()) return;
  socket_.ShutdownSending();
  // A connection that is closed with bytes unread is reset, and the peer may lose what it has not read yet.
  Outside outside(context_.gate);
  Patience patience;
  patience.silence = kFarewell;
  patience.cancelled = &context_.stopping;
  char rest[16 * 1024];
  size_t total = 0;
  for (size_t got = 1; got != 0 && total < kMostRest; total += got) {
    if (!socket_.Receive(rest, sizeof(rest), patience, &got).ok()) return;
  }
}

Status Peer::FlushIfLarge() { return out_.size() >= kLargeOut ? Flush() : Status(); }

}  // namespace net
}  // namespace eacopy
