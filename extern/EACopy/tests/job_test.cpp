// A job and its coordinator: items, progress, cancelling, failures, retries, and what is left when a job ends early.

#include "eacopy/job.h"

#include <sys/resource.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <limits>
#include <memory>
#include <random>
#include <thread>

#include "check.h"
#include "files.h"
#include "run_job.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

using Clock = std::chrono::steady_clock;

const int descriptors_at_start = OpenDescriptors();

int Threads() { return static_cast<int>(Names("/proc/self/task").size()); }

Options Quick() {
  Options options;
  options.metadata = Metadata::kNone;
  return options;
}

// A few hundred files of all sizes.
void MakeTree(const std::string& path) {
  MakeFolder(path);
  for (int i = 0; i < 12; ++i) {
    const std::string below = path + "/" + std::to_string(i);
    MakeFolder(below);
    for (size_t k = 0; k < 20; ++k) Write(below + "/" + std::to_string(k), Noise(k * k * 100, k));
    MakeFolder(below + "/deeper");
    Write(below + "/deeper/file", Noise(1000));
  }
}
constexpr uint64_t kFilesInTree = 12 * 21;

// Every file below `copy` must be there whole, or not at all.
void CheckNothingHalf(const std::map<std::string, std::string>& whole, const std::string& copy) {
  for (const auto& [path, text] : Describe(copy, false)) {
    const auto original = whole.find(path);
    if (original == whole.end() || original->second != text) {
      std::fprintf(stderr, "%s was left half-way, or does not belong there\n", path.c_str());
      CHECK(false);
    }
  }
}

class Limit {
 public:
  Limit(decltype(RLIMIT_FSIZE) resource, rlim_t value) : resource_(resource) {
    Must(::getrlimit(resource, &before_) == 0, "read a limit");
    struct rlimit limit = {value, before_.rlim_max};
    Must(::setrlimit(resource, &limit) == 0, "set a limit");
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { Lift(); }
  void Lift() { ::setrlimit(resource_, &before_); }

 private:
  const decltype(RLIMIT_FSIZE) resource_;
  struct rlimit before_;
};

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

}  // namespace

// Items ---------------------------------------------------------------------------------------------------------------

TEST(JobWithoutItemsIsDone) {
  Job job((Options()));
  job.End();
  CHECK((job.Wait(10000) & kNewsDone) != 0);
  // And stays so.
  CHECK((job.Wait(10000) & kNewsDone) != 0);
}

TEST(JobIsNotDoneBeforeItsEnd) {
  Folder folder(FastPlace());
  Write(folder / "source", "data");
  Job job(Quick());
  CHECK_EQUAL(job.Wait(0), 0);
  CHECK(job.Add(ItemType::kFile, (folder / "source").c_str(), (folder / "copy").c_str()));
  for (int i = 0; i < 1000 && job.GetCounters().files_copied == 0; ++i) CHECK_EQUAL(job.Wait(5) & kNewsDone, 0);
  CHECK_EQUAL(job.GetCounters().files_copied, 1u);
  job.End();
  CHECK((job.Wait(10000) & kNewsDone) != 0);
}

TEST(ManyItemsAreCopiedAsTheQueueHasRoom) {
  Folder folder(FastPlace());
  std::vector<Item> items;
  for (size_t i = 0; i < 3000; ++i) {
    const std::string name = std::to_string(i);
    if (i % 100 == 0) Write(folder / ("source" + name), "contents of " + name);
    items.push_back({ItemType::kFile, folder / ("source" + std::to_string(i / 100 * 100)), folder / ("copy" + name)});
  }
  Options options;
  const JobResult result = RunJob(options, items);
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_copied, 3000u);
  CHECK_EQUAL(result.counters.files_found, 3000u);
  for (const Item& item : items) CHECK_EQUAL(Read(item.destination), Read(item.source));
}

