// The LINKDB file of a sync; see database.h.

#include "database.h"

#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../net/link_database.h"
#include "../net/wire.h"

namespace eacopy {
namespace {

constexpr size_t kFiles = 500000;  // as many as EACopy's service remembers
constexpr size_t kSlice = 1024;

// The history holds absolute paths.
net::LinkPaths Paths() {
  net::LinkPaths paths;
  paths.absolute = [](const net::Remembered& file) { return file.path; };
  paths.find = [](const std::string& absolute, net::Remembered* file) {
    // A drive or the root, and on Windows a server as well.
    const bool on_server = platform::kSeparator == '\\' && absolute.compare(0, 2, "//") == 0;
    if (!on_server && !net::IsAbsolute(absolute)) return false;
    const size_t names = on_server ? 2 : absolute.find('/') + 1;
    if (names == absolute.size() || !net::IsPossiblePath(std::string_view(absolute).substr(names))) return false;
    file->path = absolute;
    return true;
  };
  return paths;
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
  path_ = platform::AbsolutePath(path);
  by_name_ = by_name;
  history_ = std::make_unique<net::History>(kFiles);
  bool complete = true;  // what came before damage is good, and each file is looked at before it is believed
  const Status status = net::LoadLinkDatabase(path_, Paths(), history_.get(), &complete);
  if (!status.ok()) return Status::FromErrno(status.error_number(), Operation::kOpenReference);
  if (by_name) history_ = ByName(history_.get());
  changes_ = history_->changes();
  return Status();
}

bool Database::Find(const std::string& where, const platform::FileInfo& info, std::string* path) const {
  net::Remembered found;
  if (!history_->Find(0, Key(where), net::wire::FileTimeFromTimestamp(info.modified), info.size, &found)) return false;
  *path = std::move(found.path);
  return true;
}

void Database::Add(const std::string& where, const platform::FileInfo& info, const std::string& path) {
  const std::string key = Key(where);
  net::Remembered file;
  file.path = platform::AbsolutePath(path);
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
  const Status status = net::SaveLinkDatabase(path_, Paths(), history_.get(), true, nullptr);
  return status.ok() ? status : Status::FromErrno(status.error_number(), Operation::kWrite);
}

std::string Database::Key(const std::string& where) const { return by_name_ ? BaseName(where.c_str()) : where; }

}  // namespace eacopy
