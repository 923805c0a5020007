"""What can go wrong, as exceptions that a caller already knows how to catch.

Every error is an :class:`EACopyError` and also the builtin that code written for :mod:`shutil` or :mod:`os` catches::

    EACopyError
    +-- CopyIOError                  IO                   OSError
    +-- FFIError                     FFI                  RuntimeError
    +-- PathError                    PATH                 OSError
    +-- SourceNotFoundError          FILE_NOT_FOUND       FileNotFoundError
    +-- DirectoryNotFoundError       DIRECTORY_NOT_FOUND  FileNotFoundError
    +-- PermissionDeniedError        PERMISSION_DENIED    PermissionError
    +-- DestinationExistsError       DESTINATION_EXISTS   FileExistsError
    +-- DestinationIsDirectoryError  DESTINATION_EXISTS   IsADirectoryError
    +-- SourceIsDirectoryError       INVALID_ARGUMENT     IsADirectoryError
    +-- NotADirectoryPathError       PATH                 NotADirectoryError
    +-- InvalidArgumentError         INVALID_ARGUMENT     ValueError
    +-- SameFileCopyError            INVALID_ARGUMENT     shutil.SameFileError
    +-- SpecialFileCopyError         INVALID_ARGUMENT     shutil.SpecialFileError
    +-- NetworkError                 NETWORK              ConnectionError
    +-- TransferTimeoutError         TIMEOUT              TimeoutError
    +-- EncodingError                ENCODING             OSError, UnicodeError
    +-- CallbackError                PYTHON               RuntimeError
    +-- FileTooLargeError            FILE_TOO_LARGE       OSError
    +-- DiskFullError                DISK_FULL            OSError
    +-- ReadError                    READ_ERROR           OSError
    +-- WriteError                   WRITE_ERROR          OSError
    +-- CopyInterruptedError         INTERRUPTED          InterruptedError
    +-- ServerError                  SERVER               ConnectionError
    +-- ClientError                  CLIENT               ConnectionError
    +-- DeltaCopyError               DELTA_COPY           OSError
    +-- UnsupportedError             UNSUPPORTED          OSError, NotImplementedError
    +-- ConfigurationError           CONFIGURATION        ValueError
    +-- UnknownError                 UNKNOWN              OSError
    +-- TreeError                    of its first         shutil.Error
    +-- MoveError                    DESTINATION_EXISTS   shutil.Error

Both backends describe a failure with the same words (:class:`Operation`, an errno, the paths), and
:func:`error_from_failure` turns that into the exception; :func:`classify` is the one table behind the kinds.
"""

import enum
import errno
import os
import re
import shutil
import stat
import sys
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple, Type, Union, cast

if TYPE_CHECKING:
    from ._report import CopyReport

AnyPath = Union[str, bytes]


class ErrorKind(enum.Enum):
    """What went wrong, in the words a caller acts on. The values are the engine's (``enum eac_kind``)."""

    IO = 1
    FFI = 2
    PATH = 3
    FILE_NOT_FOUND = 4
    DIRECTORY_NOT_FOUND = 5
    PERMISSION_DENIED = 6
    DESTINATION_EXISTS = 7
    INVALID_ARGUMENT = 8
    NETWORK = 9
    TIMEOUT = 10
    ENCODING = 11
    PYTHON = 12
    FILE_TOO_LARGE = 13
    DISK_FULL = 14
    READ_ERROR = 15
    WRITE_ERROR = 16
    INTERRUPTED = 17
    SERVER = 18
    CLIENT = 19
    DELTA_COPY = 20
    UNSUPPORTED = 21
    CONFIGURATION = 22
    UNKNOWN = 23


