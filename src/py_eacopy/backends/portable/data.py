"""Moving the data of a file, where it was not cloned: by copy_file_range, sendfile, or read and write.

Each method that gives up leaves its place to the next one at the offset that was reached, so that nothing is copied
twice and nothing is started over. Only running out of space is reported by all of them: whatever else is wrong,
reading and writing finds it again and can name its side.
"""

import errno
import io
import os
import stat
import sys
import time
from typing import Callable, List, Optional, Tuple

from ..._errors import Operation
from ..._job import CopyOptions
from . import system
from .monitor import Monitor

COPY_FILE_RANGE = "copy_file_range"
SENDFILE = "sendfile"
READ_WRITE = "read_write"

#: Read and write are fastest while the buffer stays in the processor's second-level cache; smaller files go that way.
BUFFER_MAXIMUM = 256 * 1024
#: A piece is what one call moves: few calls on a fast device, a cancel within a tenth of a second on a slow one.
#: glibc 2.41 and 2.42 return wrong values above 2 GiB, and sendfile moves at most 0x7ffff000 bytes.
PIECE_FIRST, PIECE_MINIMUM, PIECE_MAXIMUM = 1 << 20, 64 << 10, 32 << 20
PIECE_SHORT, PIECE_LONG = 0.005, 0.020  # seconds

_NO_SPACE = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

_READ, _WRITE, _COPY = Operation.READ, Operation.WRITE, Operation.COPY


def copy_data(
    source: int,
    source_info: os.stat_result,
    target: int,
    target_info: Optional[os.stat_result],
    options: CopyOptions,
    monitor: Monitor,
) -> Tuple[str, int]:
    """Copies all data of an open file to the start of another, which is empty.

    Args:
        target_info: of a destination that was there before; None when it was just created.

    Returns the method that moved the last bytes, and the number of bytes.
    """
    size = source_info.st_size
    regular = stat.S_ISREG(source_info.st_mode) and (target_info is None or stat.S_ISREG(target_info.st_mode))
    sparse = regular and _has_holes(source_info)
    if sparse and target_info is not None and os.fstat(target).st_size:
        sparse = False  # it could not be emptied, and what was there must not show through the holes
    if not regular or size == 0 or (size < BUFFER_MAXIMUM and not sparse):
        copied = _stream(source, target, size if regular else 0, options.buffer_size, monitor)
        # What was there before may have been longer, where it could not be truncated.
        if regular and target_info is not None:
            set_size(target, copied, monitor)
        return READ_WRITE, copied
    transfer = _Transfer(source, target, options, monitor)
    copied = transfer.copy_extents(size) if sparse else transfer.copy_range(0, size)
    now = os.fstat(source).st_size
    if copied == size and now > size:
        # What was appended meanwhile belongs to the file, up to where it ends now; not what is appended during that,
        # or a log that grows faster than it is copied would never end.
        copied = transfer.copy_range(size, now)
    if sparse or copied < size or target_info is not None:
        set_size(target, copied, monitor)
    return transfer.method, copied


def _has_holes(info: os.stat_result) -> bool:
    if sys.platform == "win32" or not system.SPARSE:
        return False
    # On macOS a compressed file, or one that is still in the cloud, seems to have nothing but a hole.
    if getattr(info, "st_flags", 0) & 0x40000020:
        return False
    return info.st_blocks * 512 + info.st_blksize < info.st_size


def set_size(target: int, size: int, monitor: Monitor) -> None:
    monitor.operation, monitor.offset = Operation.TRUNCATE, size
    try:
        os.ftruncate(target, size)
    except OSError:
        # Some FUSE file systems refuse with EACCES; that matters only when the size is not right already.
        if os.fstat(target).st_size != size:
            raise


def write_all(target: int, data: "memoryview | bytes", offset: int, monitor: Monitor) -> None:
    """Writes at the descriptor's position; `offset` is for the error."""
    monitor.operation, monitor.offset = _WRITE, offset
    written = os.write(target, data)
    if written == len(data):
        return
    rest = memoryview(data)
    while written < len(rest):
        monitor.offset = offset + written
        count = os.write(target, rest[written:])
        if count == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        written += count


def _stream(source: int, target: int, size: int, buffer_size: int, monitor: Monitor) -> int:
    """Reads and writes until there is nothing more: the fastest way for small files, and the only one for devices and
    for files whose size says nothing (`size` 0: procfs). Returns the number of bytes.
    """
    # A byte more than expected: a read that comes back short has seen the end, and needs no other to find it.
    wanted = min(size + 1 if size else BUFFER_MAXIMUM, buffer_size)
    offset = 0
    while True:
        monitor.operation, monitor.offset = _READ, offset
        limited = monitor.throttle is not None
        piece = monitor.admit(wanted) if limited else wanted
        data = os.read(source, piece)
        count = len(data)
        if limited:
            monitor.give_back(piece - count)
        if not data:
            return offset
        write_all(target, data, offset, monitor)
        offset += count
        monitor.advance(count)
        if size and count < piece and offset >= size:
            return offset
        monitor.check()


