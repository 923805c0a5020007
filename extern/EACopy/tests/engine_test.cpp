// The engine through its public headers, on whatever system this is: files, trees, what is refused, what is left
// behind.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "eacopy/copy.h"
#include "eacopy/job.h"

namespace fs = std::filesystem;
using eacopy::CopyResult;
using eacopy::CopySmallFile;
using eacopy::Counters;
using eacopy::DestinationState;
using eacopy::Failure;
using eacopy::FilterRequest;
using eacopy::ItemType;
using eacopy::Job;
using eacopy::Kind;
using eacopy::Operation;
using eacopy::Options;
using eacopy::Progress;

namespace {

std::string ReadFile(const fs::path& path) {
  std::ostringstream text;
  std::ifstream file(path, std::ios::binary);
  if (file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  return text.str();
}

// A directory of a test's own, gone afterwards.
class Place {
 public:
  Place() {
    std::random_device random;
    path_ = fs::temp_directory_path() / ("eacopy-test-" + std::to_string(random()) + std::to_string(random()));
    fs::create_directory(path_);
  }
  ~Place() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string Path(const std::string& name) const { return (path_ / name).u8string(); }

  void Write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string Read(const std::string& name) const { return ReadFile(path_ / name); }
  bool Has(const std::string& name) const { return fs::exists(fs::symlink_status(path_ / name)); }
  size_t Count(const std::string& name) const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path_ / name), {}));
  }

 private:
  fs::path path_;
};

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

// All files below a directory with their contents, directories with a separator at their end.
std::map<std::string, std::string> Contents(const std::string& root) {
  std::map<std::string, std::string> contents;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = fs::relative(entry.path(), root).generic_u8string();
    if (entry.is_directory()) {
      contents[name + "/"];
    } else {
      contents[name] = ReadFile(entry.path());
    }
  }
  return contents;
}

struct Result {
  Counters counters;
  std::vector<Failure> failures;
  uint64_t files_begun = 0;
  uint64_t files_ended = 0;
};

// Runs one item to its end, as a coordinator does.
Result Run(const Options& options, ItemType type, const std::string& source, const std::string& destination,
           const std::function<void(Job&)>& at_progress = nullptr,
           const std::function<bool(const std::string&)>& leave_out = nullptr) {
  Job job(options);
  Result result;
  CHECK(job.Add(type, source.c_str(), destination.c_str()));
  job.End();
  for (int news = 0; (news & eacopy::kNewsDone) == 0;) {
    news = job.Wait(1000);
    FilterRequest request;
    while (job.TakeFilter(&request)) {
      std::vector<uint8_t> answer;
      const char* name = request.names.data();
      for (size_t i = 0; i < request.count; ++i, name += std::strlen(name) + 1)
        answer.push_back(leave_out(name) ? 1 : 0);
      job.AnswerFilter(request.ticket, answer.data());
    }
    Progress progress;
    while (job.TakeProgress(&progress)) {
      for (size_t i = 0; i < progress.count(); ++i) {
        CHECK(progress.copied[i] <= progress.total[i]);
        result.files_begun += progress.first[i];
        result.files_ended += progress.copied[i] == progress.total[i];
      }
      if (at_progress) at_progress(job);
    }
  }
  Failure failure;
  while (job.TakeFailure(&failure)) result.failures.push_back(failure);
  result.counters = job.GetCounters();
  return result;
}

CopyResult CopyDirectly(const std::string& source, const std::string& destination, Failure* failure,
                        const Options& options = Options()) {
  return CopySmallFile(source.c_str(), destination.c_str(), options, failure);
}

void MakeTree(const Place& place, const std::string& name) {
  for (int i = 0; i < 12; ++i) {
    const std::string directory = name + "/directory " + std::to_string(i) + "/deeper";
    for (int k = 0; k < 25; ++k)
      place.Write(directory + "/file " + std::to_string(k), Pattern(static_cast<size_t>(k * 1000)));
  }
  place.Write(name + "/large", Pattern(3000000));
  fs::create_directory(fs::u8path(place.Path(name + "/empty")));
}

}  // namespace