class Operation(enum.IntEnum):
    """What was being done when it went wrong. The values are the engine's (``enum eac_operation``)."""

    NONE = 0
    OPEN_SOURCE = 1
    OPEN_DESTINATION = 2
    READ = 3
    WRITE = 4
    CLONE = 5
    COPY = 6
    TRUNCATE = 7
    SYNC = 8
    CLOSE = 9
    RENAME = 10
    SET_MODE = 11
    SET_TIMES = 12
    SET_ATTRIBUTES = 13
    LIST_DIRECTORY = 14
    MAKE_DIRECTORY = 15
    READ_LINK = 16
    MAKE_LINK = 17
    REMOVE = 18
    STAT = 19
    VERIFY = 20
    SAME_FILE = 21
    SPECIAL_FILE = 22
    START = 23
    CONNECT = 24
    AUTHENTICATE = 25
    SEND = 26
    RECEIVE = 27
    LISTEN = 28
    OPEN_REFERENCE = 29
    READ_REFERENCE = 30
    READ_PATCH = 31


class DestinationState(enum.Enum):
    """The state in which a failed or stopped copy left its destination."""

    ABSENT = "absent"
    OLD = "old"
    PARTIAL = "partial"


class EACopyError(Exception):
    """The root of all errors of this package.

    Attributes:
        kind: the :class:`ErrorKind`.
        errno: the operating system's number, or None when it was not asked.
        filename, filename2: source and destination as the caller wrote them (str or bytes), or None.
        operation: the :class:`Operation` that failed.
        offset: where in the file a read or write failed, in bytes.
        destination: "absent", "old" or "partial": what is at the destination now; None when nothing was to be written,
            or when it is on a server.
        report: the :class:`CopyReport` of the call that ended with this exception: all that was done in spite of it;
            None when nothing was begun or the call was stopped.
    """

    kind: ErrorKind = ErrorKind.UNKNOWN
    operation: Operation = Operation.NONE
    offset: int = 0
    destination: Optional[str] = None
    #: True when the item asked for failed as a whole, rather than something inside a tree.
    root: bool = True
    report: "Optional[CopyReport]" = None

    # Without values: those would hide OSError's own.
    errno: Optional[int]
    filename: Optional[AnyPath]
    filename2: Optional[AnyPath]

    def __str__(self) -> str:
        if len(self.args) == 1:
            return str(self.args[0])  # a message of its own, which OSError would replace once the paths are set
        text = super().__str__()
        # What OSError writes on Windows when there is an errno alone, and two paths.
        text = re.sub(r"^\[WinError None\]", "[Errno %s]" % self.errno, text)
        # And what it writes when the operating system was not asked.
        nothing = "[Errno None] "
        return text[len(nothing) :] if text.startswith(nothing) else text

    def __reduce__(self) -> Tuple[Any, ...]:
        # For pickling. OSError forgets the paths of an error with a message of its own.
        function, arguments = cast(Tuple[Any, ...], super().__reduce__())[:2]
        state = dict(self.__dict__)
        for name in ("errno", "filename", "filename2"):
            if getattr(self, name, None) is not None:
                state[name] = getattr(self, name)
        return function, arguments, state


class _NoSystemError(EACopyError):
    """What all errors have that are no OSError."""

    errno: Optional[int] = None
    filename: Optional[AnyPath] = None
    filename2: Optional[AnyPath] = None


class CopyIOError(EACopyError, OSError):
    """The operating system failed in a way that no other class names."""

    kind = ErrorKind.IO


class FFIError(_NoSystemError, RuntimeError):
    """The native library did not answer as it must."""

    kind = ErrorKind.FFI


class PathError(EACopyError, OSError):
    """A path that cannot be: too long, a loop of links, a file where a directory is needed."""

    kind = ErrorKind.PATH


class NotADirectoryPathError(PathError, NotADirectoryError):
    """A component of a path is a file where a directory is needed."""


class SourceNotFoundError(EACopyError, FileNotFoundError):
    """A file is not there."""

    kind = ErrorKind.FILE_NOT_FOUND


class DirectoryNotFoundError(EACopyError, FileNotFoundError):
    """A directory is not there: a source tree, or the directory that is to hold the destination."""

    kind = ErrorKind.DIRECTORY_NOT_FOUND


class PermissionDeniedError(EACopyError, PermissionError):
    """The user may not do that."""

    kind = ErrorKind.PERMISSION_DENIED


