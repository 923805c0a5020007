"""What a client pulls: the contents of files on the server."""

import errno
import os
import stat
import zlib
from typing import Optional, Union

from ...._errors import Operation
from .. import at, system
from ..delta.signatures import Signatures
from ..delta.zstd_prefix import Compressor
from ..monitor import Monitor
from . import messages, zstd
from .channel import Channel
from .level import AUTO, LevelControl
from .listing import Lister
from .messages import Abandon, Begin, Body, End, Fetch, FetchDelta, FetchPatch, Hole, List_, PatchData, UnknownReference
from .older_version import PATCH_LEVEL, PATCHED_MAXIMUM, Difference, OlderVersion, add_signatures
from .open_directories import OpenDirectories, patiently
from .placing import Placer
from .reasons import check_path, error_of
from .service import Service
from .share import Place, split
from .store import extents
from .wire import ProtocolError

#: Files up to here are sent in one message; larger ones in pieces.
SMALL_FILE = 256 * 1024
PIECE = 512 * 1024


class _ReadFailure(Exception):
    """A file could not be read: what was begun is abandoned. A failing connection must not be taken for it."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Pulls:
    """The pulls of one session.

    Args:
        place: the session's directory.
        capabilities: what both sides can.
    """

    def __init__(
        self,
        service: Service,
        channel: Channel,
        directories: OpenDirectories,
        monitor: Monitor,
        place: Place,
        capabilities: int,
    ) -> None:
        self._service = service
        self._channel = channel
        self._directories = directories
        self._monitor = monitor
        self._place = place
        self._placer = Placer(service, directories, monitor)
        self._capabilities = capabilities
        self._level = 0
        self._delta: Optional[FetchDelta] = None  # the signatures for it are still coming
        self._signatures: Optional[Signatures] = None

    def handle(self, message: messages.Message) -> bool:
        """Does what a message asks for. False: it is none of a pull. Raises ProtocolError."""
        if self._delta is not None or isinstance(message, messages.Signatures):
            self._take_signatures(message)
        elif isinstance(message, Fetch):
            self._set_level(message.level)
            for number, path in enumerate(message.paths, message.first):
                self._send(number, path, None)
        elif isinstance(message, FetchDelta) and self._capabilities & messages.CAN_DELTA:
            self._delta = message
        elif isinstance(message, FetchPatch) and self._capabilities & messages.CAN_PATCHES:
            self._set_level(message.level)
            self._fetch_patch(message)
        elif isinstance(message, List_):
            self._set_level(message.level)
            Lister(self._channel, self._service, self._directories, self._place, message, self._capabilities).run()
        else:
            return False
        return True

    def _take_signatures(self, message: messages.Message) -> None:
        """Those of what the client has, for the file that it asked for; when all are there, that is sent."""
        delta = self._delta
        if delta is None or not isinstance(message, messages.Signatures) or message.number != delta.number:
            raise ProtocolError("signatures that are not due, or something else where they are")
        self._signatures = signatures = add_signatures(self._signatures, message)
        if signatures.is_complete:
            self._delta = self._signatures = None
            self._set_level(delta.level)
            self._send(delta.number, delta.path, signatures)

    def _fetch_patch(self, message: FetchPatch) -> None:
        """Sends a file as a patch for the older version that the client has, if that is here too."""
        self._monitor.check()
        reference = message.reference
        older = None
        if 0 < reference.size <= PATCHED_MAXIMUM:
            name = split(message.path)[1]
            older = self._placer.open_reference(self._place.share, name, reference)
        if older is None:
            self._channel.put(UnknownReference(message.number))
            return
        try:
            self._monitor.operation, self._monitor.offset = Operation.OPEN_SOURCE, 0
            self._send_patched(message, older)
        except (_ReadFailure, ValueError) as failure:
            self._abandon(message.number, message.path, failure)
        finally:
            older.close()

    def _send_patched(self, message: FetchPatch, older: OlderVersion) -> None:
        try:
            descriptor = self._open_source(self._place, message.path)
        except OSError as error:
            raise _ReadFailure(error) from None
        try:
            info = os.fstat(descriptor)
            prefix = older.read_exactly(message.reference) if 0 < info.st_size <= PATCHED_MAXIMUM else None
            if prefix is None:
                self._channel.put(UnknownReference(message.number))
                return
            self._send_patch(descriptor, message, info, prefix)
        finally:
            system.close_quietly(descriptor)
        self._service.statistics.count("files_sent")

    def _send_patch(self, descriptor: int, message: FetchPatch, info: os.stat_result, prefix: bytes) -> None:
        channel, crc, offset = self._channel, 0, 0
        channel.put(Begin(message.number, info.st_mtime_ns, info.st_size))
        level = PATCH_LEVEL if message.level in (0, messages.LEVEL_AUTO) else message.level
        compressor = Compressor(prefix, info.st_size, level, self._monitor.check)
        while offset < info.st_size:
            self._monitor.check()
            data = self._read(descriptor, offset, min(SMALL_FILE, info.st_size - offset))
            if not data:
                raise _ReadFailure(OSError(errno.EIO, "the file became shorter while it was read"))
            crc = zlib.crc32(data, crc)
            offset += len(data)
            self._put_patch(compressor.compress(data))
        self._put_patch(compressor.finish())
        channel.put(End(crc, self._has_changed(descriptor, info, info.st_size)))

    def _put_patch(self, data: bytes) -> None:
        for begin in range(0, len(data), PIECE):
            self._channel.put(PatchData(data[begin : begin + PIECE]))

    def _set_level(self, level: int) -> None:
        if level > zstd.LEVEL_MAXIMUM and level != messages.LEVEL_AUTO:
            raise ProtocolError("the unknown level %d" % level)
        if level != self._level and self._capabilities & messages.CAN_ZSTD:
            self._channel.flush()
            self._level = level
            self._channel.level = LevelControl(AUTO if level == messages.LEVEL_AUTO else level)

    def _send(self, number: int, path: bytes, older: Optional[Signatures]) -> None:
        self._monitor.check()
        try:
            self._monitor.operation, self._monitor.offset = Operation.OPEN_SOURCE, 0
            self._send_file(self._place, number, path, older)
        except (_ReadFailure, ValueError) as failure:
            self._abandon(number, path, failure)

    def _abandon(self, number: int, path: bytes, failure: Union[_ReadFailure, ValueError]) -> None:
        cause = failure.cause if isinstance(failure, _ReadFailure) else failure
        self._service.statistics.count("errors")
        self._channel.put(Abandon(number, error_of(self._monitor, cause, path)))

    def _send_file(self, place: Place, number: int, path: bytes, older: Optional[Signatures]) -> None:
        try:
            descriptor = self._open_source(place, path)
        except OSError as error:
            raise _ReadFailure(error) from None
        try:
            info = os.fstat(descriptor)
            if older is None and info.st_size <= SMALL_FILE:
                content = self._read(descriptor, 0, SMALL_FILE + 1)
                if len(content) <= SMALL_FILE:
                    changed = self._has_changed(descriptor, info, len(content))
                    self._channel.put(Body(number, zlib.crc32(content), changed, info.st_mtime_ns, content))
                    self._service.statistics.count("files_sent")
                    return
                info = os.fstat(descriptor)
            if older is None:
                self._send_large(descriptor, number, info)
            else:
                self._send_difference(descriptor, number, info, older)
        finally:
            system.close_quietly(descriptor)
        self._service.statistics.count("files_sent")

    def _send_large(self, descriptor: int, number: int, info: os.stat_result) -> None:
        channel = self._channel
        channel.put(Begin(number, info.st_mtime_ns, info.st_size))
        offset = crc = 0
        # A piece is read to where it is sent from, behind its header.
        message = memoryview(bytearray(messages.HEADER_SIZE + PIECE))
        for begin, end in [*extents(descriptor, info.st_size), (info.st_size, info.st_size)]:
            if begin > offset:
                channel.put(Hole(begin - offset))
            offset = os.lseek(descriptor, begin, os.SEEK_SET)  # looking for holes has moved it
            while offset < end:
                self._monitor.check()
                size = self._read_into(descriptor, offset, message[messages.HEADER_SIZE :][: end - offset])
                whole = message[: messages.HEADER_SIZE + size]
                whole[: messages.HEADER_SIZE] = messages.header(messages.DATA, size)
                crc = zlib.crc32(whole[messages.HEADER_SIZE :], crc)
                offset += size
                channel.put_content(whole)
        channel.put(End(crc, self._has_changed(descriptor, info, info.st_size)))

    def _send_difference(self, descriptor: int, number: int, info: os.stat_result, older: Signatures) -> None:
        channel = self._channel
        channel.put(Begin(number, info.st_mtime_ns, info.st_size))
        difference = Difference(descriptor, info.st_size, older, self._monitor)
        parts = difference.messages()
        while True:
            try:
                message = next(parts, None)
            except OSError as error:
                raise _ReadFailure(error) from None
            if message is None:
                break
            channel.put(message)
        channel.put(End(difference.crc, self._has_changed(descriptor, info, info.st_size)))

    def _read_into(self, descriptor: int, offset: int, view: memoryview) -> int:
        self._monitor.operation, self._monitor.offset = Operation.READ, offset
        try:
            size = at.readv(descriptor, [view])
        except OSError as error:
            raise _ReadFailure(error) from None
        if not size:
            raise _ReadFailure(OSError(errno.EIO, "the file became shorter while it was read"))
        return size

    def _open_source(self, place: Place, path: bytes) -> int:
        check_path(path)
        parent, name = split(place.inside(path))
        directory = self._directories.open(place.share, parent)
        flags = at.READ_FLAGS | at.O_NOFOLLOW
        descriptor = patiently(lambda: at.open(name or b".", flags, dir_fd=directory.descriptor))
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
            return at.pread(descriptor, size, offset)
        except OSError as error:
            raise _ReadFailure(error) from None

    def _has_changed(self, descriptor: int, before: os.stat_result, size: int) -> int:
        now = os.fstat(descriptor)
        # The time of the last change of any kind, because that of the contents can be set back.
        times = (now.st_mtime_ns, now.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
        same = times and now.st_size == before.st_size == size
        return 0 if same else messages.CHANGED
