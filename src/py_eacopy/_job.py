"""The one job model: a frozen value that holds all a backend needs to know, so that no backend looks at a
configuration."""

from typing import Callable, Iterable, List, Optional, Sequence, Tuple

import attr

#: For each name of a directory: True leaves it out. Arguments: the directory's source path, its names.
Filter = Callable[[bytes, List[bytes]], Sequence[bool]]

METADATA = ("none", "mode", "stat")
REFLINK = ("auto", "always", "never")
STRATEGIES = ("raise", "retry", "ignore")
#: Remote.delta.
DELTA_NEVER, DELTA_AUTO, DELTA_ALWAYS = 0, 1, 2
DELTA_ACTIONS = ("copy", "create", "apply")
COMPARE = ("size-mtime", "hash")


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
        bandwidth_limit: bytes a second that all workers write, or send, together; None: no limit.
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
    bandwidth_limit: Optional[int] = None


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
        delta: whether only what differs from an older version is to go over the wire: 0 never, 1 for large files where
            both sides can, 2 always.
        reference: of one file: the path of the older version that this machine has.
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
    delta: int = 0
    reference: Optional[bytes] = None


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
class Sync:
    """Which files a job brings up to date, and how it tells that they are.

    Patterns are bytes with "*" (any characters) and "?" (any one); all other characters stand for themselves. They are
    compared with a name; a pattern with "/" in it with the path below the source, and one that begins with "/" with the
    whole of it all the same. Case counts except on Windows.

    Attributes:
        files: only files that match one of these.
        exclude_files, exclude_dirs: not those, nor anything in these. What is left out is not purged either.
        subdirs: go into directories.
        empty_dirs: make directories in which nothing goes; False makes one with the first thing that does.
        max_depth: levels of directories, the source itself being the first; 0: no limit.
        purge: remove from the destination what the source does not have, and what is in the way.
        flatten: all files go directly into the destination.
        exclude_changed: leave alone what is there and differs.
        compare: files of one size are the same when their "size-mtime" is; or only when their bytes are: "hash".
        link_dirs: older copies of the tree, whose files are linked to instead of copied, when they are the same.
        link_database: a LINKDB file that remembers where files were copied to.
        link_min_size: smaller files are copied.
        link_by_name: look files up in the database by their name alone, wherever they were.
        keep_dir_symlinks: a link at the destination that leads to a directory may stand for one of the source's.
        dir_times: directories get the source's times.
        hard_links: names of one file at the source are names of one file at the destination.
        archive: keep owners and groups too, as far as the user may.
        include_attributes, exclude_attributes: only, or no, files with one of these: R read-only, H hidden.
        dry_run: write nothing, and report what would be done.
        want_actions: tell :meth:`Control.act` what is done, or would be.
        root: for files that are items: the directory below which the older copies and the database know their
            destinations; empty: by their names alone.
    """

    files: Tuple[bytes, ...] = (b"*",)
    exclude_files: Tuple[bytes, ...] = ()
    exclude_dirs: Tuple[bytes, ...] = ()
    subdirs: bool = True
    empty_dirs: bool = True
    max_depth: int = 0
    purge: bool = False
    flatten: bool = False
    exclude_changed: bool = False
    compare: str = "size-mtime"
    link_dirs: Tuple[bytes, ...] = ()
    link_database: Optional[bytes] = None
    link_min_size: int = 0
    link_by_name: bool = False
    keep_dir_symlinks: bool = False
    dir_times: bool = True
    hard_links: bool = False
    archive: bool = False
    include_attributes: str = ""
    exclude_attributes: str = ""
    dry_run: bool = False
    want_actions: bool = False
    root: bytes = b""


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
        sync: bring the items up to date: one tree, or files each with its own destination.
    """

    trees: bool
    items: Iterable[Tuple[bytes, bytes]]
    options: CopyOptions
    filter: Optional[Filter] = None
    remote: Optional[Remote] = None
    delta: Optional[Delta] = None
    sync: Optional[Sync] = None
