"""What clients must never reach, learn, change or break, and what servers must never get out of a client.

Most peers here are played by hand, from docs/protocol.md alone.
"""

import contextlib
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib

import pytest
from faults import trees
from net import protocol, relay, serving
from net.protocol import (
    BODY,
    DATA,
    DIRECTORY,
    FAILED,
    LINK,
    LINKED,
    MADE,
    OFFER,
    PACKED,
    PERMISSION_DENIED,
    PROOF,
    PROOF_ACCEPTED,
    SECRET,
    SEND,
    SKIPPED,
    STORED,
    TREE,
    WRITE,
    Closed,
    Peer,
    Refused,
    body,
    entry,
    message,
    offer,
)
from net.serving import TOKEN, Pair, until_tidy

import py_eacopy
from py_eacopy import Config, ErrorKind, Operation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX paths and modes")


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    trees.make_small_tree(str(tmp_path / "source"))
    return tmp_path / "source"


@pytest.fixture
def outside(tmp_path):
    """A directory that nobody shares, and what is in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    trees.write(outside / "secret", b"must not be seen")
    os.chmod(outside / "secret", 0o600)
    os.utime(outside / "secret", ns=(1, 1_600_000_000_123_456_700))
    os.chmod(outside, 0o700)
    os.utime(outside, ns=(1, 1_600_000_000_000_000_000))
    before = trees.snapshot(outside)
    yield outside
    assert trees.snapshot(outside) == before, "something outside of the share was changed"


@pytest.fixture
def served(server_backend, share, outside):
    """An open server; a test plays its client."""
    with Pair("portable", server_backend).serving(share) as served:
        yield served


def whole(share):
    """Contents by path, of what is below; nothing unfinished may be there."""
    until_tidy(share)
    return {name: kind[1] for name, kind in trees.snapshot(share).items() if kind[0] == "file"}


def still_serves(served, share, name="afterwards"):
    """The server is well: somebody else is served."""
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        assert peer.push(0, name.encode(), b"fine", mtime=time.time_ns()) == STORED
    assert trees.read(share / name) == b"fine"
    os.unlink(share / name)


# The dialect itself, so that what is refused below is refused for its reason -------------------------------------


def test_a_client_played_by_hand_is_served(served, share):
    with Peer(served.port) as peer:
        assert peer.version[4] == 0 and struct.unpack_from("<I", peer.version, 8)[0] == 20
        assert peer.flags & protocol.EXTENDED and not peer.flags & protocol.TOKEN_REQUIRED
        peer.greet()
        assert peer.open(b"share/dir") == 2
        peer.send(offer(0, entry(b"sub", DIRECTORY, mode=0o700), entry(b"link", LINK, target=b"sub/file")))
        assert sorted(peer.results(2)) == [(0, MADE, None), (1, MADE, None)]
        assert peer.push(2, b"sub/file", b"content") == STORED
        assert peer.push(3, b"sub/file", b"content") == SKIPPED
        peer.send(offer(4, entry(b"large", size=10)))
        assert peer.result() == (SEND, None)
        whole_file = b"abc" + bytes(4) + b"def"
        peer.send(protocol.begin(4, 10), message(DATA, b"abc"), protocol.hole(4), message(DATA, b"def"))
        peer.send(protocol.end(zlib.crc32(b"abcdef")))
        assert peer.result() == (STORED, None)
        entries, failures = peer.listed()
        assert failures == [] and entries[0][:2] == (DIRECTORY, b"")
        assert sorted(path for _, path, _ in entries) == [b"", b"large", b"link", b"sub", b"sub/file"]
        peer.send(protocol.fetch(0, b"sub/file"))
        assert peer.receive(BODY).data[20:] == b"content"
        peer.send(protocol.goodbye())
    assert whole(share) == {b"dir/sub/file": b"content", b"dir/large": whole_file}
    assert os.readlink(share / "dir" / "link") == "sub/file"
    assert os.stat(share / "dir" / "sub" / "file").st_mtime_ns == 1_600_000_000_123_456_700


# Paths out of the share ------------------------------------------------------------------------------------------

OUT = [
    b"../outside/file",
    b"..",
    b"sub/../../outside/file",
    b"sub/../file",
    b"/tmp/eacopy-absolute",
    b"//tmp/eacopy-absolute",
    b"sub//file",
    b"sub/",
    b"/",
    b".",
    b"./file",
    b"sub/./file",
    b"file\0",
    b"",
    b"x" * 256,
    b"/".join([b"d" * 200] * 200),
    b".eacopy-0123456789abcdef.tmp",
    b"sub/.eacopy-0123456789abcdef.tmp/file",
]


@pytest.mark.parametrize("path", OUT, ids=lambda path: repr(path)[:40])
def test_an_entry_with_a_path_that_must_not_be_makes_nothing(served, share, path):
    for kind in (protocol.FILE, DIRECTORY, LINK):
        if path == b"" and kind == DIRECTORY:
            continue  # is the session's directory itself
        with Peer(served.port) as peer:
            peer.greet()
            peer.open(b"share")
            peer.send(offer(0, entry(path, kind, target=b"x", size=4)), body(0, b"evil"))
            with contextlib.suppress(Closed):
                assert peer.result()[0] == FAILED
    assert whole(share) == {} and [name for name in os.listdir(share) if name != "sub"] == []
    assert not os.path.exists("/tmp/eacopy-absolute")
    still_serves(served, share)


@pytest.mark.parametrize("path", [b"..", b"../outside/secret", b"/etc/passwd", b"sub/../../outside", b"a//b", b"."])
def test_listing_and_fetching_stay_inside(served, share, path):
    (share / "sub").mkdir()
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share", 0)
        with contextlib.suppress(Closed):
            entries, failures = peer.listed(path)
            assert entries == [] and failures
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share", 0)
        peer.send(protocol.fetch(0, path))
        with contextlib.suppress(Closed):
            peer.receive(protocol.ABANDON)
    still_serves(served, share)


@pytest.mark.parametrize(
    "directory",
    [
        *(b"..", b"share/..", b"share/../outside", b"share/../share/../outside", b"share/link", b"share/link/deeper"),
        *(b"outside", b"", b"/", b".", b"share/./sub", b"SHARE/../outside", b"share\0/x", b"/etc", b"C:/", b"share2"),
        *(b"//share", b"share//sub", b"share/sub/", b"./share", b"{outside}", b"{outside}/new", b"{parent}"),
        *(b"{parent}/share/../outside", b"{parent}/share/link", b"{parent}/share2", b"{parent}/shar"),
    ],
)
@pytest.mark.parametrize("flags", [0, WRITE, WRITE | TREE])
def test_no_session_is_opened_outside(served, share, outside, directory, flags):
    os.symlink(outside, share / "link")
    for part, value in ((b"{outside}", outside), (b"{parent}", share.parent)):
        directory = directory.replace(part, os.fsencode(value))
    with Peer(served.port) as peer:
        peer.greet()
        try:
            peer.open(directory, flags)
        except Refused as refused:
            assert not refused.failure.path.startswith(b"/") and b"must not" not in refused.failure.text
        except Closed:
            pass
        else:
            # It is another way to write a place inside: whatever is made there is in the share.
            if flags & WRITE:
                assert peer.push(0, b"proof", b"inside") == STORED
                assert b"inside" in whole(share).values()
            else:
                entries, _ = peer.listed()
                assert b"secret" not in [os.path.basename(path) for _, path, _ in entries]
    assert sorted(os.listdir(share.parent)) == ["outside", "share"]


def test_absolute_paths_inside_of_a_share_are_served(served, share):
    with Peer(served.port) as peer:
        peer.greet()
        assert peer.open(os.fsencode(share) + b"/sub") == 2
        assert peer.push(0, b"file", b"content") == STORED
    assert whole(share) == {b"sub/file": b"content"}


def test_whatever_is_outside_looks_the_same_from_outside(server_backend, share, outside):
    """Nobody finds out which files there are."""
    with Pair("portable", server_backend).serving(share, mode="file") as served:
        for flags in (0, WRITE, WRITE | TREE):
            said = set()
            for name in (outside, outside / "secret", outside / "missing", "/missing/altogether", "/etc"):
                with Peer(served.port) as peer:
                    peer.greet()
                    with pytest.raises(Refused) as refused:
                        peer.open(os.fsencode(name), flags)
                    failure = refused.value.failure
                    said.add((failure.kind, failure.operation, failure.errno, failure.text))
            assert len(said) == 1 and next(iter(said))[0] == PERMISSION_DENIED, said


def test_links_that_lead_out_are_not_followed(served, share, outside):
    os.symlink(outside, share / "link")
    os.symlink(outside / "secret", share / "file")
    os.symlink(outside / "new", share / "dangling")
    os.symlink("../outside", share / "relative")
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        inside = (b"link/new", b"link/secret", b"relative/new", b"link/deep/new", b"relative/secret")
        for number, path in enumerate(inside):
            assert peer.push(number, path, b"must not see") == FAILED, path
        number = len(inside)
        for path in (b"link", b"relative", b"link/sub"):
            peer.send(offer(number, entry(path, DIRECTORY, flags=2, mode=0o777)))
            peer.result()  # made in the link's place, or an error; but never behind it
            number += 1
        peer.send(offer(number, entry(b"link/made", LINK, target=b"x")))
        assert peer.result()[0] == FAILED
        # A link is replaced, not written through.
        assert peer.push(number + 1, b"file", b"new") == STORED
        assert peer.push(number + 2, b"dangling", b"new") == STORED
        assert not os.path.islink(share / "file") and trees.read(share / "dangling") == b"new"
    os.unlink(share / "file")
    os.symlink(outside / "secret", share / "file")
    for name in ("link", "relative"):
        shutil.rmtree(share / name) if not os.path.islink(share / name) else os.unlink(share / name)
        os.symlink(outside, share / name)
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share", 0)
        entries, _ = peer.listed()
        assert not [path for _, path, _ in entries if b"/" in path]
        assert {path: target for kind, path, target in entries if kind == LINK} == {
            b"link": os.fsencode(outside),
            b"relative": os.fsencode(outside),
            b"file": os.fsencode(outside / "secret"),
        }
        for path in (b"link", b"link/secret"):
            entries, failures = peer.listed(path)
            assert not [found for kind, found, _ in entries if kind != LINK]
        peer.send(protocol.fetch(0, b"file", b"link/secret", b"relative/secret", b"link"))
        for _ in range(4):
            peer.receive(protocol.ABANDON)


def test_a_link_that_the_client_made_itself_leads_nowhere(served, share, outside):
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        target = os.fsencode(outside)
        peer.send(offer(0, entry(b"way", LINK, target=target), entry(b"one", LINK, target=target + b"/secret")))
        assert [code for _, code, _ in peer.results(2)] == [MADE, MADE]
        assert peer.push(2, b"way/secret", b"must not") == FAILED
        assert peer.push(3, b"one", b"replaced") == STORED
        peer.send(offer(4, entry(b"way", DIRECTORY, flags=2, mode=0o777)))
        peer.result()
        peer.send(protocol.fetch(0, b"way/secret"))
        peer.receive(protocol.ABANDON)
    assert trees.read(share / "one") == b"replaced" and not os.path.islink(share / "one")


def test_a_link_swapped_in_while_a_file_is_written_leads_nowhere(served, share, outside):
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        peer.send(offer(0, entry(b"sub/secret", size=8)))
        assert peer.result() == (SEND, None)
        peer.send(protocol.begin(0, 8), message(DATA, b"evil"))
        serving.until(lambda: serving.leftovers(share), "nothing is written yet")
        os.rename(share / "sub", share / "moved")
        os.symlink(outside, share / "sub")
        peer.send(message(DATA, b"evil"), protocol.end(zlib.crc32(b"evilevil")))
        code, _ = peer.result()
        assert code in (STORED, FAILED)
        # The server may have kept the directory open, or have found the link; but it must not follow it.
        assert peer.push(1, b"sub/new", b"evil", mtime=time.time_ns()) in (STORED, FAILED)
    until_tidy(share, outside)
    assert os.path.islink(share / "sub") and os.listdir(outside) == ["secret"]


def test_a_directory_that_is_swapped_for_a_link_all_the_time_is_never_followed(served, share, outside):
    (share / "real").mkdir()
    over = threading.Event()

    def swap():
        os.symlink(outside, share / "link")
        while not over.is_set():
            for name in ("real", "link"):
                with contextlib.suppress(OSError):
                    os.rename(share / name, share / "sub")
                with contextlib.suppress(OSError):
                    os.rename(share / "sub", share / name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        limit, number = time.monotonic() + 1.5, 0
        while time.monotonic() < limit:
            with Peer(served.port) as peer:  # a new session has no directory open
                peer.greet()
                peer.open(b"share")
                for _ in range(20):
                    assert peer.push(number, b"sub/secret", b"evil", mtime=time.time_ns()) in (STORED, FAILED)
                    number += 1
    finally:
        over.set()
        swapper.join()
    assert number >= 20 and os.listdir(outside) == ["secret"]


def test_reading_only_means_reading_only(served, share):
    trees.write(share / "there", b"old")
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share", 0)
        peer.send(offer(0, entry(b"new", size=3), entry(b"there", size=3), entry(b"dir", DIRECTORY)), body(0, b"new"))
        with contextlib.suppress(Closed):
            assert all(code == FAILED for _, code, _ in peer.results(3))
    assert whole(share) == {b"there": b"old"} and os.listdir(share) == ["there"]


def test_one_client_cannot_use_a_share_through_the_name_of_another(server_backend, tmp_path):
    for name in ("a", "ab"):
        (tmp_path / name).mkdir()
        trees.write(tmp_path / name / "file", name.encode())
    shares = {"a": tmp_path / "a", "ab": tmp_path / "ab"}
    with Pair("portable", server_backend).serving({name: str(path) for name, path in shares.items()}) as served:
        for directory, content in ((b"a", b"a"), (b"ab", b"ab"), (os.fsencode(tmp_path / "ab"), b"ab")):
            with Peer(served.port) as peer:
                peer.greet()
                peer.open(directory, 0)
                peer.send(protocol.fetch(0, b"file"))
                assert peer.receive(BODY).data[20:] == content


@pytest.mark.parametrize("shares", [True, False], ids=["shares", "no shares"])
def test_a_hostile_server_cannot_write_outside_of_the_destination(client_backend, tmp_path, outside, shares):
    """A pull trusts no name in a listing."""
    names = [
        b"../outside/evil",
        b"/tmp/eacopy-absolute",
        b"..",
        b"a/../../outside/evil",
        b"link/evil",
        b"a//b",
        b"x\0y",
    ]
    for name in names:
        entries = [entry(b"", DIRECTORY, mode=0o755), entry(b"link", LINK, target=os.fsencode(outside))]
        entries += [entry(name, size=4), entry(b"honest", size=4)]
        if not shares:
            entries.insert(2, entry(os.path.dirname(name) or b"dir", DIRECTORY, mode=0o755))

        def talk(connection, entries=entries):
            connection.open()
            while True:
                kind, payload = connection.receive()
                if kind == protocol.LIST:
                    listed = struct.pack("<I", len(entries)) + b"".join(entries)
                    connection.send(message(protocol.ENTRIES, listed), message(protocol.LISTED, struct.pack("<I", 0)))
                elif kind == protocol.FETCH:
                    first, count = struct.unpack_from("<II", payload)
                    for index in range(first, first + count):
                        connection.send(body(index, b"evil"))
                elif kind == protocol.GOODBYE:
                    return

        destination = tmp_path / "copy"
        with Rogue(talk) as rogue, contextlib.suppress(py_eacopy.EACopyError, shutil.Error):
            py_eacopy.copy_with_server(
                f"eacopy://127.0.0.1:{rogue.port}/share", destination, timeout=3, config=Config(backend=client_backend)
            )
        assert sorted(os.listdir(tmp_path)) in (["copy", "outside"], ["outside"])
        assert not os.path.exists("/tmp/eacopy-absolute")
        shutil.rmtree(destination, ignore_errors=True)


# Tokens ----------------------------------------------------------------------------------------------------------


class Rogue:
    """A server that is played by hand, for one client's backend: `talk` is called for each connection."""

    class Connection:
        def __init__(self, socket_, flags):
            self.socket, self.flags, self.heard = socket_, flags, []
            self.transcript = b""

        def send(self, *messages):
            self.socket.sendall(b"".join(messages))

        def take(self, size):
            data = b""
            while len(data) < size:
                more = self.socket.recv(size - len(data))
                if not more:
                    raise Closed
                data += more
            return data

        def receive(self):
            """Type and payload of the next message."""
            header = self.take(8)
            size, kind = struct.unpack_from("<IB", header)
            payload = self.take(size - 8)
            self.last = header + payload
            self.heard.append(kind)
            return kind, payload

        def greet(self):
            version = protocol.version(self.flags)
            self.send(version)
            kind, _ = self.receive()
            answer = protocol.welcome()
            self.send(answer)
            self.transcript = version + self.last + answer
            return kind

        def open(self, what=2):
            self.greet()
            self.receive()
            self.send(message(protocol.OPENED, bytes([what, 0, 0, 0])))

    def __init__(self, talk, flags=protocol.EXTENDED):
        self._talk, self._flags = talk, flags
        self.connections, self.problems = [], []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(20)
            self.connections.append(self.Connection(connection, self._flags))
            try:
                self._talk(self.connections[-1])
            except (Closed, OSError):
                pass
            except BaseException as problem:
                self.problems.append(problem)
            finally:
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)
        assert not self._thread.is_alive() and not self.problems, self.problems

    @property
    def heard(self):
        """Types of all messages of all connections."""
        return [kind for connection in self.connections for kind in connection.heard]


