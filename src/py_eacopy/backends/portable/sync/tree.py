"""Bringing a tree up to date: what is done with each directory that the walk of ../tree.py comes to."""

import errno
import os
import stat
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ...._errors import DestinationState, ErrorKind, Operation
from .. import system, temporary
from ..directory import Directory, Identity
from ..failure import Cancelled, CopyFailure
from ..metadata import Attributes, read_attributes, set_metadata
from ..monitor import Refusal
from ..scheduler import Task
from ..tree import SLICE, Directories, Listing, Node, Tree, fail, leads_up, leave, let_go, make_root, paths_of
from ..worker import Worker
from .files import bring_file, bring_link, copy_unlisted
from .places import InTree, Older, SyncNode
from .removal import remove_directory, remove_file, takes
from .worker import SyncWorker, look, make_writable

_LIST, _MAKE = Operation.LIST_DIRECTORY, Operation.MAKE_DIRECTORY


class _Plan(NamedTuple):
    """What is in a directory, and what is at its destination: True for directories."""

    listing: Listing
    known: Set[str]
    targets: Dict[str, bool]


class SyncTree(Tree):
    """A tree that is brought up to date.

    Attributes:
        flat: all files go directly into the destination.
        placed: where so: the names that are taken; guarded by the job's lock.
        root: the root's node.
        targets: where flat, what is at the destination.
    """

    def __init__(self, source: str, destination: str) -> None:
        super().__init__(source, destination)
        self.flat = False
        self.placed: Set[str] = set()
        self.targets: Dict[str, bool] = {}
        self.root: Optional[SyncNode] = None

    def flat_path(self, name: str) -> str:
        return os.path.join(self.destination, name)

    def begin(self, worker: Worker, parent: Optional[Node], name: str, follow: bool) -> "Optional[Tuple[Node, _Plan]]":
        assert isinstance(worker, SyncWorker) and (parent is None or isinstance(parent, SyncNode))
        job, cache = worker.job, worker.job.cache
        self.flat = job.sync.flatten
        worker.operation = _LIST
        source: Optional[Directory] = None
        try:
            if parent is None:
                source, info = cache.open(None, system.long_path(self.source), follow=True)
                self._refuse_overlap(source)
                job.protected.add(source.identity)
            else:
                source, info = cache.open(parent.source, name, follow)
                loops = (follow or system.WINDOWS) and leads_up(parent, source.identity)
                if loops or (job.options.follow_symlinks and _is_being_filled(parent, source.identity)):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            where = source.descriptor if source.descriptor is not None else source.prefix
            with cache.patiently(lambda: os.scandir(where)) as entries:
                listing = Listing(entries)
            attributes: Attributes = []
            if source.descriptor is not None:
                attributes = read_attributes(source.descriptor, worker)
            node = _new_node(self, parent, name, source, info, attributes)
            known = _known_names(listing)
            if not job.selection.all_names:
                _select(worker, node, listing)
            worker.operation = _MAKE
            self._find_target(worker, node, bool(listing.files or listing.links or listing.others))
        except OSError as error:
            if source is not None:
                let_go(worker, source)
            raise _failure_of(error, worker.operation, parent is None) from None
        except Cancelled:
            if source is not None:
                let_go(worker, source)
            raise CopyFailure.of_cancellation() from None
        except CopyFailure:
            if source is not None:
                let_go(worker, source)
            raise
        try:
            targets = self._targets_of(worker, node)
        except OSError as error:
            let_go(worker, node.target)
            let_go(worker, source)
            raise CopyFailure(error.errno or errno.EIO, _LIST) from None
        node.left = len(targets)
        node.older = self._older_of(worker, node)
        if parent is None:
            self.root = node
        return node, _Plan(listing, known, targets)

    def fill(self, worker: Worker, node: Node, plan: _Plan) -> None:
        assert isinstance(worker, SyncWorker) and isinstance(node, SyncNode)
        job, sync, listing = worker.job, worker.job.sync, plan.listing
        follow = job.options.follow_symlinks
        descends = sync.subdirs and (not sync.max_depth or node.depth < sync.max_depth)
        worker.files_found += len(listing.files) + len(listing.others) + (0 if follow else len(listing.links))
        node.filled = bool(listing.files or listing.links or listing.others)
        files = listing.files
        own = SLICE if job.shares_directories and len(files) > 2 * SLICE else len(files)
        begins = range(own, len(files), SLICE)
        directories = listing.directories if descends else []
        # Before anybody else can know the directory.
        node.pending += len(directories) + len(begins)
        if directories:
            job.scheduler.push(Directories(node, directories, follow=False))
        for begin in begins:
            job.scheduler.push(_Files(node, plan, begin, min(begin + SLICE, len(files))))
        pinned: List[Directory] = []
        try:
            place = _place(worker, node, pinned)
            _bring_files(worker, place, files if own == len(files) else files[:own], plan.targets)
            for name in listing.others:
                self.failed |= not copy_unlisted(worker, place, name, follow=False)  # which refuses them
            if follow:
                _follow_links(worker, place, node, plan, descends)
            else:
                for name in listing.links:
                    if job.cancelled:
                        return
                    if _is_free(worker, place, name):
                        self.failed |= not bring_link(worker, place, name, bool(plan.targets))
        finally:
            for directory in pinned:
                job.cache.unpin(directory)
        if sync.purge and node.there and not node.made and not self.flat and not job.cancelled:
            self._tidy(worker, node, plan.targets, plan.known)

    def finish(self, worker: Worker, node: Node) -> None:
        assert isinstance(worker, SyncWorker) and isinstance(node, SyncNode)
        job, cache = worker.job, worker.job.cache
        if node.filled and node.parent is not None:
            node.parent.filled = True
        try:
            if node.there and self.flat and node.parent is None:
                self._tidy_flat(worker, node)
            if not job.sync.dry_run and node.there and not (self.flat and node.parent is not None):
                if not self._remove_unfilled(worker, node):
                    _set_directory_metadata(worker, node)
            elif job.sync.dry_run:
                self._remove_unfilled(worker, node)
        except OSError as error:
            self.failed = True
            failure = CopyFailure(error.errno or errno.EIO, worker.operation, state=DestinationState.OLD)
            worker.fail(failure, *paths_of(self, node.parent, node.name), root=False)
        if not self.flat or node.parent is None:
            for directory in node.older:
                if directory is not None:
                    cache.discard(directory)
            cache.discard(node.target)
        cache.discard(node.source)

    # The destination ---------------------------------------------------------------------------------------------

    def _refuse_overlap(self, source: Directory) -> None:
        """A tree and its copy must not lie in each other: what is removed, or found, would depend on chance."""
        inside = source.identity in _identities_above(self.destination)
        try:
            info = os.stat(self.destination)
            around = (info.st_dev, info.st_ino) in _identities_above(self.source)
        except OSError:
            around = False
        if source.identity[1] and (inside or around):
            which = "the destination is, or lies in, the source" if inside else "the source lies in the destination"
            text = which + "; give another one"
            raise CopyFailure(errno.EINVAL, Operation.NONE, kind=ErrorKind.INVALID_ARGUMENT, text=text)

    def _find_target(self, worker: SyncWorker, node: SyncNode, needed: bool) -> None:
        """Opens the destination of a directory, or makes it. It is pinned then, whether it is there or not."""
        cache = worker.job.cache
        parent = node.parent
        if self.flat and parent is not None:
            node.target, node.there, node.made = parent.target, parent.there, parent.made
            if node.there:
                cache.pin(node.target)
            return
        try:
            if parent is None:
                node.target, found = cache.open(None, system.long_path(self.destination), follow=True)
                make_writable(worker, node.target, found)
            elif not parent.there or parent.made:
                raise FileNotFoundError
            else:
                node.target = self._open_target(worker, node, parent)
            node.there = True
            if node.target.identity == node.source.identity and node.source.identity[1]:
                cache.unpin(node.target)
                worker.refuse(0, Operation.SAME_FILE)
        except FileNotFoundError:
            node.target = Directory(parent.target if parent is not None else None, node.name, follow=False)
            if needed or parent is None or worker.job.sync.empty_dirs:
                self._make(worker, node)
                if node.there:
                    cache.pin(node.target)
        if parent is None:
            self.target_identity = node.target.identity

    def _open_target(self, worker: SyncWorker, node: SyncNode, parent: SyncNode) -> Directory:
        """Raises FileNotFoundError when there is nothing, or nothing any more."""
        cache, sync = worker.job.cache, worker.job.sync
        try:
            target, found = cache.open(parent.target, node.name, follow=False)
            make_writable(worker, target, found)
            return target
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        try:
            descriptor = cache.pin(parent.target)
            name = parent.target.prefix + node.name
            info = look(descriptor, name)
            if info is None:
                raise FileNotFoundError
            path = paths_of(self, parent, node.name)[1]
            if stat.S_ISLNK(info.st_mode) and _leads_to_directory(descriptor, name):
                if sync.keep_dir_symlinks:
                    return cache.open(parent.target, node.name, follow=True)[0]
            else:
                worker.mismatches += 1
                if not sync.purge:
                    text = "there is a file where the directory is to go; remove it, or let purge or mirror do that"
                    raise CopyFailure(errno.EEXIST, _MAKE, kind=ErrorKind.DESTINATION_EXISTS, text=text)
            if not remove_file(worker, descriptor, name, path):
                raise CopyFailure(errno.EEXIST, _MAKE)
        finally:
            cache.unpin(parent.target)
        raise FileNotFoundError

    def _make(self, worker: SyncWorker, node: SyncNode) -> None:
        """Makes the destination of a directory that has none, and of those above it."""
        job = worker.job
        if node.made:
            return
        with job.making:
            chain: List[SyncNode] = []
            above: Optional[SyncNode] = node
            while above is not None and not above.there and not above.made:
                chain.append(above)
                above = above.parent
            for missing in reversed(chain):
                if not job.sync.dry_run:
                    self._make_one(worker, missing)
                else:
                    worker.directories_created += 1
                missing.made = True
                if job.sync.want_actions:
                    worker.act("make-directory", *paths_of(self, missing.parent, missing.name))

    def _make_one(self, worker: SyncWorker, node: SyncNode) -> None:
        cache, parent = worker.job.cache, node.parent
        worker.operation = _MAKE
        made = True
        if parent is None:
            name = system.long_path(self.destination)
            made = make_root(worker, name)
        else:
            name = node.name
            try:
                descriptor = cache.pin(parent.target)
                try:
                    # Never more open than the source, not even while it is filled.
                    mode = stat.S_IMODE(node.info.st_mode) & 0o777 | stat.S_IRWXU
                    os.mkdir(parent.target.prefix + name, mode, dir_fd=descriptor)
                except FileExistsError:
                    made = False
            finally:
                cache.unpin(parent.target)
        worker.directories_created += made
        target, _ = cache.open(parent.target if parent is not None else None, name, follow=parent is None)
        node.target, node.there = target, True
        cache.unpin(target)

    def _targets_of(self, worker: SyncWorker, node: SyncNode) -> Dict[str, bool]:
        """What is at the destination of a directory; what dead writers left there is removed."""
        if not node.there or (node.made and not self.flat):
            return {}
        if self.flat and node.parent is not None:
            return self.targets
        cache = worker.job.cache
        directory = node.target
        where = directory.descriptor if directory.descriptor is not None else directory.prefix
        found: Dict[str, bool] = {}
        with cache.patiently(lambda: os.scandir(where)) as entries:
            for entry in entries:
                name = entry.name
                if temporary.is_temporary(name):
                    if not worker.job.sync.dry_run:
                        temporary.remove_if_dead(directory.descriptor, directory.prefix + name)
                    continue
                found[name] = entry.is_dir(follow_symlinks=False)
        if self.flat:
            self.targets = found
        return found

    def _older_of(self, worker: SyncWorker, node: SyncNode) -> Tuple[Optional[Directory], ...]:
        """The directories of older copies in which the files of a directory may be."""
        job, cache, parent = worker.job, worker.job.cache, node.parent
        if not job.link_dirs or (self.flat and parent is not None):
            return parent.older if parent is not None else ()
        found: List[Optional[Directory]] = []
        for number, path in enumerate(job.link_dirs):
            directory: Optional[Directory] = None
            above = parent.older[number] if parent is not None else None
            try:
                if parent is None:
                    directory, _ = cache.open(None, system.long_path(path), follow=True)
                    job.protected.add(directory.identity)
                elif above is not None:
                    directory, _ = cache.open(above, node.name, follow=False)
            except OSError:
                pass  # nothing to link to
            if directory is not None:
                cache.unpin(directory)
            found.append(directory)
        return tuple(found)

    # What the source does not have ---------------------------------------------------------------------------------

    def _tidy(self, worker: SyncWorker, node: SyncNode, targets: Dict[str, bool], known: Set[str]) -> None:
        """Removes what is at the destination of a directory and not in it."""
        extras = [name for name in targets if name not in known]
        if not extras:
            return
        directory, path, where = node.target, paths_of(self, node.parent, node.name)[1], node.where()
        if node.parent is None:
            path = self.destination
        spellings, listed = _spellings(directory, targets, known)
        for name in extras:
            if worker.job.cancelled:
                return
            gone = bool(listed) and name not in listed  # it has got the name that the source says
            if not gone and _is_spelling(directory, name, spellings):
                continue
            if gone or self._remove(worker, directory, name, targets[name], os.path.join(path, name), where):
                with worker.job.lock:
                    node.left -= 1

    def _remove(
        self, worker: SyncWorker, directory: Directory, name: str, is_directory: bool, path: str, where: str
    ) -> bool:
        if is_directory:
            if not worker.job.selection.enters(name, lambda: where):
                return False
            return remove_directory(worker, directory, name, path, where + name + "/")
        if not takes(worker, directory.descriptor, directory.prefix, name, where):
            return False
        return remove_file(worker, directory.descriptor, directory.prefix + name, path)

    def _tidy_flat(self, worker: SyncWorker, node: SyncNode) -> None:
        if not worker.job.sync.purge or node.made or self.failed or worker.job.cancelled:
            return
        try:
            worker.job.cache.pin(node.target)
            self._tidy(worker, node, self.targets, self.placed)
        finally:
            worker.job.cache.unpin(node.target)

    def _remove_unfilled(self, worker: SyncWorker, node: SyncNode) -> bool:
        """Removes a directory that would not have been made, where all that is not wanted is removed."""
        job, cache, parent = worker.job, worker.job.cache, node.parent
        unwanted = job.sync.purge and not job.sync.empty_dirs and not node.filled and not self.flat
        if not unwanted or parent is None or not node.there or node.made or node.left:
            return False
        path = paths_of(self, parent, node.name)[1]
        if not job.sync.dry_run:
            try:
                descriptor = cache.pin(parent.target)
                os.rmdir(parent.target.prefix + node.name, dir_fd=descriptor)
            except OSError:
                return False  # something is left in it
            finally:
                cache.unpin(parent.target)
        with job.lock:
            parent.left -= 1
        worker.directories_removed += 1
        if job.sync.want_actions:
            worker.act("remove-directory", None, path)
        return True


