// What the engine asks of an operating system. One implementation in posix/ (Linux, macOS, the BSDs), one in windows/.
//
// Everything works on handles: a name is always looked up in an open directory, so that a directory which is swapped
// for a link while a tree is walked leads nowhere, and so that paths may be longer than the system's limit.
// Names and paths are the file system's own bytes on POSIX and UTF-8 (WTF-8 for lone surrogates) on Windows.
#ifndef EACOPY_SOURCE_PLATFORM_H_
#define EACOPY_SOURCE_PLATFORM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "eacopy/options.h"
#include "eacopy/status.h"

namespace eacopy {

class Monitor;

namespace platform {

#ifdef _WIN32
using NativeHandle = void*;  // HANDLE
constexpr char kSeparator = '\\';
#else
using NativeHandle = int;
constexpr char kSeparator = '/';
#endif

// Owns an open file or directory.
class Handle {
 public:
  Handle() = default;
  explicit Handle(NativeHandle native) : native_(native) {}
  Handle(Handle&& other) noexcept : native_(other.Release()) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      Close();
      native_ = other.Release();
    }
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { Close(); }

  bool valid() const { return native_ != Invalid(); }
  NativeHandle get() const { return native_; }
  // Closes; returns the errno of a close that failed (delayed write errors of network file systems), else 0.
  int Close();

  static NativeHandle Invalid();

 private:
  NativeHandle Release() {
    NativeHandle native = native_;
    native_ = Invalid();
    return native;
  }
  NativeHandle native_ = Invalid();
};

#ifdef _WIN32
inline NativeHandle Handle::Invalid() { return reinterpret_cast<NativeHandle>(static_cast<intptr_t>(-1)); }
#else
inline NativeHandle Handle::Invalid() { return -1; }
#endif

// An open directory, or the place from which plain paths are looked up.
class Directory {
 public:
  // Plain paths: relative ones start at the process's current directory.
  static const Directory& Paths();

  Directory() = default;
  explicit Directory(Handle handle) : handle_(static_cast<Handle&&>(handle)) {}

  bool valid() const { return handle_.valid(); }
  NativeHandle get() const { return handle_.get(); }
  void Close() { handle_.Close(); }

 private:
  Handle handle_;
};

enum class FileType : uint8_t { kUnknown, kRegular, kDirectory, kSymlink, kFifo, kSocket, kDevice };

// Names one file for as long as it is open, or remembered and compared.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileId& other) const { return device == other.device && inode == other.inode; }
};

struct Timestamp {
  int64_t seconds = 0;
  int32_t nanoseconds = 0;
};

// Nanoseconds: the finest step in which the system keeps times.
#ifdef _WIN32
constexpr int64_t kTimeStep = 100;
#else
constexpr int64_t kTimeStep = 1;
#endif

struct FileInfo {
  FileType type = FileType::kUnknown;
  uint32_t mode = 0;  // permission bits (07777); on Windows the file attributes
  uint32_t user = 0;  // its owner; not on Windows
  uint32_t group = 0;
  uint64_t links = 0;      // names that the file has
  uint64_t size = 0;       // bytes
  uint64_t allocated = 0;  // bytes on disk: less than `size` for a sparse file
  uint64_t block_size = 0;
  FileId id;
  Timestamp accessed;
  Timestamp modified;
  Timestamp changed;   // metadata included
  uint32_t flags = 0;  // st_flags where there are any
};

// The names of a directory, "." and ".." left out. One block of memory for all names.
class Listing {
 public:
  void Clear() {
    names_.clear();
    entries_.clear();
  }
  void Add(const char* name, size_t length, FileType type) {
    entries_.push_back({static_cast<uint32_t>(names_.size()), type});
    names_.append(name, length);
    names_.push_back('\0');
  }
  size_t size() const { return entries_.size(); }
  const char* name(size_t i) const { return names_.data() + entries_[i].offset; }
  FileType type(size_t i) const { return entries_[i].type; }
  // By their bytes.
  void Sort() {
    std::sort(entries_.begin(), entries_.end(), [this](const Entry& x, const Entry& y) {
      return std::strcmp(names_.data() + x.offset, names_.data() + y.offset) < 0;
    });
  }
  // All names, each ended by NUL; in the order in which they were added.
  const std::string& names() const { return names_; }

