"""copy_with_server: files and trees through a server beside the share, and back."""

import errno
import os
import stat
from typing import Optional, Tuple, Union

import attr

from ._config import DEFAULT, Config, Default, active, checked, options_for
from ._control import Control
from ._errors import EACopyError, ErrorKind, InvalidArgumentError, Operation, error_from_failure
from ._job import DELTA_ALWAYS, DELTA_AUTO, DELTA_NEVER, CopyJob, CopyOptions, Filter, Remote
from ._location import PORT, Location, checked_port, is_this_machine, on_server, on_this_machine, split_address
from ._paths import StrOrBytesPath, are_bytes, encode_pair
from ._report import CopyReport
from ._strategy import run
from ._tree import Ignore, checked_filter

#: Seconds that a server may be silent.
TIMEOUT = 30.0


def copy_with_server(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    server_addr: Optional[str] = None,
    port: int = PORT,
    compression_level: Union[int, str, Default] = DEFAULT,
    *,
    token: Optional[str] = None,
    required: bool = True,
    timeout: float = TIMEOUT,
    symlinks: Union[bool, Default] = DEFAULT,
    ignore_dangling_symlinks: bool = False,
    ignore: Optional[Ignore] = None,
    delta: Union[bool, str] = "auto",
    reference: Optional[StrOrBytesPath] = None,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Copies a file or a directory tree through a server (:class:`EACopyServer`, or EACopy's own service).

    What the server has seen before does not cross the wire: it is left alone where it is, or linked from where it is.
    Every file is written beside its place and renamed, on both sides, so nobody sees half of one.

    One of the two paths is on the server, the destination (a push) or else the source (a pull). It is written as

    - ``eacopy://host:port/share/directory`` (with ``%20`` and the like for odd characters),
    - ``//host/share/directory`` or with backslashes (UNC),
    - a local path below a CIFS or NFS mount, which is looked up in the mount table (Linux), or below a prefix in the
      Config's ``path_map``,
    - any local path, when the server is on this machine.

    Args:
        src: the file or directory.
        dst: its copy. A file that is copied onto a directory goes into it. Directories are merged, and made as needed.
        server_addr: the server's host name or address, also as "host:port"; None takes it from the path.
        port: the server's; a port in the path or the address goes before it.
        compression_level: 0 none, 1 to 22 zstd's levels, "auto" adapts to the wire; default is the Config's.
        token: the secret shared with the server. It does not cross the wire, and the server must know it too.
        required: False copies directly when there is no server (or none that is understood); ``report.server`` is None
            then. A server that refuses is still an error.
        timeout: seconds that the server may be silent.
        symlinks: True copies symbolic links as links, False what they point to; default is the opposite of the
            Config's ``follow_symlinks``. Servers follow no links, so a pull can only copy them as links.
        ignore_dangling_symlinks: when links are followed: leave out those that lead nowhere.
        ignore: as for :func:`copytree`, when a tree is pushed: called in this thread as ``ignore(directory, names)``.
            A pull copies all.
        delta: whether only what differs from an older version goes over the wire, when the receiver has one at the
            path, or a server remembers one of that name. "auto" does that for files from 256 KiB on, where both sides
            can, and the server is not on this machine, where sending is faster; True for smaller ones too, and it is an
            error that one side cannot; False never does.
        reference: an older version of the one file that is copied, on this machine. When the server has the same at
            the path, or remembers it, what is sent is a patch, which is smaller still. Of a pull: it takes the place of
            what the destination has.
        config: default is the active one. Its ``thread_count`` limits the connections.
        control: cancels and watches the copy from another thread.

    Returns:
        what was copied, linked and skipped, the bytes on the wire, and the average compression level. Where
        signatures of an older version were used, ``bytes_reused`` says what was taken from that.

    Raises:
        NetworkError: there is no server, or the connection broke.
        TransferTimeoutError: the server was silent for too long.
        PermissionDeniedError: the server refused the token or the security file.
        InvalidArgumentError, ConfigurationError: a path, address, port or setting is not legal, before anything is
            copied; or a reference is given for a tree.
        FileNotFoundError: there is no such source, or reference.
        UnsupportedError: ``delta`` is True, and the server, or this Python, makes none.
        shutil.Error: single files of a tree failed, as for :func:`copytree`.
    """
    config = active() if config is None else checked(config)
    source, destination = encode_pair(src, dst, urls=True)
    if not isinstance(compression_level, Default):
        config = config.evolve(compression_level=compression_level)
    _check(token, timeout)
    keep_links = not config.follow_symlinks if isinstance(symlinks, Default) else bool(symlinks)
    metadata = "stat" if config.preserve_metadata else "mode"
    options = options_for(config, metadata, not keep_links, bool(ignore_dangling_symlinks), True)

    push, place = _place(source, destination, server_addr, config)
    if ignore is not None and not push:
        raise InvalidArgumentError(
            "a pull copies all: leave out ignore, or copy %r to a server instead" % os.fsdecode(source)
        )
    mode, older = _delta(delta, reference, source if push else None, as_bytes=are_bytes(src) and are_bytes(dst))
    names_filter = checked_filter(ignore, are_bytes(src))
    host, port = _address(place, server_addr, port)
    level = -1 if config.compression_level == "auto" else int(config.compression_level)
    remote = Remote(
        host=host,
        port=port,
        push=push,
        directory=place.directory,
        local_directory=place.local,
        token=token,
        level=level,
        timeout=float(timeout),
        delta=mode,
        reference=older,
    )
    job = CopyJob(
        trees=push and os.path.isdir(source),
        items=((source, place.shown) if push else (place.shown, destination),),
        options=options,
        filter=names_filter,
        remote=remote,
    )
    as_bytes = are_bytes(src) and are_bytes(dst)
    if required:
        return run(job, config, control, as_bytes=as_bytes)
    if place.local is None:
        raise InvalidArgumentError(
            "required=False needs a path that works without a server too, and %r does not: give a local or mounted "
            "one, or add it to path_map" % os.fsdecode(place.shown)
        )
    control = Control() if control is None else control
    try:
        report = run(job, config, control, as_bytes=as_bytes)
        if not any(map(_found_no_server, report.errors)):
            return report
    except EACopyError as error:
        if not _found_no_server(error):
            raise
    return run(_directly(source, destination, options, names_filter), config, control, as_bytes=as_bytes)


def server_report(server_addr: str, port: int = PORT, *, token: Optional[str] = None, timeout: float = TIMEOUT) -> str:
    """Asks a server (ours or EACopy's own) for its report: what it did since it was started, as text.

    Args:
        server_addr: the server's host name or address, also as "host:port".
        port: the server's; a port in the address goes before it.
        token: the secret shared with the server.
        timeout: seconds that the server may be silent.

    Raises:
        NetworkError: there is no server.
        TransferTimeoutError: it was silent for too long.
        PermissionDeniedError: it does not know the token.
        InvalidArgumentError: the address or the port is not legal.
    """
    from .backends.portable.net.client import request_report

    _check(token, timeout)
    host, own_port = split_address(server_addr)
    remote = Remote(
        host=host,
        port=own_port or checked_port(port, "port"),
        push=False,
        directory=b"",
        token=token,
        timeout=float(timeout),
    )
    return request_report(remote)


def _delta(
    delta: object, reference: Optional[StrOrBytesPath], source: Optional[bytes], *, as_bytes: bool
) -> Tuple[int, Optional[bytes]]:
    """The mode and the reference as the job has them. `source`: of a push."""
    if delta not in ("auto", True, False):
        raise InvalidArgumentError("delta=%r is not legal; legal values are: 'auto', True, False" % (delta,))
    mode = DELTA_AUTO if delta == "auto" else DELTA_ALWAYS if delta else DELTA_NEVER
    if reference is None:
        return mode, None
    if mode == DELTA_NEVER:
        raise InvalidArgumentError("a reference is of no use with delta=False: leave out one of them")
    older = os.fsencode(reference)
    if source is not None and os.path.isdir(source):
        raise InvalidArgumentError(
            "%r is a tree, and a reference goes with one file: leave it out" % os.fsdecode(source)
        )
    number, operation = 0, Operation.OPEN_REFERENCE
    try:
        status = os.stat(older)
        if stat.S_ISDIR(status.st_mode):
            number = errno.EISDIR
        elif not stat.S_ISREG(status.st_mode):
            number, operation = errno.EINVAL, Operation.SPECIAL_FILE
    except OSError as error:
        number = error.errno or errno.EIO
    except ValueError as error:
        raise InvalidArgumentError("reference=%r is no path: %s" % (reference, error)) from None
    if number:
        shown = older if as_bytes else os.fsdecode(older)
        raise error_from_failure(number, operation, shown, None)
    return mode, older


def _check(token: object, timeout: object) -> None:
    if token is not None and (not isinstance(token, str) or not token):
        raise InvalidArgumentError("token must be None or a str that is not empty")
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= 86400:  # type: ignore[operator]
        raise InvalidArgumentError("timeout=%r is not legal: it must be a number of seconds, up to 86400" % (timeout,))


def _place(source: bytes, destination: bytes, server_addr: Optional[str], config: Config) -> Tuple[bool, Location]:
    """Which of the paths is on the server (True: the destination), and where there."""
    place = on_server(destination, config.path_map)
    if place is not None:
        return True, place
    place = on_server(source, config.path_map)
    if place is not None:
        return False, place
    if server_addr is not None and is_this_machine(split_address(server_addr)[0]):
        return True, on_this_machine(destination)
    raise InvalidArgumentError(
        "neither %r nor %r is known to be on the server: write one as eacopy://host/share/directory or "
        "//host/share/directory, or, in Python, add the prefix of a mount to Config.path_map"
        % (os.fsdecode(source), os.fsdecode(destination))
    )


def _address(place: Location, server_addr: Optional[str], port: int) -> Tuple[str, int]:
    host, own_port = split_address(server_addr) if server_addr is not None else (place.host, None)
    if host is None:
        raise InvalidArgumentError("server_addr is missing, and %r names no host" % os.fsdecode(place.shown))
    return host, own_port or place.port or checked_port(port, "port")


def _found_no_server(error: EACopyError) -> bool:
    return error.operation is Operation.CONNECT and error.kind is not ErrorKind.UNSUPPORTED


def _directly(source: bytes, destination: bytes, options: CopyOptions, names_filter: Optional[Filter]) -> CopyJob:
    trees = os.path.isdir(source)
    options = attr.evolve(options, atomic=True, into_directory=not trees)
    return CopyJob(trees=trees, items=((source, destination),), options=options, filter=names_filter if trees else None)
