"""The portable server: a thread that accepts connections, and one for each of them."""

import contextlib
import ipaddress
import os
import socket
import sys
import threading
from typing import Callable, Dict, Mapping, Optional, Tuple

from ...._errors import ErrorKind, Operation, error_from_failure
from ...._server_options import ServerOptions
from ...base import RunningServer
from ..failure import Cancelled
from . import link_database, messages, wire
from .connection import Connection, ConnectionEnded, PeerSilent
from .plain_session import PlainSession
from .reasons import SessionEnded
from .service import DEBUG, INFO, WARNING, Service
from .session import Session
from .share import Place, Shares

#: Seconds of silence inside a message, before the first one, and while the peer does not take what is sent.
_SILENCE = 60.0
#: How long a connection that has ended waits for the peer to hang up, in seconds.
_LINGER = 1.0
#: How often a changed history is saved, in seconds.
_SAVE_INTERVAL = 300.0
_BACKLOG = 128
#: How often a listener looks whether the server is to stop, where nothing wakes it up. Seconds.
_ACCEPT_INTERVAL = 0.2
_DESCRIPTORS_EACH, _DESCRIPTORS_SPARE = 4, 16


class PortableServer(RunningServer):
    """Listens from the start on, until it is stopped. See :meth:`Backend.serve` for the errors."""

    def __init__(self, options: ServerOptions, log: Callable[[int, str], None]) -> None:
        try:
            shares = Shares(options.shares)
        except OSError as error:
            raise error_from_failure(
                error.errno or 0, Operation.OPEN_SOURCE, os.fsdecode(error.filename or ""), None
            ) from None
        self._options = options
        self._service = Service(options, shares, log)
        self._load_history()
        self._saved_changes = self._service.history.changes
        try:
            self._listener = _listen(options.host, options.port)
        except BaseException:
            self._service.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        flags = wire.EXTENDED | (wire.TOKEN_REQUIRED if options.token is not None else 0)
        flags |= wire.USE_SECURITY_FILE if self._service.wants_security_file else 0
        self._version = wire.encode(wire.Version(wire.VERSION, flags, wire.SERVER_NAME))
        # Each needs a socket, a directory or two, and a file.
        room = max((self._service.descriptors - _DESCRIPTORS_SPARE) // _DESCRIPTORS_EACH, 1)
        self._most_connections = min(options.max_connections, room)
        if room < options.max_connections:
            log(INFO, "serves %d connections at most, because no more files may be open" % room)
        self._lock = threading.Lock()
        self._connections: Dict[Connection, threading.Thread] = {}
        for share in shares.all if options.shares else []:
            self._service.sweep_later(Place(share, b""))
        self._threads = [
            threading.Thread(target=target, name="eacopy server", daemon=True)
            for target in (self._accept, self._service.sweep, self._save_regularly)
        ]
        for thread in self._threads:
            thread.start()

    def statistics(self) -> Mapping[str, float]:
        return dict(self._service.statistics.read(), history_size=len(self._service.history))

    def stop(self) -> None:
        service = self._service
        with self._lock:
            if service.stopping.is_set():
                return
            service.stop()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.shut_down()
        for thread in [*self._threads, *connections.values()]:
            thread.join()
        self._listener.close()
        service.statistics.stop_clock()
        self._save_history(stopping=True)
        service.close()

    # Connections -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        stopping = self._service.stopping
        while not stopping.is_set():
            try:
                accepted, address = self._listener.accept()
            except socket.timeout:
                continue
            except OSError as error:
                # Out of descriptors, or a client that was gone already. A listener that was shut down ends it all.
                if not stopping.wait(0.05):
                    self._service.log(DEBUG, "cannot accept a connection: %s" % error)
                continue
            try:
                self._begin(accepted, address)
            except (OSError, RuntimeError) as error:
                accepted.close()
                self._service.log(WARNING, "cannot serve a connection: %s" % error)

    def _begin(self, accepted: socket.socket, address: Tuple[str, int]) -> None:
        silence = min(_SILENCE, self._options.idle_timeout)
        connection = Connection(accepted, silence, aside=self._service.gate.left)
        with self._lock:
            if self._service.stopping.is_set() or len(self._connections) >= self._most_connections:
                with contextlib.suppress(OSError):
                    accepted.send(self._version)
                connection.close()
                self._service.statistics.count("errors")
                return
            thread = threading.Thread(
                target=self._serve, args=(connection, address), name="eacopy connection", daemon=True
            )
            self._connections[connection] = thread
            self._service.statistics.began(connection)
            try:
                thread.start()
            except RuntimeError:
                del self._connections[connection]
                self._service.statistics.ended(connection)
                raise

    def _serve(self, connection: Connection, address: Tuple[str, int]) -> None:
        service = self._service
        service.gate.enter()
        try:
            self._converse(connection, address)
        except wire.ProtocolError as error:
            service.statistics.count("errors")
            service.log(INFO, "closed the connection from %s: it sent %s" % (address[0], error))
        except SessionEnded as error:
            service.log(WARNING, "closed the connection from %s: %s" % (address[0], error))
        except PeerSilent as error:
            service.log(INFO, "closed the connection from %s: %s" % (address[0], error))
        except Cancelled:
            pass
        except OSError as error:
            if not service.stopping.is_set() and not isinstance(error, ConnectionEnded):
                service.statistics.count("errors")
            service.log(DEBUG, "the connection from %s ended: %s" % (address[0], error))
        except Exception as error:  # a mistake in here must neither take the server down nor go unseen
            service.statistics.count("errors")
            service.log(WARNING, "the connection from %s failed: %r" % (address[0], error))
        finally:
            service.gate.leave()
            connection.drain_and_close(0.0 if service.stopping.is_set() else _LINGER)
            with self._lock:
                self._connections.pop(connection, None)
            service.statistics.ended(connection)

    def _converse(self, connection: Connection, address: Tuple[str, int]) -> None:
        """Finds out which dialect the client speaks, and goes on in it."""
        connection.send(self._version)
        header = connection.read(wire.HEADER_SIZE)
        size, type_ = wire.decode_header(header)
        if type_ == messages.HELLO:
            messages.decode_header(header)
            hello = bytes(header + connection.read(size - wire.HEADER_SIZE))
            Session(self._service, connection, self._version, _is_loopback(address[0])).run(hello)
        elif self._options.token is None:
            PlainSession(self._service, connection).run(header + connection.read(size - wire.HEADER_SIZE))
        else:
            self._service.statistics.count("errors")
            self._service.log(WARNING, "closed the connection from %s: it does not know the token" % address[0])

    # The history -----------------------------------------------------------------------------------------------

    def _load_history(self) -> None:
        path = self._options.history_file
        if path is None:
            return
        try:
            link_database.load(path, self._service.shares, self._service.history)
        except (OSError, link_database.DamagedError) as error:
            self._service.log(WARNING, "cannot read all of the history in %s: %s" % (os.fsdecode(path), error))

    def _save_regularly(self) -> None:
        while not self._service.stopping.wait(_SAVE_INTERVAL):
            self._save_history()

    def _save_history(self, stopping: bool = False) -> None:
        path, changes = self._options.history_file, self._service.history.changes
        if path is None or changes == self._saved_changes:
            return
        try:
            # Whoever stops the server waits neither for the device nor for the save that is just under way.
            stopped = (lambda: False) if stopping else self._service.stopping.is_set
            link_database.save(path, self._service.shares, self._service.history, not stopping, stopped)
            self._saved_changes = changes
        except link_database.StoppedError:
            pass
        except OSError as error:
            self._service.log(WARNING, "cannot save the history in %s: %s" % (os.fsdecode(path), error))


def _listen(host: str, port: int) -> socket.socket:
    error: Optional[OSError] = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as failure:
        found, error = [], failure
    # EACopy's own clients know IPv4 only.
    for family, type_, protocol, _, address in sorted(found, key=lambda one: one[0] != socket.AF_INET):
        listener = socket.socket(family, type_, protocol)
        try:
            if sys.platform == "win32":
                # There, the option below would let others take the port over, and shutting down wakes nobody up.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
                listener.settimeout(_ACCEPT_INTERVAL)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            return listener
        except OSError as failure:
            error = error or failure
            listener.close()
    number = (error.errno or 0) if error is not None else 0
    text = "cannot listen at %s:%d: %s" % (host, port, error.strerror if error is not None else "no such address")
    raise error_from_failure(max(number, 0), Operation.LISTEN, None, None, kind=ErrorKind.NETWORK, text=text)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
