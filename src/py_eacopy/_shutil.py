"""What else shutil has around copying: move, and a way to put this package's functions in the place of shutil's."""

import contextlib
import functools
import os
import shutil
import sys
import threading
from shutil import Error, SameFileError, SpecialFileError, copyfileobj, ignore_patterns
from typing import Any, Dict, Iterator, Optional, TypeVar, Union

from . import _api, _originals, _tree
from ._config import DEFAULT, Config, Default, ErrorStrategy, active, checked
from ._control import Control
from ._errors import EACopyError, MoveError, Operation, error_from_failure
from ._paths import StrOrBytesPath, encode_pair

__all__ = [
    "Error",
    "SameFileError",
    "SpecialFileError",
    "copyfileobj",
    "ignore_patterns",
    "move",
    "patched_shutil",
]

_Path = TypeVar("_Path", bound=StrOrBytesPath)


def move(
    src: StrOrBytesPath,
    dst: _Path,
    copy_function: Union[_tree.CopyFunction, Default] = DEFAULT,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> Union[_Path, str, bytes, None]:
    """Moves a file or a directory, as :func:`shutil.move` does.

    It renames where the system can. Elsewhere it copies with the engine, and removes the source when all of it was
    copied. Metadata is kept, whatever ``Config.preserve_metadata`` says.

    Args:
        src: the file or directory.
        dst: its new name, or a directory that is to hold it under its own name.
        copy_function: as for :func:`copytree`; default is copy2.
        config: default is the active one. Its IGNORE counts as RAISE here: what was not copied must not be removed.
        control: cancels and watches the copying from another thread; a rename is over before it could be stopped.

    Returns:
        the new path: dst as given, or joined with the name of ``src``; None when ``src`` is the directory ``dst``
        under another spelling.

    Raises:
        shutil.Error: the name in the directory ``dst`` is taken, or ``dst`` lies inside ``src``; nothing was moved.
            Or the tree could not be copied whole; then the source is untouched.
        FileNotFoundError, PermissionError, OSError: what the operating system said; all are :class:`EACopyError` too,
            but for those of a ``copy_function`` of your own.

    Audit event: ``shutil.move`` with src and dst, and those of the function that copies.
    """
    config = active() if config is None else checked(config)
    if config.error_strategy is ErrorStrategy.IGNORE:
        config = config.evolve(error_strategy=ErrorStrategy.RAISE)
    encode_pair(src, dst)
    metadata = "stat" if isinstance(copy_function, Default) else _tree.metadata_of(copy_function)
    copy_tree: Any = functools.partial(_tree.copytree, dirs_exist_ok=False, config=config, control=control)
    copy_file: Any = copy_function
    if metadata is not None:
        copy_file = {"stat": _api.copy2, "mode": _api.copy, "none": _api.copyfile}[metadata]
        # shutil's move hands its copy_function on to its copytree, and only whole functions are known there.
        copy_tree = _with_copy_function(copy_tree, copy_file)
        copy_file = functools.partial(copy_file, config=config, control=control)
    if sys.version_info < (3, 9):
        src = os.fspath(src)  # its move knows no PathLike
    try:
        moved: Union[_Path, str, bytes, None] = _originals.move_with(copy_tree)(src, dst, copy_file)
        return moved
    except OSError as error:
        if type(error) is shutil.Error:
            raise MoveError(*error.args) from None
        if isinstance(error, EACopyError) or metadata is None or error.errno is None:
            raise
        raise error_from_failure(error.errno, Operation.REMOVE, error.filename, error.filename2) from error


def _with_copy_function(copy_tree: Any, copy_function: Any) -> Any:
    def copytree(src: Any, dst: Any, **keywords: Any) -> Any:
        keywords["copy_function"] = copy_function
        return copy_tree(src, dst, **keywords)

    return copytree


# Patching shutil ------------------------------------------------------------------------------------------------------

_REPLACEMENTS: Dict[str, Any] = {
    "copy": _api.copy,
    "copy2": _api.copy2,
    "copyfile": _api.copyfile,
    "copymode": _api.copymode,
    "copystat": _api.copystat,
    "copytree": _tree.copytree,
    "move": move,
}
_patch_lock = threading.Lock()
_patch_depth = 0
_replaced: Dict[str, Any] = {}


@contextlib.contextmanager
def patched_shutil() -> Iterator[None]:
    """Puts this package's copy, copy2, copyfile, copymode, copystat, copytree and move in the place of shutil's.

    For the length of a ``with`` block, in the whole process: other code that calls ``shutil.copytree(...)`` gets the
    engine. Code that imported a function before (``from shutil import copytree``) keeps that one. Blocks may be nested,
    and overlap in several threads; when the last one ends, what was there before the first is there again.

    The functions copy under the Config that is active where they are called.
    """
    global _patch_depth
    with _patch_lock:
        if _patch_depth == 0:
            _replaced.update({name: getattr(shutil, name) for name in _REPLACEMENTS})
            _set_all(_REPLACEMENTS)
        _patch_depth += 1
    try:
        yield
    finally:
        with _patch_lock:
            _patch_depth -= 1
            if _patch_depth == 0:
                _set_all(_replaced)
                _replaced.clear()


def _set_all(functions: Dict[str, Any]) -> None:
    for name, function in functions.items():
        setattr(shutil, name, function)
