// Setting up a session of the extended dialect, and taking in what is pushed.

#include "extended_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "digest.h"
#include "wire.h"

namespace eacopy {
namespace net {
namespace {

constexpr size_t kMaxResults = 60 * 1024;
constexpr size_t kMostOlderVersions = 64;  // that are held open
constexpr size_t kHelloSize = 4 + 4 + sizeof(Nonce);

Status Denied() { return Status::Of(Kind::kPermissionDenied, Operation::kAuthenticate); }

bool IsLevel(uint8_t level) { return level <= 22 || level == kAdaptive; }

// Whether a client may put this into a Packed, or send it at all once it is set up.
bool IsOfSetUp(MessageType type) {
  switch (type) {
    case MessageType::kHello:
    case MessageType::kWelcome:
    case MessageType::kProof:
    case MessageType::kProofAccepted:
    case MessageType::kOpen:
    case MessageType::kOpened:
    case MessageType::kProve:
    case MessageType::kSecret:
      return true;
    default:
      return false;
  }
}

}  // namespace

ExtendedSession::ExtendedSession(ServerContext& context, Peer& peer, std::string_view version)
    : context_(context), peer_(peer), version_(version), workspace_(context) {}

Status ExtendedSession::Violation(const char* text) {
  violation_ = text;
  return Status::Of(Kind::kClient, Operation::kReceive);
}

void ExtendedSession::SayGoodbye(const Status& status) {
  FinishResults();
  EncodeGoodbye(&peer_.out(), ToErrorView(status, {}, violation_));
  peer_.Farewell();
}

Status ExtendedSession::Run() {
  Status status = SetUp();
  if (status.ok()) status = Loop();
  delta_.reset();
  arrival_.reset();
  const bool silent = status.operation() == Operation::kSend || status.cancelled() || peer_.broken();
  if (!status.ok() && !silent) SayGoodbye(status);
  return status;
}

// Set-up --------------------------------------------------------------------------------------------------------------

Status ExtendedSession::NextMessage(MessageType type, size_t size, std::string_view* payload) {
  Status status = peer_.Need(kMessageHeader, true);
  if (!status.ok()) return status;
  MessageHeader header;
  if (!DecodeMessageHeader(peer_.bytes(), &header)) return Violation("that is no message");
  if (header.type != static_cast<uint8_t>(type)) return Violation("another message was due");
  // What can be known to be wrong is not waited for.
  if (size != 0 && header.size != kMessageHeader + size) return Violation("a message of another size was due");
  status = peer_.Need(header.size);
  if (!status.ok()) return status;
  *payload = peer_.bytes().substr(kMessageHeader, header.size - kMessageHeader);
  return Status();
}

Status ExtendedSession::SetUp() {
  std::string_view payload;
  Status status = NextMessage(MessageType::kHello, kHelloSize, &payload);
  if (!status.ok()) return status;
  Hello hello;
  if (!DecodeHello(payload, &hello)) return Violation("a damaged Hello");
  if (hello.version != kDialectVersion) {
    violation_ = "the server speaks version 1 of the extended dialect";
    return Status::Of(Kind::kUnsupported, Operation::kConnect);
  }
  std::string transcript = version_;
  transcript.append(peer_.bytes().substr(0, kMessageHeader + payload.size()));
  peer_.Consume(kMessageHeader + payload.size());

  Hello welcome;
  welcome.capabilities = kFileCapabilities;
  if (context_.options.compression && ZstdAvailable()) welcome.capabilities |= kCapabilityZstd;
  if (context_.options.delta) welcome.capabilities |= kCapabilityDelta | kCapabilityPatches;
  welcome.capabilities &= hello.capabilities;
  if ((welcome.capabilities & kCapabilityZstd) == 0) welcome.capabilities &= ~uint32_t{kCapabilityDelta};
  // Worth a question only if there may be something.
  if ((welcome.capabilities & kCapabilityDelta) == 0 || context_.history.size() == 0) {
    welcome.capabilities &= ~uint32_t{kCapabilityPatches};
  }
  capabilities_ = welcome.capabilities;
  platform::RandomBytes(welcome.nonce.data(), welcome.nonce.size());
  welcome.connections = context_.options.thread_count;
  const size_t begin = peer_.out().size();
  EncodeWelcome(&peer_.out(), welcome);
  transcript.append(peer_.out(), begin, std::string::npos);

  if (!context_.options.token.empty()) {
    status = CheckToken(transcript);
    if (!status.ok()) return status;
  }
  for (;;) {
    // A report may be all that the client wants.
    status = peer_.Need(kMessageHeader, true);
    if (!status.ok()) return peer_.ended() ? finished_ = true, Status() : status;
    if (static_cast<uint8_t>(peer_.bytes()[4]) >= static_cast<uint8_t>(MessageType::kHello)) break;
    status = HandlePlainCommand();
    if (!status.ok() || finished_) return status;
  }
  status = NextMessage(MessageType::kOpen, 0, &payload);
  if (!status.ok()) return status;
  Open open;
  if (!DecodeOpen(payload, &open)) return Violation("a damaged Open");
  const std::string directory(open.directory);  // its bytes go with the message
  open.directory = directory;
  peer_.Consume(kMessageHeader + payload.size());
  status = OpenWorkspace(open);
  if (!status.ok()) return status;
  sender_ = std::make_unique<ContentSender>(context_, peer_, workspace_, capabilities_);
  EncodeOpened(&peer_.out(), workspace_.is_file() ? Opened::kFile : Opened::kDirectory, workspace_.made());
  return Status();
}

Status ExtendedSession::CheckToken(std::string_view transcript) {
  std::string_view payload;
  Status status = NextMessage(MessageType::kProof, sizeof(Sha256Digest), &payload);
  if (!status.ok()) return status;
  Sha256Digest proof;
  if (!DecodeProof(payload, &proof)) return Violation("a damaged Proof");
  peer_.Consume(kMessageHeader + payload.size());
  if (!EqualInConstantTime(proof, ClientProof(context_.options.token, transcript))) {
    peer_.Break();  // no answer
    return Denied();
  }
  EncodeProof(&peer_.out(), MessageType::kProofAccepted, ServerProof(context_.options.token, transcript));
  return Status();
}

Status ExtendedSession::OpenWorkspace(const Open& open) {
  may_write_ = (open.flags & kOpenWrite) != 0;
  const bool tree = (open.flags & kOpenTree) != 0;
  const bool prove = context_.UsesSecurityFile();
  const bool first = open.secret == Secret{};
  Status status = workspace_.Find(open.directory);
  if (!status.ok()) return status;
  if (prove && !first && !context_.secrets.Join(open.secret, workspace_.place(), &secret_)) {
    // The secret of a file's session is that of its parent.
    Place parent = workspace_.place();
    parent.path = std::string(ParentOf(parent.path));
    if (workspace_.place().path.empty() || tree || !context_.secrets.Join(open.secret, parent, &secret_))
      return Denied();
  }
  status = workspace_.Choose(may_write_, !tree || !may_write_);
  if (status.ok() && may_write_) status = workspace_.Make();
  if (!status.ok()) {
    if (may_write_ && status.error_number() != 0) {
      status = Status::FromErrno(status.error_number(), Operation::kOpenDestination);
    }
    if (prove && first) workspace_.AbandonDirectories();
    return status;
  }
  if (prove && first) {
    status = ProveSecurityFile();
    if (!status.ok()) {
      workspace_.AbandonDirectories();
      return status;
    }
  }
  is_own_user_ = prove;
  if (may_write_ && context_.shares.whole_file_system()) context_.sweeps.Add(workspace_.place());
  return Status();
}

Status ExtendedSession::ProveSecurityFile() {
  SecurityFile file;
  Status status = workspace_.AddSecurityFile(&file);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kAuthenticate);
  Prove prove;
  prove.guid = file.guid();
  std::string path;
  if (peer_.socket().PeerIsLoopback()) {
    path = workspace_.place().share->Absolute(workspace_.FullPath(file.name()));
    prove.path = path;
  }
  EncodeProve(&peer_.out(), prove);
  std::string_view payload;
  status = NextMessage(MessageType::kSecret, sizeof(Secret), &payload);
  if (status.kind() == Kind::kClient) return Denied();
  if (!status.ok()) return status;
  Secret secret;
  if (!DecodeSecret(payload, &secret)) return Violation("a damaged Secret");
  peer_.Consume(kMessageHeader + payload.size());
  if (!EqualInConstantTime(secret, file.secret())) return Denied();
  context_.secrets.Add(secret, workspace_.place(), &secret_);
  return Status();
}

// Commands ------------------------------------------------------------------------------------------------------------

Status ExtendedSession::Loop() {
  while (!finished_) {
    if (!peer_.HasNow(kMessageHeader)) {
      FinishResults();
      Status status = sender_->Finish();
      if (!status.ok()) return status;
      status = peer_.Need(kMessageHeader, arrival_ == nullptr);
      // A client that just goes away is well.
      if (!status.ok()) return peer_.ended() && arrival_ == nullptr ? Status() : status;
    }
    if (static_cast<uint8_t>(peer_.bytes()[4]) < static_cast<uint8_t>(MessageType::kHello)) {
      FinishResults();
      Status status = HandlePlainCommand();
      if (!status.ok()) return status;
      continue;
    }
    MessageHeader header;
    if (!DecodeMessageHeader(peer_.bytes(), &header)) return Violation("that is no message");
    Status status = TakeMessage(header);
    if (!status.ok()) return status;
    if (results_ && results_->size() > kMaxResults) FinishResults();
    if (!results_) {
      status = peer_.FlushIfLarge();
      if (!status.ok()) return status;
    }
  }
  FinishResults();
  return peer_.Flush();
}

Status ExtendedSession::TakeMessage(const MessageHeader& header) {
  const auto type = static_cast<MessageType>(header.type);
  if (type == MessageType::kData) {
    peer_.Consume(kMessageHeader);
    return StreamData(header.size - kMessageHeader);
  }
  if (!peer_.HasNow(header.size)) {
    FinishResults();
    Status status = sender_->Finish();
    if (!status.ok()) return status;
    status = peer_.Need(header.size);
    if (!status.ok()) return status;
  }
  Status status = Handle(type, peer_.bytes().substr(kMessageHeader, header.size - kMessageHeader), false);
  peer_.Consume(header.size);
  return status;
}

// Content goes to the file as it comes.
Status ExtendedSession::StreamData(uint64_t size) {
  FinishResults();
  while (size > 0) {
    std::string_view bytes;
    Status status = peer_.Some(size, &bytes);
    if (status.ok()) status = HandleData(bytes);
    if (!status.ok()) return status;
    size -= bytes.size();
  }
  return peer_.Need(0);
}

Status ExtendedSession::Handle(MessageType type, std::string_view payload, bool packed) {
  if (IsOfSetUp(type) || (packed && type == MessageType::kPacked)) return Violation("a message that was not due");
  switch (type) {
    case MessageType::kOffer:
      return HandleOffer(payload);
    case MessageType::kBody:
      return HandleBody(payload);
    case MessageType::kBegin:
      return HandleBegin(payload);
    case MessageType::kData:
      return HandleData(payload);
    case MessageType::kHole:
      return HandleHole(payload);
    case MessageType::kEnd:
      return HandleEnd(payload);
    case MessageType::kAbandon:
      return HandleAbandon(payload);
    case MessageType::kPacked:
      return HandlePacked(payload);
    case MessageType::kDigest:
      return HandleDigest(payload);
    case MessageType::kFetch:
      return HandleFetch(payload);
    case MessageType::kList:
      return HandleList(payload);
    case MessageType::kReuse:
      return HandleReuse(payload);
    case MessageType::kPatchData:
      return HandlePatchData(payload);
    case MessageType::kFetchDelta:
      return HandleFetchDelta(payload);
    case MessageType::kFetchPatch:
      return HandleFetchPatch(payload);
    case MessageType::kSignatures:
      return HandleSignatures(payload);
    case MessageType::kGoodbye:
      finished_ = true;
      return Status();
    default:
      return Violation("a message that only servers send");
  }
}

// What v20 and the extended dialect have in common.
Status ExtendedSession::HandlePlainCommand() {
  wire::Header header;
  if (!wire::DecodeHeader(peer_.bytes(), &header) || header.size != wire::kHeaderSize)
    return Violation("that is no message");
  peer_.Consume(header.size);
  if (header.type == static_cast<uint8_t>(wire::Command::kRequestReport)) {
    wire::EncodeReport(&peer_.out(), context_.Report());
    return Status();
  }
  if (header.type != static_cast<uint8_t>(wire::Command::kDone)) return Violation("a command that was not due");
  PutNumber<uint64_t>(&peer_.out(), 0);
  finished_ = true;
  return peer_.Flush();
}

Status ExtendedSession::HandlePacked(std::string_view payload) {
  Packed packed;
  std::string_view content;
  if ((capabilities_ & kCapabilityZstd) == 0 || !DecodePacked(payload, &packed)) return Violation("a damaged Packed");
  if (!decompressor_.Decompress(packed.frame, packed.unpacked_size, &content) ||
      content.size() != packed.unpacked_size) {
    return Violation("a Packed that cannot be unpacked");
  }
  while (!content.empty()) {
    MessageHeader header;
    if (!DecodeMessageHeader(content, &header) || header.size > content.size()) {
      return Violation("a damaged message in a Packed");
    }
    Status status = Handle(static_cast<MessageType>(header.type),
                           content.substr(kMessageHeader, header.size - kMessageHeader), true);
    if (!status.ok()) return status;
    content.remove_prefix(header.size);
  }
  return Status();
}

// Results -------------------------------------------------------------------------------------------------------------

void ExtendedSession::AddResult(uint32_t index, ResultCode code) {
  if (!results_) results_.emplace(CountedMessage::Results(&peer_.out()));
  Result result;
  result.index = index;
  result.code = code;
  PutResult(&peer_.out(), result);
  results_->Add();
}

void ExtendedSession::AddFailure(uint32_t index, const Status& status, std::string_view path, std::string_view text) {
  Count(&context_.totals.errors);
  if (!results_) results_.emplace(CountedMessage::Results(&peer_.out()));
  Result result;
  result.index = index;
  result.code = ResultCode::kFailed;
  result.error = ToErrorView(status, path, text);
  PutResult(&peer_.out(), result);
  results_->Add();
  // Long paths could make the message too large.
  if (results_->size() > kMaxResults) FinishResults();
}

void ExtendedSession::FinishResults() {
  if (results_) results_->Finish();
  results_.reset();
}

// Offers --------------------------------------------------------------------------------------------------------------

Status ExtendedSession::HandleOffer(std::string_view payload) {
  Reader reader(payload);
  uint32_t first = 0, count = 0;
  if (!TakeOfferHead(&reader, &first, &count)) return Violation("a damaged Offer");
  if (!may_write_) return Violation("an Offer in a session that was opened for reading");
  if (first < next_index_ || uint64_t{first} + count > UINT32_MAX) return Violation("an index for the second time");
  // Nothing is done of what is not right to its end.
  offered_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    Entry entry;
    if (!TakeEntry(&reader, &entry)) return Violation("a damaged Offer");
    offered_.push_back(entry);
  }
  if (!reader.complete()) return Violation("a damaged Offer");
  if (wanted_.size() + count > kMaxEntriesOnTheWay) return Violation("too many files at once");
  next_index_ = uint64_t{first} + count;
  for (uint32_t i = 0; i < count; ++i) {
    const Entry& entry = offered_[i];
    const uint32_t index = first + i;
    Status status;
    ResultCode code = ResultCode::kFailed;
    if (!IsFreePath(entry.path)) {
      status = Status::Of(Kind::kInvalidArgument, Operation::kOpenDestination, EINVAL);
    } else if (entry.type == EntryType::kFile) {
      status = OfferFile(index, entry);
      code = ResultCode::kSend;  // OfferFile answers itself
    } else if (entry.type == EntryType::kDirectory) {
      status = OfferDirectory(entry, &code);
      if (status.ok()) AddResult(index, code);
    } else {
      status = OfferSymlink(entry, &code);
      if (status.ok()) AddResult(index, code);
    }
    if (!status.ok()) AddFailure(index, status, entry.path);
    if (results_ && results_->size() > kMaxResults) FinishResults();
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
  }
  return Status();
}

