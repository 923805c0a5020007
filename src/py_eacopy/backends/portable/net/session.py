"""The server's side of one connection that speaks the extended dialect (docs/protocol.md)."""

import errno
import hmac
import os
import stat
from typing import List, Optional, Tuple

from ...._errors import ErrorKind, Operation
from . import messages, wire, zstd
from .channel import Channel
from .connection import Connection, ConnectionEnded, PeerSilent
from .messages import (
    Error,
    Goodbye,
    Hello,
    Offer,
    Open,
    Opened,
    ProofAccepted,
    Prove,
    Results,
    Welcome,
)
from .open_directories import look
from .pulls import Pulls
from .pushes import Pushes
from .reasons import SessionEnded, error_of
from .security_file import NO_SECRET, SecurityFile
from .service import Service
from .share import Place, split
from .wire import ProtocolError

#: So many results are sent although more messages are there to be answered.
_RESULTS_MAXIMUM = 128


class Session:
    """One connection, from the client's Hello on.

    Args:
        version: the server's Version message as it was sent.
        is_local: the client is on this machine.
    """

    def __init__(self, service: Service, connection: Connection, version: bytes, is_local: bool) -> None:
        self._service = service
        self._options = service.options
        self._connection = connection
        self._channel = Channel(connection)
        self._version = version
        self._is_local = is_local
        self._monitor = service.monitor()
        self._directories = service.open_directories()
        self._capabilities = 0
        self._secret: Optional[bytes] = None
        self._pushes: Optional[Pushes] = None
        self._pulls: Optional[Pulls] = None  # there is one as soon as the session is open

    def run(self, hello: bytes) -> None:
        """Talks until one side ends it. Raises OSError when the network does, and SessionEnded when the server has."""
        try:
            self._agree(hello)
            while self._handle(self._next_message()):
                pass
            self._flush()
        except ProtocolError as error:
            self._say_goodbye(Error(ErrorKind.CLIENT.value, Operation.RECEIVE, text=str(error)))
            raise
        except SessionEnded as error:
            self._service.statistics.count("errors")
            if not error.silent:
                self._say_goodbye(error.error)
            raise
        except PeerSilent:
            self._say_goodbye(
                Error(ErrorKind.TIMEOUT.value, Operation.RECEIVE, errno.ETIMEDOUT, text="too long silent")
            )
            raise
        finally:
            if self._pushes is not None:
                self._pushes.close()
            if self._secret is not None:
                self._service.secrets.leave(self._secret)
            self._directories.close()
            self._directories.forget_made()

    def _next_message(self) -> messages.Message:
        pushes = self._pushes
        if not self._channel.is_ready() or (pushes is not None and len(pushes.results) >= _RESULTS_MAXIMUM):
            self._flush()
        busy = self._pulls is None or (pushes is not None and pushes.is_receiving)
        return self._channel.receive(self._connection.silence if busy else self._options.idle_timeout)

    def _flush(self) -> None:
        if self._pushes is not None and self._pushes.results:
            results, self._pushes.results = self._pushes.results, []
            self._channel.put(Results(results))
        self._channel.flush()

    def _say_goodbye(self, error: Error) -> None:
        # Whatever was done before is told, too, and the reason is not worth more than a short wait.
        self._connection.silence = min(self._connection.silence, 1.0)
        try:
            self._flush()
            self._channel.send(Goodbye(error))
        except OSError:
            pass

    def _handle(self, message: messages.Message) -> bool:
        """Does what a message asks for. False: the client has nothing more to say."""
        self._directories.look_again()
        if self._pushes is not None and self._pushes.handle(message):
            return True
        if self._pulls is not None and self._pulls.handle(message):
            return True
        if isinstance(message, Open):
            self._open(message)
        elif isinstance(message, wire.RequestReport):
            self._channel.put_encoded(wire.encode_report(self._service.report()))
        elif isinstance(message, wire.Done):
            self._flush()
            self._channel.put_encoded(wire.encode_done(self._channel.weight))
            return False
        elif isinstance(message, Goodbye):
            return False
        elif isinstance(message, Offer) and self._pulls is not None:
            raise ProtocolError("an offer in a session that only reads")
        else:
            raise ProtocolError("a %s where none may be" % type(message).__name__)
        return True

    # Set-up ----------------------------------------------------------------------------------------------------

    def _agree(self, hello_bytes: bytes) -> None:
        size, type_, level = messages.decode_header(hello_bytes)
        hello = messages.decode(type_, level, hello_bytes[messages.HEADER_SIZE :])
        assert isinstance(hello, Hello)
        if hello.version < messages.VERSION:
            raise ProtocolError("the unknown version %d" % hello.version)
        self._capabilities = hello.capabilities & self._own_capabilities()
        if not self._capabilities & messages.CAN_ZSTD:
            self._capabilities &= ~messages.CAN_DELTA
        if not self._capabilities & messages.CAN_DELTA:
            self._capabilities &= ~messages.CAN_PATCHES
        nonce = os.urandom(messages.NONCE_SIZE)
        welcome = messages.encode(Welcome(messages.VERSION, self._capabilities, nonce, self._options.thread_count))
        self._connection.send(welcome)
        self._channel.may_unpack = bool(self._capabilities & messages.CAN_ZSTD)
        if self._options.token is not None:
            self._check_token(self._version + hello_bytes + welcome)

    def _own_capabilities(self) -> int:
        found = messages.CAN_FILES | (messages.CAN_DELTA if self._options.delta else 0)
        if self._options.delta and len(self._service.history):
            found |= messages.CAN_PATCHES  # worth a question only if there may be something
        if zstd.AVAILABLE and self._options.compression:
            found |= messages.CAN_ZSTD
        return found

    def _check_token(self, transcript: bytes) -> None:
        assert self._options.token is not None
        token = self._options.token.encode("utf-8", "surrogateescape")
        wanted = hmac.new(token, messages.CLIENT_PROOF + transcript, "sha256").digest()
        proof = b""
        try:
            proof = self._channel.receive_payload(messages.PROOF, messages.PROOF_SIZE)
        except ProtocolError:
            pass
        except (ConnectionEnded, PeerSilent):
            self._service.statistics.count("errors")
            raise
        if not hmac.compare_digest(proof, wanted):
            refused = Error(ErrorKind.PERMISSION_DENIED.value, Operation.AUTHENTICATE, errno.EACCES)
            raise SessionEnded(refused._replace(text="it does not know the token"), silent=True)
        self._channel.send(ProofAccepted(hmac.new(token, messages.SERVER_PROOF + transcript, "sha256").digest()))

    def _open(self, message: Open) -> None:
        if self._pulls is not None:
            raise ProtocolError("a second Open")
        try:
            place, what, made = self._find(message)
        except OSError as error:
            raise SessionEnded(error_of(self._monitor, error, b"")) from None
        if self._service.wants_security_file:
            try:
                self._secret = self._prove(message.secret, place)
            finally:
                if self._secret is None:
                    self._directories.remove(place.share, made)
        common = (self._directories, self._monitor, place, self._capabilities)
        self._pulls = Pulls(self._service, self._channel, *common)
        if message.flags & messages.OPEN_WRITE:
            self._pushes = Pushes(self._service, self._channel, *common, is_owner=self._secret is not None)
            if self._service.shares.whole_file_system:
                self._service.sweep_later(place)
        self._channel.put(Opened(what, len(made)))

    def _find(self, message: Open) -> Tuple[Place, int, List[bytes]]:
        """The session's directory, what was asked for, and the directories that had to be made."""
        writes = bool(message.flags & messages.OPEN_WRITE)
        # What is not shared is refused in the same words, whatever is there and whatever was to be done.
        self._monitor.operation = Operation.OPEN_DESTINATION
        share, path = self._service.shares.find(message.directory)
        if not writes:
            self._monitor.operation = Operation.OPEN_SOURCE
        parent, name = split(path)
        if writes and message.flags & messages.OPEN_TREE:
            _, made = self._directories.open_counting(share, path, make=True)
            return Place(share, path), messages.IS_DIRECTORY, made
        if not name:
            return Place(share, path), messages.IS_DIRECTORY, []
        directory, made = self._directories.open_counting(share, parent, make=writes)
        info = look(directory, name)
        if info is not None and stat.S_ISDIR(info.st_mode):
            self._directories.open(share, path)
            return Place(share, path), messages.IS_DIRECTORY, made
        if not writes:
            if info is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if stat.S_ISLNK(info.st_mode):
                raise OSError(errno.ELOOP, "symbolic links are not followed there")
            if not stat.S_ISREG(info.st_mode):
                self._monitor.refuse(errno.EINVAL, Operation.SPECIAL_FILE)
        return Place(share, parent), messages.IS_FILE, made

    def _prove(self, told: bytes, place: Place) -> bytes:
        """Has the client prove that it is the server's own user. Returns the secret. Raises SessionEnded."""
        refused = Error(ErrorKind.PERMISSION_DENIED.value, Operation.AUTHENTICATE, errno.EACCES)
        if told != NO_SECRET:
            if not self._service.secrets.join(told, place):
                raise SessionEnded(refused._replace(text="the secret is not known, or for another directory"))
            return told
        try:
            file = SecurityFile(self._directories.open(place.share, place.path), self._monitor)
        except OSError as error:
            text = "the server cannot make a security file there: %s" % os.strerror(error.errno or 0)
            raise SessionEnded(refused._replace(text=text)) from None
        self._service.proof_names.add(file.name)
        try:
            self._channel.send(Prove(file.guid, file.path if self._is_local else b""))
            answer = self._channel.receive_payload(messages.SECRET, messages.SECRET_SIZE)
        except ProtocolError:
            answer = b""
        finally:
            file.remove()
            self._service.proof_names.discard(file.name)
        if not file.is_proved_by(answer):
            raise SessionEnded(refused._replace(text="the security file was not read"))
        self._service.secrets.add(file.secret, place)
        return file.secret
