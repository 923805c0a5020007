"""Runs a server in the foreground until it is told to stop: as a service, or at a terminal."""

import contextlib
import logging
import logging.handlers
import os
import queue
import signal
import sys
from typing import Any, Iterator, Optional, Tuple

import click

from .. import Config, EACopyError, EACopyServer
from .._config import apply_log_level
from .._control import logger
from . import text
from .metrics import MetricsServer
from .notify import Notifier
from .running import COMPLETE, NOTHING_DONE

#: Seconds between two lines of status for systemd.
_STATUS_INTERVAL = 5.0
_STOP, _REOPEN = "stop", "reopen"


class LogFileError(Exception):
    """The log cannot be written."""


@contextlib.contextmanager
def logging_to(path: Optional[str], verbose: bool, overwrite: bool = False) -> Iterator[Optional[logging.Handler]]:
    """Sends what the server has to say to a file, and warnings to stderr when there is none; hands out the file's
    handler. A file that somebody renames or removes is made anew. Raises LogFileError.
    """
    apply_log_level(Config(log_level="debug" if verbose else "info"))
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.DEBUG if verbose else logging.WARNING)
        handler.setFormatter(logging.Formatter("eacopy: %(levelname)s %(message)s"))
    else:
        try:
            if overwrite:
                open(path, "w").close()
            # Windows cannot rename a file that is open, so there is nothing to watch for.
            kind = logging.FileHandler if sys.platform == "win32" else logging.handlers.WatchedFileHandler
            handler = kind(path, encoding="utf-8")
        except OSError as error:
            raise LogFileError("cannot write the log %s: %s" % (text.plain(path), error.strerror)) from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield None if path is None else handler
    finally:
        logger.removeHandler(handler)
        handler.close()


def serve(
    server: EACopyServer, host: str, quiet: bool, log: Optional[logging.Handler], metrics: Optional[Tuple[str, int]]
) -> int:
    """Serves until SIGTERM or Ctrl-C; returns the exit status.

    Args:
        host: for messages.
        quiet: say nothing but failures.
        log: the log's file, reopened at SIGHUP.
        metrics: where to tell Prometheus what was done; None nowhere.
    """
    signals: queue.SimpleQueue[str] = queue.SimpleQueue()
    _listen_to_signals(signals)
    notifier = Notifier(os.environ)
    endpoint: Optional[MetricsServer] = None
    try:
        server.start()
        if metrics is not None:
            endpoint = MetricsServer(*metrics, server.get_stats)
    except (EACopyError, OSError) as error:
        server.stop()
        if not isinstance(error, EACopyError):
            assert metrics is not None
            error = OSError("the metrics cannot be served at %s, port %d: %s" % (*metrics, error.strerror or error))
        _complain(str(error))
        return NOTHING_DONE
    place = "listening at %s, port %d" % (host, server.port)
    try:
        logger.info("%s", place)
        if not quiet:
            click.echo(place, err=True)
            if endpoint is not None:
                click.echo("metrics at http://%s:%d/metrics" % (_in_url(metrics), endpoint.port), err=True)
        notifier.ready(place)
        _watch(server, notifier, place, signals, log)
        notifier.stopping()
    finally:
        if endpoint is not None:
            endpoint.close()
        server.stop()
    done = server.get_stats()
    words = "stopped; received %d files, sent %d" % (done["files_received"], done["files_sent"])
    logger.info("%s", words)
    if not quiet:
        click.echo(words, err=True)
    return COMPLETE


def _watch(
    server: EACopyServer,
    notifier: Notifier,
    place: str,
    signals: "queue.SimpleQueue[str]",
    log: Optional[logging.Handler],
) -> None:
    """Tells systemd how it goes, until it is told to stop."""
    waited = 0.0
    while True:
        try:
            asked = signals.get(timeout=notifier.longest_wait)  # Windows looks for signals only between waits
        except queue.Empty:
            asked = ""
        if asked == _STOP:
            return
        if asked == _REOPEN:
            _reopen(log)
        # Asking takes the server's locks: a server that hangs gives no sign of life.
        stats = server.get_stats()
        notifier.alive()
        waited += notifier.longest_wait
        if waited >= _STATUS_INTERVAL:
            waited = 0.0
            counts = (stats["active_connections"], stats["files_received"], stats["files_sent"])
            notifier.status(place + "; %d connections, %d files received, %d sent" % counts)


def _listen_to_signals(signals: "queue.SimpleQueue[str]") -> None:
    wanted = {"SIGTERM": _STOP, "SIGINT": _STOP, "SIGBREAK": _STOP, "SIGHUP": _REOPEN}
    messages = {getattr(signal, name): message for name, message in wanted.items() if hasattr(signal, name)}

    def take_note(number: int, frame: object) -> None:
        signals.put(messages[number])  # may be called while it runs already in the same thread, as by a signal

    for number in messages:
        signal.signal(number, take_note)


def _reopen(log: Optional[logging.Handler]) -> None:
    if not isinstance(log, logging.handlers.WatchedFileHandler):
        return
    log.acquire()
    try:
        log.reopenIfNeeded()
    except OSError as error:
        _complain("cannot open the log again: %s" % error.strerror)
    finally:
        log.release()
    logger.info("the log was opened again")


def _complain(words: str) -> None:
    click.echo("eacopy: " + text.plain(words), err=True)


def _in_url(place: Any) -> str:
    return "[%s]" % place[0] if ":" in place[0] else str(place[0])
