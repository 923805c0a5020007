// The commands of v20, one after the other. What real servers do wrong is not done here: no path leads out of the
// session's directory, no file is written in place, and nothing that cannot be understood is waited for.

#include "plain_session.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include "../delta/frames.h"
#include "../ranges.h"
#include "../temporary.h"
#include "compression_level.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

constexpr size_t kChunk = 512 * 1024;
constexpr size_t kFindBlock = 1u << 20;  // one block of a listing
constexpr uint32_t kMostMade = 200;

Status Violation() { return Status::Of(Kind::kClient, Operation::kReceive); }

wire::FileInfo InfoOf(const FileInfo& info) {
  wire::FileInfo out;
  out.last_write_time = wire::FileTimeFromTimestamp(info.modified);
  out.size = info.type == FileType::kDirectory ? 0 : info.size;
  return out;
}

uint32_t AttributesOf(const FileInfo& info) {
  if (info.type == FileType::kDirectory) return wire::kAttributeDirectory;
  const bool read_only = platform::kHasModes ? (info.mode & 0222) == 0 : (info.mode & wire::kAttributeReadOnly) != 0;
  return info.type == FileType::kRegular && read_only ? wire::kAttributeArchive | wire::kAttributeReadOnly
                                                      : wire::kAttributeArchive;
}

