"""Open directories: names are looked up in them, and only so many are open at a time.

A tree may be deeper than a process may have descriptors. So a directory that nobody uses just now may be closed at
any time, and is opened again when it is needed: by ".." from a directory inside it that is still open, or by walking
down from the nearest one above. Either way it has to be the same directory as before.

Where names cannot be looked up in open directories (Windows), a directory is its path.
"""

import collections
import contextlib
import errno
import os
import stat
import threading
import time
from typing import Callable, Dict, List, Optional, Tuple, TypeVar

from . import at, system

Identity = Tuple[int, int]
Result = TypeVar("Result")

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
#: How often, and after how many seconds, opening is tried again when the process is out of descriptors for the moment.
PATIENCE, PATIENCE_STEP = 200, 0.001


class Directory:
    """One directory of a tree, for as long as something in it is to be copied.

    Attributes:
        descriptor: to look names up in, while it is pinned; None where names are paths.
        prefix: what to put before a name: nothing, or where names are paths the directory's own and a separator.
        identity: device and inode.
    """

    __slots__ = ("descriptor", "follow", "identity", "inside", "name", "parent", "pins", "prefix")

    def __init__(self, parent: Optional["Directory"], name: str, follow: bool) -> None:
        self.parent = parent
        self.name = name
        self.follow = follow
        self.identity: Identity = (0, 0)
        self.descriptor: Optional[int] = None
        self.prefix = ""
        self.pins = 0
        self.inside: Optional[Directory] = None  # opened in it last; may be the shortest way back