OpenDirectory ExtendedSession::ParentFor(std::string_view path, Status* status) {
  OpenDirectory parent;
  *status = workspace_.directories().Make(ParentOf(workspace_.FullPath(path)), &parent, nullptr);
  return parent;
}

OfferedFile ExtendedSession::OfferedFrom(const Wanted& wanted) const {
  OfferedFile file;
  file.path = wanted.path;
  file.full_path = workspace_.FullPath(wanted.path);
  file.file_time = wire::FileTimeFromNanoseconds(wanted.mtime);
  file.size = wanted.size;
  file.exact_time = true;
  file.compare_attributes = (capabilities_ & kCapabilityAttributes) != 0;
  file.metadata = MetadataFor(wanted);
  return file;
}

NewMetadata ExtendedSession::MetadataFor(const Wanted& wanted) const {
  NewMetadata metadata;
  metadata.durable = (wanted.flags & kEntryDurable) != 0;
  if ((wanted.flags & kEntryNoMetadata) != 0) return metadata;
  metadata.mode = (capabilities_ & kCapabilityModes) != 0 ? wanted.mode : kUnknownMode;
  // A program that runs as the server's user is not for everybody to make.
  if (metadata.mode != kUnknownMode && !is_own_user_) metadata.mode &= 01777u;
  if ((wanted.flags & kEntryModeOnly) != 0) return metadata;
  metadata.set_times = true;
  metadata.mtime = wanted.mtime;
  metadata.atime = wanted.atime;
  if ((capabilities_ & kCapabilityAttributes) != 0) metadata.attributes = wanted.attributes;
  return metadata;
}

