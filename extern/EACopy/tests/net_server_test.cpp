// The server as a whole: listening, refusing, stopping in the middle of things, and what it leaves and finds again.

#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "eacopy/server.h"
#include "files.h"
#include "net/digest.h"
#include "net/messages.h"
#include "net/socket.h"
#include "temporary.h"

namespace eacopy {
namespace net {
namespace {

using std::chrono::steady_clock;
using test::Exists;
using test::Folder;
using test::MakeFolder;
using test::Write;

ServerOptions Options(const Folder& folder) {
  ServerOptions options;
  options.shares = {{"share", folder / "share"}};
  options.security_file = false;
  return options;
}

std::unique_ptr<Server> Started(const ServerOptions& options) {
  Failure failure;
  std::unique_ptr<Server> server = Server::Start(options, &failure);
  test::Must(server != nullptr, "start a server: " + failure.text);
  return server;
}

bool Until(const std::function<bool()>& done) {
  const auto limit = steady_clock::now() + std::chrono::seconds(20);
  while (!done() && steady_clock::now() < limit) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return done();
}

// A client that has come as far as Opened, unless it was refused.
class Client {
 public:
  explicit Client(uint16_t port) { status_ = Socket::Connect("127.0.0.1", port, Patience(), &socket_, nullptr); }

  bool Hear(size_t size) { return status_.ok() && inbox_.Fill(socket_, size, Patience()).ok(); }
  std::string Take(size_t size) {
    if (!Hear(size)) return "";
    const std::string bytes(inbox_.bytes().substr(0, size));
    inbox_.Consume(size);
    return bytes;
  }
  bool Greet() {
    const std::string head = Take(4);
    if (head.empty()) return false;
    Take(LoadNumber<uint32_t>(head.data()) - 4);
    std::string said;
    EncodeHello(&said, Hello{kDialectVersion, 0xff, {}, 0});
    Open open;
    open.flags = kOpenWrite | kOpenTree;
    open.directory = "share/dst";
    EncodeOpen(&said, open);
    Say(said);
    return TakeMessage() == MessageType::kWelcome && TakeMessage() == MessageType::kOpened;
  }
  MessageType TakeMessage() {
    const std::string head = Take(kMessageHeader);
    MessageHeader header;
    if (head.empty() || !DecodeMessageHeader(head, &header)) return MessageType::kGoodbye;
    payload = Take(header.size - kMessageHeader);
    return static_cast<MessageType>(header.type);
  }
  void Say(const std::string& bytes) { socket_.Send(bytes, Patience()); }
  // Offers a file of this size, and sends the first half.
  bool BeginFile(const char* name) {
    std::string said;
    CountedMessage offer = CountedMessage::Offer(&said, 0);
    Entry entry;
    entry.path = name;
    entry.size = 100;
    entry.mode = 0644;
    PutEntry(&said, entry);
    offer.Add();
    offer.Finish();
    Say(said);
    if (TakeMessage() != MessageType::kResults) return false;
    said.clear();
    EncodeBegin(&said, Begin{0, 0, 100});
    EncodeDataHead(&said, 50);
    Say(said + std::string(50, 'x'));
    return true;
  }

  std::string payload;

