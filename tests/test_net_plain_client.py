"""What a client does with a server that speaks plain v20 alone: a peer that tests play after the description of it."""

import errno
import hashlib
import os
import random
import shutil
import socket
import struct
import threading
import time

import pytest
from net import plain_peer, serving
from net.plain_peer import (
    BAD_DESTINATION,
    COPY,
    COPY_DELTA,
    CREATE_DIR,
    DONE,
    READ_FILE,
    READ_SKIP,
    WRITE_FILE,
    PlainPeer,
    filetime,
    mirror,
)

import py_eacopy
from py_eacopy import _strategy
from py_eacopy._config import Config
from py_eacopy._control import Control
from py_eacopy._errors import ErrorKind, Operation
from py_eacopy._job import CopyJob, CopyOptions, Remote
from py_eacopy.backends.portable.net import zstd

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the peer serves POSIX paths")

MTIME = 1_600_000_000_123_456_700


@pytest.fixture(autouse=True)
def able(backend):
    if "client" not in py_eacopy.backend_info(config=Config(backend=backend)).capabilities:
        if os.environ.get("PY_EACOPY_REQUIRE_NATIVE") == "1":
            pytest.fail("PY_EACOPY_REQUIRE_NATIVE=1, but the %s backend is no client" % backend)
        pytest.skip("the %s backend is no client" % backend)


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def source(tmp_path):
    """A small tree with what is special."""
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    write(root / "file", b"content")
    write(root / "nothing", b"")
    write(root / "sub" / "grüße 文件 🎉", b"x" * 5000)
    write(root / "sub" / "large", bytes(range(256)) * 20_000)
    return root


def write(path, content):
    path.write_bytes(content)
    os.utime(str(path), ns=(MTIME, MTIME))


def serve(share, **switches):
    if zstd.AVAILABLE:
        switches.setdefault("compress", zstd.compress)
        switches.setdefault("decompress", zstd.decompress)
    return PlainPeer(share, **switches)


def run(peer_or_port, push, local, directory="share", *, trees=True, control=None, filter=None, **settings):
    """Pushes to, or pulls from, a directory on the peer. Settings are those of Remote, else of CopyOptions."""
    port = getattr(peer_or_port, "port", peer_or_port)
    remote = {
        name: settings.pop(name)
        for name in ("level", "timeout", "local_directory", "token", "delta")
        if name in settings
    }
    remote.setdefault("timeout", 10.0)
    remote.setdefault("delta", 1)
    if remote.get("local_directory") is not None:
        remote["local_directory"] = os.fsencode(str(remote["local_directory"]))
    shown, path = os.fsencode("eacopy://127.0.0.1/" + directory), os.fsencode(str(local))
    settings.setdefault("follow_symlinks", False)
    job = CopyJob(
        trees=trees and push,
        items=((path, shown) if push else (shown, path),),
        options=CopyOptions(dirs_exist_ok=True, into_directory=True, **settings),
        filter=filter,
        remote=Remote(host="127.0.0.1", port=port, push=push, directory=os.fsencode(directory), **remote),
    )
    return _strategy.run(job, Config(), control)


def push(peer, local, directory="share", **settings):
    return run(peer, True, local, directory, **settings)


def pull(peer, local, directory="share", **settings):
    return run(peer, False, local, directory, **settings)


def contents(root):
    """Names below, with content and time of files."""
    found = {}
    for directory, names, files in os.walk(str(root)):
        for name in names:
            found[os.path.relpath(os.path.join(directory, name), str(root))] = None
        for name in files:
            path = os.path.join(directory, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, str(root))] = (stream.read(), os.stat(path).st_mtime_ns)
    return found


def leftovers(root):
    return [name for _, _, names in os.walk(str(root)) for name in names if name.startswith((".eacopy-", ".f"))]


levels = pytest.mark.parametrize("level", [0, 5, -1] if zstd.AVAILABLE else [0])


# Trees and files ------------------------------------------------------------------------------------------------------


@levels
def test_a_tree_is_pushed(share, source, level):
    with serve(share) as peer:
        report = push(peer, source, "share/there", level=level)
    assert peer.complaints == []
    assert contents(share / "there") == contents(source)
    assert (report.files_copied, report.bytes_copied) == (4, 7 + 5000 + 5_120_000)
    assert report.directories_created == 3
    assert report.server == "v1.11" and report.bytes_sent > 1000 and report.bytes_received > 0
    assert peer.commands[-1][0] == DONE
    if level == 5:
        assert report.compression_level == 5.0 and report.bytes_sent < 1_000_000


def test_answers_may_come_byte_by_byte(share, source, tmp_path):
    (source / "sub" / "large").unlink()
    with serve(share, drip=True) as peer:
        push(peer, source)
        pull(peer, tmp_path / "back")
    assert peer.complaints == []
    assert contents(tmp_path / "back") == contents(source) == contents(share)


