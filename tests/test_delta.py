"""Deltas: whatever was done to a file, the copy is right, and little of it is written anew."""

import io
import os
import pathlib
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
import time

import pytest
from faults import filesystems
from faults.filesystems import CLONING
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import py_eacopy
from py_eacopy import Config, Control

KILO, MEGA = 1024, 1024 * 1024


@pytest.fixture
def config(backend):
    return Config(backend=backend)


@pytest.fixture
def needs_zstd(config):
    if "zstd" not in py_eacopy.backend_info(config=config).capabilities:
        pytest.skip("no zstd module is installed")


def noise(size, seed=0):
    return random.Random(seed).getrandbits(8 * size).to_bytes(size, "little") if size else b""


def check(folder, new, old, config, name="copy"):
    """Copies with a reference, looks at the result, and returns the report."""
    (folder / "new").write_bytes(new)
    (folder / "old").write_bytes(old)
    report = py_eacopy.delta_copy(folder / "new", folder / name, folder / "old", config=config)
    assert (folder / name).read_bytes() == new
    assert (folder / "old").read_bytes() == old or name == "old"
    assert report.bytes_copied == len(new) and report.files_copied == 1 and report.ok
    assert report.bytes_reused + report.bytes_written == len(new)
    return report


# Any change ----------------------------------------------------------------------------------------------------------

edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "move", "overwrite", "truncate", "append", "zeros"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(0, 200 * KILO),
        st.integers(0, 1000),
    ),
    max_size=6,
)


def edited(data, script):
    for what, where, other, size, seed in script:
        at, to = int(where * len(data)), int(other * len(data))
        if what == "insert":
            data = data[:at] + noise(size, seed) + data[at:]
        elif what == "delete":
            data = data[:at] + data[at + size :]
        elif what == "move":
            part, data = data[at : at + size], data[:at] + data[at + size :]
            data = data[:to] + part + data[to:]
        elif what == "overwrite":
            data = data[:at] + noise(size, seed) + data[at + size :]
        elif what == "truncate":
            data = data[:at]
        elif what == "append":
            data += noise(size, seed)
        else:
            data = data[:at] + bytes(size) + data[at:]
    return data


@pytest.mark.parametrize("how", ["beside", "in place", "in place, atomic", "never cloned"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=st.sampled_from([0, 1, 4095, 4096, 100_000, 700_001, 3 * MEGA]), script=edits)
def test_any_edit_is_copied(backend, tmp_path_factory, how, size, script):
    folder = tmp_path_factory.mktemp("edit")
    old = noise(size)
    config = Config(backend=backend, atomic="atomic" in how, reflink="never" if "never" in how else "auto")
    check(folder, edited(old, script), old, config, "old" if "place" in how else "copy")
    assert not [name for name in os.listdir(str(folder)) if name.endswith(".tmp")]
    shutil.rmtree(str(folder))


@pytest.mark.usefixtures("needs_zstd")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=st.sampled_from([0, 1, 9, 4096, 700_001, 2 * MEGA]), script=edits, level=st.sampled_from([1, 3, 19]))
def test_any_edit_makes_a_patch(backend, tmp_path_factory, size, script, level):
    folder = tmp_path_factory.mktemp("patch")
    config = Config(backend=backend)
    old = noise(size)
    new = edited(old, script)
    (folder / "new").write_bytes(new)
    (folder / "old").write_bytes(old)
    report = py_eacopy.create_delta(folder / "new", folder / "old", folder / "patch", level, config=config)
    assert report.bytes_written == (folder / "patch").stat().st_size
    py_eacopy.apply_delta(folder / "old", folder / "patch", folder / "made", config=config)
    assert (folder / "made").read_bytes() == new
    shutil.rmtree(str(folder))


