"""Runs a blocking copy for an event loop: in a worker thread, cancellable, with progress told in the loop.

It works on asyncio and on trio through anyio. What is peculiar about copying is that a cancelled call must not return
before the engine has stopped and the partial file is gone; so cancellation sets the engine's flag, and the thread is
waited for. No shield holds for that on asyncio, where ``task.cancel()`` pierces anyio's: the thread is therefore sent
off by a task of its own, and the caller waits until the thread itself says that it is out, however often the caller is
cancelled meanwhile.
"""

import contextvars
import inspect
import sys
import threading
from typing import Any, Callable, Dict, Generic, List, Optional, Tuple, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ._control import Control, checked_control

T = TypeVar("T")

#: ``(copied_bytes, total_bytes, filename)``
Event = Tuple[int, int, str]

#: Copies that run at the same time for one event loop; further ones wait for their turn. Each brings worker threads of
#: its own, so this limits how many jobs compete, not how parallel one is.
CONCURRENT_JOBS = 32

#: After so many events in a row the loop gets a chance to do something else.
EVENTS_AT_ONCE = 256

_limiter: "anyio.lowlevel.RunVar[anyio.CapacityLimiter]" = anyio.lowlevel.RunVar("py_eacopy_limiter")


async def run_in_thread(
    call: Callable[[Control], T],
    progress: Optional[Callable[..., Any]] = None,
    outer: Optional[Control] = None,
) -> T:
    """Awaits ``call(control)``, which runs in a worker thread, and stops it when the caller is cancelled.

    Args:
        call: the blocking copy; it must heed the control it is given.
        progress: called in the loop with each event of the copy; awaited when it returns something awaitable.
        outer: the caller's own control, to cancel and watch the copy by; its progress goes before the other one.

    Returns what ``call`` returns and raises what it raises. When cancelled, raises the loop's own exception, after the
    copy has stopped; an exception out of ``progress`` stops it in the same way and comes out unchanged.
    """
    control = Control()
    if outer is None:
        control.only_cancels = progress is None
        return await _run(ThreadJob(call, control, progress is not None), progress)
    with checked_control(outer).serving(progress, False):
        control.errors, control.actions, control.action = outer.errors, outer.actions, outer.action
        outer.attach(control.cancel, control.snapshot)
        try:
            return await _run(ThreadJob(call, control, outer.progress is not None), outer.progress)
        finally:
            outer.detach()


async def _run(job: "ThreadJob[T]", progress: Optional[Callable[..., Any]]) -> T:
    job.start()
    try:
        while True:
            over = job.mailbox.over
            if progress is not None:
                await _tell(progress, job.mailbox.take())
            if over:
                break
            await job.mailbox.wait()
    except BaseException:
        await job.stop()
        raise
    return job.result()


async def _tell(progress: Callable[..., Any], events: List[Event]) -> None:
    for number, event in enumerate(events, 1):
        told = progress(*event)
        if inspect.isawaitable(told):
            await told
        if number % EVENTS_AT_ONCE == 0:
            await anyio.lowlevel.checkpoint()


