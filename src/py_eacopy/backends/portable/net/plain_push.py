"""Pushing in plain v20: a question, an answer, file by file, over as many connections as there is work for."""

import collections
import errno
import os
import stat
import time
from typing import Deque, List, Set

import attr

from ...._errors import ErrorKind, Operation
from .. import system
from ..failure import CopyFailure
from ..file_copy import FileCopier
from . import wire, zstd
from .client import Connector, Session
from .failures import ConnectionLost, violation
from .level import LevelControl
from .plain_client import (
    CONTENT_AT_ONCE,
    ENTRIES_AT_ONCE,
    HASHES_MAXIMUM,
    PIECE,
    create_directory,
    digest_of,
    information,
    joined,
    refused,
    said_plainly,
    split_place,
)
from .tally import Tally
from .transfer import Delayed, Dropped, Lane, Transfer
from .walk import DIRECTORY, LINK, Entry, Walk, identity_of, special_file
from .wire import WriteAnswer

#: Less than this does not get smaller.
_COMPRESSED_MINIMUM = 128
#: A file that became shorter while it was sent is sent again, so many times.
_SHRINKS = 2

_READ, _OPEN_DESTINATION = Operation.READ, Operation.OPEN_DESTINATION


class PlainPush(Transfer[Entry]):
    """The push of a file or tree.

    Attributes:
        directory: what all connections name as theirs.
        prefix: what comes before the paths of entries.
        made, failed: directories, by their paths on the wire.
    """

    def __init__(self, tally: Tally, connector: Connector, directory: str) -> None:
        super().__init__(tally, connector, tally.job.threads)
        destination = identity_of(tally.job.remote.local_directory)
        self.walk = Walk(tally.job.make_tally(), tally.job.source, destination=destination)
        self.directory = directory
        self.prefix = ""
        self.made: Set[str] = {""}
        self.failed: Set[str] = set()

    def prepare(self, session: Session, index: int) -> None:
        self._connector.enter(session, index, self.directory)

    def make_lane(self, session: Session, tally: Tally) -> "PlainPushLane":
        return PlainPushLane(self, session, tally)

    def size_of(self, item: Entry) -> int:
        return item.size


def push_plainly(tally: Tally, connector: Connector, session: Session) -> Session:
    """Pushes the job's item over a plain session. Returns the session that is open then."""
    job = tally.job
    if job.trees:
        directory = said_plainly(job.remote.directory.rstrip(b"/"), _OPEN_DESTINATION) + "\\"
        push = PlainPush(tally, connector, directory)
        push.prepare(session, 1)
        tally.directories_created += create_directory(session, "")
        session.operation = None
        return push.work(session, push.walk.tree())
    directory, name = split_place(job.remote.directory, _OPEN_DESTINATION)
    push = PlainPush(tally, connector, directory)
    push.prepare(session, 1)
    path = os.path.basename(job.source)
    if name and not information(session, name).attributes & wire.DIRECTORY_ATTRIBUTE:
        tally.directories_created += create_directory(session, "")
        path = os.fsdecode(name.encode())
    elif name:
        push.prefix = name
    session.operation = None
    push.made.add(name)
    return push.work(session, push.walk.file(path))


class _Shrank(Exception):
    """The file is shorter than was announced."""


