"""Plain v20, as EACopy's own client and service speak it: our server before a client that is played by hand, and our
client before such a service. Every byte is made by hand, from the description of the protocol."""

import hashlib
import os
import shutil
import struct
import time

import pytest
from faults import trees
from net import plain, serving
from net.plain import COPY, HASH, LINK, SKIP, Client, Service, command, environment, read_file, ticks, write_file
from net.serving import Pair, until_tidy, zstd

import py_eacopy
from py_eacopy import Config, ErrorKind, Operation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="looks at inodes and POSIX paths")

TIME = 1_704_164_645_123_456_700
SPAN = 2_064_384


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def served(server_backend, share):
    with Pair("portable", server_backend).serving(share) as served:
        yield served


# Golden bytes ----------------------------------------------------------------------------------------------------


def test_the_helper_makes_the_bytes_of_real_peers():
    """Derived by hand from the description: sizes, offsets, padding."""
    assert ticks(TIME) == 133_486_382_451_234_567
    assert len(plain.version()) == 30 and plain.version()[:8] == b"\x1e\0\0\0\0\0\0\0"
    assert len(environment("share\\dst1\\")) == 40 + 22
    assert environment("ab", secret=b"s" * 16, index=2)[8:] == (
        b"\2\0\0\0\1\0\0\0\x14\0\0\0" + b"s" * 16 + b"a\0b\0\0\0\xcd\xcd"
    )
    assert len(write_file("abc", TIME, 5)) == 48 + 6 and write_file("abc", TIME, 5)[-6:] == b"\xcd" * 6
    assert write_file("a", TIME, 5)[16:40] == struct.pack("<QQQ", 0, 133_486_382_451_234_567, 5)
    assert len(command(plain.CREATE_DIR, "abc")) == 12 + 6 and command(plain.DONE) == b"\x08\0\0\0\x08\0\0\0"
    guid = bytes.fromhex("cb9a82bbc098f44bb85cf59479baad6e")
    assert plain.file_name(guid) == ".fBB829ACB-98C0-4BF4-B85C-F59479BAAD6E"


# Our server ------------------------------------------------------------------------------------------------------


def test_the_server_speaks_first(served):
    with Client(served.port) as client:
        kind, number = client.version[0], struct.unpack_from("<I", client.version, 4)[0]
        assert (kind, number, client.flags & 1) == (0, 20, 0)
        text = client.version[12:]
        assert text[: text.index(b"\0\0\0") + 1].decode("utf-16-le").isprintable()
        assert len(client.version) + 4 <= 2068


def test_a_push_of_a_real_client(served, share):
    content = trees.make_bytes(300_001)
    with Client(served.port) as client:
        client.send(environment("share\\dst1\\"))
        assert client.byte(command(plain.CREATE_DIR, "")) == 3  # made
        assert client.byte(command(plain.CREATE_DIR, "")) == 2  # existed
        assert client.byte(command(plain.CREATE_DIR, "a\\b\\")) == 4
        assert client.byte(command(plain.CREATE_DIR, "a")) == 2
        assert client.write("a\\ünï 文件.txt", TIME, content) == (COPY, 1)
        assert client.write("empty", TIME, b"") == (COPY, 1)
        assert client.byte(command(plain.CREATE_DIR, "empty")) == 0
        assert client.byte(write_file("a\\ünï 文件.txt", TIME, len(content))) == SKIP
        assert client.write("a\\ünï 文件.txt", TIME + 100, b"new") == (COPY, 1)
        assert client.done() == 0
    assert trees.read(share / "dst1" / "a" / "ünï 文件.txt") == b"new"
    assert os.stat(share / "dst1" / "a" / "ünï 文件.txt").st_mtime_ns == TIME + 100
    assert os.stat(share / "dst1" / "empty").st_mtime_ns == TIME
    until_tidy(share)


