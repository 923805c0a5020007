"""What can go wrong with a connection and on its other side, as failures of this engine."""

import errno
from typing import Optional

from ...._errors import ErrorKind, Operation
from ..failure import CopyFailure
from . import messages

#: Kinds by which a server says nothing about why it hangs up.
_NOTHING_SAID = (ErrorKind.UNKNOWN, ErrorKind.IO)


class ConnectionLost(CopyFailure):
    """The connection cannot be used any more; what has no result yet is undone."""

    def __init__(self, number: int, operation: Operation, text: str = "", kind: Optional[ErrorKind] = None) -> None:
        if kind is None:
            kind = ErrorKind.TIMEOUT if number == errno.ETIMEDOUT else ErrorKind.NETWORK
        super().__init__(number, operation, kind=kind, text=text)


def violation(text: str) -> ConnectionLost:
    """The peer did what the protocol does not know."""
    return ConnectionLost(0, Operation.RECEIVE, "the server broke the protocol: " + text, ErrorKind.CLIENT)


def unproved(text: str) -> ConnectionLost:
    """One side did not prove what the other wants proved."""
    return ConnectionLost(errno.EACCES, Operation.AUTHENTICATE, text, ErrorKind.PERMISSION_DENIED)


def no_server(text: str = "what answers there is no EACopy server that this client understands") -> ConnectionLost:
    return ConnectionLost(0, Operation.CONNECT, text)


def told_by_server(error: messages.Error) -> ConnectionLost:
    """A Goodbye as a failure."""
    kind = error.known_kind()
    if kind in _NOTHING_SAID and not error.errno:
        kind = ErrorKind.SERVER
    text = error.text or ("" if error.errno else "the server ended the connection")
    return ConnectionLost(error.errno, error.known_operation(), text, kind)


def failure_of(error: messages.Error) -> CopyFailure:
    """A server's error about one entry, as a failure."""
    kind = error.known_kind()
    failure = CopyFailure(error.errno, error.known_operation(), kind=kind, text=error.text)
    if kind is ErrorKind.DISK_FULL:
        failure.size, failure.available = error.a, error.b
    elif kind in (ErrorKind.READ_ERROR, ErrorKind.WRITE_ERROR):
        failure.offset = error.a
    return failure


def error_of(failure: CopyFailure) -> messages.Error:
    """A failure of this side, as the server is told it."""
    a, b = failure.offset, 0
    if failure.kind is ErrorKind.DISK_FULL:
        a, b = failure.size, failure.available
    return messages.Error(failure.kind.value, failure.operation.value, failure.number, a, b)
