"""The network service as it is on every system, Windows included; other tests look at it as POSIX has it."""

import os
import re
import shutil
import sys
import threading
import time

import pytest
from faults import trees
from net import protocol as wire
from net import serving
from net.serving import TOKEN, until

import py_eacopy
from py_eacopy import Config, ConfigurationError, Control, EACopyServer

TIME = 1_600_000_000_123_456_700
windows = pytest.mark.skipif(sys.platform != "win32", reason="names that only Windows cannot have")


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    for number, name in enumerate(("sub/small", "sub/grüße 文件.txt", "sub/none", "large")):
        trees.write(root / name, trees.make_bytes((17, 300, 0, 3_000_000)[number], number))
        os.utime(root / name, ns=(TIME, TIME + number * 100))
    return root


def seen(root):
    """What is in a tree: directories, and of files the content and the time."""
    found = {}
    for directory, _, names in os.walk(root):
        found[os.path.relpath(directory, root)] = None
        for name in names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = (trees.read(path), os.stat(path).st_mtime_ns // 100)
    return found


@pytest.mark.parametrize("mode", list(serving.MODES))
def test_there_and_back(pair, mode, source, share, tmp_path):
    with pair.serving(share, mode=mode) as served:
        # With a security file, the client has to see the directory.
        mapped = {"path_map": {str(share): f"eacopy://127.0.0.1:{served.port}/share"}} if mode == "file" else {}
        there = (lambda name: share / name) if mode == "file" else (lambda name: served.url("share/" + name))

        def copy(one, other):
            config = Config(backend=pair.client, **mapped)
            return py_eacopy.copy_with_server(one, other, "127.0.0.1", served.port, token=served.token, config=config)

        report = copy(source, there("first"))
        assert (report.files_copied, report.files_skipped, report.directories_created) == (4, 0, 3)
        assert seen(share / "first") == seen(source) and report.server.startswith("v1.11")
        assert copy(source, there("first")).files_skipped == 4
        report = copy(source, there("second"))
        assert (report.files_linked, report.files_copied) == (4, 0) and report.bytes_sent < 10_000
        assert seen(share / "second") == seen(source)
        if mode != "file":  # there both paths are of this machine, and what is copied is a push
            report = copy(there("second"), tmp_path / "back")
            assert report.files_copied == 4 and seen(tmp_path / "back") == seen(source)
            assert copy(there("second"), tmp_path / "back").files_skipped == 4
        stats = served.server.get_stats()
        assert stats["files_received"] == 4 and stats["files_linked"] == 4 and not stats["errors"]
    assert not trees.temporaries(share)


def test_one_file(pair, source, share, tmp_path):
    with pair.serving(share) as served:
        served.push(source / "large", "share/new/name")
        assert trees.read(share / "new" / "name") == trees.read(source / "large")
        served.pull("share/new/name", tmp_path / "back")
        assert trees.read(tmp_path / "back") == trees.read(source / "large")
        with pytest.raises(FileNotFoundError):
            served.pull("share/missing", tmp_path / "no")


def test_without_shares_the_paths_are_the_machines(pair, source, tmp_path):
    config = Config(backend=pair.client)
    with EACopyServer(0, config=Config(backend=pair.server)) as server:
        report = py_eacopy.copy_with_server(source, tmp_path / "copy", "127.0.0.1", server.port, config=config)
        assert report.files_copied == 4 and report.server
    assert seen(tmp_path / "copy") == seen(source)


def test_another_name_of_a_file_that_is_replaced_stays_what_it_was(pair, source, share):
    with pair.serving(share, link_mode="hard") as served:
        served.push(source, "share/first")
        served.push(source, "share/second")
        old = trees.read(source / "large")
        assert os.stat(share / "first" / "large").st_nlink == 2
        trees.write(source / "large", old[::-1])
        served.push(source, "share/second")
    assert trees.read(share / "second" / "large") == old[::-1]
    assert trees.read(share / "first" / "large") == old


def test_what_is_read_only_is_replaced(pair, source, share):
    with pair.serving(share) as served:
        served.push(source, "share/first")
        os.chmod(share / "first" / "large", 0o444)
        trees.write(source / "large", b"new")
        served.push(source, "share/first")
    assert trees.read(share / "first" / "large") == b"new"


def test_the_history_survives(pair, source, share, tmp_path):
    history = tmp_path / "history"
    with pair.serving(share, history_file=history) as served:
        served.push(source, "share/first")
    records = trees.read(history)
    assert records.startswith(b"eacopydb003\0")
    assert os.path.realpath(share / "first" / "large").replace("/", "\\").encode("utf-16-le") in records
    with pair.serving(share, history_file=history) as served:
        assert served.server.get_stats()["history_size"] == 4
        assert served.push(source, "share/second").files_linked == 4


def test_a_token_is_wanted(pair, source, share):
    with pair.serving(share, mode="token") as served:
        with pytest.raises(PermissionError):
            served.push(source, "share/first", token="another")
        with pytest.raises(PermissionError):
            served.push(source, "share/first", token=None)
        assert os.listdir(share) == []
        served.push(source, "share/first", token=TOKEN)


def test_only_loopback_is_open(server_backend, share):
    with pytest.raises(ConfigurationError, match="token"):
        EACopyServer(
            0, host="0.0.0.0", shares={"share": str(share)}, security_file=False, config=Config(backend=server_backend)
        ).start()


@pytest.mark.parametrize(
    "path", ["share/../outside", "../outside", "share", "/outside", "C:/outside", "//host/outside"]
)
def test_nothing_leads_out_of_a_share(pair, source, share, path):
    outside = share.parent / "outside"
    with pair.serving({"other": share}) as served, wire.Peer(served.port) as peer:
        peer.greet()
        if path in ("/outside", "C:/outside"):
            path = str(outside).replace("\\", "/")
        with pytest.raises(wire.Closed):
            peer.open(path.encode())
    assert not outside.exists()


@windows
@pytest.mark.parametrize(
    "name",
    [b"a:b", b"a::$DATA", b"CON", b"nul.txt", b"COM1", b"x.", b"x ", b"back\\slash", b"..\\..\\x", b"C:", b"a?", b"a*"]
    + [b"\x01", b'"', b"<", b"|", b"a/b:c/d", b"LPT\xc2\xb9"],
)
def test_names_that_windows_cannot_have_are_refused(server_backend, share, name):
    pair = serving.Pair(server_backend, server_backend)
    with pair.serving(share) as served, wire.Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        assert peer.push(0, name, b"content") == wire.FAILED
        assert peer.push(1, b"good", b"content") == wire.STORED
    assert os.listdir(share) == ["good"] and os.listdir(share.parent) == ["share"]


def test_stopping_in_mid_transfer(pair, share, tmp_path):
    source = tmp_path / "large"
    trees.write(source, bytes(1 << 20) * 60)
    errors = []

    def push():
        try:
            served.push(source, "share/large", bandwidth_limit=15_000_000)
        except Exception as error:
            errors.append(error)

    with pair.serving(share) as served:
        client = threading.Thread(target=push)
        client.start()
        until(lambda: trees.temporaries(share), "nothing is received")
        before = time.monotonic()
        served.server.stop()
        took = time.monotonic() - before
        client.join()
    assert took < 3 and not trees.temporaries(share)
    assert isinstance(errors[0], ConnectionError) and not (share / "large").exists()


def test_cancelling(pair, source, share):
    control = Control()
    trees.write(source / "larger", bytes(1 << 20) * 60)
    with pair.serving(share) as served:

        def cancel(copied, total, name):
            if name.endswith("larger") and 0 < copied < total:
                control.cancel()

        with pytest.raises(py_eacopy.CopyInterruptedError):
            served.push(source, "share/first", control=control, progress_callback=cancel, bandwidth_limit=20_000_000)
        until(lambda: not served.server.get_stats()["active_connections"], "the connection stays")
        assert not trees.temporaries(share) and not (share / "first" / "larger").exists()


def test_what_a_killed_server_left_is_removed(pair, source, share):
    trees.write(source / "larger", bytes(1 << 20) * 60)
    with pair.process(share) as process:
        client = serving.ClientProcess(
            source,
            process.served(pair.client).url("share/first"),
            settings={"backend": pair.client, "bandwidth_limit": 15_000_000},
        )
        until(lambda: trees.temporaries(share), "nothing is received")
        process.kill()
        client.result()
        process.start()
        until(lambda: not trees.temporaries(share), "what is dead is not removed")
        report = process.served(pair.client).push(source, "share/first")
        assert not report.errors and seen(share / "first") == seen(source)


def test_a_path_of_the_history_is_one_of_this_system(server_backend, tmp_path, source, share):
    """LINKDB of a sync and that of a server are the same file."""
    database = tmp_path / "linkdb"
    config = Config(backend=server_backend)
    py_eacopy.sync(source, share / "first", link_database=database, config=config)
    pair = serving.Pair(server_backend, server_backend)
    with pair.serving(share, history_file=database) as served:
        assert served.server.get_stats()["history_size"] >= 3  # an empty file need not be remembered
    shutil.rmtree(share / "first")
    report = py_eacopy.sync(source, share / "second", link_database=database, config=config)
    assert report.files_linked == 0 and report.files_copied == 4


def test_a_sync_links_to_what_its_database_knows(backend, tmp_path, source):
    database = tmp_path / "linkdb"
    py_eacopy.sync(source, tmp_path / "first", link_database=database)
    report = py_eacopy.sync(source, tmp_path / "second", link_database=database)
    assert report.files_linked >= 3 and seen(tmp_path / "second") == seen(source)
    assert os.path.samefile(tmp_path / "first" / "large", tmp_path / "second" / "large")


def test_errors_tell_the_paths_as_the_system_writes_them(pair, source, share):
    (share / "first" / "large").mkdir(parents=True)
    with pair.serving(share) as served, pytest.raises(py_eacopy.TreeError) as caught:
        served.push(source, "share/first")
    [error] = caught.value.errors
    assert isinstance(error, IsADirectoryError) and error.filename == os.path.join(str(source), "large")
    assert re.fullmatch(r"eacopy://127\.0\.0\.1:\d+/share/first/large", error.filename2)
