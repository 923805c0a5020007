"""A job that brings trees, or files, up to date."""

import errno
import os
import threading
from typing import Dict, List, Optional, Set

import attr

from ...._control import Control
from ...._errors import ErrorKind, Operation
from ...._job import CopyJob, Sync
from ...._report import CopyReport, Snapshot, SyncAction
from ..directory import Identity
from ..failure import CopyFailure
from ..job import Job
from ..scheduler import Task
from ..worker import Worker
from .database import Database
from .file_systems import FileSystems
from .hard_links import HardLinks
from .items import FileItem, sweep
from .selection import Selection, unknown_attribute
from .tree import SyncTree
from .worker import SyncWorker


class SyncJob(Job):
    """Runs a sync.

    Attributes:
        protected: directories that must not be removed, whatever leads to them.
        database: where files were copied to; None without.
        making: held while directories are made at the destination.
    """

    def __init__(self, job: CopyJob, control: Control, backend: str) -> None:
        super().__init__(job, control, backend)
        assert job.sync is not None
        self.sync: Sync = job.sync
        self.selection = Selection(job.sync)
        self.file_systems = FileSystems()
        self.hard_links = HardLinks(self.cache)
        self.protected: Set[Identity] = set()
        self.making = threading.Lock()
        self.database: Optional[Database] = None
        self.link_dirs: List[str] = [os.fsdecode(path) for path in job.sync.link_dirs]
        self._sync_workers: List[SyncWorker] = []
        self._swept: Set[str] = set()

    def sweep(self, directory: str) -> None:
        """Removes what dead writers left in the directory of an item; once."""
        if directory not in self._swept:
            self._swept.add(directory)
            sweep(directory)

    def acted(self, action: SyncAction) -> None:
        """Called by the workers."""
        self._inbox.put(action)

    def snapshot(self) -> Snapshot:
        workers = list(self._sync_workers)
        return attr.evolve(
            super().snapshot(),
            files_linked=sum(worker.files_linked for worker in workers),
            bytes_linked=sum(worker.bytes_linked for worker in workers),
            files_skipped=sum(worker.files_skipped for worker in workers),
            bytes_skipped=sum(worker.bytes_skipped for worker in workers),
        )

    def run(self) -> CopyReport:
        unknown = unknown_attribute(self.sync)
        if unknown is not None:
            text = 'there is no attribute "%s" on this system; "R" and "H" are all' % unknown
            failure = CopyFailure(errno.ENOTSUP, Operation.START, kind=ErrorKind.UNSUPPORTED, text=text)
            raise failure.to_error(None, None, root=True)
        if self.sync.link_database is None:
            return super().run()
        path = os.fsdecode(self.sync.link_database)
        try:
            self.database = Database(self.sync.link_database, self.sync.link_by_name)
        except CopyFailure as failure:
            raise failure.to_error(path, None, root=True) from None
        try:
            report = super().run()
            if not self.sync.dry_run:
                try:
                    self.database.save()
                except OSError as error:
                    unsaved = CopyFailure(error.errno or errno.EIO, Operation.WRITE)
                    ours = unsaved.to_error(None, path, root=False)
                    self._control.record(ours)
                    report = attr.evolve(report, errors=(*report.errors, ours))
            return report
        finally:
            self.database.close()

    def _take(self, message: object) -> None:
        if isinstance(message, SyncAction):
            self._control.act(message)
        else:
            super()._take(message)

    def _item(self, source: str, destination: str) -> Task:
        return SyncTree(source, destination) if self._trees else FileItem(source, destination)

    def _make_worker(self) -> Worker:
        worker = SyncWorker(self)
        self._workers.append(worker)
        self._sync_workers.append(worker)
        return worker

    def _report(self, seconds: float) -> CopyReport:
        workers = self._sync_workers
        lost: Dict[str, int] = {}
        for worker in workers:
            for what, count in worker.lost.items():
                lost[what] = lost.get(what, 0) + count
        return attr.evolve(
            super()._report(seconds),
            files_linked=sum(worker.files_linked for worker in workers),
            bytes_linked=sum(worker.bytes_linked for worker in workers),
            files_skipped=sum(worker.files_skipped for worker in workers),
            bytes_skipped=sum(worker.bytes_skipped for worker in workers),
            files_removed=sum(worker.files_removed for worker in workers),
            bytes_removed=sum(worker.bytes_removed for worker in workers),
            directories_removed=sum(worker.directories_removed for worker in workers),
            mismatches=sum(worker.mismatches for worker in workers),
            actions=tuple(self._control.actions),
            not_kept=tuple("%s (%d times)" % item for item in sorted(lost.items())),
        )
