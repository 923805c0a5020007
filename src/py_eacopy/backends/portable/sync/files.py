"""One file, or one link: whether it has to be copied, and from where."""

import contextlib
import errno
import os
import stat
from typing import NamedTuple, Optional

import attr

from ...._errors import Operation
from .. import system, temporary
from ..destination import same_file
from ..failure import Cancelled, CopyFailure
from ..file_copy import FileCopier
from ..metadata import set_owner
from ..monitor import Refusal
from .places import SyncPlace
from .removal import remove_directory
from .worker import QuietMonitor, SyncWorker, look, state_of

_BLOCK = 1 << 20


def bring_file(worker: SyncWorker, place: SyncPlace, name: str, exists: bool, follow: bool = False) -> bool:
    """Brings a file up to date.

    Args:
        exists: there is, or may be, something of that name at the destination.
        follow: the source is a link that stands for what it leads to.

    Returns whether it is there as it should be; if not, it was told.
    """
    job = worker.job
    worker.operation, worker.offset = Operation.OPEN_SOURCE, 0
    try:
        info = os.stat(place.source_prefix + name, dir_fd=place.source_directory, follow_symlinks=follow)
        if not stat.S_ISREG(info.st_mode):
            return copy_unlisted(worker, place, name, follow=follow)  # which refuses it
        if job.selection.by_attributes and not job.selection.has_attributes(
            os.path.basename(place.source_prefix + name), info
        ):
            worker.files_found -= 1
            return True
        if info.st_nlink > 1 and job.sync.hard_links:
            return job.hard_links.bring(worker, place, name, info, exists, follow)
        return bring(worker, place, name, info, exists, follow)
    except OSError as error:
        return worker.lose(place, name, error)
    except Cancelled:
        return False


def copy_unlisted(worker: SyncWorker, place: SyncPlace, name: str, *, follow: bool) -> bool:
    """Copies what was no regular file when it was looked at; most of it is refused. Returns as bring_file."""
    if not worker.job.sync.dry_run:
        return worker.copy_file(place, name, follow=follow)
    try:
        worker.copier.look(place.source_directory, place.source_prefix + name, follow=follow, in_tree=not place.root)
    except Refusal as refusal:
        failure = CopyFailure(refusal.errno or 0, worker.operation, kind=refusal.kind, state=state_of(place, name))
        worker.fail(failure, *place.paths(name), root=place.root)
        return False
    except OSError as error:
        return worker.lose(place, name, error)
    return True


def bring(
    worker: SyncWorker, place: SyncPlace, name: str, info: os.stat_result, exists: bool, follow: bool = False
) -> bool:
    """The same, when it is known what the source is. May raise OSError, Cancelled."""
    job, sync = worker.job, worker.job.sync
    target = None
    if exists:
        worker.operation = Operation.OPEN_DESTINATION
        target = look(place.target_directory, place.target_prefix + name)
        if target is not None:
            if stat.S_ISDIR(target.st_mode):
                if not clear(worker, place, name):
                    return False
                target = None
            elif stat.S_ISREG(target.st_mode) and is_same(worker, place, name, info, target, follow):
                _mend(worker, place, name, info, target)
                worker.skip(info.st_size)
                if job.database is not None:
                    job.database.add(place.where(name), info, place.paths(name)[1])
                return True
            elif sync.exclude_changed:
                worker.skip(info.st_size)
                return True
    older = find_older(worker, place, name, info) if info.st_size >= sync.link_min_size else None
    if older is not None and (sync.dry_run or _link_to(worker, place, name, older, target is not None)):
        worker.link(info.st_size)
        action, source = "link", older.path
    else:
        action, source = "copy" if target is None else "overwrite", ""
        if sync.dry_run:
            worker.files_copied += 1
            worker.bytes_copied += info.st_size
            worker.bytes_found += info.st_size
        elif not worker.copy_file(place, name, follow=follow, listed=not follow):
            return False
    if sync.want_actions:
        paths = place.paths(name)
        worker.act(action, source or paths[0], paths[1], info.st_size)
    if job.database is not None:
        job.database.add(place.where(name), info, place.paths(name)[1])
    return True


def clear(worker: SyncWorker, place: SyncPlace, name: str) -> bool:
    """Removes a directory from where a file is to go, if that is wanted. Returns whether the way is free."""
    worker.mismatches += 1
    if not worker.job.sync.purge or place.target is None:
        text = "there is a directory where the file is to go; remove it, or let purge or mirror do that"
        return worker.refuse_mismatch(place, name, errno.EISDIR, text)
    path = place.paths(name)[1]
    if remove_directory(worker, place.target, place.target_prefix + name, path, place.where(name) + "/"):
        return True
    if worker.job.cancelled:
        return False
    text = "there is a directory where the file is to go, which holds what is left out; remove it"
    return worker.refuse_mismatch(place, name, errno.EISDIR, text)


