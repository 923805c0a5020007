"""What all connections of a server share."""

import collections
import contextlib
import os
import threading
import time
from typing import Callable, Deque, Dict, Iterator, List, Optional, Set, Tuple

from ...._server_options import ServerOptions
from ..failure import Cancelled
from ..limits import open_files_maximum
from ..monitor import Monitor
from .connection import Connection
from .history import History
from .open_directories import MadeDirectories, OpenDirectories
from .security_file import Secrets
from .share import Place, Shares
from .store import remove_dead_files

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
_COUNTERS = (
    "connections",
    "bytes_sent",
    "bytes_received",
    "files_sent",
    "files_received",
    "files_linked",
    "files_skipped",
    "bytes_linked",
    "bytes_skipped",
    "errors",
)


class Statistics:
    """Counts what the server does. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._open: Set[Connection] = set()
        self._start = time.monotonic()
        self._seconds: Optional[float] = None

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[name] += number

    def count_file(self, what: str, size: int) -> None:
        """A file was "linked" or "skipped"."""
        with self._lock:
            self._counts["files_" + what] += 1
            self._counts["bytes_" + what] += size

    def began(self, connection: Connection) -> None:
        with self._lock:
            self._counts["connections"] += 1
            self._open.add(connection)

    def ended(self, connection: Connection) -> None:
        with self._lock:
            self._open.discard(connection)
            self._counts["bytes_sent"] += connection.bytes_sent
            self._counts["bytes_received"] += connection.bytes_received

    @property
    def active(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def stop_clock(self) -> None:
        self._seconds = time.monotonic() - self._start

    def read(self) -> Dict[str, float]:
        with self._lock:
            result: Dict[str, float] = dict(self._counts)
            result["bytes_sent"] += sum(connection.bytes_sent for connection in self._open)
            result["bytes_received"] += sum(connection.bytes_received for connection in self._open)
            result["active_connections"] = len(self._open)
        result["uptime"] = time.monotonic() - self._start if self._seconds is None else self._seconds
        return result


class Gate:
    """Lets only so many threads work at the same time; who came first goes in first."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: Deque[threading.Lock] = collections.deque()

    def enter(self) -> None:
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()  # the place goes on to the next
            else:
                self._free += 1

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """Gives the place to others while this thread waits for something else."""
        self.leave()
        try:
            yield
        finally:
            self.enter()


class ServerMonitor(Monitor):
    """Ends long work on the server's own disks when the server is to stop."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    def check(self) -> None:
        if self._service.stopping.is_set():
            raise Cancelled


class Service:
    """The shares, the history, and who is there.

    Attributes:
        stopping: set when everybody is to go home.
        descriptors: how many this process may have open.
        cannot_clone: pairs of devices between which a clone was refused.
        proof_names: names of the security files that are there now; no listing shows them.
    """

    def __init__(self, options: ServerOptions, shares: Shares, log: Callable[[int, str], None]) -> None:
        self.options = options
        self.shares = shares
        self.log = log
        self.history = History(options.history_size)
        self.secrets = Secrets()
        self.statistics = Statistics()
        self.gate = Gate(options.thread_count)
        self.stopping = threading.Event()
        self.cannot_clone: Set[Tuple[int, int]] = set()
        self.proof_names: Set[bytes] = set()
        self.made_directories = MadeDirectories()
        # Without shares all clients are of this machine, and have to be its user even when they know the token.
        self.wants_security_file = options.security_file and (options.token is None or not options.shares)
        self.descriptors = open_files_maximum() or 20_000
        self._sweep_lock = threading.Lock()
        self._sweeps: List[Place] = []
        self._swept: Set[Tuple[int, bytes]] = set()
        self._sweep_wanted = threading.Event()

    def open_directories(self) -> OpenDirectories:
        """For one session; how many it may keep open depends on how many sessions there are."""
        return OpenDirectories(
            lambda: max(1, min(64, self.descriptors // (4 * self.statistics.active + 1))), self.made_directories
        )

    def monitor(self) -> ServerMonitor:
        return ServerMonitor(self)

    def report(self) -> str:
        """The statistics as text, one a line."""
        found = dict(self.statistics.read(), history_size=len(self.history))
        uptime = found.pop("uptime")
        lines = ["py-eacopy server", "uptime: %.3f s" % uptime]
        lines += ["%s: %d" % (name.replace("_", " "), found[name]) for name in sorted(found)]
        return "\n".join(lines) + "\n"

    # Clearing up what dead servers left ------------------------------------------------------------------------

    def sweep_later(self, place: Place) -> None:
        """Has a directory cleared of dead temporary files, once in the server's life."""
        key = (place.share.number, place.path)
        with self._sweep_lock:
            if key in self._swept:
                return
            self._swept.add(key)
            self._sweeps.append(place)
        self._sweep_wanted.set()

    def sweep(self) -> None:
        """Clears up until the server stops; for a thread of its own."""
        while True:
            self._sweep_wanted.wait()
            if self.stopping.is_set():
                return
            with self._sweep_lock:
                if not self._sweeps:
                    self._sweep_wanted.clear()
                    continue
                place = self._sweeps.pop()
            removed = self._sweep_one(place)
            if removed:
                where = os.fsdecode(place.share.absolute(place.path))
                self.log(INFO, "removed %d unfinished file(s) of a server that was killed from %s" % (removed, where))

    def _sweep_one(self, place: Place) -> int:
        try:
            directory = OpenDirectories().open(place.share, place.path)
            return remove_dead_files(directory.descriptor, self.stopping.is_set)
        except OSError:
            return 0

    def stop(self) -> None:
        self.stopping.set()
        self._sweep_wanted.set()

    def close(self) -> None:
        self.shares.close()
