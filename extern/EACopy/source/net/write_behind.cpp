// Writing a large file behind its reception; see write_behind.h.

#include "write_behind.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace eacopy {
namespace net {
namespace {

constexpr size_t kBlock = 1024 * 1024;
constexpr size_t kBlocks = 4;

}  // namespace

WriteBehind::WriteBehind(TemporaryFile& file) : file_(file) {
  for (size_t i = 0; i < kBlocks; ++i) {
    Block block;
    block.data = std::make_unique<char[]>(kBlock);
    block.room = kBlock;
    empty_.push_back(std::move(block));
  }
  current_ = std::move(empty_.back());
  empty_.pop_back();
  // From here on every write begins where a page does.
  current_.room = kBlock - static_cast<size_t>(file.size() % kBlock);
  thread_ = std::thread([this] { Loop(); });
}

WriteBehind::~WriteBehind() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    work_.notify_one();
  }
  thread_.join();
}

void WriteBehind::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t some = std::min(bytes.size(), current_.room - current_.size);
    std::memcpy(current_.data.get() + current_.size, bytes.data(), some);
    current_.size += some;
    bytes.remove_prefix(some);
    if (current_.size == current_.room) HandOver();
  }
}

Status WriteBehind::Flush() {
  const size_t left = current_.room - current_.size;
  if (current_.size != 0) HandOver();
  if (left != 0) current_.room = left;
  std::unique_lock<std::mutex> lock(mutex_);
  progress_.wait(lock, [this] { return full_.empty() && !writing_; });
  return status_;
}

// The current block is to be written; takes an empty one in its place.
void WriteBehind::HandOver() {
  std::unique_lock<std::mutex> lock(mutex_);
  full_.push_back(std::move(current_));
  work_.notify_one();
  progress_.wait(lock, [this] { return !empty_.empty(); });
  current_ = std::move(empty_.back());
  empty_.pop_back();
}

void WriteBehind::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return closing_ || !full_.empty(); });
    if (closing_) return;
    Block block = std::move(full_.front());
    full_.pop_front();
    if (status_.ok()) {
      writing_ = true;
      lock.unlock();
      const Status status = file_.Write(std::string_view(block.data.get(), block.size));
      lock.lock();
      writing_ = false;
      status_ = status;
    }
    block.size = 0;
    block.room = kBlock;
    empty_.push_back(std::move(block));
    progress_.notify_one();
  }
}

}  // namespace net
}  // namespace eacopy
