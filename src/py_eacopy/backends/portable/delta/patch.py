"""Patch files: the difference between a reference and a source, as zstd frames with the reference as prefix.

Up to WHOLE_MAXIMUM bytes on either side a patch is one frame with the whole reference as its prefix, which
`zstd -d --patch-from=REFERENCE` applies too. Beyond that it is windowed, so that the memory stays bounded: for each
SEGMENT of the source a skippable frame that says which stretch of the reference is the prefix, and a frame.
"""

import errno
import struct
from typing import Iterator, NoReturn, Tuple

from ...._errors import ErrorKind, Operation
from .. import system
from ..monitor import Monitor
from .access import read_at, write_at
from .zstd_prefix import Compressor, Decompressor, FrameHeader, read_header

WHOLE_MAXIMUM = 1 << 30
SEGMENT = 256 << 20
#: The prefix of a segment reaches so far to either side of its place in the reference.
_REACH = 256 << 20
_PIECE = 1 << 20
_READ = 64 << 10

#: A skippable frame of RFC 8878: its magic number and size, then a tag, where the prefix begins and ends in the
#: reference, and how long the segment is.
_SEGMENT_MAGIC = 0x184D2A5E
_SEGMENT_HEAD = struct.Struct("<II8sQQQ")
_TAG = b"eacopyP1"


def create(
    source: int, size: int, reference: int, reference_size: int, patch: int, level: int, monitor: Monitor
) -> int:
    """Writes the patch that makes the source out of the reference; returns its size.

    Args:
        source, reference: open files, and their sizes.
        patch: an empty open file.
        level: of zstd, 1 to 22.
    """
    written = 0
    whole = max(size, reference_size) <= WHOLE_MAXIMUM
    for begin, end in [(0, size)] if whole else _segments(size):
        first, last = (0, reference_size) if whole else _prefix_of(begin, end, reference_size)
        if not whole:
            head = _SEGMENT_HEAD.pack(_SEGMENT_MAGIC, _SEGMENT_HEAD.size - 8, _TAG, first, last, end - begin)
            written = _append(patch, head, written, monitor)
        monitor.operation, monitor.offset = Operation.READ_REFERENCE, first
        prefix = read_at(reference, last - first, first)
        if len(prefix) != last - first:
            monitor.refuse(errno.EBUSY, Operation.READ_REFERENCE, ErrorKind.DELTA_COPY)
        compressor = Compressor(prefix, end - begin, level, monitor.check)
        del prefix
        for offset in range(begin, end, _PIECE):
            monitor.check()
            monitor.operation, monitor.offset = Operation.READ, offset
            piece = read_at(source, min(_PIECE, end - offset), offset)
            if len(piece) != min(_PIECE, end - offset):
                monitor.refuse(errno.EBUSY, Operation.READ, ErrorKind.DELTA_COPY)  # it shrank
            written = _append(patch, compressor.compress(piece), written, monitor)
            monitor.advance(len(piece))
        written = _append(patch, compressor.finish(), written, monitor)
    return written


def apply(
    patch: int, reference: int, reference_size: int, target: int, allow_unchecked: bool, monitor: Monitor
) -> Tuple[int, int]:
    """Writes what a patch makes out of the reference; returns how many bytes that is, and the size of the patch.

    Args:
        target: an empty open file.
        allow_unchecked: go on when the patch has no checksum.
    """
    reader = _Reader(patch, monitor)
    head = reader.peek(_SEGMENT_HEAD.size)
    segments = int.from_bytes(head[:4], "little") == _SEGMENT_MAGIC
    written = 0
    while True:
        first, last, promised = 0, reference_size, -1
        if segments:
            first, last, promised = _segment(reader, reference_size, monitor)
        header = read_header(reader.peek(18))
        if header is None:
            _damaged(monitor)
        _check(header, promised, last - first, target, written, allow_unchecked, monitor)
        monitor.operation, monitor.offset = Operation.READ_REFERENCE, first
        prefix = read_at(reference, last - first, first)
        monitor.begin(header.content_size or 0)
        written = _decode(reader, header, prefix, target, written, monitor)
        del prefix
        if not reader.peek(1):
            return written, reader.offset
        if not segments:
            _damaged(monitor)  # something follows the frame