@pytest.mark.usefixtures("needs_zstd")
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(size=st.sampled_from([9, 100_000, 2 * MEGA]), script=edits)
def test_the_zstd_command_and_this_understand_each_other(backend, tmp_path_factory, size, script):
    if shutil.which("zstd") is None:
        pytest.skip("the zstd command is not installed")
    folder = tmp_path_factory.mktemp("command")
    config = Config(backend=backend)
    old = noise(size)
    new = edited(old, script) + b"!"  # the command makes no patch of an empty file
    (folder / "new").write_bytes(new)
    (folder / "old").write_bytes(old)
    py_eacopy.create_delta(folder / "new", folder / "old", folder / "ours", config=config)
    command = ["zstd", "-q", "-f", "--long=31", "--patch-from=old"]
    subprocess.run([*command, "-d", "ours", "-o", "made"], cwd=str(folder), check=True)
    assert (folder / "made").read_bytes() == new
    subprocess.run([*command, "new", "-o", "theirs"], cwd=str(folder), check=True)
    py_eacopy.apply_delta(folder / "old", folder / "theirs", folder / "made", config=config)
    assert (folder / "made").read_bytes() == new
    shutil.rmtree(str(folder))


# How much is written -------------------------------------------------------------------------------------------------


def test_nothing_new_is_written_for_an_unchanged_file(tmp_path, config):
    data = noise(3 * MEGA + 5)
    report = check(tmp_path, data, data, config)
    assert report.bytes_reused == len(data) and report.bytes_written == 0
    report = check(tmp_path, data, data, config, "old")
    assert report.bytes_reused == len(data) and report.bytes_written == 0


def test_scattered_changes_cost_their_blocks(tmp_path, config):
    old = noise(8 * MEGA)
    new = bytearray(old)
    for block in range(0, len(new), 400 * KILO):
        new[block + 17] ^= 1
    for name in ("copy", "old"):
        report = check(tmp_path, bytes(new), old, config, name)
        assert 0 < report.bytes_written <= 21 * 4096


@pytest.mark.parametrize("inserted", [1, 4096, 100_003])
def test_an_insertion_near_the_start_moves_the_rest(tmp_path, config, inserted):
    old = noise(8 * MEGA)
    report = check(tmp_path, old[:5000] + noise(inserted, 1) + old[5000:], old, config)
    assert report.bytes_written < inserted + 400 * KILO


@pytest.mark.parametrize("distance", [100_000, 1_000_000])
def test_many_insertions_cost_some_blocks_each(tmp_path, config, distance):
    old = noise(12 * MEGA)
    parts = [old[at : at + distance] for at in range(0, len(old), distance)]
    report = check(tmp_path, b"inserted".join(parts), old, config)
    assert report.bytes_written < len(parts) * 16 * KILO


def test_a_removal_and_swapped_halves_are_found(tmp_path, config):
    old = noise(8 * MEGA)
    assert check(tmp_path, old[:MEGA] + old[2 * MEGA + 77 :], old, config).bytes_written < 2 * MEGA
    assert check(tmp_path, old[4 * MEGA :] + old[: 4 * MEGA], old, config).bytes_written < 2 * MEGA


def test_an_unlike_reference_costs_bounded_searching(tmp_path, config):
    report = check(tmp_path, noise(8 * MEGA, 1), noise(4 * MEGA, 2), config)
    assert report.bytes_reused == 0 and report.bytes_read < 8 * MEGA + 14 * 4 * MEGA + 8 * MEGA


@pytest.fixture
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")
@pytest.mark.parametrize("kind", sorted(CLONING))
def test_shared_extents_take_no_room(config, tmp_path, mounts, kind):
    """On a file system that clones, what is reused is not stored again: neither what comes from the reference..."""
    folder = pathlib.Path(mounts.shared(kind))
    old = noise(32 * MEGA)
    new = tmp_path / "new"
    new.write_bytes(old[: 4 * MEGA] + noise(4096, 5) + old[4 * MEGA + 4096 :])
    (folder / "old").write_bytes(old)
    os.sync()
    before = os.statvfs(str(folder)).f_bfree
    report = py_eacopy.delta_copy(new, folder / "copy", folder / "old", config=config)
    os.sync()
    used = (before - os.statvfs(str(folder)).f_bfree) * os.statvfs(str(folder)).f_frsize
    assert (folder / "copy").read_bytes() == new.read_bytes()
    assert report.bytes_written == 4096 and report.bytes_reused == len(old) - 4096 and used < 4 * MEGA


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")
@pytest.mark.parametrize("kind", sorted(CLONING))
def test_a_source_that_can_be_cloned_is(config, mounts, kind):
    """...nor what the source itself has, when it lies there too."""
    folder = pathlib.Path(mounts.shared(kind))
    old = noise(32 * MEGA)
    (folder / "near").write_bytes(old[: 4 * MEGA] + noise(4096, 6) + old[4 * MEGA + 4096 : -100])
    (folder / "far").write_bytes(old)
    os.sync()
    before = os.statvfs(str(folder)).f_bfree
    report = py_eacopy.delta_copy(folder / "near", folder / "clone", folder / "far", config=config)
    os.sync()
    used = (before - os.statvfs(str(folder)).f_bfree) * os.statvfs(str(folder)).f_frsize
    assert (folder / "clone").read_bytes() == (folder / "near").read_bytes()
    assert report.bytes_copied == len(old) - 100 and dict(report.methods) == {"clone": 1}
    assert report.bytes_written == report.bytes_reused == report.bytes_read == 0 and used < 4 * MEGA
    never = config.evolve(reflink="never")
    report = py_eacopy.delta_copy(folder / "near", folder / "plain", folder / "far", config=never)
    assert (folder / "plain").read_bytes() == (folder / "near").read_bytes() and dict(report.methods) == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")