// Windows' wildcards, whatever the case of ASCII letters. "*.*" stands for everything.
bool Matches(std::string_view pattern, std::string_view name) {
  if (pattern == "*.*" || pattern == "*") return true;
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  size_t p = 0, n = 0, star = std::string_view::npos, star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || lower(pattern[p]) == lower(name[n])) && pattern[p] != '*') {
      ++p;
      ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// A zstd frame that holds its content as it is: a single segment, its size in four bytes, raw blocks.
void PutRawFrame(std::string* out, std::string_view content) {
  constexpr size_t kMostInBlock = 128 * 1024;
  PutBytes(out, std::string_view("\x28\xb5\x2f\xfd\xa0", 5));
  PutNumber<uint32_t>(out, static_cast<uint32_t>(content.size()));
  do {
    const std::string_view block = content.substr(0, kMostInBlock);
    content.remove_prefix(block.size());
    const uint32_t head = static_cast<uint32_t>(block.size()) << 3 | (content.empty() ? 1u : 0u);
    for (int shift = 0; shift < 24; shift += 8) out->push_back(static_cast<char>(head >> shift & 0xff));
    PutBytes(out, block);
  } while (!content.empty());
}

// The MD5 of a whole file.
bool DigestOf(const platform::Handle& file, const std::atomic<bool>& stop, Md5Digest* out) {
  Md5 md5;
  std::unique_ptr<char[]> buffer(new char[kChunk]);
  for (uint64_t offset = 0;;) {
    if (stop.load(std::memory_order_relaxed)) return false;
    size_t got = 0;
    if (!platform::ReadRange(file, Operation::kRead, offset, buffer.get(), kChunk, &got).ok()) return false;
    if (got == 0) break;
    md5.Update(std::string_view(buffer.get(), got));
    offset += got;
  }
  *out = md5.Finish();
  return true;
}

// The session's directory as our own shares name it. False: nothing that could be served.
bool DirectoryFromWire(const std::string& net_directory, bool whole_file_system, std::string* out) {
  std::string path = wire::FromWirePath(net_directory);
  const size_t slashes = std::min(path.find_first_not_of('/'), path.size());
  if (slashes >= 2) {
    // \\server\share\dir: what a client sends that was told the server's address apart from its name.
    if (whole_file_system) return false;
    const size_t end = path.find('/', slashes);
    path = end == std::string::npos ? std::string() : path.substr(end + 1);
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  *out = std::move(path);
  return !out->empty();
}

}  // namespace

Status PlainSession::Run() {
  Status status = Loop();
  // What was answered before still arrives.
  if (!status.ok() && !status.cancelled() && !peer_.broken()) peer_.Farewell();
  return status;
}

Status PlainSession::Loop() {
  while (!finished_) {
    Status status = peer_.Need(wire::kHeaderSize, true);
    if (!status.ok()) return peer_.ended() ? Status() : status;
    wire::Header header;
    if (!wire::DecodeHeader(peer_.bytes(), &header) || header.size > wire::kMaxCommand) return Violation();
    status = peer_.Need(header.size);
    if (!status.ok()) return status;
    // The body of a file may follow at once: the command is taken out before it is worked on.
    const std::string command(peer_.bytes().substr(0, header.size));
    peer_.Consume(header.size);
    status = Handle(static_cast<wire::Command>(header.type), command);
    if (!status.ok()) return status;
    status = peer_.FlushIfLarge();
    if (!status.ok()) return status;
  }
  return Status();
}

Status PlainSession::Handle(wire::Command command, std::string_view bytes) {
  std::string path;
  switch (command) {
    case wire::Command::kEnvironment: {
      wire::Environment environment;
      if (!wire::DecodeEnvironment(bytes, &environment)) return Violation();
      return HandleEnvironment(environment);
    }
    case wire::Command::kWriteFile: {
      wire::WriteFile write;
      if (!wire::DecodeWriteFile(bytes, &write)) return Violation();
      return HandleWrite(write);
    }
    case wire::Command::kReadFile: {
      wire::ReadFile read;
      if (!wire::DecodeReadFile(bytes, &read)) return Violation();
      return HandleRead(read);
    }
    case wire::Command::kCreateDir:
      return wire::DecodePathCommand(bytes, &path) ? HandleCreateDirectory(path) : Violation();
    case wire::Command::kDeleteFiles:
      return wire::DecodePathCommand(bytes, &path) ? HandleDelete(path) : Violation();
    case wire::Command::kFindFiles:
      return wire::DecodePathCommand(bytes, &path) ? HandleFind(path) : Violation();
    case wire::Command::kGetFileInfo:
      return wire::DecodePathCommand(bytes, &path) ? HandleGetInfo(path) : Violation();
    case wire::Command::kText:
      return Status();
    case wire::Command::kRequestReport:
      wire::EncodeReport(&peer_.out(), context_.Report());
      return Status();
    case wire::Command::kDone: {
      PutNumber<uint64_t>(&peer_.out(), level_sum_);
      finished_ = true;
      peer_.Farewell();
      return Status();
    }
    default:
      return Violation();
  }
}

Status PlainSession::Answer(uint8_t byte) {
  peer_.out().push_back(static_cast<char>(byte));
  return Status();
}

bool PlainSession::FullPath(const std::string& wire_path, std::string* path, std::string* full) const {
  *path = wire::FromWirePath(wire_path);
  // A '/' is part of no Windows name.
  if (wire_path.find('/') != std::string::npos) return false;
  while (!path->empty() && path->back() == '/') path->pop_back();
  if (!ready_ || !IsFreePath(*path)) return false;
  *full = workspace_.FullPath(*path);
  return true;
}

// The session's directory ---------------------------------------------------------------------------------------------

Status PlainSession::HandleEnvironment(const wire::Environment& environment) {
  ready_ = false;
  std::string asked;
  if (!DirectoryFromWire(environment.net_directory, context_.shares.whole_file_system(), &asked)) {
    return Status::Of(Kind::kPermissionDenied, Operation::kOpenDestination, EACCES);
  }
  Status status = workspace_.Find(asked);
  if (!status.ok()) return status;
  if (context_.UsesSecurityFile()) {
    if (environment.secret == Guid{}) {
      status = workspace_.Make();
      if (status.ok()) status = Prove();
      if (!status.ok()) {
        workspace_.AbandonDirectories();
        return status;
      }
    } else if (!context_.secrets.Join(environment.secret, workspace_.place(), &secret_)) {
      return Status::Of(Kind::kPermissionDenied, Operation::kAuthenticate, EACCES);
    }
  }
  ready_ = true;
  if (context_.shares.whole_file_system()) context_.sweeps.Add(workspace_.place());
  return Status();
}

Status PlainSession::Prove() {
  SecurityFile file;
  Status status = workspace_.AddSecurityFile(&file);
  if (!status.ok()) return status;
  PutArray(&peer_.out(), file.guid());
  status = peer_.Need(sizeof(Secret));
  if (!status.ok()) return status;
  const std::string_view answer = peer_.bytes().substr(0, sizeof(Secret));
  const bool right = EqualInConstantTime(answer.data(), answer.size(), file.secret().data(), file.secret().size());
  peer_.Consume(sizeof(Secret));
  if (!right) return Status::Of(Kind::kPermissionDenied, Operation::kAuthenticate, EACCES);
  context_.secrets.Add(file.secret(), workspace_.place(), &secret_);
  return Status();
}

Status PlainSession::HandleCreateDirectory(const std::string& wire_path) {
  if (!ready_) return Answer(1);
  std::string path, full;
  if (!FullPath(wire_path, &path, &full)) return Answer(0);
  OpenDirectory directory;
  std::vector<std::string> made;
  Status status = workspace_.directories().Make(full, &directory, &made);
  if (!status.ok()) {
    Count(&context_.totals.errors);
    return Answer(0);
  }
  return Answer(static_cast<uint8_t>(2 + std::min<size_t>(made.size(), kMostMade)));
}

Status PlainSession::HandleDelete(const std::string& wire_path) {
  if (!ready_) return Answer(2);
  std::string path, full;
  if (!FullPath(wire_path, &path, &full)) return Answer(1);
  OpenDirectory directory;
  Status status = workspace_.directories().Open(full, &directory);
  if (!status.ok()) return Answer(status.error_number() == ENOENT ? 0 : 1);
  status = RemoveContents(*directory, context_.stopping);
  workspace_.directories().Forget();
  if (!status.ok()) Count(&context_.totals.errors);
  return Answer(status.ok() ? 0 : 1);
}

// Pushing -------------------------------------------------------------------------------------------------------------

Status PlainSession::TakeDigest(Md5Digest* md5) {
  Status status = peer_.Need(md5->size());
  if (!status.ok()) return status;
  Reader reader(peer_.bytes());
  *md5 = reader.Array<16>();
  peer_.Consume(md5->size());
  return Status();
}

Status PlainSession::HandleWrite(const wire::WriteFile& write) {
  OfferedFile file;
  std::string path;
  if (!FullPath(write.path, &path, &file.full_path) || path.empty()) {
    Count(&context_.totals.errors);
    return Answer(static_cast<uint8_t>(wire::WriteAnswer::kBadDestination));
  }
  file.path = path;
  file.file_time = write.info.last_write_time;
  file.size = write.info.size;
  file.metadata.set_times = true;
  file.metadata.mtime = wire::NanosecondsFromFileTime(write.info.last_write_time);
  file.metadata.atime = file.metadata.mtime;
  // A time of creation is not kept: such a file is never equal to what is there.
  const bool comparable = write.info.creation_time == 0;

  OpenDirectory parent;
  Status status = workspace_.directories().Open(ParentOf(file.full_path), &parent);
  uint32_t existing_mode = kUnknownMode;
  Decision decision = Decision::kSend;
  if (status.ok() && comparable) {
    status = workspace_.known_files().Decide(file, parent, false, &decision, &existing_mode);
    if (status.ok() && decision == Decision::kSend && context_.options.use_hash && file.size > 0) {
      Answer(static_cast<uint8_t>(wire::WriteAnswer::kHash));
      Md5Digest md5;
      Status received = TakeDigest(&md5);
      if (!received.ok()) return received;
      status = workspace_.known_files().DecideByDigest(file, parent, md5, &decision);
    }
  }
  if (decision == Decision::kLinked) return Answer(static_cast<uint8_t>(wire::WriteAnswer::kLink));
  if (decision == Decision::kSkipped) return Answer(static_cast<uint8_t>(wire::WriteAnswer::kSkip));

  // Whatever failed so far is told after the content: there is no word for it before.
  Answer(static_cast<uint8_t>(wire::WriteAnswer::kCopy));
  Arrival arrival(std::move(parent), existing_mode == kUnknownMode ? 0666 : 0600, context_.options.use_hash);
  arrival.Fail(status);
  status = TakeContent(write, &arrival);
  if (!status.ok()) return status;
  file.metadata.mode = existing_mode;
  status = arrival.Finish(NameOf(path), file.metadata, false);
  if (!status.ok()) {
    workspace_.directories().Forget();
    Count(&context_.totals.errors);
    context_.log.Write(Log::kWarning, "could not store " + workspace_.place().share->Absolute(file.full_path) +
                                          " (errno " + std::to_string(status.error_number()) + ")");
    return Answer(0);
  }
  Count(&context_.totals.files_received);
  if (comparable) {
    const Md5Digest md5 = arrival.md5();
    workspace_.known_files().Remember(file, &md5);
  }
  return Answer(1);
}

Status PlainSession::TakeContent(const wire::WriteFile& write, Arrival* arrival) {
  uint64_t left = write.info.size;
  if (write.type != wire::WriteType::kCompressed) {
    while (left > 0) {
      std::string_view bytes;
      Status status = peer_.Some(left, &bytes);
      if (!status.ok()) return status;
      arrival->Write(bytes);
      left -= bytes.size();
    }
    return peer_.Need(0);
  }
  while (left > 0) {
    Status status = peer_.Need(4);
    if (!status.ok()) return status;
    const size_t size = LoadNumber<uint32_t>(peer_.bytes().data());
    peer_.Consume(4);
    if (size > wire::kMaxBlock) return Violation();
    status = peer_.Need(size);
    if (!status.ok()) return status;
    std::string_view content;
    const size_t most = static_cast<size_t>(std::min<uint64_t>(left, wire::kMaxBlock));
    if (size != 0 && !decompressor_.Decompress(peer_.bytes().substr(0, size), most, &content)) return Violation();
    peer_.Consume(size);
    arrival->Write(content);
    left -= content.size();
  }
  return Status();
}

// Pulling -------------------------------------------------------------------------------------------------------------

Status PlainSession::HandleRead(const wire::ReadFile& read) {
  auto bad_source = [&] {
    Count(&context_.totals.errors);
    return Answer(static_cast<uint8_t>(wire::ReadAnswer::kBadSource));
  };
  std::string path, full;
  if (!FullPath(read.path, &path, &full) || path.empty()) return bad_source();
  OpenDirectory parent;
  platform::Handle source;
  FileInfo info;
  if (!workspace_.directories().Open(ParentOf(full), &parent).ok() ||
      !platform::OpenSource(*parent, std::string(NameOf(full)).c_str(), false, &source, &info).ok() ||
      info.type != FileType::kRegular) {
    return bad_source();
  }
  const wire::FileInfo found = InfoOf(info);
  if (found == read.info) {
    Count(&context_.totals.files_skipped);
    Count(&context_.totals.bytes_skipped, info.size);
    return Answer(static_cast<uint8_t>(wire::ReadAnswer::kSkip));
  }
  const bool may_be_same = context_.options.use_hash && read.info.size == info.size && read.info.last_write_time != 0;
  const bool may_be_delta = MayBeDelta(read, path, info);
  if (may_be_same || may_be_delta) {
    Answer(static_cast<uint8_t>(wire::ReadAnswer::kHash));
    ReferenceDigest theirs;
    theirs.size = read.info.size;
    Status status = TakeDigest(&theirs.md5);
    if (!status.ok()) return status;
    Md5Digest ours;
    if (may_be_same && DigestOf(source, context_.stopping, &ours) && ours == theirs.md5) {
      Count(&context_.totals.files_skipped);
      Count(&context_.totals.bytes_skipped, info.size);
      return Answer(static_cast<uint8_t>(wire::ReadAnswer::kSkip));
    }
    bool done = false;
    if (may_be_delta) status = SendDelta(source, info, path, theirs, read.level, &done);
    if (done || !status.ok()) return status;
  }
  Answer(static_cast<uint8_t>(wire::ReadAnswer::kCopy));
  PutNumber<uint64_t>(&peer_.out(), found.last_write_time);
  PutNumber<uint64_t>(&peer_.out(), found.size);
  return SendContent(source, info, read.level);
}

// Whether to ask the client what its file is: a file of that name and size was here once.
bool PlainSession::MayBeDelta(const wire::ReadFile& read, const std::string& path, const FileInfo& info) {
  if (read.level == 0 || read.info.last_write_time == 0 || read.info.size == 0) return false;
  if (!context_.options.delta || !context_.options.compression || !ZstdAvailable()) return false;
  if (info.size < kWorthDelta || std::max(info.size, read.info.size) > kMostPatched) return false;
  return workspace_.known_files().Knows(NameOf(path), read.info.size);
}

// Real servers take for the client's file whatever is at its path now. Here it is the one whose MD5 the client has just
// told, to its last byte, and the frame has a checksum.
Status PlainSession::SendDelta(const platform::Handle& file, const FileInfo& info, const std::string& path,
                               const ReferenceDigest& theirs, uint8_t level, bool* done) {
  OlderVersion older;
  const auto prefix = std::make_shared<std::string>();
  delta::FrameWriter frame;
  const int at = level == wire::kAdaptiveLevel ? kPatchLevel : std::min<int>(level, 22);
  if (!workspace_.known_files().OpenReference(NameOf(path), {}, theirs, &older)) return Status();
  Status status = older.ReadExactly(theirs, &context_.stopping, prefix.get());
  if (status.ok()) {
    status = frame.Begin(prefix, *prefix, info.size, at, [this] { return context_.stopping.load(); });
  }
  if (!status.ok()) return status.cancelled() ? status : Status();
  *done = true;
  Answer(static_cast<uint8_t>(wire::ReadAnswer::kCopyDelta));
  PutNumber<uint64_t>(&peer_.out(), InfoOf(info).last_write_time);
  PutNumber<uint64_t>(&peer_.out(), info.size);
  peer_.out().push_back('\0');  // the codec: zstd
  std::unique_ptr<char[]> buffer(new char[kChunk]);
  std::string block;
  for (uint64_t offset = 0; offset < info.size;) {
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kChunk, info.size - offset));
    size_t got = 0;
    status = platform::ReadRange(file, Operation::kRead, offset, buffer.get(), wanted, &got);
    if (!status.ok()) return status;
    offset += got;
    // A file that became shorter ends the connection: there is no other word for it.
    if (got < wanted) return Status::FromErrno(0, Operation::kRead, offset);
    block.clear();
    if (!frame.Add(std::string_view(buffer.get(), wanted), offset == info.size, &block)) {
      return Status::FromErrno(ENOMEM, Operation::kRead, offset);
    }
    if (block.empty()) continue;
    PutNumber<uint32_t>(&peer_.out(), static_cast<uint32_t>(block.size()));
    status = peer_.Flush(block);
    if (!status.ok()) return status;
  }
  PutNumber<uint32_t>(&peer_.out(), 0);
  Count(&context_.totals.files_sent);
  return Status();
}

