"""How files come to be on the server: complete before they get their names, and no other name of what was there before
changes."""

import contextlib
import errno
import os
import random
import stat
import sys
import zlib
from types import TracebackType
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple, Type, Union

from ...._errors import Operation
from .. import at, system
from ..clone import clone
from ..delta.access import share
from ..destination import same_file
from ..metadata import read_attributes, write_attributes
from ..monitor import Monitor
from ..temporary import TRIES, claim, is_temporary, remove_if_dead
from .messages import MODE_UNKNOWN
from .open_directories import OpenDirectory, is_regular, patiently

_DEEPEST = 256
_BLOCK = 256 * 1024
_names = random.Random(os.urandom(16))

Attributes = Tuple[Tuple[bytes, bytes], ...]


class NewMetadata(NamedTuple):
    """What a file is given beside its content; times are nanoseconds since 1970."""

    mode: int = MODE_UNKNOWN
    mtime: Optional[int] = None  # None: stays as it is
    atime: int = 0
    attributes: Attributes = ()
    durable: bool = False


def is_temporary_name(name: bytes) -> bool:
    """Whether a name is one of those that unfinished files have."""
    return is_temporary(os.fsdecode(name))


def temporary_name() -> bytes:
    # Need not be secret, because it is opened only where it is new; this costs no system call.
    return b".eacopy-%016x.tmp" % _names.getrandbits(64)


class TemporaryFile:
    """A new file in an open directory, locked while it is written, so that the dead can be told from the living.

    As a context manager it is removed at the end, unless it was finished.

    Attributes:
        size: what was written so far, holes included.
    """

    def __init__(self, directory: OpenDirectory, monitor: Monitor, mode: int = 0o600) -> None:
        self._directory = directory
        self._monitor = monitor
        self._end = 0  # of the last data
        self._holes: List[Tuple[int, int]] = []
        self.size = 0
        self.descriptor = -1
        monitor.operation, monitor.offset = Operation.OPEN_DESTINATION, 0
        flags = at.CREATE_FLAGS | at.O_NOFOLLOW
        while self.descriptor < 0:
            self._name = temporary_name()
            try:
                descriptor = patiently(lambda: at.open(self._name, flags, mode, dir_fd=directory.descriptor))
            except FileExistsError:
                continue
            if claim(descriptor):
                self.descriptor = descriptor
            else:
                system.close_quietly(descriptor)  # somebody who clears up took it for dead

    def __enter__(self) -> "TemporaryFile":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.discard()

    def write(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Appends."""
        monitor = self._monitor
        monitor.operation = Operation.WRITE
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                monitor.offset = self.size
                count = at.pwrite(self.descriptor, view[done:], self.size)
                done += count
                self.size += count
        self._end = self.size

    def hole(self, length: int) -> None:
        """Appends zeros that take no room."""
        if not length:
            return
        if self.size + length >= 1 << 63:
            self._monitor.operation = Operation.TRUNCATE
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._holes.append((self.size, self.size + length))
        self.size += length

    def verify(self, crc: int) -> None:
        """Reads what was written again, from the device if possible, and compares."""
        monitor = self._monitor
        monitor.operation = Operation.VERIFY
        self._set_size()
        with contextlib.suppress(OSError):
            os.fsync(self.descriptor)
            if sys.platform == "linux":
                os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        found = offset = 0
        holes = [*self._holes, (self.size, self.size)]
        for begin, end in holes:
            while offset < begin:
                monitor.check()
                monitor.operation, monitor.offset = Operation.VERIFY, offset
                data = at.pread(self.descriptor, min(_BLOCK, begin - offset), offset)
                if not data:
                    monitor.refuse(0, Operation.VERIFY)
                found = zlib.crc32(data, found)
                offset += len(data)
            offset = end
        if found != crc:
            monitor.offset = 0
            monitor.refuse(0, Operation.VERIFY)

    def finish(self, name: bytes, metadata: NewMetadata) -> None:
        """Gives it its metadata and its name."""
        self._set_size()
        monitor, directory = self._monitor, self._directory.descriptor
        set_metadata(self.descriptor, metadata, monitor)
        if metadata.durable:
            monitor.operation = Operation.SYNC
            at.sync(self.descriptor)
        monitor.operation = Operation.RENAME
        at.rename(self._name, name, src_dir_fd=directory, dst_dir_fd=directory)
        descriptor, self.descriptor = self.descriptor, -1
        monitor.operation = Operation.CLOSE
        os.close(descriptor)  # network file systems may tell only now that they could not write
        if metadata.durable:
            sync_directory(self._directory, monitor)

    def _set_size(self) -> None:
        if self._end != self.size:
            self._monitor.operation, self._monitor.offset = Operation.TRUNCATE, self.size
            at.ftruncate(self.descriptor, self.size)
            self._end = self.size

    def clone_from(self, source: int, size: int) -> bool:
        """Shares all data with an open file that is so long. False where the file system cannot do that."""
        if clone(source, self.descriptor, self._monitor) != 0:
            return False
        self.size = self._end = size
        return True

    def share_from(self, source: int, offset: int, length: int) -> bool:
        """Appends whole blocks of an open file by sharing them. False where the file system cannot do that."""
        self._monitor.operation, self._monitor.offset = Operation.CLONE, self.size
        if not share(source, offset, self.descriptor, self.size, length):
            return False
        self.size += length
        self._end = self.size
        return True

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """What a stretch of it holds by now."""
        while length:
            self._monitor.check()
            data = at.pread(self.descriptor, min(_BLOCK, length), offset)
            if not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield data
            offset, length = offset + len(data), length - len(data)

    def copy_from(self, source: int, size: int) -> None:
        """Copies the data of an open file that is so long."""
        monitor = self._monitor
        for begin, end in extents(source, size):
            self.hole(begin - self.size)
            while self.size < end:
                monitor.check()
                monitor.operation, monitor.offset = Operation.READ, self.size
                data = at.pread(source, min(_BLOCK, end - self.size), self.size)
                if not data:
                    break
                self.write(data)
        self.hole(size - self.size)

    def discard(self) -> None:
        """Removes it, still locked, unless it has its name."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                at.unlink(self._name, dir_fd=self._directory.descriptor)
            system.close_quietly(descriptor)


def extents(source: int, size: int) -> List[Tuple[int, int]]:
    """Begin and end of each piece of data of an open file, as far as the file system tells holes from data."""
    if sys.platform == "win32":
        return [(0, size)] if size else []
    if not system.SPARSE or not hasattr(os.fstat(source), "st_blocks") or os.fstat(source).st_blocks * 512 >= size:
        return [(0, size)] if size else []
    found: List[Tuple[int, int]] = []
    offset = 0
    try:
        while offset < size:
            try:
                begin = os.lseek(source, offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    break
                raise
            if begin >= size:
                break
            offset = min(os.lseek(source, begin, os.SEEK_HOLE), size)
            found.append((begin, offset))
    except OSError:
        return [(0, size)]
    return found


def sync_directory(directory: OpenDirectory, monitor: Monitor) -> None:
    """Makes the names in a directory durable."""
    monitor.operation = Operation.SYNC
    descriptor = at.open(".", at.DIRECTORY_FLAGS, dir_fd=directory.descriptor)
    try:
        at.sync(descriptor)
    finally:
        system.close_quietly(descriptor)


# Metadata ----------------------------------------------------------------------------------------------------------


def set_metadata(target: int, metadata: NewMetadata, monitor: Monitor) -> None:
    """Gives an open file or directory metadata; attributes before a mode that would forbid them, times last."""
    if metadata.attributes:
        named = [(os.fsdecode(name), value) for name, value in metadata.attributes]
        write_attributes(target, named, monitor)
    if metadata.mode != MODE_UNKNOWN:
        monitor.operation = Operation.SET_MODE
        try:
            at.fchmod(target, metadata.mode & 0o7777)
        except OSError as error:
            if error.errno not in system.NOT_SUPPORTED | {errno.EPERM}:
                raise
    if metadata.mtime is not None:
        monitor.operation = Operation.SET_TIMES
        try:
            at.utime(target, ns=(metadata.atime, metadata.mtime))
        except OverflowError:  # the wire can say times that the system cannot
            raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW)) from None


