// The C ABI as a foreign language sees it.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "check.h"
#include "eacopy/job.h"
#include "eacopy_c.h"
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
  CHECK_EQUAL(eac_abi_version(), 3u);
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
