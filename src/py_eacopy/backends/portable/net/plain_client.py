"""What pushing and pulling in plain v20 share: how a path is written there, and what a server is asked about it.

What real servers get wrong is lived with here: see the numbers Q1 and Q2.
"""

import errno
import hashlib
import os
from typing import Tuple

from ...._errors import ErrorKind, Operation
from ..failure import CopyFailure
from . import wire
from .client import Session
from .tally import Tally

#: What a connection takes at a time: little, so that others have something to do, too.
ENTRIES_AT_ONCE, CONTENT_AT_ONCE = 8, 1 << 20
PIECE = 512 * 1024
#: A server asks for a digest once; one that asks on and on is broken.
HASHES_MAXIMUM = 8


def said_plainly(path: bytes, operation: Operation) -> str:
    """A path as v20 writes it. Raises CopyFailure when it cannot."""
    try:
        return wire.wire_path(path)
    except UnicodeError:
        failure = CopyFailure(errno.EILSEQ, operation, kind=ErrorKind.ENCODING)
        failure.text = "the server's protocol has no backslashes in names, and takes UTF-8 alone"
        raise failure from None


def joined(directory: str, path: str) -> str:
    return directory + "\\" + path if directory and path else directory or path


def split_place(directory: bytes, operation: Operation) -> Tuple[str, str]:
    """The directory that a path on the server is in, and its name there; a share alone has none."""
    path = said_plainly(directory.rstrip(b"/"), operation)
    parent, separator, name = path.rpartition("\\")
    if not separator or not parent.strip("\\"):
        return path + "\\", ""
    return parent + "\\", name


def information(session: Session, path: str) -> wire.FileInfo:
    session.send(wire.encode(wire.GetFileInfo(path)))
    return wire.decode_file_info(bytes(session.read(32)))


def create_directory(session: Session, path: str) -> int:
    """How many directories were made. Raises CopyFailure."""
    session.send(wire.encode(wire.CreateDir(path and path + "\\")))
    answer = session.read(1)[0]
    if answer >= 2:
        return answer - 2
    failure = CopyFailure(0, Operation.MAKE_DIRECTORY, kind=ErrorKind.SERVER)
    # The protocol does not say why.
    failure.text = (
        "the server has no such place"
        if answer
        else "the server could not make the directory; a file may be in the way"
    )
    raise failure


def refused(operation: Operation, text: str) -> CopyFailure:
    return CopyFailure(0, operation, kind=ErrorKind.SERVER, text=text)


def digest_of(descriptor: int, tally: Tally) -> bytes:
    tally.operation = Operation.READ
    digest = hashlib.md5()
    os.lseek(descriptor, 0, os.SEEK_SET)
    while True:
        tally.check()
        data = os.read(descriptor, PIECE)
        if not data:
            return digest.digest()
        digest.update(data)