def read_attributes_of(directory: OpenDirectory, name: bytes, monitor: Monitor) -> Attributes:
    """The extended attributes of a name in an open directory, which is not followed if it is a link."""
    # Python has no call that takes a directory and a name; the descriptor's entry in /proc leads there.
    path = "/proc/self/fd/%d/%s" % (directory.descriptor, os.fsdecode(name))
    found = read_attributes(path, monitor, follow_symlinks=False)
    return tuple((os.fsencode(key), value) for key, value in found if not is_privileged(os.fsencode(key)))


def is_privileged(attribute: bytes) -> bool:
    """Attributes that say what a file may do, or that only the system uses."""
    return attribute.startswith((b"security.", b"trusted."))


# Links -------------------------------------------------------------------------------------------------------------


def store_symlink(
    directory: OpenDirectory, name: bytes, target: bytes, metadata: NewMetadata, monitor: Monitor
) -> bool:
    """Makes a symbolic link in place of what has the name. False: an equal one was there."""
    where = directory.descriptor
    monitor.operation = Operation.MAKE_LINK
    made = name
    for tries in reversed(range(TRIES)):
        monitor.operation = Operation.MAKE_LINK
        try:
            at.symlink(target, made, dir_fd=where)
            if metadata.mtime is not None:
                with contextlib.suppress(OSError):  # some file systems have no times for links
                    at.utime(made, ns=(metadata.atime, metadata.mtime), dir_fd=where, follow_symlinks=False)
            if made != name:
                _rename_over(directory, made, name, monitor)
            break
        except FileExistsError:
            if not tries or monitor.operation is not Operation.MAKE_LINK:
                raise
            with contextlib.suppress(OSError):
                if at.readlink(name, dir_fd=where) == target:
                    return False
            made = temporary_name()
        except FileNotFoundError:
            # Links cannot be locked: who clears up took it for left behind.
            if not tries or made == name:
                raise
    if metadata.durable:
        sync_directory(directory, monitor)
    return True


