"""Walking a tree: directories are found, made, filled and finished, by as many workers as there are.

A worker that has listed a directory leaves the directories in it to whoever comes first, and copies the files itself.
The one that finishes the last thing in a directory sets its times and mode, and goes on with the directory above.
So no thread waits for another, and no depth needs a stack.
"""

import errno
import os
import stat
from typing import Any, Iterable, List, Optional, Tuple

from ..._errors import DestinationState, Operation
from . import system
from .destination import exists
from .directory import Directory, Identity
from .failure import DANGLING, Cancelled, CopyFailure
from .metadata import Attributes, read_attributes, set_metadata
from .scheduler import Task
from .worker import Place, Worker

#: A large directory is shared in slices of so many files.
SLICE = 256

_LIST, _MAKE = Operation.LIST_DIRECTORY, Operation.MAKE_DIRECTORY


class Tree(Task):
    """An item of the job: a directory with all that is in it. What is done with each directory is in the three methods
    that the walk calls; a copy does this, and a sync (see sync/tree.py) something else.

    Attributes:
        flat: only the root has a directory at the destination.
    """

    flat = False

    def __init__(self, source: str, destination: str) -> None:
        self.source = source
        self.destination = destination
        self.target_identity: Optional[Identity] = None
        self.failed = False

    def run(self, worker: Worker) -> None:
        if worker.job.refuses_items:
            worker.job.end_item(worker, failed=False)
        else:
            _copy_directory(worker, self, None, "", follow=True)

    def begin(self, worker: Worker, parent: "Optional[Node]", name: str, follow: bool) -> "Optional[Tuple[Node, Any]]":
        """Opens and lists a directory, and makes its destination; both are pinned then.

        Returns None where there is nothing to be done. Raises CopyFailure.
        """
        return _begin(worker, self, parent, name, follow)

    def fill(self, worker: Worker, node: "Node", listing: Any) -> None:
        """Does what is to be done with the files and links in a directory, and hands on the directories."""
        _fill(worker, node, listing)

    def finish(self, worker: Worker, node: "Node") -> None:
        """Nothing in the directory is going to change any more. Nothing in it is pinned."""
        _finish(worker, node)


class Node:
    """A directory that is being copied.

    Attributes:
        pending: its own files, and the slices and directories in it, that are not finished. Guarded by the job's lock.
    """

    __slots__ = ("attributes", "info", "name", "parent", "pending", "source", "target", "tree")

    def __init__(
        self,
        tree: Tree,
        parent: "Optional[Node]",
        name: str,
        source: Directory,
        target: Directory,
        info: os.stat_result,
        attributes: Attributes,
    ) -> None:
        self.tree = tree
        self.parent = parent
        self.name = name
        self.source = source
        self.target = target
        self.info = info
        self.attributes = attributes
        self.pending = 1


class NodePlace(Place):
    """The names in a directory that is pinned."""

    root = False

    def __init__(self, node: Node) -> None:
        super().__init__(node.source.prefix, node.target.prefix)
        self.source_directory = node.source.descriptor
        self.target_directory = node.target.descriptor
        self.node = node
        self._paths: Optional[Tuple[str, str]] = None

    def paths(self, name: str) -> Tuple[str, str]:
        if self._paths is None:
            self._paths = paths_of(self.node.tree, self.node, "")
        return self._paths[0] + name, self._paths[1] + name


class Listing:
    """What is in a directory, by what is to be done with it."""

    def __init__(self, entries: "Iterable[os.DirEntry[str]]") -> None:
        self.files: List[str] = []
        self.directories: List[str] = []
        self.links: List[str] = []
        self.others: List[str] = []  # FIFOs, sockets, devices, and what could not be looked at
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    self.files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    self.directories.append(entry.name)
                elif entry.is_symlink():
                    self.links.append(entry.name)
                else:
                    self.others.append(entry.name)
            except OSError:
                self.others.append(entry.name)


class Directories(Task):
    """Directories in one that is being copied, of which none is begun."""

    def __init__(self, node: Node, names: List[str], follow: bool) -> None:
        self._node = node
        self._names = names
        self._follow = follow

    def run(self, worker: Worker) -> None:
        name = self._names.pop()
        if self._names:
            worker.job.scheduler.push(self)
        _copy_directory(worker, self._node.tree, self._node, name, follow=self._follow)


class _Files(Task):
    """A slice of the files of a large directory."""

    def __init__(self, node: Node, names: List[str], begin: int, end: int) -> None:
        self._node = node
        self._names = names
        self._begin = begin
        self._end = end

    def run(self, worker: Worker) -> None:
        node, cache = self._node, worker.job.cache
        try:
            try:
                cache.pin(node.source)
                try:
                    cache.pin(node.target)
                    _copy_files(worker, NodePlace(node), self._names, self._begin, self._end)
                finally:
                    cache.unpin(node.target)
            finally:
                cache.unpin(node.source)
        except OSError as error:
            fail(worker, CopyFailure(error.errno or errno.EIO, _LIST), node.tree, node, "")
        leave(worker, node)


