"""What a file has beside its data: mode, times, extended attributes, flags."""

import errno
import os
import stat
import sys
from typing import List, Optional, Tuple, Union

from ..._errors import Operation
from . import system
from .monitor import Monitor

# What must not fail a copy: the attribute is not known or not allowed there, does not fit, or was removed meanwhile.
# 524 is the kernel's internal ENOTSUPP, which NFS lets out.
_HARMLESS_XATTR = system.NOT_SUPPORTED | {
    getattr(errno, "ENODATA", errno.ENOTSUP),
    errno.EINVAL,
    errno.EPERM,
    errno.EACCES,
    errno.ENOSPC,
    errno.ERANGE,
    524,
}
# CIFS without Unix extensions and some FUSE file systems have one mode for all their files.
_HARMLESS_MODE = system.NOT_SUPPORTED | {errno.EPERM}
_HARMLESS_FLAGS = system.NOT_SUPPORTED | {errno.EPERM, errno.EINVAL}

_SET_ATTRIBUTES, _SET_MODE, _SET_TIMES = Operation.SET_ATTRIBUTES, Operation.SET_MODE, Operation.SET_TIMES

Attributes = List[Tuple[str, bytes]]


def copy_metadata(source: int, info: os.stat_result, target: int, level: str, monitor: Monitor) -> None:
    """Gives an open destination the mode ("mode") or all metadata ("stat") of an open source."""
    attributes = read_attributes(source, monitor) if level == "stat" else []
    set_metadata(target, info, attributes, level, monitor)


def set_metadata(
    target: Union[int, str], info: os.stat_result, attributes: Attributes, level: str, monitor: Monitor
) -> None:
    """Sets the mode ("mode") or all metadata ("stat") of an open file, or where that is not possible of a named one."""
    if monitor.keeps_owner:
        set_owner(target, info, monitor)  # which clears set-uid bits, so before the mode
    # Attributes come before a mode that would forbid to set them.
    if attributes:
        write_attributes(target, attributes, monitor)
    if system.WINDOWS and level == "stat":
        # Not every file system lets anybody set the times of a read-only file there.
        monitor.operation = _SET_TIMES
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    monitor.operation = _SET_MODE
    try:
        os.chmod(target, stat.S_IMODE(info.st_mode))
    except OSError as error:
        if error.errno not in _HARMLESS_MODE:
            raise
    if level == "stat" and not system.WINDOWS:
        monitor.operation = _SET_TIMES
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
        if system.FLAGS:
            _set_flags(target, info, monitor)


def set_owner(
    target: Union[int, str],
    info: os.stat_result,
    monitor: Monitor,
    directory: Optional[int] = None,
    follow_symlinks: bool = True,
) -> None:
    """Gives a file its owner and group; when that is not allowed at least the group, as far as the user may."""
    if sys.platform == "win32":
        return
    monitor.operation = _SET_ATTRIBUTES
    for uid, gid, lost in ((info.st_uid, info.st_gid, ""), (-1, info.st_gid, "the owner"), (-1, -1, "the group")):
        if lost:
            monitor.not_kept(lost)
        if gid == -1:
            return
        try:
            os.chown(target, uid, gid, dir_fd=directory, follow_symlinks=follow_symlinks)
            return
        except OSError as error:
            if error.errno not in _HARMLESS_MODE | {errno.EINVAL}:
                raise


def read_attributes(source: Union[int, str], monitor: Monitor, follow_symlinks: bool = True) -> Attributes:
    """The extended attributes that can be read; none in most cases."""
    attributes: Attributes = []
    if sys.platform != "linux":
        return attributes
    monitor.operation = _SET_ATTRIBUTES
    try:
        names = os.listxattr(source) if follow_symlinks else os.listxattr(source, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _HARMLESS_XATTR:
            raise
        return attributes
    for name in names:
        try:
            attributes.append((name, os.getxattr(source, name, follow_symlinks=follow_symlinks)))
        except OSError as error:
            if error.errno not in _HARMLESS_XATTR:
                raise
    return attributes


def write_attributes(
    target: Union[int, str], attributes: Attributes, monitor: Monitor, follow_symlinks: bool = True
) -> None:
    if sys.platform != "linux":
        return
    monitor.operation = _SET_ATTRIBUTES
    for name, value in attributes:
        try:
            os.setxattr(target, name, value, follow_symlinks=follow_symlinks)
        except OSError as error:
            if error.errno not in _HARMLESS_XATTR:
                raise
            monitor.not_kept("the extended attribute %s" % name)


def copy_link_metadata(
    source_directory: Optional[int],
    source: str,
    info: os.stat_result,
    target_directory: Optional[int],
    target: str,
    monitor: Monitor,
) -> None:
    """The times, and what else there is, of a symbolic link itself."""
    if system.XATTR:
        attributes = read_attributes(_path_of(source_directory, source), monitor, follow_symlinks=False)
        if attributes:
            write_attributes(_path_of(target_directory, target), attributes, monitor, follow_symlinks=False)
    monitor.operation = _SET_TIMES
    if os.utime in os.supports_follow_symlinks:
        try:
            os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target_directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in system.NOT_SUPPORTED:
                raise


def _path_of(directory: Optional[int], name: str) -> str:
    """Extended attributes of links are reached by path only; the descriptor's entry in /proc makes one."""
    return name if directory is None else "/proc/self/fd/%d/%s" % (directory, name)


def _set_flags(target: Union[int, str], info: os.stat_result, monitor: Monitor) -> None:
    """Last of all, because an immutable file takes nothing more."""
    flags = getattr(info, "st_flags", 0)
    if not flags:
        return
    monitor.operation = _SET_ATTRIBUTES
    # chflags takes no descriptor, but the systems that have it name descriptors in /dev/fd.
    path = "/dev/fd/%d" % target if isinstance(target, int) else target
    try:
        getattr(os, "chflags")(path, flags)  # noqa: B009
    except OSError as error:
        if error.errno not in _HARMLESS_FLAGS:
            raise
