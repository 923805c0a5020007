"""The limit of the rate: a copy takes the time that it must, arrives whole, and can be cancelled while it waits.

Only lower bounds of time are asked for, which hold on the slowest machine: all but the last piece, which is the
rate's twentieth part of a second, are paid for when that one is written.
"""

import os
import threading
import time

import pytest
from net import serving

import py_eacopy
from py_eacopy import Config, Control, EACopyError, ErrorKind

RATE = 2 << 20
SIZE = 512 << 10
AT_LEAST = (SIZE - RATE / 20) / RATE


def limited(**settings):
    return Config(bandwidth_limit=RATE, reflink="never", **settings)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


def seconds(call, *arguments, **keywords):
    start = time.monotonic()
    report = call(*arguments, **keywords)
    return time.monotonic() - start, report


@pytest.mark.parametrize("atomic", [False, True])
def test_file_takes_its_time(backend, source, tmp_path, atomic):
    took, _ = seconds(py_eacopy.copyfile, source, tmp_path / "copy", config=limited(atomic=atomic))
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert took >= AT_LEAST


def test_kernel_copies_in_pieces_that_the_rate_allows(backend, source, tmp_path):
    config = Config(bandwidth_limit=RATE)
    took, report = seconds(py_eacopy.batch_copy2, [(source, tmp_path / "copy")], config=config)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert took >= AT_LEAST or report.methods == {"clone": 1}  # a clone moves no bytes


