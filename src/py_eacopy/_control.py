"""The line between a caller and a running job: cancelling, progress, totals, and the log.

All callbacks run in the thread that runs the job; :meth:`Control.cancel` and :meth:`Control.snapshot` may be called from any.
"""

import logging
import threading
from typing import Any, Callable, List, Optional

from ._errors import EACopyError
from ._report import Snapshot

#: ``callback(copied_bytes, total_bytes, filename)``
ProgressCallback = Callable[[int, int, str], Any]

logger = logging.getLogger("py_eacopy")


class Control:
    """Cancels and watches one job.

    Args:
        progress: called per file: first (0, total, name), then as it goes, last (total, total, name).
        ignore_errors: log each error as a warning when it happens, because no exception will tell of it.
    """

    def __init__(self, progress: Optional[ProgressCallback] = None, *, ignore_errors: bool = False) -> None:
        self.progress = progress
        self.errors: List[EACopyError] = []
        self._ignore_errors = ignore_errors
        self._lock = threading.Lock()
        self._cancelled = False
        self._canceller: Optional[Callable[[], None]] = None
        self._snapshotter: Optional[Callable[[], Snapshot]] = None
        self._last = Snapshot()

    # For the caller ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Asks the job to stop: at once, or as soon as it starts. Returns without waiting."""
        with self._lock:
            self._cancelled = True
            if self._canceller is not None:
                self._canceller()

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled

    def snapshot(self) -> Snapshot:
        """How far the job is; its last state when it is over."""
        with self._lock:
            return self._snapshotter() if self._snapshotter is not None else self._last

    # For the backend -----------------------------------------------------------------------------------------

    def attach(self, canceller: Callable[[], None], snapshotter: Callable[[], Snapshot]) -> None:
        """The job begins: from now on cancel() and snapshot() reach it."""
        with self._lock:
            self._canceller, self._snapshotter = canceller, snapshotter
            if self._cancelled:
                canceller()

    def detach(self) -> None:
        """The job is over; must come before its memory goes."""
        with self._lock:
            if self._snapshotter is not None:
                self._last = self._snapshotter()
            self._canceller = self._snapshotter = None

    def record(self, error: EACopyError) -> None:
        """Something failed. Called in the job's thread, once for each failure, in order."""
        self.errors.append(error)
        if self._ignore_errors:
            logger.warning("%s", error)
        else:
            logger.debug("%s", error)