def assert_refused(error):
    assert isinstance(error, PermissionError), error
    assert error.kind is ErrorKind.PERMISSION_DENIED and error.operation is Operation.AUTHENTICATE and error.root


def test_a_peer_that_knows_the_token_is_served(server_backend, share):
    with Pair("portable", server_backend).serving(share, mode="token") as served, Peer(served.port) as peer:
        assert peer.flags & protocol.TOKEN_REQUIRED and not peer.flags & protocol.USE_SECURITY_FILE
        peer.greet()
        peer.prove(TOKEN)
        peer.open(b"share")
        assert peer.push(0, b"file", b"content") == STORED
    assert whole(share) == {b"file": b"content"}


@pytest.mark.parametrize(
    "wrong",
    [
        "zeros",
        "short",
        "long",
        "other token",
        "server's words",
        "other transcript",
        "no proof",
        "open first",
        "offer first",
    ],
)
def test_a_peer_without_the_token_gets_nothing(server_backend, share, wrong):
    with Pair("portable", server_backend).serving(share, mode="token") as served, Peer(served.port) as peer:
        peer.greet()
        right = protocol.proof("client", TOKEN, peer.transcript)
        sent = {
            "zeros": [message(PROOF, bytes(32))],
            "short": [message(PROOF, right[:31])],
            "long": [message(PROOF, right + b"\0")],
            "other token": [message(PROOF, protocol.proof("client", TOKEN + "x", peer.transcript))],
            "server's words": [message(PROOF, protocol.proof("server", TOKEN, peer.transcript))],
            "other transcript": [message(PROOF, protocol.proof("client", TOKEN, peer.transcript[1:]))],
            "no proof": [],
            "open first": [protocol.open_(b"share", WRITE | TREE)],
            "offer first": [offer(0, entry(b"file", size=4)), body(0, b"evil")],
        }[wrong]
        already = len(peer.received)
        rest = [protocol.open_(b"share", WRITE | TREE), offer(0, entry(b"file", size=4)), body(0, b"evil")]
        peer.send(*sent, *rest)
        peer.ending()
        kinds = [kind for kind, _ in protocol.messages(bytes(peer.received[already:]))]
        assert PROOF_ACCEPTED not in kinds and protocol.OPENED not in kinds
        serving.until(lambda: served.server.get_stats()["errors"] >= 1, "the attempt is not counted")
    assert os.listdir(share) == []


