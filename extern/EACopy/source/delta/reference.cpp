// The older version that a delta is made with; see reference.h.

#include "reference.h"

#include <cerrno>
#include <chrono>

namespace eacopy {
namespace delta {

using platform::FileInfo;
using platform::FileType;

namespace {

// Times of files are those of the kernel's clock ticks: what was written this long ago has a time of its own.
constexpr int64_t kTickSeconds = 2;

Status RefuseSpecial(const FileInfo& info) {
  if (info.type == FileType::kDirectory) {
    return Status::Of(Kind::kInvalidArgument, Operation::kOpenReference, EISDIR);
  }
  return info.type == FileType::kRegular ? Status() : Status::FromErrno(0, Operation::kSpecialFile);
}

bool Same(const platform::Timestamp& a, const platform::Timestamp& b) {
  return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

}  // namespace

Status Reference::Open(const char* path) {
  const platform::Directory& paths = platform::Directory::Paths();
  // Opening a FIFO disturbs its writer, so this comes before, too.
  Status status = platform::GetInfo(paths, path, true, &info_);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenReference);
  status = RefuseSpecial(info_);
  if (!status.ok()) return status;
  status = platform::OpenSource(paths, path, true, &handle_, &info_);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenReference);
  status = RefuseSpecial(info_);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  fresh_ = std::chrono::duration_cast<std::chrono::seconds>(now).count() - info_.modified.seconds < kTickSeconds;
  return status;
}

Status Reference::CheckUnchanged() const {
  FileInfo now;
  Status status = platform::GetInfo(handle_, &now);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kReadReference);
  const bool same = now.size == info_.size && Same(now.modified, info_.modified) && Same(now.changed, info_.changed);
  return same ? Status() : Status::Of(Kind::kDeltaCopy, Operation::kReadReference, EBUSY);
}

}  // namespace delta
}  // namespace eacopy
