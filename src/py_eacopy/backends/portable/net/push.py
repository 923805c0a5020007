"""Pushing in the extended dialect: offers go ahead, contents follow where they are wanted, results come meanwhile."""

import collections
import errno
import hashlib
import io
import os
import stat
import struct
import sys
import zlib
from typing import Deque, Dict, Generator, List, Optional, Set

from ...._errors import ErrorKind, Operation
from ...._job import DELTA_ALWAYS
from .. import at, system
from ..delta.access import read_at
from ..delta.signatures import Signatures
from ..delta.zstd_prefix import Compressor
from ..failure import CopyFailure
from . import messages
from .client import Connector, Session
from .failures import error_of, failure_of, violation
from .messages import Code
from .older_version import (
    PATCH_LEVEL,
    PATCHED_MAXIMUM,
    WORTH_DELTA,
    Difference,
    OlderVersion,
    Shrank,
    add_signatures,
)
from .tally import Tally
from .transfer import Delayed, Lane, Transfer
from .walk import DIRECTORY, FILE, LINK, Entry, Walk, identity_of, special_file
from .wire import ProtocolError

#: A file up to this size is one message; larger ones go in pieces. Those that are packed may be larger.
_BODY_MAXIMUM = 256 * 1024
_PIECE, _PACKED_PIECE = 512 * 1024, 1024 * 1024
#: Most of an Offer, and of what it asks the server to take.
_OFFER_ENTRIES, _OFFER_BYTES, _OFFER_CONTENT = 512, 256 * 1024, 16 << 20
#: Most that is on the way in one connection: others want to have something to do, too.
_ENTRIES_ON_THE_WAY = 4096
#: Files whose signatures may be on the way together.
_DELTAS_ON_THE_WAY = 256 << 20
#: A file that became shorter while it was sent is sent again, so many times.
_SHRINKS = 2
#: So many small files are sent before looking whether results have come.
_LOOK_EACH = 16

#: Attributes that mean something to the system they are on alone.
_SYSTEM_ATTRIBUTES = (b"security.", b"trusted.")

_READ = Operation.READ


class Push(Transfer[Entry]):
    """The push of a file or tree."""

    def __init__(self, tally: Tally, connector: Connector, session: Session) -> None:
        job = tally.job
        super().__init__(tally, connector, min(job.threads, session.advised))
        can = session.capabilities
        self.modes = bool(can & messages.CAN_MODES)
        self.links = bool(can & messages.CAN_LINKS)
        wanted = job.options.metadata == "stat" and bool(can & messages.CAN_ATTRIBUTES)
        destination = identity_of(job.remote.local_directory)
        self.walk = Walk(job.make_tally(), job.source, attributes=wanted, destination=destination)
        self.failed: Set[str] = set()  # directories that could not be made
        self._flags = messages.VERIFY if job.options.verify else 0
        self._flags |= messages.DURABLE if job.options.fsync else 0
        self._metadata = {"none": messages.NO_METADATA, "mode": messages.MODE_ONLY}.get(job.options.metadata, 0)
        self._can_delta = bool(can & messages.CAN_DELTA)
        self._always = job.remote.delta == DELTA_ALWAYS or job.remote.reference is not None
        self.older: Optional[OlderVersion] = None
        self._reference: Optional[messages.Reference] = None
        if job.remote.reference is not None and self._can_delta:
            self._open_reference(os.fsdecode(job.remote.reference), tally)

    def _open_reference(self, path: str, tally: Tally) -> None:
        """Raises CopyFailure."""
        tally.operation, tally.offset = Operation.OPEN_REFERENCE, 0
        try:
            self.older = OlderVersion(at.open(system.file_path(path), at.READ_FLAGS), tally)
            if 0 < self.older.size <= PATCHED_MAXIMUM:
                self._reference = messages.Reference(self.older.size, self.older.digest())
        except OSError as error:
            self.close()
            raise CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset) from None

    def close(self) -> None:
        """It needs the reference no more."""
        if self.older is not None:
            self.older.close()

    def is_for_delta(self, entry: Entry) -> bool:
        """Whether what differs from an older version is enough."""
        if not self._can_delta or entry.kind != FILE or entry.whole or not entry.size:
            return False
        return entry.size >= WORTH_DELTA or self._always

    def may_be_patched(self, entry: Entry) -> bool:
        """Whether both sides may have the older version."""
        return self._reference is not None and entry.size <= PATCHED_MAXIMUM

    def make_lane(self, session: Session, tally: Tally) -> "PushLane":
        return PushLane(self, session, tally)

    def size_of(self, item: Entry) -> int:
        return item.size

    def is_below_failed(self, entry: Entry) -> bool:
        """Whether it is in a directory that could not be made, which was told; or is that directory itself, finally."""
        node = entry.node
        if entry.kind == DIRECTORY and not entry.final and node is not None:
            node = node.parent
        while node is not None and self.failed:
            if node.path in self.failed:
                return True
            node = node.parent
        return False

    def offered(self, entry: Entry) -> messages.Entry:
        """An entry as the server is told of it."""
        info, directory = entry.info, entry.kind == DIRECTORY
        flags = self._flags | (0 if directory else self._metadata)
        if directory and entry.final:
            flags |= messages.SET_NOW
        reference = None
        if self.is_for_delta(entry):
            flags |= messages.WELCOMES_DELTA
            reference = self._reference if self.may_be_patched(entry) else None
        return messages.Entry(
            entry.kind,
            flags,
            stat.S_IMODE(info.st_mode) if self.modes else messages.MODE_UNKNOWN,
            info.st_mtime_ns,
            info.st_atime_ns,
            entry.size,
            os.fsencode(entry.path),
            os.fsencode(entry.target),
            _attributes(entry) if not directory or entry.final else (),
            reference,
        )