def test_what_was_pushed_before_is_linked_and_a_change_leaves_its_sibling_alone(served, share):
    content = trees.make_bytes(100_000)
    for number, answer in enumerate((COPY, LINK)):
        with Client(served.port) as client:
            client.send(environment(f"share\\dst{number}\\"))
            client.byte(command(plain.CREATE_DIR, ""))
            assert client.write("file", TIME, content)[0] == answer
            client.done()
    assert trees.read(share / "dst1" / "file") == content
    assert os.stat(share / "dst0" / "file").st_ino == os.stat(share / "dst1" / "file").st_ino or trees.shared_bytes(
        str(share / "dst1" / "file")
    )
    with Client(served.port) as client:
        client.send(environment("share\\dst1"))  # without its last separator
        assert client.write("file", TIME + 100, b"changed") == (COPY, 1)
        client.done()
    assert trees.read(share / "dst0" / "file") == content and trees.read(share / "dst1" / "file") == b"changed"


def test_bodies_may_follow_at_once_and_commands_come_together_or_byte_by_byte(served, share):
    said = b"".join(
        (
            environment("share\\"),
            command(plain.CREATE_DIR, "a", tight=True),
            write_file("a\\x", TIME, 5),
            b"first",
            command(plain.CREATE_DIR, "b"),
            write_file("b\\y", TIME, 6, kind=0),
            b"second",
            command(plain.DONE),
        )
    )
    for step in (len(said), 1, 7):
        with Client(served.port) as client:
            for at in range(0, len(said), step):
                client.send(said[at : at + step])
            answer = client.take(6 + 8)
            assert answer == b"\3\0\1\3\0\1" + bytes(8) and client.closed()
        assert trees.read(share / "a" / "x") == b"first" and trees.read(share / "b" / "y") == b"second"
        for name in ("a", "b"):
            shutil.rmtree(share / name)
        # It is remembered, but no longer there: it must be sent again.


@pytest.mark.parametrize("how", ["chunks", "small", "odd", "checksum", "no size", "two frames", "empty blocks"])
def test_compressed_bodies(served, share, how):
    compress = zstd().compress
    content = trees.make_bytes(5_000_400)
    steps = {"small": 65_536, "odd": 1_000_003, "no size": 1_000_003}.get(how, SPAN)
    pieces = [content[at : at + steps] for at in range(0, len(content), steps)]
    if how == "checksum":
        frames = [compress(piece, options={zstd().CompressionParameter.checksum_flag: 1}) for piece in pieces]
    elif how == "no size":
        frames = []
        for piece in pieces:
            compressor = zstd().ZstdCompressor(options={zstd().CompressionParameter.content_size_flag: 0})
            frames.append(compressor.compress(piece) + compressor.flush())
    else:
        frames = [compress(piece) for piece in pieces]
    if how == "two frames":
        frames = [b"".join(frames[:2]), *frames[2:]]
    if how == "empty blocks":
        frames.insert(1, compress(b""))
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(write_file("file", TIME, len(content), kind=2)) == COPY
        assert client.byte(*[struct.pack("<I", len(frame)) + frame for frame in frames]) == 1
        assert client.byte(write_file("empty", TIME, 0, kind=2)) == COPY
        assert client.take(1) == b"\1"
        client.done()
    assert trees.read(share / "file") == content and os.path.getsize(share / "empty") == 0


@pytest.mark.parametrize("how", ["noise", "overshoot", "huge block", "zero size"])
def test_compressed_bodies_that_are_none_do_not_hang(served, share, how):
    compress = zstd().compress
    block = {
        "noise": struct.pack("<I", 100) + os.urandom(100),
        "overshoot": (lambda frame: struct.pack("<I", len(frame)) + frame)(compress(b"x" * 200)),
        "huge block": struct.pack("<I", (8 << 20) + 1),
        "zero size": bytes(4),
    }[how]
    trees.write(share / "file", b"old")
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(write_file("file", TIME, 100, kind=2)) == COPY
        client.send(block)
        if how == "zero size":
            client.socket.close()
        else:
            with pytest.raises(plain.Closed):
                assert client.take(1) == b"\0"
                client.take(1)
    until_tidy(share)
    assert trees.read(share / "file") == b"old"


