"""Makes trees worth copying, and says what is in a tree, however deep it is."""

import ctypes
import errno
import os
import shutil
import stat
import struct
import subprocess
import sys
from typing import Any, Dict, Iterable, List, Tuple

if sys.platform != "win32":
    import fcntl

#: Wine stands in for Windows in the tests, but for what it does not have: it says that it makes symbolic links, and
#: makes none.
WINE = sys.platform == "win32" and hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")

#: Extended attributes that no ordinary copy can be expected to carry.
_NOT_COPIED = ("security.", "trusted.", "btrfs.")


def make_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes in which every piece differs from every other, so that a piece at the wrong place shows."""
    block = bytes((i * 31 + (i >> 8) * 17 + seed * 7) & 0xFF for i in range(4096))
    parts = [struct.pack("<QQ", seed, i) + block[16:] for i in range(size // 4096 + 1)]
    return b"".join(parts)[:size]


def write(path: Any, data: bytes) -> Any:
    with open(path, "wb") as stream:
        stream.write(data)
    return path


def read(path: Any) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def make_small_tree(root: Any) -> None:
    """A tree with one of each kind of thing that is copied in a way of its own: quick to copy hundreds of times."""
    os.makedirs(os.path.join(root, "sub", "deeper"))
    write(os.path.join(root, "empty"), b"")
    write(os.path.join(root, "sub", "small"), b"content")
    write(os.path.join(root, "sub", "deeper", "large"), make_bytes(300_001))
    make_sparse(os.path.join(root, "sub", "sparse"), 800_000, ((200_000, b"middle"),))
    make_link("nowhere", os.path.join(root, "sub", "dangling"))
    set_attribute(os.path.join(root, "sub", "small"), "user.colour", b"green")


def make_tree(root: Any) -> None:
    """A tree with one of each: empty, small and large files, holes, links, modes, times, attributes, strange names."""
    root = os.fsencode(root)
    os.mkdir(root)
    for directory in (b"empty", b"sub", b"sub/deeper", b"sub/deeper/deepest"):
        os.mkdir(os.path.join(root, directory))
    if os.name == "posix":
        for directory in (b"line\nbreak", b"\xff\xfe"):
            os.mkdir(os.path.join(root, directory))
        write(root + b"/line\nbreak/new\nline", b"newline")
        write(root + b"/\xff\xfe/\x80\x81 not utf-8", b"bytes")
    write(root + b"/empty.bin", b"")
    write(root + b"/one", b"1")
    write(root + b"/page", make_bytes(4096))
    write(root + b"/sub/large", make_bytes((3 << 20) + 17))
    write(root + b"/sub/deeper/deepest/leaf", make_bytes(70000, 2))
    write(root + "/grüße 文件".encode(), b"unicode")
    write(root + b"/sub/private", b"private")
    os.chmod(root + b"/sub/private", 0o600)
    write(root + b"/sub/program", b"#!/bin/sh\n")
    os.chmod(root + b"/sub/program", 0o755)
    make_sparse(root + b"/sub/sparse", 8 << 20, ((1 << 20, b"middle"),))
    make_link(b"one", root + b"/link to one")
    make_link(b"sub", root + b"/link to sub")
    make_link(b"nowhere", root + b"/dangling")
    os.link(root + b"/page", root + b"/page again")
    os.chmod(root + b"/empty", 0o711)
    set_attribute(root + b"/page", "user.colour", b"green")
    set_attribute(root + b"/sub", "user.kind", b"directory")
    for number, name in enumerate((b"/one", b"/page", b"/sub/large", b"/empty", b"/sub/deeper", b"/sub", b"")):
        os.utime(root + name, ns=(1_500_000_000_123_456_789 + number, 1_400_000_000_987_654_321 + number))


def make_link(target: Any, path: Any) -> None:
    """A symbolic link; nothing where there are none."""
    if not WINE:
        os.symlink(target, path)


def make_sparse(path: Any, size: int, pieces: Iterable[Tuple[int, bytes]]) -> None:
    """A file of holes with these pieces of data in it."""
    with open(path, "wb") as stream:
        stream.truncate(size)
        for offset, data in pieces:
            stream.seek(offset)
            stream.write(data)


def set_attribute(path: Any, name: str, value: bytes) -> bool:
    """False where the file system has no such attributes."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS):
            raise
        return False
    return True


