// What a file has beside its data: mode, times, extended attributes, flags.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#if defined(__linux__) || defined(__APPLE__)
#define EACOPY_HAS_XATTR 1
#if __has_include(<sys/xattr.h>)
#include <sys/xattr.h>
#else
// The headers that cross-compilers for macOS bring along leave it out.
extern "C" {
ssize_t flistxattr(int file, char* names, size_t size, int options);
ssize_t fgetxattr(int file, const char* name, void* value, size_t size, uint32_t position, int options);
int fsetxattr(int file, const char* name, const void* value, size_t size, uint32_t position, int options);
}
#endif
#endif

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

#ifdef EACOPY_HAS_XATTR

// macOS has the same calls with a position and a set of options more.
ssize_t ListAttributes(int file, char* names, size_t size) {
#ifdef __APPLE__
  return ::flistxattr(file, names, size, 0);
#else
  return ::flistxattr(file, names, size);
#endif
}

ssize_t GetAttribute(int file, const char* name, char* value, size_t size) {
#ifdef __APPLE__
  return ::fgetxattr(file, name, value, size, 0, 0);
#else
  return ::fgetxattr(file, name, value, size);
#endif
}

int SetAttribute(int file, const char* name, const char* value, size_t size) {
#ifdef __APPLE__
  return ::fsetxattr(file, name, value, size, 0, 0);
#else
  return ::fsetxattr(file, name, value, size, 0);
#endif
}

// What must not fail a copy: the attribute is not known or not allowed there, or was removed meanwhile. 524 is the
// kernel's internal ENOTSUPP, which NFS lets out.
bool IsHarmlessAttributeError(int error_number) {
  switch (error_number) {
    case ENOTSUP:
#if EOPNOTSUPP != ENOTSUP
    case EOPNOTSUPP:
#endif
#ifdef ENODATA
    case ENODATA:
#endif
#ifdef ENOATTR
#if !defined(ENODATA) || ENOATTR != ENODATA
    case ENOATTR:
#endif
#endif
    case EINVAL:
    case EPERM:
    case EACCES:
    case ENOSYS:
    case ENOSPC:
    case ERANGE:
    case 524:
      return true;
    default:
      return false;
  }
}

// The largest attribute that is copied. Linux has none above 64 KiB; on macOS a resource fork is one.
#ifdef __APPLE__
constexpr size_t kLargestAttribute = 256u << 20;
#else
constexpr size_t kLargestAttribute = 1u << 20;
#endif

// Grows `*buffer` until `call` (which answers like fgetxattr) fits. The length, or -1 with errno.
template <typename Call>
ssize_t ReadGrowing(std::string* buffer, Call call) {
  for (;;) {
    ssize_t size = call(&(*buffer)[0], buffer->size());
    if (size >= 0 || errno != ERANGE || buffer->size() >= kLargestAttribute) return size;
    buffer->resize(buffer->size() * 4);
  }
}

// `make_writable` is called once, before the first attribute is set.
template <typename MakeWritable>
Status CopyAttributes(int source, int destination, Archivist* archivist, MakeWritable make_writable) {
  char few[256];
  ssize_t length = ListAttributes(source, few, sizeof(few));
  if (length == 0) return Status();  // the usual case
  std::string names;
  if (length > 0) {
    names.assign(few, static_cast<size_t>(length));
  } else {
    if (errno == ERANGE) {
      names.resize(4096);
      length = ReadGrowing(&names, [&](char* data, size_t size) { return ListAttributes(source, data, size); });
    }
    if (length < 0) return IsHarmlessAttributeError(errno) ? Status() : LastError(Operation::kSetAttributes);
    names.resize(static_cast<size_t>(length));
  }
  make_writable();
  std::string value(4096, '\0');
  for (const char* name = names.data(); name < names.data() + names.size(); name += std::strlen(name) + 1) {
    ssize_t size = ReadGrowing(&value, [&](char* data, size_t room) { return GetAttribute(source, name, data, room); });
    if (size >= 0 && SetAttribute(destination, name, value.data(), static_cast<size_t>(size)) == 0) continue;
    if (!IsHarmlessAttributeError(errno)) return LastError(Operation::kSetAttributes);
    if (size >= 0 && archivist != nullptr) archivist->Lose(std::string("the extended attribute ") + name);
  }
  return Status();
}

#endif  // EACOPY_HAS_XATTR

struct timespec ToTimespec(const Timestamp& timestamp) {
  struct timespec time;
  time.tv_sec = static_cast<time_t>(timestamp.seconds);
  time.tv_nsec = timestamp.nanoseconds;
  return time;
}

void FillTimes(const FileInfo& info, struct timespec times[2]) {
  times[0] = ToTimespec(info.accessed);
  times[1] = ToTimespec(info.modified);
}

