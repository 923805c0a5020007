"""What a client does in the extended dialect: a server that tests play says one thing or another, right or wrong."""

import contextlib
import errno
import hashlib
import os
import select
import socket
import struct
import threading
import zlib

import pytest
from net import protocol
from net.protocol import (
    BEGIN,
    BODY,
    DATA,
    DIGEST,
    DIRECTORY,
    END,
    ENTRIES,
    FAILED,
    FETCH,
    FILE,
    GOODBYE,
    HOLE,
    LINK,
    LINKED,
    LIST,
    LISTED,
    MADE,
    OFFER,
    PACKED,
    RESULTS,
    SEND,
    SEND_DIGEST,
    SKIPPED,
    STORED,
    Closed,
    Reader,
    body,
    entry,
    message,
    str16,
)
from net.serving import posix

import py_eacopy
from py_eacopy import _strategy
from py_eacopy._config import Config
from py_eacopy._errors import ErrorKind, Operation
from py_eacopy._job import CopyJob, CopyOptions, Remote
from py_eacopy.backends.portable.net import zstd

MTIME = 1_600_000_000_123_456_789
SET_NOW, VERIFY, NO_METADATA, MODE_ONLY, DURABLE = 2, 4, 8, 16, 32


@pytest.fixture(autouse=True)
def able(backend):
    if "client" not in py_eacopy.backend_info(config=Config(backend=backend)).capabilities:
        if os.environ.get("PY_EACOPY_REQUIRE_NATIVE") == "1":
            pytest.fail("PY_EACOPY_REQUIRE_NATIVE=1, but the %s backend is no client" % backend)
        pytest.skip("the %s backend is no client" % backend)


def error(kind=0, operation=0, number=0, a=0, b=0, path=b"", text=b""):
    return struct.pack("<BBHiQQ", kind, operation, 0, number, a, b) + str16(path) + str16(text)


def result(number, code, failure=b""):
    return struct.pack("<IB", number, code) + failure


def results(*found):
    return message(RESULTS, struct.pack("<I", len(found)) + b"".join(found))


class Connection:
    """One connection of a client to a server that is played."""

    def __init__(self, connection, capabilities):
        self.socket = connection
        self.capabilities = capabilities
        self.packed = b""
        self.levels = []

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

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
        if not self.packed:
            header = self.take(8)
            size, kind, level = struct.unpack_from("<IBB", header)
            assert 8 <= size <= protocol.LARGEST and header[6:] == b"\0\0"
            payload = self.take(size - 8)
            if kind != PACKED:
                assert level == 0
                return kind, payload
            assert self.capabilities & 1 and 1 <= level <= 22
            self.levels.append(level)
            (unpacked,) = struct.unpack_from("<I", payload)
            self.packed = zstd.decompress(payload[4:], unpacked)
            assert len(self.packed) == unpacked <= 2 << 20
        size, kind = struct.unpack_from("<IB", self.packed)
        assert kind in range(OFFER, GOODBYE + 1) and kind != PACKED
        payload, self.packed = self.packed[8:size], self.packed[size:]
        return kind, payload

    def is_quiet(self, seconds):
        """Whether the client waits, too."""
        return not self.packed and not select.select([self.socket], [], [], seconds)[0]

    def open(self, what=2):
        """The set-up, and what Open asks for: index, flags, directory."""
        self.send(protocol.version(protocol.EXTENDED))
        kind, _ = self.receive()
        assert kind == protocol.HELLO
        self.send(protocol.welcome(self.capabilities, connections=4))
        kind, payload = self.receive()
        assert kind == protocol.OPEN
        reader = Reader(payload)
        index, _, flags = reader.fields("I16sB3x")
        directory = reader.str16()
        reader.done()
        self.send(message(protocol.OPENED, bytes([what, 0, 0, 0])))
        return index, flags, directory


class Played:
    """A server that does with each connection what `talk` does."""

    def __init__(self, talk, capabilities=14):
        self.talk, self.capabilities = talk, capabilities
        self.problems, self.connections = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        try:
            self.talk(Connection(connection, self.capabilities))
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
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(30)
        assert not self.problems, self.problems


