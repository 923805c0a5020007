// ContentSender: answers Fetch and List, with what is in a session's directory.
#ifndef EACOPY_SOURCE_NET_CONTENT_SENDER_H_
#define EACOPY_SOURCE_NET_CONTENT_SENDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "../delta/signatures.h"
#include "../platform.h"
#include "compression_level.h"
#include "eacopy/status.h"
#include "messages.h"
#include "older_version.h"
#include "peer.h"
#include "server_context.h"
#include "workspace.h"
#include "zstd.h"

namespace eacopy {
namespace net {

// A Status is that of the connection; what fails of a file is told to the client.
class ContentSender {
 public:
  ContentSender(ServerContext& context, Peer& peer, Workspace& workspace, uint32_t capabilities);

  // From the next file on: 0, 1 to 22, or kAdaptive.
  Status SetLevel(uint8_t level);
  // `older`: what of it the client has already, or null.
  Status SendFile(uint32_t index, std::string_view path, const delta::Signatures* older);
  // As a patch, if the older version is `reference` to its last byte.
  Status SendPatched(uint32_t index, std::string_view path, const OlderVersion& older,
                     const ReferenceDigest& reference);
  Status SendUnknownReference(uint32_t index);
  // What was sent so far is on its way afterwards.
  Status Finish();

  Status SendListing(const List& list);

 private:
  // What fails is told to the client, and *file is not open then.
  Status OpenFile(uint32_t index, std::string_view path, platform::Handle* file, platform::FileInfo* info);
  Status SendSmall(uint32_t index, const platform::Handle& file, const platform::FileInfo& info, bool* done);
  Status SendLarge(uint32_t index, const platform::Handle& file, const platform::FileInfo& info,
                   const delta::Signatures* older);
  Status SendData(std::string_view bytes);
  Status Abandon_(uint32_t index, const Status& status, std::string_view path);
  Status Pack();
  std::string& messages() { return packing_ ? packed_ : peer_.out(); }
  Status AfterMessage();

  ServerContext& context_;
  Peer& peer_;
  Workspace& workspace_;
  const uint32_t capabilities_;
  bool packing_ = false;
  uint8_t level_ = 0;   // as it was asked for
  std::string packed_;  // messages that wait to be packed
  std::string frame_;
  std::unique_ptr<char[]> buffer_;
  Compressor compressor_;
  std::unique_ptr<CompressionLevel> controller_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_CONTENT_SENDER_H_
