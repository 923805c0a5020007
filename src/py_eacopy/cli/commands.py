"""The commands: what each takes, and the public function that it calls."""

import json
import os
import shutil
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import click

import py_eacopy

from .. import Config, Control, CopyReport, EACopyError, __version__
from . import text
from .options import copy_options, token_options
from .options import level as checked_level
from .running import NOTHING_DONE, run
from .service_commands import serve, stats
from .syncing import robo, sync

_PORT = 31337

_STATUSES = """\
\b
Exit status:
    0  everything is there
    1  some files failed
    2  the command line is wrong
    3  nothing could be done (no source, no server...)
  130  stopped by Ctrl-C or SIGTERM
  141  who read the output was gone
"""

_PATH = click.Path()
_DRY_RUN = click.option("--dry-run", "-n", is_flag=True, help="Write nothing; tell what would be copied.")


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> List[str]:
        return list(self.commands)


@click.group(cls=_Group, epilog=_STATUSES)
@click.version_option(__version__, prog_name="eacopy")
def eacopy() -> None:
    """Copies files and trees as fast as the system can.

    \b
    Example:
      eacopy cptree photos /mnt/backup/photos
    """


@eacopy.command()
@click.argument("sources", nargs=-1, required=True, type=_PATH)
@click.argument("destination", type=_PATH)
@click.option("--no-metadata", is_flag=True, help="Keep the mode alone: neither times nor attributes.")
@_DRY_RUN
@copy_options
def cp(
    sources: Sequence[str], destination: str, no_metadata: bool, dry_run: bool, config: Config, output: Dict[str, Any]
) -> int:
    """Copies files, to another name or into a directory.

    \b
    Example:
      eacopy cp disk.img film.mkv /mnt/backup
    """
    if len(sources) > 1 and not os.path.isdir(destination):
        raise click.UsageError("several files need a directory, which %s is not" % text.plain(destination))
    function = py_eacopy.batch_copy if no_metadata else py_eacopy.batch_copy2
    pairs = [(source, destination) for source in sources]
    if dry_run:
        output.update(verbose=True, dry_run=True)
        from . import dry_run as plan

        return run(lambda control: plan.files(pairs, control), output)
    return run(lambda control: function(pairs, config=config, control=control), output)


@eacopy.command()
@click.argument("source", type=_PATH)
@click.argument("destination", type=_PATH)
@click.option("--symlinks", is_flag=True, help="Copy symbolic links as links, not what they point to.")
@click.option("--ignore-dangling-symlinks", is_flag=True, help="Leave out links that lead nowhere.")
@click.option("--dirs-exist-ok", is_flag=True, help="Copy into directories that exist.")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out names that match. May be repeated.")
@click.option("--no-metadata", is_flag=True, help="Keep the files' modes alone: neither times nor attributes.")
@_DRY_RUN
@copy_options
def cptree(
    source: str,
    destination: str,
    symlinks: bool,
    ignore_dangling_symlinks: bool,
    dirs_exist_ok: bool,
    exclude: Sequence[str],
    no_metadata: bool,
    dry_run: bool,
    config: Config,
    output: Dict[str, Any],
) -> int:
    """Copies a directory with all that is in it, as shutil.copytree does.

    \b
    Example:
      eacopy cptree --symlinks project /mnt/backup/project
    """
    config.preserve_metadata = not no_metadata
    ignore = shutil.ignore_patterns(*exclude) if exclude else None
    if dry_run:
        output.update(verbose=True, dry_run=True)
        from . import dry_run as plan

        choices = (symlinks, ignore_dangling_symlinks, dirs_exist_ok, ignore)
        return run(lambda control: plan.tree(source, destination, *choices, control), output)

    def copy(control: Control) -> CopyReport:
        return py_eacopy.batch_copytree(
            [(source, destination)],
            symlinks,
            ignore_dangling_symlinks,
            dirs_exist_ok,
            ignore=ignore,
            config=config,
            control=control,
        )

    status = run(copy, output)
    if status == NOTHING_DONE and not dirs_exist_ok and os.path.isdir(source) and os.path.isdir(destination):
        click.echo("--dirs-exist-ok copies into what is there; `eacopy sync` copies what is not there yet.", err=True)
    return status


eacopy.add_command(sync)
eacopy.add_command(robo)


@eacopy.command()
@click.argument("source", type=_PATH)
@click.argument("destination", type=_PATH)
@click.option("--reference", type=_PATH, help="An older version.  [default: DESTINATION]")
@copy_options
def delta(source: str, destination: str, reference: Optional[str], config: Config, output: Dict[str, Any]) -> int:
    """Copies a file, and takes what is the same from an older version.

    \b
    Example:
      eacopy delta disk.img /backup/disk.img --reference /backup/disk-yesterday.img
    """
    older = destination if reference is None else reference
    return run(lambda control: py_eacopy.delta_copy(source, destination, older, config=config, control=control), output)


@eacopy.group()
def patch() -> None:
    """Makes and applies patches.

    \b
    Example:
      eacopy patch create game-1.1.pak game-1.0.pak game.patch
    """


