"""The server in conversations that are played by hand: EACopy's own protocol command by command, and of the extended
dialect what no client of ours asks for in every test. Each test runs with each backend's server."""

import contextlib
import hashlib
import os
import signal
import socket
import stat
import struct
import threading
import time
import zlib

import pytest
from net import protocol, serving
from net.protocol import (
    BEGIN,
    BODY,
    DATA,
    DIGEST,
    DIRECTORY,
    END,
    FAILED,
    FILE,
    HOLE,
    LINK,
    LINKED,
    MADE,
    SEND,
    SEND_DIGEST,
    SKIPPED,
    STORED,
    Closed,
    Peer,
    entry,
    message,
    offer,
)
from net.serving import Pair

from py_eacopy.backends.portable.net import wire, zstd
from py_eacopy.backends.portable.net.wire import ReadAnswer, WriteAnswer

MTIME = 1_600_000_000_123_456_700
TIME = wire.filetime_of(MTIME)
COPY, LINK_, SKIP, HASH = map(int, (WriteAnswer.COPY, WriteAnswer.LINK, WriteAnswer.SKIP, WriteAnswer.HASH))

needs_zstd = pytest.mark.skipif(not zstd.AVAILABLE, reason="no zstd is installed for the test's own use")


@pytest.fixture
def share(tmp_path):
    directory = tmp_path / "share"
    directory.mkdir()
    return directory


@pytest.fixture
def pair(backend):
    serving.need(backend, "server")
    return Pair(backend, backend)


@pytest.fixture
def served(pair, share):
    with pair.serving(share) as served:
        yield served


class PlainPeer:
    """A client of version 20, connected, with the server's Version read."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        header = self.take(8)
        self.version = wire.decode(header + self.take(struct.unpack("<I", header[:4])[0] - 8))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise Closed("the server hung up")
            data += more
        return data

    def byte(self):
        return self.take(1)[0]

    def send(self, *what):
        self.socket.sendall(b"".join(part if isinstance(part, bytes) else wire.encode(part) for part in what))

    def hung_up(self):
        """Waits for the server to hang up; nothing may come before."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def environment(self, directory="share\\", secret=b"\1" * 16):
        self.send(wire.Environment(1, 1, 20, secret, directory))

    def push(self, path, content, time=TIME):
        """The answer, and whether the content was stored if it was asked for."""
        self.send(wire.WriteFile(wire.SEND, time, len(content), path))
        answer = self.byte()
        if answer != COPY:
            return answer, None
        self.send(content)
        return answer, self.byte()

    def pull(self, path, level=0, time=0, size=0):
        """The answer, and with Copy the file's time and content."""
        self.send(wire.ReadFile(level, time, size, path))
        answer = self.byte()
        if answer != ReadAnswer.COPY:
            return answer, None, None
        time, size = wire.decode_copy_head(self.take(16))
        content = b""
        while level and len(content) < size:
            block = self.take(struct.unpack("<I", self.take(4))[0])
            content += zstd.decompress(block, wire.BLOCK_MAXIMUM)
        return answer, time, content or self.take(size)

    def find(self, pattern):
        """The names that are found, and their entries; None when the search failed."""
        self.send(wire.FindFiles(pattern))
        found = []
        while True:
            (size,) = struct.unpack("<I", self.take(4))
            if size == wire.SEARCH_FAILED:
                return None
            if not size:
                return {entry.name: entry for entry in found}
            found += wire.decode_listing(self.take(size))

    def info(self, path):
        self.send(wire.GetFileInfo(path))
        return wire.decode_file_info(self.take(32))


def plain(served, **options):
    peer = PlainPeer(served.port)
    peer.environment(**options)
    return peer


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def leftovers(directory):
    """Names of temporary and of security files in a tree."""
    return [name for _, _, names in os.walk(directory) for name in names if name.startswith((".eacopy-", ".f"))]


# Version 20: set-up --------------------------------------------------------------------------------------------------


def test_the_version_message(served, pair, share):
    with PlainPeer(served.port) as peer:
        assert peer.version == wire.Version(20, wire.EXTENDED, peer.version.info)
        assert peer.version.info.startswith("v")
    with pair.serving(share, mode="file") as other, PlainPeer(other.port) as peer:
        assert peer.version.flags == wire.EXTENDED | wire.USE_SECURITY_FILE
    with pair.serving(share, mode="token") as other, PlainPeer(other.port) as peer:
        assert peer.version.flags == wire.EXTENDED | wire.TOKEN_REQUIRED


def test_commands_before_environment(served):
    with PlainPeer(served.port) as peer:
        assert peer.push("a", b"content") == (WriteAnswer.BAD_DESTINATION, None)
        assert peer.pull("a")[0] == ReadAnswer.BAD_SOURCE
        peer.send(wire.CreateDir("a"))
        assert peer.byte() == 1
        peer.send(wire.DeleteFiles("a"))
        assert peer.byte() == 2
        assert peer.find("*.*") is None
        assert peer.info("a").error != 0
        peer.send(wire.RequestReport())
        (count,) = struct.unpack("<I", peer.take(4))
        assert peer.take(2 * count).decode("utf-16-le").endswith("\n")
        # And the connection is as good as new.
        peer.environment()
        assert peer.push("a", b"content") == (COPY, 1)


@pytest.mark.parametrize("directory", ["nothing\\", "", "\\", "..\\", "share\\..\\", "C:\\Windows\\"])
def test_a_directory_that_is_not_shared_ends_the_connection(served, directory):
    with PlainPeer(served.port) as peer:
        peer.environment(directory)
        assert peer.hung_up()


@pytest.mark.parametrize("directory", ["share\\sub\\", "share\\sub", "SHARE\\sub\\", "\\\\server\\share\\sub\\"])
def test_forms_of_a_directory(served, share, directory):
    with plain(served, directory=directory) as peer:
        peer.send(wire.CreateDir(""))
        assert peer.byte() == 3
        assert peer.push("a", b"content") == (COPY, 1)
    assert (share / "sub" / "a").read_bytes() == b"content"


