"""Runs one copying function for a command: progress, log, summary, and the exit status."""

import contextlib
import functools
import json
import logging
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import attr
import click

from .. import ConfigurationError, Control, CopyReport, EACopyError, InvalidArgumentError, SyncAction, TreeError
from . import progress, summary, text

#: The exit statuses; they are in the help of the command.
COMPLETE, SOME_FAILED, USAGE, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 3, 130

#: Failures that are listed on a terminal; the log and --json have them all.
_LISTED = 20

_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class _Told(str):
    """A line of the log that stands on the terminal already."""


def _is_news(record: logging.LogRecord) -> bool:
    return not any(isinstance(argument, _Told) for argument in record.args or ())


def run(copy: Callable[[Control], CopyReport], output: Mapping[str, Any]) -> int:
    """Copies, shows it, and returns the exit status.

    Args:
        copy: the call of the public function, with the control that it has to be given.
        output: the options ``quiet``, ``as_json``, ``log`` and, where there is one, ``verbose``: a line for each thing
            that is done; and ``dry_run``, for the summary.
    """
    report, status = perform(copy, output)
    if output["as_json"]:
        click.echo(json.dumps(as_json(report, status)))
    elif not output["quiet"] and not (status == NOTHING_DONE and len(report.errors) == 1):  # which says it all
        for line in summary.lines(report, bool(output.get("dry_run"))):
            click.echo(line)
        if status == INTERRUPTED:
            click.echo("Interrupted: the table is what was done until then.")
    if not output["as_json"]:
        print_failures(report.errors)
    return status


def perform(copy: Callable[[Control], CopyReport], output: Mapping[str, Any]) -> Tuple[CopyReport, int]:
    """Copies, with progress, log and signals as for :func:`run`; returns what was done, and the exit status."""
    told = bool(output.get("verbose")) and not output["as_json"] and not output["quiet"]
    logged = output["log"] is not None and output.get("log_actions", True)
    control = Control()
    if told or (logged and not output["as_json"]):
        control.action = functools.partial(_tell, control, told, logged)
    started = time.monotonic()
    form = output.get("log_format", _LOG_FORMAT)
    with _log_to(output["log"], form, bool(output.get("debug"))), _stopping_at_sigterm():
        try:
            with progress.shown(control, output["quiet"] or output["as_json"] or told):
                report = copy(control)
        except KeyboardInterrupt:
            return _report_so_far(control, control.errors, started), INTERRUPTED
        except (InvalidArgumentError, ConfigurationError) as error:
            raise click.UsageError(text.plain(str(error))) from None
        except EACopyError as error:
            failures = error.errors if isinstance(error, TreeError) and error.errors else [error]
            report = error.report or _report_so_far(control, failures, started)
    return report, _status_of(report)


def _tell(control: Control, told: bool, logged: bool, action: SyncAction) -> None:
    """Shows and logs one thing that was done, or would be."""
    line = text.action(action)
    if told:
        click.echo(line)
    if logged:
        control.log(logging.INFO, "%s", _Told(line) if told else line)


def _status_of(report: CopyReport) -> int:
    if report.ok:
        return COMPLETE
    done = report.files_copied + report.files_linked + report.files_skipped + report.symlinks_copied
    done += report.files_removed + report.directories_removed + report.directories_created
    return SOME_FAILED if done else NOTHING_DONE


def _report_so_far(control: Control, errors: Sequence[EACopyError], started: float) -> CopyReport:
    """What is known of a call that ended with an exception."""
    last = control.snapshot()
    return CopyReport(
        files_copied=last.files_copied,
        bytes_copied=last.bytes_copied,
        files_linked=last.files_linked,
        bytes_linked=last.bytes_linked,
        files_skipped=last.files_skipped,
        bytes_skipped=last.bytes_skipped,
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
def _log_to(path: Optional[str], form: str, to_stderr: bool) -> Iterator[None]:
    logger = logging.getLogger("py_eacopy")
    handlers: List[logging.Handler] = [logging.NullHandler()]  # without one, logging would write warnings to stderr
    if to_stderr:
        handlers.append(logging.StreamHandler())
        handlers[-1].addFilter(_is_news)
    with contextlib.ExitStack() as opened:
        if path is not None:
            try:
                stream = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            except OSError as error:
                raise click.UsageError("cannot write the log %s: %s" % (text.plain(path), error.strerror)) from None
            handlers.append(logging.StreamHandler(opened.enter_context(stream)))
            handlers[-1].setFormatter(logging.Formatter(form))
        for handler in handlers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for handler in handlers:
                logger.removeHandler(handler)


def as_json(report: CopyReport, status: int) -> Dict[str, Any]:
    fields = attr.asdict(report, recurse=False)
    fields["methods"] = dict(report.methods)
    fields["actions"] = [action._asdict() for action in report.actions]
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


def print_failures(errors: Sequence[EACopyError]) -> None:
    lines: List[str] = ["eacopy: " + text.plain(str(error)) for error in errors[:_LISTED]]
    if len(errors) > _LISTED:
        lines.append("eacopy: and %d more; --log FILE and --json have them all" % (len(errors) - _LISTED))
    for line in lines:
        print(line, file=sys.stderr)