TEST(QueueIsBoundedAndTellsOfRoom) {
  Folder folder(FastPlace());
  Write(folder / "source", "data");
  Options options = Quick();
  options.thread_count = 1;
  options.want_progress = true;
  Job job(options);
  // Nobody takes the progress, so the worker has to wait one day, and then the queue gets full.
  // A worker that gets no processor for a while must not be taken for one that waits.
  int added = 0;
  for (int refused = 0; added < 100000 && refused < 50;) {
    const uint64_t copied = job.GetCounters().files_copied;
    if (job.Add(ItemType::kFile, (folder / "source").c_str(), "/dev/null")) {
      ++added;
      refused = 0;
      continue;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    refused = copied == job.GetCounters().files_copied ? refused + 1 : 0;
  }
  CHECK(added < 100000);
  job.Wait(0);  // the queue may have been full before
  CHECK_EQUAL(job.Wait(0) & kNewsRoom, 0);
  Progress progress;
  uint64_t records = 0;
  int news = 0;
  for (int i = 0; i < 1000 && (news & kNewsRoom) == 0; ++i) {
    if (job.TakeProgress(&progress)) records += progress.count();
    news = job.Wait(10);
  }
  CHECK((news & kNewsRoom) != 0);
  CHECK(job.Add(ItemType::kFile, (folder / "source").c_str(), "/dev/null"));
  job.End();
  for (int i = 0; i < 3000 && (news & kNewsDone) == 0; ++i) {
    news = job.Wait(10);
    if (job.TakeProgress(&progress)) records += progress.count();
  }
  CHECK((news & kNewsDone) != 0);
  CHECK_EQUAL(records, static_cast<uint64_t>(added) + 1);
  CHECK_EQUAL(job.GetCounters().files_copied, static_cast<uint64_t>(added) + 1);
}

TEST(FilesAndTreesGoInOneJob) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  Write(folder / "file", "data");
  for (uint32_t threads : {1u, 3u, 8u}) {
    Options options;
    options.thread_count = threads;
    const std::string to = folder / ("to" + std::to_string(threads));
    MakeFolder(to);
    const JobResult result = RunJob(options, {{ItemType::kFile, folder / "file", to + "/file"},
                                              {ItemType::kTree, folder / "tree", to + "/tree"},
                                              {ItemType::kTree, folder / "tree", to + "/again"}});
    CHECK(result.failures.empty());
    CHECK_EQUAL(Difference(folder / "tree", to + "/tree"), "");
    CHECK_EQUAL(Difference(folder / "tree", to + "/again"), "");
    CHECK_EQUAL(Read(to + "/file"), "data");
    CHECK_EQUAL(result.counters.files_copied, 2 * kFilesInTree + 1);
    CHECK_EQUAL(result.counters.directories_created, 2 * (12 * 2 + 1u));
    CHECK_EQUAL(result.counters.bytes_found, result.counters.bytes_copied);
    uint64_t by_method = 0;
    for (uint64_t files : result.counters.methods) by_method += files;
    CHECK_EQUAL(by_method, result.counters.files_copied);
  }
}

// Progress ------------------------------------------------------------------------------------------------------------

