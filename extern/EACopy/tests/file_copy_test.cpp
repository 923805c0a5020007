// Copying one file: what arrives, what may be overwritten, and what is there after a failure.

#include "file_copy.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>

#ifdef __linux__
#include <sched.h>
#include <sys/sysmacros.h>
#endif

#include "check.h"
#include "eacopy/copy.h"
#include "files.h"

using namespace eacopy;
using namespace eacopy::test;
using platform::Directory;

namespace {

// Counts, and does something at each step when asked to.
class HookedMonitor : public FileMonitor {
 public:
  HookedMonitor() : FileMonitor(&stop) {}
  void Begin(uint64_t size) override {
    total = size;
    if (at_begin) at_begin();
  }
  void Advance(uint64_t bytes) override {
    copied += bytes;
    if (at_advance) at_advance();
  }
  void Finish(uint64_t size) override {
    ++finished;
    total = size;
  }

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> copied{0};
  uint64_t total = 0;
  int finished = 0;
  std::function<void()> at_begin;
  std::function<void()> at_advance;  // from any of the copying threads
};

struct Result {
  Status status;
  FileOutcome outcome;
};

struct Way {
  uint32_t thread_count = 1;
  bool in_tree = false;
  uint64_t size_limit = UINT64_MAX;
};

Result Copy(const std::string& source, const std::string& destination, const Options& options, HookedMonitor& monitor,
            Way way = Way()) {
  const Directory& paths = Directory::Paths();
  const FileTask task{paths,       source.c_str(), paths,          destination.c_str(), options.follow_symlinks,
                      way.in_tree, false,          way.size_limit, way.thread_count,    nullptr};
  const auto scratch = std::make_unique<platform::Scratch>();
  Result result;
  result.status = CopyFile(task, options, *scratch, monitor, &result.outcome);
  return result;
}

Result Copy(const std::string& source, const std::string& destination, const Options& options = Options(),
            Way way = Way()) {
  HookedMonitor monitor;
  return Copy(source, destination, options, monitor, way);
}

Options With(Metadata metadata) {
  Options options;
  options.metadata = metadata;
  return options;
}

Options Atomic() {
  Options options;
  options.atomic = true;
  return options;
}

bool Is(const Status& status, int error_number, Operation operation, DestinationState state) {
  const bool is = status.error_number() == error_number && status.operation() == operation &&
                  status.destination_state() == state && !status.ok();
  if (!is) {
    std::fprintf(stderr, "kind %d, errno %d, operation %d, destination %d\n", static_cast<int>(status.kind()),
                 status.error_number(), static_cast<int>(status.operation()),
                 static_cast<int>(status.destination_state()));
  }
  return is;
}

uint64_t AllocatedBytes(const std::string& path) { return static_cast<uint64_t>(StatusOf(path).st_blocks) * 512; }

// Sets a limit of the process for as long as it lives.
class Limit {
 public:
  Limit(decltype(RLIMIT_FSIZE) resource, rlim_t value) : resource_(resource) {
    Must(::getrlimit(resource, &before_) == 0, "read a limit");
    struct rlimit limit = {value, before_.rlim_max};
    Must(::setrlimit(resource, &limit) == 0, "set a limit");
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { ::setrlimit(resource_, &before_); }

 private:
  const decltype(RLIMIT_FSIZE) resource_;
  struct rlimit before_;
};

constexpr DestinationState kAbsent = DestinationState::kAbsent;
constexpr DestinationState kOld = DestinationState::kOld;
constexpr DestinationState kPartial = DestinationState::kPartial;

const int descriptors_at_start = OpenDescriptors();

}  // namespace

// Data ----------------------------------------------------------------------------------------------------------------

TEST(EverySizeArrivesWhole) {
  Folder folder;
  const size_t kib = 1024;
  for (size_t size : {size_t{0}, size_t{1}, 4 * kib - 1, 4 * kib, 64 * kib - 1, 64 * kib, 64 * kib + 1, 256 * kib - 1,
                      256 * kib, 256 * kib + 1, 1024 * kib + 7}) {
    const std::string data = Noise(size);
    Write(folder / "source", data);
    ::unlink((folder / "copy").c_str());
    HookedMonitor monitor;
    const Result result = Copy(folder / "source", folder / "copy", Options(), monitor);
    CHECK(result.status.ok());
    CHECK_EQUAL(result.outcome.size, size);
    CHECK_EQUAL(monitor.copied.load(), size);
    CHECK_EQUAL(monitor.finished, 1);
    CHECK(Read(folder / "copy") == data);
  }
}

TEST(SmallBuffersCopyTheSame) {
  Folder folder;
  const std::string data = Noise(300 * 1000);
  Write(folder / "source", data);
  for (uint64_t buffer_size : {uint64_t{100}, uint64_t{4096}, uint64_t{1} << 40}) {
    for (Reflink reflink : {Reflink::kAuto, Reflink::kNever}) {
      Options options;
      options.buffer_size = buffer_size;
      options.reflink = reflink;
      CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
      CHECK(Read(folder / "copy") == data);
    }
  }
  Options byte_by_byte;
  byte_by_byte.buffer_size = 1;
  Write(folder / "small", data.substr(0, 2000));
  CHECK(Copy(folder / "small", folder / "copy", byte_by_byte).status.ok());
  CHECK(Read(folder / "copy") == data.substr(0, 2000));
}

TEST(LargeFileIsSplitOverThreads) {
  // A disk and a tmpfs are written in different ways.
  for (const char* place : {static_cast<const char*>(nullptr), "/dev/shm"}) {
    if (place != nullptr && !Exists(place)) SKIP("no /dev/shm here");
    Folder folder(place);
    const std::string data = Noise((17u << 20) + 12345);
    Write(folder / "source", data);
    for (uint32_t threads : {1u, 2u, 4u}) {
      for (bool atomic : {false, true}) {
        Options options;
        options.reflink = Reflink::kNever;
        options.atomic = atomic;
        Way way;
        way.thread_count = threads;
        HookedMonitor monitor;
        const Result result = Copy(folder / "source", folder / "copy", options, monitor, way);
        CHECK(result.status.ok());
        CHECK_EQUAL(result.outcome.size, data.size());
        CHECK_EQUAL(monitor.copied.load(), data.size());
        CHECK(Read(folder / "copy") == data);
        if (atomic) ::unlink((folder / "copy").c_str());  // once over an old one, once anew
      }
    }
  }
}

TEST(FileBeyondTheLimitIsLeftAlone) {
  Folder folder;
  Write(folder / "source", Noise(1000));
  Way way;
  way.size_limit = 999;
  const Result result = Copy(folder / "source", folder / "copy", Options(), way);
  CHECK(result.status.ok());
  CHECK(result.outcome.too_large);
  CHECK(!Exists(folder / "copy"));
  way.size_limit = 1000;
  CHECK(!Copy(folder / "source", folder / "copy", Options(), way).outcome.too_large);
  CHECK_EQUAL(StatusOf(folder / "copy").st_size, 1000);
}

TEST(FilesWhoseSizeSaysNothingAreReadToTheirEnd) {
  if (!Exists("/proc/version")) SKIP("no /proc here");
  Folder folder;
  CHECK_EQUAL(StatusOf("/proc/version").st_size, 0);
  for (Reflink reflink : {Reflink::kAuto, Reflink::kNever}) {
    Options options = With(Metadata::kNone);
    options.reflink = reflink;
    CHECK(Copy("/proc/version", folder / "version", options).status.ok());
    CHECK(!Read("/proc/version").empty());
    CHECK_EQUAL(Read(folder / "version"), Read("/proc/version"));
  }
  const char* const claims_a_page = "/sys/devices/system/cpu/online";
  if (!Exists(claims_a_page)) SKIP("no /sys here");
  CHECK(Copy(claims_a_page, folder / "online", With(Metadata::kNone)).status.ok());
  CHECK_EQUAL(Read(folder / "online"), Read(claims_a_page));
}

TEST(HolesStayHoles) {
  Folder folder;
  const off_t mib = 1 << 20;
  SetSize(folder / "source", 6 * mib + 777);
  if (AllocatedBytes(folder / "source") > 0) SKIP("no holes on this file system");
  struct Piece {
    std::vector<off_t> data;
    const char* what;
  };
  for (const Piece& piece : {Piece{{}, "nothing but a hole"}, Piece{{0}, "a hole at the end"},
                             Piece{{6 * mib}, "a hole at the beginning"}, Piece{{mib, 3 * mib, 5 * mib}, "islands"}}) {
    ::unlink((folder / "source").c_str());
    SetSize(folder / "source", 6 * mib + 777);
    for (off_t at : piece.data) WriteAt(folder / "source", Noise(777, static_cast<uint64_t>(at)), at);
    for (Reflink reflink : {Reflink::kAuto, Reflink::kNever}) {
      ::unlink((folder / "copy").c_str());
      Options options;
      options.reflink = reflink;
      Way way;
      way.thread_count = 4;
      HookedMonitor monitor;
      CHECK(Copy(folder / "source", folder / "copy", options, monitor, way).status.ok());
      CHECK_EQUAL(monitor.copied.load(), static_cast<uint64_t>(6 * mib + 777));
      CHECK(Read(folder / "copy") == Read(folder / "source"));
      if (AllocatedBytes(folder / "copy") > AllocatedBytes(folder / "source") + 256 * 1024) {
        std::fprintf(stderr, "%s: %llu bytes are allocated\n", piece.what,
                     static_cast<unsigned long long>(AllocatedBytes(folder / "copy")));
        CHECK(false);
      }
    }
  }
}

TEST(SmallSparseFileKeepsItsSize) {
  Folder folder;
  SetSize(folder / "source", 100 * 1000);
  WriteAt(folder / "source", "x", 50 * 1000);
  CHECK(Copy(folder / "source", folder / "copy").status.ok());
  CHECK(Read(folder / "copy") == Read(folder / "source"));
}

TEST(OldDataDoesNotShowThroughHoles) {
  // A destination that its file system did not let be truncated: the old bytes must go all the same.
  Folder folder;
  SetSize(folder / "source", 3 << 20);
  WriteAt(folder / "source", Noise(5000), 1 << 20);
  for (Reflink reflink : {Reflink::kAuto, Reflink::kNever}) {
    Write(folder / "copy", Noise(4 << 20, 2));
    platform::Handle source, destination;
    platform::FileInfo source_info, destination_info;
    const Directory& paths = Directory::Paths();
    REQUIRE(platform::OpenSource(paths, (folder / "source").c_str(), true, &source, &source_info).ok());
    REQUIRE(platform::OpenExisting(paths, (folder / "copy").c_str(), false, &destination).ok());
    REQUIRE(platform::GetInfo(destination, &destination_info).ok());
    Options options;
    options.reflink = reflink;
    const auto scratch = std::make_unique<platform::Scratch>();
    HookedMonitor monitor;
    const platform::DataRequest request{source,  source_info, destination, &destination_info,
                                        options, 1,           *scratch,    monitor};
    Method method;
    uint64_t size = 0;
    CHECK(platform::CopyData(request, &method, &size).ok());
    CHECK_EQUAL(size, source_info.size);
    CHECK(Read(folder / "copy") == Read(folder / "source"));
  }
}

TEST(CloneSharesDataWhereTheFileSystemCan) {
  Folder folder;
  const std::string data = Noise(3 << 20);
  Write(folder / "source", data);
  Options options;
  options.reflink = Reflink::kAlways;
  const Result result = Copy(folder / "source", folder / "copy", options);
  if (!result.status.ok()) {
    CHECK(Is(result.status, EOPNOTSUPP, Operation::kClone, kAbsent));
    CHECK(result.status.kind() == Kind::kUnsupported);
    CHECK(!Exists(folder / "copy"));
    SKIP("this file system cannot clone: set TMPDIR to a directory on btrfs or XFS");
  }
  CHECK(result.outcome.method == Method::kClone);
  CHECK_EQUAL(result.outcome.size, data.size());
  WriteAt(folder / "source", "changed", 0);
  CHECK(Read(folder / "copy") == data);
  CHECK(Copy(folder / "source", folder / "copy").outcome.method == Method::kClone);
  CHECK(Read(folder / "copy") == Read(folder / "source"));

  // Over a longer file, whose end must go.
  for (size_t old_size : {size_t{5} << 20, (size_t{5} << 20) + 1, size_t{100}}) {
    Write(folder / "copy", Noise(old_size, 3));
    Write(folder / "source", Noise((2 << 20) + 99, 4));
    CHECK(Copy(folder / "source", folder / "copy", options).outcome.method == Method::kClone);
    CHECK(Read(folder / "copy") == Read(folder / "source"));
  }

  // "never" must not share behind the caller's back.
  options.reflink = Reflink::kNever;
  const Result plain = Copy(folder / "source", folder / "plain", options);
  CHECK(plain.status.ok());
  CHECK(plain.outcome.method != Method::kClone && plain.outcome.method != Method::kCopyFileRange);
}

TEST(ImpossibleCloneLeavesTheDestinationAsItWas) {
  if (!Exists("/dev/shm")) SKIP("no /dev/shm here");
  Folder folder("/dev/shm");  // a tmpfs cannot clone
  Write(folder / "source", Noise(100000));
  Write(folder / "copy", "old");
  Options options;
  options.reflink = Reflink::kAlways;
  CHECK(Is(Copy(folder / "source", folder / "copy", options).status, EOPNOTSUPP, Operation::kClone, kOld));
  CHECK_EQUAL(Read(folder / "copy"), "old");
  options.atomic = true;
  CHECK(Is(Copy(folder / "source", folder / "copy", options).status, EOPNOTSUPP, Operation::kClone, kOld));
  CHECK_EQUAL(Read(folder / "copy"), "old");
  CHECK(Is(Copy(folder / "source", folder / "new", options).status, EOPNOTSUPP, Operation::kClone, kAbsent));
  CHECK_EQUAL(Names(folder.path()).size(), 2u);
}

// Metadata ------------------------------------------------------------------------------------------------------------

TEST(ModesAreCopiedAsFarAsWanted) {
  Folder folder;
  const mode_t umask = ::umask(022);
  for (unsigned mode : {0600u, 0644u, 0755u, 0777u, 0666u, 0444u, 0400u, 04755u, 02755u}) {
    Write(folder / "source", "data", mode);
    for (const char* name : {"none", "mode", "stat"}) ::unlink((folder / name).c_str());
    CHECK(Copy(folder / "source", folder / "none", With(Metadata::kNone)).status.ok());
    CHECK(Copy(folder / "source", folder / "mode", With(Metadata::kMode)).status.ok());
    CHECK(Copy(folder / "source", folder / "stat", With(Metadata::kStat)).status.ok());
    CHECK_EQUAL(ModeOf(folder / "none"), 0644u);
    CHECK_EQUAL(ModeOf(folder / "mode"), mode);
    CHECK_EQUAL(ModeOf(folder / "stat"), mode);
  }
  ::umask(umask);
}

TEST(OverwritingKeepsTheModeUnlessItIsCopied) {
  Folder folder;
  for (bool atomic : {false, true}) {
    for (unsigned mode : {0600u, 0755u}) {
      Options options = With(Metadata::kNone);
      options.atomic = atomic;
      Write(folder / "source", "data", 0644);
      Write(folder / "copy", "old", mode);
      CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
      CHECK_EQUAL(ModeOf(folder / "copy"), mode);
      options.metadata = Metadata::kMode;
      CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
      CHECK_EQUAL(ModeOf(folder / "copy"), 0644u);
    }
  }
}

TEST(TimesAreCopiedToTheNanosecond) {
  Folder folder;
  for (bool atomic : {false, true}) {
    Options options;
    options.atomic = atomic;
    Write(folder / "source", Noise(100000));
    SetTimes(folder / "source", 1000000000, 1234567890, 987654321);
    CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
    const struct stat copy = StatusOf(folder / "copy");
    CHECK_EQUAL(ModifiedOf(copy).tv_sec, 1234567890);
    CHECK_EQUAL(ModifiedOf(copy).tv_nsec, 987654321);
    CHECK_EQUAL(AccessedOf(copy).tv_sec, 1000000000);
    CHECK_EQUAL(AccessedOf(copy).tv_nsec, 987654321);
    ::unlink((folder / "copy").c_str());
    options.metadata = Metadata::kMode;
    CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
    CHECK(ModifiedOf(StatusOf(folder / "copy")).tv_sec != 1234567890);
  }
}

TEST(ReadingLeavesTheSourceAsItWas) {
  Folder folder;
  Write(folder / "source", Noise(1000));
  SetTimes(folder / "source", 1000000000, 1234567890);
  CHECK(Copy(folder / "source", folder / "copy").status.ok());
  const struct stat source = StatusOf(folder / "source");
  CHECK_EQUAL(AccessedOf(source).tv_sec, 1000000000);
  CHECK_EQUAL(ModifiedOf(source).tv_sec, 1234567890);
}

#ifdef __linux__

TEST(ExtendedAttributesGoWithTheRestOfStat) {
  Folder folder;
  Write(folder / "source", "data");
  const std::string large = Noise(1500);
  if (::setxattr((folder / "source").c_str(), "user.note", "kept", 4, 0) != 0) SKIP("no extended attributes here");
  Must(::setxattr((folder / "source").c_str(), "user.large", large.data(), large.size(), 0) == 0, "set an attribute");
  for (unsigned mode : {0644u, 0444u, 0000u}) {
    Must(::chmod((folder / "source").c_str(), mode) == 0, "set a mode");
    if (mode == 0 && ::getuid() != 0) continue;
    ::unlink((folder / "copy").c_str());
    CHECK(Copy(folder / "source", folder / "copy").status.ok());
    char value[2000];
    CHECK_EQUAL(::getxattr((folder / "copy").c_str(), "user.note", value, sizeof(value)), 4);
    CHECK_EQUAL(std::string(value, 4), "kept");
    const ssize_t size = ::getxattr((folder / "copy").c_str(), "user.large", value, sizeof(value));
    CHECK(size > 0 && std::string(value, static_cast<size_t>(size)) == large);
    CHECK_EQUAL(ModeOf(folder / "copy"), mode);
  }
  Must(::chmod((folder / "source").c_str(), 0644) == 0, "set a mode");
  ::unlink((folder / "copy").c_str());
  CHECK(Copy(folder / "source", folder / "copy", With(Metadata::kMode)).status.ok());
  CHECK_EQUAL(::listxattr((folder / "copy").c_str(), nullptr, 0), 0);
}

TEST(ManyExtendedAttributesArrive) {
  if (!Exists("/dev/shm")) SKIP("no /dev/shm here");
  Folder folder("/dev/shm");
  Write(folder / "source", "data");
  for (int i = 0; i < 200; ++i) {
    const std::string name = "user." + std::string(100, 'n') + std::to_string(i);
    const std::string value = Noise(static_cast<size_t>(i) * 50, static_cast<uint64_t>(i));
    if (::setxattr((folder / "source").c_str(), name.c_str(), value.data(), value.size(), 0) != 0) {
      if (i == 0) SKIP("no extended attributes on this tmpfs");
      break;  // as many as it takes
    }
  }
  CHECK(Copy(folder / "source", folder / "copy").status.ok());
  std::string names(1 << 16, '\0');
  const ssize_t length = ::listxattr((folder / "source").c_str(), &names[0], names.size());
  CHECK(length > 0);
  CHECK_EQUAL(::listxattr((folder / "copy").c_str(), nullptr, 0), length);
  names.resize(static_cast<size_t>(length));
  std::string a(1 << 16, '\0'), b(1 << 16, '\0');
  for (const char* name = names.data(); name < names.data() + names.size(); name += std::strlen(name) + 1) {
    const ssize_t size = ::getxattr((folder / "source").c_str(), name, &a[0], a.size());
    CHECK_EQUAL(::getxattr((folder / "copy").c_str(), name, &b[0], b.size()), size);
    CHECK(size >= 0 && a.compare(0, static_cast<size_t>(size), b, 0, static_cast<size_t>(size)) == 0);
  }
}

#endif  // __linux__

// Links ---------------------------------------------------------------------------------------------------------------

TEST(LinkIsFollowedOrCopiedAsALink) {
  Folder folder;
  Write(folder / "target", "data");
  MakeLink("target", folder / "link");
  SetTimes(folder / "link", 1000000000, 1111111111);
  CHECK(Copy(folder / "link", folder / "followed").status.ok());
  CHECK_EQUAL(Read(folder / "followed"), "data");
  CHECK(S_ISREG(StatusOf(folder / "followed").st_mode));
  Options options;
  options.follow_symlinks = false;
  const Result result = Copy(folder / "link", folder / "copied", options);
  CHECK(result.status.ok());
  CHECK(result.outcome.symlink);
  CHECK_EQUAL(LinkTarget(folder / "copied"), "target");
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "copied")).tv_sec, 1111111111);
  MakeLink("nowhere", folder / "dangling");
  CHECK(Copy(folder / "dangling", folder / "also dangling", options).status.ok());
  CHECK_EQUAL(LinkTarget(folder / "also dangling"), "nowhere");
}

