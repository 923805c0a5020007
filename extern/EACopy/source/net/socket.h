// Socket: a TCP connection or a listening address. No call waits longer than it was told to, or after it was cancelled.
#ifndef EACOPY_SOURCE_NET_SOCKET_H_
#define EACOPY_SOURCE_NET_SOCKET_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "eacopy/status.h"
#include "socket_system.h"

namespace eacopy {
namespace net {

// How long a call may wait.
struct Patience {
  std::chrono::milliseconds silence{30000};  // in which the peer neither sends nor takes a byte
  const std::atomic<bool>* cancelled = nullptr;
};

class Socket {
 public:
  enum Readiness : int { kReadable = 1, kWritable = 2 };

  Socket() = default;
  // Takes over a connected socket that does not block.
  explicit Socket(SocketHandle handle) : handle_(static_cast<SocketHandle&&>(handle)) {}

  // Tries all addresses of a name. Failures have Operation::kConnect; a name that cannot be found is EHOSTUNREACH, and
  // *text, which may be null, then says why.
  static Status Connect(const std::string& host, uint16_t port, const Patience& patience, Socket* out,
                        std::string* text);
  // Listens at the first address of a name (Operation::kListen).
  static Status Listen(const std::string& host, uint16_t port, Socket* out, std::string* text);

  // Of a listening socket: waits at most so long; *out stays invalid when nobody came or the caller went away again.
  // Out of descriptors or memory: a failure, which may be over soon.
  Status Accept(std::chrono::milliseconds wait, Socket* out);

  bool valid() const { return handle_.valid(); }
  NativeSocket get() const { return handle_.get(); }
  void Close() { handle_.Close(); }
  // Ends both directions, for every thread that uses the socket; it stays open.
  void Shutdown() const;
  // No more will be sent; what was sent still arrives.
  void ShutdownSending() const;

  // Sends all (kSend). `silence` starts again whenever the peer takes some.
  Status Send(std::string_view bytes, const Patience& patience) const;
  // Sends two pieces as one, without copying them together.
  Status Send(std::string_view first, std::string_view second, const Patience& patience) const;
  // Waits for some bytes (kReceive); *got is 0 when the peer has ended the stream.
  Status Receive(char* data, size_t size, const Patience& patience, size_t* got) const;

  // The same without waiting: *sent or *got may be 0. *ended: the peer has ended the stream.
  Status SendNow(std::string_view first, std::string_view second, size_t* sent) const;
  Status SendNow(std::string_view bytes, size_t* sent) const { return SendNow(bytes, std::string_view(), sent); }
  Status ReceiveNow(char* data, size_t size, size_t* got, bool* ended) const;
  // Waits for any of the wanted Readiness bits; *ready is 0 when the time is over or the wait was cancelled.
  Status Wait(int wanted, std::chrono::milliseconds wait, const std::atomic<bool>* cancelled, int* ready) const;

  uint16_t LocalPort() const;
  bool PeerIsLoopback() const;
  // The system still holds bytes that the wire has not taken. False where it does not tell.
  bool IsBehind() const;
  std::string PeerName() const;  // "address:port", for logs

 private:
  SocketHandle handle_;
};

// What was received and not consumed yet. The memory grows only as far as a caller asks for it.
class Inbox {
 public:
  std::string_view bytes() const { return std::string_view(data_.get() + begin_, end_ - begin_); }
  size_t size() const { return end_ - begin_; }
  void Consume(size_t count) { begin_ += count; }

  // Waits until there are `wanted` bytes. The end of the stream before that is ECONNRESET, and ended() tells it apart.
  Status Fill(const Socket& socket, size_t wanted, const Patience& patience);
  // Takes what has arrived, without waiting, up to `room` bytes.
  Status FillNow(const Socket& socket, size_t room, size_t* got);
  bool ended() const { return ended_; }
  // All bytes that ever came.
  uint64_t received() const { return received_; }

 private:
  Status MakeRoom(size_t wanted);

  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t received_ = 0;
  bool ended_ = false;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SOCKET_H_
