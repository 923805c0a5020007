// Moving the data of a file: the ladder of methods, from a clone that shares extents down to read and write.
//
// Each method has its own list of errnos that mean "not here": the next one is tried from the offset that was reached,
// so nothing is copied twice and nothing is started over. The facts are from the man pages ioctl_ficlone(2),
// copy_file_range(2), sendfile(2), lseek(2), and from what other tools have met in the field.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <cstdlib>
#endif

#include "../monitor.h"
#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

// A clone is a metadata transaction on both files; below this size, moving the bytes is cheaper.
constexpr uint64_t kCloneMinimum = 64 * 1024;
// Read and write are fastest while the buffer stays in the processor's second-level cache: far fewer bytes cost calls,
// a few megabytes are more than twice as slow.
constexpr size_t kBuffer = 256 * 1024;
[[maybe_unused]] constexpr size_t kLargeBuffer = 1u << 20;
// From here on the larger buffer pays, and so do two threads: reading and writing overlap for some milliseconds.
constexpr uint64_t kSplitMinimum = 8u << 20;
constexpr uint64_t kPiece = 1u << 20;
constexpr uint64_t kMappedPiece = 4u << 20;

// The size of the pieces in which a long copy is done: large enough to cost few calls, small enough to cancel within
// a tenth of a second on a slow device.
class Pace {
 public:
  size_t piece() const { return piece_; }

  void Start() { start_ = std::chrono::steady_clock::now(); }
  void Stop() {
    const auto took = std::chrono::steady_clock::now() - start_;
    if (took < std::chrono::milliseconds(8)) {
      piece_ = std::min(piece_ * 2, kMaximum);
    } else if (took > std::chrono::milliseconds(30)) {
      piece_ = std::max(piece_ / 2, kMinimum);
    }
  }

 private:
  static constexpr size_t kMinimum = 64 * 1024;
  // glibc 2.41 and 2.42 return wrong values above 2 GiB, and a cancel must not wait for longer anyway.
  static constexpr size_t kMaximum = 64u << 20;
  size_t piece_ = 1u << 20;
  std::chrono::steady_clock::time_point start_;
};

#ifdef __linux__

// "This file system, kernel or sandbox does not do that": the next method is to be tried.
bool MeansUnsupportedClone(int error_number) {
  switch (error_number) {
    case EOPNOTSUPP:  // most file systems
    case ENOTTY:      // file systems without ioctls
    case ENOSYS:
    case EINVAL:   // not a regular file, or another layout (FUSE, swap files)
    case EBADF:    // append-only destination
    case EXDEV:    // another file system, btrfs subvolume mount or ZFS dataset
    case ETXTBSY:  // swap file
    case EPERM:    // immutable, or forbidden by seccomp
    case EACCES:   // fuse-overlayfs, SELinux
      return true;
    default:
      return false;  // EIO, ENOSPC, ENOMEM…: coreutils has seen corruption after going on from these
  }
}

// Before Linux 5.3 copy_file_range answers 0 on some network file systems although there is data.
bool KernelHasCopyFileRange() {
  static const bool good = [] {
    struct utsname name;
    if (::uname(&name) != 0) return false;
    char* rest = nullptr;
    const long major = std::strtol(name.release, &rest, 10);
    const long minor = *rest == '.' ? std::strtol(rest + 1, nullptr, 10) : 0;
    return major > 5 || (major == 5 && minor >= 3);
  }();
  return good;
}

// How a file system takes data in.
enum class Nature {
  kUnknown,  // it may have something better than read and write: server-side copy, sharing of extents
  kDisk,     // copies page by page; what it can clone was cloned before. Read and write do it faster
  kMemory,   // the same, and most of the time goes into getting pages, under the lock that a write holds
};

Nature NatureOf(int descriptor) {
  struct statfs fs;
  if (::fstatfs(descriptor, &fs) != 0) return Nature::kUnknown;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case 0x01021994:  // tmpfs
    case 0x858458f6:  // ramfs
      return Nature::kMemory;
    case 0xef53:      // ext2, ext3, ext4
    case 0x58465342:  // XFS
      return Nature::kDisk;
    default:
      return Nature::kUnknown;
  }
}

#endif  // __linux__