def paths_of(tree: Tree, parent: Optional[Node], name: str) -> Tuple[str, str]:
    """Source and destination of a name in a directory, as the user would write them."""
    names = [name]
    while parent is not None and parent.parent is not None:
        names.append(parent.name)
        parent = parent.parent
    if parent is None:
        return tree.source, tree.destination
    inside = os.sep.join(reversed(names))
    return os.path.join(tree.source, inside), os.path.join(tree.destination, inside)


def fail(worker: Worker, failure: CopyFailure, tree: Tree, parent: Optional[Node], name: str) -> None:
    tree.failed = True
    worker.fail(failure, *paths_of(tree, parent, name), root=parent is None)


def _copy_directory(worker: Worker, tree: Tree, parent: Optional[Node], name: str, *, follow: bool) -> None:
    """Copies a directory of `parent`, or the root of the tree."""
    job = worker.job
    if job.cancelled:
        return
    try:
        begun = tree.begin(worker, parent, name, follow)
    except CopyFailure as failure:
        failure.state = _state_of_directory(worker, tree, parent, name)
        fail(worker, failure, tree, parent, name)
        begun = None
    if begun is None:
        if parent is None:
            job.end_item(worker, failed=tree.failed)
        else:
            leave(worker, parent)
        return
    node, listing = begun
    target = node.target
    try:
        tree.fill(worker, node, listing)
    finally:
        job.cache.unpin(target)
        job.cache.unpin(node.source)
    leave(worker, node)


def _begin(
    worker: Worker, tree: Tree, parent: Optional[Node], name: str, follow: bool
) -> Optional[Tuple[Node, Listing]]:
    """Opens and lists the source, and makes the destination; both are pinned then.

    Returns None where the source is the destination of the tree.
    """
    cache = worker.job.cache
    worker.operation = _LIST
    source = None
    try:
        if parent is None:
            source, info = cache.open(None, system.long_path(tree.source), follow=True)
        else:
            source, info = cache.open(parent.source, name, follow)
            if source.identity == tree.target_identity:
                let_go(worker, source)
                return None
            if (follow or system.WINDOWS) and leads_up(parent, source.identity):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        listing = list_directory(worker, tree, parent, name, source)
        attributes = _attributes(worker, source)
        worker.operation = _MAKE
        target = _make_target(worker, tree, parent, name)
    except OSError as error:
        if source is not None:
            let_go(worker, source)
        raise CopyFailure(error.errno or errno.EIO, worker.operation) from None
    except Cancelled:
        if source is not None:
            let_go(worker, source)
        raise CopyFailure.of_cancellation() from None
    links = 0 if worker.job.options.follow_symlinks else len(listing.links)
    worker.files_found += len(listing.files) + len(listing.others) + links
    return Node(tree, parent, name, source, target, info, attributes), listing


def _state(place: Place, name: str) -> DestinationState:
    there = exists(place.target_directory, place.target_prefix + name)
    return DestinationState.OLD if there else DestinationState.ABSENT


def _state_of_directory(worker: Worker, tree: Tree, parent: Optional[Node], name: str) -> DestinationState:
    """What is at the destination of a directory that failed."""
    if parent is None:
        return _state(Place("", tree.destination), "")
    if tree.flat:
        return DestinationState.ABSENT
    try:
        try:
            worker.job.cache.pin(parent.target)
            return _state(NodePlace(parent), name)
        finally:
            worker.job.cache.unpin(parent.target)
    except OSError:
        return DestinationState.ABSENT


def let_go(worker: Worker, directory: Directory) -> None:
    worker.job.cache.unpin(directory)
    worker.job.cache.discard(directory)


def leads_up(node: Optional[Node], identity: Identity) -> bool:
    """Whether a directory is one of those it was found in: going on would never end."""
    while node is not None:
        if node.source.identity == identity and identity[1]:
            return True
        node = node.parent
    return False


def list_directory(worker: Worker, tree: Tree, parent: Optional[Node], name: str, source: Directory) -> Listing:
    job = worker.job
    where = source.descriptor if source.descriptor is not None else source.prefix
    with job.cache.patiently(lambda: os.scandir(where)) as entries:
        if job.filter is None:
            return Listing(entries)
        found: List[os.DirEntry[str]] = list(entries)
    path, _ = paths_of(tree, parent, name)
    leave_out = job.ask_filter(os.fsencode(path), [os.fsencode(entry.name) for entry in found])
    return Listing(entry for entry, left_out in zip(found, leave_out) if not left_out)


def _attributes(worker: Worker, source: Directory) -> Attributes:
    """Read now, while the source is open, and set at the very end: a default ACL is not for what comes meanwhile."""
    return read_attributes(source.descriptor, worker) if source.descriptor is not None else []