class DestinationExistsError(EACopyError, FileExistsError):
    """Something is at the destination already."""

    kind = ErrorKind.DESTINATION_EXISTS


class DestinationIsDirectoryError(EACopyError, IsADirectoryError):
    """The destination is a directory where a file is to be written."""

    kind = ErrorKind.DESTINATION_EXISTS


class InvalidArgumentError(_NoSystemError, ValueError):
    """An argument has a value that makes no sense here."""

    kind = ErrorKind.INVALID_ARGUMENT


class SourceIsDirectoryError(EACopyError, IsADirectoryError):
    """The source is a directory where a file is needed."""

    kind = ErrorKind.INVALID_ARGUMENT


class SameFileCopyError(EACopyError, shutil.SameFileError):
    """Source and destination are the same file."""

    kind = ErrorKind.INVALID_ARGUMENT


class SpecialFileCopyError(EACopyError, shutil.SpecialFileError):
    """A FIFO or, in a tree, a device or socket: it has no contents to copy."""

    kind = ErrorKind.INVALID_ARGUMENT


class NetworkError(EACopyError, ConnectionError):
    """The network or the network file system failed."""

    kind = ErrorKind.NETWORK


class TransferTimeoutError(EACopyError, TimeoutError):
    """It took longer than allowed."""

    kind = ErrorKind.TIMEOUT


class EncodingError(EACopyError, OSError, UnicodeError):
    """A name cannot be said in the encoding that is needed."""

    kind = ErrorKind.ENCODING


class CallbackError(_NoSystemError, RuntimeError):
    """A callback was used in a way it must not be; an exception raised *by* a callback comes out unchanged."""

    kind = ErrorKind.PYTHON


class FileTooLargeError(EACopyError, OSError):
    """The file is larger than the destination's file system or the user's limit allows.

    Attributes:
        path: the destination.
        size: of the source, in bytes.
    """

    kind = ErrorKind.FILE_TOO_LARGE
    path: Optional[AnyPath] = None
    size: int = 0


class DiskFullError(EACopyError, OSError):
    """No space, or no quota, is left at the destination.

    Attributes:
        path: the destination.
        needed: bytes that the file needs in all.
        available: bytes that were free when it failed.
    """

    kind = ErrorKind.DISK_FULL
    path: Optional[AnyPath] = None
    needed: int = 0
    available: int = 0


class ReadError(EACopyError, OSError):
    """Reading failed. Attributes: ``path`` (the source), ``offset`` (bytes)."""

    kind = ErrorKind.READ_ERROR
    path: Optional[AnyPath] = None


class WriteError(EACopyError, OSError):
    """Writing failed. Attributes: ``path`` (the destination), ``offset`` (bytes)."""

    kind = ErrorKind.WRITE_ERROR
    path: Optional[AnyPath] = None


class CopyInterruptedError(EACopyError, InterruptedError):
    """The copy was cancelled."""

    kind = ErrorKind.INTERRUPTED


class ServerError(EACopyError, ConnectionError):
    """The server failed or refused."""

    kind = ErrorKind.SERVER


class ClientError(EACopyError, ConnectionError):
    """This side of a connection failed, or the peer broke the protocol."""

    kind = ErrorKind.CLIENT


class DeltaCopyError(EACopyError, OSError):
    """A delta could not be made or applied."""

    kind = ErrorKind.DELTA_COPY


class UnsupportedError(EACopyError, OSError, NotImplementedError):
    """This backend, build or platform cannot do that; the message says what can."""

    kind = ErrorKind.UNSUPPORTED


class ConfigurationError(_NoSystemError, ValueError):
    """A setting has a bad value; the message names it and the legal ones."""

    kind = ErrorKind.CONFIGURATION


class UnknownError(EACopyError, OSError):
    """A failure that fits no other kind."""

    kind = ErrorKind.UNKNOWN


