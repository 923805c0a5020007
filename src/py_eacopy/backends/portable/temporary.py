"""Names of unfinished files, and how to tell whether somebody still writes one: whoever does holds a lock on it."""

import os
import re
import stat
import sys
from typing import Optional

from . import system

if sys.platform == "win32":
    from . import at_windows
else:
    import fcntl

#: How often who clears up may take away what cannot be locked, a link, before it has its name: chance must not do that.
TRIES = 100

_NAME = re.compile(r"\.eacopy-[0-9a-f]{16}\.tmp")


def make_name() -> str:
    """A name that nobody else has."""
    return ".eacopy-%s.tmp" % os.urandom(8).hex()


def is_temporary(name: str) -> bool:
    """Whether a name is one of those that unfinished files have."""
    return name.startswith(".eacopy-") and _NAME.fullmatch(name) is not None


def claim(descriptor: int) -> bool:
    """Locks a file that was just created. False: somebody who clears up took it for dead; take another name."""
    return system.lock(descriptor) and (system.WINDOWS or os.fstat(descriptor).st_nlink > 0)


def keep_lock(descriptor: int, renames_open: bool = not system.WINDOWS) -> int:
    """Another descriptor of a claimed file, to be closed when it has its name: until then who clears up must see that
    somebody is alive. -1 where that cannot be.

    Args:
        renames_open: a file that is open can be given its name.
    """
    if not renames_open:
        return -1
    try:
        return os.dup(descriptor)
    except OSError:
        return -1


def remove_if_dead(directory: Optional[int], name: str) -> bool:
    """Removes an unfinished file that nobody writes any more. False when it stays."""
    try:
        if sys.platform == "win32" and directory is not None:
            return at_windows.unlink_unused(name, directory)
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            os.unlink(name, dir_fd=directory)  # its maker, if there is one, makes another
            return True
        if not stat.S_ISREG(info.st_mode) or system.WINDOWS:
            return False
        descriptor = os.open(name, system.READ_FLAGS | system.O_NOFOLLOW, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) != (info.st_dev, info.st_ino) or not _locks(descriptor):
                return False
            os.unlink(name, dir_fd=directory)
            return True
        finally:
            system.close_quietly(descriptor)
    except OSError:
        return False


def _locks(descriptor: int) -> bool:
    """As :func:`system.lock`, but where there are no locks nobody can tell who is alive."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            pass
    return False
