// Sockets; see socket.h. All of them are non-blocking, and waiting is done by poll.

#include "socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/sockios.h>
#include <sys/ioctl.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "../posix/internal.h"

namespace eacopy {
namespace net {

using platform::Handle;
using platform::Uninterrupted;
using std::chrono::milliseconds;

namespace {

// A cancelled wait ends within this time.
constexpr milliseconds kSlice{40};
// The first allocation of an inbox: what many small messages fit into.
constexpr size_t kInboxSize = 64 * 1024;

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;
#endif

void SetOption(int socket, int level, int option, int value) {
  // Whatever is refused, the connection works without it.
  ::setsockopt(socket, level, option, &value, sizeof(value));
}

// What every connection wants: no waiting for more to send, and news of a peer that is gone.
void Prepare(int socket) {
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef SO_NOSIGPIPE
  SetOption(socket, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
#ifdef TCP_KEEPIDLE
  SetOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPCNT, 6);
#endif
}

struct AddressesDeleter {
  void operator()(struct addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<struct addrinfo, AddressesDeleter>;

Status Resolve(const std::string& host, uint16_t port, bool to_listen, Operation operation, Addresses* out,
               std::string* text) {
  struct addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  struct addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &list);
  out->reset(list);
  if (error == 0) return Status();
  const int error_number = error == EAI_SYSTEM ? errno : to_listen ? EADDRNOTAVAIL : EHOSTUNREACH;
  if (text != nullptr) *text = ::gai_strerror(error);
  return Status::FromErrno(error_number, operation);
}

// The peer is gone in one of many words.
bool Blocks(int error_number) { return error_number == EAGAIN || error_number == EWOULDBLOCK; }

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
    Socket socket(Handle(::socket(address->ai_family, address->ai_socktype, address->ai_protocol)));
    if (!socket.valid()) {
      status = platform::LastError(Operation::kConnect);
      continue;
    }
    Prepare(socket.get());
    if (::connect(socket.get(), address->ai_addr, address->ai_addrlen) != 0) {
      if (errno != EINPROGRESS && errno != EINTR) {
        status = platform::LastError(Operation::kConnect);
        continue;
      }
      status = WaitPatiently(socket, kWritable, patience, Operation::kConnect);
      if (status.cancelled()) return status;
      if (!status.ok()) continue;
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      status = error == 0 ? Status() : Status::FromErrno(error, Operation::kConnect);
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
    Socket socket(Handle(::socket(address->ai_family, address->ai_socktype, address->ai_protocol)));
    if (!socket.valid()) {
      status = Status::Of(Kind::kNetwork, Operation::kListen, errno);
      continue;
    }
    Prepare(socket.get());
    SetOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (::bind(socket.get(), address->ai_addr, address->ai_addrlen) != 0 || ::listen(socket.get(), 256) != 0) {
      status = Status::Of(Kind::kNetwork, Operation::kListen, errno);
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
  Socket socket(Handle(Uninterrupted([&] { return ::accept(get(), nullptr, nullptr); })));
  if (!socket.valid()) {
    if (Blocks(errno) || errno == ECONNABORTED || errno == EPROTO) return Status();  // gone again
    return Status::Of(Kind::kNetwork, Operation::kListen, errno);
  }
  Prepare(socket.get());
  *out = static_cast<Socket&&>(socket);
  return Status();
}

void Socket::Shutdown() const { ::shutdown(get(), SHUT_RDWR); }

void Socket::ShutdownSending() const { ::shutdown(get(), SHUT_WR); }

Status Socket::Wait(int wanted, milliseconds wait, const std::atomic<bool>* cancelled, int* ready) const {
  *ready = 0;
  struct pollfd poll = {};
  poll.fd = get();
  poll.events =
      static_cast<short>(((wanted & kReadable) != 0 ? POLLIN : 0) | ((wanted & kWritable) != 0 ? POLLOUT : 0));
  const auto until = std::chrono::steady_clock::now() + wait;
  milliseconds left = wait;
  for (;;) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return Status();
    const milliseconds slice = cancelled != nullptr ? std::min(left, kSlice) : left;
    const int timeout = static_cast<int>(std::min<int64_t>(std::max<int64_t>(slice.count(), 0), 1 << 30));
    const int count = ::poll(&poll, 1, timeout);
    if (count < 0 && errno != EINTR) return platform::LastError(Operation::kReceive);
    if (count > 0) {
      // An error or the end of the stream is told by the call that was waited for.
      const bool broken = (poll.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      if ((wanted & kReadable) != 0 && (broken || (poll.revents & POLLIN) != 0)) *ready |= kReadable;
      if ((wanted & kWritable) != 0 && (broken || (poll.revents & POLLOUT) != 0)) *ready |= kWritable;
      return Status();
    }
    left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Status();
  }
}

Status Socket::SendNow(std::string_view first, std::string_view second, size_t* sent) const {
  *sent = 0;
  struct iovec pieces[2] = {{const_cast<char*>(first.data()), first.size()},
                            {const_cast<char*>(second.data()), second.size()}};
  struct msghdr message = {};
  size_t pieces_count = 0;
  pieces_count += first.empty() ? 0 : 1;
  pieces_count += second.empty() ? 0 : 1;
  if (pieces_count == 0) return Status();
  message.msg_iov = first.empty() ? pieces + 1 : pieces;
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(pieces_count);  // an int on macOS
  const ssize_t count = Uninterrupted([&] { return ::sendmsg(get(), &message, kSendFlags); });
  if (count >= 0) {
    *sent = static_cast<size_t>(count);
  } else if (!Blocks(errno)) {
    return platform::LastError(Operation::kSend);
  }
  return Status();
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
  *got = 0;
  *ended = false;
  const ssize_t count = Uninterrupted([&] { return ::recv(get(), data, size, 0); });
  if (count > 0) {
    *got = static_cast<size_t>(count);
  } else if (count == 0) {
    *ended = true;
  } else if (!Blocks(errno)) {
    return platform::LastError(Operation::kReceive);
  }
  return Status();
}

uint16_t Socket::LocalPort() const {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (::getsockname(get(), reinterpret_cast<struct sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<struct sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<struct sockaddr_in&>(address).sin_port);
}

bool Socket::IsBehind() const {
#ifdef SIOCOUTQNSD
  int held = 0;
  return ::ioctl(get(), SIOCOUTQNSD, &held) == 0 && held > 0;
#else
  return false;
#endif
}

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