def run(played, push, local, *, trees=True, **settings):
    remote = {name: settings.pop(name) for name in ("level", "timeout", "token") if name in settings}
    remote.setdefault("timeout", 10.0)
    shown, path = b"eacopy://127.0.0.1/share/there", os.fsencode(str(local))
    settings.setdefault("follow_symlinks", False)
    job = CopyJob(
        trees=trees and push,
        items=((path, shown) if push else (shown, path),),
        options=CopyOptions(dirs_exist_ok=True, into_directory=True, **settings),
        remote=Remote(host="127.0.0.1", port=played.port, push=push, directory=b"share/there", **remote),
    )
    return _strategy.run(job, Config())


def push(played, local, **settings):
    return run(played, True, local, **settings)


def pull(played, local, **settings):
    return run(played, False, local, **settings)


class Entry:
    """What a client offers."""

    def __init__(self, reader):
        self.kind, self.flags, nothing, self.mode, self.mtime, self.atime, self.size = reader.fields("BBHIqqQ")
        assert nothing == 0
        self.path = reader.str16()
        self.target = reader.str16() if self.kind == LINK else b""
        self.attributes = []
        if self.flags & 1:
            for _ in range(reader.fields("H")[0]):
                name = reader.str16()
                self.attributes.append((name, reader.take(reader.fields("I")[0])))


class Store:
    """What has been pushed to a played server, and how it answers; `decide` picks the first result of a file.

    Attributes:
        entries: all that was offered, by number and in order.
        contents: by path.
        digests: by path.
    """

    def __init__(self, decide=lambda entry: SEND, final=lambda entry: result(0, STORED)[4:]):
        self.decide, self.final = decide, final
        self.entries, self.contents, self.digests = {}, {}, {}
        self.opened = []
        self.lock = threading.Lock()

    def talk(self, connection, what=2):
        self.opened.append(connection.open(what))
        numbered = {}
        content = None
        while True:
            kind, payload = connection.receive()
            reader = Reader(payload)
            if kind == GOODBYE:
                assert reader.failure()[0] == 0
                return
            if kind == OFFER:
                first, count = reader.fields("II")
                assert content is None or numbered
                answers = []
                for number in range(first, first + count):
                    assert number not in numbered
                    numbered[number] = offered = Entry(reader)
                    with self.lock:
                        self.entries[len(self.entries)] = offered
                    answers.append(result(number, self.decide(offered) if offered.kind == FILE else MADE))
                reader.done()
                connection.send(results(*answers))
            elif kind == BODY:
                number, crc, flags, mtime = reader.fields("IIB3xq")
                data = reader.take(len(payload) - reader.at)
                assert zlib.crc32(data) == crc and content is None
                self.keep(connection, numbered[number], number, data)
            elif kind == BEGIN:
                number, nothing, mtime, size = reader.fields("IIqQ")
                content = bytearray()
                crc = 0
            elif kind == DATA:
                content += payload
                crc = zlib.crc32(payload, crc)
            elif kind == HOLE:
                content += bytes(reader.fields("Q")[0])
            elif kind == END:
                assert reader.fields("IB3x")[0] == crc and len(content) == size
                self.keep(connection, numbered[number], number, bytes(content))
                content = None
            elif kind == DIGEST:
                number, digest = reader.fields("I16s")
                self.digests[numbered[number].path] = digest
                connection.send(results(result(number, SEND)))
            elif kind == protocol.ABANDON:
                (number,) = reader.fields("I")
                content = None
                connection.send(results(result(number, FAILED, payload[4:])))
            else:
                raise AssertionError(kind)

    def keep(self, connection, offered, number, content):
        with self.lock:
            self.contents[offered.path] = content
        connection.send(results(struct.pack("<I", number) + self.final(offered)))

    def paths(self, kind):
        return [offered.path for offered in self.entries.values() if offered.kind == kind]


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    (root / "nothing").write_bytes(b"")
    (root / "sub" / "large").write_bytes(bytes(range(256)) * 20_000)
    os.symlink("file", str(root / "link"))
    os.chmod(str(root / "file"), 0o640)
    for path in (root / "file", root / "nothing"):
        os.utime(str(path), ns=(MTIME - 5, MTIME))
    return root


