"""CPython's own tests of shutil, run against py_eacopy by run_shutil_contract.py in a process of its own."""

import os
import re
import subprocess
import sys

import pytest
import run_shutil_contract

#: Less than this would mean that the tests were not found; the interpreters from 3.8 to 3.14 have 56 or more.
LEAST = 50


def test_copy_functions_pass_the_tests_of_shutil(backend):
    done = subprocess.run(
        [sys.executable, run_shutil_contract.__file__, backend],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode == run_shutil_contract.NOTHING_RAN:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
    summary = re.search(r"(\w+) backend: (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert summary, done.stdout
    assert summary.group(1) == backend
    assert int(summary.group(2)) >= LEAST and int(summary.group(4)) == 0


def test_every_skipped_test_of_shutil_has_a_reason():
    assert all(reason and len(reason) > 20 for reason in run_shutil_contract.SKIPPED.values())