# Whether it is the same ---------------------------------------------------------------------------------------------


def is_same(
    worker: SyncWorker, place: SyncPlace, name: str, info: os.stat_result, target: os.stat_result, follow: bool
) -> bool:
    """Whether the destination has what the source has, as far as the job looks."""
    if info.st_size != target.st_size:
        return False
    if worker.job.sync.compare == "hash":
        return same_file(info, target) or _same_bytes(worker, place, name, follow)
    return same_time(info, target, place)


def same_time(a: os.stat_result, b: os.stat_result, place: SyncPlace) -> bool:
    difference = abs(a.st_mtime_ns - b.st_mtime_ns)
    return difference == 0 or difference < place.traits.granularity


def _same_bytes(worker: SyncWorker, place: SyncPlace, name: str, follow: bool) -> bool:
    worker.operation = Operation.OPEN_SOURCE
    flags = system.READ_FLAGS
    source_flags = flags if follow else flags | system.O_NOFOLLOW
    source = os.open(place.source_prefix + name, source_flags, dir_fd=place.source_directory)
    try:
        worker.operation = Operation.OPEN_DESTINATION
        target = os.open(place.target_prefix + name, flags | system.O_NOFOLLOW, dir_fd=place.target_directory)
        try:
            while True:
                worker.check()
                worker.operation = Operation.READ
                expected = os.read(source, _BLOCK)
                worker.operation = Operation.VERIFY
                found = os.read(target, len(expected) or 1)
                while 0 < len(found) < len(expected):
                    more = os.read(target, len(expected) - len(found))
                    if not more:
                        return False
                    found += more
                if expected != found:
                    return False
                if not expected:
                    return True
        finally:
            system.close_quietly(target)
    finally:
        system.close_quietly(source)


def _mend(worker: SyncWorker, place: SyncPlace, name: str, info: os.stat_result, target: os.stat_result) -> None:
    """Gives a file whose contents are right the metadata that is not."""
    sync = worker.job.sync
    mode = place.traits.modes and stat.S_IMODE(info.st_mode) != stat.S_IMODE(target.st_mode)
    owner = sync.archive and (info.st_uid, info.st_gid) != (target.st_uid, target.st_gid)
    times = sync.compare == "hash" and not same_time(info, target, place)
    if not (mode or owner or times):
        return
    if not sync.dry_run:
        descriptor = _open_for_metadata(place, name)
        try:
            if not same_file(os.fstat(descriptor), target):
                return  # it was replaced just now
            where = "/proc/self/fd/%d" % descriptor if sys_has_paths() else descriptor
            if owner:
                set_owner(where, info, worker)
            if mode or owner:
                worker.operation = Operation.SET_MODE
                os.chmod(where, stat.S_IMODE(info.st_mode))
            if times:
                worker.operation = Operation.SET_TIMES
                os.utime(where, ns=(info.st_atime_ns, info.st_mtime_ns))
        except PermissionError:
            worker.not_kept("the mode")  # somebody else's file, with the right contents
            return
        finally:
            system.close_quietly(descriptor)
    if sync.want_actions:
        paths = place.paths(name)
        worker.act("mend", paths[0], paths[1], info.st_size)


def sys_has_paths() -> bool:
    """Whether a file may be opened without any permission, and its metadata be set all the same (Linux)."""
    return hasattr(os, "O_PATH") and os.path.isdir("/proc/self/fd")


def _open_for_metadata(place: SyncPlace, name: str) -> int:
    flags = getattr(os, "O_PATH") if sys_has_paths() else system.READ_FLAGS  # noqa: B009
    return os.open(place.target_prefix + name, flags | system.O_NOFOLLOW, dir_fd=place.target_directory)


# Older copies -------------------------------------------------------------------------------------------------------


class OlderFile(NamedTuple):
    """A file that is the same as one that is to be copied."""

    directory: Optional[int]
    name: str
    path: str
    info: os.stat_result


def find_older(worker: SyncWorker, place: SyncPlace, name: str, info: os.stat_result) -> Optional[OlderFile]:
    """A file that was copied before and can be linked to instead, if there is one."""
    for older in place.older:
        found = _like(worker, older.directory, older.prefix + name, info)
        if found is not None:
            return OlderFile(older.directory, older.prefix + name, older.path + name, found)
    database = worker.job.database
    path = database.find(place.where(name), info) if database is not None else None
    if path is not None:
        found = _like(worker, None, path, info)
        if found is not None:
            return OlderFile(None, path, path, found)
    return None


def _like(worker: SyncWorker, directory: Optional[int], name: str, info: os.stat_result) -> Optional[os.stat_result]:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    same = found.st_size == info.st_size and found.st_mtime_ns == info.st_mtime_ns and found.st_mode == info.st_mode
    if same and worker.job.sync.archive:
        same = (found.st_uid, found.st_gid) == (info.st_uid, info.st_gid)
    return found if same else None


