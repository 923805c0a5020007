// Deltas through a server: what both sides have does not go over the wire, and what is not as it was is sent whole.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "files.h"
#include "net/zstd.h"
#include "service.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

struct Version {
  const char* name;
  std::string content;
  uint64_t fresh;  // bytes that the old one does not have, roughly
};

std::vector<Version> Versions(const std::string& old) {
  std::string scattered = old;
  for (size_t at = 100; at < scattered.size(); at += 100000) scattered[at] = static_cast<char>(scattered[at] + 1);
  return {{"the same", old, 0},
          {"changed here and there", scattered, 10 * 1024},
          {"an insertion", old.substr(0, 5000) + Noise(3000, 2) + old.substr(5000), 5000},
          {"a removal", old.substr(0, 300000) + old.substr(321001), 2048},
          {"cut off", old.substr(0, 700001), 1024},
          {"longer", old + Noise(50000, 4), 52000},
          {"moved", old.substr(400000) + old.substr(0, 400000), 3 * 1024},
          {"another", Noise(400000, 3), 400000},
          {"nothing", "", 0},
          {"a few bytes", "abc", 3},
          {"zeros before", std::string(300000, '\0') + old, 300000}};
}

// `wire`: bytes in the direction of the content.
void CheckDelta(const Version& version, const JobResult& result, const std::string& path, uint64_t wire) {
  CheckNothingFailed(result);
  const bool same = Read(path) == version.content;
  if (!same) std::fprintf(stderr, "%s\n", version.name);
  CHECK(same);
  CHECK_EQUAL(result.counters.bytes_copied, version.content.size());
  CHECK_EQUAL(result.counters.files_copied, 1u);
  if (wire > version.fresh + 4000)
    std::fprintf(stderr, "%s: %llu\n", version.name, static_cast<unsigned long long>(wire));
  CHECK(wire <= version.fresh + 4000);
}

}  // namespace

TEST(WhatTheServerHasIsNotPushed) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  const std::string old = Noise(1000000);
  service.remote().delta = DeltaMode::kAlways;
  for (const int level : {0, 3}) {
    service.remote().level = level;
    for (const Version& version : Versions(old)) {
      Write(service.Shared("file"), old);
      SetTimes(service.Shared("file"), 1, 1);
      Write(service.Here("file"), version.content);
      const JobResult result = service.Push("file", "file", false);
      CheckDelta(version, result, service.Shared("file"), result.counters.bytes_sent);
      if (version.content == old) CHECK_EQUAL(result.counters.bytes_reused, old.size());
    }
  }
}

TEST(WhatIsHereIsNotPulled) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  service.remote().delta = DeltaMode::kAlways;
  const std::string old = Noise(1000000);
  for (const bool reference : {false, true}) {
    Write(service.Here("older"), old);
    service.remote().reference = reference ? service.Here("older") : "";
    for (const Version& version : Versions(old)) {
      Write(service.Here("file"), reference ? "something else" : old);
      SetTimes(service.Here("file"), 1, 1);
      Write(service.Shared("file"), version.content);
      const JobResult result = service.Pull("file", "file");
      CheckDelta(version, result, service.Here("file"), result.counters.bytes_received);
    }
  }
  CHECK_EQUAL(service.Unfinished(), 0u);
}

TEST(APatchOfWhatBothHaveIsPushed) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  service.remote().delta = DeltaMode::kAlways;
  const std::string old = Noise(1000000);
  Write(service.Here("older"), old);
  service.remote().reference = service.Here("older");
  for (const Version& version : Versions(old)) {
    Write(service.Shared("file"), old);
    SetTimes(service.Shared("file"), 1, 1);
    Write(service.Here("file"), version.content);
    const JobResult result = service.Push("file", "file", false);
    CheckDelta(version, result, service.Shared("file"), result.counters.bytes_sent);
    CHECK(result.counters.bytes_received < 1000);  // no signatures
  }
  // What the server has is another one: its signatures do.
  Write(service.Shared("file"), Noise(200000, 9) + old);
  Write(service.Here("file"), old + "more");
  const JobResult result = service.Push("file", "file", false);
  CheckNothingFailed(result);
  CHECK(Read(service.Shared("file")) == old + "more");
  CHECK(result.counters.bytes_received > 1000);
  CHECK(result.counters.bytes_sent < 10000);
  service.remote().reference = service.Here("missing");
  const JobResult missing = service.Push("file", "file", false);
  CHECK_EQUAL(missing.failures.size(), 1u);
}

