// Shares: finding them by name or by absolute path.

#include "share.h"

#include <climits>
#include <cstdlib>
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

// realpath(3) without its limits on what it returns to.
bool RealPath(const std::string& path, std::string* out) {
  auto release = [](char* text) { std::free(text); };
  std::unique_ptr<char, decltype(release)> real(::realpath(path.c_str(), nullptr), release);
  if (!real) return false;
  *out = real.get();
  return true;
}

// Resolves the links of as much of a path as exists. What follows is left as it is: it has no ".." in it.
std::string ResolveExisting(std::string_view absolute) {
  std::string existing(absolute);
  std::string rest, real;
  while (!RealPath(existing.empty() ? "/" : existing, &real)) {
    if (existing.empty()) return std::string(absolute);
    rest = JoinPaths(NameOf(existing), rest);
    existing = std::string(ParentOf(existing));
  }
  if (rest.empty()) return real;
  return (real == "/" ? std::string() : real) + "/" + rest;
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

Status Shares::Add(const std::string& name, const std::string& directory) {
  auto root = std::make_shared<platform::Directory>();
  Status status = platform::OpenDirectory(platform::Directory::Paths(), directory.c_str(), true, root.get());
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenSource);
  auto share = std::make_unique<Share>();
  share->name = name;
  if (!RealPath(directory, &share->directory)) return Status::FromErrno(errno, Operation::kOpenSource);
  if (share->directory == "/") share->directory.clear();
  share->root = std::move(root);
  share->number = static_cast<uint32_t>(shares_.size());
  shares_.push_back(std::move(share));
  return Status();
}

Status Shares::AddWholeFileSystem() {
  whole_file_system_ = true;
  return Add("", "/");
}

bool Shares::Contains(std::string_view absolute, Place* out) const {
  const Share* best = nullptr;
  for (const std::unique_ptr<Share>& share : shares_) {
    const std::string& directory = share->directory;
    if (best != nullptr && directory.size() < best->directory.size()) continue;
    if (absolute.substr(0, directory.size()) != directory) continue;
    if (absolute.size() == directory.size() || absolute[directory.size()] == '/') best = share.get();
  }
  if (best == nullptr) return false;
  out->share = best;
  absolute.remove_prefix(best->directory.size());
  if (!absolute.empty()) absolute.remove_prefix(1);
  out->path = std::string(absolute);
  return true;
}

Status Shares::Find(std::string_view asked, Place* out) const {
  while (asked.size() > 1 && asked.back() == '/') asked.remove_suffix(1);
  if (!asked.empty() && asked.front() == '/') {
    const std::string_view below = asked.substr(1);
    if (!IsProtocolPath(below)) return NotShared();
    // A caller outside of every share must not learn what is there: the answer is one and the same.
    return Contains(ResolveExisting(asked), out) ? Status() : NotShared();
  }
  if (whole_file_system_ || !IsProtocolPath(asked)) return NotShared();
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
