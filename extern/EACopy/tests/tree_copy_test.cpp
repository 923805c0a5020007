// Copying trees: what arrives, how deep and wide they may be, and what happens when somebody works in them meanwhile.

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#ifdef __linux__
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#endif

#include "check.h"
#include "eacopy/job.h"
#include "files.h"
#include "run_job.h"

using namespace eacopy;
using namespace eacopy::test;

namespace {

const int descriptors_at_start = OpenDescriptors();

constexpr int kLevels = 3000;

Options Following() { return Options(); }

Options KeepingLinks() {
  Options options;
  options.follow_symlinks = false;
  return options;
}

Options Merging() {
  Options options;
  options.dirs_exist_ok = true;
  return options;
}

JobResult CopyTree(const std::string& source, const std::string& destination, const Options& options = Options(),
                   const Coordination& coordination = Coordination()) {
  return RunJob(options, {{ItemType::kTree, source, destination}}, coordination);
}

// A directory in a directory in a directory… with a file in each hundredth. Longer than any path may be.
void MakeDeep(const std::string& path) {
  MakeFolder(path);
  Descriptor at(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < kLevels; ++level) {
    if (level % 100 == 99) {
      Descriptor file(::openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      Must(file.get() >= 0 && ::write(file.get(), "data", 4) == 4, "write a file deep down");
    }
    Must(::mkdirat(at.get(), "below", 0750) == 0, "make a directory deep down");
    at = Descriptor(::openat(at.get(), "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Must(at.get() >= 0, "open a directory deep down");
  }
}

// Whether two deep trees are the same, and how deep the second one is.
int DepthOfCopy(const std::string& source, const std::string& copy) {
  Descriptor original(::open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Descriptor at(::open(copy.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Must(original.get() >= 0 && at.get() >= 0, "open the trees");
  for (int level = 0;; ++level) {
    struct stat a, b;
    Must(::fstat(original.get(), &a) == 0 && ::fstat(at.get(), &b) == 0, "look at a directory deep down");
    CHECK_EQUAL(a.st_mode, b.st_mode);
    CHECK_EQUAL(ModifiedOf(a).tv_sec, ModifiedOf(b).tv_sec);
    CHECK_EQUAL(ModifiedOf(a).tv_nsec, ModifiedOf(b).tv_nsec);
    if (level % 100 == 99 && level < kLevels) {
      Descriptor file(::openat(at.get(), "file", O_RDONLY | O_CLOEXEC));
      CHECK(file.get() >= 0 && ReadFrom(file.get()) == "data");
    }
    const int below = ::openat(at.get(), "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0) return level;
    at = Descriptor(below);
    original = Descriptor(::openat(original.get(), "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
}

// Lets this process have only a few open files for as long as it lives.
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

// By source, relative to a folder.
std::map<std::string, Status> FailuresIn(const JobResult& result, const std::string& folder) {
  std::map<std::string, Status> failures;
  for (const Failure& failure : result.failures) {
    CHECK_EQUAL(failure.source.substr(0, folder.size() + 1), folder + "/");
    failures[failure.source.substr(folder.size() + 1)] = failure.status;
  }
  CHECK_EQUAL(failures.size(), result.failures.size());
  return failures;
}

}  // namespace

// What arrives --------------------------------------------------------------------------------------------------------

TEST(TreeArrivesWithLinksNamesTimesAndModes) {
  Folder folder(FastPlace());
  const std::string tree = folder / "tree";
  MakeFolder(tree);
  MakeFolder(tree + "/empty");
  MakeFolder(tree + "/sub");
  for (const char* name : {"plain", "with space", "new\nline", "-rf", "\xff\xfe not UTF-8", "\"quoted\"", "*", "~"}) {
    Write(tree + "/" + name, name);
    Write(tree + "/sub/" + name, std::string("below ") + name);
  }
  const std::string longest(255, 'n');
  MakeFolder(tree + "/" + longest);
  Write(tree + "/" + longest + "/" + longest, "long");
  MakeLink("plain", tree + "/link");
  MakeLink("sub", tree + "/link to a directory");
  MakeLink("/nowhere", tree + "/dangling");
  for (const char* name : {"/plain", "/sub/plain", "/link", "/dangling"}) SetTimes(tree + name, 1000000000, 1100000000);
  Must(::chmod((tree + "/plain").c_str(), 0600) == 0, "set a mode");
  Must(::chmod((tree + "/sub/plain").c_str(), 0755) == 0, "set a mode");
  Must(::chmod((tree + "/empty").c_str(), 0700) == 0, "set a mode");
  for (const char* name : {"/sub", "/empty", ""}) SetTimes(tree + name, 1000000000, 1200000000);
  for (uint32_t threads : {1u, 2u, 8u}) {
    Options options = KeepingLinks();
    options.thread_count = threads;
    const std::string copy = folder / ("copy" + std::to_string(threads));
    const JobResult result = CopyTree(tree, copy, options);
    CHECK(result.failures.empty());
    CHECK_EQUAL(Difference(tree, copy), "");
    CHECK_EQUAL(ModifiedOf(StatusOf(copy)).tv_sec, 1200000000);
    CHECK_EQUAL(result.counters.symlinks_copied, 3u);
    CHECK_EQUAL(result.counters.directories_created, 4u);
    CHECK_EQUAL(result.counters.files_copied, 17u);
  }
}

TEST(AllWaysToWriteGiveTheSameTree) {
  Folder folder;
  MakeFolder(folder / "tree");
  for (size_t i = 0; i < 5; ++i) {
    const std::string below = folder / ("tree/" + std::to_string(i));
    MakeFolder(below);
    for (size_t k = 0; k < 3; ++k) Write(below + "/" + std::to_string(k), Noise(i * 100000 + k));
  }
  for (int way = 0; way < 16; ++way) {
    Options options;
    options.atomic = (way & 1) != 0;
    options.fsync = (way & 2) != 0;
    options.verify = (way & 4) != 0;
    options.want_progress = (way & 8) != 0;
    CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
    CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
    RemoveTree(folder / "copy");
  }
}

TEST(DirectoriesKeepTimesAndModesWhateverTheirFilesKeep) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/sub");
  MakeFolder(folder / "tree/sub/shared");
  Write(folder / "tree/sub/file", "data", 0600);
  SetTimes(folder / "tree/sub/file", 1000000000, 1000000000);
  Must(::chmod((folder / "tree/sub").c_str(), 0500) == 0, "set a mode");
  Must(::chmod((folder / "tree/sub/shared").c_str(), 02775) == 0, "set a mode");
  SetTimes(folder / "tree/sub", 1000000000, 1200000000);
  Options options;
  options.metadata = Metadata::kNone;
  CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
  CHECK_EQUAL(ModeOf(folder / "copy/sub"), 0500u);
  CHECK_EQUAL(ModeOf(folder / "copy/sub/shared"), 02775u);
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "copy/sub")).tv_sec, 1200000000);
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "copy/sub")).tv_nsec, 123456789);
  CHECK_EQUAL(ModeOf(folder / "copy/sub/file"), 0644u);
  CHECK(ModifiedOf(StatusOf(folder / "copy/sub/file")).tv_sec != 1000000000);
}

#ifdef __linux__

TEST(ModesAreRightWhereADefaultAclTakesSomeAway) {
  Folder folder;
  MakeFolder(folder / "tree");
  for (int i = 0; i < 10; ++i) {
    MakeFolder(folder / ("tree/" + std::to_string(i)));
    for (int k = 0; k < 6; ++k) {
      const std::string path = folder / ("tree/" + std::to_string(i) + "/" + std::to_string(i * 7 + k));
      Write(path, "data", k % 2 == 0 ? 0644 : 0755);
    }
  }
  MakeFolder(folder / "to");
  // rwx for the owner, r for everybody else: 0644 gets through, 0755 does not. The format is that of
  // linux/posix_acl_xattr.h.
  const unsigned char acl[] = {2, 0, 0,    0,    1,    0,    7,  0, 0xff, 0xff, 0xff, 0xff, 4,    0,
                               4, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 4,    0,    0xff, 0xff, 0xff, 0xff};
  if (::setxattr((folder / "to").c_str(), "system.posix_acl_default", acl, sizeof(acl), 0) != 0) SKIP("no ACLs here");
  Write(folder / "to/probe", "");
  Must(::chmod((folder / "to/probe").c_str(), 0600) == 0, "set a mode");
  CHECK(CopyTree(folder / "tree", folder / "to/copy").failures.empty());
  CHECK_EQUAL(Difference(folder / "tree", folder / "to/copy"), "");
}

#endif  // __linux__

TEST(UmaskDoesNotReachACopyThatKeepsModes) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  for (unsigned mode : {0777u, 0666u, 0644u, 0755u, 0600u}) {
    Write(folder / ("tree/" + std::to_string(mode)), "data", static_cast<mode_t>(mode));
  }
  InChild([&] {
    for (mode_t umask : {0000, 0022, 0077}) {
      ::umask(umask);
      for (Metadata metadata : {Metadata::kMode, Metadata::kStat}) {
        Options options;
        options.metadata = metadata;
        CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
        for (unsigned mode : {0777u, 0666u, 0644u, 0755u, 0600u}) {
          CHECK_EQUAL(ModeOf(folder / ("copy/" + std::to_string(mode))), mode);
        }
        RemoveTree(folder / "copy");
      }
    }
  });
}

// Depth and width -----------------------------------------------------------------------------------------------------

TEST(TreeMayBeDeeperThanPathsAreLong) {
  Folder folder(FastPlace());
  MakeDeep(folder / "tree");
  for (uint32_t threads : {1u, 4u}) {
    Options options;
    options.thread_count = threads;
    options.want_progress = threads == 4;
    const JobResult result = CopyTree(folder / "tree", folder / "copy", options);
    CHECK(result.failures.empty());
    CHECK_EQUAL(DepthOfCopy(folder / "tree", folder / "copy"), kLevels);
    CHECK_EQUAL(result.counters.directories_created, static_cast<uint64_t>(kLevels) + 1);
    if (threads == 4) CHECK_EQUAL(result.progress.size(), static_cast<size_t>(kLevels / 100));
    // Merged with itself, everything has to be opened again.
    options.dirs_exist_ok = true;
    CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
    CHECK_EQUAL(DepthOfCopy(folder / "tree", folder / "copy"), kLevels);
    RemoveTree(folder / "copy");
  }
}

TEST(FewDescriptorsAreEnough) {
  Folder folder(FastPlace());
  MakeDeep(folder / "deep");
  MakeFolder(folder / "wide");
  for (int i = 0; i < 100; ++i) {
    const std::string below = folder / ("wide/" + std::to_string(i));
    MakeFolder(below);
    MakeFolder(below + "/further");
    for (int k = 0; k < 5; ++k) Write(below + "/further/" + std::to_string(k), "data");
  }
  for (uint32_t threads : {1u, 4u, 16u}) {
    Options options;
    options.thread_count = threads;
    JobResult deep, wide;
    {
      FewDescriptors few(static_cast<rlim_t>(descriptors_at_start) + 20);
      deep = CopyTree(folder / "deep", folder / "deep copy", options);
      wide = CopyTree(folder / "wide", folder / "wide copy", options);
    }
    CHECK(deep.failures.empty());
    CHECK(wide.failures.empty());
    CHECK_EQUAL(DepthOfCopy(folder / "deep", folder / "deep copy"), kLevels);
    CHECK_EQUAL(Difference(folder / "wide", folder / "wide copy"), "");
    RemoveTree(folder / "deep copy");
    RemoveTree(folder / "wide copy");
  }
}

TEST(DirectoryMayHoldManyFiles) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  for (int i = 0; i < 3000; ++i) Write(folder / ("tree/file " + std::to_string(i)), std::to_string(i));
  for (int i = 0; i < 300; ++i) MakeFolder(folder / ("tree/directory " + std::to_string(i)));
  for (uint32_t threads : {1u, 5u}) {
    Options options;
    options.thread_count = threads;
    const JobResult result = CopyTree(folder / "tree", folder / "copy", options);
    CHECK(result.failures.empty());
    CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
    CHECK_EQUAL(result.counters.files_found, 3000u);
    CHECK_EQUAL(result.counters.directories_created, 301u);
    RemoveTree(folder / "copy");
  }
}

// Links ---------------------------------------------------------------------------------------------------------------

TEST(LinksAreFollowedButNotInCircles) {
  Folder folder(FastPlace());
  MakeFolder(folder / "outside");
  Write(folder / "outside/file", "from outside");
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/a");
  MakeFolder(folder / "tree/a/b");
  Write(folder / "tree/a/b/file", "data");
  MakeLink("..", folder / "tree/a/loop");
  MakeLink("../../../tree", folder / "tree/a/b/also a loop");
  MakeLink(".", folder / "tree/itself");
  MakeLink("a/b/file", folder / "tree/link to a file");
  MakeLink("../outside", folder / "tree/link to a directory");
  MakeLink("a/b", folder / "tree/link within");
  const JobResult result = CopyTree(folder / "tree", folder / "copy", Following());
  const auto failures = FailuresIn(result, folder / "tree");
  // "link within" leads to a directory that has the loop in it too.
  const std::set<std::string> loops = {"a/loop", "a/b/also a loop", "itself", "link within/also a loop"};
  CHECK_EQUAL(failures.size(), loops.size());
  for (const auto& [source, status] : failures) {
    CHECK_EQUAL(loops.count(source), 1u);
    CHECK_EQUAL(status.error_number(), ELOOP);
    CHECK(!Exists(folder / ("copy/" + source)));
  }
  for (const Failure& failure : result.failures) CHECK(!failure.root);
  CHECK_EQUAL(Read(folder / "copy/link to a file"), "data");
  CHECK(S_ISREG(StatusOf(folder / "copy/link to a file").st_mode));
  CHECK_EQUAL(Read(folder / "copy/link to a directory/file"), "from outside");
  CHECK(S_ISDIR(StatusOf(folder / "copy/link to a directory").st_mode));
  CHECK_EQUAL(Read(folder / "copy/link within/file"), "data");
}

TEST(LinkAtTheRootIsFollowedAlways) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  MakeLink("tree", folder / "link");
  for (const Options& options : {Following(), KeepingLinks()}) {
    CHECK(CopyTree(folder / "link", folder / "copy", options).failures.empty());
    CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
    RemoveTree(folder / "copy");
  }
}

