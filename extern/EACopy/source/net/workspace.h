// Workspace: the directory that a session was given, and how it came to have it.
#ifndef EACOPY_SOURCE_NET_WORKSPACE_H_
#define EACOPY_SOURCE_NET_WORKSPACE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eacopy/status.h"
#include "known_files.h"
#include "open_directories.h"
#include "security_file.h"
#include "server_context.h"

namespace eacopy {
namespace net {

class Workspace {
 public:
  explicit Workspace(ServerContext& context) : context_(context) {}

  // What the client asked for; looks at the disk, and changes nothing. After this failed it has no directory.
  Status Find(std::string_view asked);
  // It is to be used as a directory; `single`: or, if it is no directory, as a file in its parent.
  Status Choose(bool writes, bool single);
  // Makes the directory if it is missing.
  Status Make();
  // Puts the security file into the directory. What Make made is removed with Abandon.
  Status AddSecurityFile(SecurityFile* file);
  void AbandonDirectories();
  // How many directories Make made.
  size_t made() const { return made_.size(); }

  bool found() const { return directories_ != nullptr; }
  const Place& place() const { return place_; }
  bool is_file() const { return is_file_; }

  // The path below the share of a path below the session's directory.
  std::string FullPath(std::string_view path) const { return JoinPaths(place_.path, path); }
  OpenDirectories& directories() { return *directories_; }
  KnownFiles& known_files() { return *known_files_; }

 private:
  ServerContext& context_;
  Place place_;
  bool is_file_ = false;
  std::vector<std::string> made_;
  std::unique_ptr<OpenDirectories> directories_;
  std::unique_ptr<KnownFiles> known_files_;
};

// Whether a path may be given to an entry: in the protocol's form, and no part of it a name that the server keeps for
// itself.
bool IsFreePath(std::string_view path);

}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_WORKSPACE_H_
