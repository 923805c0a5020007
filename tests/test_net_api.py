"""The public face of the network service: servers as objects, addresses, arguments, fall-backs, progress, reports."""

import logging
import os
import shutil
import socket
import sys
import threading
import time

import anyio
import leaks
import pytest
from faults import trees
from net import relay, serving
from net.serving import Pair, until_tidy

import py_eacopy
from py_eacopy import Config, ConfigurationError, Control, EACopy, EACopyServer, InvalidArgumentError, ServerStats
from py_eacopy import _location as location

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX paths")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    trees.make_small_tree(str(tmp_path / "source"))
    return tmp_path / "source"


@pytest.fixture
def free_port():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return holder.getsockname()[1]


def options(share, **more):
    return dict({"port": 0, "shares": {"share": str(share)}, "security_file": False}, **more)


def equal(copy, source):
    return trees.snapshot(copy) == trees.snapshot(source)


# A server as an object -------------------------------------------------------------------------------------------


@on_linux
def test_a_server_starts_stops_and_tells_its_state(server_backend, share):
    config = Config(backend=server_backend)
    server = py_eacopy.create_server(0, 3, config=config, shares={"share": str(share)}, security_file=False)
    assert isinstance(server, EACopyServer)
    assert (server.is_running(), server.port, server.thread_count) == (False, 0, 3)
    assert set(server.get_stats()) == set(ServerStats.__annotations__)
    server.stop()  # does nothing
    with leaks.none():
        server.start()
        port = server.port
        assert server.is_running() and 0 < port < 65536 and repr(port) in repr(server)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            assert client.recv(8)[4] == 0  # the server speaks first
            serving.until(lambda: server.get_stats()["active_connections"] == 1, "the connection is not counted")
        with pytest.raises(py_eacopy.ServerError, match="running already"):
            server.start()
        assert server.is_running() and server.port == port
        server.stop()
    assert not server.is_running()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    stats = server.get_stats()
    assert stats["connections"] == 1 and stats["active_connections"] == 0 and stats["uptime"] > 0
    server.stop()
    server.start()  # again
    assert server.get_stats()["connections"] == 0
    server.stop()


@on_linux
def test_a_server_is_a_context_manager(server_backend, share):
    with leaks.none():
        with EACopyServer(config=Config(backend=server_backend), **options(share)) as server:
            assert server.is_running() and server.port
        assert not server.is_running()
        with pytest.raises(LookupError), server:
            assert server.is_running()
            raise LookupError
        assert not server.is_running()


@pytest.mark.anyio
async def test_a_server_is_an_asynchronous_context_manager(server_backend, share, source, anyio_backend):
    config = Config(backend=server_backend)
    client = Config(backend=server_backend if serving.why_not(server_backend, "client") is None else "portable")
    serving.need(client.backend, "client")
    async with EACopyServer(config=config, **options(share)) as server:
        assert server.is_running()
        report = await py_eacopy.async_copy_with_server(
            source, f"eacopy://127.0.0.1:{server.port}/share/copy", config=client
        )
        assert report.files_copied == 4
    assert not server.is_running() and equal(share / "copy", source)
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.2):
            async with server:
                await anyio.sleep(60)
    assert not server.is_running()


@on_linux
def test_a_server_that_is_forgotten_is_stopped(server_backend, share):
    import gc

    with leaks.none():
        server = EACopyServer(config=Config(backend=server_backend), **options(share))
        server.start()
        port = server.port
        del server
        gc.collect()

        def refused():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
            except ConnectionRefusedError:
                return True
            return False

        serving.until(refused, "it still listens")


def test_a_port_that_is_taken_is_a_network_error(server_backend, share):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        server = EACopyServer(config=Config(backend=server_backend), **options(share, port=taken))
        with pytest.raises(py_eacopy.NetworkError) as caught:
            server.start()
        assert caught.value.operation is py_eacopy.Operation.LISTEN and str(taken) in str(caught.value)
        assert not server.is_running()
    server.start()
    assert server.port == taken
    server.stop()


def test_an_address_of_another_machine_is_a_network_error(server_backend, share):
    server = EACopyServer(config=Config(backend=server_backend), **options(share, host="192.0.2.1", token="secret"))
    with pytest.raises(py_eacopy.NetworkError):
        server.start()
    assert not server.is_running()


def test_a_share_that_went_is_an_error_at_the_start(server_backend, share):
    server = EACopyServer(config=Config(backend=server_backend), **options(share))
    share.rmdir()
    with pytest.raises(FileNotFoundError):
        server.start()
    share.touch()
    with pytest.raises(NotADirectoryError):
        server.start()


def test_ipv6_works_as_well(server_backend, share, source):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    client = serving.why_not(server_backend, "client") is None
    with EACopyServer(config=Config(backend=server_backend), **options(share, host="::1")) as server:
        socket.create_connection(("::1", server.port), timeout=10).close()
        if client:
            url = f"eacopy://[::1]:{server.port}/share/copy"
            py_eacopy.copy_with_server(source, url, config=Config(backend=server_backend))
            assert equal(share / "copy", source)


