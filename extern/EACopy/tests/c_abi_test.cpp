// The C ABI as a foreign language sees it.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "check.h"
#include "eacopy/job.h"
#include "eacopy_c.h"
#include "eacopy_sync.h"
#include "files.h"

using namespace eacopy::test;

extern "C" int copy_tree_in_c(const char* source, const char* destination, eac_counters* counters, char** first_error);

namespace {

const int descriptors_at_start = OpenDescriptors();

eac_options DefaultOptions() {
  eac_options options = {};
  options.buffer_size = 8 << 20;
  options.thread_count = 4;
  options.metadata = EAC_METADATA_STAT;
  options.follow_symlinks = 1;
  return options;
}

// Waits until the job is done; false when it takes too long. Returns at once while there are errors to take, as
// eac_job_wait does.
bool WaitForDone(eac_job* job) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    if ((eac_job_wait(job, 100) & EAC_NEWS_DONE) != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace

TEST(VersionAndCapabilitiesAreTold) {
  CHECK_EQUAL(eac_abi_version(), 4u);
  const std::string capabilities = eac_capabilities();
  CHECK(capabilities.find("threads") != std::string::npos);
  CHECK(capabilities.find(' ') == std::string::npos);
  CHECK(eac_capabilities() == eac_capabilities());
}

TEST(NumbersAreThoseOfTheEngine) {
  for (int error_number = 0; error_number < 150; ++error_number) {
    for (int operation = EAC_OPERATION_NONE; operation <= EAC_OPERATION_START; ++operation) {
      const auto kind = eacopy::Classify(error_number, static_cast<eacopy::Operation>(operation));
      CHECK_EQUAL(eac_classify(error_number, operation), static_cast<int32_t>(kind));
    }
  }
  CHECK_EQUAL(eac_classify(ENOENT, EAC_OPERATION_OPEN_SOURCE), static_cast<int32_t>(EAC_KIND_FILE_NOT_FOUND));
  CHECK_EQUAL(eac_classify(ENOSPC, EAC_OPERATION_WRITE), static_cast<int32_t>(EAC_KIND_DISK_FULL));
  CHECK_EQUAL(static_cast<int>(EAC_NEWS_PROGRESS), static_cast<int>(eacopy::kNewsProgress));
  CHECK_EQUAL(static_cast<int>(EAC_NEWS_FILTER), static_cast<int>(eacopy::kNewsFilter));
  CHECK_EQUAL(static_cast<int>(EAC_NEWS_ERROR), static_cast<int>(eacopy::kNewsError));
  CHECK_EQUAL(static_cast<int>(EAC_NEWS_ROOM), static_cast<int>(eacopy::kNewsRoom));
  CHECK_EQUAL(static_cast<int>(EAC_NEWS_ACTION), static_cast<int>(eacopy::kNewsAction));
}

TEST(SmallFileIsCopiedAtOnce) {
  Folder folder;
  MakeFolder(folder / "directory");
  Write(folder / "source", "data", 0640);
  SetSize(folder / "large", 64 << 20);
  eac_options options = DefaultOptions();
  options.into_directory = 1;
  // Whatever was there is no error to be freed.
  eac_error* error = reinterpret_cast<eac_error*>(&options);
  auto copy = [&](const std::string& source, const std::string& destination) {
    return eac_copy_file((folder / source).c_str(), (folder / destination).c_str(), &options, &error);
  };
  CHECK_EQUAL(copy("source", "copy"), static_cast<int>(EAC_RESULT_COPIED));
  CHECK(error == nullptr);
  CHECK_EQUAL(Read(folder / "copy"), "data");
  CHECK_EQUAL(ModeOf(folder / "copy"), 0640u);
  CHECK_EQUAL(copy("source", "directory"), static_cast<int>(EAC_RESULT_COPIED_INTO));
  CHECK_EQUAL(Read(folder / "directory/source"), "data");
  CHECK_EQUAL(copy("large", "large copy"), static_cast<int>(EAC_RESULT_NEEDS_JOB));
  CHECK(error == nullptr);
  CHECK(!Exists(folder / "large copy"));
  CHECK_EQUAL(copy("missing", "copy"), static_cast<int>(EAC_RESULT_FAILED));
  REQUIRE(error != nullptr);
  CHECK_EQUAL(error->kind, static_cast<int32_t>(EAC_KIND_FILE_NOT_FOUND));
  CHECK_EQUAL(error->operation, static_cast<int32_t>(EAC_OPERATION_OPEN_SOURCE));
  CHECK_EQUAL(error->error_number, ENOENT);
  CHECK_EQUAL(error->destination_state, static_cast<int32_t>(EAC_DESTINATION_OLD));
  CHECK_EQUAL(static_cast<int>(error->root), 1);
  CHECK_EQUAL(std::string(error->source), folder / "missing");
  CHECK_EQUAL(std::string(error->destination), folder / "copy");
  eac_error_free(error);
  CHECK_EQUAL(Read(folder / "copy"), "data");
}

TEST(EveryOptionReachesTheEngine) {
  Folder folder;
  Write(folder / "source", "data", 0600);
  SetTimes(folder / "source", 1000000000, 1100000000);
  MakeLink("source", folder / "link");
  eac_error* error = nullptr;
  auto copy = [&](const eac_options& options, const std::string& source, const std::string& destination) {
    return eac_copy_file((folder / source).c_str(), (folder / destination).c_str(), &options, &error);
  };
  eac_options options = DefaultOptions();
  options.metadata = EAC_METADATA_NONE;
  CHECK_EQUAL(copy(options, "source", "none"), 0);
  CHECK(ModeOf(folder / "none") != 0600u);
  options.metadata = EAC_METADATA_MODE;
  CHECK_EQUAL(copy(options, "source", "mode"), 0);
  CHECK_EQUAL(ModeOf(folder / "mode"), 0600u);
  CHECK(ModifiedOf(StatusOf(folder / "mode")).tv_sec != 1100000000);
  options.metadata = EAC_METADATA_STAT;
  CHECK_EQUAL(copy(options, "source", "stat"), 0);
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "stat")).tv_sec, 1100000000);
  options.follow_symlinks = 0;
  CHECK_EQUAL(copy(options, "link", "copied link"), 0);
  CHECK_EQUAL(LinkTarget(folder / "copied link"), "source");
  options.follow_symlinks = 1;
  CHECK_EQUAL(copy(options, "link", "followed"), 0);
  CHECK(S_ISREG(StatusOf(folder / "followed").st_mode));
  const ino_t before = StatusOf(folder / "stat").st_ino;
  CHECK_EQUAL(copy(options, "source", "stat"), 0);
  CHECK_EQUAL(StatusOf(folder / "stat").st_ino, before);
  options.atomic = 1;
  options.verify = 1;
  options.fsync = 1;
  CHECK_EQUAL(copy(options, "source", "stat"), 0);
  CHECK(StatusOf(folder / "stat").st_ino != before);
}

