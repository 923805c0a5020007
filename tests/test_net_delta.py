"""Deltas through a server: only what differs from an older version goes over the wire, what comes is always right, and
nobody can get anything out of it by lying."""

import contextlib
import hashlib
import os
import pathlib
import random
import socket
import struct
import sys
import threading
import zlib

import pytest
from faults import filesystems
from net import protocol, serving
from net.protocol import (
    BEGIN,
    DATA,
    FAILED,
    RESULTS,
    SEND,
    STORED,
    Peer,
    Reader,
    begin,
    body,
    end,
    entry,
    message,
    offer,
)
from net.relay import Relay, Way

import py_eacopy

SIGNATURES, REUSE, PATCH_DATA, FETCH_DELTA, FETCH_PATCH, UNKNOWN_REFERENCE = range(64, 70)
SEND_DELTA, SEND_PATCH = 6, 7
ALL, DELTA, PATCHES = 31, 16, 32
WELCOME, HAS_REFERENCE = 64, 128
KIND_CLIENT, KIND_DELTA_COPY = 19, 20
HEADER = struct.Struct("<IIQII")

SIZE = 1_000_003


def noise(size, seed=1):
    return random.Random(seed).getrandbits(8 * size).to_bytes(size, "little") if size else b""


OLD = noise(SIZE)
EXTRA = noise(70_000, 2)
#: The new version, and how much of it is new, at most; None: nothing can be told of that.
EDITS = {
    "identical": (OLD, 0),
    "insertion": (OLD[:300_000] + EXTRA[:777] + OLD[300_000:], 777),
    "removal": (OLD[:300_000] + OLD[345_678:], 0),
    "overwritten": (OLD[:300_000] + EXTRA + OLD[370_000:], 70_000),
    "cut off": (OLD[:600_001], 0),
    "longer": (OLD + EXTRA, 70_000),
    "longer in front": (EXTRA + OLD, 70_000),
    "moved": (OLD[500_000:] + OLD[:500_000], 0),
    "repeated": (OLD + OLD[:400_000], 0),
    "many changes": (
        b"".join(OLD[at : at + 49_000] + EXTRA[at % 9_000 :][:100] for at in range(0, SIZE, 50_000)),
        2_100,
    ),
    "zeros": (bytes(400_000) + OLD[400_000:], 400_000),
    "unlike": (noise(SIZE, 3), SIZE),
    "one byte": (b"x", 1),
    "nothing": (b"", 0),
}


def write(path, content, age=0):
    """A file whose time tells it from others."""
    path.write_bytes(content)
    os.utime(path, ns=(1_600_000_000_000_000_000,) * 2 if age else (1_700_000_000_000_000_000,) * 2)


@pytest.fixture
def share(tmp_path):
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture
def both(pair):
    serving.need(pair.client, "zstd")
    serving.need(pair.server, "zstd")
    return serving.Pair(pair.client, pair.server, delta=True)  # "auto" makes none on one machine


@pytest.fixture
def zstd_server(server_backend):
    serving.need(server_backend, "zstd")
    return server_backend


@pytest.fixture
def zstd_client(client_backend):
    serving.need(client_backend, "zstd")
    return client_backend


def most(new, fresh):
    """Bytes on the wire: what is new, a few blocks at each change, signatures, and what is said beside."""
    return fresh + 60_000 if fresh < len(new) else len(new) + 20_000


# What is made ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 3])
def test_a_push_sends_what_the_server_does_not_have(both, level, share, tmp_path):
    with both.serving(share) as served:
        for name, (new, fresh) in EDITS.items():
            write(share / "file", OLD, age=1)
            write(tmp_path / "new", new)
            report = served.push(tmp_path / "new", "share/file", delta=True, compression_level=level)
            assert (share / "file").read_bytes() == new, name
            assert report.bytes_sent + report.bytes_received < most(new, fresh), name
            assert (report.files_copied, report.bytes_copied) == (1, len(new)), name
            assert report.bytes_reused <= len(new) and report.bytes_written == len(new) - report.bytes_reused, name
            if fresh < len(new):
                assert report.bytes_reused >= len(new) - fresh - 60_000, name
            assert os.stat(share / "file").st_mtime_ns == os.stat(tmp_path / "new").st_mtime_ns
    assert sorted(os.listdir(share)) == ["file"]


@pytest.mark.parametrize("level", [0, 3])
def test_a_pull_fetches_what_is_not_here(both, level, share, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    with both.serving(share) as served:
        for name, (new, fresh) in EDITS.items():
            write(share / "file", new)
            write(target / "file", OLD, age=1)
            report = served.pull("share/file", target / "file", delta=True, compression_level=level)
            assert (target / "file").read_bytes() == new, name
            assert report.bytes_sent + report.bytes_received < most(new, fresh), name
            assert (report.files_copied, report.bytes_copied) == (1, len(new)), name
            assert report.bytes_written == len(new) - report.bytes_reused, name
            if fresh < len(new):
                assert report.bytes_reused >= len(new) - fresh - 60_000, name
    assert os.listdir(target) == ["file"]


def test_a_push_of_what_both_have_is_a_patch(both, share, tmp_path):
    write(tmp_path / "old", OLD)
    with both.serving(share) as served:
        for name, (new, _) in EDITS.items():
            write(share / "file", OLD, age=1)
            write(tmp_path / "new", new)
            py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=served.config())
            patch = (tmp_path / "patch").stat().st_size
            report = served.push(tmp_path / "new", "share/file", reference=tmp_path / "old")
            assert (share / "file").read_bytes() == new, name
            assert report.bytes_sent <= patch * 1.01 + 600, (name, patch)
            assert report.bytes_received < 600, name  # no signatures
            assert report.files_copied == 1 and report.bytes_copied == len(new)


def test_a_reference_that_is_not_what_the_server_has_costs_signatures(both, share, tmp_path):
    new, _ = EDITS["insertion"]
    write(tmp_path / "old", OLD[:-1])
    write(tmp_path / "new", new)
    with both.serving(share) as served:
        write(share / "file", OLD, age=1)
        report = served.push(tmp_path / "new", "share/file", reference=tmp_path / "old")
        assert (share / "file").read_bytes() == new
        assert report.bytes_reused > SIZE - 60_000 and report.bytes_sent < 60_000
        os.unlink(share / "file")
        report = served.push(tmp_path / "new", "share/file", reference=tmp_path / "old")
        assert (share / "file").read_bytes() == new and report.bytes_reused == 0