TEST(LongLinkTargetArrivesWhole) {
  Folder folder;
  std::string target;
  while (target.size() < 3000) target += "some-directory/";
  if (::symlink(target.c_str(), (folder / "link").c_str()) != 0) {
    target.resize(1000);  // XFS
    MakeLink(target, folder / "link");
  }
  Options options;
  options.follow_symlinks = false;
  CHECK(Copy(folder / "link", folder / "copy", options).status.ok());
  CHECK_EQUAL(LinkTarget(folder / "copy"), target);
}

TEST(LinkThatLeadsNowhereIsAMissingSource) {
  Folder folder;
  MakeLink("nowhere", folder / "dangling");
  const Status dangling = Copy(folder / "dangling", folder / "copy").status;
  CHECK(Is(dangling, ENOENT, Operation::kOpenSource, kAbsent));
  CHECK(dangling.kind() == Kind::kFileNotFound);
  MakeLink("loop", folder / "loop");
  CHECK(Is(Copy(folder / "loop", folder / "copy").status, ELOOP, Operation::kOpenSource, kAbsent));
  CHECK(!Exists(folder / "copy"));
}

TEST(LinkIsNotMadeOverWhatIsThere) {
  Folder folder;
  MakeLink("target", folder / "link");
  Write(folder / "copy", "old");
  Options options;
  options.follow_symlinks = false;
  CHECK(Is(Copy(folder / "link", folder / "copy", options).status, EEXIST, Operation::kMakeLink, kOld));
  CHECK_EQUAL(Read(folder / "copy"), "old");
}