Status ExtendedSession::OfferFile(uint32_t index, const Entry& entry) {
  if (entry.path.empty()) return Status::FromErrno(EISDIR, Operation::kOpenDestination);
  Wanted wanted;
  wanted.path = std::string(entry.path);
  wanted.attributes = std::string(entry.attributes);
  wanted.flags = entry.flags;
  wanted.mode = entry.mode;
  wanted.mtime = entry.mtime;
  wanted.atime = entry.atime;
  wanted.size = entry.size;
  wanted.reference = entry.reference;
  Status status;
  const OpenDirectory parent = ParentFor(entry.path, &status);
  if (!status.ok()) return status;
  const OfferedFile file = OfferedFrom(wanted);
  const bool new_parent = workspace_.directories().IsNew(ParentOf(file.full_path));
  Decision decision = Decision::kSend;
  if (file.metadata.set_times) {
    status = workspace_.known_files().Decide(file, parent, new_parent, &decision, &wanted.existing_mode);
    if (!status.ok()) return status;
  } else if (platform::FileInfo there;
             !new_parent && platform::GetInfo(*parent, std::string(NameOf(entry.path)).c_str(), false, &there).ok()) {
    // With a time of its own no file is known again. Its mode stays what it was.
    if (there.type == platform::FileType::kDirectory) return Status::FromErrno(EISDIR, Operation::kOpenDestination);
    if (there.type == platform::FileType::kRegular) wanted.existing_mode = ModeOf(there);
  }
  switch (decision) {
    case Decision::kLinked:
      AddResult(index, ResultCode::kLinked);
      return Status();
    case Decision::kSkipped:
      AddResult(index, ResultCode::kSkipped);
      return Status();
    case Decision::kSend:
      break;
  }
  wanted.digest = context_.options.use_hash && file.metadata.set_times && wanted.size > 0;
  if (!wanted.digest) return AskForContent(index, std::move(wanted), parent);
  AddResult(index, ResultCode::kSendDigest);
  wanted_.emplace(index, std::move(wanted));
  return Status();
}

