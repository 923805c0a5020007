"""What this interpreter and this operating system offer to a copy, looked up once."""

import errno
import os
import shutil
import sys
from typing import FrozenSet

if sys.platform != "win32":
    import fcntl

WINDOWS = os.name == "nt"

#: Names can be looked up in open directories: nothing swapped in on the way leads elsewhere, and no path is too long.
DIRECTORY_HANDLES = {os.open, os.stat, os.mkdir, os.unlink, os.rename, os.readlink, os.symlink, os.utime}.issubset(
    os.supports_dir_fd
) and os.scandir in os.supports_fd
#: Mode and times can be set on open files. Windows wants names.
METADATA_BY_DESCRIPTOR = hasattr(os, "fchmod") and os.utime in os.supports_fd

_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
#: Reading should not dirty the source's inode; only its owner and root may ask for that.
O_NOATIME = getattr(os, "O_NOATIME", 0)
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
#: O_NONBLOCK: a FIFO that took the file's place since it was looked at must not hang the copy.
READ_FLAGS = os.O_RDONLY | _COMMON | O_NONBLOCK | getattr(os, "O_SEQUENTIAL", 0)
#: Readable too, so that the copy can be verified through the same descriptor.
CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | _COMMON
OVERWRITE_FLAGS = os.O_WRONLY | _COMMON
OVERWRITE_AND_READ_FLAGS = os.O_RDWR | _COMMON
DIRECTORY_FLAGS = os.O_RDONLY | _COMMON | getattr(os, "O_DIRECTORY", 0)


def _kernel_copies_ranges() -> bool:
    """Before Linux 5.3 copy_file_range answers 0 on some network file systems although there is data."""
    if sys.platform != "linux" or not hasattr(os, "copy_file_range"):
        return False
    numbers = os.uname().release.split(".")
    try:
        return (int(numbers[0]), int(numbers[1])) >= (5, 3)
    except (ValueError, IndexError):
        return False


COPY_FILE_RANGE = _kernel_copies_ranges()
#: Elsewhere sendfile sends to sockets only.
SENDFILE = sys.platform == "linux" and hasattr(os, "sendfile")
SPARSE = hasattr(os, "SEEK_DATA") and hasattr(os, "SEEK_HOLE")
CLONE = sys.platform == "linux"
XATTR = sys.platform == "linux"  # Python has them nowhere else
FLAGS = hasattr(os, "chflags")


def capabilities() -> FrozenSet[str]:
    """The names of what can be done here."""
    offers = {
        "clone": CLONE,
        "copy_file_range": COPY_FILE_RANGE,
        "sendfile": SENDFILE,
        "sparse": SPARSE,
        "symlinks": hasattr(os, "symlink"),
        "xattr": XATTR,
        "flags": FLAGS,
        "threads": True,
        "delta": True,
    }
    return frozenset(name for name, offered in offers.items() if offered)


#: Errnos by which file systems say that they have no such operation.
NOT_SUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def set_blocking(descriptor: int) -> None:
    """A device is read as slowly as it comes."""
    if sys.platform != "win32":
        os.set_blocking(descriptor, True)


def close_quietly(descriptor: int) -> None:
    """Closes what was only read from: an error could not be about anything that matters."""
    try:
        os.close(descriptor)
    except OSError:
        pass


def lock(descriptor: int) -> bool:
    """Locks a file for as long as it is open. False: somebody else has. True where there are no locks, too."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def sync(descriptor: int) -> None:
    """Makes an open file or directory durable."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync only hands the data to the drive
            return
        except OSError:
            pass
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Pipes and some FUSE file systems have nothing to flush.
        if error.errno not in NOT_SUPPORTED | {errno.EINVAL, errno.EROFS}:
            raise


def sync_path(path: str) -> None:
    """Makes the entries of a directory durable."""
    if WINDOWS:
        return  # directories cannot be opened, and what they hold is journalled
    descriptor = os.open(path, DIRECTORY_FLAGS)
    try:
        sync(descriptor)
    finally:
        close_quietly(descriptor)


def long_path(path: str) -> str:
    """The path in the form that may be longer than 260 characters on Windows."""
    if not WINDOWS or path.startswith("\\\\?\\") or not path:
        return path
    path = os.path.abspath(path)
    return "\\\\?\\UNC" + path[1:] if path.startswith("\\\\") else "\\\\?\\" + path


def file_path(path: str) -> str:
    """The path of a single file, in the other form only where it has to be: messages show it."""
    return long_path(path) if WINDOWS and len(path) >= 240 else path


def free_space(descriptor: int, path: str) -> int:
    """Free bytes for this user where an open file is; 0 when unknown."""
    try:
        if sys.platform != "win32":
            answer = os.fstatvfs(descriptor)
            return answer.f_bavail * answer.f_frsize
        return shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    except OSError:
        return 0
