"""How many files this process may still open, and what follows for threads and directories."""

import os
from typing import Optional, Tuple

try:
    import resource
except ImportError:  # Windows counts otherwise, and allows thousands
    resource = None  # type: ignore[assignment]

#: What a worker has open at most: two roots, two directories and their listing, two more on the way back up, two files.
_PER_WORKER = 10
#: For everybody else in the process.
_SPARE = 4
_CACHE_MAXIMUM = 256


def share_descriptors(threads: int) -> Tuple[int, int]:
    """How many workers can be served, and how many directories may stay open beside theirs."""
    budget = _budget()
    if budget is None:
        return threads, _CACHE_MAXIMUM
    workers = max(1, min(threads, (budget - _SPARE) // (_PER_WORKER + 2)))
    return workers, max(0, min(_CACHE_MAXIMUM, budget - _SPARE - workers * _PER_WORKER))


def _budget() -> Optional[int]:
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - _open_now(limit))


def _open_now(limit: int) -> int:
    for path in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(path))
        except OSError:
            continue
    return limit // 4