// As far as it is not there in an older version.
Status ExtendedSession::AskForContent(uint32_t index, Wanted wanted, const OpenDirectory& parent) {
  ResultCode code = ResultCode::kSend;
  const bool delta = (wanted.flags & kEntryDelta) != 0 && (capabilities_ & kCapabilityDelta) != 0;
  if (delta && wanted.size > 0 && older_.size() < kMostOlderVersions) {
    Status status = ChooseDelta(index, wanted, parent, &code);
    if (!status.ok()) return status;
  }
  AddResult(index, code);
  wanted_.emplace(index, std::move(wanted));
  return Status();
}

// A failure is one of the connection.
Status ExtendedSession::ChooseDelta(uint32_t index, const Wanted& wanted, const OpenDirectory& parent,
                                    ResultCode* code) {
  OlderVersion older;
  const bool there = older.Open(*parent, std::string(NameOf(wanted.path)).c_str(), false).ok();
  const OfferedFile file = OfferedFrom(wanted);
  KnownFiles& known = workspace_.known_files();
  bool has_reference = (wanted.flags & kEntryReference) != 0 && wanted.reference.size > 0 &&
                       wanted.reference.size <= kMostPatched && wanted.size <= kMostPatched;
  if (has_reference && !(there && older.Compare(wanted.reference, &context_.stopping).ok())) {
    OlderVersion other;
    has_reference = known.OpenReference(NameOf(wanted.path), file.full_path, wanted.reference, &other);
    if (has_reference) older = std::move(other);
  }
  if (has_reference) {
    *code = ResultCode::kSendPatch;
  } else if ((there && older.IsLike(wanted.size)) || known.OpenOlder(file, &older)) {
    FinishResults();
    Status sent;
    const Status status = older.TellSignatures(index, &context_.stopping, &peer_.out(), [&] {
      sent = peer_.FlushIfLarge();
      return sent;
    });
    if (!sent.ok()) return sent;
    // What was told of a file that could not be read to its end is of no use to the client.
    if (status.ok()) *code = ResultCode::kSendDelta;
  }
  if (*code != ResultCode::kSend) older_.emplace(index, Older{std::move(older), has_reference});
  return Status();
}

