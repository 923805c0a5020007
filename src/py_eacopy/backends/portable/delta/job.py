"""Runs the one item of a job with a reference, in the calling thread."""

import errno
import os
import stat
import time
from typing import Callable, Dict, Optional, Tuple

import attr

from ...._control import Control, calling_back
from ...._errors import DestinationState, EACopyError, ErrorKind, Operation
from ...._job import CopyJob, CopyOptions
from ...._report import CopyReport, Snapshot
from .. import system
from ..destination import Destination, exists
from ..failure import Cancelled, CopyFailure
from ..monitor import Monitor, Refusal
from ..progress import INTERVAL
from ..throttle import Throttle
from . import patch
from .copying import DeltaWriter, Reference, is_same

_WAIT_STEP = 0.02


class DeltaJob(Monitor):
    """One job.

    Args:
        job: with ``delta``.
        control: cancels and watches it.
        backend: for the report.
    """

    def __init__(self, job: CopyJob, control: Control, backend: str) -> None:
        assert job.delta is not None
        self._options, self._delta = job.options, job.delta
        limit = job.options.bandwidth_limit
        self.throttle = None if limit is None else Throttle(limit)
        self._control = control
        self._backend = backend
        [(source, destination)] = job.items
        self._source, self._target = os.fsdecode(source), os.fsdecode(destination)
        self._reference = os.fsdecode(job.delta.reference)
        self._cancelled = False
        self._total = self._copied = 0
        self._finished = self._errors = 0
        self._told = 0.0
        self._done = CopyReport()

    # Monitor ----------------------------------------------------------------------------------------------------------

    def begin(self, total: int) -> None:
        self._total += total
        self._tell(0)

    def advance(self, count: int) -> None:
        self._copied += count
        if time.monotonic() - self._told >= INTERVAL and self._copied < self._total:
            self._tell(self._copied)

    def check(self) -> None:
        if self._cancelled:
            raise Cancelled

    def _tell(self, copied: int) -> None:
        self._told = time.monotonic()
        if self._control.progress is not None:
            with calling_back():
                self._control.progress(copied, self._total, self._source)

    # Running ----------------------------------------------------------------------------------------------------------

    def run(self) -> CopyReport:
        start = time.perf_counter()
        self._control.attach(self._cancel, self._snapshot)
        retries = 0
        try:
            while True:
                try:
                    self._total = self._copied = 0
                    self._once()
                    self._finished = 1
                    break
                except CopyFailure as failure:
                    self._copied = 0  # it was taken back
                    error = self._error(failure)
                    if failure.cancelled:
                        raise error from None
                    wanted = self._options.error_strategy == "retry" and retries < self._options.retry_count
                    if not wanted or not failure.retryable or not self._waited():
                        self._errors = 1
                        self._control.record(error)
                        return CopyReport(
                            errors=(error,), retries=retries, seconds=time.perf_counter() - start, backend=self._backend
                        )
                    retries += 1
        finally:
            self._control.detach()
        return attr.evolve(
            self._done,
            files_copied=1,
            retries=retries,
            seconds=time.perf_counter() - start,
            backend=self._backend,
        )

    def _once(self) -> None:
        actions: Dict[str, Callable[[int, os.stat_result, Reference], None]] = {
            "copy": self._copy,
            "create": self._create,
            "apply": self._apply,
        }
        descriptor, reference = -1, None
        try:
            descriptor, info = self._open_source()
            reference = Reference(self._reference, self)
            actions[self._delta.action](descriptor, info, reference)
        except OSError as error:
            raise self._failure(error) from None
        finally:
            if descriptor >= 0:
                system.close_quietly(descriptor)
            if reference is not None:
                reference.close()
        self._tell(self._total)

    def _copy(self, source: int, info: os.stat_result, reference: Reference) -> None:
        # Times cannot tell whether a fresh reference is written to once more: then the result is compared.
        options = attr.evolve(self._options, verify=self._options.verify or reference.fresh)
        with _Written(self._target, self._source, info, options, self) as destination:
            self.begin(info.st_size)
            in_place = is_same(reference, destination.existing)
            if not in_place:
                destination.empty(info.st_size)
            writer = DeltaWriter(source, info, reference, destination.descriptor, in_place, options, self)
            destination.touch()
            writer.fill()
            # A clone of the source has nothing of the reference.
            destination.commit(source, info, self._options.verify if writer.cloned else options.verify)
        self._done = CopyReport(
            bytes_copied=writer.size,
            bytes_reused=writer.reused,
            bytes_written=writer.written,
            bytes_read=writer.read,
            methods={"clone": 1} if writer.cloned else {},
        )

    def _create(self, source: int, info: os.stat_result, reference: Reference) -> None:
        with _Written(self._target, self._source, info, self._options, self) as destination:
            self.begin(info.st_size)
            size = patch.create(
                source,
                info.st_size,
                reference.descriptor,
                reference.info.st_size,
                destination.descriptor,
                self._delta.level,
                self,
            )
            reference.check_unchanged(self)
            destination.commit(source, info)
        self._done = CopyReport(
            bytes_copied=info.st_size,
            bytes_written=size,
            bytes_read=info.st_size + reference.info.st_size,
        )

    def _apply(self, source: int, info: os.stat_result, reference: Reference) -> None:
        with _Written(self._target, self._source, info, self._options, self) as destination:
            written, read = patch.apply(
                source,
                reference.descriptor,
                reference.info.st_size,
                destination.descriptor,
                self._delta.allow_unchecked,
                self,
            )
            destination.commit(source, info)
        self._done = CopyReport(
            bytes_copied=written,
            bytes_written=written,
            bytes_read=read + reference.info.st_size,
        )

    def _open_source(self) -> Tuple[int, os.stat_result]:
        self.operation, self.offset = Operation.OPEN_SOURCE, 0
        self._refuse_special(os.stat(self._source))
        descriptor = os.open(system.file_path(self._source), system.READ_FLAGS)
        try:
            info = os.fstat(descriptor)
            self._refuse_special(info)
        except BaseException:
            system.close_quietly(descriptor)
            raise
        return descriptor, info

    def _refuse_special(self, info: os.stat_result) -> None:
        if stat.S_ISDIR(info.st_mode):
            self.refuse(errno.EISDIR, Operation.OPEN_SOURCE, ErrorKind.INVALID_ARGUMENT)
        if not stat.S_ISREG(info.st_mode):
            self.refuse(0, Operation.SPECIAL_FILE)

    # Failing ----------------------------------------------------------------------------------------------------------

    def _failure(self, error: OSError) -> CopyFailure:
        if isinstance(error, _Failed):
            return error.failure
        failure = CopyFailure(error.errno or 0, self.operation, self.offset)
        if isinstance(error, Refusal) and error.kind is not None:
            failure.kind = error.kind
        return failure

    def _error(self, failure: CopyFailure) -> EACopyError:
        about_reference = failure.operation in (Operation.OPEN_REFERENCE, Operation.READ_REFERENCE)
        source = self._reference if about_reference else self._source
        if failure.state is None:  # the destination was not opened yet
            there = exists(None, system.file_path(self._target))
            failure.state = DestinationState.OLD if there else DestinationState.ABSENT
        return failure.to_error(source, self._target, root=True)

    def _waited(self) -> bool:
        end = time.monotonic() + self._options.retry_delay
        while not self._cancelled and time.monotonic() < end:
            time.sleep(_WAIT_STEP)
        return not self._cancelled

    def _cancel(self) -> None:
        self._cancelled = True

    def _snapshot(self) -> Snapshot:
        return Snapshot(1, self._total, self._finished, self._copied, self._errors)


