// Names, paths and errors on Windows: everything that needs no file.

#include <cerrno>
#include <string>

#include "check.h"
#include "windows/internal.h"
#include "windows/reparse.h"
#include "windows/wtf8.h"

using namespace eacopy::platform;

namespace {

bool Widens(const std::string& bytes) {
  std::wstring wide;
  return AppendWide(bytes.data(), bytes.size(), &wide);
}

std::wstring Wide(const std::string& bytes) {
  std::wstring wide;
  CHECK(AppendWide(bytes.data(), bytes.size(), &wide));
  return wide;
}

std::string Narrow(const std::wstring& wide) {
  std::string bytes;
  AppendWtf8(wide.data(), wide.size(), &bytes);
  return bytes;
}

// The NT path of a plain path, as bytes for printing.
std::string Nt(const std::string& path) {
  Location at;
  const int error = Locate(Directory::Paths(), path.c_str(), &at);
  CHECK_EQUAL(error, 0);
  CHECK(at.root == nullptr);
  return Narrow(at.name);
}

}  // namespace

TEST(NamesComeBackUnchanged) {
  for (const char* name : {"plain", "gr\xC3\xBC\xC3\x9F", "\xE6\xBC\xA2\xE5\xAD\x97", "\xF0\x9F\x98\x80",
                           "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"}) {
    CHECK_EQUAL(Narrow(Wide(name)), std::string(name));
  }
  CHECK(Wide("\xF0\x9F\x98\x80") == L"\xD83D\xDE00");
}

TEST(LoneSurrogatesComeBackUnchanged) {
  const std::wstring high = {L'a', wchar_t(0xD83D), L'b'};
  const std::wstring low = {wchar_t(0xDE00), wchar_t(0xD83D)};
  CHECK_EQUAL(Narrow(high), std::string("a\xED\xA0\xBD"
                                        "b"));
  CHECK(Wide(Narrow(high)) == high);
  CHECK(Wide(Narrow(low)) == low);
  for (unsigned unit = 1; unit <= 0xFFFF; ++unit) {
    const std::wstring name(1, static_cast<wchar_t>(unit));
    if (Wide(Narrow(name)) != name) CHECK_EQUAL(unit, 0u);
  }
}

TEST(BytesThatAreNoTextAreRefused) {
  CHECK(!Widens("\x80"));  // continuation without a beginning
  CHECK(!Widens("\xC3"));  // beginning without a continuation
  CHECK(
      !Widens("\xC3"
              "a"));
  CHECK(!Widens("\xE2\x82"));
  CHECK(!Widens("\xF0\x9F\x98"));
  CHECK(!Widens("\xC0\xAF"));  // overlong "/"
  CHECK(!Widens("\xE0\x80\xAF"));
  CHECK(!Widens("\xF0\x80\x80\xAF"));
  CHECK(!Widens("\xF4\x90\x80\x80"));  // above U+10FFFF
  CHECK(!Widens("\xFF"));
  Location at;
  CHECK_EQUAL(Locate(Directory::Paths(), "a\xFF", &at), EILSEQ);
}

TEST(PlainPathsBecomeObjectPaths) {
  CHECK_EQUAL(Nt("C:\\a\\b"), std::string("\\??\\C:\\a\\b"));
  CHECK_EQUAL(Nt("C:/a/./x/../b/"), std::string("\\??\\C:\\a\\b"));
  CHECK_EQUAL(Nt("C:\\"), std::string("\\??\\C:\\"));
  CHECK_EQUAL(Nt("\\\\server\\share\\a"), std::string("\\??\\UNC\\server\\share\\a"));
  CHECK_EQUAL(Nt("\\\\?\\C:\\a.\\b "), std::string("\\??\\C:\\a.\\b "));
  CHECK_EQUAL(Nt("\\\\?\\UNC\\server\\share\\a"), std::string("\\??\\UNC\\server\\share\\a"));
  CHECK_EQUAL(Nt("\\??\\C:\\a"), std::string("\\??\\C:\\a"));
  CHECK_EQUAL(Nt("NUL"), std::string("\\??\\NUL"));
  CHECK_EQUAL(Nt("\\\\.\\pipe\\x"), std::string("\\??\\pipe\\x"));
  const std::string relative = Nt("a");
  CHECK_EQUAL(relative.substr(0, 4), std::string("\\??\\"));
  CHECK_EQUAL(relative.substr(relative.size() - 2), std::string("\\a"));
}

