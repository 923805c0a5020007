"""Where pulled files land: in directories that are held open, each file beside its place first and then renamed.

The server's word is not trusted: no symbolic link is followed below the root.
"""

import errno
import os
import stat
import zlib
from typing import Dict, List, Optional, Set, Tuple, Union

from ...._errors import DestinationState, ErrorKind, Operation
from .. import at, system
from ..data import write_all
from ..delta.access import read_at, share
from ..directory import Directory
from ..failure import CopyFailure
from ..metadata import Attributes, set_metadata, write_attributes
from ..temporary import TRIES, claim, keep_lock, make_name
from .reasons import NOT_POSSIBLE
from .store import remove_dead_files_in
from .tally import Tally

_PIECE = 256 * 1024
_OPEN, _MAKE = Operation.OPEN_DESTINATION, Operation.MAKE_DIRECTORY


class Metadata:
    """What is known of a file or directory on the server. Times are nanoseconds since 1970, None where not known."""

    __slots__ = ("atime", "attributes", "mode", "mtime")

    def __init__(
        self,
        mtime: Optional[int],
        atime: Optional[int] = None,
        mode: Optional[int] = None,
        attributes: Optional[Attributes] = None,
    ) -> None:
        self.mtime = mtime
        self.atime = atime
        self.mode = mode
        self.attributes: Attributes = attributes or []

    def set(self, target: int, level: str, tally: Tally) -> None:
        """Gives them to an open file or directory, as far as the level says."""
        if level == "none":
            return
        if self.mode is not None:
            # With the times and all, if these are wanted.
            now = os.stat(target)
            info = os.stat_result(
                (self.mode, *now[1:10]),
                {
                    "st_atime_ns": now.st_atime_ns if self.atime is None else self.atime,
                    "st_mtime_ns": now.st_mtime_ns if self.mtime is None else self.mtime,
                },
            )
            set_metadata(target, info, self.attributes if level == "stat" else [], level, tally)
        elif level == "stat" and self.mtime is not None:
            tally.operation = Operation.SET_TIMES
            at.utime(target, ns=(self.mtime if self.atime is None else self.atime, self.mtime))


class Place:
    """A directory that files land in."""

    __slots__ = ("directory", "metadata", "path")

    def __init__(self, path: str, directory: Directory) -> None:
        self.path = path
        self.directory = directory
        self.metadata: Optional[Metadata] = None