# Pushing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 5, -1] if zstd.AVAILABLE else [0])
def test_a_tree_is_offered_sent_and_finished_from_below(source, level):
    store = Store()
    with Played(store.talk, 15) as played:
        report = push(played, source, level=level)
    assert store.opened == [(store.opened[0][0], 3, b"share/there")]
    assert store.contents == {
        b"file": b"content",
        b"nothing": b"",
        b"sub/large": bytes(range(256)) * 20_000,
    }
    offered = {found.path: found for found in store.entries.values() if not found.flags & SET_NOW}
    assert offered[b"link"].target == b"file"
    file = offered[b"file"]
    assert (file.mode, file.mtime, file.atime, file.size, file.flags) == (0o640, MTIME, MTIME - 5, 7, 0)
    final = [found.path for found in store.entries.values() if found.flags & SET_NOW]
    assert set(final) == {b"", b"sub", b"sub/empty"}
    assert final.index(b"sub/empty") < final.index(b"sub") < final.index(b"")
    assert (report.files_copied, report.bytes_copied, report.symlinks_copied) == (3, 5_120_007, 1)
    assert report.errors == () and report.server == "v1.11"
    if level > 0:
        assert report.compression_level == level and report.bytes_sent < 1_000_000


def test_a_file_is_offered_under_the_name_that_the_server_wants(source):
    for what, name in ((1, b"there"), (2, b"file")):
        store = Store()
        with Played(lambda connection, store=store, what=what: store.talk(connection, what)) as played:
            report = push(played, source / "file", trees=False)
        assert store.contents == {name: b"content"} and store.opened[0][1] == 1 and report.files_copied == 1


def test_flags_say_what_was_asked_for(source):
    for settings, flags in (
        ({"metadata": "none"}, NO_METADATA),
        ({"metadata": "mode"}, MODE_ONLY),
        ({"verify": True, "fsync": True}, VERIFY | DURABLE),
    ):
        store = Store()
        with Played(store.talk) as played:
            push(played, source / "file", trees=False, **settings)
        assert [found.flags for found in store.entries.values()] == [flags]


def test_extended_attributes_go_along_where_the_server_has_them(source):
    try:
        os.setxattr(str(source / "file"), "user.colour", b"blue")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    for capabilities, wanted in ((14, [(b"user.colour", b"blue")]), (6, [])):
        store = Store()
        with Played(store.talk, capabilities) as played:
            push(played, source)
        assert next(found for found in store.entries.values() if found.path == b"file").attributes == wanted


def test_a_server_without_links_gets_none(source):
    store = Store()
    with Played(store.talk, 2) as played, pytest.raises(py_eacopy.TreeError) as caught:
        push(played, source)
    assert [failure.kind for failure in caught.value.errors] == [ErrorKind.UNSUPPORTED]
    assert caught.value.errors[0].filename == str(source / "link") and len(store.contents) == 3


def test_a_server_without_modes_gets_none(source):
    store = Store()
    with Played(store.talk, 4) as played:
        push(played, source)
    assert {found.mode for found in store.entries.values()} == {0xFFFFFFFF}


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_server_without_zstd_gets_nothing_packed(source):
    store = Store()
    with Played(store.talk, 14) as played:
        report = push(played, source, level=5)
    assert len(store.contents) == 3 and report.compression_level == 0


def test_the_digest_that_is_asked_for_is_sent(source):
    store = Store(decide=lambda offered: SEND_DIGEST)
    with Played(store.talk) as played:
        push(played, source)
    assert store.digests[b"sub/large"] == hashlib.md5(bytes(range(256)) * 20_000).digest()
    assert store.digests[b"nothing"] == hashlib.md5().digest() and len(store.contents) == 3


def test_linked_and_skipped_files_are_counted_and_not_sent(source):
    for code in (LINKED, SKIPPED):
        store = Store(decide=lambda offered, code=code: code)
        with Played(store.talk) as played:
            report = push(played, source)
        assert store.contents == {} and report.files_copied == 0
        counted = (report.files_linked, report.bytes_linked), (report.files_skipped, report.bytes_skipped)
        assert counted == (((3, 5_120_007), (0, 0)) if code == LINKED else ((0, 0), (3, 5_120_007)))


