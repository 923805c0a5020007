"""Fixtures for all tests; the chief one is ``backend``.

A test that copies anything asks for it::

    def test_something(backend, tmp_path):
        py_eacopy.copyfile(...)

and so runs twice, once with each backend. The fixture's value is the backend's name. While such a test runs,

- the environment has PY_EACOPY_BACKEND set to it, so that subprocesses and every ``Config()`` take that backend;
- ``py_eacopy.config`` is a new Config, global rather than temporary, so that all threads and tasks see it; what a test
  assigns to its fields is gone afterwards.

Being an ordinary fixture, it serves asynchronous tests too, under anyio's plug-in and pytest-trio. A fixture that
copies, and a parametrised test, ask for it in the same way.

Tests of the network service ask for ``pair`` instead: the backends of a client and of a server, in all combinations; or
for ``client_backend`` or ``server_backend``, when the other side is played by the test.

Where the native backend has not been built, its half is skipped, and the end of the run says so. With
PY_EACOPY_REQUIRE_NATIVE=1 in the environment it fails instead.
"""

import importlib
import os

import pytest
from faults.trees import WINE
from net import serving

import py_eacopy

BACKENDS = ("native", "portable")


@pytest.fixture(autouse=True)
def no_links_under_wine(request, monkeypatch):
    """Skips what makes symbolic links."""
    if WINE:
        request.getfixturevalue("tmp_path")  # made first: pytest makes a link beside it
        monkeypatch.setattr(os, "symlink", lambda *_, **__: pytest.skip("Wine makes no symbolic links"))
    yield


def why_not_native():
    """The text of the error with which the native backend cannot be imported; None when it can."""
    try:
        importlib.import_module("py_eacopy.backends.native")
    except ImportError as error:
        return str(error)
    return None


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Each backend in turn; see above."""
    if request.param == "native" and why_not_native() is not None:
        message = "the native backend is not there: %s" % why_not_native()
        if os.environ.get("PY_EACOPY_REQUIRE_NATIVE") == "1":
            pytest.fail("PY_EACOPY_REQUIRE_NATIVE=1, but " + message)
        pytest.skip(message)
    monkeypatch.setenv("PY_EACOPY_BACKEND", request.param)
    before = py_eacopy.config
    py_eacopy.config = py_eacopy.Config()
    yield request.param
    py_eacopy.config = before


@pytest.fixture(params=[(client, server) for client in BACKENDS for server in BACKENDS], ids=" to ".join)
def pair(request):
    """Each combination of a client's and a server's backend in turn."""
    client, server = request.param
    serving.need(client, "client")
    serving.need(server, "server")
    return serving.Pair(client, server)


@pytest.fixture(params=BACKENDS)
def server_backend(request):
    """Each backend that can serve."""
    serving.need(request.param, "server")
    return request.param


@pytest.fixture(params=BACKENDS)
def client_backend(request):
    """Each backend that can copy through a server."""
    serving.need(request.param, "client")
    return request.param


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def anyio_backend(request):
    """Each event loop in turn, for tests that anyio's plug-in runs."""
    if request.param == "trio" and WINE:
        pytest.skip("trio asks Windows for what Wine does not have")
    if request.param != "uvloop":
        return request.param
    pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": True}


def pytest_report_header(config):
    reason = why_not_native()
    return "py_eacopy %s, native backend: %s" % (py_eacopy.__version__, reason or "there")


def pytest_terminal_summary(terminalreporter):
    if why_not_native() is not None:
        terminalreporter.section("the native backend was not tested", sep="!", red=True)
        terminalreporter.line(why_not_native())
    reasons = [serving.why_not(backend, what) for backend in BACKENDS for what in ("client", "server")]
    if any(reasons):
        terminalreporter.section("the network service was not tested everywhere", sep="!", red=True)
        for reason in filter(None, reasons):
            terminalreporter.line(reason)
