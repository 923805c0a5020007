// Shares: the directories that are served, and where in them a client's directory is.
#ifndef EACOPY_SOURCE_NET_SHARE_H_
#define EACOPY_SOURCE_NET_SHARE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../platform.h"
#include "eacopy/status.h"

namespace eacopy {
namespace net {

struct Share {
  std::string name;       // as clients say it, whatever the case of its letters; "" for the whole file system
  std::string directory;  // absolute and without symbolic links; "" for "/"
  std::shared_ptr<const platform::Directory> root;
  uint32_t number = 0;  // its place among the shares

  // The path of what is at `path` below the share.
  std::string Absolute(std::string_view path) const { return directory + "/" + std::string(path); }
};

// A directory or file of a share, that need not exist.
struct Place {
  const Share* share = nullptr;
  std::string path;  // relative to the share, '/' between names; "" for the share itself
};

class Shares {
 public:
  // Adds a share; fails when the directory cannot be opened.
  Status Add(const std::string& name, const std::string& directory);
  // Serves absolute paths, wherever they lead.
  Status AddWholeFileSystem();

  bool whole_file_system() const { return whole_file_system_; }
  const std::vector<std::unique_ptr<Share>>& all() const { return shares_; }

  // Finds what a client asks for: "share/dir…", or an absolute path. What is not shared is EACCES, whatever it is. Only
  // absolute paths are looked at on the disk, to resolve the symbolic links on the way; the result has none, as far as
  // it exists.
  Status Find(std::string_view asked, Place* out) const;
  // The share that a path lies in. False: in none, or it is no absolute path without symbolic links.
  bool Contains(std::string_view absolute, Place* out) const;

 private:
  std::vector<std::unique_ptr<Share>> shares_;
  bool whole_file_system_ = false;
};

// Whether a path is one of the protocol, and of names that files can have here.
bool IsPossiblePath(std::string_view path);
// Whether it begins at a root: with '/', or on Windows with a drive's letter and a colon.
bool IsAbsolute(std::string_view path);

// Two paths with a '/' between them, unless one is empty.
std::string JoinPaths(std::string_view directory, std::string_view name);
// What is before the last '/', or "", and what is behind it.
std::string_view ParentOf(std::string_view path);
std::string_view NameOf(std::string_view path);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_SHARE_H_
