// The data of links; see reparse.h. The layouts are those of REPARSE_DATA_BUFFER.

#include "reparse.h"

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace eacopy {
namespace platform {
namespace {

constexpr wchar_t kObjectPrefix[] = L"\\??\\";
constexpr size_t kPrefixLength = 4;

constexpr uint32_t kTagMountPoint = 0xA0000003;
constexpr uint32_t kTagSymlink = 0xA000000C;
constexpr uint32_t kRelative = 1;  // SYMLINK_FLAG_RELATIVE

// How the data begins; for a symbolic link, 32 bits of flags follow, and then the names for both. Offsets and lengths
// are in bytes, offsets from where the names begin.
struct Header {
  uint32_t tag;
  uint16_t length;  // of what follows the third field
  uint16_t reserved;
  uint16_t substitute_offset;
  uint16_t substitute_length;
  uint16_t print_offset;
  uint16_t print_length;
};
constexpr size_t kBeforeLength = 8;

// The target in the form that programs use: \??\C:\x becomes C:\x, \??\UNC\server\share becomes \\server\share. Others
// (\??\Volume{…}\) keep a prefix, \\?\ .
std::wstring PlainTarget(const std::wstring& substitute) {
  if (!IsJunctionTarget(substitute)) return substitute;
  if (substitute.compare(kPrefixLength, 4, L"UNC\\") == 0) return L"\\\\" + substitute.substr(kPrefixLength + 4);
  if (substitute.size() > kPrefixLength + 1 && substitute[kPrefixLength + 1] == L':') {
    return substitute.substr(kPrefixLength);
  }
  return L"\\\\?\\" + substitute.substr(kPrefixLength);
}

}  // namespace

bool IsJunctionTarget(const std::wstring& target) { return target.compare(0, kPrefixLength, kObjectPrefix) == 0; }

int TargetOfData(const char* data, size_t size, std::wstring* target) {
  Header header = {};
  if (size < sizeof(header)) return EINVAL;
  std::memcpy(&header, data, sizeof(header));
  if (header.tag != kTagSymlink && header.tag != kTagMountPoint) return ENOTSUP;
  uint32_t flags = 0;
  size_t names = sizeof(header);
  if (header.tag == kTagSymlink) {
    if (size < names + sizeof(flags)) return EINVAL;
    std::memcpy(&flags, data + names, sizeof(flags));
    names += sizeof(flags);
  }
  if (names + header.substitute_offset + header.substitute_length > size) return EINVAL;
  target->resize(header.substitute_length / sizeof(wchar_t));
  std::memcpy(&(*target)[0], data + names + header.substitute_offset, target->size() * sizeof(wchar_t));
  if (header.tag == kTagSymlink && (flags & kRelative) == 0) *target = PlainTarget(*target);
  return target->empty() ? EINVAL : 0;
}

int JunctionData(const std::wstring& target, std::string* data) {
  // Two names, each ended by NUL: the real one, and the one to show.
  const std::wstring shown = target.substr(kPrefixLength);
  const size_t size = sizeof(Header) + (target.size() + 1 + shown.size() + 1) * sizeof(wchar_t);
  if (size > kReparseMaximum) return ENAMETOOLONG;
  Header header = {};
  header.tag = kTagMountPoint;
  header.length = static_cast<uint16_t>(size - kBeforeLength);
  header.substitute_length = static_cast<uint16_t>(target.size() * sizeof(wchar_t));
  header.print_offset = static_cast<uint16_t>(header.substitute_length + sizeof(wchar_t));
  header.print_length = static_cast<uint16_t>(shown.size() * sizeof(wchar_t));
  data->assign(size, '\0');
  std::memcpy(&(*data)[0], &header, sizeof(header));
  char* names = &(*data)[sizeof(header)];
  std::memcpy(names, target.data(), header.substitute_length);
  std::memcpy(names + header.print_offset, shown.data(), header.print_length);
  return 0;
}

}  // namespace platform
}  // namespace eacopy
