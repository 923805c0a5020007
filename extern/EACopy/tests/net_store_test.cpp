// The store: files appear whole or not at all, what dead writers leave goes, and nobody else's file changes.

#include <sys/resource.h>
#include <sys/xattr.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "check.h"
#include "files.h"
#include "net/arrival.h"
#include "net/digest.h"
#include "net/store.h"
#include "temporary.h"

namespace eacopy {
namespace net {
namespace {

using test::Exists;
using test::Folder;
using test::MakeFolder;
using test::Read;
using test::Write;

OpenDirectory Opened(const std::string& path) {
  auto directory = std::make_shared<platform::Directory>();
  test::Must(platform::OpenDirectory(platform::Directory::Paths(), path.c_str(), false, directory.get()).ok(), path);
  return directory;
}

size_t Unfinished(const std::string& path) {
  size_t count = 0;
  for (const std::string& name : test::Names(path)) count += IsTemporaryName(name) ? 1 : 0;
  return count;
}

size_t Sweep(const std::string& path) {
  const std::atomic<bool> stop{false};
  return RemoveDeadFiles(*Opened(path), stop);
}

NewMetadata Metadata(uint32_t mode, int64_t mtime) {
  NewMetadata metadata;
  metadata.mode = mode;
  metadata.set_times = true;
  metadata.mtime = mtime;
  metadata.atime = mtime + 1;
  return metadata;
}

TEST(AFileHasItsNameWhenItIsWhole) {
  Folder folder;
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  CHECK(file.Write("hello ").ok() && file.Write("world").ok());
  CHECK(!Exists(folder / "new"));
  CHECK_EQUAL(Unfinished(folder.path()), 1u);
  REQUIRE(file.Finish("new", Metadata(0640, 1600000000123456789)).ok());
  CHECK_EQUAL(test::AccessedOf(test::StatusOf(folder / "new")).tv_nsec, 123456790);
  CHECK_EQUAL(Read(folder / "new"), "hello world");
  CHECK_EQUAL(test::ModeOf(folder / "new"), 0640u);
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(folder / "new")).tv_sec, 1600000000);
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(folder / "new")).tv_nsec, 123456789);
  CHECK_EQUAL(Unfinished(folder.path()), 0u);
}

TEST(AnUnfinishedFileGoesWithItsWriter) {
  Folder folder;
  {
    TemporaryFile file;
    REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
    CHECK(file.Write("half").ok());
  }
  CHECK(test::Names(folder.path()).empty());
}

TEST(AHardLinkedSiblingDoesNotChange) {
  Folder folder;
  Write(folder / "old", "old content");
  REQUIRE(::link((folder / "old").c_str(), (folder / "sibling").c_str()) == 0);
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  CHECK(file.Write("new content").ok());
  REQUIRE(file.Finish("old", Metadata(0600, 1)).ok());
  CHECK_EQUAL(Read(folder / "old"), "new content");
  CHECK_EQUAL(Read(folder / "sibling"), "old content");
}

TEST(ALinkIsReplacedNotFollowed) {
  Folder folder;
  Write(folder / "victim", "untouched");
  test::MakeLink("victim", folder / "name");
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  CHECK(file.Write("new").ok());
  REQUIRE(file.Finish("name", Metadata(0600, 1)).ok());
  CHECK(S_ISREG(test::StatusOf(folder / "name").st_mode));
  CHECK_EQUAL(Read(folder / "victim"), "untouched");
}

TEST(ADirectoryIsNotReplaced) {
  Folder folder;
  MakeFolder(folder / "name");
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  Status status = file.Finish("name", Metadata(0600, 1));
  CHECK_EQUAL(status.error_number(), EISDIR);
  file.Discard();
  CHECK_EQUAL(Unfinished(folder.path()), 0u);
}

TEST(HolesStayHoles) {
  Folder folder;
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  const std::string data = test::Noise(100000);
  CHECK(file.Hole(64 << 20).ok() && file.Write(data).ok() && file.Hole(1 << 20).ok() && file.Hole(64 << 20).ok());
  CHECK(file.Verify(Crc32(0, data.data(), data.size())).ok());
  Status wrong = file.Verify(1);
  CHECK(wrong.operation() == Operation::kVerify);
  CHECK(!file.Hole(UINT64_MAX - 5).ok());
  REQUIRE(file.Finish("sparse", Metadata(0600, 1)).ok());
  const struct stat st = test::StatusOf(folder / "sparse");
  CHECK_EQUAL(st.st_size, (64 << 20) + 100000 + (1 << 20) + (64 << 20));
  CHECK(st.st_blocks * 512 < (1 << 20));
}

