// Plain v20, as a strict server speaks it: conversations byte by byte, written down from the protocol.

#include <sys/stat.h>

#include "check.h"
#include "conversation.h"
#include "files.h"
#include "net/bytes.h"
#include "net/digest.h"
#include "net/messages.h"
#include "net/zstd.h"

namespace eacopy {
namespace net {
namespace {

using test::Conversation;
using test::Exists;
using test::Folder;
using test::MakeFolder;
using test::Read;
using test::Write;

constexpr uint64_t kTime = 133486382451234567;  // 2024-01-02T03:04:05.1234567Z

std::string Wide(const std::string& text) {
  std::string wide;
  for (char c : text) {
    wide.push_back(c);
    wide.push_back('\0');
  }
  return wide;
}

// A command with what is between header and string, the string, its zero and the padding.
std::string Command(uint8_t type, const std::string& fields, const std::string& text, size_t padding) {
  const std::string rest = fields + Wide(text) + std::string(2 + padding, '\0');
  std::string bytes;
  PutNumber<uint32_t>(&bytes, static_cast<uint32_t>(8 + rest.size()));
  bytes.push_back(static_cast<char>(type));
  return bytes + std::string(3, '\xcc') + rest;
}

std::string Bare(uint8_t type) { return std::string("\x08\0\0\0", 4) + static_cast<char>(type) + std::string(3, '\0'); }

std::string Info(uint64_t size, uint64_t time = kTime, uint64_t created = 0) {
  std::string bytes;
  PutNumber(&bytes, created);
  PutNumber(&bytes, time);
  PutNumber(&bytes, size);
  return bytes;
}

std::string Environment(const std::string& directory, const std::string& secret = std::string(15, 'x') + "y") {
  std::string fields;
  PutNumber<uint32_t>(&fields, 1);
  PutNumber<uint32_t>(&fields, 1);
  PutNumber<uint32_t>(&fields, 20);
  return Command(5, fields + secret, directory, 2);
}

std::string WriteFile(uint8_t how, const std::string& path, const std::string& info) {
  return Command(2, std::string(1, static_cast<char>(how)) + std::string(7, '\xcc') + info, path, 6);
}

std::string ReadFile(uint8_t level, const std::string& path, const std::string& info) {
  return Command(3, std::string(1, static_cast<char>(level)) + std::string(7, '\xcc') + info, path, 6);
}

std::string PathCommand(uint8_t type, const std::string& path) { return Command(type, "", path, 2); }

const std::string kNothing(8, '\0');

struct Served {
  explicit Served(ServerOptions options = ServerOptions()) {
    MakeFolder(folder / "share");
    options.security_file = secure_ = false;
    Make(options);
  }
  void Make(ServerOptions options) {
    context = std::make_unique<ServerContext>(options);
    context->shares.Add("share", folder / "share");
    version = VersionMessage(*context);
  }
  std::string operator/(const std::string& name) const { return folder / "share/" + name; }
  // What the server answers to all this; it must then end by itself.
  std::string Answers(const std::string& said) {
    Conversation conversation(*context);
    conversation.Say(said);
    bool ended = false;
    const std::string heard = conversation.HearAll(&ended);
    CHECK(ended);
    CHECK_EQUAL(heard.substr(0, version.size()), version);
    return heard.substr(std::min(version.size(), heard.size()));
  }
  size_t Unfinished() const {
    size_t count = 0;
    for (const auto& [path, text] : test::Describe(folder.path(), false)) {
      if (path.find(".eacopy-") != std::string::npos || path.find(".f") == path.rfind('/') + 1) ++count;
    }
    return count;
  }

