"""Reading both files again to see that the copy is one."""

import os
import sys

from ..._errors import Operation
from .data import BUFFER_MAXIMUM
from .monitor import Monitor


def compare_data(source: int, target: int, monitor: Monitor) -> None:
    """Fails with Operation.VERIFY, errno 0 and the offset of the first difference when there is one."""
    monitor.operation, monitor.offset = Operation.VERIFY, 0
    if sys.platform == "linux":
        # Read what the device has, not what the cache remembers. Only clean pages can be dropped.
        try:
            os.fsync(target)
            os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    offset = 0
    while True:
        monitor.check()
        monitor.operation, monitor.offset = Operation.READ, offset
        expected = _read_fully(source)
        monitor.operation = Operation.VERIFY
        found = _read_fully(target)
        if expected != found:
            pairs = zip(expected, found)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
            monitor.offset = offset + same
            monitor.refuse(0, Operation.VERIFY)
        if len(expected) < BUFFER_MAXIMUM:
            return
        offset += len(expected)


def _read_fully(descriptor: int) -> bytes:
    """BUFFER_MAXIMUM bytes, or what is left of the file."""
    parts = []
    missing = BUFFER_MAXIMUM
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
