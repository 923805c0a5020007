// The extended dialect: sessions driven message by message.

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <functional>

#include "check.h"
#include "conversation.h"
#include "delta/frames.h"
#include "delta/signatures.h"
#include "files.h"
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

constexpr int64_t kTime = 1600000000123456789;
constexpr uint32_t kAll =
    kCapabilityZstd | kCapabilityModes | kCapabilitySymlinks | kCapabilityAttributes | kCapabilityDelta;

struct Heard {
  MessageType type = MessageType::kGoodbye;
  std::string payload;
};

// A server's context with one share.
struct Served {
  explicit Served(ServerOptions options = ServerOptions()) {
    MakeFolder(folder / "share");
    Make(options);
  }
  void Make(ServerOptions options, bool security_file = false) {
    options.security_file = security_file;
    context = std::make_unique<ServerContext>(options);
    context->shares.Add("share", folder / "share");
  }
  std::string operator/(const std::string& name) const { return folder / "share/" + name; }
  size_t Unfinished() const {
    size_t count = 0;
    for (const auto& [path, text] : test::Describe(folder.path(), false)) {
      count += path.find(".eacopy-") != std::string::npos || path.find("/.f") != std::string::npos ? 1 : 0;
    }
    return count;
  }

  Folder folder{test::FastPlace()};
  std::unique_ptr<ServerContext> context;
};

std::string Message(const std::function<void(std::string*)>& encode) {
  std::string bytes;
  encode(&bytes);
  return bytes;
}

std::string HelloMessage(uint32_t capabilities = kAll) {
  Hello hello;
  hello.capabilities = capabilities;
  return Message([&](std::string* out) { EncodeHello(out, hello); });
}

std::string OpenMessage(const std::string& directory, uint8_t flags, Secret secret = {}) {
  Open open;
  open.directory = directory;
  open.flags = flags;
  open.secret = secret;
  return Message([&](std::string* out) { EncodeOpen(out, open); });
}

Entry FileEntry(const char* path, uint64_t size) {
  Entry entry;
  entry.path = path;
  entry.size = size;
  entry.mode = 0640;
  entry.mtime = entry.atime = kTime;
  return entry;
}

std::string OfferMessage(uint32_t first, const std::vector<Entry>& entries) {
  return Message([&](std::string* out) {
    CountedMessage message = CountedMessage::Offer(out, first);
    for (const Entry& entry : entries) {
      PutEntry(out, entry);
      message.Add();
    }
    message.Finish();
  });
}

std::string BodyMessage(uint32_t index, const std::string& content, int64_t mtime = kTime) {
  Body body;
  body.index = index;
  body.crc = Crc32(0, content.data(), content.size());
  body.mtime = mtime;
  return Message([&](std::string* out) {
    EncodeBodyHead(out, body, content.size());
    *out += content;
  });
}

std::string DataMessage(const std::string& content) {
  return Message([&](std::string* out) {
    EncodeDataHead(out, content.size());
    *out += content;
  });
}

std::string PackedMessage(const std::string& messages) {
  Compressor compressor;
  std::string frame;
  compressor.Compress(messages, 3, &frame);
  return Message([&](std::string* out) {
    EncodePackedHead(out, 3, static_cast<uint32_t>(messages.size()), frame.size());
    *out += frame;
  });
}

class Client {
 public:
  explicit Client(Served& served) : conversation_(*served.context) {
    version_ = conversation_.Hear(VersionMessage(*served.context).size());
  }
  Client(Served& served, const std::string& directory, uint8_t flags = kOpenWrite | kOpenTree) : Client(served) {
    Say(HelloMessage());
    CHECK(Next().type == MessageType::kWelcome);
    Say(OpenMessage(directory, flags));
    CHECK(Next().type == MessageType::kOpened);
  }