  Folder folder{test::FastPlace()};
  bool secure_ = false;
  std::unique_ptr<ServerContext> context;
  std::string version;
};

TEST(TheServerBeginsWithItsVersion) {
  Served served;
  const std::string& version = served.version;
  CHECK_EQUAL(LoadNumber<uint32_t>(version.data()), version.size());
  CHECK_EQUAL(static_cast<int>(version[4]), 0);
  CHECK_EQUAL(LoadNumber<uint32_t>(version.data() + 8), 20u);
  CHECK_EQUAL(LoadNumber<uint32_t>(version.data() + 12), 1u << 16);
  CHECK_EQUAL(version.substr(16), Wide("v1.11 py-eacopy") + std::string(4, '\0'));
}

TEST(AFileIsPushed) {
  Served served;
  const std::string said = Environment("share\\dst\\") + PathCommand(4, "") + PathCommand(4, "sub\\deep") +
                           WriteFile(1, "sub\\deep\\f", Info(7)) + "content" + Bare(8);
  // share\dst is made (3), then two directories (4), Copy (0), 1 for success, and Done's 8 bytes.
  CHECK_EQUAL(served.Answers(said), std::string("\3\4\0\1", 4) + kNothing);
  CHECK_EQUAL(Read(served / "dst/sub/deep/f"), "content");
  const struct timespec modified = test::ModifiedOf(test::StatusOf(served / "dst/sub/deep/f"));
  CHECK_EQUAL(modified.tv_sec, 1704164645);
  CHECK_EQUAL(modified.tv_nsec, 123456700);
  CHECK_EQUAL(served.context->totals.files_received.load(), 1u);
  CHECK_EQUAL(served.Unfinished(), 0u);
}

TEST(OneByteAtATimeIsTheSame) {
  Served served;
  const std::string said = Environment("share\\dst") + PathCommand(4, "") + WriteFile(0, "f", Info(7)) + "content" +
                           PathCommand(10, "f") + Bare(9) + Bare(8);
  Conversation conversation(*served.context);
  for (char byte : said) conversation.Say(std::string_view(&byte, 1));
  const std::string heard = conversation.HearAll().substr(served.version.size());
  CHECK_EQUAL(heard.substr(0, 3), std::string("\3\0\1", 3));
  CHECK_EQUAL(heard.substr(3, 32), Info(7) + std::string("\x20\0\0\0\0\0\0\0", 8));
  CHECK_EQUAL(heard.substr(heard.size() - 8), kNothing);
  CHECK_EQUAL(Read(served / "dst/f"), "content");
}

TEST(WhatIsThereIsSkippedAndWhatIsKnownIsLinked) {
  Served served;
  const std::string dir = Environment("share\\one") + PathCommand(4, "");
  const std::string other = Environment("share\\two") + PathCommand(4, "");
  const std::string file = WriteFile(1, "f", Info(7));
  CHECK_EQUAL(served.Answers(dir + file + "content" + file + Bare(8)), std::string("\3\0\1\5", 4) + kNothing);
  CHECK_EQUAL(served.Answers(other + file + file + Bare(8)), std::string("\3\3\5", 3) + kNothing);
  CHECK_EQUAL(test::StatusOf(served / "one/f").st_ino, test::StatusOf(served / "two/f").st_ino);
  // A history that is empty does not matter for what is there.
  Served again;
  Write(again / "f", "content");
  struct timespec times[2] = {{1704164645, 123456700}, {1704164645, 123456700}};
  ::utimensat(AT_FDCWD, (again / "f").c_str(), times, 0);
  CHECK_EQUAL(again.Answers(Environment("share") + file + Bare(8)), "\5" + kNothing);
  CHECK_EQUAL(again.Answers(Environment("share") + WriteFile(1, "f", Info(7, kTime, 5)) + "content" + Bare(8)),
              std::string("\0\1", 2) + kNothing);
}

TEST(AChangedFileIsNotLinked) {
  Served served;
  const std::string file = WriteFile(1, "f", Info(7));
  served.Answers(Environment("share\\one") + PathCommand(4, "") + file + "content" + Bare(8));
  test::Append(served / "one/f", "!");
  CHECK_EQUAL(served.Answers(Environment("share\\two") + PathCommand(4, "") + file + "content" + Bare(8)),
              std::string("\3\0\1", 3) + kNothing);
  CHECK(test::StatusOf(served / "one/f").st_ino != test::StatusOf(served / "two/f").st_ino);
}

TEST(AChangedFileLeavesItsSiblingAlone) {
  Served served;
  const std::string file = WriteFile(1, "f", Info(7));
  served.Answers(Environment("share\\one") + PathCommand(4, "") + file + "content" + Bare(8));
  served.Answers(Environment("share\\two") + PathCommand(4, "") + file + Bare(8));
  served.Answers(Environment("share\\two") + WriteFile(1, "f", Info(3, kTime + 10)) + "new" + Bare(8));
  CHECK_EQUAL(Read(served / "one/f"), "content");
  CHECK_EQUAL(Read(served / "two/f"), "new");
}

TEST(AMissingDirectoryFailsAfterTheContent) {
  Served served;
  CHECK_EQUAL(served.Answers(Environment("share") + WriteFile(1, "no\\f", Info(3)) + "abc" + Bare(8)),
              std::string("\0\0", 2) + kNothing);
}

TEST(BeforeAnEnvironmentNothingIsDone) {
  Served served;
  CHECK_EQUAL(served.Answers(WriteFile(1, "f", Info(1)) + ReadFile(0, "f", Info(0, 0)) + PathCommand(4, "d") +
                             PathCommand(6, "") + PathCommand(7, "*.*") + Bare(8)),
              std::string("\7\6\1\2\xff\xff\xff\xff", 8) + kNothing);
  CHECK(test::Names(served.folder / "share").empty());
}

TEST(NothingLeadsOutOfTheShare) {
  Served served;
  Write(served.folder / "outside", "secret");
  test::MakeLink("..", served / "up");
  MakeFolder(served / "in");
  for (const char* path : {"..\\outside", "up\\outside", "in\\..\\..\\outside", "/etc/passwd", "\\outside", "..",
                           "a/../../outside", ".", "in\\.\\x", "C:\\x\\..\\..\\outside"}) {
    const std::string heard =
        served.Answers(Environment("share") + WriteFile(1, path, Info(1)) + ReadFile(0, path, Info(0, 0)) + Bare(8));
    // The second is BadSource; the first BadDestination, or Copy with the next command as content.
    CHECK(heard.substr(0, 2) == "\7\6" || heard.substr(0, 1) == std::string(1, '\0'));
    const std::string others =
        served.Answers(Environment("share") + PathCommand(6, path) + PathCommand(4, path) + Bare(8));
    CHECK_EQUAL(others.size(), 10u);
  }
  for (const char* directory : {"..", "share\\..", "share\\..\\..", "other", "", "\\", "/tmp", "share/../.."}) {
    CHECK_EQUAL(served.Answers(Environment(directory) + Bare(8)), "");
  }
  CHECK_EQUAL(Read(served.folder / "outside"), "secret");
  CHECK_EQUAL(test::Names(served.folder.path()).size(), 2u);
}

TEST(CompressedContentIsUnpacked) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  Compressor compressor;
  const std::string content(100000, 'x');
  auto block = [&](const std::string& part) {
    std::string frame, bytes;
    compressor.Compress(part, 3, &frame);
    PutNumber<uint32_t>(&bytes, static_cast<uint32_t>(frame.size()));
    return bytes + frame;
  };
  const std::string empty_block(4, '\0');
  CHECK_EQUAL(served.Answers(Environment("share") + WriteFile(2, "f", Info(100000)) + block(content.substr(0, 40000)) +
                             empty_block + block(content.substr(40000)) + WriteFile(2, "e", Info(0)) + Bare(8)),
              std::string("\0\1\0\1", 4) + kNothing);
  CHECK_EQUAL(Read(served / "f"), content);
  // Too much, not a frame, a size that no block has: the connection ends, and nothing is there.
  for (const std::string& bad : {block(content + "more"), std::string("\5\0\0\0hello", 9),
                                 std::string("\xff\xff\xff\xff", 4), std::string("\1\0\x80\0", 4)}) {
    CHECK_EQUAL(served.Answers(Environment("share") + WriteFile(2, "bad", Info(100000)) + bad + Bare(8)),
                std::string(1, '\0'));
    CHECK(!Exists(served / "bad"));
  }
  CHECK_EQUAL(served.Unfinished(), 0u);
}

TEST(AFileIsPulled) {
  Served served;
  Write(served / "f", "content");
  struct timespec times[2] = {{1704164645, 123456700}, {1704164645, 123456700}};
  ::utimensat(AT_FDCWD, (served / "f").c_str(), times, 0);
  std::string head;
  PutNumber(&head, kTime);
  PutNumber<uint64_t>(&head, 7);
  CHECK_EQUAL(served.Answers(Environment("share") + ReadFile(0, "f", Info(0, 0)) + ReadFile(0, "f", Info(7)) +
                             ReadFile(0, "none", Info(0, 0)) + Bare(8)),
              std::string(1, '\0') + head + "content" + "\3\6" + kNothing);
  if (!ZstdAvailable()) return;
  const std::string heard = served.Answers(Environment("share") + ReadFile(7, "f", Info(0, 0)) + Bare(8));
  CHECK_EQUAL(heard.substr(0, 17), std::string(1, '\0') + head);
  const uint32_t size = LoadNumber<uint32_t>(heard.data() + 17);
  REQUIRE(heard.size() == 17 + 4 + size + 8);
  Decompressor decompressor;
  std::string_view content;
  CHECK(decompressor.Decompress(std::string_view(heard).substr(21, size), 7, &content) && content == "content");
  CHECK_EQUAL(LoadNumber<uint64_t>(heard.data() + 21 + size), 7u * 7u);
}

TEST(BlocksAreSentWithoutCompressionToo) {
  ServerOptions options;
  options.compression = false;
  Served served(options);
  const std::string content = test::Noise(300000);
  Write(served / "f", content);
  const std::string heard = served.Answers(Environment("share") + ReadFile(7, "f", Info(0, 0)) + Bare(8));
  const uint32_t size = LoadNumber<uint32_t>(heard.data() + 17);
  CHECK_EQUAL(size, 9 + 3 * 3 + content.size());
  CHECK_EQUAL(LoadNumber<uint64_t>(heard.data() + 21 + size), 0u);
  if (!ZstdAvailable()) return;
  Decompressor decompressor;
  std::string_view unpacked;
  CHECK(decompressor.Decompress(std::string_view(heard).substr(21, size), content.size(), &unpacked));
  CHECK(unpacked == content);
}

TEST(DigestsFindContentUnderOtherNames) {
  ServerOptions options;
  options.use_hash = true;
  Served served(options);
  Md5 md5;
  md5.Update("content");
  const Md5Digest digest = md5.Finish();
  std::string hash;
  PutArray(&hash, digest);
  const std::string none(16, '\0');
  CHECK_EQUAL(served.Answers(Environment("share") + WriteFile(1, "a", Info(7)) + hash + "content" +
                             WriteFile(1, "b", Info(7, kTime + 7)) + hash + WriteFile(1, "c", Info(7)) + none +
                             "CONTENT" + Bare(8)),
              std::string("\6\0\1\6\3\6\0\1", 8) + kNothing);
  CHECK_EQUAL(Read(served / "b"), "content");
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(served / "b")).tv_nsec, 123457400);
  CHECK_EQUAL(Read(served / "c"), "CONTENT");
  // Pulling: equal content is not sent again, whatever its time.
  CHECK_EQUAL(served.Answers(Environment("share") + ReadFile(0, "a", Info(7, 5)) + hash + Bare(8)), "\4\3" + kNothing);
}

