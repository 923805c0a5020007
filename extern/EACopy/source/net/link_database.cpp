// Reading and writing LINKDB: a cookie, records with absolute paths in UTF-16, an empty record at the end.

#include "link_database.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../platform.h"
#include "../ranges.h"
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
constexpr size_t kSlice = 1024;  // records for which the history is held at a time
constexpr size_t kWriteAt = 1u << 20, kSyncAt = 8u << 20;

// Reads a file from its beginning, in large pieces.
class FileBytes {
 public:
  explicit FileBytes(platform::Handle file) : file_(std::move(file)) {}

  // False when there is less, or it cannot be read.
  bool Read(char* data, size_t size) {
    while (size != 0) {
      if (next_ == buffer_.size() && !Fill()) return false;
      const size_t count = std::min(size, buffer_.size() - next_);
      std::memcpy(data, buffer_.data() + next_, count);
      next_ += count;
      data += count;
      size -= count;
    }
    return true;
  }

 private:
  bool Fill() {
    buffer_.resize(256 * 1024);
    size_t got = 0;
    if (!platform::ReadRange(file_, Operation::kRead, offset_, &buffer_[0], buffer_.size(), &got).ok()) got = 0;
    buffer_.resize(got);
    offset_ += got;
    next_ = 0;
    return got != 0;
  }

  platform::Handle file_;
  std::string buffer_;
  size_t next_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace

LinkPaths PathsIn(const Shares& shares) {
  LinkPaths paths;
  paths.absolute = [&shares](const Remembered& file) { return shares.all()[file.share]->Absolute(file.path); };
  paths.find = [&shares](const std::string& absolute, Remembered* file) {
    Place place;
    if (!shares.Contains(absolute, &place) || place.path.empty()) return false;
    file->share = place.share->number;
    file->path = std::move(place.path);
    return true;
  };
  return paths;
}

Status LoadLinkDatabase(const std::string& path, const LinkPaths& paths, History* history, bool* complete) {
  *complete = true;
  platform::Handle handle;
  platform::FileInfo info;
  Status status = platform::OpenSource(platform::Directory::Paths(), path.c_str(), true, &handle, &info);
  if (!status.ok()) return status.error_number() == ENOENT ? Status() : status;
  if (info.type != platform::FileType::kRegular) {
    return Status::FromErrno(info.type == platform::FileType::kDirectory ? EISDIR : EINVAL, Operation::kSpecialFile);
  }
  FileBytes file(std::move(handle));
  auto read = [&](char* data, size_t size) { return file.Read(data, size); };
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
    if (!paths.find(full, &known) || known.key_size > known.path.size()) continue;
    // A key is whole names.
    const std::string_view key = known.key();
    if (key.front() == '/' || (key.size() < known.path.size() && known.path[known.path.size() - key.size() - 1] != '/'))
      continue;
    history->Add(std::move(known));
  }
  *complete = true;
  return Status();
}

namespace {

// False for what the format cannot say.
bool PutRecord(std::string* out, const LinkPaths& paths, const Remembered& file) {
  std::string full = paths.absolute(file);
  if (full.find('\\') != std::string::npos) return false;
  std::replace(full.begin(), full.end(), '/', '\\');
  const size_t begin = out->size();
  PutZeros(out, 4);
  std::string key;
  if (!wire::ToUtf16(full, out) || out->size() - begin - 4 > kMaxPathBytes || !wire::ToUtf16(file.key(), &key)) {
    out->resize(begin);
    return false;
  }
  PutNumberAt(out, begin, static_cast<uint16_t>(out->size() - begin - 4));
  PutNumberAt(out, begin + 2, static_cast<uint16_t>(key.size() / 2));
  PutNumber(out, file.size);
  PutNumber(out, file.mtime);
  PutArray(out, file.md5);
  return true;
}

}  // namespace

Status SaveLinkDatabase(const std::string& path, const LinkPaths& paths, History* history, bool durable,
                        const std::atomic<bool>* stop) {
  auto parent = std::make_shared<platform::Directory>();
  const std::string name = BaseName(path.c_str());
  const std::string directory = path.substr(0, path.size() - name.size());
  Status status = platform::OpenDirectory(platform::Directory::Paths(), directory.empty() ? "." : directory.c_str(),
                                          true, parent.get());
  if (!status.ok()) return status;
  TemporaryFile file;
  status = file.Create(std::move(parent), 0600);
  if (!status.ok()) return status;
  std::string bytes(kCookie, sizeof(kCookie));
  std::vector<Remembered> slice;
  uint64_t synced = 0;
  history->Rewind();
  do {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) return Status::Cancelled();
    history->Next(kSlice, &slice);
    for (const Remembered& remembered : slice) PutRecord(&bytes, paths, remembered);
    if (slice.empty()) PutNumber<uint16_t>(&bytes, 0);
    if (!slice.empty() && bytes.size() < kWriteAt) continue;
    status = file.Write(bytes);
    // Little by little, so that nobody who stops has to wait for all of it.
    if (status.ok() && durable && file.size() - synced >= kSyncAt) {
      status = platform::Sync(file.handle());
      synced = file.size();
    }
    if (!status.ok()) return status;
    bytes.clear();
  } while (!slice.empty());
  NewMetadata metadata;
  metadata.durable = durable;
  return file.Finish(name.c_str(), metadata);
}

}  // namespace net
}  // namespace eacopy
