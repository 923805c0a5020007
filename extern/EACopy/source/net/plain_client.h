// PlainClient: one connection in plain v20, where every question waits for its answer.
#ifndef EACOPY_SOURCE_NET_PLAIN_CLIENT_H_
#define EACOPY_SOURCE_NET_PLAIN_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "remote_job.h"
#include "wire.h"
#include "zstd.h"

namespace eacopy {
namespace net {

// Paths are those of the wire ('\'). A Status is that of the connection; what fails of a file is in the answers.
class PlainClient {
 public:
  PlainClient(RemoteJob& remote, Worker& worker, Session session)
      : remote_(remote), worker_(worker), session_(std::move(session)) {}

  // *answer as on the wire: 0 error, 1 no environment, 2 existed, more: 2 + how many were made.
  Status CreateDirectory(std::string_view path, uint8_t* answer);
  Status GetFileInfo(std::string_view path, wire::FoundInfo* out);
  // *found is false when the search failed.
  Status FindFiles(std::string_view pattern, std::vector<wire::FoundFile>* out, bool* found);

  Status AskToWrite(const wire::WriteFile& write, wire::WriteAnswer* answer);
  // Answers Hash, and gets the next answer.
  Status SendHash(const Md5Digest& digest, uint8_t* answer);
  Status SendByte(uint8_t byte);
  Status ReceiveByte(uint8_t* byte);
  Status ReceiveNumber(uint64_t* number);

  // Sends a file's content: `read` fills a buffer from an offset, completely; a failure of it breaks the connection,
  // because there is no other way to end a body. `level` 0: raw.
  using Read = std::function<Status(char* data, size_t size, uint64_t offset)>;
  Status SendBody(uint64_t size, int level, const Read& read, const std::function<void(uint64_t)>& sent);
  // Receives one, piece by piece.
  Status ReceiveBody(uint64_t size, bool compressed, const std::function<void(std::string_view)>& take);

  struct DeltaHead {
    uint64_t last_write = 0;
    uint64_t size = 0;
    uint8_t codec = 0;  // 0: zstd
  };
  Status ReceiveDeltaHead(DeltaHead* head);
  // The rest of it, piece by piece.
  Status ReceiveDelta(const std::function<void(std::string_view)>& take);
  // Takes a delta, which nobody asked for, and throws it away.
  Status DropDelta();

  Status AskToRead(const wire::ReadFile& read, uint8_t* answer);
  // The end, for which the server has an answer that nobody needs.
  void Finish();

  bool ours() const { return (session_.flags & wire::kExtended) != 0; }
  Session& session() { return session_; }

 private:
  Status Need(size_t size) { return session_.channel->Need(size); }
  std::string& out() { return session_.channel->messages(); }

  RemoteJob& remote_;
  Worker& worker_;
  Session session_;
  Compressor compressor_;
  Decompressor decompressor_;
  CompressionLevel controller_;
  std::unique_ptr<char[]> buffer_;
  std::string frame_;
  uint64_t received_packed_ = 0;  // content that came compressed
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_PLAIN_CLIENT_H_