@serving.posix("looks at POSIX modes")
def test_the_security_file_of_version_20(pair, share):
    with pair.serving(share, mode="file") as served, PlainPeer(served.port) as first:
        first.environment("share\\new\\deep\\", secret=bytes(16))
        guid = first.take(16)
        path = share / "new" / "deep" / wire.proof_file_name(guid)
        found = os.stat(path)
        assert stat.S_IMODE(found.st_mode) == 0o600 and found.st_size == 16
        secret = path.read_bytes()
        first.send(secret, wire.CreateDir(""))
        assert first.byte() == 2
        assert not leftovers(share)
        with plain(served, directory="share\\new\\deep\\", secret=secret) as second:
            assert second.push("a", b"content") == (COPY, 1)
        with plain(served, directory="share\\new\\", secret=secret) as elsewhere:
            assert elsewhere.hung_up()
        with plain(served, directory="share\\new\\deep\\", secret=b"\1" * 16) as stranger:
            assert stranger.hung_up()
        first.send(wire.Done())
        assert first.take(8) == bytes(8)
        assert first.hung_up()
        serving_ends = time.monotonic() + 10
        while served.server.get_stats()["active_connections"] and time.monotonic() < serving_ends:
            time.sleep(0.01)
        with plain(served, directory="share\\new\\deep\\", secret=secret) as late:
            assert late.hung_up()


@pytest.mark.parametrize("answer", [bytes(16), b"\1" * 16, b""])
def test_a_failed_proof_leaves_nothing(pair, share, answer):
    with pair.serving(share, mode="file") as served, PlainPeer(served.port) as peer:
        peer.environment("share\\new\\deep\\", secret=bytes(16))
        peer.take(16)
        peer.send(answer)
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.hung_up()
    assert os.listdir(share) == []


# Version 20: pushes --------------------------------------------------------------------------------------------------


def test_files_are_pushed(served, share):
    with plain(served) as peer:
        for name, content in (("empty", b""), ("small", b"content"), ("large", os.urandom(3_000_000))):
            assert peer.push(name, content) == (COPY, 1)
            assert (share / name).read_bytes() == content
            assert os.stat(share / name).st_mtime_ns == MTIME
        peer.send(wire.Done())
        assert peer.take(8) == bytes(8)
    assert not leftovers(share)
    stats = served.server.get_stats()
    assert stats["files_received"] == 3 and stats["bytes_received"] > 3_000_000