bool IsHarmlessModeError(int error_number) {
  return error_number == EPERM || error_number == ENOTSUP || error_number == EOPNOTSUPP || error_number == ENOSYS;
}

// Gives a file its owner and group; when that is not allowed at least the group. `change` answers like fchown.
template <typename Change>
Status SetOwner(const FileInfo& info, Archivist& archivist, Change change) {
  const auto user = static_cast<uid_t>(info.user);
  const auto group = static_cast<gid_t>(info.group);
  auto refused = [] { return IsHarmlessModeError(errno) || errno == EINVAL; };
  if (change(user, group) == 0) return Status();
  if (!refused()) return LastError(Operation::kSetAttributes);
  archivist.Lose("the owner");
  if (change(static_cast<uid_t>(-1), group) == 0) return Status();
  if (!refused()) return LastError(Operation::kSetAttributes);
  archivist.Lose("the group");
  return Status();
}

Status SetMode(int file, uint32_t mode) {
  if (Uninterrupted([&] { return ::fchmod(file, static_cast<mode_t>(mode)); }) == 0) return Status();
  // CIFS without Unix extensions and some FUSE file systems have one mode for all their files. A file system where the
  // user owns the new file and still may not change its mode is one of those.
  if (IsHarmlessModeError(errno)) return Status();
  return LastError(Operation::kSetMode);
}

Status SetTimes(int file, const Timestamp& accessed, const Timestamp& modified) {
  const struct timespec times[2] = {ToTimespec(accessed), ToTimespec(modified)};
  return ::futimens(file, times) == 0 ? Status() : LastError(Operation::kSetTimes);
}

#ifdef __APPLE__
Status SetFlags(int file, uint32_t flags) {
  // Some say how the file system keeps the source (compressed, tracked, in a vault, in the cloud): not true of a copy.
  flags &=
      (UF_SETTABLE | SF_SETTABLE) & ~static_cast<uint32_t>(UF_COMPRESSED | UF_TRACKED | UF_DATAVAULT | SF_RESTRICTED);
  if (flags == 0 || ::fchflags(file, flags) == 0) return Status();
  // The superuser's are refused to others; the owner's are the owner's.
  const uint32_t of_owner = flags & UF_SETTABLE;
  if (errno == EPERM && of_owner != flags && (of_owner == 0 || ::fchflags(file, of_owner) == 0)) return Status();
  // What the file system does not know is left out.
  if (errno == ENOTSUP || errno == EOPNOTSUPP || errno == EPERM || errno == EINVAL) return Status();
  return LastError(Operation::kSetAttributes);
}
#endif

Status CopyDescriptorMetadata(int source, const FileInfo& source_info, int destination, Metadata metadata,
                              bool mode_is_right, Archivist* archivist) {
  if (metadata == Metadata::kNone) return Status();
  if (archivist != nullptr) {
    // Before the mode, because a new owner takes set-user-ID away.
    Status status =
        SetOwner(source_info, *archivist, [&](uid_t user, gid_t group) { return ::fchown(destination, user, group); });
    if (!status.ok()) return status;
    mode_is_right = false;
  }
  if (metadata == Metadata::kStat) {
#ifdef EACOPY_HAS_XATTR
    // Attributes come before a mode that would forbid to set them.
    Status status = CopyAttributes(source, destination, archivist, [&] {
      if ((source_info.mode & 0200) == 0) {
        ::fchmod(destination, static_cast<mode_t>(source_info.mode | 0200));
        mode_is_right = false;
      }
    });
    if (!status.ok()) return status;
#else
    (void)source;
#endif
  }
  if (!mode_is_right) {
    Status status = SetMode(destination, source_info.mode);
    if (!status.ok()) return status;
  }
  if (metadata == Metadata::kStat) {
    Status status = SetTimes(destination, source_info.accessed, source_info.modified);
    if (!status.ok()) return status;
#ifdef __APPLE__
    // Last, because an immutable file takes nothing more.
    return SetFlags(destination, source_info.flags);
#endif
  }
  return Status();
}

}  // namespace

Status CopyMetadata(const Handle& source, const FileInfo& source_info, const Handle& destination, Metadata metadata,
                    bool mode_is_right, Archivist* archivist) {
  return CopyDescriptorMetadata(source.get(), source_info, destination.get(), metadata, mode_is_right, archivist);
}

Status CopyMetadata(const Directory& source, const FileInfo& source_info, const Directory& destination,
                    Metadata metadata, Archivist* archivist) {
  return CopyDescriptorMetadata(source.get(), source_info, destination.get(), metadata, false, archivist);
}