class _Files(Task):
    """A slice of the files of a large directory."""

    def __init__(self, node: SyncNode, plan: _Plan, begin: int, end: int) -> None:
        self._node = node
        self._plan = plan
        self._begin = begin
        self._end = end

    def run(self, worker: Worker) -> None:
        assert isinstance(worker, SyncWorker)
        node, cache = self._node, worker.job.cache
        pinned: List[Directory] = []
        try:
            try:
                for directory in (node.source, node.target) if node.there else (node.source,):
                    pinned.append(directory)  # to be unpinned even when it cannot be opened
                    cache.pin(directory)
                place = _place(worker, node, pinned)
                names = self._plan.listing.files[self._begin : self._end]
                _bring_files(worker, place, names, self._plan.targets)
            finally:
                for directory in pinned:
                    cache.unpin(directory)
        except OSError as error:
            fail(worker, CopyFailure(error.errno or errno.EIO, _LIST), node.tree, node, "")
        leave(worker, node)


# Parts of the above ---------------------------------------------------------------------------------------------------


def _new_node(
    tree: SyncTree,
    parent: Optional[SyncNode],
    name: str,
    source: Directory,
    info: os.stat_result,
    attributes: Attributes,
) -> SyncNode:
    node = SyncNode(tree, parent, name, source, source, info, attributes)
    node.depth = 1 if parent is None else parent.depth + 1
    node.there = node.made = node.filled = False
    node.older = ()
    node.left = 0
    return node


