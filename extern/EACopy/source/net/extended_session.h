// ExtendedSession: a connection that speaks the extended dialect; docs/protocol.md describes it.
#ifndef EACOPY_SOURCE_NET_EXTENDED_SESSION_H_
#define EACOPY_SOURCE_NET_EXTENDED_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "arrival.h"
#include "content_sender.h"
#include "eacopy/status.h"
#include "messages.h"
#include "older_version.h"
#include "peer.h"
#include "security_file.h"
#include "server_context.h"
#include "workspace.h"
#include "zstd.h"

namespace eacopy {
namespace net {

class ExtendedSession {
 public:
  // `version`: the message that the client has got. Its Hello is the next that comes.
  ExtendedSession(ServerContext& context, Peer& peer, std::string_view version);
  // Until the client has finished, or has done what it must not.
  Status Run();

 private:
  // A file whose content, or digest, the client was asked for.
  struct Wanted {
    std::string path;
    std::string attributes;
    uint8_t flags = 0;
    uint32_t mode = kUnknownMode;
    uint32_t existing_mode = kUnknownMode;  // of what is there now
    int64_t mtime = 0;
    int64_t atime = 0;
    uint64_t size = 0;
    ReferenceDigest reference;
    bool digest = false;  // not the content yet
  };
  using WantedFiles = std::unordered_map<uint32_t, Wanted>;

  Status Violation(const char* text);
  void SayGoodbye(const Status& status);

  // Setting up.
  Status SetUp();
  // `size`: of its payload, or 0.
  Status NextMessage(MessageType type, size_t size, std::string_view* payload);
  Status CheckToken(std::string_view transcript);
  Status OpenWorkspace(const Open& open);
  Status ProveSecurityFile();

  // Commands.
  Status Loop();
  Status TakeMessage(const MessageHeader& header);
  Status StreamData(uint64_t size);
  Status Handle(MessageType type, std::string_view payload, bool packed);
  Status HandleOffer(std::string_view payload);
  Status OfferFile(uint32_t index, const Entry& entry);
  Status AskForContent(uint32_t index, Wanted wanted, const OpenDirectory& parent);
  Status ChooseDelta(uint32_t index, const Wanted& wanted, const OpenDirectory& parent, ResultCode* code);
  Status OfferDirectory(const Entry& entry, ResultCode* code);
  Status OfferSymlink(const Entry& entry, ResultCode* code);
  Status HandleBody(std::string_view payload);
  Status HandleBegin(std::string_view payload);
  Status HandleData(std::string_view bytes);
  Status HandleHole(std::string_view payload);
  Status HandleReuse(std::string_view payload);
  Status HandlePatchData(std::string_view payload);
  Status HandleEnd(std::string_view payload);
  Status HandleAbandon(std::string_view payload);
  Status HandleDigest(std::string_view payload);
  Status HandlePacked(std::string_view payload);
  Status HandleFetch(std::string_view payload);
  Status HandleFetchDelta(std::string_view payload);
  Status HandleFetchPatch(std::string_view payload);
  Status HandleSignatures(std::string_view payload);
  Status HandleList(std::string_view payload);
  Status HandlePlainCommand();

  OfferedFile OfferedFrom(const Wanted& wanted) const;
  NewMetadata MetadataFor(const Wanted& wanted) const;
  std::unique_ptr<Arrival> StartArrival(const Wanted& wanted);
  void FinishArrival(uint32_t index, const Wanted& wanted, Arrival& arrival, bool changed);
  OpenDirectory ParentFor(std::string_view path, Status* status);

  void AddResult(uint32_t index, ResultCode code);
  void AddFailure(uint32_t index, const Status& status, std::string_view path, std::string_view text = {});
  void FinishResults();

  ServerContext& context_;
  Peer& peer_;
  const std::string version_;
  const char* violation_ = "";
  bool finished_ = false;

  uint32_t capabilities_ = 0;
  Secrets::Holder secret_;
  Workspace workspace_;
  bool may_write_ = false;
  bool is_own_user_ = false;  // it proved that it is the server's own user

  uint64_t next_index_ = 0;
  WantedFiles wanted_;
  std::vector<Entry> offered_;  // of the Offer that is worked on
  std::optional<CountedMessage> results_;

  std::unique_ptr<Arrival> arrival_;  // between Begin and End
  uint32_t arriving_ = 0;
  uint64_t arriving_size_ = 0;
  struct Older {
    OlderVersion version;
    bool patch = false;  // that is what the client was asked for
  };
  std::unordered_map<uint32_t, Older> older_;  // of files that may come as a delta
  std::unique_ptr<DeltaArrival> delta_;        // between Begin and End of such a file

  // A file that was asked for as a delta, until all signatures of what the client has are there.
  struct FetchedDelta {
    uint32_t index = 0;
    uint8_t level = 0;
    std::string path;
    std::unique_ptr<delta::Signatures> signatures;
  };
  std::optional<FetchedDelta> fetched_;

  Decompressor decompressor_;
  std::unique_ptr<ContentSender> sender_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_EXTENDED_SESSION_H_
