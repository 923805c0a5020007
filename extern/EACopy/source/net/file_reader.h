// FileReader: a file that is sent, piece by piece: its data, its holes, the checksum of it all.
#ifndef EACOPY_SOURCE_NET_FILE_READER_H_
#define EACOPY_SOURCE_NET_FILE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../platform.h"
#include "eacopy/status.h"

namespace eacopy {
namespace net {

// Files up to this size are one message, unless so much of them is holes that it is worth telling those.
constexpr size_t kSmallFile = 256 * 1024;

bool IsSmall(const platform::FileInfo& info);

// Whether an open file is what it was. The time of the last change of any kind cannot be turned back; a link that is
// made to the file changes it, and nothing of the content.
bool IsUnchanged(const platform::Handle& file, const platform::FileInfo& before);

class FileReader {
 public:
  struct Piece {
    uint64_t size() const { return hole + data.size(); }

    uint64_t hole = 0;      // bytes; then there is no data
    std::string_view data;  // in the reader's buffer
  };

  // `info`: of the open file. Holes are read as zeros unless they are to be told.
  FileReader(const platform::Handle& file, const platform::FileInfo& info, char* buffer, size_t room, bool tell_holes);

  uint64_t offset() const { return offset_; }
  bool done() const { return offset_ == info_.size; }
  // Error number 0: the file has become shorter, and cannot be what was announced any more.
  Status Next(Piece* out);
  // Of all data until now (CRC-32).
  uint32_t crc() const { return crc_; }
  bool IsUnchanged() const { return net::IsUnchanged(file_, info_); }

 private:
  const platform::Handle& file_;
  const platform::FileInfo& info_;
  char* const buffer_;
  const size_t room_;
  const bool tell_holes_;
  uint64_t offset_ = 0;
  uint64_t data_end_ = 0;  // of the stretch of data that is being read
  uint32_t crc_ = 0;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_FILE_READER_H_
