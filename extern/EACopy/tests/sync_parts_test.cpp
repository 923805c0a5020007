// The parts of sync that need no job: which names are meant, what file systems remember, and the database.

#include <sys/stat.h>

#include <random>
#include <thread>

#include "check.h"
#include "files.h"
#include "sync/database.h"
#include "sync/file_systems.h"
#include "sync/selection.h"

namespace eacopy {
namespace {

using test::Folder;
using test::ModifiedOf;
using test::StatusOf;
using test::Write;

std::string Root() { return std::string(); }

bool Matches(const std::string& pattern, const std::string& name, const std::string& where = "") {
  return Patterns({pattern}).Match(name.c_str(), [&where] { return where; });
}

platform::FileInfo InfoOf(const std::string& path) {
  platform::FileInfo info;
  CHECK(platform::GetInfo(platform::Directory::Paths(), path.c_str(), false, &info).ok());
  return info;
}

// The characters of a text that "?" and "*" see: those of UTF-8, and each byte that belongs to none. Written down
// without the tables of the engine.
std::vector<std::string> Characters(const std::string& text) {
  std::vector<std::string> characters;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    for (const size_t tried : {size_t{2}, size_t{3}, size_t{4}}) {
      if (i + tried > text.size()) break;
      const uint32_t first = static_cast<unsigned char>(text[i]);
      uint32_t code = first & (0xffu >> (tried + 1));
      bool good = first >> (7 - tried) == (0xffu >> (7 - tried)) - 1;
      for (size_t k = 1; k < tried; ++k) {
        const auto byte = static_cast<unsigned char>(text[i + k]);
        good = good && (byte & 0xc0) == 0x80;
        code = code << 6 | (byte & 0x3f);
      }
      const uint32_t least[] = {0x80, 0x800, 0x10000};
      good = good && code >= least[tried - 2] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      if (good) length = tried;
    }
    characters.push_back(text.substr(i, length));
    i += length;
  }
  return characters;
}

// The same as Matches, the slow way.
bool MatchesSlowly(const std::vector<std::string>& pattern, size_t p, const std::vector<std::string>& text, size_t t) {
  if (p == pattern.size()) return t == text.size();
  if (pattern[p] == "*") {
    return MatchesSlowly(pattern, p + 1, text, t) || (t < text.size() && MatchesSlowly(pattern, p, text, t + 1));
  }
  return t < text.size() && (pattern[p] == "?" || pattern[p] == text[t]) && MatchesSlowly(pattern, p + 1, text, t + 1);
}

}  // namespace

TEST(StarsAndQuestionMarksStandForCharacters) {
  CHECK(Matches("*", ""));
  CHECK(Matches("*", "a\nb"));
  CHECK(Matches("a*c", "abcbc"));
  CHECK(!Matches("a*c", "abcd"));
  CHECK(Matches("*.txt", ".txt"));
  CHECK(!Matches("*.txt", "a.txt.gz"));
  CHECK(Matches("??", "ab"));
  CHECK(!Matches("??", "abc"));
  CHECK(!Matches("?", ""));
  CHECK(Matches("[a].+(b)", "[a].+(b)"));
  CHECK(!Matches("[a]", "a"));
  CHECK(!Matches("Name", "name"));
}

TEST(ACharacterIsOneOfUtf8OrOneByte) {
  CHECK(Matches("?", "\xc3\xa9"));
  CHECK(Matches("?", "\xf0\x9f\x98\x80"));
  CHECK(!Matches("??", "\xc3\xa9"));
  CHECK(Matches("?", "\xff"));
  CHECK(Matches("??", "\xc3\x28"));
  CHECK(Matches("???", "\xed\xa0\x80"));  // a surrogate is no character
  CHECK(Matches("??", "\xc0\x80"));       // nor is what could be shorter
  CHECK(Matches("*\xc3\xa9", "caf\xc3\xa9"));
  CHECK(!Matches("*\xa9", "caf\xc3\xa9"));
  CHECK(!Matches("caf\xc3?", "caf\xc3\xa9"));
  CHECK(!Matches("caf\xc3*", "caf\xc3\xa9"));
}

TEST(ManyStarsTakeNoLongTime) {
  std::string pattern, name(4000, 'a');
  for (int i = 0; i < 1000; ++i) pattern += "*a";
  CHECK(Matches(pattern, name));
  CHECK(!Matches(pattern + "b", name));
}