def _place(worker: SyncWorker, node: SyncNode, pinned: List[Directory]) -> InTree:
    """Where the files of a directory are. What it pins is added to `pinned`."""
    cache = worker.job.cache
    older: List[Older] = []
    for directory, path in zip(node.older, worker.job.link_dirs):
        if directory is None:
            continue
        try:
            pinned.append(directory)
            older.append(Older(cache.pin(directory), directory.prefix, os.path.join(path, node.where())))
        except OSError:
            pass  # it was removed just now
    device = node.target.identity[0] if node.there else node.source.identity[0]
    return InTree(node, worker.job.file_systems.traits(node.source.identity[0], device), older)


def _known_names(listing: Listing) -> Set[str]:
    """All names of the source; unfinished files are taken out of it, and of what is to be copied."""
    listing.files = [name for name in listing.files if not temporary.is_temporary(name)]
    listing.links = [name for name in listing.links if not temporary.is_temporary(name)]
    return {*listing.files, *listing.directories, *listing.links, *listing.others}


def _select(worker: SyncWorker, node: SyncNode, listing: Listing) -> None:
    """Takes out of a listing what the job leaves out."""
    selection = worker.job.selection
    where = node.where()
    listing.files = [name for name in listing.files if selection.takes_file(name, lambda: where)]
    listing.others = [name for name in listing.others if selection.takes_file(name, lambda: where)]
    listing.directories = [name for name in listing.directories if selection.enters(name, lambda: where)]
    if not worker.job.options.follow_symlinks:
        listing.links = [name for name in listing.links if selection.takes_file(name, lambda: where)]


