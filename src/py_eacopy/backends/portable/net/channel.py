"""The extended dialect over a connection: whole messages in and out, packed by zstd where that was agreed upon."""

import time
from typing import List, Optional

from . import zstd
from .connection import Buffer, Connection
from .level import LevelControl
from .messages import (
    HEADER_SIZE,
    PACKABLE,
    UNPACKED_MAXIMUM,
    Message,
    Packed,
    decode,
    decode_header,
    encode,
)
from .wire import ProtocolError

#: What is gathered before it is sent, as it is and to be packed.
_PLAIN_GATHER = 256 * 1024
_PACKED_GATHER = 1792 * 1024
#: Less than this does not get smaller.
_PACKED_MINIMUM = 128


class Channel:
    """Sends and receives messages. For one thread.

    Attributes:
        level: decides about packing what is sent; replace it when another is agreed upon.
        weight, volume: over all that was packed, in both directions: bytes before packing times level, and bytes.
            Their quotient is the average level.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.level = LevelControl(0)
        self.may_unpack = False
        self.weight = self.volume = 0
        self._gathered: List[bytes] = []
        self._gathered_size = 0
        self._unpacked: Optional[memoryview] = None  # what is left of a Packed
        self._waited = 0.0

    # Receiving -------------------------------------------------------------------------------------------------

    def receive(self, seconds: Optional[float] = None) -> Message:
        """The next message, whole. Waits for its first byte so many seconds at most, or the usual silence.

        Raises ProtocolError, ConnectionEnded, PeerSilent, OSError.
        """
        while self._unpacked is None:
            connection = self.connection
            if not connection.buffered:
                connection.await_bytes(1, seconds)
            size, type_, level = decode_header(connection.read(HEADER_SIZE))
            message = decode(type_, level, connection.read(size - HEADER_SIZE))
            if not isinstance(message, Packed):
                return message
            self._unpack(message)
        return self._next_unpacked(self._unpacked)

    def receive_payload(self, type_: int, size: int) -> bytes:
        """The payload of the one message that may come now. Another one is not waited for. Raises as above."""
        header = self.connection.read(HEADER_SIZE)
        if decode_header(header) != (HEADER_SIZE + size, type_, 0):
            raise ProtocolError("a message that may not come there")
        return bytes(self.connection.read(size))

    def is_ready(self) -> bool:
        """Whether :meth:`receive` would not wait. Takes in what has come. Raises as it does."""
        if self._unpacked is not None or self._whole_is_there():
            return True
        while self.connection.absorb():
            if self._whole_is_there():
                return True
        return False

    def _whole_is_there(self) -> bool:
        head = self.connection.peek(HEADER_SIZE)
        if len(head) < HEADER_SIZE:
            return False
        return self.connection.buffered >= decode_header(head)[0]

    def _unpack(self, message: Packed) -> None:
        if not self.may_unpack:
            raise ProtocolError("a packed message that was not agreed upon")
        if message.size > UNPACKED_MAXIMUM:
            raise ProtocolError("a packed message of %d bytes" % message.size)
        try:
            content = zstd.decompress(message.frame, message.size)
        except zstd.FrameError as error:
            raise ProtocolError("a packed message that cannot be unpacked: %s" % error) from None
        if len(content) != message.size:
            raise ProtocolError("a packed message of another size than it says")
        self.weight += message.level * message.size
        self.volume += message.size
        if content:
            self._unpacked = memoryview(content)

    def _next_unpacked(self, rest: memoryview) -> Message:
        if len(rest) < HEADER_SIZE:
            raise ProtocolError("a packed message ends inside a header")
        size, type_, level = decode_header(rest)
        if type_ not in PACKABLE:
            raise ProtocolError("a message of type %d was packed" % type_)
        if size > len(rest):
            raise ProtocolError("a packed message ends inside a message")
        self._unpacked = rest[size:] if size < len(rest) else None
        return decode(type_, level, rest[HEADER_SIZE:size])

    # Sending ---------------------------------------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Sends a message, with others that come soon: see :meth:`flush`."""
        self.put_encoded(encode(message))

    def put_encoded(self, message: bytes) -> None:
        """The same for one that is encoded already."""
        if self._gathered_size + len(message) > UNPACKED_MAXIMUM:
            self.flush()
        self._gathered.append(message)
        self._gathered_size += len(message)
        if self._gathered_size >= (_PLAIN_GATHER if self.level.is_off else _PACKED_GATHER):
            self.flush()

    def put_content(self, message: memoryview) -> None:
        """The same for an encoded message that is large; its memory may be used again afterwards."""
        if self.level.is_off:
            self.flush()
            self.connection.send(message)
        else:
            self.put_encoded(bytes(message))

    @property
    def pending(self) -> int:
        """Bytes that wait for :meth:`flush`."""
        return self._gathered_size

    def flush(self) -> None:
        """Sends what was gathered: nothing more comes for now."""
        if not self._gathered:
            return
        gathered, size = self._gathered, self._gathered_size
        self._gathered, self._gathered_size = [], 0
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        self.connection.send(self._packed(data) if not self.level.is_off and size >= _PACKED_MINIMUM else data)

    def send(self, message: Message) -> None:
        """Sends a message at once, after what was gathered, and never packed."""
        self.flush()
        self.connection.send(encode(message))

    def _packed(self, data: bytes) -> Buffer:
        if len(data) > UNPACKED_MAXIMUM:
            return data
        level = self.level.next_level(len(data), self.connection.is_behind())
        if level == 0:
            return data
        waited, self._waited = self.connection.waited - self._waited, self.connection.waited
        start = time.perf_counter()
        frame = zstd.compress(data, level, self.connection.check)
        self.level.tell(time.perf_counter() - start, waited, self.connection.is_behind())
        if not self.level.is_worth(len(data), len(frame)):
            return data
        self.weight += level * len(data)
        self.volume += len(data)
        return encode(Packed(level, len(data), frame))
