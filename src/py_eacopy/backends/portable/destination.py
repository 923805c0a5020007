"""The destination of one file while it is written: what may be overwritten, and what is taken back after a failure."""

import errno
import os
import stat
from typing import Optional, Tuple

from ..._errors import DestinationState, Operation
from ..._job import CopyOptions
from . import system, temporary
from .metadata import copy_metadata, set_metadata
from .monitor import Monitor
from .verify import compare_data

_LINKS_MAXIMUM = 40  # as many as Linux follows
_OPEN_DESTINATION = Operation.OPEN_DESTINATION
_FILE_MODE = stat.S_IRUSR | stat.S_IWUSR


def exists(directory: Optional[int], name: str) -> bool:
    """Whether there is anything of that name, a link that leads nowhere included."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return True


def same_file(a: os.stat_result, b: os.stat_result) -> bool:
    return a.st_ino == b.st_ino and a.st_dev == b.st_dev


def file_inside(directory: str, source: str) -> str:
    """Where a directory takes a file in."""
    separators = os.sep + (os.altsep or "")
    name = source[max(source.rfind(separator) for separator in separators) + 1 :]
    return directory + name if directory.endswith(tuple(separators)) else directory + os.sep + name


class Destination:
    """One destination.

    Args:
        sync_directory: make the new name durable, too; False when the directory's owner does that for all of them.
        replaces_links: a symbolic link at the destination is itself replaced, not what it leads to.

    Attributes:
        descriptor: open for writing between :meth:`open` and :meth:`commit` or :meth:`abandon`, else -1.
        existing: what was there before and is being overwritten in place; None for a file that was created.
        into_directory: the name given was a directory, and the file goes into it.
    """

    __slots__ = (
        "_directory",
        "_name",
        "_given",
        "_options",
        "_monitor",
        "_syncs_directory",
        "_replaces_links",
        "_written",
        "_created",
        "_before",
        "_touched",
        "descriptor",
        "existing",
        "into_directory",
    )

    def __init__(
        self,
        directory: Optional[int],
        name: str,
        options: CopyOptions,
        monitor: Monitor,
        sync_directory: bool,
        replaces_links: bool = False,
    ) -> None:
        self._directory = directory
        self._name = self._given = name  # where the file is to be in the end
        self._options = options
        self._monitor = monitor
        self._syncs_directory = sync_directory
        self._replaces_links = replaces_links
        self._written = name  # the name under which it is written: the same, or that of the temporary file
        self._created = False  # that name is ours to remove
        self._before: Optional[os.stat_result] = None  # what was at the destination, as far as it was looked at
        self._touched = False  # the old contents are gone
        self.descriptor = -1
        self.existing: Optional[os.stat_result] = None
        self.into_directory = False

    # Opening -------------------------------------------------------------------------------------------------

    def open(self, source: str, source_info: os.stat_result) -> int:
        """Opens or creates the file to write to, and returns its descriptor."""
        while True:
            self._monitor.operation = _OPEN_DESTINATION
            try:
                if self._options.atomic:
                    self._open_atomic(source_info)
                else:
                    self._create(self._name, source_info)
            except FileExistsError:
                self._open_in_place(source_info)
            except IsADirectoryError:
                self._enter_directory(source)
                continue
            if self.descriptor >= 0:
                return self.descriptor
            self._enter_directory(source)

    def _create(self, name: str, source_info: os.stat_result) -> None:
        # Never more open than the source, not even while it is written.
        mode = 0o666 if self._options.metadata == "none" else stat.S_IMODE(source_info.st_mode) & 0o777 | _FILE_MODE
        self.descriptor = os.open(name, system.CREATE_FLAGS, mode, dir_fd=self._directory)
        self._written = name
        self._created = True

    def _open_atomic(self, source_info: os.stat_result) -> None:
        """Creates a temporary file beside what is to be replaced. Leaves no descriptor when that is a directory."""
        # Writing through a link replaces what it leads to, as writing in place would.
        self._name, self._before = self._look() if self._replaces_links else self._resolve_links(self._name)
        if self._before is not None and not (self._replaces_links and stat.S_ISLNK(self._before.st_mode)):
            if stat.S_ISDIR(self._before.st_mode):
                return
            if not stat.S_ISREG(self._before.st_mode):
                if self._replaces_links and not stat.S_ISFIFO(self._before.st_mode):
                    self._monitor.refuse(errno.EEXIST, _OPEN_DESTINATION)
                raise FileExistsError  # a device must not be replaced by a file
            if same_file(source_info, self._before):
                self._monitor.refuse(0, Operation.SAME_FILE)
        head, tail = os.path.split(self._name)
        if not tail:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        while self.descriptor < 0:
            try:
                self._create(os.path.join(head, temporary.make_name()), source_info)
            except FileExistsError:
                continue
            if not temporary.claim(self.descriptor):
                self._close()

    def _open_in_place(self, source_info: os.stat_result) -> None:
        """Opens what is there already. Leaves no descriptor when it is a directory."""
        # Looked at before it is opened, because opening a FIFO would wait for, or disturb, its reader.
        while True:
            try:
                before = os.stat(self._name, dir_fd=self._directory)
                break
            except FileNotFoundError:
                # A link that leads nowhere: its target is created, and is ours to remove again.
                self._name, found = self._resolve_links(self._name)
                if found is None:
                    try:
                        self._create(self._name, source_info)
                        return
                    except FileExistsError:
                        continue  # somebody was faster
                    except IsADirectoryError:
                        # A link to "missing/", with a slash: what is missing is a directory.
                        self._monitor.refuse(errno.ENOENT, _OPEN_DESTINATION)
        if stat.S_ISDIR(before.st_mode):
            return
        self._before = before
        if stat.S_ISFIFO(before.st_mode):
            self._monitor.refuse(0, Operation.SPECIAL_FILE)
        if same_file(source_info, before):
            self._monitor.refuse(0, Operation.SAME_FILE)
        self.descriptor = self._open_existing()
        self.existing = os.fstat(self.descriptor)
        # Once more, because the name may have been given to another file meanwhile.
        if same_file(source_info, self.existing):
            self._monitor.refuse(0, Operation.SAME_FILE)

    def _open_existing(self) -> int:
        flags = system.OVERWRITE_AND_READ_FLAGS if self._options.verify else system.OVERWRITE_FLAGS
        try:
            return os.open(self._name, flags, dir_fd=self._directory)
        except PermissionError:
            read_only = self._before is not None and not self._before.st_mode & stat.S_IWRITE
            if not (system.WINDOWS and read_only):
                raise
            os.chmod(self._name, stat.S_IWRITE)
            try:
                return os.open(self._name, flags)
            except OSError:
                os.chmod(self._name, stat.S_IREAD)  # somebody has it open
                raise

    def empty(self, size: int, to: int = 0) -> None:
        """Lets go of the old contents of a regular file beyond `to` bytes, because one of `size` bytes is coming."""
        if self.existing is None or not stat.S_ISREG(self.existing.st_mode):
            return
        if self.existing.st_size > to:
            self._monitor.operation, self._monitor.offset = Operation.TRUNCATE, to
            try:
                os.ftruncate(self.descriptor, to)
            except OSError as error:
                # Some FUSE file systems refuse. That is no harm when everything is going to be written over.
                refused = error.errno in system.NOT_SUPPORTED | {errno.EACCES, errno.EPERM}
                if not refused or self.existing.st_size > size > 0:
                    raise
        self._touched = True

    def touch(self) -> None:
        """What was there before is about to be changed where it is."""
        self._touched = self.existing is not None

    def _enter_directory(self, source: str) -> None:
        """The name is a directory: takes the file in where that is wanted, else fails."""
        self._monitor.operation = _OPEN_DESTINATION
        if not self._options.into_directory or self.into_directory:
            try:
                os.stat(self._name, dir_fd=self._directory)
            except OSError:
                # "missing/" with a slash, or "file/": what is missing is a directory.
                self._monitor.refuse(errno.ENOENT, _OPEN_DESTINATION)
            self._monitor.refuse(errno.EISDIR, _OPEN_DESTINATION)
        self.into_directory = True
        self._name = self._given = file_inside(self._given, source)
        self._before = None

    def _resolve_links(self, name: str) -> Tuple[str, Optional[os.stat_result]]:
        """Where a name leads when its links are followed, in the same directory, and what is there if anything."""
        for _ in range(_LINKS_MAXIMUM):
            try:
                info = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            except FileNotFoundError:
                return name, None
            if not stat.S_ISLNK(info.st_mode):
                return name, info
            target = os.readlink(name, dir_fd=self._directory)
            name = os.path.join(os.path.dirname(name), target)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _look(self) -> Tuple[str, Optional[os.stat_result]]:
        """What is at the name itself."""
        try:
            return self._name, os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return self._name, None

    # The end ---------------------------------------------------------------------------------------------------

    def commit(self, source: int, source_info: os.stat_result, verify: Optional[bool] = None) -> None:
        """All is written: gives it its metadata and its name, and closes it.

        Args:
            verify: compare it with the source first; None: as the options say.
        """
        options, monitor = self._options, self._monitor
        verify = options.verify if verify is None else verify
        regular = self.existing is None or stat.S_ISREG(self.existing.st_mode)
        level, info = options.metadata, source_info
        if level == "none" and self._created and self._before is not None:
            # Overwriting keeps the mode of what was there, atomically or not.
            level, info = "mode", self._before
        # A device keeps its own.
        if not regular:
            level = "none"
        if level != "none" and system.METADATA_BY_DESCRIPTOR:
            copy_metadata(source, info, self.descriptor, level, monitor)
        if regular and options.fsync:
            monitor.operation = Operation.SYNC
            system.sync(self.descriptor)
        if regular and verify:
            compare_data(source, self.descriptor, monitor)
        renames = self._written != self._name and self._created
        descriptor, self.descriptor = self.descriptor, -1
        monitor.operation = Operation.CLOSE
        lock = temporary.keep_lock(descriptor) if renames else -1
        try:
            os.close(descriptor)  # network file systems tell here what they could not write
            if level != "none" and not system.METADATA_BY_DESCRIPTOR:
                set_metadata(self._written, info, [], level, monitor)
            if renames:
                monitor.operation = Operation.RENAME
                os.replace(self._written, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        finally:
            if lock >= 0:
                system.close_quietly(lock)  # it has written nothing
        if renames:
            self._written = self._name
            if self._before is not None:
                # What was there before is gone: the new one stays, whatever comes.
                self._created, self._touched = False, True
        if self._syncs_directory and regular:
            self._sync_directory()
        self._created = self._touched = False  # it is the user's now

    def _sync_directory(self) -> None:
        if system.WINDOWS:
            return  # directories cannot be opened, and renames are journalled
        self._monitor.operation = Operation.SYNC
        directory = os.open(os.path.dirname(self._name) or ".", system.DIRECTORY_FLAGS, dir_fd=self._directory)
        try:
            system.sync(directory)
        finally:
            system.close_quietly(directory)

    def abandon(self) -> DestinationState:
        """Takes back what was created, and tells what is at the destination now."""
        if self._created:
            self._created = False
            removable = self._names_our_file()
            self._close()  # Windows removes no open file
            if removable:
                try:
                    os.unlink(self._written, dir_fd=self._directory)
                except FileNotFoundError:
                    pass
                except OSError:
                    if self._written == self._name:
                        return DestinationState.PARTIAL
            return DestinationState.ABSENT if self._before is None else DestinationState.OLD
        self._close()
        if self._touched:
            return DestinationState.PARTIAL
        return DestinationState.OLD if exists(self._directory, self._given) else DestinationState.ABSENT

    def _names_our_file(self) -> bool:
        """Whether the name still stands for the file that was created; it may have been replaced meanwhile."""
        if self.descriptor < 0:
            return True
        try:
            there = os.stat(self._written, dir_fd=self._directory, follow_symlinks=False)
            return same_file(os.fstat(self.descriptor), there)
        except OSError:
            return False

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            system.close_quietly(descriptor)  # the first error is the one to tell
