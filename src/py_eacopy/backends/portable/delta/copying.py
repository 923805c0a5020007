"""Filling a destination with the contents of a source, most of which a reference has already."""

import errno
import os
import stat
import sys
import time
from typing import Iterator, Tuple

from ...._errors import ErrorKind, Operation
from ...._job import CopyOptions
from .. import system
from ..data import set_size
from ..destination import same_file
from ..monitor import Monitor
from .access import copy_range, punch_hole, read_at, share, write_at
from .matching import Matcher, Stretch

_PIECE = 1 << 20
_SHARED_PIECE = 64 << 20
#: Times of files are those of the kernel's clock ticks: what was written this long ago has a time of its own. Seconds.
_TICK = 2.0


class Reference:
    """An open reference: an older version of the source, or anything else that has parts of it.

    Args:
        path: for opening it.
        monitor: told what is being done.

    Attributes:
        descriptor: open for reading.
        info: of the file when it was opened.
        fresh: it was written so short a while ago that its times cannot tell whether it was again.
    """

    def __init__(self, path: str, monitor: Monitor) -> None:
        monitor.operation, monitor.offset = Operation.OPEN_REFERENCE, 0
        info = os.stat(path)  # opening a FIFO disturbs its writer
        self._refuse_special(info, monitor)
        self.descriptor = os.open(path, system.READ_FLAGS)
        try:
            self.info = os.fstat(self.descriptor)
            self._refuse_special(self.info, monitor)
        except BaseException:
            self.close()
            raise
        self.fresh = time.time() - self.info.st_mtime < _TICK

    @staticmethod
    def _refuse_special(info: os.stat_result, monitor: Monitor) -> None:
        if stat.S_ISDIR(info.st_mode):
            monitor.refuse(errno.EISDIR, Operation.OPEN_REFERENCE, ErrorKind.INVALID_ARGUMENT)
        if not stat.S_ISREG(info.st_mode):
            monitor.refuse(0, Operation.SPECIAL_FILE)

    def check_unchanged(self, monitor: Monitor) -> None:
        """What was taken from it is right only if it is still what it was when it was compared."""
        now = os.fstat(self.descriptor)
        before = self.info
        if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (before.st_size, before.st_mtime_ns, before.st_ctime_ns):
            monitor.refuse(errno.EBUSY, Operation.READ_REFERENCE, ErrorKind.DELTA_COPY)

    def close(self) -> None:
        system.close_quietly(self.descriptor)


