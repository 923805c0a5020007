"""The server's decision about a file that a client has: whether it is here already, and how it is brought to its place
if it is."""

import enum
import os
import stat
from typing import NamedTuple, Optional

from ...._errors import Operation
from .. import at, system
from ..monitor import Monitor
from .history import Remembered
from .messages import MODE_UNKNOWN, Reference
from .older_version import OlderVersion
from .open_directories import OpenDirectories, OpenDirectory, is_regular, look, patiently
from .service import Service
from .share import Share, join, split
from .store import (
    NewMetadata,
    TemporaryFile,
    is_unchanged,
    make_link,
    read_attributes_of,
    sync_directory,
    usable_as_destination,
)
from .wire import filetime_of


class Answer(enum.Enum):
    """What becomes of a file."""

    SEND = 0
    LINKED = 1
    SKIPPED = 2
    SEND_DIGEST = 3


class Wanted(NamedTuple):
    """A file that a client has.

    `directory` and `name` say where it is to be, `key` is the name by which the history knows it. `mtime` is in
    nanoseconds; not `exact`, it was rounded down to 100 of them. `compares_attributes`: extended attributes that differ
    make it another file.
    """

    directory: OpenDirectory
    name: bytes
    key: bytes
    mtime: int
    size: int
    metadata: NewMetadata
    exact: bool
    compares_attributes: bool

    def has_time_of(self, info: os.stat_result) -> bool:
        if self.exact:
            return info.st_mtime_ns == self.mtime
        return filetime_of(info.st_mtime_ns) == filetime_of(self.mtime)