@pytest.mark.usefixtures("needs_zstd")
def test_a_full_disk_is_told_and_left_as_it_was(tmp_path, config, mounts):
    folder = pathlib.Path(mounts.make("tmpfs", 2 * MEGA))
    (tmp_path / "old").write_bytes(noise(4 * MEGA, 2))
    (tmp_path / "new").write_bytes(noise(4 * MEGA))
    py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=config)
    for call in (
        lambda: py_eacopy.delta_copy(tmp_path / "new", folder / "copy", tmp_path / "old", config=config),
        lambda: py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", folder / "copy", config=config),
        lambda: py_eacopy.apply_delta(tmp_path / "old", tmp_path / "patch", folder / "copy", config=config),
    ):
        with pytest.raises(py_eacopy.DiskFullError) as raised:
            call()
        assert raised.value.destination == "absent"
        assert os.listdir(str(folder)) == []


def test_holes_stay_holes(tmp_path, config):
    for name, data in (("old", b"o"), ("new", b"n")):
        with open(str(tmp_path / name), "wb") as file:
            file.write(data * 5000)
            file.seek(64 * MEGA)
            file.write(data * 5000)
    py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "new").read_bytes()
    if (tmp_path / "new").stat().st_blocks < 1000:
        assert (tmp_path / "copy").stat().st_blocks < 1000


def test_a_hole_where_the_reference_has_data(tmp_path, config):
    (tmp_path / "old").write_bytes(noise(4 * MEGA))
    with open(str(tmp_path / "new"), "wb") as file:
        file.truncate(4 * MEGA)
        file.seek(2 * MEGA)
        file.write(b"middle")
    py_eacopy.delta_copy(tmp_path / "new", tmp_path / "old", tmp_path / "old", config=config)
    assert (tmp_path / "old").read_bytes() == (tmp_path / "new").read_bytes()


# Real data -----------------------------------------------------------------------------------------------------------


def test_a_database_after_a_day_of_updates(tmp_path, config):
    base = sqlite3.connect(str(tmp_path / "old"))
    base.execute("create table asset (id integer primary key, name text, digest blob)")
    base.executemany("insert into asset values (?, ?, ?)", ((i, "asset %d" % i, noise(200, i)) for i in range(20_000)))
    base.commit()
    base.close()
    shutil.copy(str(tmp_path / "old"), str(tmp_path / "new"))
    base = sqlite3.connect(str(tmp_path / "new"))
    base.executemany("update asset set digest = ? where id = ?", ((noise(200, -i), i) for i in range(0, 20_000, 500)))
    base.executemany("insert into asset (name, digest) values (?, ?)", (("new", noise(200, i)) for i in range(200)))
    base.commit()
    base.close()
    new = (tmp_path / "new").read_bytes()
    report = py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config)
    assert (tmp_path / "copy").read_bytes() == new
    assert report.bytes_written < len(new) / 4


def test_an_archive_with_one_member_changed(tmp_path, config):
    for name, size in (("old", 10_000), ("new", 13_333)):
        with tarfile.open(str(tmp_path / name), "w") as archive:
            for number in range(100):
                member = tarfile.TarInfo("member%d" % number)
                member.size = size if number == 7 else 50_000
                archive.addfile(member, io.BytesIO(noise(member.size, number)))
    report = py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "new").read_bytes()
    assert report.bytes_reused > 0.8 * report.bytes_copied