def test_nothing_of_plain_v20_is_served_where_a_token_is_required(server_backend, share):
    trees.write(share / "file", b"content")
    name = "share\\".encode("utf-16-le") + bytes(4)
    environment = struct.pack("<IB3xIII", 36 + len(name), 5, 1, 1, 20) + bytes(range(16)) + name
    report = struct.pack("<IB3x", 8, 9)
    find = struct.pack("<IB3x", 12 + 6, 7) + "*.*".encode("utf-16-le") + bytes(4)
    for first in (environment, report, find, struct.pack("<IB3x", 8, 8)):
        with Pair("portable", server_backend).serving(share, mode="token") as served, Peer(served.port) as peer:
            peer.send(first, report, find)
            with pytest.raises(Closed):
                peer.take(1)
    with Pair("portable", server_backend).serving(share, mode="token") as served, Peer(served.port) as peer:
        peer.greet()
        peer.send(report)
        with pytest.raises(Closed):
            if peer.raw()[0] == protocol.GOODBYE:
                peer.take(1)


def test_a_recorded_conversation_is_worth_nothing(pair, share, source):
    with pair.serving(share, mode="token") as served:
        with relay.Relay(served.port) as wire:
            served.push(source, "share/copy", port=wire.port)
            said = [bytes(conversation.to_server) for conversation in wire.conversations]
        shutil.rmtree(share / "copy")
        for words in said:
            with Peer(served.port) as peer:
                peer.send(words)
                peer.ending()
                assert protocol.OPENED not in [kind for kind, _ in protocol.messages(bytes(peer.received))]
        assert os.listdir(share) == []


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_the_token_never_crosses_the_wire(pair, share, source, tmp_path, push):
    trees.make_small_tree(str(share / "there"))
    with pair.serving(share, mode="token") as served:
        with relay.Relay(served.port) as wire:
            if push:
                served.push(source, "share/copy", port=wire.port)
            else:
                served.pull("share/there", tmp_path / "copy", port=wire.port)
            said = [wire.recorded("to_server"), wire.recorded("to_client")]
        assert all(len(words) > 200 for words in said)
        for token in (TOKEN.encode(), TOKEN.encode("utf-16-le"), TOKEN[:12].encode(), TOKEN[-12:].encode()):
            assert not any(token in words for words in said)
        proofs = [payload[8:] for kind, payload in protocol.messages(said[0][:]) if kind == PROOF]
        assert proofs and all(len(one) == 32 for one in proofs)


def test_proofs_are_fresh_each_time(pair, share, source):
    with pair.serving(share, mode="token") as served, relay.Relay(served.port) as wire:
        for _ in range(3):
            served.push(source, "share/copy", port=wire.port)
        proofs, nonces = [], []
        for conversation in wire.conversations:
            for kind, payload in protocol.messages(bytes(conversation.to_server)):
                proofs += [payload] if kind == PROOF else []
                nonces += [payload[16:48]] if kind == protocol.HELLO else []
            start = struct.unpack_from("<I", conversation.to_client)[0]
            for kind, payload in protocol.messages(bytes(conversation.to_client[start:])):
                nonces += [payload[16:48]] if kind == protocol.WELCOME else []
    assert len(proofs) >= 3 and len(set(proofs)) == len(proofs)
    assert len(nonces) == 2 * len(proofs) and len(set(nonces)) == len(nonces)


@pytest.mark.parametrize("token", [None, "another", TOKEN + " ", TOKEN.upper()])
def test_a_client_with_a_wrong_token_or_none_is_refused(pair, share, source, tmp_path, token):
    with pair.serving(share, mode="token") as served:
        for copy in (
            lambda: served.push(source, "share/copy", token=token),
            lambda: served.pull("share", tmp_path / "copy", token=token),
        ):
            with pytest.raises(py_eacopy.EACopyError) as caught:
                copy()
            assert_refused(caught.value)
    assert os.listdir(share) == [] and not os.path.exists(tmp_path / "copy")


@pytest.mark.parametrize("mode", ["open", "file"])
def test_a_client_with_a_token_does_not_trust_a_server_without_one(pair, share, source, mode):
    with pair.serving(share, mode=mode) as served:
        with pytest.raises(py_eacopy.EACopyError) as caught:
            served.push(source, "share/copy", token=TOKEN)
        assert_refused(caught.value)
    assert os.listdir(share) == []