// Whether a file takes less room than it has bytes because there are holes in it.
bool HasHoles(const FileInfo& info) {
#ifdef __APPLE__
  // A compressed file, or one that is still in the cloud, has nothing but a hole where its data seem to be.
  if ((info.flags & (UF_COMPRESSED | SF_DATALESS)) != 0) return false;
#endif
  return info.allocated + info.block_size < info.size;
}

class DataCopier {
 public:
  explicit DataCopier(const DataRequest& request)
      : request_(request), source_(request.source.get()), destination_(request.destination.get()) {}

  Status Run(Method* method, uint64_t* size);

 private:
  // One call of a method: how far it came, and whether the method is to be left for the next one.
  struct Step {
    Status status;
    uint64_t moved = 0;
    bool next_method = false;
  };

  Status CopyStream(uint64_t offset, uint64_t* end);
  bool Clone(Status* status, uint64_t* size);
  Status CopyExtents(uint64_t size, uint64_t* end);
  Status CopyRange(uint64_t begin, uint64_t end, Scratch& scratch, uint64_t* reached);
  Status CopyRangeInParallel(uint64_t begin, uint64_t end, uint64_t* reached);
  Status ReadWrite(uint64_t offset, uint64_t length, Scratch& scratch, uint64_t* moved);
  Status CopyRangeByMapping(uint64_t begin, uint64_t end, Scratch& scratch, uint64_t* reached);
  Status SetSize(uint64_t size);
  void Choose();
  void Note(Method method) { method_.store(method, std::memory_order_relaxed); }
#ifdef __linux__
  Step CopyFileRange(uint64_t offset, size_t length);
  Step Sendfile(uint64_t offset, size_t length);
#endif

  const DataRequest& request_;
  const int source_;
  const int destination_;
  bool in_memory_ = false;  // the destination is a tmpfs
  int clone_refusal_ = EOPNOTSUPP;
  size_t buffer_size_ = kBuffer;
  // Where on the ladder we are. Threads that share a file share the discovery that a method does not work.
  std::atomic<Method> method_{Method::kReadWrite};
};

Status DataCopier::ReadWrite(uint64_t offset, uint64_t length, Scratch& scratch, uint64_t* moved) {
  size_t room = 0;
  const uint64_t wanted = std::min<uint64_t>({length, request_.options.buffer_size, buffer_size_});
  char* buffer = scratch.Buffer(static_cast<size_t>(wanted), &room);
  *moved = 0;
  const ssize_t got = Uninterrupted([&] { return ::pread(source_, buffer, room, static_cast<off_t>(offset)); });
  if (got < 0) return LastError(Operation::kRead, offset);
  for (ssize_t done = 0; done < got;) {
    const uint64_t at = offset + static_cast<uint64_t>(done);
    const ssize_t put = Uninterrupted(
        [&] { return ::pwrite(destination_, buffer + done, static_cast<size_t>(got - done), static_cast<off_t>(at)); });
    if (put < 0) return LastError(Operation::kWrite, at);
    if (put == 0) return Status::FromErrno(EIO, Operation::kWrite, at);
    done += put;
  }
  *moved = static_cast<uint64_t>(got);
  return Status();
}

// Reads and writes until there is nothing more: for files whose size says nothing (procfs), for devices and pipes, and
// for small files, where it is the fastest way.
Status DataCopier::CopyStream(uint64_t offset, uint64_t* end) {
  const bool by_offset =
      request_.source_info.type == FileType::kRegular &&
      (request_.destination_info == nullptr || request_.destination_info->type == FileType::kRegular);
  size_t room = 0;
  // A byte more than expected: a read that comes back short has seen the end, and needs no other to find it.
  const uint64_t expected = request_.source_info.size + 1;
  const uint64_t wanted = request_.source_info.size == 0 || !by_offset ? kBuffer : expected;
  const uint64_t most = std::min<uint64_t>(request_.options.buffer_size, kBuffer);
  char* buffer = request_.scratch.Buffer(static_cast<size_t>(std::min(wanted, most)), &room);
  for (;;) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    const size_t piece = static_cast<size_t>(request_.monitor.Admit(room));
    if (piece == 0) return Status::Cancelled();
    const ssize_t got = Uninterrupted([&] {
      return by_offset ? ::pread(source_, buffer, piece, static_cast<off_t>(offset)) : ::read(source_, buffer, piece);
    });
    if (got < 0) return LastError(Operation::kRead, offset);
    request_.monitor.GiveBack(piece - static_cast<size_t>(got));
    *end = offset;
    if (got == 0) return Status();
    for (ssize_t done = 0; done < got;) {
      const uint64_t at = offset + static_cast<uint64_t>(done);
      const size_t left = static_cast<size_t>(got - done);
      const ssize_t put = Uninterrupted([&] {
        return by_offset ? ::pwrite(destination_, buffer + done, left, static_cast<off_t>(at))
                         : ::write(destination_, buffer + done, left);
      });
      if (put < 0) return LastError(Operation::kWrite, at);
      if (put == 0) return Status::FromErrno(EIO, Operation::kWrite, at);
      done += put;
    }
    offset += static_cast<uint64_t>(got);
    *end = offset;
    request_.monitor.Advance(static_cast<uint64_t>(got));
    const bool size_is_true = by_offset && request_.source_info.size != 0;
    if (size_is_true && static_cast<size_t>(got) < piece && offset >= request_.source_info.size) return Status();
  }
}