@needs_zstd
@pytest.mark.parametrize("piece", [1, 1000, 1_000_003, 8_000_000])
def test_compressed_files_are_pushed(served, share, piece):
    content = b"0123456789abcdef" * (piece // 16 + 1)
    content = content[: 2 * piece + 1 if piece < 2_000_000 else piece]
    blocks = [zstd.compress(content[at : at + piece], 3) for at in range(0, len(content), piece)]
    with plain(served) as peer:
        peer.send(wire.WriteFile(wire.COMPRESSED, TIME, len(content), "file"))
        assert peer.byte() == COPY
        for block in (zstd.compress(b"", 3), *blocks):
            peer.send(struct.pack("<I", len(block)), block)
        assert peer.byte() == 1
        # Nothing at all comes for an empty one; two frames may share a block.
        peer.send(wire.WriteFile(wire.COMPRESSED, TIME, 0, "empty"))
        assert (peer.byte(), peer.byte()) == (COPY, 1)
        peer.send(wire.WriteFile(wire.COMPRESSED, TIME, 10, "two"))
        assert peer.byte() == COPY
        both = zstd.compress(b"01234", 1) + zstd.compress(b"56789", 1)
        peer.send(struct.pack("<I", len(both)), both)
        assert peer.byte() == 1
    assert (share / "file").read_bytes() == content
    assert (share / "empty").read_bytes() == b""
    assert (share / "two").read_bytes() == b"0123456789"


@needs_zstd
@pytest.mark.parametrize(
    "block",
    [
        struct.pack("<I", 8) + b"nonsense",
        struct.pack("<I", wire.BLOCK_MAXIMUM + 1),
        struct.pack("<I", 0xFFFFFFFF),
        b"overshoot",
        b"bomb",
        b"cut",
    ],
    ids=["nonsense", "too large", "largest", "overshoot", "bomb", "cut off"],
)
def test_a_block_that_cannot_be_ends_the_connection(served, share, block):
    frames = {b"overshoot": bytes(101), b"bomb": bytes(100_000_000), b"cut": os.urandom(100)}
    if block in frames:
        frame = zstd.compress(frames[block], 3)
        block = struct.pack("<I", len(frame)) + frame
        if frames[b"cut"] in frame:
            block = struct.pack("<I", len(frame) - 1) + frame[:-1]
    (share / "file").write_bytes(b"old")
    with plain(served) as peer:
        peer.send(wire.WriteFile(wire.COMPRESSED, TIME, 100, "file"))
        assert peer.byte() == COPY
        peer.send(block)
        assert peer.hung_up()
    assert (share / "file").read_bytes() == b"old"
    assert not leftovers(share)
    with plain(served) as peer:
        assert peer.push("other", b"content") == (COPY, 1)


def test_what_is_there_is_skipped(served, share):
    with plain(served) as peer:
        peer.push("file", b"content")
        assert peer.push("file", b"content") == (SKIP, None)
        assert peer.push("file", b"content", time=TIME + 1) == (COPY, 1)
        assert peer.push("file", b"longer content", time=TIME + 1) == (COPY, 1)
    write(share / "by others", b"content")
    os.utime(share / "by others", ns=(0, MTIME + 99))
    with plain(served) as peer:
        assert peer.push("by others", b"content") == (SKIP, None)  # version 20 does not know of single nanoseconds
    assert served.server.get_stats()["files_skipped"] == 2


def test_what_was_copied_before_is_linked(pair, share):
    with pair.serving(share, link_mode="hard") as served:
        with plain(served, directory="share\\one\\") as peer:
            peer.send(wire.CreateDir("sub"))
            peer.byte()
            peer.push("sub\\file", b"content")
        with plain(served, directory="share\\two\\") as peer:
            peer.send(wire.CreateDir("sub"))
            peer.byte()
            assert peer.push("sub\\file", b"content") == (LINK_, None)
            assert os.path.samefile(share / "one" / "sub" / "file", share / "two" / "sub" / "file")
            assert peer.push("SUB\\file", b"content") != (LINK_, None)
        # In place of something else, which has another name, too; then changed.
        write(share / "three" / "sub" / "file", b"something else")
        os.link(share / "three" / "sub" / "file", share / "else")
        with plain(served, directory="share\\three\\") as peer:
            assert peer.push("sub\\file", b"content") == (LINK_, None)
            assert os.path.samefile(share / "one" / "sub" / "file", share / "three" / "sub" / "file")
            assert peer.push("sub\\file", b"changed", time=TIME + 10) == (COPY, 1)
        assert (share / "else").read_bytes() == b"something else"
        assert (share / "one" / "sub" / "file").read_bytes() == b"content"
        assert (share / "three" / "sub" / "file").read_bytes() == b"changed"
        # The history is of no use when the remembered file is another one by now.
        with plain(served, directory="share\\four\\") as peer:
            peer.send(wire.CreateDir("sub"))
            peer.byte()
            (share / "one" / "sub" / "file").write_bytes(b"another")
            assert peer.push("sub\\file", b"content") == (COPY, 1)
    assert not leftovers(share)


def test_digests_are_asked_for(pair, share):
    content = os.urandom(100_000)
    with pair.serving(share, use_hash=True) as served, plain(served) as peer:
        peer.send(wire.WriteFile(wire.SEND, TIME, len(content), "first"))
        assert peer.byte() == HASH
        peer.send(hashlib.md5(content).digest())
        assert peer.byte() == COPY
        peer.send(content)
        assert peer.byte() == 1
        later = MTIME + 1_000_000
        peer.send(wire.WriteFile(wire.SEND, wire.filetime_of(later), len(content), "second"))
        assert peer.byte() == HASH
        peer.send(hashlib.md5(content).digest())
        assert peer.byte() == LINK_
        # It has the client's time, and its own content: not another name of a file of another time.
        assert (share / "second").read_bytes() == content
        assert os.stat(share / "second").st_mtime_ns == later
        assert os.stat(share / "first").st_mtime_ns == MTIME
        peer.send(wire.WriteFile(wire.SEND, TIME, len(content), "third"))
        assert peer.byte() == HASH
        peer.send(bytes(16))
        assert peer.byte() == COPY
        peer.send(content)
        assert peer.byte() == 1


def test_what_cannot_be_stored_is_read_to_its_end(served, share):
    (share / "directory").mkdir()
    with plain(served) as peer:
        for path in ("missing\\file", "directory"):
            assert peer.push(path, b"content") == (COPY, 0), path
        assert peer.push("time", b"content", time=2**64 - 1)[1] in (0, 1)
        with contextlib.suppress(FileNotFoundError):
            (share / "time").unlink()
        for path in ("..\\evil", "directory\\..\\x", "a\\\\b", ".eacopy-0123456789abcdef.tmp", ""):
            assert peer.push(path, b"content") in ((WriteAnswer.BAD_DESTINATION, None), (COPY, 0)), path
        assert peer.push("file", b"content") == (COPY, 1)
    assert sorted(os.listdir(share)) == ["directory", "file"]
    assert os.listdir(share.parent) == ["share"]


def test_an_unfinished_push_leaves_what_was_there(served, share):
    (share / "file").write_bytes(b"old")
    with plain(served) as peer:
        peer.send(wire.WriteFile(wire.SEND, TIME, 1_000_000, "file"))
        assert peer.byte() == COPY
        peer.send(bytes(500_000))
    end = time.monotonic() + 10
    while served.server.get_stats()["active_connections"] and time.monotonic() < end:
        time.sleep(0.01)
    assert (share / "file").read_bytes() == b"old"
    assert os.listdir(share) == ["file"]


@serving.posix("looks at POSIX modes")
def test_overwriting_keeps_the_mode(served, share):
    (share / "file").write_bytes(b"old")
    os.chmod(share / "file", 0o640)
    with plain(served) as peer:
        assert peer.push("file", b"content") == (COPY, 1)
    assert stat.S_IMODE(os.stat(share / "file").st_mode) == 0o640


# Version 20: pulls ---------------------------------------------------------------------------------------------------


@needs_zstd
@pytest.mark.parametrize("level", [0, 1, 22, 255])
def test_files_are_pulled(served, share, level):
    for name, content in (("empty", b""), ("small", b"content" * 100), ("large", b"0123456789abcdef" * 300_000)):
        (share / name).write_bytes(content)
        os.utime(share / name, ns=(0, MTIME))
    with plain(served) as peer:
        total = 0
        for name in ("small", "large", "empty"):
            content = (share / name).read_bytes()
            assert peer.pull(name, level) == (ReadAnswer.COPY, TIME, content)
            total += len(content)
        assert peer.pull("small", level, TIME, 700)[0] == ReadAnswer.SKIP
        assert peer.pull("empty", level, TIME, 0)[0] == ReadAnswer.SKIP
        peer.send(wire.Done())
        (weight,) = struct.unpack("<Q", peer.take(8))
        if level in (0, 1, 22):
            assert weight == total * level
        else:
            assert weight >= 700
        assert peer.hung_up()


@needs_zstd
def test_incompressible_files_are_pulled_in_frames_too(pair, share):
    content = os.urandom(5_000_000)
    (share / "file").write_bytes(content)
    for options in ({}, {"compression": False}):
        with pair.serving(share, **options) as served, plain(served) as peer:
            assert peer.pull("file", 3)[2] == content


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_what_cannot_be_pulled(served, share):
    (share / "directory").mkdir()
    os.mkfifo(share / "fifo")
    os.symlink("/etc/passwd", share / "link")
    with plain(served) as peer:
        for path in ("missing", "missing\\file", "directory", "", "fifo", "link", "..\\share\\file", "\\etc\\passwd"):
            assert peer.pull(path)[0] == ReadAnswer.BAD_SOURCE, path


def test_a_pull_may_ask_for_the_digest(pair, share):
    (share / "file").write_bytes(b"content")
    with pair.serving(share, use_hash=True) as served, plain(served) as peer:
        for digest, then in ((hashlib.md5(b"content").digest(), ReadAnswer.SKIP), (bytes(16), ReadAnswer.COPY)):
            peer.send(wire.ReadFile(0, TIME, 7, "file"))
            assert peer.byte() == ReadAnswer.HASH
            peer.send(digest)
            assert peer.byte() == then
        assert peer.take(16)[8:] == struct.pack("<Q", 7)
        assert peer.take(7) == b"content"


# Version 20: directories ---------------------------------------------------------------------------------------------


def test_directories_are_made(served, share):
    (share / "file").write_bytes(b"")
    with plain(served) as peer:
        for path, answer in (
            ("a\\b\\c", 5),
            ("a\\b\\c", 2),
            ("a\\b\\d\\", 3),
            ("", 2),
            ("file", 0),
            ("file\\x", 0),
            ("..\\x", 0),
        ):
            peer.send(wire.CreateDir(path))
            assert peer.byte() == answer, path
    assert os.listdir(share.parent) == ["share"]


def test_directories_are_emptied(served, share, tmp_path):
    outside = tmp_path / "outside"
    write(outside / "kept", b"")
    write(share / "a" / "b" / "file", b"")
    os.symlink(outside, share / "a" / "link")
    (share / "file").write_bytes(b"")
    with plain(served) as peer:
        peer.push("a\\b\\other", b"")
        for path, answer in (("a", 0), ("missing", 0), ("..\\outside", 1), ("a", 0)):
            peer.send(wire.DeleteFiles(path))
            assert peer.byte() == answer, path
        assert sorted(os.listdir(share)) == ["a", "file"] and os.listdir(share / "a") == []
        peer.send(wire.CreateDir("a\\b"))
        assert peer.byte() == 3
        assert peer.push("a\\b\\other", b"") == (COPY, 1)
        peer.send(wire.DeleteFiles(""))
        assert peer.byte() == 0
    assert os.listdir(share) == []
    assert os.listdir(outside) == ["kept"]


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_directories_are_listed(served, share):
    (share / "sub" / "empty").mkdir(parents=True)
    for name in ("a.txt", "ü.TXT", "other"):
        write(share / "sub" / name, b"12345")
        os.utime(share / "sub" / name, ns=(0, MTIME))
    # What this version cannot say is left out.
    write(share / "sub" / "back\\slash", b"")
    write(os.fsencode(share) + b"/sub/\xff", b"")
    os.symlink("other", share / "sub" / "link")
    os.mkfifo(share / "sub" / "fifo")
    write(share / "sub" / ".eacopy-0123456789abcdef.tmp", b"")
    with plain(served) as peer:
        found = peer.find("sub\\*.*")
        assert sorted(found) == ["a.txt", "empty", "other", "ü.TXT"]
        assert found["empty"].is_directory and found["empty"].size == 0
        assert (found["a.txt"].time, found["a.txt"].size, found["a.txt"].attributes) == (TIME, 5, 0x20)
        assert sorted(peer.find("sub\\*.txt")) == ["a.txt", "ü.TXT"]
        assert sorted(peer.find("*")) == ["sub"]
        assert peer.find("sub\\other").keys() == {"other"}
        assert peer.find("sub\\nothing") is None
        assert peer.find("sub\\*.nothing") is None
        assert peer.find("missing\\*.*") is None
        assert peer.find("..\\*.*") is None
        # One zero word: EACopy's own client would stumble over the second one.
        assert peer.find("sub\\empty\\*.*") == {}
        peer.send(wire.Done())
        assert peer.take(8) == bytes(8)


def test_files_are_looked_at(served, share):
    (share / "sub").mkdir()
    (share / "file").write_bytes(b"12345")
    os.utime(share / "file", ns=(0, MTIME))
    os.symlink("file", share / "link")
    with plain(served) as peer:
        assert peer.info("file") == wire.FileInfo(TIME, 5, 0x20, 0)
        assert peer.info("sub").attributes == 0x10 and peer.info("").attributes == 0x10
        assert peer.info("missing") == wire.FileInfo(0, 0, 0, 2)
        assert peer.info("missing\\file") == wire.FileInfo(0, 0, 0, 3)
        assert peer.info("link").error == 2
        assert peer.info("..\\share").error != 0


# Version 20: framing -------------------------------------------------------------------------------------------------


def conversation():
    return [
        wire.encode(wire.Environment(1, 1, 20, b"\1" * 16, "share\\")),
        wire.encode(wire.Text(0, "hello")),
        wire.encode(wire.CreateDir("a")),
        wire.encode(wire.WriteFile(wire.SEND, TIME, 7, "a\\file")) + b"content",
        wire.encode(wire.WriteFile(wire.TRANSMIT_FILE, TIME, 0, "a\\empty")),
        wire.encode(wire.ReadFile(0, 0, 0, "a\\file")),
        wire.encode(wire.GetFileInfo("a\\missing")),
        wire.encode(wire.Done()),
    ]


ANSWERS = (
    b"\3"
    + b"\0\1"
    + b"\0\1"
    + b"\0"
    + struct.pack("<QQ", TIME, 7)
    + b"content"
    + bytes(28)
    + struct.pack("<I", 2)
    + bytes(8)
)


def test_several_commands_in_one_segment(served, share):
    with PlainPeer(served.port) as peer:
        peer.send(*conversation())
        assert peer.take(len(ANSWERS)) == ANSWERS
        assert peer.hung_up()


def test_commands_one_byte_at_a_time(served, share):
    with PlainPeer(served.port) as peer:
        for byte in b"".join(conversation()):
            peer.send(bytes((byte,)))
        assert peer.take(len(ANSWERS)) == ANSWERS
        assert peer.hung_up()


@pytest.mark.parametrize("command", [wire.Done(), wire.RequestReport()], ids=["Done", "RequestReport"])
def test_what_needs_no_session(served, command):
    with PlainPeer(served.port) as peer:
        peer.send(command)
        assert peer.take(4)


# The extended dialect ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def session(served, directory=b"share", flags=protocol.WRITE | protocol.TREE, capabilities=15):
    with Peer(served.port) as peer:
        peer.greet(capabilities)
        peer.open(directory, flags)
        yield peer


def offered(peer, number, *arguments, **fields):
    peer.send(offer(number, entry(*arguments, **fields)))
    return peer.result()[0]


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_one_byte_at_a_time_in_the_extended_dialect(served, share):
    said = [
        protocol.hello(14),
        protocol.open_(b"share/new", protocol.WRITE | protocol.TREE),
        offer(0, entry(b"a/file", size=7), entry(b"d", DIRECTORY), entry(b"l", LINK, target=b"a")),
        protocol.body(0, b"content"),
        protocol.goodbye(),
    ]
    with Peer(served.port) as peer:
        for byte in b"".join(said):
            peer.send(bytes((byte,)))
        peer.receive(protocol.WELCOME)
        peer.receive(protocol.OPENED)
        assert [(number, code) for number, code, _ in peer.results(4)] == [(0, SEND), (1, MADE), (2, MADE), (0, STORED)]
        assert peer.ending() is None
    assert (share / "new" / "a" / "file").read_bytes() == b"content"
    assert os.readlink(share / "new" / "l") == "a"


def test_everything_in_one_segment(served, share):
    with Peer(served.port) as peer:
        peer.send(
            protocol.hello(14),
            protocol.open_(b"share", protocol.WRITE | protocol.TREE),
            *(offer(number, entry(b"f%d" % number, size=1)) for number in range(4)),
            *(protocol.body(number, b"x") for number in range(4)),
            wire.encode(wire.Done()),
        )
        peer.receive(protocol.WELCOME)
        peer.receive(protocol.OPENED)
        codes = [code for _, code, _ in peer.results(8)]
        assert codes == [SEND] * 4 + [STORED] * 4
        assert peer.take(8) == bytes(8)
        assert peer.ending() is None


def test_a_report_in_the_extended_dialect(served):
    with Peer(served.port) as peer:
        peer.greet()
        peer.send(wire.encode(wire.RequestReport()))
        (count,) = struct.unpack("<I", peer.take(4))
        assert peer.take(2 * count).decode("utf-16-le")
        peer.open(b"share")


def test_one_file_is_opened(served, share):
    (share / "directory").mkdir()
    (share / "file").write_bytes(b"content")
    for path, flags, what in (
        (b"share/directory", protocol.WRITE, 2),
        (b"share/directory", 0, 2),
        (b"share/file", 0, 1),
        (b"share/file", protocol.WRITE, 1),
        (b"share/new/deep/file", protocol.WRITE, 1),
        (b"share", 0, 2),
        (b"share", protocol.WRITE, 2),
    ):
        with Peer(served.port) as peer:
            peer.greet()
            assert peer.open(path, flags) == what, path
    assert os.listdir(share / "new" / "deep") == []
    for path, kind in ((b"share/missing", 4), (b"share/missing/file", 4)):
        with Peer(served.port) as peer, pytest.raises(protocol.Refused) as caught:
            peer.greet()
            peer.open(path, 0)
        assert caught.value.failure.kind == kind
    with Peer(served.port) as peer, pytest.raises(protocol.Refused):
        peer.greet()
        peer.open(b"share/file", protocol.WRITE | protocol.TREE)


@serving.posix("looks at POSIX modes")
def test_metadata_of_directories(served, share):
    with session(served) as peer:
        assert offered(peer, 0, b"a/b", DIRECTORY, mode=0o750) == MADE
        assert offered(peer, 1, b"a/b", DIRECTORY, mode=0o750) == SKIPPED
        assert peer.push(2, b"a/b/file", b"content") == STORED
        assert offered(peer, 3, b"a/b", DIRECTORY, flags=2, mode=0o550, mtime=MTIME) in (MADE, SKIPPED)
        assert offered(peer, 4, b"", DIRECTORY, flags=2, mode=0o711, mtime=MTIME + 1) in (MADE, SKIPPED)
        assert offered(peer, 5, b"a/b/file", DIRECTORY) == FAILED
        assert offered(peer, 6, b"a/b/file/x", DIRECTORY) == FAILED
    found = os.stat(share / "a" / "b")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o550, MTIME)
    found = os.stat(share)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o711, MTIME + 1)


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_symbolic_links(served, share):
    (share / "directory").mkdir()
    (share / "file").write_bytes(b"")
    with session(served) as peer:
        assert offered(peer, 0, b"l", LINK, target=b"../any\xff", mtime=MTIME) == MADE
        assert offered(peer, 1, b"l", LINK, target=b"../any\xff") == SKIPPED
        assert offered(peer, 2, b"l", LINK, target=b"other") == MADE
        assert offered(peer, 3, b"file", LINK, target=b"other") == MADE
        assert offered(peer, 4, b"directory", LINK, target=b"other") == FAILED
        assert peer.push(5, b"l", b"a file in its place") == STORED
    assert os.readlink(share / "file") == "other"
    assert (share / "l").read_bytes() == b"a file in its place"
    assert not os.path.lexists(share / "other")
    assert not leftovers(share)


