"""Copying one file or link: in which order it is opened, filled, dressed and put in its place."""

import errno
import os
import stat
from typing import Optional

from ..._errors import DestinationState, ErrorKind, Operation
from ..._job import CopyOptions
from . import system
from .clone import CLONE_MINIMUM, clone
from .data import READ_WRITE, copy_data
from .destination import Destination, exists, file_inside
from .failure import Cancelled, CopyFailure
from .metadata import copy_link_metadata
from .monitor import Monitor, Refusal

_OPEN_SOURCE = Operation.OPEN_SOURCE


class FileCopier:
    """Copies files one after the other, in one thread. Names are looked up in open directories, or None: stand alone.

    Attributes (of the last copy):
        link: it was a symbolic link, and was copied as one.
        into_directory: the destination was a directory and took the file in.
        size, method: of the data.
    """

    def __init__(self, options: CopyOptions, monitor: Monitor, replaces_links: bool = False) -> None:
        self._options = options
        self._monitor = monitor
        self._replaces_links = replaces_links  # see Destination
        self._no_atime = system.O_NOATIME
        self.link = False
        self.into_directory = False
        self.size = 0
        self.method = READ_WRITE

    def copy(
        self,
        source_directory: Optional[int],
        source: str,
        target_directory: Optional[int],
        target: str,
        *,
        follow: bool,
        listed: bool = False,
        in_tree: bool = False,
        limit: Optional[int] = None,
    ) -> bool:
        """Copies a file. On failure nothing that was created is left behind.

        Args:
            follow: a symbolic link is copied as what it leads to.
            listed: a directory listing called it a regular file just now.
            in_tree: it was found in a tree, where devices are not read.
            limit: leave a larger file alone.

        Returns False when the file is larger than `limit`; nothing was touched then.
        Raises CopyFailure.
        """
        monitor = self._monitor
        monitor.operation, monitor.offset = _OPEN_SOURCE, 0
        self.link = self.into_directory = False
        descriptor = -1
        size = 0
        sync_directory = self._options.fsync and not in_tree  # a tree's directory is synced when all is in it
        destination = Destination(
            target_directory, target, self._options, monitor, sync_directory, self._replaces_links
        )
        try:
            if not listed:
                info = os.stat(source, dir_fd=source_directory, follow_symlinks=follow)
                if stat.S_ISLNK(info.st_mode):
                    self.copy_link(source_directory, source, target_directory, target, in_tree=in_tree)
                    return True
                self._refuse_special(info, in_tree)
            descriptor = self._open_source(source_directory, source, follow)
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                self._refuse_special(info, in_tree)
                if limit is not None:
                    return False
                system.set_blocking(descriptor)
            size = info.st_size
            if limit is not None and size > limit:
                return False
            destination.open(source, info)
            monitor.begin(size)
            self._fill(descriptor, info, destination)
            destination.commit(descriptor, info)
            self.into_directory = destination.into_directory
        except OSError as error:
            raise self._failure(error, size, destination, target) from None
        except Cancelled:
            raise CopyFailure.of_cancellation(destination.abandon()) from None
        except BaseException:
            destination.abandon()
            raise
        finally:
            if descriptor >= 0:
                system.close_quietly(descriptor)
        return True

    def look(self, directory: Optional[int], name: str, *, follow: bool, in_tree: bool) -> None:
        """Refuses what `copy` refuses, and copies nothing. May raise OSError."""
        self._monitor.operation, self._monitor.offset = _OPEN_SOURCE, 0
        self._refuse_special(os.stat(name, dir_fd=directory, follow_symlinks=follow), in_tree)

    def copy_link(
        self,
        source_directory: Optional[int],
        source: str,
        target_directory: Optional[int],
        target: str,
        *,
        in_tree: bool = False,
    ) -> None:
        """Copies a symbolic link as a link; one in a tree with its times whatever the options say, as shutil does.

        Raises CopyFailure.
        """
        monitor = self._monitor
        monitor.operation, monitor.offset = Operation.STAT, 0
        self.link, self.into_directory = True, False
        try:
            info = os.stat(source, dir_fd=source_directory, follow_symlinks=False)
            monitor.operation = Operation.READ_LINK
            text = os.readlink(source, dir_fd=source_directory)
            monitor.operation = Operation.MAKE_LINK
            directory = system.WINDOWS and os.path.isdir(source)
            try:
                os.symlink(text, target, directory, dir_fd=target_directory)
            except FileExistsError:
                if not self._options.into_directory or not _is_directory(target_directory, target):
                    raise
                self.into_directory = True
                target = file_inside(target, source)
                os.symlink(text, target, directory, dir_fd=target_directory)
            if in_tree or self._options.metadata == "stat":
                copy_link_metadata(source_directory, source, info, target_directory, target, monitor)
        except OSError as error:
            there = exists(target_directory, target)
            state = DestinationState.OLD if there else DestinationState.ABSENT
            raise CopyFailure(error.errno or 0, monitor.operation, state=state) from None

    def _fill(self, source: int, info: os.stat_result, destination: Destination) -> None:
        """Moves the data."""
        target, existing = destination.descriptor, destination.existing
        reflink, monitor = self._options.reflink, self._monitor
        regular = stat.S_ISREG(info.st_mode) and (existing is None or stat.S_ISREG(existing.st_mode))
        self.method = "clone"
        if regular and info.st_size and reflink == "always":
            # Where there is no cloning, what was there before has to stay.
            number = self._clone(source, info, target)
            if number == errno.EINVAL and existing is not None and existing.st_size > info.st_size:
                # An end that is no multiple of the file system's block cannot lie in the middle of a file.
                destination.empty(info.st_size, to=info.st_size)
                number = self._clone(source, info, target)
            if number:
                monitor.refuse(number, Operation.CLONE, ErrorKind.UNSUPPORTED)
            destination.empty(info.st_size, to=self.size)
            return
        destination.empty(info.st_size)
        worth_it = regular and info.st_size >= CLONE_MINIMUM and reflink == "auto"
        if not worth_it or self._clone(source, info, target):
            self.method, self.size = copy_data(source, info, target, existing, self._options, monitor)

    def _clone(self, source: int, info: os.stat_result, target: int) -> int:
        """As :func:`clone`, with the size looked at: some file systems say yes and do nothing."""
        number = clone(source, target, self._monitor)
        if number:
            return number
        # The source may have been written to since it was looked at: what counts is what was cloned.
        size = os.fstat(target).st_size
        if size < info.st_size and size < os.fstat(source).st_size:
            return errno.EOPNOTSUPP
        self.size = min(size, max(info.st_size, os.fstat(source).st_size))
        self._monitor.advance(self.size)
        return 0

    def _open_source(self, directory: Optional[int], name: str, follow: bool) -> int:
        flags = system.READ_FLAGS | (0 if follow else system.O_NOFOLLOW)
        try:
            return os.open(name, flags | self._no_atime, dir_fd=directory)
        except PermissionError as error:
            if error.errno != errno.EPERM or not self._no_atime:
                raise
            self._no_atime = 0
            return self._open_source(directory, name, follow)
        except BlockingIOError:
            # Somebody holds a lease on the file and is asked to give it back: wait for that.
            return os.open(name, flags & ~system.O_NONBLOCK, dir_fd=directory)

    def _refuse_special(self, info: os.stat_result, in_tree: bool) -> None:
        """Opening a FIFO disturbs its writer, and opening a device may do anything; so this comes before, too."""
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFIFO:
            self._monitor.refuse(0, Operation.SPECIAL_FILE)
        elif kind == stat.S_IFSOCK:
            self._monitor.refuse(errno.ENXIO, _OPEN_SOURCE)
        elif kind == stat.S_IFDIR:
            self._monitor.refuse(errno.EISDIR, _OPEN_SOURCE)
        elif in_tree and kind in (stat.S_IFCHR, stat.S_IFBLK):
            self._monitor.refuse(0, Operation.SPECIAL_FILE)

    def _failure(self, error: OSError, size: int, destination: Destination, target: str) -> CopyFailure:
        failure = CopyFailure(error.errno or 0, self._monitor.operation, self._monitor.offset)
        if isinstance(error, Refusal) and error.kind is not None:
            failure.kind = error.kind
        if failure.kind in (ErrorKind.DISK_FULL, ErrorKind.FILE_TOO_LARGE):
            failure.size = size
        if failure.kind is ErrorKind.DISK_FULL and destination.descriptor >= 0:
            failure.available = system.free_space(destination.descriptor, target)
        failure.state = destination.abandon()
        return failure


def _is_directory(directory: Optional[int], name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory).st_mode)
    except OSError:
        return False
