"""Worker threads, and the work that waits for them.

Workers take the directory that was found last first, so that few directories are begun at a time and memory stays
small; items are begun when there is nothing else to do.

The coordinating thread may be interrupted at any point (Ctrl-C), also inside a library function written in Python. So
it shares nothing with the workers but containers whose operations are atomic: it can leave no lock locked.
"""

import abc
import collections
import queue
import threading
import time
from typing import TYPE_CHECKING, Callable, Deque, Iterable, List, Optional

if TYPE_CHECKING:
    from .worker import Worker


#: How long a thread whose start was interrupted may take to appear, if it does. Seconds.
_START_TIME = 0.1


class Task(abc.ABC):
    """A piece of work for one worker."""

    @abc.abstractmethod
    def run(self, worker: "Worker") -> None: ...


class Scheduler:
    """Hands tasks to worker threads.

    Args:
        limit: most threads.
        make_worker: called in the coordinating thread for each thread that is started.
        crashed: told of an exception that left a task; that is a bug, or memory is short.
    """

    def __init__(
        self, limit: int, make_worker: "Callable[[], Worker]", crashed: Callable[[BaseException], None]
    ) -> None:
        self._limit = limit
        self._make_worker = make_worker
        self._crashed = crashed
        self._stack: List[Task] = []
        self._items: Deque[Task] = collections.deque()
        # One for each task; None in it: the thread is to end.
        self._permits: queue.SimpleQueue[Optional[bool]] = queue.SimpleQueue()
        self._threads: List[threading.Thread] = []

    # For the coordinator ---------------------------------------------------------------------------------------

    @property
    def items_waiting(self) -> int:
        return len(self._items)

    @property
    def directories_waiting(self) -> int:
        return len(self._stack)

    @property
    def threads(self) -> int:
        """How many were started."""
        return len(self._threads)

    def add_item(self, task: Task) -> None:
        self._items.append(task)
        self._permits.put(True)

    @property
    def can_start_thread(self) -> bool:
        return len(self._threads) < self._limit

    def start_thread(self) -> None:
        """Starts one more worker. Raises RuntimeError when the system has no thread to give."""
        thread = threading.Thread(target=self._work, args=(self._make_worker(),), name="eacopy-worker")
        # First, so that it is waited for when a signal interrupts the start.
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.pop()
            raise

    def end(self) -> None:
        """Lets the workers go home after the task they are at."""
        for _ in self._threads:
            self._permits.put(None)

    def join(self, hurry: Callable[[], None]) -> None:
        """As :func:`join_all`, for all workers."""
        join_all(self._threads, hurry)

    # For the workers -------------------------------------------------------------------------------------------

    def push(self, task: Task) -> None:
        """Adds work that goes before all other."""
        self._stack.append(task)
        self._permits.put(True)

    def _take(self) -> Optional[Task]:
        if not self._permits.get():
            return None
        try:
            return self._stack.pop()
        except IndexError:
            return self._items.popleft()

    def _work(self, worker: "Worker") -> None:
        while True:
            worker.busy = False
            task = self._take()
            if task is None:
                return
            worker.busy = True
            try:
                task.run(worker)
            except BaseException as error:
                self._crashed(error)
                return


def join_all(threads: Iterable[threading.Thread], hurry: Callable[[], None]) -> None:
    """Waits until all threads are gone, whatever signal comes; then `hurry` is called, which stops them."""
    interrupt: Optional[BaseException] = None
    for thread in threads:
        begun = time.monotonic()
        while thread.is_alive() or (thread.ident is None and time.monotonic() - begun < _START_TIME):
            try:
                if thread.ident is None:
                    time.sleep(0.001)
                else:
                    thread.join(1.0)
            except BaseException as error:  # what is partial has to go first
                interrupt = error
                hurry()
    if interrupt is not None:
        raise interrupt