class DeltaWriter:
    """Fills one destination.

    Args:
        source, info: the open source.
        reference: what it may have in common with it.
        target: the open destination: empty, or the reference itself.
        in_place: it is the reference itself.

    Attributes (of what was done):
        reused, written, read: bytes taken from the reference, written otherwise, read from both.
        size: of the result.
        cloned: it is a clone of the source; the reference was not needed.
    """

    def __init__(
        self,
        source: int,
        info: os.stat_result,
        reference: Reference,
        target: int,
        in_place: bool,
        options: CopyOptions,
        monitor: Monitor,
    ) -> None:
        self._source, self._size = source, info.st_size
        self._reference = reference
        self._target = target
        self._in_place = in_place
        self._is_reference = in_place  # or a clone of it: what is the same is there already
        self._monitor = monitor
        self._shares = options.reflink != "never"
        self._copies_ranges = options.reflink != "never"  # it may clone without being asked to
        self._block = max(getattr(info, "st_blksize", 4096) or 4096, 4096)
        self._pending = Stretch(0, 0, -1)
        self.reused = self.written = self.read = 0
        self.size = 0
        self.cloned = False

    def fill(self) -> None:
        """Makes the destination's contents those of the source."""
        monitor = self._monitor
        if self._clone_source():
            return
        self._clone()
        matcher = Matcher(self._source, self._reference.descriptor, self._reference.info.st_size)
        reached = 0
        for begin, end in self._extents():
            self._flush()
            self._leave_hole(reached, begin)
            monitor.operation, monitor.offset = Operation.READ, begin
            for stretch in matcher.stretches(begin, end):
                monitor.check()
                self._put(stretch)
                reached = stretch.start + stretch.length
                monitor.operation = Operation.READ
            if reached < end:
                break  # the source has shrunk
        else:
            self._flush()
            self._leave_hole(reached, self._size)
            reached = self._size
        self._flush()
        # A source that shrank ends where it ends now; zeros must not stand in for what was cut off.
        self.size = min(reached, os.fstat(self._source).st_size)
        # XFS flushes on closing what was truncated, even to the size that it had.
        if os.fstat(self._target).st_size != self.size:
            set_size(self._target, self.size, monitor)
        self.read = matcher.bytes_read
        if not self._in_place:
            self._reference.check_unchanged(monitor)

    def _clone_source(self) -> bool:
        """Nothing is written or read at all where the source itself can be cloned."""
        if self._in_place or not self._shares or not self._size:
            return False
        self._monitor.operation, self._monitor.offset = Operation.CLONE, 0
        self.cloned = share(self._source, 0, self._target, 0, self._size)
        if self.cloned:
            self.size = self._size
            self._monitor.advance(self._size)
        return self.cloned

    def _clone(self) -> None:
        """Begins with a clone of the whole reference, where the file system can make one and much of it can be used:
        changing that here and there costs less than sharing what lies between the changes piece by piece."""
        size = self._reference.info.st_size
        if self._in_place or not self._shares or size == 0 or size // 2 > self._size:
            return
        self._monitor.operation, self._monitor.offset = Operation.CLONE, 0
        self._is_reference = share(self._reference.descriptor, 0, self._target, 0, size)

    def _extents(self) -> Iterator[Tuple[int, int]]:
        """The stretches of the source that hold data."""
        offset = 0
        while offset < self._size:
            begin, end = offset, self._size
            if system.SPARSE and sys.platform != "win32":
                try:
                    begin = os.lseek(self._source, offset, os.SEEK_DATA)
                    end = os.lseek(self._source, begin, os.SEEK_HOLE)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        return
                    begin, end = offset, self._size
                if begin < offset or end <= begin:
                    begin, end = offset, self._size
            begin, end = min(begin, self._size), min(end, self._size)
            if begin < end:
                yield begin, end
            offset = max(end, offset + 1)

    def _leave_hole(self, begin: int, end: int) -> None:
        if end <= begin:
            return
        if self._is_reference and begin < self._reference.info.st_size:
            self._monitor.operation, self._monitor.offset = Operation.WRITE, begin
            stop = min(end, self._reference.info.st_size)
            if not punch_hole(self._target, begin, stop - begin):
                for offset in range(begin, stop, _PIECE):
                    count = min(_PIECE, stop - offset)
                    write_at(self._target, bytes(count), offset, self._monitor)
                    self.written += count
        self._monitor.advance(end - begin)

    def _put(self, stretch: Stretch) -> None:
        """Puts off what can be done together with what comes next."""
        last = self._pending
        follows = last.reference >= 0 and stretch.reference == last.reference + last.length
        if follows and stretch.start == last.start + last.length and last.length < _SHARED_PIECE:
            self._pending = last._replace(length=last.length + stretch.length)
            return
        self._flush()
        if stretch.reference >= 0:
            self._pending = stretch
        else:
            self._write(stretch.start, stretch.length)

    def _flush(self) -> None:
        start, length, reference = self._pending
        self._pending = Stretch(0, 0, -1)
        if reference < 0:
            return
        if self._is_reference and reference == start:
            self.reused += length
            self._monitor.advance(length)
            return
        if self._in_place:
            self._write(start, length)  # what it would be taken from may be overwritten already
            return
        shared = self._share(start, length, reference)
        self.reused += shared
        self._monitor.advance(shared)
        start, length, reference = start + shared, length - shared, reference + shared
        while length and self._copies_ranges:
            self._monitor.operation, self._monitor.offset = Operation.COPY, start
            piece = self._monitor.admit(min(length, _SHARED_PIECE))
            copied = copy_range(self._reference.descriptor, reference, self._target, start, piece)
            self._monitor.give_back(piece - copied)
            if not copied:
                self._copies_ranges = False
                break
            self.reused += copied
            self._monitor.advance(copied)
            self._monitor.check()
            start, length, reference = start + copied, length - copied, reference + copied
        if length:
            self._write(start, length)

    def _share(self, start: int, length: int, reference: int) -> int:
        """Shares the extents of as much as the file system allows: whole blocks. Returns how many bytes that is."""
        if not self._shares or start % self._block or reference % self._block:
            return 0
        if reference + length != self._reference.info.st_size:
            length -= length % self._block
        self._monitor.operation, self._monitor.offset = Operation.CLONE, start
        if not length:
            return 0
        if not share(self._reference.descriptor, reference, self._target, start, length):
            self._shares = False
            return 0
        return length

    def _write(self, start: int, length: int) -> None:
        monitor = self._monitor
        end = start + length
        while start < end:
            monitor.check()
            monitor.operation, monitor.offset = Operation.READ, start
            data = read_at(self._source, min(_PIECE, end - start), start)
            if not data:
                return
            monitor.operation = Operation.WRITE
            write_at(self._target, data, start, monitor)
            self.written += len(data)
            monitor.advance(len(data))
            start += len(data)


def is_same(reference: Reference, existing: "os.stat_result | None") -> bool:
    """Whether what is to be overwritten is the reference itself."""
    return existing is not None and same_file(reference.info, existing)