TEST(AFullDiskIsToldWithItsNumbers) {
  Folder folder;
  test::InChild([&] {
    struct rlimit limit = {};
    limit.rlim_cur = limit.rlim_max = 4096;
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    TemporaryFile file;
    REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
    CHECK(file.Write(std::string(4000, 'x')).ok());
    Status status = file.Write(std::string(4000, 'x'));
    CHECK(status.kind() == Kind::kFileTooLarge);
  });
  CHECK(test::Names(folder.path()).empty());
}

TEST(ALargeFileIsWrittenBehindItsReception) {
  Folder folder;
  Arrival arrival(Opened(folder.path()), 0600, false);
  std::string all;
  const std::string piece(333333, 'p');
  auto write = [&](const std::string& bytes) {
    arrival.Write(bytes);
    all += bytes;
  };
  while (all.size() < (12u << 20)) write(piece + std::to_string(all.size()));
  arrival.Hole(3 << 20);
  all += std::string(3 << 20, '\0');
  while (all.size() < (20u << 20)) write(std::to_string(all.size()) + piece);
  arrival.Hole(1);
  all += '\0';
  CHECK_EQUAL(arrival.size(), all.size());
  REQUIRE(arrival.Finish("large", Metadata(0640, 7), true).ok());
  CHECK(Read(folder / "large") == all);
  CHECK_EQUAL(test::Names(folder.path()).size(), 1u);
}

TEST(ALargeFileThatFailsFarBehindIsToldAtItsEnd) {
  Folder folder;
  test::InChild([&] {
    struct rlimit limit = {};
    limit.rlim_cur = limit.rlim_max = 15u << 20;
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Arrival arrival(Opened(folder.path()), 0600, false);
    const std::string piece(1 << 20, 'p');
    for (int i = 0; i < 30; ++i) arrival.Write(piece);
    arrival.Hole(5);
    CHECK_EQUAL(arrival.size(), (30u << 20) + 5);
    const Status status = arrival.Finish("large", Metadata(0640, 7), true);
    CHECK(status.kind() == Kind::kFileTooLarge);
  });
  CHECK(test::Names(folder.path()).empty());
}

TEST(ALargeFileThatIsGivenUpLeavesNothing) {
  Folder folder;
  {
    Arrival arrival(Opened(folder.path()), 0600, false);
    const std::string piece(1 << 20, 'p');
    for (int i = 0; i < 20; ++i) arrival.Write(piece);
    CHECK_EQUAL(Unfinished(folder.path()), 1u);
  }
  CHECK(test::Names(folder.path()).empty());
}

TEST(WhatAKilledWriterLeftIsRemoved) {
  Folder folder;
  MakeFolder(folder / "sub");
  Write(folder / "sub/.eacopy-0123456789abcdef.tmp", "left");
  Write(folder / "sub/.eacopy-0123456789abcdeg.tmp", "no such name");
  Write(folder / ".eacopy-x.tmp", "neither");
  MakeFolder(folder / ".eacopy-fedcba9876543210.tmp");
  CHECK_EQUAL(Sweep(folder.path()), 1u);
  CHECK_EQUAL(test::Names(folder / "sub").size(), 1u);
  CHECK_EQUAL(test::Names(folder.path()).size(), 3u);
}

TEST(WhatIsBeingWrittenIsLeftAlone) {
  Folder folder;
  TemporaryFile file;
  REQUIRE(file.Create(Opened(folder.path()), 0600).ok());
  CHECK(file.Write("more to come").ok());
  CHECK_EQUAL(Sweep(folder.path()), 0u);
  CHECK_EQUAL(Unfinished(folder.path()), 1u);
}

TEST(WritersAndWhoClearsUpDoNotDisturbEachOther) {
  Folder folder;
  std::atomic<bool> stop{false};
  std::thread sweeper([&] {
    const OpenDirectory directory = Opened(folder.path());
    while (!stop) {
      RemoveDeadFilesIn(*directory);
      std::this_thread::sleep_for(std::chrono::microseconds(10));  // nobody is at it without end
    }
  });
  const OpenDirectory parent = Opened(folder.path());
  int failed = 0;
  for (int i = 0; i < 500; ++i) {
    TemporaryFile file;
    bool same = false;
    const bool written =
        file.Create(parent, 0600).ok() && file.Write("content").ok() && file.Finish("file", Metadata(0644, i)).ok();
    const bool linked = StoreSymlink(*parent, "link", std::to_string(i), Metadata(0777, i), &same).ok();
    failed += written && linked ? 0 : 1;
  }
  stop = true;
  sweeper.join();
  CHECK_EQUAL(failed, 0);
  CHECK_EQUAL(test::LinkTarget(folder / "link"), "499");
  CHECK_EQUAL(Unfinished(folder.path()), 0u);
}