class DirectoryCache:
    """Opens directories, and closes those that have not been used for the longest time.

    Args:
        capacity: how many may stay open without being used.
        handles: names are looked up by the functions of at.py, which has open directories everywhere.
    """

    def __init__(self, capacity: int, handles: bool = False) -> None:
        self._handles = handles
        self._capacity = capacity
        self._lock = threading.Lock()
        # Open and not pinned; the one used last is at the end.
        self._idle: collections.OrderedDict[Directory, None] = collections.OrderedDict()
        self._roots: Dict[Directory, None] = {}  # have nothing above them to be opened again from, so stay open

    @property
    def _has_handles(self) -> bool:
        return self._handles or system.DIRECTORY_HANDLES

    def open(self, parent: Optional[Directory], name: str, follow: bool) -> Tuple[Directory, os.stat_result]:
        """Opens a directory inside another (or by path) and pins it. Raises OSError."""
        directory = Directory(parent, name, follow)
        directory.pins = 1
        if not self._has_handles:
            path = name if parent is None else parent.prefix + name
            info = os.stat(path, follow_symlinks=follow)
            if not stat.S_ISDIR(info.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            directory.prefix = os.path.join(path, "")
        elif parent is None:
            directory.descriptor = self._open_in(None, directory)
            info = os.fstat(directory.descriptor)
            self._roots[directory] = None
        else:
            try:
                directory.descriptor = self._open_in(self.pin(parent), directory)
                info = os.fstat(directory.descriptor)
                parent.inside = directory
            finally:
                self.unpin(parent)
        directory.identity = (info.st_dev, info.st_ino)
        return directory, info

    def pin(self, directory: Directory) -> Optional[int]:
        """Keeps a directory open until :meth:`unpin`, which is due even after an OSError. Returns the descriptor."""
        with self._lock:
            directory.pins += 1
            self._idle.pop(directory, None)
            descriptor = directory.descriptor
        if descriptor is None and self._has_handles:
            return self._reopen(directory)
        return descriptor

    def unpin(self, directory: Directory) -> None:
        """The directory may be closed when the room is needed."""
        evicted = None
        with self._lock:
            directory.pins -= 1
            if directory.pins == 0 and directory.descriptor is not None and directory.parent is not None:
                self._idle[directory] = None
                if len(self._idle) > self._capacity:
                    evicted = self._evict()
        if evicted is not None:
            system.close_quietly(evicted)

    def discard(self, directory: Directory) -> None:
        """Nothing in the directory is needed any more."""
        parent = directory.parent
        if directory.descriptor is not None and parent is not None and parent.descriptor is None:
            # From here the way back is one step; later it may be thousands.
            with contextlib.suppress(OSError):
                try:
                    self.pin(parent)
                finally:
                    self.unpin(parent)
        with self._lock:
            self._idle.pop(directory, None)
            descriptor, directory.descriptor = directory.descriptor, None
        directory.inside = None
        if parent is not None and parent.inside is directory:
            parent.inside = None
        if descriptor is not None:
            system.close_quietly(descriptor)
            self._roots.pop(directory, None)

    def close_all(self) -> None:
        """The job is over, and nothing is pinned."""
        self.close_idle()
        for root in list(self._roots):
            self.discard(root)

    def close_idle(self) -> None:
        """Closes all directories that are not in use."""
        while True:
            with self._lock:
                if not self._idle:
                    return
                evicted = self._evict()
            system.close_quietly(evicted)

    def patiently(self, open_something: Callable[[], Result]) -> Result:
        """Calls what needs a descriptor, again when there is none just now: others in this process open files too."""
        for _ in range(PATIENCE):
            try:
                return open_something()
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
            self.close_idle()
            time.sleep(PATIENCE_STEP)
        return open_something()

    def _evict(self) -> int:
        """Takes the directory that was unused for the longest time out; the lock is held. Returns what to close."""
        directory, _ = self._idle.popitem(last=False)
        descriptor, directory.descriptor = directory.descriptor, None
        assert descriptor is not None
        return descriptor

    def _open_in(self, parent: Optional[int], directory: Directory) -> int:
        flags = at.DIRECTORY_FLAGS | (0 if directory.follow else at.O_NOFOLLOW)
        return self.patiently(lambda: at.open(directory.name, flags, dir_fd=parent))

    def _reopen(self, directory: Directory) -> int:
        """Opens a pinned directory that had been closed."""
        descriptor = self._open_from_inside(directory)
        if descriptor is None:
            descriptor = self._open_from_above(directory)
        with self._lock:
            if directory.descriptor is None:
                directory.descriptor = descriptor
                return descriptor
            theirs = directory.descriptor
        system.close_quietly(descriptor)  # another thread was faster
        return theirs

    def _open_from_inside(self, directory: Directory) -> Optional[int]:
        inside = directory.inside
        with self._lock:
            if inside is None or inside.descriptor is None:
                return None
            inside.pins += 1
            self._idle.pop(inside, None)
            start = inside.descriptor
        try:
            descriptor = at.open("..", at.DIRECTORY_FLAGS, dir_fd=start)
        except OSError:
            return None
        finally:
            self.unpin(inside)
        # The one inside was reached by a link, or has been moved.
        if not _is_same(descriptor, directory):
            system.close_quietly(descriptor)
            return None
        return descriptor

    def _open_from_above(self, directory: Directory) -> int:
        missing: List[Directory] = []
        start: Optional[Directory] = directory
        with self._lock:
            while start is not None and start.descriptor is None:
                missing.append(start)
                start = start.parent
            if start is None:  # it was never there: a root stays open
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            start.pins += 1
            self._idle.pop(start, None)
        descriptor = start.descriptor
        try:
            for step in reversed(missing):
                above, descriptor = descriptor, self._open_in(descriptor, step)
                if above != start.descriptor and above is not None:
                    system.close_quietly(above)
        except OSError:
            if descriptor != start.descriptor and descriptor is not None:
                system.close_quietly(descriptor)
            raise
        finally:
            self.unpin(start)
        assert descriptor is not None
        if not _is_same(descriptor, directory):
            system.close_quietly(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return descriptor


def _is_same(descriptor: int, directory: Directory) -> bool:
    info = os.fstat(descriptor)
    return (info.st_dev, info.st_ino) == directory.identity
