// Options: how a job copies. A plain value that is fixed when the job is made.
#ifndef EACOPY_OPTIONS_H_
#define EACOPY_OPTIONS_H_

#include <cstdint>

namespace eacopy {

// What is kept of a file beside its data. The values are those of enum eac_metadata.
enum class Metadata : uint8_t {
  kNone = 0,
  kMode = 1,
  kStat = 2,  // mode, times, extended attributes, flags
};

enum class Reflink : uint8_t { kAuto = 0, kAlways = 1, kNever = 2 };

// What to do about a file that fails.
enum class Strategy : uint8_t { kRaise = 0, kRetry = 1, kIgnore = 2 };

// How the data of a file was moved. The values are those of enum eac_method.
enum class Method : uint8_t { kClone = 0, kCopyFileRange = 1, kSendfile = 2, kReadWrite = 3, kSystem = 4 };
constexpr int kMethodCount = 5;

struct Options {
  uint64_t buffer_size = 8u << 20;  // most bytes that one read or write moves
  double retry_delay = 1.0;         // seconds
  uint64_t bandwidth_limit = 0;     // bytes a second that all workers write together; 0: no limit
  uint32_t retry_count = 3;         // further tries under Strategy::kRetry
  uint32_t thread_count = 4;
  Metadata metadata = Metadata::kStat;
  Reflink reflink = Reflink::kAuto;
  Strategy strategy = Strategy::kRaise;
  bool follow_symlinks = true;
  bool ignore_dangling_symlinks = false;
  bool dirs_exist_ok = false;
  bool into_directory = false;  // a destination that is a directory takes the file in
  bool atomic = false;
  bool fsync = false;
  bool verify = false;
  bool want_progress = false;
  bool want_filter = false;
};

}  // namespace eacopy

#endif  // EACOPY_OPTIONS_H_
