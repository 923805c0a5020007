"""What is to be pushed: a file, or a tree that is listed while it is being sent."""

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Iterator, List, Optional, Tuple

from ...._errors import Operation
from .. import at, system
from ..directory import Directory, Identity
from ..failure import DANGLING, CopyFailure
from ..metadata import Attributes, read_attributes

if TYPE_CHECKING:
    from ..progress import Flight
    from .tally import Tally

FILE, DIRECTORY, LINK = 1, 2, 3

_LIST, _OPEN = Operation.LIST_DIRECTORY, Operation.OPEN_SOURCE


class Node:
    """A directory whose contents are pushed.

    Attributes:
        path: relative to the root, "" for that itself.
    """

    __slots__ = ("attributes", "directory", "identity", "info", "parent", "path")

    def __init__(self, parent: "Optional[Node]", path: str, directory: Directory, info: os.stat_result) -> None:
        self.parent = parent
        self.path = path
        self.directory = directory
        self.identity: Identity = directory.identity
        self.info = info
        self.attributes: Attributes = []

    def leads_up(self, identity: Identity) -> bool:
        """Whether a directory is this one, or one above."""
        node: Optional[Node] = self
        while node is not None:
            if node.identity == identity and identity[1]:
                return True
            node = node.parent
        return False


class Entry:
    """Something that is offered to the server.

    Attributes:
        path: what the server is to call it.
        kind: FILE, DIRECTORY or LINK.
        target: of a link.
        node: the directory it is in; of a directory, that itself; None for a file that is pushed alone.
        name: in that directory, or the path of a file alone.
        follow: it is what a symbolic link leads to.
        final: a directory in which nothing is going to change any more.
        tries, shrinks: how often it failed, and became shorter while it was sent.
        flight: its progress, while it is sent.
        whole: it is to be sent as it is, because what differs was no good.
    """

    __slots__ = (
        "attributes",
        "final",
        "flight",
        "follow",
        "info",
        "kind",
        "name",
        "node",
        "path",
        "shrinks",
        "target",
        "tries",
        "whole",
    )

    def __init__(
        self, kind: int, path: str, node: Optional[Node], name: str, info: os.stat_result, follow: bool
    ) -> None:
        self.kind = kind
        self.path = path
        self.node = node
        self.name = name
        self.info = info
        self.follow = follow
        self.target = ""
        self.attributes: Attributes = []
        self.final = False
        self.tries = self.shrinks = 0
        self.whole = False
        self.flight: Optional[Flight] = None

    @property
    def root(self) -> bool:
        """Whether it is all that is pushed."""
        return self.node is None or not self.path

    @property
    def size(self) -> int:
        return self.info.st_size if self.kind == FILE else 0