TEST(ProgressBeginsAtZeroAndEndsAtTheTotal) {
  Folder folder(FastPlace());
  const std::map<std::string, size_t> sizes = {
      {"empty", 0}, {"byte", 1}, {"small", 200 << 10}, {"middle", 3 << 20}, {"large", 48 << 20}};
  std::vector<Item> items;
  for (const auto& [name, size] : sizes) {
    Write(folder / name, std::string(size, 'x'));
    items.push_back({ItemType::kFile, folder / name, folder / (name + " copy")});
  }
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  MakeLink("file", folder / "tree/link");
  items.push_back({ItemType::kTree, folder / "tree/", folder / "tree copy"});
  Options options;
  options.want_progress = true;
  options.follow_symlinks = false;
  options.reflink = Reflink::kNever;
  const auto began = Clock::now();
  const JobResult result = RunJob(options, items);
  const double seconds = Seconds(began);
  CHECK(result.failures.empty());
  // Links and directories do not report. The path is made of what the caller wrote.
  CHECK_EQUAL(result.progress.size(), sizes.size() + 1);
  CHECK_EQUAL(result.progress.count(folder / "tree/file"), 1u);
  for (const auto& [name, size] : sizes) {
    const auto records = result.progress.find(folder / name);
    REQUIRE(records != result.progress.end() && !records->second.empty());
    uint64_t before = 0;
    for (size_t i = 0; i < records->second.size(); ++i) {
      const Record& record = records->second[i];
      CHECK_EQUAL(record.first, i == 0);
      CHECK_EQUAL(record.total, size);
      CHECK(record.copied >= before && record.copied <= size);
      before = record.copied;
      const bool last = i + 1 == records->second.size();
      // Only the last one says that all is done.
      CHECK(last == (record.copied == size));
      if (!last && i == 0) CHECK_EQUAL(record.copied, 0u);
    }
    // About twenty a second, beside the first and the last.
    CHECK(static_cast<double>(records->second.size()) <= 3 + seconds * 20);
  }
}

TEST(NoProgressIsKeptThatNobodyWants) {
  Folder folder(FastPlace());
  Write(folder / "source", "data");
  CHECK(RunJob(Quick(), {{ItemType::kFile, folder / "source", folder / "copy"}}).progress.empty());
}

TEST(RetryBeginsTheProgressAgain) {
  Folder folder(FastPlace());
  Write(folder / "source", Noise(3 << 20));
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  Limit limit(RLIMIT_FSIZE, 1 << 20);
  Options options = Quick();
  options.want_progress = true;
  options.strategy = Strategy::kRetry;
  options.retry_count = 1000;
  options.retry_delay = 0.01;
  Coordination coordination;
  coordination.after_wait = [&](Job& job) {
    if (job.GetCounters().retries > 2) limit.Lift();
  };
  const JobResult result = RunJob(options, {{ItemType::kFile, folder / "source", folder / "copy"}}, coordination);
  std::signal(SIGXFSZ, handler);
  CHECK(result.failures.empty());
  CHECK(Read(folder / "copy") == Read(folder / "source"));
  const auto records = result.progress.find(folder / "source");
  REQUIRE(records != result.progress.end());
  uint64_t begun = 0;
  for (const Record& record : records->second) {
    begun += record.first ? 1 : 0;
    if (record.first) CHECK_EQUAL(record.copied, 0u);
  }
  CHECK_EQUAL(begun, result.counters.retries + 1);
  CHECK_EQUAL(records->second.back().copied, uint64_t{3} << 20);
  // What was written in vain does not count.
  CHECK_EQUAL(result.counters.bytes_copied, uint64_t{3} << 20);
  CHECK_EQUAL(result.counters.bytes_found, uint64_t{3} << 20);
  CHECK_EQUAL(result.counters.errors, 0u);
}

// Cancelling ----------------------------------------------------------------------------------------------------------

TEST(CancelStopsInTheMiddleOfAnEndlessFile) {
  Folder folder(FastPlace());
  Options options = Quick();
  Job job(options);
  CHECK(job.Add(ItemType::kFile, "/dev/zero", (folder / "copy").c_str()));
  job.End();
  while (job.GetCounters().bytes_copied == 0) job.Wait(1);
  const auto asked = Clock::now();
  job.Cancel();
  JobResult result;
  Coordinate(job, {}, Coordination(), &result);
  // A tenth of a second on a quiet machine; here others run, and sanitizers.
  CHECK(Seconds(asked) < 2);
  CHECK(result.failure().status.cancelled());
  CHECK(result.failure().status.destination_state() == DestinationState::kAbsent);
  CHECK_EQUAL(result.counters.errors, 0u);
  CHECK_EQUAL(result.counters.files_copied, 0u);
  CHECK(Names(folder.path()).empty());
}