TEST(DanglingLinksFailUnlessIgnored) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  MakeLink("nowhere", folder / "tree/dangling");
  MakeLink("loop", folder / "tree/loop");
  MakeLink("file/below", folder / "tree/through a file");
  Options options = Following();
  JobResult result = CopyTree(folder / "tree", folder / "copy", options);
  auto failures = FailuresIn(result, folder / "tree");
  CHECK_EQUAL(failures.size(), 3u);
  CHECK_EQUAL(failures["dangling"].error_number(), ENOENT);
  CHECK(failures["dangling"].kind() == Kind::kFileNotFound);
  CHECK_EQUAL(failures["loop"].error_number(), ELOOP);
  CHECK_EQUAL(failures["through a file"].error_number(), ENOTDIR);
  CHECK_EQUAL(Names(folder / "copy").size(), 1u);
  RemoveTree(folder / "copy");
  options.ignore_dangling_symlinks = true;
  CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
  CHECK_EQUAL(Names(folder / "copy").size(), 1u);
  // Nothing to ignore when links are kept.
  RemoveTree(folder / "copy");
  options.follow_symlinks = false;
  CHECK(CopyTree(folder / "tree", folder / "copy", options).failures.empty());
  CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
}

// Destinations that exist ---------------------------------------------------------------------------------------------

