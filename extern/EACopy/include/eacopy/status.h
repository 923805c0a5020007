// Status: the result of every engine function that can fail.
//
// A Status is a small value without memory of its own. The paths that belong to it are added where a failure is
// recorded (see job.h), because only the caller knows how the user would write them.
#ifndef EACOPY_STATUS_H_
#define EACOPY_STATUS_H_

#include <cstdint>

namespace eacopy {

// What went wrong, in the words a caller acts on. The values are those of enum eac_kind.
enum class Kind : uint8_t {
  kOk = 0,
  kIo = 1,
  kFfi = 2,
  kPath = 3,
  kFileNotFound = 4,
  kDirectoryNotFound = 5,
  kPermissionDenied = 6,
  kDestinationExists = 7,
  kInvalidArgument = 8,
  kNetwork = 9,
  kTimeout = 10,
  kEncoding = 11,
  kPython = 12,
  kFileTooLarge = 13,
  kDiskFull = 14,
  kReadError = 15,
  kWriteError = 16,
  kInterrupted = 17,
  kServer = 18,
  kClient = 19,
  kDeltaCopy = 20,
  kUnsupported = 21,
  kConfiguration = 22,
  kUnknown = 23,
};

// What was being done. The values are those of enum eac_operation.
enum class Operation : uint8_t {
  kNone = 0,
  kOpenSource = 1,
  kOpenDestination = 2,
  kRead = 3,
  kWrite = 4,
  kClone = 5,
  kCopy = 6,
  kTruncate = 7,
  kSync = 8,
  kClose = 9,
  kRename = 10,
  kSetMode = 11,
  kSetTimes = 12,
  kSetAttributes = 13,
  kListDirectory = 14,
  kMakeDirectory = 15,
  kReadLink = 16,
  kMakeLink = 17,
  kRemove = 18,
  kStat = 19,
  kVerify = 20,
  kSameFile = 21,
  kSpecialFile = 22,
  kStart = 23,
  kConnect = 24,        // reaching a server, and agreeing on a version: nothing was begun
  kAuthenticate = 25,   // proving a token or the security file
  kSend = 26,           // to the peer
  kReceive = 27,        // from the peer: also when it sends what the protocol does not know
  kListen = 28,         // a server's address
  kOpenReference = 29,  // of a delta
  kReadReference = 30,
  kReadPatch = 31,
};

// What a failed or stopped copy left at its destination; unknown: that is on a server. The values are those of enum
// eac_destination.
enum class DestinationState : uint8_t { kAbsent = 0, kOld = 1, kPartial = 2, kUnknown = 3 };

// The kind for an errno met in an operation; 0 stands for a failure that the operating system did not report.
Kind Classify(int error_number, Operation operation);

class Status {
 public:
  // Success.
  Status() = default;

  // A failed system call. `offset` tells where in the file, for reading and writing.
  static Status FromErrno(int error_number, Operation operation, uint64_t offset = 0);

  // What was asked for cannot be had here; `error_number` is how the system said so.
  static Status Unsupported(int error_number, Operation operation);

  // A failure that was classified elsewhere: by the peer, or because no errno says it.
  static Status Of(Kind kind, Operation operation, int error_number = 0, uint64_t offset = 0);

  // The job was cancelled.
  static Status Cancelled();

  bool ok() const { return kind_ == Kind::kOk; }
  bool cancelled() const { return cancelled_; }
  // Whether another try may succeed: not for what is wrong with the request itself.
  bool retryable() const;

  Kind kind() const { return kind_; }
  Operation operation() const { return operation_; }
  int error_number() const { return error_number_; }
  uint64_t offset() const { return offset_; }
  DestinationState destination_state() const { return destination_state_; }
  // DISK_FULL: bytes needed; FILE_TOO_LARGE: the file's size.
  uint64_t size() const { return size_; }
  // DISK_FULL: bytes that were free.
  uint64_t available() const { return available_; }

  void set_destination_state(DestinationState state) { destination_state_ = state; }
  void set_space(uint64_t size, uint64_t available) {
    size_ = size;
    available_ = available;
  }

 private:
  Kind kind_ = Kind::kOk;
  bool cancelled_ = false;  // by the caller; a system call that a signal interrupted is a failure
  Operation operation_ = Operation::kNone;
  DestinationState destination_state_ = DestinationState::kAbsent;
  int error_number_ = 0;
  uint64_t offset_ = 0;
  uint64_t size_ = 0;
  uint64_t available_ = 0;
};

}  // namespace eacopy

#endif  // EACOPY_STATUS_H_
