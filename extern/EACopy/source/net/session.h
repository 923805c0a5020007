// Session: one client's connection, from the Version message to its end.
#ifndef EACOPY_SOURCE_NET_SESSION_H_
#define EACOPY_SOURCE_NET_SESSION_H_

#include <string>
#include <string_view>

#include "server_context.h"
#include "socket.h"

namespace eacopy {
namespace net {

// Serves a connection until it ends.
void ServeConnection(ServerContext& context, const Socket& socket);

// The Version message that every connection begins with.
std::string VersionMessage(const ServerContext& context);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SESSION_H_