TEST(DirectoriesAreListed) {
  Served served;
  MakeFolder(served / "dir");
  MakeFolder(served / "empty");
  Write(served / "dir/Name.TXT", "12345");
  MakeFolder(served / "dir/sub");
  test::MakeLink("x", served / "dir/link");
  Write(served / "dir/.eacopy-0123456789abcdef.tmp", "");
  auto find = [&](const std::string& pattern) {
    const std::string heard = served.Answers(Environment("share") + PathCommand(7, pattern) + Bare(8));
    return heard.substr(0, heard.size() - 8);
  };
  CHECK_EQUAL(find("empty\\*.*"), std::string(4, '\0'));
  CHECK_EQUAL(find("none\\*.*"), std::string(4, '\xff'));
  CHECK_EQUAL(find("dir\\*.exe"), std::string(4, '\xff'));
  const std::string one = find("dir\\*.txt");
  CHECK_EQUAL(LoadNumber<uint32_t>(one.data()), 20u + 2 * 9);
  CHECK_EQUAL(LoadNumber<uint32_t>(one.data() + 4), 0x20u);
  CHECK_EQUAL(LoadNumber<uint64_t>(one.data() + 16), 5u);
  CHECK_EQUAL(one.substr(24, 18), Wide("Name.TXT") + std::string(2, '\0'));
  CHECK_EQUAL(one.substr(42), std::string(4, '\0'));
  CHECK_EQUAL(find("dir\\name.t?t"), one);
  CHECK_EQUAL(find("dir\\*.*").size(), 4 + (20 + 18) + (20 + 8) + 4u);
}