class TreeError(EACopyError, shutil.Error):
    """Parts of a tree or a batch failed; everything else was copied.

    ``args[0]`` is :class:`shutil.Error`'s list of ``(source, destination, reason)``, one for each failing pair;
    ``errors`` has the exceptions themselves, in the same order. ``kind`` is that of the first.
    """

    def __init__(self, errors: Sequence[EACopyError], triples: Sequence[Tuple[AnyPath, AnyPath, str]]) -> None:
        super().__init__(list(triples))
        self.errors = tuple(errors)
        if errors:
            self.kind = errors[0].kind
            self.operation = errors[0].operation

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.errors, self.args[0]), self.__dict__


class MoveError(EACopyError, shutil.Error):
    """Nothing was moved: the name at the destination is taken, or the destination lies inside the source."""

    kind = ErrorKind.DESTINATION_EXISTS


_CLASS_OF_KIND: Dict[ErrorKind, Type[EACopyError]] = {
    ErrorKind.IO: CopyIOError,
    ErrorKind.FFI: FFIError,
    ErrorKind.PATH: PathError,
    ErrorKind.FILE_NOT_FOUND: SourceNotFoundError,
    ErrorKind.DIRECTORY_NOT_FOUND: DirectoryNotFoundError,
    ErrorKind.PERMISSION_DENIED: PermissionDeniedError,
    ErrorKind.DESTINATION_EXISTS: DestinationExistsError,
    ErrorKind.INVALID_ARGUMENT: InvalidArgumentError,
    ErrorKind.NETWORK: NetworkError,
    ErrorKind.TIMEOUT: TransferTimeoutError,
    ErrorKind.ENCODING: EncodingError,
    ErrorKind.PYTHON: CallbackError,
    ErrorKind.FILE_TOO_LARGE: FileTooLargeError,
    ErrorKind.DISK_FULL: DiskFullError,
    ErrorKind.READ_ERROR: ReadError,
    ErrorKind.WRITE_ERROR: WriteError,
    ErrorKind.INTERRUPTED: CopyInterruptedError,
    ErrorKind.SERVER: ServerError,
    ErrorKind.CLIENT: ClientError,
    ErrorKind.DELTA_COPY: DeltaCopyError,
    ErrorKind.UNSUPPORTED: UnsupportedError,
    ErrorKind.CONFIGURATION: ConfigurationError,
    ErrorKind.UNKNOWN: UnknownError,
}

_NETWORK_ERRNO_NAMES = (
    *("ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET", "ECONNREFUSED", "ENOTCONN", "ESHUTDOWN"),
    *("EHOSTDOWN", "EHOSTUNREACH", "EPIPE", "ESTALE", "EREMOTEIO", "ENOLINK", "ECOMM"),
)
_NETWORK_ERRNOS = frozenset(getattr(errno, name) for name in _NETWORK_ERRNO_NAMES if hasattr(errno, name))

_WRITING = frozenset(
    {Operation.WRITE, Operation.COPY, Operation.CLONE, Operation.TRUNCATE, Operation.SYNC, Operation.CLOSE}
)


