"""What goes wrong on a network and at its ends: killed processes, cut and slow wires, full disks, files that change,
far too many clients; and that nothing partial stays, whatever happens."""

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import sys
import threading
import time
import zlib

import anyio
import leaks
import pytest
from faults import filesystems, trees
from net import protocol, serving
from net.protocol import DATA, Peer, begin, entry, message, offer
from net.relay import Relay, Way
from net.serving import ClientProcess, Pair, until, until_tidy

import py_eacopy
from py_eacopy import Control, ErrorKind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc, and sends signals")

#: Seconds. The promises are 100 ms for cancelling and 1 s for stopping; this bound is for a machine that is busy. The
#: figures themselves are printed.
BOUND = 5.0
LARGE = 6 << 20
#: Bytes at the end of a conversation that nobody needs to have read.
FAREWELL = 48


@pytest.fixture(scope="module")
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    """A tree whose copying takes a while: a large file, small ones before and after it, and one of each other thing."""
    path = tmp_path / "source"
    trees.make_small_tree(str(path))
    trees.write(path / "large", trees.make_bytes(LARGE, 3))
    (path / "many").mkdir()
    for number in range(60):
        trees.write(path / "many" / str(number), trees.make_bytes(1_000 + number, number))
    return path


@pytest.fixture
def shown(capsys):
    """Prints figures past pytest's capturing."""

    def show(text):
        with capsys.disabled():
            print(" [%s]" % text, end="")

    return show


def assert_only_whole_files(copy, source, old=None):
    """Every file that has its name has its content (or the old one, where there was one)."""
    if not os.path.isdir(copy):
        return 0
    wanted = trees.snapshot(source, metadata=False)
    count = 0
    for _ in range(100):
        try:
            found = trees.snapshot(copy, metadata=False)
            break
        except FileNotFoundError:
            time.sleep(0.01)  # the server is about to take back what it had begun
    else:
        return 0
    for name, value in found.items():
        if os.path.basename(name).startswith((b".eacopy-", b".f")):
            continue  # until_tidy() tells about them
        assert name in wanted, name
        if value[0] == "file":
            assert value == wanted[name] or (old is not None and value[1] == old), f"{name!r} is partial"
            count += value == wanted[name]
    return count


def assert_equal_trees(copy, source):
    found, wanted = trees.snapshot(copy), trees.snapshot(source)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


def failing(function, *arguments, **options):
    """Calls, and returns the errors it raised, which are ones that a network or a server may make."""
    with pytest.raises((py_eacopy.EACopyError, shutil.Error)) as caught:
        function(*arguments, **options)
    errors = getattr(caught.value, "errors", None) or (caught.value,)
    kinds = {error.kind for error in errors}
    assert kinds <= {ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.SERVER, ErrorKind.CLIENT}, errors
    return errors