def test_a_body_that_breaks_off_leaves_the_old_file(served, share):
    trees.write(share / "file", b"old")
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(write_file("file", TIME, 1_000_000)) == COPY
        client.send(bytes(500_000))
    until_tidy(share)
    assert trees.read(share / "file") == b"old" and os.listdir(share) == ["file"]


def test_a_file_whose_directory_is_missing_fails_or_gets_it(served, share):
    with Client(served.port) as client:
        client.send(environment("share\\"))
        answer, went_well = client.write("missing\\file", TIME, b"content")
        assert answer == COPY and bool(went_well) == (share / "missing" / "file").exists()
        assert client.write("fine", TIME, b"content") == (COPY, 1)  # and the connection is in step
        client.done()


def test_a_pull_of_a_real_client(served, share):
    content = trees.make_bytes(5_000_001)
    (share / "src" / "sub" / "empty").mkdir(parents=True)
    trees.write(share / "src" / "file", content)
    trees.write(share / "src" / "sub" / "ü", b"1")
    for name in ("file", "sub/ü", "sub", "sub/empty"):
        os.utime(share / "src" / name, ns=(0, TIME))
    with Client(served.port) as client:
        client.send(environment("share\\src\\"))
        listing = client.listing("*.*")
        assert sorted(listing) == ["file", "sub"]
        attributes, when, size = listing["file"]
        assert not attributes & plain.DIRECTORY and (when, size) == (ticks(TIME), len(content))
        assert listing["sub"][0] & plain.DIRECTORY and listing["sub"][2] == 0
        assert list(client.listing("sub\\*.*")) == ["ü", "empty"] or list(client.listing("sub\\*.*")) == ["empty", "ü"]
        assert client.listing("sub\\empty\\*.*") == {}  # and one zero only, else the next is out of step
        assert client.listing("missing\\*.*") is None
        client.send(command(plain.FILE_INFO, "file"))
        created, when, size, attributes, error = struct.unpack("<QQQII", client.take(32))
        assert (created, when, size, error) == (0, ticks(TIME), len(content), 0) and not attributes & plain.DIRECTORY
        for missing, number in (("missing", 2), ("missing\\deeper", 3)):
            client.send(command(plain.FILE_INFO, missing))
            answer = client.take(32)
            assert answer[:28] == bytes(28) and struct.unpack_from("<I", answer, 28)[0] in (2, number)
        assert client.byte(read_file("file")) == plain.READ_COPY
        assert struct.unpack("<QQ", client.take(16)) == (ticks(TIME), len(content))
        assert client.take(len(content)) == content
        assert client.byte(read_file("file", have=plain.info(TIME, len(content)))) == plain.READ_SKIP
        for wrong in ("missing", "sub", "missing\\file"):
            assert client.byte(read_file(wrong)) == plain.BAD_SOURCE
        assert client.done() == 0


@pytest.mark.parametrize("level", [1, 9, 255])
def test_a_compressed_pull(served, share, level):
    decompress = zstd().decompress
    content = trees.make_bytes(5_000_001)
    trees.write(share / "file", content)
    trees.write(share / "empty", b"")
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(read_file("file", level=level)) == plain.READ_COPY
        assert struct.unpack("<QQ", client.take(16))[1] == len(content)
        got, wire = b"", 0
        while len(got) < len(content):
            size = client.u32()
            assert 0 < size <= 8 << 20
            wire += size
            got += decompress(client.take(size))
        assert got == content and wire < len(content) / 2
        assert client.byte(read_file("empty", level=level)) == plain.READ_COPY
        assert struct.unpack("<QQ", client.take(16))[1] == 0
        total = client.done()
        assert total == level * len(content) if level != 255 else len(content) <= total <= 22 * len(content)


