// Feeds bytes to everything that reads a peer's answers: the messages of both dialects, and patches' frame headers. The
// first byte says which.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "delta/frames.h"
#include "delta/signatures.h"
#include "net/attributes.h"
#include "net/messages.h"
#include "net/older_version.h"
#include "net/wire.h"
#include "net/zstd.h"

using namespace eacopy;
using namespace eacopy::net;

namespace {

// And looks for the blocks in a file that has some of everything.
void ReadSignatures(std::string_view payload) {
  SignaturesMessage message;
  std::unique_ptr<delta::Signatures> signatures;
  if (!DecodeSignatures(payload, &message) || !AddSignatures(message, &signatures) || !signatures->complete()) return;
  std::string file(payload);
  file.append(3000, 'x');
  uint64_t found = 0;
  delta::BlockFinder finder(*signatures);
  const auto take = [&](const delta::BlockFinder::Part& part) {
    found += part.bytes.size() + part.length;
    if (part.offset + part.length > signatures->file_size()) std::abort();
    return Status();
  };
  finder.Add(std::string_view(file).substr(0, file.size() / 2), take);
  finder.Add(std::string_view(file).substr(file.size() / 2), take);
  finder.Finish(true, take);
  if (found != file.size()) std::abort();
}

void ReadExtended(uint8_t type, std::string_view payload) {
  Reader reader(payload);
  uint32_t count = 0;
  Hello hello;
  Sha256Digest proof;
  Opened opened;
  Prove prove;
  Body body;
  Begin begin;
  uint64_t length = 0;
  End end;
  Abandon abandon;
  Packed packed;
  ErrorView error;
  switch (static_cast<MessageType>(type)) {
    case MessageType::kWelcome:
      DecodeWelcome(payload, &hello);
      break;
    case MessageType::kProofAccepted:
      DecodeProof(payload, &proof);
      break;
    case MessageType::kOpened:
      DecodeOpened(payload, &opened);
      break;
    case MessageType::kProve:
      DecodeProve(payload, &prove);
      break;
    case MessageType::kResults:
      if (!TakeCount(&reader, &count)) break;
      for (Result result; count > 0 && TakeResult(&reader, &result); --count) {
      }
      break;
    case MessageType::kEntries:
      if (!TakeCount(&reader, &count)) break;
      for (Entry entry; count > 0 && TakeEntry(&reader, &entry); --count) IsProtocolPath(entry.path);
      break;
    case MessageType::kListed:
      if (!TakeCount(&reader, &count)) break;
      for (; count > 0 && TakeError(&reader, &error); --count) FromErrorView(error);
      break;
    case MessageType::kBody:
      DecodeBody(payload, &body);
      break;
    case MessageType::kBegin:
      DecodeBegin(payload, &begin);
      break;
    case MessageType::kHole:
      DecodeHole(payload, &length);
      break;
    case MessageType::kEnd:
      DecodeEnd(payload, &end);
      break;
    case MessageType::kAbandon:
      DecodeAbandon(payload, &abandon);
      break;
    case MessageType::kPacked: {
      Decompressor decompressor;
      std::string_view content;
      if (DecodePacked(payload, &packed)) decompressor.Decompress(packed.frame, packed.unpacked_size, &content);
      break;
    }
    case MessageType::kGoodbye:
      DecodeGoodbye(payload, &error);
      break;
    case MessageType::kSignatures:
      ReadSignatures(payload);
      break;
    case MessageType::kReuse: {
      Reuse reuse;
      DecodeReuse(payload, &reuse);
      break;
    }
    case MessageType::kUnknownReference:
      DecodeUnknownReference(payload, &count);
      break;
    default:
      MessageHeader header;
      if (payload.size() >= kMessageHeader) DecodeMessageHeader(payload.substr(0, kMessageHeader), &header);
      break;
  }
}

void ReadPlain(uint8_t type, std::string_view bytes) {
  wire::Version version;
  wire::FileInfo info;
  wire::FoundInfo found;
  std::vector<wire::FoundFile> files;
  delta::FrameHeader frame;
  switch (type) {
    case 0:
      if (bytes.size() >= wire::kHeaderSize) wire::DecodeVersion(bytes, &version);
      break;
    case 1:
      wire::DecodeFoundFiles(bytes, &files);
      for (const wire::FoundFile& file : files) wire::FromWirePath(file.name);
      break;
    case 2:
      if (bytes.size() >= 32) wire::DecodeFoundInfo(bytes.substr(0, 32), &found);
      break;
    case 3:
      if (bytes.size() >= 24) wire::DecodeFileInfo(bytes.substr(0, 24), &info);
      break;
    case 4:
      wire::FromUtf16(bytes);
      break;
    default:
      delta::ReadFrameHeader(bytes, &frame);
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] < 32) {
    ReadPlain(data[0], bytes);
  } else {
    ReadExtended(data[0], bytes);
  }
  return 0;
}