TEST(SenselessOptionsLoseNoData) {
  // The header asks for one byte and one thread at least; less must not lose data.
  Folder folder;
  Write(folder / "source", Noise(10000));
  eac_options options = DefaultOptions();
  options.buffer_size = 0;
  options.thread_count = 0;
  eac_error* error = nullptr;
  CHECK_EQUAL(eac_copy_file((folder / "source").c_str(), (folder / "copy").c_str(), &options, &error), 0);
  CHECK(Read(folder / "copy") == Read(folder / "source"));
  Write(folder / "source", Noise(300 << 10));
  eac_job* job = eac_job_new(&options);
  REQUIRE(job != nullptr);
  CHECK_EQUAL(eac_job_add(job, EAC_ITEM_FILE, (folder / "source").c_str(), (folder / "copy").c_str()), 1);
  eac_job_end(job);
  CHECK(WaitForDone(job));
  eac_job_free(job);
  CHECK(Read(folder / "copy") == Read(folder / "source"));
}

TEST(JobTellsOfErrorsProgressAndFilters) {
  Folder folder;
  MakeFolder(folder / "tree");
  Write(folder / "tree/keep", "data");
  Write(folder / "tree/large", Noise(2 << 20));
  Write(folder / "tree/drop", "data");
  Must(::mkfifo((folder / "tree/fifo").c_str(), 0600) == 0, "make a FIFO");
  eac_options options = DefaultOptions();
  options.want_progress = 1;
  options.want_filter = 1;
  options.reflink = EAC_REFLINK_NEVER;
  eac_job* job = eac_job_new(&options);
  REQUIRE(job != nullptr);
  eac_filter filter;
  eac_progress progress;
  CHECK_EQUAL(eac_job_take_filter(job, &filter), 0);
  CHECK_EQUAL(eac_job_take_progress(job, &progress), 0);
  CHECK(eac_job_take_error(job) == nullptr);
  {
    // No pointer to an argument is kept.
    std::string source = folder / "tree", destination = folder / "copy";
    CHECK_EQUAL(eac_job_add(job, EAC_ITEM_TREE, source.c_str(), destination.c_str()), 1);
    source.assign(source.size(), 'x');
    destination.assign(destination.size(), 'x');
  }
  eac_job_end(job);
  std::set<std::string> asked, begun, ended;
  int errors = 0;
  bool done = false;
  for (int i = 0; i < 600 && !done; ++i) {
    done = (eac_job_wait(job, 100) & EAC_NEWS_DONE) != 0;
    while (eac_job_take_filter(job, &filter) != 0) {
      CHECK_EQUAL(std::string(filter.directory), folder / "tree");
      CHECK_EQUAL(filter.count, 4u);
      std::vector<uint8_t> leave_out;
      for (const char* name = filter.names; name < filter.names + filter.names_size; name += std::strlen(name) + 1) {
        asked.insert(name);
        leave_out.push_back(std::strcmp(name, "drop") == 0 ? 1 : 0);
      }
      eac_job_answer_filter(job, filter.ticket, leave_out.data());
    }
    while (eac_job_take_progress(job, &progress) != 0) {
      const char* path = progress.paths;
      for (size_t k = 0; k < progress.count; ++k) {
        if (progress.first[k] != 0) CHECK(begun.insert(path).second);
        if (progress.copied[k] == progress.total[k]) CHECK(ended.insert(path).second);
        path += std::strlen(path) + 1;
      }
      CHECK(path == progress.paths + progress.paths_size);
    }
    while (eac_error* error = eac_job_take_error(job)) {
      ++errors;
      CHECK_EQUAL(error->kind, static_cast<int32_t>(EAC_KIND_INVALID_ARGUMENT));
      CHECK_EQUAL(error->operation, static_cast<int32_t>(EAC_OPERATION_SPECIAL_FILE));
      CHECK_EQUAL(error->error_number, 0);
      CHECK_EQUAL(error->destination_state, static_cast<int32_t>(EAC_DESTINATION_ABSENT));
      CHECK_EQUAL(static_cast<int>(error->root), 0);
      CHECK_EQUAL(std::string(error->source), folder / "tree/fifo");
      CHECK_EQUAL(std::string(error->destination), folder / "copy/fifo");
      eac_error_free(error);
    }
  }
  CHECK(done);
  CHECK((asked == std::set<std::string>{"drop", "fifo", "keep", "large"}));
  CHECK((begun == std::set<std::string>{folder / "tree/keep", folder / "tree/large"}));
  CHECK(begun == ended);
  CHECK_EQUAL(errors, 1);
  eac_counters counters;
  eac_job_snapshot(job, &counters);
  CHECK_EQUAL(counters.files_found, 3u);
  CHECK_EQUAL(counters.files_copied, 2u);
  CHECK_EQUAL(counters.bytes_copied, (2u << 20) + 4);
  CHECK_EQUAL(counters.bytes_found, (2u << 20) + 4);
  CHECK_EQUAL(counters.directories_created, 1u);
  CHECK_EQUAL(counters.errors, 1u);
  CHECK_EQUAL(counters.retries, 0u);
  uint64_t by_method = 0;
  for (uint64_t files : counters.methods) by_method += files;
  CHECK_EQUAL(by_method, 2u);
  CHECK_EQUAL(counters.methods[EAC_METHOD_CLONE] + counters.methods[EAC_METHOD_COPY_FILE_RANGE], 0u);
  eac_job_free(job);
  CHECK((Names(folder / "copy") == std::vector<std::string>{"keep", "large"}));
}

