// Store: how files come to be on the server. Every one is complete before it gets its name, and no other name of what
// was there before changes.
#ifndef EACOPY_SOURCE_NET_STORE_H_
#define EACOPY_SOURCE_NET_STORE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../platform.h"
#include "attributes.h"
#include "eacopy/status.h"
#include "messages.h"
#include "open_directories.h"

namespace eacopy {
namespace net {

// What a file is given beside its content.
struct NewMetadata {
  uint32_t mode = kUnknownMode;  // kUnknownMode: stays as it was created
  bool set_times = false;
  int64_t mtime = 0;  // nanoseconds since 1970
  int64_t atime = 0;
  std::string_view attributes;  // as in an entry
  bool durable = false;         // file and directory are flushed to the device
};

// Tells what is alive from what a server left behind that was killed: a file ".eacopy-<16 hex digits>.tmp" which is
// locked as long as it is written. It is removed with the object, unless it was finished.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { Discard(); }

  bool created() const { return handle_.valid(); }
  const platform::Handle& handle() const { return handle_; }

  // `mode`: subject to the umask.
  Status Create(OpenDirectory parent, uint32_t mode);
  // Appends.
  Status Write(std::string_view bytes);
  Status Hole(uint64_t length);
  // Appends whole blocks of another file by sharing them; *shared is false, with success, where that is not possible.
  Status Share(const platform::Handle& source, uint64_t offset, uint64_t length, bool* shared);
  uint64_t size() const { return size_; }
  // Something else wrote this much, from the beginning.
  void SetSize(uint64_t size) { size_ = written_ = size; }
  // Reads what was written again, from the device if possible, and compares with the CRC-32 of the data without holes.
  Status Verify(uint32_t crc);
  // Gives it metadata and its name.
  Status Finish(const char* name, const NewMetadata& metadata);
  void Discard();

 private:
  OpenDirectory parent_;
  platform::Handle handle_;
  std::string name_;
  uint64_t size_ = 0;
  uint64_t written_ = 0;                              // where the last data ends
  std::vector<std::pair<uint64_t, uint64_t>> holes_;  // begin, end
};

// Gives an open file or directory metadata; `mode` and times that it has already are set again.
Status SetMetadata(const platform::Handle& file, const NewMetadata& metadata);
Status SetMetadata(const platform::Directory& directory, const NewMetadata& metadata);

// The permission bits of a file as the protocol has them: kUnknownMode where there are none.
inline uint32_t ModeOf(const platform::FileInfo& info) { return platform::kHasModes ? info.mode : kUnknownMode; }
// Whether a file's time is this one, in nanoseconds since 1970, as far as the system and `step` tell times apart.
inline bool IsSameTime(const platform::Timestamp& time, int64_t nanoseconds, int64_t step) {
  step = std::max(step, platform::kTimeStep);
  return ToNanoseconds(time) / step == nanoseconds / step;
}
// Gives an open file this mode; false where that is not allowed, or the file system has one mode for all its files.
bool TakesMode(const platform::Handle& file, uint32_t mode);

// Where a symbolic link leads, as the protocol has it: with '/' between names.
Status ReadTarget(const platform::Directory& parent, const char* name, std::string* target);
// Makes a symbolic link, in place of what has the name. *same: it was there already, equal. Times are set with
// `metadata`.
Status StoreSymlink(const platform::Directory& parent, const char* name, const std::string& target,
                    const NewMetadata& metadata, bool* same);

// Removes what dead writers left in a tree, and returns how much. Looks at `stop` often; links are not followed.
size_t RemoveDeadFiles(const platform::Directory& root, const std::atomic<bool>& stop);

// The same in one directory alone. Its descriptor's position is moved.
void RemoveDeadFilesIn(const platform::Directory& directory);

// Removes everything in a directory, and not the directory itself; no symbolic link is followed.
Status RemoveContents(const platform::Directory& directory, const std::atomic<bool>& stop);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_STORE_H_
