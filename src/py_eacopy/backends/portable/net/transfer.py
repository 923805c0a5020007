"""What goes over several connections: who takes what, and what becomes of it when a connection breaks."""

import abc
import collections
import threading
import time
from typing import Callable, Deque, Generic, Iterator, List, Optional, TypeVar

from ...._errors import ErrorKind
from ..failure import Cancelled
from .client import Connector, Session
from .failures import ConnectionLost
from .tally import Tally

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Another connection is worth its set-up when so much was found, and not right after the last one. Seconds.
_MANY_ITEMS, _MANY_BYTES, _PAUSE = 256, 8 << 20, 0.05


class Dropped(ConnectionLost):
    """This side had no other way out than to hang up: it goes on with a new connection at once."""


class Lane(abc.ABC, Generic[Item]):
    """One connection at work, until it breaks or nothing is left.

    Attributes:
        progressed: something was finished.
    """

    progressed = False

    @abc.abstractmethod
    def run(self) -> None:
        """Returns when nothing is left to be taken. Raises ConnectionLost."""

    @abc.abstractmethod
    def unfinished(self) -> List[Item]:
        """What was taken and has no final result. Takes back what is half done."""


class Transfer(abc.ABC, Generic[Item]):
    """The work of one job, and the connections that do it.

    Args:
        limit: most connections.
    """

    def __init__(self, tally: Tally, connector: Connector, limit: int) -> None:
        self.job = tally.job
        self._tally = tally
        self._connector = connector
        self._limit = limit
        self._source: Iterator[Item] = iter(())
        self._again: Deque[Item] = collections.deque()
        self._lock = threading.Lock()
        self._threads: List[threading.Thread] = []
        self._started = time.monotonic()
        self._taken = self._taken_bytes = 0
        self._failure: Optional[BaseException] = None

    # What the dialects differ in ---------------------------------------------------------------------------------

    @abc.abstractmethod
    def make_lane(self, session: Session, tally: Tally) -> Lane[Item]: ...

    @abc.abstractmethod
    def size_of(self, item: Item) -> int:
        """The bytes that have to be moved for it."""

    def prepare(self, session: Session, index: int) -> None:
        """A further connection was opened."""

    # For the leader ----------------------------------------------------------------------------------------------

    def work(self, session: Session, source: Iterator[Item]) -> Session:
        """Does all that the source names, and returns the first connection, or its successor.

        Raises ConnectionLost when one broke and is not to be tried again, and CopyFailure when the item cannot be
        copied at all.
        """
        self._source = source
        try:
            session = self._work(session, self._tally, 1)
        except Cancelled:
            pass  # because of what another connection met, if not of the caller
        except BaseException as error:
            self._stop(error)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._failure is not None:
            self._connector.close(session)
            raise self._failure
        self._tally.check()
        return session

    def patiently(self, session: Session, ask: Callable[[Session], Answer]) -> "tuple[Session, Answer]":
        """Asks the first connection something, again with its successor when it breaks and that is wanted.

        Returns the connection that is open then, and the answer. Raises ConnectionLost.
        """
        tries = 0
        while True:
            try:
                if session.closed:
                    session = self._open(1)
                return session, ask(session)
            except ConnectionLost as lost:
                if lost.kind is ErrorKind.CLIENT and not session.closed:
                    session.say_goodbye(lost)
                self._connector.close(session)
                if not self._tally.retries_left(lost, tries):
                    raise
                tries += 1
                self._tally.sleep(self.job.options.retry_delay)

    # For the lanes -----------------------------------------------------------------------------------------------

    def take(self, most: int, most_bytes: int) -> List[Item]:
        """The next things to do, at least one if there are any."""
        items: List[Item] = []
        size = 0
        with self._lock:
            while len(items) < most and size < most_bytes:
                if self._again:
                    item = self._again.popleft()
                else:
                    found = next(self._source, None)
                    if found is None:
                        break
                    item = found
                items.append(item)
                size += self.size_of(item)
            self._taken += len(items)
            self._taken_bytes += size
        if items:
            self._open_another()
        return items

    # Inner parts -------------------------------------------------------------------------------------------------

    def _open_another(self) -> None:
        """Opens one more connection, if there is work for it."""
        with self._lock:
            if len(self._threads) + 1 >= self._limit or time.monotonic() - self._started < _PAUSE:
                return
            if self._taken <= _MANY_ITEMS and self._taken_bytes <= _MANY_BYTES:
                return
            self._started = time.monotonic()
            thread = threading.Thread(target=self._help, args=(len(self._threads) + 2,), name="eacopy-connection")
            try:
                thread.start()
            except RuntimeError:
                self._limit = 1  # the system has no more to give
                return
            self._threads.append(thread)

    def _help(self, index: int) -> None:
        try:
            tally = self.job.make_tally()
            try:
                session = self._open(index)
            except ConnectionLost:
                return  # those that there are will do
            session = self._work(session, tally, index)
            session.say_goodbye()
            self._connector.close(session)
        except Cancelled:
            pass
        except BaseException as error:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self.job.stopping = True

    def _work(self, session: Session, tally: Tally, index: int) -> Session:
        """Runs one connection, and its successors when it breaks and that is wanted."""
        tries = 0
        broken: Optional[ConnectionLost] = None
        while True:
            lane: Optional[Lane[Item]] = None
            try:
                if broken is not None:
                    session = self._open(index)
                    broken = None
                lane = self.make_lane(session, tally)
                lane.run()
                return session
            except ConnectionLost as lost:
                broken = lost
            except BaseException:
                if lane is not None:
                    lane.unfinished()
                self._connector.close(session)
                raise
            if lane is not None:
                if broken.kind is ErrorKind.CLIENT:
                    session.say_goodbye(broken)
                with self._lock:
                    self._again.extend(lane.unfinished())
                self._connector.close(session)
                if lane.progressed:
                    tries = 0
            if isinstance(broken, Dropped):
                continue
            if not tally.retries_left(broken, tries):
                raise broken
            tries += 1
            tally.sleep(self.job.options.retry_delay)

    def _open(self, index: int) -> Session:
        session = self._connector.connect(index)
        try:
            self.prepare(session, index)
        except BaseException:
            self._connector.close(session)
            raise
        return session


class Delayed(Generic[Item]):
    """What failed and is to be tried again, when its time has come."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._items: Deque[tuple[float, Item]] = collections.deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Item) -> None:
        self._items.append((time.monotonic() + self._delay, item))

    def add_first(self, item: Item) -> None:
        """For this one it has."""
        self._items.appendleft((0.0, item))

    def due(self) -> List[Item]:
        """Those whose time has come."""
        items = []
        while self._items and self._items[0][0] <= time.monotonic():
            items.append(self._items.popleft()[1])
        return items

    @property
    def wait(self) -> float:
        """Seconds until the next one is due."""
        return max(0.0, self._items[0][0] - time.monotonic())

    def all(self) -> List[Item]:
        items = [item for _, item in self._items]
        self._items.clear()
        return items
