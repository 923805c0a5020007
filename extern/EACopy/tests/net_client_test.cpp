// The client against the engine's own server, in both dialects and both directions.

#include <sys/xattr.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "files.h"
#include "net/socket.h"
#include "net/wire.h"
#include "net/zstd.h"
#include "service.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

// A tree of all that there is.
void MakeTree(const std::string& path, int files = 300) {
  MakeFolder(path);
  MakeFolder(path + "/empty", 0711);
  MakeFolder(path + "/many");
  MakeFolder(path + "/read only");
  for (int i = 0; i < files; ++i) {
    const std::string name = path + "/many/" + std::to_string(i);
    Write(name, Noise(static_cast<size_t>(i) * 37 % 5000, static_cast<uint64_t>(i)), i % 3 == 0 ? 0600 : 0644);
    SetTimes(name, 1500000000 + i, 1600000000 + i);
  }
  Write(path + "/nothing", "");
  Write(path + "/large", Noise(3000000));
  Write(path + "/text", std::string(700000, 'x'));
  Write(path + "/read only/file", "1", 0444);
  Write(path + "/odd \xff name\\with all", "2");
  MakeLink("many/1", path + "/link");
  MakeLink("nowhere", path + "/dangling");
  SetTimes(path + "/link", 1400000000, 1400000001);
  SetSize(path + "/sparse", 50 << 20);
  WriteAt(path + "/sparse", "in the middle", 20 << 20);
  ::setxattr((path + "/text").c_str(), "user.color", "blue", 4, 0);
  ::setxattr((path + "/many").c_str(), "user.kind", "dir", 3, 0);
  ::chmod((path + "/read only").c_str(), 0555);
  for (const char* name : {"/empty", "/many", "/read only", ""}) SetTimes(path + name, 1500000000, 1510000000);
}

std::string AttributeOf(const std::string& path, const char* name) {
  char value[100];
  const ssize_t size = ::getxattr(path.c_str(), name, value, sizeof(value));
  return size < 0 ? "none" : std::string(value, static_cast<size_t>(size));
}

void PushAndPull(Service& service) {
  MakeTree(service.Here("tree"));
  JobResult result = service.Push("tree", "copy");
  CheckNothingFailed(result);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("copy")), "");
  CHECK_EQUAL(result.counters.files_copied, 306u);
  CHECK_EQUAL(result.counters.symlinks_copied, 2u);
  CHECK_EQUAL(result.counters.bytes_copied, result.counters.bytes_found);
  CHECK(StatusOf(service.Shared("copy/sparse")).st_blocks < 1000);
  CHECK_EQUAL(AttributeOf(service.Shared("copy/text"), "user.color"),
              AttributeOf(service.Here("tree/text"), "user.color"));
  CHECK_EQUAL(AttributeOf(service.Shared("copy/many"), "user.kind"),
              AttributeOf(service.Here("tree/many"), "user.kind"));

  result = service.Push("tree", "copy");
  CheckNothingFailed(result);
  CHECK_EQUAL(result.counters.files_skipped, 306u);
  CHECK_EQUAL(result.counters.files_copied, 0u);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("copy")), "");

  result = service.Push("tree", "another/place");
  CheckNothingFailed(result);
  CHECK_EQUAL(result.counters.files_linked, 306u);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("another/place")), "");

  result = service.Pull("copy", "back");
  CheckNothingFailed(result);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Here("back")), "");
  CHECK_EQUAL(result.counters.files_copied, 306u);
  CHECK_EQUAL(result.counters.bytes_copied, result.counters.bytes_found);
  CHECK(StatusOf(service.Here("back/sparse")).st_blocks < 1000);
  CHECK_EQUAL(AttributeOf(service.Here("back/text"), "user.color"),
              AttributeOf(service.Here("tree/text"), "user.color"));

  result = service.Pull("copy", "back");
  CheckNothingFailed(result);
  CHECK_EQUAL(result.counters.files_skipped, 306u);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Here("back")), "");
}

}  // namespace

TEST(TreesGoThereAndBack) {
  Service service;
  PushAndPull(service);
}

TEST(TreesGoCompressed) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  for (const int level : {-1, 5}) {
    Service service;
    service.remote().level = level;
    PushAndPull(service);
  }
}

TEST(TreesGoThroughASecurityFileAndWithAToken) {
  Service proving([](ServerOptions& options) { options.security_file = true; });
  PushAndPull(proving);
  Service asking([](ServerOptions& options) { options.token = "a long secret"; });
  PushAndPull(asking);
}

TEST(AWrongTokenIsRefused) {
  Service service([](ServerOptions& options) { options.token = "right"; });
  Write(service.Here("file"), "1");
  for (const char* token : {"wrong", ""}) {
    service.remote().token = token;
    const Failure failure = service.Push("file", "copy", false).failure();
    CHECK(failure.status.kind() == Kind::kPermissionDenied);
    CHECK(failure.status.operation() == Operation::kAuthenticate);
    CHECK(failure.root);
    CHECK(!failure.text.empty());
  }
  CHECK_EQUAL(Names(service.Shared("")).size(), 0u);
}