@pytest.mark.parametrize("flags", [0, protocol.EXTENDED, protocol.TOKEN_REQUIRED, 1, 1 | protocol.EXTENDED])
def test_a_client_with_a_token_tells_a_server_without_one_nothing(client_backend, source, flags):
    with Rogue(lambda connection: (connection.send(protocol.version(flags)), connection.receive()), flags) as rogue:
        with pytest.raises(py_eacopy.EACopyError) as caught:
            py_eacopy.copy_with_server(
                source,
                f"eacopy://127.0.0.1:{rogue.port}/share/copy",
                token=TOKEN,
                timeout=5,
                config=Config(backend=client_backend),
            )
        assert_refused(caught.value)
    assert set(rogue.heard) <= {protocol.HELLO}


@pytest.mark.parametrize("answer", ["reflected", "zeros", "short", "client's words", "none", "opened"])
def test_a_client_with_a_token_wants_the_server_to_prove_that_it_knows_it(client_backend, source, answer):
    """The server sees a right proof, and must not be able to make its own of it."""

    def talk(connection):
        connection.greet()
        kind, sent = connection.receive()
        assert kind == PROOF and sent == protocol.proof("client", TOKEN, connection.transcript)
        if answer == "opened":
            connection.send(message(protocol.OPENED, bytes([2, 0, 0, 0])))
        elif answer != "none":
            said = {"reflected": sent, "zeros": bytes(32), "short": sent[:16]}.get(
                answer, protocol.proof("client", TOKEN, connection.transcript)
            )
            connection.send(message(PROOF_ACCEPTED, said))
            connection.receive()

    with Rogue(talk, protocol.EXTENDED | protocol.TOKEN_REQUIRED) as rogue:
        with pytest.raises(py_eacopy.EACopyError) as caught:
            py_eacopy.copy_with_server(
                source,
                f"eacopy://127.0.0.1:{rogue.port}/share/copy",
                token=TOKEN,
                timeout=5,
                config=Config(backend=client_backend),
            )
        assert caught.value.root
        if answer != "none":
            assert caught.value.kind is not ErrorKind.UNKNOWN
    assert protocol.OPEN not in rogue.heard and OFFER not in rogue.heard


@pytest.mark.parametrize(
    "direction, position, bits",
    [
        ("to_client", 12, 0x01),  # in Version: the security file's flag
        ("to_client", 14, 0x01),  # Extended
        ("to_client", 14, 0x02),  # TokenRequired
        ("to_client", 14, 0x03),
        ("to_client", 16, 0x01),  # the text
        ("to_server", 12, 0x01),  # in Hello: capabilities
        ("to_server", 20, 0xFF),  # the nonce
        ("to_server", 50, 0x01),  # the proof
    ],
)
def test_nobody_in_between_can_alter_what_is_agreed_on(pair, share, source, direction, position, bits):
    with pair.serving(share, mode="token") as served:
        ways = {direction: relay.Way(alter={position: bits})}
        with relay.Relay(served.port, **ways) as wire:
            with pytest.raises(py_eacopy.EACopyError) as caught:
                served.push(source, "share/copy", port=wire.port, timeout=5)
            assert caught.value.root
            assert protocol.OPEN not in [kind for kind, _ in protocol.messages(wire.recorded("to_server"))]
    assert os.listdir(share) == []


# The security file -----------------------------------------------------------------------------------------------


@pytest.fixture
def proving(server_backend, share, outside):
    """A server that wants the security file's proof."""
    with Pair("portable", server_backend).serving(share, mode="file") as served:
        yield served


def test_the_security_file_is_private_and_gone_afterwards(proving, share):
    (share / "there").mkdir()
    seen = set()
    for _ in range(3):
        with Peer(proving.port) as peer:
            assert peer.flags & protocol.USE_SECURITY_FILE
            peer.greet()
            peer.send(protocol.open_(b"share/there", WRITE | TREE))
            guid, path = peer.wanted_proof()
            assert path == os.fsencode(os.path.realpath(share)) + b"/there/.f" + protocol.guid_text(guid).encode()
            status = os.lstat(path)
            assert stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
            assert status.st_size == 16 and status.st_uid == os.geteuid() and status.st_nlink == 1
            secret = trees.read(path)
            assert secret != bytes(16) and guid != secret
            seen |= {guid, secret}
            # Until then nothing is served.
            peer.send(message(SECRET, secret))
            peer.receive(protocol.OPENED)
            assert os.listdir(share / "there") == []
            assert peer.push(0, b"file", b"content", mtime=time.time_ns()) == STORED
            os.unlink(share / "there" / "file")
    assert len(seen) == 6


@pytest.mark.parametrize("answer", ["wrong", "zeros", "guid", "short", "hang up", "offer"])
def test_a_failed_proof_opens_nothing_and_leaves_nothing(proving, share, answer):
    (share / "there").mkdir()
    for directory in (b"share/new/deep/er", b"share/there", b"share/there/new", b"share"):
        with Peer(proving.port) as peer:
            peer.greet()
            peer.send(protocol.open_(directory, WRITE | TREE))
            guid, path = peer.wanted_proof()
            assert os.path.exists(path)
            secret = trees.read(path)
            if answer != "hang up":
                sent = {
                    "wrong": bytes([secret[0] ^ 1]) + secret[1:],
                    "zeros": bytes(16),
                    "guid": guid,
                    "short": secret[:15],
                }.get(answer)
                first = message(SECRET, sent) if sent is not None else offer(0, entry(b"x", DIRECTORY))
                peer.send(first, offer(0, entry(b"evil", DIRECTORY)))
                failure = peer.ending()
                assert failure is None or failure.kind != 0
                assert protocol.OPENED not in [kind for kind, _ in protocol.messages(bytes(peer.received))]
        serving.until(
            lambda: trees.snapshot(share, metadata=False) == {b"": ("directory",), b"there": ("directory",)},
            "something is left: %r" % (sorted(trees.snapshot(share, metadata=False)),),
        )


def test_the_secret_is_good_for_further_connections_while_one_is_open(proving, share):
    with Peer(proving.port) as first:
        first.greet()
        first.send(protocol.open_(b"share/copy", WRITE | TREE))
        _, path = first.wanted_proof()
        secret = trees.read(path)
        first.send(message(SECRET, secret))
        first.receive(protocol.OPENED)
        with Peer(proving.port) as second:
            second.greet()
            second.send(protocol.open_(b"share/copy", WRITE | TREE, secret=secret, index=2))
            second.receive(protocol.OPENED)
            assert second.push(0, b"file", b"content") == STORED
        for other in (bytes([secret[0] ^ 1]) + secret[1:], b"\1" * 16):
            with Peer(proving.port) as third:
                third.greet()
                third.send(protocol.open_(b"share/copy", WRITE | TREE, secret=other, index=2))
                third.ending()
                assert protocol.OPENED not in [kind for kind, _ in protocol.messages(bytes(third.received))]
    serving.until(lambda: proving.server.get_stats()["active_connections"] == 0, "connections stay")
    with Peer(proving.port) as late:
        late.greet()
        late.send(protocol.open_(b"share/copy", WRITE | TREE, secret=secret, index=2))
        late.ending()
        assert protocol.OPENED not in [kind for kind, _ in protocol.messages(bytes(late.received))]


def test_a_proof_for_one_directory_is_none_for_another(server_backend, tmp_path):
    shares = {name: str(tmp_path / name) for name in ("mine", "other")}
    for path in shares.values():
        os.mkdir(path)
    with Pair("portable", server_backend).serving(shares, mode="file") as served, Peer(served.port) as first:
        first.greet()
        first.send(protocol.open_(b"mine", WRITE | TREE))
        _, path = first.wanted_proof()
        secret = trees.read(path)
        first.send(message(SECRET, secret))
        first.receive(protocol.OPENED)
        with Peer(served.port) as second:
            second.greet()
            second.send(protocol.open_(b"other", WRITE | TREE, secret=secret, index=2))
            second.ending()
            kinds = [kind for kind, _ in protocol.messages(bytes(second.received))]
            assert protocol.OPENED not in kinds
    assert os.listdir(shares["other"]) == []


