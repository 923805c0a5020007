"""Removing what the source does not have. Every name is looked up in an open directory, and no link is followed."""

import errno
import os
from typing import List, Optional, Union

from ...._errors import DestinationState, Operation
from .. import system, temporary
from ..directory import Directory
from ..failure import CopyFailure
from .worker import SyncWorker, make_writable

_REMOVE = Operation.REMOVE


def remove_file(worker: SyncWorker, directory: Optional[int], name: str, path: str) -> bool:
    """Removes a file or link; `path` is how the user would write it. Returns whether it is gone."""
    worker.operation = _REMOVE
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not worker.job.sync.dry_run:
            try:
                os.unlink(name, dir_fd=directory)
            except PermissionError:
                if not system.WINDOWS:
                    raise
                os.rmdir(name)  # a link to a directory
    except FileNotFoundError:
        return True
    except OSError as error:
        return _failed(worker, error, path)
    worker.files_removed += 1
    worker.bytes_removed += info.st_size
    if worker.job.sync.want_actions:
        worker.act("remove", None, path, info.st_size)
    return True


class _Level:
    """A directory that is being removed."""

    def __init__(self, directory: Directory, name: str, path: str, where: str) -> None:
        self.directory = directory
        self.name = name
        self.path = path
        self.where = where
        self.directories: List[str] = []
        self.kept = False  # something in it stays


def remove_directory(worker: SyncWorker, parent: Directory, name: str, path: str, where: str) -> bool:
    """Removes a directory with all that is in it, save what the job leaves out.

    Args:
        parent: holds it.
        path: how the user would write it.
        where: its path below the destination, with a "/" at its end.

    Returns whether it is gone, or would be.
    """
    cache = worker.job.cache
    root = _enter(worker, parent, name, path, where)
    if not isinstance(root, _Level):
        return root
    levels = [root]
    while True:
        level = levels[-1]
        if level.directories and not worker.job.cancelled:
            inner = level.directories.pop()
            inside = level.where + inner + "/"
            below = _enter(worker, level.directory, inner, os.path.join(level.path, inner), inside)
            if isinstance(below, _Level):
                levels.append(below)
            else:
                level.kept |= not below
            continue
        levels.pop()
        cache.discard(level.directory)
        above = levels[-1].directory if levels else parent
        gone = not level.kept and not worker.job.cancelled and _remove_empty(worker, above, level)
        if not levels:
            return gone
        levels[-1].kept |= not gone


def _enter(worker: SyncWorker, parent: Directory, name: str, path: str, where: str) -> Union[_Level, bool]:
    """Opens a directory that is to go, and removes the files in it. False: it stays; True: it is gone already."""
    job, cache = worker.job, worker.job.cache
    worker.operation = _REMOVE
    try:
        directory, info = cache.open(parent, name, follow=False)
        make_writable(worker, directory, info)
    except FileNotFoundError:
        return True
    except OSError as error:
        return _failed(worker, error, path)
    try:
        if directory.identity in job.protected and directory.identity[1]:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))  # the source itself, mounted here
        level = _Level(directory, name, path, where)
        place = directory.descriptor if directory.descriptor is not None else directory.prefix
        with cache.patiently(lambda: os.scandir(place)) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_directory in found:
            if job.cancelled:
                break
            if is_directory:
                if job.selection.enters(inner, lambda: where):
                    level.directories.append(inner)
                else:
                    level.kept = True
            elif temporary.is_temporary(inner) and not job.sync.dry_run:
                level.kept |= not temporary.remove_if_dead(directory.descriptor, directory.prefix + inner)
            elif not takes(worker, directory.descriptor, directory.prefix, inner, where):
                level.kept = True
            else:
                inner_path = os.path.join(path, inner)
                level.kept |= not remove_file(worker, directory.descriptor, directory.prefix + inner, inner_path)
    except OSError as error:
        cache.unpin(directory)
        cache.discard(directory)
        return _failed(worker, error, path)
    cache.unpin(directory)
    return level


def takes(worker: SyncWorker, directory: Optional[int], prefix: str, name: str, where: str) -> bool:
    """Whether a file of the destination is one that the job is about."""
    selection = worker.job.selection
    if not selection.all_names and not selection.takes_file(name, lambda: where):
        return False
    if not selection.by_attributes:
        return True
    try:
        info = os.stat(prefix + name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return selection.has_attributes(name, info)


def _remove_empty(worker: SyncWorker, parent: Directory, level: _Level) -> bool:
    worker.operation = _REMOVE
    if not worker.job.sync.dry_run:
        cache = worker.job.cache
        try:
            try:
                descriptor = cache.pin(parent)
                os.rmdir(parent.prefix + level.name, dir_fd=descriptor)
            finally:
                cache.unpin(parent)
        except FileNotFoundError:
            return True
        except OSError as error:
            return _failed(worker, error, level.path)
    worker.directories_removed += 1
    if worker.job.sync.want_actions:
        worker.act("remove-directory", None, level.path)
    return True


def _failed(worker: SyncWorker, error: OSError, path: str) -> bool:
    failure = CopyFailure(error.errno or 0, _REMOVE, state=DestinationState.OLD)
    worker.fail(failure, path, None, root=False)
    return False