Status ExtendedSession::OfferDirectory(const Entry& entry, ResultCode* code) {
  const std::string path = workspace_.FullPath(entry.path);
  OpenDirectory directory;
  Status status = workspace_.directories().Make(path, &directory, nullptr);
  if (!status.ok()) {
    OpenDirectory parent;
    platform::FileInfo there;
    const bool taken = status.error_number() == ENOTDIR &&
                       workspace_.directories().Open(ParentOf(path), &parent).ok() &&
                       platform::GetInfo(*parent, std::string(NameOf(path)).c_str(), false, &there).ok();
    return Status::FromErrno(taken ? EEXIST : status.error_number(), Operation::kMakeDirectory);
  }
  // Made by this, or a moment ago for something in it, maybe through another connection.
  const bool is_new = context_.made_directories.Claim(*workspace_.place().share, path);
  *code = is_new ? ResultCode::kMade : ResultCode::kSkipped;
  if ((entry.flags & kEntrySetNow) != 0) {
    Wanted wanted;
    wanted.flags = entry.flags;
    wanted.mode = entry.mode;
    wanted.mtime = entry.mtime;
    wanted.atime = entry.atime;
    wanted.attributes = std::string(entry.attributes);
    NewMetadata metadata = MetadataFor(wanted);
    if (metadata.mode != kUnknownMode) metadata.mode = entry.mode;  // such bits are harmless on a directory
    return SetMetadata(*directory, metadata);
  }
  return Status();
}

