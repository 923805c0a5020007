// Shares and open directories: what clients may ask for, and that no name leads out of it.

#include "check.h"
#include "files.h"
#include "net/open_directories.h"
#include "net/share.h"
#include "net/workspace.h"

namespace eacopy {
namespace net {
namespace {

using test::Exists;
using test::Folder;
using test::MakeFolder;
using test::MakeLink;
using test::Write;

struct Served {
  Served() {
    MakeFolder(folder / "builds");
    MakeFolder(folder / "builds/one");
    MakeFolder(folder / "secret");
    Write(folder / "secret/file", "hidden");
    shares.Add("Builds", folder / "builds");
  }
  const Share& share() const { return *shares.all()[0]; }

  Folder folder;
  Shares shares;
};

TEST(ASharesNameIsFoundWhateverTheCase) {
  Served served;
  Place place;
  for (const char* asked : {"builds/one/two", "BUILDS/one/two", "builds/one/two/"}) {
    CHECK(served.shares.Find(asked, &place).ok());
    CHECK_EQUAL(place.path, "one/two");
  }
  CHECK(served.shares.Find("builds", &place).ok());
  CHECK_EQUAL(place.path, "");
}

TEST(AnAbsolutePathMustLieInAShare) {
  Served served;
  Place place;
  CHECK(served.shares.Find(served.folder / "builds/one/new/deep", &place).ok());
  CHECK_EQUAL(place.path, "one/new/deep");
  MakeLink(served.folder / "builds/one", served.folder / "way");
  CHECK(served.shares.Find(served.folder / "way/x", &place).ok());
  CHECK_EQUAL(place.path, "one/x");
  MakeLink(served.folder / "secret", served.folder / "builds/out");
  for (const std::string& asked :
       {served.folder / "secret", served.folder / "secret/file", served.folder / "builds2",
        served.folder / "builds/../secret", served.folder / "builds/out", served.folder / "none/such", std::string("/"),
        std::string("//"), std::string("/.")}) {
    Status status = served.shares.Find(asked, &place);
    CHECK_EQUAL(status.error_number(), EACCES);
  }
}

TEST(WhatIsNotSharedIsRefusedInOneWord) {
  Served served;
  Place place;
  for (const std::string& asked :
       {std::string(""), std::string("secret"), std::string("builds/.."), std::string("builds/../secret"),
        std::string("builds//one"), std::string("./builds"), std::string("builds/./one"), std::string("bui"),
        std::string("builds\0/x", 9), std::string("..")}) {
    CHECK_EQUAL(served.shares.Find(asked, &place).error_number(), EACCES);
  }
}

TEST(TheWholeFileSystemHasAbsolutePathsOnly) {
  Folder folder;
  Shares shares;
  REQUIRE(shares.AddWholeFileSystem().ok());
  Place place;
  CHECK(shares.Find(folder / "new", &place).ok());
  CHECK_EQUAL("/" + place.path, folder / "new");
  CHECK(shares.Find("/", &place).ok());
  CHECK_EQUAL(place.path, "");
  CHECK_EQUAL(shares.Find("tmp", &place).error_number(), EACCES);
}

TEST(AMissingShareIsNamedByItsErrno) {
  Folder folder;
  Write(folder / "file", "");
  Shares shares;
  CHECK(shares.Add("a", folder / "none").kind() == Kind::kFileNotFound);
  CHECK_EQUAL(shares.Add("a", folder / "file").error_number(), ENOTDIR);
}

TEST(NoLinkIsFollowedOnTheWay) {
  Served served;
  OpenDirectories directories(served.share());
  OpenDirectory directory;
  std::vector<std::string> made;
  MakeLink("../secret", served.folder / "builds/out");
  MakeLink("one", served.folder / "builds/in");
  MakeLink("/", served.folder / "builds/root");
  for (const char* path : {"out", "in", "root", "out/deeper", "in/deeper", "root/tmp"}) {
    CHECK(!directories.Open(path, &directory).ok());
    CHECK(!directories.Make(path, &directory, &made).ok());
  }
  CHECK(made.empty());
  CHECK(!Exists(served.folder / "secret/deeper"));
  CHECK(!Exists(served.folder / "builds/one/deeper"));
}

TEST(MissingDirectoriesAreMadeParentsFirst) {
  Served served;
  OpenDirectories directories(served.share());
  OpenDirectory directory;
  std::vector<std::string> made;
  CHECK(!directories.Open("one/a/b", &directory).ok());
  REQUIRE(directories.Make("one/a/b", &directory, &made).ok());
  REQUIRE(made.size() == 2);
  CHECK_EQUAL(made[0], "one/a");
  CHECK_EQUAL(made[1], "one/a/b");
  CHECK(directories.IsNew("one/a/b") && !directories.IsNew("one"));
  CHECK(Exists(served.folder / "builds/one/a/b"));
  Write(served.folder / "builds/file", "");
  CHECK_EQUAL(directories.Make("file/x", &directory, &made).error_number(), ENOTDIR);
}

TEST(ADirectoryThatCameBackIsFoundAgain) {
  Served served;
  OpenDirectories directories(served.share());
  OpenDirectory directory;
  REQUIRE(directories.Make("one/a", &directory, nullptr).ok());
  test::RemoveTree(served.folder / "builds/one");
  REQUIRE(directories.Make("one/a/b", &directory, nullptr).ok());
  CHECK(Exists(served.folder / "builds/one/a/b"));
}

TEST(ALinkThatIsSwappedInIsNotFollowed) {
  Served served;
  OpenDirectories directories(served.share());
  OpenDirectory directory;
  REQUIRE(directories.Make("one/a", &directory, nullptr).ok());
  // What is open stays the directory that it was.
  REQUIRE(::rename((served.folder / "builds/one").c_str(), (served.folder / "builds/moved").c_str()) == 0);
  MakeLink("../secret", served.folder / "builds/one");
  if (directories.Make("one/a/b", &directory, nullptr).ok()) CHECK(Exists(served.folder / "builds/moved/a/b"));
  CHECK_EQUAL(test::Names(served.folder / "secret").size(), 1u);
  directories.Forget();
  CHECK(!directories.Make("one/a/b", &directory, nullptr).ok());
}

TEST(ManyDirectoriesTakeFewDescriptors) {
  Served served;
  const int before = test::OpenDescriptors();
  OpenDirectories directories(served.share());
  OpenDirectory directory;
  std::string deep = "one";
  for (int i = 0; i < 150; ++i) {
    deep += "/d";
    REQUIRE(directories.Make(deep, &directory, nullptr).ok());
    REQUIRE(directories.Make("wide" + std::to_string(i), &directory, nullptr).ok());
  }
  directory.reset();
  OpenDirectories others(served.share());
  CHECK(others.Open(deep, &directory).ok());
  if (before >= 0) CHECK(test::OpenDescriptors() <= before + 2 * 64 + 1);
}

TEST(NamesThatTheServerKeepsAreNotFree) {
  CHECK(IsFreePath("a/.eacopy-x/b"));
  CHECK(IsFreePath(".eacopy-0123456789abcdef.tmp2"));
  CHECK(!IsFreePath(".eacopy-0123456789abcdef.tmp"));
  CHECK(!IsFreePath("a/.eacopy-0123456789abcdef.tmp/b"));
  CHECK(!IsFreePath("a/../b"));
}

}  // namespace
}  // namespace net
}  // namespace eacopy