def test_statistics_count_what_was_done(pair, share, source):
    with pair.serving(share) as served:
        served.push(source, "share/one")
        served.push(source, "share/one")
        served.push(source, "share/two")
        served.pull("share/two", source.parent / "back")
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        stats = served.server.get_stats()
    assert stats["connections"] >= 4
    assert (stats["files_received"], stats["files_sent"]) == (4, 4)
    assert (stats["files_linked"], stats["files_skipped"], stats["errors"]) == (4, 4, 0)
    assert stats["bytes_linked"] == stats["bytes_skipped"] == 1_100_008
    assert stats["bytes_received"] > 300_000 and stats["bytes_sent"] > 300_000
    assert stats["history_size"] >= 4 and isinstance(stats["history_size"], int)
    assert served.server.get_stats()["files_received"] == 4  # after its end, the last state


def test_the_history_is_bounded(pair, share, tmp_path):
    source = tmp_path / "many"
    source.mkdir()
    for number in range(60):
        trees.write(source / str(number), b"%d" % number)
    with pair.serving(share, history_size=10) as served:
        served.push(source, "share/one")
        assert served.server.get_stats()["history_size"] == 10
        report = served.push(source, "share/two")
        assert report.files_linked + report.files_copied == 60 and report.files_linked <= 10
    with pair.serving(share, history_size=0) as served:
        served.push(source, "share/three")
        report = served.push(source, "share/four")
        assert (report.files_linked, report.files_copied) == (0, 60)
        assert served.server.get_stats()["history_size"] == 0


@pytest.mark.parametrize("level", [0, 10])
def test_a_server_without_compression_gets_and_sends_none(pair, share, tmp_path, level):
    serving.need(pair.client, "zstd")
    trees.write(tmp_path / "file", b"compressible" * 100_000)
    with pair.serving(share, compression=False) as served:
        report = served.push(tmp_path / "file", "share/file", compression_level=level)
        assert report.compression_level == 0 and report.bytes_sent > 1_200_000
        report = served.pull("share/file", tmp_path / "back", compression_level=level)
        assert report.compression_level == 0 and report.bytes_received > 1_200_000
    assert trees.read(tmp_path / "back") == trees.read(tmp_path / "file")


def test_the_instance_makes_servers_and_copies_through_them(pair, share, source):
    with EACopy(backend=pair.server).create_server(**options(share)) as server, EACopy(backend=pair.client) as eac:
        report = eac.copy_with_server(source, "//127.0.0.1/share/copy", port=server.port)
        assert (report.backend, report.files_copied) == (pair.client, 4)
    with pytest.raises(InvalidArgumentError, match="closed"):
        eac.copy_with_server(source, "//127.0.0.1/share/copy", port=server.port)
    assert equal(share / "copy", source)


def test_a_plain_directory_of_another_thread_is_served_too(pair, share, source):
    """The server must not hold up the thread that made it, nor need it."""
    found = []
    with pair.serving(share) as served:
        threads = [
            threading.Thread(target=lambda n=n: found.append(served.push(source, f"share/{n}").ok)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == [True] * 4
    assert all(equal(share / str(number), source) for number in range(4))


# Addresses -------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    "path, address",
    [
        ("eacopy://127.0.0.1:{port}/share/copy", None),
        ("EACOPY://127.0.0.1:{port}/share/copy", None),
        ("eacopy://localhost:{port}/share/copy/", None),
        ("eacopy://127.0.0.1:{port}//share//copy", None),
        ("eacopy://127.0.0.1:{port}/sh%61re/c%6Fpy", None),
        ("eacopy:///share/copy", "127.0.0.1:{port}"),
        ("eacopy://unreachable.invalid:{port}/share/copy", "127.0.0.1"),
        ("//127.0.0.1/share/copy", "127.0.0.1:{port}"),
        ("//unreachable.invalid/share/copy", "localhost:{port}"),
        ("\\\\127.0.0.1\\share\\copy", "127.0.0.1:{port}"),
    ],
)
def test_ways_to_write_where_the_server_is(pair, share, source, path, address):
    with pair.serving(share) as served:
        path = path.replace("{port}", str(served.port))
        address = address and address.replace("{port}", str(served.port))
        report = py_eacopy.copy_with_server(source, path, address, config=served.config())
        assert report.files_copied == 4 and report.server
        assert equal(share / "copy", source)
        py_eacopy.copy_with_server(path, source.parent / "back", address, config=served.config())
    assert equal(source.parent / "back", source)


@posix
def test_path_map_says_what_is_on_the_server(pair, share, source, tmp_path):
    mount = tmp_path / "mount"
    os.symlink(share, mount)
    trees.write(tmp_path / "a file", b"content")
    for mode in ("open", "file", "token"):
        with pair.serving(share, mode=mode) as served:
            config = served.config(path_map={str(mount): f"eacopy://127.0.0.1:{served.port}/share"})
            keywords = {"config": config, "token": served.token}
            report = py_eacopy.copy_with_server(source, mount / mode / "copy", **keywords)
            assert report.server and equal(share / mode / "copy", source)
            report = py_eacopy.copy_with_server(mount / mode / "copy", tmp_path / mode, **keywords)
            assert report.server and equal(tmp_path / mode, source)
            report = py_eacopy.copy_with_server(tmp_path / "a file", mount / mode, **keywords)
            assert report.server and trees.read(share / mode / "a file") == b"content"
    until_tidy(tmp_path)


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("host", "host", None),
        ("host:1", "host", 1),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("::1", "::1", None),
        ("fe80::1", "fe80::1", None),
        ("[::1]", "::1", None),
        ("[::1]:31337", "::1", 31337),
        ("host.example.org:31337", "host.example.org", 31337),
    ],
)
def test_addresses_are_split(text, host, port):
    assert location.split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":1", "host:", "host:port", "host:0", "host:65536", "[::1", "[]:1", None, 5, b"h"]
)
def test_addresses_that_are_none_are_refused(text):
    with pytest.raises(InvalidArgumentError, match="server_addr"):
        location.split_address(text)


