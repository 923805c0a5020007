// The Windows implementation of the platform interface, against the file system of this machine. What the file system
// (or Wine, which stands in for Windows on other machines) cannot do is skipped by name.

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "monitor.h"
#include "windows/clone.h"
#include "windows/internal.h"
#include "windows/wtf8.h"

using eacopy::Metadata;
using eacopy::Method;
using eacopy::Monitor;
using eacopy::Operation;
using eacopy::Options;
using eacopy::Reflink;
using eacopy::Status;
using namespace eacopy::platform;

namespace {

class CountingMonitor : public Monitor {
 public:
  explicit CountingMonitor(const std::atomic<bool>* cancelled = nullptr) : Monitor(cancelled) {}
  void Advance(uint64_t bytes) override {
    copied += bytes;
    if (at_advance) at_advance();
  }
  uint64_t copied = 0;
  void (*at_advance)() = nullptr;
};

std::wstring Wide(const std::string& bytes) {
  std::wstring wide;
  AppendWide(bytes.data(), bytes.size(), &wide);
  return wide;
}

// Removes what is in a directory, links as links.
void Empty(const Directory& directory) {
  Listing listing;
  if (!ListDirectory(directory, &listing).ok()) return;
  for (size_t i = 0; i < listing.size(); ++i) {
    if (listing.type(i) != FileType::kDirectory) {
      CHECK(RemoveFile(directory, listing.name(i)).ok());
      continue;
    }
    Directory child;
    CHECK(OpenDirectory(directory, listing.name(i), false, &child).ok());
    Empty(child);
    child.Close();
    Location at;
    OpenMode mode{DELETE};
    mode.options = FILE_DIRECTORY_FILE;
    Handle handle;
    CHECK_EQUAL(Locate(directory, listing.name(i), &at), 0);
    CHECK_EQUAL(Open(at, mode, &handle), 0);
    CHECK(NT_SUCCESS(MarkForRemoval(handle.get())));
  }
}

// A directory of a test's own, gone afterwards.
class Place {
 public:
  Place() {
    wchar_t temporary[MAX_PATH + 1];
    const DWORD length = ::GetTempPathW(MAX_PATH, temporary);
    unsigned char random[8];
    RandomBytes(random, sizeof(random));
    AppendWtf8(temporary, length, &path_);
    path_ += "eacopy-test-";
    for (unsigned char byte : random) {
      path_ += static_cast<char>('a' + byte % 16);
      path_ += static_cast<char>('a' + byte / 16);
    }
    CHECK(MakeDirectory(Directory::Paths(), path_.c_str()).ok());
    CHECK(OpenDirectory(Directory::Paths(), path_.c_str(), true, &directory_).ok());
  }
  ~Place() {
    directory_.Close();
    Directory all;  // anew, because Wine lists an open directory as it was the first time
    CHECK(OpenDirectory(Directory::Paths(), path_.c_str(), true, &all).ok());
    Empty(all);
    all.Close();
    CHECK(::RemoveDirectoryW(Wide(path_).c_str()) != 0);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const Directory& directory() const { return directory_; }
  std::string Path(const std::string& name) const { return path_ + "\\" + name; }

  void Write(const std::string& name, const std::string& text) const {
    Handle file;
    CHECK(eacopy::platform::CreateFile(directory_, name.c_str(), 0666, &file).ok());
    size_t put = 0;
    CHECK_EQUAL(WriteAt(file.get(), 0, text.data(), text.size(), &put), 0);
    CHECK_EQUAL(put, text.size());
  }

  std::string Read(const std::string& name) const {
    Handle file;
    FileInfo info;
    if (!OpenSource(directory_, name.c_str(), true, &file, &info).ok()) return "cannot be opened";
    std::string text(static_cast<size_t>(info.size) + 1, '\0');
    size_t got = 0;
    CHECK_EQUAL(ReadAt(file.get(), 0, &text[0], text.size(), &got), 0);
    text.resize(got);
    return text;
  }

  bool Has(const std::string& name) const {
    FileInfo info;
    return GetInfo(directory_, name.c_str(), false, &info).ok();
  }

  void SetMode(const std::string& name, ULONG attributes) const {
    CHECK(::SetFileAttributesW(Wide(Path(name)).c_str(), attributes) != 0);
  }

  ULONG Mode(const std::string& name) const {
    FileInfo info;
    CHECK(GetInfo(directory_, name.c_str(), false, &info).ok());
    return info.mode;
  }

 private:
  std::string path_;
  Directory directory_;
};

// One file to another, as the engine would.
struct Copy {
  Status Run(const Place& place, const char* from, const char* to, Monitor& monitor) {
    Handle source, destination;
    FileInfo source_info;
    Status status = OpenSource(place.directory(), from, true, &source, &source_info);
    if (status.ok()) status = eacopy::platform::CreateFile(place.directory(), to, 0666, &destination);
    if (!status.ok()) return status;
    auto scratch = std::make_unique<Scratch>();
    const DataRequest request{source, source_info, destination, nullptr, options, 4, *scratch, monitor};
    status = CopyData(request, &method, &size);
    if (status.ok()) status = CompareData(source, destination, true, *scratch, monitor);
    return status;
  }
  Options options;
  Method method = Method::kSystem;
  uint64_t size = 0;
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

int Created(const Place& place, const char* name) {
  Handle file;
  return eacopy::platform::CreateFile(place.directory(), name, 0666, &file).error_number();
}

int Existing(const Place& place, const char* name) {
  Handle file;
  return OpenExisting(place.directory(), name, false, &file).error_number();
}

int Opened(const Place& place, const char* name, bool follow = true) {
  Handle file;
  FileInfo info;
  return OpenSource(place.directory(), name, follow, &file, &info).error_number();
}

int OpenedDirectory(const Place& place, const char* name, bool follow = true) {
  Directory directory;
  return OpenDirectory(place.directory(), name, follow, &directory).error_number();
}

bool IsWine() { return ::GetProcAddress(::GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != nullptr; }

}  // namespace

// Looking -------------------------------------------------------------------------------------------------------------

TEST(AFileIsSeenAsItIs) {
  Place place;
  place.Write("file", "12345");
  FileInfo by_name, by_handle;
  REQUIRE(GetInfo(place.directory(), "file", true, &by_name).ok());
  CHECK(by_name.type == FileType::kRegular);
  CHECK_EQUAL(by_name.size, 5u);
  CHECK(by_name.id.inode != 0);
  CHECK(by_name.modified.seconds > 1600000000);
  Handle file;
  REQUIRE(OpenSource(Directory::Paths(), place.Path("file").c_str(), false, &file, &by_handle).ok());
  CHECK(by_name.id == by_handle.id);
  FileInfo directory;
  REQUIRE(GetInfo(place.directory(), &directory).ok());
  CHECK(directory.type == FileType::kDirectory);
  CHECK_EQUAL(directory.size, 0u);
  CHECK(!(directory.id == by_name.id));
}

TEST(WhatIsNotThereIsToldSo) {
  Place place;
  place.Write("file", "");
  FileInfo info;
  CHECK_EQUAL(GetInfo(place.directory(), "none", true, &info).error_number(), ENOENT);
  CHECK_EQUAL(GetInfo(place.directory(), "none\\deeper", true, &info).error_number(), ENOENT);
  CHECK_EQUAL(GetInfo(place.directory(), "", true, &info).error_number(), ENOENT);
  CHECK_EQUAL(GetInfo(place.directory(), "file/", true, &info).error_number(), ENOTDIR);
  CHECK_EQUAL(GetInfo(place.directory(), std::string(300, 'x').c_str(), true, &info).error_number(), ENAMETOOLONG);
  CHECK_EQUAL(GetInfo(place.directory(), "a\xFF", true, &info).error_number(), EILSEQ);
  CHECK_EQUAL(Opened(place, "none"), ENOENT);
  CHECK_EQUAL(Opened(place, "none", false), ENOENT);
  CHECK_EQUAL(OpenedDirectory(place, "none"), ENOENT);
  CHECK_EQUAL(OpenedDirectory(place, "file"), ENOTDIR);
  CHECK_EQUAL(OpenedDirectory(place, "file", false), ENOTDIR);
  CHECK_EQUAL(Existing(place, "none"), ENOENT);
  CHECK_EQUAL(RemoveFile(place.directory(), "none").error_number(), ENOENT);
  CHECK_EQUAL(Rename(place.directory(), "none", "other").error_number(), ENOENT);
}

TEST(NamesAreLookedUpInTheOpenDirectory) {
  Place place;
  REQUIRE(MakeDirectory(place.directory(), "a").ok());
  REQUIRE(MakeDirectory(place.directory(), "a/b").ok());
  place.Write("a\\b\\file", "text");
  place.Write("a/../beside", "other");
  CHECK(place.Has("a/b/./file"));
  CHECK(place.Has("a\\b\\..\\b//file"));
  CHECK(place.Has("beside"));
  Directory a, again, above;
  REQUIRE(OpenDirectory(place.directory(), "a", false, &a).ok());
  REQUIRE(OpenDirectory(a, ".", false, &again).ok());
  REQUIRE(OpenParent(a, &above).ok());
  FileInfo of_a, of_again, of_above, of_place, through_dots;
  REQUIRE(GetInfo(a, &of_a).ok());
  REQUIRE(GetInfo(again, &of_again).ok());
  REQUIRE(GetInfo(above, &of_above).ok());
  REQUIRE(GetInfo(place.directory(), &of_place).ok());
  CHECK(of_a.id == of_again.id);
  CHECK(of_above.id == of_place.id);
  REQUIRE(GetInfo(a, "../beside", true, &through_dots).ok());
  CHECK_EQUAL(through_dots.size, 5u);
  // An absolute path leads where it says, whatever directory is given.
  CHECK(GetInfo(a, place.Path("beside").c_str(), true, &through_dots).ok());
}

TEST(TheDirectoryAboveARootIsTheRoot) {
  Directory root, above;
  REQUIRE(OpenDirectory(Directory::Paths(), "C:\\", true, &root).ok());
  REQUIRE(OpenParent(root, &above).ok());
  FileInfo a, b;
  CHECK(GetInfo(root, &a).ok() && GetInfo(above, &b).ok() && a.id == b.id);
}

TEST(AllNamesAreListed) {
  Place place;
  const std::string lone_surrogate =
      "\xED\xA0\xBD"
      "x";
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  place.Write("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80", "");
  const bool surrogates = Created(place, lone_surrogate.c_str()) == 0;
  if (!surrogates) std::printf("  skipped in part: no lone surrogates on this file system\n");
  for (int i = 0; i < 1500; ++i)
    place.Write("file with quite a long name to fill more than one answer " + std::to_string(i), "");
  for (int round = 0; round < 2; ++round) {  // a second listing begins at the beginning
    Listing listing;
    REQUIRE(ListDirectory(place.directory(), &listing).ok());
    CHECK_EQUAL(listing.size(), surrogates ? 1503u : 1502u);
    int directories = 0, regular = 0, special = 0;
    for (size_t i = 0; i < listing.size(); ++i) {
      directories += listing.type(i) == FileType::kDirectory;
      regular += listing.type(i) == FileType::kRegular;
      special += listing.name(i) == std::string("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80");
      special += listing.name(i) == lone_surrogate;
    }
    CHECK_EQUAL(directories, 1);
    CHECK_EQUAL(regular, surrogates ? 1502 : 1501);
    CHECK_EQUAL(special, surrogates ? 2 : 1);
  }
  REQUIRE(MakeDirectory(place.directory(), "empty").ok());
  Directory empty;
  REQUIRE(OpenDirectory(place.directory(), "empty", false, &empty).ok());
  Listing listing;
  CHECK(ListDirectory(empty, &listing).ok());
  CHECK_EQUAL(listing.size(), 0u);
}

TEST(AClosedHandleIsClosedOnce) {
  Place place;
  place.Write("file", "");
  Handle file;
  FileInfo info;
  REQUIRE(OpenSource(place.directory(), "file", true, &file, &info).ok());
  CHECK_EQUAL(file.Close(), 0);
  CHECK(!file.valid());
  CHECK_EQUAL(file.Close(), 0);
  CHECK(Directory::Paths().valid());
}

// Opening and making
// ----------------------------------------------------------------------------------------------------

TEST(WhatExistsIsNotCreated) {
  Place place;
  place.Write("file", "old");
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  CHECK_EQUAL(Created(place, "file"), EEXIST);
  CHECK_EQUAL(Created(place, "FILE"), EEXIST);
  CHECK_EQUAL(Created(place, "directory"), EEXIST);
  CHECK_EQUAL(Created(place, "none/"), EISDIR);
  CHECK_EQUAL(Created(place, "none/file"), ENOENT);
  CHECK_EQUAL(Existing(place, "directory"), EISDIR);
  CHECK_EQUAL(Existing(place, "directory/"), EISDIR);
  CHECK_EQUAL(MakeDirectory(place.directory(), "directory").error_number(), EEXIST);
  CHECK_EQUAL(MakeDirectory(place.directory(), "file").error_number(), EEXIST);
  CHECK_EQUAL(MakeDirectory(place.directory(), "none/deeper").error_number(), ENOENT);
  CHECK_EQUAL(MakeDirectory(Directory::Paths(), "C:\\").error_number(), EEXIST);
  CHECK_EQUAL(place.Read("file"), std::string("old"));
}

TEST(ADirectoryAsASourceIsToldByItsType) {
  Place place;
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  Handle file;
  FileInfo info;
  CHECK(OpenSource(place.directory(), "directory", true, &file, &info).ok());
  CHECK(info.type == FileType::kDirectory);
}

TEST(AFileThatIsBeingMadeIsNobodyElsesToWriteTo) {
  Place place;
  Handle file;
  REQUIRE(eacopy::platform::CreateFile(place.directory(), "file", 0666, &file).ok());
  CHECK_EQUAL(Opened(place, "file"), 0);
  CHECK_EQUAL(Existing(place, "file"), EBUSY);
  file.Close();
  CHECK_EQUAL(Existing(place, "file"), 0);
}

TEST(AReadOnlyFileCanBeWrittenOver) {
  Place place;
  place.Write("file", "old text");
  place.SetMode("file", FILE_ATTRIBUTE_READONLY);
  Handle file;
  REQUIRE(OpenExisting(place.directory(), "file", true, &file).ok());
  CHECK(Truncate(file, 0).ok());
  file.Close();
  CHECK_EQUAL(place.Read("file"), std::string());
}

TEST(TruncatingCutsAndExtends) {
  Place place;
  place.Write("file", "12345");
  Handle file;
  FileInfo info;
  REQUIRE(OpenExisting(place.directory(), "file", true, &file).ok());
  CHECK(Truncate(file, 2).ok());
  CHECK(GetInfo(file, &info).ok());
  CHECK_EQUAL(info.size, 2u);
  CHECK(Truncate(file, 4).ok());
  file.Close();
  CHECK_EQUAL(place.Read("file"), std::string("12\0\0", 4));
}

TEST(RenamingReplaces) {
  Place place;
  place.Write("new", "new");
  place.Write("old", "old");
  CHECK(Rename(place.directory(), "new", "old").ok());
  CHECK(!place.Has("new"));
  CHECK_EQUAL(place.Read("old"), std::string("new"));
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  CHECK(Rename(place.directory(), "old", "directory\\moved").ok());
  CHECK_EQUAL(place.Read("directory/moved"), std::string("new"));
  // With plain paths too.
  CHECK(Rename(Directory::Paths(), place.Path("directory/moved").c_str(), place.Path("back").c_str()).ok());
  CHECK_EQUAL(place.Read("back"), std::string("new"));
  CHECK_EQUAL(Rename(place.directory(), "back", "directory").error_number(), EISDIR);
  CHECK(place.Has("back"));
}

TEST(RenamingReplacesReadOnlyFiles) {
  Place place;
  place.Write("new", "new");
  place.Write("old", "old");
  place.SetMode("old", FILE_ATTRIBUTE_READONLY);
  CHECK(Rename(place.directory(), "new", "old").ok());
  CHECK_EQUAL(place.Read("old"), std::string("new"));
  CHECK_EQUAL(place.Mode("old") & FILE_ATTRIBUTE_READONLY, 0u);
}

TEST(ReadOnlyFilesAreRemoved) {
  Place place;
  place.Write("file", "");
  place.SetMode("file", FILE_ATTRIBUTE_READONLY);
  CHECK(RemoveFile(place.directory(), "file").ok());
  CHECK(!place.Has("file"));
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  CHECK_EQUAL(RemoveFile(place.directory(), "directory").error_number(), EISDIR);
  CHECK(place.Has("directory"));
}

namespace {

// Keeps a file open for itself alone, and lets go of it after a while.
DWORD WINAPI LetGo(void* handle) {
  ::Sleep(30);
  ::CloseHandle(handle);
  return 0;
}

}  // namespace

TEST(AShortLockIsWaitedFor) {
  Place place;
  place.Write("file", "text");
  for (int what = 0; what < 3; ++what) {
    HANDLE lock = ::CreateFileW(Wide(place.Path("file")).c_str(), GENERIC_READ, 0, nullptr, OPEN_EXISTING, 0, nullptr);
    REQUIRE(lock != INVALID_HANDLE_VALUE);
    Handle thread(::CreateThread(nullptr, 0, LetGo, lock, 0, nullptr));
    if (what == 0) CHECK_EQUAL(Opened(place, "file"), 0);
    if (what == 1) CHECK_EQUAL(Existing(place, "file"), 0);
    if (what == 2) CHECK(RemoveFile(place.directory(), "file").ok());
    ::WaitForSingleObject(thread.get(), INFINITE);
  }
}

TEST(ALongLockIsAnError) {
  Place place;
  place.Write("file", "text");
  Handle lock(::CreateFileW(Wide(place.Path("file")).c_str(), GENERIC_READ, 0, nullptr, OPEN_EXISTING, 0, nullptr));
  REQUIRE(lock.valid());
  CHECK_EQUAL(Opened(place, "file"), EBUSY);
  FileInfo info;
  CHECK(GetInfo(place.directory(), "file", true, &info).ok());
}

TEST(PathsLongerThanTheOldLimitWork) {
  Place place;
  const std::string part(100, 'd');
  std::string path;
  for (int i = 0; i < 20; ++i) {
    path += (i == 0 ? "" : "\\") + part;
    REQUIRE(MakeDirectory(Directory::Paths(), place.Path(path).c_str()).ok());
  }
  place.Write(path + "\\file", "deep");
  CHECK_EQUAL(place.Read(path + "\\file"), std::string("deep"));
  FileInfo info;
  CHECK(GetInfo(Directory::Paths(), place.Path(path + "\\file").c_str(), true, &info).ok());
  // From below upwards and down again.
  if (IsWine()) SKIP("Wine does not tell the path of a handle when it is long");
  Directory deep, above;
  REQUIRE(OpenDirectory(Directory::Paths(), place.Path(path).c_str(), false, &deep).ok());
  CHECK(OpenParent(deep, &above).ok());
  CHECK(GetInfo(above, (part + "/file").c_str(), true, &info).ok());
}

TEST(TheNullDeviceIsADevice) {
  FileInfo info;
  REQUIRE(GetInfo(Directory::Paths(), "NUL", true, &info).ok());
  CHECK(info.type == FileType::kDevice);
  Handle device;
  CHECK(OpenExisting(Directory::Paths(), "NUL", false, &device).ok());
  CHECK(GetInfo(device, &info).ok());
  CHECK(info.type == FileType::kDevice);
}

// Links
// -------------------------------------------------------------------------------------------------------------------

TEST(SymbolicLinksAreSeenAndFollowed) {
  Place place;
  place.Write("file", "text");
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  Status made = MakeSymlink("file", place.directory(), "link", false);
  if (made.error_number() == EPERM) SKIP("this user may not make symbolic links");
  CHECK(made.ok());
  if (!place.Has("link")) SKIP("this file system takes no symbolic links");
  CHECK(MakeSymlink("directory", place.directory(), "directory link", true).ok());
  CHECK(MakeSymlink("none", place.directory(), "dangling", false).ok());
  CHECK(MakeSymlink("loop", place.directory(), "loop", false).ok());
  CHECK(MakeSymlink(place.Path("file"), place.directory(), "absolute", false).ok());
  std::string target;
  CHECK(ReadLink(place.directory(), "link", &target).ok());
  CHECK_EQUAL(target, std::string("file"));
  CHECK(ReadLink(place.directory(), "absolute", &target).ok());
  CHECK_EQUAL(target, place.Path("file"));
  CHECK_EQUAL(ReadLink(place.directory(), "file", &target).error_number(), EINVAL);
  FileInfo info;
  CHECK(GetInfo(place.directory(), "link", false, &info).ok() && info.type == FileType::kSymlink);
  CHECK(GetInfo(place.directory(), "link", true, &info).ok() && info.type == FileType::kRegular);
  CHECK(GetInfo(place.directory(), "directory link", false, &info).ok() && info.type == FileType::kSymlink);
  CHECK(GetInfo(place.directory(), "directory link/", false, &info).ok() && info.type == FileType::kDirectory);
  CHECK_EQUAL(GetInfo(place.directory(), "dangling", true, &info).error_number(), ENOENT);
  CHECK_EQUAL(GetInfo(place.directory(), "loop", true, &info).error_number(), ELOOP);
  CHECK_EQUAL(Opened(place, "link", false), ELOOP);
  CHECK_EQUAL(OpenedDirectory(place, "directory link", false), ENOTDIR);
  CHECK_EQUAL(OpenedDirectory(place, "directory link", true), 0);
  CHECK_EQUAL(MakeSymlink("file", place.directory(), "link", false).error_number(), EEXIST);
  CHECK(GetInfo(place.directory(), "link", false, &info).ok());
  info.modified = {1000000000, 100};
  CHECK(CopyLinkMetadata(place.directory(), "link", info, place.directory(), "link").ok());
  CHECK(GetInfo(place.directory(), "link", false, &info).ok());
  CHECK_EQUAL(info.modified.seconds, 1000000000);
  CHECK(RemoveFile(place.directory(), "directory link").ok());
  CHECK(place.Has("directory"));
}

TEST(JunctionsAreLinksAndStayJunctions) {
  Place place;
  REQUIRE(MakeDirectory(place.directory(), "directory").ok());
  place.Write("directory/file", "text");
  const std::string target = "\\??\\" + place.Path("directory");
  Status made = MakeSymlink(target, place.directory(), "junction", true);
  if (made.error_number() == ENOTSUP || (IsWine() && !made.ok())) {
    CHECK(!place.Has("junction"));
    SKIP("this file system takes no junctions");
  }
  REQUIRE(made.ok());
  std::string found;
  CHECK(ReadLink(place.directory(), "junction", &found).ok());
  CHECK_EQUAL(found, target);
  FileInfo info;
  CHECK(GetInfo(place.directory(), "junction", false, &info).ok() && info.type == FileType::kSymlink);
  CHECK_EQUAL(OpenedDirectory(place, "junction", false), ENOTDIR);
  CHECK_EQUAL(place.Read("junction/file"), std::string("text"));
  Listing listing;
  CHECK(ListDirectory(place.directory(), &listing).ok());
  for (size_t i = 0; i < listing.size(); ++i) {
    if (listing.name(i) == std::string("junction")) CHECK(listing.type(i) == FileType::kSymlink);
  }
  CHECK(RemoveFile(place.directory(), "junction").ok());
  CHECK(place.Has("directory/file"));
}

// Copying
// -------------------------------------------------------------------------------------------------------------------

TEST(DataIsCopiedWhateverItsSize) {
  Place place;
  for (size_t size : {0u, 1u, 4096u, 65535u, 65536u, 65537u, 1048575u, 1048576u, 1048577u, 5000000u}) {
    const std::string name = std::to_string(size);
    const std::string text = Pattern(size);
    place.Write(name, text);
    Copy copy;
    CountingMonitor monitor;
    CHECK(copy.Run(place, name.c_str(), (name + " copy").c_str(), monitor).ok());
    CHECK_EQUAL(copy.size, size);
    CHECK_EQUAL(monitor.copied, size);
    CHECK(place.Read(name + " copy") == text);
  }
}

TEST(SmallBuffersCopyToo) {
  Place place;
  place.Write("file", Pattern(10000));
  for (uint64_t buffer_size : {1u, 7u, 4096u}) {
    Copy copy;
    copy.options.buffer_size = buffer_size;
    CountingMonitor monitor;
    const std::string name = "copy " + std::to_string(buffer_size);
    CHECK(copy.Run(place, "file", name.c_str(), monitor).ok());
    CHECK(place.Read(name) == place.Read("file"));
  }
}

TEST(ALongCopyIsCancelled) {
  Place place;
  place.Write("file", Pattern(8u << 20));
  static std::atomic<bool> cancelled;
  cancelled = false;
  CountingMonitor monitor(&cancelled);
  monitor.at_advance = [] { cancelled = true; };
  Copy copy;
  CHECK(copy.Run(place, "file", "copy", monitor).cancelled());
  CHECK(monitor.copied < (4u << 20));
}

TEST(ASourceThatShrinksEndsTheCopy) {
  Place place;
  const std::string text = Pattern(4u << 20);
  place.Write("file", text);
  static Handle* writer;
  Handle file;
  REQUIRE(OpenExisting(place.directory(), "file", false, &file).ok());
  writer = &file;
  CountingMonitor monitor;
  monitor.at_advance = [] { Truncate(*writer, 2500000); };
  Copy copy;
  Status status = copy.Run(place, "file", "copy", monitor);
  CHECK(status.ok());
  CHECK_EQUAL(copy.size, 2500000u);
  CHECK(place.Read("copy") == text.substr(0, 2500000));
}

TEST(ASourceThatGrowsIsCopiedToItsEnd) {
  Place place;
  place.Write("file", Pattern(2u << 20));
  static Handle* writer;
  static bool grown;
  grown = false;
  Handle file;
  REQUIRE(OpenExisting(place.directory(), "file", false, &file).ok());
  writer = &file;
  CountingMonitor monitor;
  monitor.at_advance = [] {
    size_t put = 0;
    if (!grown) CHECK_EQUAL(WriteAt(writer->get(), 2u << 20, "and more", 8, &put), 0);
    grown = true;
  };
  Copy copy;
  CHECK(copy.Run(place, "file", "copy", monitor).ok());
  CHECK_EQUAL(copy.size, (2u << 20) + 8u);
  CHECK(place.Read("copy") == place.Read("file"));
}

TEST(AnOlderLongerFileIsCutOff) {
  Place place;
  place.Write("file", "new");
  place.Write("old", "something longer");
  Handle source, destination;
  FileInfo source_info, destination_info;
  REQUIRE(OpenSource(place.directory(), "file", true, &source, &source_info).ok());
  REQUIRE(OpenExisting(place.directory(), "old", false, &destination).ok());
  REQUIRE(GetInfo(destination, &destination_info).ok());
  CountingMonitor monitor;
  Options options;
  auto scratch = std::make_unique<Scratch>();
  const DataRequest request{source, source_info, destination, &destination_info, options, 1, *scratch, monitor};
  Method method;
  uint64_t size = 0;
  CHECK(CopyData(request, &method, &size).ok());
  destination.Close();
  CHECK_EQUAL(place.Read("old"), std::string("new"));
}

TEST(TheNullDeviceTakesEverything) {
  Place place;
  place.Write("file", Pattern(3000000));
  Handle source, destination;
  FileInfo source_info, destination_info;
  REQUIRE(OpenSource(place.directory(), "file", true, &source, &source_info).ok());
  REQUIRE(OpenExisting(Directory::Paths(), "NUL", false, &destination).ok());
  REQUIRE(GetInfo(destination, &destination_info).ok());
  CountingMonitor monitor;
  Options options;
  auto scratch = std::make_unique<Scratch>();
  const DataRequest request{source, source_info, destination, &destination_info, options, 1, *scratch, monitor};
  Method method;
  uint64_t size = 0;
  CHECK(CopyData(request, &method, &size).ok());
  CHECK_EQUAL(size, 3000000u);
  CHECK(CopyMetadata(source, source_info, destination, Metadata::kStat, false).ok());
}

TEST(HolesStayHoles) {
  Place place;
  const uint64_t end = 64u << 20;
  {
    Handle file;
    REQUIRE(eacopy::platform::CreateFile(place.directory(), "file", 0666, &file).ok());
    if (!MakeSparse(file.get())) SKIP("this file system has no sparse files");
    size_t put = 0;
    CHECK_EQUAL(WriteAt(file.get(), 10u << 20, "data", 4, &put), 0);
    CHECK(Truncate(file, end).ok());
    FileInfo info;
    REQUIRE(GetInfo(file, &info).ok());
    if ((info.mode & FILE_ATTRIBUTE_SPARSE_FILE) == 0) SKIP("this file system has no sparse files");
  }
  Copy copy;
  CountingMonitor monitor;
  CHECK(copy.Run(place, "file", "copy", monitor).ok());
  CHECK_EQUAL(copy.size, end);
  CHECK_EQUAL(monitor.copied, end);
  FileInfo info;
  REQUIRE(GetInfo(place.directory(), "copy", true, &info).ok());
  CHECK_EQUAL(info.size, end);
  CHECK(info.allocated < (1u << 20));
}

TEST(ReflinkIsAlwaysOrAnError) {
  Place place;
  const std::string text = Pattern(100000);
  place.Write("file", text);
  Copy copy;
  copy.options.reflink = Reflink::kAlways;
  CountingMonitor monitor;
  Status status = copy.Run(place, "file", "copy", monitor);
  if (status.ok()) {
    CHECK(copy.method == Method::kClone);
    CHECK(place.Read("copy") == text);
  } else {
    CHECK(status.kind() == eacopy::Kind::kUnsupported);
    CHECK(status.operation() == Operation::kClone);
    CHECK_EQUAL(place.Read("copy"), std::string());  // which the engine then removes
  }
  copy.options.reflink = Reflink::kNever;
  CHECK(copy.Run(place, "file", "other copy", monitor).ok());
  CHECK(copy.method == Method::kReadWrite);
}

TEST(ADifferenceIsFound) {
  Place place;
  std::string text = Pattern(3000000);
  place.Write("a", text);
  text[2222222] ^= 1;
  place.Write("b", text);
  place.Write("shorter", place.Read("a").substr(0, 2000000));
  Handle a, b, shorter;
  FileInfo info;
  REQUIRE(OpenSource(place.directory(), "a", true, &a, &info).ok());
  REQUIRE(OpenExisting(place.directory(), "b", true, &b).ok());
  REQUIRE(OpenExisting(place.directory(), "shorter", true, &shorter).ok());
  auto scratch = std::make_unique<Scratch>();
  CountingMonitor monitor;
  Status status = CompareData(a, b, true, *scratch, monitor);
  CHECK(status.operation() == Operation::kVerify);
  CHECK_EQUAL(status.error_number(), 0);
  CHECK_EQUAL(status.offset(), 2222222u);
  status = CompareData(a, shorter, true, *scratch, monitor);
  CHECK(status.operation() == Operation::kVerify);
  CHECK_EQUAL(status.offset(), 2000000u);
}

// Metadata
// -------------------------------------------------------------------------------------------------------------------

TEST(TimesAndAttributesAreCopied) {
  Place place;
  place.Write("a", "x");
  place.Write("b", "x");
  place.SetMode("a", FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_ARCHIVE);
  Handle a, b;
  FileInfo source, info;
  REQUIRE(OpenSource(place.directory(), "a", true, &a, &source).ok());
  source.accessed = {1234567890, 123456700};
  source.modified = {-1000000000, 987654300};  // 1938
  REQUIRE(OpenExisting(place.directory(), "b", false, &b).ok());
  CHECK(CopyMetadata(a, source, b, Metadata::kStat, false).ok());
  b.Close();
  REQUIRE(GetInfo(place.directory(), "b", true, &info).ok());
  CHECK_EQUAL(info.modified.seconds, source.modified.seconds);
  CHECK_EQUAL(info.modified.nanoseconds, source.modified.nanoseconds);
  if (!IsWine()) {  // which reads the file on opening it, and so changes this time again
    CHECK_EQUAL(info.accessed.seconds, source.accessed.seconds);
    CHECK_EQUAL(info.accessed.nanoseconds, source.accessed.nanoseconds);
  }
  CHECK((info.mode & FILE_ATTRIBUTE_READONLY) != 0);
  CHECK_EQUAL(info.mode & FILE_ATTRIBUTE_HIDDEN, place.Mode("a") & FILE_ATTRIBUTE_HIDDEN);
}

TEST(TheModeIsWhetherItMayBeWrittenTo) {
  Place place;
  place.Write("a", "x");
  place.Write("b", "x");
  Handle a, b;
  FileInfo source, before, after;
  REQUIRE(OpenSource(place.directory(), "a", true, &a, &source).ok());
  REQUIRE(OpenExisting(place.directory(), "b", false, &b).ok());
  REQUIRE(GetInfo(b, &before).ok());
  source.mode |= FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_HIDDEN;
  source.modified = {1000000000, 0};
  CHECK(CopyMetadata(a, source, b, Metadata::kMode, false).ok());
  REQUIRE(GetInfo(b, &after).ok());
  CHECK_EQUAL(after.mode, before.mode | FILE_ATTRIBUTE_READONLY);
  CHECK_EQUAL(after.modified.seconds, before.modified.seconds);
  source.mode &= ~static_cast<ULONG>(FILE_ATTRIBUTE_READONLY);
  CHECK(CopyMetadata(a, source, b, Metadata::kMode, false).ok());
  CHECK_EQUAL(place.Mode("b") & FILE_ATTRIBUTE_READONLY, 0u);
  CHECK(CopyMetadata(a, source, b, Metadata::kNone, false).ok());
}

TEST(DirectoriesGetTheirTimes) {
  Place place;
  REQUIRE(MakeDirectory(place.directory(), "a").ok());
  REQUIRE(MakeDirectory(place.directory(), "b").ok());
  Directory a, b;
  REQUIRE(OpenDirectory(place.directory(), "a", false, &a).ok());
  REQUIRE(OpenDirectory(place.directory(), "b", false, &b).ok());
  FileInfo source, info;
  REQUIRE(GetInfo(a, &source).ok());
  source.modified = {1000000000, 500};
  CHECK(CopyMetadata(a, source, b).ok());
  REQUIRE(GetInfo(b, &info).ok());
  CHECK(info.type == FileType::kDirectory);
  CHECK_EQUAL(info.modified.seconds, 1000000000);
  CHECK_EQUAL(info.modified.nanoseconds, 500);
  CHECK(Sync(b).ok());
}

TEST(AlternateStreamsAreCopied) {
  Place place;
  place.Write("a", "data");
  place.Write("b", "data");
  Handle stream;
  if (!eacopy::platform::CreateFile(Directory::Paths(), place.Path("a:mark").c_str(), 0666, &stream).ok() || IsWine()) {
    stream.Close();
    if (place.Has("a:mark")) RemoveFile(place.directory(), "a:mark");
    SKIP("this file system has no alternate data streams");
  }
  const std::string text = Pattern(200000);
  size_t put = 0;
  CHECK_EQUAL(WriteAt(stream.get(), 0, text.data(), text.size(), &put), 0);
  stream.Close();
  Handle a, b;
  FileInfo source;
  REQUIRE(OpenSource(place.directory(), "a", true, &a, &source).ok());
  REQUIRE(OpenExisting(place.directory(), "b", false, &b).ok());
  CHECK(CopyMetadata(a, source, b, Metadata::kStat, false).ok());
  CHECK(place.Read("b:mark") == text);
  CHECK_EQUAL(place.Read("b"), std::string("data"));
}

TEST(SyncAndFreeSpaceAnswer) {
  Place place;
  Handle file;
  REQUIRE(eacopy::platform::CreateFile(place.directory(), "file", 0666, &file).ok());
  CHECK(Sync(file).ok());
  CHECK(Sync(place.directory()).ok());
  CHECK(FreeSpace(file) > 0);
  file.Close();
  CHECK_EQUAL(FreeSpace(file), 0u);
}

TEST(TheProcessIsKnown) {
  unsigned char a[16] = {}, b[16] = {};
  RandomBytes(a, sizeof(a));
  RandomBytes(b, sizeof(b));
  CHECK(std::memcmp(a, b, sizeof(a)) != 0);
  CHECK(OpenFileBudget() >= 64);
  CHECK(std::strlen(Capabilities()) > 0);
}
