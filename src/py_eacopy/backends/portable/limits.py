"""How many files this process may still open, and what follows for threads and directories."""

import os
import sys
from typing import Optional, Tuple

if sys.platform == "win32":

    def _limit() -> Optional[int]:
        return None  # it counts otherwise, and allows thousands
else:
    import resource

    def _limit() -> Optional[int]:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if limit == resource.RLIM_INFINITY else limit


#: What a worker has open at most: two roots, two directories and their listing, two more on the way back up, two files.
_PER_WORKER = 10
#: For everybody else in the process.
_SPARE = 4
#: A few that stay open save the way down from the root for each directory in them. When even these are too many,
#: opening closes them and tries again.
_CACHE_MINIMUM, _CACHE_MAXIMUM = 4, 256


def share_descriptors(threads: int) -> Tuple[int, int]:
    """How many workers can be served, and how many directories may stay open beside theirs."""
    budget = _budget()
    if budget is None:
        return threads, _CACHE_MAXIMUM
    workers = max(1, min(threads, (budget - _SPARE) // (_PER_WORKER + 2)))
    return workers, max(_CACHE_MINIMUM, min(_CACHE_MAXIMUM, budget - _SPARE - workers * _PER_WORKER))


def open_files_maximum() -> Optional[int]:
    """How many files this process may have open; None: as many as it likes."""
    return _limit()


def _budget() -> Optional[int]:
    limit = _limit()
    return None if limit is None else max(0, limit - _open_now(limit))


def _open_now(limit: int) -> int:
    for path in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(path))
        except OSError:
            continue
    return limit // 4
