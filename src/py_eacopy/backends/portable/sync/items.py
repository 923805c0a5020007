"""A single file that is an item of a sync, with a destination of its own."""

import errno
import os
from typing import TYPE_CHECKING, List

from ...._errors import DestinationState, Operation
from .. import system, temporary
from ..failure import CopyFailure
from ..scheduler import Task
from ..tree import make_root
from ..worker import Worker
from .files import bring_file, bring_link
from .places import Alone, Older
from .worker import SyncWorker

if TYPE_CHECKING:
    from .job import SyncJob


class FileItem(Task):
    """A file, or a link, that is brought up to date; directories above it are made."""

    def __init__(self, source: str, destination: str) -> None:
        self._source = source
        self._destination = destination

    def run(self, worker: Worker) -> None:
        assert isinstance(worker, SyncWorker)
        job = worker.job
        if not job.cancelled:
            worker.files_found += 1
            self._bring(worker)
        job.end_item(worker, failed=False)  # the others are brought up to date all the same, as in a tree

    def _bring(self, worker: SyncWorker) -> None:
        job = worker.job
        above = os.path.dirname(self._destination) or os.curdir
        worker.operation = Operation.OPEN_SOURCE
        try:
            source = os.stat(system.file_path(self._source), follow_symlinks=job.options.follow_symlinks)
            worker.operation = Operation.MAKE_DIRECTORY
            exists = os.path.isdir(above)
            if not exists and not job.sync.dry_run:
                made = make_root(worker, system.long_path(above))  # counts those above it
                worker.directories_created += made
                if not made and not os.path.isdir(above):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            device = os.stat(above).st_dev if exists or not job.sync.dry_run else source.st_dev
            link = os.path.islink(self._source) and not job.options.follow_symlinks
        except OSError as error:
            there = os.path.lexists(self._destination)
            state = DestinationState.OLD if there else DestinationState.ABSENT
            failure = CopyFailure(error.errno or 0, worker.operation, state=state)
            worker.fail(failure, self._source, self._destination, root=True)
            return
        if exists and not job.sync.dry_run:
            job.sweep(above)
        where = self._where(job)
        older: List[Older] = [Older(None, old, old) for old in (os.path.join(path, where) for path in job.link_dirs)]
        traits = job.file_systems.traits(source.st_dev, device)
        place = Alone(self._source, self._destination, where, traits, older)
        if link:
            bring_link(worker, place, "", exists)
        else:
            bring_file(worker, place, "", exists, follow=job.options.follow_symlinks)

    def _where(self, job: "SyncJob") -> str:
        root = os.fsdecode(job.sync.root)
        if not root:
            return os.path.basename(self._destination)
        return os.path.relpath(self._destination, root).replace(os.sep, "/")


def sweep(directory: str) -> None:
    """Removes what dead writers left in a directory."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if temporary.is_temporary(entry.name)]
    except OSError:
        return
    for name in names:
        temporary.remove_if_dead(None, os.path.join(directory, name))