@pytest.mark.usefixtures("needs_zstd")
def test_patches_of_real_data_are_small(tmp_path, config):
    import _ssl

    library = pathlib.Path(_ssl.__file__).read_bytes() * 4
    (tmp_path / "old").write_bytes(library)
    (tmp_path / "new").write_bytes(library[:9999] + b"patched" + library[9999:-500] + b"end")
    report = py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=config)
    assert report.bytes_written < 2000
    py_eacopy.apply_delta(tmp_path / "old", tmp_path / "patch", tmp_path / "made", config=config)
    assert (tmp_path / "made").read_bytes() == (tmp_path / "new").read_bytes()


# Bad input, and bad luck ---------------------------------------------------------------------------------------------


def test_metadata_comes_from_the_source(tmp_path, config):
    (tmp_path / "new").write_bytes(noise(100_000))
    (tmp_path / "old").write_bytes(noise(50_000))
    os.chmod(str(tmp_path / "new"), 0o640)
    os.utime(str(tmp_path / "new"), ns=(1_600_000_000_123_456_789, 1_500_000_000_123_456_789))
    py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config)
    found, wanted = (tmp_path / "copy").stat(), (tmp_path / "new").stat()
    assert stat.S_IMODE(found.st_mode) == 0o640 and found.st_mtime_ns == wanted.st_mtime_ns


def test_what_is_not_a_file_is_refused_by_name(tmp_path, config):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    for arguments, error, name in (
        (("missing", "copy", "old"), FileNotFoundError, "missing"),
        (("new", "copy", "missing"), FileNotFoundError, "missing"),
        (("new", "copy", "."), IsADirectoryError, "."),
        ((".", "copy", "old"), IsADirectoryError, "."),
        (("new", ".", "old"), IsADirectoryError, None),
        (("new", "new", "old"), shutil.SameFileError, None),
        (("new", "copy", ""), ValueError, None),
        (("new", "copy", "a\0b"), ValueError, None),
        (("new", "copy", 3), TypeError, None),
    ):
        paths = [str(tmp_path / path) if path and isinstance(path, str) else path for path in arguments]
        with pytest.raises(error) as raised:
            py_eacopy.delta_copy(*paths, config=config)
        if name is not None:
            assert raised.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(str(tmp_path))) == ["new", "old"]
    assert (tmp_path / "new").read_bytes() == b"new" and (tmp_path / "old").read_bytes() == b"old"


def test_the_reference_may_be_the_source(tmp_path, config):
    (tmp_path / "new").write_bytes(noise(3 * MEGA))
    report = py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "new", config=config)
    assert report.bytes_reused == 3 * MEGA
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "new").read_bytes()


def test_a_reference_that_changes_meanwhile_gives_no_wrong_result(tmp_path, config):
    """Somebody keeps writing into the reference: the result is right, or there is an error and no file."""
    old = noise(16 * MEGA)
    (tmp_path / "new").write_bytes(old)
    (tmp_path / "old").write_bytes(old)
    stop = threading.Event()

    def scribble():
        with open(str(tmp_path / "old"), "r+b") as file:
            for number in range(1 << 30):
                if stop.is_set():
                    return
                file.seek(number * 99_991 % len(old))
                file.write(b"scribble" * 100)
                file.flush()

    thread = threading.Thread(target=scribble)
    thread.start()
    outcomes = set()
    try:
        for number in range(10):
            copy = tmp_path / ("copy%d" % number)
            try:
                py_eacopy.delta_copy(tmp_path / "new", copy, tmp_path / "old", config=config)
                outcomes.add("right")
                assert copy.read_bytes() == old
            except (py_eacopy.DeltaCopyError, py_eacopy.CopyIOError) as error:
                outcomes.add(type(error))
                assert not copy.exists()
    finally:
        stop.set()
        thread.join()
    assert outcomes - {"right"}, "nothing was noticed"


