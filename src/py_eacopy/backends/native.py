"""The native backend: runs jobs in the EACopy engine through the compiled module ``_native``.

The engine never calls back. The thread that runs a job asks it for news, and that thread alone calls the caller's
functions; so an exception out of one of them, or a Ctrl-C, unwinds through here like any other.
"""

import errno
import functools
import os
import sys
import time
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Tuple

from .. import _errors
from .._control import Control, ProgressCallback, calling_back
from .._errors import DestinationState, EACopyError, ErrorKind, FFIError, Operation
from .._job import DELTA_ACTIONS, METADATA, REFLINK, STRATEGIES, CopyJob, CopyOptions, Delta, Filter, Remote, Sync
from .._native import ffi, lib
from .._report import CopyReport, Snapshot, SyncAction
from .._server_options import ServerOptions
from . import native_server
from .base import Backend, RunningServer
from .native_errno import python_errno

ABI_VERSION = 4
if lib.eac_abi_version() != ABI_VERSION:  # pragma: no cover - a stale build
    raise ImportError(
        "py_eacopy._native was built from another version (ABI %d, needed %d): build it again with pip install ."
        % (lib.eac_abi_version(), ABI_VERSION)
    )

# How long the coordinator sleeps at most before it lets Python look for a Ctrl-C.
_WAIT_MILLISECONDS = 50

_METHODS = ("clone", "copy_file_range", "sendfile", "read_write", "system")
#: In the order of enum eac_action.
_ACTIONS = ("copy", "overwrite", "link", "symlink", "make-directory", "remove", "remove-directory", "mend")
_DESTINATION_STATES = (DestinationState.ABSENT, DestinationState.OLD, DestinationState.PARTIAL, None)
_ENCODING = sys.getfilesystemencoding()
_ENCODING_ERRORS = sys.getfilesystemencodeerrors()

_FAILED = lib.EAC_RESULT_FAILED
_copy_file = lib.eac_copy_file
_new = ffi.new
_error_pointer = ffi.typeof("eac_error *[1]")


@functools.lru_cache(maxsize=256)
def _c_options(options: CopyOptions, want_progress: bool = False, want_filter: bool = False) -> Any:
    return ffi.new(
        "eac_options *",
        {
            "buffer_size": options.buffer_size,
            "retry_delay": options.retry_delay,
            "retry_count": options.retry_count,
            "thread_count": options.thread_count,
            "metadata": METADATA.index(options.metadata),
            "reflink": REFLINK.index(options.reflink),
            "strategy": STRATEGIES.index(options.error_strategy),
            "follow_symlinks": options.follow_symlinks,
            "ignore_dangling_symlinks": options.ignore_dangling_symlinks,
            "dirs_exist_ok": options.dirs_exist_ok,
            "into_directory": options.into_directory,
            "atomic": options.atomic,
            "fsync": options.fsync,
            "verify": options.verify,
            "want_progress": want_progress,
            "want_filter": want_filter,
            "bandwidth_limit": options.bandwidth_limit or 0,
        },
    )


def _take_error(c_error: Any) -> EACopyError:
    """Turns the engine's error into an exception, and frees it."""
    try:
        source = os.fsdecode(ffi.string(c_error.source)) or None
        destination = os.fsdecode(ffi.string(c_error.destination)) or None
        number, kind = python_errno(c_error.error_number, ErrorKind(c_error.kind))
        return _errors.error_from_failure(
            number,
            Operation(c_error.operation),
            source,
            destination,
            kind=kind,
            destination_state=_DESTINATION_STATES[c_error.destination_state],
            offset=c_error.offset,
            size=c_error.size,
            available=c_error.available,
            root=bool(c_error.root),
            text=ffi.string(c_error.text).decode("utf-8", "replace"),
        )
    finally:
        lib.eac_error_free(c_error)


def _texts(texts: Any, size: int) -> List[str]:
    """Texts that are each ended by NUL, and an empty one."""
    text: str = ffi.buffer(texts, size)[:].decode(_ENCODING, _ENCODING_ERRORS)
    return text.split("\0")


class NativeBackend(Backend):
    """The EACopy engine, compiled."""

    name = "native"

    def capabilities(self) -> FrozenSet[str]:
        return frozenset(ffi.string(lib.eac_capabilities()).decode().split(","))

    def copy_file(self, source: bytes, destination: bytes, options: CopyOptions) -> int:
        error = _new(_error_pointer)
        result: int = _copy_file(source, destination, _c_options(options), error)
        if result != _FAILED:
            return result
        raise _take_error(error[0])

    def run(self, job: CopyJob, control: Control) -> CopyReport:
        started = time.monotonic()
        options = _c_options(job.options, control.progress is not None, job.filter is not None)
        handle = _new_job(job, options)
        if handle == ffi.NULL:
            raise FFIError("the engine could not start a job: out of memory or threads")
        run = _Run(handle, job, control)
        try:
            control.attach(run.cancel, run.snapshot)
            run.coordinate()
            if control.cancelled:
                raise run.interrupted()
            return run.report(time.monotonic() - started)
        finally:
            control.detach()
            lib.eac_job_free(handle)

    def serve(self, options: ServerOptions, log: Callable[[int, str], None]) -> RunningServer:
        return native_server.start(options, log, _take_error)


def _new_job(job: CopyJob, options: Any) -> Any:
    if job.remote is not None:
        return _new_remote_job(options, job.remote)
    if job.delta is not None:
        return _new_delta_job(options, job.delta)
    if job.sync is not None:
        return _new_sync_job(options, job.sync)
    return lib.eac_job_new(options)


def _new_delta_job(options: Any, asked: Delta) -> Any:
    reference = ffi.new("char[]", asked.reference)
    delta = ffi.new(
        "eac_delta *",
        {
            "reference": reference,
            "level": asked.level,
            "action": DELTA_ACTIONS.index(asked.action),
            "allow_unchecked": asked.allow_unchecked,
        },
    )
    return lib.eac_job_new_delta(options, delta)


def _new_sync_job(options: Any, asked: Sync) -> Any:
    kept: List[Any] = []  # what the structure points to

    def text(value: bytes) -> Any:
        kept.append(ffi.new("char[]", value))
        return kept[-1]

    def texts(values: Tuple[bytes, ...]) -> Dict[str, Any]:
        return {"texts": text(b"".join(value + b"\0" for value in values)), "count": len(values)}

    sync = ffi.new(
        "eac_sync *",
        {
            "files": texts(asked.files),
            "exclude_files": texts(asked.exclude_files),
            "exclude_dirs": texts(asked.exclude_dirs),
            "link_dirs": texts(asked.link_dirs),
            "link_database": text(asked.link_database or b""),
            "root": text(asked.root),
            "include_attributes": text(asked.include_attributes.encode()),
            "exclude_attributes": text(asked.exclude_attributes.encode()),
            "link_min_size": asked.link_min_size,
            "max_depth": asked.max_depth,
            "subdirs": asked.subdirs,
            "empty_dirs": asked.empty_dirs,
            "purge": asked.purge,
            "flatten": asked.flatten,
            "exclude_changed": asked.exclude_changed,
            "compare_bytes": asked.compare == "hash",
            "link_by_name": asked.link_by_name,
            "keep_dir_symlinks": asked.keep_dir_symlinks,
            "dir_times": asked.dir_times,
            "hard_links": asked.hard_links,
            "archive": asked.archive,
            "dry_run": asked.dry_run,
            "want_actions": asked.want_actions,
        },
    )
    return lib.eac_job_new_sync(options, sync)


def _new_remote_job(options: Any, remote: Remote) -> Any:
    host = ffi.new("char[]", remote.host.encode("utf-8", "surrogateescape"))
    directory = ffi.new("char[]", remote.directory)
    local_directory = ffi.NULL if remote.local_directory is None else ffi.new("char[]", remote.local_directory)
    token = b"" if remote.token is None else remote.token.encode("utf-8", "surrogatepass")
    c_token = ffi.NULL if remote.token is None else ffi.new("uint8_t[]", token)
    reference = ffi.NULL if remote.reference is None else ffi.new("char[]", remote.reference)
    c_remote = ffi.new(
        "eac_remote *",
        {
            "host": host,
            "port": remote.port,
            "push": remote.push,
            "plain": remote.plain,
            "level": remote.level,
            "timeout": remote.timeout,
            "directory": directory,
            "local_directory": local_directory,
            "token": c_token,
            "token_size": len(token),
            "delta": remote.delta,
            "reference": reference,
        },
    )
    return lib.eac_job_new_remote(options, c_remote)


