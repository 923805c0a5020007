"""``eacopy robo``: runs what EACopy's own syntax asks for, directly or through a server, and tells of it as EACopy
does."""

import contextlib
import errno
import json
import os
import tempfile
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import attr
import click

import py_eacopy

from .. import Config, ConfigurationError, Control, CopyReport, EACopyError, Operation, __version__
from .._errors import error_from_failure
from . import robo_server, robo_switches, summary, text
from .robo_switches import Plan
from .running import COMPLETE, INTERRUPTED, NOTHING_DONE, as_json, perform, print_failures

_RULE = "-" * 79
_WILD = "*?"


def run(
    words: Sequence[str], token: Optional[str], backend: Optional[str], bwlimit: Optional[int], dry_run: bool,
    quiet: bool, json_only: bool, robocopy_exit_codes: bool,
) -> int:  # fmt: skip
    """Does what the words say; returns the exit status."""
    try:
        asked = robo_switches.stats_place(words)
        if asked is not None:
            return _stats(*asked, token)
        plan = robo_switches.parse(words)
        config = _config(plan, backend, bwlimit)
        for note in plan.notes:
            click.echo("eacopy: " + note, err=True)
        report, status = _copy(plan, config, token, dry_run, quiet, json_only)
    except click.UsageError as error:
        if not robocopy_exit_codes:
            raise
        error.show()
        return _FATAL
    return robocopy_status(report, status) if robocopy_exit_codes else status


_FATAL = 16


def robocopy_status(report: CopyReport, status: int) -> int:
    """The exit status as robocopy builds it; its bits are in the help of the command."""
    if status in (INTERRUPTED, NOTHING_DONE):
        return _FATAL
    copied = report.files_copied + report.files_linked + report.symlinks_copied
    extras = report.files_removed + report.directories_removed
    return bool(copied) + 2 * bool(extras) + 4 * bool(report.mismatches) + 8 * bool(report.errors)


def _config(plan: Plan, backend: Optional[str], bwlimit: Optional[int]) -> Config:
    settings: Dict[str, Any] = {
        "error_strategy": "retry" if plan.retries else "ignore",
        "retry_count": plan.retries,
        "retry_delay": plan.retry_wait,
        "log_level": "debug" if plan.verbose else "warning" if plan.minimal else "info",
        "backend": backend,
        "bandwidth_limit": bwlimit,
    }
    if plan.threads is not None:
        settings["thread_count"] = plan.threads
    try:
        return Config(**settings)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None


def _copy(
    plan: Plan, config: Config, token: Optional[str], dry_run: bool, quiet: bool, json_only: bool
) -> Tuple[CopyReport, int]:
    output = {"quiet": quiet, "as_json": json_only, "log": plan.log, "verbose": dry_run or not plan.minimal}
    output.update(log_format="%(message)s", log_actions=not plan.minimal, debug=plan.verbose and not json_only)
    plan.options["dry_run"] = dry_run
    header = _header(plan) if plan.header else []
    with _as_list(plan):
        copy = robo_server.way(plan, token, config, _direct(plan, config, json_only), dry_run)
        paper = _Paper(plan.log, quiet or json_only)  # only now is it sure that there is something to write
        paper.print(header)
        report, status = perform(lambda control: _with_missing(plan, copy(control), control), output)
    if plan.summary:
        paper.print(["", *summary.lines(report, dry_run)])
        if status == INTERRUPTED:
            paper.print(["Interrupted: the table is what was done until then."])
    if json_only:
        click.echo(json.dumps(as_json(report, status)))
    else:
        print_failures(report.errors)
    return report, status


def _direct(plan: Plan, config: Config, record: bool) -> Callable[[Control], CopyReport]:
    def copy(control: Control) -> CopyReport:
        return py_eacopy.sync(
            plan.source, plan.destination, record_actions=record, config=config, control=control, **plan.options
        )

    return copy


class _Paper:
    """Where header and summary go: the terminal, and the log, which begins anew."""

    def __init__(self, log: Optional[str], silent: bool) -> None:
        self._log, self._silent = log, silent
        if log is not None:
            try:
                with open(log, "w"):
                    pass
            except OSError as error:
                raise click.UsageError("/LOG:%s: cannot be written: %s" % (text.plain(log), error.strerror)) from None

    def print(self, lines: Sequence[str]) -> None:
        if not self._silent:
            click.echo("".join(line + "\n" for line in lines), nl=False)
        if self._log is not None:
            with open(self._log, "a", encoding="utf-8", errors="backslashreplace") as log:
                log.writelines(line + "\n" for line in lines)


def _header(plan: Plan) -> List[str]:
    rows = [
        ("Source", plan.source),
        ("Destination", plan.destination),
        ("Files", " ".join(plan.options.get("files", ("*",)))),
        ("Switches", " ".join(plan.switches)),
    ]
    if plan.options.get("file_lists"):
        rows[2] = ("Lists", " ".join(plan.options["file_lists"]))
    shown = ["  %-12s %s" % (name, text.plain(value)) for name, value in rows]
    return [_RULE, "  eacopy %s" % __version__, _RULE, *shown, _RULE]


# Names of files -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _as_list(plan: Plan) -> Iterator[None]:
    """Without /S, a name with a path in it means that one file: names become a list of files then, which does that."""
    files = plan.options.get("files", ())
    if plan.options["subdirs"] or not any("/" in name for name in files):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="eacopy-") as directory:
        name = os.path.join(directory, "files.txt")
        with open(name, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.writelines('"%s"\n' % file.lstrip("/") for file in files)
        options = dict(plan.options)
        del plan.options["files"]
        plan.options["file_lists"] = (name,)
        yield
        plan.options = options


def _with_missing(plan: Plan, report: CopyReport, control: Control) -> CopyReport:
    """A file that is asked for by its name and is not there is a failure."""
    if plan.options["subdirs"] or plan.options.get("file_lists"):
        return report
    names = (name for name in plan.options.get("files", ()) if not any(c in name for c in _WILD))
    missing = [name for name in names if not os.path.lexists(os.path.join(plan.source, name))]
    failures: List[EACopyError] = []
    for name in missing:
        pair = os.path.join(plan.source, name), os.path.join(plan.destination, name)
        failures.append(error_from_failure(errno.ENOENT, Operation.OPEN_SOURCE, *pair))
        control.record(failures[-1])
    return attr.evolve(report, errors=report.errors + tuple(failures))


def _stats(place: str, plan: Plan, token: Optional[str]) -> int:
    try:
        lines = robo_server.report(place, plan, token)
    except EACopyError as error:
        click.echo("eacopy: " + text.plain(str(error)), err=True)
        return NOTHING_DONE
    click.echo("\n".join(map(text.plain, lines)))
    return COMPLETE
