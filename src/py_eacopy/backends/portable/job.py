"""One job: items go in, workers copy, and the calling thread coordinates."""

import errno
import os
import time
from typing import Dict, List

from ..._control import Control
from ..._errors import Operation, error_from_failure
from ..._job import CopyJob
from ..._report import CopyReport, Snapshot
from . import system
from .coordinator import Coordinator
from .directory import DirectoryCache
from .limits import share_descriptors
from .scheduler import Scheduler, Task
from .tree import Tree
from .worker import Place, Worker

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


class Job(Coordinator):
    """Runs a :class:`CopyJob`. All attributes but those of the coordinator are for the workers.

    Attributes:
        refuses_items: an item failed, and no further one is to be begun.
    """

    def __init__(self, job: CopyJob, control: Control, backend: str) -> None:
        super().__init__(job, control)
        self.refuses_items = False
        self._items = iter(job.items)
        self._backend = backend
        threads, directories = share_descriptors(job.options.thread_count)
        self.shares_directories = threads > 1
        self.cache = DirectoryCache(directories)
        self.scheduler = Scheduler(threads, self._make_worker, self._crashed)
        self._workers: List[Worker] = []
        self._items_added = 0
        self._started = 0.0  # when threads were started last
        self._served = time.monotonic()  # when the workers were listened to last

    # For the workers -------------------------------------------------------------------------------------------

    def end_item(self, worker: Worker, *, failed: bool) -> None:
        if failed and self.options.error_strategy != "ignore":
            self.refuses_items = True
        worker.items_done += 1
        if self.scheduler.items_waiting <= _ITEMS_LOW:
            self._wake()

    # For any thread --------------------------------------------------------------------------------------------

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
            self._wait(_TICK)

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
            self.scheduler.add_item(self._item(*names))
            # The caller may be slow to name the items; the first ones are copied meanwhile.
            if self._items_added == 1:
                self._start_threads()
            elif time.monotonic() - self._served > _TICK:
                self._start_threads()
                self._take_messages()
        return True

    def _item(self, source: str, destination: str) -> Task:
        return Tree(source, destination) if self._trees else _FileItem(source, destination)

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

    def _take_messages(self) -> None:
        super()._take_messages()
        self._served = time.monotonic()

    def _make_worker(self) -> Worker:
        worker = Worker(self)
        self._workers.append(worker)
        return worker

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
