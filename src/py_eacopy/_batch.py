"""Batches: many files or many trees in one job, and the check that their pairs do not touch each other.

Copies of a batch run at the same time and in any order. A destination that two pairs write, or that lies in what
another pair reads, would give a result that depends on chance; so it is refused.
"""

import os
from typing import Iterable, Iterator, List, Optional, Set, Tuple, Union

from ._config import DEFAULT, Config, Default, active, checked, options_for
from ._control import Control
from ._errors import InvalidArgumentError
from ._job import CopyJob
from ._paths import StrOrBytesPath, encode, encode_pair
from ._report import CopyReport
from ._strategy import run

#: Pairs of a source and a destination.
Pairs = Iterable[Tuple[StrOrBytesPath, StrOrBytesPath]]


def batch_copy(pairs: Pairs, *, config: Optional[Config] = None, control: Optional[Control] = None) -> CopyReport:
    """Copies many files with their modes, in one job: :func:`copy` for each pair, in parallel.

    Args:
        pairs: (source, destination) pairs; a destination that is a directory takes the file in under its own name. A
            list or tuple is checked as a whole before anything is written; any other iterable is read as the copying
            goes on, in this thread, so that it may be as long as it likes.
        config: default is the active one.
        control: cancels and watches the batch from another thread.

    Returns:
        what was done, as a :class:`CopyReport`.

    Raises:
        InvalidArgumentError: a destination is taken by an earlier pair, or is a source of another.
        TypeError: something is no pair of paths; the message says which.
        TreeError (a shutil.Error): more than one pair failed; under RAISE and RETRY no pair is begun after the first
            failure.
        as :func:`copy`: one pair failed.
    """
    return _batch_files(pairs, "mode", config, control)


def batch_copy2(pairs: Pairs, *, config: Optional[Config] = None, control: Optional[Control] = None) -> CopyReport:
    """Copies many files with all metadata, in one job: :func:`copy2` for each pair, in parallel.

    Args, result and errors are those of :func:`batch_copy`.
    """
    return _batch_files(pairs, "stat", config, control)


