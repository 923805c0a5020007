// What all walks of trees have in common; see tree_parts.h.

#include "tree_parts.h"

#include <cstring>
#include <vector>

namespace eacopy {

using platform::Directory;

std::string Join(const std::string& directory, const char* name) {
  std::string path;
  path.reserve(directory.size() + std::strlen(name) + 1);
  path += directory;
  if (!path.empty() && path.back() != '/' && path.back() != platform::kSeparator) path += platform::kSeparator;
  path += name;
  return path;
}

std::string PathOf(const DirectoryNode& node, const std::string& root) {
  std::vector<const std::string*> names;
  for (const DirectoryNode* n = &node; n->parent; n = n->parent.get()) names.push_back(&n->name);
  std::string path = root;
  for (auto name = names.rbegin(); name != names.rend(); ++name) path = Join(path, (*name)->c_str());
  return path;
}

std::string ParentPath(const std::string& path) {
  size_t length = path.size();
  auto is_separator = [&](size_t i) { return path[i] == '/' || path[i] == platform::kSeparator; };
  while (length > 0 && is_separator(length - 1)) --length;
  while (length > 0 && !is_separator(length - 1)) --length;
  while (length > 1 && is_separator(length - 1)) --length;
  return path.substr(0, length);
}

bool LeadsUp(const DirectoryNode* node, const platform::FileId& id) {
  for (; node != nullptr; node = node->parent.get()) {
    if (node->source_info.id == id) return true;
  }
  return false;
}

Status PinPatiently(DirectoryCache& cache, DirectoryNode& node) {
  return Patiently(cache, [&] { return cache.Pin(node); });
}

Status MakeDirectories(const std::string& path, bool sync, uint64_t* created) {
  const Directory& paths = Directory::Paths();
  const std::string parent_path = ParentPath(path);
  Status status = platform::MakeDirectory(paths, path.c_str());
  if (status.error_number() == ENOENT && !parent_path.empty() && parent_path.size() < path.size()) {
    const Status parent = MakeDirectories(parent_path, sync, created);
    if (!parent.ok() && parent.error_number() != EEXIST) return parent;
    status = platform::MakeDirectory(paths, path.c_str());
  }
  if (!status.ok()) return status;
  ++*created;
  if (!sync) return status;
  Directory directory;
  status = platform::OpenDirectory(paths, parent_path.empty() ? "." : parent_path.c_str(), true, &directory);
  return status.ok() ? platform::Sync(directory) : Status::FromErrno(status.error_number(), Operation::kSync);
}

}  // namespace eacopy