@pytest.mark.parametrize("trap", ["another name", "link", "too long", "too short", "directory", "fifo", "up"])
def test_a_client_reads_no_file_that_is_no_proof(client_backend, source, tmp_path, trap):
    """A hostile server asks for another file of the user."""
    guid = bytes(range(16))
    name = ".f" + protocol.guid_text(guid)
    path, content = tmp_path / name, b"0123456789abcdef"
    if trap == "another name":
        path = tmp_path / "private key"
    elif trap == "up":
        path = tmp_path / name / ".." / "private key"
        (tmp_path / name).mkdir()
    if trap == "link":
        trees.write(tmp_path / "private key", content)
        os.symlink(tmp_path / "private key", path)
    elif trap == "directory":
        path.mkdir()
    elif trap == "fifo":
        os.mkfifo(path)
    else:
        trees.write(path, {"too long": content + b"g", "too short": content[:15]}.get(trap, content))
    secrets = []

    def talk(connection):
        connection.greet()
        connection.receive()
        connection.send(message(protocol.PROVE, guid + protocol.str16(os.fsencode(path))))
        kind, payload = connection.receive()
        assert kind == SECRET
        secrets.append(payload)

    with Rogue(talk, protocol.EXTENDED | protocol.USE_SECURITY_FILE) as rogue:
        with pytest.raises(py_eacopy.EACopyError) as caught:
            py_eacopy.copy_with_server(
                source,
                f"eacopy://127.0.0.1:{rogue.port}/share/copy",
                timeout=5,
                config=Config(backend=client_backend),
            )
        assert_refused(caught.value)
    assert secrets in ([], [bytes(16)])


def test_a_client_that_cannot_read_the_file_is_refused(pair, share, source, tmp_path):
    with pair.serving(share, mode="file") as served:
        # The relay is on this machine; but the answer is spoilt.
        with relay.Relay(served.port) as wire:
            served.push(source, "share/copy/deeper", port=wire.port)
            said = wire.recorded("to_server")
        at = next(said.index(whole) + 8 for kind, whole in protocol.messages(said) if kind == SECRET)
        with relay.Relay(served.port, to_server=relay.Way(alter={at: 1})) as wire:
            with pytest.raises(py_eacopy.EACopyError) as caught:
                served.push(source, "share/evil/deeper", port=wire.port)  # as long as the other
            assert_refused(caught.value)
    assert os.listdir(share) == ["copy"]


# The history and links -------------------------------------------------------------------------------------------


def inode(path):
    return os.stat(path).st_ino


def test_no_share_serves_what_another_has_seen(pair, tmp_path, source):
    shares = {name: str(tmp_path / name) for name in ("a", "b")}
    for path in shares.values():
        os.mkdir(path)
    with pair.serving(shares, use_hash=True) as served:
        served.push(source, "a/copy")
        report = served.push(source, "b/copy")
        assert (report.files_copied, report.files_linked, report.files_skipped) == (4, 0, 0)
        # Another content under the same key must not come back to the first share.
        trees.write(source / "sub" / "small", b"CONTENT")
        os.utime(source / "sub" / "small", ns=(1, os.stat(tmp_path / "a" / "copy" / "sub" / "small").st_mtime_ns))
        served.push(source, "b/poison")
        report = served.push(source, "a/again")
        assert report.files_linked == 4 or report.files_linked == 3
        os.unlink(source / "sub" / "small")
    names = [
        os.path.join(where, name) for path in shares.values() for where, _, names in os.walk(path) for name in names
    ]
    inodes = {name: inode(name) for name in names if not os.path.islink(name)}
    of_a = {number for name, number in inodes.items() if name.startswith(shares["a"])}
    of_b = {number for name, number in inodes.items() if name.startswith(shares["b"])}
    assert of_a and of_b and not of_a & of_b


def test_overlapping_shares_do_not_share_a_history(server_backend, tmp_path):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    shares = {"outer": str(tmp_path / "outer"), "inner": str(tmp_path / "outer" / "inner")}
    with Pair("portable", server_backend).serving(shares) as served:
        for directory in (b"outer", b"inner"):
            with Peer(served.port) as peer:
                peer.greet()
                peer.open(directory)
                assert peer.push(0, b"file", b"content") == STORED, directory


@pytest.mark.parametrize("link_mode", ["auto", "hard", "reflink", "never"])
def test_link_modes(pair, share, source, link_mode):
    with pair.serving(share, link_mode=link_mode) as served:
        served.push(source, "share/one")
        report = served.push(source, "share/two")
        assert (report.files_copied, report.files_linked) == ((4, 0) if link_mode == "never" else (0, 4))
        # Skipping is no linking.
        assert served.push(source, "share/two").files_skipped == 4
    assert trees.snapshot(share / "two") == trees.snapshot(source)
    same = [inode(share / "one" / name) == inode(share / "two" / name) for name in ("sub/small", "sub/deeper/large")]
    if link_mode == "hard":
        assert all(same)
    elif link_mode in ("never", "reflink"):
        assert not any(same)


def test_smaller_files_are_sent(pair, share, source):
    with pair.serving(share, link_min_size=300_001) as served:
        served.push(source, "share/one")
        report = served.push(source, "share/two")
    assert (report.files_copied, report.files_linked) == (2, 2)