TEST(CancelAtAnyMomentLeavesNoHalfFile) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  Write(folder / "large", Noise(9 << 20));
  const auto whole = Describe(folder / "tree", false);
  std::mt19937 random(12345);
  int stopped = 0;
  for (int round = 0; round < 60; ++round) {
    MakeFolder(folder / "to");
    Options options;
    options.thread_count = 1 + static_cast<uint32_t>(round) % 5;
    options.reflink = Reflink::kNever;
    options.want_progress = round % 2 == 0;
    options.want_filter = round % 3 == 0;
    Coordination coordination;
    coordination.filter = [](const std::string&, const std::vector<std::string>& names) {
      return std::vector<uint8_t>(names.size() + 1, 0);
    };
    JobResult result;
    Job job(options);
    const auto delay = std::chrono::microseconds(random() % 40000);
    std::thread canceller([&job, delay] {
      std::this_thread::sleep_for(delay);
      job.GetCounters();
      job.Cancel();
    });
    Coordinate(job,
               {{ItemType::kFile, folder / "large", folder / "to/large"},
                {ItemType::kTree, folder / "tree", folder / "to/tree"}},
               coordination, &result);
    canceller.join();
    for (const Failure& failure : result.failures) {
      CHECK(failure.status.cancelled());
      CHECK(failure.status.destination_state() == DestinationState::kAbsent);
      CHECK(!Exists(failure.destination));
    }
    CHECK_EQUAL(result.counters.errors, 0u);
    if (Exists(folder / "to/large")) CHECK(Read(folder / "to/large") == Read(folder / "large"));
    if (Exists(folder / "to/tree")) CheckNothingHalf(whole, folder / "to/tree");
    stopped += result.counters.files_copied < kFilesInTree + 1 ? 1 : 0;
    RemoveTree(folder / "to");
  }
  std::printf("  %d of 60 were stopped before their end\n", stopped);
  CHECK(stopped > 0);
}

TEST(CancelledAtomicJobLeavesOldOrNewFiles) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  MakeTree(folder / "to");
  for (const auto& [path, text] : Describe(folder / "to", false)) {
    if (text.find(" data ") != std::string::npos) Write(folder / ("to/" + path), "old " + path);
  }
  const auto old_files = Describe(folder / "to", false), new_files = Describe(folder / "tree", false);
  std::mt19937 random(54321);
  for (int round = 0; round < 30; ++round) {
    Options options;
    options.atomic = true;
    options.dirs_exist_ok = true;
    Job job(options);
    JobResult result;
    const auto delay = std::chrono::microseconds(random() % 20000);
    std::thread canceller([&job, delay] {
      std::this_thread::sleep_for(delay);
      job.Cancel();
    });
    Coordinate(job, {{ItemType::kTree, folder / "tree", folder / "to"}}, Coordination(), &result);
    canceller.join();
    const auto now = Describe(folder / "to", false);
    CHECK_EQUAL(now.size(), old_files.size());  // no temporary file
    for (const auto& [path, text] : now) {
      const auto was = old_files.find(path), is = new_files.find(path);
      REQUIRE(was != old_files.end() && is != new_files.end());
      CHECK(text == was->second || text == is->second);
    }
  }
}

TEST(JobThatStillRunsCanBeDestroyed) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  const auto whole = Describe(folder / "tree", false);
  std::mt19937 random(99);
  for (int round = 0; round < 60; ++round) {
    {
      Options options;
      options.thread_count = 8;
      options.want_progress = round % 2 == 0;
      options.want_filter = round % 3 == 0;
      Job job(options);
      job.Add(ItemType::kTree, (folder / "tree").c_str(), (folder / "copy").c_str());
      if (round % 4 != 0) job.End();
      if (round % 5 != 0) job.Wait(static_cast<int>(random() % 3));
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
      // Filter requests are left without an answer, and progress is never taken.
    }
    if (Exists(folder / "copy")) CheckNothingHalf(whole, folder / "copy");
    RemoveTree(folder / "copy");
  }
  CHECK_EQUAL(OpenDescriptors(), descriptors_at_start);
}

