// Whether a tree and its copy lie in each other; see overlap.h.

#include "overlap.h"

#include <algorithm>
#include <vector>

#include "../tree_parts.h"

namespace eacopy {

using platform::Directory;
using platform::FileId;
using platform::FileInfo;
using platform::FileType;

namespace {

// A path and all directories above it, as far as they exist and may be looked at.
std::vector<FileId> IdentitiesAbove(std::string path) {
  std::vector<FileId> found;
  FileInfo info;
  auto look = [&] { return platform::GetInfo(Directory::Paths(), path.c_str(), true, &info).ok(); };
  while (!path.empty() && (!look() || info.type != FileType::kDirectory)) {
    std::string above = ParentPath(path);
    path = above.size() < path.size() ? std::move(above) : std::string();
  }
  if (path.empty()) path = ".";
  // Of the path as it is: what is above it may be closed to this user.
  while (look() && std::find(found.begin(), found.end(), info.id) == found.end()) {
    found.push_back(info.id);
    path += "/..";
  }
  return found;
}

bool Has(const std::vector<FileId>& ids, const FileId& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

std::string OverlapOf(const std::string& source, const FileId& source_id, const std::string& destination) {
  if (Has(IdentitiesAbove(destination), source_id)) {
    return "the destination is, or lies in, the source; give another one";
  }
  FileInfo info;
  if (platform::GetInfo(Directory::Paths(), destination.c_str(), true, &info).ok() &&
      Has(IdentitiesAbove(source), info.id)) {
    return "the source lies in the destination; give another one";
  }
  return std::string();
}

}  // namespace eacopy