def test_files_are_known_by_their_path_or_by_their_name(pair, share, source, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(source / "sub", moved / "elsewhere", symlinks=True)
    for link_by_name, linked in ((False, 0), (True, 3)):
        with pair.serving(share, link_by_name=link_by_name) as served:
            served.push(source, f"share/one {link_by_name}")
            report = served.push(moved, f"share/two {link_by_name}")
            assert (report.files_linked, report.files_copied) == (linked, 3 - linked)
        assert trees.snapshot(share / f"two {link_by_name}") == trees.snapshot(moved)


def test_files_are_known_by_their_content(pair, share, tmp_path):
    source, other = tmp_path / "source", tmp_path / "other"
    source.mkdir()
    other.mkdir()
    content = trees.make_bytes(2_000_003)
    trees.write(source / "name", content)
    trees.write(source / "other", b"something else")
    os.utime(source / "name", ns=(1, 1_500_000_000_000_000_000))
    trees.write(other / "another name", content)
    trees.write(other / "same size", content[:-1] + b"x")
    os.utime(other / "another name", ns=(1, 1_600_000_000_000_000_700))
    with pair.serving(share, use_hash=True) as served:
        served.push(source, "share/one")
        report = served.push(other, "share/two")
        assert (report.files_linked, report.files_copied) == (1, 1)
        assert report.bytes_sent < 2 * len(content)
    assert trees.snapshot(share / "two") == trees.snapshot(other)
    assert trees.snapshot(share / "one") == trees.snapshot(source)


def test_changing_one_name_never_changes_its_sibling(pair, share, source):
    with pair.serving(share) as served:
        served.push(source, "share/one")
        report = served.push(source, "share/two")
        assert report.files_linked == 4
        first = trees.snapshot(share / "one")
        # Content; mode alone; attributes alone: the time and size stay as they were.
        name = "sub/small"
        kept = os.stat(source / name).st_mtime_ns
        for number, change in enumerate(
            (
                lambda: os.chmod(source / name, 0o600),
                lambda: trees.set_attribute(source / name, "user.colour", b"blue!"),
                lambda: trees.write(source / name, b"longer content"),
                lambda: os.utime(source / name, ns=(1, kept + 1_000_000)),
            )
        ):
            change()
            if number < 2:
                os.utime(source / name, ns=(1, kept))
            served.push(source, "share/two")
            assert trees.snapshot(share / "one") == first, number
            assert os.stat(share / "two" / name).st_mode == os.stat(source / name).st_mode
            served.push(source, f"share/three {number}")
            assert trees.snapshot(share / f"three {number}") == trees.snapshot(source)
            assert trees.snapshot(share / "one") == first, number
        assert trees.read(share / "two" / name) == b"longer content"


def test_a_remembered_file_is_looked_at_before_it_is_linked(pair, share, source):
    with pair.serving(share) as served:
        served.push(source, "share/one")
        one = share / "one" / "sub"
        trees.write(one / "small", b"damaged")  # of the same size
        os.unlink(one / "deeper" / "large")
        os.unlink(one / "sparse")
        os.symlink("/etc/passwd", one / "sparse")
        report = served.push(source, "share/two")
        assert (report.files_copied, report.files_linked) == (3, 1)
    assert trees.snapshot(share / "two") == trees.snapshot(source)


def test_a_remembered_path_does_not_lead_out_of_the_share(pair, share, source, tmp_path):
    """The directory of a remembered file is replaced by a link to one that holds a file with the same time and size."""
    elsewhere = tmp_path / "elsewhere"
    with pair.serving(share) as served:
        served.push(source, "share/one")
        os.rename(share / "one", elsewhere)
        trees.write(elsewhere / "sub" / "small", b"private")
        os.utime(elsewhere / "sub" / "small", ns=(1, os.stat(source / "sub" / "small").st_mtime_ns))
        os.symlink(elsewhere, share / "one")
        report = served.push(source, "share/two")
    assert report.files_copied == 4 and trees.snapshot(share / "two") == trees.snapshot(source)


def test_the_history_survives_a_restart(pair, share, source, tmp_path):
    history = tmp_path / "history"
    with pair.serving(share, history_file=history) as served:
        served.push(source, "share/one")
    assert trees.read(history)[:12] == b"eacopydb003\0" and stat.S_ISREG(os.lstat(history).st_mode)
    assert [name for name in os.listdir(tmp_path) if "eacopy-" in name] == []
    with pair.serving(share, history_file=history) as served:
        assert served.server.get_stats()["history_size"] >= 4
        report = served.push(source, "share/two")
        assert (report.files_linked, report.files_copied) == (4, 0)
    (tmp_path / "other").mkdir()
    with pair.serving(tmp_path / "other", history_file=history) as served:
        report = served.push(source, "share/three")
        assert (report.files_linked, report.files_copied) == (0, 4)


def test_a_history_file_of_one_backend_is_read_by_the_other(share, source, tmp_path):
    for backend in ("native", "portable"):
        serving.need(backend, "server")
        serving.need(backend, "client")
    for number, (first, second) in enumerate((("native", "portable"), ("portable", "native"))):
        history = tmp_path / f"history {number}"
        with Pair(first, first).serving(share, history_file=history) as served:
            served.push(source, f"share/one {number}")
        with Pair(second, second).serving(share, history_file=history) as served:
            report = served.push(source, f"share/two {number}")
            assert (report.files_linked, report.files_copied) == (4, 0)


@pytest.mark.parametrize("damage", ["empty", "cookie", "cut", "noise", "huge length", "directory", "no permission"])
def test_a_damaged_history_file_is_no_reason_not_to_serve(pair, share, source, tmp_path, damage):
    history = tmp_path / "history"
    with pair.serving(share, history_file=history) as served:
        served.push(source, "share/one")
    data = trees.read(history)
    if damage == "directory":
        os.unlink(history)
        history.mkdir()
    elif damage == "no permission":
        os.chmod(history, 0)
    else:
        noise = random.Random(1)
        trees.write(
            history,
            {
                "empty": b"",
                "cookie": b"eacopydb002\0" + data[12:],
                "cut": data[:-40],
                "noise": data[:12] + bytes(noise.randrange(256) for _ in range(5_000)),
                "huge length": data[:12] + b"\xff\xff\xff\xff" + data[16:],
            }[damage],
        )
    with pair.serving(share, history_file=history) as served:
        report = served.push(source, "share/two")
        assert report.ok and report.files_copied + report.files_linked == 4
    assert trees.snapshot(share / "two") == trees.snapshot(source)


def test_a_history_file_from_elsewhere_cannot_serve_files_outside_of_the_share(pair, share, outside, tmp_path):
    """A record tells of a file outside; its key, time and size are those of the file that is pushed."""
    secret = outside / "secret"
    status = os.stat(secret)
    ticks = status.st_mtime_ns // 100 + 116_444_736_000_000_000
    path = os.fsencode(secret).replace(b"/", b"\\").decode().encode("utf-16-le")
    record = struct.pack("<HH", len(path), len("secret")) + path + struct.pack("<QQ", status.st_size, ticks) + bytes(16)
    history = tmp_path / "history"
    trees.write(history, b"eacopydb003\0" + record + bytes(2))
    source = tmp_path / "source"
    source.mkdir()
    trees.write(source / "secret", b"x" * status.st_size)
    os.utime(source / "secret", ns=(1, status.st_mtime_ns))
    with pair.serving(share, history_file=history) as served:
        report = served.push(source, "share/copy")
        assert report.files_copied == 1
    assert trees.read(share / "copy" / "secret") == b"x" * status.st_size


# Messages that must not be ---------------------------------------------------------------------------------------


def header(size, kind, level=0):
    return struct.pack("<IBBH", size, kind, level, 0)


def packed(data, unpacked=None, level=3):
    size = struct.pack("<I", len(data) if unpacked is None else unpacked)
    return message(PACKED, size + serving.zstd().compress(data), level=level)


BEFORE_OPEN = {
    "size 0": lambda: header(0, OFFER),
    "size 7": lambda: header(7, OFFER),
    "oversized": lambda: header(protocol.LARGEST + 1, OFFER),
    "4 GiB": lambda: header(0xFFFFFFFF, OFFER),
    "unknown type": lambda: message(55),
    "type 255": lambda: message(255),
    "a server's type": lambda: message(protocol.WELCOME, bytes(44)),
    "offer before open": lambda: offer(0, entry(b"file")),
    "list before open": lambda: protocol.list_(),
    "secret before open": lambda: message(SECRET, bytes(16)),
    "proof without token": lambda: message(PROOF, bytes(32)),
    "hello again": lambda: protocol.hello(),
    "open cut off": lambda: message(protocol.OPEN, bytes(10)),
    "open with rest": lambda: message(protocol.OPEN, protocol.open_(b"share", 3)[8:] + b"x"),
    "noise": lambda: bytes(random.Random(3).randrange(256) for _ in range(2_000)),
}

AFTER_OPEN = {
    **{name: BEFORE_OPEN[name] for name in ("size 0", "size 7", "oversized", "4 GiB", "unknown type", "noise")},
    **{name: BEFORE_OPEN[name] for name in ("hello again", "proof without token", "a server's type")},
    "open again": lambda: protocol.open_(b"share", 3),
    "offer without entries in it": lambda: message(OFFER, struct.pack("<II", 0, 5)),
    "offer of 4 billion": lambda: message(OFFER, struct.pack("<II", 0, 0xFFFFFFFF)),
    "offer with rest": lambda: message(OFFER, offer(0, entry(b"x", DIRECTORY))[8:] + b"x"),
    "unknown type of entry": lambda: offer(0, entry(b"x", 9)),
    "type of entry 0": lambda: offer(0, entry(b"x", 0)),
    "path longer than the message": lambda: message(OFFER, struct.pack("<II", 0, 1) + entry(b"x")[:-3] + b"\xff\xffx"),
    "attributes that are not there": lambda: offer(0, entry(b"x", flags=1)),
    "body that nobody asked for": lambda: body(5, b"evil"),
    "body cut off": lambda: message(BODY, bytes(10)),
    "data without begin": lambda: message(DATA, b"evil"),
    "hole without begin": lambda: protocol.hole(5),
    "end without begin": lambda: protocol.end(0),
    "begin that nobody asked for": lambda: protocol.begin(5, 10),
    "digest that nobody asked for": lambda: message(protocol.DIGEST, bytes(20)),
    "abandon that nobody asked for": lambda: message(protocol.ABANDON, struct.pack("<I", 9) + protocol.goodbye()[8:]),
    "goodbye cut off": lambda: message(protocol.GOODBYE, b"\0\0"),
    "text longer than the message": lambda: message(protocol.GOODBYE, bytes(24) + b"\xff\xff"),
    "fetch of 4 billion": lambda: message(protocol.FETCH, struct.pack("<IIB3x", 0, 0xFFFFFFFF, 0)),
    "fetch whose numbers overflow": lambda: protocol.fetch(0xFFFFFFFF, b"a", b"b", b"c"),
    "offer whose numbers overflow": lambda: offer(0xFFFFFFFF, entry(b"a", size=1), entry(b"b", size=1)),
    "list cut off": lambda: message(protocol.LIST, b"\1"),
    "packed without frame": lambda: message(PACKED, struct.pack("<I", 10)),
    "packed noise": lambda: message(PACKED, struct.pack("<I", 100) + os.urandom(50)),
    "packed that says too little": lambda: packed(offer(0, entry(b"x", DIRECTORY)), 10),
    "packed that says too much": lambda: packed(offer(0, entry(b"x", DIRECTORY)), 1000),
    "packed that says 4 GiB": lambda: packed(offer(0, entry(b"x", DIRECTORY)), 0xFFFFFFFF),
    "packed bomb": lambda: packed(bytes(500 << 20), 1 << 20),
    "packed in packed": lambda: packed(packed(offer(0, entry(b"x", DIRECTORY)))),
    "hello in packed": lambda: packed(protocol.hello()),
    "open in packed": lambda: packed(protocol.open_(b"share", 3)),
    "half a message in packed": lambda: packed(offer(0, entry(b"x", DIRECTORY))[:-1]),
}


def assert_broken_off(peer):
    """The server ends the connection, soon, and says no more than Goodbye."""
    peer.socket.settimeout(serving.PATIENCE)
    with pytest.raises(Closed):
        while True:
            kind, payload, _ = peer.raw()
            if kind == protocol.GOODBYE:
                assert payload[0] != 0, "Goodbye says that all is well"
            else:
                assert kind in (protocol.RESULTS, protocol.LISTED, protocol.ENTRIES, protocol.ABANDON), kind


@pytest.mark.parametrize("what", sorted(BEFORE_OPEN))
def test_what_must_not_be_said_before_open_ends_the_connection(served, share, what):
    with Peer(served.port) as peer:
        peer.greet()
        peer.send(BEFORE_OPEN[what]())
        assert_broken_off(peer)
    assert os.listdir(share) == []
    still_serves(served, share)


@pytest.mark.parametrize("what", sorted(AFTER_OPEN))
def test_what_must_not_be_said_later_ends_the_connection(served, share, what):
    if what.endswith("packed") or what.startswith("packed"):
        serving.need(served.server._config.backend, "zstd")
    said = AFTER_OPEN[what]()
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        peer.send(said)
        assert_broken_off(peer)
    assert whole(share) == {} and os.listdir(share) == []
    still_serves(served, share)


@pytest.mark.parametrize(
    "content",
    [
        [body(0, b"0123456789", crc=1)],
        [protocol.begin(0, 10), message(DATA, b"01234567890")],
        [protocol.begin(0, 10), message(DATA, b"0123456789"), protocol.end(1)],
        [protocol.begin(0, 10), message(DATA, b"012345678"), protocol.end(zlib.crc32(b"012345678"))],
        [protocol.begin(0, 10), protocol.hole(11)],
        [protocol.begin(0, 10), protocol.hole(2**63)],
        [protocol.begin(0, 10), protocol.hole(2**64 - 1), protocol.hole(11), protocol.end(0)],
        [protocol.begin(0, 10), protocol.begin(0, 10)],
        [protocol.begin(0, 10), body(0, b"0123456789")],
        [protocol.begin(0, 10), message(DATA, b"01234"), offer(1, entry(b"x", size=1)), protocol.begin(1, 1)],
        [protocol.begin(0, 2**63), protocol.hole(2**63), protocol.end(0)],
        [protocol.begin(0, 2**64 - 1), protocol.hole(2**64 - 1), protocol.end(0)],
    ],
    ids=lambda content: " ".join(str(part[4]) + ":" + str(len(part)) for part in content),
)
def test_content_that_is_not_what_it_says_is_never_stored(served, share, content):
    trees.write(share / "there", b"old content")
    for name in (b"new", b"there"):
        with Peer(served.port) as peer:
            peer.greet()
            peer.open(b"share")
            peer.send(offer(0, entry(name, size=10, mtime=time.time_ns())))
            assert peer.result() == (SEND, None)
            peer.send(*content)
            peer.socket.settimeout(serving.PATIENCE)
            codes = []
            with contextlib.suppress(Closed):
                while True:
                    codes += [result[1] for result in peer.results(1) if result[0] == 0]
                    if codes:
                        break
            assert STORED not in codes and LINKED not in codes
    assert whole(share) == {b"there": b"old content"}
    still_serves(served, share)


@pytest.mark.parametrize("content", [b"", b"short", b"01234567890"])
def test_content_that_has_changed_its_size_since_it_was_offered_is_stored_as_it_was_sent(served, share, content):
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        peer.send(offer(0, entry(b"file", size=10)))
        assert peer.result() == (SEND, None)
        peer.send(body(0, content))
        assert peer.result()[0] == STORED
        # It is not what was offered, and must not be taken for it.
        assert peer.push(1, b"file", b"0123456789") == STORED
    assert whole(share) == {b"file": b"0123456789"}


def test_a_file_that_changed_while_it_was_read_is_not_remembered(served, share):
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share/one")
        for index, said in ((0, "body"), (2, "end")):
            name = said.encode()
            peer.send(offer(index, entry(name, size=3)))
            assert peer.result() == (SEND, None)
            if said == "body":
                whole_file = bytearray(body(index, b"mix"))
                whole_file[16] = 1
                peer.send(bytes(whole_file))
            else:
                whole_file = bytearray(protocol.end(zlib.crc32(b"mix")))
                whole_file[12] = 1
                peer.send(protocol.begin(index, 3), message(DATA, b"mix"), bytes(whole_file))
            assert peer.result() == (STORED, None)
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share/two")
        for index, name in enumerate((b"body", b"end")):
            peer.send(offer(index, entry(name, size=3)))
            assert peer.result() == (SEND, None), name


def test_an_index_that_was_used_is_not_used_again(served, share):
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        assert peer.push(0, b"file", b"first") == STORED
        peer.send(body(0, b"again"))
        assert_broken_off(peer)
    assert whole(share) == {b"file": b"first"}


def test_more_offers_than_are_allowed_do_no_harm(served, share):
    """8,192 entries that are not finished is the most that a client may have."""
    with Peer(served.port) as peer:
        peer.greet()
        peer.open(b"share")
        count = 0
        with contextlib.suppress(OSError, AssertionError):
            for batch in range(60):
                entries = [entry(b"d%d/%d" % (batch, n), size=1_000_000) for n in range(1_000)]
                peer.socket.settimeout(5)
                peer.socket.sendall(offer(batch * 1_000, *entries))
                count += len(entries)
        assert count
    until_tidy(share)
    still_serves(served, share)


def plain(kind, text, before=b"", size=None):
    """A command of plain v20."""
    payload = before + text.encode("utf-16-le", "surrogatepass") + bytes(4)
    return struct.pack("<IB3x", 8 + len(payload) if size is None else size, kind) + payload


def environment(directory, secret=b"\x07" * 16):
    return plain(5, directory, struct.pack("<III", 1, 1, 20) + secret)


def write_file(path, size, mtime=133_486_382_451_234_567):
    return plain(2, path, bytes([1]) + bytes(7) + struct.pack("<QQQ", 0, mtime, size)) + bytes(4)


@pytest.mark.parametrize(
    "path",
    ["..\\outside\\evil", "..\\evil", "sub\\..\\..\\evil", "\\evil", "C:\\evil", "link\\evil", "..", ".", "a\\\\b"],
)
def test_plain_v20_stays_inside_as_well(served, share, outside, path):
    os.symlink(outside, share / "link")
    commands = {
        "write": write_file(path, 4),
        "read": plain(3, path, bytes(32)) + bytes(4),
        "make": plain(4, path),
        "delete": plain(6, path),
        "find": plain(7, path + "\\*.*"),
        "information": plain(10, path),
    }
    for name, command in commands.items():
        with Peer(served.port, timeout=5) as peer:
            peer.send(environment("share\\"), command)
            if name == "write":
                peer.send(b"evil")
            peer.send(struct.pack("<IB3x", 8, 8))
            with contextlib.suppress(Closed, socket.timeout):
                while True:
                    peer.take(1)
        if name in ("read", "find"):
            answer = bytes(peer.received)
            assert b"must not" not in answer and "secret".encode("utf-16-le") not in answer, name
    assert sorted(os.listdir(share.parent)) == ["outside", "share"]
    still_serves(served, share)


@pytest.mark.parametrize(
    "directory", ["..\\", "share\\..\\..\\", "share\\link\\", "outside\\", "C:\\", "\\", "\\\\srv\\share\\"]
)
def test_plain_v20_opens_no_directory_outside(served, share, outside, directory):
    os.symlink(outside, share / "link")
    with Peer(served.port, timeout=5) as peer:
        peer.send(environment(directory), plain(7, "*.*"), write_file("evil", 4), b"evil")
        with contextlib.suppress(OSError):
            peer.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Closed, socket.timeout):
            while True:
                peer.take(1)
        assert "secret".encode("utf-16-le") not in bytes(peer.received)
    assert sorted(os.listdir(share.parent)) == ["outside", "share"]
    still_serves(served, share)