  void Say(const std::string& bytes) { conversation_.Say(bytes); }
  void HangUp() { conversation_.HangUp(); }
  Heard Next() {
    Heard heard;
    const std::string head = conversation_.Hear(kMessageHeader);
    MessageHeader header;
    if (head.size() != kMessageHeader || !DecodeMessageHeader(head, &header)) return heard;
    heard.type = static_cast<MessageType>(header.type);
    heard.payload = conversation_.Hear(header.size - kMessageHeader);
    return heard;
  }
  // So many results, in whatever messages.
  std::vector<std::pair<uint32_t, ResultCode>> Results(size_t count) {
    while (waiting_.size() < count) {
      const Heard heard = Next();
      if (heard.type != MessageType::kResults) break;
      Reader reader(heard.payload);
      uint32_t more = 0;
      TakeCount(&reader, &more);
      for (; more > 0; --more) {
        Result result;
        if (!TakeResult(&reader, &result)) break;
        waiting_.emplace_back(result.index, result.code);
        last_error_kind = result.error.kind;
      }
    }
    CHECK(waiting_.size() >= count);
    waiting_.resize(std::max(waiting_.size(), count));
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
    std::vector<std::pair<uint32_t, ResultCode>> results(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
    return results;
  }
  ResultCode OneResult() { return Results(1)[0].second; }
  // The server must say Goodbye with this kind, and end the stream.
  void ExpectGoodbye(Kind kind) {
    Heard heard = Next();
    while (heard.type == MessageType::kResults) heard = Next();
    CHECK(heard.type == MessageType::kGoodbye && !heard.payload.empty());
    if (!heard.payload.empty()) CHECK_EQUAL(static_cast<int>(heard.payload[0]), static_cast<int>(kind));
    bool ended = false;
    CHECK_EQUAL(conversation_.HearAll(&ended), "");
    CHECK(ended);
  }
  void ExpectEnd() {
    bool ended = false;
    CHECK_EQUAL(conversation_.HearAll(&ended), "");
    CHECK(ended);
  }
  std::string Rest() { return conversation_.HearAll(); }
  void Finish() { conversation_.Finish(); }
  const std::string& version() const { return version_; }

  int last_error_kind = 0;

 private:
  Conversation conversation_;
  std::string version_;
  std::vector<std::pair<uint32_t, ResultCode>> waiting_;  // results that were heard, and not asked for
};

TEST(FilesDirectoriesAndLinksArePushed) {
  Served served;
  Client client(served, "share/dst");
  Entry directory = FileEntry("dir", 0);
  directory.type = EntryType::kDirectory;
  Entry link = FileEntry("link", 0);
  link.type = EntryType::kSymlink;
  link.target = "dir/f";
  client.Say(OfferMessage(0, {directory, FileEntry("dir/f", 7), link, FileEntry("new/empty", 0)}));
  const auto results = client.Results(4);
  CHECK(results[0].second == ResultCode::kMade && results[1].second == ResultCode::kSend);
  CHECK(results[2].second == ResultCode::kMade && results[3].second == ResultCode::kSend);
  client.Say(BodyMessage(1, "content") + BodyMessage(3, ""));
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK_EQUAL(Read(served / "dst/dir/f"), "content");
  CHECK_EQUAL(test::ModeOf(served / "dst/dir/f"), 0640u);
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(served / "dst/dir/f")).tv_nsec, 123456789);
  CHECK_EQUAL(test::LinkTarget(served / "dst/link"), "dir/f");
  directory.flags = kEntrySetNow;
  directory.mode = 0500;
  client.Say(OfferMessage(4, {directory, FileEntry("dir/f", 7), link}));
  for (const auto& [index, code] : client.Results(3)) CHECK(code == ResultCode::kSkipped);
  CHECK_EQUAL(test::ModeOf(served / "dst/dir"), 0500u);
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(served / "dst/dir")).tv_nsec, 123456789);
}

TEST(ALargeFileComesInPieces) {
  Served served;
  Client client(served, "share");
  const std::string noise = test::Noise(700000);
  client.Say(OfferMessage(0, {FileEntry("f", 5)}));
  CHECK(client.OneResult() == ResultCode::kSend);
  client.Say(Message([&](std::string* out) {
               EncodeBegin(out, Begin{0, kTime, 2 * noise.size() + (8u << 20)});
             }) +
             DataMessage(noise) + Message([](std::string* out) { EncodeHole(out, 8u << 20); }) + DataMessage(noise));
  const uint32_t crc = Crc32(Crc32(0, noise.data(), noise.size()), noise.data(), noise.size());
  client.Say(Message([&](std::string* out) { EncodeEnd(out, End{crc, 0}); }));
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK(Read(served / "f") == noise + std::string(8u << 20, '\0') + noise);
}

TEST(PackedMessagesAreUnpacked) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  Client client(served, "share");
  client.Say(PackedMessage(OfferMessage(0, {FileEntry("a", 1), FileEntry("b", 1)})));
  client.Results(2);
  client.Say(PackedMessage(BodyMessage(0, "1") + BodyMessage(1, "2")));
  client.Results(2);
  CHECK_EQUAL(Read(served / "a") + Read(served / "b"), "12");
}

TEST(WhatIsKnownIsLinked) {
  ServerOptions options;
  options.link_mode = LinkMode::kHard;
  Served served(options);
  {
    Client client(served, "share/one");
    client.Say(OfferMessage(0, {FileEntry("f", 7)}));
    client.Results(1);
    client.Say(BodyMessage(0, "content"));
    client.Results(1);
  }
  Client client(served, "share/two");
  client.Say(OfferMessage(0, {FileEntry("f", 7)}));
  CHECK(client.OneResult() == ResultCode::kLinked);
  CHECK_EQUAL(test::StatusOf(served / "one/f").st_ino, test::StatusOf(served / "two/f").st_ino);
  // With another mode it is a file of its own.
  Entry other = FileEntry("f", 7);
  other.mode = 0600;
  Client third(served, "share/three");
  third.Say(OfferMessage(0, {other}));
  CHECK(third.OneResult() == ResultCode::kLinked);
  CHECK(test::StatusOf(served / "one/f").st_ino != test::StatusOf(served / "three/f").st_ino);
  CHECK_EQUAL(test::ModeOf(served / "one/f"), 0640u);
  CHECK_EQUAL(test::ModeOf(served / "three/f"), 0600u);
  CHECK_EQUAL(Read(served / "three/f"), "content");
  // What is in the way is replaced, a sibling's mode is kept, and what was changed is not believed.
  Client fourth(served, "share/two");
  fourth.Say(OfferMessage(0, {other}));
  CHECK(fourth.OneResult() == ResultCode::kSkipped);
  CHECK_EQUAL(test::ModeOf(served / "two/f"), 0600u);
  CHECK_EQUAL(test::ModeOf(served / "one/f"), 0640u);
  test::RemoveTree(served / "two");
  test::Append(served / "three/f", "!");
  Client fifth(served, "share/five");
  fifth.Say(OfferMessage(0, {other}));
  CHECK(fifth.OneResult() == ResultCode::kSend);
  CHECK_EQUAL(served.Unfinished(), 0u);
}

