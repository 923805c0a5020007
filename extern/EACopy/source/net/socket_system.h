// What differs between the sockets of POSIX and those of Windows: what they are called, how they are closed, made not
// to wait and waited for, and what their errors mean. One implementation in posix/socket.cpp, one in
// windows/socket.cpp; the rest is socket.cpp, where both speak the same.
#ifndef EACOPY_SOURCE_NET_SOCKET_SYSTEM_H_
#define EACOPY_SOURCE_NET_SOCKET_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

struct sockaddr;

namespace eacopy {
namespace net {

#ifdef _WIN32
using NativeSocket = uintptr_t;  // SOCKET
#else
using NativeSocket = int;
#endif

// Owns an open socket.
class SocketHandle {
 public:
  SocketHandle() = default;
  explicit SocketHandle(NativeSocket native) : native_(native) {}
  SocketHandle(SocketHandle&& other) noexcept : native_(other.Release()) {}
  SocketHandle& operator=(SocketHandle&& other) noexcept {
    if (this != &other) {
      Close();
      native_ = other.Release();
    }
    return *this;
  }
  SocketHandle(const SocketHandle&) = delete;
  SocketHandle& operator=(const SocketHandle&) = delete;
  ~SocketHandle() { Close(); }

  bool valid() const { return native_ != kInvalid; }
  NativeSocket get() const { return native_; }
  void Close();

 private:
  static constexpr NativeSocket kInvalid = static_cast<NativeSocket>(-1);

  NativeSocket Release() {
    const NativeSocket native = native_;
    native_ = kInvalid;
    return native;
  }
  NativeSocket native_ = kInvalid;
};

namespace sockets {

// Before the first use. What goes wrong is told by the first call.
void Start();

// The errno of the call that failed just now.
int LastErrno();

// Begins a connection: an errno, 0 when it is made already, EINPROGRESS when it is to be waited for.
int StartConnection(NativeSocket socket, const struct sockaddr* address, size_t size);
// What became of it: an errno, 0 for success.
int PendingErrno(NativeSocket socket);

// The errno of a failed getaddrinfo; *text, which may be null, says why.
int ErrnoOfResolving(int error, bool to_listen, std::string* text);

// What every connection wants: no waiting in calls, no children that inherit it, nothing held back until there is more
// to send, and news of a peer that is gone.
void Prepare(NativeSocket socket);

// Lets an address be used again at once, and by nobody else at the same time.
void PrepareToListen(NativeSocket socket);

// Waits at most so long for a connection or for bytes, and tells which there are (Socket::Readiness): both when the
// connection is broken. An errno; EINTR is none.
int Wait(NativeSocket socket, int wanted, int milliseconds, int* ready);

// Both without waiting. An errno; EAGAIN for what would have to wait.
int Send(NativeSocket socket, std::string_view first, std::string_view second, size_t* sent);
int Receive(NativeSocket socket, char* data, size_t size, size_t* got);

// The system still holds bytes that the wire has not taken. False where it does not tell.
bool IsBehind(NativeSocket socket);

}  // namespace sockets
}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SOCKET_SYSTEM_H_
