"""The options that several commands have, and the Config that they make."""

import functools
import re
from typing import Any, Callable, Dict, Optional, Tuple, Union

import click

from .. import Config, ConfigurationError

_Command = Callable[..., Any]

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?(?:/s)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def rate(context: click.Context, parameter: click.Parameter, value: Optional[str]) -> Optional[int]:
    """Makes bytes a second of "500K" and the like."""
    if value is None:
        return None
    found = _RATE.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter("%r is not legal: it must be bytes a second, as 500K, 20M or 1.5G" % value)
    count = int(float(found.group(1)) * _UNITS[found.group(2).upper()])
    if not 1024 <= count <= 2**40:
        raise click.BadParameter("%r is not legal: it must be from 1K to 1T a second" % value)
    return count


_OUTPUT = (
    click.option("--quiet", "-q", is_flag=True, help="Show nothing but failures."),
    click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object, and no progress."),
    click.option("--log", metavar="FILE", type=click.Path(dir_okay=False), help="Append a log to this file."),
)
_COPY = (
    click.option("--threads", metavar="N", type=int, help="Threads that copy, 1 to 1024.  [default: 4]"),
    click.option("--backend", type=click.Choice(["auto", "native", "portable"]), help="What copies."),
    click.option("--retries", metavar="N", type=int, default=0, help="Further tries of a file that fails."),
    click.option("--retry-wait", metavar="SECONDS", type=float, help="Time between two tries.  [default: 1]"),
    click.option("--atomic", is_flag=True, help="Write beside the destination, then rename."),
    click.option("--fsync", is_flag=True, help="Make every copy durable before it counts as done."),
    click.option("--verify", is_flag=True, help="Read source and copy again, and compare."),
    click.option(
        "--bwlimit",
        metavar="RATE",
        callback=rate,
        help="Most bytes a second, of all threads together: 500K, 20M, 1.5G; powers of 1024.",
    ),
    click.option("--reflink", type=click.Choice(["auto", "always", "never"]), help="Whether to clone."),
)
_TOKEN = (
    click.option(
        "--token", metavar="SECRET", envvar="EACOPY_TOKEN",
        help="The secret shared with the other side; better given as EACOPY_TOKEN or --token-file, which other users "
        "do not see.",
    ),
    click.option("--token-file", type=click.File(encoding="utf-8"), metavar="FILE", help="A file with the secret."),
)  # fmt: skip


def copy_options(command: _Command) -> _Command:
    """How to copy; the command gets ``config``, and ``output``, a mapping of how to show it."""

    @functools.wraps(command)
    def wrapper(
        threads: Optional[int], backend: Optional[str], retries: int, retry_wait: Optional[float], atomic: bool,
        fsync: bool, verify: bool, bwlimit: Optional[int], reflink: Optional[str], quiet: bool, as_json: bool,
        log: Optional[str], **rest: Any,
    ) -> Any:  # fmt: skip
        # Without further tries the failures are in the report, with all that was done; so it is asked to go on.
        settings: Dict[str, Any] = {
            "error_strategy": "retry" if retries else "ignore",
            "retry_count": retries,
            "atomic": atomic,
            "fsync": fsync,
            "verify": verify,
            "bandwidth_limit": bwlimit,
            "log_level": "info",
        }
        optional = {"thread_count": threads, "backend": backend, "retry_delay": retry_wait, "reflink": reflink}
        settings.update({name: value for name, value in optional.items() if value is not None})
        try:
            config = Config(**settings)
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from None
        output = {"quiet": quiet, "as_json": as_json, "log": log}
        return command(config=config, output=output, **rest)

    return _with(_COPY + _OUTPUT, wrapper)


def token_options(command: _Command) -> _Command:
    """--token and --token-file; the command gets ``token``."""

    @functools.wraps(command)
    def wrapper(token: Optional[str], token_file: Any, **rest: Any) -> Any:
        if token_file is not None:
            token = token_file.read().strip()
            if not token:
                raise click.UsageError("the file of --token-file is empty")
        return command(token=token, **rest)

    return _with(_TOKEN, wrapper)


def level(context: click.Context, parameter: click.Parameter, value: str) -> Union[int, str]:
    """Makes 0 to 22, or "auto", of what was given for a level."""
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) > 22:
        raise click.BadParameter('%r is not legal: it must be from 0 (none) to 22, or "auto"' % value)
    return int(value)


def _with(options: Tuple[Any, ...], command: _Command) -> _Command:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command
