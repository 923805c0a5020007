"""Shares: the directories that are served, and where in them a client's directory is."""

import errno
import os
from typing import Dict, List, Mapping, NamedTuple, NoReturn, Optional, Tuple

from .. import at, system
from .messages import is_legal_path


class Share:
    """One directory that is served.

    Attributes:
        name: as clients say it, in lower case; "" for the whole file system.
        directory: absolute, without symbolic links, "/" between names; empty for "/", and "C:" for a drive's root.
        number: its place among the shares.
        root: open; everything in the share is reached from here.
    """

    def __init__(self, name: str, directory: bytes, number: int) -> None:
        real = os.path.realpath(directory)
        self.name = name.lower()
        self.directory = slashes(real).rstrip(b"/")
        self.number = number
        self.root = at.open(real, at.DIRECTORY_FLAGS)

    def absolute(self, path: bytes) -> bytes:
        """The path of what is at `path` below the share."""
        return self.directory + b"/" + path if path or self.directory[-1:] in (b"", b":") else self.directory

    def close(self) -> None:
        system.close_quietly(self.root)


class Place(NamedTuple):
    """A directory or file of a share, that need not exist; `path` is relative, "/" between names, maybe empty."""

    share: Share
    path: bytes

    def inside(self, path: bytes) -> bytes:
        """The path of something in this directory, relative to the share."""
        return join(self.path, path)


class Shares:
    """All that a server serves: shares by name, or the whole file system by absolute path.

    Raises OSError for a directory that cannot be opened; its filename says which.
    """

    def __init__(self, directories: Mapping[str, bytes]) -> None:
        self.all: List[Share] = []
        self._by_name: Dict[str, Share] = {}
        self.whole_file_system = not directories
        try:
            for name, directory in directories.items() if directories else _whole_file_system():
                share = Share(name, directory, len(self.all))
                self.all.append(share)
                self._by_name[share.name] = share
        except OSError:
            self.close()
            raise

    def find(self, asked: bytes) -> Place:
        """Finds "share/dir...", or what an absolute path leads to. Raises PermissionError for what is not shared.

        Only absolute paths are looked at on the disk: the system resolves the symbolic links on their way, as far as
        they exist. The answer for what is outside is one and the same, whatever is there.
        """
        asked = asked.rstrip(b"/") or asked[:1]
        root, names = split_root(asked)
        if root:
            if not is_possible_path(names):
                _refuse()
            place = self.containing(slashes(os.path.realpath(root + names)))
            if place is None:
                _refuse()
            return place
        name, _, rest = asked.partition(b"/")
        if self.whole_file_system or not name or not is_possible_path(asked):
            _refuse()
        share = self._by_name.get(name.decode("utf-8", "surrogateescape").lower())
        if share is None:
            _refuse()
        return Place(share, rest)

    def containing(self, absolute: bytes) -> Optional[Place]:
        """Where an absolute path without symbolic links lies; None: in no share. The innermost share wins."""
        best: Optional[Share] = None
        for share in self.all:
            inside = _is_below(share.directory, absolute)
            if inside and (best is None or len(share.directory) > len(best.directory)):
                best = share
        return Place(best, absolute[len(best.directory) + 1 :]) if best is not None else None

    def close(self) -> None:
        for share in self.all:
            share.close()


def _refuse() -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _whole_file_system() -> List[Tuple[str, bytes]]:
    if not system.WINDOWS:
        return [("", b"/")]
    # Every drive that can be opened now: one without a medium is none.
    drives = [b"%c:/" % letter for letter in range(ord("A"), ord("Z") + 1)]
    return [("", drive) for drive in drives if os.path.isdir(drive)]


def _is_below(directory: bytes, path: bytes) -> bool:
    """Whether it is the directory, or lies in it."""
    begin, rest = path[: len(directory)], path[len(directory) :]
    if rest[:1] not in (b"", b"/"):
        return False
    return begin == directory or (system.WINDOWS and _folded(begin) == _folded(directory))


def _folded(path: bytes) -> str:
    return path.decode("utf-8", "surrogatepass").upper()


def slashes(path: bytes) -> bytes:
    """A path of this system with "/" between names."""
    return path.replace(b"\\", b"/") if system.WINDOWS else path


def split_root(path: bytes) -> Tuple[bytes, bytes]:
    """What an absolute path has before its names, and these; nothing before a relative one."""
    if not system.WINDOWS:
        return (b"/", path[1:]) if path.startswith(b"/") else (b"", path)
    if path[:1].isalpha() and path[1:2] == b":" and path[2:3] in (b"", b"/"):
        return path[:1].upper() + b":/", path[3:]
    return b"", path


def is_possible_path(path: bytes) -> bool:
    """Whether a relative path is one of the protocol, and files can have all names in it here."""
    if not is_legal_path(path):
        return False
    return not system.WINDOWS or not path or all(map(at.is_possible_name, path.split(b"/")))


def join(directory: bytes, name: bytes) -> bytes:
    """Two relative paths with a "/" between them, unless one is empty."""
    return directory + b"/" + name if directory and name else directory or name


def split(path: bytes) -> Tuple[bytes, bytes]:
    """What is before the last "/", or nothing, and what is behind it."""
    parent, _, name = path.rpartition(b"/")
    return parent, name
