// Sockets of POSIX; see net/socket_system.h. Waiting is done by poll.

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

#include <cerrno>

#include "../net/socket.h"
#include "../net/socket_system.h"
#include "internal.h"

namespace eacopy {
namespace net {

void SocketHandle::Close() {
  if (valid()) ::close(Release());
}

namespace sockets {
namespace {

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;
#endif

void SetOption(int socket, int level, int option, int value) {
  // Whatever is refused, the connection works without it.
  ::setsockopt(socket, level, option, &value, sizeof(value));
}

}  // namespace

void Start() {}

int LastErrno() { return errno == EWOULDBLOCK ? EAGAIN : errno; }

int StartConnection(NativeSocket socket, const struct sockaddr* address, size_t size) {
  if (::connect(socket, address, static_cast<socklen_t>(size)) == 0) return 0;
  return errno == EINTR ? EINPROGRESS : errno;  // an interrupted one goes on
}

int PendingErrno(NativeSocket socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : LastErrno();
}

int ErrnoOfResolving(int error, bool to_listen, std::string* text) {
  const int error_number = error == EAI_SYSTEM ? errno : to_listen ? EADDRNOTAVAIL : EHOSTUNREACH;
  if (text != nullptr) *text = ::gai_strerror(error);
  return error_number;
}

void Prepare(NativeSocket socket) {
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

void PrepareToListen(NativeSocket socket) { SetOption(socket, SOL_SOCKET, SO_REUSEADDR, 1); }

int Wait(NativeSocket socket, int wanted, int milliseconds, int* ready) {
  *ready = 0;
  struct pollfd poll = {};
  poll.fd = socket;
  poll.events = static_cast<short>(((wanted & Socket::kReadable) != 0 ? POLLIN : 0) |
                                   ((wanted & Socket::kWritable) != 0 ? POLLOUT : 0));
  const int count = ::poll(&poll, 1, milliseconds);
  if (count < 0) return errno == EINTR ? 0 : errno;
  if (count == 0) return 0;
  // An error or the end of the stream is told by the call that was waited for.
  const bool broken = (poll.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  if (broken || (poll.revents & POLLIN) != 0) *ready |= wanted & Socket::kReadable;
  if (broken || (poll.revents & POLLOUT) != 0) *ready |= wanted & Socket::kWritable;
  return 0;
}

int Send(NativeSocket socket, std::string_view first, std::string_view second, size_t* sent) {
  *sent = 0;
  struct iovec pieces[2] = {{const_cast<char*>(first.data()), first.size()},
                            {const_cast<char*>(second.data()), second.size()}};
  struct msghdr message = {};
  const size_t pieces_count = (first.empty() ? 0u : 1u) + (second.empty() ? 0u : 1u);
  if (pieces_count == 0) return 0;
  message.msg_iov = first.empty() ? pieces + 1 : pieces;
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(pieces_count);  // an int on macOS
  const ssize_t count = platform::Uninterrupted([&] { return ::sendmsg(socket, &message, kSendFlags); });
  if (count < 0) return LastErrno();
  *sent = static_cast<size_t>(count);
  return 0;
}

int Receive(NativeSocket socket, char* data, size_t size, size_t* got) {
  *got = 0;
  const ssize_t count = platform::Uninterrupted([&] { return ::recv(socket, data, size, 0); });
  if (count < 0) return LastErrno();
  *got = static_cast<size_t>(count);
  return 0;
}

bool IsBehind(NativeSocket socket) {
#ifdef SIOCOUTQNSD
  int held = 0;
  return ::ioctl(socket, SIOCOUTQNSD, &held) == 0 && held > 0;
#else
  static_cast<void>(socket);
  return false;
#endif
}

}  // namespace sockets
}  // namespace net
}  // namespace eacopy
