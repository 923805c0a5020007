// Reading and writing LINKDB: a cookie, records with absolute paths in UTF-16, an empty record at the end.

#include "link_database.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "../platform.h"
#include "bytes.h"
#include "messages.h"
#include "store.h"
#include "wire.h"

namespace eacopy {
namespace net {
namespace {

constexpr char kCookie[12] = "eacopydb003";  // with its NUL
// Real readers refuse longer paths.
constexpr size_t kMaxPathBytes = 4094;
constexpr size_t kStampSize = 8 + 8 + 16;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Status LoadLinkDatabase(const std::string& path, const Shares& shares, History* history, bool* complete) {
  *complete = true;
  platform::Handle handle;
  platform::FileInfo info;
  Status status = platform::OpenSource(platform::Directory::Paths(), path.c_str(), true, &handle, &info);
  if (!status.ok()) return status.error_number() == ENOENT ? Status() : status;
  handle.Close();
  if (info.type != platform::FileType::kRegular) return Status::FromErrno(EINVAL, Operation::kSpecialFile);
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
  if (!file) return Status::FromErrno(errno, Operation::kOpenSource);
  auto read = [&](char* data, size_t size) { return std::fread(data, 1, size, file.get()) == size; };
  char cookie[sizeof(kCookie)];
  *complete = false;
  if (!read(cookie, sizeof(cookie)) || std::memcmp(cookie, kCookie, sizeof(cookie)) != 0) {
    return Status();
  }
  std::string record;
  for (;;) {
    char head[4];
    if (!read(head, 2)) return Status();
    const size_t path_bytes = LoadNumber<uint16_t>(head);
    if (path_bytes == 0) break;
    if (!read(head + 2, 2)) return Status();
    const size_t key_bytes = size_t{2} * LoadNumber<uint16_t>(head + 2);
    record.resize(path_bytes + kStampSize);
    if (!read(&record[0], record.size())) return Status();
    if (path_bytes % 2 != 0 || key_bytes == 0 || key_bytes > path_bytes) return Status();
    Reader reader(record);
    std::string full = wire::FromUtf16(reader.Bytes(path_bytes));
    Remembered known;
    known.key_size = wire::FromUtf16(std::string_view(record).substr(path_bytes - key_bytes, key_bytes)).size();
    known.size = reader.Take<uint64_t>();
    known.mtime = reader.Take<uint64_t>();
    known.md5 = reader.Array<16>();
    std::replace(full.begin(), full.end(), '\\', '/');
    Place place;
    if (full.empty() || full.front() != '/' || !IsProtocolPath(std::string_view(full).substr(1))) continue;
    if (!shares.Contains(full, &place) || place.path.empty() || known.key_size > place.path.size()) continue;
    known.share = place.share->number;
    known.path = std::move(place.path);
    // A key is whole names.
    const std::string_view key = known.key();
    if (key.front() == '/' || (key.size() < known.path.size() && known.path[known.path.size() - key.size() - 1] != '/'))
      continue;
    history->Add(std::move(known));
  }
  *complete = true;
  return Status();
}

Status SaveLinkDatabase(const std::string& path, const Shares& shares, const History& history) {
  std::string bytes(kCookie, sizeof(kCookie));
  history.ForEach([&](const Remembered& file) {
    std::string wire_path, wire_key, utf16_path, utf16_key;
    const Share& share = *shares.all()[file.share];
    if (!wire::ToWirePath(share.Absolute(file.path), &wire_path) || !wire::ToUtf16(wire_path, &utf16_path)) return;
    if (!wire::ToUtf16(file.key(), &utf16_key) || utf16_path.size() > kMaxPathBytes) return;
    PutNumber<uint16_t>(&bytes, static_cast<uint16_t>(utf16_path.size()));
    PutNumber<uint16_t>(&bytes, static_cast<uint16_t>(utf16_key.size() / 2));
    PutBytes(&bytes, utf16_path);
    PutNumber(&bytes, file.size);
    PutNumber(&bytes, file.mtime);
    PutArray(&bytes, file.md5);
  });
  PutNumber<uint16_t>(&bytes, 0);

  auto parent = std::make_shared<platform::Directory>();
  const std::string directory = path.find('/') == std::string::npos ? "." : std::string(ParentOf(path)) + "/";
  Status status = platform::OpenDirectory(platform::Directory::Paths(), directory.c_str(), true, parent.get());
  if (!status.ok()) return status;
  TemporaryFile file;
  status = file.Create(std::move(parent), 0600);
  if (status.ok()) status = file.Write(bytes);
  NewMetadata metadata;
  metadata.durable = true;
  return status.ok() ? file.Finish(std::string(NameOf(path)).c_str(), metadata) : status;
}

}  // namespace net
}  // namespace eacopy
