"""What ``eacopy robo`` does through a server: push and pull trees, with names left out. More a server cannot do."""

import os
from typing import Any, Callable, FrozenSet, List, Optional, Sequence

import attr
import click

import py_eacopy

from .. import Config, Control, CopyReport, InvalidArgumentError
from .._job import Sync
from .._location import Location, is_this_machine, on_server, split_address
from . import text
from .robo_switches import Plan

_Copy = Callable[[Control], CopyReport]

#: Options of sync that have no counterpart on the wire, and the switches that ask for them.
_ONLY_DIRECT = {
    "file_lists": "I",
    "exclude_lists": "IX",
    "flatten": "F",
    "link_dirs": "LINK",
    "link_database": "LINKDB",
    "exclude_changed": "XC",
    "include_attributes": "IA",
    "exclude_attributes": "XA",
}
#: What needs to look at names, which only the side of the source can.
_FILTERS = {"files": "FILE", "exclude_files": "XF", "exclude_dirs": "XD", "max_depth": "LEV"}


def way(plan: Plan, token: Optional[str], config: Config, direct: _Copy, dry_run: bool) -> _Copy:
    """How to copy: through a server where one is asked for, or may be there; else ``direct``.

    Raises:
        click.UsageError: a server is needed that cannot do what the switches say, or nobody knows where it is; or a
            path is on a server alone, and none may be asked.
    """
    if plan.server == "never" or dry_run:
        for path in (plan.source, plan.destination):
            _check_here(path, config, "--dry-run" if dry_run else "/NOSERVER")
        return direct
    required = plan.server == "required"
    try:
        there = on_server(os.fsencode(plan.destination), config.path_map)
        here = on_server(os.fsencode(plan.source), config.path_map) if there is None else None
        own = plan.server_address is not None and is_this_machine(split_address(plan.server_address)[0])
    except InvalidArgumentError as error:
        raise click.UsageError(text.plain(str(error))) from None
    place = there or here
    if place is None and not own:
        if required or plan.server_address is not None:
            raise click.UsageError(
                "%s: neither %s nor %s is known to be on the server; write it as //host/share/directory, mount it, or "
                "leave the switch out" % ("/SERVER" if required else "/SERVERADDR", plan.source, plan.destination)
            )
        return direct
    return _through(plan, token, config, direct, place, push=here is None)


def _check_here(path: str, config: Config, switch: str) -> None:
    """Without this, //host/share would be taken for a directory of this machine."""
    place = on_server(os.fsencode(path), config.path_map)
    if place is not None and place.local is None:
        raise click.UsageError("%s: %s can be reached through a server only; mount it" % (switch, text.plain(path)))


def _through(
    plan: Plan, token: Optional[str], config: Config, direct: _Copy, place: Optional[Location], push: bool
) -> _Copy:
    required = plan.server == "required"
    local = place is None or place.local is not None
    beyond = _beyond(plan, push, local)
    if beyond and (required or not local):
        raise click.UsageError(
            "a server cannot do what /%s says; leave %s out, or copy directly%s"
            % (beyond[0], "it" if len(beyond) == 1 else "all of /" + " /".join(beyond), _REMEDY[local])
        )
    too_little = not push and not plan.options["empty_dirs"]
    if too_little and (required or not local):
        raise click.UsageError("a server is asked for all of a directory: add /E, or copy directly%s" % _REMEDY[local])
    if beyond or too_little:
        return direct
    ignore = _Filter(plan) if push and _filters(plan) else None

    def copy(control: Control) -> CopyReport:
        report = py_eacopy.copy_with_server(
            plan.source,
            plan.destination,
            plan.server_address,
            plan.server_port,
            plan.level,
            token=token,
            required=required or not local,
            ignore=ignore,
            config=config,
            control=control,
        )
        if plan.options.get("purge") and report.ok:
            return _with_purge(report, direct(control))
        return report

    return copy


_REMEDY = {True: ": without /SERVER", False: ", from or to where the share is mounted"}


def _beyond(plan: Plan, push: bool, local: bool) -> List[str]:
    """The switches that a server cannot do."""
    found = [switch for option, switch in _ONLY_DIRECT.items() if plan.options.get(option)]
    if plan.options.get("purge") and not local:
        found.append("MIR" if "MIR" in plan.given else "PURGE")
    if not push:
        found += [switch for option, switch in _FILTERS.items() if plan.options.get(option)]
    return found


def _filters(plan: Plan) -> bool:
    return not plan.options["empty_dirs"] or any(plan.options.get(option) for option in _FILTERS)


def _with_purge(pushed: CopyReport, purged: CopyReport) -> CopyReport:
    """The report of both: what the second one found up to date, the first one did."""
    return attr.evolve(
        pushed,
        files_removed=purged.files_removed,
        bytes_removed=purged.bytes_removed,
        directories_removed=purged.directories_removed,
        mismatches=purged.mismatches,
        seconds=pushed.seconds + purged.seconds,
        errors=purged.errors,
    )


class _Filter:
    """What ``copy_with_server`` takes for ``ignore``: leaves out what the switches leave out."""

    def __init__(self, plan: Plan) -> None:
        from ..backends.portable.sync.selection import Selection

        options = plan.options
        self._root = plan.source
        self._subdirs, self._empty_dirs = options["subdirs"], options["empty_dirs"]
        self._max_depth: int = options.get("max_depth") or 0
        self._selection = Selection(Sync(**{name: _encoded(options[name]) for name in _PATTERNS if name in options}))

    def __call__(self, directory: str, names: List[str]) -> FrozenSet[str]:
        return frozenset(name for name in names if not self._takes(directory, name))

    def _takes(self, directory: str, name: str) -> bool:
        below = os.path.relpath(directory, self._root)
        where = "" if below == os.curdir else below.replace(os.sep, "/") + "/"
        path = os.path.join(directory, name)
        if os.path.islink(path) or not os.path.isdir(path):
            return self._selection.takes_file(name, lambda: where)
        depth = where.count("/") + 2  # that of what is in it; what is directly in the source has 1
        if not self._subdirs or (self._max_depth and depth > self._max_depth):
            return False
        if not self._selection.enters(name, lambda: where):
            return False
        return self._empty_dirs or self._has_files(path)

    def _has_files(self, directory: str) -> bool:
        try:
            return any(self._takes(directory, name) for name in os.listdir(directory))
        except OSError:
            return True  # the copy will say what is wrong with it


_PATTERNS = ("files", "exclude_files", "exclude_dirs")


def _encoded(patterns: Sequence[str]) -> Any:
    return tuple(map(os.fsencode, patterns))


def report(place: str, plan: Plan, token: Optional[str]) -> List[str]:
    """What the server of a path tells of itself."""
    address, port = plan.server_address, plan.server_port
    if address is None:
        there = on_server(os.fsencode(place), Config().path_map)
        if there is None or there.host is None:
            raise click.UsageError(
                "/STATS: %s is not known to be on a server; write it as //host/share/directory, or add /SERVERADDR"
                % place
            )
        address, port = there.host, there.port or port
    return py_eacopy.server_report(address, port, token=token).splitlines()