Status CopyLinkMetadata(const Directory& source_parent, const char* source_name, const FileInfo& source_info,
                        const Directory& destination_parent, const char* destination_name, Archivist* archivist) {
  if (archivist != nullptr) {
    Status status = SetOwner(source_info, *archivist, [&](uid_t user, gid_t group) {
      return ::fchownat(destination_parent.get(), destination_name, user, group, AT_SYMLINK_NOFOLLOW);
    });
    if (!status.ok()) return status;
  }
#ifdef __linux__
  // A link's own attributes are reached by path only; the descriptor's entry in /proc makes one of a name in an open
  // directory. Linux allows trusted.* and security.* there, which is why it rarely has any.
  auto path = [](const Directory& parent, const char* name) {
    return parent.get() < 0 ? std::string(name) : "/proc/self/fd/" + std::to_string(parent.get()) + "/" + name;
  };
  std::string source_path = path(source_parent, source_name);
  std::string names(1024, '\0');
  ssize_t length =
      ReadGrowing(&names, [&](char* data, size_t size) { return ::llistxattr(source_path.c_str(), data, size); });
  if (length > 0) {
    names.resize(static_cast<size_t>(length));
    std::string destination_path = path(destination_parent, destination_name);
    std::string value(4096, '\0');
    for (const char* name = names.data(); name < names.data() + names.size(); name += std::strlen(name) + 1) {
      ssize_t size = ReadGrowing(
          &value, [&](char* data, size_t room) { return ::lgetxattr(source_path.c_str(), name, data, room); });
      if (size >= 0 && ::lsetxattr(destination_path.c_str(), name, value.data(), static_cast<size_t>(size), 0) == 0) {
        continue;
      }
      if (!IsHarmlessAttributeError(errno)) return LastError(Operation::kSetAttributes);
      if (size >= 0 && archivist != nullptr) archivist->Lose(std::string("the extended attribute ") + name);
    }
  }
#else
  (void)source_parent;
  (void)source_name;
#endif
  struct timespec times[2];
  FillTimes(source_info, times);
  if (::utimensat(destination_parent.get(), destination_name, times, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOTSUP &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    return LastError(Operation::kSetTimes);
  }
#ifdef __APPLE__
  // The mode of a link is something there. No error is worth failing for.
  ::fchmodat(destination_parent.get(), destination_name, static_cast<mode_t>(source_info.mode), AT_SYMLINK_NOFOLLOW);
#endif
  return Status();
}

Status SetMode(const Handle& file, uint32_t mode) { return SetMode(file.get(), mode); }

Status SetMode(const Directory& directory, uint32_t mode) { return SetMode(directory.get(), mode); }

Status SetTimes(const Handle& file, const Timestamp& accessed, const Timestamp& modified) {
  return SetTimes(file.get(), accessed, modified);
}

Status SetTimes(const Directory& directory, const Timestamp& accessed, const Timestamp& modified) {
  return SetTimes(directory.get(), accessed, modified);
}

Status SetLinkTimes(const Directory& parent, const char* name, const Timestamp& accessed, const Timestamp& modified) {
  const struct timespec times[2] = {ToTimespec(accessed), ToTimespec(modified)};
  if (::utimensat(parent.get(), name, times, AT_SYMLINK_NOFOLLOW) == 0) return Status();
  return LastError(Operation::kSetTimes);
}

Status Mend(const Directory& parent, const char* name, const FileInfo& is, const FileInfo& wanted, Mending mending,
            Archivist* archivist, bool* done) {
  *done = false;
#ifdef O_PATH
  // Needs no permission to read; what may be changed is decided where it is changed, through the descriptor's entry in
  // /proc.
  Handle file(::openat(parent.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  const std::string entry = "/proc/self/fd/" + std::to_string(file.get());
  auto set_owner = [&](uid_t user, gid_t group) { return ::chown(entry.c_str(), user, group); };
  auto set_mode = [&] { return ::chmod(entry.c_str(), static_cast<mode_t>(wanted.mode)); };
  auto set_times = [&](const struct timespec times[2]) { return ::utimensat(AT_FDCWD, entry.c_str(), times, 0); };
#else
  Handle file(::openat(parent.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  auto set_owner = [&](uid_t user, gid_t group) { return ::fchown(file.get(), user, group); };
  auto set_mode = [&] { return ::fchmod(file.get(), static_cast<mode_t>(wanted.mode)); };
  auto set_times = [&](const struct timespec times[2]) { return ::futimens(file.get(), times); };
#endif
  if (!file.valid()) return LastError(Operation::kOpenDestination);
  FileInfo opened;
  Status status = GetInfo(file, &opened);
  if (!status.ok() || !(opened.id == is.id)) return status;
  if (mending.owner && archivist != nullptr) {
    status = SetOwner(wanted, *archivist, set_owner);
    if (!status.ok()) return status;
  }
  if ((mending.mode || mending.owner) && set_mode() != 0) return LastError(Operation::kSetMode);
  if (mending.times) {
    struct timespec times[2];
    FillTimes(wanted, times);
    if (set_times(times) != 0) return LastError(Operation::kSetTimes);
  }
  *done = true;
  return Status();
}

}  // namespace platform
}  // namespace eacopy
