// What all walks of trees have in common: paths for messages, patience with a process that is out of descriptors, and
// making directories.
#ifndef EACOPY_SOURCE_TREE_PARTS_H_
#define EACOPY_SOURCE_TREE_PARTS_H_

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "directory_node.h"

namespace eacopy {

std::string Join(const std::string& directory, const char* name);

// The path of a node below `root`, as the user would write it.
std::string PathOf(const DirectoryNode& node, const std::string& root);

// The directory part of a plain path, without its last separators; empty when there is none.
std::string ParentPath(const std::string& path);

// Whether a directory is `node` or one above it, at the source.
bool LeadsUp(const DirectoryNode* node, const platform::FileId& id);

// Whether looking through a symbolic link failed because it leads nowhere; anything else, such as EACCES, says nothing
// about what is there.
inline bool Dangles(const Status& status) {
  const int number = status.error_number();
  return number == ENOENT || number == ENOTDIR || number == ELOOP || number == ENAMETOOLONG;
}

// Opens something even when the process is out of descriptors for the moment.
template <typename Open>
Status Patiently(DirectoryCache& cache, Open open) {
  constexpr int kTries = 200;
  Status status = open();
  for (int tries = 0; status.error_number() == EMFILE && tries < kTries; ++tries) {
    cache.CloseUnused();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    status = open();
  }
  return status;
}

Status PinPatiently(DirectoryCache& cache, DirectoryNode& node);

// Makes a directory at a plain path with the parents that are missing, as os.makedirs does. With `sync`, the new names
// are durable when it returns.
Status MakeDirectories(const std::string& path, bool sync, uint64_t* created);

}  // namespace eacopy

#endif  // EACOPY_SOURCE_TREE_PARTS_H_