class Walk:
    """Names everything that is to be pushed, one entry after the other: directories before what is in them.

    Args:
        source: the path of the file or tree.
        attributes: extended ones are wanted.
        destination: the identity of the tree's destination, if this machine can see it: it is not pushed into itself.
    """

    def __init__(
        self, tally: "Tally", source: str, *, attributes: bool = False, destination: Optional[Identity] = None
    ) -> None:
        self._tally = tally
        self._job = tally.job
        self._source = source
        self._attributes = attributes and system.XATTR
        self._destination = destination
        self.directories: List[Node] = []

    def file(self, path: str) -> Iterator[Entry]:
        """The one file that is pushed, as `path`."""
        follow = self._job.options.follow_symlinks
        try:
            info = os.stat(system.file_path(self._source), follow_symlinks=follow)
        except OSError as error:
            raise CopyFailure(error.errno or errno.EIO, _OPEN) from None
        entry = self._entry(None, path, self._source, info, follow)
        if entry is not None:
            yield entry

    def tree(self) -> Iterator[Entry]:
        """All that is in the tree. Raises CopyFailure when its root cannot be listed."""
        tally, cache = self._tally, self._job.cache
        stack: List[Tuple[Optional[Node], str, bool]] = [(None, "", True)]
        while stack:
            tally.check()
            parent, path, follow = stack.pop()
            try:
                node, listed = self._list(parent, path, follow)
            except OSError as error:
                failure = CopyFailure(error.errno or errno.EIO, _LIST)
                if parent is None:
                    raise failure from None
                self._tally.fail(failure, path)
                continue
            if node is None:
                continue
            self.directories.append(node)
            entry = Entry(DIRECTORY, path, node, "", node.info, False)
            entry.attributes = node.attributes
            yield entry
            inside: List[Tuple[Optional[Node], str, bool]] = []
            for name, info in listed:
                below = name if not path else path + "/" + name
                follow = False
                if stat.S_ISLNK(info.st_mode) and self._job.options.follow_symlinks:
                    try:
                        try:
                            info = at.stat(node.directory.prefix + name, dir_fd=cache.pin(node.directory))
                        finally:
                            cache.unpin(node.directory)
                    except OSError as error:
                        if not (self._job.options.ignore_dangling_symlinks and error.errno in DANGLING):
                            self._tally.fail(CopyFailure(error.errno or errno.EIO, _OPEN), below)
                        continue
                    follow = True
                if stat.S_ISDIR(info.st_mode):
                    inside.append((node, below, follow))
                    continue
                found = self._entry(node, below, name, info, follow)
                if found is not None:
                    yield found
            stack.extend(reversed(inside))

    def final(self) -> Iterator[Entry]:
        """The directories once more, from the deepest up, when all else is there."""
        for node in reversed(self.directories):
            entry = Entry(DIRECTORY, node.path, node, "", node.info, False)
            entry.attributes = node.attributes
            entry.final = True
            yield entry

    def open(self, entry: Entry) -> int:
        """Opens a file for reading. Raises OSError, or CopyFailure when it is none any more."""
        cache, node = self._job.cache, entry.node
        flags = at.READ_FLAGS | (0 if entry.follow else at.O_NOFOLLOW)
        if node is None:
            return at.open(system.file_path(entry.name), flags)
        try:
            directory = cache.pin(node.directory)
            return cache.patiently(lambda: at.open(node.directory.prefix + entry.name, flags, dir_fd=directory))
        finally:
            cache.unpin(node.directory)

    @contextlib.contextmanager
    def directory_of(self, entry: Entry) -> Iterator[Optional[int]]:
        """Keeps the directory of a file open."""
        cache, node = self._job.cache, entry.node
        if node is None:
            yield None
            return
        try:
            yield cache.pin(node.directory)
        finally:
            cache.unpin(node.directory)

    def look_again(self, entry: Entry) -> os.stat_result:
        """What is there now. Raises OSError."""
        cache, node = self._job.cache, entry.node
        if node is None:
            return os.stat(system.file_path(entry.name), follow_symlinks=entry.follow)
        if entry.kind == DIRECTORY:
            return entry.info
        try:
            directory = cache.pin(node.directory)
            return at.stat(node.directory.prefix + entry.name, dir_fd=directory, follow_symlinks=entry.follow)
        finally:
            cache.unpin(node.directory)

    # Inner parts -----------------------------------------------------------------------------------------------

    def _list(
        self, parent: Optional[Node], path: str, follow: bool
    ) -> Tuple[Optional[Node], List[Tuple[str, os.stat_result]]]:
        """Opens and lists a directory. None: it is the destination."""
        cache, job = self._job.cache, self._job
        if parent is None:
            directory, info = cache.open(None, system.long_path(self._source), follow=True)
        else:
            directory, info = cache.open(parent.directory, path.rpartition("/")[2], follow)
        try:
            if parent is not None and directory.identity == self._destination and directory.identity[1]:
                return None, []
            if parent is not None and (follow or system.WINDOWS) and parent.leads_up(directory.identity):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            descriptor = directory.descriptor
            assert descriptor is not None
            with cache.patiently(lambda: at.scandir(descriptor)) as entries:
                found = list(entries)
            if job.filter is not None:
                shown = os.fsencode(self._tally.job.paths(path)[0])
                leave_out = job.ask_filter(shown, [os.fsencode(entry.name) for entry in found])
                found = [entry for entry, left_out in zip(found, leave_out) if not left_out]
            listed = []
            for entry in found:
                try:
                    listed.append((entry.name, entry.stat(follow_symlinks=False)))
                except OSError as error:
                    below = entry.name if not path else path + "/" + entry.name
                    self._tally.fail(CopyFailure(error.errno or errno.EIO, _OPEN), below)
            listed.sort(key=_name)  # what has similar names is often similar, and packs well when it is side by side
            node = Node(parent, path, directory, info)
            if self._attributes and directory.descriptor is not None:
                node.attributes = read_attributes(directory.descriptor, self._tally)
            return node, listed
        finally:
            cache.unpin(directory)

    def _entry(self, node: Optional[Node], path: str, name: str, info: os.stat_result, follow: bool) -> Optional[Entry]:
        """A file or link; None for what cannot be copied, which is told."""
        tally = self._tally
        tally.files_found += 1
        if stat.S_ISLNK(info.st_mode):
            entry = Entry(LINK, path, node, name, info, False)
            try:
                entry.target = self._read_link(entry)
            except OSError as error:
                tally.fail(CopyFailure(error.errno or errno.EIO, Operation.READ_LINK), path, root=node is None)
                return None
        elif stat.S_ISREG(info.st_mode):
            entry = Entry(FILE, path, node, name, info, follow)
            tally.bytes_found += info.st_size
        else:
            tally.fail(special_file(info), path, root=node is None)
            return None
        if self._attributes:
            try:
                entry.attributes = self._read_attributes(entry)
            except OSError as error:
                failure = CopyFailure(error.errno or errno.EIO, Operation.SET_ATTRIBUTES)
                tally.fail(failure, path, root=node is None)
                return None
        return entry

    def _read_link(self, entry: Entry) -> str:
        cache, node = self._job.cache, entry.node
        if node is None:
            return os.readlink(entry.name)
        try:
            return at.readlink(node.directory.prefix + entry.name, dir_fd=cache.pin(node.directory))
        finally:
            cache.unpin(node.directory)

    def _read_attributes(self, entry: Entry) -> Attributes:
        cache, node = self._job.cache, entry.node
        if node is None:
            return read_attributes(entry.name, self._tally, follow_symlinks=entry.follow)
        try:
            # They are reached by path only, unless the file is opened; the descriptor's entry in /proc makes one.
            path = "/proc/self/fd/%d/%s" % (cache.pin(node.directory) or 0, entry.name)
            return read_attributes(path, self._tally, follow_symlinks=entry.follow)
        finally:
            cache.unpin(node.directory)


