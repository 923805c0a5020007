"""A socket with limits of time: what is read from it is buffered, and what is sent never waits for ever."""

import contextlib
import select
import socket
import sys
import time
from typing import Any, Callable, ContextManager, Optional, Tuple, Union

from ..monitor import Monitor

if sys.platform == "linux":
    import fcntl

Buffer = Union[bytes, bytearray, memoryview]

#: One read of the socket while the next message's size is not known.
_READ_SIZE = 64 * 1024
#: How often the owner is asked whether to go on, in seconds.
_TICK = 0.05
#: Windows: how long it may wait at once, because shutting a socket down does not end its own side's waiting. Seconds.
_SLICE = 0.2
#: Linux: how many bytes of a TCP connection have not been sent yet.
_SIOCOUTQNSD = 0x894B


class ConnectionEnded(ConnectionError):
    """The peer hung up where more was to come."""


class PeerSilent(TimeoutError):
    """The peer sent nothing, or took nothing, for too long."""


class Connection:
    """One socket, used by one thread.

    Args:
        silence: seconds that the peer may neither send what is awaited nor take what is sent.
        duplex: while it cannot send, it takes in what comes. The side that asks has to: the side that answers does one
            thing after the other, and would wait for ever for room for its answers.
        tick: called some 20 times a second while it waits; may raise.
        aside: a context that it enters whenever it has to wait for the network.
        monitor: asked how much may cross the wire, where the rate is limited.

    Attributes:
        bytes_sent, bytes_received: so far.
        waited: seconds spent in waiting until something could be sent, or might be.
    """

    def __init__(
        self,
        sock: socket.socket,
        silence: float,
        duplex: bool = False,
        tick: Optional[Callable[[], None]] = None,
        aside: Optional[Callable[[], ContextManager[None]]] = None,
        monitor: Optional[Monitor] = None,
    ) -> None:
        self.silence = silence
        self.bytes_sent = self.bytes_received = 0
        self.waited = 0.0
        self._socket = sock
        self._duplex = duplex
        self._tick = tick
        self._aside = aside
        self._recv: Callable[[int], bytes] = sock.recv
        self._recv_into: Callable[[memoryview], int] = sock.recv_into
        self._send: Callable[[memoryview], int] = sock.send
        if monitor is not None and monitor.throttle is not None:
            self._monitor = monitor
            self._recv, self._recv_into, self._send = self._recv_limited, self._recv_into_limited, self._send_limited
        self._buffer = bytearray()
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # neither is vital, and tests use socket pairs
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._is_shut_down = False
        self._poll: Any = None
        if hasattr(select, "poll"):
            self._poll = select.poll()

    # Receiving -------------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes that are there already."""
        return len(self._buffer)

    def peek(self, count: int) -> bytes:
        """The first bytes of what is there already, which stay."""
        return bytes(self._buffer[:count])

    def absorb(self) -> bool:
        """Takes in what has come, without waiting. False when nothing has. Raises ConnectionEnded at the end."""
        try:
            data = self._recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            raise ConnectionEnded("the peer hung up")
        self.bytes_received += len(data)
        self._buffer += data
        return True

    def await_bytes(self, count: int, seconds: Optional[float] = None) -> None:
        """Waits until so many bytes are there; for the next one at most so many seconds, or the usual silence."""
        while len(self._buffer) < count:
            if not self.absorb() and not self._wait(False, self.silence if seconds is None else seconds):
                raise PeerSilent("the peer was silent for too long")

    def read(self, count: int, seconds: Optional[float] = None) -> Union[bytes, bytearray]:
        """Exactly so many bytes. Raises ConnectionEnded, PeerSilent, OSError."""
        if count > len(self._buffer) + _READ_SIZE:
            result = bytearray(count)
            with memoryview(result) as view:
                self.read_into(view)
            return result
        self.await_bytes(count, seconds)
        with memoryview(self._buffer) as view:
            data = bytes(view[:count])
        del self._buffer[:count]
        return data

    def read_into(self, view: memoryview) -> None:
        """Fills a view; what is large goes there without a stop."""
        done = min(len(view), len(self._buffer))
        if done:
            view[:done] = self._buffer[:done]
            del self._buffer[:done]
        while done < len(view):
            try:
                count = self._recv_into(view[done:])
            except (BlockingIOError, InterruptedError):
                if not self._wait(False, self.silence):
                    raise PeerSilent("the peer was silent for too long") from None
                continue
            if not count:
                raise ConnectionEnded("the peer hung up")
            self.bytes_received += count
            done += count

    # Sending ---------------------------------------------------------------------------------------------------

    def send(self, data: Buffer) -> None:
        """Sends all. Raises PeerSilent, ConnectionEnded (duplex), OSError."""
        with memoryview(data) as whole:
            done = 0
            while done < len(whole):
                try:
                    count = self._send(whole[done:])
                except (BlockingIOError, InterruptedError):
                    self._wait_for_room()
                    continue
                self.bytes_sent += count
                done += count

    def is_behind(self) -> bool:
        """Whether the system still holds something that the wire has not taken. False where that is not known."""
        if sys.platform == "linux":
            try:
                return fcntl.ioctl(self._socket, _SIOCOUTQNSD, bytes(4)) != bytes(4)
            except OSError:
                pass  # not TCP
        return False

    def check(self) -> None:
        """Asks the owner whether to go on, as while it waits. Raises what that raises."""
        if self._tick is not None:
            self._tick()

    def _wait_for_room(self) -> None:
        start = time.monotonic()
        try:
            if not self._wait(True, self.silence):
                raise PeerSilent("the peer took nothing of what was sent for too long")
        finally:
            self.waited += time.monotonic() - start

    # What it receives and sends with, where the rate is limited --------------------------------------------------

    def _recv_limited(self, most: int) -> bytes:
        room = self._monitor.admit(most)
        data = b""
        try:
            data = self._socket.recv(room)
            return data
        finally:
            self._monitor.give_back(room - len(data))

    def _recv_into_limited(self, view: memoryview) -> int:
        room = self._monitor.admit(len(view))
        count = 0
        try:
            count = self._socket.recv_into(view[:room])
            return count
        finally:
            self._monitor.give_back(room - count)

    def _send_limited(self, view: memoryview) -> int:
        start = time.monotonic()
        room = self._monitor.admit(len(view))
        self.waited += time.monotonic() - start
        count = 0
        try:
            count = self._socket.send(view[:room])
            return count
        finally:
            self._monitor.give_back(room - count)

    # Waiting and ending ----------------------------------------------------------------------------------------

    def _wait(self, for_room: bool, seconds: float) -> bool:
        """Waits until it can send, or else receive. What comes while it waits to send is taken in if duplex."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._tick is not None:
                self._tick()
                left = min(left, _TICK)
            elif self._poll is None:
                left = min(left, _SLICE)
            if self._is_shut_down:
                raise ConnectionEnded("the conversation was ended")
            reading = not for_room or self._duplex
            if self._aside is None:
                readable, writable = self._select(reading, for_room, left)
            else:
                with self._aside():
                    readable, writable = self._select(reading, for_room, left)
            if for_room and readable and self._duplex:
                self.absorb()
                deadline = time.monotonic() + seconds
            if writable or (readable and not for_room):
                return True

    def _select(self, reading: bool, writing: bool, seconds: float) -> Tuple[bool, bool]:
        if sys.platform == "win32" or self._poll is None:
            read, write, failed = select.select(
                [self._socket] if reading else [],
                [self._socket] if writing else [],
                [self._socket] if writing else [],
                seconds,
            )
            return bool(read), bool(write or failed)
        wanted = (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0)
        self._poll.register(self._socket, wanted)
        found = self._poll.poll(max(1, int(seconds * 1000)))
        events = found[0][1] if found else 0
        ended = events & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        return bool(events & select.POLLIN or (ended and reading)), bool(events & select.POLLOUT or (ended and writing))

    def shut_down(self) -> None:
        """Ends the conversation at once; any thread may do that, and the one that uses it finds the end."""
        self._is_shut_down = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drain_and_close(self, seconds: float) -> None:
        """Says that nothing more will be sent, waits a moment for the peer to hang up, and closes.

        Closing with something unread would make the kernel throw away what the peer has not read yet: the reason why
        the connection ends among it.
        """
        deadline = time.monotonic() + seconds
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while self._select(True, False, max(deadline - time.monotonic(), 0.001))[0] and self._socket.recv(
                _READ_SIZE
            ):
                if time.monotonic() > deadline:
                    break
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        self._socket.close()
