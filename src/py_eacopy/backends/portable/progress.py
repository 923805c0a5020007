"""Progress on its way from the workers to the callback, which runs in the coordinating thread only."""

import collections
import time
from typing import Callable, Deque, Dict, Optional, Tuple, Union

from ..._control import ProgressCallback, calling_back

#: A smaller file is begun and finished in one record.
SMALL_FILE = 256 * 1024
#: A callback need not hear more often of one file. Seconds.
INTERVAL = 0.05
#: Records that wait: from the first number on the coordinator is woken for them, above the second the workers wait.
RECORDS_WAKE, RECORDS_MAXIMUM = 512, 4096


class Flight:
    """A large file on its way. `copied` is written by its worker and read by the coordinator."""

    __slots__ = ("copied", "path", "told", "told_at", "total")

    def __init__(self, path: str, total: int) -> None:
        self.path = path
        self.total = total
        self.copied = 0
        self.told = 0
        self.told_at = 0.0


_BEGUN, _LANDED, _LOST = "begun", "landed", "lost"
_Record = Tuple[Union[str, Flight], Union[int, str]]


class ProgressBoard:
    """Records of all files, in order.

    Args:
        callback: is told.
        wake: asks the coordinator to call :meth:`deliver`.
    """

    def __init__(self, callback: ProgressCallback, wake: Callable[[], None]) -> None:
        self._callback = callback
        self._wake = wake
        self._records: Deque[_Record] = collections.deque()
        self._flying: Dict[Flight, None] = {}

    # For the workers -------------------------------------------------------------------------------------------

    def begin(self, path: str, total: int) -> Optional[Flight]:
        """A file is begun. What this returns is for :meth:`finish` or :meth:`lose`."""
        if total < SMALL_FILE:
            return None
        flight = Flight(path, total)
        self._records.append((flight, _BEGUN))
        self._wake()
        return flight

    def finish(self, flight: Optional[Flight], path: str, total: int) -> None:
        if flight is None:
            self._records.append((path, total))
            if len(self._records) == RECORDS_WAKE:
                self._wake()
        else:
            flight.copied = flight.total = total
            self._records.append((flight, _LANDED))

    def lose(self, flight: Flight) -> None:
        """The file failed; if it is tried again, it begins again."""
        self._records.append((flight, _LOST))

    @property
    def full(self) -> bool:
        """The callback is slower than the copying; no more records for now."""
        return len(self._records) > RECORDS_MAXIMUM

    # For the coordinator ---------------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Tells the callback what is new. It may raise."""
        with calling_back():
            self._deliver()

    def _deliver(self) -> None:
        callback, records = self._callback, self._records
        while records:
            subject, event = records.popleft()
            if isinstance(subject, str):
                assert isinstance(event, int)
                callback(0, event, subject)
                callback(event, event, subject)
            elif event == _BEGUN:
                self._flying[subject] = None
                subject.told_at = time.monotonic()
                callback(0, subject.total, subject.path)
            else:
                self._flying.pop(subject, None)
                if event == _LANDED:
                    callback(subject.total, subject.total, subject.path)
        if self._flying:
            self._tell_of_flights()

    def _tell_of_flights(self) -> None:
        now = time.monotonic()
        for flight in list(self._flying):
            copied = flight.copied
            # That it is complete is told when all is done that can fail.
            if copied > flight.told and copied < flight.total and now - flight.told_at >= INTERVAL:
                flight.told, flight.told_at = copied, now
                self._callback(copied, flight.total, flight.path)