TEST(ContentIsFoundByItsDigest) {
  ServerOptions options;
  options.use_hash = true;
  Served served(options);
  Client client(served, "share");
  Md5 md5;
  md5.Update("content");
  const Md5Digest digest = md5.Finish();
  auto say_digest = [&](uint32_t index) {
    client.Say(Message([&](std::string* out) { EncodeDigest(out, DigestMessage{index, digest}); }));
  };
  client.Say(OfferMessage(0, {FileEntry("a", 7)}));
  CHECK(client.OneResult() == ResultCode::kSendDigest);
  say_digest(0);
  CHECK(client.OneResult() == ResultCode::kSend);
  client.Say(BodyMessage(0, "content"));
  CHECK(client.OneResult() == ResultCode::kStored);
  Entry other = FileEntry("b", 7);
  other.mtime += 1000000000;
  client.Say(OfferMessage(1, {other}));
  CHECK(client.OneResult() == ResultCode::kSendDigest);
  say_digest(1);
  CHECK(client.OneResult() == ResultCode::kLinked);
  CHECK_EQUAL(Read(served / "b"), "content");
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(served / "b")).tv_sec, kTime / 1000000000 + 1);
  CHECK_EQUAL(test::ModifiedOf(test::StatusOf(served / "a")).tv_sec, kTime / 1000000000);
}

TEST(WhatTheClientAbandonsFails) {
  Served served;
  Client client(served, "share");
  client.Say(OfferMessage(0, {FileEntry("a", 1), FileEntry("b", 1)}));
  client.Results(2);
  const Status lost = Status::FromErrno(EIO, Operation::kRead, 5);
  client.Say(Message([&](std::string* out) { EncodeAbandon(out, Abandon{0, ToErrorView(lost, "a", "why")}); }));
  CHECK(client.OneResult() == ResultCode::kFailed);
  CHECK_EQUAL(client.last_error_kind, static_cast<int>(Kind::kReadError));
  client.Say(Message([](std::string* out) {
               EncodeBegin(out, Begin{1, 0, 100});
             }) +
             DataMessage("half") + Message([&](std::string* out) {
               EncodeAbandon(out, Abandon{1, ToErrorView(lost)});
             }));
  CHECK(client.OneResult() == ResultCode::kFailed);
  CHECK(test::Names(served.folder / "share").empty());
}

TEST(FailuresOfOneEntryAreItsOwn) {
  Served served;
  MakeFolder(served / "directory");
  Write(served / "file", "x");
  test::MakeLink("..", served / "up");
  Client client(served, "share");
  Entry below = FileEntry("file/x", 1), directory = FileEntry("directory", 1), good = FileEntry("good", 1);
  client.Say(OfferMessage(0, {FileEntry("..", 1), FileEntry("/etc/x", 1), FileEntry("", 1), below, directory,
                              FileEntry("up/x", 1), FileEntry(".eacopy-0123456789abcdef.tmp", 1), good}));
  const auto results = client.Results(8);
  for (size_t i = 0; i < 7; ++i) CHECK(results[i].second == ResultCode::kFailed);
  CHECK(results[7].second == ResultCode::kSend);
  CHECK(!Exists(served.folder / "x"));
}