def push(tally: Tally, connector: Connector, session: Session) -> Session:
    """Pushes the job's item over an extended session. Returns the session that is open then."""
    job = tally.job
    transfer = Push(tally, connector, session)
    try:
        if not job.trees:
            path = os.fsdecode(job.remote.directory.rstrip(b"/")).rpartition("/")[2]
            if session.is_directory:
                path = os.path.basename(job.source)
            return transfer.work(session, transfer.walk.file(path))
        session = transfer.work(session, transfer.walk.tree())
        return transfer.work(session, transfer.walk.final())
    finally:
        transfer.close()


class _Offered:
    """An entry on its way.

    Attributes:
        offer: how many of the same Offer have had no answer yet; None when this one has had it.
        failure: why it could not be sent, when the server was told.
        sent: bytes of its content; `reused`: of these, bytes that the older version had.
        delta: bytes of a file that the server may have an older version of; 0 for others.
        older: the signatures of that, as far as they have come.
    """

    __slots__ = ("delta", "entry", "failure", "offer", "older", "reused", "sent")

    def __init__(self, entry: Entry, offer: List[int], delta: int) -> None:
        self.entry = entry
        self.delta = delta
        self.older: Optional[Signatures] = None
        self.reused = 0
        self.offer: Optional[List[int]] = offer
        self.failure: Optional[CopyFailure] = None
        self.sent = 0


class _Shrank(CopyFailure):
    """What was announced cannot be sent any more; the file is to be sent as it is now."""

    def __init__(self, offset: int) -> None:
        super().__init__(0, _READ, offset, kind=ErrorKind.READ_ERROR, text="the file became shorter while it was sent")