def attributes(path: Any, *, follow_symlinks: bool = True) -> Dict[str, bytes]:
    try:
        names = [
            name for name in os.listxattr(path, follow_symlinks=follow_symlinks) if not name.startswith(_NOT_COPIED)
        ]
        return {name: os.getxattr(path, name, follow_symlinks=follow_symlinks) for name in names}
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
        return {}


def snapshot(root: Any, *, metadata: bool = True) -> Dict[bytes, Tuple[Any, ...]]:
    """What is in a tree: by relative path type and contents, and with `metadata` mode, time of change and attributes.

    It walks by descriptors, so that no depth is too deep.
    """
    if sys.platform == "win32":
        return _snapshot_by_path(os.path.abspath(os.fsdecode(root)), metadata)
    found: Dict[bytes, Tuple[Any, ...]] = {}
    pending: List[Tuple[bytes, int]] = [(b"", os.open(root, os.O_RDONLY | os.O_DIRECTORY))]
    while pending:
        prefix, directory = pending.pop()
        try:
            found[prefix] = ("directory",) + (_metadata(directory, b".") if metadata else ())
            for name in map(os.fsencode, os.listdir(directory)):
                path = os.path.join(prefix, name)
                try:
                    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                except FileNotFoundError:
                    continue  # somebody is just removing it
                if stat.S_ISDIR(mode):
                    pending.append(
                        (path, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory))
                    )
                elif stat.S_ISLNK(mode):
                    found[path] = ("link", os.readlink(name, dir_fd=directory))
                elif stat.S_ISREG(mode):
                    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
                    with os.fdopen(descriptor, "rb") as stream:
                        found[path] = ("file", stream.read()) + (_metadata(directory, name) if metadata else ())
                else:
                    found[path] = ("special", stat.S_IFMT(mode))
        finally:
            os.close(directory)
    return found


def _snapshot_by_path(root: str, metadata: bool) -> Dict[bytes, Tuple[Any, ...]]:
    """The same where there are no descriptors of directories."""
    found: Dict[bytes, Tuple[Any, ...]] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        path = "\\\\?\\" + os.path.join(root, prefix).rstrip("\\")
        status = os.lstat(path)
        kept = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, ()) if metadata else ()
        if stat.S_ISLNK(status.st_mode):
            found[os.fsencode(prefix)] = ("link", os.fsencode(os.readlink(path)))
        elif stat.S_ISDIR(status.st_mode):
            found[os.fsencode(prefix)] = ("directory", *kept)
            pending += [os.path.join(prefix, name) for name in os.listdir(path)]
        else:
            found[os.fsencode(prefix)] = ("file", read(path), *kept)
    return found


def _metadata(directory: int, name: bytes) -> Tuple[Any, ...]:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    values = tuple(sorted(attributes(b"/proc/self/fd/%d/%s" % (directory, name)).items()))
    return stat.S_IMODE(status.st_mode), status.st_mtime_ns, values


def temporaries(root: Any) -> List[str]:
    """Names of temporary files that a copy has left behind."""
    return [name for _, _, names in os.walk(os.fspath(root)) for name in names if name.startswith(".eacopy-")]


def remove(path: Any) -> None:
    """Removes a tree of any depth, where Python's own way ends at PATH_MAX or at the limit of recursion."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except (OSError, RecursionError):
        subprocess.run(["rm", "-rf", "--", os.fspath(path)], check=True)


FIEMAP = 0xC020660B
_SYNC, _SHARED, _LAST = 1, 0x2000, 1


def shared_bytes(path: Any) -> int:
    """How many bytes of a file lie in extents that it shares with another file, as FIEMAP tells."""
    shared, start = 0, 0
    with open(path, "rb") as stream:
        while True:
            request = bytearray(
                struct.pack("=QQLLLL", start, 0xFFFFFFFFFFFFFFFF - start, _SYNC, 0, 64, 0) + bytes(56 * 64)
            )
            fcntl.ioctl(stream, FIEMAP, request)
            count = struct.unpack_from("=L", request, 20)[0]
            for index in range(count):
                logical, _, length, _, _, flags, *_ = struct.unpack_from("=QQQQQLLLL", request, 32 + 56 * index)
                start = logical + length
                shared += length if flags & _SHARED else 0
                if flags & _LAST:
                    return shared
            if not count:
                return shared
