"""What a job did, and how far it is: plain values that callers get."""

from typing import Dict, Mapping, NamedTuple, Optional, Tuple

import attr

from ._errors import EACopyError


def _no_methods() -> Dict[str, int]:
    return {}


class SyncAction(NamedTuple):
    """One thing that :func:`sync` did, or that a dry run would do. Paths are as by os.fsdecode.

    Attributes:
        action: "copy" (a new file), "overwrite", "link" (to an older copy), "symlink", "make-directory", "remove",
            "remove-directory", or "mend" (only the metadata of what is there).
        source: where it comes from; for "link" the file that is linked to; None for what is removed.
        destination: where it goes, or what is removed.
        size: bytes of a file.
    """

    action: str
    source: Optional[str]
    destination: str
    size: int = 0


@attr.s(frozen=True, slots=True, auto_attribs=True, kw_only=True)
class CopyReport:
    """What a job did.

    Attributes:
        files_copied, bytes_copied: files whose contents were copied, and their size (holes count).
        files_linked, bytes_linked: files made by linking to what was copied before.
        files_skipped, bytes_skipped: files left alone because they were there already.
        files_removed, bytes_removed: files and links removed at the destination by purging, and their size.
        directories_removed: directories removed by purging.
        mismatches: a file where the other side has a directory, or the reverse.
        bytes_reused: bytes taken from a reference file instead of the source.
        bytes_written: bytes that the destination had to take in, reused ones excluded.
        symlinks_copied: symbolic links copied as links.
        directories_created: directories made at the destination.
        retries: further tries that were needed.
        bytes_read: bytes read from the source and the reference by :func:`delta_copy`.
        bytes_sent, bytes_received: on the wire, to and from a server.
        compression_level: the average zstd level of what went compressed through a server; 0 when nothing did.
        server: the server that was used, as it names itself; None when there was none.
        methods: how many files went by which method: "clone", "copy_file_range", "sendfile", "read_write", "system".
        actions: what :func:`sync` did or would do, when that was asked for and no callback took it.
        not_kept: what ``archive=True`` could not keep for want of privilege or support, a line for each kind of thing.
        errors: what failed, in the order in which it did; empty when all went well.
        seconds: wall-clock duration.
        backend: "native" or "portable".
    """

    files_copied: int = 0
    bytes_copied: int = 0
    files_linked: int = 0
    bytes_linked: int = 0
    files_skipped: int = 0
    bytes_skipped: int = 0
    files_removed: int = 0
    bytes_removed: int = 0
    directories_removed: int = 0
    mismatches: int = 0
    bytes_reused: int = 0
    bytes_written: int = 0
    bytes_read: int = 0
    symlinks_copied: int = 0
    directories_created: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    compression_level: float = 0.0
    server: Optional[str] = None
    methods: Mapping[str, int] = attr.Factory(_no_methods)
    actions: Tuple[SyncAction, ...] = ()
    not_kept: Tuple[str, ...] = ()
    errors: Tuple[EACopyError, ...] = ()
    seconds: float = 0.0
    backend: str = ""

    @property
    def ok(self) -> bool:
        """True when nothing failed."""
        return not self.errors


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Snapshot:
    """How far a running job is.

    Attributes:
        files_found, bytes_found: known so far; they grow until all directories are listed.
        files_copied, bytes_copied: done so far; the bytes of files in flight are in.
        errors: failures so far.
        files_linked, bytes_linked, files_skipped, bytes_skipped: of :func:`sync`; with what was copied and what failed
            they become what was found.
    """

    files_found: int = 0
    bytes_found: int = 0
    files_copied: int = 0
    bytes_copied: int = 0
    errors: int = 0
    files_linked: int = 0
    bytes_linked: int = 0
    files_skipped: int = 0
    bytes_skipped: int = 0


class ProgressEvent(NamedTuple):
    """How far one file is.

    Attributes:
        copied_bytes: done so far.
        total_bytes: the file's size, as far as it is known.
        filename: the source path; bytes that are not text are escaped as by os.fsdecode.
    """

    copied_bytes: int
    total_bytes: int
    filename: str

    @property
    def finished(self) -> bool:
        """True when the file is complete (an empty one says so twice)."""
        return self.copied_bytes == self.total_bytes
