// Extended attributes; see attributes.h.

#include "attributes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#if defined(__linux__) || (defined(__APPLE__) && __has_include(<sys/xattr.h>))
#include <fcntl.h>
#include <sys/types.h>
#include <sys/xattr.h>
#define EACOPY_HAS_XATTR 1
#endif

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#endif

#ifdef EACOPY_HAS_XATTR
#include "../posix/internal.h"
#endif
#include "bytes.h"
#include "messages.h"

namespace eacopy {
namespace net {
namespace {

#ifdef EACOPY_HAS_XATTR

struct OfDescriptor {
  int descriptor;
#ifdef __APPLE__
  ssize_t List(char* names, size_t size) const { return ::flistxattr(descriptor, names, size, 0); }
  ssize_t Get(const char* name, char* value, size_t size) const {
    return ::fgetxattr(descriptor, name, value, size, 0, 0);
  }
#else
  ssize_t List(char* names, size_t size) const { return ::flistxattr(descriptor, names, size); }
  ssize_t Get(const char* name, char* value, size_t size) const { return ::fgetxattr(descriptor, name, value, size); }
#endif
};

void ReadFrom(const OfDescriptor& source, std::string* encoded) {
  encoded->clear();
  char few[256];
  std::string many;
  const char* names = few;
  ssize_t length = source.List(few, sizeof(few));
  if (length == 0) return;  // the usual case
  if (length < 0) {
    if (errno != ERANGE) return;
    many.resize(kMaxAttributes);
    length = source.List(&many[0], many.size());
    if (length <= 0) return;
    names = many.data();
  }
  std::vector<std::string> sorted;
  for (const char* name = names; name < names + length; name += std::strlen(name) + 1) {
    if (TravelsToOtherMachines(name)) sorted.emplace_back(name);
  }
  std::sort(sorted.begin(), sorted.end());  // equal sets have equal bytes
  uint16_t count = 0;
  std::string value(kMaxAttributes, '\0');
  PutNumber<uint16_t>(encoded, 0);
  for (const std::string& name : sorted) {
    const ssize_t size = source.Get(name.c_str(), &value[0], value.size());
    if (size < 0 || encoded->size() + 6 + name.size() + static_cast<size_t>(size) > kMaxAttributes) continue;
    PutString16(encoded, name);
    PutNumber<uint32_t>(encoded, static_cast<uint32_t>(size));
    encoded->append(value, 0, static_cast<size_t>(size));
    ++count;
  }
  PutNumberAt<uint16_t>(encoded, 0, count);
  if (count == 0) encoded->clear();
}

int Set(int descriptor, const std::string& name, std::string_view value) {
#ifdef __APPLE__
  return ::fsetxattr(descriptor, name.c_str(), value.data(), value.size(), 0, 0);
#else
  return ::fsetxattr(descriptor, name.c_str(), value.data(), value.size(), 0);
#endif
}

// Only a disk that fails or is full of data fails a copy; attributes that are not known or not allowed do not.
bool IsSerious(int error_number) { return error_number == EIO || error_number == EDQUOT || error_number == EROFS; }

#ifdef __linux__

// The number of listxattrat(2), which Linux has since 6.13, where the headers are older.
#if defined(SYS_listxattrat)
constexpr long kListAttributesAt = SYS_listxattrat;
#elif defined(__x86_64__) || defined(__aarch64__)
constexpr long kListAttributesAt = 465;
#else
constexpr long kListAttributesAt = -1;  // no system call
#endif

// The bytes that the names of a file's attributes take; -1 with errno.
ssize_t SizeOfAttributeNames(const platform::Directory& parent, const char* name) {
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const long size = ::syscall(kListAttributesAt, parent.get(), name, AT_SYMLINK_NOFOLLOW, nullptr, size_t{0});
    // EPERM is what a sandbox says that does not know the call.
    if (size >= 0 || (errno != ENOSYS && errno != EPERM)) return size;
    missing.store(true, std::memory_order_relaxed);
  }
  char path[64 + kMaxComponent];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent.get(), name);
  return ::llistxattr(path, nullptr, 0);
}

#endif  // __linux__

#endif  // EACOPY_HAS_XATTR

}  // namespace

bool TravelsToOtherMachines(std::string_view name) {
#ifdef __linux__
  auto begins = [&](std::string_view prefix) { return name.substr(0, prefix.size()) == prefix; };
  return !begins("security.") && !begins("trusted.");
#else
  (void)name;
  return true;
#endif
}

bool DecodeAttributes(std::string_view encoded, std::vector<std::pair<std::string, std::string_view>>* out) {
  if (encoded.empty()) return true;
  Reader reader(encoded);
  const uint16_t count = reader.Take<uint16_t>();
  for (uint16_t i = 0; i < count && reader.ok(); ++i) {
    const std::string_view name = reader.String16();
    const std::string_view value = reader.String32();
    if (name.empty() || name.find('\0') != std::string_view::npos) return false;
    out->emplace_back(std::string(name), value);
  }
  return reader.complete();
}

void ReadAttributes(platform::NativeHandle file, std::string* encoded) {
#ifdef EACOPY_HAS_XATTR
  ReadFrom(OfDescriptor{file}, encoded);
#else
  (void)file;
  encoded->clear();
#endif
}

void ReadAttributesAt(const platform::Directory& parent, const char* name, std::string* encoded) {
  encoded->clear();
#ifdef EACOPY_HAS_XATTR
#ifdef __linux__
  const ssize_t size = SizeOfAttributeNames(parent, name);
  if (size == 0 || (size < 0 && errno != ENOENT && errno != ENOTDIR)) return;
#endif
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  platform::Handle file(platform::Uninterrupted([&] { return ::openat(parent.get(), name, kFlags); }));
  if (file.valid()) ReadAttributes(file.get(), encoded);
#else
  (void)parent, (void)name;
#endif
}

bool EqualAttributes(std::string_view a, std::string_view b) {
  if (a == b) return true;
  std::vector<std::pair<std::string, std::string_view>> left, right;
  if (!a.empty() && !DecodeAttributes(a, &left)) return false;
  if (!b.empty() && !DecodeAttributes(b, &right)) return false;
  std::sort(left.begin(), left.end());
  std::sort(right.begin(), right.end());
  return left == right;
}

Status WriteAttributes(platform::NativeHandle file, std::string_view encoded) {
  std::vector<std::pair<std::string, std::string_view>> attributes;
  if (!DecodeAttributes(encoded, &attributes)) return Status::FromErrno(EINVAL, Operation::kSetAttributes);
#ifdef EACOPY_HAS_XATTR
  for (const auto& [name, value] : attributes) {
    if (!TravelsToOtherMachines(name) || Set(file, name, value) == 0) continue;
    if (IsSerious(errno)) return Status::FromErrno(errno, Operation::kSetAttributes);
  }
#else
  (void)file;
#endif
  return Status();
}

}  // namespace net
}  // namespace eacopy
