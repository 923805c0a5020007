// Taking in content, and summing it up on the way.

#include "arrival.h"

#include <algorithm>
#include <string>
#include <utility>

namespace eacopy {
namespace net {

Arrival::Arrival(OpenDirectory parent, uint32_t mode, bool with_md5) : with_md5_(with_md5) {
  status_ = parent ? file_.Create(std::move(parent), mode) : Status::FromErrno(ENOENT, Operation::kOpenDestination);
}

void Arrival::Write(std::string_view bytes) {
  size_ += bytes.size();
  crc_ = Crc32(crc_, bytes.data(), bytes.size());
  if (with_md5_) md5_.Update(bytes);
  if (status_.ok()) Fail(file_.Write(bytes));
}

void Arrival::Hole(uint64_t length) {
  size_ += length;
  if (with_md5_) {
    static const char zeros[4096] = {};
    // A digest of so much nothing is not worth its time, and a client could ask for it again and again.
    if (length > (uint64_t{1} << 28)) with_md5_ = false;
    for (uint64_t left = length; with_md5_ && left > 0;) {
      const uint64_t some = std::min<uint64_t>(left, sizeof(zeros));
      md5_.Update(std::string_view(zeros, static_cast<size_t>(some)));
      left -= some;
    }
  }
  if (status_.ok()) Fail(file_.Hole(length));
}

Md5Digest Arrival::md5() { return with_md5_ ? md5_.Finish() : Md5Digest{}; }

void Arrival::Fail(const Status& status) {
  if (!status_.ok() || status.ok()) return;
  status_ = status;
  file_.Discard();  // the room may be needed
}

Status Arrival::Finish(std::string_view name, const NewMetadata& metadata, bool verify) {
  if (status_.ok() && verify) Fail(file_.Verify(crc_));
  if (status_.ok()) Fail(file_.Finish(std::string(name).c_str(), metadata));
  return status_;
}

}  // namespace net
}  // namespace eacopy