#ifdef __linux__

bool DataCopier::Clone(Status* status, uint64_t* size) {
  const uint64_t wanted = request_.source_info.size;
  const bool has_tail = request_.destination_info != nullptr && request_.destination_info->size > wanted;
  auto clone = [&] { return Uninterrupted([&] { return ::ioctl(destination_, FICLONE, source_); }) == 0; };
  bool cloned = clone();
  if (!cloned && errno == EINVAL && has_tail) {
    // An end that is no multiple of the file system's block cannot lie in the middle of a file.
    *status = SetSize(wanted);
    if (!status->ok()) return true;
    cloned = clone();
  }
  if (!cloned) {
    clone_refusal_ = errno;
    if (MeansUnsupportedClone(errno)) return false;
    *status = LastError(Operation::kClone);
    return true;
  }
  // The source may have been written to since it was looked at: what counts is what was cloned. A file system that says
  // yes and does nothing is found out by the size.
  struct stat source, destination;
  if (::fstat(source_, &source) != 0 || ::fstat(destination_, &destination) != 0) {
    *status = LastError(Operation::kClone);
    return true;
  }
  *size = static_cast<uint64_t>(destination.st_size);
  if (has_tail) {
    *size = wanted;
    *status = SetSize(wanted);
    if (!status->ok()) return true;
  } else if (*size != wanted && destination.st_size != source.st_size) {
    clone_refusal_ = EOPNOTSUPP;
    return false;
  }
  Note(Method::kClone);
  request_.monitor.Advance(*size);
  return true;
}

DataCopier::Step DataCopier::CopyFileRange(uint64_t offset, size_t length) {
  Step step;
  off_t from = static_cast<off_t>(offset);
  off_t to = from;
  const ssize_t moved = Uninterrupted([&] { return ::copy_file_range(source_, &from, destination_, &to, length, 0); });
  if (moved > 0) {
    step.moved = static_cast<uint64_t>(moved);
    return step;
  }
  // 0 is the end of the file, or a file system that does not know (procfs, some overlays): reading will tell which.
  if (moved == 0) {
    step.next_method = true;
    return step;
  }
  switch (errno) {
    case ENOSPC:
    case EDQUOT:
      step.status = LastError(Operation::kCopy, offset);
      break;
    case ENOSYS:  // seccomp in old containers
    case ENOTTY:
    case EOPNOTSUPP:  // NFS servers without server-side copy
    case EINVAL:
    case EBADF:    // append-mode destination
    case EXDEV:    // kernels up to 5.2 and from 5.19 on
    case ETXTBSY:  // swap file
    case EPERM:    // seccomp, immutable destination, CIFS
    case EACCES:   // fuse-overlayfs
    case EIO:      // CIFS says so for "not supported"; a real one comes again when reading
    case ENOENT:   // CIFS
    case EOVERFLOW:
    case EFBIG:
    default:  // whatever it is, reading and writing from this offset finds it again and can name its side
      step.next_method = true;
      break;
  }
  return step;
}

DataCopier::Step DataCopier::Sendfile(uint64_t offset, size_t length) {
  Step step;
  // It writes at the destination's own position.
  if (::lseek(destination_, static_cast<off_t>(offset), SEEK_SET) < 0) {
    step.next_method = true;
    return step;
  }
  off_t from = static_cast<off_t>(offset);
  const size_t most = 0x7ffff000;  // sendfile(2)
  const ssize_t moved = Uninterrupted([&] { return ::sendfile(destination_, source_, &from, std::min(length, most)); });
  if (moved > 0) {
    step.moved = static_cast<uint64_t>(moved);
  } else if (moved < 0 && (errno == ENOSPC || errno == EDQUOT)) {
    step.status = LastError(Operation::kCopy, offset);
  } else {
    step.next_method = true;  // EINVAL (procfs, append mode), ENOSYS or EPERM (seccomp), or the end
  }
  return step;
}