@serving.posix("looks at POSIX modes")
def test_a_mode_that_differs_is_set_on_what_is_there(pair, share):
    with pair.serving(share, link_mode="hard") as served, session(served) as peer:
        assert peer.push(0, b"a/file", b"content", mode=0o644) == STORED
        assert peer.push(1, b"a/file", b"content", mode=0o600) == SKIPPED
        assert stat.S_IMODE(os.stat(share / "a" / "file").st_mode) == 0o600
        os.link(share / "a" / "file", share / "sibling")
        assert peer.push(2, b"a/file", b"content", mode=0o640) == SKIPPED
        assert stat.S_IMODE(os.stat(share / "a" / "file").st_mode) == 0o640
        assert stat.S_IMODE(os.stat(share / "sibling").st_mode) == 0o600
        assert (share / "a" / "file").read_bytes() == b"content"
        assert os.stat(share / "a" / "file").st_mtime_ns == MTIME


@serving.posix("looks at POSIX modes")
def test_another_mode_is_a_copy_and_no_link(pair, share):
    with pair.serving(share, link_mode="hard") as served:
        with session(served, b"share/one") as peer:
            assert peer.push(0, b"file", b"content", mode=0o644) == STORED
        with session(served, b"share/two") as peer:
            assert peer.push(0, b"file", b"content", mode=0o644) == LINKED
        with session(served, b"share/three") as peer:
            assert peer.push(0, b"file", b"content", mode=0o600) == LINKED
    one, two, three = (os.stat(share / name / "file") for name in ("one", "two", "three"))
    assert one.st_ino == two.st_ino != three.st_ino
    assert (stat.S_IMODE(one.st_mode), stat.S_IMODE(three.st_mode)) == (0o644, 0o600)
    assert (share / "three" / "file").read_bytes() == b"content" and three.st_mtime_ns == MTIME