TEST(WritingGoesThroughALinkAtTheDestination) {
  Folder folder;
  MakeFolder(folder / "elsewhere");
  Write(folder / "source", "new");
  for (bool atomic : {false, true}) {
    Options options;
    options.atomic = atomic;
    Write(folder / "elsewhere/target", "old contents");
    ::unlink((folder / "link").c_str());
    ::unlink((folder / "link to the link").c_str());
    MakeLink("elsewhere/target", folder / "link");
    MakeLink(folder / "link", folder / "link to the link");
    CHECK(Copy(folder / "source", folder / "link to the link", options).status.ok());
    CHECK_EQUAL(Read(folder / "elsewhere/target"), "new");
    CHECK_EQUAL(LinkTarget(folder / "link"), "elsewhere/target");
    CHECK_EQUAL(LinkTarget(folder / "link to the link"), folder / "link");
  }
  CHECK_EQUAL(Names(folder / "elsewhere").size(), 1u);
}

TEST(TargetOfADanglingLinkIsCreated) {
  Folder folder;
  MakeFolder(folder / "elsewhere");
  Write(folder / "source", Noise(3 << 20));
  MakeLink("elsewhere/target", folder / "link");
  for (bool atomic : {false, true}) {
    Options options;
    options.atomic = atomic;
    options.reflink = Reflink::kNever;
    HookedMonitor monitor;
    monitor.at_advance = [&] { monitor.stop = true; };
    const Status stopped = Copy(folder / "source", folder / "link", options, monitor).status;
    CHECK(stopped.cancelled());
    CHECK(stopped.destination_state() == kAbsent);
    CHECK(Names(folder / "elsewhere").empty());
    CHECK_EQUAL(LinkTarget(folder / "link"), "elsewhere/target");
    CHECK(Copy(folder / "source", folder / "link", options).status.ok());
    CHECK(Read(folder / "elsewhere/target") == Read(folder / "source"));
    CHECK_EQUAL(LinkTarget(folder / "link"), "elsewhere/target");
    ::unlink((folder / "elsewhere/target").c_str());
  }
  MakeLink("loop", folder / "loop");
  CHECK(!Copy(folder / "source", folder / "loop").status.ok());
  CHECK(!Copy(folder / "source", folder / "loop", Atomic()).status.ok());
  CHECK_EQUAL(LinkTarget(folder / "loop"), "loop");
}

