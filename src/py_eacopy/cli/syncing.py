"""The commands ``sync``, with all that py_eacopy.sync takes as options, and ``robo``, the same in EACopy's syntax."""

from typing import Any, Callable, Dict, Sequence, TypeVar

import click
from click.shell_completion import CompletionItem

import py_eacopy

from .. import Config, Control, CopyReport
from .options import copy_options, rate, token_options
from .running import run

_PATH = click.Path()
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _several(name: str, into: str, help_text: str, metavar: str = "PATTERN") -> Callable[[_Command], _Command]:
    return click.option(name, into, metavar=metavar, multiple=True, help=help_text + " May be repeated.")


@click.command()
@click.argument("source", type=_PATH)
@click.argument("destination", type=_PATH)
@click.option("--mirror", is_flag=True, help="Make it equal: --purge, with all directories.")
@click.option("--purge", is_flag=True, help="Remove what SOURCE does not have.")
@_several("--files", "files", "Only files whose names, or paths if there is a / in it, match.  [default: *]")
@_several("--exclude", "exclude_files", "Leave out files that match.")
@_several("--exclude-dir", "exclude_dirs", "Leave out directories that match.")
@click.option("--exclude-changed", is_flag=True, help="Leave alone what is there and differs.")
@_several("--file-list", "file_lists", "Copy what this text file names, in EACopy's format.", "FILE")
@_several("--exclude-list", "exclude_lists", "Leave out what this text file names.", "FILE")
@_several("--optional", "optional_files", "Entries of the lists that may be missing.")
@click.option("--subdirs/--no-subdirs", default=True, show_default=True, help="Enter directories.")
@click.option("--empty-dirs/--no-empty-dirs", default=True, show_default=True, help="Make those with nothing in them.")
@click.option("--max-depth", metavar="N", type=click.IntRange(1), help="Levels, SOURCE being the first.")
@click.option("--flatten", is_flag=True, help="Put all files directly into DESTINATION.")
@_several("--link-dir", "link_dirs", "Link what is the same in this older copy.", "DIR")
@click.option("--link-database", metavar="FILE", type=_PATH, help="Remembers what was copied, to link to it.")
@click.option("--link-min-size", metavar="BYTES", type=click.IntRange(0), default=0, help="Copy smaller files.")
@click.option("--link-by-name", is_flag=True, help="Look into the database by name, not by path.")
@click.option("--keep-dir-symlinks", is_flag=True, help="Enter DESTINATION's links to directories.")
@click.option("--dir-times/--no-dir-times", default=True, show_default=True, help="Keep the directories' times.")
@click.option("--hard-links", is_flag=True, help="What is one file stays one file.")
@click.option("--archive", "-a", is_flag=True, help="Keep owners, groups, access lists and hard links too.")
@click.option("--include-attributes", metavar="RH", default="", help="Only files that are read-only, or hidden.")
@click.option("--exclude-attributes", metavar="RH", default="", help="No files that are read-only, or hidden.")
@click.option("--compare", type=click.Choice(["size-mtime", "hash"]), default="size-mtime", show_default=True)
@click.option("--symlinks/--follow-symlinks", default=True, show_default=True, help="Copy links as links.")
@click.option("--dry-run", "-n", is_flag=True, help="Write nothing; tell what would be done.")
@click.option("--verbose", "-v", is_flag=True, help="Tell of each thing that is done.")
@copy_options
def sync(
    source: str,
    destination: str,
    symlinks: bool,
    verbose: bool,
    config: Config,
    output: Dict[str, Any],
    **options: Any,
) -> int:
    """Makes a directory what another one is, and leaves alone what is so already.

    A line of --dry-run and --verbose is an action and its paths; with --json they are the report's "actions".

    \b
    Example:
      eacopy sync --mirror --exclude "*.tmp" photos /mnt/backup/photos
    """
    output.update(verbose=verbose or options["dry_run"], dry_run=options["dry_run"])
    options["files"] = options["files"] or ("*",)

    def copy(control: Control) -> CopyReport:
        return py_eacopy.sync(
            source,
            destination,
            follow_symlinks=not symlinks,
            record_actions=output["as_json"] and output["verbose"],
            config=config,
            control=control,
            **options,
        )

    return run(copy, output)


_ROBO_EPILOG = """\
\b
With --robocopy-exit-codes the exit status is the sum of
    1  files were copied
    2  extras were removed
    4  there were mismatches: a file where the other side has a directory
    8  some files failed
  and 16 when nothing could be done or the command line is wrong.
"""


@click.command(epilog=_ROBO_EPILOG)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="SOURCE DESTINATION [FILE]... [/SWITCH]...",
    shell_complete=lambda context, parameter, incomplete: [CompletionItem(incomplete, type="file")],
)
@click.option("--backend", type=click.Choice(["auto", "native", "portable"]), help="What copies.")
@click.option("--bwlimit", metavar="RATE", callback=rate, help="Most bytes a second, as 500K, 20M, 1.5G.")
@click.option("--dry-run", "-n", is_flag=True, help="Write nothing but the log; tell what would be done.")
@click.option("--quiet", "-q", is_flag=True, help="Show nothing but failures.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object, and nothing else.")
@click.option("--robocopy-exit-codes", is_flag=True, envvar="EACOPY_ROBOCOPY_EXIT_CODES", help="Exit as robocopy does.")
@token_options
def robo(words: Sequence[str], robocopy_exit_codes: bool, as_json: bool, **options: Any) -> int:
    """Copies as EACopy.exe does, told in its own syntax; docs/robo.md has its switches, and what differs.

    Also: eacopy robo /STATS DESTINATION.

    \b
    Example:
      eacopy robo out //fileserver/builds/1042 /MIR /XF *.pdb /MT:8 /R:3 /W:1
    """
    from .robo import run as run_robo

    return run_robo(words, json_only=as_json, robocopy_exit_codes=robocopy_exit_codes, **options)
