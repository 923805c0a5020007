// Walking from a share's root, and remembering what was opened.

#include "open_directories.h"

#include <cerrno>
#include <utility>

namespace eacopy {
namespace net {
namespace {

// After this time a path is walked again, because the directory may have another place by then.
constexpr std::chrono::seconds kFresh(1);

}  // namespace

bool MadeDirectories::Note(const Share& share, std::string_view path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return noted_.emplace(&share, path).second;
}

bool MadeDirectories::Claim(const Share& share, std::string_view path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return noted_.erase({&share, std::string(path)}) != 0;
}

OpenDirectories::~OpenDirectories() {
  for (const std::string& path : noted_here_) noted_->Claim(share_, path);
}

Status OpenDirectories::Open(std::string_view path, OpenDirectory* out) { return Walk(path, false, out, nullptr); }

Status OpenDirectories::Make(std::string_view path, OpenDirectory* out, std::vector<std::string>* made) {
  return Walk(path, true, out, made);
}

bool OpenDirectories::IsNew(std::string_view path) {
  const Entry* entry = Find(path);
  return entry != nullptr && entry->made;
}

OpenDirectories::Entry* OpenDirectories::Find(std::string_view path) {
  key_.assign(path.data(), path.size());
  const auto found = open_.find(key_);
  if (found == open_.end()) return nullptr;
  if (std::chrono::steady_clock::now() - found->second.opened > kFresh) {
    open_.erase(found);
    return nullptr;
  }
  found->second.used = ++uses_;
  return &found->second;
}

void OpenDirectories::Keep(std::string_view path, OpenDirectory directory, bool made) {
  if (most_ == 0) return;
  if (open_.size() >= most_) {
    auto oldest = open_.begin();
    for (auto entry = open_.begin(); entry != open_.end(); ++entry) {
      if (entry->second.used < oldest->second.used) oldest = entry;
    }
    open_.erase(oldest);
  }
  Entry entry;
  entry.directory = std::move(directory);
  entry.opened = std::chrono::steady_clock::now();
  entry.used = ++uses_;
  entry.made = made;
  open_[std::string(path)] = std::move(entry);
}

Status OpenDirectories::MakeOne(const platform::Directory& parent, const std::string& name, std::string_view path) {
  const bool noted = noted_ != nullptr && noted_->Note(share_, path);
  Status status = platform::MakeDirectory(parent, name.c_str());
  if (noted && status.ok()) noted_here_.emplace_back(path);
  if (noted && !status.ok()) noted_->Claim(share_, path);
  return status;
}

Status OpenDirectories::Walk(std::string_view path, bool make, OpenDirectory* out, std::vector<std::string>* made) {
  // From the deepest directory on the way that is open.
  size_t done = path.size();
  OpenDirectory at;
  for (;;) {
    if (done == 0) {
      at = share_.root;
      break;
    }
    if (const Entry* entry = Find(path.substr(0, done))) {
      at = entry->directory;
      break;
    }
    const size_t slash = path.rfind('/', done - 1);
    done = slash == std::string_view::npos ? 0 : slash;
  }
  const size_t began_at = done;
  while (done < path.size()) {
    const size_t begin = done == 0 ? 0 : done + 1;
    const size_t slash = path.find('/', begin);
    const size_t end = slash == std::string_view::npos ? path.size() : slash;
    const std::string name(path.substr(begin, end - begin));
    auto next = std::make_shared<platform::Directory>();
    bool is_new = false;
    Status status = platform::OpenDirectory(*at, name.c_str(), follow_, next.get());
    if (!status.ok() && status.error_number() == ENOENT && make) {
      status = MakeOne(*at, name, path.substr(0, end));
      is_new = status.ok();
      // Somebody else may have been faster.
      if (status.ok() || status.error_number() == EEXIST) {
        status = platform::OpenDirectory(*at, name.c_str(), follow_, next.get());
      }
    }
    // Without descriptors, those that are only kept for later are the first to go.
    if ((status.error_number() == EMFILE || status.error_number() == ENFILE) && !open_.empty()) {
      Forget();
      return Walk(path, make, out, made);
    }
    if (!status.ok()) {
      // What was open may have been removed meanwhile, and be there again.
      if (status.error_number() == ENOENT && began_at != 0) {
        Forget();
        return Walk(path, make, out, made);
      }
      return status;
    }
    if (is_new && made != nullptr) made->emplace_back(path.substr(0, end));
    Keep(path.substr(0, end), next, is_new);
    at = std::move(next);
    done = end;
  }
  *out = std::move(at);
  return Status();
}

}  // namespace net
}  // namespace eacopy
