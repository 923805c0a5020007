"""Paths: as callers write them, and as the bytes that a job holds."""

import errno
import os
from typing import NoReturn, Tuple, Union

from ._errors import EACopyError, EncodingError, InvalidArgumentError, Operation, error_from_failure

StrPath = Union[str, "os.PathLike[str]"]
BytesPath = Union[bytes, "os.PathLike[bytes]"]
StrOrBytesPath = Union[StrPath, BytesPath]

_fsencode = os.fsencode


#: What the address of something at a server begins with.
_URL = b"eacopy://"


def encode_pair(src: StrOrBytesPath, dst: StrOrBytesPath, urls: bool = False) -> Tuple[bytes, bytes]:
    """Both paths as the file system's bytes, checked before anything is touched.

    Args:
        urls: they may also be addresses at a server.

    Raises:
        TypeError: something is no path.
        InvalidArgumentError: a path contains NUL, or is an address where only paths may be.
        EncodingError: a name cannot be said in the file system's encoding.
        FileNotFoundError: a path is empty.
    """
    try:
        source, destination = _fsencode(src), _fsencode(dst)
    except (TypeError, UnicodeEncodeError):
        encode(src, "src")
        encode(dst, "dst")
        raise  # not reached: one of the two fails as it did before
    if not source or not destination or 0 in source or 0 in destination:
        _refuse(src, dst, source, destination)
    if not urls and (source.startswith(_URL) or destination.startswith(_URL)):
        _refuse_url(src, dst, source)
    return source, destination


def encode(path: StrOrBytesPath, argument: str) -> bytes:
    """One path as bytes; a bad one is an error that names the argument."""
    try:
        return _fsencode(path)
    except TypeError as error:
        message = "%s must be str, bytes or os.PathLike, not %s" % (argument, type(path).__name__)
        raise TypeError(message) from error
    except UnicodeEncodeError as error:
        message = "%s cannot be encoded for the file system (%s): %r" % (argument, error.encoding, path)
        raise EncodingError(message) from error


def are_bytes(path: StrOrBytesPath) -> bool:
    """Whether the caller speaks bytes, and so is to be answered in bytes."""
    return isinstance(os.fspath(path), bytes)


def _refuse_url(src: StrOrBytesPath, dst: StrOrBytesPath, source: bytes) -> NoReturn:
    argument, path = ("src", src) if source.startswith(_URL) else ("dst", dst)
    raise InvalidArgumentError(
        "%s is at a server, where copy_with_server (eacopy push and pull) copies: %r" % (argument, os.fspath(path))
    )


def _refuse(src: StrOrBytesPath, dst: StrOrBytesPath, source: bytes, destination: bytes) -> NoReturn:
    error: EACopyError
    for argument, path, encoded in (("src", src, source), ("dst", dst, destination)):
        if 0 in encoded:
            error = InvalidArgumentError("%s contains a NUL character, which no file name can: %r" % (argument, path))
            error.filename, error.filename2 = os.fspath(src), os.fspath(dst)
            raise error
    operation = Operation.OPEN_DESTINATION if source else Operation.OPEN_SOURCE
    raise error_from_failure(errno.ENOENT, operation, os.fspath(src), os.fspath(dst))
