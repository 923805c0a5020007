"""A slow wire on loopback: a relay that delays, and limits the rate of all its connections together."""

import collections
import socket
import threading
import time
from types import TracebackType
from typing import Deque, List, Optional, Tuple, Type

_PIECE = 16 * 1024
# What may be under way in one direction: a router's buffer. More would hide the wire from those who measure it.
_BUFFER = 256 * 1024


class _Direction:
    """The wire in one direction, shared by all connections."""

    def __init__(self, bytes_per_second: float, delay: float) -> None:
        self._rate, self._delay = bytes_per_second, delay
        self._free = 0.0
        self._lock = threading.Lock()
        self.bytes = 0

    def arrival(self, size: int) -> float:
        """When `size` bytes that are sent now arrive."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / self._rate
            self.bytes += size
            return self._free + self._delay


class Wire:
    """Listens at a free port of loopback, and passes everything on to another port.

    Args:
        port: where to.
        megabits: per second, each way.
        round_trip: seconds; half of it is added each way.
    """

    def __init__(self, port: int, megabits: float, round_trip: float) -> None:
        self._target = port
        self._there = _Direction(megabits * 1e6 / 8, round_trip / 2)
        self._back = _Direction(megabits * 1e6 / 8, round_trip / 2)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: List[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bytes(self) -> int:
        """What went over it so far, both ways."""
        return self._there.bytes + self._back.bytes

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._listener.close()
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for end in (near, far):
                # Small buffers: what lies in them has not been on the wire yet, but its sender thinks so.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(end)
            _Stream(near, far, self._there)
            _Stream(far, near, self._back)


class _Stream:
    """One connection in one direction: a thread that takes bytes in, and one that lets them out when they arrive."""

    def __init__(self, source: socket.socket, target: socket.socket, direction: _Direction) -> None:
        self._source, self._target, self._direction = source, target, direction
        self._pieces: Deque[Tuple[float, bytes]] = collections.deque()
        self._size = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._take_in, daemon=True).start()
        threading.Thread(target=self._let_out, daemon=True).start()

    def _take_in(self) -> None:
        while True:
            try:
                piece = self._source.recv(_PIECE)
            except OSError:
                piece = b""
            arrival = self._direction.arrival(len(piece))
            with self._changed:
                self._pieces.append((arrival, piece))
                self._size += len(piece)
                self._changed.notify_all()
                if not piece:
                    return
                self._changed.wait_for(lambda: self._size < _BUFFER)

    def _let_out(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces)
                arrival, piece = self._pieces.popleft()
            time.sleep(max(0.0, arrival - time.monotonic()))
            try:
                if not piece:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(piece)
            except OSError:
                return
            with self._changed:
                self._size -= len(piece)
                self._changed.notify_all()
