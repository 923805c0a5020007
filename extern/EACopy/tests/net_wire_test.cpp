// Every message of both dialects against bytes that were derived by hand from the descriptions of the protocols.

#include <string>
#include <vector>

#include "check.h"
#include "net/messages.h"
#include "net/wire.h"
#include "net/zstd.h"
#include "temporary.h"

using namespace eacopy;
using namespace eacopy::net;
using namespace eacopy::test;

namespace {

// "01 02" as bytes; blanks do not count, and 'x' quotes a character that is followed by a zero (UTF-16).
std::string Bytes(const std::string& text) {
  std::string bytes;
  int high = -1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '\'') {
      for (++i; text[i] != '\''; ++i) {
        bytes += text[i];
        bytes += '\0';
      }
      continue;
    }
    const int digit = c >= 'a' ? c - 'a' + 10 : c - '0';
    if (high < 0) {
      high = digit;
    } else {
      bytes += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return bytes;
}

std::string Hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<uint8_t>(c) >> 4];
    text += "0123456789abcdef"[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

// 2024-01-02T03:04:05.1234567Z is 133486382451234567 = 0x01da3d28585b9707.
constexpr uint64_t kFileTime = 133486382451234567u;
const char kFileTimeBytes[] = "07 97 5b 58 28 3d da 01";

Guid ExampleGuid() {
  return Guid{0xcb, 0x9a, 0x82, 0xbb, 0xc0, 0x98, 0xf4, 0x4b, 0xb8, 0x5c, 0xf5, 0x94, 0x79, 0xba, 0xad, 0x6e};
}

// Every prefix of a message is refused, and nothing beyond it is read.
template <typename Decode>
void CheckPrefixes(const std::string& message, size_t least, Decode decode) {
  for (size_t size = 0; size < least; ++size) {
    const std::vector<char> exact(message.data(), message.data() + size);  // sanitizers see its end
    CHECK(!decode(std::string_view(exact.data(), size)));
  }
}

std::string Payload(const std::string& message) { return message.substr(kMessageHeader); }

}  // namespace

TEST(FileTimesAreTicksSince1601) {
  platform::Timestamp timestamp;
  timestamp.seconds = 1704164645;
  timestamp.nanoseconds = 123456789;
  CHECK_EQUAL(wire::FileTimeFromTimestamp(timestamp), kFileTime);
  CHECK_EQUAL(wire::TimestampFromFileTime(kFileTime).seconds, 1704164645);
  CHECK_EQUAL(wire::TimestampFromFileTime(kFileTime).nanoseconds, 123456700);
  CHECK_EQUAL(wire::FileTimeFromNanoseconds(1704164645123456789), kFileTime);
  CHECK_EQUAL(wire::NanosecondsFromFileTime(kFileTime), 1704164645123456700);
  CHECK_EQUAL(wire::FileTimeFromNanoseconds(-1), 116444735999999999u);
  timestamp.seconds = -20000000000;
  CHECK_EQUAL(wire::FileTimeFromTimestamp(timestamp), 0u);
  timestamp.seconds = INT64_MAX;
  CHECK_EQUAL(wire::FileTimeFromTimestamp(timestamp), UINT64_MAX);
  CHECK_EQUAL(wire::NanosecondsFromFileTime(UINT64_MAX), INT64_MAX);
}

