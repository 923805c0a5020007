"""A sync of what file lists say, as jobs: one for all files that are named, and one for each directory or pattern."""

import contextlib
import errno
import os
import stat
import tempfile
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import attr

from ._control import Control
from ._errors import ErrorKind, InvalidArgumentError, Operation, error_from_failure
from ._file_lists import Entry, read_lists
from ._job import CopyJob, Sync
from ._patterns import Patterns, below


def listed_jobs(
    job: CopyJob, lists: Sequence[bytes], exclude_lists: Sequence[bytes], optional: Sequence[bytes], control: Control
) -> Iterator[CopyJob]:
    """The jobs that do what lists say. All lists are read before the first job comes out.

    Args:
        job: what would be done without lists.
        lists: what to bring up to date; none: all, save what is excluded.
        exclude_lists: what to leave out.
        optional: patterns of what may be missing.
        control: told of what is missing.

    Raises:
        as :func:`read_lists`.
    """
    assert job.sync is not None
    ((source, destination),) = job.items
    sync = _without(job.sync, read_lists(exclude_lists, source))
    if not lists:
        yield attr.evolve(job, sync=sync)
        return
    listed = _Listed(source, destination, sync, Patterns(optional), job.options.follow_symlinks, control)
    entries = list(read_lists(lists, source))
    if not os.path.isdir(source):
        number = errno.ENOTDIR if os.path.exists(source) else errno.ENOENT
        raise error_from_failure(number, Operation.LIST_DIRECTORY, os.fsdecode(source), os.fsdecode(destination))
    for entry in entries:
        listed.add(entry)
    if sync.files != (b"*",):
        # Directories that hold nothing of it would be made, and purged with what no line stands for.
        empty_dirs = sync.empty_dirs and not sync.purge
        yield attr.evolve(job, sync=attr.evolve(sync, purge=False, empty_dirs=empty_dirs))
    for tree, own in listed.trees():
        yield attr.evolve(job, items=(tree,), sync=own)
    if listed.files:
        files_only = attr.evolve(sync, purge=False, root=destination)
        yield attr.evolve(job, trees=False, items=tuple(listed.files), sync=files_only)
    if sync.purge and not listed.is_whole and not control.errors and os.path.isdir(destination):
        with _nothing_like(destination) as nothing:
            items = ((nothing, destination),)
            yield attr.evolve(job, items=items, sync=listed.purging(sync.files != (b"*",)))
            for error in control.errors:
                if error.filename == os.fsdecode(nothing):
                    error.filename = os.fsdecode(source)


def _without(sync: Sync, entries: Iterator[Entry]) -> Sync:
    patterns = tuple(_pattern(entry) for entry in entries)
    return attr.evolve(
        sync, exclude_files=(*sync.exclude_files, *patterns), exclude_dirs=(*sync.exclude_dirs, *patterns)
    )


def _pattern(entry: Entry) -> bytes:
    if entry.directory is not None or entry.purge or not entry.path:
        raise InvalidArgumentError("%s: only a path or a pattern may stand in a list of what to leave out" % entry.line)
    # A pattern without a path says which names; a name says which file.
    return os.fsencode(entry.path if entry.is_pattern and "/" not in entry.path else "/" + entry.path)


@contextlib.contextmanager
def _nothing_like(directory: bytes) -> Iterator[bytes]:
    """An empty directory with the mode of another one, which that is to be purged after."""
    with tempfile.TemporaryDirectory(prefix="eacopy-") as nothing:
        os.chmod(nothing, stat.S_IMODE(os.stat(directory).st_mode))
        yield os.fsencode(nothing)


class _Tree(NamedTuple):
    """A directory below the source, or what is in it and matches a pattern, and where it goes."""

    path: str
    pattern: str
    directory: str
    purge: bool