TEST(RootIsMadeWithItsParents) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  for (bool fsync : {false, true}) {
    Options options;
    options.fsync = fsync;
    for (const char* to : {"a/b/c", "a/b//d/", "a/./e", "f"}) {
      const JobResult result = CopyTree(folder / "tree", folder / to, options);
      CHECK(result.failures.empty());
      CHECK_EQUAL(Read(folder / to + "/file"), "data");
    }
    RemoveTree(folder / "a");
    RemoveTree(folder / "f");
  }
}

TEST(RootThatCannotBeMadeFailsAsAWhole) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  MakeFolder(folder / "existing");
  Write(folder / "file", "old");
  MakeLink("nowhere", folder / "dangling");
  struct Case {
    const char* source;
    const char* destination;
    bool merge;
    int error_number;
    DestinationState state;
  };
  const Case cases[] = {
      {"tree", "existing", false, EEXIST, DestinationState::kOld},
      {"tree", "file", false, EEXIST, DestinationState::kOld},
      {"tree", "file", true, EEXIST, DestinationState::kOld},
      {"tree", "dangling", false, EEXIST, DestinationState::kOld},
      {"tree", "dangling", true, EEXIST, DestinationState::kOld},
      {"tree", "file/below", true, ENOTDIR, DestinationState::kAbsent},
      {"missing", "new", true, ENOENT, DestinationState::kAbsent},
      {"file", "new", true, ENOTDIR, DestinationState::kAbsent},
      {"dangling", "new", true, ENOENT, DestinationState::kAbsent},
  };
  for (const Case& c : cases) {
    Options options;
    options.dirs_exist_ok = c.merge;
    const Failure failure = CopyTree(folder / c.source, folder / c.destination, options).failure();
    CHECK(failure.root);
    CHECK_EQUAL(failure.status.error_number(), c.error_number);
    CHECK(failure.status.destination_state() == c.state);
    CHECK_EQUAL(failure.source, folder / c.source);
    CHECK_EQUAL(failure.destination, folder / c.destination);
  }
  CHECK(Names(folder / "existing").empty());
  CHECK_EQUAL(Read(folder / "file"), "old");
  CHECK_EQUAL(Names(folder.path()).size(), 4u);
}