def test_what_is_linked_or_skipped_can_be_made_durable(pair, share):
    with pair.serving(share, link_mode="hard") as served:
        with session(served, b"share/one") as peer:
            assert peer.push(0, b"file", b"content", flags=32) == STORED
            assert peer.push(1, b"file", b"content", flags=32) == SKIPPED
        with session(served, b"share/two") as peer:
            assert peer.push(0, b"file", b"content", flags=32) == LINKED
    assert os.path.samefile(share / "one" / "file", share / "two" / "file")


@serving.posix("looks at holes and single nanoseconds, which the portable backend does not keep on Windows")
def test_single_nanoseconds_count(served, share):
    with session(served) as peer:
        assert peer.push(0, b"file", b"content", mtime=MTIME) == STORED
        assert peer.push(1, b"file", b"content", mtime=MTIME) == SKIPPED
        assert offered(peer, 2, b"file", size=7, mtime=MTIME + 1) == SEND


@serving.posix("looks at POSIX modes")
def test_metadata_that_is_not_wanted(served, share):
    (share / "old").write_bytes(b"")
    os.chmod(share / "old", 0o604)
    now = time.time_ns()
    with session(served) as peer:
        assert peer.push(0, b"none", b"content", flags=8, mode=0o600) == STORED
        assert peer.push(1, b"mode", b"content", flags=16, mode=0o600) == STORED
        assert peer.push(2, b"old", b"content", flags=8, mode=0o600) == STORED
    mask = os.umask(0)
    os.umask(mask)
    modes = {name: stat.S_IMODE(os.stat(share / name).st_mode) for name in ("none", "mode", "old")}
    assert modes == {"none": 0o666 & ~mask, "mode": 0o600, "old": 0o604}
    assert all(os.stat(share / name).st_mtime_ns > now - 10**9 for name in modes)


