// The LINKDB file of a sync; see database.h.

#include "database.h"

#ifdef _WIN32

#include <cerrno>

namespace eacopy {

Status Database::Open(const std::string& /*path*/, bool /*by_name*/) {
  return Status::Unsupported(ENOSYS, Operation::kOpenReference);
}

bool Database::Find(const std::string& /*where*/, const platform::FileInfo& /*info*/, std::string* /*path*/) const {
  return false;
}

void Database::Add(const std::string& /*where*/, const platform::FileInfo& /*info*/, const std::string& /*path*/) {}

Status Database::Save() { return Status(); }

}  // namespace eacopy

#else

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../net/link_database.h"
#include "../net/wire.h"

namespace eacopy {
namespace {

constexpr size_t kFiles = 500000;  // as many as EACopy's service remembers
constexpr size_t kSlice = 1024;

std::string CurrentDirectory() {
  std::string path(4096, '\0');
  return ::getcwd(&path[0], path.size()) != nullptr ? path.c_str() : "/";
}

// An absolute path without ".", ".." and double separators, as far as names can tell.
std::string Absolute(const std::string& path, const std::string& current_directory) {
  const std::string whole = !path.empty() && path[0] == '/' ? path : current_directory + '/' + path;
  std::string result;
  for (size_t begin = 0; begin < whole.size();) {
    size_t end = whole.find('/', begin);
    if (end == std::string::npos) end = whole.size();
    const std::string name = whole.substr(begin, end - begin);
    if (name == "..") {
      result.erase(std::min(result.rfind('/'), result.size()));
    } else if (!name.empty() && name != ".") {
      result += '/' + name;
    }
    begin = end + 1;
  }
  return result.empty() ? "/" : result;
}

// Knows all files by their names alone.
std::unique_ptr<net::History> ByName(net::History* history) {
  auto named = std::make_unique<net::History>(kFiles);
  history->Rewind();
  std::vector<net::Remembered> some;
  for (history->Next(kSlice, &some); !some.empty(); history->Next(kSlice, &some)) {
    for (net::Remembered& file : some) {
      file.key_size = std::string(BaseName(file.path.c_str())).size();
      named->Add(std::move(file));
    }
  }
  return named;
}

}  // namespace

Status Database::Open(const std::string& path, bool by_name) {
  current_directory_ = CurrentDirectory();
  path_ = Absolute(path, current_directory_);
  by_name_ = by_name;
  history_ = std::make_unique<net::History>(kFiles);
  Status status = shares_.AddWholeFileSystem();
  bool complete = true;  // what came before damage is good, and each file is looked at before it is believed
  if (status.ok()) status = net::LoadLinkDatabase(path_, shares_, history_.get(), &complete);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenReference);
  if (by_name) history_ = ByName(history_.get());
  changes_ = history_->changes();
  return Status();
}

bool Database::Find(const std::string& where, const platform::FileInfo& info, std::string* path) const {
  net::Remembered found;
  if (!history_->Find(0, Key(where), net::wire::FileTimeFromTimestamp(info.modified), info.size, &found)) return false;
  *path = '/' + found.path;
  return true;
}

void Database::Add(const std::string& where, const platform::FileInfo& info, const std::string& path) {
  const std::string key = Key(where);
  net::Remembered file;
  file.path = Absolute(path, current_directory_).substr(1);
  const bool ends =
      file.path.size() >= key.size() && file.path.compare(file.path.size() - key.size(), key.size(), key) == 0;
  if (!ends) return;
  file.key_size = key.size();
  file.mtime = net::wire::FileTimeFromTimestamp(info.modified);
  file.size = info.size;
  history_->Add(std::move(file));
}

Status Database::Save() {
  if (history_->changes() == changes_) return Status();
  const Status status = net::SaveLinkDatabase(path_, shares_, history_.get(), true, nullptr);
  return status.ok() ? status : Status::FromErrno(status.error_number(), Operation::kWrite);
}

std::string Database::Key(const std::string& where) const { return by_name_ ? BaseName(where.c_str()) : where; }

}  // namespace eacopy

#endif
