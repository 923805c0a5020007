"""What a client pushes: offers are answered, and contents stored."""

import errno
import hashlib
import os
import stat
import zlib
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ...._errors import ErrorKind, Operation
from .. import at, system
from ..monitor import Monitor
from . import messages
from .channel import Channel
from .messages import (
    Abandon,
    Begin,
    Body,
    Code,
    Data,
    Digest,
    End,
    Entry,
    Error,
    Hole,
    Offer,
    PatchData,
    Reference,
    Result,
    Reuse,
)
from .older_version import PATCHED_MAXIMUM, Damaged, OlderVersion, Patch
from .open_directories import OpenDirectories, OpenDirectory, look, patiently
from .placing import Answer, Placer, Wanted
from .reasons import check_path, error_of
from .service import Service
from .share import Place, join, split
from .store import (
    NewMetadata,
    TemporaryFile,
    is_privileged,
    set_metadata,
    store_symlink,
    usable_as_destination,
)
from .wire import ProtocolError

#: The zeros of a longer hole are not hashed.
_HASHED_HOLE_MAXIMUM = 1 << 30
#: So many older versions are held open at most.
_OLDER_MAXIMUM = 64


class _Pending(NamedTuple):
    """A file that was offered, and has no final result yet. It keeps no directory open: there may be thousands.

    `answer` is what the client was asked for.
    """

    entry: Entry
    answer: int


class _Receiving:
    """A file whose content is coming in pieces. One that failed is read to its end, too.

    Attributes:
        older: the older version that there is.
        used: something was made of that, which may be why the whole is wrong.
    """

    def __init__(self, begin: Begin, pending: _Pending, older: Optional[OlderVersion], computes_digest: bool) -> None:
        self.begin = begin
        self.entry = pending.entry
        self.answer = pending.answer
        self.older = older
        self.used = False
        self.patch: Optional[Patch] = None
        self.left = begin.size
        self.crc = 0
        self.digest = hashlib.md5() if computes_digest else None
        self.wanted: Optional[Wanted] = None
        self.file: Optional[TemporaryFile] = None
        self.error: Optional[Error] = None

    def fail(self, error: Error) -> None:
        self.error = error
        self.discard()

    def discard(self) -> None:
        if self.file is not None:
            self.file.discard()

    def close(self) -> None:
        """It needs its older version no more."""
        if self.older is not None:
            self.older.close()