TEST(FileIsNotCopiedOntoItself) {
  Folder folder;
  Write(folder / "source", "precious");
  MakeFolder(folder / "below");
  Must(::link((folder / "source").c_str(), (folder / "hard").c_str()) == 0, "make a hard link");
  MakeLink("source", folder / "soft");
  const std::string ways[][2] = {{"source", "source"}, {"source", "hard"}, {"hard", "source"},
                                 {"source", "soft"},   {"soft", "source"}, {"source", "below/../source"}};
  for (const auto& way : ways) {
    for (bool atomic : {false, true}) {
      Options options;
      options.atomic = atomic;
      const Status status = Copy(folder / way[0], folder / way[1], options).status;
      CHECK(Is(status, 0, Operation::kSameFile, kOld));
      CHECK(!status.retryable());
      CHECK_EQUAL(Read(folder / "source"), "precious");
    }
  }
  Options options;
  options.into_directory = true;
  CHECK(Is(Copy(folder / "source", folder.path(), options).status, 0, Operation::kSameFile, kOld));
  CHECK_EQUAL(Read(folder / "source"), "precious");
  CHECK_EQUAL(Names(folder.path()).size(), 4u);
}

// Directories as destinations -----------------------------------------------------------------------------------------

TEST(DirectoryTakesTheFileInWhenAsked) {
  Folder folder;
  MakeFolder(folder / "directory");
  MakeLink("directory", folder / "link");
  Write(folder / "source", "data", 0640);
  for (const char* destination : {"directory", "directory/", "link", "link/"}) {
    for (bool atomic : {false, true}) {
      for (Metadata metadata : {Metadata::kNone, Metadata::kMode, Metadata::kStat}) {
        Options options = With(metadata);
        options.into_directory = true;
        options.atomic = atomic;
        const Result result = Copy(folder / "source", folder / destination, options);
        CHECK(result.status.ok());
        CHECK(result.outcome.into_directory);
        CHECK_EQUAL(Read(folder / "directory/source"), "data");
        // Not the directory's own mode.
        CHECK_EQUAL(ModeOf(folder / "directory/source") & 0111u, 0u);
        ::unlink((folder / "directory/source").c_str());
        options.into_directory = false;
        CHECK(Is(Copy(folder / "source", folder / destination, options).status, EISDIR, Operation::kOpenDestination,
                 kOld));
        CHECK(Names(folder / "directory").empty());
      }
    }
  }
}

