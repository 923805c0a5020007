// Deltas, as the engine makes them: copies with a reference, patches, and patches that were tampered with.

#include "eacopy/delta.h"

#include <cerrno>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "files.h"
#include "net/zstd.h"
#include "run_job.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

void Flip(char* byte, uint32_t bit) { *byte = static_cast<char>(static_cast<unsigned char>(*byte) ^ (1u << bit)); }

JobResult Make(DeltaAction action, const std::string& source, const std::string& destination,
               const std::string& reference, Options options = Options()) {
  Delta delta;
  delta.action = action;
  delta.reference = reference;
  if (action != DeltaAction::kCopy) {
    options.metadata = Metadata::kNone;
    options.atomic = true;
  }
  JobResult result;
  Job job(options, delta);
  Coordinate(job, {{ItemType::kFile, source, destination}}, Coordination(), &result);
  return result;
}

// Some versions of `old` that differ from it in different ways.
std::vector<std::string> Versions(const std::string& old) {
  std::string scattered = old;
  for (size_t at = 100; at < scattered.size(); at += 300000) Flip(&scattered[at], 0);
  return {old,
          scattered,
          "",
          old.substr(0, old.size() / 3),
          old + Noise(70000, 4),
          old.substr(0, 5000) + Noise(12345, 2) + old.substr(5000),
          old.substr(0, 200000) + old.substr(300001),
          old.substr(old.size() / 2) + old.substr(0, old.size() / 2),
          Noise(200000, 3),
          std::string(300000, '\0') + old};
}

}  // namespace

TEST(EveryVersionIsCopied) {
  Folder folder(FastPlace());
  const std::string old = Noise(2000000);
  for (const std::string& version : Versions(old)) {
    for (bool in_place : {false, true}) {
      Write(folder / "old", old);
      Write(folder / "new", version);
      const std::string destination = folder / (in_place ? "old" : "copy");
      const JobResult result = Make(DeltaAction::kCopy, folder / "new", destination, folder / "old");
      CHECK(result.failures.empty());
      CHECK(Read(destination) == version);
      CHECK_EQUAL(result.counters.bytes_reused + result.counters.bytes_written, version.size());
      CHECK_EQUAL(result.counters.bytes_copied, version.size());
    }
  }
}

TEST(ChangesInPlaceCostTheirBlocks) {
  Folder folder(FastPlace());
  const std::string old = Noise(3000000);
  Write(folder / "old", old);
  Write(folder / "new", Versions(old)[1]);
  const JobResult result = Make(DeltaAction::kCopy, folder / "new", folder / "copy", folder / "old");
  CHECK(result.counters.bytes_written > 0 && result.counters.bytes_written <= 10 * 4096);
}

// So large that two threads compare; what the second has begun is of no use after each insertion.
TEST(ChangesInALargeFileAreFound) {
  Folder folder(FastPlace());
  const std::string old = Noise(24u << 20);
  std::string changed;
  for (size_t at = 0, part = 900000; at < old.size(); at += part, part += 700001) {
    changed += old.substr(at, part) + "inserted";
  }
  for (size_t at = 0; at < changed.size(); at += 1234567) Flip(&changed[at], 1);
  Write(folder / "old", old);
  for (const uint32_t threads : {1u, 4u}) {
    Options options;
    options.thread_count = threads;
    Write(folder / "new", changed);
    const JobResult result = Make(DeltaAction::kCopy, folder / "new", folder / "made", folder / "old", options);
    CHECK(result.failures.empty());
    CHECK(Read(folder / "made") == changed);
    CHECK(result.counters.bytes_written < 1u << 20);
    Write(folder / "new", changed.substr(0, changed.size() / 2));  // shorter than the destination
    CHECK(Make(DeltaAction::kCopy, folder / "new", folder / "made", folder / "made", options).failures.empty());
    CHECK(Read(folder / "made") == changed.substr(0, changed.size() / 2));
  }
}

TEST(FailuresNameWhatFailed) {
  Folder folder(FastPlace());
  Write(folder / "new", "new");
  MakeFolder(folder / "directory");
  Failure failure = Make(DeltaAction::kCopy, folder / "new", folder / "copy", folder / "missing").failure();
  CHECK(failure.status.operation() == Operation::kOpenReference);
  CHECK_EQUAL(failure.status.error_number(), ENOENT);
  CHECK_EQUAL(failure.source, folder / "missing");
  failure = Make(DeltaAction::kCopy, folder / "new", folder / "copy", folder / "directory").failure();
  CHECK(failure.status.kind() == Kind::kInvalidArgument);
  CHECK(!Exists(folder / "copy"));
}

TEST(PatchesMakeEveryVersion) {
  if (!net::ZstdAvailable()) SKIP("no zstd");
  Folder folder(FastPlace());
  const std::string old = Noise(1000000);
  for (const std::string& reference : {old, std::string(), std::string("short")}) {
    for (const std::string& version : Versions(old)) {
      Write(folder / "old", reference);
      Write(folder / "new", version);
      CHECK(Make(DeltaAction::kCreate, folder / "new", folder / "patch", folder / "old").failures.empty());
      CHECK(Make(DeltaAction::kApply, folder / "patch", folder / "made", folder / "old").failures.empty());
      CHECK(Read(folder / "made") == version);
    }
  }
}

TEST(DamagedPatchesLeaveWhatWasThere) {
  if (!net::ZstdAvailable()) SKIP("no zstd");
  Folder folder(FastPlace());
  const std::string old = Noise(100000);
  Write(folder / "old", old);
  Write(folder / "new", old.substr(0, 1000) + Noise(3000, 5) + old.substr(1000));
  CHECK(Make(DeltaAction::kCreate, folder / "new", folder / "patch", folder / "old").failures.empty());
  const std::string patch = Read(folder / "patch");
  Write(folder / "made", "as it was");
  auto refuses = [&](const std::string& bad) {
    Write(folder / "bad", bad);
    const JobResult result = Make(DeltaAction::kApply, folder / "bad", folder / "made", folder / "old");
    CHECK_EQUAL(result.failures.size(), 1u);
    CHECK(Read(folder / "made") == "as it was");
  };
  for (size_t size : {size_t{0}, size_t{3}, size_t{5}, size_t{17}, patch.size() / 2, patch.size() - 1}) {
    refuses(patch.substr(0, size));
  }
  refuses(patch + "more");
  // Whatever is flipped, memory stays whole: an error, or the same result when the bit did not matter.
  std::mt19937 generator(7);
  for (int i = 0; i < 300; ++i) {
    std::string bad = patch;
    Flip(&bad[i < 40 ? static_cast<size_t>(i) : generator() % bad.size()], generator() % 8);
    Write(folder / "bad", bad);
    if (Make(DeltaAction::kApply, folder / "bad", folder / "other", folder / "old").failures.empty()) {
      CHECK(Read(folder / "other") == Read(folder / "new"));
    }
  }
  Write(folder / "old", Noise(100000, 9));
  refuses(patch);
}
