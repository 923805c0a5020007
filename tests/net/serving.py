"""Servers and clients of both backends for tests, in this process and in ones of their own."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

import py_eacopy
from py_eacopy import Config, CopyReport, EACopyServer

#: Ways to be let in: what the server is told, and what the client is.
TOKEN = "a long and random secret: 7Jx0qP2vWm"
MODES: Dict[str, Dict[str, Any]] = {"open": {"security_file": False}, "token": {"token": TOKEN}, "file": {}}

#: Seconds after which something that should have happened at once has not happened at all.
PATIENCE = 30.0

_SERVE = """
import sys, py_eacopy
options, backend = eval(sys.argv[1]), sys.argv[2]
server = py_eacopy.EACopyServer(config=py_eacopy.Config(backend=backend), **options)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
print("stopped", flush=True)
"""

_COPY = """
import sys, py_eacopy
arguments, options, settings = map(eval, sys.argv[1:])
print("ready", flush=True)
try:
    report = py_eacopy.copy_with_server(*arguments, config=py_eacopy.Config(**settings), **options)
except Exception as error:
    print(type(error).__name__, error, flush=True)
else:
    print("copied", report.files_copied, flush=True)
"""


def posix(reason: str) -> pytest.MarkDecorator:
    """Skips a test where there is no POSIX."""
    return pytest.mark.skipif(os.name != "posix", reason=reason)


def why_not(backend: str, *capabilities: str) -> Optional[str]:
    """Why a backend cannot do something here; None when it can."""
    try:
        found = py_eacopy.backend_info(config=Config(backend=backend)).capabilities
    except py_eacopy.UnsupportedError as error:
        return str(error)
    missing = [capability for capability in capabilities if capability not in found]
    return f"the {backend} backend has no {missing[0]}" if missing else None


def need(backend: str, *capabilities: str) -> None:
    """Skips, or fails where the environment says that everything must be there."""
    reason = why_not(backend, *capabilities)
    if reason is None:
        return
    if os.environ.get("PY_EACOPY_REQUIRE_NATIVE") == "1":
        pytest.fail("PY_EACOPY_REQUIRE_NATIVE=1, but " + reason)
    pytest.skip(reason)


def zstd() -> Any:
    """Python's zstd module; skips where there is none."""
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return pytest.importorskip("backports.zstd")


class Served:
    """A server that runs, and how to reach it: what a client needs to know of it.

    Attributes:
        port: of the server, or of a relay before it.
        token: None without.
        client: the backend of the clients.
    """

    def __init__(
        self, server: Any, client: str, token: Optional[str], defaults: Optional[Dict[str, Any]] = None
    ) -> None:
        self.server, self.client, self.token, self.port = server, client, token, server.port
        self._defaults = defaults or {}

    def url(self, path: Any, port: Optional[int] = None) -> str:
        from urllib.parse import quote

        return f"eacopy://127.0.0.1:{port or self.port}/{quote(os.fsencode(path))}"

    def config(self, **settings: Any) -> Config:
        return Config(**dict({"backend": self.client}, **settings))

    def push(self, source: Any, path: Any, *, port: Optional[int] = None, **options: Any) -> CopyReport:
        """Copies to a path on the server; what Config knows goes there, the rest to copy_with_server."""
        return self._copy(source, self.url(path, port), options)

    def pull(self, path: Any, destination: Any, *, port: Optional[int] = None, **options: Any) -> CopyReport:
        """Copies from a path on the server."""
        return self._copy(self.url(path, port), destination, options)

    def _copy(self, source: Any, destination: Any, options: Dict[str, Any]) -> CopyReport:
        mine = {name: options.pop(name) for name in list(options) if name in _SETTINGS}
        options = dict(self._defaults, **options)
        options.setdefault("token", self.token)
        return py_eacopy.copy_with_server(source, destination, config=self.config(**mine), **options)


_SETTINGS = [name for name in Config().__init__.__code__.co_varnames if name not in ("self", "compression_level")]


class Pair:
    """The backends of a client and a server, and what copies are told if nothing else is."""

    def __init__(self, client: str, server: str, **defaults: Any) -> None:
        self.client, self.server, self.defaults = client, server, defaults

    @contextlib.contextmanager
    def serving(self, shares: Any, *, mode: str = "open", **options: Any) -> Iterator[Served]:
        """A server in this process; its shares are names and directories, or one directory for "share"."""
        options = dict({"port": 0, "shares": as_shares(shares)}, **dict(MODES[mode], **options))
        with EACopyServer(config=Config(backend=self.server), **options) as server:
            yield Served(server, self.client, options.get("token"), self.defaults)

    @contextlib.contextmanager
    def process(self, shares: Any, *, mode: str = "open", **options: Any) -> Iterator["ServerProcess"]:
        """A server in a process of its own, which may be killed."""
        options = dict({"port": 0, "shares": as_shares(shares)}, **dict(MODES[mode], **options))
        server = ServerProcess(self.server, options)
        try:
            yield server
        finally:
            server.kill()


def as_shares(shares: Any) -> Dict[str, str]:
    return dict(shares) if isinstance(shares, dict) else {"share": os.fspath(shares)}


class ServerProcess:
    """A server in a process of its own."""

    def __init__(self, backend: str, options: Dict[str, Any]) -> None:
        self._backend, self._options = backend, options
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, repr(self._options), self._backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            encoding="utf-8",
        )
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), f"the server did not start: {line!r}"
        self.port = int(line)

    def served(self, client: str) -> Served:
        return Served(self, client, self._options.get("token"))

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()

    def stop(self) -> float:
        """Stops it in an orderly way; returns how many seconds that took."""
        before = time.monotonic()
        self.process.stdin.close()
        assert self.process.stdout.readline() == "stopped\n", "the server did not stop in an orderly way"
        took = time.monotonic() - before
        assert self.process.wait(PATIENCE) == 0
        self.process.stdout.close()
        return took

    def runs(self) -> bool:
        return self.process.poll() is None

    def resident(self) -> int:
        """Bytes of memory that it has."""
        with open(f"/proc/{self.process.pid}/statm") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class ClientProcess:
    """copy_with_server in a process of its own, which may be killed."""

    def __init__(self, *arguments: Any, settings: Dict[str, Any], **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COPY, repr(tuple(map(os.fspath, arguments))), repr(options), repr(settings)],
            stdout=subprocess.PIPE,
            env=_environment(),
            encoding="utf-8",
        )
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def result(self, timeout: float = 60.0) -> str:
        """What it says at its end: "copied" and the number, or the exception."""
        output, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, (self.process.returncode, output)
        return output

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def _environment() -> Dict[str, str]:
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> None:
    """Waits for something that happens in another thread or process."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def leftovers(*roots: Any) -> List[str]:
    """Temporary and proof files that are still there."""
    found = []
    for root in roots:
        for directory, _, names in os.walk(os.fspath(root)):
            found += [os.path.join(directory, name) for name in names if name.startswith((".eacopy-", ".f"))]
    return found


def age(*roots: Any) -> None:
    """Makes what a killed process left look used: a server that starts leaves alone for a while what may just have been
    begun."""
    for path in leftovers(*roots):
        with open(path, "ab") as stream:
            stream.write(b"x")


def until_tidy(*roots: Any) -> None:
    """Waits until nothing unfinished is left."""
    with contextlib.suppress(AssertionError):
        until(lambda: not leftovers(*roots), "", 15)
    assert leftovers(*roots) == []
