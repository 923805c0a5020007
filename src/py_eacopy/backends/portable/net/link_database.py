"""The history in a file, in the format of EACopy's LINKDB: a cookie, records with absolute paths in UTF-16, an end."""

import os
import stat
import struct
from typing import BinaryIO, Callable

from .. import at
from ..monitor import Monitor
from .history import History, Remembered
from .open_directories import OpenDirectory
from .share import Shares, is_possible_path, slashes, split, split_root
from .store import NewMetadata, TemporaryFile
from .wire import posix_path

_COOKIE = b"eacopydb003\0"
_HEAD = struct.Struct("<HH")
_STAMP = struct.Struct("<QQ16s")
_NO_DIGEST = bytes(16)
#: Real readers refuse longer paths.
_PATH_MAXIMUM = 4094
#: How many records are written at a time, and after how many bytes the device is waited for.
_SLICE, _SYNC_SIZE = 4096, 8 << 20


class DamagedError(Exception):
    """The file ends too early, or has what cannot be there. What came before has been read."""


def load(path: bytes, shares: Shares, history: History) -> None:
    """Adds what a file remembers, as far as it lies in the shares. One that does not exist is an empty one.

    Raises OSError, DamagedError.
    """
    try:
        descriptor = at.open(path, at.READ_FLAGS)
    except FileNotFoundError:
        return
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedError("it is no regular file")
        _read_records(file, shares, history)


def _read_records(file: BinaryIO, shares: Shares, history: History) -> None:
    if file.read(len(_COOKIE)) != _COOKIE:
        raise DamagedError("it does not begin as such a file does")
    while True:
        length = file.read(2)
        if length == b"\0\0":
            return
        head = length + file.read(2)
        if len(head) < _HEAD.size:
            raise DamagedError("it is cut off")
        path_size, key_length = _HEAD.unpack(head)
        record = file.read(path_size + _STAMP.size)
        if len(record) < path_size + _STAMP.size:
            raise DamagedError("it is cut off")
        if path_size % 2 or not 0 < 2 * key_length <= path_size:
            raise DamagedError("it has a record that cannot be")
        size, mtime, md5 = _STAMP.unpack_from(record, path_size)
        try:
            full = posix_path(record[:path_size].decode("utf-16-le"))
            key = posix_path(record[path_size - 2 * key_length : path_size].decode("utf-16-le"))
        except UnicodeError:
            continue
        root, names = split_root(full)
        if not root or not is_possible_path(names):
            continue
        place = shares.containing(full)
        # A key is whole names, and inside of its share.
        if place is None or not (place.path == key or place.path.endswith(b"/" + key)):
            continue
        history.add(Remembered(place.share.number, place.path, key, mtime, size, b"" if md5 == _NO_DIGEST else md5))


class StoppedError(Exception):
    """There is no time to finish; the old file is still there."""


def save(
    path: bytes, shares: Shares, history: History, durable: bool = True, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Replaces the file. Names that the format cannot say are left out. The history can be used meanwhile.

    Args:
        durable: wait for the device.
        stopped: asked now and then; True gives up.

    Raises OSError, StoppedError.
    """
    roots = [(share.directory + b"/").decode("utf-8", "surrogateescape") for share in shares.all]
    parent, name = split(slashes(path))
    directory = OpenDirectory(shares.all[0], b"", at.open(parent or b"/", at.DIRECTORY_FLAGS))
    keys, values = history.all()
    out = [_COOKIE]
    synced = 0
    with TemporaryFile(directory, Monitor(), 0o600) as temporary:
        for begin in range(0, len(keys), _SLICE):
            if stopped():
                raise StoppedError
            end = begin + _SLICE
            for (share, key, mtime, size), (file, md5) in zip(keys[begin:end], values[begin:end]):
                try:
                    text = roots[share] + file.decode()
                    full = text.replace("/", "\\").encode("utf-16-le")
                    key_length = len(key) if key.isascii() else len(key.decode().encode("utf-16-le")) // 2
                except UnicodeError:
                    continue
                if "\\" not in text and len(full) <= _PATH_MAXIMUM:
                    out += (_HEAD.pack(len(full), key_length), full, _STAMP.pack(size, mtime, md5 or _NO_DIGEST))
            temporary.write(b"".join(out))
            out = []
            if durable and temporary.size - synced >= _SYNC_SIZE:
                # Little by little, so that nobody who stops has to wait for all of it.
                at.sync(temporary.descriptor)
                synced = temporary.size
        temporary.write(b"".join([*out, b"\0\0"]))
        temporary.finish(name, NewMetadata(durable=durable))