class _Failed(OSError):
    def __init__(self, failure: CopyFailure) -> None:
        super().__init__(failure.number, "")
        self.failure = failure


class _Written:
    """A destination that is open inside of the block, and taken back when the block fails."""

    def __init__(self, target: str, source: str, info: os.stat_result, options: CopyOptions, monitor: Monitor) -> None:
        self._source, self._info, self._monitor = source, info, monitor
        self._target = system.file_path(target)
        self._destination = Destination(None, self._target, options, monitor, options.fsync)

    def __enter__(self) -> Destination:
        try:
            self._destination.open(self._source, self._info)
        except OSError as error:
            self.__exit__(type(error), error, None)
        return self._destination

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        if error is None:
            return
        descriptor, target = self._destination.descriptor, self._target
        free = system.free_space(descriptor, target) if descriptor >= 0 else 0
        state = self._destination.abandon()
        if isinstance(error, Cancelled):
            raise CopyFailure.of_cancellation(state) from None
        if not isinstance(error, OSError):
            return
        failure = CopyFailure(error.errno or 0, self._monitor.operation, self._monitor.offset, state)
        if isinstance(error, Refusal) and error.kind is not None:
            failure.kind = error.kind
        if failure.kind is ErrorKind.DISK_FULL:
            failure.size, failure.available = self._info.st_size, free
        raise _Failed(failure) from None
