"""One job: items go in, workers copy, and the calling thread coordinates: it alone calls the caller back."""

import errno
import os
import queue
import threading
import time
from typing import Any, Dict, List, Sequence

from ..._control import Control, calling_back
from ..._errors import EACopyError, Operation, error_from_failure
from ..._job import CopyJob
from ..._report import CopyReport, Snapshot
from . import system
from .directory import DirectoryCache
from .failure import Cancelled, CopyFailure
from .limits import share_descriptors
from .progress import ProgressBoard
from .scheduler import Scheduler, Task
from .tree import Tree
from .worker import WAIT_STEP, Place, Worker

#: How long the coordinator sleeps at most, so that progress is fresh. Seconds.
_TICK = 0.05
#: How many items are read ahead, and how few may be left before more are asked for.
_ITEMS_AHEAD, _ITEMS_LOW = 256, 64


class _FileItem(Task):
    def __init__(self, source: str, destination: str) -> None:
        self._source = source
        self._destination = destination

    def run(self, worker: Worker) -> None:
        job = worker.job
        copied = True
        if not job.refuses_items and not job.cancelled:
            worker.files_found += 1
            place = Place(system.file_path(self._source), system.file_path(self._destination))
            copied = worker.copy_file(place, "", follow=job.options.follow_symlinks)
        job.end_item(worker, failed=not copied)


class _Question:
    """Which names are to be left out of a directory."""

    def __init__(self, directory: bytes, names: List[bytes]) -> None:
        self.directory = directory
        self.names = names
        self.answer: queue.SimpleQueue[Sequence[bool]] = queue.SimpleQueue()