# kill -9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_server_that_is_killed_in_the_middle_and_started_again(pair, share, source, tmp_path, push):
    history = tmp_path / "history"
    if push:
        copy = share / "copy"
    else:
        shutil.copytree(source, share / "there", symlinks=True)
        shutil.copytree(source, tmp_path / "reference", symlinks=True)
        copy = tmp_path / "copy"
    with pair.process(share, history_file=str(history)) as server:
        for place in (20_000, 400_000, LARGE - 100_000, LARGE + 200_000):
            served = server.served(pair.client)
            way = {"to_server" if push else "to_client": Way(stall_at=place)}
            with Relay(server.port, **way) as wire:
                outcome = []

                def copying(served=served, wire=wire, outcome=outcome):
                    if push:
                        outcome.append(failing(served.push, source, "share/copy", port=wire.port))
                    else:
                        outcome.append(failing(served.pull, "share/there", copy, port=wire.port))

                thread = threading.Thread(target=copying)
                thread.start()
                if not wire.stalled.wait(2.0):
                    # What was copied the last time need not be copied again.
                    assert place > 20_000
                time.sleep(0.1)
                server.kill()
                wire.cut()
                wire.resume()
                thread.join(serving.PATIENCE)
                assert not thread.is_alive()
            if not push:
                until_tidy(copy)
            assert_only_whole_files(copy, source)
            assert outcome or place > 20_000
            serving.age(share)
            server.start()
            until_tidy(share)  # what the dead one left
        served = server.served(pair.client)
        if push:
            served.push(source, "share/copy")
            assert_equal_trees(share / "copy", source)
        else:
            served.pull("share/there", copy)
            assert_equal_trees(copy, tmp_path / "reference")
        until_tidy(share, copy)


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_client_that_is_killed_in_the_middle_and_started_again(pair, share, source, tmp_path, push):
    if not push:
        shutil.copytree(source, share / "there", symlinks=True)
    copy = share / "copy" if push else tmp_path / "copy"
    killed = 0
    with pair.serving(share) as served:
        for place in (5_000, 700_000, LARGE):
            way = {"to_server" if push else "to_client": Way(stall_at=place)}
            with Relay(served.port, **way) as wire:
                url = served.url("share/copy" if push else "share/there", wire.port)
                arguments = (source, url) if push else (url, copy)
                client = ClientProcess(*arguments, settings={"backend": pair.client})
                try:
                    killed += wire.stalled.wait(3.0)
                    time.sleep(0.05)
                finally:
                    client.kill()
                wire.cut()
                if push:
                    until_tidy(share)
                assert_only_whole_files(copy, source)
        assert killed
        until(lambda: served.server.get_stats()["active_connections"] == 0, "dead connections stay")
        if push:
            served.push(source, "share/copy")
        else:
            # What a killed client had begun never has a name that counts, and the next pull removes it.
            serving.age(copy)
            served.pull("share/there", copy)
    assert_equal_trees(copy, source if push else share / "there")