Status ExtendedSession::OfferSymlink(const Entry& entry, ResultCode* code) {
  if ((capabilities_ & kCapabilitySymlinks) == 0) return Status::Of(Kind::kUnsupported, Operation::kMakeLink, ENOTSUP);
  const bool legal = !entry.path.empty() && !entry.target.empty() && entry.target.find('\0') == std::string_view::npos;
  if (!legal) return Status::Of(Kind::kInvalidArgument, Operation::kMakeLink, EINVAL);
  Status status;
  const OpenDirectory parent = ParentFor(entry.path, &status);
  if (!status.ok()) return status;
  Wanted wanted;
  wanted.flags = entry.flags;
  wanted.mtime = entry.mtime;
  wanted.atime = entry.atime;
  bool same = false;
  status = StoreSymlink(*parent, std::string(NameOf(entry.path)).c_str(), std::string(entry.target),
                        MetadataFor(wanted), &same);
  *code = same ? ResultCode::kSkipped : ResultCode::kMade;
  return status;
}

// Content -------------------------------------------------------------------------------------------------------------

std::unique_ptr<Arrival> ExtendedSession::StartArrival(const Wanted& wanted) {
  Status status;
  OpenDirectory parent = ParentFor(wanted.path, &status);
  const NewMetadata metadata = MetadataFor(wanted);
  const bool of_system = metadata.mode == kUnknownMode && wanted.existing_mode == kUnknownMode;
  auto arrival = std::make_unique<Arrival>(std::move(parent), of_system ? 0666 : 0600, context_.options.use_hash);
  arrival->Fail(status);
  return arrival;
}

void ExtendedSession::FinishArrival(uint32_t index, const Wanted& wanted, Arrival& arrival, bool changed) {
  NewMetadata metadata = MetadataFor(wanted);
  if (metadata.mode == kUnknownMode) metadata.mode = wanted.existing_mode;
  Status status = arrival.Finish(NameOf(wanted.path), metadata, (wanted.flags & kEntryVerify) != 0);
  if (!status.ok()) {
    if (status.kind() == Kind::kDiskFull) status.set_space(std::max(wanted.size, arrival.size()), status.available());
    // What was open may have been replaced by another directory meanwhile.
    workspace_.directories().Forget();
    AddFailure(index, status, wanted.path);
    return;
  }
  Count(&context_.totals.files_received);
  if (!changed && metadata.set_times) {
    OfferedFile file = OfferedFrom(wanted);
    file.size = arrival.size();
    const Md5Digest md5 = arrival.md5();
    workspace_.known_files().Remember(file, &md5);
  }
  AddResult(index, ResultCode::kStored);
}

