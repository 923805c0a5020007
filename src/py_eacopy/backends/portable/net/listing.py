"""What a client may pull: the listing of a tree on the server."""

import errno
import os
import stat
from typing import List

from ...._errors import ErrorKind, Operation, classify
from .. import at
from . import messages
from .channel import Channel
from .messages import Entries, Entry, Error, List_, Listed
from .open_directories import OpenDirectories, OpenDirectory, look
from .reasons import SessionEnded, check_path
from .service import Service
from .share import Place, join, split
from .store import is_temporary_name, read_attributes_of

#: Entries are sent when they take so many bytes.
_LISTING_SIZE = 256 * 1024


class Lister:
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
        self._with_modes = bool(capabilities & messages.CAN_MODES)
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
            check_path(path)
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
        # In the order of names: what is alike is fetched together, and shrinks more.
        for name, info in sorted(found, key=lambda pair: pair[0]):
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
        return inside[::-1]  # the last is listed first

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
            target = at.readlink(name, dir_fd=directory.descriptor)
        else:
            self._monitor.operation = Operation.SPECIAL_FILE
            self._fail(path, errno.EINVAL)
            return False
        attributes = read_attributes_of(directory, name, self._monitor) if self._with_attributes else ()
        if sum(len(key) + len(value) for key, value in attributes) > messages.ATTRIBUTES_MAXIMUM:
            attributes = ()
        permissions = stat.S_IMODE(mode) if self._with_modes else messages.MODE_UNKNOWN
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