def test_an_empty_reference_is_as_good_as_none(both, share, tmp_path):
    write(tmp_path / "empty", b"")
    write(tmp_path / "new", OLD)
    with both.serving(share) as served:
        assert served.push(tmp_path / "new", "share/file", reference=tmp_path / "empty").files_copied == 1
        assert served.pull("share/file", tmp_path / "back", reference=tmp_path / "empty").files_copied == 1
    assert (share / "file").read_bytes() == OLD and (tmp_path / "back").read_bytes() == OLD


def test_a_pull_takes_from_its_reference(both, share, tmp_path):
    new, _ = EDITS["moved"]
    write(share / "file", new)
    write(tmp_path / "old", OLD)
    with both.serving(share) as served:
        report = served.pull("share/file", tmp_path / "file", reference=tmp_path / "old")
    assert (tmp_path / "file").read_bytes() == new
    assert report.bytes_reused > SIZE - 60_000 and report.bytes_received < 60_000


def test_trees_with_older_versions_of_some_files(both, share, tmp_path):
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    names = ["a", "b", "below/c", "below/d", "e"]
    news = {name: EXTRA[: 100 * at] + OLD[: 300_000 + at] for at, name in enumerate(names)}
    for name, new in news.items():
        write(source / name, new)
    with both.serving(share) as served:
        (share / "tree" / "below").mkdir(parents=True)
        for name in ("b", "below/c", "e"):
            write(share / "tree" / name, OLD[:310_000], age=1)
        write(share / "tree" / "a", b"small", age=1)
        report = served.push(source, "share/tree")
        assert {name: (share / "tree" / name).read_bytes() for name in names} == news
        assert report.files_copied == 5 and 3 * 250_000 < report.bytes_reused < 3 * 310_000
        for name in ("a", "below/d"):
            write(source / name, OLD[5_000:320_000], age=1)
        write(source / "e", b"", age=1)
        report = served.pull("share/tree", source)
        assert {name: (source / name).read_bytes() for name in names} == news
        assert report.files_copied == 3 and report.files_skipped == 2 and report.bytes_reused > 2 * 250_000


