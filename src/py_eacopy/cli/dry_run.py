"""What cp and cptree would do, found out without writing anything."""

import collections
import errno
import os
import stat
import time
from typing import Callable, Counter, Iterable, List, Optional, Set, Tuple

from .. import Control, CopyReport, EACopyError, Operation, SyncAction
from .._errors import error_from_failure

#: As shutil's: the names of a directory that are left out.
Ignore = Callable[[str, List[str]], Set[str]]


def files(pairs: Iterable[Tuple[str, str]], control: Control) -> CopyReport:
    """What a copy of files would do."""
    plan = _Plan(control)
    for source, destination in pairs:
        into = os.path.isdir(destination)
        plan.file(source, os.path.join(destination, os.path.basename(source)) if into else destination)
    return plan.report()


def tree(
    source: str,
    destination: str,
    symlinks: bool,
    ignore_dangling_symlinks: bool,
    dirs_exist_ok: bool,
    ignore: Optional[Ignore],
    control: Control,
) -> CopyReport:
    """What a copy of a tree would do."""
    plan = _Plan(control, symlinks, ignore_dangling_symlinks, dirs_exist_ok, ignore)
    plan.directory(source, destination, ())
    return plan.report()


class _Plan:
    def __init__(
        self,
        control: Control,
        symlinks: bool = False,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: bool = False,
        ignore: Optional[Ignore] = None,
    ) -> None:
        self._control = control
        self._symlinks, self._ignore_dangling = symlinks, ignore_dangling_symlinks
        self._dirs_exist_ok, self._ignore = dirs_exist_ok, ignore
        self._started = time.monotonic()
        self._counted: Counter[str] = collections.Counter()
        self._errors: List[EACopyError] = []

    def report(self) -> CopyReport:
        return CopyReport(
            files_copied=self._counted["files"],
            bytes_copied=self._counted["bytes"],
            symlinks_copied=self._counted["symlinks"],
            directories_created=self._counted["directories"],
            actions=tuple(self._control.actions),
            errors=tuple(self._errors),
            seconds=time.monotonic() - self._started,
        )

    def file(self, source: str, destination: str) -> None:
        """One file, links followed."""
        operation = Operation.OPEN_SOURCE
        try:
            found = os.stat(source)
            if stat.S_ISDIR(found.st_mode):
                raise _failure(errno.EISDIR)
            if stat.S_ISFIFO(found.st_mode):
                operation = Operation.SPECIAL_FILE
                raise _failure(errno.EINVAL)
            if not os.access(source, os.R_OK):
                raise _failure(errno.EACCES)
            operation = Operation.OPEN_DESTINATION
            there = os.path.exists(destination)
            if there and os.path.samefile(source, destination):
                operation = Operation.SAME_FILE
                raise _failure(errno.EEXIST)
            if os.path.isdir(destination):
                raise _failure(errno.EISDIR)
        except OSError as error:
            self._fail(error, operation, source, destination)
        else:
            self._act("overwrite" if there else "copy", source, destination, found.st_size)
            self._counted.update(files=1, bytes=found.st_size)

    def directory(self, source: str, destination: str, above: Tuple[Tuple[int, int], ...]) -> None:
        """A directory with all that is in it; ``above`` is what has been entered on the way, to see loops."""
        operation = Operation.LIST_DIRECTORY
        try:
            names = os.listdir(source)
            found = os.stat(source)
            identity = found.st_dev, found.st_ino
            if identity in above:
                raise _failure(errno.ELOOP)
            operation = Operation.MAKE_DIRECTORY
            there = os.path.isdir(destination)
            if there and not self._dirs_exist_ok:
                raise _failure(errno.EEXIST)
            if not there and os.path.lexists(destination):
                raise _failure(errno.EEXIST)
        except OSError as error:
            self._fail(error, operation, source, destination)
            return
        if not there:
            self._act("make-directory", source, destination)
            self._counted["directories"] += 1
        left_out = self._ignore(source, names) if self._ignore is not None else ()
        for name in sorted(names):
            if name not in left_out:
                self._entry(os.path.join(source, name), os.path.join(destination, name), (*above, identity))

    def _entry(self, source: str, destination: str, above: Tuple[Tuple[int, int], ...]) -> None:
        if os.path.islink(source):
            if self._symlinks:
                self._act("symlink", source, destination)
                self._counted["symlinks"] += 1
                return
            if self._ignore_dangling and not os.path.exists(source):
                return
        if os.path.isdir(source):
            self.directory(source, destination, above)
        else:
            self.file(source, destination)

    def _act(self, action: str, source: str, destination: str, size: int = 0) -> None:
        self._control.act(SyncAction(action, source, destination, size))

    def _fail(self, error: OSError, operation: Operation, source: str, destination: str) -> None:
        failure = error_from_failure(error.errno or 0, operation, source, destination)
        self._errors.append(failure)
        self._control.record(failure)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