TEST(DirectoriesAreEmptied) {
  Served served;
  MakeFolder(served / "dir");
  MakeFolder(served / "dir/sub");
  Write(served / "dir/sub/f", "x");
  CHECK_EQUAL(served.Answers(Environment("share") + PathCommand(6, "dir") + PathCommand(6, "none") + Bare(8)),
              std::string("\0\0", 2) + kNothing);
  CHECK(test::Names(served / "dir").empty());
}

TEST(HostileCommandsEndTheConnection) {
  Served served;
  auto sized = [](uint32_t size, uint8_t type) {
    std::string bytes;
    PutNumber(&bytes, size);
    bytes.push_back(static_cast<char>(type));
    return bytes + std::string(3, '\0');
  };
  for (const std::string& bad :
       {sized(0, 8), sized(7, 8), sized(0xffffffff, 5), sized(512 * 1024 + 1, 2), sized(8, 11), sized(8, 31),
        sized(8, 255), sized(8, 5), sized(8, 2), sized(40, 2) + std::string(32, 'x'),
        sized(44, 2) + std::string(36, 'x'), sized(8, 32), sized(48, 32) + std::string(40, '\xff'),
        sized(12, 4) + "xxxx", std::string(100, '\0')}) {
    CHECK_EQUAL(served.Answers(Environment("share") + bad).size(), 0u);
  }
}