TEST(CancelledJobEndsThoughNobodyAnswersItsFilters) {
  // The cancel may come just when a worker is about to ask.
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  std::mt19937 random(7);
  for (int round = 0; round < 100; ++round) {
    Options options = Quick();
    options.want_filter = true;
    Job job(options);
    JobResult result;
    Coordination silent;
    silent.patience = std::chrono::seconds(10);
    const auto delay = std::chrono::microseconds(random() % 400);
    std::thread canceller([&job, delay] {
      std::this_thread::sleep_for(delay);
      job.Cancel();
    });
    Coordinate(job, {{ItemType::kTree, folder / "tree", folder / "copy"}}, silent, &result);
    canceller.join();
    RemoveTree(folder / "copy");
    REQUIRE(result.done);
  }
}

TEST(CancelledJobTakesNoMoreItems) {
  Folder folder(FastPlace());
  Write(folder / "source", "data");
  Job job(Quick());
  job.Cancel();
  job.Cancel();
  for (int i = 0; i < 5000; ++i) CHECK(job.Add(ItemType::kFile, (folder / "source").c_str(), (folder / "x").c_str()));
  job.End();
  CHECK((job.Wait(10000) & kNewsDone) != 0);
  CHECK_EQUAL(job.GetCounters().files_copied, 0u);
  CHECK(!Exists(folder / "x"));
}

TEST(ProgressThatNobodyTakesDoesNotKeepAJobFromBeingCancelled) {
  Folder folder(FastPlace());
  Write(folder / "source", "data");
  Options options = Quick();
  options.want_progress = true;
  std::vector<Item> items(30000, {ItemType::kFile, folder / "source", "/dev/null"});
  Coordination coordination;
  coordination.take_progress = false;
  uint64_t copied = 0;
  int waits = 0;
  coordination.after_wait = [&](Job& job) {
    // All workers wait for the coordinator now.
    const uint64_t now = job.GetCounters().files_copied;
    waits = now == copied ? waits + 1 : 0;
    copied = now;
    if (waits == 10) job.Cancel();
  };
  const JobResult result = RunJob(options, items, coordination);
  CHECK(result.counters.files_copied < 30000);
  CHECK(result.counters.files_copied > 1000);
}

// Failures ------------------------------------------------------------------------------------------------------------

TEST(FailureEndsTheJobUnlessFailuresAreIgnored) {
  Folder folder(FastPlace());
  Write(folder / "good", "data");
  MakeFolder(folder / "tree");
  Must(::mkfifo((folder / "tree/fifo").c_str(), 0600) == 0, "make a FIFO");
  const Item bad_items[] = {{ItemType::kFile, folder / "missing", folder / "copy of missing"},
                            {ItemType::kTree, folder / "missing", folder / "copy of missing"},
                            {ItemType::kTree, folder / "tree", folder / "copy of tree"}};
  for (const Item& bad : bad_items) {
    std::vector<Item> items = {bad};
    for (int i = 0; i < 2000; ++i) items.push_back({ItemType::kFile, folder / "good", folder / std::to_string(i)});
    for (Strategy strategy : {Strategy::kRaise, Strategy::kRetry, Strategy::kIgnore}) {
      Options options;
      options.strategy = strategy;
      options.retry_delay = 0;
      options.thread_count = 1;
      const JobResult result = RunJob(options, items);
      const bool in_tree = bad.source == folder / "tree";
      CHECK_EQUAL(result.failure().source, in_tree ? folder / "tree/fifo" : bad.source);
      CHECK_EQUAL(result.failure().destination, in_tree ? folder / "copy of tree/fifo" : bad.destination);
      CHECK_EQUAL(result.failure().root, !in_tree);
      CHECK_EQUAL(result.counters.errors, 1u);
      CHECK_EQUAL(result.counters.files_copied, strategy == Strategy::kIgnore ? 2000u : 0u);
      for (int i = 0; i < 2000; ++i) ::unlink((folder / std::to_string(i)).c_str());
      RemoveTree(folder / "copy of tree");
    }
  }
}

