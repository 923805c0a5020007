// Shares: finding them by name or by absolute path.

#include "share.h"

#include <cerrno>
#include <utility>

#include "messages.h"

namespace eacopy {
namespace net {
namespace {

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// What an absolute path has before its names: "" of "/usr", "C:" of "C:/Users". False when it is relative.
bool TakeRoot(std::string_view path, std::string* root, std::string_view* names) {
  size_t length = 0;
  root->clear();
#ifdef _WIN32
  const char letter = path.empty() ? '\0' : static_cast<char>(path[0] & ~0x20);
  if (letter < 'A' || letter > 'Z' || path.size() < 2 || path[1] != ':') return false;
  length = 2;
  *root = {letter, ':'};
  if (path.size() == length) {
    *names = {};
    return true;
  }
#endif
  if (path.size() <= length || path[length] != '/') return false;
  *names = path.substr(length + 1);
  return true;
}

// Resolves the links of as much of a path as exists. What follows is left as it is: it has no ".." in it.
std::string ResolveExisting(const std::string& root, std::string_view names) {
  auto below = [](std::string directory, std::string_view path) {
    directory += '/';
    directory += path;
    return directory;
  };
  std::string existing(names);
  std::string rest, real;
  while (!platform::RealPath(below(root, existing), &real)) {
    if (existing.empty()) return below(root, rest);
    rest = JoinPaths(NameOf(existing), rest);
    existing = std::string(ParentOf(existing));
  }
  if (rest.empty()) return real;
  if (real.back() == '/') real.pop_back();
  return below(real, rest);
}

// Whether `path` is `directory`, or lies in it.
bool IsBelow(const std::string& directory, std::string_view path) {
  const std::string_view begin = path.substr(0, directory.size());
  if (begin != directory &&
      (platform::kCaseCounts || platform::FoldCase(std::string(begin)) != platform::FoldCase(directory))) {
    return false;
  }
  return path.size() == directory.size() || path[directory.size()] == '/';
}

Status NotShared() { return Status::FromErrno(EACCES, Operation::kOpenDestination); }

}  // namespace

std::string JoinPaths(std::string_view directory, std::string_view name) {
  if (directory.empty() || name.empty()) return std::string(directory.empty() ? name : directory);
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path.append(directory).push_back('/');
  return path.append(name);
}

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view NameOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool IsPossiblePath(std::string_view path) {
  if (!IsProtocolPath(path)) return false;
  if (platform::kAnyNameIsPossible) return true;
  for (std::string_view rest = path; !rest.empty(); rest = ParentOf(rest)) {
    if (!platform::IsPossibleName(NameOf(rest))) return false;
  }
  return true;
}

bool IsAbsolute(std::string_view path) {
  std::string root;
  std::string_view names;
  return TakeRoot(path, &root, &names);
}

bool Shares::Contains(std::string_view absolute, Place* out) const {
  std::string root;
  std::string_view names;
  if (!TakeRoot(absolute, &root, &names) || !IsPossiblePath(names)) return false;
  const Share* best = nullptr;
  for (const std::unique_ptr<Share>& share : shares_) {
    const std::string& directory = share->directory;
    if (best != nullptr && directory.size() < best->directory.size()) continue;
    if (IsBelow(directory, absolute)) best = share.get();
  }
  if (best == nullptr) return false;
  out->share = best;
  absolute.remove_prefix(best->directory.size());
  if (!absolute.empty()) absolute.remove_prefix(1);
  out->path = std::string(absolute);
  return true;
}

Status Shares::Add(const std::string& name, const std::string& directory) {
  auto root = std::make_shared<platform::Directory>();
  Status status = platform::OpenDirectory(platform::Directory::Paths(), directory.c_str(), true, root.get());
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
  auto share = std::make_unique<Share>();
  share->name = name;
  if (!platform::RealPath(directory, &share->directory)) return Status::FromErrno(errno, Operation::kOpenSource);
  if (share->directory.back() == '/') share->directory.pop_back();  // the root
  share->root = std::move(root);
  share->number = static_cast<uint32_t>(shares_.size());
  shares_.push_back(std::move(share));
  return Status();
}

Status Shares::AddWholeFileSystem() {
  whole_file_system_ = true;
#ifdef _WIN32
  // Every drive that can be opened now: one without a medium is none.
  for (char letter = 'A'; letter <= 'Z'; ++letter) Add("", {letter, ':', '/'});
  return shares_.empty() ? Status::FromErrno(ENOENT, Operation::kOpenSource) : Status();
#else
  return Add("", "/");
#endif
}

Status Shares::Find(std::string_view asked, Place* out) const {
  while (asked.size() > 1 && asked.back() == '/') asked.remove_suffix(1);
  std::string root;
  std::string_view names;
  if (TakeRoot(asked, &root, &names)) {
    if (!IsPossiblePath(names)) return NotShared();
    // A caller outside of every share must not learn what is there: the answer is one and the same.
    return Contains(ResolveExisting(root, names), out) ? Status() : NotShared();
  }
  if (whole_file_system_ || !IsPossiblePath(asked)) return NotShared();
  const size_t slash = asked.find('/');
  const std::string_view name = asked.substr(0, slash);
  for (const std::unique_ptr<Share>& share : shares_) {
    if (name.empty() || !EqualIgnoringCase(share->name, name)) continue;
    out->share = share.get();
    out->path = slash == std::string_view::npos ? std::string() : std::string(asked.substr(slash + 1));
    return Status();
  }
  return NotShared();
}

}  // namespace net
}  // namespace eacopy