def test_what_the_server_says_of_a_failure_is_told(source):
    failure = error(ErrorKind.DISK_FULL.value, Operation.WRITE, 28, 5_120_000, 77, b"sub/large", "voll ü".encode())

    def final(offered):
        return result(0, STORED)[4:] if offered.size < 100 else result(0, FAILED, failure)[4:]

    with Played(Store(final=final).talk) as played, pytest.raises(py_eacopy.TreeError) as caught:
        push(played, source)
    (told,) = caught.value.errors
    assert isinstance(told, py_eacopy.DiskFullError) and "voll ü" in str(told)
    assert (told.needed, told.available, told.errno, told.root) == (5_120_000, 77, 28, False)
    assert (told.filename, told.filename2) == (
        str(source / "sub" / "large"),
        "eacopy://127.0.0.1/share/there/sub/large",
    )


def test_a_failure_that_this_version_does_not_know_is_unknown(source):
    """That of a later version of the server, say. It is the one way to an UNKNOWN."""

    def final(offered):
        return result(0, STORED)[4:] if offered.size < 100 else result(0, FAILED, error(200, 201, 0, text=b"new"))[4:]

    with Played(Store(final=final).talk) as played, pytest.raises(py_eacopy.TreeError) as caught:
        push(played, source)
    (told,) = caught.value.errors
    assert isinstance(told, py_eacopy.UnknownError) and isinstance(told, OSError)
    assert (told.kind, told.operation) == (ErrorKind.UNKNOWN, Operation.NONE) and "new" in str(told)


def test_a_failing_file_is_offered_again_under_retry(source):
    failed = []

    def final(offered):
        if offered.path == b"file" and len(failed) < 2:
            failed.append(offered.path)
            return result(0, FAILED, error(ErrorKind.WRITE_ERROR.value, Operation.WRITE, 5))[4:]
        return result(0, STORED)[4:]

    store = Store(final=final)
    with Played(store.talk) as played:
        report = push(played, source, error_strategy="retry", retry_delay=0.01)
    assert report.retries == 2 and report.files_copied == 3 and report.errors == ()


def test_a_directory_that_cannot_be_made_is_one_error(source):
    class Refusing(Store):
        def talk(self, connection, what=2):
            connection.open(what)
            while True:
                kind, payload = connection.receive()
                if kind == GOODBYE:
                    return
                reader = Reader(payload)
                if kind == BODY:
                    connection.send(results(result(reader.fields("I")[0], STORED)))
                    continue
                first, count = reader.fields("II")
                answers = []
                for number in range(first, first + count):
                    offered = Entry(reader)
                    below = offered.path.startswith(b"sub")
                    failure = error(ErrorKind.DESTINATION_EXISTS.value, Operation.MAKE_DIRECTORY, 17)
                    code = SEND if offered.kind == FILE else MADE
                    answers.append(result(number, FAILED, failure) if below else result(number, code))
                connection.send(results(*answers))

    with Played(Refusing().talk) as played, pytest.raises(py_eacopy.TreeError) as caught:
        push(played, source)
    (told,) = caught.value.errors
    assert told.filename == str(source / "sub") and told.kind is ErrorKind.DESTINATION_EXISTS


def test_offers_go_ahead_but_not_too_far(tmp_path):
    source = tmp_path / "many"
    source.mkdir()
    for number in range(3000):
        (source / ("%04d" % number)).write_bytes(b"x")
    seen = []

    def talk(connection):
        connection.open()
        waiting = []
        while True:
            while not connection.is_quiet(0.3):
                kind, payload = connection.receive()
                if kind == GOODBYE:
                    return
                reader = Reader(payload)
                if kind == BODY:
                    connection.send(results(result(reader.fields("I")[0], STORED)))
                    continue
                assert kind == OFFER
                first, count = reader.fields("II")
                kinds = [Entry(reader).kind for _ in range(count)]
                waiting.append([(first + at, kind) for at, kind in enumerate(kinds)])
            if not waiting:
                continue
            seen.append((len(waiting), sum(map(len, waiting))))
            for offer in waiting:
                connection.send(results(*(result(at, SEND if kind == FILE else MADE) for at, kind in offer)))
            waiting = []

    with Played(talk) as played:
        report = push(played, source, thread_count=1)
    assert report.files_copied == 3000
    assert max(seen)[0] <= 4 and 1000 < max(number for _, number in seen) <= 8192, seen