def test_what_was_pushed_before_is_skipped_and_elsewhere_linked(share, source):
    with serve(share) as peer:
        push(peer, source, "share/one")
        again = push(peer, source, "share/one")
        other = push(peer, source, "share/two")
    assert peer.complaints == []
    assert (again.files_skipped, again.bytes_skipped, again.files_copied) == (4, 5_125_007, 0)
    assert (other.files_linked, other.bytes_linked, other.files_copied) == (4, 5_125_007, 0)
    assert contents(share / "two") == contents(source)


def test_a_file_is_pushed_under_a_name_or_into_a_directory(share, source):
    (share / "directory").mkdir()
    with serve(share) as peer:
        push(peer, source / "file", "share/name", trees=False)
        push(peer, source / "file", "share/new/deep/name", trees=False)
        push(peer, source / "file", "share/directory", trees=False)
        push(peer, source / "file", "share", trees=False)
    assert peer.complaints == []
    for path in ("name", "new/deep/name", "directory/file", "file"):
        assert (share / path).read_bytes() == b"content"
        assert os.stat(str(share / path)).st_mtime_ns == MTIME


@levels
def test_a_tree_is_pulled_and_empty_directories_do_not_shift_the_stream(share, source, tmp_path, level):
    mirror(source, share / "tree")
    with serve(share, double_end=True) as peer:
        report = pull(peer, tmp_path / "back", "share/tree", level=level)
        again = pull(peer, tmp_path / "back", "share/tree", level=level)
    assert peer.complaints == []
    assert contents(tmp_path / "back") == contents(source)
    assert (report.files_copied, report.bytes_copied) == (4, 5_125_007)
    assert (again.files_copied, again.files_skipped) == (0, 4)
    assert set(peer.levels) == {255 if level < 0 else level}
    if level > 0:
        assert report.compression_level == level


def test_a_whole_share_is_pulled(share, source, tmp_path):
    mirror(source, share / "tree")
    with serve(share) as peer:
        pull(peer, tmp_path / "back", "share")
    assert contents(tmp_path / "back" / "tree") == contents(source)


def test_a_file_is_pulled_under_a_name_or_into_a_directory(share, source, tmp_path):
    mirror(source, share / "tree")
    (tmp_path / "directory").mkdir()
    with serve(share) as peer:
        pull(peer, tmp_path / "name", "share/tree/file")
        pull(peer, tmp_path / "directory", "share/tree/file")
    assert peer.complaints == []
    for path in ("name", "directory/file"):
        assert (tmp_path / path).read_bytes() == b"content"
        assert os.stat(str(tmp_path / path)).st_mtime_ns == MTIME


def test_what_is_not_there_is_not_found(share, tmp_path):
    with serve(share) as peer, pytest.raises(FileNotFoundError) as caught:
        pull(peer, tmp_path / "back", "share/missing")
    assert caught.value.root and not (tmp_path / "back").exists()
    with serve(share) as peer, pytest.raises(FileNotFoundError):
        push(peer, tmp_path / "missing", "share/new")
    with serve(share) as peer, pytest.raises(FileNotFoundError):
        push(peer, tmp_path / "missing", "share/new/file", trees=False)
    with serve(share) as peer, pytest.raises(IsADirectoryError):
        push(peer, tmp_path, "share/new/file", trees=False)
    assert os.listdir(str(share)) == []


def test_a_changed_file_replaces_the_old_one(share, source, tmp_path):
    mirror(source, share / "tree")
    with serve(share) as peer:
        pull(peer, tmp_path / "back", "share/tree")
        write(share / "tree" / "file", b"another")
        os.utime(str(share / "tree" / "file"), ns=(MTIME + 100, MTIME + 100))
        sibling = tmp_path / "sibling"
        os.link(str(tmp_path / "back" / "file"), str(sibling))
        report = pull(peer, tmp_path / "back", "share/tree")
    assert (report.files_copied, report.files_skipped) == (1, 3)
    assert (tmp_path / "back" / "file").read_bytes() == b"another"
    assert sibling.read_bytes() == b"content"