TEST(ASmallFileIsCopiedDirectly) {
  Place place;
  place.Write("a", "text");
  const auto time = fs::last_write_time(fs::u8path(place.Path("a"))) - std::chrono::hours(1000);
  fs::last_write_time(fs::u8path(place.Path("a")), time);
  Failure failure;
  CHECK(CopyDirectly(place.Path("a"), place.Path("b"), &failure) == CopyResult::kCopied);
  CHECK_EQUAL(place.Read("b"), std::string("text"));
  CHECK(fs::last_write_time(fs::u8path(place.Path("b"))) == time);
  place.Write("a", "other");
  CHECK(CopyDirectly(place.Path("a"), place.Path("b"), &failure) == CopyResult::kCopied);
  CHECK_EQUAL(place.Read("b"), std::string("other"));
}

TEST(ALargeFileIsLeftToAJob) {
  Place place;
  place.Write("a", Pattern(5000000));
  Failure failure;
  CHECK(CopyDirectly(place.Path("a"), place.Path("b"), &failure) == CopyResult::kNeedsJob);
  CHECK(!place.Has("b"));
  Options options;
  options.want_progress = true;
  Result result = Run(options, ItemType::kFile, place.Path("a"), place.Path("b"));
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.bytes_copied, 5000000u);
  CHECK_EQUAL(result.files_begun, 1u);
  CHECK(place.Read("b") == place.Read("a"));
}

TEST(ADirectoryTakesAFileIn) {
  Place place;
  place.Write("a", "text");
  fs::create_directory(fs::u8path(place.Path("directory")));
  Failure failure;
  CHECK(CopyDirectly(place.Path("a"), place.Path("directory"), &failure) == CopyResult::kFailed);
  CHECK_EQUAL(failure.status.error_number(), EISDIR);
  Options options;
  options.into_directory = true;
  CHECK(CopyDirectly(place.Path("a"), place.Path("directory"), &failure, options) == CopyResult::kCopiedInto);
  CHECK_EQUAL(place.Read("directory/a"), std::string("text"));
  options.atomic = true;
  place.Write("a", "other");
  CHECK(CopyDirectly(place.Path("a"), place.Path("directory"), &failure, options) == CopyResult::kCopiedInto);
  CHECK_EQUAL(place.Read("directory/a"), std::string("other"));
  CHECK_EQUAL(place.Count("directory"), 1u);
}

TEST(AFileIsNotCopiedOntoItself) {
  Place place;
  place.Write("a", "text");
  std::error_code error;
  fs::create_hard_link(fs::u8path(place.Path("a")), fs::u8path(place.Path("b")), error);
  for (const bool atomic : {false, true}) {
    Options options;
    options.atomic = atomic;
    Failure failure;
    CHECK(CopyDirectly(place.Path("a"), place.Path("a"), &failure, options) == CopyResult::kFailed);
    CHECK(failure.status.operation() == Operation::kSameFile);
    if (error) continue;
    CHECK(CopyDirectly(place.Path("a"), place.Path("b"), &failure, options) == CopyResult::kFailed);
    CHECK(failure.status.operation() == Operation::kSameFile);
  }
  CHECK_EQUAL(place.Read("a"), std::string("text"));
}

TEST(WhatIsMissingIsNamed) {
  Place place;
  place.Write("a", "text");
  fs::create_directory(fs::u8path(place.Path("directory")));
  Failure failure;
  CHECK(CopyDirectly(place.Path("none"), place.Path("b"), &failure) == CopyResult::kFailed);
  CHECK(failure.status.kind() == Kind::kFileNotFound);
  CHECK(failure.status.destination_state() == DestinationState::kAbsent);
  CHECK(!place.Has("b"));
  CHECK(CopyDirectly(place.Path("a"), place.Path("none/b"), &failure) == CopyResult::kFailed);
  CHECK(failure.status.kind() == Kind::kDirectoryNotFound);
  CHECK(CopyDirectly(place.Path("a"), place.Path("none/"), &failure) == CopyResult::kFailed);
  CHECK(failure.status.kind() == Kind::kDirectoryNotFound);
  CHECK(CopyDirectly(place.Path("directory"), place.Path("b"), &failure) == CopyResult::kFailed);
  CHECK_EQUAL(failure.status.error_number(), EISDIR);
  CHECK(CopyDirectly("", place.Path("b"), &failure) == CopyResult::kFailed);
  CHECK_EQUAL(failure.status.error_number(), ENOENT);
  CHECK_EQUAL(place.Count(""), 2u);
}