def make_link(
    source: OpenDirectory,
    source_name: bytes,
    expected: os.stat_result,
    target: OpenDirectory,
    name: bytes,
    replace: bool,
    monitor: Monitor,
) -> bool:
    """Makes another name of a file, in place of what has it if there is something to replace.

    False, and nothing is changed, when the file is not the one that was expected any more.
    """
    monitor.operation = Operation.MAKE_LINK
    made = temporary_name() if replace else name
    at.link(source_name, made, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor, follow_symlinks=False)
    found = at.stat(made, dir_fd=target.descriptor, follow_symlinks=False)
    if not is_unchanged(expected, found):
        at.unlink(made, dir_fd=target.descriptor)
        return False
    if replace:
        _rename_over(target, made, name, monitor)
        # Renaming one name of a file to another of the same file does nothing, and leaves both.
        with contextlib.suppress(OSError):
            at.unlink(made, dir_fd=target.descriptor)
    return True


def is_unchanged(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether a file is still the one that it was."""
    return same_file(before, now) and before.st_mtime_ns == now.st_mtime_ns and before.st_size == now.st_size


def _rename_over(directory: OpenDirectory, made: bytes, name: bytes, monitor: Monitor) -> None:
    monitor.operation = Operation.RENAME
    try:
        at.rename(made, name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            at.unlink(made, dir_fd=directory.descriptor)
        raise


# Removing ----------------------------------------------------------------------------------------------------------


def remove_dead_files(root: int, stop: Callable[[], bool]) -> int:
    """Removes what dead writers left in a tree, and returns how much. Links are not followed."""
    removed = 0
    # A path for each directory rather than a descriptor: trees may be deep, and nothing is lost if one has moved.
    todo: List[bytes] = [b"."]
    while todo and not stop():
        path = todo.pop()
        descriptor = _open_below(root, path)
        if descriptor < 0:
            continue
        try:
            with at.scandir(descriptor) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if is_temporary_name(name):
                        removed += remove_if_dead(descriptor, entry.name)
                    elif entry.is_dir(follow_symlinks=False) and path.count(b"/") < _DEEPEST:
                        todo.append(path + b"/" + name)
        except OSError:
            pass
        finally:
            system.close_quietly(descriptor)
    return removed


def remove_dead_files_in(directory: int) -> None:
    """The same in one open directory alone."""
    try:
        descriptor = at.open(".", at.DIRECTORY_FLAGS, dir_fd=directory)
    except OSError:
        return
    try:
        with at.scandir(descriptor) as entries:
            names = [entry.name for entry in entries]
        for name in filter(is_temporary, names):
            remove_if_dead(descriptor, name)
    except OSError:
        pass
    finally:
        system.close_quietly(descriptor)


def _open_below(root: int, path: bytes) -> int:
    descriptor = root
    for name in path.split(b"/"):
        above = descriptor
        try:
            descriptor = at.open(name, at.DIRECTORY_FLAGS | at.O_NOFOLLOW, dir_fd=above)
        except OSError:
            descriptor = -1
        if above != root:
            system.close_quietly(above)
        if descriptor < 0:
            return -1
    return descriptor


def remove_contents(directory: OpenDirectory, monitor: Monitor) -> None:
    """Removes everything in a directory, not the directory itself. No link is followed. Raises the first OSError."""
    failures: List[OSError] = []
    _remove_contents(directory.descriptor, monitor, failures, 0)
    if failures:
        raise failures[0]


def _remove_contents(directory: int, monitor: Monitor, failures: List[OSError], depth: int) -> None:
    descriptor = -1
    try:
        descriptor = at.open(".", at.DIRECTORY_FLAGS, dir_fd=directory)
        with at.scandir(descriptor) as entries:
            found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        failures.append(error)
        return
    finally:
        if descriptor >= 0:
            system.close_quietly(descriptor)
    for name, is_directory in found:
        monitor.check()
        monitor.operation = Operation.REMOVE
        try:
            if not is_directory:
                at.unlink(name, dir_fd=directory)
                continue
            if depth >= _DEEPEST:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            inside = at.open(name, at.DIRECTORY_FLAGS | at.O_NOFOLLOW, dir_fd=directory)
            try:
                _remove_contents(inside, monitor, failures, depth + 1)
            finally:
                system.close_quietly(inside)
            at.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            failures.append(error)


def usable_as_destination(info: Optional[os.stat_result]) -> int:
    """0 when a file may take the place of what was found there, else the errno that says why not."""
    if info is None or is_regular(info) or stat.S_ISLNK(info.st_mode):
        return 0
    return errno.EISDIR if stat.S_ISDIR(info.st_mode) else errno.EEXIST
