"""The functions that copy one file, or what belongs to one beside its contents; shutil's, over the engine."""

import os
import shutil
import sys
from typing import Any, Callable, Optional, TypeVar, Union, overload

from . import _originals
from ._config import Config, active, checked, options_for
from ._control import Control, refuse_inside_callback
from ._errors import EACopyError, Operation, error_from_failure, use_bytes_paths
from ._job import CopyJob
from ._paths import BytesPath, StrOrBytesPath, StrPath, are_bytes, encode, encode_pair
from ._strategy import backend_for, run
from .backends.base import NEEDS_JOB

_Path = TypeVar("_Path", bound=StrOrBytesPath)
_Str = TypeVar("_Str", bound=StrPath)
_Bytes = TypeVar("_Bytes", bound=BytesPath)

_audit = sys.audit


def copyfile(
    src: StrOrBytesPath,
    dst: _Path,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> _Path:
    """Copies the contents of a file, without mode or times, as :func:`shutil.copyfile` does.

    A file that is at the destination is overwritten in place, through a symbolic link too; with ``Config.atomic`` it is
    replaced as a whole.

    Args:
        src: the file.
        dst: the complete name of the copy; no directory.
        follow_symlinks: False makes a new symbolic link when ``src`` is one.
        config: default is the active one.
        control: cancels and watches the copy from another thread.

    Returns:
        dst, as given.

    Raises:
        SameFileError, SpecialFileError: as shutil. A FIFO is refused; a device is copied.
        FileNotFoundError, IsADirectoryError, PermissionError, OSError: what the operating system said. All are
            :class:`EACopyError` too; ``destination`` tells in which state the destination is.
        ValueError: a path contains NUL.

    Audit event: ``shutil.copyfile`` with src and dst.
    """
    _audit("shutil.copyfile", src, dst)
    _copy(src, dst, "none", follow_symlinks, config, control)
    return dst


@overload
def copy(
    src: StrPath,
    dst: _Str,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Str, str]: ...


@overload
def copy(
    src: BytesPath,
    dst: _Bytes,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Bytes, bytes]: ...


def copy(
    src: Any,
    dst: Any,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Any:
    """Copies a file with its mode, as :func:`shutil.copy` does.

    Args:
        src: the file.
        dst: the name of the copy, or a directory that is to hold it under its own name.
        follow_symlinks: False makes a new symbolic link when ``src`` is one.
        config: default is the active one.
        control: cancels and watches the copy from another thread.

    Returns:
        the path of the copy: dst as given, or joined with the name of ``src``.

    Raises:
        as :func:`copyfile`.

    Audit events: ``shutil.copyfile`` and ``shutil.copymode`` with src and the path of the copy, both before copying.
    """
    dst = _inside(src, dst)
    _audit("shutil.copyfile", src, dst)
    _audit("shutil.copymode", src, dst)
    _copy(src, dst, "mode", follow_symlinks, config, control)
    return dst


@overload
def copy2(
    src: StrPath,
    dst: _Str,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Str, str]: ...


@overload
def copy2(
    src: BytesPath,
    dst: _Bytes,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Bytes, bytes]: ...


def copy2(
    src: Any,
    dst: Any,
    *,
    follow_symlinks: bool = True,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Any:
    """Copies a file with its mode, times, extended attributes and flags, as :func:`shutil.copy2` does.

    Args, result and errors are those of :func:`copy`.

    Audit events: ``shutil.copyfile`` and ``shutil.copystat`` with src and the path of the copy, both before copying.
    """
    dst = _inside(src, dst)
    _audit("shutil.copyfile", src, dst)
    _audit("shutil.copystat", src, dst)
    _copy(src, dst, "stat", follow_symlinks, config, control)
    return dst


def copymode(
    src: StrOrBytesPath, dst: StrOrBytesPath, *, follow_symlinks: bool = True, config: Optional[Config] = None
) -> None:
    """Copies the permission bits from one file to another, as :func:`shutil.copymode` does.

    Args:
        src, dst: two files that exist.
        follow_symlinks: False works on the links themselves when both are links, where the system has ``os.lchmod``;
            elsewhere it does nothing then.
        config: taken for the sake of uniformity; nothing of it matters here.

    Raises:
        FileNotFoundError, PermissionError, OSError: what the operating system said; all are :class:`EACopyError` too.

    Audit event: ``shutil.copymode`` with src and dst.
    """
    _copy_metadata(_originals.copymode, Operation.SET_MODE, src, dst, follow_symlinks, config)


def copystat(
    src: StrOrBytesPath, dst: StrOrBytesPath, *, follow_symlinks: bool = True, config: Optional[Config] = None
) -> None:
    """Copies mode, times, extended attributes and flags to another file or directory, as :func:`shutil.copystat` does.

    Args:
        src, dst: two files or directories that exist.
        follow_symlinks: False works on the links themselves when both are links, as far as the system can.
        config: taken for the sake of uniformity; nothing of it matters here.

    Raises:
        FileNotFoundError, PermissionError, OSError: what the operating system said; all are :class:`EACopyError` too.

    Audit event: ``shutil.copystat`` with src and dst.
    """
    _copy_metadata(_originals.copystat, Operation.SET_ATTRIBUTES, src, dst, follow_symlinks, config)


def _copy(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    metadata: str,
    follow_symlinks: bool,
    config: Optional[Config],
    control: Optional[Control],
) -> None:
    config = active() if config is None else checked(config)
    source, destination = encode_pair(src, dst)
    options = options_for(config, metadata, bool(follow_symlinks))
    # The direct path: a small file that needs nothing of what only a job can do.
    unwatched = control is None or getattr(control, "only_cancels", False)
    if unwatched and config.progress_callback is None and options.error_strategy == "raise":
        refuse_inside_callback()
        try:
            if backend_for(config).copy_file(source, destination, options) != NEEDS_JOB:
                return
        except EACopyError as error:
            if are_bytes(src):
                use_bytes_paths(error)
            raise
    run(CopyJob(trees=False, items=((source, destination),), options=options), config, control, as_bytes=are_bytes(src))


def _inside(src: Any, dst: Any) -> Any:
    """The path of the copy, when the destination may be a directory."""
    try:
        return os.path.join(dst, os.path.basename(src)) if os.path.isdir(dst) else dst
    except TypeError:
        encode(src, "src")
        encode(dst, "dst")
        raise


def _copy_metadata(
    original: Callable[..., None],
    operation: Operation,
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    follow_symlinks: bool,
    config: Optional[Config],
) -> None:
    if config is not None:
        checked(config)
    encode_pair(src, dst)
    try:
        original(src, dst, follow_symlinks=follow_symlinks)
    except OSError as error:
        raise _ours(error, operation, src, dst) from error


def _ours(error: OSError, operation: Operation, src: StrOrBytesPath, dst: StrOrBytesPath) -> Exception:
    if error.errno is None or isinstance(error, shutil.Error):
        return error
    source, destination = os.fspath(src), os.fspath(dst)
    if error.filename is not None and os.fspath(error.filename) == source:
        operation = Operation.STAT
    return error_from_failure(error.errno, operation, source, destination)
