// Bringing trees up to date: what is copied, left alone, linked to and removed, however deep the trees are, and what
// happens when somebody works in them meanwhile or the job is cancelled.

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "check.h"
#include "eacopy/job.h"
#include "files.h"
#include "platform.h"
#include "run_job.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

const int descriptors_at_start = OpenDescriptors();

constexpr int kLevels = 1200;

Options KeepingLinks(uint32_t thread_count = 4) {
  Options options;
  options.follow_symlinks = false;
  options.dirs_exist_ok = true;
  options.atomic = true;
  options.thread_count = thread_count;
  return options;
}

Sync Plain() { return Sync(); }

Sync Mirror() {
  Sync sync;
  sync.purge = true;
  return sync;
}

JobResult RunSync(const Sync& sync, const std::string& source, const std::string& destination,
                  const Options& options = KeepingLinks(), const Coordination& coordination = Coordination()) {
  JobResult result;
  Job job(options, sync);
  Coordinate(job, {{ItemType::kTree, source, destination}}, coordination, &result);
  return result;
}

std::string Number(int number) { return std::to_string(number); }

// `wide` directories of `files` files each.
void MakeWide(const std::string& path, int wide, int files) {
  MakeFolder(path);
  for (int i = 0; i < wide; ++i) {
    const std::string directory = path + "/" + Number(i);
    MakeFolder(directory);
    for (int k = 0; k < files; ++k) Write(directory + "/" + Number(k), Number(i) + " " + Number(k));
  }
}

// A directory in a directory in a directory… with a file in each; longer than any path may be.
void MakeDeep(const std::string& path) {
  MakeFolder(path);
  Descriptor at(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < kLevels; ++level) {
    Descriptor file(::openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    Must(file.get() >= 0 && ::write(file.get(), "data", 4) == 4, "write a file deep down");
    Must(::mkdirat(at.get(), "below", 0750) == 0, "make a directory deep down");
    at = Descriptor(::openat(at.get(), "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Must(at.get() >= 0, "open a directory deep down");
  }
}

// How many levels a deep tree has, and how many files in them.
std::pair<int, int> MeasureDeep(const std::string& path) {
  Descriptor at(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::pair<int, int> measured{0, 0};
  for (; at.get() >= 0; ++measured.first) {
    if (::faccessat(at.get(), "file", F_OK, 0) == 0) ++measured.second;
    at = Descriptor(::openat(at.get(), "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  return measured;
}

class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t count) {
    Must(::getrlimit(RLIMIT_NOFILE, &before_) == 0, "read a limit");
    struct rlimit few = {count, before_.rlim_max};
    Must(::setrlimit(RLIMIT_NOFILE, &few) == 0, "set a limit");
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  struct rlimit before_;
};

// False when it takes too long. Returns at once from each wait while there are failures to take, as Job::Wait does.
bool WaitForDone(Job& job, const std::function<void()>& after_wait) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    const int news = job.Wait(50);
    after_wait();
    if ((news & kNewsDone) != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

size_t CountActions(const JobResult& result, Action action) {
  return static_cast<size_t>(std::count_if(result.actions.begin(), result.actions.end(),
                                           [action](const Done& done) { return done.action == action; }));
}

// That nothing has a name of an unfinished file.
void CheckNothingIsLeftOver(const std::string& path) {
  for (const auto& [name, text] : Describe(path)) CHECK(name.find(".eacopy-") == std::string::npos);
}

}  // namespace

TEST(ATreeIsCopiedAndThenLeftAlone) {
  Folder folder(FastPlace());
  MakeWide(folder / "source", 20, 20);
  MakeLink("0/1", folder / "source/link");
  MakeFolder(folder / "source/empty", 0700);
  JobResult result = RunSync(Plain(), folder / "source", folder / "new/copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(Difference(folder / "source", folder / "new/copy"), "");
  CHECK_EQUAL(result.counters.files_found, 401u);
  CHECK_EQUAL(result.counters.files_copied, 400u);
  CHECK_EQUAL(result.counters.symlinks_copied, 1u);
  CHECK_EQUAL(result.counters.directories_created, 23u);  // and the one above
  const auto before = StatusOf(folder / "new/copy/3/4");
  result = RunSync(Plain(), folder / "source", folder / "new/copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_skipped, 401u);
  CHECK_EQUAL(result.counters.files_copied + result.counters.directories_created, 0u);
  CHECK_EQUAL(result.counters.bytes_found, result.counters.bytes_skipped);
  CHECK_EQUAL(StatusOf(folder / "new/copy/3/4").st_ino, before.st_ino);
  CHECK_EQUAL(Difference(folder / "source", folder / "new/copy"), "");
}

TEST(WhatDiffersIsReplacedAndOtherNamesOfItKeepWhatTheyHad) {
  Folder folder;
  MakeFolder(folder / "source");
  MakeFolder(folder / "copy");
  for (const char* name : {"larger", "newer", "link", "became a link"}) Write(folder / "copy/" + name, "old");
  Must(::link((folder / "copy/larger").c_str(), (folder / "other").c_str()) == 0, "link");
  Write(folder / "source/larger", "larger");
  Write(folder / "source/newer", "new");
  SetTimes(folder / "copy/newer", 1000000000, 1000000000);
  MakeLink("larger", folder / "source/became a link");
  ::unlink((folder / "copy/link").c_str());
  MakeLink(folder / "other", folder / "copy/link");
  Write(folder / "source/link", "no link");
  const JobResult result = RunSync(Plain(), folder / "source", folder / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
  CHECK_EQUAL(Read(folder / "other"), "old");
}

TEST(WhatTheSourceHasNotIsOnlyRemovedWhenThatIsWanted) {
  Folder folder;
  MakeWide(folder / "source", 2, 2);
  MakeFolder(folder / "copy");
  MakeFolder(folder / "outside");
  Write(folder / "outside/file", "data");
  MakeWide(folder / "copy/extra", 40, 3);
  MakeLink(folder / "outside", folder / "copy/link");
  MakeLink(folder / "outside", folder / "copy/extra/link");
  Write(folder / "copy/extra/.keep", "data");
  const std::string extra = Read(folder / "copy/extra/3/2");
  JobResult result = RunSync(Plain(), folder / "source", folder / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(Read(folder / "copy/extra/3/2"), extra);
  Sync mirror = Mirror();
  mirror.exclude_files = {".keep"};
  result = RunSync(mirror, folder / "source", folder / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_removed, 122u);
  CHECK_EQUAL(result.counters.directories_removed, 40u);
  CHECK((Names(folder / "copy/extra") == std::vector<std::string>{".keep"}));
  result = RunSync(Mirror(), folder / "source", folder / "copy");
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
  CHECK_EQUAL(Read(folder / "outside/file"), "data");
}

TEST(FilesAndDirectoriesTakeEachOthersPlaceOnlyWhenThatIsWanted) {
  Folder folder;
  MakeFolder(folder / "source");
  MakeFolder(folder / "source/directory");
  Write(folder / "source/directory/file", "data");
  Write(folder / "source/file", "data");
  MakeFolder(folder / "copy");
  Write(folder / "copy/directory", "in the way");
  MakeFolder(folder / "copy/file");
  Write(folder / "copy/file/in", "the way");
  JobResult result = RunSync(Plain(), folder / "source", folder / "copy");
  CHECK_EQUAL(result.failures.size(), 2u);
  for (const Failure& failure : result.failures) {
    CHECK(failure.status.kind() == Kind::kDestinationExists);
    CHECK(!failure.text.empty());
    CHECK(!failure.root);
  }
  CHECK_EQUAL(result.counters.mismatches, 2u);
  CHECK_EQUAL(Read(folder / "copy/file/in"), "the way");
  CHECK_EQUAL(Read(folder / "copy/directory"), "in the way");
  result = RunSync(Mirror(), folder / "source", folder / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.mismatches, 2u);
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
}

TEST(OneDirectoryThatCannotBeListedIsNotPurged) {
  Folder folder;
  MakeWide(folder / "source", 3, 2);
  Must(::chmod(folder.path().c_str(), 0777) == 0, "set a mode");
  MakeFolder(folder / "place", 0777);
  InChild([&] {
    if (!BecomeNobody()) SKIP("the user cannot be changed");
    CHECK(RunSync(Plain(), folder / "source", folder / "place/copy").failures.empty());
    Write(folder / "place/copy/1/extra", "data");
    Write(folder / "place/copy/2/extra", "data");
  });
  Must(::chmod((folder / "source/1").c_str(), 0) == 0, "set a mode");
  InChild([&] {
    if (!BecomeNobody()) SKIP("the user cannot be changed");
    const JobResult result = RunSync(Mirror(), folder / "source", folder / "place/copy");
    const Failure failure = result.failure();
    CHECK(failure.status.kind() == Kind::kPermissionDenied);
    CHECK_EQUAL(failure.source, folder / "source/1");
    CHECK(Exists(folder / "place/copy/1/extra"));
    CHECK(!Exists(folder / "place/copy/2/extra"));
  });
  Must(::chmod((folder / "source/1").c_str(), 0755) == 0, "set a mode");
}

TEST(ADryRunTellsWhatWouldBeDoneAndWritesNothing) {
  Folder folder(FastPlace());
  MakeWide(folder / "source", 5, 5);
  MakeWide(folder / "copy", 3, 7);
  Sync sync = Mirror();
  sync.want_actions = true;
  sync.dry_run = true;
  const auto texts = [](const JobResult& result) {
    std::multiset<std::string> all;
    for (const Done& done : result.actions) {
      all.insert(Number(static_cast<int>(done.action)) + " " + done.source + " " + done.destination + " " +
                 Number(static_cast<int>(done.size)));
    }
    return all;
  };
  const auto before = Describe(folder / "copy");
  const JobResult planned = RunSync(sync, folder / "source", folder / "copy");
  CHECK(before == Describe(folder / "copy"));
  const JobResult nowhere = RunSync(sync, folder / "source", folder / "new/copy");
  CHECK(!Exists(folder / "new"));
  CHECK_EQUAL(CountActions(nowhere, Action::kCopy), 25u);
  CHECK_EQUAL(CountActions(nowhere, Action::kMakeDirectory), 6u);
  sync.dry_run = false;
  const JobResult done = RunSync(sync, folder / "source", folder / "copy");
  CHECK(!planned.actions.empty());
  CHECK(texts(planned) == texts(done));
  CHECK_EQUAL(planned.counters.bytes_copied, done.counters.bytes_copied);
  CHECK_EQUAL(planned.counters.files_removed, done.counters.files_removed);
  CHECK_EQUAL(done.counters.files_removed, 6u);
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
}

TEST(NamesOfOneFileStayNamesOfOneFile) {
  // So many directories that most are complete, and closed, when the next name of a file comes.
  for (const uint32_t threads : {1u, 4u, 16u}) {
    Folder folder(FastPlace());
    MakeWide(folder / "source", 60, 3);
    for (int i = 0; i < 60; ++i) {
      for (const char* below : {"", "/in", "/in/deep"}) {
        const std::string directory = folder / "source/" + Number(i) + below;
        if (*below != 0) MakeFolder(directory);
        for (const char* name : {"first", "second"}) {
          const std::string one = folder / "source/0/" + name;
          if (!Exists(one)) Write(one, name);
          const std::string other = directory + "/" + name;
          if (other != one) Must(::link(one.c_str(), other.c_str()) == 0, "link");
        }
      }
    }
    Sync sync;
    sync.hard_links = true;
    const FewDescriptors few(threads == 16 ? 64 : 1024);
    JobResult result = RunSync(sync, folder / "source", folder / "copy", KeepingLinks(threads));
    CHECK(result.failures.empty());
    CHECK_EQUAL(result.counters.files_linked, 2u * 179u);
    CHECK_EQUAL(result.counters.files_copied, 180u + 2u);
    CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
    for (const char* name : {"first", "second"}) CHECK_EQUAL(StatusOf(folder / "copy/7/in/" + name).st_nlink, 180u);
    // One that was replaced by a file of its own becomes a name of the others again.
    Write(folder / "copy/9/in/deep/first", "first");
    result = RunSync(sync, folder / "source", folder / "copy", KeepingLinks(threads));
    CHECK(result.failures.empty());
    CHECK_EQUAL(StatusOf(folder / "copy/7/first").st_nlink, 180u);
    CHECK_EQUAL(result.counters.files_found, 180u + 360u);
    CHECK_EQUAL(result.counters.files_skipped + result.counters.files_linked + result.counters.files_copied, 540u);
  }
}

TEST(DeepTreesNeedFewDescriptors) {
  Folder folder(FastPlace());
  MakeDeep(folder / "source");
  FewDescriptors few(64);
  for (const uint32_t threads : {1u, 4u}) {
    RemoveTree(folder / "copy");
    CHECK(RunSync(Plain(), folder / "source", folder / "copy", KeepingLinks(threads)).failures.empty());
    CHECK(MeasureDeep(folder / "copy") == std::make_pair(kLevels + 1, kLevels));
    const JobResult again = RunSync(Mirror(), folder / "source", folder / "copy", KeepingLinks(threads));
    CHECK(again.failures.empty());
    CHECK_EQUAL(again.counters.files_skipped, static_cast<uint64_t>(kLevels));
  }
  // Linked to an older copy, and removed.
  Sync linking;
  linking.link_dirs = {folder / "copy"};
  JobResult result = RunSync(linking, folder / "source", folder / "linked");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_linked, static_cast<uint64_t>(kLevels));
  MakeFolder(folder / "empty");
  result = RunSync(Mirror(), folder / "empty", folder / "linked");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_removed, static_cast<uint64_t>(kLevels));
  CHECK_EQUAL(result.counters.directories_removed, static_cast<uint64_t>(kLevels));
  CHECK(Names(folder / "linked").empty());
}

TEST(ActionsThatNobodyTakesMakeTheWorkersWait) {
  Folder folder(FastPlace());
  constexpr int kDirectories = 30, kFiles = 700;  // more than the engine keeps
  MakeWide(folder / "source", kDirectories, kFiles);
  Sync sync;
  sync.want_actions = true;
  sync.dry_run = true;
  uint64_t found = 0;
  {
    Job job(KeepingLinks(), sync);
    CHECK(job.Add(ItemType::kTree, (folder / "source").c_str(), (folder / "copy").c_str()));
    job.End();
    Actions actions;
    // Until all of them wait.
    uint64_t before = 1;
    for (int i = 0; i < 1000 && (found == 0 || found != before); ++i) {
      before = found;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      found = job.GetCounters().files_copied;
    }
    CHECK(found > 0);
    CHECK(found < static_cast<uint64_t>(kDirectories * kFiles));
    CHECK((job.Wait(0) & kNewsAction) != 0);
    CHECK((job.Wait(0) & kNewsDone) == 0);
    size_t taken = 0;
    CHECK(WaitForDone(job, [&] {
      while (job.TakeActions(&actions)) taken += actions.count();
    }));
    CHECK_EQUAL(taken, static_cast<size_t>(kDirectories * kFiles + kDirectories + 1));
  }
  // Cancelled meanwhile, nobody waits for ever.
  Job job(KeepingLinks(), sync);
  CHECK(job.Add(ItemType::kTree, (folder / "source").c_str(), (folder / "copy").c_str()));
  job.End();
  while (job.GetCounters().files_copied == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  job.Cancel();
  CHECK(WaitForDone(job, [] {}));
}

TEST(ActionsOfOneDirectoryComeInOrder) {
  Folder folder;
  MakeWide(folder / "source", 8, 3);
  Sync sync;
  sync.want_actions = true;
  const JobResult result = RunSync(sync, folder / "source", folder / "copy");
  std::set<std::string> made;
  for (const Done& done : result.actions) {
    const std::string above = done.destination.substr(0, done.destination.rfind('/'));
    if (done.destination != folder / "copy") CHECK(made.count(above) == 1);
    if (done.action == Action::kMakeDirectory) made.insert(done.destination);
  }
  CHECK_EQUAL(made.size(), 9u);
  CHECK_EQUAL(result.actions.size(), 33u);
}

TEST(CancellingLeavesNothingUnfinishedAndRemovesNothingMore) {
  Folder folder(FastPlace());
  MakeWide(folder / "source", 20, 50);
  Write(folder / "source/large", Noise(8 << 20));
  MakeWide(folder / "copy", 2, 2);
  MakeFolder(folder / "copy/zz extra");
  for (const int after : {0, 1, 100, 500}) {
    Job job(KeepingLinks(), Mirror());
    std::atomic<bool> ended{false};  // it may be, when those before have left too little to do
    std::thread canceller([&] {
      while (!ended && job.GetCounters().files_copied < static_cast<uint64_t>(after)) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      job.Cancel();
    });
    JobResult result;
    Coordinate(job, {{ItemType::kTree, folder / "source", folder / "copy"}}, Coordination(), &result);
    ended = true;
    canceller.join();
    for (const Failure& failure : result.failures) CHECK(failure.status.cancelled());
    CHECK_EQUAL(result.counters.errors, 0u);
    CheckNothingIsLeftOver(folder / "copy");
    // What is there is whole.
    for (const auto& [name, text] : Describe(folder / "copy", false)) {
      struct stat st;
      if (::stat((folder / "source/" + name).c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
      CHECK(Read(folder / "copy/" + name) == Read(folder / "source/" + name));
    }
  }
  CHECK(RunSync(Mirror(), folder / "source", folder / "copy").failures.empty());
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
}

TEST(WhatDeadWritersLeftIsRemovedAndWhatLivesIsLeftAlone) {
  Folder folder;
  MakeFolder(folder / "source");
  MakeFolder(folder / "copy");
  Write(folder / "source/file", "data");
  Write(folder / "source/.eacopy-0123456789abcdef.tmp", "unfinished");
  Write(folder / "copy/.eacopy-0123456789abcdef.tmp", "dead");
  Write(folder / "copy/.eacopy-0123456789abcdee.tmp", "alive");
  Write(folder / "copy/.eacopy-0123456789ABCDEF.tmp", "somebody's");
  Descriptor alive(::open((folder / "copy/.eacopy-0123456789abcdee.tmp").c_str(), O_RDWR | O_CLOEXEC));
  Must(alive.get() >= 0, "open a file");
  platform::Handle handle(::dup(alive.get()));
  CHECK(platform::LockTemporary(handle));
  CHECK(RunSync(Plain(), folder / "source", folder / "copy").failures.empty());
  const std::vector<std::string> expected = {".eacopy-0123456789ABCDEF.tmp", ".eacopy-0123456789abcdee.tmp", "file"};
  CHECK(Names(folder / "copy") == expected);
}

TEST(SomebodyMayTakeAwayWhatIsBroughtUpToDate) {
  Folder folder(FastPlace());
  MakeWide(folder / "source", 10, 60);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (int i = 0; !stop; i = (i + 1) % 10) {
      const std::string path = folder / "source/" + Number(i);
      ::rename(path.c_str(), (folder / "source/away").c_str());
      ::rename((folder / "source/away").c_str(), path.c_str());
      ::unlink((folder / "copy/" + Number(i) + "/3").c_str());
    }
  });
  for (int run = 0; run < 15; ++run) {
    const JobResult result = RunSync(Mirror(), folder / "source", folder / "copy");
    for (const Failure& failure : result.failures) {
      const int number = failure.status.error_number();
      CHECK(number == ENOENT || number == ENOTDIR || number == ENOTEMPTY);
    }
  }
  stop = true;
  other.join();
  const JobResult result = RunSync(Mirror(), folder / "source", folder / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(Difference(folder / "source", folder / "copy"), "");
}

TEST(ManyThreadsPutAllFilesIntoOneDirectory) {
  Folder folder(FastPlace());
  MakeFolder(folder / "source");
  for (int i = 0; i < 30; ++i) {
    MakeFolder(folder / "source/" + Number(i));
    for (int k = 0; k < 20; ++k) Write(folder / "source/" + Number(i) + "/" + Number(i) + "-" + Number(k), "data");
    Write(folder / "source/" + Number(i) + "/same name", Number(i));
  }
  Sync sync = Mirror();
  sync.flatten = true;
  MakeFolder(folder / "copy");
  Write(folder / "copy/extra", "data");
  JobResult result = RunSync(sync, folder / "source", folder / "copy", KeepingLinks(8));
  CHECK_EQUAL(result.failures.size(), 29u);
  for (const Failure& failure : result.failures) CHECK(failure.status.kind() == Kind::kDestinationExists);
  CHECK_EQUAL(Names(folder / "copy").size(), 602u);  // after a failure nothing is removed
  for (int i = 1; i < 30; ++i) ::unlink((folder / "source/" + Number(i) + "/same name").c_str());
  result = RunSync(sync, folder / "source", folder / "copy", KeepingLinks(8));
  CHECK(result.failures.empty());
  CHECK_EQUAL(Names(folder / "copy").size(), 601u);
}

TEST(FilesThatAreItemsGoWhereTheyAreTold) {
  Folder folder(FastPlace());
  MakeFolder(folder / "source");
  MakeFolder(folder / "older");
  MakeFolder(folder / "older/1");
  std::vector<Item> items;
  for (int i = 0; i < 300; ++i) {
    Write(folder / "source/" + Number(i), Number(i));
    items.push_back(
        {ItemType::kFile, folder / "source/" + Number(i), folder / "copy/" + Number(i % 3) + "/" + Number(i)});
  }
  items.push_back({ItemType::kFile, folder / "source/missing", folder / "copy/missing"});
  Write(folder / "older/1/301", "linked");
  Must(::link((folder / "older/1/301").c_str(), (folder / "source/301").c_str()) == 0, "link");
  items.push_back({ItemType::kFile, folder / "source/301", folder / "copy/1/301"});
  Sync sync;
  sync.root = folder / "copy";
  sync.link_dirs = {folder / "older"};
  for (int run = 0; run < 2; ++run) {
    JobResult result;
    Job job(KeepingLinks(), sync);
    Coordinate(job, items, Coordination(), &result);
    const Failure failure = result.failure();
    CHECK(failure.status.kind() == Kind::kFileNotFound);
    CHECK(failure.root);
    CHECK_EQUAL(result.counters.files_copied, run == 0 ? 300u : 0u);
    CHECK_EQUAL(result.counters.files_linked, run == 0 ? 1u : 0u);
    CHECK_EQUAL(result.counters.files_skipped, run == 0 ? 0u : 301u);
  }
  CHECK_EQUAL(Read(folder / "copy/2/299"), "299");
}

TEST(TheDatabaseIsSavedBeforeTheJobIsDone) {
  Folder folder(FastPlace());
  MakeWide(folder / "source", 5, 5);
  Sync sync;
  sync.link_database = folder / "links";
  CHECK(RunSync(sync, folder / "source", folder / "one").failures.empty());
  CHECK(Exists(folder / "links"));
  const JobResult result = RunSync(sync, folder / "source", folder / "two");
  CHECK_EQUAL(result.counters.files_linked, 25u);
  CHECK_EQUAL(StatusOf(folder / "two/3/3").st_ino, StatusOf(folder / "one/3/3").st_ino);
  // What cannot be saved is told, beside what was done.
  sync.link_database = folder / "missing/links";
  const JobResult unsaved = RunSync(sync, folder / "source", folder / "three");
  const Failure failure = unsaved.failure();
  CHECK_EQUAL(failure.destination, folder / "missing/links");
  CHECK(!failure.root);
  CHECK_EQUAL(unsaved.counters.files_copied, 25u);
  CHECK_EQUAL(unsaved.counters.errors, 1u);
  // What cannot be read ends the job before it begins.
  MakeFolder(folder / "directory");
  sync.link_database = folder / "directory";
  const Failure unread = RunSync(sync, folder / "source", folder / "four").failure();
  CHECK(unread.root);
  CHECK(unread.status.operation() == Operation::kOpenReference);
  CHECK(!Exists(folder / "four"));
}

TEST(ATreeIsNotBroughtIntoItself) {
  Folder folder;
  MakeWide(folder / "source", 2, 2);
  for (const char* destination : {"source", "source/0", "source/new/deep"}) {
    const Failure failure = RunSync(Mirror(), folder / "source", folder / destination).failure();
    CHECK(failure.status.kind() == Kind::kInvalidArgument);
    CHECK(failure.root);
    CHECK(!failure.text.empty());
  }
  const Failure around = RunSync(Mirror(), folder / "source/0", folder / "source").failure();
  CHECK(around.status.kind() == Kind::kInvalidArgument);
  CHECK_EQUAL(Names(folder / "source").size(), 2u);
  CHECK_EQUAL(Names(folder / "source/0").size(), 2u);
}

TEST(NoDescriptorIsLeftOpen) { CHECK_EQUAL(OpenDescriptors(), descriptors_at_start); }
