"""Counts what a copy must give back: descriptors and threads."""

import contextlib
import gc
import os
import threading
import time

#: Threads that wait for work in the pools of anyio and trio; they end by themselves, or with the loop.
POOLS = ("AnyIO worker thread", "Trio thread")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def threads():
    """All threads of the process, the engine's too, but not the idle ones of an event loop's pool."""
    idle = {thread.native_id for thread in threading.enumerate() if thread.name.startswith(POOLS)}
    return len({int(name) for name in os.listdir("/proc/self/task")} - idle)


@contextlib.contextmanager
def none():
    """Fails when more descriptors or threads are there at the end than at the beginning."""
    gc.collect()
    before = descriptors(), threads()
    yield
    # A thread that has been joined may need a moment until the kernel takes it away.
    end = time.monotonic() + 20
    while True:
        gc.collect()
        after = descriptors(), threads()
        if after[0] <= before[0] and after[1] <= before[1]:
            return
        assert time.monotonic() < end, "descriptors and threads: %r before, %r after" % (before, after)
        time.sleep(0.01)