TEST(LinkIsTakenInByADirectoryToo) {
  Folder folder;
  MakeFolder(folder / "directory");
  MakeLink("target", folder / "link");
  Options options;
  options.into_directory = true;
  options.follow_symlinks = false;
  const Result result = Copy(folder / "link", folder / "directory", options);
  CHECK(result.status.ok());
  CHECK(result.outcome.into_directory);
  CHECK_EQUAL(LinkTarget(folder / "directory/link"), "target");
}

TEST(FailureIsToldOfTheFileInTheDirectory) {
  Folder folder;
  MakeFolder(folder / "directory");
  Write(folder / "source", Noise(600 * 1000));
  for (bool atomic : {false, true}) {
    Options options;
    options.into_directory = true;
    options.atomic = atomic;
    options.reflink = Reflink::kNever;
    HookedMonitor monitor;
    monitor.stop = true;
    const Status status = Copy(folder / "source", folder / "directory", options, monitor).status;
    CHECK(status.cancelled());
    CHECK(status.destination_state() == kAbsent);
    CHECK(Names(folder / "directory").empty());
  }
  // What is in the way there cannot be overwritten, but a file that is missing there was never there.
  Must(::mkfifo((folder / "directory/source").c_str(), 0600) == 0, "make a FIFO");
  Options options;
  options.into_directory = true;
  CHECK(Is(Copy(folder / "source", folder / "directory", options).status, 0, Operation::kSpecialFile, kOld));
}

TEST(OnlyOneDirectoryIsGoneInto) {
  Folder folder;
  MakeFolder(folder / "directory");
  MakeFolder(folder / "directory/source");
  Write(folder / "source", "data");
  Options options;
  options.into_directory = true;
  for (bool atomic : {false, true}) {
    options.atomic = atomic;
    CHECK(Is(Copy(folder / "source", folder / "directory", options).status, EISDIR, Operation::kOpenDestination, kOld));
    CHECK(Names(folder / "directory/source").empty());
  }
}

TEST(MissingDirectoryIsNamedAsSuch) {
  Folder folder;
  Write(folder / "source", "data");
  for (const char* destination : {"missing/", "missing/copy", "source/"}) {
    for (bool atomic : {false, true}) {
      Options options;
      options.atomic = atomic;
      options.into_directory = true;
      const Status status = Copy(folder / "source", folder / destination, options).status;
      CHECK(!status.ok());
      CHECK(status.kind() == Kind::kDirectoryNotFound || status.error_number() == ENOTDIR);
      CHECK(status.operation() == Operation::kOpenDestination);
    }
  }
  CHECK_EQUAL(Names(folder.path()).size(), 1u);
  CHECK_EQUAL(Read(folder / "source"), "data");
}

TEST(SourceThatIsNoFileIsRefused) {
  Folder folder;
  MakeFolder(folder / "directory");
  CHECK(Is(Copy(folder / "directory", folder / "copy").status, EISDIR, Operation::kOpenSource, kAbsent));
  CHECK(Is(Copy(folder / "missing", folder / "copy").status, ENOENT, Operation::kOpenSource, kAbsent));
  Write(folder / "copy", "old");
  CHECK(Is(Copy(folder / "missing", folder / "copy").status, ENOENT, Operation::kOpenSource, kOld));
  CHECK(Is(Copy(folder / "copy/below", folder / "x").status, ENOTDIR, Operation::kOpenSource, kAbsent));
  CHECK(Is(Copy("", folder / "x").status, ENOENT, Operation::kOpenSource, kAbsent));
  CHECK(!Copy(folder / "copy", "").status.ok());
  CHECK(!Copy(folder / "copy", "", Atomic()).status.ok());
  CHECK_EQUAL(Read(folder / "copy"), "old");
}

// Special files -------------------------------------------------------------------------------------------------------

TEST(FifoIsRefusedWithoutWaitingForIt) {
  Folder folder;
  Must(::mkfifo((folder / "fifo").c_str(), 0600) == 0, "make a FIFO");
  MakeLink("fifo", folder / "link");
  Write(folder / "file", "data");
  for (const char* name : {"fifo", "link"}) {
    CHECK(Is(Copy(folder / name, folder / "copy").status, 0, Operation::kSpecialFile, kAbsent));
    CHECK(Is(Copy(folder / "file", folder / name).status, 0, Operation::kSpecialFile, kOld));
    CHECK(Is(Copy(folder / "file", folder / name, Atomic()).status, 0, Operation::kSpecialFile, kOld));
  }
  CHECK(S_ISFIFO(StatusOf(folder / "fifo").st_mode));
  CHECK(!Exists(folder / "copy"));
}

