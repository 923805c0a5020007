// Bringing trees up to date on Windows. What the file system (or Wine, which stands in for Windows on other machines)
// cannot do is skipped by name.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "check.h"
#include "eacopy/job.h"
#include "platform.h"
#include "run_job.h"
#include "sync/selection.h"
#include "windows/ntdll.h"

namespace eacopy {
namespace test {
namespace {

namespace fs = std::filesystem;

// A directory of a test's own, gone afterwards.
class Place {
 public:
  Place() {
    uint64_t number = 0;
    platform::RandomBytes(&number, sizeof(number));
    path_ = fs::temp_directory_path() / ("eacopy-test-" + std::to_string(number));
    fs::create_directories(path_);
  }
  ~Place() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

void Write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return file ? std::string(std::istreambuf_iterator<char>(file), {}) : "cannot be opened";
}

std::vector<std::string> Names(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    names.push_back(fs::relative(entry.path(), path).generic_string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

platform::FileInfo InfoOf(const std::string& path) {
  platform::FileInfo info;
  CHECK(platform::GetInfo(platform::Directory::Paths(), path.c_str(), false, &info).ok());
  return info;
}

void SetTime(const std::string& path, int hours_ago) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours_ago));
}

JobResult RunSync(const Sync& sync, const std::string& source, const std::string& destination) {
  Options options;
  options.follow_symlinks = false;
  options.dirs_exist_ok = true;
  options.atomic = true;
  JobResult result;
  Job job(options, sync);
  Coordinate(job, {{ItemType::kTree, source, destination}}, Coordination(), &result);
  for (const Failure& failure : result.failures) {
    std::printf("  %s -> %s: errno %d in operation %d\n", failure.source.c_str(), failure.destination.c_str(),
                failure.status.error_number(), static_cast<int>(failure.status.operation()));
  }
  return result;
}

Sync Mirror() {
  Sync sync;
  sync.purge = true;
  sync.want_actions = true;
  return sync;
}

}  // namespace

TEST(ATreeIsCopiedAndThenLeftAlone) {
  Place place;
  for (int i = 0; i < 10; ++i) {
    for (int k = 0; k < 10; ++k) {
      Write(place / ("source/" + std::to_string(i) + "/" + std::to_string(k)),
            std::string(static_cast<size_t>(k), 'x'));
    }
  }
  fs::create_directories(place / "source/empty");
  JobResult result = RunSync(Mirror(), place / "source", place / "new/copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_copied, 100u);
  CHECK(Names(place / "source") == Names(place / "new/copy"));
  CHECK_EQUAL(Read(place / "new/copy/3/7"), "xxxxxxx");
  const platform::FileInfo before = InfoOf(place / "new/copy/3/7");
  result = RunSync(Mirror(), place / "source", place / "new/copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_skipped, 100u);
  CHECK(result.actions.empty());
  CHECK(InfoOf(place / "new/copy/3/7").id == before.id);
}

TEST(WhatDiffersIsReplacedAndWhatTheSourceHasNotIsRemoved) {
  Place place;
  Write(place / "source/changed", "longer than before");
  Write(place / "source/directory/file", "data");
  Write(place / "source/file", "data");
  Write(place / "copy/changed", "before");
  Write(place / "copy/directory", "a file in the way");
  Write(place / "copy/file/below", "a directory in the way");
  Write(place / "copy/extra/deep/down/file", "data");
  Write(place / "copy/read-only", "data");
  fs::permissions(place / "copy/read-only", fs::perms::owner_read);
  Sync dry_run = Mirror();
  dry_run.dry_run = true;
  const std::vector<std::string> before = Names(place / "copy");
  const JobResult planned = RunSync(dry_run, place / "source", place / "copy");
  CHECK(before == Names(place / "copy"));
  const JobResult done = RunSync(Mirror(), place / "source", place / "copy");
  CHECK(done.failures.empty());
  CHECK(Names(place / "source") == Names(place / "copy"));
  CHECK_EQUAL(Read(place / "copy/changed"), "longer than before");
  CHECK_EQUAL(planned.actions.size(), done.actions.size());
  CHECK_EQUAL(done.counters.files_removed, 4u);
  CHECK_EQUAL(done.counters.directories_removed, 4u);
  CHECK_EQUAL(done.counters.mismatches, 2u);
}

TEST(TimesAreComparedAndKept) {
  Place place;
  Write(place / "source/file", "data");
  Write(place / "copy/file", "DATA");
  SetTime(place / "source/file", 10);
  SetTime(place / "copy/file", 20);
  CHECK_EQUAL(RunSync(Mirror(), place / "source", place / "copy").counters.files_copied, 1u);
  CHECK_EQUAL(Read(place / "copy/file"), "data");
  const platform::FileInfo source = InfoOf(place / "source/file"), copy = InfoOf(place / "copy/file");
  CHECK_EQUAL(source.modified.seconds, copy.modified.seconds);
  CHECK_EQUAL(source.modified.nanoseconds, copy.modified.nanoseconds);
  // Equal bytes with another time are mended.
  SetTime(place / "copy/file", 30);
  Sync bytes = Mirror();
  bytes.compare_bytes = true;
  const JobResult mended = RunSync(bytes, place / "source", place / "copy");
  CHECK_EQUAL(mended.counters.files_skipped, 1u);
  REQUIRE(mended.actions.size() == 1);
  CHECK(mended.actions[0].action == Action::kMend);
  CHECK_EQUAL(InfoOf(place / "copy/file").modified.seconds, source.modified.seconds);
}

TEST(OlderCopiesAndOtherNamesAreLinkedTo) {
  Place place;
  Write(place / "source/one", "one");
  Write(place / "source/sub/two", "two");
  {
    Write(place / "probe", "data");
    std::error_code error;
    fs::create_hard_link(place / "probe", place / "other", error);
    if (error) SKIP("the file system has no hard links");
  }
  fs::create_hard_link(place / "source/one", place / "source/sub/other");
  CHECK(RunSync(Mirror(), place / "source", place / "first").failures.empty());
  Sync linking = Mirror();
  linking.link_dirs = {place / "first"};
  JobResult result = RunSync(linking, place / "source", place / "second");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_linked, 3u);
  CHECK_EQUAL(Read(place / "second/sub/two"), "two");
  CHECK_EQUAL(InfoOf(place / "first/sub/two").links, 2u);
  Sync keeping = Mirror();
  keeping.hard_links = true;
  result = RunSync(keeping, place / "source", place / "third");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_linked, 1u);
  CHECK_EQUAL(InfoOf(place / "third/one").links, 2u);
  CHECK_EQUAL(Read(place / "third/sub/other"), "one");
  CHECK(InfoOf(place / "third/one").id == InfoOf(place / "third/sub/other").id);
  // A file of its own becomes a name of the other one again.
  fs::remove(place / "third/sub/other");
  Write(place / "third/sub/other", "another");
  CHECK_EQUAL(RunSync(keeping, place / "source", place / "third").counters.files_linked, 1u);
  CHECK_EQUAL(InfoOf(place / "third/one").links, 2u);
}

TEST(CaseDoesNotCount) {
  CHECK(Patterns({"*.TXT"}).Match("file.txt", [] { return std::string(); }));
  CHECK(Patterns({"\xc3\x89t\xc3\xa9"}).Match("\xc3\xa9T\xc3\x89", [] { return std::string(); }));
  CHECK(Patterns({"Sub/file"}).Match("FILE", [] { return std::string("suB/"); }));
  CHECK(!Patterns({"*.TXT"}).Match("file.text", [] { return std::string(); }));
  Place place;
  Write(place / "source/Name", "data");
  Write(place / "copy/nAME", "old contents");
  if (!fs::exists(place / "copy/NAME")) SKIP("the file system tells upper from lower case");
  const JobResult result = RunSync(Mirror(), place / "source", place / "copy");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_removed, 0u);
  CHECK_EQUAL(Names(place / "copy").size(), 1u);
  CHECK_EQUAL(Read(place / "copy/name"), "data");
}

