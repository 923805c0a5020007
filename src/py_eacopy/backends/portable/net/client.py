"""A client's connection to a server: the set-up of both dialects, and the proofs of who asks."""

import errno
import hashlib
import hmac
import os
import stat
import struct
import threading
import time
from typing import Callable, List, Optional, Union

from ...._errors import ErrorKind, Operation
from ...._job import DELTA_AUTO, DELTA_NEVER, Remote
from .. import at, system
from ..failure import CopyFailure
from ..monitor import Monitor
from . import messages, wire, zstd
from .channel import Channel
from .connection import Buffer, Connection, ConnectionEnded, PeerSilent
from .dial import connect
from .failures import ConnectionLost, no_server, told_by_server, unproved, violation
from .level import LevelControl
from .messages import Message
from .share import split_root

#: EACopy's own server needs 28 bytes.
_VERSION_MAXIMUM = 4096
_REPORT_MAXIMUM = 1 << 20  # characters
#: How long the answer to a plain Done is waited for, seconds.
_LAST_SILENCE = 1.0
_NO_SECRET = bytes(messages.SECRET_SIZE)
_LOOPBACK = ("127.", "::1", "::ffff:127.")
#: A server at such an address that answers within so many seconds is on this machine, and no tunnel to another.
_NEAR = 0.001


class Session:
    """One connection that is set up. What goes wrong with it is a ConnectionLost.

    Attributes:
        flags, server: what the server's first message says of it.
        extended: which dialect is spoken.
        capabilities: of both sides.
        advised: most connections that the server wants.
        is_directory: extended: the path that was asked for is a directory.
        numbered: entries so far; the numbers of a connection never repeat.
        operation: what is told to have failed when the connection breaks; None: sending or receiving.
    """

    def __init__(self, connection: Connection, peer: str) -> None:
        self.connection = connection
        self.channel = Channel(connection)
        self.peer = peer
        self.flags = 0
        self.server = ""
        self.extended = False
        self.capabilities = 0
        self.advised = 1
        self.is_directory = False
        self.operation: Optional[Operation] = Operation.CONNECT
        self.numbered = 0
        self.closed = False

    # Messages of the extended dialect ----------------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Sends a message, soon."""
        self.put_encoded(messages.encode(message))

    def put_encoded(self, message: bytes) -> None:
        try:
            self.channel.put_encoded(message)
        except (OSError, wire.ProtocolError) as error:
            raise self._lost_sending(error) from None

    def put_content(self, message: memoryview) -> None:
        """The same for a large one, whose memory may be used again afterwards."""
        try:
            self.channel.put_content(message)
        except (OSError, wire.ProtocolError) as error:
            raise self._lost_sending(error) from None

    def flush(self) -> None:
        """Sends what waits: nothing more comes for now."""
        try:
            self.channel.flush()
        except (OSError, wire.ProtocolError) as error:
            raise self._lost_sending(error) from None

    def is_ready(self) -> bool:
        """Whether a message has arrived."""
        try:
            return self.channel.is_ready()
        except (OSError, wire.ProtocolError) as error:
            raise self._lost(error, Operation.RECEIVE) from None

    def receive(self) -> Message:
        """The next message; contents are views of it. A goodbye is a ConnectionLost."""
        try:
            message = self.channel.receive()
        except (OSError, wire.ProtocolError) as error:
            raise self._lost(error, Operation.RECEIVE) from None
        if isinstance(message, messages.Goodbye):
            raise told_by_server(message.error)
        return message

    def ask(self, message: Message) -> Message:
        """Sends a message at once, and returns what answers it."""
        self.put(message)
        self.flush()
        return self.receive()

    # Bytes of the plain one --------------------------------------------------------------------------------------

    def send(self, data: Buffer) -> None:
        try:
            self.connection.send(data)
        except OSError as error:
            raise self._lost(error, Operation.SEND) from None

    def read(self, count: int) -> Union[bytes, bytearray]:
        """Exactly so many bytes."""
        try:
            return self.connection.read(count)
        except OSError as error:
            raise self._lost(error, Operation.RECEIVE) from None

    def read_numbers(self, form: str) -> "tuple[int, ...]":
        """Integers, as struct describes them."""
        return struct.unpack(form, self.read(struct.calcsize(form)))

    # The end -----------------------------------------------------------------------------------------------------

    def say_goodbye(self, failure: Optional[ConnectionLost] = None) -> None:
        """Tells the server that all is done, or what it did wrong, if it listens."""
        error = messages.Error()
        if failure is not None:
            error = messages.Error(ErrorKind.CLIENT.value, Operation.RECEIVE.value, text=failure.text)
        try:
            self.connection.silence = 0.1
            if self.extended:
                self.channel.send(messages.Goodbye(error))
            elif failure is None:
                self._finish_plainly()
        except (OSError, wire.ProtocolError):
            pass

    def _finish_plainly(self) -> None:
        """The server answers with the sum of bytes times level of what it sent compressed."""
        self.connection.silence = _LAST_SILENCE
        self.connection.send(wire.encode(wire.Done()))
        (levels,) = struct.unpack("<Q", self.connection.read(8))
        self.channel.weight += levels

    def _lost(self, error: Exception, operation: Operation) -> ConnectionLost:
        if isinstance(error, wire.ProtocolError):
            return violation(str(error))
        operation = self.operation or operation
        if isinstance(error, PeerSilent):
            text = "the server was silent for %g seconds" % self.connection.silence
            return ConnectionLost(errno.ETIMEDOUT, operation, text)
        number = getattr(error, "errno", None) or 0
        ended = isinstance(error, ConnectionEnded) or not number
        return ConnectionLost(number, operation, "the server closed the connection" if ended else "")

    def _lost_sending(self, error: Exception) -> ConnectionLost:
        """Why may have been said before the end, among what has not been read."""
        lost = self._lost(error, Operation.SEND)
        try:
            while self.channel.is_ready():
                message = self.channel.receive()
                if isinstance(message, messages.Goodbye):
                    return told_by_server(message.error)
        except (OSError, wire.ProtocolError, CopyFailure):
            pass
        return lost