def classify(number: int, operation: Operation) -> ErrorKind:
    """The kind for an errno met in an operation.

    The engine has the same table (``eac_classify``); a test holds the two equal.
    """
    if operation in (Operation.SAME_FILE, Operation.SPECIAL_FILE):
        return ErrorKind.INVALID_ARGUMENT
    if operation is Operation.VERIFY and number == 0:
        return ErrorKind.IO
    if number == errno.ENOENT:
        if operation in (Operation.OPEN_DESTINATION, Operation.LIST_DIRECTORY, Operation.MAKE_DIRECTORY):
            return ErrorKind.DIRECTORY_NOT_FOUND
        if operation in (Operation.MAKE_LINK, Operation.RENAME):
            return ErrorKind.DIRECTORY_NOT_FOUND
        return ErrorKind.FILE_NOT_FOUND
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ErrorKind.PERMISSION_DENIED
    if number in (errno.EEXIST, errno.ENOTEMPTY):
        return ErrorKind.DESTINATION_EXISTS
    if number == errno.EISDIR:
        reading = operation in (Operation.OPEN_SOURCE, Operation.READ)
        return ErrorKind.INVALID_ARGUMENT if reading else ErrorKind.DESTINATION_EXISTS
    if number in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return ErrorKind.PATH
    if number in (errno.ENOSPC, errno.EDQUOT):
        return ErrorKind.DISK_FULL
    if number == errno.EFBIG:
        return ErrorKind.FILE_TOO_LARGE
    if number == errno.ETIMEDOUT:
        return ErrorKind.TIMEOUT
    if number in _NETWORK_ERRNOS:
        return ErrorKind.NETWORK
    if number in (errno.EINTR, errno.ECANCELED):
        return ErrorKind.INTERRUPTED
    if number == errno.EILSEQ:
        return ErrorKind.ENCODING
    if number in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP):
        return ErrorKind.UNSUPPORTED
    if operation is Operation.READ:
        return ErrorKind.READ_ERROR
    if operation in _WRITING:
        return ErrorKind.WRITE_ERROR
    return ErrorKind.IO if number else ErrorKind.UNKNOWN


_WHILE: Dict[Operation, str] = {
    Operation.OPEN_SOURCE: "while opening the source",
    Operation.OPEN_DESTINATION: "while opening the destination",
    Operation.READ: "while reading the source",
    Operation.WRITE: "while writing the destination",
    Operation.CLONE: "while cloning",
    Operation.COPY: "while copying",
    Operation.TRUNCATE: "while setting the destination's size",
    Operation.SYNC: "while flushing the destination to disk",
    Operation.CLOSE: "while closing the destination",
    Operation.RENAME: "while renaming the finished copy into place",
    Operation.SET_MODE: "while setting the mode",
    Operation.SET_TIMES: "while setting the times",
    Operation.SET_ATTRIBUTES: "while setting extended attributes",
    Operation.LIST_DIRECTORY: "while listing a directory",
    Operation.MAKE_DIRECTORY: "while creating a directory",
    Operation.READ_LINK: "while reading a symbolic link",
    Operation.MAKE_LINK: "while creating a link",
    Operation.REMOVE: "while removing",
    Operation.STAT: "while looking at a file",
    Operation.VERIFY: "while verifying the copy",
    Operation.START: "while starting the copy",
    Operation.CONNECT: "while connecting to the server",
    Operation.AUTHENTICATE: "while proving to the server who asks",
    Operation.SEND: "while sending to the peer",
    Operation.RECEIVE: "while receiving from the peer",
    Operation.LISTEN: "while starting the server",
    Operation.OPEN_REFERENCE: "while opening the reference",
    Operation.READ_REFERENCE: "while reading the reference",
    Operation.READ_PATCH: "while reading the patch",
}

# What no errno says.
_TEXTS: Dict[Tuple[ErrorKind, Operation], str] = {
    (ErrorKind.DELTA_COPY, Operation.READ_REFERENCE): "the reference was changed, or cut off, while it was used",
    (ErrorKind.DELTA_COPY, Operation.READ): "the source was cut off while it was read",
    (ErrorKind.DELTA_COPY, Operation.READ_PATCH): "the patch is damaged, or was made for another reference",
    (ErrorKind.CONFIGURATION, Operation.READ_PATCH): (
        "the patch has no checksum, so that nothing would tell a wrong reference; allow_unchecked=True applies it"
    ),
    (ErrorKind.CLIENT, Operation.RECEIVE): "the peer broke the protocol",
    (ErrorKind.UNSUPPORTED, Operation.READ_PATCH): "the patch wants more memory than any patch needs",
}