def test_many_files_go_over_several_connections_with_one_secret(share, tmp_path):
    source = tmp_path / "many"
    source.mkdir()
    for number in range(600):
        if number % 20 == 0:
            (source / str(number)).mkdir()
        write(source / str(number // 20 * 20) / ("file %d" % number), b"x")

    def slowly(kind, path, answer):
        time.sleep(0.002)
        return answer

    with serve(share, answer=slowly, security_file=True) as peer:
        report = push(peer, source, local_directory=share, thread_count=3)
        assert report.files_copied == 600 and 2 <= peer.connections <= 3
        assert contents(share) == contents(source)
        pull(peer, tmp_path / "back", local_directory=share, thread_count=3)
    assert peer.complaints == [] and contents(tmp_path / "back") == contents(source)
    first = [secret for _, secret, _ in peer.environments if secret == bytes(16)]
    assert len(first) == 2 and len(peer.environments) > 2


# Connecting -----------------------------------------------------------------------------------------------------------


def assert_no_connection(caught, kind=ErrorKind.NETWORK):
    error = caught.value
    assert (error.operation, error.kind, error.root) == (Operation.CONNECT, kind, True), error


def test_nobody_listens(tmp_path, source):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionError) as caught:
        push(port, source)
    assert_no_connection(caught)
    with pytest.raises(ConnectionError) as caught:
        pull(port, tmp_path / "back")
    assert_no_connection(caught)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "switches",
    [
        {"version": 19},
        {"version": 21},
        {"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3},
        {"greeting": b"\0" * 64},
        {"greeting": struct.pack("<IB3x", 0xFFFFFFFF, 0) + b"x" * 64},
        {"close_after": 0},
        {"close_after": 20},
    ],
)
def test_what_answers_is_no_server_that_is_understood(share, source, switches):
    with serve(share, **switches) as peer:
        with pytest.raises(ConnectionError) as caught:
            push(peer, source, timeout=3.0)
        assert_no_connection(caught)
        assert [kind for kind, _ in peer.commands] == []


def test_a_server_that_says_nothing_is_not_waited_for(share, source):
    with serve(share, silent=True) as peer:
        begun = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            push(peer, source, timeout=0.5)
        assert time.monotonic() - begun < 5
    assert_no_connection(caught, ErrorKind.TIMEOUT)


def test_a_share_that_is_not_known_ends_the_connection(share, source):
    with serve(share) as peer, pytest.raises(ConnectionError):
        push(peer, source, "other/directory")


def test_the_security_file_is_read_through_the_own_path(share, source):
    with serve(share, security_file=True) as peer:
        report = push(peer, source, "share/sub/there", local_directory=share / "sub" / "there")
        assert report.files_copied == 4
        assert push(peer, source / "file", "share/sub/file", local_directory=share / "sub" / "file", trees=False)
    assert peer.complaints == [] and leftovers(share) == []


@pytest.mark.parametrize("local", [None, "elsewhere"])
def test_who_cannot_read_the_security_file_is_not_let_in(share, source, tmp_path, local):
    with serve(share, security_file=True) as peer, pytest.raises(PermissionError) as caught:
        push(peer, source, local_directory=local and tmp_path / local)
    assert (caught.value.operation, caught.value.root) == (Operation.AUTHENTICATE, True)
    assert leftovers(share) == [] and not (share / "file").exists()


def test_a_token_is_not_given_to_a_server_that_cannot_prove_that_it_knows_it(share, source):
    with serve(share) as peer, pytest.raises(PermissionError) as caught:
        push(peer, source, token="secret")
    assert (caught.value.operation, caught.value.root) == (Operation.AUTHENTICATE, True)
    assert peer.commands == []


# The end of a connection at every point -------------------------------------------------------------------------------


def points(total):
    return sorted(set(range(0, min(total, 120), 3)) | set(range(0, total, max(1, total // 40))))


def test_a_push_survives_a_server_that_closes_at_any_point(share, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    write(source / "a", b"first")
    write(source / "sub" / "b", b"second")
    with serve(share) as peer:
        push(peer, source)
        total = sum((30, 1, 1, 1, 1, 1, 1, 1))
    for point in range(total + 8):
        shutil.rmtree(str(share))
        share.mkdir()
        with serve(share, close_after=point) as peer:
            try:
                report = push(peer, source, timeout=5.0)
            except (ConnectionError, py_eacopy.TreeError) as error:
                assert error.kind in (ErrorKind.NETWORK, ErrorKind.SERVER), error
            else:
                assert report.files_copied + report.files_skipped == 2 and point >= 35
                assert contents(share) == contents(source)
        assert peer.complaints == []


@pytest.mark.parametrize("level", [0, 5] if zstd.AVAILABLE else [0])
def test_a_pull_leaves_nothing_half_when_the_server_closes_at_any_point(share, tmp_path, level):
    (share / "tree" / "empty").mkdir(parents=True)
    write(share / "tree" / "a", b"new content of the first" * 4)
    write(share / "tree" / "b", b"new content of the second" * 4)
    whole = contents(share / "tree")
    back = tmp_path / "back"
    with serve(share) as peer:
        pull(peer, back, "share/tree", level=level)
        total = peer.sent or 600
    for point in points(total):
        shutil.rmtree(str(back))
        back.mkdir()
        write(back / "a", b"old")
        with serve(share, close_after=point) as peer:
            try:
                pull(peer, back, "share/tree", level=level, timeout=5.0)
            except ConnectionError as error:
                assert error.root and error.kind is ErrorKind.NETWORK
            else:
                assert contents(back) == whole
        assert peer.complaints == [] and leftovers(back) == []
        for name, found in contents(back).items():
            assert found == whole[name] or (name, found) == ("a", (b"old", MTIME)), (point, name)


@pytest.mark.parametrize("pushes", [True, False])
def test_a_broken_connection_is_made_anew_under_retry(share, source, tmp_path, pushes):
    if not pushes:
        mirror(source, share / "tree")
    for point in (35, 36, 60, 100, 300):
        shutil.rmtree(str(tmp_path / "back"), ignore_errors=True)
        with serve(share, close_after=point, close_once=True) as peer:
            place = tmp_path / "back" if not pushes else source
            where = "share/tree" if not pushes else "share/%d" % point
            try:
                report = run(peer, pushes, place, where, error_strategy="retry", retry_delay=0.01)
            except ConnectionError as error:
                # Before anything was begun nothing is tried again.
                assert error.operation is Operation.CONNECT and point < 61
                continue
        assert report.errors == () and peer.complaints == []
        target = tmp_path / "back" if not pushes else share / str(point)
        assert contents(target) == contents(source)
        assert report.retries == (peer.connections > 1)


# Answers --------------------------------------------------------------------------------------------------------------


def test_the_digest_that_a_server_asks_for_is_sent(share, source, tmp_path):
    write(source / "same", b"x" * 5000)
    os.utime(str(source / "same"), ns=(MTIME + 700, MTIME + 700))
    with serve(share, hashes=True) as peer:
        report = push(peer, source)
        assert report.files_linked == 1 and report.files_copied == 4
        assert peer.complaints == [] and hashlib.md5(b"content").digest() in peer.digests
        back = tmp_path / "back"
        back.mkdir()
        (back / "file").write_bytes(b"content")
        (back / "nothing").write_bytes(b"")
        (back / "same").write_bytes(b"y" * 5000)
        report = pull(peer, back)
    assert peer.complaints == []
    assert {name: found and found[0] for name, found in contents(back).items()} == {
        name: found and found[0] for name, found in contents(share).items()
    }
    assert report.files_skipped >= 1


def test_a_share_that_the_server_leaves_to_the_client_is_copied_to_and_from(share, source, tmp_path):
    with serve(share, smb=True) as peer:
        for directory in ("sub", "sub/empty"):
            (share / "there" / directory).mkdir(parents=True, exist_ok=True)
        report = push(peer, source, "share/there", local_directory=share / "there")
        assert report.files_copied == 4 and contents(share / "there") == contents(source)
        assert peer.smb_results == [1] * 4
        push(peer, source / "file", "share/single", local_directory=share / "single", trees=False)
        assert (share / "single").read_bytes() == b"content"
        pull(peer, tmp_path / "back", "share/there", local_directory=share / "there")
        assert contents(tmp_path / "back") == contents(source)
        with pytest.raises(py_eacopy.TreeError) as caught:
            push(peer, source, "share/other")
        assert {error.kind for error in caught.value.errors} == {ErrorKind.SERVER}
        assert "share" in str(caught.value.errors[0])
        assert peer.smb_results[-4:] == [0] * 4
        with pytest.raises(py_eacopy.TreeError):
            pull(peer, tmp_path / "further", "share/there")
    assert peer.complaints == [] and leftovers(tmp_path) == []


def test_a_busy_server_is_asked_again(share, source, tmp_path):
    mirror(source, share / "tree")
    with serve(share, busy=3) as peer:
        report = pull(peer, tmp_path / "back", "share/tree", thread_count=1)
        assert report.files_copied == 4 and peer.complaints == []
        assert contents(tmp_path / "back") == contents(source)
    with serve(share, busy=1000) as peer, pytest.raises(TimeoutError) as caught:
        pull(peer, tmp_path / "single", "share/tree/file", timeout=0.5)
    assert caught.value.kind is ErrorKind.TIMEOUT and not (tmp_path / "single").exists()


def test_a_directory_that_cannot_be_made_is_one_error(share, source):
    (share / "sub").write_bytes(b"in the way")
    with serve(share) as peer, pytest.raises(py_eacopy.TreeError) as caught:
        push(peer, source)
    (error,) = caught.value.errors
    assert (error.operation, error.filename) == (Operation.MAKE_DIRECTORY, str(source / "sub"))
    assert (error.kind, error.errno) == (ErrorKind.SERVER, None) and "may be in the way" in str(error)
    assert (share / "file").read_bytes() == b"content" and (share / "sub").read_bytes() == b"in the way"


@pytest.mark.parametrize("answer", [BAD_DESTINATION, COPY_DELTA])
def test_a_refused_file_fails_alone(share, source, answer):
    def refuse(kind, path, usual):
        return answer if path == "file" else usual

    with serve(share, answer=refuse) as peer, pytest.raises(py_eacopy.TreeError) as caught:
        push(peer, source)
    (error,) = caught.value.errors
    assert error.kind is ErrorKind.SERVER and not error.root
    assert (error.filename, error.filename2) == (str(source / "file"), "eacopy://127.0.0.1/share/file")
    assert sorted(contents(share)) == sorted(name for name in contents(source) if name != "file")
    assert peer.complaints == []


def test_a_file_that_the_server_cannot_store_fails_alone(share, source):
    with serve(share, success=0) as peer, pytest.raises(py_eacopy.TreeError) as caught:
        push(peer, source)
    assert len(caught.value.errors) == 4 and {error.kind for error in caught.value.errors} == {ErrorKind.SERVER}
    with serve(share, success=0) as peer, pytest.raises(ConnectionError) as caught:
        push(peer, source / "file", "share/again", trees=False)
    assert caught.value.root and caught.value.kind is ErrorKind.SERVER


def test_a_file_that_fails_once_is_tried_again_under_retry(share, source):
    failed = []

    def refuse(kind, path, usual):
        if path == "file" and not failed:
            failed.append(path)
            return BAD_DESTINATION
        return usual

    with serve(share, answer=refuse) as peer:
        report = push(peer, source, error_strategy="retry", retry_delay=0.01)
    assert report.retries == 1 and contents(share) == contents(source)


@pytest.mark.parametrize("answer", [8, 99, 255])
def test_an_answer_that_nobody_knows_ends_the_connection(share, source, tmp_path, answer):
    with serve(share, answer=lambda kind, path, usual: answer) as peer, pytest.raises(ConnectionError) as caught:
        push(peer, source)
    assert caught.value.kind is ErrorKind.CLIENT and caught.value.root
    mirror(source, share / "tree")
    with serve(share, answer=lambda kind, path, usual: answer) as peer, pytest.raises(ConnectionError) as caught:
        pull(peer, tmp_path / "back", "share/tree")
    assert caught.value.kind is ErrorKind.CLIENT and leftovers(tmp_path / "back") == []


def test_a_server_that_asks_for_digests_for_ever_is_left(share, source):
    with serve(share, answer=lambda kind, path, usual: 6) as peer:
        # After the second answer the peer waits for what does not come: that it is no longer asked is what counts.
        report = push(peer, source)
        assert report.files_copied == 4


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_delta_is_never_asked_for_and_never_believed(share, source, tmp_path):
    mirror(source, share / "tree")
    back = tmp_path / "back"
    back.mkdir()
    (back / "file").write_bytes(b"an older version")
    delta = b"\0" + struct.pack("<I", 5) + b"wrong" + bytes(4)
    with serve(share, delta=delta) as peer:
        pull(peer, back, "share/tree", level=5)
    assert set(peer.read_infos) == {(0, 0)} and peer.complaints == []
    assert contents(back) == contents(source)

    shutil.rmtree(str(back))

    def insist(kind, path, usual):
        return COPY_DELTA if peer.levels[-1] and kind == READ_FILE else usual

    with serve(share, delta=delta, answer=insist) as peer:
        pull(peer, back, "share/tree", level=5, thread_count=1)
    assert contents(back) == contents(source)


OLDER = random.Random(1).getrandbits(8 * 400_000).to_bytes(400_000, "little")
NEWER = OLDER[:100_000] + b"new" + OLDER[100_000:]


def delta_of(new, old, checksum=True):
    """What follows the head of a CopyDelta, as a real server makes it, but for the checksum."""
    module = serving.zstd()
    parameter = module.CompressionParameter
    options = {parameter.checksum_flag: int(checksum), parameter.window_log: 22}
    frame = module.compress(new, options=options, zstd_dict=module.ZstdDict(old, is_raw=True).as_prefix)
    pieces = [frame[at : at + 700] for at in range(0, len(frame), 700)]
    return b"\0" + b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces) + bytes(4)


def pull_newer(share, tmp_path, made, *, hashes=False, here=OLDER, **settings):
    """Pulls the newer version to where the older is, from a server that always answers with this delta, as it does when
    its history knows the older one. Returns the peer and the report."""
    (share / "tree").mkdir()
    write(share / "tree" / "file", NEWER)
    back = tmp_path / "back"
    back.mkdir()
    write(back / "file", here)
    os.utime(str(back / "file"), ns=(MTIME - 10**9,) * 2)
    known = (filetime(str(back / "file")), len(OLDER))

    def answer(kind, path, usual):
        if kind != READ_FILE:
            return usual
        return COPY_DELTA if peer.read_infos[-1] == known else COPY

    with serve(share, delta=made, hashes=hashes, answer=answer) as peer:
        report = pull(peer, back, "share/tree", level=5, **settings)
    assert (back / "file").read_bytes() == NEWER and os.listdir(str(back)) == ["file"]
    assert os.stat(str(back / "file")).st_mtime_ns == MTIME // 100 * 100
    assert (report.files_copied, report.bytes_copied) == (1, len(NEWER)) and peer.complaints == []
    return peer, report


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_delta_with_a_checksum_is_taken(share, tmp_path):
    peer, report = pull_newer(share, tmp_path, delta_of(NEWER, OLDER))
    assert len(peer.read_infos) == 1 and report.bytes_received < 10_000


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_delta_without_a_checksum_is_taken_when_the_server_compares_digests(share, tmp_path):
    peer, report = pull_newer(share, tmp_path, delta_of(NEWER, OLDER, checksum=False), hashes=True)
    assert peer.digests == [hashlib.md5(NEWER).digest()] and report.bytes_received < 10_000
    assert [size for _, size in peer.read_infos] == [len(OLDER), len(NEWER)]


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
@pytest.mark.parametrize("hashes", [False, True])
def test_a_delta_made_with_another_file_is_found_out(share, tmp_path, hashes):
    """Q1: with the right size, and wrong bytes."""
    here = OLDER[:50_000] + b"x" + OLDER[50_001:]
    peer, report = pull_newer(share, tmp_path, delta_of(NEWER, OLDER, checksum=False), hashes=hashes, here=here)
    assert len(peer.read_infos) == 2 and report.bytes_received > len(NEWER)
    if hashes:
        (told,) = peer.digests
        assert told != hashlib.md5(NEWER).digest()  # it could be decoded


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
@pytest.mark.parametrize(
    "how", ["cut off", "damaged", "other file", "other codec", "nothing", "longer", "bomb", "noise"]
)
def test_a_delta_that_does_not_fit_is_not_believed(share, tmp_path, how):
    good = delta_of(NEWER, OLDER)
    bad = {
        "cut off": good[:-104] + bytes(4) if len(good) < 700 else good[: 1 + 704] + bytes(4),
        "damaged": good[:200] + bytes([good[200] ^ 255]) + good[201:],
        "other file": delta_of(NEWER, OLDER[:-1]),
        "other codec": b"\1" + good[1:],
        "nothing": bytes(5),
        "longer": delta_of(NEWER + b"x", OLDER, checksum=False),
        "bomb": delta_of(bytes(50 << 20), OLDER),
        "noise": b"\0" + struct.pack("<I", 100) + OLDER[:100] + bytes(4),
    }[how]
    if how == "cut off" and len(good) < 700:
        (size,) = struct.unpack_from("<I", good, 1)
        bad = b"\0" + struct.pack("<I", size - 50) + good[5 : size - 45] + bytes(4)
    peer, report = pull_newer(share, tmp_path, bad)
    assert [size for _, size in peer.read_infos][0] == len(OLDER) and report.bytes_received > len(NEWER)


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_delta_is_not_asked_for_when_none_is_wanted(share, tmp_path):
    peer, _ = pull_newer(share, tmp_path, delta_of(NEWER, OLDER), delta=0)
    assert peer.read_infos == [(0, 0)]


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
@pytest.mark.parametrize("how", ["undecodable", "too long", "huge"])
def test_a_bad_block_leaves_the_old_file_alone(share, source, tmp_path, how):
    mirror(source, share / "tree")
    back = tmp_path / "back"
    back.mkdir()
    write(back / "file", b"old")

    def compress(data, level):
        if how == "undecodable":
            return b"\x28\xb5\x2f\xfd" + b"garbage" * 4
        return zstd.compress(data + b"more" if how == "too long" else bytes(64 << 20), level)

    with serve(share, compress=compress) as peer, pytest.raises(ConnectionError) as caught:
        pull(peer, back, "share/tree/file", level=5)
    assert caught.value.kind is ErrorKind.CLIENT
    assert contents(back) == {"file": (b"old", MTIME)}


def test_a_skip_of_what_is_not_there_is_not_believed(share, source, tmp_path):
    mirror(source, share / "tree")
    with serve(share, answer=lambda kind, path, usual: READ_SKIP) as peer, pytest.raises(OSError) as caught:
        pull(peer, tmp_path / "name", "share/tree/file")
    assert caught.value.kind is ErrorKind.SERVER and not (tmp_path / "name").exists()


# Names and kinds ------------------------------------------------------------------------------------------------------


def test_names_that_cannot_be_said_fail_alone(share, source):
    (source / "back\\slash").write_bytes(b"1")
    with open(os.fsencode(str(source)) + b"/not \xff utf-8", "wb"):
        pass
    with serve(share) as peer, pytest.raises(py_eacopy.TreeError) as caught:
        push(peer, source)
    assert [error.kind for error in caught.value.errors] == [ErrorKind.ENCODING] * 2
    assert peer.complaints == [] and (share / "file").read_bytes() == b"content"


def test_links_are_followed_or_refused(share, source):
    os.symlink("file", str(source / "link"))
    os.symlink("sub", str(source / "directory"))
    with serve(share) as peer:
        with pytest.raises(py_eacopy.TreeError) as caught:
            push(peer, source, "share/one")
        told = [(error.kind, error.errno, error.destination) for error in caught.value.errors]
        assert told == [(ErrorKind.UNSUPPORTED, errno.ENOTSUP, None)] * 2
        push(peer, source, "share/two", follow_symlinks=True)
        os.symlink("nowhere", str(source / "dangling"))
        with pytest.raises(py_eacopy.TreeError) as caught:
            push(peer, source, "share/three", follow_symlinks=True)
        assert [error.kind for error in caught.value.errors] == [ErrorKind.FILE_NOT_FOUND]
        push(peer, source, "share/four", follow_symlinks=True, ignore_dangling_symlinks=True)
        os.symlink("..", str(source / "sub" / "loop"))
        with pytest.raises(py_eacopy.TreeError) as caught:
            push(peer, source, "share/five", follow_symlinks=True, ignore_dangling_symlinks=True)
        assert {error.kind for error in caught.value.errors} == {ErrorKind.PATH}
        assert not (share / "five" / "sub" / "loop").exists()
    assert peer.complaints == []
    assert (share / "two" / "link").read_bytes() == b"content" and (share / "two" / "directory" / "empty").is_dir()


@pytest.mark.parametrize("name", ["..", ".", "", "a\\b", "../out", "/tmp/out", "..\\out"])
def test_names_that_lead_elsewhere_are_not_believed(share, tmp_path, name):
    block = struct.pack("<IQQ", 0x20, plain_peer.EPOCH, 5) + name.encode("utf-16-le") + bytes(2)
    listing = struct.pack("<I", len(block)) + block + bytes(4)
    with serve(share, listing=listing) as peer, pytest.raises(ConnectionError) as caught:
        pull(peer, tmp_path / "back" / "deep", "share")
    assert caught.value.kind is ErrorKind.CLIENT
    assert not (tmp_path / "out").exists() and leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "listing",
    [
        struct.pack("<I", 0xFFFFFFFE),
        struct.pack("<I", 7) + b"1234567" + bytes(4),
        struct.pack("<I", 24) + struct.pack("<IQQ", 0x20, 0, 0) + b"xx" + b"xx" + bytes(4),
    ],
)
def test_listings_that_cannot_be_read_end_the_connection(share, tmp_path, listing):
    with serve(share, listing=listing) as peer, pytest.raises((ConnectionError, TimeoutError)):
        pull(peer, tmp_path / "back", "share", timeout=1.0)


def test_a_link_in_the_destination_is_not_walked_through(share, source, tmp_path):
    mirror(source, share / "tree")
    outside, back = tmp_path / "outside", tmp_path / "back"
    outside.mkdir()
    back.mkdir()
    os.symlink(str(outside), str(back / "sub"))
    with serve(share) as peer, pytest.raises(py_eacopy.TreeError) as caught:
        pull(peer, back, "share/tree")
    assert len(caught.value.errors) == 1 and os.listdir(str(outside)) == []
    assert (back / "file").read_bytes() == b"content"


# Files that change, progress, cancelling ------------------------------------------------------------------------------


def test_a_file_that_shrinks_while_it_is_sent_is_sent_as_it_is_then(share, source):
    def shrink(kind, path, usual):
        if os.path.getsize(str(source / "sub" / "large")) > 1000:
            os.truncate(str(source / "sub" / "large"), 1000)
        return usual

    with serve(share, answer=shrink) as peer:
        push(peer, source / "sub" / "large", "share/large", trees=False)
    assert peer.complaints == []
    assert (share / "large").read_bytes() == (source / "sub" / "large").read_bytes() and peer.connections == 2


@pytest.mark.parametrize("pushes", [True, False])
def test_progress_is_told_of_each_file(share, source, tmp_path, pushes):
    mirror(source, share / "tree")
    told = []
    control = Control(lambda copied, total, name: told.append((copied, total, name)))
    with serve(share) as peer:
        if pushes:
            push(peer, source, "share/there", control=control)
            root = str(source)
        else:
            pull(peer, tmp_path / "back", "share/tree", control=control)
            root = "eacopy://127.0.0.1/share/tree"
    sizes = {"file": 7, "nothing": 0, "sub/grüße 文件 🎉": 5000, "sub/large": 5_120_000}
    for name, size in sizes.items():
        events = [(copied, total) for copied, total, path in told if path == root + "/" + name]
        assert events[0] == (0, size) and events[-1] == (size, size) and len(events) >= 2
        assert [copied for copied, _ in events] == sorted(copied for copied, _ in events)
    assert {name for _, _, name in told} == {root + "/" + name for name in sizes}
    assert control.snapshot().files_copied == 4 and control.snapshot().files_found == 4


def cancel_when(control, condition):
    def wait():
        while not condition():
            time.sleep(0.001)
        time.sleep(0.02)
        times.append(time.monotonic())
        control.cancel()

    times = []
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return times, thread


def test_a_cancelled_pull_leaves_nothing(share, source, tmp_path):
    mirror(source, share / "tree")
    back = tmp_path / "back"
    back.mkdir()
    write(back / "large", b"old")
    control = Control()
    with serve(share, stall_after=3_000_000) as peer:
        times, thread = cancel_when(control, lambda: peer.levels)
        with pytest.raises(py_eacopy.CopyInterruptedError):
            pull(peer, back, "share/tree/sub/large", control=control)
        assert time.monotonic() - times[0] < 0.3
        thread.join()
    assert contents(back) == {"large": (b"old", MTIME)}


def test_a_cancelled_push_ends_at_once(share, source):
    control, released = Control(), threading.Event()

    def hold(kind, path, usual):
        released.wait(10)
        return usual

    with serve(share, answer=hold) as peer:
        times, thread = cancel_when(control, lambda: peer.write_types)
        with pytest.raises(py_eacopy.CopyInterruptedError):
            push(peer, source, control=control)
        assert time.monotonic() - times[0] < 0.3
        thread.join()
        released.set()
    assert contents(share) == {} or set(contents(share)) <= {"sub", "sub/empty"}


@pytest.mark.skipif(not zstd.AVAILABLE, reason="needs zstd")
def test_a_push_is_cancelled_in_the_middle_of_a_block(share, tmp_path):
    chance = random.Random(22)
    words = [bytes(chance.randrange(97, 123) for _ in range(chance.randrange(2, 9))) for _ in range(3000)]
    (tmp_path / "texts").mkdir()
    write(tmp_path / "texts" / "text", b" ".join(chance.choice(words) for _ in range(1_500_000)))
    control = Control()
    with serve(share) as peer:
        times, thread = cancel_when(control, lambda: peer.write_types)
        with pytest.raises(py_eacopy.CopyInterruptedError):
            push(peer, tmp_path / "texts", control=control, level=22)
        assert time.monotonic() - times[0] < 0.3
        thread.join()


def test_a_callback_that_raises_ends_the_pull_and_comes_out(share, source, tmp_path):
    mirror(source, share / "tree")

    class Mine(Exception):
        pass

    def callback(copied, total, name):
        raise Mine

    with serve(share) as peer, pytest.raises(Mine):
        pull(peer, tmp_path / "back", "share/tree", control=Control(callback))
    assert leftovers(tmp_path / "back") == []


def test_a_server_that_stalls_is_left(share, source, tmp_path):
    mirror(source, share / "tree")
    with serve(share, stall_after=1000) as peer, pytest.raises(TimeoutError) as caught:
        pull(peer, tmp_path / "large", "share/tree/sub/large", timeout=0.5)
    assert (caught.value.operation, caught.value.root) == (Operation.RECEIVE, True)
    assert not (tmp_path / "large").exists() and leftovers(tmp_path) == []


def test_errors_are_ignored_where_that_is_asked_for(share, source):
    with serve(share, close_after=34) as peer:
        report = push(peer, source, error_strategy="ignore")
    assert [error.operation for error in report.errors] and not report.ok


def test_names_are_left_out_by_a_filter(share, source):
    def leave_out(directory, names):
        return [name in (b"file", b"empty") for name in names]

    with serve(share) as peer:
        push(peer, source, filter=leave_out)
    assert sorted(contents(share)) == sorted(name for name in contents(source) if name not in ("file", "sub/empty"))
    assert peer.complaints == []


def test_the_report_of_a_server_is_text(share):
    with serve(share, drip=True) as peer:
        text = py_eacopy.server_report("127.0.0.1", peer.port)
    assert text == "a report\nof two lines ü\n" and peer.complaints == []


def test_the_directories_of_files_are_made_first(share, source):
    with serve(share) as peer:
        push(peer, source, "share/there")
    made = [path for kind, path in peer.commands if kind == CREATE_DIR]
    written = [path for kind, path in peer.commands if kind == WRITE_FILE]
    assert set(made) == {"", "sub\\", "sub\\empty\\"} and len(made) == 3, "directories end with a backslash"
    assert len(written) == 4 and COPY == 0
