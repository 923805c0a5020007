"""Pulling in plain v20: a question, an answer, file by file, over as many connections as there is work for."""

import collections
import errno
import hashlib
import os
import stat
import time
from typing import Callable, Deque, Iterator, List, NamedTuple, Optional, Tuple, Union

from ...._errors import ErrorKind, Operation
from ...._job import DELTA_ALWAYS, DELTA_NEVER
from .. import at, system
from ..failure import CopyFailure
from . import messages, wire, zstd
from .client import Connector, Session
from .failures import ConnectionLost, violation
from .landing import Arrival, Landing, Metadata
from .older_version import PATCHED_MAXIMUM, WORTH_DELTA, Damaged, OlderVersion, Patch
from .plain_client import (
    CONTENT_AT_ONCE,
    ENTRIES_AT_ONCE,
    HASHES_MAXIMUM,
    PIECE,
    digest_of,
    information,
    joined,
    refused,
    said_plainly,
    split_place,
)
from .pull import Wanted, place_of_file, to_fetch
from .tally import Tally
from .transfer import Delayed, Lane, Transfer
from .wire import ReadAnswer

#: How soon a busy server is asked again, and at last. Seconds.
_BUSY_FIRST, _BUSY_LAST = 0.05, 5.0
#: All listings' blocks of one directory together.
_LISTING_MAXIMUM = 256 << 20
_REPARSE_POINT = 0x400
#: FILETIMEs count these nanoseconds.
_TICK = 100
#: Of a delta; the other one is xdelta, which nobody sends.
_ZSTD_CODEC = 0

_OPEN_SOURCE = Operation.OPEN_SOURCE


class PlainPull(Transfer[Wanted]):
    """The pull of a file or tree.

    Attributes:
        directory: what all connections name as theirs.
        prefix: what comes before the paths of items.
    """

    def __init__(self, tally: Tally, connector: Connector, directory: str, prefix: str) -> None:
        super().__init__(tally, connector, tally.job.threads)
        self.directory = directory
        self.prefix = prefix
        level = tally.job.remote.level
        self.level = (messages.LEVEL_AUTO if level < 0 else level) if zstd.AVAILABLE else 0

    def prepare(self, session: Session, index: int) -> None:
        self._connector.enter(session, index, self.directory)

    def make_lane(self, session: Session, tally: Tally) -> "PlainPullLane":
        return PlainPullLane(self, session, tally)

    def size_of(self, item: Wanted) -> int:
        return item.size


def pull_plainly(tally: Tally, connector: Connector, session: Session) -> Session:
    """Pulls the job's item over a plain session. Returns the session that is open then."""
    job = tally.job
    directory, name = split_place(job.remote.directory, _OPEN_SOURCE)
    pull = PlainPull(tally, connector, directory, name)
    pull.prepare(session, 1)
    info = information(session, name)
    session.operation = None
    if info.error:
        raise CopyFailure(errno.ENOENT, _OPEN_SOURCE)
    landing = Landing(tally)
    wanted: List[Wanted] = []
    if info.attributes & wire.DIRECTORY_ATTRIBUTE:
        landing.open_root(job.destination)
        landing.make("", Metadata(wire.nanoseconds_of(info.time) if info.time else None))
        session, wanted = pull.patiently(session, lambda session: _list_tree(tally, session, landing, name))
    else:
        pull.prefix = ""
        path = os.fsdecode(name.encode())
        own = place_of_file(landing, job.destination, path)
        place = landing.place("")
        assert place is not None
        wanted.append(_wanted(Wanted(path, place, own, True, info.size, _metadata_of(info.time))))
    deciding = job.make_tally()
    deciding.files_found, deciding.bytes_found = len(wanted), sum(item.size for item in wanted)
    session = pull.work(session, to_fetch(deciding, wanted))
    if info.attributes & wire.DIRECTORY_ATTRIBUTE or job.options.fsync:
        landing.finish()
    return session


def _wanted(item: Wanted) -> Wanted:
    item.tick = _TICK
    return item


