"""Where on a server a path is: by what it says itself, by the mount table, or by Config.path_map."""

import os
import re
import sys
from typing import Iterator, Mapping, NamedTuple, Optional, Tuple

from ._errors import ConfigurationError, InvalidArgumentError

#: The port of a server that is not told another.
PORT = 31337

_URL = re.compile(r"eacopy://(?:\[([^\]/]+)\]|([^:/\[]*))(?::([^/]*))?(?:/(.*))?\Z", re.IGNORECASE | re.DOTALL)
_HOST_AND_PORT = re.compile(
    r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?\Z|([0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\Z"
)


class Location(NamedTuple):
    """A place on a server.

    Attributes:
        directory: as the server knows it: "share/dir", or absolute.
        host, port: of the server, as far as the path says so.
        local: the same place as this machine sees it; None when it does not.
        shown: as people may read it.
    """

    directory: bytes
    host: Optional[str]
    port: Optional[int]
    local: Optional[bytes]
    shown: bytes


def split_address(address: str) -> Tuple[str, Optional[int]]:
    """``host``, ``host:port``, ``[v6]:port`` or a bare IPv6 address, as host and port."""
    found = _HOST_AND_PORT.match(address) if isinstance(address, str) else None
    if found is None:
        raise InvalidArgumentError(
            "server_addr=%r is not legal: it must be a host name or address, or host:port" % (address,)
        )
    bracketed, name, port, bare = found.groups()
    return bracketed or name or bare, checked_port(int(port), "server_addr") if port else None


def checked_port(port: object, argument: str) -> int:
    """A port that can be connected to."""
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise InvalidArgumentError("%s=%r is not legal: a port is an int from 1 to 65535" % (argument, port))
    return port


def on_server(path: bytes, path_map: Mapping[str, str]) -> Optional[Location]:
    """Where a path is, if it says so itself, or Config.path_map or the mount table do; None for a plain local one."""
    named = _named(path)
    if named is not None:
        return named
    absolute = os.path.abspath(path)
    for prefix, other in sorted(path_map.items(), key=lambda item: -len(item[0])):
        rest = _below(absolute, os.path.abspath(os.fsencode(prefix)))
        if rest is not None:
            return _mapped(os.fsencode(other), rest, path)
    return _mounted(absolute, path)


def on_this_machine(path: bytes) -> Location:
    """A local path as a server on the same machine knows it: absolute, without symbolic links."""
    return Location(_slashes(os.path.realpath(path)), None, None, path, path)


def is_this_machine(host: str) -> bool:
    """Whether a name or address is one of this machine's own: something can be bound to it."""
    import socket  # as urllib below: it takes longer to import than all of this, and few calls go through a server

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.bind(address)
            return True
        except OSError:
            continue
    return False


# What paths say themselves --------------------------------------------------------------------------------------------


def _named(path: bytes) -> Optional[Location]:
    text = os.fsdecode(path)
    if text[:9].lower() == "eacopy://":
        return _of_url(text)
    unc = _slashes(path)
    if unc.startswith(b"//") and not unc.startswith(b"///"):
        return _of_unc(unc, path)
    return None


def _of_url(text: str) -> Location:
    from urllib.parse import unquote_to_bytes

    found = _URL.match(text)
    directory = _single(unquote_to_bytes(os.fsencode(found.group(4) or ""))).strip(b"/") if found else b""
    if found is None or not directory:
        raise InvalidArgumentError("%r is not legal: it must be like eacopy://host:port/share/directory" % text)
    port = found.group(3)
    if port and not port.isdigit():
        raise InvalidArgumentError("%r is not legal: a port is an int from 1 to 65535" % text)
    number = checked_port(int(port), "the port of %r" % text) if port else None
    return Location(directory, found.group(1) or found.group(2) or None, number, None, os.fsencode(text))


def _of_unc(unc: bytes, path: bytes) -> Optional[Location]:
    host, _, directory = unc[2:].strip(b"/").partition(b"/")
    if not directory:
        raise InvalidArgumentError("%r names no share: it must be like //host/share/directory" % os.fsdecode(path))
    local = path if sys.platform == "win32" else None
    return Location(_single(directory), os.fsdecode(host), None, local, path)


def _mapped(other: bytes, rest: bytes, path: bytes) -> Location:
    named = _named(other)
    if named is not None:
        return named._replace(directory=_joined(named.directory, rest), local=path, shown=path)
    if not _slashes(other).startswith(b"/") and not re.match(rb"[A-Za-z]:[/\\]", other):
        raise ConfigurationError(
            "path_map has %r, which is not legal: it must be //host/share/..., eacopy://host/share/..., or the path "
            "on the server, absolute" % os.fsdecode(other)
        )
    return Location(_below_root(_slashes(other), rest), None, None, path, path)


# What is mounted ------------------------------------------------------------------------------------------------------


class _Mount(NamedTuple):
    point: bytes
    root: bytes  # which directory of the file system is mounted there
    kind: str
    source: bytes


def _mounted(absolute: bytes, path: bytes) -> Optional[Location]:
    real = os.path.realpath(absolute)
    best: Optional[Tuple[_Mount, bytes]] = None
    for mount in _mounts():
        rest = _below(real, mount.point)
        if rest is not None and (best is None or len(mount.point) >= len(best[0].point)):
            best = mount, rest
    if best is None:
        return None
    mount, rest = best
    inside = _joined(mount.root.strip(b"/"), rest) if mount.kind in ("cifs", "smb3") else rest
    if mount.kind in ("cifs", "smb3"):
        unc = _of_unc(_slashes(mount.source), mount.source)
        return unc and unc._replace(directory=_joined(unc.directory, inside), local=path, shown=path)
    if mount.kind in ("nfs", "nfs4"):
        host, _, export = mount.source.rpartition(b":")
        return Location(_below_root(export, rest), os.fsdecode(host.strip(b"[]")), None, path, path)
    return None


def _mounts(table: str = "/proc/self/mountinfo") -> Iterator[_Mount]:
    """What is mounted where, from Linux's proc(5); nothing on other systems, where path_map tells it."""
    try:
        with open(table, "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                fields, tail = before.split(b" "), after.split(b" ")
                if len(fields) > 4 and len(tail) > 1:
                    yield _Mount(
                        _plain(fields[4]), _plain(fields[3]), tail[0].decode("ascii", "replace"), _plain(tail[1])
                    )
    except OSError:
        return


def _plain(field: bytes) -> bytes:
    """A field of the table without its octal escapes."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), field)


# Parts of paths -------------------------------------------------------------------------------------------------------


def _below(path: bytes, prefix: bytes) -> Optional[bytes]:
    """What of a path comes after a prefix of whole components; None when it begins otherwise."""
    prefix = prefix.rstrip(os.fsencode(os.sep))
    if path == prefix or not prefix:
        return _slashes(path[len(prefix) :]).strip(b"/")
    return _slashes(path[len(prefix) + 1 :]).strip(b"/") if path.startswith(prefix + os.fsencode(os.sep)) else None


def _joined(directory: bytes, rest: bytes) -> bytes:
    if not directory or not rest:
        return directory or rest
    return directory + b"/" + rest


def _below_root(directory: bytes, rest: bytes) -> bytes:
    """The same for an absolute directory, which may be the root."""
    return directory.rstrip(b"/") + b"/" + rest if rest else directory


def _single(directory: bytes) -> bytes:
    return re.sub(rb"/+", b"/", directory)


def _slashes(path: bytes) -> bytes:
    """With "/" between names: on POSIX a backslash is one only where it must be, at the start of a UNC path."""
    if sys.platform == "win32" or path.startswith(b"\\\\"):
        return path.replace(b"\\", b"/")
    return path