void DataCopier::Choose() {
  const Nature nature = NatureOf(destination_);
  in_memory_ = nature == Nature::kMemory;
  if (request_.source_info.size >= kSplitMinimum && !in_memory_) buffer_size_ = kLargeBuffer;
  if (nature != Nature::kUnknown && request_.options.reflink != Reflink::kAlways) {
    Note(Method::kReadWrite);
  } else if (request_.options.reflink == Reflink::kNever || !KernelHasCopyFileRange()) {
    Note(Method::kSendfile);  // copy_file_range may clone without being asked to
  } else {
    Note(Method::kCopyFileRange);
  }
}

#else

bool DataCopier::Clone(Status* /*status*/, uint64_t* /*size*/) { return false; }

void DataCopier::Choose() { Note(Method::kReadWrite); }

#endif

// Copies [begin, end) by the current method and, when that gives up, the next. *reached < end: the source ends there.
Status DataCopier::CopyRange(uint64_t begin, uint64_t end, Scratch& scratch, uint64_t* reached) {
  [[maybe_unused]] Pace pace;
  uint64_t offset = begin;
  *reached = begin;
  while (offset < end) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    uint64_t moved = 0;
    const Method method = method_.load(std::memory_order_relaxed);
#ifdef __linux__
    if (method == Method::kCopyFileRange || method == Method::kSendfile) {
      const size_t length = static_cast<size_t>(request_.monitor.Admit(std::min<uint64_t>(pace.piece(), end - offset)));
      if (length == 0) return Status::Cancelled();
      pace.Start();
      Step step = method == Method::kCopyFileRange ? CopyFileRange(offset, length) : Sendfile(offset, length);
      pace.Stop();
      if (!step.status.ok()) return step.status;
      request_.monitor.GiveBack(length - step.moved);
      if (step.next_method) {
        Note(method == Method::kCopyFileRange ? Method::kSendfile : Method::kReadWrite);
        continue;
      }
      moved = step.moved;
    } else
#endif
    {
      (void)method;
      const uint64_t length = request_.monitor.Admit(end - offset);
      if (length == 0) return Status::Cancelled();
      Status status = ReadWrite(offset, length, scratch, &moved);
      if (!status.ok()) return status;
      request_.monitor.GiveBack(length - moved);
      if (moved == 0) return Status();  // the source shrank
    }
    offset += moved;
    *reached = offset;
    request_.monitor.Advance(moved);
  }
  return Status();
}

// Reads straight into a mapping of the destination: on a tmpfs, page faults take pages without the lock that write()
// holds, so that this and CopyRange get along in two threads where two writers would wait for each other. The kernel
// writes to the mapping, so a full file system is EFAULT here, not a signal; write() then gives the true error.
Status DataCopier::CopyRangeByMapping(uint64_t begin, uint64_t end, Scratch& scratch, uint64_t* reached) {
  const size_t length = static_cast<size_t>(end - begin);
  void* memory = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, destination_, static_cast<off_t>(begin));
  if (memory == MAP_FAILED) return CopyRange(begin, end, scratch, reached);
  auto unmap = [length](void* m) { ::munmap(m, length); };
  std::unique_ptr<void, decltype(unmap)> mapping(memory, unmap);
  *reached = begin;
  while (*reached < end) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    const uint64_t offset = *reached;
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(end - offset, kPiece));
    char* target = static_cast<char*>(memory) + (offset - begin);
    const ssize_t got = Uninterrupted([&] { return ::pread(source_, target, wanted, static_cast<off_t>(offset)); });
    if (got < 0 && errno == EFAULT) return CopyRange(offset, end, scratch, reached);
    if (got < 0) return LastError(Operation::kRead, offset);
    if (got == 0) return Status();  // the source shrank
    *reached += static_cast<uint64_t>(got);
    request_.monitor.Advance(static_cast<uint64_t>(got));
  }
  return Status();
}