def _bring_files(worker: SyncWorker, place: InTree, names: List[str], targets: Dict[str, bool]) -> None:
    job, tree = worker.job, place.node.tree
    exists = bool(targets)  # another name may be the same where case does not count
    for name in names:
        if job.cancelled:
            return
        if tree.flat and not _is_free(worker, place, name):
            continue
        if not bring_file(worker, place, name, exists):
            tree.failed = True


def _follow_links(worker: SyncWorker, place: InTree, node: SyncNode, plan: _Plan, descends: bool) -> None:
    """Brings up to date what links lead to."""
    job, selection = worker.job, worker.job.selection
    where = node.where() if not selection.all_names else ""
    directories: List[str] = []
    for name in plan.listing.links:
        if job.cancelled:
            return
        try:
            info = os.stat(place.source_prefix + name, dir_fd=place.source_directory)
        except OSError as error:
            if selection.takes_file(name, lambda: where):
                worker.files_found += 1
                node.tree.failed = True
                worker.lose(place, name, error, Operation.OPEN_SOURCE)
            continue
        if stat.S_ISDIR(info.st_mode):
            if selection.enters(name, lambda: where) and descends:
                directories.append(name)
        elif selection.takes_file(name, lambda: where):
            worker.files_found += 1
            if _is_free(worker, place, name):
                node.tree.failed |= not bring_file(worker, place, name, bool(plan.targets), follow=True)
    if directories:
        with job.lock:
            node.pending += len(directories)
        job.scheduler.push(Directories(node, directories, follow=True))