def test_a_changed_reference_is_no_reason_for_wrong_bytes(served, share):
    """The real server sends a delta against what is at the path now, which the client no longer has."""
    decompress = zstd().decompress
    first, second = trees.make_bytes(100_000, 1), trees.make_bytes(100_000, 2)
    with Client(served.port) as client:
        client.send(environment("share\\"))
        client.write("file", TIME, first)
        client.write("file", TIME + 100, second)
        answer = client.byte(read_file("file", level=3, have=plain.info(TIME, len(first))))
        assert answer == plain.READ_COPY
        client.take(16)
        got = b""
        while len(got) < len(second):
            got += decompress(client.take(client.u32()))
        assert got == second
        client.done()


def old_and_new():
    old = trees.make_bytes(400_000, 1)
    return old, old[:150_000] + trees.make_bytes(777, 2) + old[150_000:]


def blocks_of_delta(client, limit):
    """The frame of a delta; a block of it must be one that real clients have room for."""
    assert client.take(1) == b"\0"
    frame = b""
    while True:
        size = client.u32()
        if not size:
            return frame
        assert size <= limit
        frame += client.take(size)


@pytest.mark.parametrize("level", [3, 255])
@pytest.mark.parametrize("use_hash", [False, True])
def test_a_pull_of_what_differs(server_backend, share, level, use_hash):
    """Only after the client has told the digest of its file, and only against that very content."""
    old, new = old_and_new()
    with Pair("portable", server_backend).serving(share, use_hash=use_hash) as served, Client(served.port) as client:
        client.send(environment("share\\"))
        for directory, time_, content in (("one", TIME, old), ("two", TIME + 100, new)):
            assert client.byte(command(plain.CREATE_DIR, directory)) == 3
            answer = client.byte(write_file(directory + "\\file", time_, len(content)))
            if answer == HASH:
                answer = client.byte(hashlib.md5(content).digest())
            assert answer == COPY and client.byte(content) == 1
        asked = read_file("two\\file", level=level, have=plain.info(TIME, len(old)))
        assert client.byte(asked) == plain.READ_HASH
        assert client.byte(hashlib.md5(old).digest()) == plain.READ_DELTA
        assert struct.unpack("<QQ", client.take(16)) == (ticks(TIME + 100), len(new))
        frame = blocks_of_delta(client, 2 << 20)
        assert len(frame) < 5_000
        # A single segment, with the size of the content and a checksum: no larger window than real clients allow.
        assert frame[4] & 0x20 and frame[4] & 4 and frame[4] >> 6 == 2
        prefix = zstd().ZstdDict(old, is_raw=True).as_prefix
        assert zstd().decompress(frame, zstd_dict=prefix) == new
        # Whatever else the client has: the whole file.
        for digest in (hashlib.md5(old[:-1]).digest(), bytes(16), hashlib.md5(new).digest()):
            assert client.byte(asked) == plain.READ_HASH
            assert client.byte(digest) == plain.READ_COPY
            client.take(16)
            got = b""
            while len(got) < len(new):
                got += zstd().decompress(client.take(client.u32()))
            assert got == new
        client.done()


@pytest.mark.parametrize("how", ["raw", "no file", "another size", "overwritten", "told not to"])
def test_no_delta_where_there_is_nothing_to_compare_with(server_backend, share, how):
    old, new = old_and_new()
    options = {"delta": False} if how == "told not to" else {}
    with Pair("portable", server_backend).serving(share, **options) as served, Client(served.port) as client:
        client.send(environment("share\\"))
        first = "file" if how == "overwritten" else "older\\file"
        client.byte(command(plain.CREATE_DIR, "older"))
        client.write(first, TIME, old)
        client.write("file", TIME + 100, new)
        have = plain.info(TIME, len(old) + (how == "another size")) if how != "no file" else bytes(24)
        answer = client.byte(read_file("file", level=0 if how == "raw" else 3, have=have))
        if how == "overwritten":  # Q1: it was there, so it is asked for, and it is not there any more
            assert answer == plain.READ_HASH
            answer = client.byte(hashlib.md5(old).digest())
        assert answer == plain.READ_COPY
        client.take(16)
        got = client.take(len(new)) if how == "raw" else b""
        while len(got) < len(new):
            got += zstd().decompress(client.take(client.u32()))
        assert got == new
        client.done()