class _Run:
    """One job while it runs."""

    def __init__(self, handle: Any, job: CopyJob, control: Control) -> None:
        self._handle = handle
        self._job = job
        self._control = control
        self._stopped: List[EACopyError] = []

    def cancel(self) -> None:
        lib.eac_job_cancel(self._handle)

    def snapshot(self) -> Snapshot:
        counters = self._counters()
        return Snapshot(
            files_found=counters.files_found,
            bytes_found=counters.bytes_found,
            files_copied=counters.files_copied,
            bytes_copied=counters.bytes_copied,
            errors=counters.errors,
            files_linked=counters.files_linked,
            bytes_linked=counters.bytes_linked,
            files_skipped=counters.files_skipped,
            bytes_skipped=counters.bytes_skipped,
        )

    def _counters(self) -> Any:
        counters = ffi.new("eac_counters *")
        lib.eac_job_snapshot(self._handle, counters)
        return counters

    def coordinate(self) -> None:
        handle, control = self._handle, self._control
        feed = self._feed(iter(self._job.items))
        feeding = next(feed)
        while True:
            news = lib.eac_job_wait(handle, _WAIT_MILLISECONDS)
            if news & lib.EAC_NEWS_ERROR:
                self._take_errors()
            if news & lib.EAC_NEWS_FILTER and self._job.filter is not None:
                self._answer_filters(self._job.filter)
            if news & lib.EAC_NEWS_PROGRESS and control.progress is not None:
                self._deliver_progress(control.progress)
            if news & lib.EAC_NEWS_ACTION:
                self._take_actions()
            if news & lib.EAC_NEWS_DONE:
                return
            if feeding:
                feeding = next(feed)

    def _feed(self, items: Iterator[Tuple[bytes, bytes]]) -> Iterator[bool]:
        """Each step fills the engine's queue; True while there may be more to come."""
        handle, control = self._handle, self._control
        kind = lib.EAC_ITEM_TREE if self._job.trees else lib.EAC_ITEM_FILE
        stop_at_error = self._job.options.error_strategy != "ignore" and self._job.sync is None
        for source, destination in items:
            while not lib.eac_job_add(handle, kind, source, destination):
                yield True
            if control.cancelled or (stop_at_error and control.errors):
                break
        lib.eac_job_end(handle)
        yield False

    def _take_errors(self) -> None:
        while True:
            c_error = lib.eac_job_take_error(self._handle)
            if c_error == ffi.NULL:
                return
            error = _take_error(c_error)
            if error.kind is ErrorKind.INTERRUPTED and error.operation is Operation.NONE:  # cancelled, not EINTR
                self._stopped.append(error)
            else:
                self._control.record(error)

    def _take_actions(self) -> None:
        records = ffi.new("eac_actions *")
        if not lib.eac_job_take_actions(self._handle, records):
            return
        types, sizes = ffi.unpack(records.types, records.count), ffi.unpack(records.sizes, records.count)
        sources = _texts(records.sources, records.sources_size)
        destinations = _texts(records.destinations, records.destinations_size)
        for kind, source, destination, size in zip(types, sources, destinations, sizes):
            self._control.act(SyncAction(_ACTIONS[kind], source or None, destination, size))

    def _answer_filters(self, names_filter: Filter) -> None:
        request = ffi.new("eac_filter *")
        while lib.eac_job_take_filter(self._handle, request):
            names = ffi.buffer(request.names, request.names_size)[:].split(b"\0")
            names.pop()  # what follows the last NUL
            leave_out = names_filter(ffi.string(request.directory), names)
            lib.eac_job_answer_filter(self._handle, request.ticket, bytes(map(bool, leave_out)))

    def _deliver_progress(self, callback: ProgressCallback) -> None:
        records = ffi.new("eac_progress *")
        if not lib.eac_job_take_progress(self._handle, records):
            return
        count = records.count
        names = _texts(records.paths, records.paths_size)
        copied_column = ffi.unpack(records.copied, count)
        total_column = ffi.unpack(records.total, count)
        first_column = ffi.unpack(records.first, count)
        with calling_back():
            for name, copied, total, first in zip(names, copied_column, total_column, first_column):
                if first:
                    callback(0, total, name)
                    if copied != total:
                        continue
                callback(copied, total, name)

    def interrupted(self) -> EACopyError:
        """The exception for a cancelled job: that of a file which was stopped half-way, if there is one."""
        partial: Optional[EACopyError] = next((e for e in self._stopped if e.destination == "partial"), None)
        if partial is not None:
            return partial
        if self._stopped and not self._job.trees:
            return self._stopped[0]
        return _errors.error_from_failure(errno.ECANCELED, Operation.NONE, None, None)

    def _server(self) -> Optional[str]:
        if self._job.remote is None:
            return None
        return ffi.string(lib.eac_job_server(self._handle)).decode("utf-8", "replace") or None

    def _not_kept(self) -> Tuple[str, ...]:
        count = ffi.new("size_t *")
        text = lib.eac_job_not_kept(self._handle, count)
        if not count[0]:
            return ()
        lines = []
        for _ in range(count[0]):
            line = ffi.string(text)
            lines.append(os.fsdecode(line))
            text += len(line) + 1
        return tuple(lines)

    def _bytes_written(self, counters: Any) -> int:
        if self._job.delta is not None:
            return int(counters.bytes_written)
        return int(counters.bytes_copied - counters.bytes_reused)

    def report(self, seconds: float) -> CopyReport:
        counters = self._counters()
        methods = {name: counters.methods[i] for i, name in enumerate(_METHODS) if counters.methods[i]}
        return CopyReport(
            files_copied=counters.files_copied,
            bytes_copied=counters.bytes_copied,
            bytes_written=self._bytes_written(counters),
            bytes_reused=counters.bytes_reused,
            bytes_read=counters.bytes_read,
            symlinks_copied=counters.symlinks_copied,
            directories_created=counters.directories_created,
            retries=counters.retries,
            files_linked=counters.files_linked,
            bytes_linked=counters.bytes_linked,
            files_skipped=counters.files_skipped,
            bytes_skipped=counters.bytes_skipped,
            bytes_sent=counters.bytes_sent,
            bytes_received=counters.bytes_received,
            compression_level=counters.bytes_packed_level / counters.bytes_packed if counters.bytes_packed else 0.0,
            server=self._server(),
            files_removed=counters.files_removed,
            bytes_removed=counters.bytes_removed,
            directories_removed=counters.directories_removed,
            mismatches=counters.mismatches,
            actions=tuple(self._control.actions),
            not_kept=self._not_kept(),
            methods=methods,
            errors=tuple(self._control.errors),
            seconds=seconds,
            backend=NativeBackend.name,
        )
