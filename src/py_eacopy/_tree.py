"""copytree: shutil's, with the tree copied by the engine in many threads."""

import errno
import logging
import os
import shutil
import stat
import sys
import time
from typing import Any, Callable, Container, Iterable, List, Optional, Sequence, TypeVar, Union

from . import _api, _originals
from ._config import DEFAULT, Config, Default, ErrorStrategy, active, checked, options_for
from ._control import Control, calling_back, refuse_inside_callback
from ._errors import EACopyError, Operation, TreeError, error_from_failure
from ._job import CopyJob, Filter
from ._paths import StrOrBytesPath, are_bytes, encode_pair
from ._strategy import run, serving

_Path = TypeVar("_Path", bound=StrOrBytesPath)

#: ``ignore(directory, names)`` returns the names to leave out.
Ignore = Callable[[Any, List[Any]], Iterable[Any]]
#: ``copy_function(source, destination)``
CopyFunction = Callable[[Any, Any], Any]

# The functions that the engine itself can be, by what they copy beside the contents.
_METADATA = (
    ("stat", (_api.copy2, _originals.SHUTIL_COPY2)),
    ("mode", (_api.copy, _originals.SHUTIL_COPY)),
    ("none", (_api.copyfile, _originals.SHUTIL_COPYFILE)),
)