TEST(AnAtomicCopyLeavesNothingElseBehind) {
  Place place;
  place.Write("directory/a", Pattern(2000000));
  place.Write("directory/b", "old");
  Options options;
  options.atomic = true;
  options.fsync = true;
  options.verify = true;
  Result result = Run(options, ItemType::kFile, place.Path("directory/a"), place.Path("directory/b"));
  CHECK(result.failures.empty());
  CHECK(place.Read("directory/a") == place.Read("directory/b"));
  result = Run(options, ItemType::kFile, place.Path("directory/none"), place.Path("directory/b"));
  CHECK_EQUAL(result.failures.size(), 1u);
  CHECK(place.Read("directory/a") == place.Read("directory/b"));
  CHECK_EQUAL(place.Count("directory"), 2u);
}

TEST(AnOldFileStaysWhenACloneIsRefused) {
  Place place;
  for (const size_t old_size : {10u, 100000u, 300000u}) {
    const std::string old_text = Pattern(old_size);
    place.Write("a", std::string(200000, 'x'));
    place.Write("b", old_text);
    Options options;
    options.reflink = eacopy::Reflink::kAlways;
    Failure failure;
    if (CopyDirectly(place.Path("a"), place.Path("b"), &failure, options) == CopyResult::kCopied) {
      CHECK(place.Read("b") == place.Read("a"));
    } else {
      CHECK(failure.status.kind() == Kind::kUnsupported);
      CHECK(failure.status.destination_state() == DestinationState::kOld);
      CHECK(place.Read("b") == old_text);
    }
  }
}

TEST(ATreeIsCopiedWhole) {
  Place place;
  MakeTree(place, "a");
  for (const uint32_t threads : {1u, 4u}) {
    Options options;
    options.thread_count = threads;
    options.want_progress = true;
    options.verify = threads == 4;
    const std::string copy = "copy/with/parents " + std::to_string(threads);
    Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path(copy));
    for (const Failure& failure : result.failures) {
      std::fprintf(stderr, "errno %d, operation %d: %s\n", failure.status.error_number(),
                   static_cast<int>(failure.status.operation()), failure.source.c_str());
    }
    CHECK(result.failures.empty());
    CHECK(Contents(place.Path("a")) == Contents(place.Path(copy)));
    CHECK_EQUAL(result.counters.files_copied, 12u * 25 + 1);
    CHECK_EQUAL(result.files_begun, result.counters.files_copied);
    CHECK_EQUAL(result.counters.bytes_copied, result.counters.bytes_found);
    CHECK(fs::last_write_time(fs::u8path(place.Path("a/empty"))) ==
          fs::last_write_time(fs::u8path(place.Path(copy + "/empty"))));
    CHECK(fs::last_write_time(fs::u8path(place.Path("a"))) == fs::last_write_time(fs::u8path(place.Path(copy))));
  }
}

TEST(AnExistingTreeIsMergedOnlyWhenAsked) {
  Place place;
  MakeTree(place, "a");
  place.Write("b/kept", "kept");
  place.Write("b/directory 0/deeper/file 1", "older and longer");
  Options options;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"));
  CHECK_EQUAL(result.failures.size(), 1u);
  CHECK(!result.failures.empty() && result.failures[0].status.kind() == Kind::kDestinationExists);
  CHECK_EQUAL(place.Count("b"), 2u);
  options.dirs_exist_ok = true;
  result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"));
  CHECK(result.failures.empty());
  CHECK_EQUAL(place.Read("b/kept"), std::string("kept"));
  fs::remove(fs::u8path(place.Path("b/kept")));
  CHECK(Contents(place.Path("a")) == Contents(place.Path("b")));
}

TEST(ATreeDoesNotDescendIntoItsCopy) {
  Place place;
  place.Write("a/file", "text");
  place.Write("a/directory/file", "text");
  Options options;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("a/copy"));
  CHECK_EQUAL(place.Read("a/copy/directory/file"), std::string("text"));
  CHECK(!place.Has("a/copy/copy/copy"));
}