TEST(TreesAreMerged) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/both");
  MakeFolder(folder / "tree/through a link");
  Write(folder / "tree/both/new", "new");
  Write(folder / "tree/both/replaced", "replaced");
  Write(folder / "tree/through a link/file", "data");
  SetTimes(folder / "tree/both", 1000000000, 1200000000);
  MakeFolder(folder / "copy");
  MakeFolder(folder / "elsewhere");
  MakeFolder(folder / "copy/both", 0700);
  Write(folder / "copy/both/kept", "kept");
  Write(folder / "copy/both/replaced", "the old one, and longer");
  MakeLink("../elsewhere", folder / "copy/through a link");
  const JobResult result = CopyTree(folder / "tree", folder / "copy", Merging());
  CHECK(result.failures.empty());
  CHECK_EQUAL(result.counters.directories_created, 0u);
  CHECK_EQUAL(Read(folder / "copy/both/new"), "new");
  CHECK_EQUAL(Read(folder / "copy/both/replaced"), "replaced");
  CHECK_EQUAL(Read(folder / "copy/both/kept"), "kept");
  CHECK_EQUAL(Read(folder / "elsewhere/file"), "data");
  CHECK_EQUAL(ModeOf(folder / "copy/both"), 0755u);
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "copy/both")).tv_sec, 1200000000);
}

