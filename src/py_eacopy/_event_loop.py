"""Runs a blocking copy for an event loop: in a worker thread, cancellable, with progress told in the loop.

It works on asyncio and on trio through anyio. What is peculiar about copying is that a cancelled call must not return
before the engine has stopped and the partial file is gone; so cancellation sets the engine's flag, and the thread is
waited for. A shield alone does not hold on asyncio, where ``task.cancel()`` pierces it: the thread is therefore waited
for by a task of its own, and only the host task, which merely sleeps, is ever cancelled.
"""

import inspect
import sys
import threading
from typing import Any, Callable, Dict, Generic, List, Optional, Tuple, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ._control import Control

T = TypeVar("T")

#: ``(copied_bytes, total_bytes, filename)``
Event = Tuple[int, int, str]

#: Copies that run at the same time for one event loop; further ones wait for their turn. Each brings worker threads of
#: its own, so this limits how many jobs compete, not how parallel one is.
CONCURRENT_JOBS = 32

_limiter: "anyio.lowlevel.RunVar[anyio.CapacityLimiter]" = anyio.lowlevel.RunVar("py_eacopy_limiter")


async def run_in_thread(call: Callable[[Control], T], progress: Optional[Callable[..., Any]] = None) -> T:
    """Awaits ``call(control)``, which runs in a worker thread, and stops it when the caller is cancelled.

    Args:
        call: the blocking copy; it must heed the control it is given.
        progress: called in the loop with each event of the control; awaited when it returns something awaitable.

    Returns what ``call`` returns and raises what it raises. When cancelled, raises the loop's own exception, after the
    copy has stopped; an exception out of ``progress`` stops it in the same way and comes out unchanged.
    """
    mailbox = Mailbox() if progress is not None else None
    control = Control(mailbox.put if mailbox is not None else None)
    outcome: _Outcome[T] = _Outcome()
    cancelled_class = anyio.get_cancelled_exc_class()

    async with anyio.create_task_group() as group:

        async def work() -> None:
            try:
                outcome.value.append(await anyio.to_thread.run_sync(call, control, limiter=_job_limiter()))
            except cancelled_class:
                raise
            except BaseException as error:
                outcome.error = error
            finally:
                outcome.over = True
                if mailbox is None:
                    group.cancel_scope.cancel()
                else:
                    mailbox.wake()

        group.start_soon(work)
        try:
            if mailbox is None or progress is None:
                await anyio.sleep_forever()
            else:
                while True:
                    over = outcome.over
                    for event in mailbox.take():
                        told = progress(*event)
                        if inspect.isawaitable(told):
                            await told
                    if over:
                        break
                    await mailbox.wait()
        except cancelled_class:
            raise
        except BaseException as error:
            outcome.error_of_callback = error
        finally:
            control.cancel()

    await anyio.lowlevel.checkpoint_if_cancelled()
    return outcome.get()


class _Outcome(Generic[T]):
    """How a call in a thread ended."""

    def __init__(self) -> None:
        self.value: List[T] = []
        self.error: Optional[BaseException] = None
        self.error_of_callback: Optional[BaseException] = None
        self.over = False

    def get(self) -> T:
        error = self.error_of_callback or self.error
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # no cycle between the exception and this frame
        return self.value[0]


def _job_limiter() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(CONCURRENT_JOBS)
        _limiter.set(limiter)
        return limiter


class Mailbox:
    """Progress on its way from the copying thread to the loop.

    What the loop has not fetched yet is merged: of each file only the newest state stays, but its first and last event
    always do. Putting never waits, so a slow reader slows no copy down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: List[Event] = []
        self._newest: Dict[str, int] = {}  # where the newest state of a file stands in _events
        self._waker: Optional[Callable[[], None]] = None
        self._woken = False

    def put(self, copied: int, total: int, filename: str) -> None:
        """Adds an event. Called in the copying thread."""
        event = (copied, total, filename)
        with self._lock:
            if copied == 0 or copied == total:
                self._newest.pop(filename, None)
                self._events.append(event)
            elif filename in self._newest:
                self._events[self._newest[filename]] = event
            else:
                self._newest[filename] = len(self._events)
                self._events.append(event)
            waker, self._waker = self._waker, None
        if waker is not None:
            waker()

    def wake(self) -> None:
        """Ends the wait, now or when it comes. Called in any thread."""
        with self._lock:
            self._woken = True
            waker, self._waker = self._waker, None
        if waker is not None:
            waker()

    def take(self) -> List[Event]:
        """All events since the last time. Called in the loop."""
        with self._lock:
            events, self._events = self._events, []
            self._newest.clear()
            return events

    async def wait(self) -> None:
        """Returns when there is something to take, or after :meth:`wake`."""
        arrived = anyio.Event()
        waker = _setter_from_thread(arrived)
        with self._lock:
            if self._events or self._woken:
                return
            self._waker = waker
        await arrived.wait()


def _setter_from_thread(event: anyio.Event) -> Callable[[], None]:
    """A function that sets an event of the running loop from any thread, without waiting for the loop."""
    if "trio" in sys.modules:
        import trio

        try:
            token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            pass  # trio is imported, but this is asyncio's loop
        else:
            return lambda: token.run_sync_soon(event.set)
    import asyncio

    loop = asyncio.get_running_loop()

    def set_soon() -> None:
        loop.call_soon_threadsafe(event.set)

    return set_soon