@pytest.mark.parametrize(
    "command",
    [
        *(header(0, 2), header(5, 2), header(7, 9), header(600 << 10, 2), header(0xFFFFFFFF, 2), header(8, 11)),
        *(header(8, 31), header(12, 2) + bytes(4), header(8, 5), plain(4, "x", size=9), plain(7, "x" * 40_000)),
        *(write_file("x", 2**63), write_file("x", 2**64 - 1)),
        plain(2, "x", bytes([2]) + bytes(7) + struct.pack("<QQQ", 0, 1, 10)) + bytes(4) + b"\xff\xff\xff\xff",
        plain(2, "x", bytes([2]) + bytes(7) + struct.pack("<QQQ", 0, 1, 10)) + bytes(4) + b"\x20\0\0\0" + b"noise" * 8,
        plain(2, "x", bytes([9]) + bytes(7) + struct.pack("<QQQ", 0, 1, 10)) + bytes(4),
    ],
    ids=lambda command: command[:12].hex(),
)
def test_commands_of_plain_v20_that_must_not_be_do_no_harm(served, share, command):
    for before in (b"", environment("share\\")):
        with Peer(served.port, timeout=5) as peer:
            peer.send(before, command, bytes(64))
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(Closed, socket.timeout, OSError):
                while True:
                    peer.take(1)
    assert [name for name in os.listdir(share) if name != "x"] == [] or os.path.getsize(share / "x") == 0
    until_tidy(share)
    still_serves(served, share)