TEST(WhatIsOfAnotherKindIsNotReplaced) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/directory here");
  Write(folder / "tree/directory here/below", "data");
  Write(folder / "tree/file here", "data");
  Write(folder / "tree/good", "data");
  MakeLink("good", folder / "tree/link here");
  MakeFolder(folder / "copy");
  Write(folder / "copy/directory here", "a file there");
  MakeFolder(folder / "copy/file here");
  Write(folder / "copy/link here", "a file there");
  for (bool atomic : {false, true}) {
    // A directory of the caller's takes files in when asked to; a directory in a tree never does.
    for (bool into_directory : {false, true}) {
      Options options = Merging();
      options.follow_symlinks = false;
      options.atomic = atomic;
      options.into_directory = into_directory;
      auto failures = FailuresIn(CopyTree(folder / "tree", folder / "copy", options), folder / "tree");
      CHECK_EQUAL(failures.size(), 3u);
      CHECK_EQUAL(failures["directory here"].error_number(), EEXIST);
      CHECK(failures["directory here"].destination_state() == DestinationState::kOld);
      CHECK_EQUAL(failures["file here"].error_number(), EISDIR);
      CHECK(failures["file here"].destination_state() == DestinationState::kOld);
      CHECK_EQUAL(failures["link here"].error_number(), EEXIST);
      CHECK(Names(folder / "copy/file here").empty());
      CHECK_EQUAL(Read(folder / "copy/directory here"), "a file there");
      CHECK_EQUAL(Read(folder / "copy/good"), "data");
      ::unlink((folder / "copy/good").c_str());
    }
  }
}

TEST(ChildDirectoryThatExistsFailsUnlessMergingIsOn) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  Write(folder / "tree/file", "data");
  // A directory that appears below the root while it is being copied: the filter is asked just before.
  MakeFolder(folder / "tree/sub");
  Write(folder / "tree/sub/file", "data");
  Options options;
  options.want_filter = true;
  Coordination coordination;
  coordination.filter = [&](const std::string& directory, const std::vector<std::string>& names) {
    if (directory == folder / "tree/sub") MakeFolder(folder / "copy/sub");
    return std::vector<uint8_t>(names.size(), 0);
  };
  const Failure failure = CopyTree(folder / "tree", folder / "copy", options, coordination).failure();
  CHECK_EQUAL(failure.status.error_number(), EEXIST);
  CHECK(!failure.root);
  CHECK_EQUAL(failure.destination, folder / "copy/sub");
  CHECK_EQUAL(Read(folder / "copy/file"), "data");
  CHECK(Names(folder / "copy/sub").empty());
}

TEST(TreeIsNotCopiedIntoItsOwnCopy) {
  for (const char* to : {"copy", "sub/copy", "sub/new/copy"}) {
    Folder folder(FastPlace());
    MakeFolder(folder / "tree");
    MakeFolder(folder / "tree/sub");
    Write(folder / "tree/sub/file", "data");
    Write(folder / "tree/file", "data");
    for (bool again : {false, true}) {
      Options options;
      options.dirs_exist_ok = again;
      CHECK(CopyTree(folder / "tree", folder / ("tree/") + to, options).failures.empty());
      const std::string copy = folder / ("tree/") + to;
      CHECK_EQUAL(Read(copy + "/file"), "data");
      CHECK_EQUAL(Read(copy + "/sub/file"), "data");
      CHECK(!Exists(copy + "/" + to + "/file"));
    }
  }
}

