// Directories: opening, listing, making, and the names in them.

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

FileType TypeOfEntry(unsigned char d_type) {
  switch (d_type) {
    case DT_REG:
      return FileType::kRegular;
    case DT_DIR:
      return FileType::kDirectory;
    case DT_LNK:
      return FileType::kSymlink;
    case DT_FIFO:
      return FileType::kFifo;
    case DT_SOCK:
      return FileType::kSocket;
    case DT_CHR:
    case DT_BLK:
      return FileType::kDevice;
    default:
      return FileType::kUnknown;  // some file systems never tell
  }
}

bool IsDotOrDotDot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

}  // namespace

Status OpenDirectory(const Directory& parent, const char* name, bool follow, Directory* out) {
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
  int descriptor = Uninterrupted([&] { return ::openat(parent.get(), name, flags); });
  if (descriptor < 0) return LastError(Operation::kListDirectory);
  *out = Directory(Handle(descriptor));
  return Status();
}

Status OpenParent(const Directory& directory, Directory* out) { return OpenDirectory(directory, "..", false, out); }

#ifdef __linux__

namespace {

// The kernel's record; see getdents64(2).
struct LinuxDirent {
  uint64_t d_ino;
  int64_t d_off;
  uint16_t d_reclen;
  uint8_t d_type;
  char d_name[1];
};

}  // namespace

Status ListDirectory(const Directory& directory, Listing* out) {
  // The system call itself: readdir(3) would need a second descriptor and a heap block for each directory.
  alignas(LinuxDirent) char records[32 * 1024];
  out->Clear();
  for (;;) {
    long size = Uninterrupted([&] { return ::syscall(SYS_getdents64, directory.get(), records, sizeof(records)); });
    if (size < 0) return LastError(Operation::kListDirectory);
    if (size == 0) return Status();
    for (long position = 0; position < size;) {
      const auto* record = reinterpret_cast<const LinuxDirent*>(records + position);
      const char* name = records + position + offsetof(LinuxDirent, d_name);
      if (!IsDotOrDotDot(name)) out->Add(name, std::strlen(name), TypeOfEntry(record->d_type));
      position += record->d_reclen;
    }
  }
}

#else

Status ListDirectory(const Directory& directory, Listing* out) {
  out->Clear();
  // fdopendir takes the descriptor over, so it gets one of its own.
  int descriptor = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return LastError(Operation::kListDirectory);
  auto close = [](DIR* stream) { ::closedir(stream); };
  std::unique_ptr<DIR, decltype(close)> stream(::fdopendir(descriptor), close);
  if (!stream) {
    Status status = LastError(Operation::kListDirectory);
    ::close(descriptor);
    return status;
  }
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) return errno == 0 ? Status() : LastError(Operation::kListDirectory);
    if (!IsDotOrDotDot(entry->d_name)) out->Add(entry->d_name, std::strlen(entry->d_name), TypeOfEntry(entry->d_type));
  }
}

#endif

Status ListAgain(const Directory& directory, Listing* out) {
  ::lseek(directory.get(), 0, SEEK_SET);
  return ListDirectory(directory, out);
}

Status MakeDirectory(const Directory& parent, const char* name, uint32_t mode) {
  if (::mkdirat(parent.get(), name, static_cast<mode_t>(mode)) != 0) return LastError(Operation::kMakeDirectory);
  return Status();
}

Status ReadLink(const Directory& parent, const char* name, std::string* target) {
  // The length that lstat tells may be wrong (procfs says 0), so grow until there is room to spare.
  for (size_t room = 256;; room *= 4) {
    target->resize(room);
    ssize_t length = ::readlinkat(parent.get(), name, &(*target)[0], room);
    if (length < 0) return LastError(Operation::kReadLink);
    if (static_cast<size_t>(length) < room) {
      target->resize(static_cast<size_t>(length));
      return Status();
    }
  }
}

std::string AbsolutePath(const std::string& path) {
  std::string whole = path;
  if (path.empty() || path[0] != '/') {
    std::string current(4096, '\0');
    whole = (::getcwd(&current[0], current.size()) != nullptr ? current.c_str() : "/") + ('/' + path);
  }
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

bool RealPath(const std::string& path, std::string* out) {
  auto release = [](char* text) { std::free(text); };
  std::unique_ptr<char, decltype(release)> real(::realpath(path.c_str(), nullptr), release);
  if (!real) return false;
  *out = real.get();
  return true;
}

Status MakeSymlink(const std::string& target, const Directory& parent, const char* name, bool /*directory*/) {
  if (::symlinkat(target.c_str(), parent.get(), name) != 0) return LastError(Operation::kMakeLink);
  return Status();
}

Status Rename(const Directory& parent, const char* from, const char* to) {
  auto rename = [&] { return ::renameat(parent.get(), from, parent.get(), to) == 0; };
  if (rename()) return Status();
#ifdef __APPLE__
  // A copy of a locked file is locked before it gets its name. It is unlocked for that, and stays so when that fails.
  const int error_number = errno;
  constexpr uint32_t kLocks = UF_IMMUTABLE | UF_APPEND;
  struct stat st;
  Handle file(error_number == EPERM ? ::openat(parent.get(), from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                                    : -1);
  if (file.valid() && ::fstat(file.get(), &st) == 0 && (st.st_flags & kLocks) != 0 &&
      ::fchflags(file.get(), st.st_flags & ~kLocks) == 0) {
    if (!rename()) return LastError(Operation::kRename);
    return ::fchflags(file.get(), st.st_flags) == 0 ? Status() : LastError(Operation::kSetAttributes);
  }
  errno = error_number;
#endif
  return LastError(Operation::kRename);
}

Status RemoveFile(const Directory& parent, const char* name) {
  if (::unlinkat(parent.get(), name, 0) != 0) return LastError(Operation::kRemove);
  return Status();
}

Status RemoveDirectory(const Directory& parent, const char* name) {
  if (::unlinkat(parent.get(), name, AT_REMOVEDIR) != 0) return LastError(Operation::kRemove);
  return Status();
}

Status MakeHardLink(const Directory& from_parent, const char* from, const Directory& parent, const char* name) {
  if (::linkat(from_parent.get(), from, parent.get(), name, 0) != 0) return LastError(Operation::kMakeLink);
  return Status();
}

}  // namespace platform
}  // namespace eacopy