TEST(LongPathsStayWhole) {
  std::string path = "C:";
  for (int i = 0; i < 100; ++i) path += "\\" + std::string(100, 'x');
  CHECK_EQUAL(Nt(path), "\\??\\" + path);
  Location at;
  CHECK_EQUAL(Locate(Directory::Paths(), ("C:\\" + std::string(40000, 'x')).c_str(), &at), ENAMETOOLONG);
}

TEST(ATrailingSeparatorMeansADirectory) {
  Location at;
  CHECK_EQUAL(Locate(Directory::Paths(), "C:\\a\\", &at), 0);
  CHECK(at.directory);
  CHECK_EQUAL(Locate(Directory::Paths(), "C:\\a/", &at), 0);
  CHECK(at.directory);
  CHECK_EQUAL(Locate(Directory::Paths(), "C:\\a", &at), 0);
  CHECK(!at.directory);
}

TEST(AnEmptyNameIsNotThere) {
  Location at;
  CHECK_EQUAL(Locate(Directory::Paths(), "", &at), ENOENT);
}

TEST(ErrorsBecomeErrnos) {
  CHECK_EQUAL(ErrnoOfError(ERROR_SUCCESS), 0);
  CHECK_EQUAL(ErrnoOfError(ERROR_FILE_NOT_FOUND), ENOENT);
  CHECK_EQUAL(ErrnoOfError(ERROR_PATH_NOT_FOUND), ENOENT);
  CHECK_EQUAL(ErrnoOfError(ERROR_ACCESS_DENIED), EACCES);
  CHECK_EQUAL(ErrnoOfError(ERROR_SHARING_VIOLATION), EBUSY);
  CHECK_EQUAL(ErrnoOfError(ERROR_DISK_FULL), ENOSPC);
  CHECK_EQUAL(ErrnoOfError(ERROR_NETNAME_DELETED), ECONNRESET);
  CHECK_EQUAL(ErrnoOfError(ERROR_BAD_NETPATH), EHOSTUNREACH);
  CHECK_EQUAL(ErrnoOfError(ERROR_SEM_TIMEOUT), ETIMEDOUT);
  CHECK_EQUAL(ErrnoOfError(54321), EIO);
}

TEST(StatusesBecomeErrnos) {
  CHECK_EQUAL(ErrnoOfStatus(0), 0);
  CHECK_EQUAL(ErrnoOfStatus(kStatusFileIsADirectory), EISDIR);
  CHECK_EQUAL(ErrnoOfStatus(kStatusNotADirectory), ENOTDIR);
  CHECK_EQUAL(ErrnoOfStatus(kStatusAccessDenied), EACCES);
  CHECK_EQUAL(ErrnoOfStatus(kStatusSharingViolation), EBUSY);
  CHECK_EQUAL(ErrnoOfStatus(NtStatus(0xC0000034)), ENOENT);  // OBJECT_NAME_NOT_FOUND
  CHECK_EQUAL(ErrnoOfStatus(NtStatus(0xC0000035)), EEXIST);  // OBJECT_NAME_COLLISION
  CHECK_EQUAL(ErrnoOfStatus(NtStatus(0xC000003A)), ENOENT);  // OBJECT_PATH_NOT_FOUND
  CHECK_EQUAL(ErrnoOfStatus(NtStatus(0xC000007F)), ENOSPC);  // DISK_FULL
  CHECK_EQUAL(ErrnoOfStatus(kStatusReparsePointNotResolved), ELOOP);
}