TEST(AttributesAreThoseOfWindows) {
  platform::FileInfo info;
  info.mode = 0x21;  // read-only, archive
  Sync sync;
  sync.include_attributes = "A";
  CHECK(Selection(sync).HasAttributes("name", info));
  sync.exclude_attributes = "R";
  CHECK(!Selection(sync).HasAttributes("name", info));
  sync.include_attributes = sync.exclude_attributes = "H";
  CHECK(!Selection(sync).HasAttributes(".name", info));
  sync.exclude_attributes = "RASHCNETO";
  CHECK_EQUAL(static_cast<int>(Selection::UnknownAttribute(sync)), 0);
  Place place;
  Write(place / "source/hidden", "data");
  Write(place / "source/plain", "data");
  CHECK(::SetFileAttributesA((place / "source/hidden").c_str(), FILE_ATTRIBUTE_HIDDEN) != 0);
  if ((InfoOf(place / "source/hidden").mode & FILE_ATTRIBUTE_HIDDEN) == 0) SKIP("the file system hides no files");
  Sync visible = Mirror();
  visible.exclude_attributes = "H";
  CHECK(RunSync(visible, place / "source", place / "copy").failures.empty());
  CHECK(Names(place / "copy") == std::vector<std::string>{"plain"});
}

TEST(WhatDeadWritersLeftIsRemovedAndWhatLivesIsLeftAlone) {
  Place place;
  Write(place / "source/file", "data");
  Write(place / "copy/.eacopy-0123456789abcdef.tmp", "dead");
  platform::Handle alive;
  CHECK(platform::CreateFile(platform::Directory::Paths(), (place / "copy/.eacopy-0123456789abcdee.tmp").c_str(), 0666,
                             &alive)
            .ok());
  CHECK(RunSync(Mirror(), place / "source", place / "copy").failures.empty());
  CHECK((Names(place / "copy") == std::vector<std::string>{".eacopy-0123456789abcdee.tmp", "file"}));
}