@posix
@pytest.mark.parametrize(
    "path, directory, host, port",
    [
        (b"eacopy://host/share", b"share", "host", None),
        (b"eacopy://host:5/share/a%20b/%FF", b"share/a b/\xff", "host", 5),
        (b"eacopy://[fe80::1]:5/share", b"share", "fe80::1", 5),
        (b"eacopy://host/share/\xff\n", b"share/\xff\n", "host", None),
        (b"eacopy:///share/x/", b"share/x", None, None),
        (b"//host/share/a b/c", b"share/a b/c", "host", None),
        (b"//host/share//a", b"share/a", "host", None),
        (b"\\\\host\\share\\a", b"share/a", "host", None),
    ],
)
def test_paths_that_name_their_server(path, directory, host, port):
    found = location.on_server(path, {})
    assert (found.directory, found.host, found.port, found.local, found.shown) == (directory, host, port, None, path)


@posix
@pytest.mark.parametrize(
    "path",
    [
        "eacopy://",
        "eacopy://host",
        "eacopy://host/",
        "eacopy://host:x/share",
        "eacopy://host:0/share",
        "//host",
        "//host/",
    ]
    + ["eacopy://host:99999/share", "eacopy://ho:st:5/share"],
)
def test_paths_that_name_no_place_are_refused(path, tmp_path):
    with pytest.raises(InvalidArgumentError):
        py_eacopy.copy_with_server(tmp_path, path)


@posix
@pytest.mark.parametrize("path", ["/tmp/x", "relative", "///three/slashes", "/tmp//host/share", "eacopy:/host/share"])
def test_ordinary_paths_name_no_server(path):
    assert location.on_server(os.fsencode(path), {}) is None


@posix
def test_the_longest_prefix_of_path_map_counts_and_whole_names_only():
    path_map = {"/mnt/a": "//host/share", "/mnt/a/b": "eacopy://other:5/deep/er", "/mnt/c": "/srv/c", "/mnt/d/": "/"}

    def where(path):
        found = location.on_server(path, path_map)
        return found and (found.directory, found.host, found.port, found.local)

    assert where(b"/mnt/a") == (b"share", "host", None, b"/mnt/a")
    assert where(b"/mnt/a/x/y") == (b"share/x/y", "host", None, b"/mnt/a/x/y")
    assert where(b"/mnt/a/b/c") == (b"deep/er/c", "other", 5, b"/mnt/a/b/c")
    assert where(b"/mnt/a/bc") == (b"share/bc", "host", None, b"/mnt/a/bc")
    assert where(b"/mnt/ab") is None
    assert where(b"/mnt/c/x") == (b"/srv/c/x", None, None, b"/mnt/c/x")
    assert where(b"/mnt/d/x") == (b"/x", None, None, b"/mnt/d/x")
    assert where(b"/mnt/a/../a/./x") == (b"share/x", "host", None, b"/mnt/a/../a/./x")


@posix
def test_a_path_map_that_leads_nowhere_is_refused(tmp_path):
    config = Config(path_map={str(tmp_path): "relative/path"})
    with pytest.raises(ConfigurationError, match="path_map"):
        py_eacopy.copy_with_server("x", tmp_path / "y", "127.0.0.1", config=config)


