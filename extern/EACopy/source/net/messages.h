// The extended dialect: its messages as values, and their bytes; see docs/protocol.md for what they mean.
//
// Encoders append one message to a buffer, header included. Decoders read one payload (what follows the header), never
// leave it, and fail on anything left over. Views in a decoded value point into the payload.
#ifndef EACOPY_SOURCE_NET_MESSAGES_H_
#define EACOPY_SOURCE_NET_MESSAGES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../platform.h"
#include "attributes.h"
#include "bytes.h"
#include "digest.h"
#include "eacopy/status.h"
#include "wire.h"

namespace eacopy {
namespace net {

constexpr uint32_t kDialectVersion = 1;
constexpr size_t kMessageHeader = 8;
constexpr size_t kMaxUnpacked = 2u << 20;
constexpr size_t kMaxMessage = kMaxUnpacked + (64u << 10);  // so that every frame has room in one
constexpr size_t kMaxPath = 32767;
constexpr size_t kMaxComponent = 255;
constexpr size_t kMaxAttributes = 64u << 10;
constexpr uint32_t kUnknownMode = 0xffffffffu;
constexpr uint32_t kMaxOffersOnTheWay = 4;
constexpr uint32_t kMaxEntriesOnTheWay = 8192;
constexpr uint8_t kAdaptive = 255;  // Fetch: the level

enum class MessageType : uint8_t {
  kHello = 32,
  kWelcome = 33,
  kProof = 34,
  kProofAccepted = 35,
  kOpen = 36,
  kOpened = 37,
  kProve = 38,
  kSecret = 39,
  kOffer = 40,
  kResults = 41,
  kBody = 42,
  kBegin = 43,
  kData = 44,
  kHole = 45,
  kEnd = 46,
  kAbandon = 47,
  kPacked = 48,
  kDigest = 49,
  kList = 50,
  kEntries = 51,
  kListed = 52,
  kFetch = 53,
  kGoodbye = 54,
  kSignatures = 64,
  kReuse = 65,
  kPatchData = 66,
  kFetchDelta = 67,
  kFetchPatch = 68,
  kUnknownReference = 69,
};

enum Capability : uint32_t {
  kCapabilityZstd = 1u << 0,
  kCapabilityModes = 1u << 1,
  kCapabilitySymlinks = 1u << 2,
  kCapabilityAttributes = 1u << 3,
  kCapabilityDelta = 1u << 4,
  kCapabilityPatches = 1u << 5,
};

// What this system keeps of a file beside content and times.
constexpr uint32_t kFileCapabilities =
    platform::kHasModes ? kCapabilityModes | kCapabilitySymlinks | kCapabilityAttributes : kCapabilitySymlinks;

using Nonce = std::array<uint8_t, 32>;
using Secret = std::array<uint8_t, 16>;

struct MessageHeader {
  uint32_t size = 0;  // of the whole message
  uint8_t type = 0;
  uint8_t level = 0;  // Packed
};

struct ErrorView {
  uint8_t kind = 0;
  uint8_t operation = 0;
  int32_t error_number = 0;  // Linux's number
  uint64_t a = 0;            // DISK_FULL: needed; READ_ERROR, WRITE_ERROR: the offset
  uint64_t b = 0;            // DISK_FULL: available
  std::string_view path;
  std::string_view text;
};

struct Hello {  // and Welcome, which has `connections` too
  uint32_t version = kDialectVersion;
  uint32_t capabilities = 0;
  Nonce nonce{};
  uint32_t connections = 0;
};

enum OpenFlags : uint8_t { kOpenWrite = 1, kOpenTree = 2 };

struct Open {
  uint32_t connection_index = 0;
  Secret secret{};
  uint8_t flags = 0;
  std::string_view directory;
};

enum class Opened : uint8_t { kFile = 1, kDirectory = 2 };

struct Prove {
  Guid guid{};
  std::string_view path;
};

enum class EntryType : uint8_t { kFile = 1, kDirectory = 2, kSymlink = 3 };

enum EntryFlags : uint8_t {
  kEntryAttributes = 1u << 0,
  kEntrySetNow = 1u << 1,
  kEntryVerify = 1u << 2,
  kEntryNoMetadata = 1u << 3,
  kEntryModeOnly = 1u << 4,
  kEntryDurable = 1u << 5,
  kEntryDelta = 1u << 6,      // what differs from an older version is enough
  kEntryReference = 1u << 7,  // which one the client holds: `reference`
};

// Tells which older version of a file somebody has.
struct ReferenceDigest {
  uint64_t size = 0;
  Md5Digest md5{};
};

struct Entry {
  EntryType type = EntryType::kFile;
  uint8_t flags = 0;
  uint32_t mode = kUnknownMode;
  int64_t mtime = 0;  // nanoseconds since 1970
  int64_t atime = 0;
  uint64_t size = 0;
  std::string_view path;
  std::string_view target;      // of a symbolic link
  std::string_view attributes;  // encoded: the u16 count and what follows; empty without kEntryAttributes
  ReferenceDigest reference;    // with kEntryReference
};

enum class ResultCode : uint8_t {
  kSend = 0,
  kLinked = 1,
  kSkipped = 2,
  kSendDigest = 3,
  kStored = 4,
  kMade = 5,
  kSendDelta = 6,
  kSendPatch = 7,
  kFailed = 255,
};

struct Result {
  uint32_t index = 0;
  ResultCode code = ResultCode::kSend;
  ErrorView error;  // with kFailed
};

struct Body {
  uint32_t index = 0;
  uint32_t crc = 0;
  uint8_t flags = 0;  // bit 0: changed while it was read
  int64_t mtime = 0;
  std::string_view content;
};

struct Begin {
  uint32_t index = 0;
  int64_t mtime = 0;
  uint64_t size = 0;
};

struct End {
  uint32_t crc = 0;
  uint8_t flags = 0;
};
constexpr uint8_t kChangedWhileRead = 1;

struct Abandon {
  uint32_t index = 0;
  ErrorView error;
};

struct DigestMessage {
  uint32_t index = 0;
  Md5Digest digest{};
};

enum ListFlags : uint8_t { kListRecursive = 1, kListAttributes = 2 };

struct List {
  uint8_t flags = 0;
  uint8_t level = 0;  // as in Fetch
  std::string_view path;
};

struct Packed {
  uint32_t unpacked_size = 0;
  std::string_view frame;
};

// A part of the signatures of a file; see delta/signatures.h.
struct SignaturesMessage {
  uint32_t index = 0;
  uint32_t block_size = 0;
  uint64_t file_size = 0;
  uint32_t salt = 0;
  uint32_t first = 0;       // block
  std::string_view blocks;  // kSignatureSize bytes each
};
constexpr size_t kSignatureSize = 12;

struct Reuse {
  uint64_t offset = 0;  // in the older version
  uint64_t length = 0;
};

struct FetchDelta {
  uint32_t index = 0;
  uint8_t level = 0;
  std::string_view path;
};

struct FetchPatch {
  uint32_t index = 0;
  uint8_t level = 0;
  std::string_view path;
  ReferenceDigest reference;
};

// Encoding ------------------------------------------------------------------------------------------------------------

// A message is begun, written to by Put*, and ended, which fills in its size. Returns where it begins.
size_t BeginMessage(std::string* out, MessageType type, uint8_t level = 0);
void EndMessage(std::string* out, size_t begin);

void PutError(std::string* out, const ErrorView& error);
void PutEntry(std::string* out, const Entry& entry);
void PutResult(std::string* out, const Result& result);

void EncodeHello(std::string* out, const Hello& hello);
void EncodeWelcome(std::string* out, const Hello& welcome);
void EncodeProof(std::string* out, MessageType type, const Sha256Digest& proof);  // kProof or kProofAccepted
void EncodeOpen(std::string* out, const Open& open);
// `made`: how many directories had to be made for it.
void EncodeOpened(std::string* out, Opened what, size_t made = 0);
void EncodeProve(std::string* out, const Prove& prove);
void EncodeSecret(std::string* out, const Secret& secret);
// Everything of a Body but its content: `content_size` bytes must follow, from wherever they are.
void EncodeBodyHead(std::string* out, const Body& body, size_t content_size);
void EncodeBegin(std::string* out, const Begin& begin);
// The header of a Data: `size` bytes must follow.
void EncodeDataHead(std::string* out, size_t size);
void EncodeHole(std::string* out, uint64_t length);
void EncodeEnd(std::string* out, const End& end);
void EncodeAbandon(std::string* out, const Abandon& abandon);
// Everything of a Packed but its frame.
void EncodePackedHead(std::string* out, uint8_t level, uint32_t unpacked_size, size_t frame_size);
void EncodeDigest(std::string* out, const DigestMessage& digest);
void EncodeList(std::string* out, const List& list);
void EncodeListed(std::string* out, const std::vector<ErrorView>& failures);
void EncodeGoodbye(std::string* out, const ErrorView& error);
// Everything of a Signatures but the blocks.
void EncodeSignaturesHead(std::string* out, const SignaturesMessage& signatures, size_t blocks);
void EncodeReuse(std::string* out, const Reuse& reuse);
void EncodePatchData(std::string* out, std::string_view bytes);
void EncodeFetchDelta(std::string* out, const FetchDelta& fetch);
void EncodeFetchPatch(std::string* out, const FetchPatch& fetch);
void EncodeUnknownReference(std::string* out, uint32_t index);

// Messages with a count, which is filled in at the end: begin, Put* each, end.
class CountedMessage {
 public:
  static CountedMessage Offer(std::string* out, uint32_t first);
  static CountedMessage Results(std::string* out);
  static CountedMessage Entries(std::string* out);
  static CountedMessage Listed(std::string* out);
  static CountedMessage Fetch(std::string* out, uint32_t first, uint8_t level);