// Several threads take pieces in turn, so that one reads while another writes: a file system lets only one write to a
// file at a time, but copying out of the source's pages needs no such lock.
Status DataCopier::CopyRangeInParallel(uint64_t begin, uint64_t end, uint64_t* reached) {
  const bool map = in_memory_ && request_.destination_info == nullptr;
  const uint64_t piece_size = map ? kMappedPiece : kPiece;
  // The last piece comes when all others are there: a copy that is killed must not look complete by its size.
  const uint64_t last = begin + (end - 1 - begin) / piece_size * piece_size;
  std::mutex mutex;
  uint64_t next = begin;
  Status first_error;
  uint64_t seen_end = end;
  bool stop = false;
  // The next piece. The destination is made large enough for a mapping, but not larger.
  auto take = [&](uint64_t* piece) {
    std::lock_guard<std::mutex> lock(mutex);
    if (stop || next >= last) return false;
    *piece = next;
    next += piece_size;
    if (!map) return true;
    Status status = SetSize(next);
    if (!status.ok()) first_error = status;
    stop = !status.ok();
    return !stop;
  };
  auto work = [&](Scratch& scratch, bool by_mapping) {
    for (uint64_t piece = 0; take(&piece);) {
      uint64_t piece_reached = piece;
      Status status = by_mapping ? CopyRangeByMapping(piece, piece + piece_size, scratch, &piece_reached)
                                 : CopyRange(piece, piece + piece_size, scratch, &piece_reached);
      if (status.ok() && piece_reached == piece + piece_size) continue;
      std::lock_guard<std::mutex> lock(mutex);
      if (!status.ok() && first_error.ok()) first_error = status;
      if (status.ok()) seen_end = std::min(seen_end, piece_reached);
      stop = true;
    }
  };
  std::vector<std::thread> helpers;
  // A third thread finds the lock taken.
  const uint64_t wanted = std::min<uint64_t>(request_.thread_count, 2);
  for (uint64_t i = 1; i < wanted; ++i) {
    try {
      helpers.emplace_back([&work, map] {
        auto scratch = std::make_unique<Scratch>();
        work(*scratch, map);
      });
    } catch (const std::system_error&) {
      break;  // then this thread does it alone
    }
  }
  work(request_.scratch, false);
  for (std::thread& helper : helpers) helper.join();
  *reached = seen_end;
  if (stop) return first_error;
  return CopyRange(last, end, request_.scratch, reached);
}

// Copies the stretches with data and leaves the holes between them.
Status DataCopier::CopyExtents(uint64_t size, uint64_t* end) {
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
  uint64_t offset = 0;
  *end = size;
  while (offset < size) {
    if (request_.monitor.cancelled()) return Status::Cancelled();
    const off_t data = ::lseek(source_, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) {  // only a hole is left, or the source shrank
      request_.monitor.Advance(size - offset);
      break;
    }
    off_t hole = data < 0 ? -1 : ::lseek(source_, data, SEEK_HOLE);
    uint64_t data_begin = static_cast<uint64_t>(data);
    uint64_t data_end = static_cast<uint64_t>(hole);
    if (data < 0 || hole < 0 || data_begin < offset || data_end <= data_begin) {
      // Not supported here, or the file changes under us: the rest is copied as data, which always advances.
      data_begin = offset;
      data_end = size;
    }
    data_begin = std::min(data_begin, size);
    data_end = std::min(data_end, size);
    request_.monitor.Advance(data_begin - offset);
    uint64_t reached = data_begin;
    Status status = CopyRange(data_begin, data_end, request_.scratch, &reached);
    if (!status.ok()) return status;
    if (reached < data_end) {
      *end = reached;
      return Status();
    }
    offset = data_end;
  }
  // A source that shrank meanwhile ends where it ends now; zeros must not stand in for what was cut off.
  struct stat st;
  if (::fstat(source_, &st) == 0) *end = std::min<uint64_t>(*end, static_cast<uint64_t>(st.st_size));
  return Status();
#else
  return CopyRange(0, size, request_.scratch, end);
#endif
}

Status DataCopier::SetSize(uint64_t size) {
  if (Uninterrupted([&] { return ::ftruncate(destination_, static_cast<off_t>(size)); }) == 0) return Status();
  const int error_number = errno;
  struct stat st;
  // Some FUSE file systems refuse with EACCES; that matters only when the size is not right already.
  if (::fstat(destination_, &st) == 0 && static_cast<uint64_t>(st.st_size) == size) return Status();
  return Status::FromErrno(error_number, Operation::kTruncate, size);
}

