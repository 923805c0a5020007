// Saying hello, and finding out which dialect a client speaks.

#include "session.h"

#include <exception>
#include <string>
#include <system_error>

#include "extended_session.h"
#include "messages.h"
#include "peer.h"
#include "plain_session.h"
#include "wire.h"

namespace eacopy {
namespace net {
namespace {

Status Serve(ServerContext& context, Peer& peer) {
  const std::string version = VersionMessage(context);
  peer.out() = version;
  Status status = peer.Flush();
  if (status.ok()) status = peer.Need(wire::kHeaderSize, true);
  if (!status.ok()) return peer.ended() ? Status() : status;
  const auto type = static_cast<uint8_t>(peer.bytes()[4]);
  if (type == static_cast<uint8_t>(MessageType::kHello)) return ExtendedSession(context, peer, version).Run();
  // Somebody without the token gets nothing, and EACopy's own clients have none.
  if (!context.options.token.empty()) return Status::Of(Kind::kPermissionDenied, Operation::kAuthenticate);
  return PlainSession(context, peer).Run();
}

std::string Reason(const Status& status) {
  if (status.operation() == Operation::kAuthenticate) return "it did not prove that it may";
  switch (status.kind()) {
    case Kind::kPermissionDenied:
      return "it asked for what is not shared, or what the server's user may not do";
    case Kind::kTimeout:
      return "it was silent for too long";
    case Kind::kNetwork:
      return "the connection was lost";
    case Kind::kClient:
      return "it sent what the protocol does not know";
    default:
      return status.error_number() != 0 ? std::generic_category().message(status.error_number()) : "it failed";
  }
}

}  // namespace

std::string VersionMessage(const ServerContext& context) {
  wire::Version version;
  version.flags = wire::kExtended;
  if (context.UsesSecurityFile()) version.flags |= wire::kUseSecurityFile;
  if (!context.options.token.empty()) version.flags |= wire::kTokenRequired;
  version.info = "v1.11 py-eacopy";
  std::string message;
  wire::EncodeVersion(&message, version);
  return message;
}

void ServeConnection(ServerContext& context, const Socket& socket) {
  const std::string name = socket.PeerName();
  context.log.Write(Log::kDebug, "connected: " + name);
  try {
    Peer peer(context, socket);
    Status status = Serve(context, peer);
    if (status.ok() || context.stopping.load(std::memory_order_relaxed)) {
      context.log.Write(Log::kDebug, "disconnected: " + name);
      return;
    }
    Count(&context.totals.errors);
    context.log.Write(Log::kWarning, "closed the connection of " + name + ": " + Reason(status));
  } catch (const std::exception& error) {  // out of memory
    Count(&context.totals.errors);
    context.log.Write(Log::kError, "closed the connection of " + name + ": " + error.what());
  }
}

}  // namespace net
}  // namespace eacopy