TEST(NamesAreLeftOut) {
  Place place;
  MakeTree(place, "a");
  Options options;
  options.want_filter = true;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"), nullptr, [](const std::string& name) {
    return name == "large" || name == "directory 3" || name == "file 7";
  });
  CHECK(result.failures.empty());
  CHECK(!place.Has("b/large"));
  CHECK(!place.Has("b/directory 3"));
  CHECK(!place.Has("b/directory 4/deeper/file 7"));
  CHECK(place.Has("b/directory 4/deeper/file 8"));
  CHECK_EQUAL(result.counters.files_copied, 11u * 24);
}

TEST(ACancelledCopyLeavesNoPartialFile) {
  Place place;
  place.Write("a", std::string(64u << 20, 'x'));
  Options options;
  options.want_progress = true;
  Result result = Run(options, ItemType::kFile, place.Path("a"), place.Path("b"), [](Job& job) { job.Cancel(); });
  // Either it was stopped, or the machine was faster than the coordinator.
  CHECK(!place.Has("b") || fs::file_size(fs::u8path(place.Path("b"))) == (64u << 20));
  Result tree = Run(options, ItemType::kTree, place.Path(""),
                    place.Path("../" + fs::path(place.Path("")).parent_path().filename().u8string() + "-copy"),
                    [](Job& job) { job.Cancel(); });
  const fs::path copy = fs::u8path(place.Path("")).parent_path().u8string() + "-copy";
  if (fs::exists(copy)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(copy))
      CHECK_EQUAL(entry.file_size(), uint64_t{64u << 20});
    fs::remove_all(copy);
  }
}

TEST(ADeepTreeIsCopied) {
  Place place;
  std::string path = "a";
  for (int i = 0; i < 40; ++i) path += "/d";
  place.Write(path + "/file", "deep");
  Options options;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"));
  CHECK(result.failures.empty());
  path[0] = 'b';
  CHECK_EQUAL(place.Read(path + "/file"), std::string("deep"));
}

TEST(OneFailureDoesNotStopTheRest) {
  Place place;
  MakeTree(place, "a");
  fs::create_directories(fs::u8path(place.Path("b/large")));  // where a file is to be
  place.Write("b/directory 2/deeper", "a file where a directory is to be");
  Options options;
  options.dirs_exist_ok = true;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"));
  CHECK_EQUAL(result.failures.size(), 2u);
  for (const Failure& failure : result.failures) {
    CHECK(!failure.root);
    CHECK(failure.status.error_number() == EISDIR || failure.status.error_number() == EEXIST ||
          failure.status.error_number() == ENOTDIR);
  }
  CHECK_EQUAL(result.counters.files_copied, 11u * 25);
}

TEST(LinksAreCopiedAsAsked) {
  Place place;
  place.Write("a/file", "text");
  place.Write("a/directory/file", "text");
  std::error_code error;
  fs::create_symlink("file", fs::u8path(place.Path("a/link")), error);
  if (!error) fs::create_directory_symlink("directory", fs::u8path(place.Path("a/directory link")), error);
  if (error || !fs::is_symlink(fs::u8path(place.Path("a/link")))) SKIP("no symbolic links here");
  Options options;
  options.follow_symlinks = false;
  Result result = Run(options, ItemType::kTree, place.Path("a"), place.Path("b"));
  CHECK(result.failures.empty());
  CHECK(fs::is_symlink(fs::u8path(place.Path("b/link"))));
  CHECK(fs::is_symlink(fs::u8path(place.Path("b/directory link"))));
  CHECK_EQUAL(place.Read("b/directory link/file"), std::string("text"));
  options.follow_symlinks = true;
  result = Run(options, ItemType::kTree, place.Path("a"), place.Path("c"));
  CHECK(result.failures.empty());
  CHECK(!fs::is_symlink(fs::u8path(place.Path("c/link"))));
  CHECK(!fs::is_symlink(fs::u8path(place.Path("c/directory link"))));
  CHECK_EQUAL(place.Read("c/directory link/file"), std::string("text"));
}
