"""Which names of a tree a sync is about."""

import os
import stat
from typing import Callable, Optional

from ...._job import Sync
from ...._patterns import Patterns
from .. import system

#: The path of a directory below the root of the tree, with a "/" at its end; that of the root is empty.
Where = Callable[[], str]

_WINDOWS_ATTRIBUTES = {"R": 0x1, "H": 0x2, "S": 0x4, "A": 0x20, "T": 0x100, "C": 0x800, "O": 0x1000, "N": 0x2000}
_WINDOWS_ATTRIBUTES["E"] = 0x4000


class Selection:
    """What is taken and what is left out, by name, path and attributes.

    Attributes:
        all_names: no name is left out.
        by_attributes: :meth:`has_attributes` has to be asked.
    """

    def __init__(self, sync: Sync) -> None:
        self._files = None if b"*" in sync.files else Patterns(sync.files)
        self._exclude_files = Patterns(sync.exclude_files)
        self._exclude_directories = Patterns(sync.exclude_dirs)
        self._included, self._excluded = sync.include_attributes, sync.exclude_attributes
        self.all_names = self._files is None and not sync.exclude_files and not sync.exclude_dirs
        self.by_attributes = bool(self._included or self._excluded)

    def takes_file(self, name: str, where: Where) -> bool:
        """Whether a file, or a link, is to be brought up to date, or purged."""
        if self._files is not None and not _match(self._files, name, where):
            return False
        return not _match(self._exclude_files, name, where)

    def enters(self, name: str, where: Where) -> bool:
        """Whether a directory is to be brought up to date, or purged."""
        return not _match(self._exclude_directories, name, where)

    def has_attributes(self, name: str, info: os.stat_result) -> bool:
        """Whether a file has the attributes that were asked for, and none that was ruled out."""
        if self._included and not any(_has(letter, name, info) for letter in self._included):
            return False
        return not any(_has(letter, name, info) for letter in self._excluded)


def unknown_attribute(sync: Sync) -> Optional[str]:
    """An attribute that was asked for and that this system does not have."""
    if system.WINDOWS:
        return None
    return next((a for a in sync.include_attributes + sync.exclude_attributes if a not in "RH"), None)


def _match(patterns: Patterns, name: str, where: Where) -> bool:
    return patterns.match(where() if patterns.need_paths else "", name)


def _has(letter: str, name: str, info: os.stat_result) -> bool:
    if system.WINDOWS:
        attributes: int = getattr(info, "st_file_attributes", 0)
        return bool(attributes & _WINDOWS_ATTRIBUTES[letter])
    return name.startswith(".") if letter == "H" else not info.st_mode & stat.S_IWUSR
