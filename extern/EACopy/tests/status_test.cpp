// Which errno in which operation is what kind of failure, and what a Status remembers.

#include "eacopy/status.h"

#include <cerrno>

#include "check.h"

using eacopy::Classify;
using eacopy::DestinationState;
using eacopy::Kind;
using eacopy::Operation;
using eacopy::Status;

namespace {

constexpr int kOperations = static_cast<int>(Operation::kReadPatch) + 1;

struct Row {
  int error_number;
  Operation operation;
  Kind kind;
};

// What a caller acts on: the rows that the public documentation of the kinds promises.
const Row kTable[] = {
    {ENOENT, Operation::kOpenSource, Kind::kFileNotFound},
    {ENOENT, Operation::kStat, Kind::kFileNotFound},
    {ENOENT, Operation::kReadLink, Kind::kFileNotFound},
    {ENOENT, Operation::kOpenDestination, Kind::kDirectoryNotFound},
    {ENOENT, Operation::kListDirectory, Kind::kDirectoryNotFound},
    {ENOENT, Operation::kMakeDirectory, Kind::kDirectoryNotFound},
    {ENOENT, Operation::kMakeLink, Kind::kDirectoryNotFound},
    {ENOENT, Operation::kRename, Kind::kDirectoryNotFound},
    {EACCES, Operation::kOpenSource, Kind::kPermissionDenied},
    {EPERM, Operation::kSetMode, Kind::kPermissionDenied},
    {EROFS, Operation::kOpenDestination, Kind::kPermissionDenied},
    {EEXIST, Operation::kMakeDirectory, Kind::kDestinationExists},
    {EEXIST, Operation::kMakeLink, Kind::kDestinationExists},
    {ENOTEMPTY, Operation::kRename, Kind::kDestinationExists},
    {EISDIR, Operation::kOpenDestination, Kind::kDestinationExists},
    {EISDIR, Operation::kOpenSource, Kind::kInvalidArgument},
    {EISDIR, Operation::kRead, Kind::kInvalidArgument},
    {ENOTDIR, Operation::kListDirectory, Kind::kPath},
    {ENAMETOOLONG, Operation::kOpenDestination, Kind::kPath},
    {ELOOP, Operation::kOpenSource, Kind::kPath},
    {ENOSPC, Operation::kWrite, Kind::kDiskFull},
    {ENOSPC, Operation::kMakeDirectory, Kind::kDiskFull},
#ifdef EDQUOT
    {EDQUOT, Operation::kCopy, Kind::kDiskFull},
#endif
    {EFBIG, Operation::kWrite, Kind::kFileTooLarge},
    {EFBIG, Operation::kTruncate, Kind::kFileTooLarge},
    {ETIMEDOUT, Operation::kRead, Kind::kTimeout},
    {EINTR, Operation::kRead, Kind::kInterrupted},
    {ECANCELED, Operation::kNone, Kind::kInterrupted},
    {EILSEQ, Operation::kOpenDestination, Kind::kEncoding},
    {ENOSYS, Operation::kClone, Kind::kUnsupported},
    {EOPNOTSUPP, Operation::kClone, Kind::kUnsupported},
    {ENOTSUP, Operation::kSetAttributes, Kind::kUnsupported},
    {ECONNRESET, Operation::kRead, Kind::kNetwork},
#ifdef ESTALE
    {ESTALE, Operation::kOpenSource, Kind::kNetwork},
#endif
    {EHOSTUNREACH, Operation::kWrite, Kind::kNetwork},
    {EIO, Operation::kRead, Kind::kReadError},
    {EIO, Operation::kWrite, Kind::kWriteError},
    {EIO, Operation::kCopy, Kind::kWriteError},
    {EIO, Operation::kClone, Kind::kWriteError},
    {EIO, Operation::kTruncate, Kind::kWriteError},
    {EIO, Operation::kSync, Kind::kWriteError},
    {EIO, Operation::kClose, Kind::kWriteError},
    {EIO, Operation::kStat, Kind::kIo},
    {EIO, Operation::kListDirectory, Kind::kIo},
    {EMFILE, Operation::kOpenSource, Kind::kIo},
    {ENXIO, Operation::kOpenSource, Kind::kIo},
    {0, Operation::kSameFile, Kind::kInvalidArgument},
    {0, Operation::kSpecialFile, Kind::kInvalidArgument},
    {0, Operation::kVerify, Kind::kIo},
    {0, Operation::kNone, Kind::kUnknown},
};

}  // namespace

TEST(ErrnoAndOperationDecideTheKind) {
  for (const Row& row : kTable) {
    const Kind kind = Classify(row.error_number, row.operation);
    if (kind == row.kind) continue;
    std::fprintf(stderr, "errno %d in operation %d\n", row.error_number, static_cast<int>(row.operation));
    CHECK_EQUAL(static_cast<int>(kind), static_cast<int>(row.kind));
  }
}

TEST(NoFailureIsEverTakenForSuccess) {
  for (int error_number = 0; error_number < 1000; ++error_number) {
    for (int operation = 0; operation < kOperations; ++operation) {
      const Status status = Status::FromErrno(error_number, static_cast<Operation>(operation));
      if (status.ok()) std::fprintf(stderr, "errno %d in operation %d\n", error_number, operation);
      CHECK(!status.ok());
    }
  }
}

TEST(OnlyWhatStopsAJobCountsAsCancelled) {
  for (int error_number = 0; error_number < 1000; ++error_number) {
    CHECK(!Status::FromErrno(error_number, Operation::kRead).cancelled());  // not even EINTR: nobody asked to stop
  }
  CHECK(Status::Cancelled().cancelled());
}

TEST(DefaultStatusIsSuccess) {
  const Status status;
  CHECK(status.ok());
  CHECK(!status.cancelled());
  CHECK_EQUAL(status.error_number(), 0);
}

TEST(StatusRemembersWhatItWasMadeOf) {
  Status status = Status::FromErrno(ENOSPC, Operation::kWrite, uint64_t{5} << 40);
  status.set_space(100, 7);
  status.set_destination_state(DestinationState::kPartial);
  CHECK(status.operation() == Operation::kWrite);
  CHECK_EQUAL(status.error_number(), ENOSPC);
  CHECK_EQUAL(status.offset(), uint64_t{5} << 40);
  CHECK_EQUAL(status.size(), 100u);
  CHECK_EQUAL(status.available(), 7u);
  CHECK(status.destination_state() == DestinationState::kPartial);
}

TEST(OnlyWhatMayPassIsRetried) {
  CHECK(Status::FromErrno(EIO, Operation::kRead).retryable());
  CHECK(Status::FromErrno(EACCES, Operation::kOpenSource).retryable());
  CHECK(Status::FromErrno(ENOSPC, Operation::kWrite).retryable());
  CHECK(!Status::Cancelled().retryable());
  CHECK(!Status::FromErrno(0, Operation::kSameFile).retryable());
  CHECK(!Status::FromErrno(0, Operation::kSpecialFile).retryable());
  CHECK(!Status::FromErrno(EISDIR, Operation::kOpenSource).retryable());
}
