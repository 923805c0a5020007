"""Watching a copy: an asynchronous iterator over the progress of a job that runs meanwhile."""

import threading
from types import TracebackType
from typing import AsyncIterator, Callable, List, Optional, Type

import anyio

from ._control import Control
from ._event_loop import Event, Mailbox
from ._report import ProgressEvent


class Watch(AsyncIterator[ProgressEvent]):
    """The progress of one copy: ``async for event in watch``.

    The copy starts when the first event is asked for. A reader that is slow misses states in between, never the first
    or last event of a file, and slows nothing down. The iteration ends when the copy has; if it failed, with its
    exception.

    Cancellation: being cancelled while waiting for an event stops the copy, waits for its end and removes partial
    files, before the loop's exception goes on. Leaving the loop early stops it too: before ``async with`` ends when the
    watch is used so, or in :meth:`aclose`; otherwise without anyone waiting, when the object is forgotten.
    """

    def __init__(self, call: Callable[[Control], object]) -> None:
        self._run = _Run(call)
        self._events: List[Event] = []  # newest first
        self._closed = False

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> ProgressEvent:
        run = self._run
        if not self._closed:
            run.start()
        while not self._events:
            over = run.over
            self._events = run.mailbox.take()[::-1]
            if self._events:
                break
            if over or self._closed:
                error, run.error = run.error, None
                if error is not None and not self._closed:
                    raise error
                raise StopAsyncIteration
            try:
                await run.mailbox.wait()
            except BaseException:
                await self.aclose()
                raise
        return ProgressEvent(*self._events.pop())

    async def aclose(self) -> None:
        """Stops the copy if it runs, and waits for its end. Events not yet fetched are dropped."""
        self._closed = True
        self._events.clear()
        run = self._run
        run.control.cancel()
        if not run.started:
            return

        async def wait() -> None:
            with anyio.CancelScope(shield=True):
                while not run.over:
                    await run.mailbox.wait()

        # A task of its own, because asyncio's native cancellation of this one would pierce the shield.
        async with anyio.create_task_group() as group:
            group.start_soon(wait)

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._run.control.cancel()


class _Run:
    """The copy in its thread. Holds no reference to the Watch, so that forgetting the Watch can stop it."""

    def __init__(self, call: Callable[[Control], object]) -> None:
        self.mailbox = Mailbox()
        self.control = Control(self.mailbox.put)
        self.error: Optional[BaseException] = None
        self.over = False
        self.started = False
        self._call = call

    def start(self) -> None:
        if not self.started:
            self.started = True
            threading.Thread(target=self._work, name="py_eacopy.watch").start()

    def _work(self) -> None:
        try:
            self._call(self.control)
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self.mailbox.wake()
