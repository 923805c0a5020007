"""EACopyServer: serves copies to clients, from threads of its own."""

import ipaddress
import math
import os
import socket
import weakref
from types import TracebackType
from typing import Any, Dict, Mapping, Optional, Type, TypedDict, TypeVar, cast

from ._config import Config, active, checked
from ._control import logger
from ._errors import ConfigurationError, ServerError
from ._location import PORT
from ._paths import StrOrBytesPath
from ._server_options import LINK_MODES, ServerOptions
from ._strategy import backend_with
from .backends.base import RunningServer

_Self = TypeVar("_Self", bound="EACopyServer")


class ServerStats(TypedDict):
    """What a server did since it was started.

    ``connections`` so far and ``active_connections`` now; ``bytes_sent`` and ``bytes_received`` on the wire;
    ``files_sent`` (pulled by clients) and ``files_received`` (pushed by them); ``files_linked``, ``bytes_linked``,
    ``files_skipped`` and ``bytes_skipped``: pushed files that did not have to cross the wire; ``errors``: requests and
    connections that failed; ``history_size``: files that are remembered; ``uptime`` in seconds.
    """

    connections: int
    active_connections: int
    bytes_sent: int
    bytes_received: int
    files_sent: int
    files_received: int
    files_linked: int
    files_skipped: int
    bytes_linked: int
    bytes_skipped: int
    errors: int
    history_size: int
    uptime: float


class EACopyServer:
    """Serves :func:`copy_with_server`, and EACopy's own clients::

        with py_eacopy.EACopyServer(shares={"builds": "/srv/builds"}, host="0.0.0.0", token=secret) as server:
            print("listening on port", server.port)
            stopped.wait()

    Entering starts it, leaving stops it; ``async with`` works on asyncio and trio. It runs in threads of its
    own, and remembers what was copied: a file that comes again, to another place of the same share, is linked there
    instead of being sent.

    Args:
        port: where to listen; 0 picks a free one, see :attr:`port`.
        thread_count: how many requests are worked on at the same time. There may be many more connections.
        host: the address to listen at. Anything but a loopback address needs a token or the security file.
        shares: names of shares, and the directories they stand for. Nothing outside of them is read or written, and
            symbolic links in them are not followed. Without shares the server serves clients of this machine by
            absolute path, at a loopback address only, and always with the security file.
        token: a secret shared with the clients, who prove that they know it without sending it. What is sent is **not
            encrypted**. EACopy's own clients cannot prove it, and are refused.
        history_size: how many files are remembered.
        history_file: where they are kept between two runs, in the format of EACopy's LINKDB; None: nowhere.
        link_mode: how a file that is known is brought to another place: "auto" (a reflink where the file system can,
            else a hard link), "hard", "reflink" (never a hard link), or "never". Hard links are one file with several
            names: who writes into one in place changes all.
        link_min_size: smaller files, in bytes, are always sent.
        link_by_name: a file is known by its name, time and size; False: by its path in the tree, time and size.
        use_hash: ask for the MD5 of files that are not known, to find those that were copied under another name or with
            another time.
        security_file: clients without a token prove that they are the server's own user by reading a file that it makes
            in the directory they ask for.
        compression: False offers none.
        delta: False offers none.
        max_connections: how many there may be; further ones are closed at once.
        idle_timeout: seconds without a request after which a connection is closed.
        config: says which backend serves; default is the active one.

    Raises:
        ConfigurationError: an argument is not legal.
        UnsupportedError: the backend cannot serve; the message says why.
    """

    def __init__(
        self,
        port: int = PORT,
        thread_count: int = 4,
        *,
        host: str = "127.0.0.1",
        shares: Optional[Mapping[str, StrOrBytesPath]] = None,
        token: Optional[str] = None,
        history_size: int = 500_000,
        history_file: Optional[StrOrBytesPath] = None,
        link_mode: str = "auto",
        link_min_size: int = 0,
        link_by_name: bool = False,
        use_hash: bool = False,
        security_file: bool = True,
        compression: bool = True,
        delta: bool = True,
        max_connections: int = 256,
        idle_timeout: float = 300.0,
        config: Optional[Config] = None,
    ) -> None:
        _integer("port", port, 0, 65535)
        _integer("thread_count", thread_count, 1, 1024)
        _integer("history_size", history_size, 0, 2**40)
        _integer("link_min_size", link_min_size, 0, 2**63 - 1)
        _integer("max_connections", max_connections, 1, 65535)
        for name, value in (
            ("link_by_name", link_by_name),
            ("use_hash", use_hash),
            ("security_file", security_file),
            ("compression", compression),
            ("delta", delta),
        ):
            _require(isinstance(value, bool), name, value, "True or False")
        _require(link_mode in LINK_MODES, "link_mode", link_mode, "one of " + ", ".join(map(repr, LINK_MODES)))
        number = isinstance(idle_timeout, (int, float)) and not isinstance(idle_timeout, bool)
        _require(
            number and math.isfinite(idle_timeout) and idle_timeout > 0, "idle_timeout", idle_timeout, "seconds above 0"
        )
        if token is not None and (not isinstance(token, str) or not token):
            raise ConfigurationError("token is not legal: it must be None or a str that is not empty")
        _check_exposure(host, bool(shares), token is not None, security_file)
        self._options = ServerOptions(
            host=host,
            port=port,
            thread_count=thread_count,
            shares=_checked_shares(shares),
            token=token,
            history_size=history_size,
            history_file=None if history_file is None else os.path.abspath(os.fsencode(history_file)),
            link_mode=link_mode,
            link_min_size=link_min_size,
            link_by_name=link_by_name,
            use_hash=use_hash,
            security_file=security_file,
            compression=compression,
            delta=delta,
            max_connections=max_connections,
            idle_timeout=float(idle_timeout),
        )
        self._config = (active() if config is None else checked(config)).evolve()
        self._running: Optional[RunningServer] = None
        self._last: Mapping[str, float] = dict.fromkeys(ServerStats.__annotations__, 0)
        self._finalizer: Optional[Any] = None

    @property
    def port(self) -> int:
        """Where it listens; before it was started, what it was told."""
        return self._running.port if self._running is not None else self._options.port

    @property
    def thread_count(self) -> int:
        """How many requests are worked on at the same time."""
        return self._options.thread_count

    def start(self) -> None:
        """Begins to listen, and returns.

        Raises:
            NetworkError: the port is taken, or the address is not this machine's.
            ServerError: it runs already.
            SourceNotFoundError, NotADirectoryPathError: a share's directory is not there.
        """
        if self._running is not None:
            raise ServerError("the server is running already, at port %d" % self.port)
        backend = backend_with(self._config, "server")
        self._running = backend.serve(self._options, logger.log)
        # Somebody may forget to stop it: then it is stopped with this object, or with the process.
        self._finalizer = weakref.finalize(self, self._running.stop)

    def stop(self) -> None:
        """Cuts all connections, and returns when its threads have ended. No unfinished file is left. What clients have
        been told to be copied is in place. Stopping a server that does not run does nothing."""
        running = self._running
        if running is None:
            return
        try:
            if self._finalizer is not None:
                self._finalizer()
        finally:
            self._last, self._running = running.statistics(), None

    def is_running(self) -> bool:
        """Whether it listens."""
        return self._running is not None

    def get_stats(self) -> ServerStats:
        """What it did since it was started; after its end, the last state."""
        found = self._running.statistics() if self._running is not None else self._last
        return cast(ServerStats, dict(found))

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    async def __aenter__(self: _Self) -> _Self:
        from ._event_loop import run_in_thread

        await run_in_thread(lambda control: self.start())
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        from ._event_loop import run_in_thread

        try:
            await run_in_thread(lambda control: self.stop())
        finally:
            self.stop()  # nothing is left to do, unless the call above was cancelled before it began

    def __repr__(self) -> str:
        state = "running" if self.is_running() else "stopped"
        return "<%s %s:%d, %s>" % (type(self).__name__, self._options.host, self.port, state)


