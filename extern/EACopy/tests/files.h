// Files and folders for tests on POSIX systems: making, reading, comparing and removing them, however deep they are.
#ifndef EACOPY_TESTS_FILES_H_
#define EACOPY_TESTS_FILES_H_

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "noise.h"

namespace eacopy {
namespace test {

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

// A test cannot go on when its own preparation fails.
inline void Must(bool worked, const std::string& what) {
  if (worked) return;
  std::fprintf(stderr, "the test cannot prepare: %s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

inline bool IsDots(const char* name) { return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0; }

struct Entry {
  std::string name;
  bool directory;
};

// What is in an open directory, in order of names.
inline std::vector<Entry> EntriesOf(int directory) {
  std::vector<Entry> entries;
  DIR* stream = ::fdopendir(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Must(stream != nullptr, "list a directory");
  while (const struct dirent* entry = ::readdir(stream)) {
    if (IsDots(entry->d_name)) continue;
    struct stat st;
    Must(::fstatat(directory, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, "look at a directory's entry");
    entries.push_back({entry->d_name, S_ISDIR(st.st_mode)});
  }
  ::closedir(stream);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

inline std::vector<std::string> Names(const std::string& path) {
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Must(directory.get() >= 0, "open " + path);
  std::vector<std::string> names;
  for (Entry& entry : EntriesOf(directory.get())) names.push_back(std::move(entry.name));
  return names;
}

// Removes a tree of any depth with two descriptors: down to the first subdirectory, and up again when there is none.
inline void RemoveTree(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return;
  if (!S_ISDIR(st.st_mode)) {
    ::unlink(path.c_str());
    return;
  }
  ::chmod(path.c_str(), 0700);
  Descriptor at(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Must(at.get() >= 0, "open " + path);
  std::vector<std::string> above;
  for (;;) {
    std::string below;
    for (const Entry& entry : EntriesOf(at.get())) {
      if (!entry.directory) {
        Must(::unlinkat(at.get(), entry.name.c_str(), 0) == 0, "remove " + entry.name);
      } else if (::unlinkat(at.get(), entry.name.c_str(), AT_REMOVEDIR) != 0 && below.empty()) {
        below = entry.name;
      }
    }
    if (!below.empty()) {
      ::fchmodat(at.get(), below.c_str(), 0700, 0);
      at = Descriptor(::openat(at.get(), below.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      Must(at.get() >= 0, "open " + below);
      above.push_back(below);
    } else if (!above.empty()) {
      at = Descriptor(::openat(at.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      Must(at.get() >= 0 && ::unlinkat(at.get(), above.back().c_str(), AT_REMOVEDIR) == 0, "remove " + above.back());
      above.pop_back();
    } else {
      break;
    }
  }
  Must(::rmdir(path.c_str()) == 0, "remove " + path);
}

// Where to make files by the thousand: in memory, unless TMPDIR says otherwise.
inline const char* FastPlace() {
  struct stat st;
  return std::getenv("TMPDIR") == nullptr && ::stat("/dev/shm", &st) == 0 ? "/dev/shm" : nullptr;
}

// A new directory for one test, below TMPDIR; removed at the end with all that is in it.
class Folder {
 public:
  explicit Folder(const char* parent = nullptr) {
    const char* place = parent != nullptr ? parent : std::getenv("TMPDIR");
    path_ = std::string(place != nullptr ? place : "/tmp") + "/eacopy-test-XXXXXX";
    Must(::mkdtemp(&path_[0]) != nullptr, "make " + path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { RemoveTree(path_); }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline struct stat StatusOf(const std::string& path) {
  struct stat st;
  Must(::lstat(path.c_str(), &st) == 0, "look at " + path);
  return st;
}

inline bool Exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

inline unsigned ModeOf(const std::string& path) { return StatusOf(path).st_mode & 07777u; }

inline struct timespec ModifiedOf(const struct stat& st) {
#ifdef __APPLE__
  return st.st_mtimespec;
#else
  return st.st_mtim;
#endif
}

inline struct timespec AccessedOf(const struct stat& st) {
#ifdef __APPLE__
  return st.st_atimespec;
#else
  return st.st_atim;
#endif
}

inline void SetTimes(const std::string& path, time_t accessed, time_t modified, long nanoseconds = 123456789) {
  struct timespec times[2] = {{accessed, nanoseconds}, {modified, nanoseconds}};
  Must(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0, "set the times of " + path);
}

inline void WriteAt(const std::string& path, const std::string& contents, off_t offset) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  Must(file.get() >= 0, "open " + path);
  size_t done = 0;
  while (done < contents.size()) {
    const ssize_t put =
        ::pwrite(file.get(), contents.data() + done, contents.size() - done, offset + static_cast<off_t>(done));
    Must(put > 0, "write " + path);
    done += static_cast<size_t>(put);
  }
}

inline void Write(const std::string& path, const std::string& contents) {
  ::unlink(path.c_str());
  WriteAt(path, contents, 0);
}

inline void Write(const std::string& path, const std::string& contents, mode_t mode) {
  Write(path, contents);
  Must(::chmod(path.c_str(), mode) == 0, "set the mode of " + path);
}

inline void Append(const std::string& path, const std::string& contents) {
  WriteAt(path, contents, StatusOf(path).st_size);
}

inline void SetSize(const std::string& path, off_t size) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  Must(file.get() >= 0 && ::ftruncate(file.get(), size) == 0, "set the size of " + path);
}

inline std::string ReadFrom(int file) {
  struct stat st;
  Must(::fstat(file, &st) == 0, "look at an open file");
  // A byte more than there should be, to see the end.
  std::string contents(static_cast<size_t>(st.st_size) + 1, '\0');
  for (size_t done = 0;;) {
    if (done == contents.size()) contents.resize(done + 4096);
    const ssize_t got = ::read(file, &contents[done], contents.size() - done);
    Must(got >= 0, "read");
    done += static_cast<size_t>(got);
    if (got > 0) continue;
    contents.resize(done);
    return contents;
  }
}

inline std::string Read(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Must(file.get() >= 0, "open " + path);
  return ReadFrom(file.get());
}

inline void MakeFolder(const std::string& path, mode_t mode = 0755) {
  Must(::mkdir(path.c_str(), mode) == 0 && ::chmod(path.c_str(), mode) == 0, "make " + path);
}

inline void MakeLink(const std::string& target, const std::string& path) {
  Must(::symlink(target.c_str(), path.c_str()) == 0, "link " + path);
}

inline std::string LinkTarget(const std::string& path) {
  char target[4096];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof(target));
  Must(length >= 0, "read the link " + path);
  return std::string(target, static_cast<size_t>(length));
}

// A text for every entry below an open directory: its type, mode, times and contents, by its path from there.
inline void DescribeInto(int directory, const std::string& prefix, bool stat, std::map<std::string, std::string>* out) {
  for (const Entry& entry : EntriesOf(directory)) {
    struct stat st;
    Must(::fstatat(directory, entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0, "look at " + entry.name);
    std::ostringstream text;
    text << std::oct << (st.st_mode & S_IFMT) << std::dec;
    if (stat) text << " mode " << std::oct << (st.st_mode & 07777) << std::dec;
    if (stat) text << " time " << ModifiedOf(st).tv_sec << "." << ModifiedOf(st).tv_nsec;
    if (S_ISREG(st.st_mode)) {
      Descriptor file(::openat(directory, entry.name.c_str(), O_RDONLY | O_CLOEXEC));
      Must(file.get() >= 0, "open " + entry.name);
      text << " data " << ReadFrom(file.get());
    } else if (S_ISLNK(st.st_mode)) {
      char target[4096];
      const ssize_t length = ::readlinkat(directory, entry.name.c_str(), target, sizeof(target));
      Must(length >= 0, "read the link " + entry.name);
      text << " target " << std::string(target, static_cast<size_t>(length));
    }
    (*out)[prefix + entry.name] = text.str();
    if (!entry.directory) continue;
    Descriptor child(::openat(directory, entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Must(child.get() >= 0, "open " + entry.name);
    DescribeInto(child.get(), prefix + entry.name + "/", stat, out);
  }
}

// `stat`: with modes and times.
inline std::map<std::string, std::string> Describe(const std::string& path, bool stat = true) {
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Must(directory.get() >= 0, "open " + path);
  std::map<std::string, std::string> description;
  DescribeInto(directory.get(), "", stat, &description);
  return description;
}

// Tells which entries two trees do not have in common; "" when they are equal.
inline std::string Difference(const std::string& a, const std::string& b, bool stat = true) {
  const auto left = Describe(a, stat), right = Describe(b, stat);
  std::string difference;
  for (const auto& [path, text] : left) {
    const auto other = right.find(path);
    if (other == right.end()) {
      difference += "only in the first: " + path + "\n";
    } else if (other->second != text) {
      difference += path + ": " + text.substr(0, 80) + " | " + other->second.substr(0, 80) + "\n";
    }
  }
  for (const auto& [path, text] : right) {
    if (left.count(path) == 0) difference += "only in the second: " + path + "\n";
  }
  return difference;
}

// How many descriptors this process has; -1 when it cannot be found out.
inline int OpenDescriptors() {
  DIR* stream = ::opendir("/proc/self/fd");
  if (stream == nullptr) return -1;
  int count = 0;
  while (const struct dirent* entry = ::readdir(stream)) count += IsDots(entry->d_name) ? 0 : 1;
  ::closedir(stream);
  return count - 1;
}

// Runs `body` in a child process, with what it changes of the process staying there; its failed checks count here.
inline void InChild(const std::function<void()>& body) {
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = ::fork();
  Must(child >= 0, "fork");
  if (child == 0) {
    Failures() = 0;
    body();
    std::fflush(stdout);
    std::fflush(stderr);
    ::_exit(Failures() == 0 ? 0 : 1);
  }
  int result = 0;
  Must(::waitpid(child, &result, 0) == child, "wait for the child process");
  CHECK_EQUAL(WIFEXITED(result) ? WEXITSTATUS(result) : 1000 + WTERMSIG(result), 0);
}

constexpr uid_t kNobody = 65534;

// In a child process: goes on as a user whom permissions bind. False when that is not allowed.
inline bool BecomeNobody() {
  if (::getuid() != 0) return true;  // bound already
  return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
}

}  // namespace test
}  // namespace eacopy

#endif  // EACOPY_TESTS_FILES_H_