TEST(CancelAndSnapshotComeFromAnyThread) {
  Folder folder;
  eac_options options = DefaultOptions();
  options.metadata = EAC_METADATA_NONE;
  eac_job* job = eac_job_new(&options);
  REQUIRE(job != nullptr);
  CHECK_EQUAL(eac_job_add(job, EAC_ITEM_FILE, "/dev/zero", (folder / "copy").c_str()), 1);
  eac_job_end(job);
  std::thread other([job] {
    eac_counters counters = {};
    while (counters.bytes_copied == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      eac_job_snapshot(job, &counters);
    }
    eac_job_cancel(job);
  });
  CHECK(WaitForDone(job));
  other.join();
  eac_error* error = eac_job_take_error(job);
  REQUIRE(error != nullptr);
  CHECK_EQUAL(error->kind, static_cast<int32_t>(EAC_KIND_INTERRUPTED));
  CHECK_EQUAL(error->destination_state, static_cast<int32_t>(EAC_DESTINATION_ABSENT));
  eac_error_free(error);
  eac_job_free(job);
  CHECK(!Exists(folder / "copy"));
}

namespace {

// What a foreign language hands over for a sync without any wish.
eac_sync PlainSync() {
  eac_sync sync = {};
  sync.files = {"*", 1};
  sync.exclude_files = sync.exclude_dirs = sync.link_dirs = {"", 0};
  sync.link_database = sync.root = sync.include_attributes = sync.exclude_attributes = "";
  sync.subdirs = sync.empty_dirs = sync.dir_times = sync.want_actions = 1;
  return sync;
}

struct Synced {
  std::vector<std::string> actions;  // "type source destination size"
  std::vector<std::string> not_kept;
  std::vector<int32_t> errors;  // kinds
  eac_counters counters = {};
};

Synced RunSync(const eac_sync& sync, const std::string& source, const std::string& destination) {
  Synced synced;
  const eac_options options = DefaultOptions();
  eac_job* job = eac_job_new_sync(&options, &sync);
  CHECK(job != nullptr);
  if (job == nullptr) return synced;
  eac_actions actions;
  CHECK_EQUAL(eac_job_take_actions(job, &actions), 0);
  CHECK_EQUAL(eac_job_add(job, EAC_ITEM_TREE, source.c_str(), destination.c_str()), 1);
  eac_job_end(job);
  CHECK(WaitForDone(job));
  while (eac_job_take_actions(job, &actions) != 0) {
    const char *from = actions.sources, *to = actions.destinations;
    for (size_t i = 0; i < actions.count; ++i) {
      synced.actions.push_back(std::to_string(actions.types[i]) + " " + from + " " + to + " " +
                               std::to_string(actions.sizes[i]));
      from += std::strlen(from) + 1;
      to += std::strlen(to) + 1;
    }
    CHECK(from == actions.sources + actions.sources_size);
    CHECK(to == actions.destinations + actions.destinations_size);
  }
  while (eac_error* error = eac_job_take_error(job)) {
    synced.errors.push_back(error->kind);
    eac_error_free(error);
  }
  size_t count = 99;
  const char* line = eac_job_not_kept(job, &count);
  for (size_t i = 0; i < count; ++i, line += std::strlen(line) + 1) synced.not_kept.emplace_back(line);
  eac_job_snapshot(job, &synced.counters);
  eac_job_free(job);
  std::sort(synced.actions.begin(), synced.actions.end());
  return synced;
}

}  // namespace