TEST(ATreeIsPulled) {
  Served served;
  MakeFolder(served / "dir");
  MakeFolder(served / "dir/empty");
  Write(served / "dir/f", "content", 0640);
  test::SetTimes(served / "dir/f", 5, 6);
  test::MakeLink("f", served / "dir/link");
  Write(served / "dir/.eacopy-0123456789abcdef.tmp", "");
  Client client(served, "share/dir", kOpenTree);
  List list;
  list.flags = kListRecursive;
  client.Say(Message([&](std::string* out) { EncodeList(out, list); }));
  Heard heard = client.Next();
  REQUIRE(heard.type == MessageType::kEntries);
  Reader reader(heard.payload);
  uint32_t count = 0;
  TakeCount(&reader, &count);
  CHECK_EQUAL(count, 4u);
  std::vector<std::string> paths;
  for (; count > 0; --count) {
    Entry entry;
    REQUIRE(TakeEntry(&reader, &entry));
    paths.emplace_back(entry.path);
    if (entry.path == "f") CHECK(entry.size == 7 && entry.mode == 0640 && entry.mtime == 6123456789);
    if (entry.path == "link") CHECK(entry.target == "f");
  }
  CHECK(reader.complete());
  CHECK_EQUAL(paths[0], "");
  CHECK(client.Next().type == MessageType::kListed);
  client.Say(Message([](std::string* out) {
    CountedMessage fetch = CountedMessage::Fetch(out, 0, 0);
    for (const char* path : {"f", "none", "link", "../dir/f", "empty"}) {
      PutString16(out, path);
      fetch.Add();
    }
    fetch.Finish();
  }));
  heard = client.Next();
  Body body;
  REQUIRE(heard.type == MessageType::kBody && DecodeBody(heard.payload, &body));
  CHECK(body.content == "content" && body.mtime == 6123456789 && body.crc == Crc32(0, "content", 7));
  for (uint32_t i = 1; i < 5; ++i) {
    heard = client.Next();
    Abandon abandon;
    REQUIRE(heard.type == MessageType::kAbandon && DecodeAbandon(heard.payload, &abandon));
    CHECK_EQUAL(abandon.index, i);
  }
}

TEST(ALargeFileIsPulledAtEveryLevel) {
  Served served;
  std::string content = test::Noise(300000) + std::string(2000000, 'x');
  Write(served / "f", content);
  test::SetSize(served / "f", 40 << 20);
  content.resize(40 << 20);
  for (const uint8_t level : {uint8_t{0}, uint8_t{3}, kAdaptive}) {
    if (level != 0 && !ZstdAvailable()) continue;
    Client client(served, "share", 0);
    client.Say(Message([&](std::string* out) {
      CountedMessage fetch = CountedMessage::Fetch(out, 7, level);
      PutString16(out, "f");
      fetch.Add();
      fetch.Finish();
    }));
    std::string got;
    uint32_t crc = 0;
    Decompressor decompressor;
    bool ended = false;
    std::function<void(MessageType, std::string_view)> take = [&](MessageType type, std::string_view payload) {
      if (type == MessageType::kPacked) {
        Packed packed;
        std::string_view plain;
        CHECK(DecodePacked(payload, &packed) && decompressor.Decompress(packed.frame, packed.unpacked_size, &plain));
        const std::string copy(plain);
        for (std::string_view rest = copy; !rest.empty();) {
          MessageHeader header;
          if (!DecodeMessageHeader(rest, &header)) return;
          take(static_cast<MessageType>(header.type), rest.substr(kMessageHeader, header.size - kMessageHeader));
          rest.remove_prefix(header.size);
        }
      } else if (type == MessageType::kData) {
        got += payload;
        crc = Crc32(crc, payload.data(), payload.size());
      } else if (type == MessageType::kHole) {
        uint64_t length = 0;
        CHECK(DecodeHole(payload, &length));
        got.append(static_cast<size_t>(length), '\0');
      } else if (type == MessageType::kEnd) {
        End end;
        CHECK(DecodeEnd(payload, &end) && end.crc == crc);
        ended = true;
      } else if (type == MessageType::kGoodbye) {
        ended = true;
      }
    };
    while (!ended) {
      const Heard heard = client.Next();
      take(heard.type, heard.payload);
    }
    CHECK(got == content);
  }
}

TEST(ViolationsEndTheConnection) {
  Served served;
  auto header = [](uint32_t size, uint8_t type) {
    std::string bytes;
    PutNumber(&bytes, size);
    bytes.push_back(static_cast<char>(type));
    return bytes + std::string(3, '\0');
  };
  std::vector<std::string> bad = {
      header(0, 40),
      header(7, 40),
      header(kMaxMessage + 1, 42),
      header(8, 55),
      header(8, 63),
      header(8, 33),
      header(8, 40),
      HelloMessage(),
      OpenMessage("share", 3),
      BodyMessage(0, "nobody asked"),
      DataMessage("x"),
      Message([](std::string* out) { EncodeHole(out, 5); }),
      Message([](std::string* out) { EncodeEnd(out, End{}); }),
      OfferMessage(0, {FileEntry("f", 1)}) + BodyMessage(1, "x"),
      OfferMessage(0, {FileEntry("f", 1)}) + OfferMessage(0, {FileEntry("g", 1)}),
      OfferMessage(0xffffffff, {FileEntry("f", 1), FileEntry("g", 1)}),
      OfferMessage(0, {FileEntry("f", 1)}) + Message([](std::string* out) {
        EncodeDigest(out, DigestMessage{0, {}});
      }),
      header(16, 40) + std::string(4, '\0') + std::string(4, '\xff'),
  };
  std::string wrong_crc = OfferMessage(0, {FileEntry("f", 1)}) + BodyMessage(0, "x");
  wrong_crc.back() = 'y';
  bad.push_back(wrong_crc);
  if (ZstdAvailable()) {
    bad.push_back(PackedMessage(PackedMessage(OfferMessage(0, {FileEntry("f", 1)}))));
    bad.push_back(PackedMessage(std::string(5, 'x')));
    std::string claims_less = PackedMessage(std::string(500, 'x'));
    StoreNumber<uint32_t>(&claims_less[kMessageHeader], 3);
    bad.push_back(claims_less);
    StoreNumber<uint32_t>(&claims_less[kMessageHeader], 0xffffffff);
    bad.push_back(claims_less);
  }
  for (const std::string& said : bad) {
    Client client(served, "share");
    client.Say(said);
    client.ExpectGoodbye(Kind::kClient);
  }
  Client reader(served, "share", kOpenTree);
  reader.Say(OfferMessage(0, {FileEntry("f", 1)}));
  reader.ExpectGoodbye(Kind::kClient);
  CHECK(test::Names(served.folder / "share").empty());
}

