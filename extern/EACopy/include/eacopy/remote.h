// Remote: the server through which a job copies its one item.
#ifndef EACOPY_REMOTE_H_
#define EACOPY_REMOTE_H_

#include <cstdint>
#include <string>

namespace eacopy {

// Whether only what differs from an older version is to go over the wire. The values are those of enum eac_delta_mode.
enum class DeltaMode : uint8_t {
  kNever = 0,
  kAuto = 1,    // for large files, where both sides can
  kAlways = 2,  // for small ones too; that one side cannot is an error
};

struct Remote {
  std::string host;
  uint16_t port = 0;
  bool push = true;    // the destination is on the server; else the source is
  bool plain = false;  // speak plain v20 even to a server that knows more
  int level = 0;       // zstd: 0 none, 1 to 22, -1 adapts to the wire
  DeltaMode delta = DeltaMode::kNever;
  double timeout = 30;          // seconds that the server may be silent
  std::string directory;        // the path on the server, '/' between names: "share/dir", or absolute
  std::string local_directory;  // the same place as this machine sees it; empty when it does not
  std::string token;            // empty: none
  std::string reference;        // of one file: the path of the older version that this machine has; empty: none
};

}  // namespace eacopy

#endif  // EACOPY_REMOTE_H_
