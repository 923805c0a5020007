"""The commands of a server: ``eacopy serve`` runs one, ``eacopy stats`` asks one."""

import json
from typing import Any, Dict, Mapping, Optional, Sequence

import click

import py_eacopy

from .. import Config, EACopyError
from .._server import parse_report
from . import text
from .options import token_options
from .running import NOTHING_DONE
from .service_config import ConfigFileError, read, read_token
from .service_switches import SwitchError, parse

_PORT = 31337


def _shares(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> Dict[str, str]:
    shares: Dict[str, str] = {}
    for value in values:
        name, equals, directory = value.partition("=")
        if not equals or not name or not directory:
            raise click.BadParameter("%r is not NAME=DIR" % value)
        if name in shares:
            raise click.BadParameter("%r is there twice" % name)
        shares[name] = directory
    return shares


_LINK_MODES = ["auto", "hard", "reflink", "never"]


@click.command()
@click.option("--config", "config_file", metavar="FILE", type=click.Path(), help="Options in TOML; see docs/server.md.")
@click.option("--share", "shares", metavar="NAME=DIR", multiple=True, callback=_shares, help="May be repeated.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0 picks a free one.")
@click.option("--threads", "thread_count", type=int, default=4, show_default=True, help="Requests at the same time.")
@click.option("--history-file", type=click.Path(), help="Where to remember what was copied.")
@click.option("--history-size", type=int, default=500_000, show_default=True, help="Files that are remembered.")
@click.option("--link-mode", type=click.Choice(_LINK_MODES), default="auto", show_default=True)
@click.option("--link-min-size", type=int, default=0, show_default=True, help="Smaller files, in bytes, are sent.")
@click.option("--link-by-name", is_flag=True, help="Know files by their names, wherever they lay.")
@click.option("--use-hash", is_flag=True, help="Ask for the MD5 of files that are not known.")
@click.option("--unsecure", is_flag=True, help="No security file: who reaches the port and knows the token may write.")
@click.option("--no-compression", is_flag=True, help="Offer none.")
@click.option("--no-delta", is_flag=True, help="Offer none.")
@click.option("--max-connections", type=int, default=256, show_default=True)
@click.option("--idle-timeout", type=float, default=300.0, show_default=True, help="In seconds.")
@click.option("--backend", type=click.Choice(["auto", "native", "portable"]), help="What serves.")
@click.option("--metrics", metavar="[HOST:]PORT", help="Tell Prometheus, at http://HOST:PORT/metrics; HOST: 127.0.0.1.")
@click.option("--log", metavar="FILE", type=click.Path(dir_okay=False), help="Append a log; SIGHUP opens it again.")
@click.option("--verbose", is_flag=True, help="Log every connection.")
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but failures.")
@click.argument("switches", metavar="[/SWITCH]...", nargs=-1, type=click.UNPROCESSED)
@token_options
def serve(config_file: Optional[str], switches: Sequence[str], **options: Any) -> int:
    """Serves push and pull, until Ctrl-C or SIGTERM.

    What is given here goes before what --config says. EACopyService's switches are understood too: /P:n /IP:address
    /HISTORY:n /LINK /NOLINKS /LINKMIN:n /LINKBYNAME /LINKDB:file /UNSECURE /HASH /LOG:file /VERBOSE; the port is
    then 18099.

    \b
    Example:
      EACOPY_TOKEN=... eacopy serve --host 0.0.0.0 --share builds=/srv/builds
      eacopy serve --config /etc/eacopy/eacopy.toml
    """
    from . import metrics, serving  # they take a while to load, and other commands need neither

    in_file: Dict[str, Any] = {}
    try:
        if config_file is not None:
            in_file = read(config_file)
        switched = parse(switches, lambda words: click.echo("eacopy: " + text.plain(words), err=True))
        chosen = _merged(options, in_file, switched)
        where = metrics.address(chosen["metrics"]) if chosen["metrics"] is not None else None
        with serving.logging_to(chosen["log"], chosen["verbose"], "log" in switched) as log:
            if "token_file" in chosen:
                chosen["token"] = read_token(chosen["token_file"])
            server = _server(chosen)
            return serving.serve(server, chosen["host"], chosen["quiet"], log, where)
    except EACopyError as error:
        words = str(error)
        if words.partition("=")[0] in in_file:
            words = "%s: %s" % (config_file, words)
        raise click.UsageError(text.plain(words)) from None
    except (ConfigFileError, SwitchError, serving.LogFileError) as error:
        raise click.UsageError(text.plain(str(error))) from None


def _merged(options: Mapping[str, Any], in_file: Mapping[str, Any], switched: Mapping[str, Any]) -> Dict[str, Any]:
    """What is in force: what the command line says, else the file, else what is usual."""
    context = click.get_current_context()
    usual = click.core.ParameterSource.DEFAULT
    given = {name for name in options if context.get_parameter_source(name) is not usual}
    if options["token"] is not None:
        given.add("token")
    chosen = dict(options, **{name: in_file[name] for name in in_file if name not in given})
    # These flags say the opposite of what the option is called.
    for flag, option in (("unsecure", "security_file"), ("no_compression", "compression"), ("no_delta", "delta")):
        if chosen.pop(flag):
            chosen[option] = False
        else:
            chosen.setdefault(option, True)
    if "token" in given:
        chosen.pop("token_file", None)
    # A port that was given in our own way goes before the one that is usual for EACopyService.
    return dict(chosen, **{name: value for name, value in switched.items() if not (name == "port" and name in given)})


def _server(chosen: Mapping[str, Any]) -> py_eacopy.EACopyServer:
    arguments = {name: value for name, value in chosen.items() if name not in _OF_THE_COMMAND}
    arguments["shares"] = chosen["shares"] or None
    return py_eacopy.EACopyServer(config=Config(backend=chosen["backend"]), **arguments)


#: Options that the command itself sees to.
_OF_THE_COMMAND = ("backend", "log", "metrics", "quiet", "token_file", "verbose")


@click.command()
@click.argument("server", metavar="HOST[:PORT]")
@click.option("--port", type=click.IntRange(1, 65535), default=_PORT, show_default=True)
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds of silence.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the numbers.")
@token_options
def stats(server: str, port: int, timeout: float, as_json: bool, token: Optional[str]) -> int:
    """Asks a server what it did since it was started.

    \b
    Example:
      eacopy stats fileserver
      eacopy stats --json fileserver | jq .stats.files_linked
    """
    try:
        report = py_eacopy.server_report(server, port, token=token, timeout=timeout)
    except (py_eacopy.InvalidArgumentError, py_eacopy.ConfigurationError) as error:
        raise click.UsageError(text.plain(str(error))) from None
    except EACopyError as error:
        click.echo("eacopy: " + text.plain(str(error)), err=True)
        return NOTHING_DONE
    if as_json:
        # EACopy's own service reports in words of its own: then there are no numbers.
        click.echo(json.dumps({"server": server, "stats": parse_report(report), "report": report}))
    else:
        click.echo("\n".join(map(text.plain, report.splitlines())))
    return 0
