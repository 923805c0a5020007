// OpenDirectories: the directories of a share that a session works in, kept open for a while.
//
// A path is walked name by name from the share's own descriptor, and no symbolic link is followed: nothing that is done
// through these descriptors can be outside of the share.
#ifndef EACOPY_SOURCE_NET_OPEN_DIRECTORIES_H_
#define EACOPY_SOURCE_NET_OPEN_DIRECTORIES_H_

#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../platform.h"
#include "eacopy/status.h"
#include "share.h"

namespace eacopy {
namespace net {

using OpenDirectory = std::shared_ptr<const platform::Directory>;

// Directories that a server made for what goes into them, before the client that is to have them asked for them: over
// another connection, that may come later. For any thread.
class MadeDirectories {
 public:
  // To be called before the directory is made: afterwards the other connection may have looked already. False: it is
  // noted already.
  bool Note(const Share& share, std::string_view path);
  // True once for what was noted.
  bool Claim(const Share& share, std::string_view path);

 private:
  std::mutex mutex_;
  std::set<std::pair<const Share*, std::string>> noted_;
};

// For one thread at a time.
class OpenDirectories {
 public:
  // `follow`: also through symbolic links, wherever they lead; for what is only read, and the user's own.
  // `most`: how many are kept open.
  // `noted`: where what is made is noted until somebody claims it or this object goes.
  explicit OpenDirectories(const Share& share, bool follow = false, size_t most = 64, MadeDirectories* noted = nullptr)
      : share_(share), follow_(follow), most_(most), noted_(noted) {}
  OpenDirectories(const OpenDirectories&) = delete;
  OpenDirectories& operator=(const OpenDirectories&) = delete;
  ~OpenDirectories();

  // Opens what is there. `path` is relative to the share and in the protocol's form.
  Status Open(std::string_view path, OpenDirectory* out);
  // Makes what is missing. *made, which may be null, gets the paths of what was made, parents first.
  Status Make(std::string_view path, OpenDirectory* out, std::vector<std::string>* made);
  // Whether Make made it, a moment ago: then there is nothing in it but what came through here or at the same time.
  bool IsNew(std::string_view path);
  // Closes all. What was renamed or removed meanwhile is looked up again.
  void Forget() { open_.clear(); }

 private:
  struct Entry {
    OpenDirectory directory;
    std::chrono::steady_clock::time_point opened;
    uint64_t used = 0;
    bool made = false;
  };

  Status Walk(std::string_view path, bool make, OpenDirectory* out, std::vector<std::string>* made);
  Entry* Find(std::string_view path);
  void Keep(std::string_view path, OpenDirectory directory, bool made);
  Status MakeOne(const platform::Directory& parent, const std::string& name, std::string_view path);

  const Share& share_;
  const bool follow_;
  const size_t most_;
  MadeDirectories* const noted_;
  std::vector<std::string> noted_here_;
  std::unordered_map<std::string, Entry> open_;
  std::string key_;
  uint64_t uses_ = 0;
};

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_OPEN_DIRECTORIES_H_