TEST(SocketCannotBeOpened) {
  Folder folder;
  Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = folder / "socket";
  if (path.size() >= sizeof(address.sun_path)) SKIP("TMPDIR is too long for the path of a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Must(::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0, "make a socket");
  CHECK(Is(Copy(path, folder / "copy").status, ENXIO, Operation::kOpenSource, kAbsent));
  Write(folder / "file", "data");
  CHECK(Is(Copy(folder / "file", path).status, ENXIO, Operation::kOpenDestination, kOld));
}

#ifdef __linux__

TEST(DeviceKeepsItsModeAndTimes) {
  Folder folder;
  const std::string device = folder / "null";
  if (::mknod(device.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0) SKIP("cannot make a device");
  Must(::chmod(device.c_str(), 0622) == 0, "set a mode");
  Write(folder / "file", "data", 0400);
  SetTimes(folder / "file", 1000000000, 1000000000);
  const Result result = Copy(folder / "file", device);
  if (result.status.error_number() == EACCES) SKIP("devices do not work on this file system");
  CHECK(result.status.ok());
  CHECK_EQUAL(ModeOf(device), 0622u);
  CHECK(ModifiedOf(StatusOf(device)).tv_sec != 1000000000);
}

#endif  // __linux__

TEST(DevicesAreReadAndWrittenButNotInTrees) {
  Folder folder;
  Write(folder / "file", Noise(500 * 1000));
  const struct stat before = StatusOf("/dev/null");
  for (bool atomic : {false, true}) {
    Options options = With(Metadata::kNone);
    options.atomic = atomic;
    options.verify = true;
    options.fsync = true;
    CHECK(Copy(folder / "file", "/dev/null", options).status.ok());
  }
  const struct stat after = StatusOf("/dev/null");
  CHECK(S_ISCHR(after.st_mode));
  CHECK_EQUAL(before.st_ino, after.st_ino);

  CHECK(Copy("/dev/null", folder / "empty", With(Metadata::kNone)).status.ok());
  CHECK_EQUAL(StatusOf(folder / "empty").st_size, 0);
  Way in_tree;
  in_tree.in_tree = true;
  CHECK(Is(Copy("/dev/null", folder / "copy", Options(), in_tree).status, 0, Operation::kSpecialFile, kAbsent));
  CHECK(!Exists(folder / "copy"));

  // Without an end of its own.
  HookedMonitor monitor;
  monitor.at_advance = [&] { monitor.stop = monitor.copied > (1 << 20); };
  CHECK(Copy("/dev/zero", folder / "copy", With(Metadata::kNone), monitor).status.cancelled());
  CHECK(!Exists(folder / "copy"));

  if (!Exists("/dev/full")) SKIP("no /dev/full here");
  const Status full = Copy(folder / "file", "/dev/full", With(Metadata::kNone)).status;
  CHECK(Is(full, ENOSPC, Operation::kWrite, kOld));
  CHECK(full.kind() == Kind::kDiskFull);
  CHECK_EQUAL(full.size(), 500u * 1000);
}

// Failures ------------------------------------------------------------------------------------------------------------

TEST(CancelledCopyLeavesNothingThatWasNotThere) {
  for (const char* place : {static_cast<const char*>(nullptr), "/dev/shm"}) {
    if (place != nullptr && !Exists(place)) SKIP("no /dev/shm here");
    Folder folder(place);
    for (size_t size : {size_t{3} << 20, size_t{12} << 20}) {
      Write(folder / "source", Noise(size));
      Options options;
      options.reflink = Reflink::kNever;
      Way way;
      way.thread_count = 4;
      HookedMonitor monitor;
      monitor.at_advance = [&] { monitor.stop = true; };
      Result result = Copy(folder / "source", folder / "copy", options, monitor, way);
      CHECK(result.status.cancelled());
      CHECK(result.status.destination_state() == kAbsent);
      CHECK_EQUAL(monitor.finished, 0);
      CHECK_EQUAL(Names(folder.path()).size(), 1u);

      Write(folder / "copy", "old contents");
      result = Copy(folder / "source", folder / "copy", options, monitor, way);
      CHECK(result.status.cancelled());
      CHECK(result.status.destination_state() == kPartial);
      CHECK(Exists(folder / "copy"));

      Write(folder / "copy", "old contents");
      options.atomic = true;
      result = Copy(folder / "source", folder / "copy", options, monitor, way);
      CHECK(result.status.cancelled());
      CHECK(result.status.destination_state() == kOld);
      CHECK_EQUAL(Read(folder / "copy"), "old contents");
      CHECK_EQUAL(Names(folder.path()).size(), 2u);
      ::unlink((folder / "copy").c_str());
    }
  }
}

TEST(PartOfAnEmptyOldFileIsPartial) {
  Folder folder;
  Write(folder / "source", Noise(3 << 20));
  Write(folder / "copy", "");
  Options options;
  options.reflink = Reflink::kNever;
  HookedMonitor monitor;
  monitor.at_advance = [&] { monitor.stop = true; };
  const Status status = Copy(folder / "source", folder / "copy", options, monitor).status;
  CHECK(status.cancelled());
  CHECK(StatusOf(folder / "copy").st_size > 0);
  CHECK(status.destination_state() == kPartial);
}

TEST(OnlyTheFileThatWasCreatedIsRemoved) {
  // Somebody puts another file in the place of the one that is being written.
  Folder folder;
  Write(folder / "source", Noise(600 * 1000));
  Write(folder / "other", "somebody else's");
  Options options;
  options.reflink = Reflink::kNever;
  HookedMonitor monitor;
  monitor.at_begin = [&] {
    monitor.stop = true;
    Must(::rename((folder / "other").c_str(), (folder / "copy").c_str()) == 0, "put a file in the place");
  };
  CHECK(Copy(folder / "source", folder / "copy", options, monitor).status.cancelled());
  CHECK_EQUAL(Read(folder / "copy"), "somebody else's");
}

TEST(AtomicCopyReplacesTheFileAtTheEnd) {
  Folder folder;
  Write(folder / "source", Noise(600 * 1000));
  Write(folder / "copy", "old");
  Must(::link((folder / "copy").c_str(), (folder / "kept").c_str()) == 0, "make a hard link");
  HookedMonitor monitor;
  bool seen_old = true;
  std::vector<std::string> names;
  monitor.at_advance = [&] {
    seen_old = seen_old && Read(folder / "copy") == "old";
    names = Names(folder.path());
  };
  Options options = Atomic();
  options.reflink = Reflink::kNever;
  options.fsync = true;
  options.verify = true;
  CHECK(Copy(folder / "source", folder / "copy", options, monitor).status.ok());
  CHECK(seen_old);
  CHECK(Read(folder / "copy") == Read(folder / "source"));
  CHECK_EQUAL(Read(folder / "kept"), "old");
  CHECK_EQUAL(Names(folder.path()).size(), 3u);
  // While it is written it has the name that users are told of.
  REQUIRE(names.size() == 4);
  CHECK_EQUAL(names[0].size(), std::strlen(".eacopy-0123456789abcdef.tmp"));
  CHECK_EQUAL(names[0].substr(0, 8), ".eacopy-");
  CHECK_EQUAL(names[0].substr(24), ".tmp");
}

TEST(OverwritingInPlaceKeepsTheFileItself) {
  Folder folder;
  const std::string data = Noise(70000);
  Write(folder / "source", data);
  for (size_t old_size : {size_t{0}, size_t{10}, size_t{3} << 20}) {
    Write(folder / "copy", Noise(old_size, 5));
    ::unlink((folder / "hard").c_str());
    Must(::link((folder / "copy").c_str(), (folder / "hard").c_str()) == 0, "make a hard link");
    CHECK(Copy(folder / "source", folder / "copy").status.ok());
    CHECK(Read(folder / "hard") == data);
    CHECK_EQUAL(StatusOf(folder / "hard").st_ino, StatusOf(folder / "copy").st_ino);
  }
}

TEST(ForbiddenPlacesAreNotTouched) {
  Folder folder;
  Must(::chmod(folder.path().c_str(), 0777) == 0, "open the folder to everybody");
  InChild([&] {
    if (!BecomeNobody()) SKIP("cannot become another user");
    Write(folder / "source", "new", 0644);
    Write(folder / "old", "old", 0444);
    Write(folder / "secret", "secret", 0000);
    MakeFolder(folder / "closed", 0555);
    CHECK(Is(Copy(folder / "source", folder / "old").status, EACCES, Operation::kOpenDestination, kOld));
    CHECK_EQUAL(Read(folder / "old"), "old");
    CHECK(Is(Copy(folder / "secret", folder / "copy").status, EACCES, Operation::kOpenSource, kAbsent));
    CHECK(Is(Copy(folder / "source", folder / "closed/copy").status, EACCES, Operation::kOpenDestination, kAbsent));
    const Status atomic = Copy(folder / "source", folder / "closed/copy", Atomic()).status;
    CHECK(Is(atomic, EACCES, Operation::kOpenDestination, kAbsent));
    CHECK(atomic.kind() == Kind::kPermissionDenied);
    // The directory lets it be replaced though the file itself may not be written.
    CHECK(Copy(folder / "source", folder / "old", Atomic()).status.ok());
    CHECK_EQUAL(Read(folder / "old"), "new");
    // Another's file may be read, but not without touching its time of access.
    if (Exists("/etc/passwd")) CHECK(Copy("/etc/passwd", folder / "passwd").status.ok());
  });
}

TEST(VerifyFindsWhatIsNotAsItWasRead) {
  Folder folder;
  const size_t size = 700 * 1000;
  Options options;
  options.verify = true;
  options.reflink = Reflink::kNever;
  Write(folder / "source", Noise(size));
  CHECK(Copy(folder / "source", folder / "copy", options).status.ok());
  CHECK(Copy(folder / "source", folder / "copy", options).status.ok());  // over an old one
  for (uint64_t at : {uint64_t{0}, uint64_t{300 * 1000}, uint64_t{size - 1}}) {
    ::unlink((folder / "copy").c_str());
    HookedMonitor monitor;
    monitor.at_advance = [&] {
      if (monitor.copied == size) WriteAt(folder / "copy", "\x01\x02", static_cast<off_t>(at));
    };
    const Status status = Copy(folder / "source", folder / "copy", options, monitor).status;
    CHECK(Is(status, 0, Operation::kVerify, kAbsent));
    CHECK(status.offset() == at || status.offset() == at + 1);
    CHECK(!Exists(folder / "copy"));
  }
  HookedMonitor longer;
  longer.at_advance = [&] {
    if (longer.copied == size) WriteAt(folder / "copy", "tail", static_cast<off_t>(size));
  };
  const Status status = Copy(folder / "source", folder / "copy", options, longer).status;
  CHECK(Is(status, 0, Operation::kVerify, kAbsent));
  CHECK_EQUAL(status.offset(), size);
}

TEST(CancelReachesTheVerification) {
  Folder folder;
  const size_t size = 4 << 20;
  Write(folder / "source", Noise(size));
  Options options;
  options.verify = true;
  options.reflink = Reflink::kNever;
  HookedMonitor monitor;
  monitor.at_advance = [&] { monitor.stop = monitor.copied == size; };
  CHECK(Copy(folder / "source", folder / "copy", options, monitor).status.cancelled());
  CHECK(!Exists(folder / "copy"));
}

TEST(FileLargerThanAllowedIsAFileTooLarge) {
  for (const char* place : {static_cast<const char*>(nullptr), "/dev/shm"}) {
    if (place != nullptr && !Exists(place)) SKIP("no /dev/shm here");
    Folder folder(place);
    Write(folder / "source", Noise(9 << 20));
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    for (uint32_t threads : {1u, 4u}) {
      Options options;
      options.reflink = Reflink::kNever;
      Way way;
      way.thread_count = threads;
      Result result;
      {
        Limit limit(RLIMIT_FSIZE, 1 << 20);
        result = Copy(folder / "source", folder / "copy", options, way);
      }
      CHECK_EQUAL(result.status.error_number(), EFBIG);
      CHECK(result.status.kind() == Kind::kFileTooLarge);
      CHECK_EQUAL(result.status.size(), uint64_t{9} << 20);
      CHECK(!Exists(folder / "copy"));
    }
    std::signal(SIGXFSZ, handler);
  }
}

#ifdef __linux__

TEST(FileUnderALeaseIsWaitedFor) {
  Folder folder;
  Write(folder / "source", "data");
  int ready[2];
  Must(::pipe2(ready, O_CLOEXEC) == 0, "make a pipe");
  const pid_t holder = ::fork();
  Must(holder >= 0, "fork");
  if (holder == 0) {
    // The signal that asks for the lease ends this process, and so gives it back.
    const int file = ::open((folder / "source").c_str(), O_RDWR | O_CLOEXEC);
    const char held = ::fcntl(file, F_SETLEASE, F_WRLCK) == 0 ? 'y' : 'n';
    const ssize_t told = ::write(ready[1], &held, 1);
    if (held == 'y' && told == 1) ::pause();
    ::_exit(0);
  }
  ::close(ready[1]);
  char held = 'n';
  const ssize_t told = ::read(ready[0], &held, 1);
  ::close(ready[0]);
  if (told == 1 && held == 'y') {
    CHECK(Copy(folder / "source", folder / "copy").status.ok());
    CHECK_EQUAL(Read(folder / "copy"), "data");
  }
  int result = 0;
  ::waitpid(holder, &result, 0);
  if (held != 'y') SKIP("no leases on this file system");
  CHECK(WIFSIGNALED(result) && WTERMSIG(result) == SIGIO);
}

TEST(FullDiskIsToldWithWhatIsMissing) {
  Folder folder;
  // A namespace of its own, so that the mount goes with the process.
  InChild([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=12m") != 0) {
      SKIP("cannot mount a small tmpfs");
    }
    Write(folder / "source", Noise(9 << 20));
    const std::string small = Noise(3 << 20, 2);
    for (uint32_t threads : {1u, 4u}) {
      Way way;
      way.thread_count = threads;
      const Status status = Copy(folder / "source", folder / "copy", Options(), way).status;
      CHECK_EQUAL(status.error_number(), ENOSPC);
      CHECK(status.kind() == Kind::kDiskFull);
      CHECK_EQUAL(status.size(), uint64_t{9} << 20);
      CHECK(status.available() < (3u << 20));
      CHECK(status.destination_state() == kAbsent);
      CHECK_EQUAL(Names(folder.path()).size(), 1u);
      // And the disk is as free as before.
      Write(folder / "fits", small);
      CHECK(Copy(folder / "source", folder / "fits", Atomic(), way).status.kind() == Kind::kDiskFull);
      CHECK(Read(folder / "fits") == small);
      CHECK_EQUAL(Names(folder.path()).size(), 2u);
      ::unlink((folder / "fits").c_str());
    }
  });
}

#endif  // __linux__

// Sources that change -------------------------------------------------------------------------------------------------

TEST(SourceThatGrowsIsCopiedToItsNewEnd) {
  Folder folder;
  for (size_t size : {size_t{1000}, size_t{300} << 10, size_t{9} << 20}) {
    Write(folder / "source", Noise(size));
    ::unlink((folder / "copy").c_str());
    Options options;
    options.reflink = Reflink::kNever;
    Way way;
    way.thread_count = 4;
    HookedMonitor monitor;
    const std::string more = Noise(70000, 9);
    monitor.at_begin = [&] { Append(folder / "source", more); };
    const Result result = Copy(folder / "source", folder / "copy", options, monitor, way);
    CHECK(result.status.ok());
    const std::string source = Read(folder / "source"), copy = Read(folder / "copy");
    CHECK_EQUAL(copy.size(), result.outcome.size);
    CHECK_EQUAL(monitor.total, result.outcome.size);
    CHECK(copy.size() >= size && copy.size() <= source.size());
    CHECK(source.compare(0, copy.size(), copy) == 0);
  }
}

TEST(SourceThatShrinksEndsWhereItEnds) {
  for (const char* place : {static_cast<const char*>(nullptr), "/dev/shm"}) {
    if (place != nullptr && !Exists(place)) SKIP("no /dev/shm here");
    Folder folder(place);
    for (size_t size : {size_t{1000}, size_t{300} << 10, size_t{9} << 20}) {
      for (bool existing : {false, true}) {
        Write(folder / "source", Noise(size));
        ::unlink((folder / "copy").c_str());
        if (existing) Write(folder / "copy", "old");
        Options options;
        options.reflink = Reflink::kNever;
        Way way;
        way.thread_count = 4;
        HookedMonitor monitor;
        monitor.at_begin = [&] { SetSize(folder / "source", static_cast<off_t>(size / 2)); };
        const Result result = Copy(folder / "source", folder / "copy", options, monitor, way);
        CHECK(result.status.ok());
        CHECK_EQUAL(result.outcome.size, size / 2);
        // No zeros in the place of what was cut off.
        CHECK(Read(folder / "copy") == Read(folder / "source"));
      }
    }
  }
}

TEST(SparseSourceThatShrinksEndsWhereItEnds) {
  Folder folder;
  SetSize(folder / "source", 8 << 20);
  WriteAt(folder / "source", Noise(600 * 1000), 1 << 20);
  HookedMonitor monitor;
  Options options;
  options.reflink = Reflink::kNever;
  monitor.at_begin = [&] { SetSize(folder / "source", 3 << 20); };
  CHECK(Copy(folder / "source", folder / "copy", options, monitor).status.ok());
  CHECK(Read(folder / "copy") == Read(folder / "source"));
}

TEST(CopyOfAFileThatChangesAllTheTimeEnds) {
  Folder folder;
  const std::string data = Noise(1 << 20);
  std::atomic<bool> over{false};
  Write(folder / "source", data);
  std::thread restless([&] {
    Descriptor file(::open((folder / "source").c_str(), O_RDWR | O_CLOEXEC));
    uint64_t random = 1;
    while (!over) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      const off_t size = static_cast<off_t>((random >> 33) % data.size());
      if (::ftruncate(file.get(), size) != 0) continue;
      // Grown again with the same bytes in the same places, so that every copy must be a beginning of them.
      const ssize_t put = ::pwrite(file.get(), data.data() + size, data.size() - static_cast<size_t>(size), size);
      if (put < 0) break;
    }
  });
  for (int i = 0; i < 100; ++i) {
    ::unlink((folder / "copy").c_str());
    Options options;
    options.reflink = i % 2 == 0 ? Reflink::kAuto : Reflink::kNever;
    Way way;
    way.thread_count = 2;
    const Result result = Copy(folder / "source", folder / "copy", options, way);
    CHECK(result.status.ok());
    const std::string copy = Read(folder / "copy");
    CHECK_EQUAL(copy.size(), result.outcome.size);
    CHECK(copy.size() <= data.size());
    // Holes of the moment between truncating and writing are zeros in the source too, so only sizes are certain here.
  }
  over = true;
  restless.join();
}

