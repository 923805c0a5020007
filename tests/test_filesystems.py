"""Every file system that can be mounted here and every pair of them: full, limited, read-only, cloning, sparse."""

import errno
import itertools
import os
import subprocess
import sys
import tempfile
import time

import pytest
from faults import filesystems, harness, trees
from faults.filesystems import CLONING, KINDS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loop mounts are Linux's")

METHODS = dict({"any method": []}, **harness.METHODS)
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def mounts():
    mounts = filesystems.Mounts()
    yield mounts
    mounts.close()


@pytest.fixture(autouse=True)
def clean(mounts):
    yield
    mounts.clean()


@pytest.fixture
def call(backend):
    """py_eacopy's functions in a child, by name."""

    def call(function, *arguments, **more):
        more.setdefault("watch", None)
        return harness.session().call(function, *arguments, backend=backend, **more)

    harness.shim()
    return call


def join(*names):
    return os.path.join(*names)


# Whole trees -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source, target", list(itertools.product(KINDS, KINDS)))
def test_a_tree_is_complete_after_going_from_one_file_system_to_another(mounts, call, source, target):
    source, target = mounts.shared(source), mounts.shared(target)
    trees.make_tree(join(source, "tree"))
    outcome = call("copytree", join(source, "tree"), join(target, "copy"), keywords={"symlinks": True})
    assert outcome.error is None, outcome
    assert trees.snapshot(join(target, "copy")) == trees.snapshot(join(source, "tree"))
    subprocess.run(["diff", "-r", "--no-dereference", join(source, "tree"), join(target, "copy")], check=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reflink", ["auto", "never"])
def test_a_tree_is_complete_when_made_atomically_durably_and_verified(mounts, call, kind, reflink):
    place = mounts.shared(kind)
    trees.make_tree(join(place, "tree"))
    config = {"atomic": True, "fsync": True, "verify": True, "reflink": reflink}
    for _ in range(2):  # the second time over what is there
        keywords = {"symlinks": True, "dirs_exist_ok": True}
        for name in ("dangling", "link to one", "link to sub"):  # a link that exists is an error, as with shutil
            if os.path.lexists(join(place, "copy", name)):
                os.unlink(join(place, "copy", name))
        outcome = call("copytree", join(place, "tree"), join(place, "copy"), keywords=keywords, config=config)
        assert outcome.error is None, outcome
        assert trees.snapshot(join(place, "copy")) == trees.snapshot(join(place, "tree"))
        assert not trees.temporaries(place)


def test_a_tree_goes_to_and_from_an_overlay(mounts, call, backend):
    place = mounts.shared("tmpfs")
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(join(place, name))
    trees.make_tree(join(place, "lower", "tree"))
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", join(place, "merged")]
    done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        pytest.skip(f"an overlay is not possible here: {done.stderr.strip()}")
    try:
        tree, copy = join(place, "merged", "tree"), join(place, "merged", "copy")
        outcome = call("copytree", tree, copy, keywords={"symlinks": True})
        assert outcome.error is None, outcome
        assert trees.snapshot(copy) == trees.snapshot(tree)
    finally:
        subprocess.run(["umount", "-l", join(place, "merged")], check=True)


def test_a_file_system_without_modes_owners_and_links_takes_what_it_can(mounts, call):
    source = mounts.shared("tmpfs")
    if not os.path.exists("/usr/sbin/mkfs.vfat"):
        pytest.skip("mkfs.vfat is not installed (Debian: package dosfstools)")
    image, point = join(source, "vfat.image"), join(source, "vfat")
    os.mkdir(point)
    trees.make_sparse(image, 64 << 20, ())
    subprocess.run(["mkfs.vfat", image], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(["mount", "-o", "loop,quiet=0", image, point], stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        pytest.skip(f"mounting vfat is not possible here: {done.stderr.strip()}")
    try:
        os.mkdir(join(source, "tree"))
        trees.write(join(source, "tree", "private"), b"content")
        os.chmod(join(source, "tree", "private"), 0o600)
        os.symlink("private", join(source, "tree", "link"))
        outcome = call("copytree", join(source, "tree"), join(point, "copy"), keywords={"symlinks": True})
        assert outcome.error is not None and len(outcome.error.triples) == 1, outcome
        assert outcome.error.triples[0][0].endswith("/link"), outcome
        assert trees.read(join(point, "copy", "private")) == b"content"
    finally:
        subprocess.run(["umount", "-l", point], check=True)


def test_a_file_system_without_attributes_takes_everything_else(mounts, call):
    place = mounts.shared("tmpfs")
    trees.make_tree(join(place, "tree"))
    if not trees.attributes(join(place, "tree", "page")):
        pytest.skip("this tmpfs has no attributes to lose")
    os.mkdir(join(place, "ramfs"))
    subprocess.run(["mount", "-t", "ramfs", "ramfs", join(place, "ramfs")], check=True)
    try:
        with pytest.raises(OSError):
            os.setxattr(join(place, "ramfs"), "user.colour", b"green")
        copy = join(place, "ramfs", "copy")
        outcome = call("copytree", join(place, "tree"), copy, keywords={"symlinks": True})
        assert outcome.error is None, outcome
        expected = {
            path: found[:-1] if found[0] in ("file", "directory") else found
            for path, found in trees.snapshot(join(place, "tree")).items()
        }
        got = {
            path: found[:-1] if found[0] in ("file", "directory") else found
            for path, found in trees.snapshot(copy).items()
        }
        assert got == expected
    finally:
        subprocess.run(["umount", "-l", join(place, "ramfs")], check=True)


def test_an_attribute_that_the_other_file_system_has_no_room_for_is_left_out(mounts, call):
    source, target = join(mounts.shared("xfs"), "source"), join(mounts.shared("ext4"), "target")
    trees.write(source, b"content")
    os.setxattr(source, "user.large", b"x" * 60000)
    os.setxattr(source, "user.small", b"kept")
    with pytest.raises(OSError):
        os.setxattr(os.path.dirname(target), "user.large", b"x" * 60000)
    outcome = call("copy2", source, target)
    assert outcome.error is None, outcome
    assert trees.read(target) == b"content" and trees.attributes(target) == {"user.small": b"kept"}


@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_one_file_seen_through_two_mounts_is_one_file(mounts, call, atomic):
    place = mounts.shared("ext4")
    for name in ("real", "bound"):
        os.mkdir(join(place, name))
    source, target = join(place, "real", "file"), join(place, "bound", "file")
    trees.write(source, b"content")
    subprocess.run(["mount", "--bind", join(place, "real"), join(place, "bound")], check=True)
    try:
        outcome = call("copyfile", source, target, config={"atomic": atomic})
        assert outcome.error is not None and outcome.error.is_a("SameFileError"), outcome
        assert trees.read(source) == b"content" and os.listdir(join(place, "real")) == ["file"]
    finally:
        subprocess.run(["umount", "-l", join(place, "bound")], check=True)


# Clones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLONING)
def test_extents_that_cp_shares_are_seen(mounts, kind):
    """What the next tests rely on."""
    place = mounts.shared(kind)
    trees.write(join(place, "source"), trees.make_bytes(4 << 20))
    for reflink, least, most in (("always", 4 << 20, 4 << 20), ("never", 0, 0)):
        subprocess.run(["cp", f"--reflink={reflink}", join(place, "source"), join(place, reflink)], check=True)
        assert least <= trees.shared_bytes(join(place, reflink)) <= most


@pytest.mark.parametrize("kind", CLONING)
@pytest.mark.parametrize("reflink", ["auto", "always"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("function", ["copyfile", "copytree"])
def test_a_copy_shares_its_extents_where_the_file_system_can(mounts, call, kind, reflink, atomic, function):
    place = mounts.shared(kind)
    data = trees.make_bytes((4 << 20) + 4096)
    os.mkdir(join(place, "tree"))
    trees.write(join(place, "tree", "file"), data)
    source, target = (join(place, "tree"), join(place, "copy"))
    end = "" if function == "copytree" else "file"
    if end:
        os.mkdir(target)
    config = {"reflink": reflink, "atomic": atomic}
    outcome = call(function, join(source, end).rstrip("/"), join(target, end).rstrip("/"), config=config)
    assert outcome.error is None, outcome
    copy = join(target, "file")
    assert trees.read(copy) == data and trees.shared_bytes(copy) == len(data)
    with open(copy, "r+b") as stream:
        stream.write(b"changed")
    assert trees.read(join(source, "file")) == data, "a clone is a copy, not a link"


@pytest.mark.parametrize("kind", CLONING)
def test_a_clone_moves_no_bytes_and_so_is_not_limited(mounts, call, kind):
    place = mounts.shared(kind)
    data = trees.make_bytes(4 << 20)
    trees.write(join(place, "file"), data)
    outcome = call("copyfile", join(place, "file"), join(place, "copy"), config={"bandwidth_limit": 1024})
    assert outcome.error is None, outcome  # moving the bytes would take more than an hour
    assert trees.read(join(place, "copy")) == data and trees.shared_bytes(join(place, "copy")) == len(data)


@pytest.mark.parametrize("kind", CLONING)
@pytest.mark.parametrize("function", ["copyfile", "copytree"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_reflink_never_shares_no_extent(mounts, call, kind, function, atomic):
    place = mounts.shared(kind)
    data = trees.make_bytes(4 << 20)
    os.mkdir(join(place, "tree"))
    trees.write(join(place, "tree", "file"), data)
    end = "" if function == "copytree" else "file"
    if end:
        os.mkdir(join(place, "copy"))
    outcome = call(
        function,
        join(place, "tree", end).rstrip("/"),
        join(place, "copy", end).rstrip("/"),
        config={"reflink": "never", "atomic": atomic},
    )
    assert outcome.error is None, outcome
    assert trees.read(join(place, "copy", "file")) == data
    assert trees.shared_bytes(join(place, "copy", "file")) == 0


@pytest.mark.parametrize("source, target", [("ext4", "ext4"), ("tmpfs", "tmpfs"), ("xfs", "btrfs"), ("btrfs", "ext4")])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_reflink_always_is_refused_where_it_cannot_be(mounts, call, source, target, existing, atomic):
    source, target = join(mounts.shared(source), "source"), join(mounts.shared(target), "target")
    trees.write(source, trees.make_bytes(1 << 20))
    if existing:
        trees.write(target, b"old content")
    outcome = call("copyfile", source, target, config={"reflink": "always", "atomic": atomic})
    assert outcome.error is not None and outcome.error.is_a("EACopyError"), outcome
    assert outcome.error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY), outcome
    assert outcome.error.destination == ("old" if existing else "absent")
    assert os.listdir(os.path.dirname(target)) == (["target"] if existing else [])
    assert not existing or trees.read(target) == b"old content"


# Sparse files ----------------------------------------------------------------------------------------------------

PIECES = ((0, b"begin"), (GIGABYTE + 12345, b"middle" * 1000), (3 * GIGABYTE - 3, b"end"))


def assert_sparse(path, size, pieces, most=1 << 20):
    """The file has this size, these pieces, nothing else but zeros, and takes up little room."""
    status = os.stat(path)
    assert status.st_size == size
    assert status.st_blocks * 512 <= most, f"{status.st_blocks * 512} bytes are allocated"
    with open(path, "rb") as stream:
        start = 0
        while start < size:
            try:
                start = os.lseek(stream.fileno(), start, os.SEEK_DATA)
            except OSError as error:
                assert error.errno == errno.ENXIO
                break
            end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            expected = bytearray(end - start)
            for offset, data in pieces:
                low, high = max(offset, start), min(offset + len(data), end)
                if low < high:
                    expected[low - start : high - start] = data[low - offset : high - offset]
            stream.seek(start)
            assert stream.read(end - start) == expected, (start, end)
            start = end
        for offset, data in pieces:
            stream.seek(offset)
            assert stream.read(len(data)) == data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_sparse_file_of_3_gigabytes_keeps_its_holes(mounts, call, kind, method):
    place = mounts.shared(kind)
    trees.make_sparse(join(place, "source"), 3 * GIGABYTE, PIECES)
    begun = time.monotonic()
    outcome = call("copyfile", join(place, "source"), join(place, "target"), rules=METHODS[method], watch=place)
    seconds = time.monotonic() - begun
    assert outcome.error is None, outcome
    assert_sparse(join(place, "target"), 3 * GIGABYTE, PIECES)
    assert seconds < 5, f"{seconds:.1f} s: it must have read the holes"


@pytest.mark.parametrize("source, target", [("tmpfs", "ext4"), ("ext4", "xfs"), ("xfs", "tmpfs"), ("btrfs", "tmpfs")])
@pytest.mark.parametrize("reflink", ["auto", "never"])
def test_a_sparse_file_keeps_its_holes_in_a_tree_and_across_file_systems(mounts, call, source, target, reflink):
    source, target = join(mounts.shared(source), "tree"), join(mounts.shared(target), "copy")
    os.mkdir(source)
    layouts = {
        "only a hole": (3 * GIGABYTE, ()),
        "hole at the end": (3 * GIGABYTE, ((0, b"begin"),)),
        "hole at the begin": (GIGABYTE, ((GIGABYTE - 5000, b"e" * 5000),)),
        "small": (10_000_000, ((5_000_000, b"m" * 5000),)),
    }
    for name, (size, pieces) in layouts.items():
        trees.make_sparse(join(source, name), size, pieces)
    outcome = call("copytree", source, target, config={"reflink": reflink, "atomic": True})
    assert outcome.error is None, outcome
    for name, (size, pieces) in layouts.items():
        assert_sparse(join(target, name), size, pieces)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_sparse_file_over_a_dense_one_shows_nothing_of_it(mounts, call, kind, method):
    place = mounts.shared(kind)
    pieces = ((1 << 20, b"middle"),)
    trees.make_sparse(join(place, "source"), 4 << 20, pieces)
    trees.write(join(place, "target"), b"\xff" * (5 << 20))
    outcome = call("copyfile", join(place, "source"), join(place, "target"), rules=METHODS[method], watch=place)
    assert outcome.error is None, outcome
    assert trees.read(join(place, "target")) == trees.read(join(place, "source"))


# Full and limited ------------------------------------------------------------------------------------------------


@pytest.fixture
def full(mounts, request):
    """A file system of the kind asked for with about 3 MB left, and nothing but a filler in it."""
    kind = request.param
    size = {"tmpfs": 8 << 20, "ext4": 32 << 20, "xfs": 320 << 20, "btrfs": 256 << 20}[kind]
    point = mounts.make(kind, size)
    with open(join(point, "filler"), "wb", buffering=0) as stream:
        block = b"f" * (1 << 18)
        while available(point) > 3 << 20:
            try:
                stream.write(block)
            except OSError:
                break
            if kind == "btrfs":
                os.fsync(stream.fileno())
    os.sync()
    yield point
    mounts.unmount(point)


def available(path):
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def names(path):
    return sorted(set(os.listdir(path)) - {"filler", "lost+found"})


@pytest.fixture(scope="module")
def large_source(tmp_path_factory):
    """More than any of the full file systems has left."""
    return trees.write(str(tmp_path_factory.mktemp("large") / "source"), trees.make_bytes(12 << 20))


@pytest.mark.parametrize("full", KINDS, indirect=True)
def test_a_full_file_system_is_reported_with_figures_and_left_as_it_was(call, full, large_source):
    for atomic in (False, True):
        before = available(full)
        outcome = call("copyfile", large_source, join(full, "copy"), config={"atomic": atomic})
        assert outcome.error is not None and outcome.error.is_a("DiskFullError", "OSError"), outcome
        assert outcome.error.errno == errno.ENOSPC and outcome.error.kind == "DISK_FULL"
        assert outcome.error.path == join(full, "copy") and outcome.error.needed == 12 << 20
        assert 0 <= outcome.error.available <= 4 << 20 and outcome.error.destination == "absent"
        assert names(full) == []
        os.sync()
        assert available(full) >= before - (1 << 20), "what was begun takes up room"


@pytest.mark.parametrize("full", KINDS, indirect=True)
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_full_file_system_leaves_an_overwritten_file_that_is_told_of(call, full, large_source, atomic):
    trees.write(join(full, "copy"), b"old content")
    outcome = call("copyfile", large_source, join(full, "copy"), config={"atomic": atomic})
    assert outcome.error is not None and outcome.error.is_a("DiskFullError"), outcome
    assert names(full) == ["copy"]
    assert outcome.error.destination == ("old" if atomic else "partial")
    assert (trees.read(join(full, "copy")) == b"old content") == atomic


@pytest.mark.parametrize("full", KINDS, indirect=True)
def test_a_tree_on_a_full_file_system_has_only_whole_files(call, full, mounts):
    source = join(mounts.shared("tmpfs"), "tree")
    os.makedirs(join(source, "sub"))
    for number in range(24):
        trees.write(join(source, "sub" if number % 2 else "", str(number)), trees.make_bytes(400_000, number))
    outcome = call("copytree", source, join(full, "copy"))
    assert outcome.error is not None and outcome.error.is_a("TreeError", "Error"), outcome
    assert {error.kind for error in outcome.error.errors} == {"DISK_FULL"}
    expected, got = trees.snapshot(source, metadata=False), trees.snapshot(join(full, "copy"), metadata=False)
    assert all(expected[path] == found for path, found in got.items())
    failed = {os.fsencode(os.path.relpath(triple[0], source)) for triple in outcome.error.triples}
    missing = {path for path in expected if path not in got}
    assert failed and failed <= missing
    # Where there was no room for a directory, nothing below it is missed.
    assert all(path in failed or os.path.dirname(path) in failed for path in missing)


def test_a_file_system_without_a_free_inode_is_full(call, mounts, tmp_path):
    point = mounts.make("tmpfs", 8 << 20, "nr_inodes=10")
    try:
        source = tmp_path / "tree"
        source.mkdir()
        for number in range(20):
            trees.write(source / str(number), b"content")
        outcome = call("copytree", str(source), join(point, "copy"))
        assert outcome.error is not None and {error.kind for error in outcome.error.errors} == {"DISK_FULL"}, outcome
        copied = os.listdir(join(point, "copy"))
        assert copied and len(copied) + len(outcome.error.errors) == 20
        assert {trees.read(join(point, "copy", name)) for name in copied} == {b"content"}
    finally:
        mounts.unmount(point)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
def test_a_file_larger_than_the_process_may_write_is_reported_with_its_size(
    backend, tmp_path, method, existing, atomic
):
    harness.shim()
    place = harness.Workplace(backend, tmp_path)
    place.old = place.old[:1000]
    outcome = place.copy(
        *METHODS[method], existing=existing, config={"atomic": atomic}, limits={"RLIMIT_FSIZE": (1 << 20) + 5}
    )
    error = place.assert_failed(outcome, errno.EFBIG)
    assert error.is_a("FileTooLargeError", "OSError") and error.kind == "FILE_TOO_LARGE"
    assert error.size == len(place.data) and error.path == place.destination
    assert error.destination == ("absent" if not existing else "old" if atomic else "partial")


def test_a_file_larger_than_the_file_system_can_hold_is_reported_with_its_size(call, mounts):
    source, target = join(mounts.shared("xfs"), "source"), join(mounts.shared("ext4"), "target")
    size = 17 << 40  # ext4 ends at 16 TiB
    trees.make_sparse(source, size, ((size - 5, b"end"),))
    outcome = call("copyfile", source, target, timeout=30)
    assert outcome.error is not None and outcome.error.is_a("FileTooLargeError"), outcome
    assert outcome.error.errno == errno.EFBIG and outcome.error.size == size
    assert not os.path.exists(target)


# Read-only -------------------------------------------------------------------------------------------------------


def test_a_read_only_file_system_is_read_from_and_refuses_to_be_written_to(call, mounts):
    point = mounts.make("ext4", 32 << 20)
    try:
        trees.make_tree(join(point, "tree"))
        trees.write(join(point, "old"), b"old content")
        subprocess.run(["mount", "-o", "remount,ro", point], check=True)
        place = mounts.shared("tmpfs")
        outcome = call("copytree", join(point, "tree"), join(place, "copy"), keywords={"symlinks": True})
        assert outcome.error is None, outcome
        assert trees.snapshot(join(place, "copy")) == trees.snapshot(join(point, "tree"))
        for name, state in (("old", "old"), ("new", "absent")):
            for atomic in (False, True):
                outcome = call("copyfile", join(place, "copy", "page"), join(point, name), config={"atomic": atomic})
                assert outcome.error is not None and outcome.error.is_a("PermissionDeniedError"), outcome
                assert outcome.error.errno == errno.EROFS and outcome.error.destination == state
        outcome = call("copytree", join(place, "copy"), join(point, "copy"))
        assert outcome.error is not None and outcome.error.errno == errno.EROFS, outcome
        assert trees.read(join(point, "old")) == b"old content"
    finally:
        mounts.unmount(point)


def test_nothing_is_mounted_after_these_tests_that_was_not_before():
    """The helper takes down what it mounts, or a run would leave loop devices behind."""
    mounts = filesystems.Mounts()
    point = mounts.make("tmpfs", 1 << 20)
    assert os.path.ismount(point)
    mounts.close()
    assert not os.path.exists(point) and os.fsencode(point) not in trees.read("/proc/mounts")
    assert tempfile.gettempdir() != point
