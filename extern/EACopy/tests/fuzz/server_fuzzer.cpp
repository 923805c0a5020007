// A fuzzer for what a server takes from its clients, in both dialects: whatever they say, the server must not crash,
// not hang, leave nothing unfinished behind, and touch nothing outside of the share.
//
// cmake -DEACOPY_BUILD_FUZZERS=ON -DEACOPY_SANITIZE=address,undefined -DCMAKE_CXX_COMPILER=clang++ …
// server_fuzzer -max_len=65536 NEW_CORPUS tests/fuzz/server-corpus
//
// The first byte of an input chooses how the server is set up, and how the conversation begins; what follows is what
// the client says.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "net/bytes.h"
#include "net/messages.h"
#include "net/server_context.h"
#include "net/session.h"
#include "net/socket.h"
#include "net/store.h"
#include "net/wire.h"

namespace {

using namespace eacopy;
using namespace eacopy::net;

void Must(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// A folder with the share in it, and a file beside.
class Ground {
 public:
  Ground() {
    char path[] = "/dev/shm/eacopy-fuzz-XXXXXX";
    Must(::mkdtemp(path) != nullptr, "cannot make a folder in /dev/shm");
    path_ = path;
    Write(path_ + "/outside", "outside");
    Must(::mkdir((path_ + "/share").c_str(), 0755) == 0, "cannot make the share");
  }

  const std::string& path() const { return path_; }

  void Prepare() {
    const std::atomic<bool> stop{false};
    platform::Directory share;
    Must(platform::OpenDirectory(platform::Directory::Paths(), (path_ + "/share").c_str(), false, &share).ok(),
         "the share is gone");
    // A client may take the right to write from a directory; the superuser is not kept by that.
    RemoveContents(share, stop);
    ::mkdir((path_ + "/share/dir").c_str(), 0755);
    Write(path_ + "/share/dir/f", "content");
    Must(::symlink("..", (path_ + "/share/up").c_str()) == 0, "cannot make a link");
  }

  void Check() const {
    struct stat st;
    Must(::stat((path_ + "/outside").c_str(), &st) == 0 && st.st_size == 7, "a file outside of the share was changed");
    platform::Directory folder;
    platform::Listing names;
    Must(platform::OpenDirectory(platform::Directory::Paths(), path_.c_str(), false, &folder).ok() &&
             platform::ListDirectory(folder, &names).ok() && names.size() == 2,
         "something was made outside of the share");
    const std::atomic<bool> stop{false};
    Must(RemoveDeadFiles(folder, stop) == 0, "an unfinished file was left");
  }

 private:
  static void Write(const std::string& path, const std::string& content) {
    platform::Handle file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    Must(file.valid() && ::write(file.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()),
         "cannot write");
  }

  std::string path_;
};

std::string Greeting(uint8_t choice) {
  std::string said;
  if ((choice & 3) == 1) {
    EncodeHello(&said, Hello{kDialectVersion, 0xffffffff, {}, 0});
    Open open;
    open.flags = (choice & 4) != 0 ? kOpenTree : kOpenTree | kOpenWrite;
    open.directory = "share";
    EncodeOpen(&said, open);
  } else if ((choice & 3) == 2) {
    wire::Environment environment;
    environment.secret[0] = 1;
    environment.net_directory = "share\\";
    wire::EncodeEnvironment(&said, environment);
  }
  return said;
}

void Say(int socket, std::string_view said) {
  while (!said.empty()) {
    const ssize_t sent = ::send(socket, said.data(), said.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    said.remove_prefix(static_cast<size_t>(sent));
  }
  ::shutdown(socket, SHUT_WR);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Ground ground;
  if (size == 0) return 0;
  const uint8_t choice = data[0];
  ServerOptions options;
  options.security_file = (choice & 8) != 0;
  options.use_hash = (choice & 16) != 0;
  options.link_mode = static_cast<LinkMode>(choice >> 6);
  if ((choice & 32) != 0) options.token = "token";
  options.idle_timeout = 5;
  options.history_size = 100;
  ground.Prepare();
  ServerContext context(options);
  Must(context.shares.Add("share", ground.path() + "/share").ok(), "the share is gone");
  int ends[2];
  Must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "cannot make a pair of sockets");
  std::thread client([&] {
    // Both at once, so that neither waits for the other.
    const std::string said = Greeting(choice) + std::string(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::thread reader([&] {
      char buffer[64 * 1024];
      while (::recv(ends[0], buffer, sizeof(buffer), 0) > 0) {
      }
    });
    Say(ends[0], said);
    reader.join();
    ::close(ends[0]);
  });
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  {
    Socket socket{net::SocketHandle(ends[1])};
    ServeConnection(context, socket);
  }
  client.join();
  ground.Check();
  return 0;
}