def test_overwritten_files_are_old_or_new_when_the_server_is_killed(pair, share, source):
    old = b"old content"
    for where, _, names in os.walk(source):
        directory = share / "copy" / os.path.relpath(where, source)
        os.makedirs(directory, exist_ok=True)
        for name in names:
            if not os.path.islink(os.path.join(where, name)):
                trees.write(directory / name, old)
    with pair.process(share) as server:
        served = server.served(pair.client)
        with Relay(server.port, to_server=Way(stall_at=LARGE // 2)) as wire:
            thread = threading.Thread(target=lambda: failing(served.push, source, "share/copy", port=wire.port))
            thread.start()
            assert wire.stalled.wait(serving.PATIENCE)
            server.kill()
            wire.cut()
            wire.resume()
            thread.join(serving.PATIENCE)
        whole = assert_only_whole_files(share / "copy", source, old)
        assert whole < 65, "nothing was interrupted"
        serving.age(share)
        server.start()
        until_tidy(share)
        server.served(pair.client).push(source, "share/copy")
    assert_equal_trees(share / "copy", source)


def test_a_server_without_shares_clears_up_where_it_is_asked_to_write(pair, tmp_path, source):
    """It cannot know beforehand where a dead one has left something."""
    target = tmp_path / "target"
    target.mkdir()
    (target / ".eacopy-0123456789abcdef.tmp").write_bytes(b"left by a dead server")
    (target / ".eacopy-short.tmp").write_bytes(b"another's")
    with pair.serving({}, mode="file") as served:
        py_eacopy.copy_with_server(source, target, "127.0.0.1", served.port, config=served.config())
        until(lambda: not (target / ".eacopy-0123456789abcdef.tmp").exists(), "what a dead server left stays")
    assert (target / ".eacopy-short.tmp").read_bytes() == b"another's"


def test_a_file_that_is_being_written_is_not_taken_for_dead(server_backend, share):
    """A second server over the same share starts while the first one writes."""
    with Pair("portable", server_backend).serving(share) as first, Peer(first.port) as peer:
        peer.greet()
        peer.open(b"share")
        peer.send(offer(0, entry(b"file", size=8)))
        assert peer.result()[0] == protocol.SEND
        peer.send(begin(0, 8), message(DATA, b"half"))
        until(lambda: serving.leftovers(share), "nothing is written yet")
        trees.write(share / ".eacopy-00000000deadbeef.tmp", b"dead")
        with Pair("portable", server_backend).serving(share):
            until(lambda: not (share / ".eacopy-00000000deadbeef.tmp").exists(), "the dead one stays")
            peer.send(message(DATA, b"half"), protocol.end(zlib.crc32(b"halfhalf")))
            assert peer.result()[0] == protocol.STORED
    assert trees.read(share / "file") == b"halfhalf"


# Full disks and changing files -----------------------------------------------------------------------------------


def test_a_full_disk_on_the_server(pair, mounts, source):
    share = mounts.make("tmpfs", 3 << 20)
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.push(source, "share/copy")
        errors = {os.path.basename(error.filename): error for error in caught.value.errors}
        error = errors["large"]
        assert isinstance(error, py_eacopy.DiskFullError) and error.kind is ErrorKind.DISK_FULL
        assert error.needed == LARGE and error.available < 3 << 20
        assert error.filename == str(source / "large") and error.destination in ("absent", None)
        until_tidy(share)
        assert_only_whole_files(os.path.join(share, "copy"), source)
        assert not os.path.exists(os.path.join(share, "copy", "large"))
        with pytest.raises(py_eacopy.DiskFullError) as caught:
            served.push(source / "large", "share/large")
        assert caught.value.root
        # With room it goes on, over the same server.
        os.truncate(source / "large", 1 << 20)
        served.push(source, "share/copy")
        assert_equal_trees(os.path.join(share, "copy"), source)
    mounts.unmount(share)


def test_a_full_disk_on_the_client(pair, mounts, share, source):
    target = mounts.make("tmpfs", 3 << 20)
    shutil.copytree(source, share / "there", symlinks=True)
    with pair.serving(share) as served:
        with pytest.raises(shutil.Error) as caught:
            served.pull("share/there", os.path.join(target, "copy"))
        errors = {os.path.basename(error.filename2): error for error in caught.value.errors}
        assert isinstance(errors["large"], py_eacopy.DiskFullError)
        until_tidy(target)
        assert_only_whole_files(os.path.join(target, "copy"), source)
        os.truncate(share / "there" / "large", 1 << 20)
        served.pull("share/there", os.path.join(target, "copy"))
        assert_equal_trees(os.path.join(target, "copy"), share / "there")
    mounts.unmount(target)


@pytest.mark.parametrize("change", ["shrinks", "grows", "is rewritten", "in secret", "is replaced", "goes", "empties"])
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_file_that_changes_while_it_is_sent(pair, share, tmp_path, change, push):
    """It ends, with an error or a file of which the next copy makes the right one; nothing stays half."""
    size = 20 << 20  # more than the sockets and the relay hold
    name = tmp_path / "file" if push else share / "file"
    copy = share / "copy" if push else tmp_path / "copy"
    trees.write(name, trees.make_bytes(size))
    changed = trees.make_bytes(size, 9)
    way = {"to_server" if push else "to_client": Way(stall_at=1 << 20)}
    outcome = []

    def copying(port=None):
        try:
            report = served.push(name, "share/copy", port=port) if push else served.pull("share/file", copy, port=port)
            outcome.append(report)
        except py_eacopy.EACopyError as error:
            outcome.append(error)

    with pair.serving(share) as served, Relay(served.port, **way) as wire:
        thread = threading.Thread(target=copying, args=(wire.port,))
        thread.start()
        assert wire.stalled.wait(serving.PATIENCE)
        kept = os.stat(name).st_mtime_ns
        if change == "shrinks":
            os.truncate(name, 2 << 20)
        elif change == "empties":
            os.truncate(name, 0)
        elif change == "grows":
            with open(name, "ab") as stream:
                stream.write(b"more")
        elif change in ("is rewritten", "in secret"):
            with open(name, "r+b") as stream:
                stream.write(changed)
            if change == "in secret":
                os.utime(name, ns=(kept, kept))
        elif change == "is replaced":
            trees.write(tmp_path / "new", changed)
            os.replace(tmp_path / "new", name)
        else:
            os.unlink(name)
        wire.resume()
        thread.join(60)
        assert not thread.is_alive() and outcome
        until_tidy(share, tmp_path)
        if change in ("shrinks", "empties") and os.path.exists(copy):
            assert not isinstance(outcome[0], py_eacopy.EACopyError)
        if change in ("is replaced", "goes"):
            # The old one is open, and whole.
            assert not isinstance(outcome[0], Exception) and trees.read(copy) == trees.make_bytes(size)
        if change == "in secret" and push:
            served.push(name, "share/sub/copy")
            assert trees.read(share / "sub" / "copy") == trees.read(name), "the mix was remembered as the file"
        elif change != "goes":
            copying()
            assert not isinstance(outcome[-1], Exception), outcome[-1]
            assert change == "in secret" or trees.read(copy) == trees.read(name), "the mix was taken for the file"
            if push:
                served.push(name, "share/sub/copy")
                assert trees.read(share / "sub" / "copy") == trees.read(name), "the mix was remembered as the file"
    assert serving.leftovers(share, tmp_path) == []


# Many, slow and silent clients -----------------------------------------------------------------------------------


def test_200_clients_at_once(pair, share, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        trees.write(source / str(number), trees.make_bytes(5_000, number))
    problems, reports = [], []
    start = threading.Barrier(200)

    def client(number):
        try:
            start.wait(serving.PATIENCE)
            reports.append(served.push(source, f"share/{number}", thread_count=1, timeout=120.0))
        except BaseException as problem:
            problems.append(problem)

    with pair.serving(share, max_connections=1000) as served:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not problems and len(reports) == 200, problems[:3]
        until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        assert served.server.get_stats()["connections"] >= 200
    wanted = trees.snapshot(source)
    assert all(trees.snapshot(share / str(number)) == wanted for number in range(200))
    until_tidy(share)


def test_one_connection_too_many_is_told_and_closed(pair, share, source):
    with pair.serving(share, max_connections=3) as served, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(served.port)) for _ in range(3)]
        for peer in peers:
            peer.greet()
        with Peer(served.port) as extra:
            extra.send(protocol.hello())
            assert extra.ending() is None
            assert len(extra.received) == len(extra.version)
        with pytest.raises(py_eacopy.EACopyError) as caught:
            served.push(source, "share/copy", timeout=5.0)
        assert caught.value.operation is py_eacopy.Operation.CONNECT
        for peer in peers:
            assert peer.open(b"share") == 2
            peer.socket.close()
        until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        assert served.push(source, "share/copy").ok


def test_a_hundred_connections_that_say_nothing_keep_nobody_out(pair, share, source):
    with pair.serving(share, max_connections=200, thread_count=1) as served, contextlib.ExitStack() as stack:
        for number in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=20))
            if number % 3 == 0:
                connection.sendall(protocol.hello()[: 1 + number % 40])  # half a message
            elif number % 3 == 1:
                connection.sendall(protocol.hello())
        report = served.push(source, "share/copy")
        assert report.ok
    assert_equal_trees(share / "copy", source)


