"""A file of which a newer version is on its way: what both have need not be sent."""

import errno
import hashlib
import os
import stat
import zlib
from typing import Callable, Iterator, List, Optional, Tuple, Union

from ...._errors import ErrorKind, Operation
from .. import system
from ..delta.access import read_at
from ..delta.signatures import BlockFinder, Part, Reused, Signatures, block_size_for, new_salt, signature_of
from ..delta.zstd_prefix import Decompressor, read_header
from ..monitor import Monitor
from . import messages
from .messages import Data, Hole, Reference, Reuse
from .store import extents
from .wire import ProtocolError

#: Smaller files are not worth it, unless it is asked for.
WORTH_DELTA = 256 * 1024
#: Patches need both versions in memory.
PATCHED_MAXIMUM = 256 << 20
#: A patch of "auto", or of none.
PATCH_LEVEL = 3

_PIECE = 256 * 1024
_SIGNATURES_OF_MESSAGE = 16 * 1024
_FRAME_HEAD = 18
#: What file systems share are whole blocks; sharing less than that costs more than writing it.
_BLOCK, _WORTH_CLONING, _CLONED_PIECE = 4096, 128 * 1024, 64 << 20
#: So much is given to the decoder at once: what comes out of it is bounded, even where the module has no limit itself.
_FED = 1024

Write = Callable[[bytes], None]


