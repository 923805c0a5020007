"""Runs the command eacopy in this process, as its own main() would run in another."""

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

import pytest

import py_eacopy
from py_eacopy.cli import main


class Done(NamedTuple):
    status: int
    out: str
    err: str


def eacopy(*arguments):
    """The exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    given = mock.patch.object(sys, "argv", ["eacopy", *map(str, arguments)])
    with given, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main()
    return Done(status, out.getvalue(), err.getvalue())


def need_sync():
    """Skips a test where the chosen backend cannot sync."""
    found = py_eacopy.backend_info()
    if "sync" not in found.capabilities:
        pytest.skip("the %s backend has no sync, so the command was NOT tested with it" % found.name)


def table(text):
    """The rows of the summary, by their names; numbers as they are printed."""
    rows = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("Directories", "Files", "Symlinks"):
            rows[words[0]] = words[1:]
    return rows


def contents(root):
    """Relative path -> bytes of each file below a directory, and None for each directory."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }
