"""Files that have several names at the source get as many at the destination."""

import contextlib
import os
import stat
import threading
from typing import Dict, Optional, Tuple

from ...._errors import Operation
from ..destination import same_file
from ..directory import Directory, DirectoryCache
from . import files
from .places import SyncPlace
from .worker import SyncWorker, look


class _File:
    """A file with several names. The lock is held while one of them is brought up to date."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = False
        self.seen = 0
        self.directory: Optional[Directory] = None
        self.name = ""
        self.path = ""


class HardLinks:
    """The files that were met under one name at least."""

    def __init__(self, cache: DirectoryCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._files: Dict[Tuple[int, int], _File] = {}

    def bring(
        self, worker: SyncWorker, place: SyncPlace, name: str, info: os.stat_result, exists: bool, follow: bool
    ) -> bool:
        """As :func:`files.bring`: the first name is brought up to date, the others become names of the same file."""
        with self._lock:
            key = (info.st_dev, info.st_ino)
            file = self._files.setdefault(key, _File())
            file.seen += 1
            if file.seen == info.st_nlink:  # this is the last name
                del self._files[key]
        with file.lock:  # whoever holds it waits for nobody
            if file.done:
                return self._bring_other(worker, place, name, info, exists, file, follow)
            if not files.bring(worker, place, name, info, exists, follow):
                return False
            file.directory, file.name, file.path = place.target, place.target_prefix + name, place.paths(name)[1]
            file.done = True
            return True

    def _bring_other(
        self,
        worker: SyncWorker,
        place: SyncPlace,
        name: str,
        info: os.stat_result,
        exists: bool,
        file: _File,
        follow: bool,
    ) -> bool:
        sync = worker.job.sync
        directory = first = None
        opened = file.directory if file.directory is not None and file.directory.identity[1] else None
        try:
            # In a dry run the directory may not be there; and somebody may have moved it away.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if opened is not None:
                    directory = self._cache.pin(opened)
                if opened is file.directory:
                    first = look(directory, file.name)
            target = look(place.target_directory, place.target_prefix + name) if exists else None
            if target is not None:
                if first is not None and same_file(first, target):
                    worker.skip(info.st_size)
                    return True
                if stat.S_ISDIR(target.st_mode):
                    if not files.clear(worker, place, name):
                        return False
                    target = None
                elif sync.exclude_changed:
                    worker.skip(info.st_size)
                    return True
            worker.operation = Operation.MAKE_LINK
            if not sync.dry_run:
                if first is None:
                    return files.bring(worker, place, name, info, exists, follow)
                older = files.OlderFile(directory, file.name, file.path, first)
                if not files.make_link(worker, place, name, older, target is not None):
                    return files.bring(worker, place, name, info, exists, follow)
        finally:
            if opened is not None:
                self._cache.unpin(opened)
        worker.link(info.st_size)
        if sync.want_actions:
            worker.act("link", file.path, place.paths(name)[1], info.st_size)
        return True