def test_a_connection_that_falls_silent_is_closed(server_backend, share):
    with Pair("portable", server_backend).serving(share, idle_timeout=1.0) as served:
        said = {
            "nothing": lambda peer: None,
            "hello": lambda peer: peer.greet(),
            "open": lambda peer: (peer.greet(), peer.open(b"share")),
            "offer": lambda peer: (peer.greet(), peer.open(b"share"), peer.send(offer(0, entry(b"x", size=5)))),
        }
        for what, say in said.items():
            with Peer(served.port) as peer:
                say(peer)
                began = time.monotonic()
                peer.ending()
                took = time.monotonic() - began
                assert 0.3 < took < 15, what
        until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
    until_tidy(share)


def test_a_slow_client_holds_nobody_up(pair, share, source, tmp_path):
    """Even where only one request is worked on at a time."""
    trees.write(tmp_path / "slow", trees.make_bytes(3_000))
    with pair.serving(share, thread_count=1) as served:
        trickle, done = Way(piece=1, pause=0.001), []
        with Relay(served.port, to_server=trickle) as wire:
            thread = threading.Thread(
                target=lambda: done.append(served.push(tmp_path / "slow", "share/slow", port=wire.port))
            )
            thread.start()
            until(lambda: trickle.passed > 0, "nothing is sent")
            fast = 0
            while thread.is_alive() and fast < 5:
                served.push(source / "many", f"share/fast {fast}")
                fast += 1
            thread.join(60)
        assert done and done[0].ok and fast >= 1
    assert trees.read(share / "slow") == trees.read(tmp_path / "slow")


