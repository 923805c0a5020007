// Sockets; see socket.h. All of them are non-blocking. What differs between systems is socket_system.h.

#include "socket.h"

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace eacopy {
namespace net {

using std::chrono::milliseconds;

namespace {

// A cancelled wait ends within this time.
constexpr milliseconds kSlice{40};
// The first allocation of an inbox: what many small messages fit into.
constexpr size_t kInboxSize = 64 * 1024;

// The numbers are the same everywhere, the names are not.
constexpr int kShutdownSending = 1, kShutdownBoth = 2;

// The Status of a call that failed just now.
Status LastError(Operation operation) { return Status::FromErrno(sockets::LastErrno(), operation); }
// Success for 0.
Status MakeStatus(int error_number, Operation operation) {
  return error_number == 0 ? Status() : Status::FromErrno(error_number, operation);
}
// Of a kind of its own: an errno of these may be that of a file elsewhere.
Status LastListenError() { return Status::Of(Kind::kNetwork, Operation::kListen, sockets::LastErrno()); }

struct AddressesDeleter {
  void operator()(struct addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<struct addrinfo, AddressesDeleter>;

Status Resolve(const std::string& host, uint16_t port, bool to_listen, Operation operation, Addresses* out,
               std::string* text) {
  sockets::Start();
  struct addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  struct addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &list);
  out->reset(list);
  if (error == 0) return Status();
  return Status::FromErrno(sockets::ErrnoOfResolving(error, to_listen, text), operation);
}

// Waits until `socket` is ready or the peer has been silent for too long.
Status WaitPatiently(const Socket& socket, int wanted, const Patience& patience, Operation operation) {
  int ready = 0;
  Status status = socket.Wait(wanted, patience.silence, patience.cancelled, &ready);
  if (!status.ok() || ready != 0) return status;
  if (patience.cancelled != nullptr && patience.cancelled->load(std::memory_order_relaxed)) return Status::Cancelled();
  return Status::FromErrno(ETIMEDOUT, operation);
}

bool IsLoopback(const struct sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const struct sockaddr_in&>(address);
    return (ntohl(four.sin_addr.s_addr) >> 24) == 127;
  }
  if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const struct sockaddr_in6&>(address).sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
  }
  return address.ss_family == AF_UNIX;
}

}  // namespace

Status Socket::Connect(const std::string& host, uint16_t port, const Patience& patience, Socket* out,
                       std::string* text) {
  Addresses addresses;
  Status status = Resolve(host, port, false, Operation::kConnect, &addresses, text);
  if (!status.ok()) return status;
  for (const struct addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    Socket socket(SocketHandle(::socket(address->ai_family, address->ai_socktype, address->ai_protocol)));
    if (!socket.valid()) {
      status = LastError(Operation::kConnect);
      continue;
    }
    sockets::Prepare(socket.get());
    const int error = sockets::StartConnection(socket.get(), address->ai_addr, address->ai_addrlen);
    if (error != 0) {
      if (error != EINPROGRESS) {
        status = Status::FromErrno(error, Operation::kConnect);
        continue;
      }
      status = WaitPatiently(socket, kWritable, patience, Operation::kConnect);
      if (status.cancelled()) return status;
      if (!status.ok()) continue;
      status = MakeStatus(sockets::PendingErrno(socket.get()), Operation::kConnect);
      if (!status.ok()) continue;
    }
    *out = static_cast<Socket&&>(socket);
    return Status();
  }
  return status.ok() ? Status::FromErrno(EHOSTUNREACH, Operation::kConnect) : status;
}

Status Socket::Listen(const std::string& host, uint16_t port, Socket* out, std::string* text) {
  Addresses addresses;
  Status status = Resolve(host, port, true, Operation::kListen, &addresses, text);
  if (!status.ok()) return status;
  for (const struct addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    Socket socket(SocketHandle(::socket(address->ai_family, address->ai_socktype, address->ai_protocol)));
    if (!socket.valid()) {
      status = LastListenError();
      continue;
    }
    sockets::Prepare(socket.get());
    sockets::PrepareToListen(socket.get());
    if (::bind(socket.get(), address->ai_addr, static_cast<socklen_t>(address->ai_addrlen)) != 0 ||
        ::listen(socket.get(), 256) != 0) {
      status = LastListenError();
      continue;
    }
    *out = static_cast<Socket&&>(socket);
    return Status();
  }
  return status;
}

Status Socket::Accept(milliseconds wait, Socket* out) {
  int ready = 0;
  Status status = Wait(kReadable, wait, nullptr, &ready);
  if (!status.ok() || ready == 0) return status;
  Socket socket(SocketHandle(::accept(get(), nullptr, nullptr)));
  if (!socket.valid()) {
    const int failed = sockets::LastErrno();
    // Gone again, or another try may do.
    if (failed == EAGAIN || failed == EINTR || failed == ECONNABORTED || failed == EPROTO) return Status();
    return Status::Of(Kind::kNetwork, Operation::kListen, failed);
  }
  sockets::Prepare(socket.get());
  *out = static_cast<Socket&&>(socket);
  return Status();
}

void Socket::Shutdown() const { ::shutdown(get(), kShutdownBoth); }

void Socket::ShutdownSending() const { ::shutdown(get(), kShutdownSending); }

Status Socket::Wait(int wanted, milliseconds wait, const std::atomic<bool>* cancelled, int* ready) const {
  *ready = 0;
  const auto until = std::chrono::steady_clock::now() + wait;
  milliseconds left = wait;
  for (;;) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return Status();
    const milliseconds slice = cancelled != nullptr ? std::min(left, kSlice) : left;
    const int timeout = static_cast<int>(std::min<int64_t>(std::max<int64_t>(slice.count(), 0), 1 << 30));
    const int error = sockets::Wait(get(), wanted, timeout, ready);
    if (error != 0 || *ready != 0) return MakeStatus(error, Operation::kReceive);
    left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Status();
  }
}