TEST(TreeIsNotCopiedOntoItself) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/sub");
  Write(folder / "tree/file", "precious");
  Write(folder / "tree/sub/file", "precious too");
  const JobResult result = CopyTree(folder / "tree", folder / "tree", Merging());
  CHECK(!result.failures.empty());
  for (const Failure& failure : result.failures) CHECK(failure.status.operation() == Operation::kSameFile);
  CHECK_EQUAL(Read(folder / "tree/file"), "precious");
  CHECK_EQUAL(Read(folder / "tree/sub/file"), "precious too");
}

// Filters -------------------------------------------------------------------------------------------------------------

TEST(FilterIsAskedAboutEveryDirectoryAndLeavesOut) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/empty");
  MakeFolder(folder / "tree/left out");
  MakeFolder(folder / "tree/left out/below");
  MakeFolder(folder / "tree/sub");
  MakeLink("sub", folder / "tree/link");
  for (const char* name : {"keep", "drop", "sub/keep", "sub/drop", "left out/keep"}) {
    Write(folder / ("tree/") + name, name);
  }
  std::map<std::string, std::set<std::string>> asked;
  Coordination coordination;
  coordination.filter = [&](const std::string& directory, const std::vector<std::string>& names) {
    CHECK_EQUAL(asked.count(directory), 0u);
    asked[directory].insert(names.begin(), names.end());
    std::vector<uint8_t> leave_out;
    for (const std::string& name : names) leave_out.push_back(name == "drop" || name == "left out" ? 1 : 0);
    leave_out.push_back(0);  // so that there is something to point to
    return leave_out;
  };
  Options options = Following();
  options.want_filter = true;
  const JobResult result = CopyTree(folder / "tree", folder / "copy", options, coordination);
  CHECK(result.failures.empty());
  CHECK_EQUAL(asked.size(), 4u);
  CHECK((asked[folder / "tree"] == std::set<std::string>{"empty", "left out", "sub", "link", "keep", "drop"}));
  CHECK((asked[folder / "tree/sub"] == std::set<std::string>{"keep", "drop"}));
  CHECK((asked[folder / "tree/link"] == std::set<std::string>{"keep", "drop"}));
  CHECK(asked[folder / "tree/empty"].empty());
  CHECK((Names(folder / "copy") == std::vector<std::string>{"empty", "keep", "link", "sub"}));
  CHECK((Names(folder / "copy/sub") == std::vector<std::string>{"keep"}));
  CHECK_EQUAL(result.counters.files_found, 3u);
}

TEST(FilterAnswersMayComeInAnyOrder) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  for (int i = 0; i < 50; ++i) {
    MakeFolder(folder / ("tree/" + std::to_string(i)));
    Write(folder / ("tree/" + std::to_string(i) + "/file"), std::to_string(i));
  }
  Options options;
  options.want_filter = true;
  Job job(options);
  CHECK(job.Add(ItemType::kTree, (folder / "tree").c_str(), (folder / "copy").c_str()));
  job.End();
  const std::vector<uint8_t> keep(100, 0);
  job.AnswerFilter(12345, keep.data());  // nobody's ticket
  std::vector<FilterRequest> requests;
  FilterRequest request;
  size_t wanted = 1;  // the root first, and then all the others
  int news = 0;
  for (int i = 0; i < 3000 && (news & kNewsDone) == 0; ++i) {
    news = job.Wait(10);
    while (job.TakeFilter(&request)) requests.push_back(request);
    if (requests.size() != wanted) continue;
    wanted = 50;
    for (auto last = requests.rbegin(); last != requests.rend(); ++last) {
      job.AnswerFilter(last->ticket, keep.data());
      job.AnswerFilter(last->ticket, keep.data());  // a second answer is nobody's
    }
    requests.clear();
  }
  CHECK((news & kNewsDone) != 0);
  CHECK_EQUAL(Difference(folder / "tree", folder / "copy"), "");
}

// Failures ------------------------------------------------------------------------------------------------------------

TEST(FailuresInATreeAreCollected) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/sub");
  for (const char* name : {"tree/file", "tree/sub/file"}) Write(folder / name, "data");
  Must(::mkfifo((folder / "tree/fifo").c_str(), 0600) == 0, "make a FIFO");
  Must(::mkfifo((folder / "tree/sub/fifo").c_str(), 0600) == 0, "make a FIFO");
  MakeLink("fifo", folder / "tree/link to the fifo");
  Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string socket = folder / "tree/socket";
  const bool has_socket = socket.size() < sizeof(address.sun_path);
  if (has_socket) {
    std::memcpy(address.sun_path, socket.c_str(), socket.size());
    Must(::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0, "make a socket");
  }
  bool has_device = false;