@serving.posix("looks at holes and single nanoseconds, which the portable backend does not keep on Windows")
def test_content_in_pieces_with_holes(served, share):
    content = os.urandom(300_000)
    with session(served) as peer:
        assert offered(peer, 0, b"sparse", size=1 << 30, mtime=MTIME, flags=4 | 32) == SEND
        half = len(content) // 2
        gap = (1 << 30) - len(content)
        peer.send(
            protocol.begin(0, 1 << 30),
            message(DATA, content[:half]),
            protocol.hole(gap - 10),
            protocol.hole(10),
            message(DATA, content[half:]),
            protocol.end(zlib.crc32(content)),
        )
        assert peer.result() == (STORED, None)
        assert offered(peer, 1, b"hole", size=1 << 20) == SEND
        peer.send(protocol.begin(1, 1 << 20), protocol.hole(1 << 20), protocol.end(0))
        assert peer.result() == (STORED, None)
    with open(share / "sparse", "rb") as file:
        assert file.read(half + 10) == content[:half] + bytes(10)
        file.seek(half + gap - 10)
        assert file.read() == bytes(10) + content[half:]
    assert os.stat(share / "sparse").st_size == 1 << 30
    assert os.stat(share / "hole").st_size == 1 << 20
    if os.stat(share / "hole").st_blocks == 0:  # the file system has holes
        assert os.stat(share / "sparse").st_blocks * 512 < 10_000_000


def test_a_file_that_is_abandoned(served, share):
    (share / "file").write_bytes(b"old")
    failure = struct.pack("<BBHiQQ", 15, 3, 0, 5, 77, 0) + protocol.str16(b"") + protocol.str16(b"read error")
    with session(served) as peer:
        assert offered(peer, 0, b"file", size=100) == SEND
        peer.send(
            protocol.begin(0, 100), message(DATA, b"half"), message(protocol.ABANDON, struct.pack("<I", 0) + failure)
        )
        code, told = peer.result()
        assert code == FAILED and (told.kind, told.operation, told.errno, told.text) == (15, 3, 5, b"read error")
        assert offered(peer, 1, b"other", size=100) == SEND
        peer.send(message(protocol.ABANDON, struct.pack("<I", 1) + failure))
        assert peer.result()[0] == FAILED
        assert peer.push(2, b"third", b"content") == STORED
    assert (share / "file").read_bytes() == b"old"
    assert sorted(os.listdir(share)) == ["file", "third"]


def test_a_file_that_changed_while_it_was_read_is_not_remembered(served, share):
    with session(served, b"share/one") as peer:
        assert offered(peer, 0, b"file", size=7) == SEND
        peer.send(message(BODY, struct.pack("<IIB3xq", 0, zlib.crc32(b"content"), 1, MTIME) + b"content"))
        assert peer.result()[0] == STORED
    with session(served, b"share/two") as peer:
        assert offered(peer, 0, b"file", size=7) == SEND


