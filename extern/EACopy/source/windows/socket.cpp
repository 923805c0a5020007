// Sockets of Windows; see net/socket_system.h. Waiting is done by select, which has no trouble with large numbers there
// and tells of connections that failed; WSAPoll keeps those to itself before Windows 10 version 2004.

#include "../net/socket.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include <algorithm>
#include <cerrno>
#include <cwchar>

#include "../net/socket_system.h"
#include "errors.h"
#include "wtf8.h"

namespace eacopy {
namespace net {

void SocketHandle::Close() {
  if (valid()) ::closesocket(Release());
}

namespace sockets {
namespace {

// Calls count bytes in 32 bits.
constexpr size_t kMostAtOnce = size_t{1} << 30;
// In which a wait learns that another thread has shut the socket down: select does not tell of that.
constexpr int kSlice = 40;  // milliseconds

void SetOption(SOCKET socket, int level, int option, DWORD value) {
  // Whatever is refused, the connection works without it.
  ::setsockopt(socket, level, option, reinterpret_cast<const char*>(&value), sizeof(value));
}

int ErrnoOfWinsock(int error) {
  switch (error) {
    case WSAEWOULDBLOCK:
      return EAGAIN;
    case WSAEINTR:
      return EINTR;
    case WSAEINPROGRESS:
    case WSAEALREADY:
      return EINPROGRESS;
    case WSAEACCES:
      return EACCES;
    case WSAEFAULT:
      return EFAULT;
    case WSAEINVAL:
      return EINVAL;
    case WSAEMFILE:
    case WSAEPROCLIM:
      return EMFILE;
    case WSAENOTSOCK:
      return ENOTSOCK;
    case WSAEMSGSIZE:
      return EMSGSIZE;
    case WSAEPROTONOSUPPORT:
    case WSAEPFNOSUPPORT:
    case WSAEAFNOSUPPORT:
      return EAFNOSUPPORT;
    case WSAEOPNOTSUPP:
      return EOPNOTSUPP;
    case WSAEADDRINUSE:
      return EADDRINUSE;
    case WSAEADDRNOTAVAIL:
      return EADDRNOTAVAIL;
    case WSAENETDOWN:
    case WSASYSNOTREADY:
    case WSANOTINITIALISED:
    case WSAVERNOTSUPPORTED:
      return ENETDOWN;
    case WSAENETUNREACH:
      return ENETUNREACH;
    case WSAENETRESET:
      return ENETRESET;
    case WSAECONNABORTED:
      return ECONNABORTED;
    case WSAECONNRESET:
    case WSAEDISCON:
      return ECONNRESET;
    case WSAENOBUFS:
      return ENOBUFS;
    case WSAENOTCONN:
      return ENOTCONN;
    case WSAESHUTDOWN:
      return EPIPE;
    case WSAETIMEDOUT:
      return ETIMEDOUT;
    case WSAECONNREFUSED:
      return ECONNREFUSED;
    case WSAEHOSTDOWN:
    case WSAEHOSTUNREACH:
    case WSAHOST_NOT_FOUND:
    case WSATRY_AGAIN:
    case WSANO_DATA:
      return EHOSTUNREACH;
    default:
      return platform::ErrnoOfError(static_cast<unsigned long>(error));
  }
}

bool WasShutDown(SOCKET socket) {
  char byte;
  return ::recv(socket, &byte, 1, MSG_PEEK) == SOCKET_ERROR && ::WSAGetLastError() == WSAESHUTDOWN;
}

}  // namespace

void Start() {
  // It ends with the process: others of the process may use it too.
  static const int result = [] {
    WSADATA data;
    return ::WSAStartup(MAKEWORD(2, 2), &data);
  }();
  static_cast<void>(result);
}

int LastErrno() { return ErrnoOfWinsock(::WSAGetLastError()); }

int StartConnection(NativeSocket socket, const struct sockaddr* address, size_t size) {
  if (::connect(socket, address, static_cast<socklen_t>(size)) == 0) return 0;
  const int error = LastErrno();
  return error == EAGAIN ? EINPROGRESS : error;
}

int PendingErrno(NativeSocket socket) {
  int error = 0;
  int size = sizeof(error);
  const int result = ::getsockopt(socket, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size);
  return result != 0 ? LastErrno() : error != 0 ? ErrnoOfWinsock(error) : 0;
}

int ErrnoOfResolving(int error, bool to_listen, std::string* text) {
  // Of the errors of resolving, only these are not about the name.
  const bool is_of_system = error == WSA_NOT_ENOUGH_MEMORY || error == WSANOTINITIALISED || error == WSAENETDOWN;
  wchar_t said[256];
  constexpr DWORD kFlags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
  if (text != nullptr && ::FormatMessageW(kFlags, nullptr, static_cast<DWORD>(error), 0, said, 256, nullptr) != 0) {
    text->clear();
    platform::AppendWtf8(said, std::wcslen(said), text);
    while (!text->empty() && text->back() == ' ') text->pop_back();
  }
  return is_of_system ? ErrnoOfWinsock(error) : to_listen ? EADDRNOTAVAIL : EHOSTUNREACH;
}

void Prepare(NativeSocket socket) {
  ::SetHandleInformation(reinterpret_cast<HANDLE>(socket), HANDLE_FLAG_INHERIT, 0);
  u_long on = 1;
  ::ioctlsocket(socket, FIONBIO, &on);
  SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(socket, SOL_SOCKET, SO_OOBINLINE, 1);  // else Wait would tell of urgent bytes that nobody receives
#ifdef TCP_KEEPIDLE
  SetOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  SetOption(socket, IPPROTO_TCP, TCP_KEEPCNT, 6);
#endif
}

// SO_REUSEADDR would let another program take the address over; a port that was used is free at once without it.
void PrepareToListen(NativeSocket socket) { SetOption(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1); }

int Wait(NativeSocket socket, int wanted, int milliseconds, int* ready) {
  *ready = 0;
  for (;;) {
    fd_set readable, writable, broken;
    auto only = [&](fd_set* set, bool with) {
      set->fd_count = with ? 1 : 0;
      set->fd_array[0] = socket;
    };
    only(&readable, (wanted & Socket::kReadable) != 0);
    only(&writable, (wanted & Socket::kWritable) != 0);
    only(&broken, true);
    const int slice = std::min(milliseconds, kSlice);
    timeval time = {0, slice * 1000};  // not const: mingw's header wants it so
    const int count = ::select(0, &readable, &writable, &broken, &time);
    if (count == SOCKET_ERROR) {
      const int error = LastErrno();
      return error == EINTR ? 0 : error;
    }
    // An error or the end of the stream is told by the call that was waited for; a connection that could not be made is
    // in the third set alone.
    if (readable.fd_count != 0) *ready |= Socket::kReadable;
    if (writable.fd_count != 0) *ready |= Socket::kWritable;
    if (broken.fd_count != 0 || (count == 0 && WasShutDown(socket))) *ready |= wanted;
    milliseconds -= slice;
    if (*ready != 0 || milliseconds <= 0) return 0;
  }
}

int Send(NativeSocket socket, std::string_view first, std::string_view second, size_t* sent) {
  *sent = 0;
  if (first.empty()) std::swap(first, second);
  if (first.empty()) return 0;
  WSABUF pieces[2];
  first = first.substr(0, kMostAtOnce);
  second = second.substr(0, kMostAtOnce);
  pieces[0] = {static_cast<ULONG>(first.size()), const_cast<char*>(first.data())};
  pieces[1] = {static_cast<ULONG>(second.size()), const_cast<char*>(second.data())};
  DWORD count = 0;
  if (::WSASend(socket, pieces, second.empty() ? 1 : 2, &count, 0, nullptr, nullptr) != 0) return LastErrno();
  *sent = count;
  return 0;
}

int Receive(NativeSocket socket, char* data, size_t size, size_t* got) {
  *got = 0;
  const int count = ::recv(socket, data, static_cast<int>(std::min(size, kMostAtOnce)), 0);
  if (count == SOCKET_ERROR) return LastErrno();
  *got = static_cast<size_t>(count);
  return 0;
}

bool IsBehind(NativeSocket) { return false; }

}  // namespace sockets
}  // namespace net
}  // namespace eacopy