TEST(MatchingIsAsItWouldBeDoneSlowly) {
  const std::vector<std::string> parts = {"a", "b", "*", "?", "\xc3\xa9", "\xc3", "\xa9", "\xe2\x82\xac", "\xf0", "."};
  std::mt19937 random(20260101);
  const auto text = [&](bool pattern) {
    std::string result;
    for (size_t left = random() % 7; left != 0; --left) {
      const std::string& part = parts[random() % parts.size()];
      if (pattern || (part != "*" && part != "?")) result += part;
    }
    return result;
  };
  int matched = 0;
  for (int i = 0; i < 100000; ++i) {
    const std::string pattern = text(true), name = text(false);
    const bool expected = MatchesSlowly(Characters(pattern), 0, Characters(name), 0);
    matched += expected ? 1 : 0;
    if (Matches(pattern, name) != expected) CHECK_EQUAL(pattern + " and " + name, "matched as they should");
  }
  CHECK(matched > 1000);
}

TEST(PatternsWithASlashAreComparedWithPaths) {
  CHECK(Matches("dir/*.txt", "a.txt", "dir/"));
  CHECK(Matches("/dir/a.txt", "a.txt", "dir/"));
  CHECK(!Matches("dir/a.txt", "a.txt"));
  CHECK(!Matches("dir/a.txt", "a.txt", "other/dir/"));
  CHECK(Matches("*/a.txt", "a.txt", "other/dir/"));
  CHECK(Matches("/a.txt", "a.txt"));
  CHECK(!Matches("/a.txt", "a.txt", "dir/"));
  CHECK(Matches("a.txt", "a.txt", "dir/"));
  int asked = 0;
  CHECK(Patterns({"name"}).Match("name", [&asked] { return std::to_string(++asked); }));
  CHECK_EQUAL(asked, 0);  // making a path costs more than comparing a name
}

TEST(ASelectionTakesFilesAndEntersDirectories) {
  Sync sync;
  CHECK(Selection(sync).all_names());
  CHECK(Selection(sync).TakesFile("any", Root));
  sync.files = {"*.txt", "*"};
  CHECK(Selection(sync).all_names());
  sync.files = {"*.txt", "/sub/keep"};
  sync.exclude_files = {"no*"};
  sync.exclude_dirs = {".git", "/build"};
  const Selection selection(sync);
  CHECK(!selection.all_names());
  CHECK(selection.TakesFile("a.txt", Root));
  CHECK(!selection.TakesFile("no.txt", Root));
  CHECK(!selection.TakesFile("keep", Root));
  CHECK(selection.TakesFile("keep", [] { return std::string("sub/"); }));
  CHECK(selection.Enters("nodes", Root));
  CHECK(!selection.Enters(".git", [] { return std::string("deep/down/"); }));
  CHECK(!selection.Enters("build", Root));
  CHECK(selection.Enters("build", [] { return std::string("sub/"); }));
}

TEST(AttributesAreThoseOfThisSystem) {
  platform::FileInfo info;
  info.mode = 0644;
  Sync sync;
  CHECK(!Selection(sync).by_attributes());
  sync.include_attributes = "R";
  CHECK(Selection(sync).by_attributes());
  CHECK(!Selection(sync).HasAttributes("name", info));
  sync.include_attributes = "RH";  // one of them is enough
  CHECK(Selection(sync).HasAttributes(".name", info));
  info.mode = 0444;
  CHECK(Selection(sync).HasAttributes("name", info));
  sync.exclude_attributes = "H";
  CHECK(Selection(sync).HasAttributes("name", info));
  CHECK(!Selection(sync).HasAttributes(".name", info));
  CHECK_EQUAL(static_cast<int>(Selection::UnknownAttribute(sync)), 0);
  sync.exclude_attributes = "HA";
  CHECK_EQUAL(Selection::UnknownAttribute(sync), 'A');
}

TEST(AnUsualFileSystemRemembersAll) {
  Folder folder;
  const FileSystems file_systems;
  const uint64_t device = StatusOf(folder.path()).st_dev;
  for (const uint64_t other : {device, ~uint64_t{0}}) {
    CHECK_EQUAL(file_systems.Of(device, other).granularity, 1);
    CHECK(file_systems.Of(device, other).modes);
  }
}