Status ExtendedSession::HandleBody(std::string_view payload) {
  Body body;
  if (!DecodeBody(payload, &body)) return Violation("a damaged Body");
  const auto found = wanted_.find(body.index);
  if (arrival_ || found == wanted_.end() || found->second.digest) return Violation("content that nobody asked for");
  Wanted wanted = std::move(found->second);
  wanted_.erase(found);
  wanted.mtime = body.mtime;
  std::unique_ptr<Arrival> arrival = StartArrival(wanted);
  arrival->Write(body.content);
  if (arrival->crc() != body.crc) return Violation("content with another checksum");
  FinishArrival(body.index, wanted, *arrival, (body.flags & kChangedWhileRead) != 0);
  older_.erase(body.index);
  return Status();
}

Status ExtendedSession::HandleBegin(std::string_view payload) {
  Begin begin;
  if (!DecodeBegin(payload, &begin)) return Violation("a damaged Begin");
  const auto found = wanted_.find(begin.index);
  if (arrival_ || found == wanted_.end() || found->second.digest) return Violation("content that nobody asked for");
  found->second.mtime = begin.mtime;
  arrival_ = StartArrival(found->second);
  arriving_ = begin.index;
  arriving_size_ = begin.size;
  const auto older = older_.find(begin.index);
  if (older != older_.end())
    delta_ = std::make_unique<DeltaArrival>(*arrival_, older->second.version, older->second.patch);
  return Status();
}

Status ExtendedSession::HandleData(std::string_view bytes) {
  if (!arrival_ || bytes.size() > arriving_size_ - arrival_->size()) return Violation("content that nobody asked for");
  arrival_->Write(bytes);
  return Status();
}

Status ExtendedSession::HandleHole(std::string_view payload) {
  uint64_t length = 0;
  if (!DecodeHole(payload, &length)) return Violation("a damaged Hole");
  if (!arrival_ || length > arriving_size_ - arrival_->size()) return Violation("content that nobody asked for");
  arrival_->Hole(length);
  return Status();
}

Status ExtendedSession::HandleReuse(std::string_view payload) {
  Reuse reuse;
  if (!DecodeReuse(payload, &reuse)) return Violation("a damaged Reuse");
  if (!delta_ || reuse.length > arriving_size_ - arrival_->size() || !delta_->Reuse(reuse, context_.stopping)) {
    return Violation("a Reuse of what there is not");
  }
  return Status();
}

Status ExtendedSession::HandlePatchData(std::string_view payload) {
  if (!delta_ || !delta_->Patch(payload, arriving_size_, context_.stopping)) {
    return Violation("a patch that nobody asked for");
  }
  return Status();
}

Status ExtendedSession::HandleEnd(std::string_view payload) {
  End end;
  if (!DecodeEnd(payload, &end)) return Violation("a damaged End");
  if (!arrival_) return Violation("the end of a file that has not begun");
  const bool by_delta = delta_ && delta_->used();
  if (by_delta) {
    const bool right = delta_->IsComplete() && arrival_->size() == arriving_size_ && arrival_->crc() == end.crc;
    if (!right) delta_->Fail();
  } else {
    if (arrival_->size() != arriving_size_) return Violation("less content than was announced");
    if (arrival_->crc() != end.crc) return Violation("content with another checksum");
  }
  const auto found = wanted_.find(arriving_);
  const Wanted wanted = std::move(found->second);
  wanted_.erase(found);
  FinishArrival(arriving_, wanted, *arrival_, (end.flags & kChangedWhileRead) != 0);
  delta_.reset();
  arrival_.reset();
  older_.erase(arriving_);
  return Status();
}

Status ExtendedSession::HandleAbandon(std::string_view payload) {
  Abandon abandon;
  if (!DecodeAbandon(payload, &abandon)) return Violation("a damaged Abandon");
  const auto found = wanted_.find(abandon.index);
  if (found == wanted_.end() || (arrival_ && arriving_ != abandon.index))
    return Violation("content that nobody asked for");
  delta_.reset();
  arrival_.reset();
  older_.erase(abandon.index);
  AddFailure(abandon.index, FromErrorView(abandon.error), abandon.error.path, abandon.error.text);
  wanted_.erase(found);
  return Status();
}

