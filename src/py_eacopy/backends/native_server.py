"""A server in the EACopy engine: its threads are the engine's, and one of Python's hands on what it logs."""

import os
import threading
from typing import Any, Callable, Dict, Mapping

from .. import _errors
from .._errors import EACopyError, Operation
from .._native import ffi, lib
from .._server_options import LINK_MODES, ServerOptions
from .base import RunningServer

# How long the thread of the log waits in the engine at a time; a server that stops wakes it.
_WAIT_MILLISECONDS = 1000

_WHOLE_NUMBERS = (
    "connections",
    "active_connections",
    "bytes_sent",
    "bytes_received",
    "files_sent",
    "files_received",
    "files_linked",
    "files_skipped",
    "bytes_linked",
    "bytes_skipped",
    "errors",
    "history_size",
)


def start(
    options: ServerOptions, log: Callable[[int, str], None], take_error: Callable[[Any], EACopyError]
) -> RunningServer:
    """Starts a server; `take_error` makes an exception of the engine's error."""
    shares = [
        (ffi.new("char[]", name.encode("utf-8")), ffi.new("char[]", directory))
        for name, directory in options.shares.items()
    ]
    c_shares = ffi.new("eac_share[]", [{"name": name, "directory": directory} for name, directory in shares])
    host = ffi.new("char[]", options.host.encode("utf-8", "surrogateescape"))
    token = ffi.NULL if options.token is None else ffi.new("uint8_t[]", options.token.encode("utf-8", "surrogatepass"))
    history_file = ffi.NULL if options.history_file is None else ffi.new("char[]", options.history_file)
    c_options = ffi.new(
        "eac_server_options *",
        {
            "host": host,
            "port": options.port,
            "link_mode": LINK_MODES.index(options.link_mode),
            "link_by_name": options.link_by_name,
            "use_hash": options.use_hash,
            "security_file": options.security_file,
            "compression": options.compression,
            "delta": options.delta,
            "thread_count": options.thread_count,
            "max_connections": options.max_connections,
            "idle_timeout": options.idle_timeout,
            "shares": c_shares if shares else ffi.NULL,
            "share_count": len(shares),
            "token": token,
            "token_size": 0 if options.token is None else len(token),
            "history_size": options.history_size,
            "history_file": history_file,
            "link_min_size": options.link_min_size,
        },
    )
    error = ffi.new("eac_error *[1]")
    handle = lib.eac_server_start(c_options, error)
    if handle != ffi.NULL:
        return _NativeServer(handle, log)
    if error[0] == ffi.NULL:
        raise _errors.error_from_failure(12, Operation.START, None, None)  # ENOMEM
    raise take_error(error[0])


class _NativeServer(RunningServer):
    def __init__(self, handle: Any, log: Callable[[int, str], None]) -> None:
        self._handle = ffi.gc(handle, lib.eac_server_free)
        self._log = log
        self._stopped = threading.Event()
        self._last: Mapping[str, float] = {}
        self._lock = threading.Lock()
        self.port = lib.eac_server_port(handle)
        self._logging = threading.Thread(target=self._hand_on_log, name="eacopy-server-log", daemon=True)
        self._logging.start()

    def statistics(self) -> Mapping[str, float]:
        sums = ffi.new("eac_server_statistics *")
        with self._lock:
            if self._last:
                return self._last
            lib.eac_server_get_statistics(self._handle, sums)
        found: Dict[str, float] = {name: getattr(sums, name) for name in _WHOLE_NUMBERS}
        found["uptime"] = sums.uptime
        return found

    def stop(self) -> None:
        if self._stopped.is_set():
            return
        lib.eac_server_stop(self._handle)
        last = self.statistics()
        self._stopped.set()
        if threading.current_thread() is not self._logging:
            self._logging.join()
        with self._lock:
            self._last = last

    def _hand_on_log(self) -> None:
        handle = self._handle
        level = ffi.new("int *")
        text = ffi.new("const char **")
        while True:
            # What was written before the stop is still handed on.
            stopped = self._stopped.is_set()
            while lib.eac_server_wait_log(handle, 0 if stopped else _WAIT_MILLISECONDS, level, text):
                self._log(level[0], os.fsdecode(ffi.string(text[0])))
            if stopped:
                return
