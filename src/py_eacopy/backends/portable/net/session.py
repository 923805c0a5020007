"""The server's side of one connection that speaks the extended dialect (docs/protocol.md)."""

import errno
import hashlib
import hmac
import os
import stat
import zlib
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from ...._errors import ErrorKind, Operation, classify
from .. import system
from ..monitor import Refusal
from . import messages, wire, zstd
from .channel import Channel
from .connection import Connection, PeerSilent
from .level import AUTO, LevelControl
from .messages import (
    Abandon,
    Begin,
    Body,
    Code,
    Data,
    Digest,
    End,
    Entries,
    Entry,
    Error,
    Fetch,
    Goodbye,
    Hello,
    Hole,
    List_,
    Listed,
    Offer,
    Open,
    Opened,
    Proof,
    ProofAccepted,
    Prove,
    Result,
    Results,
    Secret,
    Welcome,
)
from .open_directories import OpenDirectories, OpenDirectory, look
from .placing import Answer, Placer, Wanted
from .security_file import NO_SECRET, SecurityFile, remove_directories
from .service import WARNING, Service
from .share import Place, join, split
from .store import (
    NewMetadata,
    TemporaryFile,
    extents,
    is_privileged,
    is_temporary_name,
    read_attributes_of,
    set_metadata,
    store_symlink,
    usable_as_destination,
)
from .wire import ProtocolError

#: Files up to here are sent in one message; larger ones in pieces.
SMALL_FILE = 256 * 1024
PIECE = 512 * 1024
_RESULTS_MAXIMUM = 128
_LISTING_SIZE = 256 * 1024