TEST(WhatTheHistoryKnowsByItsNameIsNotPushed) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  const std::string old = Noise(1000000);
  for (const Version& version : Versions(old)) {
    if (version.content.size() < old.size() / 2) continue;  // that is taken for another file
    Service service;
    service.remote().delta = DeltaMode::kAlways;
    for (const char* folder : {"1", "2"}) MakeFolder(service.Here(folder));
    Write(service.Here("1/file"), old);
    SetTimes(service.Here("1/file"), 1, 1);
    CheckNothingFailed(service.Push("1", "1"));
    Write(service.Here("2/file"), version.content);
    const JobResult result = service.Push("2", "2");
    CheckDelta(version, result, service.Shared("2/file"), result.counters.bytes_sent);
    CHECK(Read(service.Shared("1/file")) == old);
    CHECK_EQUAL(service.Unfinished(), 0u);
  }
}

TEST(APatchOfWhatBothHaveIsPulled) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  service.remote().delta = DeltaMode::kAlways;
  service.remote().level = 3;
  const std::string old = Noise(1000000);
  MakeFolder(service.Here("1"));
  Write(service.Here("1/file"), old);
  SetTimes(service.Here("1/file"), 1, 1);
  CheckNothingFailed(service.Push("1", "1"));
  for (const Version& version : Versions(old)) {
    Write(service.Here("copy"), old);
    SetTimes(service.Here("copy"), 1, 1);
    Write(service.Shared("file"), version.content);
    const JobResult result = service.Pull("file", "copy");
    CheckDelta(version, result, service.Here("copy"), result.counters.bytes_received);
    CHECK(result.counters.bytes_sent < 1000);  // no signatures
  }
  // The server has it no more: signatures do.
  Write(service.Shared("1/file"), Noise(1000000, 9));
  Write(service.Here("copy"), old);
  SetTimes(service.Here("copy"), 1, 1);
  Write(service.Shared("file"), old + "more");
  const JobResult result = service.Pull("file", "copy");
  CheckNothingFailed(result);
  CHECK(Read(service.Here("copy")) == old + "more");
  CHECK(result.counters.bytes_sent > 1000);
  CHECK(result.counters.bytes_received < 10000);
  CHECK_EQUAL(service.Unfinished(), 0u);
}

TEST(TreesOfLargeFilesGoAsDeltas) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  service.remote().delta = DeltaMode::kAlways;
  for (const char* tree : {"tree", "back"}) MakeFolder(service.Here(tree));
  MakeFolder(service.Shared("tree"));
  for (int i = 0; i < 70; ++i) {  // more than the server holds open at a time
    const std::string name = "/" + std::to_string(i);
    const std::string old = Noise(i % 10 == 9 ? 1000 : 300000, static_cast<uint64_t>(i));
    Write(service.Here("tree" + name), old + "new");
    for (const std::string& path : {service.Shared("tree" + name), service.Here("back" + name)}) {
      Write(path, old);
      SetTimes(path, 1, 1);
    }
  }
  JobResult result = service.Push("tree", "tree");
  CheckNothingFailed(result);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Shared("tree")), "");
  CHECK(result.counters.bytes_reused > 30 * 300000);
  result = service.Pull("tree", "back");
  CheckNothingFailed(result);
  CHECK_EQUAL(Difference(service.Here("tree"), service.Here("back")), "");
  CHECK(result.counters.bytes_reused > 50 * 290000);
  CHECK(result.counters.bytes_received < 400000);
}

TEST(HolesStayHolesInADelta) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  Service service;
  service.remote().delta = DeltaMode::kAlways;
  const std::string data = Noise(400000);
  for (const std::string& path : {service.Here("file"), service.Shared("file")}) {
    Write(path, data);
    SetSize(path, 20 << 20);
    WriteAt(path, data, 10 << 20);
    SetTimes(path, 1, 1);
  }
  WriteAt(service.Here("file"), "changed", 1000);
  const JobResult result = service.Push("file", "file", false);
  CheckNothingFailed(result);
  CHECK(Read(service.Here("file")) == Read(service.Shared("file")));
  CHECK(StatusOf(service.Shared("file")).st_blocks < 3000);
  CHECK(result.counters.bytes_sent < 10000);
}

TEST(NoDeltaIsMadeWhereOneSideDoesNotWantIt) {
  if (!net::ZstdAvailable()) SKIP("there is no zstd here");
  const std::string old = Noise(500000);
  for (const bool server : {false, true}) {
    Service service([&](ServerOptions& options) { options.delta = server; });
    service.remote().delta = server ? DeltaMode::kNever : DeltaMode::kAuto;
    Write(service.Shared("file"), old);
    Write(service.Here("file"), old + "x");
    JobResult result = service.Push("file", "file", false);
    CheckNothingFailed(result);
    CHECK(Read(service.Shared("file")) == old + "x");
    CHECK(result.counters.bytes_sent > old.size());
    if (server) continue;
    service.remote().delta = DeltaMode::kAlways;
    result = service.Push("file", "file", false);
    CHECK_EQUAL(result.failures.size(), 1u);
    if (!result.failures.empty()) CHECK(result.failures[0].status.kind() == Kind::kUnsupported);
  }
}