def create_server(port: int = PORT, thread_count: int = 4, **options: Any) -> EACopyServer:
    """Makes an :class:`EACopyServer`, with the same arguments, which is not started yet."""
    return EACopyServer(port, thread_count, **options)


def parse_report(text: str) -> Optional[ServerStats]:
    """The numbers in the text of :func:`server_report`; None when it is not that of a server of ours."""
    lines = text.splitlines()
    if not lines or lines[0] != "py-eacopy server":
        return None
    found: Dict[str, float] = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        number, _, unit = value.partition(" ")
        try:
            found[name.replace(" ", "_")] = float(number) if unit == "s" else int(number)
        except ValueError:
            return None
    if not set(ServerStats.__annotations__) <= set(found):
        return None
    return cast(ServerStats, found)


def _require(legal: bool, name: str, value: object, wanted: str) -> None:
    if not legal:
        raise ConfigurationError("%s=%r is not legal: it must be %s" % (name, value, wanted))


def _integer(name: str, value: object, least: int, most: int) -> None:
    legal = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    _require(legal, name, value, "an int from %d to %d" % (least, most))


def _checked_shares(shares: Optional[Mapping[str, StrOrBytesPath]]) -> Dict[str, bytes]:
    _require(shares is None or isinstance(shares, Mapping), "shares", shares, "a mapping of names to directories")
    checked: Dict[str, bytes] = {}
    for name, directory in (shares or {}).items():
        legal = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0:")
        _require(legal, "a share's name", name, "a str without /, \\ and :")
        if name.lower() in (known.lower() for known in checked):
            raise ConfigurationError("shares has %r twice: the case of letters makes no difference" % name)
        try:
            path = os.fsencode(directory)
        except TypeError:
            raise ConfigurationError(
                "the share %r has %r, which is not legal: it must be the path of a directory" % (name, directory)
            ) from None
        if not os.path.isdir(path):
            raise ConfigurationError("the share %r has %r, which is no directory" % (name, os.fsdecode(path)))
        checked[name] = os.path.realpath(path)
    return checked


def _check_exposure(host: str, has_shares: bool, has_token: bool, security_file: bool) -> None:
    if not isinstance(host, str) or not host:
        raise ConfigurationError("host=%r is not legal: it must be an address of this machine, or its name" % (host,))
    if not has_shares and not security_file:
        raise ConfigurationError(
            "security_file=False needs shares: without them the whole file system would be open to every user of this "
            "machine"
        )
    if _is_loopback(host):
        return
    if not has_shares:
        raise ConfigurationError(
            "host=%r needs shares: without them the server serves absolute paths, which is for this machine alone"
            % host
        )
    if not has_token and not security_file:
        raise ConfigurationError(
            "host=%r needs a token, or security_file=True: else everybody who reaches the port could write" % host
        )


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigurationError("host=%r is not legal: there is no such address" % host) from None
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