class _Transfer:
    """A large file on its way: which method is the turn of, and how much one call of it moves."""

    def __init__(self, source: int, target: int, options: CopyOptions, monitor: Monitor) -> None:
        self._source = source
        self._target = target
        self._monitor = monitor
        self._piece = PIECE_FIRST
        self._buffer_size = min(options.buffer_size, BUFFER_MAXIMUM)
        self._buffer: Optional[memoryview] = None
        self._readinto: Callable[[memoryview], Optional[int]]
        self._position = -1  # of both descriptors, as far as read and write know
        self._ladder: List[Tuple[str, Callable[[int, int], int]]] = [(READ_WRITE, self._read_write)]
        if system.SENDFILE:
            self._ladder.append((SENDFILE, self._sendfile))
        # It may clone without being asked to.
        if system.COPY_FILE_RANGE and options.reflink != "never":
            self._ladder.append((COPY_FILE_RANGE, self._copy_file_range))
        self.method = READ_WRITE

    def copy_range(self, begin: int, end: int) -> int:
        """Copies [begin, end) by the first method that works, and returns how far it came: less than `end` where the
        source ends before.
        """
        monitor, ladder = self._monitor, self._ladder
        offset = begin
        clock = time.perf_counter
        while offset < end:
            monitor.check()
            method, move = ladder[-1]
            wanted = min(self._piece, end - offset)
            limited = monitor.throttle is not None
            if limited:
                wanted = monitor.admit(wanted)
            start = clock()
            moved = move(offset, wanted)
            if limited:
                monitor.give_back(wanted - moved)
            if moved == 0:
                # The end of the file, or a file system that does not know better (procfs, overlays); reading tells.
                if len(ladder) == 1:
                    break
                ladder.pop()
                continue
            took = clock() - start
            if took < PIECE_SHORT:
                self._piece = min(self._piece * 2, PIECE_MAXIMUM)
            elif took > PIECE_LONG:
                self._piece = max(self._piece // 2, PIECE_MINIMUM)
            self.method = method
            offset += moved
            monitor.advance(moved)
        return offset

    def copy_extents(self, size: int) -> int:
        """Copies the stretches with data and leaves the holes between them. Returns the size of the copy."""
        if sys.platform == "win32":
            return self.copy_range(0, size)
        source, monitor = self._source, self._monitor
        offset = 0
        while offset < size:
            monitor.check()
            try:
                data = os.lseek(source, offset, os.SEEK_DATA)
                hole = os.lseek(source, data, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left, or the source shrank
                    monitor.advance(size - offset)
                    break
                data = hole = -1
            if data < offset or hole <= data:
                # Not supported here, or the file changes under us: the rest is copied as data, which always advances.
                data, hole = offset, size
            data, hole = min(data, size), min(hole, size)
            self._position = -1
            monitor.advance(data - offset)
            reached = self.copy_range(data, hole)
            if reached < hole:
                return reached
            offset = hole
        # A source that shrank meanwhile ends where it ends now; zeros must not stand in for what was cut off.
        return min(size, os.fstat(source).st_size)

    def _copy_file_range(self, offset: int, count: int) -> int:
        if sys.platform != "linux":
            return 0
        self._monitor.operation, self._monitor.offset = _COPY, offset
        try:
            return os.copy_file_range(self._source, self._target, count, offset, offset)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            # ENOSYS EPERM (seccomp), EOPNOTSUPP ENOTTY EINVAL, EBADF (append mode), EXDEV, ETXTBSY, EIO ENOENT (CIFS),
            # EACCES (fuse-overlayfs), EOVERFLOW, EFBIG and whatever else
            return 0

    def _sendfile(self, offset: int, count: int) -> int:
        if sys.platform != "linux":
            return 0
        self._monitor.operation, self._monitor.offset = _COPY, offset
        try:
            # It writes at the destination's own position.
            os.lseek(self._target, offset, os.SEEK_SET)
            return os.sendfile(self._target, self._source, offset, count)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            return 0  # EINVAL (procfs, append mode), ENOSYS EPERM (seccomp)...

    def _seek_target(self, offset: int) -> None:
        self._monitor.operation = _WRITE
        try:
            os.lseek(self._target, offset, os.SEEK_SET)
        except OSError as error:
            if error.errno == errno.EINVAL:  # no file can be as large as that there
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from None
            raise
        self._monitor.operation = _READ

    def _read_write(self, offset: int, count: int) -> int:
        monitor = self._monitor
        if self._buffer is None:
            self._buffer = memoryview(bytearray(self._buffer_size))
            # Into one buffer again and again: a new one for each read costs as much as the reading.
            self._readinto = io.FileIO(self._source, closefd=False).readinto
        monitor.operation, monitor.offset = _READ, offset
        if self._position != offset:
            os.lseek(self._source, offset, os.SEEK_SET)
            self._seek_target(offset)
        moved = self._readinto(self._buffer[:count] if count < self._buffer_size else self._buffer) or 0
        if moved:
            write_all(self._target, self._buffer[:moved], offset, monitor)
        self._position = offset + moved
        return moved