class PushLane(Lane[Entry]):
    """One connection of a push."""

    def __init__(self, push: Push, session: Session, tally: Tally) -> None:
        self._push = push
        self._walk = push.walk
        self._session = session
        self._tally = tally
        self._offered: Dict[int, _Offered] = {}
        self._offers = 0  # on the way
        self._held: Deque[Entry] = collections.deque()  # not offered yet: too much is on the way
        self._deltas = 0  # bytes of files on the way that the server may have older versions of
        self._wanted: Deque[tuple[int, int]] = collections.deque()  # contents that it asked for, and how
        self._digests: Deque[int] = collections.deque()
        self._sending: Optional[Generator[None, None, None]] = None  # a large file that is half sent
        self._delayed: Delayed[Entry] = Delayed(push.job.options.retry_delay)
        self._exhausted = False

    def run(self) -> None:
        session = self._session
        sent = 0
        while True:
            self._tally.check()
            sent += 1
            if self._sending is not None or sent % _LOOK_EACH == 0:
                self._take_results()
            if self._send_something():
                continue
            session.flush()
            self._take_results()
            if self._wanted or self._digests:
                continue
            if self._offered:
                self._take(session.receive())
            elif self._delayed:
                self._tally.sleep(min(self._delayed.wait, 0.1))
            elif self._exhausted:
                return

    def unfinished(self) -> List[Entry]:
        if self._sending is not None:
            self._sending.close()
            self._sending = None
        entries = [offered.entry for offered in self._offered.values()]
        for offered in self._offered.values():
            self._lose(offered)
        self._offered.clear()
        entries += self._held
        self._held.clear()
        return entries + self._delayed.all()

    # Sending -----------------------------------------------------------------------------------------------------

    def _send_something(self) -> bool:
        """Sends one thing; False when there is none."""
        for entry in self._delayed.due():
            self._offer_again(entry)
        if self._offer():
            return True
        if self._sending is not None:
            try:
                next(self._sending)
            except StopIteration:
                self._sending = None
            return True
        if self._digests:
            self._send_digest(self._digests.popleft())
            return True
        if self._wanted:
            self._send_file(*self._wanted.popleft())
            return True
        return False

    def _offer(self) -> bool:
        if self._offers >= messages.OFFERS_MAXIMUM or len(self._offered) > _ENTRIES_ON_THE_WAY:
            return False
        if self._held:
            if not self._has_room(self._held[0]):
                return False
            held, self._held = list(self._held), collections.deque()
            return self._send_offers(held)
        if self._exhausted:
            return False
        entries = self._push.take(_OFFER_ENTRIES, _OFFER_CONTENT)
        self._exhausted = not entries
        return bool(entries) and self._send_offers(entries)

    def _has_room(self, entry: Entry) -> bool:
        """Whether one more file may be on the way of which the server may have an older version."""
        if not self._deltas or not self._push.is_for_delta(entry):
            return True
        return self._deltas + entry.size <= _DELTAS_ON_THE_WAY

    def _offer_again(self, entry: Entry) -> None:
        try:
            entry.info = self._walk.look_again(entry)
        except OSError as error:
            self._failed(entry, CopyFailure(error.errno or errno.EIO, Operation.OPEN_SOURCE))
            return
        self._send_offers([entry])

    def _send_offers(self, entries: List[Entry]) -> bool:
        """Offers entries, in as many messages as it takes."""
        batch: List[Entry] = []
        encoded: List[bytes] = []
        size = 0
        for place, entry in enumerate(entries):
            if not self._has_room(entry):
                self._held.extend(entries[place:])
                break
            if self._push.failed and self._push.is_below_failed(entry):
                continue
            if entry.kind == LINK and not self._push.links:
                failure = CopyFailure(errno.ENOTSUP, Operation.MAKE_LINK, kind=ErrorKind.UNSUPPORTED)
                failure.text = "the server has no symbolic links; copy what they point to"
                self._failed(entry, failure)
                continue
            offered = self._push.offered(entry)
            if len(offered.path) > messages.PATH_MAXIMUM:
                self._failed(entry, CopyFailure(errno.ENAMETOOLONG, Operation.OPEN_DESTINATION))
                continue
            if self._push.is_for_delta(entry):
                self._deltas += entry.size
            batch.append(entry)
            encoded.append(messages.encode_entry(offered))
            size += len(encoded[-1])
            if size >= _OFFER_BYTES:
                self._send_offer(batch, encoded)
                batch, encoded, size = [], [], 0
        if batch:
            self._send_offer(batch, encoded)
        return True

    def _send_offer(self, entries: List[Entry], encoded: List[bytes]) -> None:
        while self._offers >= messages.OFFERS_MAXIMUM:
            self._session.flush()
            self._take(self._session.receive())
        first, count = self._session.numbered, len(entries)
        self._session.numbered += count
        self._offers += 1
        unanswered = [count]
        for number, entry in enumerate(entries, first):
            self._offered[number] = _Offered(entry, unanswered, entry.size if self._push.is_for_delta(entry) else 0)
        payload = struct.pack("<II", first, count) + b"".join(encoded)
        self._session.put_encoded(messages.header(messages.OFFER, len(payload)) + payload)
        self._session.flush()  # the server may look at these while more are found

    def _send_digest(self, number: int) -> None:
        offered = self._offered.get(number)
        if offered is None:
            return  # the server has come to a result without it
        try:
            self._session.put(messages.Digest(number, self._digest(offered.entry)))
        except OSError as error:
            self._abandon(number, CopyFailure(error.errno or errno.EIO, self._tally.operation, self._tally.offset))

    def _digest(self, entry: Entry) -> bytes:
        tally = self._tally
        tally.operation, tally.offset = Operation.OPEN_SOURCE, 0
        descriptor = self._walk.open(entry)
        try:
            digest = hashlib.md5()
            while True:
                tally.check()
                tally.operation = _READ
                data = os.read(descriptor, _PIECE)
                if not data:
                    return digest.digest()
                digest.update(data)
                tally.offset += len(data)
        finally:
            system.close_quietly(descriptor)

    def _abandon(self, number: int, failure: CopyFailure) -> None:
        """The file cannot be sent; the server's result will say so, and then it is told."""
        if number in self._offered:
            self._offered[number].failure = failure
        self._session.put(messages.Abandon(number, error_of(failure)))

    def _send_file(self, number: int, code: int) -> None:
        offered, tally = self._offered.get(number), self._tally
        if offered is None:
            return  # the server has come to a result without it
        descriptor = -1
        tally.operation, tally.offset = Operation.OPEN_SOURCE, 0
        try:
            descriptor = self._walk.open(offered.entry)
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise special_file(info)
            if code == Code.SEND_PATCH and info.st_size <= PATCHED_MAXIMUM:
                self._sending = self._send_patch(number, descriptor, info)
            elif code == Code.SEND_DELTA:
                self._sending = self._send_difference(number, descriptor, info)
            elif info.st_size > _BODY_MAXIMUM:
                self._sending = self._send_pieces(number, descriptor, info)
            if self._sending is not None:
                descriptor = -1  # closed in there
                return
            content = _read_up_to(descriptor, info.st_size, tally)
            flags = 0 if len(content) == info.st_size and not _changed(descriptor, info) else messages.CHANGED
        except OSError as error:
            self._abandon(number, CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset))
            return
        except CopyFailure as failure:
            self._abandon(number, failure)
            return
        finally:
            if descriptor >= 0:
                system.close_quietly(descriptor)
        offered.sent = len(content)
        tally.in_flight += len(content)
        self._session.put(messages.Body(number, zlib.crc32(content), flags, info.st_mtime_ns, content))

    def _send_pieces(self, number: int, descriptor: int, info: os.stat_result) -> Generator[None, None, None]:
        """Sends a large file; stops after each piece, so that results can be taken."""
        offered, tally, session = self._offered[number], self._tally, self._session
        entry = offered.entry
        entry.flight = tally.begin_file(entry.path, info.st_size, entry.root)
        piece = _PIECE if session.channel.level.is_off else _PACKED_PIECE
        size, offset, crc = info.st_size, 0, 0
        # Into one buffer again and again, behind the place of the header: a new one for each costs as much as the crc.
        buffer = memoryview(bytearray(messages.HEADER_SIZE + min(piece, size)))
        readinto = io.FileIO(descriptor, closefd=False).readinto
        session.put(messages.Begin(number, info.st_mtime_ns, size))
        try:
            while offset < size:
                data, hole = _next_extent(descriptor, info, offset, size)
                if data > offset:
                    session.put(messages.Hole(data - offset))
                    self._advance(offered, data - offset)
                    offset = data
                    yield
                while offset < hole:
                    tally.operation, tally.offset = _READ, offset
                    os.lseek(descriptor, offset, os.SEEK_SET)
                    end = messages.HEADER_SIZE + min(piece, hole - offset)
                    count = readinto(buffer[messages.HEADER_SIZE : end]) or 0
                    if not count:
                        self._abandon(number, _Shrank(offset))
                        return
                    end = messages.HEADER_SIZE + count
                    buffer[: messages.HEADER_SIZE] = messages.header(messages.DATA, count)
                    crc = zlib.crc32(buffer[messages.HEADER_SIZE : end], crc)
                    session.put_content(buffer[:end])
                    self._advance(offered, count)
                    offset += count
                    yield
            flags = messages.CHANGED if _changed(descriptor, info) else 0
            session.put(messages.End(crc, flags))
        except OSError as error:
            self._abandon(number, CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset))
        finally:
            system.close_quietly(descriptor)

    def _send_difference(self, number: int, descriptor: int, info: os.stat_result) -> Generator[None, None, None]:
        """Sends what the older version does not have, whose signatures have come."""
        offered, tally, session = self._offered[number], self._tally, self._session
        entry, older = offered.entry, offered.older
        assert older is not None
        entry.flight = tally.begin_file(entry.path, info.st_size, entry.root)
        try:
            session.put(messages.Begin(number, info.st_mtime_ns, info.st_size))
            difference = Difference(descriptor, info.st_size, older, tally)
            for message in difference.messages():
                session.put(message)
                if isinstance(message, messages.Data):
                    self._advance(offered, len(message.content))
                else:
                    self._advance(offered, message.length)
                if isinstance(message, messages.Reuse):
                    offered.reused += message.length
                yield
            session.put(messages.End(difference.crc, messages.CHANGED if _changed(descriptor, info) else 0))
        except Shrank:
            self._abandon(number, _Shrank(tally.offset))
        except OSError as error:
            self._abandon(number, CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset))
        finally:
            system.close_quietly(descriptor)

    def _send_patch(self, number: int, descriptor: int, info: os.stat_result) -> Generator[None, None, None]:
        """Sends a patch for the older version that both sides have."""
        offered, tally, session = self._offered[number], self._tally, self._session
        entry, older = offered.entry, self._push.older
        assert older is not None
        entry.flight = tally.begin_file(entry.path, info.st_size, entry.root)
        level = self._push.job.remote.level
        crc = offset = 0
        try:
            session.put(messages.Begin(number, info.st_mtime_ns, info.st_size))
            compressor = Compressor(older.read(), info.st_size, level if level > 0 else PATCH_LEVEL, tally.check)
            while offset < info.st_size:
                tally.operation, tally.offset = _READ, offset
                data = read_at(descriptor, min(_PIECE, info.st_size - offset), offset)
                if not data:
                    self._abandon(number, _Shrank(offset))
                    return
                crc = zlib.crc32(data, crc)
                offset += len(data)
                self._put_patch(compressor.compress(data))
                self._advance(offered, len(data))
                yield
            self._put_patch(compressor.finish())
            session.put(messages.End(crc, messages.CHANGED if _changed(descriptor, info) else 0))
        except OSError as error:
            self._abandon(number, CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset))
        finally:
            system.close_quietly(descriptor)

    def _put_patch(self, data: bytes) -> None:
        for begin in range(0, len(data), _PIECE):
            self._session.put(messages.PatchData(data[begin : begin + _PIECE]))

    def _advance(self, offered: _Offered, count: int) -> None:
        offered.sent += count
        self._tally.advance_file(offered.entry.flight, count)

    # Results -----------------------------------------------------------------------------------------------------

    def _take_results(self) -> None:
        session = self._session
        while session.is_ready():
            self._take(session.receive())

    def _take(self, message: messages.Message) -> None:
        if isinstance(message, messages.Signatures):
            self._take_signatures(message)
            return
        if not isinstance(message, messages.Results):
            raise violation("a %s where results are due" % type(message).__name__)
        for result in message.results:
            offered = self._offered.get(result.number)
            if offered is None:
                raise violation("a result for what was not offered")
            if offered.offer is not None:
                offered.offer[0] -= 1
                self._offers -= offered.offer[0] == 0
                offered.offer = None
            self._take_result(result, offered)

    def _take_signatures(self, message: messages.Signatures) -> None:
        offered = self._offered.get(message.number)
        if offered is None or not offered.delta:
            raise violation("signatures that nobody asked for")
        try:
            offered.older = add_signatures(offered.older, message)
        except ProtocolError as error:
            raise violation(str(error)) from None

    def _take_result(self, result: messages.Result, offered: _Offered) -> None:
        entry, code = offered.entry, result.code
        if code in (Code.SEND, Code.SEND_DIGEST, Code.SEND_DELTA, Code.SEND_PATCH):
            if entry.kind != FILE or offered.sent:
                raise violation("it wants the content of what has none, or has it already")
            if code == Code.SEND_DELTA and (offered.older is None or not offered.older.is_complete):
                raise violation("it wants what differs from a file whose signatures it has not told")
            if code == Code.SEND_PATCH and (not offered.delta or not self._push.may_be_patched(entry)):
                raise violation("it wants a patch for a file that is not known here")
            if code != Code.SEND_DELTA:
                offered.older = None
            if code == Code.SEND_DIGEST:
                self._digests.append(result.number)
            else:
                self._wanted.append((result.number, code))
            return
        del self._offered[result.number]
        self._deltas -= offered.delta
        self.progressed = True
        if code == Code.FAILED:
            self._lose(offered)
            if result.error.known_kind() is ErrorKind.DELTA_COPY and offered.delta and offered.failure is None:
                entry.whole = True  # what the server has is not what it was any more
                self._delayed.add_first(entry)
                return
            self._failed(entry, offered.failure or failure_of(result.error))
            return
        self._count(code, offered)

    def _count(self, code: int, offered: _Offered) -> None:
        tally, entry = self._tally, offered.entry
        if entry.kind == DIRECTORY:
            # That the root was made was told when it was opened.
            tally.directories_created += code == Code.MADE and not entry.final and entry.path != ""
        elif entry.kind == LINK:
            tally.symlinks_copied += code == Code.MADE
        else:
            size = entry.size
            if code == Code.STORED:
                size = offered.sent
                tally.files_copied += 1
                tally.bytes_copied += size
                tally.bytes_reused += offered.reused
                tally.in_flight -= size
            elif code == Code.LINKED:
                tally.files_linked += 1
                tally.bytes_linked += size
            else:
                tally.files_skipped += 1
                tally.bytes_skipped += size
            tally.end_file(entry.flight, entry.path, size, entry.root)
            entry.flight = None

    def _lose(self, offered: _Offered) -> None:
        """What was sent of it is of no use."""
        self._tally.in_flight -= offered.sent
        offered.sent = offered.reused = 0
        self._tally.lose_file(offered.entry.flight)
        offered.entry.flight = None

    def _failed(self, entry: Entry, failure: CopyFailure) -> None:
        if isinstance(failure, _Shrank) and entry.shrinks < _SHRINKS:
            entry.shrinks += 1
            self._delayed.add_first(entry)
        elif self._tally.retries_left(failure, entry.tries):
            entry.tries += 1
            self._delayed.add(entry)
        elif not self._push.is_below_failed(entry):
            if entry.kind == DIRECTORY and not entry.final:
                self._push.failed.add(entry.path)
            self._tally.fail(failure, entry.path, entry.root)


