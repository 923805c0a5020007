"""delta_copy, create_delta, apply_delta: copying with the help of an older version."""

from typing import Any, Optional

import attr

from ._config import Config, active, checked, options_for
from ._control import Control
from ._errors import InvalidArgumentError
from ._job import CopyJob, Delta
from ._paths import StrOrBytesPath, are_bytes, encode, encode_pair
from ._report import CopyReport
from ._strategy import run


def delta_copy(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    reference: StrOrBytesPath,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Copies a file and writes only what an older version of it does not have: a :func:`copy2` with a reference.

    What source and reference have in common is taken from the reference, also where it lies at another offset: as
    shared extents where the file system clones (XFS, Btrfs), else by copy_file_range, which the server of a network
    file system does by itself. Where ``dst`` is the reference, what is the same stays as it is, and only the rest is
    written. Holes stay holes. Both files are read once.

    Args:
        src: the file.
        dst: its copy; a file, not a directory.
        reference: any file. A like one helps, an unlike or empty one costs a search that finds nothing. It may be
            ``dst`` itself (overwritten in place, or beside it with the Config's ``atomic``), or ``src``.
        config: default is the active one. With ``reflink="never"`` all is written.
        control: cancels and watches the copy from another thread.

    Returns:
        a report with ``bytes_reused``, ``bytes_written`` and ``bytes_read``.

    Raises:
        SourceNotFoundError: ``src`` or ``reference`` is missing; ``filename`` tells which.
        SourceIsDirectoryError, DestinationIsDirectoryError: one of them is a directory.
        SameFileCopyError: ``src`` and ``dst`` are one file.
        DeltaCopyError: the reference was changed while it was used. The destination is removed, or as it was with
            ``atomic``.
        as :func:`copy2`: everything else.
    """
    config = active() if config is None else checked(config)
    return _run("copy", src, dst, reference, config, control)


def create_delta(
    src: StrOrBytesPath,
    reference: StrOrBytesPath,
    patch: StrOrBytesPath,
    compression_level: int = 3,
    *,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Writes a patch: what ``src`` has that ``reference`` has not, compressed.

    It is a zstd frame with the reference as prefix and a checksum: :func:`apply_delta` applies it, and so does
    ``zstd -d --long=31 --patch-from=REFERENCE PATCH -o NEW``. Needs memory for the reference, and about as much again.
    Where one of the files is larger than 1 GiB, the patch is made of segments, each with the neighbourhood of its place
    in the reference, which needs up to 2 GiB whatever the size; the zstd command does not apply that.

    Args:
        src: the new version.
        reference: the old version.
        patch: where to write; replaced if it exists.
        compression_level: 1 to 22, fast to small. 19 searches several times as long.
        config: default is the active one.
        control: cancels and watches it from another thread.

    Returns:
        a report; ``bytes_written`` is the size of the patch.

    Raises:
        UnsupportedError: there is no zstd module.
        InvalidArgumentError: the level is not legal.
        DeltaCopyError: one of the files was changed meanwhile.
        as :func:`copy2`: everything else. No patch is left then.
    """
    config = active() if config is None else checked(config)
    if (
        not isinstance(compression_level, int)
        or isinstance(compression_level, bool)
        or not 1 <= compression_level <= 22
    ):
        raise InvalidArgumentError("compression_level=%r is not legal: it must be from 1 to 22" % (compression_level,))
    return _run("create", src, patch, reference, config, control, level=compression_level)


def apply_delta(
    reference: StrOrBytesPath,
    patch: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    allow_unchecked: bool = False,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Makes the new version out of the old one and a patch of :func:`create_delta` or ``zstd --patch-from``.

    It is written beside its place and renamed when its checksum is right, so ``dst`` may be the reference.

    Args:
        reference: the old version, exactly as it was when the patch was made.
        patch: the difference.
        dst: the new version; replaced if it exists. A patch holds no metadata: mode and times are those of a new file.
        allow_unchecked: apply a patch without a checksum too (``zstd --no-check`` makes such), where nothing tells a
            wrong reference.
        config: default is the active one.
        control: cancels and watches it from another thread.

    Raises:
        DeltaCopyError: the patch is damaged, or the reference is another one.
        ConfigurationError: the patch has no checksum.
        DiskFullError: what it makes has no room; told before anything is written.
        UnsupportedError: there is no zstd module.
        as :func:`copy2`: everything else. No file is left then, or the old one.
    """
    config = active() if config is None else checked(config)
    return _run("apply", patch, dst, reference, config, control, allow_unchecked=bool(allow_unchecked))


def _run(
    action: str,
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    reference: StrOrBytesPath,
    config: Config,
    control: Optional[Control],
    **more: Any,
) -> CopyReport:
    source, destination = encode_pair(src, dst)
    older = encode(reference, "reference")
    if not older or 0 in older:
        raise InvalidArgumentError("reference=%r is not legal: it must be the path of a file" % (reference,))
    options = options_for(config, "stat", True)
    if action != "copy":
        # Neither a patch nor what it makes has any metadata, and half of either is worth nothing.
        options = attr.evolve(options, metadata="none", atomic=True, verify=False)
    job = CopyJob(
        trees=False,
        items=((source, destination),),
        options=options,
        delta=Delta(action=action, reference=older, **more),
    )
    return run(job, config, control, as_bytes=are_bytes(src))