#ifdef __linux__
  has_device = ::mknod((folder / "tree/device").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0;
#endif
  for (Strategy strategy : {Strategy::kRaise, Strategy::kRetry, Strategy::kIgnore}) {
    Options options = Following();
    options.strategy = strategy;
    options.retry_delay = 0;
    const JobResult result = CopyTree(folder / "tree/", folder / "copy", options);
    auto failures = FailuresIn(result, folder / "tree");
    CHECK_EQUAL(failures.size(), 3u + (has_socket ? 1 : 0) + (has_device ? 1 : 0));
    for (const char* name : {"fifo", "sub/fifo", "link to the fifo"}) {
      CHECK(failures[name].operation() == Operation::kSpecialFile);
      CHECK(failures[name].destination_state() == DestinationState::kAbsent);
    }
    if (has_socket) CHECK_EQUAL(failures["socket"].error_number(), ENXIO);
    if (has_device) CHECK(failures["device"].operation() == Operation::kSpecialFile);
    for (const Failure& failure : result.failures) {
      CHECK(!failure.root);
      const std::string relative = failure.source.substr((folder / "tree/").size());
      CHECK_EQUAL(failure.destination, folder / "copy/" + relative);
    }
    CHECK_EQUAL(result.counters.errors, failures.size());
    CHECK_EQUAL(result.counters.files_copied, 2u);
    CHECK_EQUAL(Read(folder / "copy/file"), "data");
    CHECK_EQUAL(Read(folder / "copy/sub/file"), "data");
    CHECK_EQUAL(ModifiedOf(StatusOf(folder / "copy/sub")).tv_nsec, ModifiedOf(StatusOf(folder / "tree/sub")).tv_nsec);
    RemoveTree(folder / "copy");
  }
}

TEST(PermissionsBindAndTheRestIsCopied) {
  Folder folder(FastPlace());
  Must(::chmod(folder.path().c_str(), 0777) == 0, "open the folder to everybody");
  InChild([&] {
    if (!BecomeNobody()) SKIP("cannot become another user");
    MakeFolder(folder / "tree");
    for (const char* name : {"closed", "listed only", "read-only", "read-only/deeper"}) {
      MakeFolder(folder / ("tree/") + name);
      Write(folder / ("tree/") + name + "/file", "data");
    }
    Write(folder / "tree/secret", "data", 0000);
    Write(folder / "tree/read-only file", "data", 0444);
    Write(folder / "tree/file", "data");
    Must(::chmod((folder / "tree/closed").c_str(), 0000) == 0, "set a mode");
    Must(::chmod((folder / "tree/listed only").c_str(), 0444) == 0, "set a mode");
    Must(::chmod((folder / "tree/read-only/deeper").c_str(), 0555) == 0, "set a mode");
    Must(::chmod((folder / "tree/read-only").c_str(), 0555) == 0, "set a mode");
    const JobResult result = CopyTree(folder / "tree", folder / "copy");
    auto failures = FailuresIn(result, folder / "tree");
    CHECK_EQUAL(failures.size(), 3u);
    for (const char* name : {"closed", "secret", "listed only/file"}) {
      CHECK_EQUAL(failures[name].error_number(), EACCES);
      CHECK(failures[name].kind() == Kind::kPermissionDenied);
    }
    // The mode of a directory comes last, or its own files would not have got in.
    CHECK_EQUAL(Read(folder / "copy/read-only/deeper/file"), "data");
    CHECK_EQUAL(Read(folder / "copy/read-only/file"), "data");
    CHECK_EQUAL(ModeOf(folder / "copy/read-only"), 0555u);
    CHECK_EQUAL(ModeOf(folder / "copy/read-only/deeper"), 0555u);
    CHECK_EQUAL(ModeOf(folder / "copy/read-only file"), 0444u);
    CHECK_EQUAL(ModeOf(folder / "copy/listed only"), 0444u);
    CHECK_EQUAL(Read(folder / "copy/file"), "data");
    CHECK(!Exists(folder / "copy/closed"));
    CHECK(!Exists(folder / "copy/secret"));

    // Where nothing may be made, each is told.
    auto again = FailuresIn(CopyTree(folder / "tree/read-only", folder / "copy/read-only/deeper", Merging()),
                            folder / "tree/read-only");
    CHECK_EQUAL(again.size(), 1u);
    CHECK_EQUAL(again["deeper"].error_number(), EACCES);
    CHECK(again["deeper"].operation() == Operation::kMakeDirectory);
  });
}