TEST(SyncTellsWhatItDoes) {
  Folder folder;
  for (const char* path : {"source", "source/sub", "copy", "copy/old"}) MakeFolder(folder / path);
  Write(folder / "source/new", "data");
  Write(folder / "source/changed", "longer");
  Write(folder / "source/mode", "data", 0600);
  Write(folder / "source/same", "same");
  MakeLink("new", folder / "source/link");
  Write(folder / "copy/changed", "short");
  Write(folder / "copy/mode", "data", 0640);
  Write(folder / "copy/same", "same");
  Write(folder / "copy/old/file", "12345");
  for (const char* name : {"mode", "same"}) {
    SetTimes(folder / "source/" + name, 1000000000, 1000000000);
    SetTimes(folder / "copy/" + name, 1000000000, 1000000000);
  }
  const auto action = [&](eac_action type, const std::string& from, const std::string& to, int size) {
    return std::to_string(type) + " " + (from.empty() ? "" : folder / from) + " " + (folder / to) + " " +
           std::to_string(size);
  };
  const std::vector<std::string> expected = {
      action(EAC_ACTION_COPY, "source/link", "copy/link", 4),
      action(EAC_ACTION_COPY, "source/new", "copy/new", 4),
      action(EAC_ACTION_OVERWRITE, "source/changed", "copy/changed", 6),
      action(EAC_ACTION_MAKE_DIRECTORY, "source/sub", "copy/sub", 0),
      action(EAC_ACTION_REMOVE, "", "copy/old/file", 5),
      action(EAC_ACTION_REMOVE_DIRECTORY, "", "copy/old", 0),
      action(EAC_ACTION_MEND, "source/mode", "copy/mode", 4),
  };
  eac_sync sync = PlainSync();
  sync.purge = 1;
  sync.dry_run = 1;
  const auto before = Describe(folder / "copy");
  const Synced planned = RunSync(sync, folder / "source", folder / "copy");
  CHECK(before == Describe(folder / "copy"));
  CHECK(planned.actions == expected);
  sync.dry_run = 0;
  const Synced done = RunSync(sync, folder / "source", folder / "copy");
  CHECK(done.actions == expected);
  for (const Synced* each : {&planned, &done}) {
    CHECK(each->errors.empty() && each->not_kept.empty());
    CHECK_EQUAL(each->counters.files_found, 5u);
    CHECK_EQUAL(each->counters.files_copied, 3u);
    CHECK_EQUAL(each->counters.bytes_copied, 14u);
    CHECK_EQUAL(each->counters.files_skipped, 2u);
    CHECK_EQUAL(each->counters.bytes_skipped, 8u);
    CHECK_EQUAL(each->counters.directories_created, 1u);
    CHECK_EQUAL(each->counters.files_removed, 1u);
    CHECK_EQUAL(each->counters.bytes_removed, 5u);
    CHECK_EQUAL(each->counters.directories_removed, 1u);
    CHECK_EQUAL(each->counters.mismatches, 0u);
  }
  CHECK(RunSync(sync, folder / "source", folder / "copy").actions.empty());
  sync.want_actions = 0;
  Write(folder / "source/more", "data");
  CHECK(RunSync(sync, folder / "source", folder / "copy").actions.empty());
  CHECK(Exists(folder / "copy/more"));
}