def _name(listed: Tuple[str, os.stat_result]) -> str:
    return listed[0]


def check_source(source: str, tree: bool, follow: bool) -> None:
    """Refuses what cannot be pushed, before a server makes anything for it. Raises CopyFailure."""
    operation = _LIST if tree else _OPEN
    try:
        info = os.stat(system.file_path(source), follow_symlinks=tree or follow)
    except OSError as error:
        raise CopyFailure(error.errno or errno.EIO, operation) from None
    if tree and not stat.S_ISDIR(info.st_mode):
        raise CopyFailure(errno.ENOTDIR, operation)
    if not tree and not stat.S_ISREG(info.st_mode) and not stat.S_ISLNK(info.st_mode):
        raise special_file(info)


def special_file(info: os.stat_result) -> CopyFailure:
    """Why something that is neither file, directory nor link is not copied."""
    if stat.S_ISSOCK(info.st_mode):
        return CopyFailure(errno.ENXIO, _OPEN)
    if stat.S_ISDIR(info.st_mode):
        return CopyFailure(errno.EISDIR, _OPEN)
    return CopyFailure(0, Operation.SPECIAL_FILE)


def identity_of(path: Optional[bytes]) -> Optional[Identity]:
    """Device and inode of what is at a path of this machine, if there is anything."""
    if path is None:
        return None
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino
