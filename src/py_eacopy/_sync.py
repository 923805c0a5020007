"""sync: makes a directory what another one is, and leaves alone what is so already."""

import os
from typing import TYPE_CHECKING, Any, Iterable, Optional, Tuple, Union

import attr

from ._config import DEFAULT, Config, Default, active, checked, options_for
from ._control import Control, checked_control, refuse_inside_callback
from ._errors import InvalidArgumentError
from ._job import COMPARE, CopyJob, Sync
from ._paths import StrOrBytesPath, are_bytes, encode, encode_pair
from ._report import CopyReport
from ._strategy import run, run_all

if TYPE_CHECKING:
    from typing_extensions import TypedDict

    class SyncOptions(TypedDict, total=False):
        """The keywords of :func:`sync`, for the functions that pass them on; a test holds the two equal."""

        files: Iterable[StrOrBytesPath]
        subdirs: bool
        empty_dirs: bool
        max_depth: Optional[int]
        purge: bool
        mirror: bool
        flatten: bool
        exclude_files: Iterable[StrOrBytesPath]
        exclude_dirs: Iterable[StrOrBytesPath]
        exclude_changed: bool
        file_lists: Iterable[StrOrBytesPath]
        exclude_lists: Iterable[StrOrBytesPath]
        optional_files: Iterable[StrOrBytesPath]
        link_dirs: Iterable[StrOrBytesPath]
        link_database: Optional[StrOrBytesPath]
        link_min_size: int
        link_by_name: bool
        keep_dir_symlinks: bool
        dir_times: bool
        hard_links: bool
        archive: bool
        include_attributes: str
        exclude_attributes: str
        compare: str
        follow_symlinks: Union[bool, Default]
        dry_run: bool
        record_actions: bool


_ATTRIBUTES = "RASHCNETO"


def sync(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    files: Iterable[StrOrBytesPath] = ("*",),
    subdirs: bool = True,
    empty_dirs: bool = True,
    max_depth: Optional[int] = None,
    purge: bool = False,
    mirror: bool = False,
    flatten: bool = False,
    exclude_files: Iterable[StrOrBytesPath] = (),
    exclude_dirs: Iterable[StrOrBytesPath] = (),
    exclude_changed: bool = False,
    file_lists: Iterable[StrOrBytesPath] = (),
    exclude_lists: Iterable[StrOrBytesPath] = (),
    optional_files: Iterable[StrOrBytesPath] = (),
    link_dirs: Iterable[StrOrBytesPath] = (),
    link_database: Optional[StrOrBytesPath] = None,
    link_min_size: int = 0,
    link_by_name: bool = False,
    keep_dir_symlinks: bool = False,
    dir_times: bool = True,
    hard_links: bool = False,
    archive: bool = False,
    include_attributes: str = "",
    exclude_attributes: str = "",
    compare: str = "size-mtime",
    follow_symlinks: Union[bool, Default] = DEFAULT,
    dry_run: bool = False,
    record_actions: bool = False,
    config: Optional[Config] = None,
    control: Optional[Control] = None,
) -> CopyReport:
    """Makes the contents of a directory those of another one, and leaves alone what is so already.

    A file is left alone when size and modification time are those of the source. Every other file is written beside
    its place and then renamed, so that whatever happens, there is either the old file or the new one.

    Args:
        src: the directory.
        dst: the directory that is to become like it; made, with its parents, when it is missing.
        files: only files that match one of these patterns; "*" stands for any characters, "?" for any one, and all
            others for themselves. A pattern with "/" in it is compared with the path below ``src``, others with the
            name. Case counts except on Windows.
        subdirs: False takes the files directly in ``src`` only.
        empty_dirs: False makes no directory in which nothing goes.
        max_depth: levels of directories, ``src`` itself being the first; None: all.
        purge: remove from ``dst`` what ``src`` does not have, and replace files by directories or the reverse. What is
            left out by ``exclude_files`` and ``exclude_dirs`` stays. Links are removed, never followed. A directory is
            not purged when something at its source could not be listed.
        mirror: the same as purge, subdirs and empty_dirs together.
        flatten: all files go directly into ``dst``. The second of two that have one name is an error.
        exclude_files, exclude_dirs: patterns of what to leave out.
        exclude_changed: leave alone files that are there and differ: only missing ones are copied.
        file_lists: text files that say what to copy, instead of ``files``; see "File lists" in docs/sync.md.
        exclude_lists: text files that say what to leave out.
        optional_files: patterns of entries in ``file_lists`` that may be missing.
        link_dirs: older copies of the tree. A file that has the same path, size, time and mode in one of them is linked
            to it (cloned with ``Config.reflink="always"``) instead of copied.
        link_database: a file that remembers where files were copied to, to link to them later; made when it is missing.
        link_min_size: smaller files are copied, in bytes.
        link_by_name: look files up in ``link_database`` by name alone, wherever they were.
        keep_dir_symlinks: True enters a symbolic link to a directory in ``dst`` where ``src`` has a directory; False
            replaces the link by a directory.
        dir_times: give directories the times that they have at ``src``.
        hard_links: files that are one file at ``src`` become one file at ``dst``.
        archive: keep owners, groups and hard links too. What could not be kept stands in the report's ``not_kept``.
        include_attributes, exclude_attributes: only, or no, files with one of these attributes: "R" not writable for
            its owner, "H" hidden, which outside of Windows is a name that begins with a dot.
        compare: "size-mtime", or "hash": files of one size are compared byte by byte, whatever their times.
        follow_symlinks: True copies what symbolic links lead to, False the links; default is the Config's.
        dry_run: write nothing; the report says what would be done, and ``actions`` what to which file.
        record_actions: list in the report's ``actions`` what was done.
        config: default is the active one.
        control: cancels and watches the job from another thread; its ``action`` is told of each thing that is done.

    Returns:
        what was done, as a :class:`CopyReport`.

    Raises:
        InvalidArgumentError: an argument is not legal, or one directory lies in the other.
        NotADirectoryError, FileNotFoundError: ``src`` is no directory.
        shutil.Error: something failed; all else is up to date, and the exception is a :class:`TreeError` with the
            exceptions in ``errors``.
    """
    config = active() if config is None else checked(config)
    control = Control() if control is None else checked_control(control)
    source, destination = encode_pair(src, dst)
    follow = config.follow_symlinks if isinstance(follow_symlinks, Default) else bool(follow_symlinks)
    asked = Sync(
        files=_patterns("files", files) or (b"*",),
        exclude_files=_patterns("exclude_files", exclude_files),
        exclude_dirs=_patterns("exclude_dirs", exclude_dirs),
        subdirs=bool(subdirs or mirror),
        empty_dirs=bool(empty_dirs or mirror),
        max_depth=_count("max_depth", max_depth, 1),
        purge=bool(purge or mirror),
        flatten=bool(flatten),
        exclude_changed=bool(exclude_changed),
        compare=_compare(compare),
        link_dirs=tuple(_paths("link_dirs", link_dirs)),
        link_database=None if link_database is None else encode(link_database, "link_database"),
        link_min_size=_count("link_min_size", link_min_size, 0),
        link_by_name=bool(link_by_name),
        keep_dir_symlinks=bool(keep_dir_symlinks),
        dir_times=bool(dir_times),
        hard_links=bool(hard_links or archive),
        archive=bool(archive),
        include_attributes=_attributes("include_attributes", include_attributes),
        exclude_attributes=_attributes("exclude_attributes", exclude_attributes),
        dry_run=bool(dry_run),
        want_actions=bool(dry_run or record_actions or control.action is not None),
    )
    options = attr.evolve(options_for(config, "stat", follow, dirs_exist_ok=True), atomic=True)
    job = CopyJob(trees=True, items=((source, destination),), options=options, sync=asked)
    lists = _paths("file_lists", file_lists)
    optional = _patterns("optional_files", optional_files)
    excluded = _paths("exclude_lists", exclude_lists)
    if lists or excluded:
        from ._listed import listed_jobs  # few calls have lists

        refuse_inside_callback()
        return run_all(listed_jobs(job, lists, excluded, optional, control), config, control, as_bytes=are_bytes(src))
    return run(job, config, control, as_bytes=are_bytes(src))


# The arguments --------------------------------------------------------------------------------------------------------


def _paths(argument: str, values: Any) -> Tuple[bytes, ...]:
    if isinstance(values, (str, bytes, os.PathLike)) or not isinstance(values, Iterable):
        raise TypeError("%s must be a list or tuple, not %s" % (argument, type(values).__name__))
    encoded = tuple(encode(value, argument) for value in values)
    for value in encoded:
        if not value or 0 in value:
            raise InvalidArgumentError("%s: %r is not legal: it is empty or contains NUL" % (argument, value))
    return encoded


def _patterns(argument: str, values: Any) -> Tuple[bytes, ...]:
    return tuple(value.replace(b"\\", b"/") if os.name == "nt" else value for value in _paths(argument, values))


def _count(argument: str, value: Any, least: int) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
        raise InvalidArgumentError("%s=%r is not legal: it must be an int from %d" % (argument, value, least))
    return value


def _compare(value: Any) -> str:
    if value not in COMPARE:
        raise InvalidArgumentError(
            "compare=%r is not legal: it must be one of %s" % (value, ", ".join(map(repr, COMPARE)))
        )
    return str(value)


def _attributes(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("%s must be a str of letters, not %s" % (argument, type(value).__name__))
    letters = value.upper()
    unknown = [letter for letter in letters if letter not in _ATTRIBUTES]
    if unknown:
        raise InvalidArgumentError(
            "%s=%r is not legal: there is no attribute %r; there are %s" % (argument, value, unknown[0], _ATTRIBUTES)
        )
    return letters