TEST(EveryWishOfASyncReachesTheEngine) {
  Folder folder;
  for (const char* path : {"source", "source/sub", "source/sub/deep", "source/empty", "source/out", "older"}) {
    MakeFolder(folder / path);
  }
  for (const char* name : {"a.txt", "b.txt", "c.bin", ".hidden", "sub/a.txt", "sub/deep/a.txt", "out/a.txt"}) {
    Write(folder / "source/" + name, name);
  }
  Must(::chmod((folder / "source/b.txt").c_str(), 0444) == 0, "set a mode");
  Must(::link((folder / "source/a.txt").c_str(), (folder / "source/a2.txt").c_str()) == 0, "link");
  SetTimes(folder / "source", 1000000000, 1000000000);
  int number = 0;
  std::string copy;
  // The files that a sync makes, and its counters.
  const auto made = [&](const eac_sync& sync, const std::vector<std::string>& expected) {
    copy = folder / std::to_string(++number);
    const Synced synced = RunSync(sync, folder / "source", copy);
    std::vector<std::string> found;
    for (const auto& [path, text] : Describe(copy, false)) found.push_back(path);
    CHECK(synced.errors.empty());
    CHECK(found == expected);
    return synced;
  };
  const eac_sync plain = PlainSync();
  eac_sync sync = plain;
  sync.files = {"a.txt\0c.*\0/sub/deep/*", 3};
  sync.exclude_dirs = {"out\0empty", 2};
  made(sync, {"a.txt", "c.bin", "sub", "sub/a.txt", "sub/deep", "sub/deep/a.txt"});
  CHECK_EQUAL(ModifiedOf(StatusOf(copy)).tv_sec, 1000000000);
  sync.exclude_files = {"/sub/a.txt", 1};
  sync.max_depth = 2;
  sync.empty_dirs = 0;
  sync.dir_times = 0;
  made(sync, {"a.txt", "c.bin"});
  CHECK(ModifiedOf(StatusOf(copy)).tv_sec != 1000000000);
  sync = plain;
  sync.subdirs = 0;
  sync.hard_links = 1;
  sync.include_attributes = "RH";
  sync.exclude_attributes = "H";
  made(sync, {"b.txt"});
  sync.include_attributes = sync.exclude_attributes = "";
  const Synced linked = made(sync, {".hidden", "a.txt", "a2.txt", "b.txt", "c.bin"});
  CHECK_EQUAL(linked.counters.files_linked, 1u);
  CHECK_EQUAL(linked.counters.bytes_linked, 5u);
  CHECK_EQUAL(StatusOf(copy + "/a.txt").st_ino, StatusOf(copy + "/a2.txt").st_ino);
  const std::string older = copy + std::string(1, '\0'), links = folder / "links";
  sync.hard_links = 0;
  sync.link_dirs = {older.c_str(), 1};
  sync.link_min_size = 6;
  sync.files = {"*.*", 1};
  CHECK_EQUAL(made(sync, {".hidden", "a.txt", "a2.txt", "b.txt", "c.bin"}).counters.files_linked, 1u);  // .hidden
  sync = plain;
  sync.subdirs = 0;
  sync.link_database = links.c_str();
  made(sync, {".hidden", "a.txt", "a2.txt", "b.txt", "c.bin"});
  CHECK_EQUAL(made(sync, {".hidden", "a.txt", "a2.txt", "b.txt", "c.bin"}).counters.files_linked, 5u);
  sync = plain;
  sync.link_database = links.c_str();
  sync.link_by_name = 1;
  sync.files = {"a.txt", 1};
  sync.exclude_dirs = {"out\0empty\0deep", 3};
  CHECK_EQUAL(made(sync, {"a.txt", "sub", "sub/a.txt"}).counters.files_linked, 1u);
  sync = plain;
  sync.flatten = 1;
  sync.files = {".hid*\0c.bin", 2};
  made(sync, {".hidden", "c.bin"});
  // Into what is there already.
  Write(copy + "/c.bin", "other");
  sync.exclude_changed = 1;
  CHECK_EQUAL(RunSync(sync, folder / "source", copy).counters.files_skipped, 2u);
  CHECK_EQUAL(Read(copy + "/c.bin"), "other");
  Write(copy + "/c.bin", "C.bin");
  const auto time = ModifiedOf(StatusOf(folder / "source/c.bin"));
  SetTimes(copy + "/c.bin", 1, time.tv_sec, time.tv_nsec);
  sync.exclude_changed = 0;
  CHECK_EQUAL(RunSync(sync, folder / "source", copy).counters.files_skipped, 2u);
  sync.compare_bytes = 1;
  CHECK_EQUAL(RunSync(sync, folder / "source", copy).counters.files_skipped, 1u);
  CHECK_EQUAL(Read(copy + "/c.bin"), "c.bin");
  sync = plain;
  copy = folder / "links into";
  MakeFolder(copy);
  MakeLink(folder / "older", copy + "/sub");
  sync.keep_dir_symlinks = 1;
  RunSync(sync, folder / "source", copy);
  CHECK(Exists(folder / "older/a.txt"));
  CHECK_EQUAL(LinkTarget(copy + "/sub"), folder / "older");
  sync.include_attributes = "A";
  CHECK((RunSync(sync, folder / "source", folder / "no").errors == std::vector<int32_t>{EAC_KIND_UNSUPPORTED}));
  CHECK(!Exists(folder / "no"));
}