@patch.command()
@click.argument("source", type=_PATH)
@click.argument("reference", type=_PATH)
@click.argument("patch_file", metavar="PATCH", type=_PATH)
@click.option("--level", type=click.IntRange(1, 22), default=3, show_default=True, help="Fast to small.")
@copy_options
def create(source: str, reference: str, patch_file: str, level: int, config: Config, output: Dict[str, Any]) -> int:
    """Writes what SOURCE has that REFERENCE has not.

    \b
    Example:
      eacopy patch create --level 19 game-1.1.pak game-1.0.pak game.patch
    """
    return run(
        lambda control: py_eacopy.create_delta(source, reference, patch_file, level, config=config, control=control),
        output,
    )


@patch.command()
@click.argument("reference", type=_PATH)
@click.argument("patch_file", metavar="PATCH", type=_PATH)
@click.argument("destination", type=_PATH)
@click.option("--allow-unchecked", is_flag=True, help="Apply a patch that has no checksum, too.")
@copy_options
def apply(
    reference: str, patch_file: str, destination: str, allow_unchecked: bool, config: Config, output: Dict[str, Any]
) -> int:
    """Makes the new version out of the old one and a patch.

    \b
    Example:
      eacopy patch apply game-1.0.pak game.patch game-1.1.pak
    """

    def copy(control: Control) -> CopyReport:
        return py_eacopy.apply_delta(
            reference, patch_file, destination, allow_unchecked=allow_unchecked, config=config, control=control
        )

    return run(copy, output)


eacopy.add_command(serve)


def _remote_options(command: Any) -> Any:
    options = (
        click.option("--server", metavar="HOST[:PORT]", help="The server.  [default: the one in the path]"),
        click.option("--port", type=click.IntRange(1, 65535), default=_PORT, show_default=True),
        click.option(
            "--compress",
            metavar="LEVEL|auto",
            callback=checked_level,
            default="0",
            help="zstd's level, or auto: as the wire needs.",
        ),
        click.option("--no-server-required", is_flag=True, help="Copy directly when no server answers."),
        click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds of silence."),
        click.option("--symlinks/--follow-symlinks", default=True, show_default=True, help="Copy links as links."),
        click.option(
            "--delta/--no-delta",
            default=None,
            help="Send only what differs from an older version at the destination.  [default: of large files, where "
            "both sides can]",
        ),
        click.option(
            "--reference",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False),
            help="An older version of the one file that is copied, on this machine.",
        ),
    )
    command = token_options(copy_options(command))
    for option in reversed(options):
        command = option(command)
    return command


def _through_server(
    source: str,
    destination: str,
    server: Optional[str],
    port: int,
    compress: Union[int, str],
    no_server_required: bool,
    timeout: float,
    symlinks: bool,
    delta: Optional[bool],
    reference: Optional[str],
    token: Optional[str],
    config: Config,
    output: Dict[str, Any],
) -> int:
    def copy(control: Control) -> CopyReport:
        return py_eacopy.copy_with_server(
            source,
            destination,
            server,
            port,
            compress,
            token=token,
            required=not no_server_required,
            timeout=timeout,
            symlinks=symlinks,
            delta="auto" if delta is None else delta,
            reference=reference,
            config=config,
            control=control,
        )

    return run(copy, output)


@eacopy.command()
@click.argument("source", type=_PATH)
@click.argument("destination")
@_remote_options
def push(source: str, destination: str, **options: Any) -> int:
    """Copies a file or a tree to a server.

    \b
    Example:
      eacopy push --compress auto out eacopy://fileserver/builds/1042
    """
    if source.startswith("eacopy://"):
        raise click.UsageError("the source of a push is here, and %s is not; use eacopy pull" % text.plain(source))
    return _through_server(source, destination, **options)


@eacopy.command()
@click.argument("source")
@click.argument("destination", type=_PATH)
@_remote_options
def pull(source: str, destination: str, **options: Any) -> int:
    """Copies a file or a tree from a server.

    \b
    Example:
      eacopy pull eacopy://fileserver/builds/1041/game.pak game.pak
    """
    if destination.startswith("eacopy://"):
        raise click.UsageError(
            "the destination of a pull is here, and %s is not; use eacopy push" % text.plain(destination)
        )
    return _through_server(source, destination, **options)


eacopy.add_command(stats)


@eacopy.command()
@click.option("--backend", type=click.Choice(["auto", "native", "portable"]), help="The one to ask for.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(backend: Optional[str], as_json: bool) -> int:
    """Tells the version, and which backend copies.

    \b
    Example:
      eacopy info --json
    """
    try:
        found = py_eacopy.backend_info(config=Config(backend=backend))
    except EACopyError as error:
        click.echo("eacopy: %s" % error, err=True)
        return NOTHING_DONE
    rows: Tuple[Tuple[str, Any], ...] = (
        ("version", __version__),
        ("backend", found.name),
        ("capabilities", sorted(found.capabilities)),
        ("reason", found.reason),
    )
    if as_json:
        click.echo(json.dumps(dict(rows)))
        return 0
    for name, value in rows:
        if value is not None:
            click.echo("%-14s%s" % (name, ", ".join(value) if isinstance(value, list) else value))
    return 0


@eacopy.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Prints the script that makes a shell complete eacopy's commands, options and paths.

    \b
    Example:
      eval "$(eacopy completion bash)"                             # in ~/.bashrc
      eval "$(eacopy completion zsh)"                              # in ~/.zshrc, after compinit
      eacopy completion fish > ~/.config/fish/completions/eacopy.fish
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError("this version of click has no completion for %s" % shell)
    click.echo(script(eacopy, {}, "eacopy", "_EACOPY_COMPLETE").source())
    return 0