TEST(WhatADatabaseKnowsIsLinkedTo) {
  Place place;
  Write(place / "source/sub/file", "data");
  Sync sync;
  sync.link_database = place / "links";
  CHECK(RunSync(sync, place / "source", place / "first").failures.empty());
  const std::string bytes = Read(place / "links");
  CHECK(bytes.compare(0, 12, std::string("eacopydb003", 12)) == 0);
  // As paths are written there: a drive, and backslashes.
  std::string end;
  for (const char c : std::string("\\first\\sub\\file")) end += {c, '\0'};
  CHECK(bytes.find(end) != std::string::npos);
  CHECK(bytes.find(std::string(":\0\\\0", 4)) != std::string::npos);
  const JobResult result = RunSync(sync, place / "source", place / "second");
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.files_linked, 1u);
  CHECK(InfoOf(place / "first/sub/file").id == InfoOf(place / "second/sub/file").id);
}

TEST(ATreeIsNotBroughtIntoItself) {
  Place place;
  Write(place / "source/sub/file", "data");
  for (const char* destination : {"source", "source/sub", "source/new/deep"}) {
    const Failure failure = RunSync(Mirror(), place / "source", place / destination).failure();
    CHECK(failure.status.kind() == Kind::kInvalidArgument);
  }
  CHECK(RunSync(Mirror(), place / "source/sub", place / "source").failure().status.kind() == Kind::kInvalidArgument);
  CHECK_EQUAL(Read(place / "source/sub/file"), "data");
}

}  // namespace test
}  // namespace eacopy