// Exactly as many bytes as were announced. A file that turns out to be shorter ends the connection: there is no other
// word for it.
Status PlainSession::SendContent(const platform::Handle& file, const FileInfo& info, uint8_t level) {
  std::unique_ptr<char[]> buffer;
  std::string block;
  CompressionLevel controller;
  uint64_t offset = 0;
  while (offset < info.size) {
    if (context_.stopping.load(std::memory_order_relaxed)) return Status::Cancelled();
    const size_t most = level == 0 ? kChunk : wire::kBlockContent;
    if (!buffer) buffer.reset(new char[most]);
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(most, info.size - offset));
    size_t got = 0;
    Status status = platform::ReadRange(file, Operation::kRead, offset, buffer.get(), wanted, &got);
    if (status.ok() && got < wanted) status = Status::FromErrno(0, Operation::kRead, offset + got);
    if (!status.ok()) return status;
    const std::string_view content(buffer.get(), wanted);
    if (level == 0) {
      status = peer_.Flush(content);
    } else {
      // Everything must be a block; the lowest level stands for "as it is".
      const int at = level == wire::kAdaptiveLevel ? std::max(controller.Next(wanted), 1) : std::min<int>(level, 22);
      const auto begin = std::chrono::steady_clock::now();
      block.clear();
      // Blocks are what the client waits for, whether they are compressed or not.
      const bool compressed =
          context_.options.compression && compressor_.Compress(content, at, &block, &context_.stopping);
      if (!compressed) PutRawFrame(&block, content);
      const auto packed = std::chrono::steady_clock::now();
      PutNumber<uint32_t>(&peer_.out(), static_cast<uint32_t>(block.size()));
      status = peer_.Flush(block);
      controller.Sent(at, wanted, block.size(), packed - begin, std::chrono::steady_clock::now() - packed);
      if (compressed) level_sum_ += static_cast<uint64_t>(wanted) * static_cast<uint64_t>(at);
    }
    if (!status.ok()) return status;
    offset += wanted;
  }
  Count(&context_.totals.files_sent);
  return Status();
}

