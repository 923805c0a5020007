"""Open directories of one session: every name on the way is looked up in an open directory, and no link is followed."""

import collections
import contextlib
import errno
import os
import stat
import threading
import time
from typing import Callable, List, Optional, Set, Tuple

from .. import at, system
from ..directory import OUT_OF_DESCRIPTORS, PATIENCE, PATIENCE_STEP
from .share import Share, split

_CAPACITY = 64
#: For so many seconds a directory is taken to be still there.
_TRUST = 0.02
_FLAGS = at.DIRECTORY_FLAGS | at.O_NOFOLLOW
#: For directories that may be gone through, but not listed.
_PASS_FLAGS = _FLAGS | at.O_PATH


class OpenDirectory:
    """A directory that stays open as long as somebody holds this.

    Attributes:
        share, path: where it is, relative to the share.
    """

    __slots__ = ("_device", "_own", "descriptor", "path", "share")

    def __init__(self, share: Share, path: bytes, descriptor: int, own: bool = True) -> None:
        self.share = share
        self.path = path
        self.descriptor = descriptor
        self._own = own
        self._device: Optional[int] = None

    @property
    def device(self) -> int:
        """What it is on."""
        if self._device is None:
            self._device = os.fstat(self.descriptor).st_dev
        return self._device

    def __del__(self) -> None:
        if self._own:
            self._own = False
            system.close_quietly(self.descriptor)

    def list(self) -> List[Tuple[bytes, os.stat_result]]:
        """The names in it and what has them, links themselves rather than what they lead to. Raises OSError."""
        # Opened once more: this one's own position would remember how far it was listed before.
        descriptor = at.open(".", at.DIRECTORY_FLAGS, dir_fd=self.descriptor)
        found = []
        try:
            with at.scandir(descriptor) as entries:
                for entry in entries:
                    try:
                        found.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue  # removed meanwhile
        finally:
            system.close_quietly(descriptor)
        return found


class MadeDirectories:
    """Directories that a server made for what goes into them, before the client that is to have them asked for them:
    over another connection, that may come later. Any thread may use it."""

    def __init__(self) -> None:
        self._noted: Set[Tuple[int, bytes]] = set()
        self._lock = threading.Lock()

    def note(self, key: Tuple[int, bytes]) -> bool:
        """To be called before the directory is made: afterwards the other connection may have looked already.

        Returns:
            False when it is noted already.
        """
        with self._lock:
            new = key not in self._noted
            self._noted.add(key)
        return new

    def claim(self, share: Share, path: bytes) -> bool:
        """True once for what was noted."""
        key = (share.number, path)
        with self._lock:
            found = key in self._noted
            self._noted.discard(key)
        return found


class OpenDirectories:
    """Opens directories of a share, and keeps those that were used last. For one thread.

    Args:
        capacity: tells how many may be kept now.
        noted: where what is made is noted until somebody claims it or :meth:`forget_made` is called.
    """

    def __init__(
        self, capacity: Callable[[], int] = lambda: _CAPACITY, noted: Optional[MadeDirectories] = None
    ) -> None:
        self._capacity = capacity
        self._noted = noted
        self._noted_here: List[Tuple[Share, bytes]] = []
        self._open: collections.OrderedDict[Tuple[int, bytes], OpenDirectory] = collections.OrderedDict()
        self._trusted: Set[Tuple[int, bytes]] = set()  # have been seen to be there only just now
        self._looked = 0.0

    def open(self, share: Share, path: bytes, make: bool = False) -> OpenDirectory:
        """Opens the directory at a legal path; what is missing is made if wanted. Raises OSError."""
        return self.open_counting(share, path, make)[0]

    def open_counting(self, share: Share, path: bytes, make: bool) -> Tuple[OpenDirectory, List[bytes]]:
        """The same, and the paths of the directories that had to be made. When it fails, none of them is left."""
        made: List[bytes] = []
        found = self._opened(share, path)
        if found is not None:
            return found, made
        # From the nearest one that is open.
        missing = [path]
        start = None
        while start is None:
            above = split(missing[-1])[0]
            start = self._opened(share, above)
            if start is None:
                missing.append(above)
        try:
            for step in reversed(missing):
                start = self._enter(start, step, make, made)
        except OSError:
            self.remove(share, made)
            raise
        return start, made

    def _opened(self, share: Share, path: bytes) -> Optional[OpenDirectory]:
        if not path:
            return OpenDirectory(share, b"", share.root, own=False)
        key = (share.number, path)
        found = self._open.get(key)
        if found is None:
            return None
        if key not in self._trusted:
            if at.is_removed(found.descriptor):  # somebody removed it; there may be another one by now
                del self._open[key]
                return None
            self._trusted.add(key)
        self._open.move_to_end(key)
        return found

    def _patiently(self, open_something: Callable[[], int]) -> int:
        try:
            return open_something()
        except OSError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
        self.close()
        return patiently(open_something)

    def look_again(self) -> None:
        """Time has passed: directories may have been removed since they were used last."""
        now = time.monotonic()
        if now > self._looked + _TRUST:
            self._looked = now
            self._trusted.clear()

    def remove(self, share: Share, made: List[bytes]) -> None:
        """Takes back directories that were made, the innermost first, unless somebody put something there."""
        for path in reversed(made):
            parent, name = split(path)
            self._open.pop((share.number, path), None)
            with contextlib.suppress(OSError):
                at.rmdir(name, dir_fd=self.open(share, parent).descriptor)

    def _enter(self, parent: OpenDirectory, path: bytes, make: bool, made: List[bytes]) -> OpenDirectory:
        name = split(path)[1]
        try:
            descriptor = self._patiently(lambda: _open(parent.descriptor, name))
        except FileNotFoundError:
            if not make:
                raise
            if self._make(parent, path, name):
                made.append(path)
            descriptor = self._patiently(lambda: _open(parent.descriptor, name))
        found = OpenDirectory(parent.share, path, descriptor)
        self._open[parent.share.number, path] = found
        while len(self._open) > self._capacity():
            self._trusted.discard(self._open.popitem(last=False)[0])
        return found

    def _make(self, parent: OpenDirectory, path: bytes, name: bytes) -> bool:
        """False: somebody was faster."""
        share = parent.share
        noted = self._noted is not None and self._noted.note((share.number, path))
        try:
            at.mkdir(name, dir_fd=parent.descriptor)
        except OSError as error:
            if noted and self._noted is not None:
                self._noted.claim(share, path)
            if isinstance(error, FileExistsError):
                return False
            raise
        if noted:
            self._noted_here.append((share, path))
        return True

    def forget_made(self) -> None:
        """What was made, and nobody asked for, is not new any more."""
        while self._noted is not None and self._noted_here:
            self._noted.claim(*self._noted_here.pop())

    def close(self) -> None:
        self._open.clear()
        self._trusted.clear()


def _open(parent: int, name: bytes) -> int:
    try:
        return at.open(name, _FLAGS, dir_fd=parent)
    except PermissionError:
        return at.open(name, _PASS_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link, where only directories may be
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        raise


def patiently(open_something: Callable[[], int]) -> int:
    """Calls what needs a descriptor, again when there is none just now: others will be done with theirs."""
    for _ in range(PATIENCE):
        try:
            return open_something()
        except OSError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
        time.sleep(PATIENCE_STEP)
    return open_something()


def look(directory: OpenDirectory, name: bytes) -> Optional[os.stat_result]:
    """What has a name, a link itself rather than what it leads to; None when nothing has. Raises OSError."""
    try:
        return at.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_regular(info: Optional[os.stat_result]) -> bool:
    return info is not None and stat.S_ISREG(info.st_mode)
