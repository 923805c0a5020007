// The table of errors; see errors.h.
//
// Where the C run-time library and Python have an errno for a code, it is the same here, with two exceptions. A file
// that somebody else holds is EBUSY, not EACCES: permission is not what is missing, and another try may succeed. A
// server that is gone is never ENOENT: "the file is gone" would let a caller conclude that it was deleted.

#include "errors.h"

#include <cerrno>

#include "ntdll.h"

namespace eacopy {
namespace platform {
namespace {

// Not in the headers of every compiler.
constexpr unsigned long kErrorVirusInfected = 225;
constexpr unsigned long kErrorVirusDeleted = 226;
constexpr unsigned long kErrorNoSuchDevice = 433;
constexpr unsigned long kErrorDiskQuotaExceeded = 1295;

}  // namespace

int ErrnoOfError(unsigned long error) {
  switch (error) {
    case ERROR_SUCCESS:
      return 0;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_PATHNAME:
    case ERROR_NO_MORE_FILES:
    case ERROR_BAD_DEVICE:
    case ERROR_MOD_NOT_FOUND:
      return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_CURRENT_DIRECTORY:
    case ERROR_NETWORK_ACCESS_DENIED:
    case ERROR_CANT_ACCESS_FILE:  // a reparse point whose driver is not there
    case ERROR_FILE_READ_ONLY:
    case ERROR_ENCRYPTION_FAILED:
    case ERROR_DECRYPTION_FAILED:
    case kErrorVirusInfected:
    case kErrorVirusDeleted:
    case ERROR_LOGON_FAILURE:
    case ERROR_INVALID_ACCESS:
      return EACCES;
    case ERROR_PRIVILEGE_NOT_HELD:
      return EPERM;
    case ERROR_WRITE_PROTECT:
      return EROFS;
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_SHARING_BUFFER_EXCEEDED:
    case ERROR_USER_MAPPED_FILE:  // cannot be truncated while a process runs or maps it
    case ERROR_DELETE_PENDING:
    case ERROR_BUSY:
    case ERROR_PATH_BUSY:
      return EBUSY;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
      return EEXIST;
    case ERROR_DIR_NOT_EMPTY:
      return ENOTEMPTY;
    case ERROR_DIRECTORY:
      return ENOTDIR;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case kErrorDiskQuotaExceeded:
    case ERROR_NOT_ENOUGH_QUOTA:
      return ENOSPC;
    case ERROR_FILE_TOO_LARGE:
      return EFBIG;
    case ERROR_FILENAME_EXCED_RANGE:
    case ERROR_BUFFER_OVERFLOW:
      return ENAMETOOLONG;
    case ERROR_INVALID_NAME:
    case ERROR_INVALID_PARAMETER:
    case ERROR_INVALID_HANDLE:
    case ERROR_NEGATIVE_SEEK:
    case ERROR_NOT_A_REPARSE_POINT:
    case ERROR_INVALID_REPARSE_DATA:
      return EINVAL;
    case ERROR_NO_UNICODE_TRANSLATION:
      return EILSEQ;
    case ERROR_CANT_RESOLVE_FILENAME:  // too many links
      return ELOOP;
    case ERROR_TOO_MANY_OPEN_FILES:
    case ERROR_NO_MORE_SEARCH_HANDLES:
      return EMFILE;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_NONPAGED_SYSTEM_RESOURCES:
    case ERROR_PAGED_SYSTEM_RESOURCES:
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_COMMITMENT_LIMIT:
      return ENOMEM;
    case ERROR_NOT_SAME_DEVICE:
      return EXDEV;
    case ERROR_TOO_MANY_LINKS:
      return EMLINK;
    case ERROR_INVALID_FUNCTION:
    case ERROR_NOT_SUPPORTED:
    case ERROR_CALL_NOT_IMPLEMENTED:
    case ERROR_INVALID_LEVEL:
    case ERROR_UNSUPPORTED_TYPE:
      return ENOTSUP;
    case ERROR_BROKEN_PIPE:
    case ERROR_NO_DATA:
    case ERROR_PIPE_NOT_CONNECTED:
      return EPIPE;
    case ERROR_BAD_UNIT:
    case ERROR_NOT_READY:
    case ERROR_DEV_NOT_EXIST:
    case ERROR_DEVICE_NOT_CONNECTED:
    case ERROR_DEVICE_REMOVED:
    case ERROR_MEDIA_CHANGED:
    case kErrorNoSuchDevice:
      return ENXIO;
    case ERROR_SEM_TIMEOUT:
    case ERROR_TIMEOUT:
    case WAIT_TIMEOUT:
      return ETIMEDOUT;
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_REM_NOT_LIST:
    case ERROR_HOST_UNREACHABLE:
    case ERROR_HOST_DOWN:
      return EHOSTUNREACH;
    case ERROR_NETWORK_UNREACHABLE:
    case ERROR_NO_NETWORK:
    case ERROR_NO_NET_OR_BAD_PATH:
      return ENETUNREACH;
    case ERROR_UNEXP_NET_ERR:
    case ERROR_BAD_NET_RESP:
    case ERROR_ADAP_HDW_ERR:
    case ERROR_NETNAME_DELETED:
    case ERROR_VC_DISCONNECTED:
    case ERROR_PORT_UNREACHABLE:
    case ERROR_GRACEFUL_DISCONNECT:
      return ECONNRESET;
    case ERROR_CONNECTION_ABORTED:
    case ERROR_REQUEST_ABORTED:
      return ECONNABORTED;
    case ERROR_CONNECTION_REFUSED:
    case ERROR_REMOTE_SESSION_LIMIT_EXCEEDED:
    case ERROR_TOO_MANY_SESS:
    case ERROR_REQ_NOT_ACCEP:
      return ECONNREFUSED;
    case ERROR_CONNECTION_INVALID:
    case ERROR_NOT_CONNECTED:
    case ERROR_CONNECTION_UNAVAIL:
      return ENOTCONN;
    default:
      return EIO;
  }
}

int ErrnoOfStatus(long status) {
  if (status >= 0) return 0;
  switch (status) {
    // Those of which the translation says less.
    case kStatusFileIsADirectory:
      return EISDIR;
    case kStatusNotADirectory:
      return ENOTDIR;
    case kStatusDeletePending:
      return EBUSY;
    case kStatusReparsePointNotResolved:
      return ELOOP;
    default:
      return ErrnoOfError(Ntdll::Get().error_of_status(status));
  }
}

}  // namespace platform
}  // namespace eacopy