TEST(WhatIsNotSharedIsRefusedAlike) {
  Served served;
  Write(served.folder / "outside", "");
  for (const std::string& asked : {std::string("other"), std::string(".."), served.folder.path(),
                                   served.folder / "outside", std::string("/none/such"), std::string("")}) {
    Client client(served);
    client.Say(HelloMessage());
    client.Next();
    client.Say(OpenMessage(asked, kOpenWrite | kOpenTree));
    client.ExpectGoodbye(Kind::kPermissionDenied);
  }
  Client client(served);
  client.Say(HelloMessage());
  client.Next();
  client.Say(OpenMessage("share/none", kOpenTree));
  client.ExpectGoodbye(Kind::kFileNotFound);
}

TEST(AFileIsOpenedAsItself) {
  Served served;
  Write(served / "f", "content");
  Client client(served);
  client.Say(HelloMessage());
  client.Next();
  client.Say(OpenMessage("share/f", 0));
  const Heard heard = client.Next();
  REQUIRE(heard.type == MessageType::kOpened);
  CHECK_EQUAL(static_cast<int>(heard.payload[0]), 1);
  Client writer(served);
  writer.Say(HelloMessage());
  writer.Next();
  writer.Say(OpenMessage("share/new/f", kOpenWrite));
  CHECK_EQUAL(static_cast<int>(writer.Next().payload[0]), 1);
  writer.Say(OfferMessage(0, {FileEntry("f", 1)}));
  CHECK(writer.OneResult() == ResultCode::kSend);
  CHECK(Exists(served / "new"));
}

TEST(ATokenIsProvedByBoth) {
  ServerOptions options;
  options.token = "long and random";
  Served served(options);
  auto greet = [&](Client& client, std::string* transcript) {
    const std::string hello = HelloMessage();
    client.Say(hello);
    const Heard welcome = client.Next();
    CHECK(welcome.type == MessageType::kWelcome);
    std::string bytes;
    const size_t begin = BeginMessage(&bytes, MessageType::kWelcome);
    bytes += welcome.payload;
    EndMessage(&bytes, begin);
    *transcript = client.version() + hello + bytes;
  };
  std::string transcript, before;
  Client good(served);
  greet(good, &before);
  good.Say(
      Message([&](std::string* out) { EncodeProof(out, MessageType::kProof, ClientProof(options.token, before)); }));
  Heard heard = good.Next();
  Sha256Digest proof;
  REQUIRE(heard.type == MessageType::kProofAccepted && DecodeProof(heard.payload, &proof));
  CHECK(proof == ServerProof(options.token, before));
  good.Say(OpenMessage("share", 3));
  CHECK(good.Next().type == MessageType::kOpened);
  // Wrong, recorded, left out: no word.
  for (int i = 0; i < 3; ++i) {
    Client bad(served);
    greet(bad, &transcript);
    if (i == 2) {
      bad.Say(OpenMessage("share", 3));
      bad.ExpectGoodbye(Kind::kClient);
      continue;
    }
    const std::string token = i == 0 ? "long and randon" : options.token;
    bad.Say(Message([&](std::string* out) {
      EncodeProof(out, MessageType::kProof, ClientProof(token, i == 0 ? transcript : before));
    }));
    bad.ExpectEnd();
  }
}

