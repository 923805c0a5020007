"""Pulling: what is listed is compared with what is there, and the rest is fetched. The extended dialect's part."""

import collections
import errno
import os
import stat
import sys
from typing import Deque, Dict, Iterator, List, Optional, Set

from ...._errors import DestinationState, ErrorKind, Operation
from ...._job import DELTA_ALWAYS
from .. import at, system
from ..failure import CopyFailure
from ..progress import Flight
from . import messages
from .client import Connector, Session
from .failures import failure_of, violation
from .landing import Arrival, Landing, Metadata, Place
from .older_version import PATCHED_MAXIMUM, WORTH_DELTA, Damaged, OlderVersion, Patch
from .share import split
from .tally import Tally
from .transfer import Delayed, Lane, Transfer

_FETCH_ENTRIES, _FETCH_CONTENT = 512, 64 << 20
_FETCH_PATHS = 512 * 1024  # bytes of paths in one message
#: What Windows cannot say leads nowhere there either.
_TARGET_ERRORS = "replace" if system.WINDOWS else sys.getfilesystemencodeerrors()


class Wanted:
    """A file or link that is to be pulled.

    Attributes:
        path: what it is called on the server.
        name: what it is to be called, in `place`.
        root: it is all that is pulled.
        tick: how exact the server's times are, in nanoseconds.
        flight: its progress, while it arrives.
        whole: it is to come as it is, because what differs was no good.
        unpatched: the server does not have the older version that is here.
    """

    __slots__ = (
        "flight",
        "metadata",
        "name",
        "path",
        "place",
        "root",
        "size",
        "target",
        "tick",
        "tries",
        "unpatched",
        "whole",
    )

    def __init__(self, path: str, place: Place, name: str, root: bool, size: int, metadata: Metadata) -> None:
        self.path = path
        self.place = place
        self.name = name
        self.root = root
        self.size = size
        self.metadata = metadata
        self.target: Optional[str] = None
        self.tick = 100 if system.WINDOWS else 1
        self.tries = 0
        self.whole = self.unpatched = False
        self.flight: Optional[Flight] = None


def place_of_file(landing: Landing, destination: str, name: str) -> str:
    """Opens the directory that a single pulled file goes to, and returns what it is to be called there.

    Args:
        destination: a file, or a directory that takes it in.
        name: of the source.

    Raises CopyFailure.
    """
    if os.path.isdir(destination):
        landing.open_root(destination)
        return name
    if os.path.islink(destination):
        destination = os.path.realpath(destination)  # the user's own link is written through
    parent, own = os.path.split(destination)
    if not own:
        raise CopyFailure(errno.ENOENT, Operation.OPEN_DESTINATION)
    landing.open_root(parent or os.curdir, for_file=True)
    return own


def to_fetch(tally: Tally, wanted: List[Wanted]) -> Iterator[Wanted]:
    """Makes the links, and names the files that are not there already."""
    for item in wanted:
        tally.check()
        arrival = Arrival(item.place, item.name, tally)
        try:
            if item.target is not None:
                if arrival.read_link() != item.target:
                    arrival.make_link(item.target, item.metadata)
                    tally.symlinks_copied += 1
                continue
            if tally.job.options.metadata == "stat" and _is_there(arrival, item):
                tally.files_skipped += 1
                tally.bytes_skipped += item.size
                tally.end_file(None, item.path, item.size, item.root)
                continue
        except OSError as error:
            state = arrival.abandon()
            tally.fail(CopyFailure(error.errno or errno.EIO, tally.operation, state=state), item.path, item.root)
            continue
        yield item


def _is_there(arrival: Arrival, item: Wanted) -> bool:
    """Whether the very file is at the destination. Its mode is set, where that changes no other name."""
    now = arrival.look()
    if now is None or not stat.S_ISREG(now.st_mode):
        return False
    mtime = item.metadata.mtime
    if now.st_size != item.size or mtime is None or now.st_mtime_ns // item.tick != mtime // item.tick:
        return False
    mode = item.metadata.mode
    if mode is not None and stat.S_IMODE(now.st_mode) != mode:
        if now.st_nlink > 1:
            return False
        arrival.set_mode(mode)
    return True