@pytest.mark.parametrize("threads", [1, 4])
def test_all_threads_share_one_limit(backend, tmp_path, threads):
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    for number in range(8):
        (tree / ("below" if number % 2 else ".") / str(number)).write_bytes(os.urandom(SIZE // 8))
    config = limited(thread_count=threads)
    took, report = seconds(py_eacopy.batch_copytree, [(tree, tmp_path / "copy")], config=config)
    assert (report.files_copied, report.bytes_copied) == (8, SIZE)
    assert took >= AT_LEAST


def test_sync_is_limited(backend, tmp_path):
    if "sync" not in py_eacopy.backend_info().capabilities:
        pytest.skip("the %s backend has no sync" % backend)
    (tmp_path / "tree").mkdir()
    for number in range(4):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(SIZE // 4))
    took, report = seconds(py_eacopy.sync, tmp_path / "tree", tmp_path / "copy", config=limited())
    assert report.files_copied == 4 and took >= AT_LEAST
    report = py_eacopy.sync(tmp_path / "tree", tmp_path / "copy", config=limited())
    assert report.files_skipped == 4 and report.bytes_copied == 0


def test_small_file_is_limited_too(backend, tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 20_000)
    config = Config(bandwidth_limit=1 << 16, reflink="never")
    took, _ = seconds(py_eacopy.copyfile, tmp_path / "small", tmp_path / "copy", config=config)
    assert (tmp_path / "copy").read_bytes() == b"x" * 20_000
    assert took >= (20_000 - 4096) / (1 << 16)


def test_holes_cost_nothing(backend, tmp_path):
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(64 << 30)
        if getattr(os.fstat(sparse.fileno()), "st_blocks", 1):
            pytest.skip("this file system has no holes")
    py_eacopy.copyfile(tmp_path / "sparse", tmp_path / "copy", config=limited())  # would take nine hours
    assert os.path.getsize(tmp_path / "copy") == 64 << 30


def test_delta_and_patch_are_limited(backend, source, tmp_path):
    older, patch = tmp_path / "older", tmp_path / "patch"
    older.write_bytes(os.urandom(1000))
    took, _ = seconds(py_eacopy.delta_copy, source, tmp_path / "copy", older, config=limited())
    assert took >= AT_LEAST
    if serving.why_not(backend, "zstd"):
        pytest.skip(serving.why_not(backend, "zstd"))
    took, report = seconds(py_eacopy.create_delta, source, older, patch, config=limited())
    assert took >= AT_LEAST and report.bytes_written >= SIZE
    took, _ = seconds(py_eacopy.apply_delta, older, patch, tmp_path / "made", config=limited())
    assert took >= AT_LEAST
    assert source.read_bytes() == (tmp_path / "copy").read_bytes() == (tmp_path / "made").read_bytes()


def test_wire_is_limited_in_both_directions(client_backend, source, tmp_path):
    serving.need("portable", "server")
    share = tmp_path / "share"
    share.mkdir()
    config = limited(backend=client_backend)
    server = py_eacopy.EACopyServer(
        0, shares={"share": share}, security_file=False, config=Config(backend="portable"), link_mode="never"
    )
    with server:
        there = "eacopy://127.0.0.1:%d/share/there" % server.port
        took, report = seconds(py_eacopy.copy_with_server, source, there, config=config)
        assert took >= AT_LEAST and report.bytes_sent >= SIZE
        took, report = seconds(py_eacopy.copy_with_server, there, tmp_path / "back", config=config)
        assert took >= AT_LEAST and report.bytes_received >= SIZE
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", ["file", "tree", "delta"])
def test_cancelling_ends_a_wait(backend, source, tmp_path, kind):
    """The next piece would come after four seconds, the last one after eight minutes."""
    control, config = Control(), Config(bandwidth_limit=1024, reflink="never")
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    tree.mkdir()
    os.rename(source, tree / "file")
    (tmp_path / "older").write_bytes(b"old")
    calls = {
        "file": lambda: py_eacopy.batch_copy2([(tree / "file", copy)], config=config, control=control),
        "tree": lambda: py_eacopy.batch_copytree([(tree, copy)], config=config, control=control),
        "delta": lambda: py_eacopy.delta_copy(tree / "file", copy, tmp_path / "older", config=config, control=control),
    }
    failures = []

    def run():
        try:
            calls[kind]()
        except EACopyError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    written = copy / "file" if kind == "tree" else copy
    while thread.is_alive() and not (written.is_file() and written.stat().st_size):
        time.sleep(0.005)
    control.cancel()
    thread.join(3.0)
    assert not thread.is_alive()
    assert [error.kind for error in failures] == [ErrorKind.INTERRUPTED]
    assert not written.exists()


def test_cancelling_ends_a_wait_of_the_wire(client_backend, source, tmp_path):
    """The file would be sent after eight minutes."""
    serving.need("portable", "server")
    share, control = tmp_path / "share", Control()
    share.mkdir()
    config = Config(bandwidth_limit=1024, backend=client_backend)
    server = py_eacopy.EACopyServer(
        0, shares={"share": share}, security_file=False, config=Config(backend="portable"), link_mode="never"
    )
    failures = []

    def run():
        there = "eacopy://127.0.0.1:%d/share/there" % server.port
        try:
            py_eacopy.copy_with_server(source, there, config=config, control=control)
        except EACopyError as error:
            failures.append(error)

    with server:
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive() and server.get_stats()["bytes_received"] < 4096:
            time.sleep(0.005)
        control.cancel()
        thread.join(3.0)
        assert not thread.is_alive()
    assert [error.kind for error in failures] == [ErrorKind.INTERRUPTED]
    assert os.listdir(share) == []


def test_without_a_limit_nothing_is_asked():
    """The portable workers have no throttle then; that the engine has none is seen in its own tests."""
    from py_eacopy.backends.portable.monitor import Monitor

    monitor = Monitor()
    assert monitor.throttle is None and monitor.admit(1 << 40) == 1 << 40


def test_command_takes_a_rate(backend, source, tmp_path):
    testing = pytest.importorskip("click.testing")
    pytest.importorskip("rich")
    from py_eacopy.cli.commands import eacopy

    def run(rate):
        arguments = ["cp", "--quiet", "--reflink", "never", "--bwlimit", rate, str(source), str(tmp_path / "copy")]
        return testing.CliRunner().invoke(eacopy, arguments, standalone_mode=False)

    took, done = seconds(run, "2M")
    assert done.return_value == 0, done.output
    assert took >= AT_LEAST
    for rate in ("fast", "-1", "1", "", "1X", "2000T", "1e6"):
        done = testing.CliRunner().invoke(eacopy, ["cp", "--bwlimit", rate, str(source), str(tmp_path / "other")])
        assert done.exit_code == 2 and "is not legal: it must be" in done.output
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "text, rate",
    [("500K", 512_000), ("1M", 2**20), ("1.5g", 3 << 29), ("2048", 2048), ("2MiB/s", 2**21), ("1MB", 2**20)],
)
def test_units_of_a_rate(text, rate):
    pytest.importorskip("click")
    from py_eacopy.cli.options import rate as parse

    assert parse(None, None, text) == rate
