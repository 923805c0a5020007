// The extended dialect's bytes; see messages.h.

#include "messages.h"

#include <cerrno>
#include <limits>

namespace eacopy {
namespace net {
namespace {

// Where the numbers of a system are not Linux's.
#ifndef __linux__
struct ErrnoPair {
  int ours;
  int linux_number;
};
#ifdef _WIN32  // it has no names for two
constexpr int kStale = EIO, kOverQuota = ENOSPC;
#else
constexpr int kStale = ESTALE, kOverQuota = EDQUOT;
#endif
// Of two pairs, the first is what is sent.
constexpr ErrnoPair kErrnoPairs[] = {{EIO, 5},
                                     {ENOSPC, 28},
                                     {kStale, 116},
                                     {kOverQuota, 122},
                                     {EAGAIN, 11},
                                     {EDEADLK, 35},
                                     {ENAMETOOLONG, 36},
                                     {ENOSYS, 38},
                                     {ENOTEMPTY, 39},
                                     {ELOOP, 40},
                                     {EOVERFLOW, 75},
                                     {EILSEQ, 84},
                                     {EOPNOTSUPP, 95},
                                     {ENOTSUP, 95},
                                     {EADDRINUSE, 98},
                                     {EADDRNOTAVAIL, 99},
                                     {ENETDOWN, 100},
                                     {ENETUNREACH, 101},
                                     {ENETRESET, 102},
                                     {ECONNABORTED, 103},
                                     {ECONNRESET, 104},
                                     {ENOBUFS, 105},
                                     {ENOTCONN, 107},
                                     {ETIMEDOUT, 110},
                                     {ECONNREFUSED, 111},
                                     {EHOSTUNREACH, 113},
                                     {ECANCELED, 125}};
#endif

int32_t ToLinuxErrno(int error_number) {
#ifndef __linux__
  for (const ErrnoPair& pair : kErrnoPairs) {
    if (pair.ours == error_number) return pair.linux_number;
  }
#endif
  return error_number;
}

int FromLinuxErrno(int32_t error_number) {
#ifndef __linux__
  for (const ErrnoPair& pair : kErrnoPairs) {
    if (pair.linux_number == error_number) return pair.ours;
  }
#endif
  return error_number;
}

template <typename Enum>
uint8_t Number(Enum value) {
  return static_cast<uint8_t>(value);
}

// The text of an error: what is too long for people is cut.
std::string_view Shortened(std::string_view text, size_t most) { return text.substr(0, most); }

constexpr size_t kMaxErrorText = 4096;

}  // namespace

size_t BeginMessage(std::string* out, MessageType type, uint8_t level) {
  const size_t begin = out->size();
  PutNumber<uint32_t>(out, 0);
  out->push_back(static_cast<char>(type));
  out->push_back(static_cast<char>(level));
  PutZeros(out, 2);
  return begin;
}

void EndMessage(std::string* out, size_t begin) {
  PutNumberAt<uint32_t>(out, begin, static_cast<uint32_t>(out->size() - begin));
}

void PutError(std::string* out, const ErrorView& error) {
  out->push_back(static_cast<char>(error.kind));
  out->push_back(static_cast<char>(error.operation));
  PutZeros(out, 2);
  PutNumber<int32_t>(out, error.error_number);
  PutNumber<uint64_t>(out, error.a);
  PutNumber<uint64_t>(out, error.b);
  PutString16(out, Shortened(error.path, kMaxPath));
  PutString16(out, Shortened(error.text, kMaxErrorText));
}

void PutEntry(std::string* out, const Entry& entry) {
  // In one piece, because trees have many.
  char fixed[34];
  fixed[0] = static_cast<char>(entry.type);
  fixed[1] =
      static_cast<char>(entry.attributes.empty() ? entry.flags & ~kEntryAttributes : entry.flags | kEntryAttributes);
  fixed[2] = fixed[3] = 0;
  StoreNumber<uint32_t>(fixed + 4, entry.mode);
  StoreNumber<int64_t>(fixed + 8, entry.mtime);
  StoreNumber<int64_t>(fixed + 16, entry.atime);
  StoreNumber<uint64_t>(fixed + 24, entry.size);
  StoreNumber<uint16_t>(fixed + 32, static_cast<uint16_t>(entry.path.size()));
  out->append(fixed, sizeof(fixed));
  PutBytes(out, entry.path);
  if (entry.type == EntryType::kSymlink) PutString16(out, entry.target);
  PutBytes(out, entry.attributes);
  if ((entry.flags & kEntryReference) != 0) {
    PutNumber<uint64_t>(out, entry.reference.size);
    PutArray(out, entry.reference.md5);
  }
}

void PutResult(std::string* out, const Result& result) {
  PutNumber<uint32_t>(out, result.index);
  out->push_back(static_cast<char>(result.code));
  if (result.code == ResultCode::kFailed) PutError(out, result.error);
}

static void EncodeGreeting(std::string* out, MessageType type, const Hello& hello) {
  const size_t begin = BeginMessage(out, type);
  PutNumber<uint32_t>(out, hello.version);
  PutNumber<uint32_t>(out, hello.capabilities);
  PutArray(out, hello.nonce);
  if (type == MessageType::kWelcome) PutNumber<uint32_t>(out, hello.connections);
  EndMessage(out, begin);
}

void EncodeHello(std::string* out, const Hello& hello) { EncodeGreeting(out, MessageType::kHello, hello); }

void EncodeWelcome(std::string* out, const Hello& welcome) { EncodeGreeting(out, MessageType::kWelcome, welcome); }

void EncodeProof(std::string* out, MessageType type, const Sha256Digest& proof) {
  const size_t begin = BeginMessage(out, type);
  PutArray(out, proof);
  EndMessage(out, begin);
}

void EncodeOpen(std::string* out, const Open& open) {
  const size_t begin = BeginMessage(out, MessageType::kOpen);
  PutNumber<uint32_t>(out, open.connection_index);
  PutArray(out, open.secret);
  out->push_back(static_cast<char>(open.flags));
  PutZeros(out, 3);
  PutString16(out, open.directory);
  EndMessage(out, begin);
}

void EncodeOpened(std::string* out, Opened what, size_t made) {
  const size_t begin = BeginMessage(out, MessageType::kOpened);
  out->push_back(static_cast<char>(what));
  PutZeros(out, 1);
  PutNumber(out, static_cast<uint16_t>(std::min<size_t>(made, UINT16_MAX)));
  EndMessage(out, begin);
}

void EncodeProve(std::string* out, const Prove& prove) {
  const size_t begin = BeginMessage(out, MessageType::kProve);
  PutArray(out, prove.guid);
  PutString16(out, prove.path);
  EndMessage(out, begin);
}

void EncodeSecret(std::string* out, const Secret& secret) {
  const size_t begin = BeginMessage(out, MessageType::kSecret);
  PutArray(out, secret);
  EndMessage(out, begin);
}

// A message whose last part follows from elsewhere.
static void EndHead(std::string* out, size_t begin, size_t rest) {
  PutNumberAt<uint32_t>(out, begin, static_cast<uint32_t>(out->size() - begin + rest));
}

void EncodeBodyHead(std::string* out, const Body& body, size_t content_size) {
  const size_t begin = BeginMessage(out, MessageType::kBody);
  PutNumber<uint32_t>(out, body.index);
  PutNumber<uint32_t>(out, body.crc);
  out->push_back(static_cast<char>(body.flags));
  PutZeros(out, 3);
  PutNumber<int64_t>(out, body.mtime);
  EndHead(out, begin, content_size);
}

void EncodeBegin(std::string* out, const Begin& message) {
  const size_t begin = BeginMessage(out, MessageType::kBegin);
  PutNumber<uint32_t>(out, message.index);
  PutZeros(out, 4);
  PutNumber<int64_t>(out, message.mtime);
  PutNumber<uint64_t>(out, message.size);
  EndMessage(out, begin);
}

void EncodeDataHead(std::string* out, size_t size) { EndHead(out, BeginMessage(out, MessageType::kData), size); }

void EncodeHole(std::string* out, uint64_t length) {
  const size_t begin = BeginMessage(out, MessageType::kHole);
  PutNumber<uint64_t>(out, length);
  EndMessage(out, begin);
}

void EncodeEnd(std::string* out, const End& end) {
  const size_t begin = BeginMessage(out, MessageType::kEnd);
  PutNumber<uint32_t>(out, end.crc);
  out->push_back(static_cast<char>(end.flags));
  PutZeros(out, 3);
  EndMessage(out, begin);
}

void EncodeAbandon(std::string* out, const Abandon& abandon) {
  const size_t begin = BeginMessage(out, MessageType::kAbandon);
  PutNumber<uint32_t>(out, abandon.index);
  PutError(out, abandon.error);
  EndMessage(out, begin);
}

void EncodePackedHead(std::string* out, uint8_t level, uint32_t unpacked_size, size_t frame_size) {
  const size_t begin = BeginMessage(out, MessageType::kPacked, level);
  PutNumber<uint32_t>(out, unpacked_size);
  EndHead(out, begin, frame_size);
}

void EncodeDigest(std::string* out, const DigestMessage& digest) {
  const size_t begin = BeginMessage(out, MessageType::kDigest);
  PutNumber<uint32_t>(out, digest.index);
  PutArray(out, digest.digest);
  EndMessage(out, begin);
}

void EncodeList(std::string* out, const List& list) {
  const size_t begin = BeginMessage(out, MessageType::kList);
  out->push_back(static_cast<char>(list.flags));
  out->push_back(static_cast<char>(list.level));
  PutZeros(out, 2);
  PutString16(out, list.path);
  EndMessage(out, begin);
}

void EncodeListed(std::string* out, const std::vector<ErrorView>& failures) {
  CountedMessage message = CountedMessage::Listed(out);
  for (const ErrorView& failure : failures) {
    PutError(out, failure);
    message.Add();
  }
  message.Finish();
}

void EncodeGoodbye(std::string* out, const ErrorView& error) {
  const size_t begin = BeginMessage(out, MessageType::kGoodbye);
  PutError(out, error);
  EndMessage(out, begin);
}

void EncodeSignaturesHead(std::string* out, const SignaturesMessage& signatures, size_t blocks) {
  const size_t begin = BeginMessage(out, MessageType::kSignatures);
  PutNumber<uint32_t>(out, signatures.index);
  PutNumber<uint32_t>(out, signatures.block_size);
  PutNumber<uint64_t>(out, signatures.file_size);
  PutNumber<uint32_t>(out, signatures.salt);
  PutNumber<uint32_t>(out, signatures.first);
  EndHead(out, begin, blocks * kSignatureSize);
}

void EncodeReuse(std::string* out, const Reuse& reuse) {
  const size_t begin = BeginMessage(out, MessageType::kReuse);
  PutNumber<uint64_t>(out, reuse.offset);
  PutNumber<uint64_t>(out, reuse.length);
  EndMessage(out, begin);
}

void EncodePatchData(std::string* out, std::string_view bytes) {
  const size_t begin = BeginMessage(out, MessageType::kPatchData);
  PutBytes(out, bytes);
  EndMessage(out, begin);
}

void EncodeFetchDelta(std::string* out, const FetchDelta& fetch) {
  const size_t begin = BeginMessage(out, MessageType::kFetchDelta);
  PutNumber<uint32_t>(out, fetch.index);
  out->push_back(static_cast<char>(fetch.level));
  PutZeros(out, 3);
  PutString16(out, fetch.path);
  EndMessage(out, begin);
}

void EncodeFetchPatch(std::string* out, const FetchPatch& fetch) {
  const size_t begin = BeginMessage(out, MessageType::kFetchPatch);
  PutNumber<uint32_t>(out, fetch.index);
  out->push_back(static_cast<char>(fetch.level));
  PutZeros(out, 3);
  PutNumber<uint64_t>(out, fetch.reference.size);
  PutArray(out, fetch.reference.md5);
  PutString16(out, fetch.path);
  EndMessage(out, begin);
}

void EncodeUnknownReference(std::string* out, uint32_t index) {
  const size_t begin = BeginMessage(out, MessageType::kUnknownReference);
  PutNumber<uint32_t>(out, index);
  EndMessage(out, begin);
}

CountedMessage CountedMessage::Offer(std::string* out, uint32_t first) {
  const size_t begin = BeginMessage(out, MessageType::kOffer);
  PutNumber<uint32_t>(out, first);
  PutNumber<uint32_t>(out, 0);
  return CountedMessage(out, begin, begin + kMessageHeader + 4);
}

static size_t BeginCounted(std::string* out, MessageType type) {
  const size_t begin = BeginMessage(out, type);
  PutNumber<uint32_t>(out, 0);
  return begin;
}

CountedMessage CountedMessage::Results(std::string* out) {
  const size_t begin = BeginCounted(out, MessageType::kResults);
  return CountedMessage(out, begin, begin + kMessageHeader);
}

CountedMessage CountedMessage::Entries(std::string* out) {
  const size_t begin = BeginCounted(out, MessageType::kEntries);
  return CountedMessage(out, begin, begin + kMessageHeader);
}

CountedMessage CountedMessage::Listed(std::string* out) {
  const size_t begin = BeginCounted(out, MessageType::kListed);
  CountedMessage message(out, begin, begin + kMessageHeader);
  message.keep_empty_ = true;  // it ends a listing, whatever is in it
  return message;
}

CountedMessage CountedMessage::Fetch(std::string* out, uint32_t first, uint8_t level) {
  const size_t begin = BeginMessage(out, MessageType::kFetch);
  PutNumber<uint32_t>(out, first);
  PutNumber<uint32_t>(out, 0);
  out->push_back(static_cast<char>(level));
  PutZeros(out, 3);
  return CountedMessage(out, begin, begin + kMessageHeader + 4);
}

void CountedMessage::Finish() {
  if (count_ == 0 && !keep_empty_) {
    out_->resize(begin_);
    return;
  }
  PutNumberAt<uint32_t>(out_, count_at_, count_);
  EndMessage(out_, begin_);
}

bool DecodeMessageHeader(std::string_view bytes, MessageHeader* out) {
  Reader reader(bytes);
  out->size = reader.Take<uint32_t>();
  out->type = reader.Take<uint8_t>();
  out->level = reader.Take<uint8_t>();
  return reader.ok() && out->size >= kMessageHeader && out->size <= kMaxMessage &&
         ((out->type >= Number(MessageType::kHello) && out->type <= Number(MessageType::kGoodbye)) ||
          (out->type >= Number(MessageType::kSignatures) && out->type <= Number(MessageType::kUnknownReference)));
}

bool TakeError(Reader* reader, ErrorView* out) {
  out->kind = reader->Take<uint8_t>();
  out->operation = reader->Take<uint8_t>();
  reader->Skip(2);
  out->error_number = reader->Take<int32_t>();
  out->a = reader->Take<uint64_t>();
  out->b = reader->Take<uint64_t>();
  out->path = reader->String16();
  out->text = reader->String16();
  return reader->ok();
}

bool TakeEntry(Reader* reader, Entry* out) {
  const std::string_view fixed = reader->Bytes(34);
  if (fixed.size() != 34) return false;
  const char* data = fixed.data();
  const auto type = static_cast<uint8_t>(data[0]);
  if (type < Number(EntryType::kFile) || type > Number(EntryType::kSymlink)) return false;
  out->type = static_cast<EntryType>(type);
  out->flags = static_cast<uint8_t>(data[1]);
  out->mode = LoadNumber<uint32_t>(data + 4);
  out->mtime = LoadNumber<int64_t>(data + 8);
  out->atime = LoadNumber<int64_t>(data + 16);
  out->size = LoadNumber<uint64_t>(data + 24);
  out->path = reader->Bytes(LoadNumber<uint16_t>(data + 32));
  out->target = std::string_view();
  out->attributes = std::string_view();
  if (out->mode != kUnknownMode) out->mode &= 07777u;
  if (out->size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  if (out->type == EntryType::kSymlink) out->target = reader->String16();
  if ((out->flags & kEntryAttributes) != 0) {
    const char* begin = reader->rest().data();
    const uint16_t count = reader->Take<uint16_t>();
    size_t size = 2;
    for (uint16_t i = 0; i < count && reader->ok(); ++i) {
      const std::string_view name = reader->String16();
      const std::string_view value = reader->String32();
      if (name.empty() || name.find('\0') != std::string_view::npos) return false;
      size += 6 + name.size() + value.size();
      if (size > kMaxAttributes) return false;
    }
    out->attributes = std::string_view(begin, size);
  }
  out->reference = ReferenceDigest();
  if ((out->flags & kEntryReference) != 0) {
    out->reference.size = reader->Take<uint64_t>();
    out->reference.md5 = reader->Array<16>();
  }
  return reader->ok();
}

bool TakeResult(Reader* reader, Result* out) {
  out->index = reader->Take<uint32_t>();
  const uint8_t code = reader->Take<uint8_t>();
  if (!reader->ok() || (code > Number(ResultCode::kSendPatch) && code != Number(ResultCode::kFailed))) return false;
  out->code = static_cast<ResultCode>(code);
  return out->code != ResultCode::kFailed || TakeError(reader, &out->error);
}

static bool DecodeGreeting(std::string_view payload, bool welcome, Hello* out) {
  Reader reader(payload);
  out->version = reader.Take<uint32_t>();
  out->capabilities = reader.Take<uint32_t>();
  out->nonce = reader.Array<32>();
  if (welcome) out->connections = reader.Take<uint32_t>();
  return reader.complete();
}

bool DecodeHello(std::string_view payload, Hello* out) { return DecodeGreeting(payload, false, out); }

bool DecodeWelcome(std::string_view payload, Hello* out) { return DecodeGreeting(payload, true, out); }

bool DecodeProof(std::string_view payload, Sha256Digest* out) {
  Reader reader(payload);
  *out = reader.Array<32>();
  return reader.complete();
}

bool DecodeOpen(std::string_view payload, Open* out) {
  Reader reader(payload);
  out->connection_index = reader.Take<uint32_t>();
  out->secret = reader.Array<16>();
  out->flags = reader.Take<uint8_t>();
  reader.Skip(3);
  out->directory = reader.String16();
  return reader.complete();
}

bool DecodeOpened(std::string_view payload, Opened* out, uint32_t* made) {
  Reader reader(payload);
  const uint8_t what = reader.Take<uint8_t>();
  reader.Skip(1);
  const uint16_t count = reader.Take<uint16_t>();
  if (made != nullptr) *made = count;
  if (what != Number(Opened::kFile) && what != Number(Opened::kDirectory)) return false;
  *out = static_cast<Opened>(what);
  return reader.complete();
}

bool DecodeProve(std::string_view payload, Prove* out) {
  Reader reader(payload);
  out->guid = reader.Array<16>();
  out->path = reader.String16();
  return reader.complete();
}

bool DecodeSecret(std::string_view payload, Secret* out) {
  Reader reader(payload);
  *out = reader.Array<16>();
  return reader.complete();
}

bool DecodeBody(std::string_view payload, Body* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  out->crc = reader.Take<uint32_t>();
  out->flags = reader.Take<uint8_t>();
  reader.Skip(3);
  out->mtime = reader.Take<int64_t>();
  out->content = reader.rest();
  return reader.ok();
}

bool DecodeBegin(std::string_view payload, Begin* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  reader.Skip(4);
  out->mtime = reader.Take<int64_t>();
  out->size = reader.Take<uint64_t>();
  return reader.complete() && out->size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

bool DecodeHole(std::string_view payload, uint64_t* length) {
  Reader reader(payload);
  *length = reader.Take<uint64_t>();
  return reader.complete();
}

bool DecodeEnd(std::string_view payload, End* out) {
  Reader reader(payload);
  out->crc = reader.Take<uint32_t>();
  out->flags = reader.Take<uint8_t>();
  reader.Skip(3);
  return reader.complete();
}

bool DecodeAbandon(std::string_view payload, Abandon* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  TakeError(&reader, &out->error);
  return reader.complete();
}

bool DecodePacked(std::string_view payload, Packed* out) {
  Reader reader(payload);
  out->unpacked_size = reader.Take<uint32_t>();
  out->frame = reader.rest();
  return reader.ok() && out->unpacked_size <= kMaxUnpacked;
}

bool DecodeDigest(std::string_view payload, DigestMessage* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  out->digest = reader.Array<16>();
  return reader.complete();
}

bool DecodeList(std::string_view payload, List* out) {
  Reader reader(payload);
  out->flags = reader.Take<uint8_t>();
  out->level = reader.Take<uint8_t>();
  reader.Skip(2);
  out->path = reader.String16();
  return reader.complete();
}

bool DecodeGoodbye(std::string_view payload, ErrorView* out) {
  Reader reader(payload);
  TakeError(&reader, out);
  return reader.complete();
}

bool DecodeSignatures(std::string_view payload, SignaturesMessage* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  out->block_size = reader.Take<uint32_t>();
  out->file_size = reader.Take<uint64_t>();
  out->salt = reader.Take<uint32_t>();
  out->first = reader.Take<uint32_t>();
  out->blocks = reader.rest();
  return reader.ok() && out->blocks.size() % kSignatureSize == 0;
}

bool DecodeReuse(std::string_view payload, Reuse* out) {
  Reader reader(payload);
  out->offset = reader.Take<uint64_t>();
  out->length = reader.Take<uint64_t>();
  return reader.complete();
}

bool DecodeFetchDelta(std::string_view payload, FetchDelta* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  out->level = reader.Take<uint8_t>();
  reader.Skip(3);
  out->path = reader.String16();
  return reader.complete();
}

bool DecodeFetchPatch(std::string_view payload, FetchPatch* out) {
  Reader reader(payload);
  out->index = reader.Take<uint32_t>();
  out->level = reader.Take<uint8_t>();
  reader.Skip(3);
  out->reference.size = reader.Take<uint64_t>();
  out->reference.md5 = reader.Array<16>();
  out->path = reader.String16();
  return reader.complete();
}

bool DecodeUnknownReference(std::string_view payload, uint32_t* index) {
  Reader reader(payload);
  *index = reader.Take<uint32_t>();
  return reader.complete();
}

bool TakeOfferHead(Reader* reader, uint32_t* first, uint32_t* count) {
  *first = reader->Take<uint32_t>();
  *count = reader->Take<uint32_t>();
  return reader->ok();
}

bool TakeCount(Reader* reader, uint32_t* count) {
  *count = reader->Take<uint32_t>();
  return reader->ok();
}

bool TakeFetchHead(Reader* reader, uint32_t* first, uint32_t* count, uint8_t* level) {
  *first = reader->Take<uint32_t>();
  *count = reader->Take<uint32_t>();
  *level = reader->Take<uint8_t>();
  reader->Skip(3);
  return reader->ok();
}

bool IsProtocolPath(std::string_view path) {
  if (path.empty()) return true;
  if (path.size() > kMaxPath || path.find('\0') != std::string_view::npos) return false;
  for (size_t begin = 0;;) {
    const size_t slash = path.find('/', begin);
    const std::string_view component = path.substr(begin, slash == std::string_view::npos ? slash : slash - begin);
    if (component.empty() || component.size() > kMaxComponent || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    begin = slash + 1;
  }
}

ErrorView ToErrorView(const Status& status, std::string_view path, std::string_view text) {
  ErrorView error;
  error.kind = static_cast<uint8_t>(status.kind());
  error.operation = static_cast<uint8_t>(status.operation());
  error.error_number = ToLinuxErrno(status.error_number());
  if (status.kind() == Kind::kDiskFull) {
    error.a = status.size();
    error.b = status.available();
  } else if (status.kind() == Kind::kReadError || status.kind() == Kind::kWriteError) {
    error.a = status.offset();
  }
  error.path = path;
  error.text = text;
  return error;
}

Status FromErrorView(const ErrorView& error) {
  const bool known = error.kind > static_cast<uint8_t>(Kind::kOk) && error.kind <= static_cast<uint8_t>(Kind::kUnknown);
  const Kind kind = known ? static_cast<Kind>(error.kind) : Kind::kUnknown;
  const Operation operation = error.operation <= static_cast<uint8_t>(Operation::kReadPatch)
                                  ? static_cast<Operation>(error.operation)
                                  : Operation::kNone;
  const bool has_offset = kind == Kind::kReadError || kind == Kind::kWriteError;
  Status status = Status::Of(kind, operation, FromLinuxErrno(error.error_number), has_offset ? error.a : 0);
  if (kind == Kind::kDiskFull) status.set_space(error.a, error.b);
  return status;
}

int64_t ToNanoseconds(const platform::Timestamp& timestamp) {
  constexpr int64_t kNanoseconds = 1000000000;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / kNanoseconds;
  if (timestamp.seconds >= kMost) return std::numeric_limits<int64_t>::max();
  if (timestamp.seconds < -kMost) return std::numeric_limits<int64_t>::min();
  return timestamp.seconds * kNanoseconds + timestamp.nanoseconds;
}

platform::Timestamp FromNanoseconds(int64_t nanoseconds) {
  constexpr int64_t kNanoseconds = 1000000000;
  platform::Timestamp timestamp;
  timestamp.seconds = nanoseconds / kNanoseconds;
  timestamp.nanoseconds = static_cast<int32_t>(nanoseconds % kNanoseconds);
  if (timestamp.nanoseconds < 0) {
    timestamp.nanoseconds += static_cast<int32_t>(kNanoseconds);
    --timestamp.seconds;
  }
  return timestamp;
}

Sha256Digest ClientProof(std::string_view token, std::string_view transcript) {
  return HmacSha256(token, "eacopy client proof 1", transcript);
}

Sha256Digest ServerProof(std::string_view token, std::string_view transcript) {
  return HmacSha256(token, "eacopy server proof 1", transcript);
}

}  // namespace net
}  // namespace eacopy