class Job:
    """Runs a :class:`CopyJob`. All attributes but those of the coordinator are for the workers.

    Attributes:
        cancelled: everybody is to stop.
        refuses_items: an item failed, and no further one is to be begun.
        lock: guards what workers share; the coordinator never takes it.
        board: where progress goes; None when nobody wants it.
    """

    def __init__(self, job: CopyJob, control: Control, backend: str) -> None:
        self.options = job.options
        self.filter = job.filter
        self.retry_count = job.options.retry_count if job.options.error_strategy == "retry" else 0
        self.cancelled = False
        self.refuses_items = False
        self.lock = threading.Lock()
        self.board = ProgressBoard(control.progress, self._wake) if control.progress is not None else None
        self._trees = job.trees
        self._items = iter(job.items)
        self._control = control
        self._backend = backend
        threads, directories = share_descriptors(job.options.thread_count)
        self.shares_directories = threads > 1
        self.cache = DirectoryCache(directories)
        self.scheduler = Scheduler(threads, self._make_worker, self._crashed)
        self._workers: List[Worker] = []
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._awake = False  # a wake-up is in the inbox
        self._errors: List[EACopyError] = []
        self._interruptions: List[EACopyError] = []
        self._items_added = 0
        self._started = 0.0  # when threads were started last
        self._served = time.monotonic()  # when the workers were listened to last

    # For the workers -------------------------------------------------------------------------------------------

    def failed(self, error: EACopyError) -> None:
        self._inbox.put(error)

    def interrupted(self, error: EACopyError) -> None:
        """A copy was stopped because the job was cancelled."""
        self._interruptions.append(error)

    def end_item(self, worker: Worker, *, failed: bool) -> None:
        if failed and self.options.error_strategy != "ignore":
            self.refuses_items = True
        worker.items_done += 1
        if self.scheduler.items_waiting <= _ITEMS_LOW:
            self._wake()

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

    def snapshot(self) -> Snapshot:
        workers = list(self._workers)
        return Snapshot(
            files_found=sum(w.files_found for w in workers),
            bytes_found=sum(w.bytes_found for w in workers),
            files_copied=sum(w.files_copied for w in workers),
            bytes_copied=sum(w.bytes_copied + w.in_flight for w in workers),
            errors=sum(w.errors for w in workers),
        )

    # For the coordinator ---------------------------------------------------------------------------------------

    def run(self) -> CopyReport:
        start = time.perf_counter()
        self._control.attach(self.cancel, self.snapshot)
        try:
            try:
                self._coordinate()
            except BaseException:
                self.cancelled = True
                raise
            finally:
                self.scheduler.end()
                self.scheduler.join(self.cancel)
                self.cache.close_all()
            self._take_messages()
        finally:
            self._control.detach()
        if self.cancelled:
            raise self._interrupted_error()
        return self._report(time.perf_counter() - start)

    def _coordinate(self) -> None:
        """Feeds the workers and answers them until all is done."""
        more = True
        while not self.cancelled:
            more = more and self._add_items()
            self._start_threads()
            if not more and sum(worker.items_done for worker in self._workers) == self._items_added:
                return
            self._wait()

    def _add_items(self) -> bool:
        """Reads items ahead; False when there are no more, or none is wanted."""
        while self.scheduler.items_waiting < _ITEMS_AHEAD and not self.cancelled:
            if self.refuses_items:
                return False
            try:
                source, destination = next(self._items)
            except StopIteration:
                return False
            self._items_added += 1
            names = os.fsdecode(source), os.fsdecode(destination)
            self.scheduler.add_item(Tree(*names) if self._trees else _FileItem(*names))
            # The caller may be slow to name the items; the first ones are copied meanwhile.
            if self._items_added == 1:
                self._start_threads()
            elif time.monotonic() - self._served > _TICK:
                self._start_threads()
                self._take_messages()
        return True

    def _start_threads(self) -> None:
        """Starts threads for what waits for one, if there may be so many.

        Each item gets one at once; directories get another only after a while. So a small tree is copied in one thread:
        others would only fight with it for the interpreter.
        """
        scheduler = self.scheduler
        idle = sum(not worker.busy for worker in self._workers)
        wanted = scheduler.items_waiting - idle
        if wanted <= 0 and scheduler.directories_waiting > idle and time.monotonic() - self._started > _TICK:
            wanted = 1
        if wanted > 0:
            self._started = time.monotonic()
        while wanted > 0 and scheduler.can_start_thread:
            try:
                scheduler.start_thread()
            except RuntimeError:
                if not scheduler.threads:
                    raise error_from_failure(errno.EAGAIN, Operation.START, None, None) from None
                return
            wanted -= 1

    def _wait(self) -> None:
        """Sleeps until a worker has something to say, and serves it."""
        try:
            message = self._inbox.get(timeout=_TICK)
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
        self._served = time.monotonic()
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

    def _make_worker(self) -> Worker:
        worker = Worker(self)
        self._workers.append(worker)
        return worker

    def _interrupted_error(self) -> EACopyError:
        """That of a file which was stopped half-way, if there is one."""
        partial = next((error for error in self._interruptions if error.destination == "partial"), None)
        if partial is not None:
            return partial
        if self._interruptions and not self._trees:
            return self._interruptions[0]
        return CopyFailure.of_cancellation().to_error(None, None, root=True)

    def _report(self, seconds: float) -> CopyReport:
        workers = self._workers
        methods: Dict[str, int] = {}
        for worker in workers:
            for method, count in worker.methods.items():
                methods[method] = methods.get(method, 0) + count
        size = sum(worker.bytes_copied for worker in workers)
        return CopyReport(
            files_copied=sum(worker.files_copied for worker in workers),
            bytes_copied=size,
            bytes_written=size,
            symlinks_copied=sum(worker.symlinks_copied for worker in workers),
            directories_created=sum(worker.directories_created for worker in workers),
            retries=sum(worker.retries for worker in workers),
            methods=methods,
            errors=tuple(self._errors),
            seconds=seconds,
            backend=self._backend,
        )


class _Crash:
    def __init__(self, error: BaseException) -> None:
        self.error = error