Status DataCopier::Run(Method* method, uint64_t* size) {
  const FileInfo& info = request_.source_info;
  const bool regular = info.type == FileType::kRegular &&
                       (request_.destination_info == nullptr || request_.destination_info->type == FileType::kRegular);
  const Reflink reflink = request_.options.reflink;
  *method = Method::kReadWrite;
  *size = 0;
  // Of a destination that could not be truncated, or was not for the sake of a clone.
  const uint64_t old_size =
      request_.destination_info != nullptr && request_.destination_info->type == FileType::kRegular
          ? request_.destination_info->size
          : 0;
  const bool worth_cloning = info.size >= kCloneMinimum && old_size == 0;
  if (regular && reflink != Reflink::kNever && (worth_cloning || reflink == Reflink::kAlways)) {
    Status status;
    if (Clone(&status, size)) {
      *method = method_.load(std::memory_order_relaxed);
      return status;
    }
    if (reflink == Reflink::kAlways && info.size != 0) return Status::Unsupported(clone_refusal_, Operation::kClone);
  }
  // What was there before must not show through the holes.
  const bool sparse = regular && old_size == 0 && HasHoles(info);
  if (!regular || info.size == 0 || (info.size < kBuffer && !sparse)) {
    Status status = CopyStream(0, size);
    // What was there before may have been longer, where it could not be truncated.
    return status.ok() && old_size > *size ? SetSize(*size) : status;
  }
  Choose();
  Status status;
  if (sparse) {
    status = CopyExtents(info.size, size);
  } else if (request_.thread_count > 1 && info.size >= kSplitMinimum && method_ == Method::kReadWrite &&
             !request_.monitor.limited()) {
    status = CopyRangeInParallel(0, info.size, size);
  } else {
    status = CopyRange(0, info.size, request_.scratch, size);
  }
  if (!status.ok()) return status;
  // What was appended meanwhile belongs to the file, up to where it ends now; not what is appended during that, or a
  // log that grows faster than it is copied would never end.
  struct stat st;
  if (*size == info.size && ::fstat(source_, &st) == 0 && static_cast<uint64_t>(st.st_size) > info.size) {
    status = CopyRange(info.size, static_cast<uint64_t>(st.st_size), request_.scratch, size);
    if (!status.ok()) return status;
  }
  *method = method_.load(std::memory_order_relaxed);
  const bool size_is_right = !sparse && *size >= info.size && old_size <= *size;
  return size_is_right ? Status() : SetSize(*size);
}

// The offset at which two files differ, or -1.
int64_t FirstDifference(const char* a, const char* b, size_t size, uint64_t offset) {
  if (std::memcmp(a, b, size) == 0) return -1;
  return static_cast<int64_t>(offset) + (std::mismatch(a, a + size, b).first - a);
}

// As many bytes as there are, up to `size`.
ssize_t ReadFully(int file, char* buffer, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        Uninterrupted([&] { return ::pread(file, buffer + done, size - done, static_cast<off_t>(offset + done)); });
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

}  // namespace

Status CopyData(const DataRequest& request, Method* method, uint64_t* size) {
  return DataCopier(request).Run(method, size);
}

Status CompareData(const Handle& source, const Handle& destination, bool from_device, Scratch& scratch,
                   Monitor& monitor) {
  if (from_device) DropCached(destination);
  size_t room = 0;
  char* buffer = scratch.Buffer(2 * kBuffer, &room);
  const size_t half = room / 2;
  for (uint64_t offset = 0;; offset += half) {
    if (monitor.cancelled()) return Status::Cancelled();
    const ssize_t a = ReadFully(source.get(), buffer, half, offset);
    if (a < 0) return LastError(Operation::kRead, offset);
    const ssize_t b = ReadFully(destination.get(), buffer + half, half, offset);
    if (b < 0) return LastError(Operation::kVerify, offset);
    const int64_t difference = FirstDifference(buffer, buffer + half, static_cast<size_t>(std::min(a, b)), offset);
    if (difference >= 0) return Status::FromErrno(0, Operation::kVerify, static_cast<uint64_t>(difference));
    if (a != b) return Status::FromErrno(0, Operation::kVerify, offset + static_cast<uint64_t>(std::min(a, b)));
    if (static_cast<size_t>(a) < half) return Status();
  }
}

}  // namespace platform
}  // namespace eacopy
