// The history: what it remembers and forgets, and LINKDB byte by byte.

#include "check.h"
#include "files.h"
#include "net/bytes.h"
#include "net/history.h"
#include "net/link_database.h"

namespace eacopy {
namespace net {
namespace {

using test::Folder;
using test::MakeFolder;

Remembered File(const std::string& path, size_t key_size, uint64_t mtime = 1, uint64_t size = 2, uint32_t share = 0) {
  Remembered file;
  file.path = path;
  file.key_size = key_size;
  file.mtime = mtime;
  file.size = size;
  file.share = share;
  return file;
}

TEST(AFileIsKnownByItsWholeKey) {
  History history(10);
  history.Add(File("copy/dir/name", 8));
  Remembered found;
  REQUIRE(history.Find(0, "dir/name", 1, 2, &found));
  CHECK_EQUAL(found.path, "copy/dir/name");
  CHECK(!history.Find(0, "dir/nam", 1, 2, &found));
  CHECK(!history.Find(0, "name", 1, 2, &found));
  CHECK(!history.Find(0, "dir/name", 2, 2, &found));
  CHECK(!history.Find(0, "dir/name", 1, 3, &found));
  CHECK(!history.Find(1, "dir/name", 1, 2, &found));
}

TEST(TheLatestPlaceIsRemembered) {
  History history(10);
  history.Add(File("one/f", 1));
  history.Add(File("two/f", 1));
  const uint64_t changes = history.changes();
  history.Add(File("two/f", 1));
  CHECK_EQUAL(history.changes(), changes);
  Remembered found;
  REQUIRE(history.Find(0, "f", 1, 2, &found));
  CHECK_EQUAL(found.path, "two/f");
  CHECK_EQUAL(history.size(), 1u);
}

TEST(TheOldestGoFirst) {
  History history(3);
  for (int i = 0; i < 5; ++i) history.Add(File("f" + std::to_string(i), 2));
  CHECK_EQUAL(history.size(), 3u);
  Remembered found;
  CHECK(!history.Find(0, "f1", 1, 2, &found));
  CHECK(history.Find(0, "f2", 1, 2, &found));
  CHECK(history.Find(0, "f4", 1, 2, &found));
  History none(0);
  none.Add(File("f", 1));
  CHECK_EQUAL(none.size(), 0u);
}

TEST(OtherVersionsAreFoundByTheirName) {
  History history(12);
  const uint64_t size = kFoundByName * 4;
  history.Add(File("one/f", 5, 7, size));
  history.Add(File("two/f", 5, 9, size * 2));
  history.Add(File("f", 1, 8, size / 2));
  history.Add(File("large/f", 7, 10, size * 2 + 2));
  history.Add(File("small/f", 7, 10, size / 2 - 1));
  history.Add(File("one/ff", 6, 10, size));
  history.Add(File("share/f", 7, 10, size, 1));
  std::vector<Remembered> found = history.FindName(0, "f", size);
  REQUIRE(found.size() == 3u);
  CHECK_EQUAL(found[0].path, "two/f");
  CHECK_EQUAL(found[1].path, "f");
  CHECK_EQUAL(found[2].path, "one/f");
  CHECK(history.FindName(0, "one/f", size).empty());
  CHECK(history.FindName(0, "f", kFoundByName - 1).empty());
  // What is forgotten is found no more, neither are the first of many.
  for (int i = 0; i < 9; ++i) history.Add(File(std::to_string(i) + "/g", 3, 1, size));
  found = history.FindName(0, "f", size);
  REQUIRE(found.empty());
  found = history.FindName(0, "g", size);
  REQUIRE(found.size() == 8u);
  CHECK_EQUAL(found[0].path, "8/g");
  CHECK_EQUAL(found[7].path, "1/g");
  for (int i = 0; i < 12; ++i) history.Add(File("h" + std::to_string(i), 2));
  CHECK(history.FindName(0, "g", size).empty());
}

TEST(ContentIsFoundByItsDigest) {
  History history(2);
  Remembered file = File("a", 1);
  file.md5[0] = 7;
  history.Add(file);
  Remembered found;
  CHECK(history.FindDigest(0, file.md5, 2, &found));
  CHECK(!history.FindDigest(0, file.md5, 3, &found));
  CHECK(!history.FindDigest(1, file.md5, 2, &found));
  Remembered same = File("b", 1);
  same.md5 = file.md5;
  history.Add(same);
  CHECK(history.FindDigest(0, file.md5, 2, &found));
  CHECK_EQUAL(found.path, "b");
  history.Add(File("c", 1));
  history.Add(File("d", 1));
  CHECK(!history.FindDigest(0, file.md5, 2, &found));
}

std::string Utf16(const std::string& text) {
  std::string wide;
  for (char c : text) {
    wide.push_back(c);
    wide.push_back('\0');
  }
  return wide;
}

struct SavedPlace {
  SavedPlace() {
    MakeFolder(folder / "share");
    shares.Add("s", folder / "share");
  }
  std::string WirePath(std::string below) {
    std::string path = folder / "share" + "/" + below;
    for (char& c : path) c = c == '/' ? '\\' : c;
    return path;
  }
  // A record as the format has it.
  std::string Record(const std::string& path, size_t key, uint64_t size, uint64_t mtime, char md5) {
    std::string bytes;
    PutNumber<uint16_t>(&bytes, static_cast<uint16_t>(2 * path.size()));
    PutNumber<uint16_t>(&bytes, static_cast<uint16_t>(key));
    bytes += Utf16(path);
    PutNumber<uint64_t>(&bytes, size);
    PutNumber<uint64_t>(&bytes, mtime);
    return bytes + std::string(16, md5);
  }
  std::string database() { return folder / "link.db"; }