def batch_copytree(
    pairs: Pairs,
    symlinks: Union[bool, Default] = DEFAULT,
    ignore_dangling_symlinks: bool = False,
    dirs_exist_ok: Union[bool, Default] = DEFAULT,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Copies many directory trees in one job: :func:`copytree` for each pair, in parallel.

    Args:
        pairs: (source, destination) pairs of directories, read as by :func:`batch_copy`.
        symlinks: True copies symbolic links as links, False what they point to; default is the opposite of the Config's
            ``follow_symlinks``.
        ignore_dangling_symlinks: when links are followed: leave out those that lead nowhere.
        dirs_exist_ok: False fails when a directory of a destination exists; default is the Config's.
        config: default is the active one; its ``preserve_metadata`` chooses what is kept of files.
        control: cancels and watches the batch from another thread.

    Returns:
        what was done, as a :class:`CopyReport`.

    Raises:
        InvalidArgumentError: destinations are equal or lie inside each other, or one lies inside the source of another
            pair.
        TypeError: something is no pair of paths; the message says which.
        shutil.Error: parts of the trees failed, as for :func:`copytree`.
        as :func:`copytree`: one pair failed as a whole.
    """
    config = active() if config is None else checked(config)
    follow = config.follow_symlinks if isinstance(symlinks, Default) else not symlinks
    exist_ok = config.dirs_exist_ok if isinstance(dirs_exist_ok, Default) else bool(dirs_exist_ok)
    metadata = "stat" if config.preserve_metadata else "mode"
    options = options_for(config, metadata, follow, bool(ignore_dangling_symlinks), exist_ok)
    job = CopyJob(trees=True, items=checked_pairs(pairs, trees=True), options=options)
    return run(job, config, control)


def _batch_files(pairs: Pairs, metadata: str, config: Optional[Config], control: Optional[Control]) -> CopyReport:
    config = active() if config is None else checked(config)
    # Links are followed, as copy and copy2 do unless told otherwise.
    job = CopyJob(trees=False, items=checked_pairs(pairs, trees=False), options=options_for(config, metadata, True))
    return run(job, config, control)


# The pairs ------------------------------------------------------------------------------------------------------------


def checked_pairs(pairs: Pairs, *, trees: bool) -> Iterator[Tuple[bytes, bytes]]:
    """Yields the pairs as bytes, in order; raises InvalidArgumentError at a pair that touches another one.

    A list or tuple is checked as a whole before the first pair comes out, so that nothing is written when one is wrong.
    Any other iterable is read lazily, and checked as it is read; what it yielded before a wrong pair may have been
    copied.

    Memory: about 100 bytes a pair for what has been taken, however long the paths are.
    """
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError("pairs must be an iterable of (source, destination) pairs, not %s" % type(pairs).__name__)
    if isinstance(pairs, (list, tuple)):
        return iter(list(_check(pairs, trees)))
    return _check(pairs, trees)


def _check(pairs: Pairs, trees: bool) -> Iterator[Tuple[bytes, bytes]]:
    taken = _Taken(trees)
    for number, pair in enumerate(pairs):
        source, destination = _encode(pair, number)
        if not trees:
            destination = _inside_directory(source, destination)
        taken.add(source, destination, number)
        yield source, destination


def _encode(pair: Tuple[StrOrBytesPath, StrOrBytesPath], number: int) -> Tuple[bytes, bytes]:
    try:
        source, destination = pair
    except (TypeError, ValueError):
        raise TypeError("pair %d of the batch must be (source, destination), not %r" % (number, pair)) from None
    encode(source, "the source of pair %d" % number)
    encode(destination, "the destination of pair %d" % number)
    return encode_pair(source, destination)


def _inside_directory(source: bytes, destination: bytes) -> bytes:
    """A destination that is a directory takes the file in under its own name, as in shutil.copy."""
    return os.path.join(destination, os.path.basename(source)) if os.path.isdir(destination) else destination


class _Taken:
    """What earlier pairs read and write. Paths are kept as 64-bit hashes: a million of them must not fill the
    memory."""

    def __init__(self, trees: bool) -> None:
        self._trees = trees
        self._sources: Set[int] = set()
        self._destinations: Set[int] = set()
        self._above_destinations: Set[int] = set()
        self._salt = os.urandom(8)

    def add(self, source: bytes, destination: bytes, number: int) -> None:
        real_source, real_destination = _normal(source), _normal(destination)
        where = "pair %d of the batch (%r -> %r): " % (number, os.fsdecode(source), os.fsdecode(destination))
        destination_key = self._key(real_destination)
        if destination_key in self._destinations:
            raise InvalidArgumentError(where + "an earlier pair has the same destination; give each its own")
        self._destinations.add(destination_key)
        source_key = self._key(real_source)
        if not self._trees:
            is_read = destination_key in self._sources
            is_written = source_key in self._destinations and real_source != real_destination
            if is_read or is_written:
                raise InvalidArgumentError(where + "one pair's destination is another pair's source; copy them in turn")
            self._sources.add(source_key)
            return
        above = [self._key(path) for path in _with_ancestors(real_destination)]
        if self._sources.intersection(above):
            raise InvalidArgumentError(where + "the destination lies inside the source of an earlier pair")
        self._sources.add(source_key)
        if source_key in self._above_destinations:
            raise InvalidArgumentError(where + "the destination of an earlier pair lies inside this source")
        if self._destinations.intersection(above[1:]) or destination_key in self._above_destinations:
            raise InvalidArgumentError(where + "its destination and that of an earlier pair lie inside each other")
        self._above_destinations.update(above[1:])

    def _key(self, path: bytes) -> int:
        return hash((self._salt, path))


def _normal(path: bytes) -> bytes:
    """One spelling for a path. Links in it are not resolved: that would cost a system call for each component."""
    return os.path.normcase(os.path.abspath(path))


def _with_ancestors(path: bytes) -> List[bytes]:
    result = [path]
    while True:
        parent = os.path.dirname(path)
        if parent == path:
            return result
        result.append(parent)
        path = parent