// Looking -------------------------------------------------------------------------------------------------------------

Status PlainSession::HandleFind(const std::string& wire_pattern) {
  auto failed = [&] {
    PutNumber<uint32_t>(&peer_.out(), wire::kListingFailed);
    return Status();
  };
  const size_t separator = wire_pattern.rfind('\\');
  const std::string pattern = separator == std::string::npos ? wire_pattern : wire_pattern.substr(separator + 1);
  const std::string below = separator == std::string::npos ? std::string() : wire_pattern.substr(0, separator);
  std::string path, full;
  OpenDirectory directory;
  platform::Listing names;
  if (pattern.empty() || !FullPath(below, &path, &full)) return failed();
  if (!workspace_.directories().Open(full, &directory).ok()) return failed();
  if (!platform::ListAgain(*directory, &names).ok()) return failed();
  std::string block;
  bool any = false;
  auto send_block = [&] {
    PutNumber<uint32_t>(&peer_.out(), static_cast<uint32_t>(block.size()));
    PutBytes(&peer_.out(), block);
    block.clear();
    return peer_.FlushIfLarge();
  };
  for (size_t i = 0; i < names.size(); ++i) {
    const char* name = names.name(i);
    FileInfo info;
    if (IsTemporaryName(name) || !Matches(pattern, name) || std::string_view(name).find('\\') != std::string::npos ||
        !platform::GetInfo(*directory, name, false, &info).ok() ||
        (info.type != FileType::kRegular && info.type != FileType::kDirectory)) {
      continue;  // v20 has no links, and no word for anything else
    }
    wire::FoundFile found;
    found.attributes = AttributesOf(info);
    found.last_write_time = InfoOf(info).last_write_time;
    found.size = InfoOf(info).size;
    found.name = name;
    if (!wire::EncodeFoundFile(&block, found)) continue;
    any = true;
    if (block.size() < kFindBlock) continue;
    Status status = send_block();
    if (!status.ok()) return status;
  }
  // Windows finds "." and ".." in an empty directory.
  if (!any && pattern != "*" && pattern != "*.*") return failed();
  Status status = block.empty() ? Status() : send_block();
  PutNumber<uint32_t>(&peer_.out(), 0);
  return status;
}

Status PlainSession::HandleGetInfo(const std::string& wire_path) {
  wire::FoundInfo found;
  std::string path, full;
  OpenDirectory parent;
  FileInfo info;
  Status status;
  if (!FullPath(wire_path, &path, &full)) {
    found.error = ready_ ? wire::kErrorAccessDenied : wire::kErrorPathNotFound;
  } else if (status = workspace_.directories().Open(ParentOf(full), &parent); !status.ok()) {
    found.error = wire::kErrorPathNotFound;
  } else if (status = platform::GetInfo(*parent, full.empty() ? "." : std::string(NameOf(full)).c_str(), false, &info);
             !status.ok() || (info.type != FileType::kRegular && info.type != FileType::kDirectory)) {
    found.error = wire::kErrorFileNotFound;
  } else {
    found.info = InfoOf(info);
    found.attributes = AttributesOf(info);
  }
  wire::EncodeFoundInfo(&peer_.out(), found);
  return Status();
}

}  // namespace net
}  // namespace eacopy
