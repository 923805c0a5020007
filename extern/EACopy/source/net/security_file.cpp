// Making and removing the security file, and counting who relies on it.

#include "security_file.h"

#include <utility>

#include "../ranges.h"
#include "store.h"
#include "wire.h"

namespace eacopy {
namespace net {

Status SecurityFile::Make(OpenDirectory directory) {
  has_times_ = platform::GetInfo(*directory, &before_).ok();
  platform::RandomBytes(guid_.data(), guid_.size());
  platform::RandomBytes(secret_.data(), secret_.size());
  const std::string name = wire::SecurityFileName(guid_);
  platform::Handle file;
  Status status = platform::CreateSecret(*directory, name.c_str(), &file);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kAuthenticate);
  directory_ = std::move(directory);
  name_ = name;
  status = platform::WriteRange(file, 0, reinterpret_cast<const char*>(secret_.data()), secret_.size());
  if (status.ok()) return status;
  Remove();
  return Status::FromErrno(status.error_number(), Operation::kAuthenticate);
}

void SecurityFile::Remove() {
  if (!name_.empty() && platform::RemoveFile(*directory_, name_.c_str()).ok() && has_times_) {
    // A client that pulls the directory gets the time it had.
    NewMetadata times;
    times.set_times = true;
    times.mtime = ToNanoseconds(before_.modified);
    times.atime = ToNanoseconds(before_.accessed);
    SetMetadata(*directory_, times);
  }
  name_.clear();
  directory_.reset();
}

void Secrets::Holder::Release() {
  if (secrets_ != nullptr) secrets_->Release(secret_);
  secrets_ = nullptr;
}

void Secrets::Add(const Secret& secret, const Place& place, Holder* holder) {
  holder->Release();
  std::lock_guard<std::mutex> lock(mutex_);
  proved_[secret] = {place, 1};
  holder->secrets_ = this;
  holder->secret_ = secret;
}

bool Secrets::Join(const Secret& secret, const Place& place, Holder* holder) {
  holder->Release();
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = proved_.find(secret);
  if (found == proved_.end() || found->second.place.share != place.share) return false;
  const std::string& proved = found->second.place.path;
  const bool below = place.path.compare(0, proved.size(), proved) == 0 &&
                     (proved.empty() || place.path.size() == proved.size() || place.path[proved.size()] == '/');
  if (!below) return false;
  ++found->second.holders;
  holder->secrets_ = this;
  holder->secret_ = secret;
  return true;
}

void Secrets::Release(const Secret& secret) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = proved_.find(secret);
  if (found != proved_.end() && --found->second.holders == 0) proved_.erase(found);
}

}  // namespace net
}  // namespace eacopy