def _decode(reader: "_Reader", header: FrameHeader, prefix: bytes, target: int, written: int, monitor: Monitor) -> int:
    decompressor = Decompressor(prefix, max(header.window_size, len(prefix)))
    end = None if header.content_size is None else written + header.content_size
    try:
        data = b""
        while not decompressor.at_end:
            monitor.check()
            if not data and decompressor.needs_input:
                data = reader.take(_READ)
                if not data:
                    _damaged(monitor)  # it is cut off
            piece = decompressor.decompress(data, _PIECE)
            data = b""
            if end is not None and written + len(piece) > end:
                _damaged(monitor)
            monitor.operation, monitor.offset = Operation.WRITE, written
            write_at(target, piece, written, monitor)
            written += len(piece)
            monitor.advance(len(piece))
    except decompressor.error:
        _damaged(monitor)
    reader.give_back(decompressor.unused)
    if end is not None and written != end:
        _damaged(monitor)
    return written


def _check(
    header: FrameHeader, promised: int, prefix: int, target: int, written: int, allow_unchecked: bool, monitor: Monitor
) -> None:
    """Refuses what cannot be right before memory or disk is taken for it."""
    if header.dictionary or (promised >= 0 and header.content_size != promised):
        _damaged(monitor)
    if not header.has_checksum and not allow_unchecked:
        monitor.refuse(0, Operation.READ_PATCH, ErrorKind.CONFIGURATION)
    if header.window_size > 1 << 31:
        monitor.refuse(0, Operation.READ_PATCH, ErrorKind.UNSUPPORTED)
    needed = header.content_size or 0
    available = system.free_space(target, "")
    if available and needed > available:
        monitor.refuse(errno.ENOSPC, Operation.WRITE)


def _damaged(monitor: Monitor) -> NoReturn:
    monitor.refuse(0, Operation.READ_PATCH, ErrorKind.DELTA_COPY)


def _segment(reader: "_Reader", reference_size: int, monitor: Monitor) -> Tuple[int, int, int]:
    head = reader.peek(_SEGMENT_HEAD.size)
    if len(head) != _SEGMENT_HEAD.size:
        _damaged(monitor)
    reader.take(len(head))
    magic, size, tag, first, last, length = _SEGMENT_HEAD.unpack(head)
    if magic != _SEGMENT_MAGIC or size != _SEGMENT_HEAD.size - 8 or tag != _TAG:
        _damaged(monitor)
    if first > last or last > reference_size or last - first > SEGMENT + 2 * _REACH or length > SEGMENT:
        _damaged(monitor)
    return first, last, length


def _segments(size: int) -> Iterator[Tuple[int, int]]:
    for begin in range(0, max(size, 1), SEGMENT):
        yield begin, min(begin + SEGMENT, size)


def _prefix_of(begin: int, end: int, reference_size: int) -> Tuple[int, int]:
    return min(max(begin - _REACH, 0), reference_size), min(end + _REACH, reference_size)


def _append(patch: int, data: bytes, offset: int, monitor: Monitor) -> int:
    monitor.operation, monitor.offset = Operation.WRITE, offset
    write_at(patch, data, offset, monitor)
    return offset + len(data)


class _Reader:
    """Reads a file from its start, and can look ahead."""

    def __init__(self, descriptor: int, monitor: Monitor) -> None:
        self._descriptor, self._monitor = descriptor, monitor
        self._ahead = b""
        self._position = 0

    @property
    def offset(self) -> int:
        """How much was taken."""
        return self._position - len(self._ahead)

    def peek(self, count: int) -> bytes:
        if len(self._ahead) < count:
            self._ahead += self._read(count - len(self._ahead))
        return self._ahead[:count]

    def take(self, most: int) -> bytes:
        if not self._ahead:
            return self._read(most)
        taken, self._ahead = self._ahead[:most], self._ahead[most:]
        return taken

    def give_back(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def _read(self, count: int) -> bytes:
        self._monitor.operation, self._monitor.offset = Operation.READ_PATCH, self._position
        data = read_at(self._descriptor, count, self._position)
        self._position += len(data)
        return data
