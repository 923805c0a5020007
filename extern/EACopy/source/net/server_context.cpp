// The log, the gate, the sums.

#include "server_context.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace eacopy {
namespace net {
namespace {

constexpr size_t kMostLines = 1000;

}  // namespace

void Log::Write(Level level, std::string text) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (lines_.size() >= kMostLines) lines_.pop_front();
    lines_.emplace_back(level, std::move(text));
  }
  written_.notify_one();
}

bool Log::Wait(std::chrono::milliseconds wait, int* level, std::string* text) {
  std::unique_lock<std::mutex> lock(mutex_);
  written_.wait_for(lock, wait, [&] { return !lines_.empty() || closed_; });
  if (lines_.empty()) return false;
  *level = lines_.front().first;
  *text = std::move(lines_.front().second);
  lines_.pop_front();
  return true;
}

void Log::Close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  written_.notify_all();
}

void Gate::Enter() {
  std::unique_lock<std::mutex> lock(mutex_);
  left_.wait(lock, [&] { return permits_ > 0; });
  --permits_;
}

void Gate::Leave() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++permits_;
  }
  left_.notify_one();
}

bool CloneRefusals::Contains(uint64_t device) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return devices_.count(device) != 0;
}

void CloneRefusals::Add(uint64_t device) {
  std::lock_guard<std::mutex> lock(mutex_);
  devices_.insert(device);
}

void Sweeps::Add(const Place& place) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (known_.emplace(place.share->number, place.path).second) waiting_.push_back(place);
}

bool Sweeps::Take(Place* place) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (waiting_.empty()) return false;
  *place = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

size_t ServerContext::OpenDirectoriesForSession() const {
  const size_t sessions = std::max<size_t>(static_cast<size_t>(totals.active_connections.load()), 1);
  return std::min<size_t>(descriptors / 8 / sessions, 64);
}

ServerStatistics ServerContext::Statistics() const {
  ServerStatistics sum;
  sum.connections = totals.connections;
  sum.active_connections = totals.active_connections;
  sum.bytes_sent = totals.bytes_sent;
  sum.bytes_received = totals.bytes_received;
  sum.files_sent = totals.files_sent;
  sum.files_received = totals.files_received;
  sum.files_linked = totals.files_linked;
  sum.files_skipped = totals.files_skipped;
  sum.bytes_linked = totals.bytes_linked;
  sum.bytes_skipped = totals.bytes_skipped;
  sum.errors = totals.errors;
  sum.history_size = history.size();
  sum.uptime = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return sum;
}

std::string ServerContext::Report() const {
  const ServerStatistics sum = Statistics();
  char uptime[64];
  std::snprintf(uptime, sizeof(uptime), "uptime: %.3f s\n", sum.uptime);
  std::string text = std::string("py-eacopy server\n") + uptime;
  auto line = [&](const char* name, uint64_t value) {
    text += std::string(name) + ": " + std::to_string(value) + "\n";
  };
  line("active connections", sum.active_connections);
  line("bytes linked", sum.bytes_linked);
  line("bytes received", sum.bytes_received);
  line("bytes sent", sum.bytes_sent);
  line("bytes skipped", sum.bytes_skipped);
  line("connections", sum.connections);
  line("errors", sum.errors);
  line("files linked", sum.files_linked);
  line("files received", sum.files_received);
  line("files sent", sum.files_sent);
  line("files skipped", sum.files_skipped);
  line("history size", sum.history_size);
  return text;
}

}  // namespace net
}  // namespace eacopy