TEST(AClientWithATokenGoesOnOnlyWithAServerThatKnowsIt) {
  Service service;
  Write(service.Here("file"), "1");
  service.remote().token = "some";
  const Failure failure = service.Push("file", "copy", false).failure();
  CHECK(failure.status.operation() == Operation::kAuthenticate);
}

TEST(SingleFilesGoToANameOrIntoADirectory) {
  for (const bool plain : {false, true}) {
    Service service;
    service.remote().plain = plain;
    Write(service.Here("file"), Noise(400000), 0640);
    SetTimes(service.Here("file"), 1500000000, 1600000000, 123456700);
    CheckNothingFailed(service.Push("file", "deep/down/name", false));
    CHECK_EQUAL(Read(service.Shared("deep/down/name")), Read(service.Here("file")));
    CheckNothingFailed(service.Push("file", "deep/down", false));
    CHECK_EQUAL(Read(service.Shared("deep/down/file")), Read(service.Here("file")));
    CheckNothingFailed(service.Pull("deep/down/name", "back"));
    CHECK_EQUAL(Read(service.Here("back")), Read(service.Here("file")));
    CHECK(ModifiedOf(StatusOf(service.Here("back"))).tv_nsec == 123456700);
    if (!plain) CHECK_EQUAL(ModeOf(service.Here("back")), 0640u);
    MakeFolder(service.Here("folder"));
    CheckNothingFailed(service.Pull("deep/down/name", "folder"));
    CHECK_EQUAL(Read(service.Here("folder/name")), Read(service.Here("file")));
    const Failure failure = service.Pull("missing", "nothing").failure();
    CHECK(failure.status.kind() == Kind::kFileNotFound);
    CHECK(failure.root);
    CHECK(!Exists(service.Here("nothing")));
  }
}

TEST(PlainTreesGoThereAndBack) {
  for (const bool proving : {false, true}) {
    for (const int level : {0, 3, -1}) {
      Service service([&](ServerOptions& options) { options.security_file = proving; });
      service.remote().plain = true;
      service.remote().level = net::ZstdAvailable() ? level : 0;
      MakeFolder(service.Here("tree"));
      MakeFolder(service.Here("tree/empty"));
      MakeFolder(service.Here("tree/many"));
      for (int i = 0; i < 200; ++i) {
        const std::string name = service.Here("tree/many/" + std::to_string(i));
        Write(name, Noise(static_cast<size_t>(i) * 37));
        SetTimes(name, 1500000000, 1500000000 + i, 123456700);
      }
      Write(service.Here("tree/large"), Noise(5000000));
      SetTimes(service.Here("tree/large"), 1500000000, 1500000000, 100);
      Write(service.Here("tree/\xc3\xbcn\xc3\xaf"), "names");
      SetTimes(service.Here("tree/\xc3\xbcn\xc3\xaf"), 1500000000, 1500000000, 100);
      JobResult result = service.Push("tree", "copy");
      CheckNothingFailed(result);
      CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("copy"), false), "");
      CHECK_EQUAL(result.counters.files_copied, 202u);
      CHECK_EQUAL(result.counters.bytes_copied, result.counters.bytes_found);
      result = service.Push("tree", "copy");
      CheckNothingFailed(result);
      CHECK_EQUAL(result.counters.files_skipped, 202u);
      result = service.Push("tree", "again");
      CheckNothingFailed(result);
      CHECK_EQUAL(result.counters.files_linked, 202u);
      result = service.Pull("copy", "back");
      CheckNothingFailed(result);
      CHECK_EQUAL(Difference(service.Here("tree"), service.Here("back"), false), "");
      result = service.Pull("copy", "back");
      CheckNothingFailed(result);
      CHECK_EQUAL(result.counters.files_skipped, 202u);
    }
  }
}

TEST(WhatPlainCannotSayFailsAlone) {
  Service service;
  service.remote().plain = true;
  MakeFolder(service.Here("tree"));
  Write(service.Here("tree/good"), "1");
  Write(service.Here("tree/back\\slash"), "2");
  Write(service.Here("tree/\xff"), "3");
  MakeLink("good", service.Here("tree/link"));
  const JobResult result = service.Push("tree", "copy");
  CHECK_EQUAL(result.failures.size(), 3u);
  for (const Failure& failure : result.failures) {
    const bool link = failure.source == service.Here("tree/link");
    CHECK(failure.status.kind() == (link ? Kind::kUnsupported : Kind::kEncoding));
    CHECK(!failure.root);
  }
  CHECK_EQUAL(Names(service.Shared("copy")).size(), 1u);
}

TEST(LinksAreFollowedWhenThatIsWanted) {
  Service service;
  service.options().follow_symlinks = true;
  MakeFolder(service.Here("tree"));
  MakeFolder(service.Here("elsewhere"));
  Write(service.Here("elsewhere/file"), "1");
  MakeLink("../elsewhere", service.Here("tree/directory"));
  MakeLink("directory/file", service.Here("tree/link"));
  MakeLink("nowhere", service.Here("tree/dangling"));
  MakeLink("..", service.Here("elsewhere/up"));
  JobResult result = service.Push("tree", "copy");
  CHECK_EQUAL(Read(service.Shared("copy/directory/file")), "1");
  CHECK_EQUAL(Read(service.Shared("copy/link")), "1");
  bool dangles = false, loops = false;
  for (const Failure& failure : result.failures) {
    dangles = dangles || failure.source == service.Here("tree/dangling");
    loops = loops || failure.status.error_number() == ELOOP;
  }
  CHECK(dangles);
  CHECK(loops);
}