class PlainPushLane(Lane[Entry]):
    """One connection of a push."""

    def __init__(self, push: PlainPush, session: Session, tally: Tally) -> None:
        self._push = push
        self._walk = push.walk
        self._session = session
        self._tally = tally
        self._control = LevelControl(tally.job.remote.level)
        self._waited = 0.0
        self._entries: Deque[Entry] = collections.deque()
        self._delayed: Delayed[Entry] = Delayed(tally.job.options.retry_delay)
        self._sent = 0  # bytes of the file that is being sent

    def run(self) -> None:
        while True:
            self._tally.check()
            self._entries.extend(self._delayed.due())
            if not self._entries:
                self._entries.extend(self._push.take(ENTRIES_AT_ONCE, CONTENT_AT_ONCE))
            if self._entries:
                entry = self._entries[0]
                try:
                    self._do(entry)
                except ConnectionLost:
                    self._lose(entry)
                    raise
                except CopyFailure as failure:
                    self._lose(entry)
                    self._failed(entry, failure)
                self._entries.popleft()
                self.progressed = True
            elif self._delayed:
                self._tally.sleep(min(self._delayed.wait, 0.1))
            else:
                return

    def unfinished(self) -> List[Entry]:
        for entry in self._entries:
            self._lose(entry)
        entries, self._entries = list(self._entries), collections.deque()
        return entries + self._delayed.all()

    def _do(self, entry: Entry) -> None:
        push = self._push
        path = joined(push.prefix, said_plainly(os.fsencode(entry.path), _OPEN_DESTINATION))
        parent = path.rpartition("\\")[0]
        if parent in push.failed:
            if entry.kind == DIRECTORY:
                push.failed.add(path)
        elif entry.kind == DIRECTORY:
            try:
                self._make_directory(path)
            except ConnectionLost:
                raise
            except CopyFailure:
                push.failed.add(path)
                raise
        elif entry.kind == LINK:
            failure = CopyFailure(errno.ENOTSUP, Operation.MAKE_LINK, kind=ErrorKind.UNSUPPORTED)
            failure.text = "the server's protocol has no symbolic links; copy what they point to"
            raise failure
        else:
            self._make_directory(parent)  # another connection may be about to
            self._write_file(entry, path)

    def _make_directory(self, path: str) -> None:
        """Makes a directory, unless it was made already. Raises CopyFailure."""
        push = self._push
        if path not in push.made:
            self._tally.directories_created += create_directory(self._session, path)
            push.made.add(path)
            push.failed.discard(path)

    # One file ----------------------------------------------------------------------------------------------------

    def _write_file(self, entry: Entry, path: str) -> None:
        tally = self._tally
        tally.operation, tally.offset = Operation.OPEN_SOURCE, 0
        descriptor = -1
        try:
            descriptor = self._walk.open(entry)
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise special_file(info)
            self._offer(entry, path, descriptor, info)
        except OSError as error:
            raise CopyFailure(error.errno or errno.EIO, tally.operation, tally.offset) from None
        finally:
            if descriptor >= 0:
                system.close_quietly(descriptor)

    def _offer(self, entry: Entry, path: str, descriptor: int, info: os.stat_result) -> None:
        session, tally = self._session, self._tally
        size = info.st_size
        level = 0
        if not self._control.is_off and size >= _COMPRESSED_MINIMUM:
            level = self._control.next_level(min(size, wire.BLOCK_SIZE), self._session.connection.is_behind())
        write_type = wire.COMPRESSED if level else wire.SEND
        session.send(wire.encode(wire.WriteFile(write_type, wire.filetime_of(info.st_mtime_ns), size, path)))
        answer = session.read(1)[0]
        for _ in range(HASHES_MAXIMUM):
            if answer != WriteAnswer.HASH:
                break
            session.send(digest_of(descriptor, tally))
            answer = session.read(1)[0]
        if answer == WriteAnswer.COPY:
            self._send_content(entry, descriptor, size, level)
            self._count_copied(entry, size)
        elif answer == WriteAnswer.COPY_USING_SMB:
            self._copy_through_share(entry, size)
        elif answer in (WriteAnswer.LINK, WriteAnswer.ODX):
            tally.files_linked += 1
            tally.bytes_linked += size
            tally.end_file(None, entry.path, size, entry.root)
        elif answer == WriteAnswer.SKIP:
            tally.files_skipped += 1
            tally.bytes_skipped += size
            tally.end_file(None, entry.path, size, entry.root)
        elif answer == WriteAnswer.BAD_DESTINATION:
            raise refused(_OPEN_DESTINATION, "the server does not accept the destination")
        elif answer == WriteAnswer.COPY_DELTA:
            raise refused(Operation.SEND, "the server wants a delta, which its protocol does not have for pushes")
        else:
            raise violation("the answer %d to a pushed file" % answer)

    def _count_copied(self, entry: Entry, size: int) -> None:
        tally = self._tally
        tally.in_flight -= self._sent
        self._sent = 0
        tally.files_copied += 1
        tally.bytes_copied += size
        tally.end_file(entry.flight, entry.path, size, entry.root)
        entry.flight = None

    def _send_content(self, entry: Entry, descriptor: int, size: int, level: int) -> None:
        tally, session = self._tally, self._session
        entry.flight = tally.begin_file(entry.path, size, entry.root)
        offset = 0
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            while offset < size:
                tally.check()
                tally.operation, tally.offset = _READ, offset
                piece = _read_piece(descriptor, min(wire.BLOCK_SIZE if level else PIECE, size - offset))
                if level:
                    self._send_block(piece, level if offset == 0 else self._next_level(piece))
                else:
                    session.send(piece)
                offset += len(piece)
                self._sent += len(piece)
                tally.advance_file(entry.flight, len(piece))
        except (_Shrank, OSError) as error:
            # The rest of what was announced cannot be made up, and there is no word for that.
            if isinstance(error, _Shrank) and entry.shrinks < _SHRINKS:
                entry.shrinks += 1
            else:
                number = getattr(error, "errno", None) or 0
                failure = CopyFailure(number, _READ, offset, kind=ErrorKind.READ_ERROR)
                failure.text = "" if number else "the file became shorter while it was sent"
                self._lose(entry)
                self._entries.popleft()
                self._failed(entry, failure)
            raise Dropped(0, Operation.SEND) from None
        if session.read(1) != b"\1":
            raise refused(Operation.WRITE, "the server could not store the file")

    def _next_level(self, piece: bytes) -> int:
        """Blocks of one file cannot go as they are, once one is compressed."""
        return self._control.next_level(len(piece), self._session.connection.is_behind()) or 1

    def _send_block(self, piece: bytes, level: int) -> None:
        connection = self._session.connection
        waited, self._waited = connection.waited - self._waited, connection.waited
        start = time.perf_counter()
        block = zstd.compress(piece, level, connection.check)
        self._control.tell(time.perf_counter() - start, waited, connection.is_behind())
        self._session.channel.weight += level * len(piece)
        self._session.channel.volume += len(piece)
        self._control.is_worth(len(piece), len(block))
        self._session.send(len(block).to_bytes(4, "little") + block)

    def _copy_through_share(self, entry: Entry, size: int) -> None:
        """The server has no hand in it: the share is mounted here, or it cannot be done."""
        session, tally = self._session, self._tally
        share = tally.job.remote.local_directory
        try:
            if share is None:
                raise refused(
                    _OPEN_DESTINATION, "the server wants the file to be copied through the share, which is not mounted"
                )
            target = os.fsdecode(share)
            if not entry.root or self._push.prefix or os.path.isdir(target):
                target = os.path.join(target, entry.path)
            _copy_file(tally, self._walk, entry, target)
        except CopyFailure:
            session.send(b"\0")
            raise
        session.send(b"\1")
        self._count_copied(entry, size)

    def _lose(self, entry: Entry) -> None:
        self._tally.in_flight -= self._sent
        self._sent = 0
        self._tally.lose_file(entry.flight)
        entry.flight = None

    def _failed(self, entry: Entry, failure: CopyFailure) -> None:
        if self._tally.retries_left(failure, entry.tries):
            entry.tries += 1
            self._delayed.add(entry)
        else:
            self._tally.fail(failure, entry.path, entry.root)


def _read_piece(descriptor: int, size: int) -> bytes:
    """Exactly so many bytes. Raises OSError, and _Shrank where the file ends before."""
    piece = os.read(descriptor, size)
    while len(piece) < size:
        more = os.read(descriptor, size - len(piece))
        if not more:
            raise _Shrank
        piece += more
    return piece


def _copy_file(tally: Tally, walk: Walk, entry: Entry, target: str) -> None:
    """Copies a file to a path of this machine. Raises CopyFailure."""
    options = attr.evolve(tally.job.options, atomic=True, into_directory=False, metadata="stat")
    copier = FileCopier(options, tally)
    with walk.directory_of(entry) as directory:
        copier.copy(directory, entry.name, None, system.file_path(target), follow=entry.follow)
