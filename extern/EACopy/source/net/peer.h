// Peer: a client's connection as a session uses it: bytes that came, bytes to send, and the gate between working and
// waiting.
#ifndef EACOPY_SOURCE_NET_PEER_H_
#define EACOPY_SOURCE_NET_PEER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "eacopy/status.h"
#include "server_context.h"
#include "socket.h"

namespace eacopy {
namespace net {

// For one thread, which works from the time the object is made.
class Peer {
 public:
  Peer(ServerContext& context, const Socket& socket);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const Socket& socket() const { return socket_; }

  // What came and was not consumed.
  std::string_view bytes() const { return inbox_.bytes(); }
  void Consume(size_t count) { inbox_.Consume(count); }
  // Makes sure that `size` bytes are there. Before it waits, it sends all that is in out().
  // `between`: nothing of a command has come, and the client may take its time.
  Status Need(size_t size, bool between = false);
  // Takes what has come, without waiting, when there are less. False: there are still less.
  bool HasNow(size_t size);
  // At least one byte and at most so many, consumed by the next call.
  Status Some(uint64_t most, std::string_view* bytes);
  // The stream ended where a command could have begun.
  bool ended() const { return inbox_.ended() && inbox_.size() == 0; }

  // What is to be sent.
  std::string& out() { return out_; }
  Status Flush() { return Flush(std::string_view()); }
  // Also sends `more`, without copying it.
  Status Flush(std::string_view more);
  Status FlushIfLarge();
  uint64_t sent() const { return sent_; }

  // Nothing more can be said: the stream is broken, or it is meant to end without a word.
  bool broken() const { return broken_; }
  void Break() { broken_ = true; }
  // Sends what is in out() as the last thing, and waits a moment for the client to read it.
  void Farewell();

 private:
  Status Wait(size_t size, bool between);

  ServerContext& context_;
  const Socket& socket_;
  Inbox inbox_;
  std::string out_;
  size_t taken_ = 0;
  uint64_t counted_ = 0;  // of what was received
  uint64_t sent_ = 0;
  bool broken_ = false;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_PEER_H_