class OlderVersion:
    """An open file, which may be replaced meanwhile; it must be closed.

    Args:
        descriptor: belongs to it.

    Attributes:
        size, mtime: as they were then.
        clones: whether its blocks may be shared; not where that was refused.
    """

    def __init__(self, descriptor: int, monitor: Monitor) -> None:
        self.descriptor = descriptor
        self._monitor = monitor
        try:
            info = os.fstat(descriptor)
            monitor.operation = Operation.OPEN_REFERENCE
            if stat.S_ISDIR(info.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(info.st_mode):
                monitor.refuse(errno.EINVAL, Operation.SPECIAL_FILE)
        except BaseException:
            self.close()
            raise
        self.size, self.mtime = info.st_size, info.st_mtime_ns
        self.clones = True
        self._block = max(getattr(info, "st_blksize", 0), _BLOCK)

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            system.close_quietly(descriptor)

    def is_like(self, size: int) -> bool:
        """Whether its signatures are of use for a file of this size: they must not cost what they could save."""
        block = block_size_for(self.size) if self.size else 0
        return block > 0 and self.size // block * messages.SIGNATURE_SIZE <= size // 4

    def digest(self) -> bytes:
        """Raises OSError."""
        digest = hashlib.md5()
        for piece in self._pieces(_PIECE):
            digest.update(piece)
        return digest.digest()

    def is_that(self, reference: Reference) -> bool:
        """Whether it is what somebody has. Raises OSError."""
        return self.size == reference.size and self.digest() == reference.md5

    def read(self) -> bytes:
        """All of it. Raises OSError."""
        return b"".join(self._pieces(_PIECE))

    def read_exactly(self, reference: Reference) -> Optional[bytes]:
        """All of it. None: it is not what somebody has, or cannot be read.

        What is in memory is what counts: the file may change meanwhile.
        """
        try:
            content = self.read()
        except OSError:
            return None
        return content if hashlib.md5(content).digest() == reference.md5 else None

    def signatures(self, number: int) -> Iterator[messages.Signatures]:
        """Its signatures, as messages. Raises OSError."""
        block, salt = block_size_for(self.size), new_salt()
        salted = salt.to_bytes(4, "little")
        gathered: List[bytes] = []
        first = 0
        for piece in self._pieces(max(block, _PIECE)):  # powers of two: whole blocks
            view = memoryview(piece)
            gathered += [signature_of(salted, view[begin : begin + block]) for begin in range(0, len(piece), block)]
            if len(gathered) >= _SIGNATURES_OF_MESSAGE:
                yield messages.Signatures(number, block, self.size, salt, first, b"".join(gathered))
                first += len(gathered)
                gathered = []
        if gathered:
            yield messages.Signatures(number, block, self.size, salt, first, b"".join(gathered))

    def parts(self, offset: int, length: int, position: int) -> Iterator[Tuple[int, int, bool]]:
        """Cuts a stretch that is to be at `position` of another file: offset, length, and whether it can be shared."""
        end = offset + length
        if self.clones and length >= _WORTH_CLONING and offset % self._block == position % self._block:
            head = -offset % self._block
            if head:
                yield offset, head, False
            offset += head
            while self.clones and end - offset >= self._block:
                some = min((end - offset) // self._block * self._block, _CLONED_PIECE)
                yield offset, some, True
                offset += some
        if offset < end:
            yield offset, end - offset, False

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes of a stretch. Raises OSError, also when there are less by now."""
        while length:
            self._monitor.check()
            self._monitor.operation, self._monitor.offset = Operation.READ_REFERENCE, offset
            data = read_at(self.descriptor, min(_PIECE, length), offset)
            if len(data) != min(_PIECE, length):
                self._monitor.refuse(errno.EBUSY, Operation.READ_REFERENCE, ErrorKind.DELTA_COPY)
            yield data
            offset, length = offset + len(data), length - len(data)

    def _pieces(self, piece: int) -> Iterator[bytes]:
        offset = 0
        while offset < self.size:
            self._monitor.check()
            self._monitor.operation, self._monitor.offset = Operation.READ_REFERENCE, offset
            data = read_at(self.descriptor, min(piece, self.size - offset), offset)
            if len(data) != min(piece, self.size - offset):
                self._monitor.refuse(errno.EBUSY, Operation.READ_REFERENCE, ErrorKind.DELTA_COPY)
            yield data
            offset += len(data)


def add_signatures(known: Optional[Signatures], message: messages.Signatures) -> Signatures:
    """Adds what a message says; the first one begins. Raises ProtocolError for what cannot be next."""
    try:
        if known is None:
            known = Signatures(message.size, message.block_size, message.salt)
        same = (known.size, known.block_size, known.salt) == (message.size, message.block_size, message.salt)
        if not same or message.first != len(known):
            raise ValueError("signatures of another file, or not the next ones")
        known.add(message.blocks)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    return known


class Shrank(OSError):
    """A file became shorter while it was read."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the file became shorter while it was read")


class Difference:
    """What differs between an open file and one whose signatures are known.

    Attributes:
        crc: of all the bytes so far, those of the other file too.
    """

    def __init__(self, descriptor: int, size: int, signatures: Signatures, monitor: Monitor) -> None:
        self._descriptor, self._size, self._monitor = descriptor, size, monitor
        self._finder = BlockFinder(signatures)
        self.crc = 0

    def messages(self) -> Iterator[Union[Data, Hole, Reuse]]:
        """The content, as messages. Raises OSError, Shrank."""
        monitor, finder, offset = self._monitor, self._finder, 0
        for begin, end in [*extents(self._descriptor, self._size), (self._size, self._size)]:
            if begin > offset:
                yield from map(_message, finder.finish(False))
                yield Hole(begin - offset)
                offset = begin
            while offset < end:
                monitor.check()
                monitor.operation, monitor.offset = Operation.READ, offset
                data = read_at(self._descriptor, min(_PIECE, end - offset), offset)
                if not data:
                    raise Shrank
                self.crc = zlib.crc32(data, self.crc)
                offset += len(data)
                yield from map(_message, finder.add(data))
        yield from map(_message, finder.finish(True))


def _message(part: Part) -> Union[Data, Reuse]:
    return Reuse(*part) if isinstance(part, Reused) else Data(part)


class Damaged(Exception):
    """What arrived does not fit the older version, or is none of what was announced."""


class Patch:
    """A patch that arrives in pieces: one zstd frame made with the older version as prefix.

    Args:
        size: of what it makes.
        write: takes that.
        unchecked: one without a checksum will do, too.

    Attributes:
        has_checksum: whether it has one, as far as that is known.
    """

    def __init__(self, older: OlderVersion, size: int, write: Write, *, unchecked: bool = False) -> None:
        self._older, self._size, self._write = older, size, write
        self._unchecked, self.has_checksum = unchecked, False
        self._head = b""
        self._decompressor: Optional[Decompressor] = None
        self._made = 0

    def add(self, data: "messages.Buffer") -> None:
        """Raises Damaged, and OSError."""
        if self._decompressor is None:
            self._head += bytes(data)
            if len(self._head) < _FRAME_HEAD:
                return
            data = self._begin()
        self._decode(bytes(data))

    def finish(self) -> None:
        """Nothing more comes. Raises Damaged, and OSError."""
        if self._decompressor is None:
            self._decode(self._begin())
        assert self._decompressor is not None
        if not self._decompressor.at_end or self._made != self._size:
            raise Damaged

    def _begin(self) -> bytes:
        # Whatever cannot be right is refused before memory is taken for it.
        header = read_header(self._head)
        largest = max(self._size, self._older.size)
        if header is None or header.dictionary or header.content_size != self._size:
            raise Damaged
        self.has_checksum = header.has_checksum
        if not (header.has_checksum or self._unchecked):
            raise Damaged
        if largest > PATCHED_MAXIMUM:
            raise Damaged
        self._decompressor = Decompressor(self._older.read(), largest)
        head, self._head = self._head, b""
        return head

    def _decode(self, data: bytes) -> None:
        decompressor = self._decompressor
        assert decompressor is not None
        try:
            for begin in range(0, len(data), _FED):
                fed = data[begin : begin + _FED]
                while fed or not decompressor.needs_input:
                    if decompressor.at_end:
                        raise Damaged  # something follows the frame
                    made = decompressor.decompress(fed, _PIECE)
                    fed = b""
                    self._made += len(made)
                    if self._made > self._size:
                        raise Damaged
                    if made:
                        self._write(made)
                    if decompressor.at_end:
                        if decompressor.unused:
                            raise Damaged
                        break
        except decompressor.error:
            raise Damaged from None
