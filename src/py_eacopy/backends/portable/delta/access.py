"""Reading and writing at offsets, and sharing and freeing stretches of files, where the system can."""

import ctypes
import errno
import os
import struct
import sys
from typing import Any, Optional

from .. import system
from ..monitor import Monitor

if sys.platform == "linux":
    import fcntl

    # _IOW(0x94, 13, struct file_clone_range); see ioctl_ficlonerange(2).
    _FICLONERANGE = 0x8020940D if os.uname().machine.startswith(("mips", "ppc", "sparc", "alpha")) else 0x4020940D
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01  # fallocate(2)


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """`count` bytes from `offset` on; less at the end of the file."""
    parts = []
    while count > 0:
        part = _read_some(descriptor, count, offset)
        if not part:
            break
        parts.append(part)
        offset, count = offset + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_at(descriptor: int, data: bytes, offset: int, monitor: Monitor) -> None:
    """Writes all, no faster than the job may."""
    rest = memoryview(data)
    while rest:
        piece = rest if monitor.throttle is None else rest[: monitor.admit(len(rest))]
        count = _write_some(descriptor, piece, offset)
        if count == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest, offset = rest[count:], offset + count


if sys.platform != "win32":

    def _read_some(descriptor: int, count: int, offset: int) -> bytes:
        return os.pread(descriptor, count, offset)

    def _write_some(descriptor: int, data: memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

else:

    def _read_some(descriptor: int, count: int, offset: int) -> bytes:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)

    def _write_some(descriptor: int, data: memoryview, offset: int) -> int:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


def share(source: int, source_offset: int, target: int, target_offset: int, length: int) -> bool:
    """Makes the target share a stretch of the source: its extents, where the file system can; False where not.

    All three numbers must be multiples of the file system's block, but the length where the source ends.
    """
    if sys.platform == "linux":
        request = struct.pack("=qQQQ", source, source_offset, length, target_offset)
        try:
            fcntl.ioctl(target, _FICLONERANGE, request)
            return True
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOSPC, errno.ENOMEM):
                raise
    return False


def copy_range(source: int, source_offset: int, target: int, target_offset: int, length: int) -> int:
    """Has the kernel (or the server of a network file system) copy; returns how many bytes, 0 where it does not."""
    if sys.platform != "linux" or not system.COPY_FILE_RANGE:
        return 0
    try:
        return os.copy_file_range(source, target, min(length, 1 << 30), source_offset, target_offset)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return 0


def punch_hole(descriptor: int, offset: int, length: int) -> bool:
    """Gives a stretch of a file back to the file system, which then reads as zeros; False where it cannot."""
    fallocate = _fallocate()
    if fallocate is None:
        return False
    return bool(fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length) == 0)


def _fallocate() -> Optional[Any]:
    # Python has no function for it.
    if sys.platform != "linux":
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate64
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function
