// History: which files were copied to where, so that one that comes again need not cross the wire.
#ifndef EACOPY_SOURCE_NET_HISTORY_H_
#define EACOPY_SOURCE_NET_HISTORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "digest.h"

namespace eacopy {
namespace net {

// A file that was copied. What it says was true once: look at the file before believing it.
struct Remembered {
  uint32_t share = 0;
  std::string path;     // relative to the share
  size_t key_size = 0;  // how many bytes at the end of `path` are the name by which the file is known
  uint64_t mtime = 0;   // 100 ns since 1601
  uint64_t size = 0;    // bytes
  Md5Digest md5{};      // all zero: not known
  std::string_view key() const { return std::string_view(path).substr(path.size() - key_size); }
  bool has_md5() const { return md5 != Md5Digest{}; }
};

// Smaller files are not found by their name.
constexpr uint64_t kFoundByName = 64 * 1024;

// Any thread may call these.
class History {
 public:
  explicit History(size_t most) : most_(most) {}
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // Takes the place of what has the same key, time and size. The oldest go when there are too many.
  void Add(Remembered file);
  bool Find(uint32_t share, std::string_view key, uint64_t mtime, uint64_t size, Remembered* out) const;
  bool FindDigest(uint32_t share, const Md5Digest& md5, uint64_t size, Remembered* out) const;
  // Files of that name, in whatever directory, that may be other versions of one of that size: half of it to twice as
  // large. Those of the latest time first; of each name only the few that came last are known.
  std::vector<Remembered> FindName(uint32_t share, std::string_view name, uint64_t size) const;
  size_t size() const;
  // Grows with every change.
  uint64_t changes() const;
  // A walk through all of them, oldest first, in slices: others go on between them. One walk at a time.
  void Rewind();
  // The next few; none at the end.
  void Next(size_t most, std::vector<Remembered>* out);

 private:
  struct Key {
    std::string_view name;
    uint64_t mtime;
    uint64_t size;
    uint32_t share;
    bool operator==(const Key& other) const {
      return mtime == other.mtime && size == other.size && share == other.share && name == other.name;
    }
  };
  struct DigestKey {
    Md5Digest md5;
    uint64_t size;
    uint32_t share;
    bool operator==(const DigestKey& other) const {
      return size == other.size && share == other.share && md5 == other.md5;
    }
  };
  struct Hash {
    size_t operator()(const Key& key) const;
    size_t operator()(const DigestKey& key) const;
  };
  using Files = std::list<Remembered>;

  static Key KeyOf(const Remembered& file) { return {file.key(), file.mtime, file.size, file.share}; }
  static DigestKey DigestKeyOf(const Remembered& file) { return {file.md5, file.size, file.share}; }
  static size_t NameHash(uint32_t share, std::string_view name);
  void AddName(Files::iterator file);
  void RemoveName(Files::iterator file);
  void Remove(Files::iterator file);

  const size_t most_;
  mutable std::mutex mutex_;
  Files files_;  // oldest first; the keys point into it
  Files::iterator walk_ = files_.end();
  std::unordered_map<Key, Files::iterator, Hash> by_key_;
  std::unordered_map<DigestKey, Files::iterator, Hash> by_digest_;
  // By a hash of share and name: what is found has to be looked at. The last of each, in the order of arrival.
  std::unordered_map<size_t, std::vector<Files::iterator>> by_name_;
  uint64_t changes_ = 0;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_HISTORY_H_