  // Counts what was put just now.
  void Add() { ++count_; }
  uint32_t count() const { return count_; }
  size_t size() const { return out_->size() - begin_; }
  // Fills in count and size. With nothing in it the message is taken back.
  void Finish();

 private:
  CountedMessage(std::string* out, size_t begin, size_t count_at) : out_(out), begin_(begin), count_at_(count_at) {}
  std::string* out_;
  size_t begin_;
  size_t count_at_;
  uint32_t count_ = 0;
  bool keep_empty_ = false;
};

// Decoding ------------------------------------------------------------------------------------------------------------

// Of kMessageHeader bytes. False for a size or a type that no message has. Padding is not looked at, here as elsewhere.
bool DecodeMessageHeader(std::string_view bytes, MessageHeader* out);

bool TakeError(Reader* reader, ErrorView* out);
// Fails on a type or sizes that no entry has. The path, which the peer may have made up, is for the caller to check.
bool TakeEntry(Reader* reader, Entry* out);
bool TakeResult(Reader* reader, Result* out);

bool DecodeHello(std::string_view payload, Hello* out);
bool DecodeWelcome(std::string_view payload, Hello* out);
bool DecodeProof(std::string_view payload, Sha256Digest* out);
bool DecodeOpen(std::string_view payload, Open* out);
bool DecodeOpened(std::string_view payload, Opened* out, uint32_t* made = nullptr);
bool DecodeProve(std::string_view payload, Prove* out);
bool DecodeSecret(std::string_view payload, Secret* out);
bool DecodeBody(std::string_view payload, Body* out);
bool DecodeBegin(std::string_view payload, Begin* out);
bool DecodeHole(std::string_view payload, uint64_t* length);
bool DecodeEnd(std::string_view payload, End* out);
bool DecodeAbandon(std::string_view payload, Abandon* out);
bool DecodePacked(std::string_view payload, Packed* out);  // false for more than kMaxUnpacked
bool DecodeDigest(std::string_view payload, DigestMessage* out);
bool DecodeList(std::string_view payload, List* out);
bool DecodeGoodbye(std::string_view payload, ErrorView* out);
bool DecodeSignatures(std::string_view payload, SignaturesMessage* out);
bool DecodeReuse(std::string_view payload, Reuse* out);
bool DecodeFetchDelta(std::string_view payload, FetchDelta* out);
bool DecodeFetchPatch(std::string_view payload, FetchPatch* out);
bool DecodeUnknownReference(std::string_view payload, uint32_t* index);

// The heads of messages with a count; the elements are then taken from *reader, which must be complete() at the end.
bool TakeOfferHead(Reader* reader, uint32_t* first, uint32_t* count);
bool TakeCount(Reader* reader, uint32_t* count);  // Results, Entries, Listed
bool TakeFetchHead(Reader* reader, uint32_t* first, uint32_t* count, uint8_t* level);

// What they hold ------------------------------------------------------------------------------------------------------

// A path as the protocol wants it: '/' between components that are not empty, ".", ".." or too long, no zero byte.
bool IsProtocolPath(std::string_view path);

// A Status on the wire and back. What is no known kind or operation becomes kUnknown or kNone; never success.
ErrorView ToErrorView(const Status& status, std::string_view path = {}, std::string_view text = {});
Status FromErrorView(const ErrorView& error);

int64_t ToNanoseconds(const platform::Timestamp& timestamp);  // what 64 bits cannot say becomes the nearest end
platform::Timestamp FromNanoseconds(int64_t nanoseconds);

// The proofs of a token; `transcript` is the bytes of Version, Hello and Welcome.
Sha256Digest ClientProof(std::string_view token, std::string_view transcript);
Sha256Digest ServerProof(std::string_view token, std::string_view transcript);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_MESSAGES_H_