def _is_free(worker: SyncWorker, place: InTree, name: str) -> bool:
    """Takes a name of a flat destination. False, and an error, when another file has it already."""
    tree = place.node.tree
    if not tree.flat:
        return True
    with worker.job.lock:
        free = name not in tree.placed
        tree.placed.add(name)
    if not free:
        tree.failed = True
        worker.refuse_mismatch(place, name, errno.EEXIST, "another file of this name goes into the same directory")
    return free


def _set_directory_metadata(worker: SyncWorker, node: SyncNode) -> None:
    """Gives a directory the metadata of its source, where it has not. Raises OSError."""
    job, cache = worker.job, worker.job.cache
    worker.operation, worker.offset = Operation.SET_MODE, 0
    try:
        descriptor = cache.pin(node.target)
        target = descriptor if descriptor is not None else node.target.prefix
        found, wanted = os.stat(target), node.info
        same = stat.S_IMODE(found.st_mode) == stat.S_IMODE(wanted.st_mode) and not node.made
        if same and job.sync.dir_times:
            traits = job.file_systems.traits(wanted.st_dev, found.st_dev)
            difference = abs(found.st_mtime_ns - wanted.st_mtime_ns)
            same = difference == 0 or difference < traits.granularity
        if same and job.sync.archive:
            same = (found.st_uid, found.st_gid) == (wanted.st_uid, wanted.st_gid)
        if not same:
            set_metadata(target, wanted, node.attributes, "stat" if job.sync.dir_times else "mode", worker)
        if job.options.fsync and descriptor is not None:
            worker.operation = Operation.SYNC
            system.sync(descriptor)
            if node.parent is None:
                system.sync_path(os.path.dirname(os.path.abspath(node.tree.destination)))
    finally:
        cache.unpin(node.target)


