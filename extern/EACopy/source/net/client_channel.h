// ClientChannel: a client's end of a connection. It sends and receives at the same time, packs messages into zstd
// frames, and unpacks what comes.
#ifndef EACOPY_SOURCE_NET_CLIENT_CHANNEL_H_
#define EACOPY_SOURCE_NET_CLIENT_CHANNEL_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "../throttle.h"
#include "../worker.h"
#include "compression_level.h"
#include "eacopy/status.h"
#include "messages.h"
#include "socket.h"
#include "zstd.h"

namespace eacopy {
namespace net {

struct Message {
  MessageType type = MessageType::kGoodbye;
  std::string_view payload;
  uint8_t level = 0;  // with which it was packed; 0: it was not
};

// For one thread.
class ClientChannel {
 public:
  // `throttle`: limits what crosses the wire; null: nothing does.
  ClientChannel(Socket socket, const Patience& patience, WorkerCounters& counters, Throttle* throttle);

  const Socket& socket() const { return socket_; }

  // Packed is agreed on; `level` as in Remote, for what is sent.
  void UseZstd(int level);
  bool packs() const { return level_ != 0; }

  // Where messages are to be appended; Queued() is to be called after each. `content`: bytes of files in it.
  std::string& messages() { return packs() ? packed_ : out_; }
  Status Queued(size_t content = 0);
  // Sends a message whose head was just appended, and its last part. Returns when all is with the system; what comes
  // meanwhile is kept.
  Status QueuedHeadAnd(std::string_view content);
  // Packs what waits to be packed.
  Status Flush();
  // The last word, which is never packed. `failure`: why, or ok; the server may not be there to hear it.
  void SayGoodbye(const Status& failure);
  // What waits to be sent, packed or not; and what of it is waiting for the wire alone.
  size_t waiting() const { return unsent() + packed_.size(); }
  size_t unsent() const { return out_.size() - sent_; }
  // The wire has enough to do for the moment.
  bool IsBusy() const { return unsent() != 0 || socket_.IsBehind(); }

  // Moves what can be moved, and waits at most so long when that is nothing. `owed`: the peer has something to answer,
  // so its silence is limited.
  Status Pump(std::chrono::milliseconds wait, bool owed);
  // The next message that has come; *there is false when there is none. The payload is valid until the next call of
  // this, Pump or QueuedHeadAnd.
  Status Next(Message* message, bool* there);
  // Waits for it. A goodbye becomes a failure, and *text what the server said.
  Status Receive(Message* message, std::string* text);

  // After a failure: the reason that the server gave before it hung up, if it gave one.
  Status Reason(const Status& failure, std::string* text);

  // For what is no message: waits until so many bytes have come, having sent everything.
  Status Need(size_t size);
  std::string_view bytes() const { return inbox_.bytes(); }
  void Consume(size_t size) { inbox_.Consume(size); }
  // The server ended the stream.
  bool ended() const { return inbox_.ended(); }

 private:
  Status Pack();
  void SendSome();
  // How many bytes may cross the wire now, having waited for that. 0: cancelled.
  size_t Admit(size_t wanted, bool sending);
  // Waits for the peer, and takes note of its silence.
  Status Wait(std::chrono::milliseconds wait, bool sending);
  Status Move(std::string_view more, size_t* moved_of_more, bool* moved);

  Socket socket_;
  const Patience patience_;
  WorkerCounters& counters_;
  Throttle* const throttle_;
  Inbox inbox_;
  std::string out_;
  size_t sent_ = 0;  // of out_
  bool unpacks_ = false;
  int level_ = 0;
  CompressionLevel controller_;
  Compressor compressor_;
  Decompressor decompressor_;
  std::string packed_;  // messages that wait to be packed
  size_t packed_content_ = 0;
  std::string frame_;
  std::string_view unpacked_;
  uint8_t unpacked_level_ = 0;
  std::chrono::steady_clock::duration waited_{0};  // for the peer to take something, since the last frame
  std::chrono::steady_clock::time_point last_moved_;
};

// The peer sent what the protocol does not allow.
Status Violation();
// What a goodbye says, as a failure; *text: in the peer's words.
Status FromGoodbye(std::string_view payload, std::string* text);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_CLIENT_CHANNEL_H_