TEST(TheSecurityFileProvesTheUser) {
  Served served;
  served.Make(ServerOptions(), true);
  Client client(served);
  client.Say(HelloMessage());
  client.Next();
  client.Say(OpenMessage("share/new", kOpenWrite | kOpenTree));
  Heard heard = client.Next();
  Prove prove;
  REQUIRE(heard.type == MessageType::kProve && DecodeProve(heard.payload, &prove));
  const std::string path(prove.path);
  CHECK_EQUAL(path, served / "new/" + wire::SecurityFileName(prove.guid));
  CHECK_EQUAL(test::ModeOf(path), 0600u);
  const std::string content = Read(path);
  Secret secret;
  REQUIRE(content.size() == secret.size());
  std::memcpy(secret.data(), content.data(), secret.size());
  client.Say(Message([&](std::string* out) { EncodeSecret(out, secret); }));
  CHECK(client.Next().type == MessageType::kOpened);
  CHECK(!Exists(path));
  Client second(served);
  second.Say(HelloMessage());
  second.Next();
  second.Say(OpenMessage("share/new", kOpenWrite | kOpenTree, secret));
  CHECK(second.Next().type == MessageType::kOpened);
  Client elsewhere(served);
  elsewhere.Say(HelloMessage());
  elsewhere.Next();
  elsewhere.Say(OpenMessage("share", kOpenWrite | kOpenTree, secret));
  elsewhere.ExpectGoodbye(Kind::kPermissionDenied);
  Client liar(served);
  liar.Say(HelloMessage());
  liar.Next();
  liar.Say(OpenMessage("share/other/deep", kOpenWrite | kOpenTree));
  CHECK(liar.Next().type == MessageType::kProve);
  liar.Say(Message([](std::string* out) { EncodeSecret(out, Secret{}); }));
  liar.ExpectGoodbye(Kind::kPermissionDenied);
  CHECK(!Exists(served / "other"));
}

TEST(AReportIsGivenAndDoneEndsASession) {
  Served served;
  Client client(served, "share");
  client.Say(std::string("\x08\0\0\0\x09\0\0\0\x08\0\0\0\x08\0\0\0", 16));
  const std::string heard = client.Rest();
  CHECK(heard.find(std::string("p\0y\0-\0e\0a\0c\0o\0p\0y\0", 18)) == 4);
  CHECK_EQUAL(LoadNumber<uint32_t>(heard.data()) * 2 + 4 + 8, heard.size());
  client.Finish();
  CHECK_EQUAL(served.context->totals.errors.load(), 0u);
}

TEST(AClientMayLeaveAtAnyPoint) {
  Served served;
  std::string said = HelloMessage() + OpenMessage("share/dst", kOpenWrite | kOpenTree) +
                     OfferMessage(0, {FileEntry("f", 7), FileEntry("g", 4)}) + BodyMessage(0, "content") +
                     Message([](std::string* out) {
                       EncodeBegin(out, Begin{1, kTime, 4});
                     }) +
                     DataMessage("data") + Message([](std::string* out) {
                       EncodeEnd(out, End{Crc32(0, "data", 4), 0});
                     });
  if (ZstdAvailable()) said += PackedMessage(OfferMessage(2, {FileEntry("h", 1)}) + BodyMessage(2, "h"));
  for (size_t size = 0; size <= said.size(); size += 3) {
    Client client(served);
    client.Say(said.substr(0, size));
    client.HangUp();
    client.Finish();
    CHECK_EQUAL(served.Unfinished(), 0u);
    if (Exists(served / "dst/f")) CHECK_EQUAL(Read(served / "dst/f"), "content");
    if (Exists(served / "dst/g")) CHECK_EQUAL(Read(served / "dst/g"), "data");
    test::RemoveTree(served / "dst");
  }
}

TEST(OneByteAtATimeIsTheSame) {
  Served served;
  Client client(served);
  const std::string said =
      HelloMessage() + OpenMessage("share", 3) + OfferMessage(0, {FileEntry("f", 7)}) + BodyMessage(0, "content");
  for (const char& byte : said) client.Say(std::string(1, byte));
  CHECK(client.Next().type == MessageType::kWelcome);
  CHECK(client.Next().type == MessageType::kOpened);
  CHECK(client.OneResult() == ResultCode::kSend);
  CHECK(client.OneResult() == ResultCode::kStored);
}

// Deltas --------------------------------------------------------------------------------------------------------------

std::string BeginMessageOf(uint32_t index, uint64_t size) {
  return Message([&](std::string* out) { EncodeBegin(out, Begin{index, kTime, size}); });
}

std::string EndMessageOf(const std::string& content) {
  return Message([&](std::string* out) { EncodeEnd(out, End{Crc32(0, content.data(), content.size()), 0}); });
}

std::string ReuseMessage(uint64_t offset, uint64_t length) {
  return Message([&](std::string* out) { EncodeReuse(out, Reuse{offset, length}); });
}

std::string SignaturesOfNothing(uint32_t index, uint32_t block_size, uint64_t file_size, uint32_t first,
                                size_t blocks) {
  SignaturesMessage message;
  message.index = index;
  message.block_size = block_size;
  message.file_size = file_size;
  message.first = first;
  return Message([&](std::string* out) {
    EncodeSignaturesHead(out, message, blocks);
    out->append(blocks * kSignatureSize, 'x');
  });
}

Entry DeltaEntry(const char* path, uint64_t size) {
  Entry entry = FileEntry(path, size);
  entry.flags = kEntryDelta;
  return entry;
}

Entry PatchEntry(const char* path, uint64_t size, const std::string& older) {
  Entry entry = DeltaEntry(path, size);
  entry.flags |= kEntryReference;
  entry.reference.size = older.size();
  Md5 md5;
  md5.Update(older);
  entry.reference.md5 = md5.Finish();
  return entry;
}