 private:
  struct Entry {
    uint32_t offset;
    FileType type;
  };
  std::string names_;
  std::vector<Entry> entries_;
};

// Whether names that differ in case only are names of two files, as a rule.
#ifdef _WIN32
constexpr bool kCaseCounts = false;
// A name as it is compared with others: in upper case.
std::string FoldCase(const std::string& name);
#else
constexpr bool kCaseCounts = true;
inline std::string FoldCase(const std::string& name) { return name; }
#endif

// Whether FileInfo::mode holds permission bits, which another machine knows as well; and whether all names that the
// protocol can say can be those of files.
#ifdef _WIN32
constexpr bool kHasModes = false;
constexpr bool kAnyNameIsPossible = false;
// Whether a single name, as another machine sent it, can be that of a file here, and of nothing else: not of a device
// or of one of a file's streams, and no path.
bool IsPossibleName(std::string_view name);
#else
constexpr bool kHasModes = true;
constexpr bool kAnyNameIsPossible = true;
inline bool IsPossibleName(std::string_view /*name*/) { return true; }
#endif

// Looking -------------------------------------------------------------------------------------------------------------

Status OpenDirectory(const Directory& parent, const char* name, bool follow, Directory* out);
// The directory above an open one.
Status OpenParent(const Directory& directory, Directory* out);
Status ListDirectory(const Directory& directory, Listing* out);
// The same of a directory that may have been listed before through this very handle.
Status ListAgain(const Directory& directory, Listing* out);
Status GetInfo(const Directory& parent, const char* name, bool follow, FileInfo* out);
Status GetInfo(const Handle& file, FileInfo* out);
Status GetInfo(const Directory& directory, FileInfo* out);
Status ReadLink(const Directory& parent, const char* name, std::string* target);
// An absolute path without ".", ".." and double separators, as far as names can tell, '/' between its names on every
// system.
std::string AbsolutePath(const std::string& path);
// An absolute path without links, '/' between its names on every system; false, with errno, when there is nothing.
bool RealPath(const std::string& path, std::string* out);

// Opening and making --------------------------------------------------------------------------------------------------

// Opens for reading and looks at what was opened. Never waits for a FIFO.
Status OpenSource(const Directory& parent, const char* name, bool follow, Handle* out, FileInfo* info);
// Creates a file that must not exist. `mode`: permission bits, subject to the umask.
Status CreateFile(const Directory& parent, const char* name, uint32_t mode, Handle* out);
// Creates a file that must not exist and that nobody but its owner may read.
Status CreateSecret(const Directory& parent, const char* name, Handle* out);
// Opens an existing file for writing (and reading), following links, without truncating it.
Status OpenExisting(const Directory& parent, const char* name, bool readable, Handle* out);
Status Truncate(const Handle& file, uint64_t size);
// Marks a temporary file as one that is being written, for as long as it is open: who clears up leaves it alone. False:
// somebody has taken it for dead already. True where files cannot be locked, too.
bool LockTemporary(const Handle& file);
// Another handle of the same open file, which keeps its lock when this one is closed. Not valid where that cannot be.
Handle Duplicate(const Handle& file);
// `mode`: permission bits, subject to the umask; not on Windows.
Status MakeDirectory(const Directory& parent, const char* name, uint32_t mode = 0777);
// Makes a link to `target`. `directory` matters on Windows only.
Status MakeSymlink(const std::string& target, const Directory& parent, const char* name, bool directory);
// Replaces `to` if it exists.
Status Rename(const Directory& parent, const char* from, const char* to);
Status RemoveFile(const Directory& parent, const char* name);

// Gives a file that is no directory, and no link, a further name that must not exist.
Status MakeHardLink(const Directory& from_parent, const char* from, const Directory& parent, const char* name);
// Removes an empty directory.
Status RemoveDirectory(const Directory& parent, const char* name);
// Removes a temporary file that nobody writes any more. False: it stays.
bool RemoveTemporaryIfDead(const Directory& parent, const char* name);

// Copying -------------------------------------------------------------------------------------------------------------