def test_a_client_that_takes_nothing_holds_nobody_up(pair, share, source, tmp_path):
    trees.write(share / "big", trees.make_bytes(30 << 20))
    with pair.serving(share, thread_count=1) as served, Peer(served.port) as lazy:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.greet()
        lazy.open(b"share", 0)
        lazy.send(protocol.fetch(0, b"big"))
        time.sleep(0.2)  # until the server's buffers are full
        assert served.push(source, "share/copy").ok
        began = time.monotonic()
        served.server.stop()
        assert time.monotonic() - began < BOUND
    assert_equal_trees(share / "copy", source)


# Through the relay -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, "auto"])
@pytest.mark.parametrize("how", ["delay", "single bytes", "odd pieces", "stall"])
def test_a_difficult_wire_changes_nothing(pair, share, tmp_path, how, level):
    source = tmp_path / "source"
    trees.make_small_tree(str(source))
    ways = {
        "delay": lambda: Way(delay=0.005),
        "single bytes": lambda: Way(piece=1),
        "odd pieces": lambda: Way(piece=1021),
        "stall": lambda: Way(stall_at=700),
    }[how]
    if how == "single bytes":
        trees.write(source / "sub" / "deeper" / "large", trees.make_bytes(5_001))
    with pair.serving(share) as served:
        for push in (True, False):
            with Relay(served.port, to_server=ways(), to_client=ways()) as wire:
                if how == "stall":
                    timer = threading.Timer(0.3, wire.resume)
                    timer.start()
                if push:
                    report = served.push(source, "share/copy", port=wire.port, compression_level=level)
                else:
                    report = served.pull("share/copy", tmp_path / "back", port=wire.port, compression_level=level)
                assert report.ok and report.retries == 0 and report.files_copied == 4
    assert_equal_trees(share / "copy", source)
    assert_equal_trees(tmp_path / "back", source)


