"""Which files were copied to where, so that one that comes again need not cross the wire."""

import collections
import threading
from typing import Dict, List, NamedTuple, Optional, Tuple


class Remembered(NamedTuple):
    """A file that was copied. What it says was true once: look at the file before believing it.

    `share` is a share's number; `path` is relative to it, and `key` the end of it by which the file is known; `mtime`
    is in 100 ns since 1601, `size` in bytes; `md5` is empty when it is not known.
    """

    share: int
    path: bytes
    key: bytes
    mtime: int
    size: int
    md5: bytes = b""


_Key = Tuple[int, bytes, int, int]
_DigestKey = Tuple[int, bytes, int]


class History:
    """Remembers files, the oldest first. Any thread may use it.

    Args:
        most: how many; the oldest go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._files: collections.OrderedDict[_Key, Remembered] = collections.OrderedDict()
        self._by_digest: Dict[_DigestKey, Remembered] = {}
        self._changes = 0

    def __len__(self) -> int:
        return len(self._files)

    @property
    def changes(self) -> int:
        """Grows with every change."""
        return self._changes

    def add(self, file: Remembered) -> None:
        """Takes the place of what has the same key, time and size."""
        if self._most == 0:
            return
        key = (file.share, file.key, file.mtime, file.size)
        with self._lock:
            before = self._files.get(key)
            if before is not None:
                if before.path == file.path and file.md5 in (b"", before.md5):
                    return
                self._remove(key, before)
            self._files[key] = file
            if file.md5:
                self._by_digest[file.share, file.md5, file.size] = file
            while len(self._files) > self._most:
                oldest = next(iter(self._files))
                self._remove(oldest, self._files[oldest])
            self._changes += 1

    def find(self, share: int, key: bytes, mtime: int, size: int) -> Optional[Remembered]:
        """The file of that key, time and size."""
        return self._files.get((share, key, mtime, size))

    def find_digest(self, share: int, md5: bytes, size: int) -> Optional[Remembered]:
        """A file of that content, as far as that is known."""
        return self._by_digest.get((share, md5, size))

    def all(self) -> List[Remembered]:
        """All files, oldest first."""
        with self._lock:
            return list(self._files.values())

    def _remove(self, key: _Key, file: Remembered) -> None:
        del self._files[key]
        digest = (file.share, file.md5, file.size)
        if self._by_digest.get(digest) is file:
            del self._by_digest[digest]