def _make_target(worker: Worker, tree: Tree, parent: Optional[Node], name: str) -> Directory:
    """Makes and opens the destination of a directory."""
    cache = worker.job.cache
    if parent is None:
        name = system.long_path(tree.destination)
        made = make_root(worker, name)
    else:
        try:
            descriptor = cache.pin(parent.target)
            made = _make(parent.target.prefix + name, descriptor)
        finally:
            cache.unpin(parent.target)
    if made:
        worker.directories_created += 1
    elif not worker.job.options.dirs_exist_ok:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        target, _ = cache.open(parent.target if parent is not None else None, name, follow=not made)
    except (NotADirectoryError, FileNotFoundError):
        if made:
            raise
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    if parent is None:
        tree.target_identity = target.identity
    return target


def _make(name: str, directory: Optional[int]) -> bool:
    """False when there is something already."""
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def make_root(worker: Worker, path: str) -> bool:
    """Makes a directory with those above it."""
    missing = []
    above = os.path.dirname(path.rstrip("/" + os.sep))
    while above and not os.path.isdir(above):
        missing.append(above)
        further = os.path.dirname(above)
        if further == above:
            break
        above = further
    for directory in reversed(missing):
        worker.directories_created += _make(directory, None)
        if worker.job.options.fsync:
            system.sync_path(os.path.dirname(os.path.abspath(directory)))
    return _make(path, None)


def _fill(worker: Worker, node: Node, listing: Listing) -> None:
    """Copies the files and links of a directory, and leaves the directories in it to be found."""
    job, files = worker.job, listing.files
    own = SLICE if job.shares_directories and len(files) > 2 * SLICE else len(files)
    begins = range(own, len(files), SLICE)
    # Before anybody else can know the directory.
    node.pending += len(listing.directories) + len(begins)
    if listing.directories:
        job.scheduler.push(Directories(node, listing.directories, follow=False))
    for begin in begins:
        job.scheduler.push(_Files(node, files, begin, min(begin + SLICE, len(files))))
    place = NodePlace(node)
    _copy_files(worker, place, files, 0, own)
    _copy_others(worker, place, listing.others, follow=False)
    if job.options.follow_symlinks:
        _follow_links(worker, place, node, listing.links)
    else:
        _copy_others(worker, place, listing.links, follow=False)


def _copy_files(worker: Worker, place: NodePlace, names: List[str], begin: int, end: int) -> None:
    job = worker.job
    for name in names if end - begin == len(names) else names[begin:end]:
        if job.cancelled:
            return
        if not worker.copy_file(place, name, follow=False, listed=True):
            place.node.tree.failed = True


def _copy_others(worker: Worker, place: NodePlace, names: List[str], *, follow: bool) -> None:
    """Copies links, and refuses what cannot be copied."""
    for name in names:
        if worker.job.cancelled:
            return
        if not worker.copy_file(place, name, follow=follow):
            place.node.tree.failed = True


def _follow_links(worker: Worker, place: NodePlace, node: Node, names: List[str]) -> None:
    """Copies what links lead to."""
    options = worker.job.options
    directories: List[str] = []
    followed: List[str] = []
    for name in names:
        try:
            info = os.stat(place.source_prefix + name, dir_fd=place.source_directory)
        except OSError as error:
            if not (options.ignore_dangling_symlinks and error.errno in DANGLING):
                state = _state(place, name)
                failure = CopyFailure(error.errno or errno.EIO, Operation.OPEN_SOURCE, state=state)
                fail(worker, failure, node.tree, node, name)
            continue
        if stat.S_ISDIR(info.st_mode):
            directories.append(name)
        else:
            followed.append(name)
    worker.files_found += len(followed)
    _copy_others(worker, place, followed, follow=True)
    if directories:
        with worker.job.lock:
            node.pending += len(directories)
        worker.job.scheduler.push(Directories(node, directories, follow=True))


def leave(worker: Worker, start: Node) -> None:
    """One thing in a directory is finished. If it was the last one the directory is, and so may be those above it."""
    job = worker.job
    node: Optional[Node] = start
    while node is not None:
        with job.lock:
            node.pending -= 1
            if node.pending:
                return
        if job.cancelled:
            return
        node.tree.finish(worker, node)
        if node.parent is None:
            job.end_item(worker, failed=node.tree.failed)
        node = node.parent


def _finish(worker: Worker, node: Node) -> None:
    """Sets the metadata of a directory in which nothing is going to change any more."""
    cache, fsync = worker.job.cache, worker.job.options.fsync
    try:
        worker.operation, worker.offset = Operation.SET_MODE, 0
        try:
            descriptor = cache.pin(node.target)
            target = descriptor if descriptor is not None else node.target.prefix
            set_metadata(target, node.info, node.attributes, "stat", worker)
            if fsync and descriptor is not None:
                worker.operation = Operation.SYNC
                system.sync(descriptor)
                if node.parent is None:
                    system.sync_path(os.path.dirname(os.path.abspath(node.tree.destination)))
        finally:
            cache.unpin(node.target)
    except OSError as error:
        node.tree.failed = True
        paths = paths_of(node.tree, node.parent, node.name)
        failure = CopyFailure(error.errno or errno.EIO, worker.operation, state=DestinationState.OLD)
        worker.fail(failure, *paths, root=False)
    cache.discard(node.target)
    cache.discard(node.source)