@pytest.mark.parametrize(
    "answer",
    [
        results(result(77, SEND)),
        results(result(0, 9)),
        message(99, b""),
        message(RESULTS, struct.pack("<I", 5)),
        message(RESULTS, struct.pack("<I", 0) + b"left over"),
        message(DATA, b"what?"),
        struct.pack("<IB3x", 1 << 30, RESULTS),
        struct.pack("<IB3x", 7, RESULTS),
        message(PACKED, struct.pack("<I", 10) + b"no zstd was agreed on", level=3),
        message(ENTRIES, struct.pack("<I", 0)),
        results(result(0, STORED), result(0, STORED)),
    ],
    ids=lambda answer: repr(answer)[:40],
)
def test_a_server_that_breaks_the_protocol_is_left(source, answer):
    complaint = []

    def talk(connection):
        connection.open()
        connection.receive()
        connection.send(answer)
        with contextlib.suppress(Closed, OSError):
            while True:
                kind, payload = connection.receive()
                if kind == GOODBYE:
                    complaint.append(Reader(payload).failure())

    with Played(talk) as played, pytest.raises(ConnectionError) as caught:
        push(played, source)
    assert caught.value.kind is ErrorKind.CLIENT and caught.value.root
    assert [failure[0] for failure in complaint] == [ErrorKind.CLIENT.value]


def test_a_goodbye_is_told_with_its_reason(source):
    def talk(connection):
        connection.open()
        connection.send(message(GOODBYE, error(ErrorKind.SERVER.value, Operation.NONE, 0, text=b"going home")))

    with Played(talk) as played, pytest.raises(ConnectionError) as caught:
        push(played, source)
    assert caught.value.kind is ErrorKind.SERVER and "going home" in str(caught.value) and caught.value.root


def test_a_refused_place_is_an_error_of_the_destination(source):
    def talk(connection):
        connection.send(protocol.version(protocol.EXTENDED))
        connection.receive()
        connection.send(protocol.welcome())
        connection.receive()
        connection.send(message(GOODBYE, error(ErrorKind.PERMISSION_DENIED.value, Operation.NONE, 13)))

    with Played(talk) as played, pytest.raises(PermissionError) as caught:
        push(played, source)
    assert caught.value.operation is Operation.OPEN_DESTINATION and caught.value.root


@pytest.mark.parametrize("after", ["version", "hello", "open"])
def test_a_server_that_hangs_up_before_it_has_opened_is_none(source, after):
    def talk(connection):
        connection.send(protocol.version(protocol.EXTENDED))
        connection.receive()
        if after == "version":
            return
        connection.send(protocol.welcome())
        if after == "open":
            connection.receive()

    with Played(talk) as played, pytest.raises(ConnectionError) as caught:
        push(played, source)
    assert (caught.value.operation, caught.value.kind) == (Operation.CONNECT, ErrorKind.NETWORK)


# Pulling --------------------------------------------------------------------------------------------------------------


def listing(*entries, failures=()):
    found = message(ENTRIES, struct.pack("<I", len(entries)) + b"".join(entries))
    return found + message(LISTED, struct.pack("<I", len(failures)) + b"".join(failures))


def serving(listed, answer, what=2):
    """Talks of a server that lists, and answers each path that is fetched."""

    def talk(connection):
        connection.open(what)
        while True:
            kind, payload = connection.receive()
            if kind == GOODBYE:
                return
            if kind == LIST:
                connection.send(listed)
                continue
            assert kind == FETCH
            reader = Reader(payload)
            first, count, _ = reader.fields("IIB3x")
            for number in range(first, first + count):
                connection.send(answer(number, reader.str16()))
            reader.done()

    return talk


ROOT = entry(b"", DIRECTORY, mode=0o755)