class SessionEnded(Exception):
    """The server ends the session, and says why."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.text)
        self.error = error


class _Silently(Exception):
    """The server ends the connection, and says nothing."""


class _Pending(NamedTuple):
    """A file that was offered, and has no final result yet."""

    entry: Entry
    wanted: Wanted
    awaits_digest: bool


class _Receiving:
    """A file whose content is coming in pieces. One that failed is read to its end, too."""

    def __init__(self, begin: Begin, pending: _Pending) -> None:
        self.begin = begin
        self.pending = pending
        self.left = begin.size
        self.crc = 0
        self.digest = hashlib.md5()
        self.file: Optional[TemporaryFile] = None
        self.error: Optional[Error] = None

    def fail(self, error: Error) -> None:
        self.error = error
        self.discard()

    def discard(self) -> None:
        if self.file is not None:
            self.file.discard()


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
        self._directories = OpenDirectories()
        self._placer = Placer(service, self._directories, self._monitor)
        self._capabilities = 0
        self._place: Optional[Place] = None  # the session's directory
        self._writes = False
        self._is_owner = False  # the client proved to be the server's own user
        self._secret: Optional[bytes] = None
        self._next_number = 0
        self._pending: Dict[int, _Pending] = {}
        self._receiving: Optional[_Receiving] = None
        self._results: List[Result] = []
        self._level = 0

    def run(self, hello: bytes) -> None:
        """Talks until one side ends it. Raises OSError when the network does."""
        try:
            self._agree(hello)
            while self._handle(self._next_message()):
                pass
            self._flush()
        except ProtocolError as error:
            self._say_goodbye(Error(ErrorKind.CLIENT.value, Operation.RECEIVE, text=str(error)))
            raise
        except SessionEnded as error:
            self._say_goodbye(error.error)
        except PeerSilent:
            self._say_goodbye(
                Error(ErrorKind.TIMEOUT.value, Operation.RECEIVE, errno.ETIMEDOUT, text="too long silent")
            )
            raise
        except _Silently:
            pass
        finally:
            if self._receiving is not None:
                self._receiving.discard()
            if self._secret is not None:
                self._service.secrets.leave(self._secret)
            self._directories.close()

    def _next_message(self) -> messages.Message:
        if self._channel.is_ready():
            if len(self._results) >= _RESULTS_MAXIMUM:
                self._flush()
        else:
            self._flush()
        busy = self._receiving is not None or self._place is None
        return self._channel.receive(self._connection.silence if busy else self._options.idle_timeout)

    def _flush(self) -> None:
        if self._results:
            results, self._results = self._results, []
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
        if isinstance(message, Offer):
            self._offer(message)
        elif isinstance(message, Body):
            self._body(message)
        elif isinstance(message, Data):
            self._data(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Hole):
            self._hole(message)
        elif isinstance(message, End):
            self._end(message)
        elif isinstance(message, Digest):
            self._digest(message)
        elif isinstance(message, Abandon):
            self._abandon(message)
        elif isinstance(message, List_):
            self._list(message)
        elif isinstance(message, Fetch):
            self._fetch(message)
        elif isinstance(message, Open):
            self._open(message)
        elif isinstance(message, wire.RequestReport):
            self._channel.put_encoded(wire.encode_report(self._service.report()))
        elif isinstance(message, wire.Done):
            self._flush()
            self._channel.put_encoded(wire.encode_done(self._channel.weight))
            return False
        elif isinstance(message, Goodbye):
            return False
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
        nonce = os.urandom(messages.NONCE_SIZE)
        welcome = messages.encode(Welcome(messages.VERSION, self._capabilities, nonce, self._options.thread_count))
        self._connection.send(welcome)
        self._channel.may_unpack = bool(self._capabilities & messages.CAN_ZSTD)
        if self._options.token is not None:
            self._check_token(self._version + hello_bytes + welcome)

    def _own_capabilities(self) -> int:
        found = messages.CAN_MODES | messages.CAN_LINKS
        if zstd.AVAILABLE and self._options.compression:
            found |= messages.CAN_ZSTD
        return found | messages.CAN_ATTRIBUTES if system.XATTR else found

    def _check_token(self, transcript: bytes) -> None:
        assert self._options.token is not None
        token = self._options.token.encode("utf-8", "surrogateescape")
        message = self._channel.receive()
        if not isinstance(message, Proof):
            raise _Silently
        wanted = hmac.new(token, messages.CLIENT_PROOF + transcript, "sha256").digest()
        if not hmac.compare_digest(message.proof, wanted):
            self._service.statistics.count("errors")
            self._service.log(WARNING, "a client has another token, and was refused")
            raise _Silently
        self._channel.send(ProofAccepted(hmac.new(token, messages.SERVER_PROOF + transcript, "sha256").digest()))

    def _open(self, message: Open) -> None:
        if self._place is not None:
            raise ProtocolError("a second Open")
        self._monitor.operation = Operation.OPEN_DESTINATION if message.flags & 1 else Operation.OPEN_SOURCE
        try:
            place, what, made = self._find(message)
        except OSError as error:
            raise SessionEnded(self._error(error, message.directory)) from None
        if self._service.wants_security_file:
            try:
                self._secret = self._prove(message.secret, place)
            finally:
                if self._secret is None:
                    remove_directories(self._directories, place.share, made)
            self._is_owner = True
        self._place = place
        self._writes = bool(message.flags & messages.OPEN_WRITE)
        if self._writes and self._service.shares.whole_file_system:
            self._service.sweep_later(place)
        self._channel.put(Opened(what))

    def _find(self, message: Open) -> Tuple[Place, int, List[bytes]]:
        """The session's directory, what was asked for, and the directories that had to be made."""
        share, path = self._service.shares.find(message.directory)
        parent, name = split(path)
        writes = bool(message.flags & messages.OPEN_WRITE)
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
            answer = self._channel.receive()
        finally:
            file.remove()
            self._service.proof_names.discard(file.name)
        if not isinstance(answer, Secret) or not file.is_proved_by(answer.secret):
            self._service.statistics.count("errors")
            self._service.log(WARNING, "a client could not read the security file, and was refused")
            raise SessionEnded(refused._replace(text="the security file was not read"))
        self._service.secrets.add(file.secret, place)
        return file.secret

    # Pushes: what is offered -----------------------------------------------------------------------------------

    def _offer(self, message: Offer) -> None:
        self._opened(writing=True)
        if message.first < self._next_number or len(self._pending) + len(message.entries) > messages.ENTRIES_MAXIMUM:
            raise ProtocolError("an Offer of a number that was used already, or of too many entries")
        self._next_number = message.first + len(message.entries)
        for number, entry in enumerate(message.entries, message.first):
            self._monitor.check()
            try:
                self._offer_one(number, entry)
            except (OSError, ValueError) as error:
                self._fail(number, self._error(error, entry.path))

    def _offer_one(self, number: int, entry: Entry) -> None:
        place = self._opened(writing=True)
        self._monitor.operation = Operation.OPEN_DESTINATION
        _check_path(entry.path)
        path = place.inside(entry.path)
        if entry.type == messages.DIRECTORY:
            self._finish(number, self._make_directory(place, path, entry))
            return
        parent, name = split(path)
        if not entry.path:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        directory = self._directories.open(place.share, parent, make=True)
        metadata = self._metadata_of(entry)
        if entry.type == messages.LINK:
            self._check_destination(directory, name)
            made = store_symlink(directory, name, entry.target, metadata, self._monitor)
            self._finish(number, Code.MADE if made else Code.SKIPPED)
            return
        wanted = Wanted(
            directory,
            name,
            self._placer.key_of(entry.path),
            entry.mtime,
            entry.size,
            metadata,
            exact=True,
            compares_attributes=bool(self._capabilities & messages.CAN_ATTRIBUTES),
        )
        if entry.flags & (messages.NO_METADATA | messages.MODE_ONLY):
            # It gets a time of its own, by which it is never known again.
            self._check_destination(directory, name)
            answer = Answer.SEND
        else:
            answer = self._placer.place(wanted)
        self._answer(number, entry, wanted, answer)

    def _answer(self, number: int, entry: Entry, wanted: Wanted, answer: Answer) -> None:
        if answer in (Answer.SEND, Answer.SEND_DIGEST):
            self._pending[number] = _Pending(entry, wanted, answer is Answer.SEND_DIGEST)
        self._finish(number, answer.value)

    def _make_directory(self, place: Place, path: bytes, entry: Entry) -> int:
        self._monitor.operation = Operation.MAKE_DIRECTORY
        try:
            directory, made = self._directories.open_counting(place.share, path, make=True)
        except NotADirectoryError:
            parent, name = split(path)
            if look(self._directories.open(place.share, parent), name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            raise
        if entry.flags & messages.SET_NOW:
            set_metadata(directory.descriptor, self._metadata_of(entry), self._monitor)
        if entry.flags & messages.DURABLE:
            self._monitor.operation = Operation.SYNC
            system.sync(directory.descriptor)
        return Code.MADE if path in made else Code.SKIPPED

    def _check_destination(self, directory: OpenDirectory, name: bytes) -> None:
        number = usable_as_destination(look(directory, name))
        if number:
            raise OSError(number, os.strerror(number))

    def _metadata_of(self, entry: Entry) -> NewMetadata:
        durable = bool(entry.flags & messages.DURABLE)
        mode = entry.mode if self._capabilities & messages.CAN_MODES else messages.MODE_UNKNOWN
        if mode != messages.MODE_UNKNOWN:
            mode &= 0o7777
            if entry.type == messages.FILE and not self._is_owner:
                mode &= 0o1777  # nobody else's programs run as the server's user
        if entry.flags & messages.NO_METADATA:
            return NewMetadata(durable=durable)
        if entry.flags & messages.MODE_ONLY:
            return NewMetadata(mode, durable=durable)
        attributes = entry.attributes
        if attributes and not self._is_owner:
            attributes = tuple(item for item in attributes if not is_privileged(item[0]))
        return NewMetadata(mode, entry.mtime, entry.atime, attributes, durable)

    def _digest(self, message: Digest) -> None:
        pending = self._pending.pop(message.number, None)
        if pending is None or not pending.awaits_digest:
            raise ProtocolError("a digest that nobody asked for")
        try:
            answer = self._placer.place_by_digest(pending.wanted, message.digest)
        except OSError as error:
            self._fail(message.number, self._error(error, pending.entry.path))
            return
        self._answer(message.number, pending.entry, pending.wanted, answer)

    def _finish(self, number: int, code: int) -> None:
        self._results.append(Result(number, code))

    def _fail(self, number: int, error: Error) -> None:
        self._service.statistics.count("errors")
        self._results.append(Result(number, Code.FAILED, error))

    def _opened(self, writing: bool) -> Place:
        if self._place is None:
            raise ProtocolError("a command before Open")
        if writing and not self._writes:
            raise ProtocolError("an offer in a session that only reads")
        return self._place

    # Pushes: content -------------------------------------------------------------------------------------------

    def _take_pending(self, number: int) -> _Pending:
        if self._receiving is not None:
            raise ProtocolError("a file's content inside another's")
        pending = self._pending.pop(number, None)
        if pending is None or pending.awaits_digest:
            raise ProtocolError("the content of a file that nobody asked for")
        return pending

    def _body(self, message: Body) -> None:
        pending = self._take_pending(message.number)
        content = message.content
        if zlib.crc32(content) != message.crc:
            raise ProtocolError("content that does not have its CRC")
        try:
            with self._create(pending) as file:
                file.write(content)
                digest = hashlib.md5(content).digest() if self._options.use_hash else b""
                self._store(pending, file, message.crc, message.flags, message.mtime, digest)
        except OSError as error:
            self._fail(message.number, self._error(error, pending.entry.path, len(content), pending.wanted.directory))
            return
        self._finish(message.number, Code.STORED)

    def _begin(self, message: Begin) -> None:
        pending = self._take_pending(message.number)
        receiving = self._receiving = _Receiving(message, pending)
        try:
            receiving.file = self._create(pending)
        except OSError as error:
            receiving.fail(self._error(error, pending.entry.path, message.size, pending.wanted.directory))

    def _piece_of(self, size: int) -> _Receiving:
        receiving = self._receiving
        if receiving is None:
            raise ProtocolError("content of no file")
        if size > receiving.left:
            raise ProtocolError("more content than was announced")
        receiving.left -= size
        return receiving

    def _data(self, message: Data) -> None:
        receiving = self._piece_of(len(message.content))
        receiving.crc = zlib.crc32(message.content, receiving.crc)
        if receiving.error is not None or receiving.file is None:
            return
        if self._options.use_hash:
            receiving.digest.update(message.content)
        try:
            receiving.file.write(message.content)
        except OSError as error:
            self._fail_receiving(receiving, error)

    def _hole(self, message: Hole) -> None:
        receiving = self._piece_of(message.length)
        if receiving.error is not None or receiving.file is None:
            return
        try:
            receiving.file.hole(message.length)
        except OSError as error:
            self._fail_receiving(receiving, error)
            return
        if self._options.use_hash:
            left = message.length
            while left:
                self._monitor.check()
                zeros = bytes(min(left, 1 << 20))
                receiving.digest.update(zeros)
                left -= len(zeros)

    def _end(self, message: End) -> None:
        receiving = self._piece_of(0)
        if receiving.left:
            raise ProtocolError("less content than was announced")
        if receiving.crc != message.crc:
            raise ProtocolError("content that does not have its CRC")
        pending, begin = receiving.pending, receiving.begin
        if receiving.error is None and receiving.file is not None:
            try:
                digest = receiving.digest.digest() if self._options.use_hash else b""
                self._store(pending, receiving.file, message.crc, message.flags, begin.mtime, digest)
            except OSError as error:
                self._fail_receiving(receiving, error)
        self._receiving = None
        if receiving.error is not None:
            self._fail(begin.number, receiving.error)
        else:
            self._finish(begin.number, Code.STORED)

    def _abandon(self, message: Abandon) -> None:
        if self._receiving is not None and self._receiving.begin.number == message.number:
            self._receiving.discard()
            self._receiving = None
        elif self._pending.pop(message.number, None) is None:
            raise ProtocolError("a file was abandoned that nobody asked for")
        self._fail(message.number, message.error)

    def _create(self, pending: _Pending) -> TemporaryFile:
        mode = 0o666 if pending.wanted.metadata.mode == messages.MODE_UNKNOWN else 0o600
        return TemporaryFile(pending.wanted.directory, self._monitor, mode)

    def _store(self, pending: _Pending, file: TemporaryFile, crc: int, flags: int, mtime: int, digest: bytes) -> None:
        """All content is there: checks it if wanted, and gives the file its name."""
        entry, wanted = pending.entry, pending.wanted
        if entry.flags & messages.VERIFY:
            file.verify(crc)
        metadata = wanted.metadata
        if metadata.mtime is not None:
            metadata = metadata._replace(mtime=mtime)
        if metadata.mode == messages.MODE_UNKNOWN:
            metadata = metadata._replace(mode=self._mode_of_old(wanted))
        size = file.size
        file.finish(wanted.name, metadata)
        self._service.statistics.count("files_received")
        if metadata.mtime is not None and not flags & messages.CHANGED:
            self._placer.remember(wanted._replace(mtime=mtime, size=size), digest)

    def _mode_of_old(self, wanted: Wanted) -> int:
        """Overwriting keeps the mode of what was there."""
        there = look(wanted.directory, wanted.name)
        if there is None or not stat.S_ISREG(there.st_mode):
            return messages.MODE_UNKNOWN
        return stat.S_IMODE(there.st_mode)

    def _fail_receiving(self, receiving: _Receiving, error: OSError) -> None:
        pending = receiving.pending
        receiving.fail(self._error(error, pending.entry.path, receiving.begin.size, pending.wanted.directory))

    # Pulls -----------------------------------------------------------------------------------------------------

    def _list(self, message: List_) -> None:
        place = self._opened(writing=False)
        _Lister(self._channel, self._service, self._directories, place, message, self._capabilities).run()

    def _fetch(self, message: Fetch) -> None:
        place = self._opened(writing=False)
        if message.level != self._level and self._capabilities & messages.CAN_ZSTD:
            if message.level > zstd.LEVEL_MAXIMUM and message.level != messages.LEVEL_AUTO:
                raise ProtocolError("the unknown level %d" % message.level)
            self._channel.flush()
            self._level = message.level
            self._channel.level = LevelControl(AUTO if message.level == messages.LEVEL_AUTO else message.level)
        for number, path in enumerate(message.paths, message.first):
            self._monitor.check()
            try:
                self._monitor.operation, self._monitor.offset = Operation.OPEN_SOURCE, 0
                self._send_file(place, number, path)
            except (_ReadFailure, ValueError) as failure:
                cause = failure.cause if isinstance(failure, _ReadFailure) else failure
                self._service.statistics.count("errors")
                self._channel.put(Abandon(number, self._error(cause, path)))

    def _send_file(self, place: Place, number: int, path: bytes) -> None:
        try:
            descriptor = self._open_source(place, path)
        except OSError as error:
            raise _ReadFailure(error) from None
        try:
            info = os.fstat(descriptor)
            if info.st_size <= SMALL_FILE:
                content = self._read(descriptor, 0, SMALL_FILE + 1)
                if len(content) <= SMALL_FILE:
                    changed = self._has_changed(descriptor, info, len(content))
                    self._channel.put(Body(number, zlib.crc32(content), changed, info.st_mtime_ns, content))
                    self._service.statistics.count("files_sent")
                    return
                info = os.fstat(descriptor)
            self._send_large(descriptor, number, info)
        finally:
            system.close_quietly(descriptor)
        self._service.statistics.count("files_sent")

    def _send_large(self, descriptor: int, number: int, info: os.stat_result) -> None:
        channel = self._channel
        channel.put(Begin(number, info.st_mtime_ns, info.st_size))
        offset = crc = 0
        for begin, end in [*extents(descriptor, info.st_size), (info.st_size, info.st_size)]:
            if begin > offset:
                channel.put(Hole(begin - offset))
                offset = begin
            while offset < end:
                self._monitor.check()
                data = self._read(descriptor, offset, min(PIECE, end - offset))
                if not data:
                    error = OSError(errno.EIO, "the file became shorter while it was read")
                    raise _ReadFailure(error)
                crc = zlib.crc32(data, crc)
                offset += len(data)
                channel.put(Data(data))
        channel.put(End(crc, self._has_changed(descriptor, info, info.st_size)))

    def _open_source(self, place: Place, path: bytes) -> int:
        _check_path(path)
        parent, name = split(place.inside(path))
        directory = self._directories.open(place.share, parent)
        descriptor = os.open(name or b".", system.READ_FLAGS | system.O_NOFOLLOW, dir_fd=directory.descriptor)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                self._monitor.refuse(errno.EINVAL, Operation.SPECIAL_FILE)
        except OSError:
            system.close_quietly(descriptor)
            raise
        return descriptor

    def _read(self, descriptor: int, offset: int, size: int) -> bytes:
        self._monitor.operation, self._monitor.offset = Operation.READ, offset
        try:
            return os.pread(descriptor, size, offset)
        except OSError as error:
            raise _ReadFailure(error) from None

    def _has_changed(self, descriptor: int, before: os.stat_result, size: int) -> int:
        now = os.fstat(descriptor)
        same = now.st_mtime_ns == before.st_mtime_ns and now.st_size == before.st_size == size
        return 0 if same else messages.CHANGED

    # Errors ----------------------------------------------------------------------------------------------------

    def _error(
        self, error: Union[OSError, ValueError], path: bytes, needed: int = 0, directory: Optional[OpenDirectory] = None
    ) -> Error:
        """A failure as it is told to the client; what failed last is known to the monitor."""
        operation = self._monitor.operation
        if isinstance(error, ValueError):
            return Error(ErrorKind.INVALID_ARGUMENT.value, operation, errno.EINVAL, path=path, text=str(error))
        number = error.errno or 0
        kind = (error.kind if isinstance(error, Refusal) else None) or classify(number, operation)
        a = b = 0
        if kind is ErrorKind.DISK_FULL and directory is not None:
            a, b = needed, system.free_space(directory.descriptor, "")
        elif kind in (ErrorKind.READ_ERROR, ErrorKind.WRITE_ERROR):
            a = self._monitor.offset
        usual = not number or isinstance(error, Refusal) or error.strerror == os.strerror(number)
        return Error(kind.value, operation, number, a, b, path, "" if usual else str(error.strerror))


class _ReadFailure(Exception):
    """A file could not be read: what was begun is abandoned. A failing connection must not be taken for it."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Lister:
    """Answers one List."""

    def __init__(
        self,
        channel: Channel,
        service: Service,
        directories: OpenDirectories,
        place: Place,
        message: List_,
        capabilities: int,
    ) -> None:
        self._channel = channel
        self._service = service
        self._monitor = service.monitor()
        self._directories = directories
        self._place = place
        self._message = message
        self._with_attributes = bool(
            message.flags & messages.LIST_ATTRIBUTES and capabilities & messages.CAN_ATTRIBUTES
        )
        self._with_links = bool(capabilities & messages.CAN_LINKS)
        self._entries: List[Entry] = []
        self._size = 0
        self._failures: List[Error] = []
        self._failures_size = 0

    def run(self) -> None:
        """Sends Entries as they are found, directories before what is in them, and Listed."""
        path = self._message.path
        todo: List[bytes] = []
        self._monitor.operation = Operation.STAT
        try:
            _check_path(path)
            parent, name = split(self._place.inside(path))
            directory = self._directories.open(self._place.share, parent)
            info = look(directory, name) if name else os.fstat(directory.descriptor)
            if info is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if self._add(directory, name or b".", path, info):
                todo.append(path)
        except OSError as error:
            self._fail(path, error.errno or 0)
        except ValueError:
            self._fail(path, errno.EINVAL)
        while todo:
            todo += self._list_one(todo.pop())
            if not self._message.flags & messages.LIST_RECURSIVE:
                break
        self._flush()
        self._channel.put(Listed(self._failures))

    def _list_one(self, path: bytes) -> List[bytes]:
        """Lists a directory; returns those in it."""
        self._monitor.check()
        self._monitor.operation = Operation.LIST_DIRECTORY
        inside: List[bytes] = []
        try:
            directory = self._directories.open(self._place.share, self._place.inside(path))
            found = directory.list()
        except OSError as error:
            self._fail(path, error.errno or 0)
            return inside
        for name, info in found:
            if is_temporary_name(name) or name in self._service.proof_names:
                continue
            below = join(path, name)
            try:
                if self._add(directory, name, below, info):
                    inside.append(below)
            except FileNotFoundError:
                continue  # removed meanwhile
            except OSError as error:
                self._fail(below, error.errno or 0)
        return inside

    def _add(self, directory: OpenDirectory, name: bytes, path: bytes, info: os.stat_result) -> bool:
        """Adds one entry. True: it is a directory."""
        target = b""
        mode, size = info.st_mode, 0
        if stat.S_ISREG(mode):
            type_, size = messages.FILE, info.st_size
        elif stat.S_ISDIR(mode):
            type_ = messages.DIRECTORY
        elif stat.S_ISLNK(mode) and self._with_links:
            type_ = messages.LINK
            self._monitor.operation = Operation.READ_LINK
            target = os.readlink(name, dir_fd=directory.descriptor)
        else:
            self._monitor.operation = Operation.SPECIAL_FILE
            self._fail(path, errno.EINVAL)
            return False
        attributes = read_attributes_of(directory, name, self._monitor) if self._with_attributes else ()
        if sum(len(key) + len(value) for key, value in attributes) > messages.ATTRIBUTES_MAXIMUM:
            attributes = ()
        permissions = stat.S_IMODE(mode)
        entry = Entry(type_, 0, permissions, info.st_mtime_ns, info.st_atime_ns, size, path, target, attributes)
        self._entries.append(entry)
        self._size += messages.entry_size(entry)
        if self._size > _LISTING_SIZE:
            self._flush()
        return type_ == messages.DIRECTORY

    def _fail(self, path: bytes, number: int) -> None:
        operation = self._monitor.operation
        error = Error(classify(number, operation).value, operation, number, path=path)
        # One message tells them all; what does not fit into it is a failure of the listing itself.
        self._failures_size += messages.error_size(error)
        if self._failures_size < messages.MESSAGE_MAXIMUM - 4096:
            self._failures.append(error)
        else:
            text = "too much of it cannot be listed"
            raise SessionEnded(Error(ErrorKind.SERVER.value, Operation.LIST_DIRECTORY, path=path, text=text))

    def _flush(self) -> None:
        if self._entries:
            entries, self._entries, self._size = self._entries, [], 0
            self._channel.put(Entries(entries))


def _check_path(path: bytes) -> None:
    """Raises ValueError for what is no path of this protocol, or one of the server's own temporary files."""
    if not messages.is_legal_path(path):
        raise ValueError("the path is not legal: names must not be empty, . or ..")
    if any(map(is_temporary_name, path.split(b"/"))):
        raise ValueError("names of the form .eacopy-<16 hex digits>.tmp are the server's own")