class Landing:
    """The directories of a pull."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._cache = tally.job.cache
        self._options = tally.job.options
        self._places: Dict[str, Place] = {}
        self._failed: Set[str] = set()

    def open_root(self, path: str, for_file: bool = False) -> None:
        """Makes the root, with parents, if it is missing. Raises CopyFailure.

        Args:
            for_file: it is no tree that is copied, but a single file that is to lie there.
        """
        tally = self._tally
        tally.operation = _MAKE
        try:
            tally.directories_created += _make_directories(system.long_path(path), self._options.fsync)
            tally.operation = _OPEN
            directory, _ = self._cache.open(None, system.long_path(path), follow=True)
        except OSError as error:
            if error.errno == errno.ENOTDIR and tally.operation is _OPEN and not for_file:
                raise CopyFailure(errno.EEXIST, _MAKE) from None
            raise CopyFailure(error.errno or errno.EIO, tally.operation) from None
        self._remove_dead_files(directory)
        self._cache.unpin(directory)
        self._places[""] = Place("", directory)

    def place(self, path: str) -> Optional[Place]:
        """The directory that something is in; None when that could not be made, which was told.

        Raises KeyError when nobody has named it.
        """
        parent = path.rpartition("/")[0]
        if parent in self._failed:
            return None
        return self._places[parent]

    def make(self, path: str, metadata: Metadata) -> None:
        """Makes a directory below the root, if it is missing. A failure is told. Raises KeyError as `place`."""
        if path in self._places:
            self._places[path].metadata = metadata
            return
        parent = self.place(path)
        if parent is None or path in self._failed:
            self._failed.add(path)
            return
        tally, cache = self._tally, self._cache
        name = path.rpartition("/")[2]
        try:
            tally.operation = _MAKE
            try:
                descriptor = cache.pin(parent.directory)
                made = _make(parent.directory.prefix + name, descriptor)
            finally:
                cache.unpin(parent.directory)
            tally.directories_created += made
            try:
                directory, _ = cache.open(parent.directory, name, follow=False)
            except OSError as error:
                if made or error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        except OSError as error:
            tally.fail(CopyFailure(error.errno or errno.EIO, _MAKE), path)
            self._failed.add(path)
            return
        if not made:
            self._remove_dead_files(directory)
        cache.unpin(directory)
        place = self._places[path] = Place(path, directory)
        place.metadata = metadata

    def _remove_dead_files(self, directory: Directory) -> None:
        """What a pull before this one left there that was killed."""
        if directory.descriptor is not None:
            remove_dead_files_in(directory.descriptor)

    def refuse(self, path: str, is_directory: bool) -> None:
        """Tells that nothing can have the last name of a path here, nor be below it, unless that was told."""
        if path.rpartition("/")[0] not in self._failed:
            failure = CopyFailure(errno.EINVAL, _OPEN, kind=ErrorKind.INVALID_ARGUMENT, text=NOT_POSSIBLE)
            self._tally.fail(failure, path)
        if is_directory:
            self._failed.add(path)

    def finish(self) -> None:
        """Sets the directories' metadata, from the deepest up, when all else is there."""
        tally, cache = self._tally, self._cache
        for place in reversed(list(self._places.values())):
            tally.operation, tally.offset = Operation.SET_MODE, 0
            try:
                try:
                    descriptor = cache.pin(place.directory)
                    assert descriptor is not None
                    if place.metadata is not None:
                        place.metadata.set(descriptor, "stat", tally)
                    if self._options.fsync:
                        tally.operation = Operation.SYNC
                        at.sync(descriptor)
                finally:
                    cache.unpin(place.directory)
            except OSError as error:
                failure = CopyFailure(error.errno or errno.EIO, tally.operation, state=DestinationState.OLD)
                tally.fail(failure, place.path)


