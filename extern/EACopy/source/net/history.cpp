// A list in the order of arrival, and three indexes into it.

#include "history.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <utility>

namespace eacopy {
namespace net {
namespace {

constexpr size_t kMostOfName = 8;

std::string_view NameIn(std::string_view path) { return path.substr(path.rfind('/') + 1); }

size_t Mix(size_t seed, uint64_t value) {
  value *= 0x9e3779b97f4a7c15u;
  return seed ^ static_cast<size_t>(value ^ (value >> 32)) ^ (seed << 7);
}

}  // namespace

size_t History::Hash::operator()(const Key& key) const {
  return Mix(Mix(Mix(std::hash<std::string_view>()(key.name), key.mtime), key.size), key.share);
}

size_t History::Hash::operator()(const DigestKey& key) const {
  uint64_t word;
  std::memcpy(&word, key.md5.data(), sizeof(word));
  return Mix(Mix(static_cast<size_t>(word), key.size), key.share);
}

void History::Add(Remembered file) {
  if (most_ == 0 || file.key_size > file.path.size()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = by_key_.find(KeyOf(file));
  if (known != by_key_.end()) {
    const Remembered& before = *known->second;
    if (before.path == file.path && (before.md5 == file.md5 || !file.has_md5())) return;
    Remove(known->second);
  }
  files_.push_back(std::move(file));
  const auto added = std::prev(files_.end());
  by_key_.emplace(KeyOf(*added), added);
  if (added->has_md5()) by_digest_[DigestKeyOf(*added)] = added;
  AddName(added);
  while (files_.size() > most_) Remove(files_.begin());
  ++changes_;
}

size_t History::NameHash(uint32_t share, std::string_view name) {
  return Mix(std::hash<std::string_view>()(name), share);
}

void History::AddName(Files::iterator file) {
  if (file->size < kFoundByName) return;
  std::vector<Files::iterator>& files = by_name_[NameHash(file->share, NameIn(file->path))];
  if (files.size() == kMostOfName) files.erase(files.begin());
  files.push_back(file);
}

void History::RemoveName(Files::iterator file) {
  if (file->size < kFoundByName) return;
  const auto found = by_name_.find(NameHash(file->share, NameIn(file->path)));
  if (found == by_name_.end()) return;
  std::vector<Files::iterator>& files = found->second;
  files.erase(std::remove(files.begin(), files.end(), file), files.end());
  if (files.empty()) by_name_.erase(found);
}

void History::Remove(Files::iterator file) {
  RemoveName(file);
  if (walk_ == file) ++walk_;
  by_key_.erase(KeyOf(*file));
  if (file->has_md5()) {
    const auto found = by_digest_.find(DigestKeyOf(*file));
    if (found != by_digest_.end() && found->second == file) by_digest_.erase(found);
  }
  files_.erase(file);
}

bool History::Find(uint32_t share, std::string_view key, uint64_t mtime, uint64_t size, Remembered* out) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = by_key_.find(Key{key, mtime, size, share});
  if (found == by_key_.end()) return false;
  *out = *found->second;
  return true;
}

bool History::FindDigest(uint32_t share, const Md5Digest& md5, uint64_t size, Remembered* out) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = by_digest_.find(DigestKey{md5, size, share});
  if (found == by_digest_.end()) return false;
  *out = *found->second;
  return true;
}

std::vector<Remembered> History::FindName(uint32_t share, std::string_view name, uint64_t size) const {
  std::vector<Remembered> found;
  if (size < kFoundByName) return found;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto files = by_name_.find(NameHash(share, name));
    if (files == by_name_.end()) return found;
    for (auto file = files->second.rbegin(); file != files->second.rend(); ++file) {
      const Remembered& known = **file;
      if (known.share == share && NameIn(known.path) == name && known.size >= size / 2 && known.size / 2 <= size) {
        found.push_back(known);
      }
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Remembered& a, const Remembered& b) { return a.mtime > b.mtime; });
  return found;
}

size_t History::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return files_.size();
}

uint64_t History::changes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return changes_;
}

void History::Rewind() {
  std::lock_guard<std::mutex> lock(mutex_);
  walk_ = files_.begin();
}

void History::Next(size_t most, std::vector<Remembered>* out) {
  out->clear();
  std::lock_guard<std::mutex> lock(mutex_);
  for (; out->size() < most && walk_ != files_.end(); ++walk_) out->push_back(*walk_);
}

}  // namespace net
}  // namespace eacopy