// Others at work ------------------------------------------------------------------------------------------------------

TEST(DirectorySwappedForALinkLeadsNowhere) {
  Folder folder(FastPlace());
  MakeFolder(folder / "outside");
  MakeFolder(folder / "outside/deeper");
  Write(folder / "outside/file", "secret");
  Write(folder / "outside/deeper/file", "secret");
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/victim");
  MakeFolder(folder / "tree/victim/deeper");
  Write(folder / "tree/victim/file", "harmless");
  Write(folder / "tree/victim/deeper/file", "harmless");
  MakeLink("../outside", folder / "link");
  const std::string victim = folder / "tree/victim", aside = folder / "aside", link = folder / "link";
  std::atomic<bool> over{false};
  std::thread swapper([&] {
    while (!over) {
      const bool swapped = ::rename(victim.c_str(), aside.c_str()) == 0 && ::rename(link.c_str(), victim.c_str()) == 0;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      const bool back = ::rename(victim.c_str(), link.c_str()) == 0 && ::rename(aside.c_str(), victim.c_str()) == 0;
      if (!swapped || !back) break;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
  int met = 0;
  for (int i = 0; i < 300; ++i) {
    const JobResult result = CopyTree(folder / "tree", folder / "copy", KeepingLinks());
    for (const auto& [path, text] : Describe(folder / "copy", false)) CHECK(text.find("secret") == std::string::npos);
    for (const Failure& failure : result.failures) CHECK(!failure.root);
    const bool is_directory = Exists(folder / "copy/victim") && S_ISDIR(StatusOf(folder / "copy/victim").st_mode);
    met += result.failures.empty() && is_directory ? 0 : 1;
    RemoveTree(folder / "copy");
  }
  over = true;
  swapper.join();
  std::printf("  met the swapped directory %d times\n", met);
}

TEST(LinkPutInThePlaceOfANewDirectoryGetsNothing) {
  Folder folder(FastPlace());
  MakeFolder(folder / "tree");
  MakeFolder(folder / "tree/victim");
  for (int i = 0; i < 20; ++i) {
    MakeFolder(folder / ("tree/victim/" + std::to_string(i)));
    Write(folder / ("tree/victim/" + std::to_string(i) + "/file"), "data");
    Write(folder / ("tree/victim/file " + std::to_string(i)), "data");
  }
  const std::string victim = folder / "copy/victim", aside = folder / "aside", outside = folder / "outside";
  int swapped = 0;
  for (int i = 0; i < 100; ++i) {
    MakeFolder(outside);
    std::atomic<bool> over{false};
    std::atomic<bool> done{false};
    std::thread swapper([&] {
      while (!over && !done) {
        if (::rename(victim.c_str(), aside.c_str()) != 0) continue;
        done = ::symlink(outside.c_str(), victim.c_str()) == 0;
      }
    });
    CopyTree(folder / "tree", folder / "copy");
    over = true;
    swapper.join();
    swapped += done ? 1 : 0;
    CHECK(Names(outside).empty());
    for (const std::string& path : {folder / "copy", aside, outside}) RemoveTree(path);
  }
  std::printf("  a link was put there %d times\n", swapped);
  CHECK(swapped > 0);
}

TEST(TreeThatIsRemovedMeanwhileEnds) {
  Folder folder(FastPlace());
  for (int round = 0; round < 20; ++round) {
    MakeFolder(folder / "tree");
    for (int i = 0; i < 30; ++i) {
      MakeFolder(folder / ("tree/" + std::to_string(i)));
      for (int k = 0; k < 5; ++k) Write(folder / ("tree/" + std::to_string(i) + "/" + std::to_string(k)), "data");
    }
    std::thread remover([&] { RemoveTree(folder / (round % 2 == 0 ? "tree" : "tree/7")); });
    const JobResult result = CopyTree(folder / "tree", folder / "copy");
    remover.join();
    for (const Failure& failure : result.failures) CHECK_EQUAL(failure.status.error_number(), ENOENT);
    if (Exists(folder / "copy")) {
      for (const auto& [path, text] : Describe(folder / "copy", false)) {
        CHECK(text.find(" data ") == std::string::npos || text.find(" data data") != std::string::npos);
      }
    }
    RemoveTree(folder / "tree");
    RemoveTree(folder / "copy");
  }
}

TEST(NoDescriptorIsLeftOpen) { CHECK_EQUAL(OpenDescriptors(), descriptors_at_start); }
