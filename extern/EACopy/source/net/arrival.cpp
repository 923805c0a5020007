// Taking in content, and summing it up on the way.

#include "arrival.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "../ranges.h"

namespace eacopy {
namespace net {
namespace {

constexpr size_t kPiece = 256 * 1024;
// What is larger is worth a thread that writes it.
constexpr uint64_t kLarge = 8u << 20;

}  // namespace

Arrival::Arrival(OpenDirectory parent, uint32_t mode, bool with_md5) : with_md5_(with_md5) {
  status_ = parent ? file_.Create(std::move(parent), mode) : Status::FromErrno(ENOENT, Operation::kOpenDestination);
}

void Arrival::Sum(std::string_view bytes) {
  size_ += bytes.size();
  crc_ = Crc32(crc_, bytes.data(), bytes.size());
  if (with_md5_) md5_.Update(bytes);
}

// What is summed up is read from the clone: the other file may be written to meanwhile.
bool Arrival::Share(const platform::Handle& source, uint64_t offset, uint64_t length,
                    const std::atomic<bool>& stopping) {
  Settle();
  if (!status_.ok() || file_.size() != size_) return false;
  bool shared = false;
  Fail(file_.Share(source, offset, length, &shared));
  if (!shared || !status_.ok()) return false;
  std::unique_ptr<char[]> buffer(new char[kPiece]);
  for (uint64_t end = size_ + length; size_ < end;) {
    size_t got = 0;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kPiece, end - size_));
    const bool stops = stopping.load(std::memory_order_relaxed);
    Fail(stops ? Status::Cancelled()
               : platform::ReadRange(file_.handle(), Operation::kReadReference, size_, buffer.get(), wanted, &got));
    if (status_.ok() && got < wanted) Fail(Status::FromErrno(EIO, Operation::kReadReference, size_));
    if (!status_.ok()) {
      size_ = end;
      break;
    }
    Sum(std::string_view(buffer.get(), wanted));
  }
  return true;
}

void Arrival::Write(std::string_view bytes) {
  Sum(bytes);
  if (!status_.ok()) return;
  if (behind_) {
    behind_->Write(bytes);
    return;
  }
  Fail(file_.Write(bytes));
  if (!status_.ok() || size_ < kLarge) return;
  try {
    behind_ = std::make_unique<WriteBehind>(file_);
  } catch (const std::exception&) {
    // Without a thread, or the memory, it goes on as it began.
  }
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
  Settle();
  if (status_.ok()) Fail(file_.Hole(length));
}

void Arrival::Settle() {
  if (behind_) Fail(behind_->Flush());
}

Md5Digest Arrival::md5() { return with_md5_ ? md5_.Finish() : Md5Digest{}; }

void Arrival::Fail(const Status& status) {
  if (!status_.ok() || status.ok()) return;
  status_ = status;
  behind_.reset();
  file_.Discard();  // the room may be needed
}

Status Arrival::Finish(std::string_view name, const NewMetadata& metadata, bool verify) {
  Settle();
  behind_.reset();
  if (status_.ok() && verify) Fail(file_.Verify(crc_));
  if (status_.ok()) Fail(file_.Finish(std::string(name).c_str(), metadata));
  return status_;
}

}  // namespace net
}  // namespace eacopy
