// From what a client asks for to a directory to work in.

#include "workspace.h"

#include <cerrno>
#include <utility>

#include "../temporary.h"

namespace eacopy {
namespace net {

Status Workspace::Find(std::string_view asked) {
  Place place;
  Status status = context_.shares.Find(asked, &place);
  if (!status.ok()) return status;
  place_ = std::move(place);
  directories_ = std::make_unique<OpenDirectories>(*place_.share, false, context_.OpenDirectoriesForSession(),
                                                   &context_.made_directories);
  known_files_ = std::make_unique<KnownFiles>(context_, *place_.share, *directories_);
  return Status();
}

Status Workspace::Choose(bool writes, bool single) {
  OpenDirectory directory;
  Status status = directories_->Open(place_.path, &directory);
  if (status.ok()) return status;
  const int error_number = status.error_number();
  const bool missing = error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP;
  if (place_.path.empty() || !missing) return status;
  if (single) {
    if (!writes) {
      status = directories_->Open(ParentOf(place_.path), &directory);
      platform::FileInfo info;
      if (status.ok()) {
        status = platform::GetInfo(*directory, std::string(NameOf(place_.path)).c_str(), false, &info);
      }
      if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
    }
    is_file_ = true;
    place_.path = std::string(ParentOf(place_.path));
    return Status();
  }
  return writes && error_number == ENOENT ? Status() : status;
}

Status Workspace::Make() {
  OpenDirectory directory;
  return directories_->Make(place_.path, &directory, &made_);
}

Status Workspace::AddSecurityFile(SecurityFile* file) {
  OpenDirectory directory;
  Status status = directories_->Open(place_.path, &directory);
  return status.ok() ? file->Make(std::move(directory)) : status;
}

void Workspace::AbandonDirectories() {
  directories_->Forget();
  for (; !made_.empty(); made_.pop_back()) {
    OpenDirectory parent;
    if (!directories_->Open(ParentOf(made_.back()), &parent).ok()) continue;
    platform::RemoveDirectory(*parent, std::string(NameOf(made_.back())).c_str());
  }
  directories_->Forget();
}

bool IsFreePath(std::string_view path) {
  if (!IsPossiblePath(path)) return false;
  if (path.find(".eacopy-") == std::string_view::npos) return true;  // nearly always
  for (std::string_view rest = path; !rest.empty(); rest = ParentOf(rest)) {
    if (IsTemporaryName(NameOf(rest))) return false;
  }
  return true;
}

}  // namespace net
}  // namespace eacopy