class Pushes:
    """The pushes of one session.

    Args:
        place: the session's directory.
        capabilities: what both sides can.
        is_owner: the client proved to be the server's own user, and may have what only that one should.

    Attributes:
        results: what the client has not been told yet.
    """

    def __init__(
        self,
        service: Service,
        channel: Channel,
        directories: OpenDirectories,
        monitor: Monitor,
        place: Place,
        capabilities: int,
        is_owner: bool,
    ) -> None:
        self._service = service
        self._channel = channel
        self._options = service.options
        self._directories = directories
        self._monitor = monitor
        self._placer = Placer(service, directories, monitor)
        self._place = place
        self._capabilities = capabilities
        self._is_owner = is_owner
        self._next_number = 0
        self._pending: Dict[int, _Pending] = {}
        self._older: Dict[int, OlderVersion] = {}
        self._receiving: Optional[_Receiving] = None
        self.results: List[Result] = []

    @property
    def is_receiving(self) -> bool:
        """Whether a file's content has begun, and has not ended."""
        return self._receiving is not None

    def handle(self, message: messages.Message) -> bool:
        """Does what a message asks for. False: it is none of a push. Raises ProtocolError."""
        if isinstance(message, Body):
            self._body(message)
        elif isinstance(message, Data):
            self._data(message)
        elif isinstance(message, Offer):
            self._offer(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Hole):
            self._hole(message)
        elif isinstance(message, Reuse):
            self._reuse(message)
        elif isinstance(message, PatchData):
            self._patch(message)
        elif isinstance(message, End):
            self._end(message)
        elif isinstance(message, Digest):
            self._digest(message)
        elif isinstance(message, Abandon):
            self._abandon(message)
        else:
            return False
        return True

    def close(self) -> None:
        """The session ends: what came half is thrown away."""
        if self._receiving is not None:
            self._receiving.discard()
            self._receiving.close()
        for older in self._older.values():
            older.close()
        self._older.clear()

    # What is offered -----------------------------------------------------------------------------------

    def _offer(self, message: Offer) -> None:
        if message.first < self._next_number or len(self._pending) + len(message.entries) > messages.ENTRIES_MAXIMUM:
            raise ProtocolError("an Offer of a number that was used already, or of too many entries")
        self._next_number = message.first + len(message.entries)
        for number, entry in enumerate(message.entries, message.first):
            self._monitor.check()
            try:
                self._offer_one(number, entry)
            except (OSError, ValueError) as error:
                self._fail(number, error_of(self._monitor, error, entry.path))

    def _offer_one(self, number: int, entry: Entry) -> None:
        self._monitor.operation = Operation.OPEN_DESTINATION
        check_path(entry.path)
        if entry.type == messages.DIRECTORY:
            self._finish(number, self._make_directory(entry))
            return
        if entry.type == messages.LINK:
            directory, name = self._locate(entry)
            self._check_destination(directory, name)
            made = store_symlink(directory, name, entry.target, self._metadata_of(entry), self._monitor)
            self._finish(number, Code.MADE if made else Code.SKIPPED)
            return
        wanted = self._wanted_of(entry)
        if entry.flags & (messages.NO_METADATA | messages.MODE_ONLY):
            # It gets a time of its own, by which it is never known again.
            self._check_destination(wanted.directory, wanted.name)
            answer = Answer.SEND
        else:
            answer = self._placer.place(wanted)
        self._answer(number, wanted, entry, answer)

    def _answer(self, number: int, wanted: Wanted, entry: Entry, answer: Answer) -> None:
        code = answer.value
        if answer is Answer.SEND:
            code = self._choose_delta(number, wanted, entry)
        if answer in (Answer.SEND, Answer.SEND_DIGEST):
            self._pending[number] = _Pending(entry, code)
        self._finish(number, code)

    def _choose_delta(self, number: int, wanted: Wanted, entry: Entry) -> int:
        """Whether less than all of it is enough, because an older version is here; what the client is asked for then.

        The signatures of that go ahead of the result.
        """
        welcome = entry.flags & messages.WELCOMES_DELTA and self._capabilities & messages.CAN_DELTA
        if not welcome or not entry.size or len(self._older) >= _OLDER_MAXIMUM:
            return Code.SEND
        code = Code.SEND
        older = self._open_destination(wanted)
        reference = entry.reference
        if reference is not None and 0 < reference.size <= PATCHED_MAXIMUM and entry.size <= PATCHED_MAXIMUM:
            if not self._is_that(older, reference):
                found = self._placer.open_reference(
                    wanted.directory.share, wanted.name, reference, join(wanted.directory.path, wanted.name)
                )
                if found is not None:
                    older = self._replace(older, found)
                    code = Code.SEND_PATCH
            else:
                code = Code.SEND_PATCH
        if code == Code.SEND:
            if older is None or not older.is_like(entry.size):
                older = self._replace(older, self._placer.open_older(wanted))
            if older is not None and self._tell(older.signatures(number)):
                code = Code.SEND_DELTA
        if code != Code.SEND and older is not None:
            self._older[number] = older
        elif older is not None:
            older.close()
        return code

    def _open_destination(self, wanted: Wanted) -> Optional[OlderVersion]:
        """What is there now. None: it is of no use."""
        flags, directory = at.READ_FLAGS | at.O_NOFOLLOW, wanted.directory.descriptor
        try:
            return OlderVersion(patiently(lambda: at.open(wanted.name, flags, dir_fd=directory)), self._monitor)
        except OSError:
            return None

    def _is_that(self, older: Optional[OlderVersion], reference: Reference) -> bool:
        try:
            return older is not None and older.is_that(reference)
        except OSError:
            return False

    def _replace(self, before: Optional[OlderVersion], older: Optional[OlderVersion]) -> Optional[OlderVersion]:
        if before is not None:
            before.close()
        return older

    def _tell(self, signatures: Iterator[messages.Signatures]) -> bool:
        """Sends them. False: the file could not be read to its end, and what was sent is of no use to the client."""
        while True:
            try:
                message = next(signatures, None)
            except OSError:
                return False
            if message is None:
                return True
            self._channel.put(message)

    def _locate(self, entry: Entry) -> Tuple[OpenDirectory, bytes]:
        """The directory that an entry goes into, made if it is missing, and the name there."""
        self._monitor.operation = Operation.OPEN_DESTINATION
        if not entry.path:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        parent, name = split(self._place.inside(entry.path))
        return self._directories.open(self._place.share, parent, make=True), name

    def _wanted_of(self, entry: Entry) -> Wanted:
        directory, name = self._locate(entry)
        return Wanted(
            directory,
            name,
            self._placer.key_of(entry.path),
            entry.mtime,
            entry.size,
            self._metadata_of(entry),
            exact=not system.WINDOWS,
            compares_attributes=bool(self._capabilities & messages.CAN_ATTRIBUTES),
        )

    def _make_directory(self, entry: Entry) -> int:
        place, path = self._place, self._place.inside(entry.path)
        self._monitor.operation = Operation.MAKE_DIRECTORY
        try:
            directory = self._directories.open(place.share, path, make=True)
        except NotADirectoryError:
            parent, name = split(path)
            if look(self._directories.open(place.share, parent), name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            raise
        if entry.flags & messages.SET_NOW:
            set_metadata(directory.descriptor, self._metadata_of(entry), self._monitor)
        if entry.flags & messages.DURABLE:
            self._monitor.operation = Operation.SYNC
            at.sync(directory.descriptor)
        # Made by this, or a moment ago for something in it, maybe through another connection.
        return Code.MADE if self._service.made_directories.claim(place.share, path) else Code.SKIPPED

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
        if pending is None or pending.answer != Code.SEND_DIGEST:
            raise ProtocolError("a digest that nobody asked for")
        try:
            wanted = self._wanted_of(pending.entry)
            answer = self._placer.place_by_digest(wanted, message.digest)
        except OSError as error:
            self._fail(message.number, error_of(self._monitor, error, pending.entry.path))
            return
        self._answer(message.number, wanted, pending.entry, answer)

    def _finish(self, number: int, code: int) -> None:
        self.results.append(Result(number, code))

    def _fail(self, number: int, error: Error) -> None:
        self._service.statistics.count("errors")
        self.results.append(Result(number, Code.FAILED, error))

    # Content -------------------------------------------------------------------------------------------

    def _take_pending(self, number: int) -> _Pending:
        if self._receiving is not None:
            raise ProtocolError("a file's content inside another's")
        pending = self._pending.pop(number, None)
        if pending is None or pending.answer == Code.SEND_DIGEST:
            raise ProtocolError("the content of a file that nobody asked for")
        return pending

    def _body(self, message: Body) -> None:
        entry = self._take_pending(message.number).entry
        self._forget_older(message.number)
        content = message.content
        if zlib.crc32(content) != message.crc:
            raise ProtocolError("content that does not have its CRC")
        wanted: Optional[Wanted] = None
        try:
            wanted = self._wanted_of(entry)
            with self._create(wanted) as file:
                file.write(content)
                digest = hashlib.md5(content).digest() if self._options.use_hash else b""
                self._store(entry, wanted, file, message.crc, message.flags, message.mtime, digest)
        except OSError as error:
            self._fail(message.number, self._error(error, entry, wanted, len(content)))
            return
        self._finish(message.number, Code.STORED)

    def _begin(self, message: Begin) -> None:
        pending = self._take_pending(message.number)
        older = self._older.pop(message.number, None)
        receiving = self._receiving = _Receiving(message, pending, older, self._options.use_hash)
        try:
            receiving.wanted = self._wanted_of(pending.entry)
            receiving.file = self._create(receiving.wanted)
        except OSError as error:
            self._fail_receiving(receiving, error)

    def _piece_of(self, size: int) -> _Receiving:
        receiving = self._receiving
        if receiving is None:
            raise ProtocolError("content of no file")
        if size > receiving.left:
            raise ProtocolError("more content than was announced")
        receiving.left -= size
        return receiving

    def _data(self, message: Data) -> None:
        self._write(self._piece_of(len(message.content)), message.content)

    def _write(self, receiving: _Receiving, content: "messages.Buffer", is_there: bool = False) -> None:
        receiving.crc = zlib.crc32(content, receiving.crc)
        if receiving.error is not None or receiving.file is None:
            return
        if receiving.digest is not None:
            receiving.digest.update(content)
        if is_there:
            return
        try:
            receiving.file.write(content)
        except OSError as error:
            self._fail_receiving(receiving, error)

    def _reuse(self, message: Reuse) -> None:
        receiving = self._piece_of(message.length)
        older = receiving.older
        if older is None or receiving.answer != Code.SEND_DELTA:
            raise ProtocolError("a Reuse where no signatures were told")
        if not message.length or message.offset + message.length > older.size:
            raise ProtocolError("a Reuse of what is not in the older version")
        receiving.used = True
        if receiving.error is not None:
            return
        try:
            file = receiving.file
            for offset, length, whole_blocks in older.parts(message.offset, message.length, file.size if file else 0):
                for piece, is_there in self._taken(receiving, older, offset, length, whole_blocks):
                    self._write(receiving, piece, is_there)
                    if receiving.error is not None:
                        return
        except OSError:
            self._fail_delta(receiving)

    def _taken(
        self, receiving: _Receiving, older: OlderVersion, offset: int, length: int, whole_blocks: bool
    ) -> Iterator[Tuple[bytes, bool]]:
        """The pieces of a stretch of the older version, and whether they are in the new file already."""
        file = receiving.file
        if whole_blocks and file is not None:
            begin = file.size
            older.clones = file.share_from(older.descriptor, offset, length)
            if older.clones:
                # What is summed up is read from the clone: the other file may be written to meanwhile.
                for piece in file.pieces(begin, length):
                    yield piece, True
                return
        for piece in older.pieces(offset, length):
            yield piece, False

    def _patch(self, message: PatchData) -> None:
        receiving = self._piece_of(0)
        if receiving.answer != Code.SEND_PATCH or receiving.older is None:
            raise ProtocolError("a patch that nobody asked for")
        self._feed(receiving, message.content)

    def _feed(self, receiving: _Receiving, content: "Optional[messages.Buffer]") -> None:
        """Goes on with a patch, or ends it."""
        receiving.used = True
        if receiving.error is not None or receiving.older is None:
            return
        if receiving.patch is None:

            def write(data: bytes) -> None:
                self._monitor.check()
                receiving.left -= len(data)
                self._write(receiving, data)

            receiving.patch = Patch(receiving.older, receiving.begin.size, write)
        try:
            if content is None:
                receiving.patch.finish()
            else:
                receiving.patch.add(content)
        except (Damaged, OSError, MemoryError):
            if receiving.error is None:
                self._fail_delta(receiving)

    def _fail_delta(self, receiving: _Receiving) -> None:
        """What came does not fit what is here; the client can send the file as it is."""
        receiving.used = True
        kind, operation = ErrorKind.DELTA_COPY.value, Operation.READ_REFERENCE.value
        receiving.fail(Error(kind, operation, errno.EBUSY, path=receiving.entry.path))

    def _forget_older(self, number: int) -> None:
        older = self._older.pop(number, None)
        if older is not None:
            older.close()

    def _hole(self, message: Hole) -> None:
        receiving = self._piece_of(message.length)
        if receiving.error is not None or receiving.file is None:
            return
        try:
            receiving.file.hole(message.length)
        except OSError as error:
            self._fail_receiving(receiving, error)
            return
        if message.length > _HASHED_HOLE_MAXIMUM:
            receiving.digest = None  # a few bytes must not cost hours
        left = message.length
        while left and receiving.digest is not None:
            self._monitor.check()
            zeros = bytes(min(left, 1 << 20))
            receiving.digest.update(zeros)
            left -= len(zeros)

    def _end(self, message: End) -> None:
        receiving = self._piece_of(0)
        if receiving.patch is not None:
            self._feed(receiving, None)
        if receiving.used:
            if receiving.error is None and (receiving.left or receiving.crc != message.crc):
                self._fail_delta(receiving)
        elif receiving.left:
            raise ProtocolError("less content than was announced")
        elif receiving.crc != message.crc:
            raise ProtocolError("content that does not have its CRC")
        entry, wanted, begin = receiving.entry, receiving.wanted, receiving.begin
        receiving.close()  # not everywhere can what is open be replaced
        if receiving.error is None and receiving.file is not None and wanted is not None:
            try:
                digest = receiving.digest.digest() if receiving.digest is not None else b""
                self._store(entry, wanted, receiving.file, message.crc, message.flags, begin.mtime, digest)
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
            self._receiving.close()
            self._receiving = None
        elif self._pending.pop(message.number, None) is None:
            raise ProtocolError("a file was abandoned that nobody asked for")
        self._forget_older(message.number)
        self._fail(message.number, message.error)

    def _create(self, wanted: Wanted) -> TemporaryFile:
        mode = 0o666 if wanted.metadata.mode == messages.MODE_UNKNOWN else 0o600
        return TemporaryFile(wanted.directory, self._monitor, mode)

    def _store(
        self, entry: Entry, wanted: Wanted, file: TemporaryFile, crc: int, flags: int, mtime: int, digest: bytes
    ) -> None:
        """All content is there: checks it if wanted, and gives the file its name."""
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
        receiving.fail(self._error(error, receiving.entry, receiving.wanted, receiving.begin.size))

    def _error(self, error: OSError, entry: Entry, wanted: Optional[Wanted], needed: int) -> Error:
        return error_of(self._monitor, error, entry.path, needed, None if wanted is None else wanted.directory)