class Connector:
    """Opens the connections of one job.

    Args:
        remote: the server.
        tree: what is pushed is a tree.
        monitor: of the job: what raises when it is to stop, and limits its rate.
        closed: told of each connection that was closed.
    """

    def __init__(self, remote: Remote, tree: bool, monitor: Monitor, closed: Callable[[Session], None]) -> None:
        self._remote = remote
        self._tree = tree
        self._monitor = monitor
        self._closed = closed
        self._lock = threading.Lock()
        self._open = 0
        self._secret = _NO_SECRET
        self.directories_made = 0  # by the server, for what it was asked to open

    def connect(self, index: int) -> Session:
        """Opens a connection. One that speaks plain v20 has no directory yet: see :meth:`enter`.

        Raises ConnectionLost.
        """
        session, version = self.greet()
        try:
            if session.extended:
                self.say_hello(session, version)
                self._set_up(session, index)
                session.operation = None
            return session
        except BaseException:
            self.close(session)
            raise

    def greet(self) -> "tuple[Session, bytes]":
        """Connects, and reads what the server says first, which is returned too. Raises ConnectionLost."""
        remote = self._remote
        socket = connect(remote.host, remote.port, remote.timeout, self._monitor.check)
        connection = Connection(socket, remote.timeout, duplex=True, tick=self._monitor.check, monitor=self._monitor)
        with self._lock:
            self._open += 1
        session = Session(connection, "")
        try:
            session.peer = str(socket.getpeername()[0])
            told = self._read_version(session)
            extended, asks_token = session.flags & wire.EXTENDED, session.flags & wire.TOKEN_REQUIRED
            if remote.token is not None and not (extended and asks_token):
                raise unproved("the server asks for no token, so it cannot prove that it knows the one that was given")
            if remote.token is None and asks_token:
                raise unproved("the server asks for a token, and none was given")
            session.extended = bool(extended) and not (remote.plain and remote.token is None)
            return session, told
        except OSError as error:
            self.close(session)
            raise ConnectionLost(error.errno or 0, Operation.CONNECT) from None
        except BaseException:
            self.close(session)
            raise

    def close(self, session: Session) -> None:
        """Closes a connection, if it is open."""
        if session.closed:
            return
        session.closed = True
        session.connection.close()
        with self._lock:
            self._open -= 1
        self._closed(session)

    def _read_version(self, session: Session) -> bytes:
        try:
            head = session.read(wire.HEADER_SIZE)
            size, type_ = wire.decode_header(bytes(head))
            if type_ != wire.Command.VERSION or not 16 <= size <= _VERSION_MAXIMUM:
                raise no_server()
            told = bytes(head + session.read(size - wire.HEADER_SIZE))
            version = wire.decode(told)
        except wire.ProtocolError:
            raise no_server() from None
        assert isinstance(version, wire.Version)
        if version.version != wire.VERSION:
            raise no_server(
                "the server speaks version %d of the protocol, and this client speaks %d"
                % (version.version, wire.VERSION)
            )
        session.flags, session.server = version.flags, version.info
        return told

    # Extended ----------------------------------------------------------------------------------------------------

    def say_hello(self, session: Session, version: bytes) -> None:
        """Agrees on the extended dialect. With a token, both sides have proved then that they know it.

        Raises ConnectionLost.
        """
        own = _capabilities(self._remote.delta != DELTA_NEVER)
        hello = messages.Hello(messages.VERSION, own, os.urandom(messages.NONCE_SIZE))
        asked = time.perf_counter()
        welcome = session.ask(hello)
        answered = time.perf_counter() - asked
        if not isinstance(welcome, messages.Welcome) or welcome.version != messages.VERSION:
            raise no_server()
        session.capabilities = welcome.capabilities & own
        if not session.capabilities & messages.CAN_ZSTD:
            session.capabilities &= ~messages.CAN_DELTA
        unasked = self._remote.delta == DELTA_AUTO and self._remote.reference is None
        if unasked and session.peer.startswith(_LOOPBACK) and answered < _NEAR:
            session.capabilities &= ~messages.CAN_DELTA
        if not session.capabilities & messages.CAN_DELTA:
            session.capabilities &= ~messages.CAN_PATCHES
        session.advised = max(1, welcome.connections)
        session.channel.may_unpack = bool(session.capabilities & messages.CAN_ZSTD)
        if self._remote.token is not None:
            told = version + messages.encode(hello) + messages.encode(welcome)
            self._prove_token(session, self._remote.token, told)

    def _prove_token(self, session: Session, token: str, told: bytes) -> None:
        key = token.encode("utf-8", "surrogatepass")
        proof = hmac.new(key, messages.CLIENT_PROOF + told, hashlib.sha256).digest()
        answer = self._prove(session, messages.Proof(proof), "the server refused the token")
        expected = hmac.new(key, messages.SERVER_PROOF + told, hashlib.sha256).digest()
        if not isinstance(answer, messages.ProofAccepted) or not hmac.compare_digest(answer.proof, expected):
            raise unproved("the server does not know the token")

    def _set_up(self, session: Session, index: int) -> None:
        remote = self._remote
        flags = (messages.OPEN_WRITE if remote.push else 0) | (messages.OPEN_TREE if remote.push and self._tree else 0)
        secret = self._secret_for(session)
        try:
            answer = session.ask(messages.Open(index, secret, flags, remote.directory))
            if isinstance(answer, messages.Prove):
                proof = self._read_proof_file(session, answer.guid, answer.path)
                self._secret = proof or _NO_SECRET
                answer = self._prove(session, messages.Secret(self._secret), _why_not(proof))
        except ConnectionLost as lost:
            if lost.operation is Operation.NONE:
                lost.operation = Operation.OPEN_DESTINATION if remote.push else Operation.OPEN_SOURCE
            raise
        if not isinstance(answer, messages.Opened):
            raise violation("it did not open what it was asked for")
        session.is_directory = answer.what == messages.IS_DIRECTORY
        with self._lock:
            self.directories_made += answer.made
        if session.capabilities & messages.CAN_ZSTD and remote.push:
            session.channel.level = LevelControl(remote.level)

    def _prove(self, session: Session, proof: Message, text: str) -> Message:
        """Sends a proof, and returns the answer. A server that hangs up says by that that it was wrong."""
        session.operation = Operation.AUTHENTICATE
        try:
            answer = session.ask(proof)
        except ConnectionLost as lost:
            if lost.kind is ErrorKind.NETWORK and lost.operation is Operation.AUTHENTICATE:
                raise unproved(text) from None
            if lost.kind is ErrorKind.PERMISSION_DENIED:
                lost.operation = Operation.AUTHENTICATE
            raise
        session.operation = Operation.CONNECT
        return answer

    # Plain -------------------------------------------------------------------------------------------------------

    def enter(self, session: Session, index: int, directory: str) -> None:
        """Plain v20: names the directory that all paths start from, with the proof that this takes.

        Raises ConnectionLost.
        """
        secret = self._secret_for(session)
        session.send(wire.encode(wire.Environment(index, *wire.CLIENT_VERSION, secret, directory)))
        if session.flags & wire.USE_SECURITY_FILE and secret == _NO_SECRET:
            guid = bytes(session.read(messages.GUID_SIZE))
            proof = self._read_proof_file(session, guid, b"")
            session.send(proof or _NO_SECRET)
            if proof is None:
                raise unproved(_why_not(proof))
            self._secret = proof

    # The security file -------------------------------------------------------------------------------------------

    def _secret_for(self, session: Session) -> bytes:
        """Further connections are let in by what the first one has proved, as long as one of them is open."""
        with self._lock:
            if not session.flags & wire.USE_SECURITY_FILE:
                if self._secret == _NO_SECRET:
                    self._secret = os.urandom(messages.SECRET_SIZE)
            elif self._open <= 1:
                self._secret = _NO_SECRET
            return self._secret

    def _read_proof_file(self, session: Session, guid: bytes, told: bytes) -> Optional[bytes]:
        name = wire.proof_file_name(guid).encode()
        directories = [self._remote.local_directory]
        if split_root(self._remote.directory)[0]:
            directories.append(self._remote.directory)  # of this machine, if it is the server's
        candidates: List[bytes] = []
        for directory in directories:
            if directory is not None:
                directory = directory.rstrip(b"/")
                candidates += (os.path.join(directory, name), os.path.join(os.path.dirname(directory), name))
        # On Windows a path of another machine would have this user introduced there.
        if split_root(told)[0] and told.endswith(b"/" + name) and session.peer.startswith(_LOOPBACK):
            candidates.insert(0, told)
        for path in candidates:
            proof = _read_secret(path)
            if proof is not None:
                return proof
        return None