def copytree(
    src: StrOrBytesPath,
    dst: _Path,
    symlinks: bool = False,
    ignore: Optional[Ignore] = None,
    copy_function: Union[CopyFunction, Default] = DEFAULT,
    ignore_dangling_symlinks: bool = False,
    dirs_exist_ok: Union[bool, Default] = DEFAULT,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> _Path:
    """Copies a directory with all that is in it, as :func:`shutil.copytree` does, but with many threads.

    What fails is skipped, the rest is copied, and all failures are raised together at the end.

    Args:
        src: the directory.
        dst: the name of the copy; parents that are missing are created.
        symlinks: True copies symbolic links as links, False what they point to.
        ignore: called in this thread as ``ignore(directory, names)`` for each directory before it is copied, with the
            path as str or bytes like ``src``; returns the names to leave out.
        copy_function: copy2 (the default), copy or copyfile, py_eacopy's or shutil's: the engine copies. Any other
            function is called as ``copy_function(source, destination)`` for each file in turn, as in shutil.
        ignore_dangling_symlinks: when links are followed: leave out those that lead nowhere.
        dirs_exist_ok: False fails when a directory of the destination exists; default is the Config's.
        config: default is the active one. Its ``preserve_metadata`` chooses copy2 or copy when ``copy_function`` is
            left out, and its ``progress_callback`` is called for each file.
        control: cancels and watches the copy from another thread.

    Returns:
        dst, as given.

    Raises:
        FileNotFoundError, NotADirectoryError, FileExistsError, PermissionError: ``src`` or ``dst`` itself is at fault.
        shutil.Error: something below failed. ``args[0]`` is a list of (source, destination, reason); the exception is
            a :class:`TreeError`, with the exceptions in ``errors``.
        TypeError: an argument has the wrong type; the message names it.
        ValueError: a path contains NUL.

    Audit event: ``shutil.copytree`` with src and dst, once for the whole tree.
    """
    _check_callable("ignore", ignore, None, "None or a function of (directory, names)")
    _check_callable("copy_function", copy_function, DEFAULT, "a function of (source, destination)")
    sys.audit("shutil.copytree", src, dst)
    config = active() if config is None else checked(config)
    exist_ok = config.dirs_exist_ok if isinstance(dirs_exist_ok, Default) else bool(dirs_exist_ok)
    source, destination = encode_pair(src, dst)
    if are_bytes(src) != are_bytes(dst):
        raise TypeError("src and dst must be of one kind: both str, or both bytes")

    metadata: Optional[str]
    if isinstance(copy_function, Default):
        metadata = "stat" if config.preserve_metadata else "mode"
    else:
        metadata = metadata_of(copy_function)
        if metadata is None:
            arguments = (src, dst, bool(symlinks), ignore, bool(ignore_dangling_symlinks), exist_ok)
            refuse_inside_callback()
            with serving(control, config) as control:
                _copy_with(copy_function, config, control, *arguments)
            return dst
    job = CopyJob(
        trees=True,
        items=((source, destination),),
        options=options_for(config, metadata, not symlinks, bool(ignore_dangling_symlinks), exist_ok),
        filter=checked_filter(ignore, are_bytes(src)),
    )
    run(job, config, control, as_bytes=are_bytes(src))
    return dst


def metadata_of(copy_function: CopyFunction) -> Optional[str]:
    """What a function copies beside the contents, if the engine can stand in for it."""
    for metadata, functions in _METADATA:
        if any(copy_function is function for function in functions):
            return metadata
    return None


def _check_callable(keyword: str, value: object, absent: object, wanted: str) -> None:
    if value is not absent and not callable(value):
        raise TypeError("%s must be %s, not %s" % (keyword, wanted, _described(value)))


def _described(value: object) -> str:
    if isinstance(value, bool):
        return "the bool %r; give flags by keyword, as in symlinks=True" % value
    return type(value).__name__


def checked_filter(ignore: Optional[Ignore], as_bytes: bool = False) -> Optional[Filter]:
    """Shutil's kind of filter as the engine's."""
    _check_callable("ignore", ignore, None, "None or a function of (directory, names)")
    if ignore is None:
        return None
    asked = ignore

    def filter_names(directory: bytes, names: List[bytes]) -> Sequence[bool]:
        own: List[Any] = list(names) if as_bytes else [os.fsdecode(name) for name in names]
        result = asked(directory if as_bytes else os.fsdecode(directory), list(own))
        ignored = _quick_to_search(result)
        return [name in ignored for name in own]

    return filter_names


def _quick_to_search(result: Any) -> Container[Any]:
    """What an ignore function returned, as something in which each name of a large directory is found at once."""
    if isinstance(result, Container) and not isinstance(result, (list, tuple)):
        return result  # a class of its own may have its own idea of what is in it, as it has with shutil
    if isinstance(result, Iterable):
        names = list(result)
        try:
            return frozenset(names)
        except TypeError:
            return names  # something in it cannot be hashed, and so is no name; shutil does not mind
    raise TypeError("ignore must return the names to leave out, as a set or a list, not %s" % type(result).__name__)


# Any other copy_function: shutil's own walk --------------------------------------------------------------------------


class _Unstoppable(BaseException):
    """Carries an exception out of a callback through shutil's walk, which would collect an OSError and go on."""


def _copy_with(
    copy_function: CopyFunction,
    config: Config,
    control: Control,
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    symlinks: bool,
    ignore: Optional[Ignore],
    ignore_dangling_symlinks: bool,
    dirs_exist_ok: bool,
) -> None:
    one_file = _OneFile(copy_function, config, control)
    try:
        _originals.copytree(src, dst, symlinks, ignore, one_file, ignore_dangling_symlinks, dirs_exist_ok)
    except _Unstoppable as carrier:
        assert carrier.__cause__ is not None
        raise carrier.__cause__ from None
    except OSError as error:
        ours = _tree_failure(error, src, dst)
        if config.error_strategy is not ErrorStrategy.IGNORE:
            raise ours from None
        for line in ours.args[0] if isinstance(ours, TreeError) else [ours]:
            control.log(logging.WARNING, "%s", line)


def _tree_failure(error: OSError, src: StrOrBytesPath, dst: StrOrBytesPath) -> Exception:
    if isinstance(error, EACopyError):
        return error
    if isinstance(error, shutil.Error):
        return TreeError((), error.args[0])
    if error.errno is None:
        return error
    source, destination = os.fspath(src), os.fspath(dst)
    operation = Operation.LIST_DIRECTORY if error.filename == source else Operation.MAKE_DIRECTORY
    return error_from_failure(error.errno, operation, source, destination)


class _OneFile:
    """A caller's copy_function with what Config and Control add to it: progress, cancelling, and further tries."""

    def __init__(self, function: CopyFunction, config: Config, control: Control) -> None:
        self._function = function
        self._control = control
        self._tries = 1 + (config.retry_count if config.error_strategy is ErrorStrategy.RETRY else 0)
        self._delay = config.retry_delay

    def __call__(self, source: Any, destination: Any) -> Any:
        for left in reversed(range(self._tries)):
            self._stop_if_cancelled()
            self._report(0, source)
            try:
                result = self._function(source, destination)
            except (shutil.SameFileError, shutil.SpecialFileError) as error:
                # Shutil's walk takes the argument of an Error for a list of failures.
                raise shutil.Error([(source, destination, str(error))]) from error
            except OSError:
                if not left:
                    raise
                self._wait()
            else:
                self._report(1, source)
                return result
        raise AssertionError("not reached")

    def _wait(self) -> None:
        over = time.monotonic() + self._delay
        while time.monotonic() < over:
            self._stop_if_cancelled()
            time.sleep(min(0.05, max(0.0, over - time.monotonic())))

    def _stop_if_cancelled(self) -> None:
        if self._control.cancelled:
            raise _Unstoppable from error_from_failure(errno.ECANCELED, Operation.NONE, None, None)

    def _report(self, done: int, source: Any) -> None:
        progress = self._control.progress
        if progress is None:
            return
        try:
            status = os.stat(source)
        except OSError:
            return  # the copy_function itself will find out
        if stat.S_ISREG(status.st_mode):
            try:
                with calling_back():
                    progress(done * status.st_size, status.st_size, os.fsdecode(source))
            except BaseException as error:
                raise _Unstoppable from error