// The direct path -----------------------------------------------------------------------------------------------------

TEST(DirectPathTellsAllItsResults) {
  Folder folder;
  MakeFolder(folder / "directory");
  Write(folder / "source", "data");
  SetSize(folder / "large", 64 << 20);
  Options options;
  options.into_directory = true;
  Failure failure;
  auto copy = [&](const std::string& source, const std::string& destination) {
    return CopySmallFile(source.c_str(), destination.c_str(), options, &failure);
  };
  CHECK(copy(folder / "source", folder / "copy") == CopyResult::kCopied);
  CHECK_EQUAL(Read(folder / "copy"), "data");
  CHECK(copy(folder / "source", folder / "directory") == CopyResult::kCopiedInto);
  CHECK_EQUAL(Read(folder / "directory/source"), "data");
  CHECK(copy(folder / "large", folder / "large copy") == CopyResult::kNeedsJob);
  CHECK(copy("/dev/null", folder / "from a device") == CopyResult::kNeedsJob);
  CHECK(!Exists(folder / "large copy"));
  CHECK(!Exists(folder / "from a device"));
  CHECK(copy(folder / "missing", folder / "copy") == CopyResult::kFailed);
  CHECK(Is(failure.status, ENOENT, Operation::kOpenSource, kOld));
  CHECK_EQUAL(failure.source, folder / "missing");
  CHECK_EQUAL(failure.destination, folder / "copy");
  CHECK(failure.root);
  CHECK_EQUAL(Read(folder / "copy"), "data");
}

TEST(NoDescriptorIsLeftOpen) { CHECK_EQUAL(OpenDescriptors(), descriptors_at_start); }