def _link_to(worker: SyncWorker, place: SyncPlace, name: str, older: OlderFile, replace: bool) -> bool:
    """Makes a file another name, or a clone, of an older one. Returns False where that cannot be: it is copied then."""
    if worker.job.options.reflink == "always":
        quiet = QuietMonitor(worker)
        copier = FileCopier(attr.evolve(worker.job.options, reflink="always"), quiet, replaces_links=True)
        target = place.target_prefix + name
        try:
            copier.copy(older.directory, older.name, place.target_directory, target, follow=False, listed=True)
        except CopyFailure as failure:
            if failure.cancelled:
                raise Cancelled from None
            return False
        return True
    return make_link(worker, place, name, older, replace)


def make_link(worker: SyncWorker, place: SyncPlace, name: str, older: OlderFile, replace: bool) -> bool:
    """Makes a file another name of an older one. False, and nothing is changed, where that cannot be."""
    worker.operation = Operation.MAKE_LINK
    final = place.target_prefix + name
    for _ in range(temporary.TRIES):
        made = place.beside(name, temporary.make_name()) if replace else final
        try:
            os.link(
                older.name,
                made,
                src_dir_fd=older.directory,
                dst_dir_fd=place.target_directory,
                follow_symlinks=False,
            )
        except FileExistsError:
            replace = True
            continue
        except OSError:
            return False  # another file system, too many links, or forbidden
        try:
            found = os.stat(made, dir_fd=place.target_directory, follow_symlinks=False)
            if not same_file(found, older.info) or found.st_mtime_ns != older.info.st_mtime_ns:
                os.unlink(made, dir_fd=place.target_directory)  # it was changed just now
                return False
            if replace:
                _rename(place, made, final)
                # Renaming one name of a file to another of the same file does nothing, and leaves both.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(made, dir_fd=place.target_directory)
            return True
        except FileNotFoundError:
            continue  # somebody who clears up took it for left behind
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(made, dir_fd=place.target_directory)
            raise
    return False


def _rename(place: SyncPlace, made: str, final: str) -> None:
    os.replace(made, final, src_dir_fd=place.target_directory, dst_dir_fd=place.target_directory)


# Links --------------------------------------------------------------------------------------------------------------


def bring_link(worker: SyncWorker, place: SyncPlace, name: str, exists: bool) -> bool:
    """Brings a symbolic link up to date, as a link. Returns whether it is as it should be; if not, it was told."""
    worker.operation, worker.offset = Operation.READ_LINK, 0
    try:
        text = os.readlink(place.source_prefix + name, dir_fd=place.source_directory)
        there = False
        if exists:
            worker.operation = Operation.OPEN_DESTINATION
            target = look(place.target_directory, place.target_prefix + name)
            there = target is not None
            if target is not None:
                if stat.S_ISDIR(target.st_mode):
                    if not clear(worker, place, name):
                        return False
                    there = False
                elif worker.job.sync.exclude_changed or (stat.S_ISLNK(target.st_mode) and _reads(place, name) == text):
                    worker.skip(0)
                    return True
        if not worker.job.sync.dry_run:
            _make_symlink(worker, place, name, there)
    except OSError as error:
        return worker.lose(place, name, error)
    except CopyFailure as failure:
        worker.fail(failure, *place.paths(name), root=place.root)
        return False
    worker.symlinks_copied += 1
    if worker.job.sync.want_actions:
        worker.act("symlink", *place.paths(name))
    return True


def _reads(place: SyncPlace, name: str) -> str:
    return os.readlink(place.target_prefix + name, dir_fd=place.target_directory)


def _make_symlink(worker: SyncWorker, place: SyncPlace, name: str, replace: bool) -> None:
    """Raises CopyFailure, OSError."""
    source, final = place.source_prefix + name, place.target_prefix + name
    for tries in reversed(range(temporary.TRIES)):
        made = place.beside(name, temporary.make_name()) if replace else final
        try:
            worker.copier.copy_link(place.source_directory, source, place.target_directory, made)
            if worker.keeps_owner:
                info = os.stat(source, dir_fd=place.source_directory, follow_symlinks=False)
                set_owner(made, info, worker, place.target_directory, follow_symlinks=False)
            if replace:
                worker.operation = Operation.RENAME
                _rename(place, made, final)
            return
        except FileNotFoundError:
            if not tries:
                raise
        except CopyFailure as failure:
            if failure.number != errno.EEXIST or not tries:
                raise
            replace = True
        except OSError:
            if replace:
                with contextlib.suppress(OSError):
                    os.unlink(made, dir_fd=place.target_directory)
            raise
