"""The line between a caller and a running job: cancelling, progress, totals, and the log.

All callbacks run in the thread that runs the job; :meth:`Control.cancel` and :meth:`Control.snapshot` may be called
from any.
"""

import contextlib
import logging
import operator
import threading
from typing import Any, Callable, Iterator, List, Optional

import attr

from ._errors import CallbackError, EACopyError, InvalidArgumentError
from ._report import Snapshot, SyncAction

#: ``callback(copied_bytes, total_bytes, filename)``
ProgressCallback = Callable[[int, int, str], Any]
#: ``callback(action)``
ActionCallback = Callable[[SyncAction], Any]

logger = logging.getLogger("py_eacopy")

_NOTHING = Snapshot()


class Control:
    """Cancels and watches one call, from any thread::

        control = py_eacopy.Control()
        threading.Timer(60, control.cancel).start()
        py_eacopy.copytree("a", "b", control=control)

    It serves one call at a time; to give it to a second one meanwhile is an :class:`InvalidArgumentError`. Once
    cancelled it stays so, and a call that is given it does not begin.

    Args:
        progress: called per file: first (0, total, name), then as it goes, last (total, total, name). None takes the
            Config's ``progress_callback``.
        action: called with a :class:`SyncAction` for each thing that :func:`sync` does, or would do in a dry run, after
            it is done. It runs in the thread that runs the job (for an async function a worker thread), and when it
            raises the job stops.

    Attributes:
        errors: what has failed so far, in order.
        actions: what was done so far, where that is recorded and no callback takes it.
    """

    def __init__(self, progress: Optional[ProgressCallback] = None, action: Optional[ActionCallback] = None) -> None:
        self.progress = progress
        self.action = action
        self.actions: List[SyncAction] = []
        self.errors: List[EACopyError] = []
        #: Nobody has this control but an async function, to cancel by: a small file may go the direct path.
        self.only_cancels = False
        self._serves = False
        self._ignores_errors = False
        self._log_level: Optional[int] = None
        self._lock = threading.Lock()
        self._cancelled = False
        self._canceller: Optional[Callable[[], None]] = None
        self._snapshotter: Optional[Callable[[], Snapshot]] = None
        self._last = self._carried = _NOTHING

    # For the caller ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Asks the job to stop: at once, or as soon as it starts. Returns without waiting."""
        with self._lock:
            self._cancelled = True
            self.only_cancels = False  # the direct path would not look
            if self._canceller is not None:
                self._canceller()

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled

    def snapshot(self) -> Snapshot:
        """How far the job is; its last state when it is over."""
        with self._lock:
            return self._now() if self._snapshotter is not None else self._last

    # For the strategy ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(
        self, progress: Optional[ProgressCallback], ignores_errors: bool, log_level: Optional[int] = None
    ) -> Iterator[None]:
        """For the length of one call.

        Args:
            progress: takes the place of this control's own, if it has none.
            ignores_errors: log each error as a warning when it happens, because no exception will tell of it.
            log_level: the least level that is logged; None leaves that to the logger.
        """
        with self._lock:
            if self._serves:
                raise InvalidArgumentError("this Control serves another call already; give each call one of its own")
            self._serves = True
        own = self.progress
        self.progress = progress if own is None else own
        self._ignores_errors, self._log_level = ignores_errors, log_level
        self.errors.clear()
        self.actions.clear()
        self._carried = _NOTHING
        try:
            yield
        finally:
            self.progress = own
            self._serves = False

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Writes into the log of the package. Called in the job's thread."""
        if self._log_level is None:
            logger.log(level, message, *arguments)
        elif level >= self._log_level and level > logger.manager.disable:
            # Past the logger's own level, which is that of the active Config.
            logger.handle(logger.makeRecord(logger.name, level, __file__, 0, message, arguments, None))

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
                self._last = self._now()
            self._canceller = self._snapshotter = None

    def carry_on(self) -> None:
        """Another job of the same call follows; its totals are added to those so far. Called between two jobs."""
        self._carried = self._last

    def _now(self) -> Snapshot:
        assert self._snapshotter is not None
        now = self._snapshotter()
        if self._carried is _NOTHING:
            return now
        return Snapshot(*map(operator.add, attr.astuple(self._carried), attr.astuple(now)))

    def record(self, error: EACopyError) -> None:
        """Something failed. Called in the job's thread, once for each failure, in order."""
        self.errors.append(error)
        self.log(logging.WARNING if self._ignores_errors else logging.DEBUG, "%s", error)

    def act(self, action: SyncAction) -> None:
        """Something was done. Called in the job's thread, when the job wants actions."""
        if self.action is None:
            self.actions.append(action)
        else:
            with calling_back():
                self.action(action)


def checked_control(control: object) -> Control:
    """What was given for a Control, if it is one."""
    if not isinstance(control, Control):
        raise TypeError("control must be a py_eacopy.Control, not %s" % type(control).__name__)
    return control


class _CallingBack(threading.local):
    active = False  # found at once in a thread that has none of its own, which each small file asks for


_calling_back = _CallingBack()


@contextlib.contextmanager
def calling_back() -> Iterator[None]:
    """Marks this thread as being inside a progress callback."""
    _calling_back.active = True
    try:
        yield
    finally:
        _calling_back.active = False


def refuse_inside_callback() -> None:
    """A copy that is begun inside a progress callback would hold up the one that called back: that is an error."""
    if _calling_back.active:
        raise CallbackError(
            "a progress callback cannot copy: it would hold up the copy that called it; copy after that has returned, "
            "or in another thread"
        )
