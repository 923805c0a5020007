// A file that is sent; see file_reader.h.

#include "file_reader.h"

#include <algorithm>

#include "../ranges.h"
#include "digest.h"

namespace eacopy {
namespace net {

using platform::FileInfo;

namespace {

constexpr uint64_t kHolesWorthTelling = 64 * 1024;  // bytes of a file that has some

bool IsSparse(const FileInfo& info) { return info.allocated + info.block_size < info.size; }

bool Same(const platform::Timestamp& x, const platform::Timestamp& y) {
  return x.seconds == y.seconds && x.nanoseconds == y.nanoseconds;
}

}  // namespace

bool IsSmall(const FileInfo& info) {
  return info.size <= kSmallFile && (info.size <= kHolesWorthTelling || !IsSparse(info));
}

bool IsUnchanged(const platform::Handle& file, const FileInfo& before) {
  FileInfo now;
  return platform::GetInfo(file, &now).ok() && now.size == before.size && Same(now.modified, before.modified) &&
         (Same(now.changed, before.changed) || now.links != before.links);
}

FileReader::FileReader(const platform::Handle& file, const FileInfo& info, char* buffer, size_t room, bool tell_holes)
    : file_(file), info_(info), buffer_(buffer), room_(room), tell_holes_(tell_holes && IsSparse(info)) {
  if (!tell_holes_) data_end_ = info.size;
}

Status FileReader::Next(Piece* out) {
  *out = Piece();
  if (offset_ == data_end_ && !done()) {
    uint64_t begin = 0;
    platform::FindData(file_, offset_, info_.size, &begin, &data_end_);
    if (begin > offset_) {
      out->hole = begin - offset_;
      offset_ = begin;
      return Status();
    }
  }
  const auto wanted = static_cast<size_t>(std::min<uint64_t>(data_end_ - offset_, room_));
  size_t got = 0;
  Status status = platform::ReadRange(file_, Operation::kRead, offset_, buffer_, wanted, &got);
  if (status.ok() && got < wanted) status = Status::FromErrno(0, Operation::kRead, offset_ + got);
  if (!status.ok()) return status;
  out->data = std::string_view(buffer_, wanted);
  crc_ = Crc32(crc_, buffer_, wanted);
  offset_ += wanted;
  return Status();
}

}  // namespace net
}  // namespace eacopy