TEST(NamesAreUtf16) {
  std::string utf16;
  CHECK(wire::ToUtf16("a\xc3\xbc\xe6\x96\x87\xf0\x9f\x8e\x89", &utf16));
  CHECK_EQUAL(Hex(utf16), "6100fc0087653cd889df");
  CHECK_EQUAL(wire::FromUtf16(utf16), "a\xc3\xbc\xe6\x96\x87\xf0\x9f\x8e\x89");
  CHECK_EQUAL(Hex(wire::FromUtf16(Bytes("00d8 4100"))), "eda08041");  // a lone surrogate
  for (const char* bad :
       {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\x80"}) {
    std::string before = "x";
    CHECK(!wire::ToUtf16(bad, &before));
    CHECK_EQUAL(before, "x");
  }
  std::string path;
  CHECK(wire::ToWirePath("a/b/c", &path));
  CHECK_EQUAL(path, "a\\b\\c");
  CHECK(!wire::ToWirePath("a\\b", &path));
  CHECK_EQUAL(wire::FromWirePath("a\\b"), "a/b");
}

TEST(SecurityFilesAreNamedByTheirGuid) {
  CHECK_EQUAL(wire::SecurityFileName(ExampleGuid()), ".fBB829ACB-98C0-4BF4-B85C-F59479BAAD6E");
}

TEST(PlainCommandsHaveTheirBytes) {
  std::string out;
  wire::Version version;
  version.flags = wire::kUseSecurityFile | wire::kExtended;
  version.info = "v1.11";
  CHECK(wire::EncodeVersion(&out, version));
  CHECK_EQUAL(Hex(out), Hex(Bytes("1e000000 00 000000 14000000 01000100 'v1.11' 0000 0000")));
  wire::Version version_back;
  CHECK(wire::DecodeVersion(out, &version_back));
  CHECK(version_back.flags == version.flags && version_back.info == "v1.11" && version_back.protocol_version == 20);
  CHECK(wire::DecodeVersion(out.substr(0, out.size() - 2), &version_back));  // tight
  CheckPrefixes(out, out.size() - 2, [&](std::string_view bytes) { return wire::DecodeVersion(bytes, &version_back); });

  out.clear();
  wire::Environment environment;
  environment.connection_index = 1;
  environment.secret = ExampleGuid();
  environment.net_directory = "s\\d\\";
  CHECK(wire::EncodeEnvironment(&out, environment));
  CHECK_EQUAL(Hex(out), Hex(Bytes("30000000 05 000000 01000000 01000000 14000000 cb9a82bbc098f44bb85cf59479baad6e "
                                  "'s\\d\\' 0000 0000")));
  wire::Environment environment_back;
  CHECK(wire::DecodeEnvironment(out, &environment_back));
  CHECK(environment_back.secret == environment.secret && environment_back.net_directory == "s\\d\\");
  CheckPrefixes(out, out.size() - 2,
                [&](std::string_view bytes) { return wire::DecodeEnvironment(bytes, &environment_back); });

  out.clear();
  wire::WriteFile write;
  write.type = wire::WriteType::kCompressed;
  write.info.last_write_time = kFileTime;
  write.info.size = 5;
  write.path = "a\\b";
  CHECK(wire::EncodeWriteFile(&out, write));
  CHECK_EQUAL(Hex(out), Hex(Bytes(std::string("36000000 02 000000 02 00000000000000 0000000000000000 ") +
                                  kFileTimeBytes + "0500000000000000 'a\\b' 0000 000000000000")));
  wire::WriteFile write_back;
  CHECK(wire::DecodeWriteFile(out, &write_back));
  CHECK(write_back.type == write.type && write_back.info == write.info && write_back.path == write.path);
  CheckPrefixes(out, out.size() - 6, [&](std::string_view bytes) { return wire::DecodeWriteFile(bytes, &write_back); });

  out.clear();
  wire::ReadFile read;
  read.level = 255;
  read.path = "f";
  CHECK(wire::EncodeReadFile(&out, read));
  CHECK_EQUAL(Hex(out),
              Hex(Bytes("32000000 03 000000 ff 00000000000000" + std::string(48, '0') + "'f' 0000 000000000000")));
  wire::ReadFile read_back;
  CHECK(wire::DecodeReadFile(out, &read_back));
  CHECK(read_back.level == 255 && read_back.path == "f");
  CheckPrefixes(out, out.size() - 6, [&](std::string_view bytes) { return wire::DecodeReadFile(bytes, &read_back); });

  const struct {
    wire::Command command;
    const char* type;
  } with_path[] = {{wire::Command::kCreateDir, "04"},
                   {wire::Command::kDeleteFiles, "06"},
                   {wire::Command::kFindFiles, "07"},
                   {wire::Command::kGetFileInfo, "0a"}};
  for (const auto& one : with_path) {
    out.clear();
    CHECK(wire::EncodePathCommand(&out, one.command, "ab"));
    CHECK_EQUAL(Hex(out), Hex(Bytes(std::string("10000000") + one.type + "000000 'ab' 0000 0000")));
    std::string path;
    CHECK(wire::DecodePathCommand(out, &path));
    CHECK_EQUAL(path, "ab");
    out.clear();
    CHECK(wire::EncodePathCommand(&out, one.command, ""));
    CHECK_EQUAL(out.size(), 12u);
  }
  out.clear();
  wire::EncodeBareCommand(&out, wire::Command::kDone);
  wire::EncodeBareCommand(&out, wire::Command::kRequestReport);
  CHECK_EQUAL(Hex(out), "08000000080000000800000009000000");
  out.clear();
  CHECK(wire::EncodeText(&out, "hi"));
  CHECK_EQUAL(Hex(out), Hex(Bytes("14000000 01 000000 02000000 'hi' 0000 0000")));
  CHECK(!wire::EncodePathCommand(&out, wire::Command::kCreateDir, std::string(300000, 'x')));
}

TEST(PlainAnswersHaveTheirBytes) {
  std::string out;
  wire::FoundFile found;
  found.attributes = wire::kAttributeDirectory;
  found.last_write_time = kFileTime;
  found.name = "x";
  CHECK(wire::EncodeFoundFile(&out, found));
  CHECK_EQUAL(Hex(out), Hex(Bytes(std::string("10000000") + kFileTimeBytes + "0000000000000000 'x' 0000")));
  found.name = "\xf0\x9f\x8e\x89";
  found.size = 7;
  CHECK(wire::EncodeFoundFile(&out, found));
  std::vector<wire::FoundFile> back;
  CHECK(wire::DecodeFoundFiles(out, &back));
  CHECK_EQUAL(back.size(), 2u);
  CHECK(back[1].name == found.name && back[1].size == 7 && back[0].name == "x");
  back.clear();
  CHECK(!wire::DecodeFoundFiles(out.substr(0, out.size() - 1), &back));

  out.clear();
  wire::FoundInfo info;
  info.info.last_write_time = kFileTime;
  info.info.size = 3;
  info.attributes = wire::kAttributeArchive;
  info.error = 2;
  wire::EncodeFoundInfo(&out, info);
  CHECK_EQUAL(Hex(out),
              Hex(Bytes(std::string("0000000000000000") + kFileTimeBytes + "0300000000000000 20000000 02000000")));
  wire::FoundInfo info_back;
  CHECK(wire::DecodeFoundInfo(out, &info_back));
  CHECK(info_back.info == info.info && info_back.error == 2);
  out.clear();
  CHECK(wire::EncodeReport(&out, "ok\n"));
  CHECK_EQUAL(Hex(out), Hex(Bytes("03000000 'ok\n'")));
}

TEST(ImpossibleHeadersAreRefused) {
  wire::Header header;
  CHECK(!wire::DecodeHeader(Bytes("07000000 08 000000"), &header));
  CHECK(!wire::DecodeHeader(Bytes("01000800 08 000000"), &header));
  CHECK(wire::DecodeHeader(Bytes("00000800 08 000000"), &header));
  MessageHeader message;
  CHECK(!DecodeMessageHeader(Bytes("07000000 20 000000"), &message));
  CHECK(!DecodeMessageHeader(Bytes("01002100 20 000000"), &message));
  CHECK(DecodeMessageHeader(Bytes("00002100 20 000000"), &message));
  CHECK(!DecodeMessageHeader(Bytes("08000000 1f 000000"), &message));
  CHECK(!DecodeMessageHeader(Bytes("08000000 37 000000"), &message));
}

TEST(MessagesHaveTheirBytes) {
  std::string out;
  Hello hello;
  hello.capabilities = 15;
  hello.nonce.fill(0xaa);
  EncodeHello(&out, hello);
  const std::string nonce(64, 'a');
  CHECK_EQUAL(Hex(out), Hex(Bytes("30000000 20 000000 01000000 0f000000" + nonce)));
  Hello hello_back;
  CHECK(DecodeHello(Payload(out), &hello_back));
  CHECK(hello_back.nonce == hello.nonce && hello_back.capabilities == 15);
  CheckPrefixes(Payload(out), 40, [&](std::string_view bytes) { return DecodeHello(bytes, &hello_back); });
  CHECK(!DecodeHello(Payload(out) + "x", &hello_back));

  out.clear();
  hello.connections = 4;
  EncodeWelcome(&out, hello);
  CHECK_EQUAL(Hex(out), Hex(Bytes("34000000 21 000000 01000000 0f000000" + nonce + "04000000")));
  CHECK(DecodeWelcome(Payload(out), &hello_back) && hello_back.connections == 4);

  out.clear();
  Sha256Digest proof;
  proof.fill(0xbb);
  EncodeProof(&out, MessageType::kProof, proof);
  CHECK_EQUAL(Hex(out), Hex(Bytes("28000000 22 000000" + std::string(64, 'b'))));

  out.clear();
  Open open;
  open.connection_index = 2;
  open.secret = ExampleGuid();
  open.flags = kOpenWrite | kOpenTree;
  open.directory = "s/d";
  EncodeOpen(&out, open);
  CHECK_EQUAL(Hex(out),
              Hex(Bytes("25000000 24 000000 02000000 cb9a82bbc098f44bb85cf59479baad6e 03 000000 0300 732f64")));
  const std::string open_payload = Payload(out);
  Open open_back;
  CHECK(DecodeOpen(open_payload, &open_back));
  CHECK(open_back.directory == "s/d" && open_back.flags == 3);
  CheckPrefixes(open_payload, open_payload.size(),
                [&](std::string_view bytes) { return DecodeOpen(bytes, &open_back); });

  out.clear();
  EncodeOpened(&out, Opened::kDirectory);
  CHECK_EQUAL(Hex(out), Hex(Bytes("0c000000 25 000000 02 000000")));
  out.clear();
  Prove prove;
  prove.guid = ExampleGuid();
  prove.path = "/p";
  EncodeProve(&out, prove);
  CHECK_EQUAL(Hex(out), Hex(Bytes("1c000000 26 000000 cb9a82bbc098f44bb85cf59479baad6e 0200 2f70")));
  out.clear();
  EncodeSecret(&out, ExampleGuid());
  CHECK_EQUAL(Hex(out), Hex(Bytes("18000000 27 000000 cb9a82bbc098f44bb85cf59479baad6e")));
}

TEST(OffersAndResultsHaveTheirBytes) {
  std::string out;
  CountedMessage offer = CountedMessage::Offer(&out, 7);
  Entry file;
  file.flags = kEntryVerify;
  file.mode = 0644;
  file.mtime = 1;
  file.atime = -1;
  file.size = 5;
  file.path = "a/b";
  const std::string attributes = Bytes("0100 0600 757365722e78 02000000 6869");
  file.attributes = attributes;
  PutEntry(&out, file);
  offer.Add();
  Entry link;
  link.type = EntryType::kSymlink;
  link.path = "l";
  link.target = "t";
  PutEntry(&out, link);
  offer.Add();
  offer.Finish();
  CHECK_EQUAL(Hex(out),
              Hex(Bytes("6b000000 28 000000 07000000 02000000"
                        "01 05 0000 a4010000 0100000000000000 ffffffffffffffff 0500000000000000 0300 612f62"
                        "0100 0600 757365722e78 02000000 6869"
                        "03 00 0000 ffffffff 0000000000000000 0000000000000000 0000000000000000 0100 6c 0100 74")));
  const std::string payload = Payload(out);
  auto decode = [](std::string_view bytes) {
    Reader reader(bytes);
    uint32_t first = 0, count = 0;
    if (!TakeOfferHead(&reader, &first, &count)) return false;
    for (uint32_t i = 0; i < count; ++i) {
      Entry entry;
      if (!TakeEntry(&reader, &entry)) return false;
    }
    return reader.complete();
  };
  CHECK(decode(payload));
  CheckPrefixes(payload, payload.size(), decode);
  Reader reader(payload);
  uint32_t first = 0, count = 0;
  Entry back;
  CHECK(TakeOfferHead(&reader, &first, &count) && first == 7 && count == 2);
  CHECK(TakeEntry(&reader, &back) && back.path == "a/b" && back.atime == -1 && back.attributes == attributes);
  CHECK(TakeEntry(&reader, &back) && back.target == "t" && reader.complete());

  out.clear();
  CountedMessage results = CountedMessage::Results(&out);
  Result result;
  result.index = 7;
  result.code = ResultCode::kStored;
  PutResult(&out, result);
  results.Add();
  result.index = 8;
  result.code = ResultCode::kFailed;
  Status status = Status::FromErrno(28, Operation::kWrite);
  status.set_space(3, 2);
  result.error = ToErrorView(status, "p", "full");
  PutResult(&out, result);
  results.Add();
  results.Finish();
  CHECK_EQUAL(Hex(out), Hex(Bytes("37000000 29 000000 02000000 07000000 04 08000000 ff"
                                  "0e 04 0000 1c000000 0300000000000000 0200000000000000 0100 70 0400 66756c6c")));
  Reader results_reader(std::string_view(out).substr(kMessageHeader));
  Result result_back;
  CHECK(TakeCount(&results_reader, &count) && count == 2);
  CHECK(TakeResult(&results_reader, &result_back) && result_back.code == ResultCode::kStored);
  CHECK(TakeResult(&results_reader, &result_back) && results_reader.complete());
  const Status status_back = FromErrorView(result_back.error);
  CHECK(status_back.kind() == Kind::kDiskFull && status_back.size() == 3 && status_back.available() == 2);
  CHECK(!FromErrorView(ErrorView()).ok());
}

TEST(ContentsHaveTheirBytes) {
  std::string out;
  Body body;
  body.index = 1;
  body.crc = 0xcbf43926;
  body.flags = kChangedWhileRead;
  body.mtime = 2;
  EncodeBodyHead(&out, body, 9);
  out += "123456789";
  CHECK_EQUAL(Hex(out),
              Hex(Bytes("25000000 2a 000000 01000000 2639f4cb 01 000000 0200000000000000 313233343536373839")));
  Body body_back;
  CHECK(DecodeBody(std::string_view(out).substr(8), &body_back) && body_back.content == "123456789");
  CHECK(!DecodeBody(std::string_view(out).substr(8, 19), &body_back));
  out.clear();
  EncodeBegin(&out, Begin{1, 2, 3});
  EncodeHole(&out, 4);
  EncodeDataHead(&out, 2);
  out += "xy";
  EncodeEnd(&out, End{5, 0});
  CHECK_EQUAL(Hex(out), Hex(Bytes("20000000 2b 000000 01000000 00000000 0200000000000000 0300000000000000"
                                  "10000000 2d 000000 0400000000000000 0a000000 2c 000000 7879"
                                  "10000000 2e 000000 05000000 00 000000")));
  Begin huge;
  CHECK(!DecodeBegin(Bytes("00000000 00000000 0000000000000000 ffffffffffffffff"), &huge));
  out.clear();
  Abandon abandon;
  abandon.index = 9;
  EncodeAbandon(&out, abandon);
  EncodeGoodbye(&out, ErrorView());
  const std::string nothing = "00 00 0000 00000000 0000000000000000 0000000000000000 0000 0000";
  CHECK_EQUAL(Hex(out), Hex(Bytes("28000000 2f 000000 09000000" + nothing + "24000000 36 000000" + nothing)));
  out.clear();
  EncodePackedHead(&out, 5, 100, 3);
  out += "abc";
  CHECK_EQUAL(Hex(out), Hex(Bytes("0f000000 30 05 0000 64000000 616263")));
  Packed packed;
  CHECK(DecodePacked(std::string_view(out).substr(8), &packed) && packed.unpacked_size == 100 && packed.frame == "abc");
  CHECK(!DecodePacked(Bytes("01002000 00"), &packed));
  out.clear();
  DigestMessage digest;
  digest.index = 1;
  digest.digest.fill(0xcc);
  EncodeDigest(&out, digest);
  CHECK_EQUAL(Hex(out), Hex(Bytes("1c000000 31 000000 01000000" + std::string(32, 'c'))));
}

TEST(ListingsAndFetchesHaveTheirBytes) {
  std::string out;
  List list;
  list.flags = kListRecursive | kListAttributes;
  list.path = "d";
  EncodeList(&out, list);
  CHECK_EQUAL(Hex(out), Hex(Bytes("0f000000 32 000000 03 000000 0100 64")));
  out.clear();
  EncodeListed(&out, {});
  CHECK_EQUAL(Hex(out), Hex(Bytes("0c000000 34 000000 00000000")));
  out.clear();
  CountedMessage::Entries(&out).Finish();
  CHECK_EQUAL(out.size(), 0u);  // nothing to say
  CountedMessage fetch = CountedMessage::Fetch(&out, 3, 255);
  PutString16(&out, "p");
  fetch.Add();
  fetch.Finish();
  CHECK_EQUAL(Hex(out), Hex(Bytes("17000000 35 000000 03000000 01000000 ff 000000 0100 70")));
}

TEST(DeltasHaveTheirBytes) {
  std::string out;
  SignaturesMessage signatures;
  signatures.index = 1;
  signatures.block_size = 1024;
  signatures.file_size = 1500;
  signatures.salt = 0x04030201;
  signatures.first = 1;
  EncodeSignaturesHead(&out, signatures, 1);
  out += "wwwwssssssss";
  CHECK_EQUAL(Hex(out), Hex(Bytes("2c000000 40 000000 01000000 00040000 dc05000000000000 01020304 01000000"
                                  "77777777 7373737373737373")));
  SignaturesMessage back;
  CHECK(DecodeSignatures(std::string_view(out).substr(8), &back));
  CHECK(back.file_size == 1500 && back.first == 1 && back.blocks == "wwwwssssssss");
  CHECK(!DecodeSignatures(std::string_view(out).substr(8, out.size() - 9), &back));
  out.clear();
  EncodeReuse(&out, Reuse{5, 6});
  EncodePatchData(&out, "abc");
  FetchDelta fetch;
  fetch.index = 2;
  fetch.level = 3;
  fetch.path = "p";
  EncodeFetchDelta(&out, fetch);
  CHECK_EQUAL(Hex(out), Hex(Bytes("18000000 41 000000 0500000000000000 0600000000000000"
                                  "0b000000 42 000000 616263"
                                  "13000000 43 000000 02000000 03 000000 0100 70")));
  Entry entry;
  entry.flags = kEntryDelta | kEntryReference;
  entry.mode = 0;
  entry.path = "f";
  entry.reference.size = 7;
  entry.reference.md5.fill(0xcc);
  out.clear();
  PutEntry(&out, entry);
  CHECK_EQUAL(Hex(out), Hex(Bytes("01 c0 0000 00000000" + std::string(48, '0') + "0100 66 0700000000000000" +
                                  std::string(32, 'c'))));
  Entry taken;
  Reader reader(out);
  CHECK(TakeEntry(&reader, &taken) && reader.complete() && taken.reference.size == 7);
  CHECK(taken.reference.md5 == entry.reference.md5);
  Reader cut_off(std::string_view(out).substr(0, out.size() - 1));
  CHECK(!TakeEntry(&cut_off, &taken));
}

TEST(PathsStayInside) {
  for (const char* good : {"", "a", "a/b", "...", ".a", "a\\b", "\xff"}) CHECK(IsProtocolPath(good));
  for (const char* bad : {"/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b"}) CHECK(!IsProtocolPath(bad));
  CHECK(!IsProtocolPath(std::string_view("a\0b", 3)));
  CHECK(IsProtocolPath(std::string(255, 'x')) && !IsProtocolPath(std::string(256, 'x')));
  CHECK(IsTemporaryName(".eacopy-0123456789abcdef.tmp"));
  CHECK(!IsTemporaryName(".eacopy-0123456789abcdeg.tmp") && !IsTemporaryName(".eacopy-0123456789abcdef.tm"));
}

TEST(HighLevelsAreLeftInTheMiddleOfAFrame) {
  if (!ZstdAvailable()) SKIP("there is no zstd here");
  std::string content;
  for (uint32_t i = 0; content.size() < 600000; i = i * 1664525u + 1013904223u)
    content += std::to_string(i >> 20) + " ";
  Compressor compressor;
  Decompressor decompressor;
  const std::atomic<bool> stop{true}, go_on{false};
  std::string frame = "before";
  CHECK(!compressor.Compress(content, 19, &frame, &stop));
  CHECK_EQUAL(frame, "before");
  frame.clear();
  for (const int level : {19, 3, 12}) {
    frame.clear();
    REQUIRE(compressor.Compress(content, level, &frame, &go_on));
    CHECK(frame.size() < content.size() / 2);
    std::string_view back;
    REQUIRE(decompressor.Decompress(frame, content.size(), &back));
    CHECK(back == content);
  }
}

TEST(FramesHoldNoMoreThanTheyMay) {
  if (!ZstdAvailable()) SKIP("there is no zstd here");
  const std::string content(100000, 'x');
  std::string frame;
  Compressor compressor;
  CHECK(compressor.Compress(content, 3, &frame));
  CHECK_EQUAL(Hex(frame.substr(0, 4)), "28b52ffd");
  Decompressor decompressor;
  std::string_view back;
  CHECK(decompressor.Decompress(frame, content.size(), &back) && back == content);
  CHECK(decompressor.Decompress(frame + frame, 2 * content.size(), &back) && back.size() == 2 * content.size());
  CHECK(!decompressor.Decompress(frame, content.size() - 1, &back));
  CHECK(!decompressor.Decompress(frame.substr(0, frame.size() - 1), content.size(), &back));
  CHECK(!decompressor.Decompress("garbage", content.size(), &back));
}