TEST(AllFailuresAreTold) {
  Folder folder(FastPlace());
  std::vector<Item> items;
  for (int i = 0; i < 3000; ++i) {
    items.push_back({ItemType::kFile, folder / ("missing " + std::to_string(i)), folder / "copy"});
  }
  Options options;
  options.strategy = Strategy::kIgnore;
  const JobResult result = RunJob(options, items);
  CHECK_EQUAL(result.failures.size(), 3000u);
  CHECK_EQUAL(result.counters.errors, 3000u);
  std::map<std::string, int> sources;
  for (const Failure& failure : result.failures) {
    ++sources[failure.source];
    CHECK(failure.status.kind() == Kind::kFileNotFound);
  }
  CHECK_EQUAL(sources.size(), 3000u);
}

TEST(RetriesAreCountedAndWaitedFor) {
  Folder folder(FastPlace());
  Options options = Quick();
  options.strategy = Strategy::kRetry;
  options.retry_count = 4;
  options.retry_delay = 0.05;
  const auto began = Clock::now();
  const JobResult result = RunJob(options, {{ItemType::kFile, folder / "missing", folder / "copy"}});
  CHECK(Seconds(began) >= 4 * 0.05);
  CHECK(result.failure().status.kind() == Kind::kFileNotFound);
  CHECK_EQUAL(result.counters.retries, 4u);
  CHECK_EQUAL(result.counters.errors, 1u);
}

TEST(FileThatAppearsIsCopiedByARetry) {
  Folder folder(FastPlace());
  Options options = Quick();
  options.strategy = Strategy::kRetry;
  options.retry_count = 10000;
  options.retry_delay = 0.01;
  Coordination coordination;
  coordination.after_wait = [&](Job& job) {
    if (job.GetCounters().retries == 0) return;
    Write(folder / "being written", "here at last");
    Must(::rename((folder / "being written").c_str(), (folder / "late").c_str()) == 0, "rename");
    coordination.after_wait = nullptr;
  };
  const JobResult result = RunJob(options, {{ItemType::kFile, folder / "late", folder / "copy"}}, coordination);
  CHECK(result.failures.empty());
  CHECK(result.counters.retries > 0);
  CHECK_EQUAL(Read(folder / "copy"), "here at last");
}

TEST(WhatCannotPassIsNotRetried) {
  Folder folder(FastPlace());
  Write(folder / "file", "data");
  Must(::mkfifo((folder / "fifo").c_str(), 0600) == 0, "make a FIFO");
  Options options;
  options.strategy = Strategy::kRetry;
  options.retry_delay = 100;
  const auto began = Clock::now();
  CHECK(RunJob(options, {{ItemType::kFile, folder / "file", folder / "file"}}).failure().status.operation() ==
        Operation::kSameFile);
  CHECK(RunJob(options, {{ItemType::kFile, folder / "fifo", folder / "copy"}}).failure().status.operation() ==
        Operation::kSpecialFile);
  CHECK(Seconds(began) < 50);
}

TEST(WaitBeforeARetryIsCancelled) {
  Folder folder(FastPlace());
  Write(folder / "old", "old");
  for (double delay : {60.0, 1e10, 1e300, std::numeric_limits<double>::infinity()}) {
    Options options;
    options.strategy = Strategy::kRetry;
    options.retry_count = 1000000;
    options.retry_delay = delay;
    Job job(options);
    JobResult result;
    std::thread canceller([&job] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      job.Cancel();
    });
    const auto began = Clock::now();
    Coordinate(job, {{ItemType::kFile, folder / "missing", folder / "old"}}, Coordination(), &result);
    canceller.join();
    CHECK(Seconds(began) < 10);
    CHECK_EQUAL(result.counters.retries, 0u);
    // What went wrong is told, not that it was cancelled while it waited.
    CHECK(result.failure().status.kind() == Kind::kFileNotFound);
    CHECK(result.failure().status.destination_state() == DestinationState::kOld);
  }
}

