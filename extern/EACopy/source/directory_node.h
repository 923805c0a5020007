// DirectoryNode and DirectoryCache: the directories of a tree that is being copied, and which of them are open. A node
// need not have a destination.
//
// A tree may be deeper than a process may have open files. So a directory that nobody works in may be closed, and is
// opened again from its parent (or from a child, by "..") when it is needed; that it is still the same one is checked
// by its identity, because somebody may have put another in its place.
#ifndef EACOPY_SOURCE_DIRECTORY_NODE_H_
#define EACOPY_SOURCE_DIRECTORY_NODE_H_

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "file_copy.h"
#include "platform.h"

namespace eacopy {

struct DirectoryNode {
  DirectoryNode(std::shared_ptr<DirectoryNode> parent_node, std::string node_name, bool is_link, uint32_t umask)
      : parent(std::move(parent_node)), name(std::move(node_name)), via_link(is_link), new_modes(umask) {}

  // Lets go of ancestors one by one: the chain of a deep tree would otherwise be a recursion as deep.
  ~DirectoryNode();
  DirectoryNode(const DirectoryNode&) = delete;
  DirectoryNode& operator=(const DirectoryNode&) = delete;

  std::shared_ptr<DirectoryNode> parent;  // null for the root of a tree
  const std::string name;                 // in both parents; a root's is not used
  const bool via_link;                    // the source is reached through a symbolic link
  bool merged = false;                    // the destination was there before
  bool ready = false;                     // the directories have been opened once
  NewFileModes new_modes;
  platform::FileInfo source_info;
  // How many things must still end before the directory is complete: its own listing, slices of files, children.
  std::atomic<uint32_t> pending{1};

  // The cache's; see there.
  platform::Directory source;
  platform::Directory destination;
  platform::FileId destination_id;
  bool has_destination = false;
  bool retired = false;     // nobody but who remembers it needs it any more
  bool remembered = false;  // `destination_id` is known, and those of all directories above it
  uint32_t pins = 0;
  std::list<DirectoryNode*>::iterator place;
  bool listed = false;  // `place` is valid
};

class DirectoryCache {
 public:
  // `limit`: how many nodes may be open at once; pinned ones stay open even beyond it.
  explicit DirectoryCache(size_t limit) : limit_(limit) {}

  // Keeps the directories of a node open until Unpin, opening them again if need be. On failure nothing is pinned.
  Status Pin(DirectoryNode& node);
  void Unpin(DirectoryNode& node);
  // Takes over the directories of a node that was opened for the first time, and pins it.
  void Adopt(DirectoryNode& node, platform::Directory source, platform::Directory destination);
  // Gives a pinned node the destination that it did not have.
  void SetDestination(DirectoryNode& node, platform::Directory destination);
  // Closes a node as soon as nobody has it pinned, a root's own pin aside; before that, opens its parent from it if
  // that is closed. Who remembers the node may still pin it, and then it is closed again by Unpin.
  void Retire(DirectoryNode& node);
  // For a pinned node that will be remembered: lets it be found again once it is retired.
  void Remember(DirectoryNode& node);
  // Closes all that nobody uses: the process is out of descriptors.
  void CloseUnused();

 private:
  bool IsOpen(const DirectoryNode& node) const { return node.source.valid(); }
  void Enter(DirectoryNode& node, platform::Directory source, platform::Directory destination);
  void CloseNode(DirectoryNode& node);
  void CloseRetired(DirectoryNode& node);
  void Shrink(size_t limit);
  Status Reopen(DirectoryNode& node);
  void ReopenParent(DirectoryNode& node);

  std::mutex mutex_;
  std::list<DirectoryNode*> open_;  // least recently used first
  const size_t limit_;
};

}  // namespace eacopy

#endif  // EACOPY_SOURCE_DIRECTORY_NODE_H_
