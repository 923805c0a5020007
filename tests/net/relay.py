"""A TCP relay between a client and a server, which delays, splits, stalls, alters, records and cuts what goes through.

Positions are counted in bytes from the start, over all connections for stalling and cutting (so that a place in the
whole conversation can be named), and for each connection apart for altering.
"""

import contextlib
import socket
import struct
import threading
import time
from typing import Dict, List, Optional

from . import end_accepting

PIECE = 65536


class Way:
    """What happens to the bytes of one direction.

    Args:
        delay: seconds that what has arrived is held up.
        piece: most bytes that are passed on at once; with 1 each byte is a segment of its own.
        pause: seconds after each of them.
        stall_at: after so many bytes nothing more is passed on, until :meth:`Relay.resume`.
        cut_at: after so many bytes all connections are cut.
        alter: for each connection: positions, and what the byte there is XORed with.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        piece: int = PIECE,
        pause: float = 0.0,
        stall_at: Optional[int] = None,
        cut_at: Optional[int] = None,
        alter: Optional[Dict[int, int]] = None,
    ) -> None:
        self.delay, self.piece, self.pause, self.stall_at, self.cut_at = delay, piece, pause, stall_at, cut_at
        self.alter = alter or {}
        self.passed = 0

    def room(self) -> int:
        """How many bytes may pass before something happens."""
        ends = [end for end in (self.stall_at, self.cut_at) if end is not None and end >= self.passed]
        return min(ends) - self.passed if ends else PIECE


class Conversation:
    """One connection, and what was passed on of what was said on it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.to_server = bytearray()
        self.to_client = bytearray()

    def close(self, *, reset: bool = False) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Relay:
    """Listens at :attr:`port` of 127.0.0.1 and passes everything on to another port there.

    Args:
        target: the server's port.
        to_server, to_client: what happens in each direction.
        cuts: how many times it cuts; then it passes everything on. While it has cut for good, it takes no connections.
        reset: cut connections end with a reset, instead of an orderly end.
    """

    def __init__(
        self,
        target: int,
        *,
        to_server: Optional[Way] = None,
        to_client: Optional[Way] = None,
        cuts: Optional[int] = None,
        reset: bool = False,
    ) -> None:
        self._target, self._cuts, self._reset = target, cuts, reset
        self.to_server, self.to_client = to_server or Way(), to_client or Way()
        self.conversations: List[Conversation] = []
        self.stalled = threading.Event()
        self.was_cut = threading.Event()
        self._resumed = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._threads: List[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def resume(self) -> None:
        """Lets what is stalled go on, for good."""
        self._resumed.set()

    def cut(self) -> None:
        """Cuts all connections now."""
        with self._lock:
            conversations = list(self.conversations)
        for conversation in conversations:
            conversation.close(reset=self._reset)

    def close(self) -> None:
        self._closed = True
        self._resumed.set()
        end_accepting(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the relay hangs"

    def recorded(self, direction: str) -> bytes:
        """All that went in one direction ("to_server", "to_client"), connection after connection."""
        return b"".join(bytes(getattr(conversation, direction)) for conversation in self.conversations)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._closed:
                client.close()
                return
            if self.was_cut.is_set() and self._cuts is None:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation(client, server)
            with self._lock:
                self.conversations.append(conversation)
            self._start(self._pass, conversation, client, server, self.to_server, conversation.to_server)
            self._start(self._pass, conversation, server, client, self.to_client, conversation.to_client)

    def _pass(
        self, conversation: Conversation, source: socket.socket, target: socket.socket, way: Way, record: bytearray
    ) -> None:
        try:
            while True:
                data = source.recv(PIECE)
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                if way.delay:
                    time.sleep(way.delay)
                if way.alter:
                    data = bytes(byte ^ way.alter.get(position, 0) for position, byte in enumerate(data, len(record)))
                while data:
                    with self._lock:
                        size = min(way.room(), way.piece, len(data))
                        way.passed += size
                    if size:
                        record += data[:size]
                        target.sendall(data[:size])
                        data = data[size:]
                        time.sleep(way.pause)
                    else:
                        self._event(way)
        except OSError:
            conversation.close(reset=self._reset)

    def _event(self, way: Way) -> None:
        """The place has been reached where something happens."""
        if way.passed == way.stall_at:
            self.stalled.set()
            self._resumed.wait()
            with self._lock:
                way.stall_at = None
            return
        with self._lock:
            if way.cut_at is not None and way.passed == way.cut_at:
                way.cut_at = None
        self.was_cut.set()
        self.cut()
        raise OSError("cut")