TEST(JobWithoutThreadsFails) {
  Folder folder(FastPlace());
  Write(folder / "source", "data", 0644);
  Must(::chmod(folder.path().c_str(), 0777) == 0, "open the folder to everybody");
  InChild([&] {
    if (::getuid() == 0 && !BecomeNobody()) SKIP("cannot become another user");
    struct rlimit none = {0, 0};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0) SKIP("cannot limit the number of threads");
    try {
      std::thread([] {}).join();
      SKIP("the limit does not bind this user");
    } catch (const std::system_error&) {
    }
    for (ItemType type : {ItemType::kFile, ItemType::kTree}) {
      Coordination coordination;
      coordination.patience = std::chrono::seconds(5);
      const JobResult result =
          RunJob(Options(), {{type, folder / "source", folder / "copy"}, {type, folder / "source", folder / "copy"}},
                 coordination);
      REQUIRE(!result.failures.empty());
      CHECK(result.failures[0].status.operation() == Operation::kStart);
      CHECK_EQUAL(result.failures[0].status.error_number(), EAGAIN);
      CHECK_EQUAL(result.failures[0].source, folder / "source");
      CHECK(result.failures[0].root);
      CHECK(!Exists(folder / "copy"));
    }
  });
}

TEST(SignalsDoNotDisturbAJob) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  struct sigaction action = {}, before;
  action.sa_handler = [](int) {};
  action.sa_flags = 0;  // without SA_RESTART
  Must(::sigaction(SIGALRM, &action, &before) == 0, "handle a signal");
  struct itimerval often = {{0, 500}, {0, 500}}, never = {};
  Must(::setitimer(ITIMER_REAL, &often, nullptr) == 0, "start a timer");
  // So that workers get the signals: threads inherit the mask with which they are started.
  for (int i = 0; i < 3; ++i) {
    const JobResult result = RunJob(Options(), {{ItemType::kTree, folder / "tree", folder / "copy"}});
    CHECK(result.failures.empty());
    CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
    RemoveTree(folder / "copy");
  }
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

TEST(CountersMayBeReadWhileTheJobRuns) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  Job job((Options()));
  std::atomic<bool> over{false};
  bool only_growing = true;
  std::thread reader([&] {
    uint64_t files = 0;
    while (!over) {
      const Counters counters = job.GetCounters();
      only_growing = only_growing && counters.files_copied >= files && counters.files_found >= files;
      files = counters.files_copied;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  JobResult result;
  Coordinate(job, {{ItemType::kTree, folder / "tree", folder / "copy"}}, Coordination(), &result);
  over = true;
  reader.join();
  CHECK(only_growing);
  CHECK_EQUAL(result.counters.files_copied, kFilesInTree);
}

TEST(ManyJobsRunAtOnce) {
  Folder folder(FastPlace());
  MakeTree(folder / "tree");
  std::vector<std::thread> coordinators;
  std::atomic<int> complete{0};
  for (int i = 0; i < 4; ++i) {
    coordinators.emplace_back([&, i] {
      Job job((Options()));
      job.Add(ItemType::kTree, (folder / "tree").c_str(), (folder / ("copy" + std::to_string(i))).c_str());
      job.End();
      while ((job.Wait(100) & kNewsDone) == 0) {
      }
      if (job.GetCounters().files_copied == kFilesInTree) ++complete;
    });
  }
  for (std::thread& coordinator : coordinators) coordinator.join();
  CHECK_EQUAL(complete.load(), 4);
  for (int i = 0; i < 4; ++i) CHECK_EQUAL(Difference(folder / "tree", folder / ("copy" + std::to_string(i))), "");
}

TEST(NothingIsLeftOfAJob) {
  CHECK_EQUAL(OpenDescriptors(), descriptors_at_start);
  if (!Exists("/proc/self/task")) SKIP("no /proc here");
  // A thread that was joined may be in the list for another moment; sanitizers have a thread of their own.
  for (int i = 0; i < 100 && Threads() > 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(Threads() <= 2);
}