TEST(ProgressTellsBeginningAndEndOfEveryFile) {
  Service service;
  service.options().want_progress = true;
  MakeTree(service.Here("tree"), 20);
  for (int round = 0; round < 4; ++round) {
    const bool push = round < 2;
    const JobResult result = push ? service.Push("tree", "copy") : service.Pull("copy", "back");
    CheckNothingFailed(result);
    CHECK_EQUAL(result.progress.size(), 26u);
    for (const auto& [path, records] : result.progress) {
      CHECK(records.front().first);
      CHECK_EQUAL(records.back().copied, records.back().total);
    }
  }
}

TEST(NoServerIsOneFailure) {
  Service service;
  Write(service.Here("file"), "1");
  service.server().Stop();
  const Failure failure = service.Push("file", "copy", false).failure();
  CHECK(failure.status.kind() == Kind::kNetwork);
  CHECK(failure.status.operation() == Operation::kConnect);
  CHECK(failure.root);
}

TEST(OutsideOfTheSharesIsRefused) {
  Service service;
  MakeFolder(service.Here("tree"));
  for (const bool push : {true, false}) {
    service.remote().push = push;
    service.remote().directory = "other/place";
    Job job(service.options(), service.remote());
    const JobResult result = RunItems(job, {{ItemType::kTree, service.Here("tree"), service.Here("x")}});
    CHECK(result.failure().status.kind() == Kind::kPermissionDenied);
  }
}

TEST(CancellingStopsSoon) {
  for (const bool push : {true, false}) {
    Service service;
    SetSize(service.Here("large"), 1);
    Write(service.Here("large"), Noise(64 << 20));
    if (!push) Write(service.Shared("large"), Noise(64 << 20));
    service.remote().push = push;
    service.remote().directory = "s/large";
    Job job(service.options(), service.remote());
    const std::string here = service.Here(push ? "large" : "copy");
    const std::string there = "eacopy://server/s/large";
    job.Add(ItemType::kFile, push ? here.c_str() : there.c_str(), push ? there.c_str() : here.c_str());
    job.End();
    while (job.GetCounters().bytes_copied == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto begin = std::chrono::steady_clock::now();
    job.Cancel();
    while ((job.Wait(1000) & kNewsDone) == 0) {
    }
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(2000));
    if (!push) CHECK(!Exists(service.Here("copy")));
    for (const std::string& name : Names(service.Here(""))) CHECK(name.find(".eacopy-") == std::string::npos);
  }
}

TEST(ASilentServerTimesOut) {
  net::Socket listening;
  std::string text;
  Must(net::Socket::Listen("127.0.0.1", 0, &listening, &text).ok(), "listen");
  Service service;
  Write(service.Here("file"), "1");
  service.remote().port = listening.LocalPort();
  service.remote().timeout = 0.2;
  const Failure failure = service.Push("file", "copy", false).failure();
  CHECK(failure.status.kind() == Kind::kTimeout);
  CHECK(failure.status.operation() == Operation::kConnect);
}

TEST(ALostConnectionIsMadeAgainWhenThatIsWanted) {
  Service service;
  MakeFolder(service.Here("tree"));
  Write(service.Here("tree/file"), Noise(1000));
  // The first connection ends in the middle of the greeting.
  net::Socket listening;
  std::string text;
  Must(net::Socket::Listen("127.0.0.1", 0, &listening, &text).ok(), "listen");
  const uint16_t real = service.remote().port;
  service.remote().port = listening.LocalPort();
  service.options().strategy = Strategy::kRetry;
  service.options().retry_delay = 0.05;
  std::thread relay([&] {
    net::Socket first, second, onward;
    Must(listening.Accept(std::chrono::milliseconds(10000), &first).ok(), "accept");
    first.Close();
    Must(listening.Accept(std::chrono::milliseconds(10000), &second).ok(), "accept");
    Must(net::Socket::Connect("127.0.0.1", real, net::Patience(), &onward, nullptr).ok(), "connect");
    char buffer[4096];
    for (bool ended = false; !ended;) {
      size_t got = 0, sent = 0;
      (void)sent;
      if (!second.ReceiveNow(buffer, sizeof(buffer), &got, &ended).ok()) break;
      if (got != 0 && !onward.Send(std::string_view(buffer, got), net::Patience()).ok()) break;
      bool over = false;
      if (!onward.ReceiveNow(buffer, sizeof(buffer), &got, &over).ok() || over) break;
      if (got != 0 && !second.Send(std::string_view(buffer, got), net::Patience()).ok()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const JobResult result = service.Push("tree", "copy");
  relay.join();
  CheckNothingFailed(result);
  CHECK(result.counters.retries >= 1);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("copy")), "");
}
