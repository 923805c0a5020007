"""Runs CPython's own tests of shutil's copy functions against py_eacopy; they are the contract of its functions.

    python tests/run_shutil_contract.py [native|portable ...]

runs in the interpreter that starts it, which needs py_eacopy installed (or on PYTHONPATH) and nothing else, and takes
the tests that this interpreter ships, in ``test.test_shutil``. Backends are those named, or that of the environment's
PY_EACOPY_BACKEND, or both. Exit status: 0 all passed, 1 a test failed, 77 nothing could be run.
"""

import os
import re
import sys
import tempfile
import unittest

import py_eacopy

NOTHING_RAN = 77

#: The classes that are about copying. Python 3.8 has most of their tests in TestShutil, next to others.
CLASSES = ("TestCopyTree", "TestCopy", "TestCopyFile", "TestCopyFileObj", "TestMove", "TestShutil")
#: What in TestShutil is about copying.
IN_TEST_SHUTIL = re.compile("test_(copy|dont_copy)")

#: Tests of how shutil does it, rather than of what comes out; nothing of that kind is left when other functions copy.
SKIPPED = {
    "test_w_dest_open_fails": "replaces shutil's open() by one that knows no real files",
    "test_w_dest_close_fails": "replaces shutil's open() by one that knows no real files",
    "test_w_source_close_fails": "replaces shutil's open() by one that knows no real files",
    "test_copytree_winerror": "makes os.chmod() fail, which the engine does not call",
    "test_win_impl": "counts calls of shutil's _copyfileobj_readinto()",
}


def load_tests(backend):
    """The suite for one backend; None when this interpreter ships no tests."""
    try:
        from test import test_shutil
    except ImportError as error:
        print("SKIPPED: this Python (%s) ships no test.test_shutil: %s" % (sys.executable, error))
        return None
    suite = unittest.TestSuite()
    for name in CLASSES:
        # A new class each time: a test that is skipped stays so for its class.
        cls = getattr(test_shutil, name, None)
        if cls is None:
            continue
        changed = {}
        for test in unittest.defaultTestLoader.getTestCaseNames(cls):
            if name == "TestShutil" and not IN_TEST_SHUTIL.match(test):
                continue
            if test in SKIPPED:
                changed[test] = unittest.skip(SKIPPED[test])(getattr(cls, test))
        copy = type("%s_%s" % (name, backend), (cls,), changed)
        for test in unittest.defaultTestLoader.getTestCaseNames(copy):
            if name != "TestShutil" or IN_TEST_SHUTIL.match(test):
                suite.addTest(copy(test))
    return suite


class Result(unittest.TextTestResult):
    """Counts what passed; ``testsRun`` has the skipped tests in it in some versions of Python and not in others."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run(backend):
    """Runs the contract with one backend; returns the exit status."""
    with py_eacopy.temporary_config(backend=backend):
        try:
            info = py_eacopy.backend_info()
        except py_eacopy.UnsupportedError as error:
            print("FAILED: %s" % error)
            return 1
        suite = load_tests(info.name)
        if suite is None:
            return NOTHING_RAN
        with py_eacopy.patched_shutil():
            result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(
        "shutil contract, Python %s, %s backend: %d passed, %d skipped, %d failed"
        % (sys.version.split()[0], info.name, result.passed, len(result.skipped), failed)
    )
    for test, reason in result.skipped:
        print("  skipped %s: %s" % (test.id().rsplit(".", 1)[-1], reason))
    return 0 if result.passed and not failed else 1


def main(arguments):
    backends = arguments or [os.environ.get("PY_EACOPY_BACKEND") or "both"]
    if backends == ["both"]:
        backends = ["native", "portable"]
    # The tests leave what they write in the current directory, under names of their own.
    with tempfile.TemporaryDirectory() as directory:
        before = os.getcwd()
        os.chdir(directory)
        try:
            return max(run(backend) for backend in backends)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