Status ExtendedSession::HandleDigest(std::string_view payload) {
  DigestMessage digest;
  if (!DecodeDigest(payload, &digest)) return Violation("a damaged Digest");
  const auto found = wanted_.find(digest.index);
  if (found == wanted_.end() || !found->second.digest) return Violation("a digest that nobody asked for");
  Status status;
  const OpenDirectory parent = ParentFor(found->second.path, &status);
  Decision decision = Decision::kSend;
  if (status.ok()) {
    status = workspace_.known_files().DecideByDigest(OfferedFrom(found->second), parent, digest.digest, &decision);
  }
  if (status.ok() && decision == Decision::kSend) {
    Wanted wanted = std::move(found->second);
    wanted.digest = false;
    wanted_.erase(found);
    return AskForContent(digest.index, std::move(wanted), parent);
  }
  if (status.ok()) {
    AddResult(digest.index, ResultCode::kLinked);
  } else {
    AddFailure(digest.index, status, found->second.path);
  }
  wanted_.erase(found);
  return Status();
}

// Pulling -------------------------------------------------------------------------------------------------------------

Status ExtendedSession::HandleFetch(std::string_view payload) {
  Reader reader(payload);
  uint32_t first = 0, count = 0;
  uint8_t level = 0;
  if (fetched_) return Violation("a message that was not due");
  if (!TakeFetchHead(&reader, &first, &count, &level)) return Violation("a damaged Fetch");
  if (!IsLevel(level)) return Violation("a level that zstd does not have");
  if (uint64_t{first} + count > UINT32_MAX) return Violation("an index that is too large");
  std::vector<std::string_view> paths;
  for (uint32_t i = 0; i < count; ++i) {
    paths.push_back(reader.String16());
    if (!reader.ok()) return Violation("a damaged Fetch");
  }
  if (!reader.complete()) return Violation("a damaged Fetch");
  FinishResults();
  Status status = sender_->SetLevel(level);
  if (!status.ok()) return status;
  for (uint32_t i = 0; i < count; ++i) {
    status = sender_->SendFile(first + i, paths[i], nullptr);
    if (!status.ok()) return status;
  }
  return Status();
}

Status ExtendedSession::HandleFetchDelta(std::string_view payload) {
  FetchDelta fetch;
  if ((capabilities_ & kCapabilityDelta) == 0 || fetched_) return Violation("a message that was not due");
  if (!DecodeFetchDelta(payload, &fetch)) return Violation("a damaged FetchDelta");
  if (!IsLevel(fetch.level)) return Violation("a level that zstd does not have");
  fetched_ = FetchedDelta{fetch.index, fetch.level, std::string(fetch.path), nullptr};
  return Status();
}

Status ExtendedSession::HandleFetchPatch(std::string_view payload) {
  FetchPatch fetch;
  if ((capabilities_ & kCapabilityPatches) == 0 || fetched_) return Violation("a message that was not due");
  if (!DecodeFetchPatch(payload, &fetch)) return Violation("a damaged FetchPatch");
  if (!IsLevel(fetch.level)) return Violation("a level that zstd does not have");
  FinishResults();
  OlderVersion older;
  const ReferenceDigest& reference = fetch.reference;
  const bool known = reference.size > 0 && reference.size <= kMostPatched && IsFreePath(fetch.path) &&
                     workspace_.known_files().OpenReference(NameOf(fetch.path), {}, reference, &older);
  Status status = sender_->SetLevel(fetch.level);
  if (!status.ok()) return status;
  return known ? sender_->SendPatched(fetch.index, fetch.path, older, reference)
               : sender_->SendUnknownReference(fetch.index);
}

Status ExtendedSession::HandleSignatures(std::string_view payload) {
  SignaturesMessage message;
  if (!fetched_ || !DecodeSignatures(payload, &message) || message.index != fetched_->index ||
      !AddSignatures(message, &fetched_->signatures)) {
    return Violation("signatures that were not due");
  }
  if (!fetched_->signatures->complete()) return Status();
  const FetchedDelta fetched = std::move(*fetched_);
  fetched_.reset();
  FinishResults();
  Status status = sender_->SetLevel(fetched.level);
  return status.ok() ? sender_->SendFile(fetched.index, fetched.path, fetched.signatures.get()) : status;
}

Status ExtendedSession::HandleList(std::string_view payload) {
  List list;
  if (!DecodeList(payload, &list)) return Violation("a damaged List");
  if (fetched_) return Violation("a message that was not due");
  if (!IsLevel(list.level)) return Violation("a level that zstd does not have");
  FinishResults();
  Status status = sender_->SetLevel(list.level);
  return status.ok() ? sender_->SendListing(list) : status;
}

}  // namespace net
}  // namespace eacopy