@pytest.mark.parametrize("mode", sorted(serving.MODES))
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_wire_that_is_cut_anywhere_leaves_nothing_half(pair, share, tmp_path, mode, direction, push):
    source = tmp_path / "source"
    trees.make_small_tree(str(source))
    shutil.copytree(source, share / "there", symlinks=True)

    def copy(served, number, port):
        if push:
            served.push(source, f"share/copy {number}", port=port, thread_count=1, timeout=10.0)
        else:
            served.pull("share/there", tmp_path / f"copy {number}", port=port, thread_count=1, timeout=10.0)

    place = share if push else tmp_path
    # A history would let later copies be linked, or made from an older version; each is to be sent in full.
    with pair.serving(share, mode=mode, link_mode="never", delta=False) as served:
        with Relay(served.port) as wire:
            copy(served, "whole", wire.port)
            length = len(wire.recorded(direction))
        assert_equal_trees(place / "copy whole", source)
        early = [0, 1, 7, 8, 9, 12, 20, 33, 60, 100, 130, 150, 180, 250, 400]
        points = sorted(
            {point for point in early + [length * k // 8 for k in range(1, 8)] + [length - 1] if point < length}
        )
        failed = 0
        for point in points:
            with Relay(served.port, reset=point % 2 == 1, **{direction: Way(cut_at=point)}) as wire:
                try:
                    copy(served, point, wire.port)
                except (py_eacopy.EACopyError, shutil.Error) as error:
                    failed += 1
                    for one in getattr(error, "errors", None) or (error,):
                        assert one.kind is not ErrorKind.UNKNOWN, (point, one)
                else:
                    # Only an answer that nobody needed is lost.
                    assert point >= length - FAREWELL, point
                    assert_equal_trees(place / f"copy {point}", source)
            assert_only_whole_files(place / f"copy {point}", source)
        assert failed >= len([point for point in points if point < length - FAREWELL])
        until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        until_tidy(place)
        copy(served, points[-1], served.port)
        copy(served, points[len(points) // 2], served.port)
        assert_equal_trees(place / f"copy {points[-1]}", source)
        assert_equal_trees(place / f"copy {points[len(points) // 2]}", source)
    until_tidy(share, tmp_path)


def test_bits_that_flip_on_the_wire_are_noticed(pair, share, tmp_path):
    """TCP's own checks are weak; contents have a CRC."""
    trees.write(tmp_path / "file", trees.make_bytes(400_000))
    with pair.serving(share) as served:
        for push in (True, False):
            trees.write(share / "there", trees.make_bytes(400_000))
            direction = "to_server" if push else "to_client"
            with Relay(served.port, **{direction: Way(alter={200_000: 4})}) as wire:
                if push:
                    errors = self_errors(served.push, tmp_path / "file", "share/copy", port=wire.port, timeout=5.0)
                else:
                    errors = self_errors(served.pull, "share/there", tmp_path / "copy", port=wire.port, timeout=5.0)
            assert errors
            until_tidy(share, tmp_path)
        assert not os.path.exists(share / "copy") and not os.path.exists(tmp_path / "copy")


def self_errors(function, *arguments, **options):
    with pytest.raises((py_eacopy.EACopyError, shutil.Error)) as caught:
        function(*arguments, **options)
    return getattr(caught.value, "errors", None) or (caught.value,)


# Stopping the server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_stop_returns_soon_in_mid_transfer_and_leaves_nothing(pair, share, tmp_path, push, shown):
    size = 40 << 20
    trees.write((tmp_path if push else share) / "file", trees.make_bytes(1 << 20) * 40)
    outcome = []

    def copying(number):
        try:
            if push:
                served.push(tmp_path / "file", f"share/copy {number}", port=wire.port)
            else:
                served.pull("share/file", tmp_path / f"copy {number}", port=wire.port)
        except py_eacopy.EACopyError as error:
            outcome.append(error)

    way = {"to_server" if push else "to_client": Way(stall_at=size)}  # of the two, so both are in the middle
    with leaks.none(), pair.serving(share) as served, Relay(served.port, **way) as wire:
        clients = [threading.Thread(target=copying, args=(number,)) for number in range(2)]
        for client in clients:
            client.start()
        with Peer(served.port) as idle, Peer(served.port) as half:
            idle.greet()
            half.send(protocol.hello()[:20])
            assert wire.stalled.wait(60)
            began = time.monotonic()
            served.server.stop()
            took = time.monotonic() - began
        shown("%.0f ms" % (took * 1000))
        assert took < BOUND and not served.server.is_running()
        assert serving.leftovers(share) == [], "stop() returns with unfinished files"
        assert served.server.get_stats()["active_connections"] == 0
        wire.resume()
        for client in clients:
            client.join(serving.PATIENCE)
            assert not client.is_alive()
        assert len(outcome) == 2
    assert serving.leftovers(tmp_path) == []
    assert not os.path.exists(share / "copy 0") or trees.read(share / "copy 0") == trees.read(tmp_path / "file")


def test_stopping_again_and_again_while_clients_come(pair, share, source):
    """Whatever is told to be copied is in place, through any number of stops."""
    over, problems, copied = threading.Event(), [], []
    config = py_eacopy.Config(backend=pair.server)
    server = py_eacopy.EACopyServer(
        config=config, port=0, shares={"share": str(share)}, security_file=False, link_mode="never"
    )
    served = None

    def client(number):
        count = 0
        while not over.is_set():
            name = f"{number} {count}"
            try:
                report = served.push(source / "many", "share/" + name, timeout=10.0, port=server.port or 1)
            except (py_eacopy.EACopyError, shutil.Error):
                time.sleep(0.01)
            except BaseException as problem:
                problems.append(problem)
                return
            else:
                assert report.files_copied == 60
                copied.append(name)
            count += 1

    server.start()
    served = serving.Served(server, pair.client, None)
    clients = [threading.Thread(target=client, args=(number,)) for number in range(3)]
    for thread in clients:
        thread.start()
    try:
        for _ in range(6):
            time.sleep(0.25)
            server.stop()
            assert serving.leftovers(share) == []
            server.start()
        until(lambda: copied, "nothing was copied")
    finally:
        over.set()
        for thread in clients:
            thread.join(60)
        server.stop()
    assert not problems, problems
    wanted = trees.snapshot(source / "many")
    assert all(trees.snapshot(share / name) == wanted for name in copied)
    until_tidy(share)


# Cancelling ------------------------------------------------------------------------------------------------------


class Held:
    """A push or pull that stands still in its middle, because the wire does."""

    def __init__(self, pair, share, tmp_path, push, *, held):
        self.share, self.tmp_path, self.push, self._pair, self._held = share, tmp_path, push, pair, held
        trees.write((tmp_path if push else share) / "file", trees.make_bytes(1 << 20) * 30)

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self.served = self._stack.enter_context(self._pair.serving(self.share))
        way = Way(stall_at=3 << 20) if self._held else Way(delay=0.01)
        self.wire = self._stack.enter_context(
            Relay(self.served.port, **{"to_server" if self.push else "to_client": way})
        )
        url = self.served.url("share/copy" if self.push else "share/file", self.wire.port)
        mine = self.tmp_path / ("file" if self.push else "copy")
        self.arguments = (mine, url) if self.push else (url, mine)
        self.keywords = {"config": self.served.config()}
        return self

    def under_way(self):
        return (self.wire.to_server if self.push else self.wire.to_client).passed >= 3 << 20

    def __exit__(self, *_):
        self._stack.close()

    def check(self, took, shown):
        shown("%.0f ms" % (took * 1000))
        assert took < BOUND
        if not self.push:
            assert serving.leftovers(self.tmp_path) == [], "the client leaves something behind"
        self.wire.resume()
        until_tidy(self.share, self.tmp_path)
        assert not os.path.exists(self.share / "copy") and not os.path.exists(self.tmp_path / "copy")
        until(lambda: self.served.server.get_stats()["active_connections"] == 0, "a connection stays")


@pytest.mark.parametrize("held", [True, False], ids=["silent wire", "busy wire"])
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_control_cancels_in_the_middle(pair, share, tmp_path, push, held, shown):
    with leaks.none(), Held(pair, share, tmp_path, push, held=held) as copying:
        control, told = Control(), []

        def cancel():
            until(copying.under_way, "it does not get on")
            time.sleep(0.1)
            told.append(time.monotonic())
            control.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(py_eacopy.CopyInterruptedError):
            py_eacopy.copy_with_server(*copying.arguments, control=control, **copying.keywords)
        took = time.monotonic() - told[0]
        thread.join()
        copying.check(took, shown)


def test_a_control_cancels_while_the_server_does_not_answer(client_backend, tmp_path, shown):
    """Neither at connecting, nor while it waits for the server's first word, does it hold out for the time limit."""
    trees.write(tmp_path / "file", b"content")
    with socket.create_server(("127.0.0.1", 0), backlog=5) as silent, leaks.none():
        control, told = Control(), []

        def cancel():
            time.sleep(0.3)
            told.append(time.monotonic())
            control.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(py_eacopy.CopyInterruptedError):
            py_eacopy.copy_with_server(
                tmp_path / "file",
                f"eacopy://127.0.0.1:{silent.getsockname()[1]}/share/copy",
                control=control,
                timeout=60.0,
                config=py_eacopy.Config(backend=client_backend),
            )
        took = time.monotonic() - told[0]
        thread.join()
    shown("%.0f ms" % (took * 1000))
    assert took < BOUND


def test_a_control_that_was_cancelled_before_connects_to_nobody(pair, share, source):
    control = Control()
    control.cancel()
    with pair.serving(share) as served:
        with pytest.raises(py_eacopy.CopyInterruptedError):
            served.push(source, "share/copy", control=control)
        assert os.listdir(share) == []


@pytest.mark.anyio
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
async def test_a_cancelled_task_leaves_nothing(pair, share, tmp_path, push, anyio_backend, shown):
    with leaks.none(), Held(pair, share, tmp_path, push, held=True) as copying:
        async with anyio.create_task_group() as group:

            async def copy():
                await py_eacopy.async_copy_with_server(*copying.arguments, **copying.keywords)

            group.start_soon(copy)
            with anyio.fail_after(serving.PATIENCE):
                while not copying.under_way():
                    await anyio.sleep(0.01)
            told = time.monotonic()
            group.cancel_scope.cancel()
        copying.check(time.monotonic() - told, shown)


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_wait_for_on_asyncio_leaves_nothing(pair, share, tmp_path, push, shown):
    async def main():
        task = asyncio.ensure_future(py_eacopy.async_copy_with_server(*copying.arguments, **copying.keywords))
        while not copying.under_way():
            await asyncio.sleep(0.01)
            assert not task.done()
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task, 0.2)
        return time.monotonic() - began - 0.2

    with Held(pair, share, tmp_path, push, held=True) as copying:
        took = asyncio.run(main())
        copying.check(took, shown)


def test_the_source_is_never_touched(pair, share, source):
    """Cut, cancelled or whole: a push changes nothing but access times in what it copies."""

    def look():
        found = {}
        for where, directories, names in os.walk(os.fsencode(source)):
            for name in directories + names:
                status = os.lstat(os.path.join(where, name))
                found[where, name] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
                assert not stat.S_ISSOCK(status.st_mode)
        return found

    before = look()
    with pair.serving(share) as served:
        for number, point in enumerate((None, 1_000, 1_000_000)):
            wire = Relay(served.port, to_server=Way(cut_at=point))
            with wire, contextlib.suppress(py_eacopy.EACopyError, shutil.Error):
                served.push(source, f"share/{number}", port=wire.port, timeout=5.0)
    assert look() == before


def test_the_relay_does_what_it_says():
    """Each of its tricks, so that a test that passes through it means something."""
    with socket.create_server(("127.0.0.1", 0)) as echo:
        sizes = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = echo.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection):
            with connection, contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while True:
                    data = connection.recv(4096)
                    if not data:
                        return
                    sizes.append(len(data))
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        port = echo.getsockname()[1]

        def said(wire, words=b"0123456789", wait=5.0):
            with socket.create_connection(("127.0.0.1", wire.port), timeout=wait) as connection:
                connection.sendall(words)
                heard = b""
                with contextlib.suppress(OSError):
                    while len(heard) < len(words):
                        more = connection.recv(4096)
                        if not more:
                            break
                        heard += more
                return heard

        with Relay(port) as wire:
            assert said(wire) == b"0123456789"
            assert wire.recorded("to_server") == wire.recorded("to_client") == b"0123456789"
        with Relay(port, to_server=Way(alter={3: 1})) as wire:
            assert said(wire) == b"0122456789"
        for reset in (False, True):
            with Relay(port, to_server=Way(cut_at=4), reset=reset) as wire:
                assert len(said(wire)) <= 4 and wire.recorded("to_server") == b"0123" and wire.was_cut.is_set()
                assert said(wire) == b""
        with Relay(port, to_client=Way(cut_at=4), cuts=1) as wire:
            assert said(wire) == b"0123" and said(wire) == b"0123456789"
        with Relay(port, to_server=Way(stall_at=4)) as wire:
            assert said(wire, wait=0.3) == b"0123" and wire.stalled.is_set()
            wire.resume()
            assert said(wire) == b"0123456789"
        with Relay(port, to_client=Way(delay=0.3)) as wire:
            began = time.monotonic()
            assert said(wire) == b"0123456789" and time.monotonic() - began >= 0.3
        sizes.clear()
        with Relay(port, to_server=Way(piece=1, delay=0.0)) as wire:
            assert said(wire, bytes(200)) == bytes(200)
        assert len(sizes) > 1