# Mutated conversations -------------------------------------------------------------------------------------------


def mutated(words, chance):
    """A conversation with something wrong in it."""
    words = bytearray(words)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(words))
        action = chance.randrange(6)
        if action == 0:
            words[at] ^= 1 << chance.randrange(8)
        elif action == 1:
            words[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\x08\0\0\0"))
        elif action == 2:
            del words[at : at + chance.randrange(1, 20)]
        elif action == 3:
            words[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 20)))
        elif action == 4:
            other = chance.randrange(len(words))
            words[at:at] = words[other : other + chance.randrange(1, 300)]
        else:
            return bytes(words[: at + 1])
    return bytes(words)


SECONDS = float(os.environ.get("PY_EACOPY_MUTATE_SECONDS", "3"))
#: The same mutations in each run of the checks; PY_EACOPY_MUTATE_SEED=0 looks for others.
SEED = int(os.environ.get("PY_EACOPY_MUTATE_SEED", "1"))


def speak(port, words):
    """Says everything, and listens until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=serving.PATIENCE) as connection:

        def say():
            with contextlib.suppress(OSError):
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)

        speaker = threading.Thread(target=say)
        speaker.start()
        try:
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
        finally:
            speaker.join()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("dialect", ["extended", "packed", "pull", "plain"])
def test_a_server_survives_mutated_conversations(server_backend, share, source, outside, dialect):
    """Nothing crashes, hangs, grows, or is written outside of the share."""
    level = 3 if dialect in ("packed", "pull") else 0
    if level:
        serving.need(server_backend, "zstd")
    seed = SEED if SEED else random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    trees.make_small_tree(str(share / "there"))
    client = server_backend if serving.why_not(server_backend, "client") is None else "portable"
    with Pair(client, server_backend).process(share, idle_timeout=10.0) as server:
        served = server.served(client)
        if dialect == "plain":
            said = [
                environment("share\\copy\\")
                + b"".join((plain(4, ""), plain(4, "sub"), plain(7, "*.*"), plain(10, "sub"), write_file("f", 7)))
                + b"content"
                + b"".join((plain(3, "f", bytes(32)) + bytes(4), plain(6, "sub"), header(8, 9), header(8, 8)))
            ]
        else:
            serving.need(client, "client")
            with relay.Relay(server.port) as wire:
                if dialect == "pull":
                    served.pull("share/there", share.parent / "back", port=wire.port, compression_level=level)
                else:
                    served.push(source, "share/copy", port=wire.port, compression_level=level)
                said = [bytes(conversation.to_server) for conversation in wire.conversations if conversation.to_server]
            shutil.rmtree(share.parent / "back", ignore_errors=True)
        assert said

        def round_(count):
            for _ in range(count):
                speak(server.port, mutated(chance.choice(said), chance))
                assert server.runs(), "the server crashed; seed %d" % seed

        round_(30)  # what it needs at most is allocated by then
        before = server.resident(), server.descriptors(), server.threads()
        limit, rounds = time.monotonic() + SECONDS, 30
        while time.monotonic() < limit:
            round_(10)
            rounds += 10
        assert server.runs()
        print(rounds, "conversations")
        serving.until(lambda: server.descriptors() <= before[1] + 20, "descriptors leak")
        serving.until(lambda: server.threads() <= before[2] + 10, "threads leak")
        assert server.resident() < before[0] + (64 << 20), "memory grows"
        until_tidy(share)
        for name in os.listdir(share):
            shutil.rmtree(share / name) if os.path.isdir(share / name) else os.unlink(share / name)
        still_serves(server, share)
        took = server.stop()
        assert took < 10
    assert sorted(os.listdir(share.parent)) == ["outside", "share", "source"]


_PULL_ALL_THE_TIME = """
import sys, threading, time, shutil, os
import py_eacopy
port, backend, source, place, push = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5] == "True"
config = py_eacopy.Config(backend=backend, thread_count=1)
limit, rounds = time.monotonic() + float(sys.argv[6]), 0
while time.monotonic() < limit:
    url = "eacopy://127.0.0.1:%d/share/there" % port
    began = time.monotonic()
    try:
        py_eacopy.copy_with_server(*((source, url) if push else (url, place)), timeout=2.0, config=config)
    except (py_eacopy.EACopyError, shutil.Error):
        pass
    assert time.monotonic() - began < 20, "it took too long"
    shutil.rmtree(place, ignore_errors=True)
    rounds += 1
left = len(os.listdir("/proc/self/fd"))
resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
print(rounds, left, resident, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_client_survives_mutated_conversations(client_backend, share, source, outside, push):
    serving.need(client_backend, "client")
    server_backend = client_backend if serving.why_not(client_backend, "server") is None else "portable"
    serving.need(server_backend, "server")
    seed = SEED if SEED else random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    trees.make_small_tree(str(share / "there"))
    place, before = share.parent / "place", trees.snapshot(source)
    with Pair(client_backend, server_backend).serving(share) as served, relay.Relay(served.port) as wire:
        if push:
            served.push(source, "share/copy", port=wire.port, thread_count=1)
        else:
            served.pull("share/there", place, port=wire.port, thread_count=1)
        said = bytes(wire.conversations[0].to_client)
    shutil.rmtree(place, ignore_errors=True)
    start = struct.unpack_from("<I", said)[0]
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            # The server's first words are left alone half of the time: else little comes after them.
            whole = mutated(said, chance) if chance.randrange(4) == 0 else said[:start] + mutated(said[start:], chance)
            connection.settimeout(5)
            connection.sendall(whole)
            while connection.recv(65536):
                pass

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-c", _PULL_ALL_THE_TIME, str(listener.getsockname()[1]), client_backend),
                *(str(source), str(place), str(push), str(SECONDS)),
            ],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS + 60,
        )
    finally:
        listener.close()
    assert done.returncode == 0, ("seed", seed, done.returncode, done.stderr[-3000:])
    rounds, descriptors, resident = map(int, done.stdout.split())
    assert rounds > 0 and descriptors < 20 and resident < 400 << 20, done.stdout
    assert trees.snapshot(source) == before
