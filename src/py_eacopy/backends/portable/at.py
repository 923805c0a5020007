"""Names in open directories: the functions of :mod:`os` that take a `dir_fd`, also where Python has none (Windows).

What is looked up in an open directory cannot be led elsewhere by what somebody swaps in on the way to it.
"""

import os
import sys

from . import system

if sys.platform == "win32":
    from .at_windows import (
        CREATE_FLAGS,
        DIRECTORY_FLAGS,
        O_NOFOLLOW,
        O_PATH,
        O_SECRET,
        READ_FLAGS,
        fchmod,
        free_space,
        ftruncate,
        is_possible_name,
        is_removed,
        link,
        mkdir,
        open,
        pread,
        pwrite,
        readlink,
        readv,
        rename,
        rmdir,
        scandir,
        stat,
        symlink,
        sync,
        unlink,
        utime,
    )
else:
    from os import (
        fchmod,
        ftruncate,
        link,
        mkdir,
        open,
        pread,
        pwrite,
        readlink,
        readv,
        rename,
        rmdir,
        scandir,
        stat,
        symlink,
        unlink,
        utime,
    )

    from .system import CREATE_FLAGS, DIRECTORY_FLAGS, O_NOFOLLOW, READ_FLAGS, sync

    #: For directories that may be gone through, but not listed.
    O_PATH = getattr(os, "O_PATH", 0)
    #: Together with the mode 0o600: nobody but its owner may read the new file.
    O_SECRET = 0

    def free_space(descriptor: int) -> int:
        """Free bytes for this user where an open file or directory is; 0 when unknown."""
        return system.free_space(descriptor, "")

    def is_removed(descriptor: int) -> bool:
        """Whether an open directory is in none any more."""
        return os.fstat(descriptor).st_nlink == 0

    def is_possible_name(name: bytes) -> bool:
        """Whether a file can have this name on this system."""
        return True


#: Whether all of this is there.
AVAILABLE = system.WINDOWS or (system.DIRECTORY_HANDLES and system.METADATA_BY_DESCRIPTOR)

__all__ = [
    "AVAILABLE",
    "CREATE_FLAGS",
    "DIRECTORY_FLAGS",
    "O_NOFOLLOW",
    "O_PATH",
    "O_SECRET",
    "READ_FLAGS",
    "fchmod",
    "free_space",
    "ftruncate",
    "is_possible_name",
    "is_removed",
    "link",
    "mkdir",
    "open",
    "pread",
    "pwrite",
    "readlink",
    "readv",
    "rename",
    "rmdir",
    "scandir",
    "stat",
    "symlink",
    "sync",
    "unlink",
    "utime",
]