def test_cancelling_leaves_no_file(tmp_path, config):
    (tmp_path / "new").write_bytes(noise(MEGA) * 256)
    (tmp_path / "old").write_bytes(noise(MEGA, 1))
    control = Control(progress=lambda copied, total, name: control.cancel())
    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config, control=control)
    assert sorted(os.listdir(str(tmp_path))) == ["new", "old"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts its threads in /proc")
@pytest.mark.usefixtures("needs_zstd")
def test_cancelling_does_not_wait_until_the_reference_is_indexed(tmp_path, config):
    (tmp_path / "new").write_bytes(noise(MEGA, 1))
    (tmp_path / "old").write_bytes(noise(8 * MEGA))
    control = Control()

    def cancel(before):
        workers = 1 if config.backend == "native" else 0  # the portable backend works in the calling thread
        deadline = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) < len(before) + workers + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        control.cancel()

    before = os.listdir("/proc/self/task")
    watcher = threading.Thread(target=cancel, args=(before,))
    watcher.start()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.create_delta(
            tmp_path / "new", tmp_path / "old", tmp_path / "patch", 22, config=config, control=control
        )
    watcher.join()
    left_behind = set(os.listdir("/proc/self/task")).difference(before)
    assert left_behind  # zstd is still at it, and ends by itself
    assert sorted(os.listdir(str(tmp_path))) == ["new", "old"]
    while left_behind.intersection(os.listdir("/proc/self/task")):
        time.sleep(0.05)


def test_an_exception_out_of_the_callback_comes_out_and_leaves_no_file(tmp_path, config):
    (tmp_path / "new").write_bytes(noise(MEGA) * 256)
    (tmp_path / "old").write_bytes(noise(MEGA, 1))

    def callback(copied, total, name):
        raise KeyError("enough")

    config = config.with_progress_callback(callback)
    with pytest.raises(KeyError, match="enough"):
        py_eacopy.delta_copy(tmp_path / "new", tmp_path / "copy", tmp_path / "old", config=config)
    assert sorted(os.listdir(str(tmp_path))) == ["new", "old"]


def test_progress_begins_and_ends(tmp_path, config):
    events = []
    config = config.with_progress_callback(lambda *event: events.append(event))
    check(tmp_path, noise(3 * MEGA), noise(MEGA), config)
    name = str(tmp_path / "new")
    assert events[0] == (0, 3 * MEGA, name) and events[-1] == (3 * MEGA, 3 * MEGA, name)
    assert [copied for copied, _, _ in events] == sorted(copied for copied, _, _ in events)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")
def test_a_clone_of_the_source_is_not_compared_with_it(mounts, config, monkeypatch):
    """However young the reference is: nothing of it is in there."""
    from py_eacopy.backends.portable import destination

    cloning = pathlib.Path(mounts.shared("xfs"))
    compared = []
    real = destination.compare_data
    monkeypatch.setattr(destination, "compare_data", lambda *arguments: compared.append(1) or real(*arguments))
    old = noise(3 * MEGA)
    (cloning / "old").write_bytes(old)
    (cloning / "new").write_bytes(old[:MEGA] + b"x" + old[MEGA:])
    report = py_eacopy.delta_copy(cloning / "new", cloning / "copy", cloning / "old", config=config)
    assert report.methods == {"clone": 1} and report.bytes_read == 0 and compared == []
    assert (cloning / "copy").read_bytes() == (cloning / "new").read_bytes()
    verifying = config.evolve(verify=True)
    py_eacopy.delta_copy(cloning / "new", cloning / "copy", cloning / "old", config=verifying)
    assert len(compared) == (config.backend == "portable")


# Bad patches ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def patch(tmp_path, config, needs_zstd):
    old = noise(300 * KILO)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(old[:1000] + noise(5000, 1) + old[1000:])
    py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=config)
    return (tmp_path / "patch").read_bytes()


def refused(folder, config, data, *errors):
    (folder / "bad").write_bytes(data)
    (folder / "made").write_bytes(b"as it was")
    with pytest.raises(errors or py_eacopy.DeltaCopyError):
        py_eacopy.apply_delta(folder / "old", folder / "bad", folder / "made", config=config)
    assert (folder / "made").read_bytes() == b"as it was"
    assert not [name for name in os.listdir(str(folder)) if name.endswith(".tmp")]