def _make(name: str, directory: Optional[int]) -> bool:
    """False when there is something already."""
    try:
        at.mkdir(name, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def _make_directories(path: str, fsync: bool) -> int:
    """Makes a directory and those above it; returns how many were missing."""
    missing: List[str] = []
    while path and not os.path.isdir(path):
        missing.append(path)
        above = os.path.dirname(path.rstrip("/" + os.sep))
        if above == path:
            break
        path = above
    made = 0
    for directory in reversed(missing):
        made += _make(directory, None)
        if fsync:
            system.sync_path(os.path.dirname(os.path.abspath(directory)))
    return made


class Arrival:
    """A file, link or nothing yet, that is on its way to a name in a directory.

    Attributes:
        size: bytes that arrived, holes included.
    """

    def __init__(self, place: Place, name: str, tally: Tally) -> None:
        self._place = place
        self._name = place.directory.prefix + name
        self._tally = tally
        self._cache = tally.job.cache
        self._options = tally.job.options
        self._temporary: Optional[str] = None
        self._descriptor = -1
        self._before: Optional[os.stat_result] = None
        self._extents: List[Tuple[int, int]] = []
        self._crc = 0
        self._at_end = True  # of the temporary file, so that nothing has to be cut or filled up
        self.size = 0

    def look(self) -> Optional[os.stat_result]:
        """What is at the name now. Raises OSError."""
        try:
            try:
                directory = self._cache.pin(self._place.directory)
                return at.stat(self._name, dir_fd=directory, follow_symlinks=False)
            finally:
                self._cache.unpin(self._place.directory)
        except FileNotFoundError:
            return None

    def read_link(self) -> Optional[str]:
        """Where a link that is there leads; None when there is none."""
        try:
            try:
                return at.readlink(self._name, dir_fd=self._cache.pin(self._place.directory))
            finally:
                self._cache.unpin(self._place.directory)
        except OSError:
            return None

    def open(self) -> int:
        """Opens what is there for reading. Raises OSError."""
        return self._open(self._name, at.READ_FLAGS | at.O_NOFOLLOW)

    def set_mode(self, mode: int) -> None:
        """Gives what is there another mode, unless it is no file any more. Raises OSError."""
        self._tally.operation = Operation.SET_MODE
        descriptor = self.open()
        try:
            at.fchmod(descriptor, mode)
        finally:
            system.close_quietly(descriptor)

    # A file ------------------------------------------------------------------------------------------------------

    def begin(self, mode: Optional[int]) -> None:
        """Creates the temporary file. Raises OSError, and CopyFailure where no file may be."""
        tally = self._tally
        tally.operation, tally.offset = _OPEN, 0
        before = self._before = self.look()
        if before is not None:
            if stat.S_ISDIR(before.st_mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(before.st_mode) and not stat.S_ISLNK(before.st_mode):
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        # Never more open than the source, not even while it is written.
        open_mode = 0o666 if self._options.metadata == "none" or mode is None else mode & 0o777 | 0o600
        while self._descriptor < 0:
            temporary = self._make_temporary_name()
            try:
                self._descriptor = self._open(temporary, at.CREATE_FLAGS | at.O_NOFOLLOW, open_mode)
            except FileExistsError:
                continue
            self._temporary = temporary
            if not claim(self._descriptor):  # somebody who clears up took it for dead
                system.close_quietly(self._descriptor)
                self._descriptor = -1

    def write(self, data: Union[bytes, memoryview]) -> None:
        """Raises OSError."""
        if not len(data):
            return
        write_all(self._descriptor, data, self.size, self._tally)
        self._crc = zlib.crc32(data, self._crc)
        if self._options.verify:
            self._extents.append((self.size, len(data)))
        self.size += len(data)
        self._at_end = True

    def share_from(self, source: int, offset: int, length: int) -> bool:
        """Takes whole blocks of an open file by sharing them. False where the file system cannot do that.

        Raises OSError.
        """
        tally, begin = self._tally, self.size
        tally.operation, tally.offset = Operation.CLONE, begin
        if self._options.reflink == "never" or not share(source, offset, self._descriptor, begin, length):
            return False
        # What is summed up is read from the clone: the other file may be written to meanwhile.
        while self.size < begin + length:
            tally.check()
            tally.operation, tally.offset = Operation.READ_REFERENCE, self.size
            data = read_at(self._descriptor, min(_PIECE, begin + length - self.size), self.size)
            if not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._crc = zlib.crc32(data, self._crc)
            self.size += len(data)
        if self._options.verify:
            self._extents.append((begin, length))
        os.lseek(self._descriptor, self.size, os.SEEK_SET)
        self._at_end = True
        return True

    def skip(self, length: int) -> None:
        """Leaves a hole. Raises OSError."""
        self._tally.operation, self._tally.offset = Operation.WRITE, self.size
        self.size += length
        os.lseek(self._descriptor, self.size, os.SEEK_SET)
        self._at_end = False

    def commit(self, metadata: Metadata) -> None:
        """All is there: gives it its metadata and its name. Raises OSError."""
        tally, options = self._tally, self._options
        if not self._at_end:
            tally.operation = Operation.TRUNCATE
            at.ftruncate(self._descriptor, self.size)
        level = options.metadata
        self._set_metadata(self._descriptor, metadata, level)
        if options.fsync:
            tally.operation = Operation.SYNC
            at.sync(self._descriptor)
        if options.verify:
            self._verify()
        descriptor, self._descriptor = self._descriptor, -1
        tally.operation = Operation.CLOSE
        lock = keep_lock(descriptor, renames_open=True)
        try:
            os.close(descriptor)
            assert self._temporary is not None
            self._rename()
        finally:
            if lock >= 0:
                system.close_quietly(lock)  # it has written nothing

    def _set_metadata(self, target: int, metadata: Metadata, level: str) -> None:
        if level != "none":
            metadata.set(target, level, self._tally)
        elif self._before is not None and stat.S_ISREG(self._before.st_mode):
            self._tally.operation = Operation.SET_MODE
            at.fchmod(target, stat.S_IMODE(self._before.st_mode))  # overwriting keeps it

    def _verify(self) -> None:
        """Reads again what was written."""
        tally = self._tally
        tally.operation = Operation.VERIFY
        crc = 0
        for offset, length in self._extents:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            while length:
                tally.check()
                data = os.read(self._descriptor, min(length, 1 << 20))
                if not data:
                    break
                crc = zlib.crc32(data, crc)
                length -= len(data)
        if crc != self._crc:
            raise CopyFailure(0, Operation.VERIFY, kind=ErrorKind.IO)

    # A link ------------------------------------------------------------------------------------------------------

    def make_link(self, target: str, metadata: Metadata) -> None:
        """Puts a symbolic link in the place. Raises OSError."""
        tally = self._tally
        tally.operation, tally.offset = Operation.MAKE_LINK, 0
        before = self.look()
        if before is not None and stat.S_ISDIR(before.st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        for tries in reversed(range(TRIES)):
            try:
                self._make_temporary_link(target, metadata)
                self._rename()
                return
            except FileNotFoundError:
                # Links cannot be locked: who clears up took it for left behind.
                if not tries or self._temporary is None:
                    raise
                self._temporary = None

    def _make_temporary_link(self, target: str, metadata: Metadata) -> None:
        try:
            directory = self._cache.pin(self._place.directory)
            while self._temporary is None:
                temporary = self._make_temporary_name()
                try:
                    at.symlink(target, temporary, dir_fd=directory)
                except FileExistsError:
                    continue
                self._temporary = temporary
            if self._options.metadata == "stat":
                self._set_link_metadata(self._temporary, directory, metadata)
        finally:
            self._cache.unpin(self._place.directory)

    def _set_link_metadata(self, name: str, directory: Optional[int], metadata: Metadata) -> None:
        if metadata.attributes and directory is not None:
            path = "/proc/self/fd/%d/%s" % (directory, name)
            write_attributes(path, metadata.attributes, self._tally, follow_symlinks=False)
        if metadata.mtime is not None:
            self._tally.operation = Operation.SET_TIMES
            atime = metadata.mtime if metadata.atime is None else metadata.atime
            at.utime(name, ns=(atime, metadata.mtime), dir_fd=directory, follow_symlinks=False)

    # The end -----------------------------------------------------------------------------------------------------

    def abandon(self) -> DestinationState:
        """Removes what was created, and tells what is at the destination."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            system.close_quietly(descriptor)
        temporary, self._temporary = self._temporary, None
        try:
            try:
                directory = self._cache.pin(self._place.directory)
                if temporary is not None:
                    at.unlink(temporary, dir_fd=directory)
                return DestinationState.ABSENT if self.look() is None else DestinationState.OLD
            finally:
                self._cache.unpin(self._place.directory)
        except OSError:
            return DestinationState.ABSENT if self._before is None else DestinationState.OLD

    def failure(self, error: OSError, size: int) -> CopyFailure:
        """Why a file of so many bytes cannot be stored; what was created is removed."""
        tally = self._tally
        failure = CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset)
        if failure.kind in (ErrorKind.DISK_FULL, ErrorKind.FILE_TOO_LARGE):
            failure.size = size
        if failure.kind is ErrorKind.DISK_FULL and self._descriptor >= 0:
            failure.available = at.free_space(self._descriptor)
        failure.state = self.abandon()
        return failure

    def matches(self, crc: int) -> bool:
        return crc == self._crc

    def _make_temporary_name(self) -> str:
        return self._place.directory.prefix + make_name()

    def _open(self, name: str, flags: int, mode: int = 0) -> int:
        cache = self._cache
        try:
            directory = cache.pin(self._place.directory)
            return cache.patiently(lambda: at.open(name, flags, mode, dir_fd=directory))
        finally:
            cache.unpin(self._place.directory)

    def _rename(self) -> None:
        self._tally.operation = Operation.RENAME
        assert self._temporary is not None
        try:
            directory = self._cache.pin(self._place.directory)
            at.rename(self._temporary, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            self._cache.unpin(self._place.directory)
        self._temporary = None
