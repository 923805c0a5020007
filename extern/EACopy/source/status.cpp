// Which errno means what; the one table behind the kinds of errors.

#include "eacopy/status.h"

#include <cerrno>

namespace eacopy {
namespace {

bool IsNetworkErrno(int error_number) {
  switch (error_number) {
#ifdef ENETDOWN
    case ENETDOWN:
#endif
    case ENETUNREACH:
    case ENETRESET:
    case ECONNABORTED:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
#ifdef ESHUTDOWN
    case ESHUTDOWN:
#endif
#ifdef EHOSTDOWN
    case EHOSTDOWN:
#endif
    case EHOSTUNREACH:
    case EPIPE:
#ifdef ESTALE
    case ESTALE:
#endif
#ifdef EREMOTEIO
    case EREMOTEIO:
#endif
#ifdef ENOLINK
    case ENOLINK:
#endif
#ifdef ECOMM
    case ECOMM:
#endif
      return true;
    default:
      return false;
  }
}

bool IsWriting(Operation operation) {
  switch (operation) {
    case Operation::kWrite:
    case Operation::kCopy:
    case Operation::kClone:
    case Operation::kTruncate:
    case Operation::kSync:
    case Operation::kClose:
      return true;
    default:
      return false;
  }
}

bool NeedsDirectory(Operation operation) {
  switch (operation) {
    case Operation::kOpenDestination:
    case Operation::kListDirectory:
    case Operation::kMakeDirectory:
    case Operation::kMakeLink:
    case Operation::kRename:
      return true;
    default:
      return false;
  }
}

}  // namespace

Kind Classify(int error_number, Operation operation) {
  if (operation == Operation::kSameFile || operation == Operation::kSpecialFile) return Kind::kInvalidArgument;
  if (operation == Operation::kVerify && error_number == 0) return Kind::kIo;
  if (IsNetworkErrno(error_number)) return Kind::kNetwork;
  switch (error_number) {
    case ENOENT:
      return NeedsDirectory(operation) ? Kind::kDirectoryNotFound : Kind::kFileNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return Kind::kPermissionDenied;
    case EEXIST:
#if ENOTEMPTY != EEXIST
    case ENOTEMPTY:
#endif
      return Kind::kDestinationExists;
    case EISDIR:
      return operation == Operation::kOpenSource || operation == Operation::kRead ? Kind::kInvalidArgument
                                                                                  : Kind::kDestinationExists;
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return Kind::kPath;
    case ENOSPC:
#ifdef EDQUOT
    case EDQUOT:
#endif
      return Kind::kDiskFull;
    case EFBIG:
      return Kind::kFileTooLarge;
    case ETIMEDOUT:
      return Kind::kTimeout;
    case EINTR:
    case ECANCELED:
      return Kind::kInterrupted;
    case EILSEQ:
      return Kind::kEncoding;
    case ENOSYS:
    case EOPNOTSUPP:
#if ENOTSUP != EOPNOTSUPP
    case ENOTSUP:
#endif
      return Kind::kUnsupported;
    default:
      break;
  }
  if (operation == Operation::kRead) return Kind::kReadError;
  if (IsWriting(operation)) return Kind::kWriteError;
  return error_number != 0 ? Kind::kIo : Kind::kUnknown;
}

Status Status::FromErrno(int error_number, Operation operation, uint64_t offset) {
  Status status;
  status.kind_ = Classify(error_number, operation);
  status.operation_ = operation;
  status.error_number_ = error_number;
  status.offset_ = offset;
  return status;
}

Status Status::Unsupported(int error_number, Operation operation) {
  Status status = FromErrno(error_number, operation);
  status.kind_ = Kind::kUnsupported;
  return status;
}

Status Status::Of(Kind kind, Operation operation, int error_number, uint64_t offset) {
  Status status;
  status.kind_ = kind;
  status.operation_ = operation;
  status.error_number_ = error_number;
  status.offset_ = offset;
  return status;
}

Status Status::Cancelled() {
  Status status = FromErrno(ECANCELED, Operation::kNone);
  status.cancelled_ = true;
  return status;
}

bool Status::retryable() const { return !cancelled() && kind_ != Kind::kInvalidArgument; }

}  // namespace eacopy
