// Sockets on every system: connecting, listening, sending, receiving and waiting, and what errors are called.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include "check.h"
#include "net/socket.h"
#include "noise.h"

using namespace eacopy;
using namespace eacopy::net;
using namespace eacopy::test;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

Patience For(milliseconds silence, const std::atomic<bool>* cancelled = nullptr) {
  Patience patience;
  patience.silence = silence;
  patience.cancelled = cancelled;
  return patience;
}

const Patience kLong = For(milliseconds(20000));

// Two ends of a connection over loopback.
struct Pair {
  Socket listener, client, server;

  bool Make() {
    return Socket::Listen("127.0.0.1", 0, &listener, nullptr).ok() &&
           Socket::Connect("127.0.0.1", listener.LocalPort(), kLong, &client, nullptr).ok() &&
           listener.Accept(milliseconds(20000), &server).ok() && server.valid();
  }
};

std::string ReceiveAll(const Socket& socket) {
  std::string all;
  char buffer[8192];
  for (size_t got = 1; got != 0;) {
    if (!socket.Receive(buffer, sizeof(buffer), kLong, &got).ok()) return all + "(failed)";
    all.append(buffer, got);
  }
  return all;
}

}  // namespace

TEST(BytesGoBothWays) {
  Pair pair;
  REQUIRE(pair.Make());
  CHECK(pair.client.PeerIsLoopback() && pair.server.PeerIsLoopback());
  CHECK_EQUAL(pair.client.PeerName(), "127.0.0.1:" + std::to_string(pair.listener.LocalPort()));
  CHECK(pair.client.Send("first", " and second", kLong).ok());
  CHECK(pair.client.Send("", "!", kLong).ok());
  pair.client.ShutdownSending();
  CHECK_EQUAL(ReceiveAll(pair.server), std::string("first and second!"));
  CHECK(pair.server.Send("answer", kLong).ok());
  pair.server.Close();
  CHECK_EQUAL(ReceiveAll(pair.client), std::string("answer"));
}

TEST(MoreThanTheSystemHoldsWaitsForThePeer) {
  Pair pair;
  REQUIRE(pair.Make());
  const std::string bytes = Noise(24 << 20);
  // Until the system takes no more: then nothing is sent, and that is no error.
  size_t sent = 0, some = 1;
  while (some != 0 && sent < bytes.size()) {
    REQUIRE(pair.client.SendNow(std::string_view(bytes).substr(sent, 1 << 20), &some).ok());
    sent += some;
  }
  REQUIRE(sent > 0 && sent < bytes.size());
  int ready = 0;
  CHECK(pair.server.Wait(Socket::kReadable | Socket::kWritable, milliseconds(5000), nullptr, &ready).ok());
  CHECK_EQUAL(ready, Socket::kReadable | Socket::kWritable);
  const Status full = pair.client.Send(std::string(32 << 20, 'x'), For(milliseconds(100)));
  CHECK_EQUAL(full.error_number(), ETIMEDOUT);

  Pair other;
  REQUIRE(other.Make());
  std::string received;
  std::thread reader([&] { received = ReceiveAll(other.server); });
  CHECK(other.client.Send(std::string_view(bytes).substr(0, 1000), std::string_view(bytes).substr(1000), kLong).ok());
  other.client.Close();
  reader.join();
  CHECK(received == bytes);
}

TEST(NobodyWaitsLongerThanToldOrAfterCancelling) {
  Pair pair;
  REQUIRE(pair.Make());
  char byte;
  size_t got = 1;
  bool ended = true;
  CHECK(pair.client.ReceiveNow(&byte, 1, &got, &ended).ok());
  CHECK(got == 0 && !ended);
  auto begin = steady_clock::now();
  const Status late = pair.client.Receive(&byte, 1, For(milliseconds(150)), &got);
  CHECK_EQUAL(late.error_number(), ETIMEDOUT);
  CHECK(steady_clock::now() - begin >= milliseconds(100));
  std::atomic<bool> cancelled{false};
  Status stopped;
  std::thread waiter([&] { stopped = pair.client.Receive(&byte, 1, For(milliseconds(60000), &cancelled), &got); });
  std::this_thread::sleep_for(milliseconds(20));
  begin = steady_clock::now();
  cancelled = true;
  waiter.join();
  CHECK(stopped.cancelled());
  CHECK(steady_clock::now() - begin < milliseconds(20000));
  Socket nobody;
  CHECK(pair.listener.Accept(milliseconds(50), &nobody).ok());
  CHECK(!nobody.valid());
}

TEST(ShutdownWakesWhoeverWaits) {
  Pair pair;
  REQUIRE(pair.Make());
  Status status;
  size_t got = 1;
  char byte;
  std::thread waiter([&] { status = pair.server.Receive(&byte, 1, kLong, &got); });
  std::this_thread::sleep_for(milliseconds(20));
  const auto begin = steady_clock::now();
  pair.server.Shutdown();
  waiter.join();
  CHECK(steady_clock::now() - begin < milliseconds(10000));
  CHECK(!status.ok() || got == 0);
  CHECK(!pair.server.Send("x", kLong).ok());
}

TEST(ErrorsHaveTheirNames) {
  Socket listener, socket;
  REQUIRE(Socket::Listen("127.0.0.1", 0, &listener, nullptr).ok());
  const uint16_t port = listener.LocalPort();
  REQUIRE(port != 0);
  Status status = Socket::Listen("127.0.0.1", port, &socket, nullptr);
  CHECK(status.kind() == Kind::kNetwork);
  CHECK_EQUAL(status.error_number(), EADDRINUSE);
  listener.Close();
  status = Socket::Connect("127.0.0.1", port, kLong, &socket, nullptr);
  CHECK(status.kind() == Kind::kNetwork && status.operation() == Operation::kConnect);
  CHECK_EQUAL(status.error_number(), ECONNREFUSED);
  std::string text;
  status = Socket::Connect("no such name", 1, kLong, &socket, &text);
  CHECK_EQUAL(status.error_number(), EHOSTUNREACH);
  CHECK(!text.empty());
  CHECK(!socket.valid());
}

TEST(AnInboxTakesWhatArrives) {
  Pair pair;
  REQUIRE(pair.Make());
  const std::string bytes = Noise(300000);
  std::thread sender([&] {
    pair.client.Send(std::string_view(bytes), kLong);
    pair.client.ShutdownSending();
  });
  Inbox inbox;
  std::string received;
  for (const size_t wanted : {1u, 70000u, 7u, 200000u}) {
    CHECK(inbox.Fill(pair.server, wanted, kLong).ok());
    CHECK(inbox.size() >= wanted);
    received += inbox.bytes().substr(0, wanted);
    inbox.Consume(wanted);
  }
  sender.join();
  const size_t left = bytes.size() - received.size();
  CHECK(inbox.Fill(pair.server, left, kLong).ok());
  received += inbox.bytes();
  inbox.Consume(inbox.size());
  CHECK(received == bytes);
  CHECK(!inbox.ended());
  CHECK_EQUAL(inbox.Fill(pair.server, 1, kLong).error_number(), ECONNRESET);
  CHECK(inbox.ended());
  CHECK_EQUAL(inbox.received(), uint64_t{300000});
}
