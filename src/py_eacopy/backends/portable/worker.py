"""What a worker thread has of its own: the copier, the counters, and what it tells of its progress."""

import time
from typing import TYPE_CHECKING, Dict, Optional, Tuple

from .coordinator import WAIT_STEP
from .directory import OUT_OF_DESCRIPTORS, PATIENCE, PATIENCE_STEP
from .failure import Cancelled, CopyFailure
from .file_copy import FileCopier
from .monitor import Monitor

if TYPE_CHECKING:
    from .job import Job
    from .progress import Flight


class Place:
    """Where names are looked up at both ends, and how the user would write them. This one is that of an item.

    Attributes:
        source_directory, target_directory: descriptors, or None.
        source_prefix, target_prefix: what comes before a name.
        root: what is copied is an item of the job, not something inside a tree.
    """

    source_directory: Optional[int] = None
    target_directory: Optional[int] = None
    root = True

    def __init__(self, source_prefix: str, target_prefix: str) -> None:
        self.source_prefix = source_prefix
        self.target_prefix = target_prefix

    def paths(self, name: str) -> Tuple[str, str]:
        """Source and destination of a name, as the user would write them."""
        return self.source_prefix + name, self.target_prefix + name


class Worker(Monitor):
    """Copies in one thread; see Counters of the report for what it counts."""

    def __init__(self, job: "Job") -> None:
        self.job = job
        self.throttle = job.throttle
        self.copier = FileCopier(job.options, self)
        self.files_found = 0
        self.bytes_found = 0
        self.files_copied = 0
        self.bytes_copied = 0
        self.symlinks_copied = 0
        self.directories_created = 0
        self.retries = 0
        self.errors = 0
        self.methods: Dict[str, int] = {}
        self.busy = False  # it has taken a task
        self.items_done = 0
        self.in_flight = 0  # bytes of the file that is being copied
        self._path = ""
        self._flight: Optional[Flight] = None
        self._size_known = False

    # Monitor ---------------------------------------------------------------------------------------------------

    def begin(self, total: int) -> None:
        if not self._size_known:
            self._size_known = True
            self.bytes_found += total
        if self.job.board is not None:
            self._flight = self.job.board.begin(self._path, total)

    def advance(self, count: int) -> None:
        self.in_flight += count
        if self._flight is not None:
            self._flight.copied += count

    def check(self) -> None:
        if self.job.cancelled:
            raise Cancelled

    # Copying ---------------------------------------------------------------------------------------------------

    def copy_file(self, place: Place, name: str, *, follow: bool, listed: bool = False) -> bool:
        """Copies a file, with the retries that were asked for. Returns whether it is there; if not, it was told."""
        job, copier = self.job, self.copier
        if job.board is not None:
            self._path = place.paths(name)[0]
        self._size_known = False
        tries, patience = 0, PATIENCE
        while True:
            try:
                copier.copy(
                    place.source_directory,
                    place.source_prefix + name,
                    place.target_directory,
                    place.target_prefix + name,
                    follow=follow,
                    listed=listed,
                    in_tree=not place.root,
                )
                break
            except CopyFailure as failure:
                if failure.cancelled:
                    self.in_flight = 0
                    self.fail(failure, *place.paths(name), root=place.root)
                    return False
                self._take_back()
                if failure.number in OUT_OF_DESCRIPTORS and patience:
                    patience -= 1
                    job.cache.close_idle()
                    time.sleep(PATIENCE_STEP)
                    continue
                if not failure.retryable or tries >= job.retry_count or not self._wait_before_retry():
                    self.fail(failure, *place.paths(name), root=place.root)
                    return False
                tries += 1
                self.retries += 1
        if copier.link:
            self.symlinks_copied += 1
            return True
        self.in_flight = 0
        self.files_copied += 1
        self.bytes_copied += copier.size
        self.methods[copier.method] = self.methods.get(copier.method, 0) + 1
        if job.board is not None:
            self._finish()
        return True

    def fail(self, failure: CopyFailure, source: str, destination: Optional[str], *, root: bool) -> None:
        """Tells the coordinator of a failure."""
        error = failure.to_error(source, destination, root)
        if failure.cancelled:
            self.job.interrupted(error)
            return
        self.errors += 1
        self.job.failed(error)

    # Inner parts -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        board = self.job.board
        assert board is not None
        flight, self._flight = self._flight, None
        board.finish(flight, self._path, self.copier.size)
        while board.full and not self.job.cancelled:
            time.sleep(WAIT_STEP)

    def _take_back(self) -> None:
        """The file failed: its bytes do not count."""
        self.in_flight = 0
        if self._flight is not None and self.job.board is not None:
            self.job.board.lose(self._flight)
            self._flight = None

    def _wait_before_retry(self) -> bool:
        """False when the job is to stop."""
        end = time.monotonic() + self.job.options.retry_delay
        while not self.job.cancelled:
            left = end - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(WAIT_STEP, left))
        return False
