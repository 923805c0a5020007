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

    output = sys.stdout
    try:
        status = eacopy.main(prog_name="eacopy", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit:
        if sys.stdout is output:  # click wraps it when its reader is gone, and then exits with 1
            raise
        _drop_output()  # who read it has seen enough
        return 141
    except OSError as error:
        # Failures of copies were told where they happened. These are a full disk below the output, or a directory
        # that was removed while a shell stands in it.
        remedy = "check where the output goes, and that the current directory is still there"
        print("eacopy: %s; %s" % (error, remedy), file=sys.stderr)
        _drop_output()
        return 1


def _drop_output() -> None:
    """What is still buffered would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
