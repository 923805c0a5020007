"""What a worker of a sync has beside that of a copy: what it counts, and what it tells of what it does."""

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Dict, Optional

from ...._errors import DestinationState, ErrorKind, Operation
from ...._report import SyncAction
from ..destination import exists
from ..directory import Directory
from ..failure import CopyFailure
from ..file_copy import FileCopier
from ..monitor import Monitor
from ..worker import Place, Worker

if TYPE_CHECKING:
    from .job import SyncJob


_OWNER = stat.S_IRWXU


class SyncWorker(Worker):
    """Brings files up to date in one thread; the counters are those of the report.

    Attributes:
        lost: how often which kind of metadata could not be kept.
    """

    job: "SyncJob"

    def __init__(self, job: "SyncJob") -> None:
        super().__init__(job)
        self.copier = FileCopier(job.options, self, replaces_links=True)
        self.keeps_owner = job.sync.archive
        self.files_skipped = self.bytes_skipped = 0
        self.files_linked = self.bytes_linked = 0
        self.files_removed = self.bytes_removed = self.directories_removed = 0
        self.mismatches = 0
        self.lost: Dict[str, int] = {}

    def not_kept(self, what: str) -> None:
        if self.keeps_owner:
            self.lost[what] = self.lost.get(what, 0) + 1

    def act(self, action: str, source: Optional[str], destination: str, size: int = 0) -> None:
        """Tells of something that was done; only when the job wants to hear of it."""
        self.job.acted(SyncAction(action, source, destination, size))

    def skip(self, size: int) -> None:
        self.files_skipped += 1
        self.bytes_skipped += size
        self.bytes_found += size

    def link(self, size: int) -> None:
        self.files_linked += 1
        self.bytes_linked += size
        self.bytes_found += size

    def lose(self, place: Place, name: str, error: OSError, operation: Optional[Operation] = None) -> bool:
        """Tells of a file that failed. Returns False."""
        failure = CopyFailure(error.errno or 0, operation or self.operation, state=state_of(place, name))
        self.fail(failure, *place.paths(name), root=place.root)
        return False

    def refuse_mismatch(self, place: Place, name: str, number: int, text: str) -> bool:
        """Tells of a file or directory that something is in the way of. Returns False."""
        kind = ErrorKind.DESTINATION_EXISTS
        failure = CopyFailure(number, Operation.OPEN_DESTINATION, state=DestinationState.OLD, kind=kind, text=text)
        self.fail(failure, *place.paths(name), root=place.root)
        return False


class QuietMonitor(Monitor):
    """Counts nothing: what it watches is one step of something that a worker counts."""

    def __init__(self, worker: SyncWorker) -> None:
        self._worker = worker
        self.keeps_owner = worker.keeps_owner
        self.throttle = worker.throttle

    def check(self) -> None:
        self._worker.check()

    def not_kept(self, what: str) -> None:
        self._worker.not_kept(what)


def state_of(place: Place, name: str) -> DestinationState:
    """What is at the destination of a file that failed."""
    there = exists(place.target_directory, place.target_prefix + name)
    return DestinationState.OLD if there else DestinationState.ABSENT


def look(directory: Optional[int], name: str) -> Optional[os.stat_result]:
    """What is at a name, if anything is. Links are not followed."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def make_writable(worker: SyncWorker, directory: Directory, info: os.stat_result) -> None:
    """Lets its owner change a directory of the destination. Its mode is set again when all in it is done."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(info.st_mode)
    if directory.descriptor is None or mode & _OWNER == _OWNER or worker.job.sync.dry_run or not os.geteuid():
        return
    with contextlib.suppress(OSError):  # what cannot be done in it will tell
        os.fchmod(directory.descriptor, mode | _OWNER)