def _metadata_of(filetime: int) -> Metadata:
    return Metadata(wire.nanoseconds_of(filetime))


def _list_tree(tally: Tally, session: Session, landing: Landing, prefix: str) -> List[Wanted]:
    wanted: List[Wanted] = []
    directories: Deque[str] = collections.deque([""])
    while directories:
        tally.check()
        path = directories.popleft()
        on_wire = joined(prefix, path.replace("/", "\\"))
        found = _find_files(session, joined(on_wire, "*.*"))
        if found is None:
            tally.fail(CopyFailure(errno.ENOENT, Operation.LIST_DIRECTORY), path, root=not path)
            continue
        for file in found:
            if file.name in ("", ".", "..") or "\\" in file.name or "/" in file.name:
                raise violation("it lists a name that leads out of what was asked for")
            below = path + "/" + file.name if path else file.name
            try:
                os.fsencode(below)
            except UnicodeError:
                tally.fail(CopyFailure(errno.EILSEQ, Operation.OPEN_DESTINATION, kind=ErrorKind.ENCODING), below)
                continue
            if not at.is_possible_name(os.fsencode(file.name)):
                landing.refuse(below, file.is_directory)
                continue
            if file.is_directory:
                if file.attributes & _REPARSE_POINT:
                    failure = CopyFailure(0, Operation.READ_LINK, kind=ErrorKind.UNSUPPORTED)
                    failure.text = "links and junctions cannot be copied by the server's protocol"
                    tally.fail(failure, below)
                    continue
                landing.make(below, _metadata_of(file.time))
                directories.append(below)
                continue
            place = landing.place(below)
            if place is not None:
                item = Wanted(below, place, file.name, False, file.size, _metadata_of(file.time))
                wanted.append(_wanted(item))
    return wanted


def _find_files(session: Session, pattern: str) -> Optional[List[wire.FoundFile]]:
    """What is in a directory; None when it cannot be listed."""
    session.send(wire.encode(wire.FindFiles(pattern)))
    found: List[wire.FoundFile] = []
    (size,) = session.read_numbers("<I")
    if size == wire.SEARCH_FAILED:
        return None
    if size == 0:
        # Q2: a real server ends the listing of an empty directory twice.
        if not session.flags & wire.EXTENDED and session.read(4) != bytes(4):
            raise violation("a listing that has no end")
        return found
    total = 0
    while size:
        total += size
        if total > _LISTING_MAXIMUM:
            raise violation("a listing of more than %d bytes" % _LISTING_MAXIMUM)
        try:
            found += wire.decode_listing(bytes(session.read(size)))
        except wire.ProtocolError as error:
            raise violation(str(error)) from None
        (size,) = session.read_numbers("<I")
    return found


class _Stamp(NamedTuple):
    """What a server is told of a file: the time in 100 ns since 1601, the size in bytes."""

    filetime: int
    size: int


_NOTHING = _Stamp(0, 0)


class _Rebuilt:
    """A file that was made of what is here and what came.

    Attributes:
        checked: it is right.
        answer: of the server, that does not say so.
    """

    def __init__(self, filetime: int, size: int, checked: bool, digest: bytes) -> None:
        self.filetime, self.size, self.checked, self.digest = filetime, size, checked, digest
        self.answer = 0