def test_a_tree_is_pulled(tmp_path):
    listed = listing(
        ROOT,
        entry(b"sub", DIRECTORY, mode=0o750, mtime=MTIME),
        entry(b"sub/file", size=7, mode=0o640, mtime=MTIME),
        entry(b"sparse", size=3_000_005, mtime=MTIME),
        entry(b"link", LINK, target=b"sub/file", mtime=MTIME),
    )

    def answer(number, path):
        if path == b"sub/file":
            return body(number, b"content", mtime=MTIME)
        return (
            protocol.begin(number, 3_000_005, mtime=MTIME)
            + protocol.hole(1_000_000)
            + message(DATA, b"12345")
            + protocol.hole(2_000_000)
            + protocol.end(zlib.crc32(b"12345"))
        )

    back = tmp_path / "back"
    with Played(serving(listed, answer)) as played:
        report = pull(played, back)
        again = pull(played, back)
    assert (back / "sub" / "file").read_bytes() == b"content"
    assert (back / "sparse").read_bytes() == bytes(1_000_000) + b"12345" + bytes(2_000_000)
    assert os.stat(str(back / "sparse")).st_blocks * 512 < 1_000_000
    assert os.readlink(str(back / "link")) == "sub/file"
    info = os.stat(str(back / "sub" / "file"))
    assert (info.st_mode & 0o7777, info.st_mtime_ns) == (0o640, MTIME)
    assert os.stat(str(back / "sub")).st_mode & 0o7777 == 0o750 and os.stat(str(back / "sub")).st_mtime_ns == MTIME
    assert (report.files_copied, report.bytes_copied, report.symlinks_copied) == (2, 3_000_012, 1)
    assert (again.files_copied, again.files_skipped, again.symlinks_copied) == (0, 2, 0)


