"""Keeps what all workers of a job move together below a rate."""

import threading
import time
from typing import Callable

#: A cancelled wait ends within this time. Seconds.
_SLICE = 0.02
#: What was not used lately may be made up for, no more than this: waking up is never exactly on time. Seconds.
_CREDIT = 0.05
_PIECES_A_SECOND = 20
#: Smaller pieces would cost more than they are worth.
_PIECE_MINIMUM = 4096


class Throttle:
    """A bucket of tokens, kept as the time at which it will not be in debt any more.

    Args:
        rate: bytes a second, 1 or more.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._piece = max(rate // _PIECES_A_SECOND, _PIECE_MINIMUM)
        self._lock = threading.Lock()
        self._paid_until = time.monotonic()

    def take(self, wanted: int, check: Callable[[], None]) -> int:
        """Waits until something may be moved, and returns how much of `wanted` (1 or more) that is: no more than the
        rate allows in about 50 ms.

        Args:
            check: called while it waits; raises when the job is to stop.
        """
        granted = min(wanted, self._piece)
        while True:
            check()
            with self._lock:
                now = time.monotonic()
                left = self._paid_until - now
                if left <= 0:
                    self._paid_until = max(self._paid_until, now - _CREDIT) + granted / self._rate
                    return granted
            time.sleep(min(left, _SLICE))

    def give_back(self, count: int) -> None:
        """So much of what was taken was not moved after all."""
        if count:
            with self._lock:
                self._paid_until -= count / self._rate
