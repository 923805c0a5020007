// PlainSession: a connection that speaks plain v20, EACopy's own dialect.
#ifndef EACOPY_SOURCE_NET_PLAIN_SESSION_H_
#define EACOPY_SOURCE_NET_PLAIN_SESSION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "arrival.h"
#include "eacopy/status.h"
#include "peer.h"
#include "security_file.h"
#include "server_context.h"
#include "wire.h"
#include "workspace.h"
#include "zstd.h"

namespace eacopy {
namespace net {

class PlainSession {
 public:
  PlainSession(ServerContext& context, Peer& peer) : context_(context), peer_(peer), workspace_(context) {}
  // Until the client has finished, or has done what it must not.
  Status Run();

 private:
  Status Loop();
  Status Handle(wire::Command command, std::string_view bytes);
  Status HandleEnvironment(const wire::Environment& environment);
  Status Prove();
  Status HandleWrite(const wire::WriteFile& write);
  Status TakeContent(const wire::WriteFile& write, Arrival* arrival);
  Status HandleRead(const wire::ReadFile& read);
  bool MayBeDelta(const wire::ReadFile& read, const std::string& path, const platform::FileInfo& info);
  // *done stays false where the client's file is not known here.
  Status SendDelta(const platform::Handle& file, const platform::FileInfo& info, const std::string& path,
                   const ReferenceDigest& theirs, uint8_t level, bool* done);
  Status SendContent(const platform::Handle& file, const platform::FileInfo& info, uint8_t level);
  Status HandleCreateDirectory(const std::string& path);
  Status HandleDelete(const std::string& path);
  Status HandleFind(const std::string& pattern);
  Status HandleGetInfo(const std::string& path);

  // A path of a command below the share. False: it is not legal, or there is no directory yet.
  bool FullPath(const std::string& wire_path, std::string* path, std::string* full) const;
  Status Answer(uint8_t byte);
  Status TakeDigest(Md5Digest* md5);

  ServerContext& context_;
  Peer& peer_;
  Workspace workspace_;
  Secrets::Holder secret_;
  bool ready_ = false;  // the client may do things in its directory
  bool finished_ = false;
  uint64_t level_sum_ = 0;  // of every byte that was sent compressed, its level
  Compressor compressor_;
  Decompressor decompressor_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_PLAIN_SESSION_H_
