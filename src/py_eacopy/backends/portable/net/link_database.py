"""The history in a file, in the format of EACopy's LINKDB: a cookie, records with absolute paths in UTF-16, an end."""

import io
import os
import stat
import struct
from typing import BinaryIO

from .. import system
from ..monitor import Monitor
from .history import History, Remembered
from .messages import is_legal_path
from .open_directories import OpenDirectory
from .share import Shares, split
from .store import NewMetadata, TemporaryFile
from .wire import posix_path, wire_path

_COOKIE = b"eacopydb003\0"
_HEAD = struct.Struct("<HH")
_STAMP = struct.Struct("<QQ16s")
_NO_DIGEST = bytes(16)
#: Real readers refuse longer paths.
_PATH_MAXIMUM = 4094


class DamagedError(Exception):
    """The file ends too early, or has what cannot be there. What came before has been read."""


def load(path: bytes, shares: Shares, history: History) -> None:
    """Adds what a file remembers, as far as it lies in the shares. One that does not exist is an empty one.

    Raises OSError, DamagedError.
    """
    try:
        descriptor = os.open(path, system.READ_FLAGS)
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
        if not full.startswith(b"/") or not is_legal_path(full[1:]):
            continue
        place = shares.containing(full)
        # A key is whole names, and inside of its share.
        if place is None or not ("/" + os.fsdecode(place.path)).endswith("/" + os.fsdecode(key)):
            continue
        history.add(Remembered(place.share.number, place.path, key, mtime, size, b"" if md5 == _NO_DIGEST else md5))


def save(path: bytes, shares: Shares, history: History) -> None:
    """Replaces the file, durably. Names that the format cannot say are left out. Raises OSError."""
    out = io.BytesIO()
    out.write(_COOKIE)
    for file in history.all():
        try:
            full = wire_path(shares.all[file.share].absolute(file.path)).encode("utf-16-le")
            key = wire_path(file.key).encode("utf-16-le")
        except UnicodeError:
            continue
        if len(full) > _PATH_MAXIMUM:
            continue
        out.write(_HEAD.pack(len(full), len(key) // 2))
        out.write(full)
        out.write(_STAMP.pack(file.size, file.mtime, file.md5 or _NO_DIGEST))
    out.write(b"\0\0")
    parent, name = split(path)
    directory = OpenDirectory(shares.all[0], b"", os.open(parent or b"/", system.DIRECTORY_FLAGS))
    with TemporaryFile(directory, Monitor(), 0o600) as temporary:
        temporary.write(out.getbuffer())
        temporary.finish(name, NewMetadata(durable=True))