def _is_being_filled(node: Optional[SyncNode], identity: Identity) -> bool:
    """Whether a directory is one of those at the destination that `node` and what is above it go to.

    A link of the source led there, and it would be filled with itself without end.
    """
    while node is not None:
        if node.there and node.target.identity == identity and identity[1]:
            return True
        node = node.parent
    return False


def _failure_of(error: OSError, operation: Operation, root: bool) -> CopyFailure:
    kind = error.kind if isinstance(error, Refusal) else None
    number = error.errno if error.errno is not None else errno.EIO
    text = ""
    if root and number == errno.ENOTDIR and operation is not _LIST:
        text = "the destination is a file; remove it, or name a directory"
    return CopyFailure(number, operation, kind=kind, text=text)


def _leads_to_directory(directory: Optional[int], name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory).st_mode)
    except OSError:
        return False


def _identities_above(path: str) -> Set[Identity]:
    """A path and all directories above it, as far as they exist and may be looked at."""
    found: Set[Identity] = set()
    while path and not os.path.isdir(path):
        path = os.path.dirname(path)
    path = path or os.curdir
    while True:
        try:
            info = os.stat(path)  # of the path as it is: what is above it may be closed to this user
        except OSError:
            return found
        identity = (info.st_dev, info.st_ino)
        if identity in found:
            return found
        found.add(identity)
        path = os.path.join(path, os.pardir)


def _identity(directory: Directory, name: str) -> Optional[Identity]:
    try:
        info = look(directory.descriptor, directory.prefix + name)
    except OSError:  # a directory that may be listed, and no more
        return None
    return None if info is None else (info.st_dev, info.st_ino)


def _spellings(directory: Directory, targets: Dict[str, bool], known: Set[str]) -> Tuple[List[str], Set[str]]:
    """Names of the source that are found at the destination, and that no listing of it has.

    The second result is such a listing, if there was a need for one.

    Where case, or how an accent is written, does not count, a name of the destination that the source does not have may
    be one of the source's all the same.
    """
    found = [name for name in known if name not in targets and _identity(directory, name) is not None]
    if not found:
        return [], set()
    # Most were made by this job, and have a name of their own by now.
    try:
        listed = set(os.listdir(directory.descriptor if directory.descriptor is not None else directory.prefix))
    except OSError:
        return found, set()
    return [name for name in found if name not in listed], listed


def _is_spelling(directory: Directory, name: str, spellings: List[str]) -> bool:
    """Whether a name is another spelling of one of the source's.

    Files of a large directory may still be replaced meanwhile: both names are looked at until nothing has changed.
    """
    if not spellings:
        return False
    again = _identity(directory, name)
    while again is not None:
        info = again
        if any(_identity(directory, other) == info for other in spellings):
            return True
        again = _identity(directory, name)
        if again == info:
            return False
    return True  # gone already