class PlainPullLane(Lane[Wanted]):
    """One connection of a pull."""

    def __init__(self, pull: PlainPull, session: Session, tally: Tally) -> None:
        self._pull = pull
        self._session = session
        self._tally = tally
        self._items: Deque[Wanted] = collections.deque()
        self._delayed: Delayed[Wanted] = Delayed(tally.job.options.retry_delay)
        self._arrival: Optional[Arrival] = None
        self._failure: Optional[CopyFailure] = None  # why what arrives is thrown away
        self._takes_deltas = True  # until one was of no use

    def run(self) -> None:
        while True:
            self._tally.check()
            self._items.extend(self._delayed.due())
            if not self._items:
                self._items.extend(self._pull.take(ENTRIES_AT_ONCE, CONTENT_AT_ONCE))
            if self._items:
                item = self._items[0]
                try:
                    self._read_file(item)
                except ConnectionLost:
                    raise
                except CopyFailure as failure:
                    self._lose(item)
                    self._failed(item, failure)
                self._items.popleft()
                self.progressed = True
            elif self._delayed:
                self._tally.sleep(min(self._delayed.wait, 0.1))
            else:
                return

    def unfinished(self) -> List[Wanted]:
        for item in self._items:
            self._lose(item)
        items, self._items = list(self._items), collections.deque()
        return items + self._delayed.all()

    # One file ----------------------------------------------------------------------------------------------------

    def _read_file(self, item: Wanted) -> None:
        level = self._pull.level
        deltas = bool(level) and self._may_be_delta(item)
        # Q1: told of what is here, a real server may send a delta against another file; not if it is to be raw.
        told = self._own(item) if deltas or not level else _NOTHING
        answer, _ = self._ask(item, level, told, lambda: self._own_digest(item))
        if answer == ReadAnswer.COPY_DELTA and deltas and told != _NOTHING:
            told = _NOTHING
            rebuilt = self._receive_delta(item)
            if rebuilt is None:
                self._takes_deltas = False
                answer, _ = self._ask(item, level, told, lambda: self._own_digest(item))
            else:
                if rebuilt.checked or self._is_right(item, rebuilt):
                    self._finish_delta(item, rebuilt)
                    return
                answer = rebuilt.answer
                self._takes_deltas = False
                self._lose(item)
        if answer == ReadAnswer.COPY_DELTA:
            # Nobody asked for that: it may have been made with another file than the one here (Q1).
            self._throw_delta_away()
            level, told = 0, self._own(item)
            answer, _ = self._ask(item, level, told, lambda: self._own_digest(item))
        tally = self._tally
        if answer == ReadAnswer.COPY:
            self._receive(item, level)
        elif answer == ReadAnswer.COPY_USING_SMB:
            self._copy_through_share(item)
        elif answer == ReadAnswer.SKIP:
            if told == _NOTHING or not os.path.isfile(tally.job.paths("" if item.root else item.path)[1]):
                raise refused(_OPEN_SOURCE, "the server says that the file is here already, and it is not")
            tally.files_skipped += 1
            tally.bytes_skipped += item.size
            tally.end_file(None, item.path, item.size, item.root)
        elif answer == ReadAnswer.BAD_SOURCE:
            raise CopyFailure(errno.ENOENT, _OPEN_SOURCE)
        else:
            raise violation("the answer %d to a pulled file" % answer)

    def _ask(self, item: Wanted, level: int, told: _Stamp, digest: Callable[[], bytes]) -> Tuple[int, bool]:
        """The answer to ReadFile, when it is none of those that ask back; and whether it asked for the digest.

        Args:
            told: what the server is to believe to be here.
        """
        session, tally = self._session, self._tally
        path = joined(self._pull.prefix, said_plainly(os.fsencode(item.path), _OPEN_SOURCE))
        pause, end = _BUSY_FIRST, time.monotonic() + tally.job.remote.timeout
        hashes = 0
        session.send(wire.encode(wire.ReadFile(level, told.filetime, told.size, path)))
        while True:
            answer = session.read(1)[0]
            if answer == ReadAnswer.HASH and hashes < HASHES_MAXIMUM:
                hashes += 1
                session.send(digest())
            elif answer == ReadAnswer.SERVER_BUSY:
                if time.monotonic() > end:
                    failure = CopyFailure(errno.ETIMEDOUT, Operation.RECEIVE)
                    failure.text = "the server was busy for %g seconds" % tally.job.remote.timeout
                    raise failure
                tally.sleep(pause)
                pause = min(2 * pause, _BUSY_LAST)
                hashes = 0
                session.send(wire.encode(wire.ReadFile(level, told.filetime, told.size, path)))
            else:
                return answer, hashes > 0

    # Deltas ------------------------------------------------------------------------------------------------------

    def _may_be_delta(self, item: Wanted) -> bool:
        delta = self._tally.job.remote.delta
        if not self._takes_deltas or delta == DELTA_NEVER or item.size > PATCHED_MAXIMUM:
            return False
        return item.size >= WORTH_DELTA or delta == DELTA_ALWAYS

    def _receive_delta(self, item: Wanted) -> Optional["_Rebuilt"]:
        """Makes a file of what is here and what comes. None: that does not fit."""
        session, tally = self._session, self._tally
        mtime, size = wire.decode_copy_head(bytes(session.read(16)))
        codec = session.read(1)[0]
        arrival, digest = self._arrival, hashlib.md5()
        older: Optional[OlderVersion] = None
        patch: Optional[Patch] = None
        try:
            if codec == _ZSTD_CODEC:
                older = OlderVersion(Arrival(item.place, item.name, tally).open(), tally)
                arrival = self._arrival = Arrival(item.place, item.name, tally)
                arrival.begin(None)
                item.flight = tally.begin_file(item.path, size, item.root)

                def write(content: bytes) -> None:
                    assert arrival is not None
                    digest.update(content)
                    arrival.write(memoryview(content))
                    tally.advance_file(item.flight, len(content))

                patch = Patch(older, size, write, unchecked=True)
        except OSError:
            pass  # it is read to its end all the same
        try:
            for block in self._delta_blocks():
                try:
                    if patch is not None:
                        patch.add(block)
                except (Damaged, OSError):
                    patch = None
            if patch is not None and arrival is not None:
                patch.finish()
                return _Rebuilt(mtime, size, patch.has_checksum, digest.digest())
        except (Damaged, OSError):
            pass
        finally:
            if older is not None:
                older.close()
        self._lose(item)
        return None

    def _is_right(self, item: Wanted, rebuilt: "_Rebuilt") -> bool:
        """Asks a server that compares digests. If it does not, the answer is that for the whole file."""
        # Of the right size, with a time that it does not have: so it has to look at the content.
        told = _Stamp(rebuilt.filetime ^ 1, rebuilt.size)
        answer, asked_back = self._ask(item, self._pull.level, told, lambda: rebuilt.digest)
        if answer == ReadAnswer.SKIP and not asked_back:
            answer, _ = self._ask(item, self._pull.level, _NOTHING, lambda: bytes(messages.DIGEST_SIZE))
        elif answer == ReadAnswer.SKIP:
            return True
        rebuilt.answer = answer
        return False

    def _finish_delta(self, item: Wanted, rebuilt: "_Rebuilt") -> None:
        arrival, tally = self._arrival, self._tally
        assert arrival is not None
        try:
            arrival.commit(_metadata_of(rebuilt.filetime))
        except OSError as error:
            raise arrival.failure(error, rebuilt.size) from None
        except CopyFailure as failure:
            failure.state = arrival.abandon()
            raise
        self._arrival = None
        tally.files_copied += 1
        tally.in_flight -= arrival.size
        tally.bytes_copied += rebuilt.size
        tally.end_file(item.flight, item.path, rebuilt.size, item.root)
        item.flight = None

    def _own(self, item: Wanted) -> _Stamp:
        """Time and size of the file that is here."""
        try:
            now = Arrival(item.place, item.name, self._tally).look()
        except OSError:
            return _NOTHING
        if now is None or not stat.S_ISREG(now.st_mode):
            return _NOTHING
        return _Stamp(wire.filetime_of(now.st_mtime_ns), now.st_size)

    def _own_digest(self, item: Wanted) -> bytes:
        try:
            descriptor = Arrival(item.place, item.name, self._tally).open()
        except OSError:
            return bytes(messages.DIGEST_SIZE)
        try:
            return digest_of(descriptor, self._tally)
        except OSError:
            return bytes(messages.DIGEST_SIZE)
        finally:
            system.close_quietly(descriptor)

    def _receive(self, item: Wanted, level: int) -> None:
        session, tally = self._session, self._tally
        mtime, size = wire.decode_copy_head(bytes(session.read(16)))
        arrival = self._arrival = Arrival(item.place, item.name, tally)
        self._failure = None
        item.flight = tally.begin_file(item.path, size, item.root)
        try:
            arrival.begin(None)
        except OSError as error:
            self._fail_arrival(error, size)
        for piece in self._blocks(size) if level else self._pieces(size):
            tally.check()
            if self._failure is not None:
                continue
            try:
                arrival.write(piece)
            except OSError as error:
                self._fail_arrival(error, size)
                continue
            tally.advance_file(item.flight, len(piece))
        if self._failure is None:
            try:
                arrival.commit(_metadata_of(mtime))
            except OSError as error:
                self._fail_arrival(error, size)
            except CopyFailure as failure:
                failure.state = arrival.abandon()
                self._failure = failure
        if self._failure is not None:
            raise self._failure
        self._arrival = None
        tally.in_flight -= arrival.size
        tally.files_copied += 1
        tally.bytes_copied += size
        tally.end_file(item.flight, item.path, size, item.root)
        item.flight = None

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            piece = self._session.read(min(size, PIECE))
            size -= len(piece)
            yield memoryview(piece)

    def _blocks(self, size: int) -> Iterator[memoryview]:
        session = self._session
        session.channel.volume += size
        while size:
            (length,) = session.read_numbers("<I")
            if length > wire.BLOCK_MAXIMUM:
                raise violation("a compressed block of %d bytes" % length)
            try:
                content = zstd.decompress(session.read(length), min(size, wire.BLOCK_MAXIMUM))
            except zstd.FrameError as error:
                raise violation("a compressed block that cannot be read: %s" % error) from None
            size -= len(content)
            yield memoryview(content)

    def _throw_delta_away(self) -> None:
        self._session.read(16 + 1)
        for _ in self._delta_blocks():
            pass

    def _delta_blocks(self) -> Iterator[Union[bytes, bytearray]]:
        while True:
            (length,) = self._session.read_numbers("<I")
            if not length:
                return
            if length > wire.BLOCK_MAXIMUM:
                raise violation("a block of a delta of %d bytes" % length)
            yield self._session.read(length)

    def _copy_through_share(self, item: Wanted) -> None:
        """The server has no hand in it: the share is mounted here, or it cannot be done."""
        tally = self._tally
        (mtime,) = self._session.read_numbers("<Q")
        share = tally.job.remote.local_directory
        if share is None:
            raise refused(_OPEN_SOURCE, "the server wants the file copied through the share, which is not mounted")
        source = os.fsdecode(share) if item.root else os.path.join(os.fsdecode(share), item.path)
        arrival = self._arrival = Arrival(item.place, item.name, tally)
        descriptor = -1
        tally.operation = _OPEN_SOURCE
        try:
            descriptor = at.open(system.file_path(source), at.READ_FLAGS)
            arrival.begin(None)
            while True:
                tally.check()
                tally.operation, tally.offset = Operation.READ, arrival.size
                data = os.read(descriptor, PIECE)
                if not data:
                    break
                arrival.write(data)
            arrival.commit(_metadata_of(mtime))
        except OSError as error:
            raise CopyFailure(
                error.errno or errno.EIO, tally.operation, tally.offset, state=arrival.abandon()
            ) from None
        finally:
            if descriptor >= 0:
                system.close_quietly(descriptor)
        self._arrival = None
        tally.files_copied += 1
        tally.bytes_copied += arrival.size
        tally.end_file(None, item.path, arrival.size, item.root)

    # Failures ----------------------------------------------------------------------------------------------------

    def _fail_arrival(self, error: OSError, size: int) -> None:
        """The file cannot be stored: what is still to come of it is thrown away."""
        assert self._arrival is not None
        self._failure = self._arrival.failure(error, size)

    def _lose(self, item: Wanted) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            self._tally.in_flight -= arrival.size
            arrival.abandon()
        self._tally.lose_file(item.flight)
        item.flight = None

    def _failed(self, item: Wanted, failure: CopyFailure) -> None:
        if self._tally.retries_left(failure, item.tries):
            item.tries += 1
            self._delayed.add(item)
        else:
            self._tally.fail(failure, item.path, item.root)