TEST(ReparsePointsAreToldApart) {
  const ULONG reparse = FILE_ATTRIBUTE_REPARSE_POINT;
  CHECK(TypeOf(reparse, 0xA000000C) == FileType::kSymlink);
  CHECK(TypeOf(reparse | FILE_ATTRIBUTE_DIRECTORY, 0xA0000003) == FileType::kSymlink);    // junction
  CHECK(TypeOf(reparse, 0x80000013) == FileType::kRegular);                               // deduplicated
  CHECK(TypeOf(reparse | FILE_ATTRIBUTE_DIRECTORY, 0x9000001A) == FileType::kDirectory);  // cloud store
  CHECK(TypeOf(reparse, 0x80000023) == FileType::kSocket);
  CHECK(TypeOf(reparse, 0x80000024) == FileType::kFifo);
  CHECK(TypeOf(0, 0xA000000C) == FileType::kRegular);  // the number means something else without the attribute
}

namespace {

// Numbers of 16 bits and texts, as Windows lays them out.
std::string Units(std::initializer_list<unsigned> units) {
  std::string bytes;
  for (unsigned unit : units) {
    bytes.push_back(static_cast<char>(unit));
    bytes.push_back(static_cast<char>(unit >> 8));
  }
  return bytes;
}

std::string Text(const std::wstring& text) {
  return std::string(reinterpret_cast<const char*>(text.data()), text.size() * sizeof(wchar_t));
}

int Target(const std::string& data, std::string* target) {
  std::wstring wide;
  const int error = TargetOfData(data.data(), data.size(), &wide);
  *target = Narrow(wide);
  return error;
}

}  // namespace

TEST(TargetsAreReadFromLinks) {
  std::string target;
  // mklink link dir\file: the name to show comes first, and the flag says "relative".
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 12 + 32, 0, 16, 16, 0, 16, 1, 0}) + Text(L"dir\\filedir\\file"), &target),
              0);
  CHECK_EQUAL(target, std::string("dir\\file"));
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 12 + 20, 0, 6, 14, 0, 6, 0, 0}) + Text(L"C:\\\\??\\C:\\"), &target), 0);
  CHECK_EQUAL(target, std::string("C:\\"));
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 12 + 32, 0, 0, 32, 32, 0, 0, 0}) + Text(L"\\??\\UNC\\srv\\shar"), &target),
              0);
  CHECK_EQUAL(target, std::string("\\\\srv\\shar"));
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 12 + 28, 0, 0, 28, 28, 0, 0, 0}) + Text(L"\\??\\Volume{1}\\"), &target), 0);
  CHECK_EQUAL(target, std::string("\\\\?\\Volume{1}\\"));
}

TEST(DamagedOrForeignLinksAreRefused) {
  std::string target;
  CHECK_EQUAL(Target("", &target), EINVAL);
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 4}), &target), EINVAL);
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 8, 0, 0, 0, 0, 0}), &target), EINVAL);         // no flags
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 12, 0, 0, 0, 0, 0, 1, 0}), &target), EINVAL);  // empty
  CHECK_EQUAL(Target(Units({0x000C, 0xA000, 14, 0, 0xFFFF, 0xFFFF, 0, 0, 1, 0}), &target), EINVAL);
  CHECK_EQUAL(Target(Units({0x001D, 0xA000, 8, 0, 2, 0, 0, 0}), &target), ENOTSUP);  // WSL
}

TEST(JunctionsComeBackAsTheyWere) {
  std::string data, target;
  CHECK(IsJunctionTarget(L"\\??\\C:\\a"));
  CHECK(!IsJunctionTarget(L"\\\\?\\C:\\a"));
  CHECK(!IsJunctionTarget(L"a"));
  CHECK_EQUAL(JunctionData(L"\\??\\C:\\a", &data), 0);
  const std::wstring names(L"\\??\\C:\\a\0C:\\a\0", 14);
  CHECK(data == Units({0x0003, 0xA000, 8 + 28, 0, 0, 16, 18, 8}) + Text(names));
  CHECK_EQUAL(Target(data, &target), 0);
  CHECK_EQUAL(target, std::string("\\??\\C:\\a"));
  CHECK_EQUAL(JunctionData(L"\\??\\" + std::wstring(5000, L'x'), &data), ENAMETOOLONG);
}