TEST(WhatAnArchiveCouldNotKeepIsTold) {
  Folder folder;
  MakeFolder(folder / "source");
  Write(folder / "source/file", "data");
  Must(::getuid() != 0 || ::chown((folder / "source/file").c_str(), 12345, 12346) == 0, "set an owner");
  Must(::chmod(folder.path().c_str(), 0777) == 0, "set a mode");
  if (::getuid() != 0) SKIP("only root has files of others");
  eac_sync sync = PlainSync();
  sync.archive = 1;
  CHECK(RunSync(sync, folder / "source", folder / "kept").not_kept.empty());
  CHECK_EQUAL(StatusOf(folder / "kept/file").st_uid, 12345u);
  InChild([&] {
    if (!BecomeNobody()) SKIP("the user cannot be changed");
    const Synced synced = RunSync(sync, folder / "source", folder / "lost");
    CHECK(synced.errors.empty());
    CHECK(!synced.not_kept.empty());
    for (const std::string& line : synced.not_kept) CHECK(line.find(" times)") != std::string::npos);
    CHECK(std::is_sorted(synced.not_kept.begin(), synced.not_kept.end()));
  });
}

TEST(NothingMayBeFreed) {
  eac_error_free(nullptr);
  eac_job_free(nullptr);
  const eac_options options = DefaultOptions();
  eac_job_free(eac_job_new(&options));
}

TEST(PlainCRunsAJob) {
  Folder folder;
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/sub");
  for (const char* name : {"tree/file", "tree/sub/file"}) Write(folder / name, name);
  eac_counters counters;
  char* first_error = nullptr;
  CHECK_EQUAL(copy_tree_in_c((folder / "tree").c_str(), (folder / "copy").c_str(), &counters, &first_error), 0);
  CHECK(first_error == nullptr);
  CHECK_EQUAL(counters.files_copied, 2u);
  CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
  CHECK_EQUAL(copy_tree_in_c((folder / "missing").c_str(), (folder / "x").c_str(), &counters, &first_error), 1);
  CHECK(first_error != nullptr && folder / "missing" == first_error);
  std::free(first_error);
}

TEST(NoDescriptorIsLeftOpen) { CHECK_EQUAL(OpenDescriptors(), descriptors_at_start); }