@posix("looks at POSIX modes, paths or single nanoseconds")
def test_a_mode_that_differs_is_set_without_fetching_unless_another_name_would_see_it(tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    for name in ("alone", "shared"):
        (back / name).write_bytes(b"content")
        os.chmod(str(back / name), 0o600)
        os.utime(str(back / name), ns=(MTIME, MTIME))
    os.link(str(back / "shared"), str(tmp_path / "sibling"))
    listed = listing(ROOT, *(entry(name, size=7, mode=0o644, mtime=MTIME) for name in (b"alone", b"shared")))
    with Played(serving(listed, lambda number, path: body(number, b"content", mtime=MTIME))) as played:
        report = pull(played, back)
    assert (report.files_skipped, report.files_copied) == (1, 1)
    assert [os.stat(str(back / name)).st_mode & 0o777 for name in ("alone", "shared")] == [0o644] * 2
    assert os.stat(str(tmp_path / "sibling")).st_mode & 0o777 == 0o600


@posix("looks at POSIX modes, paths or single nanoseconds")
def test_failures_of_the_listing_and_of_files_are_told_and_the_rest_is_pulled(tmp_path):
    denied = error(ErrorKind.PERMISSION_DENIED.value, Operation.LIST_DIRECTORY, 13, path=b"secret")
    listed = listing(ROOT, entry(b"a", size=1), entry(b"b", size=1), entry(b"secret", DIRECTORY), failures=[denied])

    def answer(number, path):
        if path == b"a":
            gone = error(ErrorKind.FILE_NOT_FOUND.value, Operation.OPEN_SOURCE, 2)
            return message(protocol.ABANDON, struct.pack("<I", number) + gone)
        return body(number, b"b")

    with Played(serving(listed, answer)) as played, pytest.raises(py_eacopy.TreeError) as caught:
        pull(played, tmp_path / "back")
    told = {(failure.kind, failure.filename, failure.filename2) for failure in caught.value.errors}
    shown, back = "eacopy://127.0.0.1/share/there/", str(tmp_path / "back") + "/"
    assert told == {
        (ErrorKind.PERMISSION_DENIED, shown + "secret", back + "secret"),
        (ErrorKind.FILE_NOT_FOUND, shown + "a", back + "a"),
    }
    assert sorted(os.listdir(back)) == ["b", "secret"]


def test_links_cannot_be_followed_on_the_server(tmp_path):
    listed = listing(ROOT, entry(b"link", LINK, target=b"file"), entry(b"file", size=1))
    with Played(serving(listed, lambda number, path: body(number, b"1"))) as played, pytest.raises(
        py_eacopy.TreeError
    ) as caught:
        pull(played, tmp_path / "back", follow_symlinks=True)
    (told,) = caught.value.errors
    assert told.kind is ErrorKind.UNSUPPORTED and "copy them as links" in str(told)
    assert os.listdir(str(tmp_path / "back")) == ["file"]


@posix("looks at POSIX modes, paths or single nanoseconds")
def test_a_file_is_pulled_alone(tmp_path):
    listed = listing(entry(b"there", size=7, mode=0o600, mtime=MTIME))
    (tmp_path / "directory").mkdir()
    for place, found in (("name", "name"), ("directory", "directory/there"), ("new/deep", "new/deep")):
        with Played(serving(listed, lambda number, path: body(number, b"content", mtime=MTIME), what=1)) as played:
            assert pull(played, tmp_path / place).files_copied == 1
        assert (tmp_path / found).read_bytes() == b"content"
        assert os.stat(str(tmp_path / found)).st_mtime_ns == MTIME


def wrong_content():
    crc = zlib.crc32(b"content")
    begin, data = protocol.begin, message(DATA, b"content")
    return {
        "checksum": lambda n: body(n, b"content", crc=1),
        "checksum of pieces": lambda n: begin(n, 7) + data + protocol.end(crc + 1),
        "another number": lambda n: body(n + 1, b"content"),
        "too little": lambda n: begin(n, 8) + data + protocol.end(crc),
        "too much": lambda n: begin(n, 6) + data + protocol.end(crc),
        "a hole too far": lambda n: begin(n, 6) + protocol.hole(7) + protocol.end(0),
        "data of nothing": lambda n: data,
        "an end of nothing": lambda n: protocol.end(0),
        "a hole of nothing": lambda n: protocol.hole(5),
        "two at once": lambda n: begin(n, 7) + begin(n, 7),
        "a body in the middle": lambda n: begin(n, 7) + body(n, b"content"),
        "results": lambda n: results(result(n, STORED)),
        "an abandon of what is not due": lambda n: message(protocol.ABANDON, struct.pack("<I", n + 5) + error()),
        "the type of a set-up": lambda n: protocol.welcome(),
    }


@pytest.mark.parametrize("what", sorted(wrong_content()))
def test_content_that_is_wrong_leaves_the_old_file_alone(tmp_path, what):
    back = tmp_path / "back"
    back.mkdir()
    (back / "file").write_bytes(b"old")
    listed = listing(ROOT, entry(b"file", size=7))
    with Played(serving(listed, lambda number, path: wrong_content()[what](number))) as played, pytest.raises(
        ConnectionError
    ) as caught:
        pull(played, back)
    assert caught.value.kind is ErrorKind.CLIENT and caught.value.root
    assert os.listdir(str(back)) == ["file"] and (back / "file").read_bytes() == b"old"


@pytest.mark.parametrize(
    "path", [b"..", b".", b"../out", b"/tmp/out", b"a//b", b"a/../../out", b"x\0y", b"nowhere/file", b"sub/"]
)
def test_paths_that_lead_elsewhere_are_not_believed(tmp_path, path):
    listed = listing(ROOT, entry(path, size=1))
    with Played(serving(listed, lambda number, path: body(number, b"1"))) as played, pytest.raises(
        ConnectionError
    ) as caught:
        pull(played, tmp_path / "back" / "deep")
    assert caught.value.kind is ErrorKind.CLIENT
    assert not (tmp_path / "out").exists() and not (tmp_path / "back" / "out").exists()


def test_a_file_in_the_place_of_a_directory_is_one_error(tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    (back / "sub").write_bytes(b"in the way")
    (back / "file").mkdir()
    listed = listing(
        ROOT, entry(b"sub", DIRECTORY), entry(b"sub/a", size=1), entry(b"file", size=1), entry(b"good", size=1)
    )
    with Played(serving(listed, lambda number, path: body(number, b"1"))) as played, pytest.raises(
        py_eacopy.TreeError
    ) as caught:
        pull(played, back)
    told = {failure.filename2: failure.kind for failure in caught.value.errors}
    assert told == {
        str(back / "sub"): ErrorKind.DESTINATION_EXISTS,
        str(back / "file"): ErrorKind.DESTINATION_EXISTS,
    }
    assert (back / "good").read_bytes() == b"1" and (back / "sub").read_bytes() == b"in the way"


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_packed_messages_are_unpacked_and_bombs_are_not(tmp_path):
    listed = listing(ROOT, entry(b"a", size=1000), entry(b"b", size=1000))

    def packed(content, size=None):
        frame = zstd.compress(content, 3)
        return message(PACKED, struct.pack("<I", len(content) if size is None else size) + frame, level=3)

    def good(number, path):
        return packed(body(number, path * 1000))

    with Played(serving(listed, good), 15) as played:
        report = pull(played, tmp_path / "back", level=3)
    assert (tmp_path / "back" / "b").read_bytes() == b"b" * 1000 and report.compression_level == 3.0
    bombs = {
        "too large": lambda number, path: packed(bytes(64 << 20), 1 << 20),
        "another size": lambda number, path: packed(body(number, b"x" * 1000), 2000),
        "announced too large": lambda number, path: packed(body(number, b"x" * 1000), 1 << 31),
        "nested": lambda number, path: packed(packed(body(number, b"x"))),
        "cut": lambda number, path: packed(body(number, b"x" * 1000)[:-1]),
        "no frame": lambda number, path: message(PACKED, struct.pack("<I", 10) + b"garbage", level=3),
    }
    for name, bomb in bombs.items():
        with Played(serving(listed, bomb), 15) as played, pytest.raises(ConnectionError) as caught:
            pull(played, tmp_path / name, level=3)
        assert caught.value.kind is ErrorKind.CLIENT, name
        assert os.listdir(str(tmp_path / name)) == []


def test_verifying_and_syncing_change_nothing_else(tmp_path):
    listed = listing(ROOT, entry(b"file", size=1_000_007, mtime=MTIME))

    def answer(number, path):
        data = os.urandom(7)
        return (
            protocol.begin(number, 1_000_007, mtime=MTIME)
            + protocol.hole(1_000_000)
            + message(DATA, data)
            + protocol.end(zlib.crc32(data))
        )

    with Played(serving(listed, answer)) as played:
        report = pull(played, tmp_path / "back", verify=True, fsync=True)
    assert report.files_copied == 1 and os.path.getsize(str(tmp_path / "back" / "file")) == 1_000_007


@posix("looks at POSIX modes, paths or single nanoseconds")
def test_without_metadata_an_overwritten_file_keeps_its_mode(tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    (back / "file").write_bytes(b"old")
    os.chmod(str(back / "file"), 0o604)
    listed = listing(ROOT, entry(b"file", size=3, mode=0o777, mtime=MTIME), entry(b"new", size=3, mode=0o777))
    for level, modes in (("none", (0o604, 0o644)), ("mode", (0o777, 0o777))):
        with Played(serving(listed, lambda number, path: body(number, b"new", mtime=MTIME))) as played:
            pull(played, back, metadata=level)
        assert tuple(os.stat(str(back / name)).st_mode & 0o777 for name in ("file", "new")) == modes
        assert os.stat(str(back / "file")).st_mtime_ns != MTIME


def test_a_pull_whose_connection_breaks_goes_on_where_it_was_under_retry(tmp_path):
    names = [b"%03d" % number for number in range(50)]
    listed = listing(ROOT, *(entry(name, size=3) for name in names))
    answered = []

    def answer(number, path):
        answered.append(path)
        if len(answered) == 20:
            raise Closed
        return body(number, path)

    with Played(serving(listed, answer)) as played:
        report = pull(played, tmp_path / "back", error_strategy="retry", retry_delay=0.01, thread_count=1)
    assert report.retries == 1 and report.files_copied == 50 and report.errors == ()
    assert {path.name: path.read_bytes().decode() for path in (tmp_path / "back").iterdir()} == {
        name.decode(): name.decode() for name in names
    }
    with Played(serving(listed, answer)) as played:
        answered[:] = []
        with pytest.raises(ConnectionError) as caught:
            pull(played, tmp_path / "other", thread_count=1)
    assert (caught.value.kind, caught.value.operation) == (ErrorKind.NETWORK, Operation.RECEIVE)


def test_a_name_that_nobody_knows_has_the_remedy_for_that(monkeypatch):
    def unknown(*arguments, **keywords):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(py_eacopy.NetworkError, match="check the name of the server") as caught:
        py_eacopy.server_report("fileserver")
    assert caught.value.errno == errno.EHOSTUNREACH  # as the engine says