TABLE = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /proc rw - proc proc rw
40 22 0:50 / /mnt/cifs rw,relatime shared:9 - cifs //filer/builds rw,vers=3.0
41 22 0:51 /inner/dir /mnt/part rw - cifs //filer/builds/sub rw
42 22 0:52 / /mnt/sp\040ace rw - smb3 \134\134filer\134odd\040share rw
43 22 0:53 / /mnt/nfs rw master:2 shared:7 - nfs4 server:/export/data rw,addr=10.0.0.1
44 22 0:54 / /mnt/nfs6 rw - nfs [fe80::1]:/export rw
45 40 0:55 / /mnt/cifs/over rw - tmpfs tmpfs rw
46 22 0:56 / /mnt/nfsroot rw - nfs4 server:/ rw
garbage
47 22
48 22 0:57 / /mnt/strange rw - \377\376 source rw
"""


@pytest.mark.skipif(os.name != "posix" or not os.path.isdir("/proc"), reason="Linux's mount table")
@pytest.mark.parametrize(
    "path, wanted",
    [
        (b"/mnt/cifs", (b"builds", "filer")),
        (b"/mnt/cifs/a/b", (b"builds/a/b", "filer")),
        (b"/mnt/cifs/over/a", None),
        (b"/mnt/cifsother/a", None),
        (b"/mnt/part/a", (b"builds/sub/inner/dir/a", "filer")),
        (b"/mnt/sp ace/a", (b"odd share/a", "filer")),
        (b"/mnt/nfs/a", (b"/export/data/a", "server")),
        (b"/mnt/nfs", (b"/export/data", "server")),
        (b"/mnt/nfs6/a", (b"/export/a", "fe80::1")),
        (b"/mnt/nfsroot/a", (b"/a", "server")),
        (b"/home/me", None),
        (b"/mnt/strange/a", None),
    ],
)
def test_the_mount_table_says_what_is_on_a_server(path, wanted, tmp_path, monkeypatch):
    trees.write(tmp_path / "table", TABLE)
    mounts = list(location._mounts(str(tmp_path / "table")))
    assert len(mounts) == 10
    monkeypatch.setattr(location, "_mounts", lambda: iter(mounts))
    found = location.on_server(path, {})
    assert (found and (found.directory, found.host)) == wanted
    assert found is None or (found.local, found.shown, found.port) == (path, path, None)


def test_a_mount_table_that_is_missing_or_empty_tells_nothing(tmp_path):
    assert list(location._mounts(str(tmp_path / "missing"))) == []
    trees.write(tmp_path / "empty", b"")
    assert list(location._mounts(str(tmp_path / "empty"))) == []


def test_this_machine_is_known():
    assert location.is_this_machine("127.0.0.1") and location.is_this_machine("localhost")
    assert not location.is_this_machine("192.0.2.1") and not location.is_this_machine("unreachable.invalid")
    assert not location.is_this_machine("x" * 300)


# Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"port": "80"},
        {"port": True},
        {"thread_count": 0},
        {"thread_count": 1025},
        {"thread_count": 1.5},
        {"host": ""},
        {"host": None},
        {"host": "no such host.invalid"},
        {"host": "0.0.0.0", "security_file": False},
        {"host": "::", "security_file": False},
        {"host": "0.0.0.0", "shares": None, "security_file": True},
        {"host": "0.0.0.0", "shares": None, "security_file": True, "token": "secret"},
        {"shares": None, "security_file": False},
        {"shares": {}, "security_file": False},
        {"shares": ["/tmp"]},
        {"shares": {"": "/tmp"}},
        {"shares": {"..": "/tmp"}},
        {"shares": {"a/b": "/tmp"}},
        {"shares": {"a\\b": "/tmp"}},
        {"shares": {"a\0b": "/tmp"}},
        {"shares": {"C:": "/tmp"}},
        {"shares": {5: "/tmp"}},
        {"shares": {"a": 5}},
        {"shares": {"a": None}},
        {"shares": {"a": "/does/not/exist"}},
        {"shares": {"a": os.devnull}},
        {"shares": {"a": "/tmp", "A": "/tmp"}},
        {"token": ""},
        {"token": b"bytes"},
        {"token": 5},
        {"history_size": -1},
        {"history_size": 1.0},
        {"link_mode": "soft"},
        {"link_mode": None},
        {"link_min_size": -1},
        {"link_by_name": 1},
        {"use_hash": "yes"},
        {"security_file": None},
        {"compression": 0},
        {"delta": 1},
        {"max_connections": 0},
        {"idle_timeout": 0},
        {"idle_timeout": -1},
        {"idle_timeout": float("nan")},
        {"idle_timeout": float("inf")},
        {"idle_timeout": "10"},
        {"idle_timeout": True},
    ],
    ids=repr,
)
def test_settings_of_a_server_that_are_not_legal_are_named(wrong, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        EACopyServer(**dict(options(tmp_path), **wrong))
    assert next(iter(wrong)).rstrip("s") in str(caught.value)
    with pytest.raises(ConfigurationError):
        EACopy().create_server(**dict(options(tmp_path), **wrong))


def test_a_token_is_in_no_message():
    for token in ("", b"very secret"):
        with pytest.raises(ConfigurationError) as caught:
            EACopyServer(token=token)
        assert "secret" not in str(caught.value)
    server = EACopyServer(token="very secret")
    assert "very secret" not in repr(server) and "very secret" not in repr(vars(server))


def test_what_may_be_reached_from_elsewhere_may_be_with_a_token_or_the_security_file(tmp_path):
    for more in ({"token": "secret"}, {"token": "secret", "security_file": False}, {"security_file": True}):
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            EACopyServer(shares={"share": tmp_path}, host=host, **more)
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "::1"):
        EACopyServer(host=host)
        EACopyServer(host=host, shares={"share": os.fsencode(tmp_path)}, security_file=False)


def test_unknown_options_are_type_errors():
    with pytest.raises(TypeError):
        py_eacopy.create_server(colour="green")
    with pytest.raises(TypeError):
        EACopyServer(config={"backend": "portable"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ""},
        {"token": b"secret"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "5"},
        {"timeout": None},
        {"timeout": float("nan")},
        {"timeout": 86401},
        {"timeout": True},
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": None},
        {"server_addr": ""},
        {"server_addr": "host:port"},
        {"compression_level": -1},
        {"compression_level": 23},
        {"compression_level": "fast"},
        {"compression_level": None},
        {"compression_level": True},
    ],
    ids=repr,
)
def test_arguments_of_a_copy_that_are_not_legal_are_named_before_anything_is_done(wrong, share, source):
    with pytest.raises(ValueError) as caught:
        py_eacopy.copy_with_server(source, "//127.0.0.1/share/copy", **wrong)
    name = next(iter(wrong))
    assert isinstance(caught.value, (InvalidArgumentError, ConfigurationError))
    assert name in str(caught.value) or name == "port" and "port" in str(caught.value)
    with pytest.raises(ValueError):
        EACopy().copy_with_server(source, "//127.0.0.1/share/copy", **wrong)
    if name in ("token", "timeout", "port", "server_addr"):
        with pytest.raises(InvalidArgumentError):
            py_eacopy.server_report(**dict({"server_addr": "127.0.0.1"}, **wrong))


@pytest.mark.parametrize("wrong", [5, None, ["a"], object()])
def test_what_is_no_path_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        py_eacopy.copy_with_server(wrong, "//127.0.0.1/share/copy")
    with pytest.raises(TypeError):
        py_eacopy.copy_with_server("source", wrong, "127.0.0.1")


def test_paths_must_say_where_the_server_is(tmp_path):
    with pytest.raises(InvalidArgumentError, match="path_map"):
        py_eacopy.copy_with_server(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InvalidArgumentError, match="path_map"):
        py_eacopy.copy_with_server(tmp_path / "a", tmp_path / "b", "192.0.2.1")
    with pytest.raises(InvalidArgumentError, match="server_addr"):
        py_eacopy.copy_with_server(tmp_path / "a", "eacopy:///share/b")


def test_a_source_that_is_missing_is_an_error_and_makes_nothing(pair, share, tmp_path):
    with pair.serving(share) as served:
        with pytest.raises(FileNotFoundError) as caught:
            served.push(tmp_path / "missing", "share/copy")
        assert caught.value.filename == str(tmp_path / "missing") and caught.value.root
        with pytest.raises(FileNotFoundError) as caught:
            served.pull("share/missing", tmp_path / "copy")
        assert caught.value.kind is py_eacopy.ErrorKind.FILE_NOT_FOUND
        with pytest.raises(py_eacopy.EACopyError) as caught:
            served.push(tmp_path, "unknown/copy")
        assert caught.value.kind is not py_eacopy.ErrorKind.UNKNOWN
        with pytest.raises(FileNotFoundError):
            py_eacopy.copy_with_server("", served.url("share/copy"), config=served.config())
    assert os.listdir(share) == [] and sorted(os.listdir(tmp_path)) == ["share"]


def test_errors_have_bytes_paths_for_who_writes_bytes(pair, share, tmp_path):
    with pair.serving(share) as served, pytest.raises(FileNotFoundError) as caught:
        served.push(os.fsencode(tmp_path / "missing"), "share/copy")
    assert caught.value.filename == str(tmp_path / "missing")  # one of the two is str
    with pair.serving(share) as served, pytest.raises(FileNotFoundError) as caught:
        url = served.url("share/copy").encode()
        py_eacopy.copy_with_server(os.fsencode(tmp_path / "missing"), url, config=served.config())
    assert caught.value.filename == os.fsencode(tmp_path / "missing") and caught.value.filename2 == url


# Without a server ------------------------------------------------------------------------------------------------


def test_no_server_is_a_network_error_that_says_where_none_is(client_backend, share, source, free_port):
    began = time.monotonic()
    with pytest.raises(py_eacopy.NetworkError) as caught:
        py_eacopy.copy_with_server(
            source, f"eacopy://127.0.0.1:{free_port}/share/copy", config=Config(backend=client_backend)
        )
    error = caught.value
    assert error.operation is py_eacopy.Operation.CONNECT and error.root and isinstance(error, ConnectionError)
    assert "127.0.0.1" in str(error) and str(free_port) in str(error)
    assert time.monotonic() - began < 20


def test_a_name_that_is_unknown_is_a_network_error(client_backend, source):
    with pytest.raises(py_eacopy.NetworkError, match="unreachable.invalid"):
        py_eacopy.copy_with_server(
            source, "eacopy://unreachable.invalid/share/copy", config=Config(backend=client_backend)
        )


class Listener:
    """A port at which somebody answers every connection with the same bytes, and then keeps it open."""

    def __init__(self, greeting, *, hang_up=False):
        self._greeting, self._hang_up, self._connections = greeting, hang_up, []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            connection.sendall(self._greeting)
            if self._hang_up:
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        for one in (self._socket, *self._connections):
            one.close()


GREETINGS = {
    "nothing": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "another version": (b"\x1e\0\0\0\0\0\0\0\x13\0\0\0\0\0\0\0" + "v1.10".encode("utf-16-le") + b"\0\0\0\0"),
    "zeros": bytes(64),
}


@pytest.mark.parametrize("greeting", sorted(GREETINGS))
@pytest.mark.parametrize("hang_up", [False, True], ids=["stays", "hangs up"])
def test_who_is_no_eacopy_server_is_not_waited_for_for_ever(client_backend, source, tmp_path, greeting, hang_up):
    config = Config(backend=client_backend, path_map={str(tmp_path / "mount"): "eacopy://127.0.0.1/share"})
    (tmp_path / "mount").mkdir()
    with Listener(GREETINGS[greeting], hang_up=hang_up) as listener:
        began = time.monotonic()
        with pytest.raises(py_eacopy.EACopyError) as caught:
            py_eacopy.copy_with_server(
                source, tmp_path / "mount" / "copy", port=listener.port, timeout=1.0, config=config
            )
        assert time.monotonic() - began < 15
        assert caught.value.operation is py_eacopy.Operation.CONNECT
        assert caught.value.kind in (py_eacopy.ErrorKind.NETWORK, py_eacopy.ErrorKind.TIMEOUT)
        assert os.listdir(tmp_path / "mount") == []
        report = py_eacopy.copy_with_server(
            source, tmp_path / "mount" / "copy", port=listener.port, timeout=1.0, config=config, required=False
        )
    assert report.server is None and report.files_copied == 4 and equal(tmp_path / "mount" / "copy", source)


def test_a_server_that_falls_silent_in_the_middle_times_out(pair, share, source):
    with pair.serving(share) as served:
        way = relay.Way(stall_at=5_000)
        with relay.Relay(served.port, to_server=way) as wire:
            began = time.monotonic()
            with pytest.raises((py_eacopy.EACopyError, shutil.Error)) as caught:
                served.push(source, "share/copy", port=wire.port, timeout=1.0)
            assert time.monotonic() - began < 20
        errors = getattr(caught.value, "errors", (caught.value,))
        assert {error.kind for error in errors} <= {py_eacopy.ErrorKind.TIMEOUT, py_eacopy.ErrorKind.NETWORK}
    until_tidy(share)


def test_not_required_copies_directly_and_says_so(client_backend, source, tmp_path, free_port):
    config = Config(backend=client_backend, path_map={str(tmp_path / "mount"): "//127.0.0.1/share"})
    (tmp_path / "mount").mkdir()
    keywords = {"port": free_port, "required": False, "config": config}
    report = py_eacopy.copy_with_server(source, tmp_path / "mount" / "copy", **keywords)
    assert report.server is None and report.ok and report.files_copied == 4
    assert (report.bytes_sent, report.bytes_received, report.compression_level) == (0, 0, 0)
    assert equal(tmp_path / "mount" / "copy", source)
    # A file onto a directory goes into it, as with a server; and back.
    trees.write(tmp_path / "file", b"content")
    py_eacopy.copy_with_server(tmp_path / "file", tmp_path / "mount", **keywords)
    assert trees.read(tmp_path / "mount" / "file") == b"content"
    py_eacopy.copy_with_server(tmp_path / "mount" / "copy", tmp_path / "back", **keywords)
    assert equal(tmp_path / "back", source)
    # The local paths of a server on this machine.
    report = py_eacopy.copy_with_server(source, tmp_path / "local", "127.0.0.1", **keywords)
    assert report.server is None and equal(tmp_path / "local", source)
    with pytest.raises(InvalidArgumentError, match="required=False"):
        py_eacopy.copy_with_server(source, "//127.0.0.1/share/copy", **keywords)


def test_not_required_uses_the_server_when_there_is_one_and_obeys_its_refusal(pair, share, source, tmp_path):
    mount = tmp_path / "mount"
    os.symlink(share, mount)
    with pair.serving(share, mode="token") as served:
        config = served.config(path_map={str(mount): f"eacopy://127.0.0.1:{served.port}/share"})
        keywords = {"required": False, "config": config}
        with pytest.raises(PermissionError):
            py_eacopy.copy_with_server(source, mount / "copy", token="another", **keywords)
        assert os.listdir(share) == []
        report = py_eacopy.copy_with_server(source, mount / "copy", token=serving.TOKEN, **keywords)
        assert report.server and equal(share / "copy", source)


def test_not_required_gives_progress_of_one_copy_only(client_backend, source, tmp_path, free_port):
    events = []
    config = Config(
        backend=client_backend,
        path_map={str(tmp_path / "mount"): "//127.0.0.1/share"},
        progress_callback=lambda *event: events.append(event),
    )
    (tmp_path / "mount").mkdir()
    py_eacopy.copy_with_server(source, tmp_path / "mount" / "copy", port=free_port, required=False, config=config)
    assert sorted(name for copied, total, name in events if copied == total and total) == sorted(
        str(source / name) for name in ("sub/small", "sub/sparse", "sub/deeper/large")
    )


# Progress, errors, reports ---------------------------------------------------------------------------------------


def check_progress(events, root, source):
    """Each file: first (0, total), last (total, total), growing in between, with its path as the caller wrote it."""
    by_name = {}
    for copied, total, name in events:
        by_name.setdefault(name, []).append((copied, total))
    files = {
        os.path.join(root, os.fsdecode(name)): len(content[1])
        for name, content in trees.snapshot(source).items()
        if content[0] == "file"
    }
    assert set(by_name) == set(files)
    for name, total in files.items():
        steps = by_name[name]
        assert steps[0] == (0, total) and steps[-1] == (total, total) and len(steps) >= 2, (name, steps)
        assert steps == sorted(steps) and {step[1] for step in steps} == {total}, (name, steps)


def test_progress_tells_of_each_file_in_the_calling_thread(pair, share, source, tmp_path):
    events, threads = [], set()

    def progress(*event):
        events.append(event)
        threads.add(threading.get_ident())

    with pair.serving(share) as served:
        for name in ("one", "one", "two"):  # copied, skipped, linked
            events.clear()
            served.push(source, "share/" + name, progress_callback=progress)
            check_progress(events, str(source), source)
        events.clear()
        served.pull("share/one", tmp_path / "back", progress_callback=progress)
        check_progress(events, served.url("share/one"), source)
    assert threads == {threading.get_ident()}


def test_a_control_has_progress_and_totals(pair, share, source):
    events = []
    control = Control(progress=lambda *event: events.append(event))
    with pair.serving(share) as served:
        served.push(source, "share/copy", control=control)
    check_progress(events, str(source), source)
    totals = control.snapshot()
    assert (totals.files_copied, totals.bytes_copied, totals.errors) == (4, 1_100_008, 0)
    assert (totals.files_found, totals.bytes_found) == (5, 1_100_008)  # the link counts, as in local copies


@on_linux
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_an_exception_of_the_callback_stops_the_copy_and_comes_out(pair, share, source, tmp_path, push):
    class Stop(Exception):
        pass

    def progress(copied, total, name):
        if name.endswith("large") and copied == total:
            raise Stop

    trees.make_small_tree(str(share / "there"))
    with pair.serving(share) as served, leaks.none():
        with pytest.raises(Stop):
            if push:
                served.push(source, "share/copy", progress_callback=progress)
            else:
                served.pull("share/there", tmp_path / "copy", progress_callback=progress)
        until_tidy(share, tmp_path)
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")


def test_a_callback_cannot_copy(pair, share, source):
    with pair.serving(share) as served, pytest.raises(py_eacopy.CallbackError):
        served.push(source, "share/copy", progress_callback=lambda *event: served.push(source, "share/inner"))


def unreadable(source):
    """Takes away the right to read one file; skips where that is no obstacle."""
    path = source / "sub" / "small"
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")


@pytest.fixture
def blocked(share, tmp_path):
    """A push and a pull of which one file fails: directories are in its place."""
    for place in (share / "copy", tmp_path / "back"):
        (place / "sub" / "small").mkdir(parents=True)
    return str(share / "copy"), str(tmp_path / "back")


def test_under_raise_the_rest_of_a_tree_is_copied(pair, share, source, tmp_path, blocked):
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/copy")
        ((failed, destination, reason),) = caught.value.args[0]
        assert (failed, destination) == (str(source / "sub" / "small"), served.url("share/copy") + "/sub/small")
        assert not caught.value.errors[0].root and reason
        served.push(source, "share/whole")
        with pytest.raises(shutil.Error) as caught:
            served.pull("share/whole", tmp_path / "back")
        ((failed, destination, reason),) = caught.value.args[0]
        assert (failed, destination) == (served.url("share/whole") + "/sub/small", str(tmp_path / "back/sub/small"))
    for copy in (share / "copy", tmp_path / "back"):
        assert trees.read(copy / "sub" / "deeper" / "large") == trees.make_bytes(300_001)


@posix
def test_the_operator_is_told_why_a_connection_was_closed(server_backend, share, source, caplog):
    serving_options = options(share, token="the token of this test", config=Config(backend=server_backend))
    with EACopyServer(**serving_options) as server, caplog.at_level(logging.WARNING, "py_eacopy"):
        for token, place in (("another token", "share"), ("the token of this test", "nowhere")):
            with pytest.raises(PermissionError):
                py_eacopy.copy_with_server(source, "eacopy://127.0.0.1:%d/%s/x" % (server.port, place), token=token)

        def told():
            return [record.getMessage() for record in caplog.records if "closed the connection" in record.getMessage()]

        serving.until(lambda: len(told()) == 2, "the log says nothing")
        assert all("127.0.0.1" in line and "errno" not in line for line in told())
        assert server.get_stats()["errors"] == 2


def test_under_ignore_errors_are_logged_and_reported(pair, share, source, blocked, caplog):
    with pair.serving(share) as served, caplog.at_level(logging.WARNING, "py_eacopy"):
        report = served.push(source, "share/copy", error_strategy="ignore")
    assert not report.ok and report.files_copied == 3 and report.retries == 0
    assert [error.filename for error in report.errors] == [str(source / "sub" / "small")]
    assert any("small" in record.getMessage() for record in caplog.records)


def test_under_retry_a_failing_file_is_tried_again(pair, share, source, tmp_path, blocked):
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error):
            served.push(source, "share/copy", error_strategy="retry", retry_count=2, retry_delay=0.01)

        def clear(*_):
            if os.path.isdir(share / "copy" / "sub" / "small"):
                os.rmdir(share / "copy" / "sub" / "small")

        timer = threading.Timer(0.5, clear)
        timer.start()
        report = served.push(source, "share/copy", error_strategy="retry", retry_count=100, retry_delay=0.2)
        timer.join()
    assert report.ok and report.retries >= 1 and equal(share / "copy", source)


def test_under_retry_a_broken_connection_is_made_anew(pair, share, source, tmp_path):
    trees.write(source / "huge", trees.make_bytes(3 << 20))
    with pair.serving(share) as served:
        way = relay.Way(cut_at=1 << 20)
        with relay.Relay(served.port, to_server=way, cuts=1) as wire:
            report = served.push(
                source, "share/copy", port=wire.port, error_strategy="retry", retry_count=20, retry_delay=0.1
            )
            assert wire.was_cut.is_set()
        assert report.ok and report.retries >= 1 and equal(share / "copy", source)
        way = relay.Way(cut_at=1 << 20)
        with relay.Relay(served.port, to_client=way, cuts=1) as wire:
            report = served.pull(
                "share/copy", tmp_path / "back", port=wire.port, error_strategy="retry", retry_count=20, retry_delay=0.1
            )
            assert wire.was_cut.is_set()
        assert report.ok and report.retries >= 1 and equal(tmp_path / "back", source)
    until_tidy(tmp_path)


def test_the_report_of_a_push_agrees_with_what_went_over_the_wire(pair, share, source):
    with pair.serving(share) as served, relay.Relay(served.port) as wire:
        report = served.push(source, "share/copy", port=wire.port)
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        assert report.bytes_sent == len(wire.recorded("to_server"))
        assert report.bytes_received == len(wire.recorded("to_client"))
    assert report.files_removed == report.bytes_reused == 0 and report.backend == pair.client


# The report of the server ----------------------------------------------------------------------------------------


def test_the_server_reports_in_words(pair, share, source):
    for mode in ("open", "file", "token"):
        with pair.serving(share, mode=mode) as served:
            served.push(source, "share/" + mode)
            text = py_eacopy.server_report("127.0.0.1", served.port, token=served.token)
            assert isinstance(text, str) and "4" in text and len(text.splitlines()) > 3
            assert text == py_eacopy.server_report(f"127.0.0.1:{served.port}", token=served.token) or len(text) > 40
            if mode == "token":
                for token in (None, "another"):
                    with pytest.raises(PermissionError):
                        py_eacopy.server_report("127.0.0.1", served.port, token=token)


def test_a_report_of_no_server_is_a_network_error(free_port):
    with pytest.raises(py_eacopy.NetworkError):
        py_eacopy.server_report("127.0.0.1", free_port)
    with Listener(b"") as listener, pytest.raises(py_eacopy.EACopyError):
        py_eacopy.server_report("127.0.0.1", listener.port, timeout=0.5)


# Asynchronous ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_awaiting_a_copy(pair, share, source, tmp_path, anyio_backend):
    events = []

    async def progress(*event):
        events.append(event)

    with pair.serving(share) as served:
        config = served.config(progress_callback=progress)
        report = await py_eacopy.async_copy_with_server(source, served.url("share/copy"), config=config)
        assert report.files_copied == 4 and equal(share / "copy", source)
        check_progress(events, str(source), source)
        async with EACopy(backend=pair.client) as eac:
            report = await eac.async_copy_with_server(served.url("share/copy"), tmp_path / "back")
        assert report.files_copied == 4 and equal(tmp_path / "back", source)
        with pytest.raises(FileNotFoundError):
            await py_eacopy.async_copy_with_server(tmp_path / "missing", served.url("share/x"), config=served.config())


@pytest.mark.anyio
async def test_the_loop_runs_on_while_a_copy_waits_for_the_wire(pair, share, source, anyio_backend):
    turns = 0
    with pair.serving(share) as served, relay.Relay(served.port, to_server=relay.Way(stall_at=5_000)) as wire:
        done = anyio.Event()

        async def copy():
            await py_eacopy.async_copy_with_server(source, served.url("share/copy", wire.port), config=served.config())
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(copy)
            with anyio.fail_after(serving.PATIENCE):
                while not wire.stalled.is_set():
                    await anyio.sleep(0.01)
                for _ in range(10):
                    await anyio.sleep(0.005)
                    turns += 1
                assert not done.is_set()
                wire.resume()
                await done.wait()
    assert turns == 10 and equal(share / "copy", source)


def test_pair_is_a_pair():
    """The helper does what it says: an unknown backend is no reason to skip silently."""
    with pytest.raises(ConfigurationError):
        Pair("portable", "typo").serving("/tmp").__enter__()
