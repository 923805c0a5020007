"""What a connection counts, and how it tells of failures and progress."""

import os
import time
from typing import TYPE_CHECKING, Optional

from ...._errors import DestinationState
from .. import system
from ..coordinator import WAIT_STEP
from ..failure import Cancelled, CopyFailure
from ..monitor import Monitor

if TYPE_CHECKING:
    from ..progress import Flight
    from .remote_job import RemoteJob


class Tally(Monitor):
    """The counters of one connection, written by its thread alone; see Counters of the report for what they mean.

    Attributes:
        in_flight: bytes of files that are on their way.
    """

    def __init__(self, job: "RemoteJob") -> None:
        self.job = job
        self.throttle = job.throttle
        self.files_found = self.bytes_found = 0
        self.files_copied = self.bytes_copied = 0
        self.files_linked = self.bytes_linked = 0
        self.files_skipped = self.bytes_skipped = 0
        self.symlinks_copied = 0
        self.directories_created = 0
        self.bytes_reused = 0
        self.retries = 0
        self.errors = 0
        self.in_flight = 0

    def check(self) -> None:
        if self.job.cancelled or self.job.stopping:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Waits, and raises Cancelled when the job is to stop."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(WAIT_STEP, left))

    # Failures ----------------------------------------------------------------------------------------------------

    def fail(self, failure: CopyFailure, path: str, root: bool = False) -> None:
        """Tells the coordinator of a failure.

        Args:
            path: what failed, relative to the item.
            root: the item failed as a whole.
        """
        source, destination = self.job.paths("" if root else path)
        if failure.state is None and not self.job.remote.push:
            # It is replaced when all has come, so whatever is there was there before.
            there = os.path.lexists(system.long_path(destination))
            failure.state = DestinationState.OLD if there else DestinationState.ABSENT
        self.errors += 1
        self.job.failed(failure.to_error(source, destination, root))

    def retries_left(self, failure: CopyFailure, tries: int) -> bool:
        """Whether what failed so many times already is to be tried again; counted when it is."""
        if not failure.retryable or tries >= self.job.retry_count:
            return False
        self.retries += 1
        return True

    # Progress ----------------------------------------------------------------------------------------------------

    def begin_file(self, path: str, total: int, root: bool = False) -> "Optional[Flight]":
        """A file is begun; for :meth:`end_file` or :meth:`lose_file`."""
        board = self.job.board
        return None if board is None else board.begin(self.job.paths("" if root else path)[0], total)

    def advance_file(self, flight: "Optional[Flight]", count: int) -> None:
        self.in_flight += count
        if flight is not None:
            flight.copied += count

    def end_file(self, flight: "Optional[Flight]", path: str, total: int, root: bool = False) -> None:
        """A file is there, by whatever way."""
        board = self.job.board
        if board is None:
            return
        board.finish(flight, "" if flight is not None else self.job.paths("" if root else path)[0], total)
        while board.full and not self.job.cancelled:
            time.sleep(WAIT_STEP)

    def lose_file(self, flight: "Optional[Flight]") -> None:
        """It failed; if it is tried again it begins again."""
        if flight is not None and self.job.board is not None:
            self.job.board.lose(flight)
