"""Batches: many files or many trees in one job, and the check that their pairs do not touch each other.

Copies of a batch run at the same time and in any order. A destination that two pairs write, or that lies in what
another pair reads, would give a result that depends on chance; so it is refused.
"""

import array
import os
import stat
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple, Union

from ._config import DEFAULT, Config, Default, active, checked, options_for
from ._control import Control
from ._errors import InvalidArgumentError
from ._job import CopyJob
from ._paths import StrOrBytesPath, encode, encode_pair
from ._report import CopyReport
from ._strategy import run
from ._tree import Ignore, checked_filter

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
    ignore: Optional[Ignore] = None,
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
        ignore: as for :func:`copytree`: called in this thread as ``ignore(directory, names)``.
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
    job = CopyJob(trees=True, items=checked_pairs(pairs, trees=True), options=options, filter=checked_filter(ignore))
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

    Memory for pairs that have been read, however long their paths are: at most 80 bytes each.
    """
    if isinstance(pairs, (str, bytes, Mapping)) or not isinstance(pairs, Iterable):
        raise TypeError("pairs must be an iterable of (source, destination) pairs, not %s" % type(pairs).__name__)
    checked = _check(pairs, _Trees() if trees else _Files())
    return iter(list(checked)) if isinstance(pairs, (list, tuple)) else checked


def _check(pairs: Pairs, taken: "Union[_Files, _Trees]") -> Iterator[Tuple[bytes, bytes]]:
    for number, pair in enumerate(pairs):
        source, destination = _encode(pair, number)
        destination, objection = taken.add(source, destination)
        if objection:
            shown = number, os.fsdecode(source), os.fsdecode(destination)
            raise InvalidArgumentError("pair %d of the batch (%r -> %r): " % shown + objection)
        yield source, destination


def _encode(pair: Tuple[StrOrBytesPath, StrOrBytesPath], number: int) -> Tuple[bytes, bytes]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError("pair %d of the batch must be a tuple (source, destination), not %r" % (number, pair))
    try:
        return encode_pair(*pair)
    except TypeError:
        encode(pair[0], "the source of pair %d" % number)
        encode(pair[1], "the destination of pair %d" % number)
        raise


class _Files:
    """What earlier pairs of files read and write. A path has one key, however it is spelled."""

    def __init__(self) -> None:
        self._keys = _Keys()
        self._real_directories: Dict[bytes, bytes] = {}

    def add(self, source: bytes, destination: bytes) -> Tuple[bytes, str]:
        """Where the copy will be, and what is wrong with that."""
        path = destination
        try:
            mode = os.stat(path).st_mode
        except OSError:
            pass
        else:
            if stat.S_ISDIR(mode):
                path = destination = os.path.join(destination, os.path.basename(source))  # as in shutil.copy
            if os.path.islink(path):
                path = os.path.realpath(path)
        read, written = self._key(source), self._key(path) | _WRITTEN
        earlier = self._keys.put(written)
        if earlier & _WRITTEN:
            return destination, "an earlier pair has the same destination; give each its own"
        if earlier or (read != written ^ _WRITTEN and self._keys.put(read) & _WRITTEN):
            return destination, "one pair's destination is another pair's source; copy them in turn"
        return destination, ""

    def _key(self, path: bytes) -> int:
        directory, name = _split(path)
        real = self._real_directories.get(directory)
        if real is None:
            if len(self._real_directories) == 10_000:
                self._real_directories.clear()
            real = self._real_directories[directory] = os.path.normcase(os.path.realpath(directory))
        return hash((real, _normcase(name))) & _KEY or 2


# The lowest bit of a key tells whether the path is written or read.
_WRITTEN = 1
_KEY = 0xFFFF_FFFF_FFFF_FFFE

_split: Callable[[bytes], Tuple[bytes, bytes]] = os.path.split
_normcase: Callable[[bytes], bytes] = os.path.normcase
if os.name == "posix":

    def _split(path: bytes) -> Tuple[bytes, bytes]:
        head, separator, tail = path.rpartition(b"/")
        return head + separator, tail

    _normcase = bytes  # what is bytes already stays the same object


class _Keys:
    """A set of numbers of 64 bits, in a sixth of the memory of a set: a million pairs must not fill it."""

    def __init__(self) -> None:
        self._table = array.array("Q", [0]) * 1024
        self._count = 0

    def put(self, key: int) -> int:
        """Adds a key, unless one that differs in its lowest bit at most is there; returns that one, or 0."""
        table = self._table
        last = len(table) - 1
        place = key >> 8 & last
        while True:
            held = table[place]
            if not held:
                break
            if held ^ key <= 1:
                return held
            place = place + 1 & last
        table[place] = key
        self._count += 1
        if self._count * 3 > len(table) * 2:
            self._table = array.array("Q", [0]) * (2 * len(table))
            self._count = 0
            for held in filter(None, table):
                self.put(held)
        return 0


class _Trees:
    """What earlier pairs of trees read and write."""

    def __init__(self) -> None:
        self._sources: Set[bytes] = set()
        self._above_sources: Set[bytes] = set()
        self._destinations: Set[bytes] = set()
        self._above_destinations: Set[bytes] = set()

    def add(self, source: bytes, destination: bytes) -> Tuple[bytes, str]:
        """Where the copy will be, and what is wrong with that."""
        # A pair's own paths are not compared: copying a tree into its own subfolder works as in shutil.
        read, written = _with_ancestors(source), _with_ancestors(destination)
        objection = ""
        if not self._destinations.isdisjoint(written) or written[0] in self._above_destinations:
            objection = "its destination and that of an earlier pair are the same, or lie inside each other"
        elif not self._sources.isdisjoint(written) or written[0] in self._above_sources:
            objection = "its destination and the source of an earlier pair are the same, or lie inside each other"
        elif not self._destinations.isdisjoint(read) or read[0] in self._above_destinations:
            objection = "its source and the destination of an earlier pair are the same, or lie inside each other"
        self._sources.add(read[0])
        self._above_sources.update(read[1:])
        self._destinations.add(written[0])
        self._above_destinations.update(written[1:])
        return destination, objection


def _with_ancestors(path: bytes) -> List[bytes]:
    """The one spelling of a path, and those of all directories above it."""
    result = [os.path.normcase(os.path.realpath(path))]
    while True:
        parent = os.path.dirname(result[-1])
        if parent == result[-1]:
            return result
        result.append(parent)