@serving.posix("looks at POSIX modes")
def test_digests_in_the_extended_dialect(pair, share):
    content = os.urandom(10_000)
    with pair.serving(share, use_hash=True) as served, session(served) as peer:
        assert offered(peer, 0, b"one", size=len(content)) == SEND_DIGEST
        peer.send(message(DIGEST, struct.pack("<I", 0) + hashlib.md5(content).digest()))
        assert peer.result()[0] == SEND
        peer.send(protocol.body(0, content))
        assert peer.result()[0] == STORED
        assert offered(peer, 1, b"two", size=len(content), mtime=MTIME + 5, mode=0o600) == SEND_DIGEST
        peer.send(message(DIGEST, struct.pack("<I", 1) + hashlib.md5(content).digest()))
        assert peer.result()[0] == LINKED
    found = os.stat(share / "two")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o600, MTIME + 5)
    assert (share / "two").read_bytes() == content
    assert os.stat(share / "one").st_mtime_ns == MTIME


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_listing(served, share):
    (share / "a" / "b").mkdir(parents=True)
    write(share / "a" / "b" / "file", b"12345")
    write(os.fsencode(share) + b"/a/\xff", b"")
    os.symlink("nowhere", share / "a" / "link")
    os.mkfifo(share / "a" / "fifo")
    write(share / "a" / ".eacopy-0123456789abcdef.tmp", b"")
    with session(served, flags=0) as peer:
        entries, failures = peer.listed(b"a")
        assert entries[0] == (DIRECTORY, b"a", b"")
        assert sorted(entries[1:]) == [
            (FILE, b"a/b/file", b""),
            (FILE, b"a/\xff", b""),
            (DIRECTORY, b"a/b", b""),
            (LINK, b"a/link", b"nowhere"),
        ]
        assert entries.index((DIRECTORY, b"a/b", b"")) < entries.index((FILE, b"a/b/file", b""))
        assert [(failure.path, failure.operation) for failure in failures] == [(b"a/fifo", 22)]
        assert peer.listed(b"a/b/file") == ([(FILE, b"a/b/file", b"")], [])
        entries, failures = peer.listed(b"missing")
        assert entries == [] and [(failure.path, failure.errno) for failure in failures] == [(b"missing", 2)]
        entries, failures = peer.listed(b"../outside")
        assert entries == [] and len(failures) == 1
        peer.send(protocol.list_(b"a", flags=0))
        kind, payload, _ = peer.raw()
        assert kind == protocol.ENTRIES and struct.unpack_from("<I", payload)[0] == 4


def fetched(peer, *paths, level=0):
    """The contents in order; an Abandon's failure in place of what could not be had."""
    peer.send(protocol.fetch(100, *paths, level=level))
    found = []
    while len(found) < len(paths):
        reader = peer.receive(BODY, BEGIN, protocol.ABANDON)
        kind = peer.received[-len(reader.data) - 4]
        if kind == BODY:
            number, crc, flags, mtime = reader.fields("IIB3xq")
            content = reader.data[reader.at :]
            assert zlib.crc32(content) == crc and flags == 0
        elif kind == BEGIN:
            number, _, mtime, size = reader.fields("IIqQ")
            content, data = b"", b""
            while True:
                reader = peer.receive(DATA, HOLE, END)
                kind = peer.received[-len(reader.data) - 4]
                if kind == END:
                    break
                content += reader.data if kind == DATA else bytes(reader.fields("Q")[0])
                data += reader.data if kind == DATA else b""
            assert len(content) == size and reader.fields("IB3x") == (zlib.crc32(data), 0)
        else:
            (number,) = reader.fields("I")
            mtime, content = MTIME, reader.failure()
        assert number == 100 + len(found) and mtime == MTIME
        found.append(content)
    return found


@serving.posix("looks at holes and single nanoseconds, which the portable backend does not keep on Windows")
def test_fetching(served, share):
    contents = {b"empty": b"", b"small": os.urandom(1000), b"a/large": os.urandom(2_000_001)}
    contents[b"sparse"] = b"begin" + bytes(5_000_000) + b"end"
    for name, content in contents.items():
        write(os.fsencode(share) + b"/" + name, b"")
        with open(os.fsencode(share) + b"/" + name, "wb") as file:
            if name == b"sparse":
                file.write(b"begin")
                file.seek(5_000_005)
                file.write(b"end")
            else:
                file.write(content)
        os.utime(os.fsencode(share) + b"/" + name, ns=(0, MTIME))
    os.symlink("small", share / "link")
    with session(served, flags=0) as peer:
        assert fetched(peer, *contents) == list(contents.values())
        before = len(peer.received)
        fetched(peer, b"sparse")
        assert len(peer.received) - before < 1_000_000
        missing, directory, link, outside, small = fetched(peer, b"missing", b"a", b"link", b"../share/small", b"small")
        assert (missing.errno, missing.kind) == (2, 4)
        assert directory.errno == 21
        assert link.errno != 0 and outside.errno == 22
        assert small == contents[b"small"]
    assert served.server.get_stats()["files_sent"] == 6


# Limits, time, the end -----------------------------------------------------------------------------------------------


def hangs_up_within(peer, seconds):
    begin = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while peer.socket.recv(65536):
            pass
    return time.monotonic() - begin < seconds


def test_a_client_that_is_idle_is_cut_off(pair, share):
    with pair.serving(share, idle_timeout=0.5) as served:
        with PlainPeer(served.port) as peer:  # says nothing at all
            assert hangs_up_within(peer, 5)
        with plain(served) as peer:
            assert peer.push("file", b"content") == (COPY, 1)
            assert hangs_up_within(peer, 5)
        with session(served) as peer:
            assert hangs_up_within(peer, 5)
    assert os.listdir(share) == ["file"]


def test_too_many_connections(pair, share):
    with pair.serving(share, max_connections=2) as served:
        with plain(served) as one, plain(served) as two:
            assert one.push("one", b"") == two.push("two", b"") == (COPY, 1)
            with PlainPeer(served.port) as third:
                assert third.version.version == 20
                assert third.hung_up()
        end = time.monotonic() + 10
        while served.server.get_stats()["active_connections"] and time.monotonic() < end:
            time.sleep(0.01)
        with plain(served) as peer:
            assert peer.push("three", b"") == (COPY, 1)