class ThreadJob(Generic[T]):
    """A blocking copy in a worker thread, as the event loop sees it. It may be forgotten while it runs.

    Args:
        call: the copy.
        control: what the copy is given.
        wants_progress: whether the control's events are to come into the mailbox.
    """

    def __init__(self, call: Callable[[Control], T], control: Control, wants_progress: bool) -> None:
        self.mailbox = Mailbox()
        self.control = control
        if wants_progress:
            control.progress = self.mailbox.put
        self._call = call
        self._lock = threading.Lock()
        self._begun = self._given_up = False
        self._value: List[T] = []
        self._error: Optional[BaseException] = None
        self._scope = anyio.CancelScope()
        self._task: object = None

    def start(self) -> None:
        """Sends the thread off, as soon as there is room for one more job."""
        self._task = _spawn(self._send_off)

    async def stop(self) -> None:
        """Cancels the copy, and returns when its thread is out; being cancelled meanwhile is put off until then."""
        self.control.cancel()
        if self._give_up():
            self._scope.cancel()
            return
        put_off: Optional[BaseException] = None
        while not self.mailbox.over:
            try:
                with anyio.CancelScope(shield=True):
                    self.mailbox.take()
                    await self.mailbox.wait()
            except anyio.get_cancelled_exc_class() as cancelled:  # task.cancel() of asyncio pierces the shield
                put_off = cancelled
        if put_off is not None:
            raise put_off

    def result(self) -> T:
        """What the copy returned; raises what it raised."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # no cycle between the exception and this frame
        return self._value[0]

    async def _send_off(self) -> None:
        try:
            with self._scope:
                await anyio.to_thread.run_sync(self._work, limiter=_job_limiter())
        except Exception as error:  # there is no thread to be had
            self._fail(error)
        except BaseException as error:  # the loop ends
            self._fail(error)
            raise

    def _work(self) -> None:
        with self._lock:
            if self._given_up:
                return
            self._begun = True
        try:
            self._value.append(self._call(self.control))
        except BaseException as error:
            self._error = error
        finally:
            self.mailbox.end()

    def _give_up(self) -> bool:
        """Keeps the copy from beginning; False when it has begun."""
        with self._lock:
            self._given_up = not self._begun
            return self._given_up

    def _fail(self, error: BaseException) -> None:
        if self._give_up():
            self._error = error
            self.mailbox.end()


class Mailbox:
    """Progress on its way from the copying thread to the loop.

    What the loop has not fetched yet is merged: of each file only the newest state stays, but its first and last event
    always do. Putting never waits, so a slow reader slows no copy down.

    Attributes:
        over: there will be no further event.
    """

    def __init__(self) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._events: List[Event] = []
        self._newest: Dict[str, int] = {}  # where the newest state of a file stands in _events
        self._waker: Optional[Callable[[], None]] = None

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
        self._wake()

    def end(self) -> None:
        """Says that it is over, and ends the wait, now or when it comes. Called in any thread."""
        self.over = True
        self._wake()

    def take(self) -> List[Event]:
        """All events since the last time. Called in the loop."""
        with self._lock:
            events, self._events = self._events, []
            self._newest.clear()
            return events

    async def wait(self) -> None:
        """Returns when there is something to take, or when it is over. The loop always gets a turn."""
        arrived = anyio.Event()
        waker = _setter_from_thread(arrived)
        with self._lock:
            waiting = not (self._events or self.over)
            if waiting:
                self._waker = waker
        await (arrived.wait() if waiting else anyio.lowlevel.checkpoint())

    def _wake(self) -> None:
        with self._lock:
            waker, self._waker = self._waker, None
        if waker is not None:
            try:
                waker()
            except RuntimeError:
                pass  # the loop is over, so nobody waits


def _job_limiter() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(CONCURRENT_JOBS)
        _limiter.set(limiter)
        return limiter


# What anyio has no word for: a task that belongs to the loop rather than to a caller, and a wake-up from a thread that
# does not wait for the loop. -----------------------------------------------------------------------------------------


def _spawn(function: Callable[[], Any]) -> object:
    """Begins a task that is not cancelled with the caller; returns what must be kept lest asyncio forget it."""
    if _in_trio():
        import trio

        return trio.lowlevel.spawn_system_task(function, context=contextvars.copy_context())
    import asyncio

    return asyncio.get_running_loop().create_task(function())


def _setter_from_thread(event: anyio.Event) -> Callable[[], None]:
    """A function that sets an event of the running loop from any thread; raises RuntimeError when the loop is over."""
    if _in_trio():
        import trio

        token = trio.lowlevel.current_trio_token()
        return lambda: token.run_sync_soon(event.set)
    import asyncio

    loop = asyncio.get_running_loop()

    def set_soon() -> None:
        loop.call_soon_threadsafe(event.set)

    return set_soon


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:  # trio is imported, but this is asyncio's loop
        return False
    return True