// Memory that a thread uses again for file after file. Large enough for small files without an allocation.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // At least `size` bytes; less, but never nothing, when memory is short.
  char* Buffer(size_t size, size_t* got) {
    if (size > sizeof(small_) && size > large_size_) {
      large_.reset(new (std::nothrow) char[size]);
      large_size_ = large_ ? size : 0;
    }
    const bool use_large = size > sizeof(small_) && large_size_ >= size;
    *got = use_large ? size : (size < sizeof(small_) ? size : sizeof(small_));
    return use_large ? large_.get() : small_;
  }

 private:
  alignas(64) char small_[64 * 1024];
  std::unique_ptr<char[]> large_;
  size_t large_size_ = 0;
};

struct DataRequest {
  const Handle& source;
  const FileInfo& source_info;
  const Handle& destination;
  const FileInfo* destination_info;  // null for a file that was just created
  const Options& options;
  uint32_t thread_count;  // how many threads may share this one file
  Scratch& scratch;
  Monitor& monitor;
};

// Copies all data of a file into an empty destination by the first method that works, and tells which it was and how
// many bytes there were.
Status CopyData(const DataRequest& request, Method* method, uint64_t* size);

// Wants the owner and group of files kept as well, and hears of what could not be kept for want of privilege or
// support.
class Archivist {
 public:
  virtual ~Archivist() = default;
  // `what`: "the owner", for example. Any thread may call this.
  virtual void Lose(const std::string& what) = 0;
};

// Gives the destination the mode (kMode) or the mode, times, extended attributes and flags (kStat) of the source. What
// the destination's file system does not know is left out. `mode_is_right`: the destination was created with this very
// mode. `archivist` may be null.
Status CopyMetadata(const Handle& source, const FileInfo& source_info, const Handle& destination, Metadata metadata,
                    bool mode_is_right, Archivist* archivist = nullptr);
Status CopyMetadata(const Directory& source, const FileInfo& source_info, const Directory& destination,
                    Metadata metadata = Metadata::kStat, Archivist* archivist = nullptr);
// The same for a symbolic link itself.
Status CopyLinkMetadata(const Directory& source_parent, const char* source_name, const FileInfo& source_info,
                        const Directory& destination_parent, const char* destination_name,
                        Archivist* archivist = nullptr);

struct Mending {
  bool mode = false;
  bool owner = false;
  bool times = false;
};

// Gives a file that is there the mode, the owner, or the times of `wanted`. `is`: what was seen there; another file
// that took its place meanwhile is left alone, and *done false.
Status Mend(const Directory& parent, const char* name, const FileInfo& is, const FileInfo& wanted, Mending mending,
            Archivist* archivist, bool* done);
// Sets the permission bits of an open file or directory; where there are none it does nothing.
Status SetMode(const Handle& file, uint32_t mode);
Status SetMode(const Directory& directory, uint32_t mode);
Status SetTimes(const Handle& file, const Timestamp& accessed, const Timestamp& modified);
Status SetTimes(const Directory& directory, const Timestamp& accessed, const Timestamp& modified);
// Of a symbolic link itself.
Status SetLinkTimes(const Directory& parent, const char* name, const Timestamp& accessed, const Timestamp& modified);
// Whether permissions do not matter to this process; always so on Windows, where there are none of this kind.
bool IsSuperuser();

// Reads both files and compares. kVerify with the offset of the first difference when there is one. `from_device`: the
// destination's cached pages are dropped first where that is possible.
Status CompareData(const Handle& source, const Handle& destination, bool from_device, Scratch& scratch,
                   Monitor& monitor);

Status Sync(const Handle& file);
// Has what is read next come from the device where that is possible; what was written is brought there first.
void DropCached(const Handle& file);
Status Sync(const Directory& directory);
// Free bytes for this user at the file system of an open file; 0 when unknown.
uint64_t FreeSpace(const Handle& file);

// The process --------------------------------------------------------------------------------------------------------

// The permission bits that new files do not get; all of them when that cannot be found out without changing it.
uint32_t Umask();
// How many more files this process may open, roughly.
size_t OpenFileBudget();
// Fills `data` with random bytes from the operating system.
void RandomBytes(void* data, size_t size);
// Comma-separated names. Static storage.
const char* Capabilities();

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_PLATFORM_H_
