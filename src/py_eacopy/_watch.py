"""Watching a copy: an asynchronous iterator over the progress of a job that runs meanwhile."""

from types import TracebackType
from typing import AsyncIterator, Callable, List, Optional, Type

import anyio.lowlevel

from ._control import Control
from ._event_loop import EVENTS_AT_ONCE, Event, ThreadJob
from ._report import ProgressEvent, Snapshot


class Watch(AsyncIterator[ProgressEvent]):
    """The progress of one copy: ``async for event in watch``. For one reader.

    The copy starts when the first event is asked for. A reader that is slow misses states in between, never the first
    or last event of a file, and slows nothing down. The iteration ends when the copy has; if it failed, with its
    exception.

    Cancellation: being cancelled while waiting for an event stops the copy, waits for its end and removes partial
    files, before the loop's exception goes on. Leaving the loop early stops it too: before ``async with`` ends when the
    watch is used so, or in :meth:`aclose`; otherwise without anyone waiting, when the object is forgotten.
    """

    def __init__(self, call: Callable[[Control], object]) -> None:
        self._call = call
        self._job: Optional[ThreadJob[object]] = None
        self._events: List[Event] = []  # newest first
        self._closed = False

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> ProgressEvent:
        try:
            while not self._events:
                await self._fetch()
            if len(self._events) % EVENTS_AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
        except StopAsyncIteration:
            raise
        except BaseException:
            await self.aclose()
            raise
        return ProgressEvent(*self._events.pop())

    async def _fetch(self) -> None:
        if self._closed:
            raise StopAsyncIteration
        if self._job is None:
            self._job = ThreadJob(self._call, Control(), wants_progress=True)
            self._job.start()
        mailbox = self._job.mailbox
        over = mailbox.over
        self._events = mailbox.take()[::-1]
        if over and not self._events:
            self._closed = True
            self._job.result()
            raise StopAsyncIteration
        if not self._events:
            await mailbox.wait()

    def snapshot(self) -> Snapshot:
        """How far the whole job is; its last state when it is over."""
        return Snapshot() if self._job is None else self._job.control.snapshot()

    async def aclose(self) -> None:
        """Stops the copy if it runs, and waits for its end. Events not yet fetched are dropped."""
        self._closed = True
        self._events.clear()
        if self._job is not None:
            await self._job.stop()

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._job is not None:
            self._job.control.cancel()
