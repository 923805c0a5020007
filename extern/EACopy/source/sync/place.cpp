// Where the files of a sync are; see place.h.

#include "place.h"

namespace eacopy {

std::string SyncNode::Where() const {
  std::vector<const std::string*> names;
  for (const DirectoryNode* n = this; n->parent; n = n->parent.get()) names.push_back(&n->name);
  std::string where;
  for (auto name = names.rbegin(); name != names.rend(); ++name) where += **name + '/';
  return where;
}

bool Place::Lose(const char* name, Status status) {
  platform::FileInfo info;
  const bool there = target != nullptr && platform::GetInfo(*target, TargetName(name), false, &info).ok();
  status.set_destination_state(there ? DestinationState::kOld : DestinationState::kAbsent);
  services.job.Fail(worker, status, SourcePath(name), TargetPath(name), root);
  return false;
}

bool Place::RefuseMismatch(const char* name, int error_number, const char* text) {
  Status status = Status::Of(Kind::kDestinationExists, Operation::kOpenDestination, error_number);
  status.set_destination_state(DestinationState::kOld);
  services.job.Fail(worker, status, SourcePath(name), TargetPath(name), root, text);
  return false;
}

}  // namespace eacopy