def test_deleting_what_is_in_a_directory(served, share):
    (share / "dir" / "sub").mkdir(parents=True)
    trees.write(share / "dir" / "sub" / "file", b"x")
    trees.write(share / "kept", b"x")
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(command(plain.DELETE_FILES, "dir")) == 0
        assert client.byte(command(plain.DELETE_FILES, "missing")) == 0
        assert client.byte(command(plain.CREATE_DIR, "dir")) == 2
        client.done()
    assert sorted(os.listdir(share)) == ["dir", "kept"] and os.listdir(share / "dir") == []


def test_deleting_does_not_follow_links(served, share, tmp_path):
    (tmp_path / "outside").mkdir()
    trees.write(tmp_path / "outside" / "file", b"x")
    (share / "dir").mkdir()
    os.symlink(tmp_path / "outside", share / "dir" / "link")
    os.symlink(tmp_path / "outside", share / "link")
    with Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(command(plain.DELETE_FILES, "dir")) == 0
        client.byte(command(plain.DELETE_FILES, "link"))
        client.done()
    assert os.listdir(share / "dir") == [] and os.listdir(tmp_path / "outside") == ["file"]


def test_before_environment_nothing_is_served(served, share):
    trees.write(share / "file", b"content")
    with Client(served.port) as client:
        assert client.byte(write_file("file", TIME, 5)) == plain.BAD_DESTINATION
        assert client.byte(read_file("file")) == plain.BAD_SOURCE
        assert client.byte(command(plain.CREATE_DIR, "x")) == 1
        assert client.byte(command(plain.DELETE_FILES, "")) == 2
        client.send(command(plain.REPORT))
        text = client.take(2 * client.u32()).decode("utf-16-le")
        assert text.endswith("\n") and len(text) > 20
    assert os.listdir(share) == ["file"]
    for directory in ("unknown\\", "share2\\x\\"):
        with Client(served.port) as client:
            client.send(environment(directory))
            assert client.closed()


def test_digests_find_what_was_pushed_under_another_name(server_backend, share):
    content = trees.make_bytes(200_000)
    with Pair("portable", server_backend).serving(share, use_hash=True) as served, Client(served.port) as client:
        client.send(environment("share\\"))
        assert client.byte(write_file("one", TIME, len(content))) == HASH
        assert client.byte(hashlib.md5(content).digest()) == COPY
        assert client.byte(content) == 1
        assert client.byte(write_file("two", TIME + 5_000, len(content))) == HASH
        assert client.byte(hashlib.md5(content).digest()) in (LINK, plain.ODX)
        assert client.byte(write_file("three", TIME, len(content))) == HASH
        assert client.byte(hashlib.md5(b"something else").digest()) == COPY
        assert client.byte(content[::-1]) == 1
        client.done()
    assert trees.read(share / "two") == content and trees.read(share / "three") == content[::-1]


def test_the_security_file_of_v20(server_backend, share):
    with Pair("portable", server_backend).serving(share, mode="file") as served:
        with Client(served.port) as client:
            assert client.flags & 1
            client.send(environment("share\\new\\", secret=bytes(16), index=0))
            path = share / "new" / plain.file_name(client.take(16))
            assert os.stat(path).st_mode & 0o777 == 0o600 and os.path.getsize(path) == 16
            secret = trees.read(path)
            client.send(secret)
            assert client.byte(command(plain.CREATE_DIR, "")) == 2 and not path.exists()
            with Client(served.port) as second:
                second.send(environment("share\\new\\", secret=secret))
                assert second.write("file", TIME, b"content") == (COPY, 1)
            with Client(served.port) as third:
                third.send(environment("share\\new\\", secret=b"\7" * 16))
                assert third.closed()
            client.done()
        serving.until(lambda: served.server.get_stats()["active_connections"] == 0, "connections stay")
        with Client(served.port) as late:
            late.send(environment("share\\new\\", secret=secret))
            assert late.closed()
        for answer in (bytes(16), b"\1" * 16):
            with Client(served.port) as client:
                client.send(environment("share\\other\\deep\\", secret=bytes(16)))
                client.take(16)
                client.send(answer, command(plain.CREATE_DIR, "evil"))
                assert client.closed()
            serving.until(lambda: not (share / "other").exists(), "directories of a failed proof stay")