TEST(AClientMayLeaveAtAnyPoint) {
  Served served;
  const std::string said = Environment("share\\dst") + PathCommand(4, "") + WriteFile(1, "f", Info(7)) + "content" +
                           ReadFile(0, "f", Info(0, 0)) + PathCommand(7, "*.*") + Bare(9) + Bare(8);
  for (size_t size = 0; size < said.size(); ++size) {
    Conversation conversation(*served.context);
    conversation.Say(std::string_view(said).substr(0, size));
    conversation.HangUp();
    bool ended = false;
    conversation.HearAll(&ended);
    CHECK(ended);
    conversation.Finish();
    CHECK_EQUAL(served.Unfinished(), 0u);
    if (Exists(served / "dst/f")) CHECK_EQUAL(Read(served / "dst/f"), "content");
    test::RemoveTree(served / "dst");
  }
}

TEST(TheSecurityFileProvesTheUser) {
  Served served;
  ServerOptions options;
  served.Make(options);
  CHECK_EQUAL(LoadNumber<uint32_t>(served.version.data() + 12), (1u << 16) | 1u);
  const std::string zeros(16, '\0');
  std::string secret;
  Conversation first(*served.context);
  first.Hear(served.version.size());
  first.Say(Environment("share\\new\\deep", zeros));
  const std::string guid = first.Hear(16);
  REQUIRE(guid.size() == 16);
  const std::vector<std::string> names = test::Names(served / "new/deep");
  REQUIRE(names.size() == 1);
  CHECK_EQUAL(names[0].size(), 38u);
  CHECK_EQUAL(test::ModeOf(served / "new/deep/" + names[0]), 0600u);
  secret = Read(served / "new/deep/" + names[0]);
  CHECK_EQUAL(secret.size(), 16u);
  first.Say(secret + PathCommand(4, ""));
  CHECK_EQUAL(first.Hear(1), "\2");
  CHECK(test::Names(served / "new/deep").empty());
  // The secret is good for the same place as long as somebody is there.
  CHECK_EQUAL(served.Answers(Environment("share\\new\\deep", secret) + PathCommand(4, "") + Bare(8)), "\2" + kNothing);
  CHECK_EQUAL(served.Answers(Environment("share\\other", secret) + Bare(8)), "");
  CHECK_EQUAL(served.Answers(Environment("share\\new\\deep", std::string(16, 'z')) + Bare(8)), "");
  first.Finish();
  CHECK_EQUAL(served.Answers(Environment("share\\new\\deep", secret) + Bare(8)), "");
  // A wrong answer: what was made for it is gone.
  Conversation wrong(*served.context);
  wrong.Hear(served.version.size());
  wrong.Say(Environment("share\\bad\\worse", zeros));
  CHECK_EQUAL(wrong.Hear(16).size(), 16u);
  CHECK(Exists(served / "bad/worse"));
  wrong.Say(zeros);
  CHECK_EQUAL(wrong.HearAll(), "");
  CHECK(!Exists(served / "bad"));
  CHECK(Exists(served / "new/deep"));
}

TEST(WithATokenPlainClientsAreRefused) {
  Served served;
  ServerOptions options;
  options.token = "long and random";
  served.Make(options);
  CHECK_EQUAL(LoadNumber<uint32_t>(served.version.data() + 12), 3u << 16);
  for (const std::string& said : {Environment("share"), Bare(9), Bare(8), PathCommand(7, "*.*")}) {
    CHECK_EQUAL(served.Answers(said), "");
  }
}

}  // namespace
}  // namespace net
}  // namespace eacopy