class Pull(Transfer[Wanted]):
    """The pull of a file or tree."""

    def __init__(self, tally: Tally, connector: Connector, session: Session) -> None:
        job = tally.job
        super().__init__(tally, connector, min(job.threads, session.advised))
        self.level = 0
        if session.capabilities & messages.CAN_ZSTD:
            self.level = messages.LEVEL_AUTO if job.remote.level < 0 else job.remote.level
        self._can_delta = bool(session.capabilities & messages.CAN_DELTA)
        self._always = job.remote.delta == DELTA_ALWAYS or job.remote.reference is not None

    def is_for_delta(self, item: Wanted) -> bool:
        """Whether what differs from an older version is enough, if there is one here."""
        if not self._can_delta or item.whole or not item.size:
            return False
        return item.size >= WORTH_DELTA or self._always

    def older_version(self, item: Wanted, tally: Tally) -> Optional[OlderVersion]:
        """The older version of a file that is here, if that is of use."""
        reference = self.job.remote.reference
        try:
            if reference is not None:
                descriptor = at.open(system.file_path(os.fsdecode(reference)), at.READ_FLAGS)
            else:
                descriptor = Arrival(item.place, item.name, tally).open()
            older = OlderVersion(descriptor, tally)
        except OSError:
            return None
        if older.is_like(item.size):
            return older
        older.close()
        return None

    def may_be_patched(self, item: Wanted, older: OlderVersion) -> bool:
        """Whether to ask for a patch, which the server can make only if it has that older version too."""
        if item.unpatched or not (self.level or self.job.remote.reference is not None):
            return False
        return max(older.size, item.size) <= PATCHED_MAXIMUM

    def make_lane(self, session: Session, tally: Tally) -> "PullLane":
        return PullLane(self, session, tally)

    def size_of(self, item: Wanted) -> int:
        return item.size


def pull(tally: Tally, connector: Connector, session: Session) -> Session:
    """Pulls the job's item over an extended session. Returns the session that is open then."""
    if session.is_directory and tally.job.remote.reference is not None:
        failure = CopyFailure(0, Operation.OPEN_REFERENCE, kind=ErrorKind.INVALID_ARGUMENT)
        failure.text = "a reference goes with one file"
        raise failure
    landing = Landing(tally)
    transfer = Pull(tally, connector, session)
    session, wanted = transfer.patiently(session, lambda session: _list(tally, session, landing, transfer.level))
    deciding = tally.job.make_tally()
    deciding.files_found, deciding.bytes_found = len(wanted), sum(item.size for item in wanted)
    session = transfer.work(session, to_fetch(deciding, wanted))
    if session.is_directory or tally.job.options.fsync:
        landing.finish()
    return session


def _list(tally: Tally, session: Session, landing: Landing, level: int) -> List[Wanted]:
    """Asks what there is, makes the directories, and returns the rest."""
    job = tally.job
    flags = messages.LIST_RECURSIVE if session.is_directory else 0
    if job.options.metadata == "stat" and session.capabilities & messages.CAN_ATTRIBUTES:
        flags |= messages.LIST_ATTRIBUTES
    path = b"" if session.is_directory else job.remote.directory.rstrip(b"/").rpartition(b"/")[2]
    own_name = os.fsdecode(path)
    if session.is_directory:
        landing.open_root(job.destination)
    else:
        own_name = place_of_file(landing, job.destination, own_name)
    session.put(messages.List_(flags, path, level))
    session.flush()
    wanted: List[Wanted] = []
    while True:
        tally.check()
        message = session.receive()
        if isinstance(message, messages.Entries):
            for entry in message.entries:
                _take_entry(tally, landing, entry, wanted, None if session.is_directory else own_name)
        elif isinstance(message, messages.Listed):
            for error in message.failures:
                tally.fail(failure_of(error), os.fsdecode(error.path), root=not error.path or not session.is_directory)
            return wanted
        else:
            raise violation("a %s where a listing is due" % type(message).__name__)