TEST(TheDatabaseFindsWhatWasCopied) {
  Folder folder;
  Write(folder / "copy", "data");
  const platform::FileInfo info = InfoOf(folder / "copy");
  test::MakeFolder(folder / "dir");
  Write(folder / "dir/copy", "data");
  std::string path;
  {
    Database database;
    CHECK(database.Open(folder / "links", false).ok());
    CHECK(!database.Find("dir/copy", info, &path));
    database.Add("dir/copy", info, folder / "dir/../dir//copy");
    REQUIRE(database.Find("dir/copy", info, &path));
    CHECK_EQUAL(path, folder / "dir/copy");
    CHECK(!database.Find("copy", info, &path));
    CHECK(database.Save().ok());
  }
  for (const bool by_name : {false, true}) {
    Database database;
    CHECK(database.Open(folder / "links", by_name).ok());
    REQUIRE(database.Find("dir/copy", info, &path));
    CHECK_EQUAL(path, folder / "dir/copy");
    CHECK_EQUAL(database.Find("other/copy", info, &path), by_name);
    platform::FileInfo other = info;
    ++other.size;
    CHECK(!database.Find("dir/copy", other, &path));
    other = info;
    ++other.modified.seconds;
    CHECK(!database.Find("dir/copy", other, &path));
  }
}

TEST(TheDatabaseIsOnlyReplacedForSomethingNew) {
  Folder folder;
  Write(folder / "copy", "data");
  const platform::FileInfo info = InfoOf(folder / "copy");
  const auto add = [&](const char* where) {
    Database database;
    CHECK(database.Open(folder / "links", false).ok());
    database.Add(where, info, folder / where);
    CHECK(database.Save().ok());
    return StatusOf(folder / "links").st_ino;
  };
  const ino_t first = add("copy");
  test::SetTimes(folder / "links", 1000000000, 1000000000);
  CHECK_EQUAL(add("copy"), first);
  CHECK_EQUAL(ModifiedOf(StatusOf(folder / "links")).tv_sec, 1000000000);
  add("another");
  CHECK(ModifiedOf(StatusOf(folder / "links")).tv_sec != 1000000000);
  CHECK((test::Names(folder.path()) == std::vector<std::string>{"copy", "links"}));
}

TEST(WhatIsGoodOfADamagedDatabaseIsRead) {
  Folder folder;
  Write(folder / "copy", "data");
  const platform::FileInfo info = InfoOf(folder / "copy");
  {
    Database database;
    CHECK(database.Open(folder / "links", false).ok());
    database.Add("first", info, folder / "first");
    database.Add("second", info, folder / "second");
    CHECK(database.Save().ok());
  }
  const std::string whole = test::Read(folder / "links");
  std::string path;
  int first = 0, second = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    Write(folder / "links", whole.substr(0, size));
    Database database;
    CHECK(database.Open(folder / "links", false).ok());
    first += database.Find("first", info, &path) ? 1 : 0;
    second += database.Find("second", info, &path) ? 1 : 0;
  }
  CHECK(first > second);
  CHECK(second > 0);
}

TEST(ADatabaseThatCannotBeReadIsAnError) {
  Folder folder;
  test::MakeFolder(folder / "links");
  Database database;
  const Status status = database.Open(folder / "links", false);
  CHECK(!status.ok());
  CHECK(status.operation() == Operation::kOpenReference);
}

TEST(ManyThreadsUseADatabase) {
  Folder folder;
  Write(folder / "copy", "data");
  const platform::FileInfo info = InfoOf(folder / "copy");
  Database database;
  CHECK(database.Open(folder / "links", false).ok());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::string path;
      for (int i = 0; i < 500; ++i) {
        const std::string where = std::to_string(thread) + "/" + std::to_string(i);
        database.Add(where, info, folder / where);
        CHECK(database.Find(where, info, &path));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(database.Save().ok());
  Database again;
  CHECK(again.Open(folder / "links", false).ok());
  std::string path;
  for (int thread = 0; thread < 4; ++thread) {
    for (int i = 0; i < 500; ++i) {
      CHECK(again.Find(std::to_string(thread) + "/" + std::to_string(i), info, &path));
    }
  }
}

}  // namespace eacopy