 private:
  Socket socket_;
  Inbox inbox_;
  Status status_;
};

size_t Unfinished(const std::string& path) {
  size_t count = 0;
  for (const std::string& name : test::Names(path)) count += IsTemporaryName(name) ? 1 : 0;
  return count;
}

TEST(ItStopsInTheMiddleOfThings) {
  Folder folder;
  MakeFolder(folder / "share");
  std::unique_ptr<Server> server = Started(Options(folder));
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(server->port()));
    REQUIRE(clients.back()->Greet());
    REQUIRE(clients.back()->BeginFile(("f" + std::to_string(i)).c_str()));
  }
  Client silent(server->port());
  CHECK(Until([&] { return Unfinished(folder / "share/dst") == 20; }));
  CHECK(
      Until([&] { return server->GetStatistics().active_connections == 21; }));  // the silent one counts when accepted
  const auto begin = steady_clock::now();
  server->Stop();
  CHECK(steady_clock::now() - begin < std::chrono::seconds(5));
  CHECK(test::Names(folder / "share/dst").empty());
  CHECK_EQUAL(server->GetStatistics().active_connections, 0u);
  CHECK_EQUAL(server->GetStatistics().connections, 21u);
  server->Stop();
  Client late(server->port());
  CHECK(!late.Hear(1));
}

TEST(OneTooManyIsRefusedAndOthersGoOn) {
  Folder folder;
  MakeFolder(folder / "share");
  ServerOptions options = Options(folder);
  options.max_connections = 2;
  std::unique_ptr<Server> server = Started(options);
  Client first(server->port());
  REQUIRE(first.Greet());
  {
    Client second(server->port());
    REQUIRE(second.Greet());
    Client third(server->port());
    CHECK(!third.Greet());
  }
  CHECK(Until([&] { return server->GetStatistics().active_connections == 1; }));
  Client fourth(server->port());
  CHECK(fourth.Greet());
  CHECK(first.BeginFile("f"));
}

TEST(ASilentClientIsSentAway) {
  Folder folder;
  MakeFolder(folder / "share");
  ServerOptions options = Options(folder);
  options.idle_timeout = 0.05;
  std::unique_ptr<Server> server = Started(options);
  Client client(server->port());
  CHECK(client.Hear(1));
  CHECK(Until([&] { return server->GetStatistics().active_connections == 0; }));
}

TEST(WhatAKilledServerLeftIsRemovedAtTheStart) {
  Folder folder;
  MakeFolder(folder / "share");
  MakeFolder(folder / "share/deep");
  Write(folder / "share/deep/.eacopy-0123456789abcdef.tmp", "half");
  std::unique_ptr<Server> server = Started(Options(folder));
  CHECK(Until([&] { return Unfinished(folder / "share/deep") == 0; }));
}

TEST(TheHistoryOutlivesTheServer) {
  Folder folder;
  MakeFolder(folder / "share");
  ServerOptions options = Options(folder);
  options.history_file = folder / "history";
  std::unique_ptr<Server> server = Started(options);
  {
    Client client(server->port());
    REQUIRE(client.Greet());
    REQUIRE(client.BeginFile("f"));
    std::string said;
    EncodeDataHead(&said, 50);
    said += std::string(50, 'x');
    const std::string content(100, 'x');
    EncodeEnd(&said, End{Crc32(0, content.data(), content.size()), 0});
    client.Say(said);
    CHECK(client.TakeMessage() == MessageType::kResults);
  }
  CHECK_EQUAL(server->GetStatistics().history_size, 1u);
  server.reset();
  CHECK(Exists(folder / "history"));
  server = Started(options);
  CHECK_EQUAL(server->GetStatistics().history_size, 1u);
}

TEST(WhatCannotBeServedIsTold) {
  Folder folder;
  MakeFolder(folder / "share");
  std::unique_ptr<Server> server = Started(Options(folder));
  ServerOptions options = Options(folder);
  options.port = server->port();
  Failure failure;
  CHECK(Server::Start(options, &failure) == nullptr);
  CHECK(failure.status.operation() == Operation::kListen);
  CHECK_EQUAL(failure.status.error_number(), EADDRINUSE);
  options = Options(folder);
  options.shares.emplace_back("gone", folder / "gone");
  CHECK(Server::Start(options, &failure) == nullptr);
  CHECK(failure.status.kind() == Kind::kFileNotFound);
  CHECK_EQUAL(failure.source, folder / "gone");
}

TEST(TheLogTellsWhatHappened) {
  Folder folder;
  MakeFolder(folder / "share");
  std::unique_ptr<Server> server = Started(Options(folder));
  {
    Client client(server->port());
    client.Hear(1);
    client.Say("GET / HTTP/1.1\r\n\r\n");
  }
  CHECK(Until([&] { return server->GetStatistics().errors == 1; }));
  server->Stop();
  bool listening = false, warned = false, stopped = false;
  int level = 0;
  std::string text;
  while (server->WaitLog(0, &level, &text)) {
    listening = listening || (level == 20 && text.find("listening") == 0);
    warned = warned || level == 30;
    stopped = stopped || text == "stopped";
  }
  CHECK(listening && warned && stopped);
}

}  // namespace
}  // namespace net
}  // namespace eacopy
