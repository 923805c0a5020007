"""Writes docs/command.md from the help of the command: `python docs/make_command.py`. With --check it only tells
whether the file is current."""

import sys
from pathlib import Path
from typing import Iterator

import click

from py_eacopy.cli.commands import eacopy

PAGE = Path(__file__).with_name("command.md")

INTRODUCTION = """\
# The command `eacopy`

Made from the command's own help by `python docs/make_command.py`; change that, not this page.

`pip install 'py-eacopy[cli]'` installs it with what it needs. The exit statuses below are those of all its commands.
On a terminal it draws a bar and the files in flight; elsewhere it writes a line every two seconds to stderr. The
report of `--json` has the fields of [`CopyReport`](api.md#copyreport), and `exit_status`; its `actions` are filled by
`--dry-run` and `--verbose`. What EACopy.exe is told, `eacopy robo` takes too: [robo.md](robo.md).

The summary counts as EACopy's does. *Mismatch* is a file where the other side has a directory, or the reverse; *Extras*
were removed because the source does not have them. Symbolic links that are right already count as skipped files.

Shells complete commands, options and paths after `eval "$(eacopy completion bash)"` in `~/.bashrc`, the same with `zsh`
in `~/.zshrc` after `compinit`, or `eacopy completion fish > ~/.config/fish/completions/eacopy.fish`.
"""


def pages(command: click.Command, context: click.Context) -> Iterator[str]:
    """The help of a command and of those below it."""
    yield "## %s\n\n```text\n%s\n```" % (context.command_path, command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.commands[name]
            yield from pages(below, below.context_class(below, info_name=name, parent=context, max_content_width=100))


def page() -> str:
    context = click.Context(eacopy, info_name="eacopy", max_content_width=100, terminal_width=100)
    return "\n\n".join([INTRODUCTION.rstrip(), *pages(eacopy, context)]) + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/command.md is not what the command says; run: python docs/make_command.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
