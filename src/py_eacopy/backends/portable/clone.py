"""Making a file share all its data with another, where the file system can do that."""

import errno
import os
import sys

from ..._errors import Operation
from .monitor import Monitor

#: A clone is a metadata transaction on both files; below this size, moving the bytes is cheaper.
CLONE_MINIMUM = 64 * 1024

if sys.platform == "linux":
    import fcntl

    # _IOW(0x94, 9, int); some processors number the direction of an ioctl in their own way.
    FICLONE = 0x80049409 if os.uname().machine.startswith(("mips", "ppc", "sparc", "alpha")) else 0x40049409

    _UNSUPPORTED = frozenset(
        {
            errno.EOPNOTSUPP,  # most file systems
            errno.ENOTTY,  # file systems without ioctls
            errno.ENOSYS,
            errno.EINVAL,  # not a regular file, or another layout (FUSE, swap files)
            errno.EBADF,  # append-only destination
            errno.EXDEV,  # another file system, btrfs subvolume mount or ZFS dataset
            errno.ETXTBSY,  # swap file
            errno.EPERM,  # immutable, or forbidden by seccomp
            errno.EACCES,  # fuse-overlayfs, SELinux
        }
    )

    def clone(source: int, target: int, monitor: Monitor) -> int:
        """Clones an open file. Returns 0, or an errno that means that there is no cloning here."""
        monitor.operation, monitor.offset = Operation.CLONE, 0
        while True:
            try:
                fcntl.ioctl(target, FICLONE, source)
                return 0
            except InterruptedError:
                continue
            except OSError as error:
                # Others are real (EIO, ENOSPC, ENOMEM...): coreutils has seen corruption after going on from these.
                if error.errno not in _UNSUPPORTED:
                    raise
                return error.errno or errno.EINVAL
else:

    def clone(source: int, target: int, monitor: Monitor) -> int:
        """There is no cloning into an open file here."""
        return errno.EOPNOTSUPP