_REMEDY: Dict[ErrorKind, str] = {
    ErrorKind.FILE_NOT_FOUND: "check that the path exists",
    ErrorKind.DIRECTORY_NOT_FOUND: "check that the directory exists; a parent of a file is not created",
    ErrorKind.PERMISSION_DENIED: (
        "check the owner and mode of the file and its directory, and whether it is mounted read-only"
        if os.name != "nt"
        else "check who may do that to the file and its directory, and whether another program has it open"
    ),
    ErrorKind.PATH: "check each component of the path",
    ErrorKind.DISK_FULL: "free space at the destination, or raise the quota",
    ErrorKind.FILE_TOO_LARGE: "the destination's file system, or the process's file size limit, is too small for it",
    ErrorKind.NETWORK: "check the connection or the network mount, then try again",
    ErrorKind.TIMEOUT: "try again, or allow more time",
    ErrorKind.READ_ERROR: "the source's device may be failing",
    ErrorKind.WRITE_ERROR: "the destination's device may be failing",
}

# What says more than the remedy for a kind.
_REMEDY_FOR_CALL: Dict[Tuple[int, Operation], str] = {
    (errno.EISDIR, Operation.OPEN_SOURCE): "copytree copies a directory",
    (errno.ENOENT, Operation.LIST_DIRECTORY): "check that the directory exists",
    (errno.ENOTDIR, Operation.LIST_DIRECTORY): (
        "copy2 copies a single file, and sync takes the directory that it is in, and files="
    ),
    (errno.EACCES, Operation.AUTHENTICATE): "both sides need the same token, or the server's user a security file",
    (errno.ECONNREFUSED, Operation.CONNECT): "check that a server runs there, and listens at this port",
    (errno.EHOSTUNREACH, Operation.CONNECT): "check the name of the server, and the connection",
    (errno.EADDRINUSE, Operation.LISTEN): "another program listens there: choose another port",
    (errno.EADDRNOTAVAIL, Operation.LISTEN): "this machine does not have that address",
    (errno.EACCES, Operation.LISTEN): "choose a port from 1024 on; those below are for root",
}
_REMEDY_AT_SERVER = "check the name of the share, and what the server's user may do there"


def error_from_failure(
    number: int,
    operation: Operation,
    source: Optional[AnyPath],
    destination: Optional[AnyPath],
    *,
    kind: Optional[ErrorKind] = None,
    destination_state: Optional[DestinationState] = None,
    offset: int = 0,
    size: int = 0,
    available: int = 0,
    root: bool = True,
    text: str = "",
) -> EACopyError:
    """Builds the exception for one failed operation: the only place where backends' failures become exceptions.

    Args:
        number: errno, 0 when the operating system was not asked.
        operation: what failed.
        source, destination: full paths as the caller would write them, in the caller's type.
        kind: overrides :func:`classify`.
        destination_state: what is left at the destination.
        offset: position in bytes of a failed read or write.
        size: bytes needed (DISK_FULL) or of the file (FILE_TOO_LARGE).
        available: free bytes (DISK_FULL).
        root: False for something inside a tree.
        text: what the peer or a library said about it; takes the place of what strerror says.
    """
    kind = kind or classify(number, operation)
    cls = _class_for(kind, number, operation)
    reason = _reason(number, kind, operation, source, destination, offset, destination_state, text)
    if issubclass(cls, (SameFileCopyError, SpecialFileCopyError)):
        error: EACopyError = cls(reason)  # shutil raises these with the message alone
    elif issubclass(cls, OSError):
        error = cls(number or None, reason, *_os_error_paths(source, destination))
    else:
        error = cls("%s: %s" % (reason, " -> ".join(repr(path) for path in (source, destination) if path is not None)))
    if error.errno is None:
        error.errno = number or None
    if error.filename is None:
        error.filename = source
    if error.filename2 is None and destination is not None:  # OSError shows a None that was set
        error.filename2 = destination
    error.operation = operation
    error.offset = offset
    error.destination = destination_state.value if destination_state else None
    error.root = root
    if isinstance(error, DiskFullError):
        error.path, error.needed, error.available = destination, size, available
    elif isinstance(error, FileTooLargeError):
        error.path, error.size = destination, size
    elif isinstance(error, ReadError):
        error.path = source
    elif isinstance(error, WriteError):
        error.path = destination
    return error


