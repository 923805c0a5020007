"""Connecting to a host and port, in a way that can be cancelled."""

import errno
import os
import select
import socket
import sys
import threading
import time
from typing import Any, Callable, List, Optional, Tuple

from ...._errors import Operation
from ..coordinator import WAIT_STEP
from .failures import ConnectionLost

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))

_Address = Tuple[int, Any]


def connect(host: str, port: int, timeout: float, check: Callable[[], None]) -> socket.socket:
    """Connects, trying one address of the host after the other. Raises ConnectionLost.

    Args:
        timeout: seconds, for all of them.
        check: called before anything is done, and while waiting; raises when the job is to stop.
    """
    check()
    end = time.monotonic() + timeout
    last: Optional[ConnectionLost] = None
    for family, address in _look_up(host, port, end, check):
        try:
            return _connect_to(family, address, end, check)
        except OSError as error:
            last = _failed(error.errno or 0, host, port)
    raise last or _failed(0, host, port, "has no address")


def _failed(number: int, host: str, port: int, what: str = "") -> ConnectionLost:
    return ConnectionLost(number, Operation.CONNECT, "%s port %d: %s" % (host, port, what or os.strerror(number)))


def _look_up(host: str, port: int, end: float, check: Callable[[], None]) -> List[_Address]:
    answers: List[List[_Address]] = []
    failures: List[str] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.append([(family, address) for family, _, _, _, address in found])
        except (OSError, UnicodeError) as error:
            failures.append(getattr(error, "strerror", None) or str(error))

    # Nothing but waiting ends a look-up: it is left alone when the job is cancelled.
    thread = threading.Thread(target=ask, name="eacopy-look-up", daemon=True)
    thread.start()
    while True:
        thread.join(WAIT_STEP)
        if answers:
            return answers[0]
        if failures:
            # Look-ups have numbers of their own: this one is what the engine says, and has the right remedy.
            raise _failed(errno.EHOSTUNREACH, host, port, failures[0])
        check()
        if time.monotonic() > end:
            raise _failed(errno.ETIMEDOUT, host, port, "looking up its address took too long")


def _connect_to(family: int, address: Any, end: float, check: Callable[[], None]) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        number = connection.connect_ex(address)
        if number not in _UNDER_WAY:
            raise OSError(number, os.strerror(number))
        while not _can_be_written(connection):
            check()
            if time.monotonic() > end:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
    except BaseException:
        connection.close()
        raise
    return connection


def _can_be_written(connection: socket.socket) -> bool:
    """Waits a moment for it. An error counts too."""
    if sys.platform != "win32" and hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLOUT)
        return bool(poll.poll(WAIT_STEP * 1000))
    # Windows tells of a connection that failed in the third list.
    ready = select.select([], [connection], [connection], WAIT_STEP)
    return bool(ready[1] or ready[2])