  Folder folder;
  Shares shares;
};

const std::string kCookie("eacopydb003\0", 12);
const std::string kEnd("\0\0", 2);

TEST(TheDatabaseHasTheFormatsBytes) {
  SavedPlace place;
  History history(10);
  history.Add(File("copy/dir/name", 8, 133486382451234567, 5));
  Remembered with_md5 = File("other", 5, 2, 6);
  with_md5.md5.fill(9);
  history.Add(with_md5);
  history.Add(File("back\\slash", 10));  // the format cannot say it
  history.Add(File(std::string(3000, 'x'), 3000));
  REQUIRE(SaveLinkDatabase(place.database(), PathsIn(place.shares), &history, true, nullptr).ok());
  CHECK_EQUAL(test::Read(place.database()),
              kCookie + place.Record(place.WirePath("copy/dir/name"), 8, 5, 133486382451234567, 0) +
                  place.Record(place.WirePath("other"), 5, 6, 2, 9) + kEnd);
  CHECK_EQUAL(test::ModeOf(place.database()), 0600u);

  History again(10);
  bool complete = false;
  REQUIRE(LoadLinkDatabase(place.database(), PathsIn(place.shares), &again, &complete).ok());
  CHECK(complete);
  Remembered found;
  REQUIRE(again.Find(0, "dir/name", 133486382451234567, 5, &found));
  CHECK_EQUAL(found.path, "copy/dir/name");
  CHECK(again.FindDigest(0, with_md5.md5, 6, &found));
}

TEST(WalksGoOnWhileTheHistoryChanges) {
  History history(4);
  for (int i = 0; i < 4; ++i) history.Add(File(std::string(1, static_cast<char>('a' + i)), 1));
  std::vector<Remembered> slice;
  history.Rewind();
  history.Next(1, &slice);
  REQUIRE(slice.size() == 1);
  CHECK_EQUAL(slice[0].path, "a");
  history.Add(File("e", 1));  // "a" goes
  history.Add(File("f", 1));  // and so does the one that is next
  std::string found;
  do {
    history.Next(2, &slice);
    for (const Remembered& file : slice) found += file.path;
  } while (!slice.empty());
  CHECK_EQUAL(found, "cdef");
}

TEST(ManyFilesAreSavedInSlicesAndTheOldDatabaseStaysWhenThatIsStopped) {
  SavedPlace place;
  constexpr size_t kMany = 30000;  // several writes
  History history(kMany);
  for (size_t i = 0; i < kMany; ++i) {
    const std::string path = "some directory/with files/number " + std::to_string(i);
    history.Add(File(path, path.size()));
  }
  test::Write(place.database(), "old");
  const std::atomic<bool> stop{true};
  CHECK(SaveLinkDatabase(place.database(), PathsIn(place.shares), &history, true, &stop).cancelled());
  CHECK_EQUAL(test::Read(place.database()), "old");
  REQUIRE(SaveLinkDatabase(place.database(), PathsIn(place.shares), &history, false, nullptr).ok());
  History again(kMany);
  bool complete = false;
  REQUIRE(LoadLinkDatabase(place.database(), PathsIn(place.shares), &again, &complete).ok());
  CHECK(complete);
  CHECK_EQUAL(again.size(), kMany);
}

TEST(ANewDatabaseIsEmpty) {
  SavedPlace place;
  History history(10);
  bool complete = false;
  CHECK(LoadLinkDatabase(place.database(), PathsIn(place.shares), &history, &complete).ok());
  CHECK(complete);
}

TEST(WhatIsOutsideOfTheSharesIsNotBelieved) {
  SavedPlace place;
  std::string outside = place.WirePath("x");
  outside.replace(outside.find("share"), 5, "other");
  test::Write(place.database(), kCookie + place.Record(outside, 1, 1, 1, 0) +
                                    place.Record("C:\\windows\\file", 4, 1, 1, 0) +
                                    place.Record(place.WirePath("a/../../x"), 1, 1, 1, 0) +
                                    place.Record(place.WirePath("halfname"), 4, 1, 1, 0) +
                                    place.Record(place.WirePath("good"), 4, 1, 1, 0) + kEnd);
  History history(10);
  bool complete = false;
  CHECK(LoadLinkDatabase(place.database(), PathsIn(place.shares), &history, &complete).ok());
  CHECK(complete);
  CHECK_EQUAL(history.size(), 1u);
}

TEST(ADamagedDatabaseIsReadAsFarAsItGoes) {
  SavedPlace place;
  const std::string good = kCookie + place.Record(place.WirePath("good"), 4, 1, 1, 0);
  const std::string whole = good + place.Record(place.WirePath("more"), 4, 1, 1, 0) + kEnd;
  for (size_t size = 0; size < whole.size(); ++size) {
    test::Write(place.database(), whole.substr(0, size));
    History history(10);
    bool complete = true;
    CHECK(LoadLinkDatabase(place.database(), PathsIn(place.shares), &history, &complete).ok());
    CHECK(!complete);
    CHECK_EQUAL(history.size(), size < good.size() ? 0u : size < whole.size() - 2 ? 1u : 2u);
  }
  test::Write(place.database(), "eacopydb002" + whole.substr(11));
  History history(10);
  bool complete = true;
  CHECK(LoadLinkDatabase(place.database(), PathsIn(place.shares), &history, &complete).ok());
  CHECK(!complete && history.size() == 0);
}

TEST(ADatabaseIsBounded) {
  SavedPlace place;
  std::string bytes = kCookie;
  for (int i = 0; i < 100; ++i) bytes += place.Record(place.WirePath("f" + std::to_string(100 + i)), 4, 1, 1, 0);
  test::Write(place.database(), bytes + kEnd);
  History history(20);
  bool complete = false;
  CHECK(LoadLinkDatabase(place.database(), PathsIn(place.shares), &history, &complete).ok());
  CHECK_EQUAL(history.size(), 20u);
}

}  // namespace
}  // namespace net
}  // namespace eacopy