def test_a_patch_that_is_cut_off_or_longer_is_refused(tmp_path, config, patch):
    for length in {0, 1, 4, 5, 12, 17, 18, 100, len(patch) // 2, len(patch) - 5, len(patch) - 1}:
        refused(tmp_path, config, patch[:length])
    refused(tmp_path, config, patch + b"more")
    refused(tmp_path, config, patch + patch)


def test_a_patch_with_any_bit_flipped_is_refused_or_does_the_same(tmp_path, config, patch):
    wanted = (tmp_path / "new").read_bytes()
    generator = random.Random(5)
    for position in list(range(20)) + [generator.randrange(len(patch)) for _ in range(80)]:
        bad = bytearray(patch)
        bad[position] ^= 1 << generator.randrange(8)
        (tmp_path / "bad").write_bytes(bad)
        started = time.monotonic()
        try:
            py_eacopy.apply_delta(tmp_path / "old", tmp_path / "bad", tmp_path / "made", config=config)
        except (py_eacopy.DeltaCopyError, py_eacopy.ConfigurationError, py_eacopy.UnsupportedError, OSError):
            assert not (tmp_path / "made").exists()
        else:
            assert (tmp_path / "made").read_bytes() == wanted
            (tmp_path / "made").unlink()
        assert time.monotonic() - started < 30


def test_another_reference_is_noticed(tmp_path, config, patch):
    (tmp_path / "old").write_bytes(noise(300 * KILO, 9))
    refused(tmp_path, config, patch)
    (tmp_path / "old").write_bytes(b"")
    refused(tmp_path, config, patch)


def test_a_patch_without_a_checksum_needs_a_word(tmp_path, config, needs_zstd):
    if shutil.which("zstd") is None:
        pytest.skip("the zstd command is not installed")
    (tmp_path / "old").write_bytes(noise(100 * KILO))
    (tmp_path / "new").write_bytes(noise(100 * KILO) + b"more")
    command = ["zstd", "-q", "-f", "--no-check", "--patch-from=old", "new", "-o", "unchecked"]
    subprocess.run(command, cwd=str(tmp_path), check=True)
    refused(tmp_path, config, (tmp_path / "unchecked").read_bytes(), py_eacopy.ConfigurationError)
    arguments = (tmp_path / "old", tmp_path / "unchecked", tmp_path / "made")
    py_eacopy.apply_delta(*arguments, allow_unchecked=True, config=config)
    assert (tmp_path / "made").read_bytes() == (tmp_path / "new").read_bytes()


def test_sizes_that_lie_take_no_room(tmp_path, config, needs_zstd):
    """Frames that promise a petabyte, or want a window of one."""
    (tmp_path / "old").write_bytes(b"old" * 100)
    block = b"\x01\x00\x00"  # the last one, raw, empty
    petabyte = (1 << 50).to_bytes(8, "little")
    magic = bytes.fromhex("28b52ffd")
    started = time.monotonic()
    refused(tmp_path, config, magic + b"\xe4" + petabyte + block + b"1234", OSError, py_eacopy.EACopyError)
    refused(tmp_path, config, magic + b"\x04\xff" + block + b"1234", OSError, py_eacopy.EACopyError)
    assert time.monotonic() - started < 20


def test_windowed_patches(tmp_path, needs_zstd, monkeypatch):
    """What is too large for memory goes segment by segment; here all is too large. The native backend applies what the
    portable one makes, too."""
    config = Config(backend="portable")
    from py_eacopy.backends.portable.delta import patch as module

    monkeypatch.setattr(module, "WHOLE_MAXIMUM", 100 * KILO)
    monkeypatch.setattr(module, "SEGMENT", 64 * KILO)
    monkeypatch.setattr(module, "_REACH", 32 * KILO)
    old = noise(400 * KILO)
    for new in (old[:5000] + b"x" * 3000 + old[5000:], b"", old[: 200 * KILO], noise(300 * KILO, 3)):
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "new").write_bytes(new)
        report = py_eacopy.create_delta(tmp_path / "new", tmp_path / "old", tmp_path / "patch", config=config)
        for applying in (config, Config()):
            py_eacopy.apply_delta(tmp_path / "old", tmp_path / "patch", tmp_path / "made", config=applying)
            assert (tmp_path / "made").read_bytes() == new
            (tmp_path / "made").unlink()
        patch = (tmp_path / "patch").read_bytes()
        assert report.bytes_written == len(patch)
        for length in (1, 39, 40, 45, len(patch) - 1):
            refused(tmp_path, config, patch[:length])


def test_levels_are_checked(tmp_path, config):
    for level in (0, 23, "3", True, None):
        with pytest.raises(py_eacopy.InvalidArgumentError, match="compression_level"):
            py_eacopy.create_delta(tmp_path / "a", tmp_path / "b", tmp_path / "c", level, config=config)
