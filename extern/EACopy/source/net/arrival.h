// Arrival: a file while its content comes in, in either dialect.
#ifndef EACOPY_SOURCE_NET_ARRIVAL_H_
#define EACOPY_SOURCE_NET_ARRIVAL_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "digest.h"
#include "eacopy/status.h"
#include "open_directories.h"
#include "store.h"
#include "write_behind.h"

namespace eacopy {
namespace net {

// What fails is remembered: the rest of the content is taken and thrown away, and Finish tells.
class Arrival {
 public:
  // `mode`: what the file is created with; it is its owner's alone until it is finished, unless the umask decides.
  Arrival(OpenDirectory parent, uint32_t mode, bool with_md5);

  void Write(std::string_view bytes);
  void Hole(uint64_t length);
  // Takes whole blocks of another file by sharing them. False: it cannot, and nothing was taken.
  bool Share(const platform::Handle& source, uint64_t offset, uint64_t length, const std::atomic<bool>& stopping);
  // So much would have come if it had not failed.
  void Skip(uint64_t length) { size_ += length; }
  uint64_t size() const { return size_; }
  // Of the data; holes do not count.
  uint32_t crc() const { return crc_; }
  // Of everything; all zero without `with_md5`.
  Md5Digest md5();

  void Fail(const Status& status);
  bool failed() const { return !status_.ok(); }
  // Gives it its name. `verify`: reads it again first.
  Status Finish(std::string_view name, const NewMetadata& metadata, bool verify);

 private:
  void Sum(std::string_view bytes);
  // All that was written is in the file, which may be used directly then.
  void Settle();

  TemporaryFile file_;
  std::unique_ptr<WriteBehind> behind_;  // once it is known that the file is large
  Status status_;
  uint64_t size_ = 0;
  uint32_t crc_ = 0;
  bool with_md5_;
  Md5 md5_;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_ARRIVAL_H_