def test_more_clients_than_threads(pair, share):
    """One of them does nothing but hold what it has begun."""
    with pair.serving(share, thread_count=1) as served, session(served) as slow:
        assert offered(slow, 0, b"slow", size=100) == SEND
        slow.send(protocol.begin(0, 100), message(DATA, b"half"))

        def push(number):
            with session(served) as peer:
                codes.append(peer.push(0, b"file%d" % number, b"x" * number))

        codes = []
        threads = [threading.Thread(target=push, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert codes == [STORED] * 20


def test_stopping_with_clients_in_mid_transfer(pair, share):
    (share / "large").write_bytes(bytes(50_000_000))
    peers = []
    with pair.serving(share, thread_count=2) as served:
        for number in range(6):
            peer = Peer(served.port)
            peers.append(peer)
            peer.greet()
            peer.open(b"share")
            assert offered(peer, 0, b"half%d" % number, size=100) == SEND
            peer.send(protocol.begin(0, 100), message(DATA, b"half"))
            if number % 2:
                peer.send(message(DATA, bytes(50)))
        for _ in range(3):
            peer = plain(served)
            peers.append(peer)
            peer.send(wire.ReadFile(0, 0, 0, "large"))  # and it is never read
        peers.append(PlainPeer(served.port))
        time.sleep(0.2)
        begin = time.monotonic()
        served.server.stop()
        assert time.monotonic() - begin < 1
    assert os.listdir(share) == ["large"]
    for peer in peers:
        peer.socket.close()
    with pair.serving(share) as served, plain(served) as peer:
        assert peer.push("file", b"content") == (COPY, 1)


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_what_a_killed_server_left_is_removed_at_the_next_start(pair, share):
    (share / "sub").mkdir()
    living = share / "sub" / ".eacopy-00000000000000aa.tmp"
    with pair.process(share) as process, Peer(process.port) as peer:
        peer.greet()
        peer.open(b"share")
        assert offered(peer, 0, b"sub/half", size=100) == SEND
        peer.send(protocol.begin(0, 100), message(DATA, b"half"))
        end = time.monotonic() + 10
        while not leftovers(share) and time.monotonic() < end:
            time.sleep(0.01)
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    assert len(leftovers(share)) == 1
    fcntl = pytest.importorskip("fcntl")
    with open(living, "wb") as file:
        file.write(b"somebody writes this")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pair.serving(share):
            end = time.monotonic() + 20
            while len(leftovers(share)) > 1 and time.monotonic() < end:
                time.sleep(0.05)
        assert leftovers(share) == [living.name]
    assert sorted(os.listdir(share / "sub")) == [living.name]


# The history's file --------------------------------------------------------------------------------------------------


def linkdb(*records, end=b"\0\0"):
    """By hand: cookie, records of path, characters of the key, size, time and digest, end."""
    parts = [b"eacopydb003\0"]
    for path, key, size, filetime, digest in records:
        text = path.replace("/", "\\").encode("utf-16-le")
        parts += [struct.pack("<HH", len(text), len(key)), text, struct.pack("<QQ", size, filetime), digest]
    return b"".join([*parts, end])


@serving.posix("uses names, links, FIFOs or signals of POSIX")
def test_the_history_file_byte_by_byte(pair, share, tmp_path):
    history = tmp_path / "history"
    with pair.serving(share, history_file=history) as served, plain(served, directory="share\\d\\") as peer:
        peer.send(wire.CreateDir("sub"))
        peer.byte()
        assert peer.push("sub\\ü", b"content") == (COPY, 1)
        assert peer.push("two", b"", time=TIME + 1) == (COPY, 1)
        with session(served) as other:  # a name that the format cannot say
            assert other.push(0, b"back\\slash", b"content") == STORED
    assert history.read_bytes() == linkdb(
        ("%s/d/sub/ü" % share, "sub/ü", 7, TIME, bytes(16)), ("%s/d/two" % share, "two", 0, TIME + 1, bytes(16))
    )
    assert stat.S_IMODE(os.stat(history).st_mode) & 0o077 == 0
    assert not leftovers(tmp_path)


def test_a_history_file_made_by_hand_is_read(pair, share, tmp_path):
    write(share / "old" / "sub" / "file", b"content")
    os.utime(share / "old" / "sub" / "file", ns=(0, MTIME))
    write(tmp_path / "outside", b"content")
    os.utime(tmp_path / "outside", ns=(0, MTIME))
    history = tmp_path / "history"
    digest = hashlib.md5(b"content").digest()
    written = linkdb(
        ("%s/outside" % tmp_path, "outside", 7, TIME, bytes(16)),
        ("%s/../outside" % share, "outside", 7, TIME, bytes(16)),
        ("%s/old/sub/file" % share, "sub/file", 7, TIME, digest),
    )
    history.write_bytes(written)
    with pair.serving(share, history_file=history, link_mode="hard") as served:
        assert served.server.get_stats()["history_size"] == 1
        with session(served, b"share/new") as peer:
            mode = stat.S_IMODE(os.stat(share / "old" / "sub" / "file").st_mode)
            assert peer.push(0, b"sub/file", b"content", mode=mode) == LINKED
            assert offered(peer, 1, b"outside", size=7) == SEND
    assert os.path.samefile(share / "new" / "sub" / "file", share / "old" / "sub" / "file")
    assert history.read_bytes() == linkdb(("%s/new/sub/file" % share, "sub/file", 7, TIME, digest))


def test_a_long_history_is_saved_while_the_server_stops(pair, share, tmp_path):
    many = 50_000
    history = tmp_path / "history"
    names = ["folder/file%06d" % number for number in range(many)]
    records = [("%s/%s" % (share, name), name, 7, TIME, bytes(16)) for name in names]
    history.write_bytes(linkdb(*records))
    with pair.serving(share, history_file=history) as served:
        assert served.server.get_stats()["history_size"] == many
        (tmp_path / "new").write_bytes(b"content")
        served.push(tmp_path / "new", "share/new")
        start = time.monotonic()
        served.server.stop()
        took = time.monotonic() - start
    assert took < 1
    saved, before = history.read_bytes(), linkdb(*records, end=b"")
    assert saved.startswith(before) and len(saved) > len(before) + 2


def test_the_history_is_bounded(pair, share):
    with pair.serving(share, history_size=3) as served, session(served) as peer:
        for number in range(10):
            assert peer.push(number, b"file%d" % number, b"content") == STORED
        assert served.server.get_stats()["history_size"] == 3
    with pair.serving(share, history_size=0) as served, session(served) as peer:
        assert peer.push(0, b"other", b"content") == STORED
        assert served.server.get_stats()["history_size"] == 0