Status Socket::SendNow(std::string_view first, std::string_view second, size_t* sent) const {
  const int error = sockets::Send(get(), first, second, sent);
  return MakeStatus(error == EAGAIN ? 0 : error, Operation::kSend);
}

Status Socket::Send(std::string_view bytes, const Patience& patience) const {
  return Send(bytes, std::string_view(), patience);
}

Status Socket::Send(std::string_view first, std::string_view second, const Patience& patience) const {
  while (!first.empty() || !second.empty()) {
    size_t sent = 0;
    Status status = SendNow(first, second, &sent);
    if (!status.ok()) return status;
    if (sent == 0) {
      status = WaitPatiently(*this, kWritable, patience, Operation::kSend);
      if (!status.ok()) return status;
      continue;
    }
    const size_t of_first = std::min(sent, first.size());
    first.remove_prefix(of_first);
    second.remove_prefix(sent - of_first);
  }
  return Status();
}

Status Socket::Receive(char* data, size_t size, const Patience& patience, size_t* got) const {
  for (;;) {
    bool ended = false;
    Status status = ReceiveNow(data, size, got, &ended);
    if (!status.ok() || *got != 0 || ended) return status;
    status = WaitPatiently(*this, kReadable, patience, Operation::kReceive);
    if (!status.ok()) return status;
  }
}

Status Socket::ReceiveNow(char* data, size_t size, size_t* got, bool* ended) const {
  const int error = sockets::Receive(get(), data, size, got);
  *ended = error == 0 && *got == 0;
  return MakeStatus(error == EAGAIN ? 0 : error, Operation::kReceive);
}

uint16_t Socket::LocalPort() const {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (::getsockname(get(), reinterpret_cast<struct sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<struct sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<struct sockaddr_in&>(address).sin_port);
}

bool Socket::IsBehind() const { return sockets::IsBehind(get()); }

bool Socket::PeerIsLoopback() const {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  return ::getpeername(get(), reinterpret_cast<struct sockaddr*>(&address), &size) == 0 && IsLoopback(address);
}

std::string Socket::PeerName() const {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (::getpeername(get(), reinterpret_cast<struct sockaddr*>(&address), &size) != 0) return "a closed connection";
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getnameinfo(reinterpret_cast<struct sockaddr*>(&address), size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "an unknown address";
  }
  const std::string name = host;
  return (name.find(':') == std::string::npos ? name : "[" + name + "]") + ":" + port;
}

Status Inbox::MakeRoom(size_t wanted) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (capacity_ - begin_ >= wanted) return Status();
  if (capacity_ >= wanted) {
    std::memmove(data_.get(), data_.get() + begin_, size());
  } else {
    const size_t capacity = std::max(wanted, kInboxSize);
    std::unique_ptr<char[]> larger(new (std::nothrow) char[capacity]);
    if (!larger) return Status::FromErrno(ENOMEM, Operation::kReceive);
    if (size() != 0) std::memcpy(larger.get(), data_.get() + begin_, size());
    data_ = std::move(larger);
    capacity_ = capacity;
  }
  end_ -= begin_;
  begin_ = 0;
  return Status();
}

Status Inbox::Fill(const Socket& socket, size_t wanted, const Patience& patience) {
  if (size() >= wanted) return Status();
  Status status = MakeRoom(wanted);
  while (status.ok() && size() < wanted) {
    size_t got = 0;
    status = socket.Receive(data_.get() + end_, capacity_ - end_, patience, &got);
    if (!status.ok()) return status;
    if (got == 0) {
      ended_ = true;
      return Status::FromErrno(ECONNRESET, Operation::kReceive);
    }
    end_ += got;
    received_ += got;
  }
  return status;
}

Status Inbox::FillNow(const Socket& socket, size_t room, size_t* got) {
  *got = 0;
  if (ended_) return Status();
  Status status = MakeRoom(size() + room);
  if (!status.ok()) return status;
  status = socket.ReceiveNow(data_.get() + end_, std::min(room, capacity_ - end_), got, &ended_);
  end_ += *got;
  received_ += *got;
  return status;
}

}  // namespace net
}  // namespace eacopy