def _read_up_to(descriptor: int, size: int, tally: Tally) -> bytes:
    """So many bytes of a small file, or what there is."""
    tally.operation = _READ
    content = os.read(descriptor, size) if size else b""
    while 0 < len(content) < size:
        tally.offset = len(content)
        more = os.read(descriptor, size - len(content))
        if not more:
            break
        content += more
    return content


def _changed(descriptor: int, before: os.stat_result) -> bool:
    """Whether a file is another than it was when it was opened. Its mtime may have been put back; its ctime not."""
    now = os.fstat(descriptor)
    if now.st_mtime_ns != before.st_mtime_ns or now.st_size != before.st_size:
        return True
    return not system.WINDOWS and now.st_ctime_ns != before.st_ctime_ns


def _next_extent(descriptor: int, info: os.stat_result, offset: int, size: int) -> "tuple[int, int]":
    """Where the next data begin and end."""
    if sys.platform == "win32" or not system.SPARSE or info.st_blocks * 512 + info.st_blksize >= info.st_size:
        return offset, size
    try:
        data = os.lseek(descriptor, offset, os.SEEK_DATA)
        hole = os.lseek(descriptor, data, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left
            return size, size
        return offset, size
    if data < offset or hole <= data:
        return offset, size  # the file changes meanwhile
    return min(data, size), min(hole, size)


def _attributes(entry: Entry) -> "tuple[tuple[bytes, bytes], ...]":
    """Extended attributes, as many as a message takes; file systems have less room."""
    chosen = []
    size = 0
    for name, value in entry.attributes:
        encoded = os.fsencode(name)
        if encoded.startswith(_SYSTEM_ATTRIBUTES):
            continue
        size += len(encoded) + len(value)
        if size > messages.ATTRIBUTES_MAXIMUM:
            break
        chosen.append((encoded, value))
    return tuple(chosen)