def _take_entry(
    tally: Tally, landing: Landing, entry: messages.Entry, wanted: List[Wanted], own_name: Optional[str]
) -> None:
    if not messages.is_legal_path(entry.path):
        raise violation("it lists a path that leads out of what was asked for")
    is_directory = entry.type == messages.DIRECTORY
    if own_name is None and entry.path and not at.is_possible_name(split(entry.path)[1]):
        landing.refuse(entry.path.decode(sys.getfilesystemencoding(), "replace"), is_directory)
        return
    path = os.fsdecode(entry.path)
    attributes = [(os.fsdecode(name), value) for name, value in entry.attributes]
    mode = None if entry.mode == messages.MODE_UNKNOWN or system.WINDOWS else stat.S_IMODE(entry.mode)
    metadata = Metadata(entry.mtime, entry.atime, mode, attributes)
    try:
        if is_directory:
            landing.make(path, metadata)
            return
        place = landing.place("" if own_name is not None else path)
    except KeyError:
        raise violation("it lists what is in a directory that it did not list") from None
    if place is None:
        return
    root = own_name is not None
    if not root and not path:
        raise violation("it lists a file without a name")
    name = path.rpartition("/")[2] if own_name is None else own_name
    item = Wanted(path, place, name, root, entry.size if entry.type == messages.FILE else 0, metadata)
    if entry.type == messages.LINK:
        item.target = entry.target.decode(sys.getfilesystemencoding(), _TARGET_ERRORS)
        if tally.job.options.follow_symlinks:
            failure = CopyFailure(errno.ENOTSUP, Operation.READ_LINK, kind=ErrorKind.UNSUPPORTED)
            failure.text = "a server does not follow symbolic links; copy them as links"
            tally.fail(failure, path, root)
            return
    wanted.append(item)