# Our client ------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    """What plain v20 can carry: no links, no odd names, no metadata but times of 100 ns."""
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    trees.write(source / "empty file", b"")
    trees.write(source / "sub" / "ünï 文件 🎉", b"1")
    trees.write(source / "sub" / "large", trees.make_bytes(SPAN * 2 + 5))
    for number in range(20):
        trees.write(source / "sub" / str(number), b"%d" % number)
    for where, directories, names in os.walk(source, topdown=False):
        for name in directories + names:
            os.utime(os.path.join(where, name), ns=(0, TIME))
    return source


def contents(root):
    """Names, contents, and files' times in 100 ns."""
    found = {}
    for name, value in trees.snapshot(root).items():
        found[name] = value[:2] + (value[3] // 100,) if value[0] == "file" else value[:1]
    return found


def copy(source, destination, backend, **options):
    mine = {name: options.pop(name) for name in list(options) if name.startswith(("retry", "error", "thread"))}
    config = Config(backend=backend, **mine)
    return py_eacopy.copy_with_server(
        source, destination, timeout=options.pop("timeout", 10.0), config=config, **options
    )


@pytest.mark.parametrize("level", [0, 5, "auto"])
@pytest.mark.parametrize("sends", [65536, 1], ids=["as it comes", "single bytes"])
def test_a_push_to_a_real_service(client_backend, source, share, level, sends):
    if level:
        serving.need(client_backend, "zstd")
        zstd()
    with Service(share, sends=sends) as service:
        report = copy(source, f"eacopy://127.0.0.1:{service.port}/share/a/b", client_backend, compression_level=level)
        assert (report.files_copied, report.files_linked, report.files_skipped) == (23, 0, 0)
        assert report.bytes_copied == sum(
            os.path.getsize(os.path.join(w, n)) for w, _, ns in os.walk(source) for n in ns
        )
        assert report.server and "1.11" in report.server
        assert len(set(service.environments)) == 1, "all connections of a client have one secret"
        kinds = {asked.payload[0] for asked in service.commands if asked.kind == plain.WRITE_FILE}
        assert kinds == {1} if level == 0 else 2 in kinds or level == "auto"
    assert contents(share / "a" / "b") == contents(source)


@pytest.mark.parametrize("level", [0, 5])
def test_a_pull_from_a_real_service(client_backend, source, share, tmp_path, level):
    """An empty directory's listing comes twice over."""
    if level:
        serving.need(client_backend, "zstd")
        zstd()
    shutil.copytree(source, share / "tree")
    with Service(share) as service:
        url = f"eacopy://127.0.0.1:{service.port}/share/tree"
        report = copy(url, tmp_path / "back", client_backend, compression_level=level)
        assert report.files_copied == 23 and report.server
        copy(url + "/sub/large", tmp_path / "single", client_backend, compression_level=level)
        with pytest.raises(FileNotFoundError):
            copy(url + "/missing", tmp_path / "missing", client_backend)
    assert contents(tmp_path / "back") == contents(source)
    assert trees.read(tmp_path / "single") == trees.read(source / "sub" / "large")
    assert not os.path.exists(tmp_path / "missing")
    until_tidy(tmp_path)


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_the_security_file_of_a_real_service(client_backend, source, share, tmp_path, push):
    shutil.copytree(source, share / "tree")
    mount = tmp_path / "mount"
    os.symlink(share, mount)
    with Service(share, flags=1) as service:
        config = Config(backend=client_backend, path_map={str(mount): f"eacopy://127.0.0.1:{service.port}/share"})
        pair = (source, mount / "copy") if push else (mount / "tree", tmp_path / "copy")
        report = py_eacopy.copy_with_server(*pair, config=config)
        assert report.server and report.files_copied == 23
        with pytest.raises(PermissionError) as caught:  # nothing says where the file is
            copy(source, f"eacopy://127.0.0.1:{service.port}/share/x", client_backend)
        assert caught.value.operation is Operation.AUTHENTICATE
    assert contents(pair[1]) == contents(source)


def test_answers_to_a_push(client_backend, source, share):
    large = trees.read(source / "sub" / "large")
    writes = {"1": [LINK], "2": [SKIP], "3": [plain.ODX], "large": [HASH], "4": [HASH, LINK], "5": [HASH, HASH, SKIP]}
    with Service(share, writes=writes) as service:
        report = copy(source, f"eacopy://127.0.0.1:{service.port}/share/x", client_backend, thread_count=1)
        assert report.files_copied == 18 and report.files_skipped == 2 and report.files_linked == 3
        assert service.hashed in {hashlib.md5(data).digest() for data in (large, b"4", b"5")}
    assert trees.read(share / "x" / "sub" / "large") == large


@pytest.mark.parametrize("answer", [plain.BAD_DESTINATION, plain.COPY_DELTA, plain.COPY_USING_SMB, 99])
def test_answers_that_fail_a_file_fail_that_file(client_backend, source, share, answer):
    with Service(share, writes={"7": [answer]}) as service:
        with pytest.raises((shutil.Error, py_eacopy.EACopyError)) as caught:
            copy(source, f"eacopy://127.0.0.1:{service.port}/share/x", client_backend)
        if answer == plain.COPY_USING_SMB:
            assert service.smb == [0], "the service waits for a word about how the copy went"
        errors = getattr(caught.value, "errors", None) or (caught.value,)
        assert all(error.kind is not ErrorKind.UNKNOWN for error in errors)
    if answer in (plain.BAD_DESTINATION, plain.COPY_USING_SMB):
        assert [os.path.basename(error.filename) for error in errors] == ["7"]
        found = contents(share / "x")
        assert {**found, b"sub/7": contents(source)[b"sub/7"]} == contents(source)


def test_a_copy_by_the_mount_is_made_when_the_service_asks_for_it(client_backend, source, share, tmp_path):
    mount = tmp_path / "mount"
    os.symlink(share, mount)
    with Service(share, writes={"7": [plain.COPY_USING_SMB]}) as service:
        config = Config(backend=client_backend, path_map={str(mount): f"eacopy://127.0.0.1:{service.port}/share"})
        report = py_eacopy.copy_with_server(source, mount / "x", config=config)
        assert report.files_copied == 23 and service.smb == [1]
    assert trees.read(share / "x" / "sub" / "7") == b"7"


def test_a_busy_service_is_asked_again(client_backend, source, share, tmp_path):
    shutil.copytree(source, share / "tree")
    with Service(share, busy=2) as service:
        report = copy(f"eacopy://127.0.0.1:{service.port}/share/tree", tmp_path / "back", client_backend, timeout=60.0)
        assert report.files_copied == 23
    assert contents(tmp_path / "back") == contents(source)


@pytest.mark.parametrize("number", [19, 21, 0])
def test_another_version_is_refused_or_gone_around(client_backend, source, share, tmp_path, number):
    (tmp_path / "mount").mkdir()
    with Service(share, number=number) as service:
        with pytest.raises(py_eacopy.NetworkError) as caught:
            copy(source, f"eacopy://127.0.0.1:{service.port}/share/x", client_backend)
        assert caught.value.operation is Operation.CONNECT and str(number) in str(caught.value)
        config = Config(
            backend=client_backend,
            path_map={str(tmp_path / "mount"): f"eacopy://127.0.0.1:{service.port}/share"},
        )
        report = py_eacopy.copy_with_server(source, tmp_path / "mount" / "x", config=config, required=False)
        assert report.server is None and report.files_copied == 23
        assert service.commands == []


@pytest.mark.parametrize("push", [True, False], ids=["push", "pull"])
def test_a_service_that_hangs_up_anywhere(client_backend, share, tmp_path, push):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for number in range(3):
        trees.write(source / "sub" / str(number), trees.make_bytes(1_000 * number))
    shutil.copytree(source, share / "tree")

    def once(number, **options):
        with Service(share, **options) as service:
            url = f"eacopy://127.0.0.1:{service.port}/share/"
            if push:
                copy(source, url + f"copy {number}", client_backend, thread_count=1)
            else:
                copy(url + "tree", tmp_path / f"copy {number}", client_backend, thread_count=1)
            return service.sent

    place = share if push else tmp_path
    total = once("whole")
    failed = 0
    for point in sorted({0, 1, 4, 8, 19, total - 9, total - 8, total - 1, *range(30, total, max(1, total // 12))}):
        began = time.monotonic()
        try:
            once(point, closes_after=point)
        except (py_eacopy.EACopyError, shutil.Error) as error:
            failed += 1
            for one in getattr(error, "errors", None) or (error,):
                assert one.kind is not ErrorKind.UNKNOWN
        else:
            assert point >= total - 8, (point, total)  # only the farewell was cut off
        assert time.monotonic() - began < 15
        if os.path.isdir(place / f"copy {point}") and not push:
            for name, value in trees.snapshot(place / f"copy {point}", metadata=False).items():
                assert value[0] == "directory" or value[1] == trees.read(source / os.fsdecode(name)), name
    assert failed >= 5
    until_tidy(tmp_path)


def test_what_plain_v20_cannot_say_fails_alone(client_backend, share, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    trees.write(source / "fine", b"fine")
    trees.write(source / "back\\slash", b"x")
    trees.write(os.fsencode(source) + b"/\xff", b"x")
    os.symlink("fine", source / "link")
    with Service(share) as service:
        with pytest.raises(shutil.Error) as caught:
            copy(source, f"eacopy://127.0.0.1:{service.port}/share/x", client_backend, symlinks=True)
        kinds = {os.path.basename(os.fsencode(error.filename)): error.kind for error in caught.value.errors}
        assert kinds == {
            b"back\\slash": ErrorKind.ENCODING,
            b"\xff": ErrorKind.ENCODING,
            b"link": ErrorKind.UNSUPPORTED,
        }
        assert os.listdir(share / "x") == ["fine"]


def test_a_hostile_service_names_nothing_outside(client_backend, share, tmp_path):
    """What a listing names is one name, and no way out."""
    for name in ("..", ".", "a\\b", "..\\evil", "C:\\evil", "a/b", "../evil", ""):

        class Hostile(Service):
            def _find(self, connection, asked, directory, name=name):
                block = struct.pack("<IQQ", 0x20, ticks(TIME), 4) + name.encode("utf-16-le") + b"\0\0"
                self._send(connection, struct.pack("<I", len(block)) + block + bytes(4))

            def _read(self, connection, asked, directory):
                self._send(connection, b"\0" + struct.pack("<QQ", ticks(TIME), 4) + b"evil")

            def _info(self, connection, asked, directory):
                self._send(connection, struct.pack("<QQQII", 0, ticks(TIME), 0, plain.DIRECTORY, 0))

        with Hostile(share) as service:
            try:
                copy(
                    f"eacopy://127.0.0.1:{service.port}/share/x",
                    tmp_path / "place" / "back",
                    client_backend,
                    timeout=3.0,
                )
            except (py_eacopy.EACopyError, shutil.Error):
                pass
        made = {os.path.join(w, n) for w, d, ns in os.walk(tmp_path / "place") for n in ns}
        assert all(os.path.dirname(path) == str(tmp_path / "place" / "back") for path in made), (name, made)
        assert sorted(os.listdir(tmp_path)) in (["place", "share"], ["share"])
        shutil.rmtree(tmp_path / "place", ignore_errors=True)


def test_the_report_of_a_real_service(share):
    with Service(share) as service:
        text = py_eacopy.server_report("127.0.0.1", service.port)
        assert text == "a report\nof two lines\n"