TEST(WhatAnOlderVersionHasIsTakenFromIt) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  const std::string old = test::Noise(5000);
  Write(served / "f", old);
  Client client(served, "share");
  client.Say(OfferMessage(0, {DeltaEntry("f", 6000)}));
  const Heard heard = client.Next();
  SignaturesMessage signatures;
  CHECK(heard.type == MessageType::kSignatures && DecodeSignatures(heard.payload, &signatures));
  CHECK_EQUAL(signatures.index, 0u);
  CHECK_EQUAL(signatures.block_size, 1024u);
  CHECK_EQUAL(signatures.file_size, 5000u);
  CHECK_EQUAL(signatures.first, 0u);
  CHECK_EQUAL(signatures.blocks.size(), 5 * kSignatureSize);
  CHECK(client.OneResult() == ResultCode::kSendDelta);
  const std::string content = old.substr(1000, 3000) + "new" + old;
  // It is held open: that it is replaced does not matter.
  Write(served / "g", "another");
  CHECK_EQUAL(std::rename((served / "g").c_str(), (served / "f").c_str()), 0);
  client.Say(BeginMessageOf(0, content.size()) + PackedMessage(ReuseMessage(1000, 3000) + DataMessage("new")) +
             ReuseMessage(0, 5000) + EndMessageOf(content));
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK(Read(served / "f") == content);
  // Nothing of it must be used, and there need not be anything.
  client.Say(OfferMessage(1, {DeltaEntry("f", 7), DeltaEntry("new", 7), DeltaEntry("nothing", 0)}));
  for (const auto& [index, code] : client.Results(3)) CHECK(code == ResultCode::kSend);
  client.Say(BodyMessage(0 + 1, "content") + BodyMessage(2, "content") + BodyMessage(3, ""));
  for (const auto& [index, code] : client.Results(3)) CHECK(code == ResultCode::kStored);
}

TEST(ADeltaThatIsWrongFailsAlone) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  const std::string old = test::Noise(5000);
  Write(served / "f", old);
  Client client(served, "share");
  uint32_t index = 0;
  auto offer = [&] {
    client.Say(OfferMessage(index, {DeltaEntry("f", 6000)}));
    CHECK(client.Next().type == MessageType::kSignatures);
    CHECK(client.OneResult() == ResultCode::kSendDelta);
  };
  auto expect_failure = [&] {
    CHECK(client.OneResult() == ResultCode::kFailed);
    CHECK_EQUAL(client.last_error_kind, static_cast<int>(Kind::kDeltaCopy));
    ++index;
  };
  offer();
  client.Say(BeginMessageOf(index, 5000) + ReuseMessage(0, 5000) + EndMessageOf("something else"));
  expect_failure();
  offer();
  client.Say(BeginMessageOf(index, 6000) + ReuseMessage(0, 5000) + EndMessageOf(old));  // too short
  expect_failure();
  CHECK(Read(served / "f") == old);
  offer();
  test::SetSize(served / "f", 100);  // it is written to, not replaced
  client.Say(BeginMessageOf(index, 5000) + ReuseMessage(0, 5000) + EndMessageOf(old));
  expect_failure();
  // It can be sent as it is.
  client.Say(OfferMessage(index, {FileEntry("f", 7)}));
  CHECK(client.OneResult() == ResultCode::kSend);
  client.Say(BodyMessage(index, "content"));
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK_EQUAL(Read(served / "f"), "content");
  CHECK_EQUAL(served.Unfinished(), 0u);
}

TEST(APatchIsTakenWhenItsReferenceIsThere) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  const std::string old = test::Noise(50000), content = old.substr(7) + "new";
  auto make_patch = [&old](const std::string& of) {
    delta::FrameWriter frame;
    std::string made;
    CHECK(frame.Begin(nullptr, old, of.size(), 3, [] { return false; }).ok() && frame.Add(of, true, &made));
    return made;
  };
  const std::string patch = make_patch(content);
  CHECK(patch.size() < 1000);
  auto data = [](const std::string& bytes) { return Message([&](std::string* out) { EncodePatchData(out, bytes); }); };
  std::string damaged = patch;
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);
  const std::string bomb = make_patch(std::string(100u << 20, 'x'));
  for (const std::string& bytes : {damaged, patch.substr(0, patch.size() / 2), bomb, std::string("no frame")}) {
    Write(served / "f", old);
    Client client(served, "share");
    client.Say(OfferMessage(0, {PatchEntry("f", content.size(), old)}));
    CHECK(client.OneResult() == ResultCode::kSendPatch);
    client.Say(BeginMessageOf(0, content.size()) + data(bytes) + EndMessageOf(content));
    CHECK(client.OneResult() == ResultCode::kFailed);
    CHECK_EQUAL(client.last_error_kind, static_cast<int>(Kind::kDeltaCopy));
    CHECK(Read(served / "f") == old);
  }
  Client client(served, "share");
  client.Say(OfferMessage(0, {PatchEntry("f", content.size(), old)}));
  CHECK(client.OneResult() == ResultCode::kSendPatch);
  client.Say(BeginMessageOf(0, content.size()) + data(patch.substr(0, 10)) + data(patch.substr(10)) +
             EndMessageOf(content));
  CHECK(client.OneResult() == ResultCode::kStored);
  CHECK(Read(served / "f") == content);
  // It is another one now.
  client.Say(OfferMessage(1, {PatchEntry("f", content.size() + 1, old)}));
  CHECK(client.Next().type == MessageType::kSignatures);
  CHECK(client.OneResult() == ResultCode::kSendDelta);
  CHECK_EQUAL(served.Unfinished(), 0u);
}

