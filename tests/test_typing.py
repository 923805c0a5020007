"""The annotations, as a type checker reads them: see typing_checks.py."""

import os
import subprocess
import sys

import pytest

import py_eacopy

CHECKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "typing_checks.py")


def test_types_are_what_callers_rely_on(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed, so the annotations were NOT tested")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), CHECKS],
        cwd=str(tmp_path),  # where no configuration is
        # Where the tests found the package: it need not be installed.
        env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(py_eacopy.__file__))),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout
