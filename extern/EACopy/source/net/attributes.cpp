// Extended attributes; see attributes.h.

#include "attributes.h"

#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#if defined(__linux__) || (defined(__APPLE__) && __has_include(<sys/xattr.h>))
#include <sys/xattr.h>
#define EACOPY_HAS_XATTR 1
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

struct OfLink {
  const char* path;
#ifdef __APPLE__
  ssize_t List(char* names, size_t size) const { return ::listxattr(path, names, size, XATTR_NOFOLLOW); }
  ssize_t Get(const char* name, char* value, size_t size) const {
    return ::getxattr(path, name, value, size, 0, XATTR_NOFOLLOW);
  }
#else
  ssize_t List(char* names, size_t size) const { return ::llistxattr(path, names, size); }
  ssize_t Get(const char* name, char* value, size_t size) const { return ::lgetxattr(path, name, value, size); }
#endif
};

template <typename Source>
void ReadFrom(const Source& source, std::string* encoded) {
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

void ReadAttributes(int descriptor, std::string* encoded) {
#ifdef EACOPY_HAS_XATTR
  ReadFrom(OfDescriptor{descriptor}, encoded);
#else
  (void)descriptor;
  encoded->clear();
#endif
}

void ReadLinkAttributes(const char* path, std::string* encoded) {
#ifdef EACOPY_HAS_XATTR
  ReadFrom(OfLink{path}, encoded);
#else
  (void)path;
  encoded->clear();
#endif
}

Status WriteAttributes(int descriptor, std::string_view encoded) {
  std::vector<std::pair<std::string, std::string_view>> attributes;
  if (!DecodeAttributes(encoded, &attributes)) return Status::FromErrno(EINVAL, Operation::kSetAttributes);
#ifdef EACOPY_HAS_XATTR
  for (const auto& [name, value] : attributes) {
    if (!TravelsToOtherMachines(name) || Set(descriptor, name, value) == 0) continue;
    if (IsSerious(errno)) return Status::FromErrno(errno, Operation::kSetAttributes);
  }
#else
  (void)descriptor;
#endif
  return Status();
}

}  // namespace net
}  // namespace eacopy
