"""The LINKDB file of a sync: where files were copied to by this and earlier ones."""

import errno
import os
from typing import Optional

from ...._errors import Operation
from ..failure import CopyFailure
from ..net import link_database
from ..net.history import History, Remembered
from ..net.share import Shares, slashes

#: As many as EACopy's service remembers.
_FILES = 500_000
_EPOCH_TICKS = 11_644_473_600 * 10_000_000
_TICKS_MAXIMUM = (1 << 64) - 1


class Database:
    """Remembers files by path below the destination (or by name alone), time and size.

    Raises CopyFailure when the file is there and cannot be read.
    """

    def __init__(self, path: bytes, by_name: bool) -> None:
        self._path = os.path.abspath(path)
        self._by_name = by_name
        self._history = History(_FILES)
        try:
            if os.path.exists(self._path) and not os.path.isfile(self._path):
                raise OSError(errno.EISDIR if os.path.isdir(self._path) else errno.EINVAL, "it is no regular file")
            self._shares = Shares({})
            link_database.load(self._path, self._shares, self._history)
        except OSError as error:
            raise CopyFailure(error.errno or errno.EIO, Operation.OPEN_REFERENCE) from None
        except link_database.DamagedError:
            pass  # what came before is good, and each file is looked at before it is believed
        if by_name:
            self._know_by_name()
        self._changes = self._history.changes

    def find(self, where: str, info: os.stat_result) -> Optional[str]:
        """The path of a file that was the same when it was copied."""
        key, ticks = self._key(where), _ticks(info)
        for share in self._shares.all:
            found = self._history.find(share.number, key, ticks, info.st_size)
            if found is not None:
                return os.fsdecode(share.absolute(found.path))
        return None

    def add(self, where: str, info: os.stat_result, path: str) -> None:
        """Remembers a file that is at a path now."""
        place = self._shares.containing(slashes(os.path.abspath(os.fsencode(path))))
        if place is not None:  # else the format has no word for it
            key, ticks = self._key(where), _ticks(info)
            self._history.add(Remembered(place.share.number, place.path, key, ticks, info.st_size))

    def save(self) -> None:
        """Replaces the file, if there is something new. Raises OSError."""
        if self._history.changes != self._changes:
            link_database.save(self._path, self._shares, self._history)

    def close(self) -> None:
        self._shares.close()

    def _know_by_name(self) -> None:
        (keys, values), self._history = self._history.all(), History(_FILES)
        for (share, key, mtime, size), (path, md5) in zip(keys, values):
            self._history.add(Remembered(share, path, os.path.basename(key), mtime, size, md5))

    def _key(self, where: str) -> bytes:
        return slashes(os.fsencode(os.path.basename(where) if self._by_name else where))


def _ticks(info: os.stat_result) -> int:
    return max(0, min(_TICKS_MAXIMUM, info.st_mtime_ns // 100 + _EPOCH_TICKS))