class Placer:
    """Decides for one session."""

    def __init__(self, service: Service, directories: OpenDirectories, monitor: Monitor) -> None:
        self._service = service
        self._options = service.options
        self._directories = directories
        self._monitor = monitor

    def place(self, wanted: Wanted) -> Answer:
        """Decides, and does what is to be done here. Raises OSError when there is no place for the file at all."""
        there = self._look_at_destination(wanted)
        if there is not None and is_regular(there) and there.st_size == wanted.size and wanted.has_time_of(there):
            try:
                self._set_mode(wanted, there)
            except PermissionError:
                return Answer.SEND  # it is somebody else's; a new file takes its place
            self._make_durable(wanted)
            self.remember(wanted, b"")
            self._service.statistics.count_file("skipped", wanted.size)
            return Answer.SKIPPED
        share = wanted.directory.share.number
        known = self._service.history.find(share, wanted.key, filetime_of(wanted.mtime), wanted.size)
        if known is not None and self._bring(known, wanted, there):
            return Answer.LINKED
        return Answer.SEND_DIGEST if self._options.use_hash else Answer.SEND

    def place_by_digest(self, wanted: Wanted, digest: bytes) -> Answer:
        """Decides once more, knowing the content's digest."""
        known = self._service.history.find_digest(wanted.directory.share.number, digest, wanted.size)
        if known is not None and self._bring(known, wanted, self._look_at_destination(wanted)):
            return Answer.LINKED
        return Answer.SEND

    def open_older(self, wanted: Wanted) -> Optional[OlderVersion]:
        """An older version of a file whose place has none: one of its name that is what it was. It must be closed."""
        directory = wanted.directory
        share = directory.share
        for known in self._service.history.find_name(share.number, wanted.name, wanted.size):
            older = self._open_known(share, known, join(directory.path, wanted.name))
            if older is not None and older.is_like(wanted.size):
                return older
            if older is not None:
                older.close()
        return None

    def knows(self, share: Share, name: bytes, size: int) -> bool:
        """Whether the history knows a file of that name and size."""
        return any(file.size == size for file in self._service.history.find_name(share.number, name, size))

    def open_reference(
        self, share: Share, name: bytes, reference: Reference, besides: Optional[bytes] = None
    ) -> Optional[OlderVersion]:
        """The very file that somebody has, if the history knows one of that content or name. It must be closed.

        Args:
            besides: a path that was looked at already.
        """
        history = self._service.history
        known = history.find_digest(share.number, reference.md5, reference.size)
        candidates = [] if known is None else [known]
        for known in history.find_name(share.number, name, reference.size):
            if known.size == reference.size and known.md5 in (b"", reference.md5):
                candidates.append(known)
        for known in candidates:
            older = self._open_known(share, known, besides)
            try:
                if older is not None and older.is_that(reference):
                    return older
            except OSError:
                pass  # it cannot be read, so it is of no use
            if older is not None:
                older.close()
        return None

    def _open_known(self, share: Share, known: Remembered, besides: Optional[bytes]) -> Optional[OlderVersion]:
        """Opens what is remembered if it is still that."""
        if known.path == besides:
            return None
        flags = at.READ_FLAGS | at.O_NOFOLLOW
        try:
            parent, name = split(known.path)
            source = self._directories.open(share, parent).descriptor
            older = OlderVersion(patiently(lambda: at.open(name, flags, dir_fd=source)), self._monitor)
        except OSError:
            return None
        if older.size == known.size and filetime_of(older.mtime) == known.mtime:
            return older
        older.close()
        return None

    def remember(self, wanted: Wanted, digest: bytes) -> None:
        """The file is in its place."""
        directory = wanted.directory
        path = join(directory.path, wanted.name)
        self._service.history.add(
            Remembered(directory.share.number, path, wanted.key, filetime_of(wanted.mtime), wanted.size, digest)
        )

    def key_of(self, path: bytes) -> bytes:
        """The name by which the history knows a file of that path in the session's directory."""
        return split(path)[1] if self._options.link_by_name else path

    def _look_at_destination(self, wanted: Wanted) -> Optional[os.stat_result]:
        self._monitor.operation = Operation.OPEN_DESTINATION
        there = look(wanted.directory, wanted.name)
        number = usable_as_destination(there)
        if number:
            raise OSError(number, os.strerror(number))
        return there

    def _set_mode(self, wanted: Wanted, there: os.stat_result) -> None:
        """The file is there: gives it the mode that is wanted, and changes no other name of it."""
        mode = wanted.metadata.mode
        if mode == MODE_UNKNOWN or mode == stat.S_IMODE(there.st_mode):
            return
        monitor, directory = self._monitor, wanted.directory
        monitor.operation = Operation.SET_MODE
        descriptor = at.open(wanted.name, at.READ_FLAGS | at.O_NOFOLLOW, dir_fd=directory.descriptor)
        try:
            if there.st_nlink == 1:
                at.fchmod(descriptor, mode)
                return
            with TemporaryFile(directory, monitor) as copy:
                copy.copy_from(descriptor, there.st_size)
                copy.finish(wanted.name, wanted.metadata)
        finally:
            system.close_quietly(descriptor)

    def _make_durable(self, wanted: Wanted) -> None:
        """What has the name now was perhaps never flushed to the device."""
        if not wanted.metadata.durable:
            return
        self._monitor.operation = Operation.SYNC
        flags = at.READ_FLAGS | at.O_NOFOLLOW
        descriptor = at.open(wanted.name, flags, dir_fd=wanted.directory.descriptor)
        try:
            at.sync(descriptor)
        finally:
            system.close_quietly(descriptor)
        sync_directory(wanted.directory, self._monitor)

    # Bringing a file to another place -------------------------------------------------------------------------

    def _bring(self, known: Remembered, wanted: Wanted, there: Optional[os.stat_result]) -> bool:
        """Links, clones or copies a file that was copied before. False: it is not what it was, or that failed."""
        if self._options.link_mode == "never" or wanted.size < self._options.link_min_size:
            return False
        try:
            parent, name = split(known.path)
            source = self._directories.open(wanted.directory.share, parent)
            info = look(source, name)
            if info is None or not is_regular(info) or info.st_size != known.size:
                return False
            if filetime_of(info.st_mtime_ns) != known.mtime:
                return False
            same_time = wanted.has_time_of(info)
            # Found by its name, it has to have the very time; found by its content, any.
            if not same_time and known.key == wanted.key and known.mtime == filetime_of(wanted.mtime):
                return False
            if not self._link(source, name, info, wanted, there, same_time):
                return False
        except OSError:
            return False
        self.remember(wanted, known.md5)
        self._service.statistics.count_file("linked", wanted.size)
        return True

    def _link(
        self,
        source: OpenDirectory,
        name: bytes,
        info: os.stat_result,
        wanted: Wanted,
        there: Optional[os.stat_result],
        same_time: bool,
    ) -> bool:
        mode = self._options.link_mode
        may_link = mode in ("auto", "hard") and same_time and self._has_metadata(source, name, info, wanted)
        if mode == "hard" and may_link and self._hard_link(source, name, info, wanted, there):
            return True
        return self._copy(source, name, info, wanted, there, may_link and mode == "auto")

    def _has_metadata(self, source: OpenDirectory, name: bytes, info: os.stat_result, wanted: Wanted) -> bool:
        metadata = wanted.metadata
        if metadata.mode not in (MODE_UNKNOWN, stat.S_IMODE(info.st_mode)):
            return False
        if not wanted.compares_attributes:
            return True
        return sorted(read_attributes_of(source, name, self._monitor)) == sorted(metadata.attributes)

    def _hard_link(
        self,
        source: OpenDirectory,
        name: bytes,
        info: os.stat_result,
        wanted: Wanted,
        there: Optional[os.stat_result],
    ) -> bool:
        directory = wanted.directory
        try:
            if not make_link(source, name, info, directory, wanted.name, there is not None, self._monitor):
                return False
        except OSError:  # too many, another device, not allowed: a copy is as good
            return False
        self._make_durable(wanted)
        return True

    def _copy(
        self,
        source: OpenDirectory,
        name: bytes,
        info: os.stat_result,
        wanted: Wanted,
        there: Optional[os.stat_result],
        or_link: bool,
    ) -> bool:
        """Clones where the file system can; else links if that is allowed, else copies."""
        monitor, directory = self._monitor, wanted.directory
        devices = (info.st_dev, directory.device)
        cannot_clone = self._service.cannot_clone
        if or_link and devices in cannot_clone and self._hard_link(source, name, info, wanted, there):
            return True
        descriptor = at.open(name, at.READ_FLAGS | at.O_NOFOLLOW, dir_fd=source.descriptor)
        try:
            mode = 0o600 if wanted.metadata.mode != MODE_UNKNOWN else stat.S_IMODE(info.st_mode) & 0o777
            with TemporaryFile(directory, monitor, mode) as copy:
                if devices in cannot_clone or not copy.clone_from(descriptor, info.st_size):
                    if info.st_size:
                        cannot_clone.add(devices)
                    if or_link and self._hard_link(source, name, info, wanted, there):
                        return True
                    copy.copy_from(descriptor, info.st_size)
                if not is_unchanged(info, os.fstat(descriptor)):
                    return False
                copy.finish(wanted.name, wanted.metadata)
                return True
        finally:
            system.close_quietly(descriptor)
