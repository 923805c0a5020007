"""The one job model: a frozen value that holds all a backend needs to know, so that no backend looks at a
configuration."""

from typing import Callable, Iterable, List, Optional, Sequence, Tuple

import attr

#: For each name of a directory: True leaves it out. Arguments: the directory's source path, its names.
Filter = Callable[[bytes, List[bytes]], Sequence[bool]]

METADATA = ("none", "mode", "stat")
REFLINK = ("auto", "always", "never")
STRATEGIES = ("raise", "retry", "ignore")
DELTA_ACTIONS = ("copy", "create", "apply")


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True, hash=True, cache_hash=True)
class CopyOptions:
    """How to copy. Every field has been validated by then (see :class:`py_eacopy.Config`).

    Attributes:
        metadata: "none" (copyfile), "mode" (copy) or "stat" (copy2: mode, times, extended attributes, flags).
        follow_symlinks: False copies a symbolic link as a link; a tree's root is always followed.
        ignore_dangling_symlinks: trees that follow: leave out links that lead nowhere.
        dirs_exist_ok: trees: directories of the destination may exist.
        into_directory: files: a destination that is a directory takes the file in under its own name.
        thread_count: workers of a tree, a batch or one large file.
        buffer_size: most bytes that one read or write moves.
        reflink: "auto", "always" (fail where the file system cannot clone) or "never" (nor by copy_file_range).
        atomic: write a temporary sibling and rename it over the destination.
        fsync: make data and directory entries durable before returning.
        verify: read both files again and compare.
        error_strategy: "raise", "retry" or "ignore".
        retry_count: further tries of a file under "retry".
        retry_delay: seconds between two tries.
    """

    metadata: str = "stat"
    follow_symlinks: bool = True
    ignore_dangling_symlinks: bool = False
    dirs_exist_ok: bool = False
    into_directory: bool = False
    thread_count: int = 4
    buffer_size: int = 8 * 1024 * 1024
    reflink: str = "auto"
    atomic: bool = False
    fsync: bool = False
    verify: bool = False
    error_strategy: str = "raise"
    retry_count: int = 3
    retry_delay: float = 1.0


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True)
class Remote:
    """The server through which a job goes.

    Attributes:
        host, port: where it listens.
        push: True: the destination is on the server; False: the source is.
        directory: the path on the server, "/" between names: "share/dir", or absolute.
        local_directory: the same place as this machine sees it; None when it does not.
        token: the shared secret; None without.
        level: zstd: 0 none, 1 to 22, -1 adapts to the wire.
        timeout: seconds that the server may be silent.
        plain: speak plain v20 even to a server that knows more.
    """

    host: str
    port: int
    push: bool
    directory: bytes
    local_directory: Optional[bytes] = None
    token: Optional[str] = attr.ib(default=None, repr=False)
    level: int = 0
    timeout: float = 30.0
    plain: bool = False


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True)
class Delta:
    """What a job makes with the help of a reference.

    Attributes:
        action: "copy": the destination becomes the source; "create": the destination becomes the patch that makes the
            source out of the reference; "apply": the source is such a patch, and the destination what it makes.
        reference: the path of the older version.
        level: zstd's level of a new patch, 1 to 22.
        allow_unchecked: apply a patch that has no checksum.
    """

    action: str
    reference: bytes
    level: int = 3
    allow_unchecked: bool = False


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True)
class CopyJob:
    """What to copy, and how.

    Attributes:
        trees: the items are directories to copy recursively; False: they are files.
        items: pairs of source and destination as bytes (os.fsencode), read lazily by the coordinating thread.
        options: how.
        filter: trees: asked in the calling thread for each directory before it is copied; None keeps every name.
        remote: copy the one item through this server. The path that is not local is only for messages. When the server
            has the source, it knows whether that is a tree.
        delta: make the one item with the help of a reference.
    """

    trees: bool
    items: Iterable[Tuple[bytes, bytes]]
    options: CopyOptions
    filter: Optional[Filter] = None
    remote: Optional[Remote] = None
    delta: Optional[Delta] = None
