// Comparing two files stride by stride; see comparison.h.

#include "comparison.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "../ranges.h"

namespace eacopy {
namespace delta {
namespace {

// What is read at once: of both files it fits into a processor's own cache.
constexpr size_t kPiece = 256u << 10;
constexpr size_t kGroup = 64u << 10;

void Begin(Stride* stride, uint64_t position, size_t size, int64_t shift) {
  *stride = Stride();
  stride->position = position;
  stride->shift = shift;
  stride->wanted = size;
}

}  // namespace

Status Files::ReadSource(uint64_t offset, size_t size, std::string* out) const {
  out->resize(size);
  size_t got = 0;
  Status status = platform::ReadRange(source, Operation::kRead, offset, &(*out)[0], size, &got);
  out->resize(got);
  return status;
}

Status Files::ReadReference(int64_t offset, size_t size, std::string* out) const {
  out->clear();
  if (offset < 0 || static_cast<uint64_t>(offset) >= reference_size) return Status();
  out->resize(size);
  size_t got = 0;
  Status status =
      platform::ReadRange(reference, Operation::kReadReference, static_cast<uint64_t>(offset), &(*out)[0], size, &got);
  out->resize(got);
  return status;
}

Comparison::Comparison(const Files& files, bool ahead) : files_(files) {
  if (!ahead) return;
  next_.ours.reserve(kPiece);  // so that the thread asks for no memory
  next_.theirs.reserve(kPiece);
  try {
    thread_ = std::thread([this] { Loop(); });
  } catch (const std::system_error&) {
    // Then this thread does it alone.
  }
}

Comparison::~Comparison() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    work_.notify_one();
  }
  thread_.join();
}

const Stride& Comparison::Compare(uint64_t position, size_t size, uint64_t end, int64_t shift) {
  size = static_cast<size_t>(std::min<uint64_t>(size, end - position));
  if (Asked(position, size, shift)) return next_.stride;
  const uint64_t left = end - position - size;
  if (size == kStride && left > 0 && thread_.joinable()) {
    Ask(position + size, static_cast<size_t>(std::min<uint64_t>(kStride, left)), shift);
  }
  Begin(&now_.stride, position, size, shift);
  Run(&now_);
  bytes_read_ += now_.stride.read;
  return now_.stride;
}

void Comparison::Ask(uint64_t position, size_t size, int64_t shift) {
  Begin(&next_.stride, position, size, shift);
  has_next_ = true;
  std::lock_guard<std::mutex> lock(mutex_);
  asked_ = true;
  work_.notify_one();
}

// Whether this is what the other thread was asked for, and has done then. Whatever it was, the thread is free again.
bool Comparison::Asked(uint64_t position, size_t size, int64_t shift) {
  if (!has_next_) return false;
  has_next_ = false;
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return !asked_; });
  const Stride& stride = next_.stride;
  bytes_read_ += stride.read;
  return stride.position == position && stride.shift == shift && stride.wanted == size;
}

void Comparison::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return closing_ || asked_; });
    if (closing_) return;
    lock.unlock();
    Run(&next_);
    lock.lock();
    asked_ = false;
    done_.notify_one();
  }
}

void Comparison::Run(Work* work) const {
  Stride& stride = work->stride;
  const std::string& ours = work->ours;
  const std::string& theirs = work->theirs;
  while (stride.size < stride.wanted) {
    const size_t wanted = std::min(kPiece, stride.wanted - stride.size);
    const uint64_t position = stride.position + stride.size;
    stride.status = files_.ReadSource(position, wanted, &work->ours);
    if (!stride.status.ok() || ours.empty()) return;
    stride.status = files_.ReadReference(static_cast<int64_t>(position) + stride.shift, ours.size(), &work->theirs);
    if (!stride.status.ok()) return;
    stride.read += ours.size() + theirs.size();
    auto same = [&](size_t at, size_t count) {
      return at + count <= theirs.size() && std::memcmp(&ours[at], &theirs[at], count) == 0;
    };
    for (size_t group = 0; group < ours.size(); group += kGroup) {
      const size_t group_end = std::min(group + kGroup, ours.size());
      const bool whole = same(group, group_end - group);
      for (size_t at = group; at < group_end; at += kBlock) {
        stride.equal[(stride.size + at) / kBlock] = whole || same(at, std::min(kBlock, ours.size() - at));
      }
    }
    stride.size += ours.size();
    if (ours.size() < wanted) return;
  }
}

}  // namespace delta
}  // namespace eacopy