def _class_for(kind: ErrorKind, number: int, operation: Operation) -> Type[EACopyError]:
    if operation is Operation.SAME_FILE:
        return SameFileCopyError
    if operation is Operation.SPECIAL_FILE:
        return SpecialFileCopyError
    if number == errno.EISDIR:
        return SourceIsDirectoryError if kind is ErrorKind.INVALID_ARGUMENT else DestinationIsDirectoryError
    if number == errno.ENOTDIR:
        return NotADirectoryPathError
    return _CLASS_OF_KIND[kind]


def _os_error_paths(source: Optional[AnyPath], destination: Optional[AnyPath]) -> Tuple[Union[AnyPath, None, int], ...]:
    """The tail of OSError's arguments: filename, winerror (none), filename2."""
    if destination is None:
        return (source,) if source is not None else ()
    return (source, None, destination)


def _reason(
    number: int,
    kind: ErrorKind,
    operation: Operation,
    source: Optional[AnyPath],
    destination: Optional[AnyPath],
    offset: int,
    state: Optional[DestinationState],
    text: str,
) -> str:
    if operation is Operation.SAME_FILE:
        return "%r and %r are the same file" % (source, destination)
    if operation is Operation.SPECIAL_FILE:
        return _special_file(source, destination)
    if operation is Operation.VERIFY and number == 0:
        return "the copy differs from its source (at offset %d)" % offset
    text = text or _TEXTS.get((kind, operation), "")
    parts = [text or (_strerror(number) if number else "failed")]
    if kind is ErrorKind.INTERRUPTED:
        parts = ["the copy was cancelled"]
    where = _WHILE.get(operation, "")
    if where:
        parts[0] += " " + where
    if kind in (ErrorKind.READ_ERROR, ErrorKind.WRITE_ERROR, ErrorKind.DISK_FULL) and offset:
        parts[0] += " at offset %d" % offset
    if state is DestinationState.PARTIAL:
        parts.append("the destination is partly overwritten: copy again, or use atomic=True")
    remedy = _REMEDY_FOR_CALL.get((number, operation)) or _REMEDY.get(kind)
    if kind is ErrorKind.PERMISSION_DENIED and operation in (Operation.OPEN_SOURCE, Operation.OPEN_DESTINATION):
        there = source if operation is Operation.OPEN_SOURCE else destination
        if there is not None and os.fsdecode(there).startswith("eacopy://"):
            remedy = _REMEDY_AT_SERVER
    if remedy:
        parts.append(remedy)
    return "; ".join(parts)


def _strerror(number: int) -> str:
    if sys.platform == "win32" and number >= 10000:  # Winsock's, of which the C runtime knows nothing
        import ctypes

        return ctypes.FormatError(number).strip().rstrip(".")
    return os.strerror(number)


def _special_file(source: Optional[AnyPath], destination: Optional[AnyPath]) -> str:
    """Says which of the two is what; for the message alone, so that a path that has changed meanwhile does no harm."""
    for path in (source, destination):
        try:
            mode = os.stat(path or "").st_mode
        except OSError:
            continue
        if stat.S_ISFIFO(mode):
            return "`%s` is a named pipe" % _text(path)
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            return "`%s` is a device, and has no contents to copy in a tree" % _text(path)
    return "`%s` is a named pipe" % _text(source)


def _text(path: Optional[AnyPath]) -> str:
    return os.fsdecode(path) if path is not None else ""


def use_bytes_paths(error: EACopyError) -> None:
    """Gives an error its paths as bytes, for a caller who wrote bytes."""
    for name in ("filename", "filename2", "path"):
        path = getattr(error, name, None)
        if isinstance(path, str):
            setattr(error, name, os.fsencode(path))
    if isinstance(error, SameFileCopyError):
        error.args = (_reason(0, error.kind, error.operation, error.filename, error.filename2, 0, None, ""),)


def tree_error(errors: Sequence[EACopyError]) -> TreeError:
    """All failures of a tree or batch as one :class:`shutil.Error`."""
    return TreeError(errors, [(e.filename or "", e.filename2 or "", str(e)) for e in errors])
