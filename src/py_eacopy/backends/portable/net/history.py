"""Which files were copied to where, so that one that comes again need not cross the wire."""

import collections
import threading
from typing import Dict, List, NamedTuple, Optional, Tuple

from .share import split


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


#: Smaller files are not found by their name.
FOUND_BY_NAME = 64 * 1024

_MOST_OF_NAME = 8

# Plain tuples of plain values: the garbage collector soon leaves those alone, however many there are.
_Key = Tuple[int, bytes, int, int]
_Value = Tuple[bytes, bytes]
_DigestKey = Tuple[int, bytes, int]
_NameKey = Tuple[int, bytes]


class History:
    """Remembers files, the oldest first. Any thread may use it.

    Args:
        most: how many; the oldest go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        # In the order of arrival. An ordinary dict would take the longer to find its first key the more were removed.
        self._files: collections.OrderedDict[_Key, _Value] = collections.OrderedDict()
        self._by_digest: Dict[_DigestKey, _Key] = {}
        # The last of each name, in the order of arrival.
        self._by_name: Dict[_NameKey, List[_Key]] = {}
        self._changes = 0

    def __len__(self) -> int:
        return len(self._files)

    @property
    def changes(self) -> int:
        """Grows with every change."""
        return self._changes

    def add(self, file: Remembered) -> None:
        """Takes the place of what has the same key, time and size."""
        share, path, name, mtime, size, md5 = file
        key = (share, name, mtime, size)
        with self._lock:
            before = self._files.get(key)
            if before is not None:
                if before[0] == path and md5 in (b"", before[1]):
                    return
                self._remove(key, before)
            elif len(self._files) >= self._most:
                if self._most == 0:
                    return
                oldest = next(iter(self._files))
                self._remove(oldest, self._files[oldest])
            self._files[key] = (path, md5)
            if md5:
                self._by_digest[share, md5, size] = key
            if size >= FOUND_BY_NAME:
                named = self._by_name.setdefault((share, split(path)[1]), [])
                if len(named) == _MOST_OF_NAME:
                    del named[0]
                named.append(key)
            self._changes += 1

    def find(self, share: int, key: bytes, mtime: int, size: int) -> Optional[Remembered]:
        """The file of that key, time and size."""
        found = self._files.get((share, key, mtime, size))
        return None if found is None else Remembered(share, found[0], key, mtime, size, found[1])

    def find_digest(self, share: int, md5: bytes, size: int) -> Optional[Remembered]:
        """A file of that content, as far as that is known."""
        with self._lock:
            key = self._by_digest.get((share, md5, size))
            if key is None:
                return None
            return Remembered(share, self._files[key][0], key[1], key[2], size, md5)

    def find_name(self, share: int, name: bytes, size: int) -> List[Remembered]:
        """Files of that name, in whatever directory, that may be other versions of one of that size.

        They have half of it to twice as much; those of the latest time come first. Of each name only the few that came
        last are known.
        """
        if size < FOUND_BY_NAME:
            return []
        with self._lock:
            keys = self._by_name.get((share, name), [])
            found = [
                Remembered(share, self._files[key][0], key[1], key[2], key[3], self._files[key][1])
                for key in reversed(keys)
                if key[3] >= size // 2 and key[3] // 2 <= size
            ]
        return sorted(found, key=lambda file: file.mtime, reverse=True)

    def all(self) -> Tuple[List[_Key], List[_Value]]:
        """All files, oldest first: share, key, time and size; and for each of them path and digest."""
        with self._lock:
            # As of an ordinary dict, whose order is the same here: so it takes milliseconds, and makes no object.
            return list(dict.keys(self._files)), list(dict.values(self._files))

    def _remove(self, key: _Key, value: _Value) -> None:
        del self._files[key]
        digest = (key[0], value[1], key[3])
        if value[1] and self._by_digest.get(digest) == key:
            del self._by_digest[digest]
        if key[3] < FOUND_BY_NAME:
            return
        name = (key[0], split(value[0])[1])
        named = self._by_name.get(name, [])
        if key in named:
            named.remove(key)
            if not named:
                del self._by_name[name]