@serving.posix("looks at holes")
def test_holes_stay_holes(both, share, tmp_path):
    with open(tmp_path / "new", "wb") as stream:
        stream.write(OLD[:400_000])
        stream.truncate(40 << 20)
        stream.seek(30 << 20)
        stream.write(OLD[400_000:])
    write(share / "file", OLD, age=1)
    with both.serving(share) as served:
        report = served.push(tmp_path / "new", "share/file")
        assert (share / "file").read_bytes() == (tmp_path / "new").read_bytes()
        assert os.stat(share / "file").st_blocks * 512 < 4 << 20 and report.bytes_reused > 900_000
        write(tmp_path / "copy", OLD, age=1)
        report = served.pull("share/file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "new").read_bytes()
        assert os.stat(tmp_path / "copy").st_blocks * 512 < 4 << 20 and report.bytes_reused > 900_000


def test_much_that_is_new_before_what_is_old(both, share, tmp_path):
    new = noise(6_000_000, 7) + OLD
    write(tmp_path / "new", new)
    with both.serving(share) as served:
        write(share / "file", OLD, age=1)
        report = served.push(tmp_path / "new", "share/file")
        assert (share / "file").read_bytes() == new and report.bytes_reused > 900_000


def test_random_edits(both, share, tmp_path):
    chance = random.Random(5)
    with both.serving(share) as served:
        for _ in range(12):
            old = noise(chance.choice([1, 700, 1024, 5_000, 66_000]), chance.random())
            new = old
            for _ in range(chance.randrange(4)):
                begin_, length = chance.randrange(len(new) + 1), chance.randrange(3_000)
                piece = noise(chance.randrange(2_000), chance.random())
                new = new[:begin_] + chance.choice([piece, b"", new[:length], bytes(99)]) + new[begin_ + length :]
            write(share / "file", old, age=1)
            write(tmp_path / "new", new)
            served.push(tmp_path / "new", "share/file", delta=True)
            assert (share / "file").read_bytes() == new
            write(tmp_path / "copy", old, age=1)
            served.pull("share/file", tmp_path / "copy", delta=True)
            assert (tmp_path / "copy").read_bytes() == new
            write(share / "file", old, age=1)
            write(tmp_path / "old", old)
            served.push(tmp_path / "new", "share/file", reference=tmp_path / "old")
            assert (share / "file").read_bytes() == new


# What the history knows ------------------------------------------------------------------------------------------


def test_an_older_version_is_found_by_its_name(both, share, tmp_path):
    new, _ = EDITS["insertion"]
    with both.serving(share) as served:
        write(tmp_path / "game.pak", OLD, age=1)
        served.push(tmp_path / "game.pak", "share/builds/1/game.pak")
        write(tmp_path / "game.pak", new)
        report = served.push(tmp_path / "game.pak", "share/builds/2/game.pak")
        assert report.bytes_reused > SIZE - 60_000 and report.bytes_sent < 60_000
        (tmp_path / "tree" / "below").mkdir(parents=True)
        write(tmp_path / "tree" / "below" / "game.pak", new + b"more")
        report = served.push(tmp_path / "tree", "share/builds/3")
        assert report.bytes_reused > SIZE - 60_000 and report.bytes_sent < 60_000
    assert (share / "builds" / "1" / "game.pak").read_bytes() == OLD
    assert (share / "builds" / "2" / "game.pak").read_bytes() == new
    assert (share / "builds" / "3" / "below" / "game.pak").read_bytes() == new + b"more"


def test_what_is_at_the_path_goes_before_what_is_remembered_and_the_latest_before_others(both, share, tmp_path):
    versions = {name: noise(400_000, name) for name in ("first", "second", "there")}
    with both.serving(share) as served:
        for age, name in ((0, "first"), (1, "second")):  # the one that was pushed first is the younger
            write(tmp_path / "file", versions[name], age)
            served.push(tmp_path / "file", f"share/{name}/file")
        write(tmp_path / "file", versions["first"] + b"more")
        assert served.push(tmp_path / "file", "share/other/file").bytes_reused > 390_000
        (share / "place").mkdir()
        write(share / "place" / "file", versions["there"], age=1)
        assert served.push(tmp_path / "file", "share/place/file").bytes_reused == 0


@pytest.mark.parametrize("how", ["changed", "gone", "a link", "other share", "other name", "other size", "small"])
def test_what_is_remembered_is_looked_at_before_it_is_used(both, how, share, tmp_path):
    (tmp_path / "other").mkdir()
    size = 60_000 if how == "small" else SIZE
    old = OLD[:size]
    new = old[: size // 2 - 100] if how == "other size" else old + b"more"
    with both.serving({"share": share, "other": tmp_path / "other"}) as served:
        write(tmp_path / "file", old, age=1)
        served.push(tmp_path / "file", "share/one/file")
        write(tmp_path / "file", new)
        if how == "changed":
            write(share / "one" / "file", old)
        elif how == "gone":
            os.unlink(share / "one" / "file")
        elif how == "a link":
            os.rename(share / "one" / "file", share / "one" / "real")
            os.symlink("real", share / "one" / "file")
        place = {"other share": "other/file", "other name": "share/two/name"}.get(how, "share/two/file")
        report = served.push(tmp_path / "file", place, delta=True)
        assert report.bytes_reused == 0 and report.bytes_sent > len(new)
        found = (tmp_path if how == "other share" else tmp_path / "share") / place.replace("share/", "")
        assert found.read_bytes() == new


@pytest.mark.parametrize("use_hash", [False, True])
def test_a_reference_is_found_in_the_history(both, use_hash, share, tmp_path):
    new, _ = EDITS["insertion"]
    write(tmp_path / "old", OLD, age=1)
    write(tmp_path / "new", new)
    with both.serving(share, use_hash=use_hash) as served:
        # By its content, under whatever name, where the server keeps digests; else by the name.
        served.push(tmp_path / "old", "share/1/" + ("anything" if use_hash else "file"))
        report = served.push(tmp_path / "new", "share/2/file", reference=tmp_path / "old")
        assert report.bytes_sent < 5_000 and report.bytes_received < 600  # a patch, no signatures
        assert (share / "2" / "file").read_bytes() == new
        # What it says of that content must still be true.
        write(tmp_path / "newer", new + b"more")
        for path in (share / "1").iterdir():
            path.write_bytes(bytes(SIZE))
            os.utime(path, ns=(1_600_000_000_000_000_000,) * 2)
        os.unlink(share / "2" / "file")
        report = served.push(tmp_path / "newer", "share/3/file", reference=tmp_path / "old")
        assert (share / "3" / "file").read_bytes() == new + b"more"
        assert report.bytes_sent > SIZE


@pytest.mark.parametrize("how", ["what is there", "reference"])
def test_a_pull_of_what_both_have_is_a_patch(both, how, share, tmp_path):
    options = (
        {"reference": tmp_path / "old", "compression_level": 0} if how == "reference" else {"compression_level": 3}
    )
    write(tmp_path / "old", OLD, age=1)
    with both.serving(share) as served:
        served.push(tmp_path / "old", "share/1/file")
        for name in ("insertion", "moved", "cut off", "many changes", "one byte"):
            new = EDITS[name][0]
            write(share / "file", new)
            write(tmp_path / "new", new)
            py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=served.config())
            patch = (tmp_path / "patch").stat().st_size
            if how == "reference":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(tmp_path / "copy")
            else:
                write(tmp_path / "copy", OLD, age=1)
            report = served.pull("share/file", tmp_path / "copy", delta=True, **options)
            assert (tmp_path / "copy").read_bytes() == new, name
            if len(new) > 100:
                assert report.bytes_received <= patch * 1.01 + 700, (name, patch)
            assert report.bytes_sent < 700, name  # no signatures
            assert report.files_copied == 1 and report.bytes_copied == len(new), name
    assert sorted(os.listdir(tmp_path)) == ["copy", "new", "old", "patch", "share"]


def test_a_pull_asks_with_signatures_where_the_server_has_another_version(both, share, tmp_path):
    new, _ = EDITS["insertion"]
    (tmp_path / "tree").mkdir()
    with both.serving(share) as served:
        for name in "abc":
            write(tmp_path / "file", OLD[: -ord(name)] if name != "b" else OLD, age=1)
            served.push(tmp_path / "file", f"share/1/{name}")
            write(tmp_path / "tree" / name, OLD, age=1)
        write(share / "1" / "c", bytes(SIZE))  # its size is that of what is there
        (share / "tree").mkdir()
        for name in "abc":
            write(share / "tree" / name, new)
        report = served.pull("share/tree", tmp_path / "tree", compression_level=3)
        assert [(tmp_path / "tree" / name).read_bytes() for name in "abc"] == [new] * 3
        assert report.files_copied == 3 and report.bytes_received < 60_000
        assert 2 * SIZE - 60_000 < report.bytes_reused < 2 * SIZE  # of a patch nobody knows


# What it costs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


@pytest.fixture
def cloning(mounts):
    """A directory on a file system that clones."""
    yield pathlib.Path(mounts.shared("xfs"))
    mounts.clean()


def used(path):
    os.sync()
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")
@pytest.mark.parametrize("verify", [False, True])
def test_what_is_reused_is_shared_where_the_file_system_can(both, verify, cloning):
    share, here = cloning / "share", cloning / "here"
    share.mkdir()
    here.mkdir()
    old = noise(20_000_000)
    # Whole blocks moved, some were overwritten, and what follows an odd number of bytes cannot be shared.
    new = EXTRA[: 16 * 4096] + old[:3_000_000] + EXTRA[:5_000] + old[3_005_000:16_000_000] + b"odd" + old[16_000_000:]
    with both.serving(share) as served:
        write(here / "file", old, age=1)
        served.push(here / "file", "share/1/file")
        write(here / "new", new)
        before = used(share)
        report = served.push(here / "new", "share/2/file", verify=verify)
        assert (share / "2" / "file").read_bytes() == new and (share / "1" / "file").read_bytes() == old
    with both.serving(share) as served:
        assert used(share) - before < 7_000_000
        assert report.bytes_reused > 19_900_000 and report.bytes_written == len(new) - report.bytes_reused
        write(share / "2" / "file", new)
        for reflink in ("auto", "never"):
            before = used(share)
            report = served.pull(
                "share/2/file", here / "copy", reference=here / "file", reflink=reflink, verify=verify, delta=True
            )
            assert (here / "copy").read_bytes() == new
            assert report.bytes_reused > 19_900_000
            assert (used(share) - before < 7_000_000) is (reflink == "auto")
            os.unlink(here / "copy")
    assert not serving.leftovers(share, here)


# What is asked for -----------------------------------------------------------------------------------------------


def test_only_large_files_by_default_and_none_when_told(both, share, tmp_path):
    far = Way(delay=0.005)
    with both.serving(share) as served, Relay(served.port, to_client=far) as relay:
        for size, options, reuses in (
            (200_000, {"delta": "auto"}, False),
            (200_000, {"delta": True}, True),
            (300_000, {"delta": "auto"}, True),
            (300_000, {"delta": False}, False),
        ):
            options["port"] = relay.port
            write(share / "file", OLD[:size], age=1)
            write(tmp_path / "new", OLD[:size] + b"x")
            report = served.push(tmp_path / "new", "share/file", **options)
            assert (report.bytes_reused > 0) is reuses, (size, options)
            write(tmp_path / "copy", OLD[:size], age=1)
            report = served.pull("share/file", tmp_path / "copy", **options)
            assert (report.bytes_reused > 0) is reuses, (size, options)
            assert (tmp_path / "copy").read_bytes() == (share / "file").read_bytes() == OLD[:size] + b"x"


def test_a_server_that_makes_none(both, share, tmp_path):
    write(tmp_path / "new", OLD + b"x")
    with both.serving(share, delta=False) as served:
        write(share / "file", OLD, age=1)
        with pytest.raises(py_eacopy.UnsupportedError, match="delta"):
            served.push(tmp_path / "new", "share/file", delta=True)
        with pytest.raises(py_eacopy.UnsupportedError, match="delta"):
            served.pull("share/file", tmp_path / "copy", delta=True)
        assert (share / "file").read_bytes() == OLD and not (tmp_path / "copy").exists()
        assert served.push(tmp_path / "new", "share/file", delta="auto").bytes_reused == 0
        assert (share / "file").read_bytes() == OLD + b"x"


@pytest.mark.parametrize("push", [False, True])
def test_no_delta_by_default_on_one_machine(both, push, share, tmp_path):
    """There it takes longer than sending. A server that is slow to answer may be at the end of a tunnel."""
    new, old = (tmp_path / "new", share / "file") if push else (share / "file", tmp_path / "file")
    reused = []
    with both.serving(share) as served:
        while 0 not in reused and len(reused) < 100:  # this machine may be busy
            write(new, OLD + b"x")
            write(old, OLD, age=1)
            copy = (new, "share/file") if push else ("share/file", old)
            reused.append((served.push if push else served.pull)(*copy, delta="auto").bytes_reused)
            assert old.read_bytes() == OLD + b"x"
        assert reused[-1] == 0
        # A reference says that one is wanted.
        write(tmp_path / "reference", OLD)
        write(old, b"something else", age=1)
        report = (served.push if push else served.pull)(*copy, delta="auto", reference=tmp_path / "reference")
        assert report.bytes_sent + report.bytes_received < (len(OLD) + 10_000 if push else 60_000)


def test_what_is_not_legal_is_told_before_anything_is_done(zstd_client, tmp_path):
    write(tmp_path / "new", b"new")
    (tmp_path / "tree").mkdir()
    config = py_eacopy.Config(backend=zstd_client)
    nobody = "eacopy://127.0.0.1:1/share/file"

    def push(source, **options):
        py_eacopy.copy_with_server(tmp_path / source, nobody, config=config, **options)

    with pytest.raises(py_eacopy.InvalidArgumentError, match="delta='always'.*'auto', True, False"):
        push("new", delta="always")
    with pytest.raises(py_eacopy.InvalidArgumentError, match="reference"):
        push("new", delta=False, reference=tmp_path / "new")
    with pytest.raises(py_eacopy.InvalidArgumentError, match="tree"):
        push("tree", reference=tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="reference") as caught:
        push("new", reference=tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        push("new", reference=tmp_path / "tree")


def test_a_reference_goes_with_one_file(both, share, tmp_path):
    write(tmp_path / "old", OLD)
    write(share / "file", b"new")
    with both.serving(share) as served, pytest.raises(py_eacopy.InvalidArgumentError, match="one file"):
        served.pull("share", tmp_path / "copy", reference=tmp_path / "old")


# Changed meanwhile -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stalled(served, way, at, copy):
    """Runs `copy` through a relay that stops after so many bytes in one direction; goes on at the end."""
    failures = []

    def run():
        try:
            copy(relay.port)
        except BaseException as error:
            failures.append(error)

    with Relay(served.port, **{way: Way(stall_at=at)}) as relay:
        thread = threading.Thread(target=run)
        thread.start()
        assert relay.stalled.wait(serving.PATIENCE), failures
        yield
        relay.resume()
        thread.join(serving.PATIENCE)
        assert not thread.is_alive() and not failures, failures


NEW = noise(700_000, 4) + OLD


@serving.posix("replaces a file that is open")
@pytest.mark.parametrize("how", ["replaced", "overwritten", "cut off"])
@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_the_older_version_is_changed_meanwhile(both, way, how, share, tmp_path):
    push = way == "to_server"
    old, new = (share / "file", tmp_path / "new") if push else (tmp_path / "file", share / "file")
    write(old, OLD, age=1)
    write(new, NEW)
    reports = []
    with both.serving(share) as served:

        def copy(port):
            if push:
                reports.append(served.push(new, "share/file", port=port))
            else:
                reports.append(served.pull("share/file", old, port=port))

        with stalled(served, way, 500_000, copy):
            if how == "replaced":
                write(tmp_path / "other", bytes(SIZE))
                os.replace(tmp_path / "other", old)
            elif how == "overwritten":
                with open(old, "r+b") as stream:
                    stream.write(bytes(SIZE))
            else:
                os.truncate(old, 500_000)
    assert old.read_bytes() == NEW
    (report,) = reports
    # It is held open, so that a file that took its name is nothing to it; another content is found out.
    if how == "replaced":
        assert report.bytes_reused > 900_000 and report.bytes_sent + report.bytes_received < len(NEW)
    else:
        assert report.bytes_reused == 0 and report.bytes_sent + report.bytes_received > len(NEW) + 600_000
    assert report.files_copied == 1 and report.bytes_copied == len(NEW)
    assert not serving.leftovers(share, tmp_path)


# Servers are lied to ---------------------------------------------------------------------------------------------


def known(path, size, reference=None, flags=WELCOME):
    """An offered file, of which a delta is welcome."""
    if reference is None:
        return entry(path, flags=flags, size=size)
    told = struct.pack("<Q", len(reference)) + hashlib.md5(reference).digest()
    return entry(path, flags=flags | HAS_REFERENCE, size=size) + told


def reuse(offset, length):
    return message(REUSE, struct.pack("<QQ", offset, length))


def data(content):
    return message(DATA, content)


@contextlib.contextmanager
def session(backend, share, **options):
    with serving.Pair(backend, backend).serving(share, **options) as served, Peer(served.port) as peer:
        peer.greet(ALL)
        peer.open(b"share")
        yield peer


def signatures(peer, index):
    """Takes signatures and the result after them: block size, and the signatures."""
    blocks = b""
    while True:
        reader = peer.receive(SIGNATURES, RESULTS)
        if len(reader.data) >= HEADER.size + 12:
            number, block, size, salt, first = reader.fields("IIQII")
            assert number == index and first * 12 == len(blocks)
            blocks += reader.data[HEADER.size :]
            if len(blocks) == -(-size // block) * 12:
                assert peer.results(1) == [(index, SEND_DELTA, None)]
                return size, block, salt, blocks


def test_signatures_are_what_the_protocol_says(zstd_server, share):
    write(share / "file", OLD)
    with session(zstd_server, share) as peer:
        peer.send(offer(0, known(b"file", SIZE)))
        size, block, salt, blocks = signatures(peer, 0)
    assert (size, block) == (SIZE, 1024)
    for number, at in enumerate(range(0, SIZE, block)):
        piece = OLD[at : at + block]
        weak, strong = struct.unpack_from("<I8s", blocks, 12 * number)
        assert weak == zlib.adler32(piece)
        assert strong == hashlib.md5(struct.pack("<I", salt) + piece).digest()[:8]


def test_a_push_by_hand(zstd_server, share):
    write(share / "file", OLD)
    new = OLD[2048:4096] + b"new" + OLD[:5000]
    with session(zstd_server, share) as peer:
        peer.send(offer(0, known(b"file", 4 * SIZE)))
        signatures(peer, 0)
        peer.send(begin(0, len(new)), reuse(2048, 2048), data(b"new"), reuse(0, 5000), end(zlib.crc32(new)))
        assert peer.result() == (STORED, None)
        assert (share / "file").read_bytes() == new
        # All of it is as good, in one message too.
        peer.send(offer(1, known(b"file", SIZE)))
        signatures(peer, 1)
        peer.send(body(1, b"something else"))
        assert peer.result() == (STORED, None)
    assert (share / "file").read_bytes() == b"something else"


@pytest.mark.parametrize("flags, there", [(0, OLD), (WELCOME, None), (WELCOME, b""), (WELCOME, noise(200_000))])
def test_no_delta_where_it_is_not_welcome_or_of_use(zstd_server, flags, there, share):
    if there is not None:
        write(share / "file", there)
    with session(zstd_server, share) as peer:
        peer.send(offer(0, known(b"file", SIZE if flags == 0 else 100, flags=flags)))
        assert peer.result() == (SEND, None)


def test_no_delta_of_what_is_no_file(zstd_server, share):
    write(share / "real", OLD)
    os.symlink("real", share / "file")
    with session(zstd_server, share) as peer:
        peer.send(offer(0, known(b"file", SIZE)))
        assert peer.result() == (SEND, None)
        peer.send(body(0, b"new"))
        assert peer.result() == (STORED, None)
    assert (share / "real").read_bytes() == OLD and (share / "file").read_bytes() == b"new"


def test_a_wrong_sum_or_size_fails_that_file_alone(zstd_server, share):
    write(share / "file", OLD)
    with session(zstd_server, share) as peer:
        for number, (size, crc) in enumerate([(4096, 1), (5000, zlib.crc32(OLD[:4096]))]):
            peer.send(offer(number, known(b"file", SIZE)))
            signatures(peer, number)
            peer.send(begin(number, size), reuse(0, 4096), end(crc))
            code, failure = peer.result()
            assert code == FAILED and failure.kind == KIND_DELTA_COPY
            assert (share / "file").read_bytes() == OLD and os.listdir(share) == ["file"]
        peer.send(offer(9, known(b"file", 3, flags=0)))
        assert peer.result() == (SEND, None)
        peer.send(body(9, b"new"))
        assert peer.result() == (STORED, None)
    assert (share / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    "wrong",
    [
        reuse(0, SIZE + 1),
        reuse(SIZE, 1),
        reuse(2**64 - 1, 1),
        reuse(1, 2**64 - 1),
        reuse(0, 0),
        message(PATCH_DATA, b"patch"),
        message(REUSE, bytes(15)),
    ],
)
def test_a_reuse_of_what_there_is_not(zstd_server, wrong, share):
    write(share / "file", OLD)
    with session(zstd_server, share) as peer:
        peer.send(offer(0, known(b"file", SIZE)))
        signatures(peer, 0)
        peer.send(begin(0, 2 * SIZE), wrong, end(0))
        assert peer.ending().kind == KIND_CLIENT
    assert (share / "file").read_bytes() == OLD and os.listdir(share) == ["file"]


def test_a_reuse_that_nobody_asked_for(zstd_server, share):
    write(share / "file", OLD)
    for wrong in (reuse(0, 10), message(PATCH_DATA, b"patch")):
        with session(zstd_server, share) as peer:
            peer.send(offer(0, known(b"file", SIZE, flags=0)))
            assert peer.result() == (SEND, None)
            peer.send(begin(0, 10), wrong)
            assert peer.ending().kind == KIND_CLIENT
        with session(zstd_server, share) as peer:
            peer.send(wrong)
            assert peer.ending().kind == KIND_CLIENT


def test_only_so_many_older_versions_are_held_open(zstd_server, share):
    for number in range(70):
        write(share / str(number), OLD[:5000])
    with session(zstd_server, share) as peer:
        peer.send(offer(0, *(known(b"%d" % number, SIZE) for number in range(70))))
        codes = []
        while len(codes) < 70:
            kind, payload, _ = peer.raw()
            assert kind in (SIGNATURES, RESULTS)
            if kind == RESULTS:
                reader = Reader(payload)
                codes += [reader.fields("IB")[1] for _ in range(reader.fields("I")[0])]
    assert codes == 64 * [SEND_DELTA] + 6 * [SEND]


def frame(new, old, **parameters):
    """A zstd frame with the older version as prefix."""
    zstd = serving.zstd()
    parameter = zstd.CompressionParameter
    options = {parameter.checksum_flag: 1, parameter.content_size_flag: 1, parameter.window_log: 22}
    options.update({getattr(parameter, name): value for name, value in parameters.items()})
    prefix = zstd.ZstdDict(old, is_raw=True).as_prefix
    return zstd.compress(new, options=options, zstd_dict=prefix)


def test_patches_by_hand(zstd_server, share):
    write(share / "file", OLD)
    new = EDITS["insertion"][0]
    patch = frame(new, OLD)
    bomb = frame(bytes(50 << 20), OLD)
    wrong = {
        "cut off": (patch[:-300], len(new)),
        "damaged": (patch[:-300] + bytes([patch[-300] ^ 1]) + patch[-299:], len(new)),
        "of another file": (frame(new, OLD[:-1]), len(new)),
        "another size": (patch, len(new) + 1),
        "no size": (frame(new, OLD, content_size_flag=0), len(new)),
        "no checksum": (frame(new, OLD, checksum_flag=0), len(new)),
        "a bomb": (bomb, 1000),
        "no frame": (noise(100), len(new)),
        "nothing": (b"", len(new)),
    }
    with session(zstd_server, share) as peer:
        for number, (name, (bad, size)) in enumerate(wrong.items()):
            peer.send(offer(number, known(b"file", SIZE, OLD)))
            assert peer.result() == (SEND_PATCH, None)
            pieces = [message(PATCH_DATA, bad[at : at + 400_000]) for at in range(0, len(bad) or 1, 400_000)]
            peer.send(begin(number, size), *pieces, end(zlib.crc32(new)))
            code, failure = peer.result()
            assert code == FAILED and failure.kind == KIND_DELTA_COPY, name
            assert (share / "file").read_bytes() == OLD and os.listdir(share) == ["file"], name
    with session(zstd_server, share) as peer:
        peer.send(offer(99, known(b"file", SIZE, OLD)))
        assert peer.result() == (SEND_PATCH, None)
        peer.send(begin(99, len(new)), *(message(PATCH_DATA, patch[at : at + 7]) for at in range(0, len(patch), 7)))
        peer.send(end(zlib.crc32(new)))
        assert peer.result() == (STORED, None)
    assert (share / "file").read_bytes() == new


def told(number, size, block, blocks, first=0, salt=0):
    return message(SIGNATURES, HEADER.pack(number, block, size, salt, first) + blocks)


def fetch_delta(number, path, level=0):
    return message(FETCH_DELTA, struct.pack("<IB3x", number, level) + protocol.str16(path))


def fetch_patch(number, path, reference, level=0):
    fixed = struct.pack("<IB3xQ", number, level, len(reference)) + hashlib.md5(reference).digest()
    return message(FETCH_PATCH, fixed + protocol.str16(path))


def test_a_pull_of_a_patch_by_hand(zstd_server, share, tmp_path):
    new, _ = EDITS["insertion"]
    write(tmp_path / "file", OLD)
    with serving.Pair(zstd_server, zstd_server).serving(share) as served:
        with Peer(served.port) as peer:  # nothing was copied yet, so there is nothing to ask for
            peer.greet(ALL | PATCHES)
            peer.open(b"share")
            peer.send(fetch_patch(0, b"file", OLD))
            assert peer.ending().kind == KIND_CLIENT
        served.push(tmp_path / "file", "share/1/file")
        write(share / "file", new)
        with Peer(served.port) as peer:
            peer.greet(ALL | PATCHES)
            peer.open(b"share")
            peer.send(fetch_patch(7, b"file", OLD))
            _, size = peer.receive(BEGIN).fields("IIqQ")[0::3]
            patch = b""
            while True:
                kind, payload, _ = peer.raw()
                if kind != PATCH_DATA:
                    break
                patch += payload
            assert kind == protocol.END and size == len(new)
            assert struct.unpack_from("<I", payload)[0] == zlib.crc32(new)
            prefix = serving.zstd().ZstdDict(OLD, is_raw=True).as_prefix
            assert serving.zstd().decompress(patch, zstd_dict=prefix) == new
            # Another content, another name, nothing at all, and what changed meanwhile.
            peer.send(fetch_patch(8, b"file", OLD[:-1] + b"x"), fetch_patch(9, b"file", b""))
            os.rename(share / "file", share / "name")
            peer.send(fetch_patch(10, b"name", OLD))
            for number in (8, 9, 10):
                assert tuple(peer.receive(UNKNOWN_REFERENCE).fields("I")) == (number,)
            os.truncate(share / "1" / "file", 10)
            os.rename(share / "name", share / "file")
            peer.send(fetch_patch(11, b"file", OLD), protocol.fetch(12, b"1/file"))
            peer.receive(UNKNOWN_REFERENCE)
            peer.receive(protocol.BODY)
            peer.send(fetch_patch(13, b"../file", OLD), fetch_patch(14, b"missing", OLD))
            kinds = [peer.raw()[0] for _ in range(2)]
            assert set(kinds) <= {UNKNOWN_REFERENCE, protocol.ABANDON}


def signatures_of(content, block):
    pieces = [content[at : at + block] for at in range(0, len(content), block)]
    return b"".join(
        struct.pack("<I8s", zlib.adler32(piece), hashlib.md5(bytes(4) + piece).digest()[:8]) for piece in pieces
    )


def fetched(peer, number):
    """What comes of a file: what was reused, and the rest."""
    _, size = peer.receive(BEGIN).fields("IIqQ")[0::3]
    found, content = [], 0
    while content < size:
        kind, payload, _ = peer.raw()
        if kind == REUSE:
            found.append(struct.unpack("<QQ", payload))
            content += found[-1][1]
        else:
            assert kind == DATA
            content += len(payload)
            found.append(payload)
    assert peer.receive(protocol.END)
    return found


def test_a_pull_by_hand(zstd_server, share):
    new = OLD[1024:3072] + b"new" + OLD[:4096]
    write(share / "file", new)
    with session(zstd_server, share) as peer:
        blocks = signatures_of(OLD, 1024)
        peer.send(fetch_delta(0, b"file"), told(0, SIZE, 1024, blocks[:120]), told(0, SIZE, 1024, blocks[120:], 10))
        assert fetched(peer, 0) == [(1024, 2048), b"new", (0, 4096)]
        # Signatures that are right in their weak halves alone are of no use, and do no harm.
        weak = b"".join(blocks[at : at + 4] + bytes(8) for at in range(0, len(blocks), 12))
        peer.send(fetch_delta(1, b"file"), told(1, SIZE, 1024, weak))
        assert b"".join(fetched(peer, 1)) == new


@pytest.mark.parametrize(
    "wrong",
    [
        told(0, SIZE, 255, bytes(12)),
        told(0, SIZE, (16 << 20) + 1, bytes(12)),
        told(0, 0, 1024, bytes(12)),
        told(0, 2**63, 16 << 20, bytes(12)),
        told(0, (1 << 20) * 256 + 1, 256, bytes(12)),
        told(0, SIZE, 1024, bytes(12), first=1),
        told(0, SIZE, 1024, b""),
        told(0, SIZE, 1024, bytes(13)),
        told(0, 1024, 1024, bytes(24)),
        told(1, SIZE, 1024, bytes(12)),
        told(0, SIZE, 1024, bytes(12)) + told(0, SIZE + 1, 1024, bytes(12), 1),
        told(0, SIZE, 1024, bytes(12)) + told(0, SIZE, 2048, bytes(12), 1),
        told(0, SIZE, 1024, bytes(12)) + told(0, SIZE, 1024, bytes(12), 1, salt=1),
        told(0, SIZE, 1024, bytes(12)) + told(0, SIZE, 1024, bytes(12), 0),
        protocol.fetch(1, b"file"),
        fetch_delta(1, b"file"),
    ],
)
def test_signatures_that_cannot_be(zstd_server, wrong, share):
    write(share / "file", OLD)
    with session(zstd_server, share) as peer:
        peer.send(fetch_delta(0, b"file"), wrong)
        assert peer.ending().kind == KIND_CLIENT


def test_signatures_without_a_question_and_questions_without_the_capability(zstd_server, share):
    write(share / "file", OLD)
    with session(zstd_server, share) as peer:
        peer.send(told(0, SIZE, 1024, bytes(12)))
        assert peer.ending().kind == KIND_CLIENT
    for capabilities, options in ((ALL - DELTA, {}), (ALL - 1, {}), (ALL, {"delta": False})):
        with serving.Pair(zstd_server, zstd_server).serving(share, **options) as served, Peer(served.port) as peer:
            peer.greet(capabilities)
            peer.open(b"share")
            peer.send(offer(0, known(b"file", SIZE)))
            assert peer.result() == (SEND, None)
            peer.send(fetch_delta(1, b"file"))
            assert peer.ending().kind == KIND_CLIENT


# Clients are lied to ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def played(script, capabilities=ALL):
    """A server that is played by hand, for one connection: Version, Hello, Open, and what the script does."""
    failures = []

    def run():
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(serving.PATIENCE)
                connection.sendall(protocol.version(protocol.EXTENDED))
                with connection.makefile("rb") as stream:
                    assert take(stream)[0] == protocol.HELLO
                    connection.sendall(protocol.welcome(capabilities))
                    assert take(stream)[0] == protocol.OPEN
                    connection.sendall(message(protocol.OPENED, struct.pack("<B3x", 1)))
                    script(connection, lambda: take(stream))
                    with contextlib.suppress(OSError):
                        while stream.read(65536):
                            pass
        except BaseException as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(serving.PATIENCE)
        assert not thread.is_alive() and not failures, failures


def take(stream):
    size, kind = struct.unpack("<IB3x", stream.read(8))
    return kind, stream.read(size - 8)


def results(*answers):
    return message(RESULTS, struct.pack("<I", len(answers)) + b"".join(struct.pack("<IB", *one) for one in answers))


@pytest.mark.parametrize(
    "wrong",
    [
        results((0, SEND_DELTA)),
        results((0, SEND_PATCH)),
        told(0, SIZE, 1024, bytes(12)) + results((0, SEND_DELTA)),
        told(1, SIZE, 1024, bytes(12)),
        told(0, SIZE, 100, bytes(12)),
        told(0, 2**63, 16 << 20, bytes(12)),
        told(0, 1024, 1024, bytes(24)),
        reuse(0, 1),
    ],
)
def test_a_client_is_lied_to_in_a_push(zstd_client, wrong, tmp_path):
    write(tmp_path / "new", OLD)

    def script(connection, receive):
        assert receive()[0] == protocol.OFFER
        connection.sendall(wrong)

    config = py_eacopy.Config(backend=zstd_client)
    with played(script) as port, pytest.raises(py_eacopy.EACopyError) as caught:
        py_eacopy.copy_with_server(
            tmp_path / "new", f"eacopy://127.0.0.1:{port}/s/f", config=config, delta=True, timeout=5
        )
    assert caught.value.kind is py_eacopy.ErrorKind.CLIENT, caught.value


@pytest.mark.parametrize(
    "wrong",
    [
        begin(0, SIZE) + reuse(SIZE, 1),
        begin(0, SIZE) + reuse(2**64 - 1, 2),
        begin(0, SIZE) + reuse(0, 0),
        begin(0, 10) + reuse(0, 11),
        begin(0, SIZE) + message(PATCH_DATA, b"patch"),
        reuse(0, 10),
        message(FETCH_DELTA, bytes(10)),
    ],
)
def test_a_client_is_lied_to_in_a_pull(zstd_client, wrong, tmp_path):
    write(tmp_path / "file", OLD)

    def script(connection, receive):
        assert receive()[0] == protocol.LIST
        listed = entry(b"f", size=SIZE)
        connection.sendall(message(protocol.ENTRIES, struct.pack("<I", 1) + listed))
        connection.sendall(message(protocol.LISTED, struct.pack("<I", 0)))
        assert receive()[0] == FETCH_DELTA
        assert receive()[0] == SIGNATURES
        connection.sendall(wrong)

    config = py_eacopy.Config(backend=zstd_client)
    with played(script) as port, pytest.raises(py_eacopy.EACopyError) as caught:
        py_eacopy.copy_with_server(
            f"eacopy://127.0.0.1:{port}/s/f", tmp_path / "file", config=config, delta=True, timeout=5
        )
    assert caught.value.kind is py_eacopy.ErrorKind.CLIENT, caught.value
    assert (tmp_path / "file").read_bytes() == OLD and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("size, crc", [(2048, 1), (4096, zlib.crc32(OLD[:2048]))])
def test_a_client_asks_again_for_what_was_wrong(zstd_client, size, crc, tmp_path):
    write(tmp_path / "file", OLD)
    asked = []

    def script(connection, receive):
        assert receive()[0] == protocol.LIST
        connection.sendall(message(protocol.ENTRIES, struct.pack("<I", 1) + entry(b"f", size=SIZE)))
        connection.sendall(message(protocol.LISTED, struct.pack("<I", 0)))
        asked.append(receive()[0])
        asked.append(receive()[0])
        connection.sendall(begin(0, size) + reuse(0, 2048) + end(crc))
        asked.append(receive()[0])
        connection.sendall(body(1, b"all of it"))

    config = py_eacopy.Config(backend=zstd_client)
    with played(script) as port:
        address = f"eacopy://127.0.0.1:{port}/s/f"
        report = py_eacopy.copy_with_server(address, tmp_path / "file", config=config, delta=True, timeout=5)
    assert asked == [FETCH_DELTA, SIGNATURES, protocol.FETCH]
    assert (tmp_path / "file").read_bytes() == b"all of it" and os.listdir(tmp_path) == ["file"]
    assert (report.files_copied, report.bytes_copied, report.bytes_reused) == (1, 9, 0)


def asks_for_a_patch(zstd_client, path, answers):
    """Pulls from a server that is played; returns what it was asked, and the report."""
    asked = []

    def script(connection, receive):
        assert receive()[0] == protocol.LIST
        connection.sendall(message(protocol.ENTRIES, struct.pack("<I", 1) + entry(b"f", size=SIZE)))
        connection.sendall(message(protocol.LISTED, struct.pack("<I", 0)))
        for answer in answers:
            asked.append(receive()[0])
            connection.sendall(answer)

    with played(script, ALL | PATCHES) as port:
        address = f"eacopy://127.0.0.1:{port}/s/f"
        config = py_eacopy.Config(backend=zstd_client)
        return asked, py_eacopy.copy_with_server(
            address, path, config=config, delta=True, compression_level=3, timeout=5
        )


def patch_data(patch, number=0, size=SIZE, crc=0):
    return begin(number, size) + message(PATCH_DATA, patch) + end(crc)


def test_a_client_puts_a_patch_together(zstd_client, tmp_path):
    new, _ = EDITS["insertion"]
    write(tmp_path / "file", OLD)
    good = patch_data(frame(new, OLD), size=len(new), crc=zlib.crc32(new))
    asked, report = asks_for_a_patch(zstd_client, tmp_path / "file", [good])
    assert asked == [FETCH_PATCH] and (tmp_path / "file").read_bytes() == new
    assert report.bytes_copied == report.bytes_written == len(new)
    # The content may come without one, too.
    write(tmp_path / "file", OLD)
    asked, report = asks_for_a_patch(zstd_client, tmp_path / "file", [body(0, b"all of it")])
    assert asked == [FETCH_PATCH] and (tmp_path / "file").read_bytes() == b"all of it"


def test_a_client_asks_again_where_a_patch_was_wrong(zstd_client, tmp_path):
    new, _ = EDITS["insertion"]
    good, crc = frame(new, OLD), zlib.crc32(new)
    wrong = {
        "cut off": patch_data(good[:-300], size=len(new), crc=crc),
        "damaged": patch_data(good[:-300] + bytes([good[-300] ^ 1]) + good[-299:], size=len(new), crc=crc),
        "of another file": patch_data(frame(new, OLD[:-1]), size=len(new), crc=crc),
        "another size": patch_data(good, size=len(new) + 1, crc=crc),
        "another sum": patch_data(good, size=len(new), crc=crc ^ 1),
        "no checksum": patch_data(frame(new, OLD, checksum_flag=0), size=len(new), crc=crc),
        "a bomb": patch_data(frame(bytes(50 << 20), OLD), size=1000),
        "nothing": patch_data(b"", size=len(new), crc=crc),
    }
    for name, bad in wrong.items():
        write(tmp_path / "file", OLD)
        asked, report = asks_for_a_patch(zstd_client, tmp_path / "file", [bad, body(1, b"all of it")])
        assert asked == [FETCH_PATCH, protocol.FETCH], name
        assert (tmp_path / "file").read_bytes() == b"all of it" and os.listdir(tmp_path) == ["file"], name
        assert (report.files_copied, report.bytes_copied, report.bytes_reused) == (1, 9, 0), name


def unknown(number):
    return message(UNKNOWN_REFERENCE, struct.pack("<I", number))


def test_a_client_asks_with_signatures_where_a_reference_is_not_known(zstd_client, tmp_path):
    write(tmp_path / "file", OLD)
    asked, _ = asks_for_a_patch(zstd_client, tmp_path / "file", [unknown(0), b"", body(1, b"all of it")])
    assert asked == [FETCH_PATCH, FETCH_DELTA, SIGNATURES] and (tmp_path / "file").read_bytes() == b"all of it"


@pytest.mark.parametrize(
    "wrong",
    [
        unknown(1),
        begin(0, SIZE) + unknown(0),
        begin(0, SIZE) + reuse(0, 10),
        message(PATCH_DATA, b"patch"),
        message(UNKNOWN_REFERENCE, b""),
    ],
)
def test_a_client_is_lied_to_about_a_patch(zstd_client, wrong, tmp_path):
    write(tmp_path / "file", OLD)
    with pytest.raises(py_eacopy.EACopyError) as caught:
        asks_for_a_patch(zstd_client, tmp_path / "file", [wrong])
    assert caught.value.kind is py_eacopy.ErrorKind.CLIENT, caught.value
    assert (tmp_path / "file").read_bytes() == OLD and os.listdir(tmp_path) == ["file"]