class PullLane(Lane[Wanted]):
    """One connection of a pull."""

    def __init__(self, pull: Pull, session: Session, tally: Tally) -> None:
        self._pull = pull
        self._session = session
        self._tally = tally
        self._next: Deque[Wanted] = collections.deque()  # not asked for yet
        self._due: Deque[Wanted] = collections.deque()  # asked for, in order
        self._older: Dict[int, OlderVersion] = {}  # of those that may come as what differs
        self._patched: Set[int] = set()  # those of them that may come as a patch
        self._patch: Optional[Patch] = None  # the one that arrives
        self._reused = 0  # bytes of the file that arrives
        self._by_delta = False  # it was made of its older version, which may be why it is wrong
        self._fetches: Deque[int] = collections.deque()  # how many answers each of them is still owed
        self._first = session.numbered  # the number of what is due first
        self._arrival: Optional[Arrival] = None
        self._size = 0  # of the file that arrives in pieces
        self._mtime = 0
        self._failure: Optional[CopyFailure] = None  # why what arrives is thrown away
        self._delayed: Delayed[Wanted] = Delayed(pull.job.options.retry_delay)
        self._exhausted = False

    def run(self) -> None:
        try:
            self._run()
        finally:
            for older in self._older.values():
                older.close()
            self._older.clear()

    def _run(self) -> None:
        while True:
            self._tally.check()
            self._fetch()
            if self._due:
                self._take(self._session.receive())
            elif self._delayed:
                self._tally.sleep(min(self._delayed.wait, 0.1))
            elif self._exhausted:
                return

    def unfinished(self) -> List[Wanted]:
        if self._arrival is not None:
            self._lose(self._due[0], self._arrival.size)
            self._end_arrival()
        for item in self._due:
            self._lose(item)
        unfinished = [*self._due, *self._next, *self._delayed.all()]
        self._due.clear()
        self._next.clear()
        return unfinished

    # Asking ------------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Asks for more, while few are on the way."""
        self._next.extendleft(reversed(self._delayed.due()))
        while len(self._fetches) < messages.FETCHES_MAXIMUM // 2:
            if not self._next and not self._exhausted:
                self._next.extend(self._pull.take(_FETCH_ENTRIES, _FETCH_CONTENT))
                self._exhausted = not self._next
            if not self._next:
                return
            if not self._fetch_delta(self._next[0]):
                self._fetch_some()

    def _fetch_some(self) -> None:
        """Asks for the next ones, up to one that may come as what differs."""
        items = [self._next.popleft()]
        size = len(items[0].path)
        while self._next and size < _FETCH_PATHS and not self._pull.is_for_delta(self._next[0]):
            items.append(self._next.popleft())
            size += len(items[-1].path) + 2
        self._asked(items, messages.Fetch(self._session.numbered, self._pull.level, [_encoded(item) for item in items]))

    def _fetch_delta(self, item: Wanted) -> bool:
        """Asks for what differs from the older version that is here. False: none is, or it is of no use."""
        session, tally = self._session, self._tally
        older = self._pull.older_version(item, tally) if self._pull.is_for_delta(item) else None
        if older is None:
            return False
        number, level, path = session.numbered, self._pull.level, _encoded(item)
        patched = bool(session.capabilities & messages.CAN_PATCHES) and self._pull.may_be_patched(item, older)
        request: List[messages.Message] = []
        try:
            if patched:
                reference = messages.Reference(older.size, older.digest())
                request.append(messages.FetchPatch(number, level, path, reference))
            else:
                # All of them, before anything is said: a file that cannot be read to its end is of no use.
                request += [messages.FetchDelta(number, level, path), *older.signatures(number)]
        except OSError:
            older.close()
            return False
        except BaseException:
            older.close()
            raise
        self._older[number] = older
        self._next.popleft()
        if patched:
            self._patched.add(number)
        self._asked([item], *request)
        return True

    def _asked(self, items: List[Wanted], *request: messages.Message) -> None:
        self._due.extend(items)
        self._fetches.append(len(items))
        self._session.numbered += len(items)
        for message in request:
            self._session.put(message)
        self._session.flush()

    # Taking ------------------------------------------------------------------------------------------------------

    def _take(self, message: messages.Message) -> None:
        if isinstance(message, messages.Data):
            self._take_data(message)
        elif isinstance(message, messages.Body):
            self._take_begin(message.number, len(message.content), message.mtime)
            self._take_content(message.content)
            self._take_end(message.crc)
        elif isinstance(message, messages.Begin):
            self._take_begin(message.number, message.size, message.mtime)
        elif isinstance(message, messages.Hole):
            self._take_hole(message.length)
        elif isinstance(message, messages.Reuse):
            self._take_reuse(message)
        elif isinstance(message, messages.PatchData):
            self._take_patch(message)
        elif isinstance(message, messages.UnknownReference):
            self._take_unknown_reference(message)
        elif isinstance(message, messages.End):
            self._take_end(message.crc)
        elif isinstance(message, messages.Abandon):
            self._take_abandon(message)
        else:
            raise violation("a %s where content is due" % type(message).__name__)

    def _take_begin(self, number: int, size: int, mtime: int) -> None:
        if number != self._first or self._arrival is not None:
            raise violation("content that is not due")
        item, tally = self._due[0], self._tally
        self._size, self._mtime, self._failure = size, mtime, None
        self._reused, self._by_delta, self._patch = 0, False, None
        arrival = self._arrival = Arrival(item.place, item.name, tally)
        item.flight = tally.begin_file(item.path, size, item.root)
        try:
            arrival.begin(item.metadata.mode)
        except OSError as error:
            self._fail_arrival(error)

    def _take_data(self, message: messages.Data) -> None:
        if self._arrival is None:
            raise violation("content that belongs to no file")
        self._take_content(message.content)

    def _take_content(self, content: "messages.Buffer") -> None:
        arrival = self._arrival
        assert arrival is not None
        if self._failure is not None:
            return
        if arrival.size + len(content) > self._size:
            raise violation("more content than was announced")
        try:
            arrival.write(memoryview(content))
        except OSError as error:
            self._fail_arrival(error)
            return
        self._tally.advance_file(self._due[0].flight, len(content))

    def _take_hole(self, length: int) -> None:
        arrival = self._arrival
        if arrival is None:
            raise violation("a hole that belongs to no file")
        if self._failure is not None:
            return
        if arrival.size + length > self._size:
            raise violation("more content than was announced")
        try:
            arrival.skip(length)
        except OSError as error:
            self._fail_arrival(error)
            return
        self._tally.advance_file(self._due[0].flight, length)

    def _take_reuse(self, message: messages.Reuse) -> None:
        arrival, older = self._arrival, self._older.get(self._first)
        if arrival is None or older is None or self._first in self._patched:
            raise violation("a Reuse where nothing is known")
        if not message.length or message.offset + message.length > older.size:
            raise violation("a Reuse of what is not in the older version")
        self._by_delta = True
        if self._failure is None and arrival.size + message.length > self._size:
            raise violation("more content than was announced")
        for offset, length, whole_blocks in older.parts(message.offset, message.length, arrival.size):
            if self._failure is None:
                self._take_stretch(arrival, older, offset, length, whole_blocks)
        if self._failure is None:
            self._reused += message.length

    def _take_stretch(
        self, arrival: Arrival, older: OlderVersion, offset: int, length: int, whole_blocks: bool
    ) -> None:
        if whole_blocks:
            try:
                older.clones = arrival.share_from(older.descriptor, offset, length)
            except OSError as error:
                self._fail_arrival(error)
                return
            if older.clones:
                self._tally.advance_file(self._due[0].flight, length)
                return
        pieces = older.pieces(offset, length)
        while self._failure is None:
            try:
                piece = next(pieces, None)
            except OSError:
                self._fail_delta(arrival)
                return
            if piece is None:
                return
            self._take_content(piece)

    def _take_patch(self, message: messages.PatchData) -> None:
        arrival, older = self._arrival, self._older.get(self._first)
        if arrival is None or older is None or self._first not in self._patched:
            raise violation("a patch that was not asked for")
        self._by_delta = True
        if self._failure is not None:
            return
        if self._patch is None:
            self._patch = Patch(older, self._size, self._take_content)
        try:
            self._patch.add(message.content)
        except (Damaged, OSError):
            self._fail_delta(arrival)

    def _take_unknown_reference(self, message: messages.UnknownReference) -> None:
        if message.number != self._first or self._arrival is not None or self._first not in self._patched:
            raise violation("an answer to what was not asked")
        item = self._due[0]
        item.unpatched = True
        self._delayed.add_first(item)
        self._finish_item()

    def _finish_patch(self, arrival: Arrival) -> None:
        try:
            if self._patch is not None and self._failure is None:
                self._patch.finish()
        except (Damaged, OSError):
            self._fail_delta(arrival)
        self._patch = None

    def _fail_delta(self, arrival: Arrival) -> None:
        """What came does not fit what is here: all of it is to come then."""
        kind = ErrorKind.DELTA_COPY
        self._failure = CopyFailure(errno.EBUSY, Operation.READ_REFERENCE, state=arrival.abandon(), kind=kind)

    def _take_end(self, crc: int) -> None:
        arrival, item, tally = self._arrival, self._due[0], self._tally
        if arrival is None:
            raise violation("an end that belongs to no file")
        self._finish_patch(arrival)
        if self._first in self._older:
            self._older[self._first].close()  # not everywhere can what is open be replaced
        if self._failure is None and self._by_delta and (arrival.size != self._size or not arrival.matches(crc)):
            self._fail_delta(arrival)
        if self._failure is None:
            if arrival.size != self._size:
                raise violation("less content than was announced")
            if not arrival.matches(crc):
                raise violation("content that does not match its checksum")
            metadata = item.metadata
            try:
                arrival.commit(Metadata(self._mtime, metadata.atime, metadata.mode, metadata.attributes))
            except OSError as error:
                self._fail_arrival(error)
            except CopyFailure as error:
                error.state = arrival.abandon()
                self._failure = error
        failure, self._arrival = self._failure, None
        if failure is not None:
            self._finish_item()
            self._lose(item, arrival.size)
            if failure.kind is ErrorKind.DELTA_COPY and not item.whole:
                item.whole = True
                self._delayed.add_first(item)
            else:
                self._failed(item, failure)
            return
        tally.bytes_reused += self._reused
        tally.in_flight -= arrival.size
        tally.files_copied += 1
        tally.bytes_copied += arrival.size
        tally.end_file(item.flight, item.path, arrival.size, item.root)
        item.flight = None
        self._finish_item()

    def _take_abandon(self, message: messages.Abandon) -> None:
        if message.number != self._first or not self._due:
            raise violation("the end of what is not due")
        item = self._due[0]
        size = self._arrival.size if self._arrival is not None else 0
        failure = failure_of(message.error)
        failure.state = self._end_arrival()
        self._finish_item()
        self._lose(item, size)
        self._failed(item, failure)

    def _finish_item(self) -> None:
        """The first that was due has come, or never will."""
        self.progressed = True
        self._due.popleft()
        self._patched.discard(self._first)
        older = self._older.pop(self._first, None)
        if older is not None:
            older.close()
        self._first += 1
        self._fetches[0] -= 1
        if not self._fetches[0]:
            self._fetches.popleft()

    # Failures ----------------------------------------------------------------------------------------------------

    def _fail_arrival(self, error: OSError) -> None:
        """The file cannot be stored: what is still to come of it is thrown away."""
        assert self._arrival is not None
        self._failure = self._arrival.failure(error, self._size)

    def _end_arrival(self) -> Optional[DestinationState]:
        """Takes back what has come of a file."""
        arrival, self._arrival = self._arrival, None
        return arrival.abandon() if arrival is not None else None

    def _lose(self, item: Wanted, size: int = 0) -> None:
        self._tally.in_flight -= size
        self._tally.lose_file(item.flight)
        item.flight = None

    def _failed(self, item: Wanted, failure: CopyFailure) -> None:
        if self._tally.retries_left(failure, item.tries):
            item.tries += 1
            self._delayed.add(item)
        else:
            self._tally.fail(failure, item.path, item.root)


def _encoded(item: Wanted) -> bytes:
    return os.fsencode(item.path)
