"""The command ``eacopy``: the package's functions for people at a terminal, and for scripts.

Only :func:`main` is here, because it has to work where click and rich are missing.
"""

import os
import sys


def main() -> int:
    """Runs the command that the arguments name; returns the exit status."""
    try:
        import click
        import rich  # noqa: F401 - it is imported in earnest only where something is drawn
    except ImportError as error:
        print("eacopy: %s; install what the command needs: pip install 'py-eacopy[cli]'" % error, file=sys.stderr)
        return 3
    from .commands import eacopy

    try:
        status = eacopy.main(prog_name="eacopy", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Who read our output has seen enough. What is still buffered would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