class _Listed:
    """What the entries of lists come to.

    Attributes:
        files: source and destination of each file that is named.
    """

    def __init__(
        self, source: bytes, destination: bytes, sync: Sync, optional: Patterns, follow: bool, control: Control
    ) -> None:
        self.files: List[Tuple[bytes, bytes]] = []
        self._source = source
        self._destination = destination
        self._sync = sync
        self._optional = optional
        self._stat = os.stat if follow else os.lstat
        self._control = control
        self._exclude_files = Patterns(sync.exclude_files)
        self._exclude_directories = Patterns(sync.exclude_dirs)
        self._taken: Dict[str, bytes] = {}  # by path below the destination: the source that goes there
        self._trees: List[_Tree] = []

    def add(self, entry: Entry) -> None:
        directory = entry.directory
        if directory is None:
            directory = os.path.dirname(entry.path)
        if entry.is_pattern:
            path, pattern = _split_pattern(entry.path)
            self._add_tree(entry, path, pattern, path if entry.directory is None else directory)
            return
        if self._is_excluded(entry.path):
            return
        full = os.path.join(self._source, os.fsencode(entry.path)) if entry.path else self._source
        try:
            info = self._stat(full)
        except OSError as error:
            where, _, name = entry.path.rpartition("/")
            if not self._optional.match(where + "/" if where else "", name):
                self._fail(error.errno or errno.ENOENT, full, self._target(directory, name))
            return
        if stat.S_ISDIR(info.st_mode):
            self._add_tree(entry, entry.path, "", entry.path if entry.directory is None else directory)
        else:
            self._add_file(entry, full, directory)

    @property
    def is_whole(self) -> bool:
        """The destination as a whole is that of a directory, which purges it by itself."""
        return any(not tree.pattern and not tree.directory for tree in self._trees)

    def trees(self) -> Iterator[Tuple[Tuple[bytes, bytes], Sync]]:
        """Source and destination of each tree, and what to do with it."""
        sync = self._sync
        for tree in self._trees:
            path, pattern, directory, purge = tree
            where = path + "/" if path else ""
            own = attr.evolve(
                sync,
                files=(os.fsencode(pattern),) if pattern else (b"*",),
                exclude_files=tuple(p for known in sync.exclude_files for p in below(known, where)),
                exclude_dirs=tuple(p for known in sync.exclude_dirs for p in below(known, where)),
                link_dirs=tuple(os.path.join(link, os.fsencode(directory)) for link in sync.link_dirs),
                purge=purge,
            )
            if purge:
                own = self._keeping(own, directory, tree)
            source = os.path.join(self._source, os.fsencode(path)) if path else self._source
            inside = "" if sync.flatten else directory
            target = os.path.join(self._destination, os.fsencode(inside)) if inside else self._destination
            yield (source, target), own

    def purging(self, with_files: bool) -> Sync:
        """Removes from the destination what no entry put there.

        Args:
            with_files: what the job's own patterns stand for is not to be removed either.
        """
        sync = attr.evolve(
            self._sync, files=(b"*",), purge=True, flatten=False, dir_times=False, archive=False, hard_links=False
        )
        sync = attr.evolve(sync, link_dirs=(), link_database=None, subdirs=True, max_depth=0)
        if with_files:
            sync = attr.evolve(sync, exclude_files=(*sync.exclude_files, *self._sync.files))
        return self._keeping(sync, "", None)

    # Inner parts ---------------------------------------------------------------------------------------------------

    def _add_tree(self, entry: Entry, path: str, pattern: str, directory: str) -> None:
        tree = _Tree(path, pattern, directory, entry.purge or self._sync.purge)
        if tree not in self._trees:
            self._trees.append(tree)

    def _add_file(self, entry: Entry, path: bytes, directory: str) -> None:
        if entry.purge:
            raise InvalidArgumentError("%s: %r is a file; only a directory can be purged" % (entry.line, entry.path))
        name = os.path.basename(entry.path)
        if self._sync.flatten:
            directory = ""
        place = directory + "/" + name if directory else name
        target = self._target(directory, name)
        before = self._taken.get(place)
        if before == path:
            return
        if before is not None:
            text = "another file of this name goes into the same directory"
            self._fail(errno.EEXIST, path, target, ErrorKind.DESTINATION_EXISTS, text)
            return
        self._taken[place] = path
        self.files.append((path, target))

    def _keeping(self, sync: Sync, directory: str, own: Optional[_Tree]) -> Sync:
        """Lets the purge of a directory leave what other entries put there."""
        where = directory + "/" if directory else ""
        files = [place[len(where) :] for place in self._taken if place.startswith(where)]
        directories: List[str] = []
        for tree in self._trees:
            inside = "" if sync.flatten else tree.directory
            if tree == own or not (inside + "/").startswith(where):
                continue
            if not tree.pattern and inside != directory:
                directories.append(inside[len(where) :])
            elif tree.pattern:
                above = (inside + "/")[len(where) :].lstrip("/")
                files += [above + tree.pattern.lstrip("/"), above + "*/" + tree.pattern.lstrip("/")]
        return attr.evolve(
            sync,
            exclude_files=(*sync.exclude_files, *(os.fsencode("/" + name) for name in files)),
            exclude_dirs=(*sync.exclude_dirs, *(os.fsencode("/" + name) for name in directories)),
        )

    def _is_excluded(self, path: str) -> bool:
        names = path.split("/")
        where = ""
        for name in names[:-1]:
            if self._exclude_directories.match(where, name):
                return True
            where += name + "/"
        return self._exclude_files.match(where, names[-1])

    def _target(self, directory: str, name: str) -> bytes:
        inside = os.fsencode(directory + "/" + name if directory else name)
        return os.path.join(self._destination, inside)

    def _fail(
        self, number: int, source: bytes, target: bytes, kind: Optional[ErrorKind] = None, text: str = ""
    ) -> None:
        paths = os.fsdecode(source), os.fsdecode(target)
        self._control.record(
            error_from_failure(number, Operation.OPEN_SOURCE, *paths, kind=kind, root=False, text=text)
        )


def _split_pattern(path: str) -> Tuple[str, str]:
    """The directory in which a pattern is looked for, and the pattern."""
    names = path.split("/")
    first = next(number for number, name in enumerate(names) if "*" in name or "?" in name)
    pattern = names[first] if first == len(names) - 1 else "/" + "/".join(names[first:])
    return "/".join(names[:first]), pattern