def _capabilities(delta: bool) -> int:
    can = messages.CAN_ZSTD if zstd.AVAILABLE else 0
    if can and delta:
        can |= messages.CAN_DELTA | messages.CAN_PATCHES
    return can | messages.CAN_FILES


def _read_secret(path: bytes) -> Optional[bytes]:
    """What is in a security file; None for anything that is not one."""
    try:
        descriptor = at.open(path, at.READ_FLAGS | at.O_NOFOLLOW)
    except (OSError, ValueError):
        return None
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size != messages.SECRET_SIZE:
            return None
        secret = os.read(descriptor, messages.SECRET_SIZE + 1)
        return secret if len(secret) == messages.SECRET_SIZE else None
    except OSError:
        return None
    finally:
        system.close_quietly(descriptor)


def _why_not(proof: Optional[bytes]) -> str:
    if proof is None:
        return "the file by which the server wants this user proved cannot be read here"
    return "the server refused the proof by its file"


def request_report(remote: Remote) -> str:
    """Asks a server for its report. Raises the errors that :func:`py_eacopy.server_report` documents."""
    connector = Connector(remote, False, Monitor(), lambda session: None)
    try:
        session, version = connector.greet()
        try:
            if remote.token is not None:
                connector.say_hello(session, version)
            session.operation = None
            session.send(wire.encode(wire.RequestReport()))
            (count,) = session.read_numbers("<I")
            if count > _REPORT_MAXIMUM:
                raise violation("a report of %d characters" % count)
            text = session.read(2 * count).decode("utf-16-le", "replace")
            session.send(wire.encode(wire.Done()))
            return text
        finally:
            connector.close(session)
    except CopyFailure as failure:
        raise failure.to_error("%s:%d" % (remote.host, remote.port), None, root=True) from None
