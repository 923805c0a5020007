// The open directories of a tree; see directory_node.h.

#include "directory_node.h"

#include <cerrno>
#include <utility>
#include <vector>

namespace eacopy {

using platform::Directory;
using platform::FileInfo;

namespace {

// Opens what must be the directory with that identity.
Status OpenSame(const Directory& parent, const char* name, bool follow, const platform::FileId& id, Directory* out) {
  Status status = platform::OpenDirectory(parent, name, follow, out);
  FileInfo info;
  if (status.ok()) status = platform::GetInfo(*out, &info);
  // Somebody moved it away and put another one there: what was meant is not there any more.
  if (status.ok() && !(info.id == id)) status = Status::FromErrno(ENOENT, Operation::kListDirectory);
  return status;
}

}  // namespace

DirectoryNode::~DirectoryNode() {
  // Where an ancestor that goes in this thread leaves its own parent to whoever is letting go of it.
  thread_local std::shared_ptr<DirectoryNode>* left_by_ancestor = nullptr;
  if (left_by_ancestor != nullptr) {
    *left_by_ancestor = std::move(parent);
    return;
  }
  std::shared_ptr<DirectoryNode> next;
  left_by_ancestor = &next;
  while (parent) {
    parent.reset();
    parent = std::move(next);
  }
  left_by_ancestor = nullptr;
}

Status DirectoryCache::Pin(DirectoryNode& node) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsOpen(node)) {
    Status status = Reopen(node);
    if (!status.ok()) return status;
  }
  ++node.pins;
  open_.splice(open_.end(), open_, node.place);
  return Status();
}

void DirectoryCache::Unpin(DirectoryNode& node) {
  std::lock_guard<std::mutex> lock(mutex_);
  --node.pins;
  CloseRetired(node);
}

void DirectoryCache::Adopt(DirectoryNode& node, Directory source, Directory destination) {
  std::lock_guard<std::mutex> lock(mutex_);
  node.has_destination = destination.valid();
  Enter(node, std::move(source), std::move(destination));
  ++node.pins;
  node.ready = true;
  Shrink(limit_);
}

void DirectoryCache::SetDestination(DirectoryNode& node, Directory destination) {
  std::lock_guard<std::mutex> lock(mutex_);
  node.destination = std::move(destination);
  node.has_destination = true;
}

void DirectoryCache::Retire(DirectoryNode& node) {
  std::lock_guard<std::mutex> lock(mutex_);
  node.retired = true;
  if (!node.parent && node.pins != 0) --node.pins;
  CloseRetired(node);
}

void DirectoryCache::Remember(DirectoryNode& node) {
  std::lock_guard<std::mutex> lock(mutex_);
  FileInfo info;
  for (DirectoryNode* n = &node; n != nullptr && !n->remembered; n = n->parent.get()) {
    n->remembered = true;
    // What is closed and not retired has been looked at.
    if (IsOpen(*n) && n->has_destination && platform::GetInfo(n->destination, &info).ok()) n->destination_id = info.id;
  }
}

void DirectoryCache::CloseUnused() {
  std::lock_guard<std::mutex> lock(mutex_);
  Shrink(0);
}

void DirectoryCache::Enter(DirectoryNode& node, Directory source, Directory destination) {
  node.source = std::move(source);
  node.destination = std::move(destination);
  node.place = open_.insert(open_.end(), &node);
  node.listed = true;
}

void DirectoryCache::CloseNode(DirectoryNode& node) {
  node.source.Close();
  node.destination.Close();
  if (node.listed) open_.erase(node.place);
  node.listed = false;
}

void DirectoryCache::CloseRetired(DirectoryNode& node) {
  // Those above it are retired too when it was opened again for somebody who remembered it.
  for (DirectoryNode* n = &node; n != nullptr && n->retired && n->pins == 0 && IsOpen(*n); n = n->parent.get()) {
    DirectoryNode* parent = n->parent.get();
    if (parent != nullptr && parent->ready && !parent->retired && !IsOpen(*parent)) ReopenParent(*n);
    CloseNode(*n);
  }
}

void DirectoryCache::Shrink(size_t limit) {
  for (auto it = open_.begin(); it != open_.end() && open_.size() > limit;) {
    DirectoryNode& node = **it;
    ++it;
    if (node.pins != 0) continue;
    // What has no identity cannot be found again, so it stays open.
    FileInfo info;
    if (node.has_destination) {
      if (!platform::GetInfo(node.destination, &info).ok()) continue;
      node.destination_id = info.id;
    }
    CloseNode(node);
  }
}

Status DirectoryCache::Reopen(DirectoryNode& node) {
  // From the nearest ancestor that is open, downwards. A loop, not a recursion: a tree may be very deep.
  std::vector<DirectoryNode*> closed;
  DirectoryNode* ancestor = &node;
  while (!IsOpen(*ancestor)) {
    closed.push_back(ancestor);
    ancestor = ancestor->parent.get();  // a root is pinned while its tree is copied, so the walk ends there
    if (ancestor == nullptr) return Status::FromErrno(ENOENT, Operation::kListDirectory);  // that tree is complete
  }
  while (!closed.empty()) {
    DirectoryNode& next = *closed.back();
    closed.pop_back();
    ++ancestor->pins;
    Shrink(limit_);
    Directory source, destination;
    Status status = OpenSame(ancestor->source, next.name.c_str(), next.via_link, next.source_info.id, &source);
    if (status.ok() && next.has_destination) {
      status = OpenSame(ancestor->destination, next.name.c_str(), next.merged, next.destination_id, &destination);
    }
    --ancestor->pins;
    if (!status.ok()) {
      CloseRetired(*ancestor);
      return status;
    }
    Enter(next, std::move(source), std::move(destination));
    ancestor = &next;
  }
  return Status();
}

void DirectoryCache::ReopenParent(DirectoryNode& node) {
  // One step up instead of a walk from the root. A link's ".." leads elsewhere; then Reopen will find the way.
  DirectoryNode& parent = *node.parent;
  FileInfo info;
  Directory source, destination;
  if (!platform::OpenParent(node.source, &source).ok() || !platform::GetInfo(source, &info).ok()) return;
  if (!(info.id == parent.source_info.id)) return;
  if (parent.has_destination) {
    if (!node.has_destination) return;
    if (!platform::OpenParent(node.destination, &destination).ok() || !platform::GetInfo(destination, &info).ok())
      return;
    if (!(info.id == parent.destination_id)) return;
  }
  Enter(parent, std::move(source), std::move(destination));
}

}  // namespace eacopy