TEST(AFileIsFetchedAsADelta) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  const std::string old = test::Noise(4096);
  Write(served / "f", "before" + old);
  Client client(served, "share", 0);
  FetchDelta fetch;
  fetch.path = "f";
  std::string signatures;
  SignaturesMessage message;
  message.block_size = 2048;
  message.file_size = 4096;
  message.salt = 5;
  for (uint32_t i = 0; i < 2; ++i) {
    message.first = i;
    EncodeSignaturesHead(&signatures, message, 1);
    const delta::BlockSignature block = delta::SignatureOf(5, std::string_view(old).substr(2048 * i, 2048));
    PutNumber<uint32_t>(&signatures, block.weak);
    PutNumber<uint64_t>(&signatures, block.strong);
  }
  client.Say(Message([&](std::string* out) { EncodeFetchDelta(out, fetch); }) + signatures);
  CHECK(client.Next().type == MessageType::kBegin);
  Heard heard = client.Next();
  CHECK(heard.type == MessageType::kData);
  CHECK_EQUAL(heard.payload, "before");
  heard = client.Next();
  Reuse reuse;
  CHECK(heard.type == MessageType::kReuse && DecodeReuse(heard.payload, &reuse));
  CHECK_EQUAL(reuse.offset, 0u);
  CHECK_EQUAL(reuse.length, 4096u);
  CHECK(client.Next().type == MessageType::kEnd);
}

TEST(DeltasThatNobodyAskedForEndTheConversation) {
  if (!ZstdAvailable()) SKIP("no zstd here");
  Served served;
  Write(served / "f", test::Noise(5000));
  const std::string fetch = Message([](std::string* out) {
    FetchDelta message;
    message.path = "f";
    EncodeFetchDelta(out, message);
  });
  const std::string list = Message([](std::string* out) { EncodeList(out, List()); });
  const std::string patch = Message([](std::string* out) { EncodePatchData(out, "x"); });
  const std::string begin = BeginMessageOf(0, 5000);
  for (const std::string& bytes :
       {ReuseMessage(0, 1), patch, begin + ReuseMessage(0, 5001), begin + ReuseMessage(4999, 2),
        begin + ReuseMessage(UINT64_MAX, 2), begin + ReuseMessage(1, UINT64_MAX), begin + ReuseMessage(0, 0),
        begin + ReuseMessage(0, 5000) + ReuseMessage(0, 1), SignaturesOfNothing(0, 1024, 1024, 0, 1), fetch + fetch,
        fetch + list, fetch + SignaturesOfNothing(0, 0, 1024, 0, 1), fetch + SignaturesOfNothing(0, 1024, 0, 0, 1),
        fetch + SignaturesOfNothing(0, 1024, UINT64_MAX, 0, 1), fetch + SignaturesOfNothing(0, 1024, 1024, 0, 2),
        fetch + SignaturesOfNothing(0, 1024, 1024, 1, 1), fetch + SignaturesOfNothing(0, 1024, 1024, 0, 0),
        fetch + SignaturesOfNothing(1, 1024, 1024, 0, 1),
        fetch + SignaturesOfNothing(0, 1024, 4096, 0, 1) + SignaturesOfNothing(0, 2048, 4096, 1, 1)}) {
    Client client(served, "share");
    client.Say(OfferMessage(0, {DeltaEntry("f", 6000)}));
    CHECK(client.Next().type == MessageType::kSignatures);
    CHECK(client.OneResult() == ResultCode::kSendDelta);
    client.Say(bytes);
    client.ExpectGoodbye(Kind::kClient);
  }
  // Nor does a client without the capability get to know of them.
  Client client(served);
  client.Say(HelloMessage(kAll & ~uint32_t{kCapabilityDelta}));
  CHECK(client.Next().type == MessageType::kWelcome);
  client.Say(OpenMessage("share", kOpenWrite | kOpenTree));
  CHECK(client.Next().type == MessageType::kOpened);
  client.Say(OfferMessage(0, {DeltaEntry("f", 6000)}));
  CHECK(client.OneResult() == ResultCode::kSend);
  client.Say(begin + ReuseMessage(0, 1));
  client.ExpectGoodbye(Kind::kClient);
  CHECK_EQUAL(served.Unfinished(), 0u);
}

}  // namespace
}  // namespace net
}  // namespace eacopy
