"""Runs one copying function for a command: progress, log, summary, and the exit status."""

import contextlib
import json
import logging
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import attr
import click

from .. import ConfigurationError, Control, CopyReport, EACopyError, InvalidArgumentError, TreeError
from . import progress, text

#: The exit statuses; they are in the help of the command.
COMPLETE, SOME_FAILED, USAGE, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 3, 130

#: Failures that are listed on a terminal; the log and --json have them all.
_LISTED = 20


def run(copy: Callable[[Control], CopyReport], output: Mapping[str, Any]) -> int:
    """Copies, shows it, and returns the exit status.

    Args:
        copy: the call of the public function, with the control that it has to be given.
        output: the options ``quiet``, ``as_json`` and ``log``.
    """
    control = Control()
    started = time.monotonic()
    status: Optional[int] = None
    with _log_to(output["log"]), _stopping_at_sigterm():
        try:
            with progress.shown(control, output["quiet"] or output["as_json"]):
                report = copy(control)
        except KeyboardInterrupt:
            status = INTERRUPTED
            report = _report_so_far(control, control.errors, started)
        except (InvalidArgumentError, ConfigurationError) as error:
            raise click.UsageError(text.plain(str(error))) from None
        except EACopyError as error:
            failures = error.errors if isinstance(error, TreeError) and error.errors else [error]
            report = _report_so_far(control, failures, started)
    if status is None:
        status = _status_of(report)
    if output["as_json"]:
        click.echo(json.dumps(_as_json(report, status)))
    elif not output["quiet"]:
        _print_summary(report, status)
    if not output["as_json"]:
        _print_failures(report.errors)
    return status


def _status_of(report: CopyReport) -> int:
    if report.ok:
        return COMPLETE
    done = report.files_copied + report.files_linked + report.files_skipped + report.symlinks_copied
    return SOME_FAILED if done or report.directories_created else NOTHING_DONE


def _report_so_far(control: Control, errors: Sequence[EACopyError], started: float) -> CopyReport:
    """What is known of a call that ended with an exception."""
    last = control.snapshot()
    return CopyReport(
        files_copied=last.files_copied,
        bytes_copied=last.bytes_copied,
        errors=tuple(errors),
        seconds=time.monotonic() - started,
    )


@contextlib.contextmanager
def _stopping_at_sigterm() -> Iterator[None]:
    """SIGTERM ends a copy as Ctrl-C does, so that it leaves no partial file."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # A shell starts what goes to the background deaf to Ctrl-C; the terminal does not send it there, but people do.
    before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def _log_to(path: Optional[str]) -> Iterator[None]:
    logger = logging.getLogger("py_eacopy")
    handler: logging.Handler = logging.NullHandler()  # without one, logging would write warnings to stderr
    with contextlib.ExitStack() as opened:
        if path is not None:
            try:
                stream = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            except OSError as error:
                raise click.UsageError("cannot write the log %s: %s" % (text.plain(path), error.strerror)) from None
            handler = logging.StreamHandler(opened.enter_context(stream))
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


def _as_json(report: CopyReport, status: int) -> Dict[str, Any]:
    fields = attr.asdict(report, recurse=False)
    fields["methods"] = dict(report.methods)
    fields["errors"] = [_error_as_json(error) for error in report.errors]
    fields["exit_status"] = status
    return fields


def _error_as_json(error: EACopyError) -> Dict[str, Any]:
    return {
        "kind": error.kind.name,
        "message": str(error),
        "source": _name(getattr(error, "filename", None)),
        "destination": _name(getattr(error, "filename2", None)),
    }


def _name(path: object) -> Optional[str]:
    return None if path is None else str(path)


def _print_summary(report: CopyReport, status: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), show_edge=False)
    for heading in ("", "files", "bytes"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("Copied", str(report.files_copied), text.size(report.bytes_copied))
    table.add_row("Linked", str(report.files_linked), text.size(report.bytes_linked))
    table.add_row("Skipped", str(report.files_skipped), text.size(report.bytes_skipped))
    table.add_row("FAILED", str(len(report.errors)), "")
    console = Console(highlight=False, markup=False)
    console.print(table)
    rate = report.bytes_copied / report.seconds if report.seconds > 0 else 0.0
    console.print("Time %s, %s/s" % (text.duration(report.seconds), text.size(rate)))
    if report.bytes_reused:
        console.print("Reused %s, written %s" % (text.size(report.bytes_reused), text.size(report.bytes_written)))
    if report.server is not None:
        wire = (text.plain(report.server), text.size(report.bytes_sent), text.size(report.bytes_received))
        console.print("Server %s; sent %s, received %s" % wire)
    if status == INTERRUPTED:
        console.print("Interrupted: the table is what was done until then.")


def _print_failures(errors: Sequence[EACopyError]) -> None:
    lines: List[str] = ["eacopy: " + text.plain(str(error)) for error in errors[:_LISTED]]
    if len(errors) > _LISTED:
        lines.append("eacopy: and %d more; --log FILE and --json have them all" % (len(errors) - _LISTED))
    for line in lines:
        print(line, file=sys.stderr)