TEST(ASweepFollowsNoLink) {
  Folder folder, outside;
  Write(outside / ".eacopy-0123456789abcdef.tmp", "somebody else's");
  test::MakeLink(outside.path(), folder / "out");
  CHECK_EQUAL(Sweep(folder.path()), 0u);
  CHECK_EQUAL(Unfinished(outside.path()), 1u);
}

TEST(ASymlinkTakesTheNamesPlace) {
  Folder folder;
  const OpenDirectory parent = Opened(folder.path());
  bool same = true;
  CHECK(StoreSymlink(*parent, "link", "target", Metadata(0777, 5000000000), &same).ok() && !same);
  CHECK_EQUAL(test::LinkTarget(folder / "link"), "target");
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(folder / "link")).tv_sec, 5);
  CHECK(StoreSymlink(*parent, "link", "target", Metadata(0777, 6000000000), &same).ok() && same);
  CHECK(StoreSymlink(*parent, "link", "other", Metadata(0777, 7000000000), &same).ok() && !same);
  CHECK_EQUAL(test::LinkTarget(folder / "link"), "other");
  Write(folder / "file", "content");
  CHECK(StoreSymlink(*parent, "file", "other", Metadata(0777, 7000000000), &same).ok() && !same);
  CHECK_EQUAL(test::LinkTarget(folder / "file"), "other");
  MakeFolder(folder / "directory");
  CHECK(!StoreSymlink(*parent, "directory", "other", Metadata(0777, 1), &same).ok());
  CHECK_EQUAL(Unfinished(folder.path()), 0u);
}

TEST(ContentsAreRemovedAndLinksAreNotFollowed) {
  Folder folder, outside;
  Write(outside / "kept", "x");
  MakeFolder(folder / "a");
  MakeFolder(folder / "a/b");
  Write(folder / "a/b/file", "x");
  Write(folder / "file", "x");
  test::MakeLink(outside.path(), folder / "a/out");
  std::string deep = folder / "deep";
  for (int i = 0; i < 100; ++i) {
    MakeFolder(deep);
    deep += "/d";
  }
  const std::atomic<bool> stop{false};
  CHECK(RemoveContents(*Opened(folder.path()), stop).ok());
  CHECK(test::Names(folder.path()).empty());
  CHECK(Exists(outside / "kept"));
}

TEST(AttributesAreComparedWhateverTheirOrder) {
  Folder folder;
  Write(folder / "plain", "x");
  Write(folder / "file", "x");
  const OpenDirectory parent = Opened(folder.path());
  std::string none, some;
  ReadAttributesAt(*parent, "plain", &none);
  CHECK(none.empty());
#ifdef __linux__
  if (::setxattr((folder / "file").c_str(), "user.a", "1", 1, 0) != 0) SKIP("no extended attributes here");
  ReadAttributesAt(*parent, "file", &some);
  CHECK(!some.empty());
  CHECK(!EqualAttributes(none, some));
  CHECK(EqualAttributes(some, std::string(some)));
  std::string ab, ba;
  PutNumber<uint16_t>(&ab, 2);
  PutNumber<uint16_t>(&ba, 2);
  auto put = [](std::string* out, const char* name, const char* value) {
    PutString16(out, name);
    PutNumber<uint32_t>(out, static_cast<uint32_t>(std::strlen(value)));
    PutBytes(out, value);
  };
  put(&ab, "user.a", "1");
  put(&ab, "user.b", "2");
  put(&ba, "user.b", "2");
  put(&ba, "user.a", "1");
  CHECK(EqualAttributes(ab, ba));
#endif
}

TEST(NamesOfTemporaryFilesDiffer) {
  const std::string a = TemporaryName(), b = TemporaryName();
  CHECK(a != b);
  CHECK(IsTemporaryName(a) && IsTemporaryName(b));
}

}  // namespace
}  // namespace net
}  // namespace eacopy
