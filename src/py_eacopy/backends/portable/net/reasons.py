"""How the server tells a client what it cannot do, and why."""

import errno
import os
from typing import Optional, Union

from ...._errors import ErrorKind, classify
from .. import at
from ..monitor import Monitor, Refusal
from .messages import Error, is_legal_path
from .open_directories import OpenDirectory
from .share import is_possible_path
from .store import is_temporary_name

#: Of names with which Windows means something else: devices, streams, paths.
NOT_POSSIBLE = "no file can have this name on this system"


class SessionEnded(Exception):
    """The server ends the session, and says why, unless that is to be silent."""

    def __init__(self, error: Error, silent: bool = False) -> None:
        super().__init__(error.text or os.strerror(error.errno))
        self.error = error
        self.silent = silent


def error_of(
    monitor: Monitor,
    error: Union[OSError, ValueError],
    path: bytes,
    needed: int = 0,
    directory: Optional[OpenDirectory] = None,
) -> Error:
    """A failure as it is told to the client; what failed last is known to the monitor."""
    operation = monitor.operation
    if isinstance(error, ValueError):
        return Error(ErrorKind.INVALID_ARGUMENT.value, operation, errno.EINVAL, path=path, text=str(error))
    number = error.errno or 0
    kind = (error.kind if isinstance(error, Refusal) else None) or classify(number, operation)
    a = b = 0
    if kind is ErrorKind.DISK_FULL and directory is not None:
        a, b = needed, at.free_space(directory.descriptor)
    elif kind in (ErrorKind.READ_ERROR, ErrorKind.WRITE_ERROR):
        a = monitor.offset
    usual = not number or isinstance(error, Refusal) or error.strerror == os.strerror(number)
    return Error(kind.value, operation, number, a, b, path, "" if usual else str(error.strerror))


def check_path(path: bytes) -> None:
    """Raises ValueError for what is no path of this protocol, or one of the server's own temporary files."""
    if not is_legal_path(path):
        raise ValueError("the path is not legal: names must not be empty, . or ..")
    if not is_possible_path(path):
        raise ValueError(NOT_POSSIBLE)
    if any(map(is_temporary_name, path.split(b"/"))):
        raise ValueError("names of the form .eacopy-<16 hex digits>.tmp are the server's own")
