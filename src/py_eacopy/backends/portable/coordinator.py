"""What every job's calling thread does: it listens to the threads that work, and it alone calls the caller back."""

import queue
import threading
from typing import Any, List, Sequence

from ..._control import Control, calling_back
from ..._errors import EACopyError
from ..._job import CopyJob
from .failure import Cancelled, CopyFailure
from .progress import ProgressBoard
from .throttle import Throttle

#: How often a wait looks whether the job is to stop. Seconds.
WAIT_STEP = 0.02


class _Question:
    """Which names are to be left out of a directory."""

    def __init__(self, directory: bytes, names: List[bytes]) -> None:
        self.directory = directory
        self.names = names
        self.answer: queue.SimpleQueue[Sequence[bool]] = queue.SimpleQueue()


class _Crash:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class Coordinator:
    """The line between the calling thread and those that work for it.

    Attributes:
        cancelled: everybody is to stop.
        lock: guards what workers share; the coordinator never takes it.
        board: where progress goes; None when nobody wants it.
        throttle: limits the rate; None when nothing does.
    """

    def __init__(self, job: CopyJob, control: Control) -> None:
        self.options = job.options
        self.filter = job.filter
        self.retry_count = job.options.retry_count if job.options.error_strategy == "retry" else 0
        self.cancelled = False
        self.lock = threading.Lock()
        self.board = ProgressBoard(control.progress, self._wake) if control.progress is not None else None
        limit = job.options.bandwidth_limit
        self.throttle = None if limit is None else Throttle(limit)
        self._trees = job.trees
        self._control = control
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._awake = False  # a wake-up is in the inbox
        self._errors: List[EACopyError] = []
        self._interruptions: List[EACopyError] = []

    # For the workers -------------------------------------------------------------------------------------------

    def failed(self, error: EACopyError) -> None:
        self._inbox.put(error)

    def interrupted(self, error: EACopyError) -> None:
        """A copy was stopped because the job was cancelled."""
        self._interruptions.append(error)

    def ask_filter(self, directory: bytes, names: List[bytes]) -> Sequence[bool]:
        """Has the coordinator ask the caller which names to leave out."""
        question = _Question(directory, names)
        self._inbox.put(question)
        while not self.cancelled:
            try:
                return question.answer.get(timeout=WAIT_STEP)
            except queue.Empty:
                continue
        raise Cancelled

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._inbox.put(None)

    def _crashed(self, error: BaseException) -> None:
        self._inbox.put(_Crash(error))

    # For any thread --------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        self.cancelled = True
        self._inbox.put(None)

    # For the coordinator ---------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Sleeps until a worker has something to say, and serves it."""
        try:
            message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            message = None
        self._awake = False
        self._take(message)
        self._take_messages()

    def _take_messages(self) -> None:
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                break
            self._take(message)
        if self.board is not None and not self.cancelled:
            with calling_back():
                self.board.deliver()

    def _take(self, message: Any) -> None:
        if isinstance(message, EACopyError):
            self._errors.append(message)
            self._control.record(message)
        elif isinstance(message, _Question):
            assert self.filter is not None
            if not self.cancelled:
                message.answer.put(self.filter(message.directory, message.names))
        elif isinstance(message, _Crash):
            raise message.error

    def _interrupted_error(self) -> EACopyError:
        """That of a file which was stopped half-way, if there is one."""
        partial = next((error for error in self._interruptions if error.destination == "partial"), None)
        if partial is not None:
            return partial
        if self._interruptions and not self._trees:
            return self._interruptions[0]
        return CopyFailure.of_cancellation().to_error(None, None, root=True)
