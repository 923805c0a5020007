// A server's session on one end of a pair of sockets, and a test on the other.
#ifndef EACOPY_TESTS_CONVERSATION_H_
#define EACOPY_TESTS_CONVERSATION_H_

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <string>
#include <string_view>
#include <thread>

#include "files.h"
#include "net/server_context.h"
#include "net/session.h"
#include "net/socket.h"

namespace eacopy {
namespace test {

class Conversation {
 public:
  explicit Conversation(net::ServerContext& context) {
    int ends[2];
    Must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "make a pair of sockets");
    ours_ = Descriptor(ends[0]);
    ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
    struct timeval patience = {20, 0};
    ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    thread_ = std::thread([&context, end = ends[1]] {
      net::Socket socket{net::SocketHandle(end)};
      net::ServeConnection(context, socket);
    });
  }
  ~Conversation() { Finish(); }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // False: the server does not listen any more.
  bool Say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Fewer bytes when the stream ends before, or nothing comes for a long time.
  std::string Hear(size_t size) {
    std::string bytes(size, '\0');
    size_t done = 0;
    while (done < size) {
      const ssize_t got = ::recv(ours_.get(), &bytes[done], size - done, 0);
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    return bytes;
  }
  // All that comes until the server closes; `ended` tells whether it did.
  std::string HearAll(bool* ended = nullptr) {
    std::string bytes;
    char buffer[4096];
    for (;;) {
      const ssize_t got = ::recv(ours_.get(), buffer, sizeof(buffer), 0);
      if (got <= 0) {
        if (ended != nullptr) *ended = got == 0 || errno == ECONNRESET;
        return bytes;
      }
      bytes.append(buffer, static_cast<size_t>(got));
    }
  }
  // Nothing more will be said.
  void HangUp() { ::shutdown(ours_.get(), SHUT_WR); }
  // Leaves, and waits for the server to notice.
  void Finish() {
    ours_ = Descriptor(-1);
    if (thread_.joinable()) thread_.join();
  }
  int descriptor() const { return ours_.get(); }

 private:
  Descriptor ours_{-1};
  std::thread thread_;
};

}  // namespace test
}  // namespace eacopy

#endif  // EACOPY_TESTS_CONVERSATION_H_
