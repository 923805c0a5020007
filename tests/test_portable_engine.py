"""The inner parts of the portable engine: which call follows which, what is open at a time, what a worker waits for.

What a caller sees is tested for both backends at once, in the other files.
"""

import errno
import os
import signal
import stat
import sys
import threading
import time

import pytest

from py_eacopy._control import Control
from py_eacopy._errors import EACopyError, ErrorKind, Operation
from py_eacopy._job import CopyJob, CopyOptions
from py_eacopy.backends.base import COPIED, COPIED_INTO, NEEDS_JOB
from py_eacopy.backends.portable import PortableBackend, at, clone, data, directory, limits, progress, system, verify
from py_eacopy.backends.portable.monitor import Monitor

linux = pytest.mark.skipif(sys.platform != "linux", reason="the ladder has one rung elsewhere")
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX modes and descriptors")

BACKEND = PortableBackend()


def copy_items(pairs, *, trees=False, control=None, names_filter=None, **options):
    items = [(os.fsencode(source), os.fsencode(destination)) for source, destination in pairs]
    job = CopyJob(trees=trees, items=iter(items), options=CopyOptions(**options), filter=names_filter)
    return BACKEND.run(job, control or Control())


def copy_one(source, destination, **options):
    """Copies a file through a job; raises its failure."""
    report = copy_items([(source, destination)], **options)
    if report.errors:
        raise report.errors[0]
    return report


@pytest.fixture
def large(tmp_path):
    """A file that goes by the ladder rather than by one read and one write."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 16) * 48 + b"end")
    return path


class Calls:
    """Stands in front of a function of os: counts calls, and lets those that are wanted fail or fall short."""

    def __init__(self, monkeypatch, name, *, errors=(), most=None):
        self.real = getattr(os, name)
        self.made = []
        self.errors = dict(errors)  # by the number of the call
        self.most = most
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args):
        error = self.errors.get(len(self.made), self.errors.get("always"))
        self.made.append(args)
        if error == 0:
            return 0
        if error is not None:
            raise OSError(error, os.strerror(error))
        return self.call(args)

    def call(self, args):
        return self.real(*args)


class CopyRange(Calls):
    def __init__(self, monkeypatch, **more):
        super().__init__(monkeypatch, "copy_file_range", **more)

    def call(self, args):
        source, target, count, *offsets = args
        return self.real(source, target, min(count, self.most or count), *offsets)


class Sendfile(Calls):
    def __init__(self, monkeypatch, **more):
        super().__init__(monkeypatch, "sendfile", **more)

    def call(self, args):
        target, source, offset, count = args
        return self.real(target, source, offset, min(count, self.most or count))


@pytest.fixture
def no_clone(monkeypatch):
    calls = []

    def refuse(source, target, monitor):
        calls.append((source, target))
        return errno.EOPNOTSUPP

    monkeypatch.setattr("py_eacopy.backends.portable.file_copy.clone", refuse)
    return calls


# The ladder -------------------------------------------------------------------------------------------------------

RANGE_ERRNOS = ["ENOSYS", "ENOTTY", "EOPNOTSUPP", "EINVAL", "EBADF", "EXDEV", "ETXTBSY", "EPERM", "EACCES", "EIO"]
RANGE_ERRNOS += ["ENOENT", "EOVERFLOW", "EFBIG"]


@linux
@pytest.mark.parametrize("name", RANGE_ERRNOS)
def test_where_copy_file_range_does_not_work_sendfile_does(monkeypatch, no_clone, tmp_path, large, name):
    ranges = CopyRange(monkeypatch, errors={"always": getattr(errno, name)})
    sent = Sendfile(monkeypatch)
    report = copy_one(large, tmp_path / "copy")
    assert len(ranges.made) == 1, "asked once per file"
    assert sent.made and report.methods == {"sendfile": 1}
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@linux
@pytest.mark.parametrize("name", RANGE_ERRNOS)
def test_after_an_error_in_the_middle_the_next_method_goes_on_from_there(monkeypatch, no_clone, tmp_path, large, name):
    ranges = CopyRange(monkeypatch, errors={3: getattr(errno, name)}, most=100_000)
    sent = Sendfile(monkeypatch)
    copy_one(large, tmp_path / "copy")
    assert [call[3] for call in ranges.made] == [0, 100_000, 200_000, 300_000]
    assert sent.made[0][2] == 300_000, "nothing is copied twice"
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@linux
def test_a_first_result_of_nothing_is_not_taken_for_the_end(monkeypatch, no_clone, tmp_path, large):
    ranges = CopyRange(monkeypatch, errors={"always": 0})
    sent = Sendfile(monkeypatch, errors={"always": 0})
    report = copy_one(large, tmp_path / "copy")
    assert len(ranges.made) == len(sent.made) == 1 and report.methods == {"read_write": 1}
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@linux
@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EPERM"])
def test_where_sendfile_does_not_work_either_read_and_write_do(monkeypatch, no_clone, tmp_path, large, name):
    CopyRange(monkeypatch, errors={"always": errno.ENOSYS})
    sent = Sendfile(monkeypatch, errors={1: getattr(errno, name)}, most=70_000)
    report = copy_one(large, tmp_path / "copy")
    assert len(sent.made) == 2 and report.methods == {"read_write": 1}
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@linux
@pytest.mark.parametrize("call", [CopyRange, Sendfile])
def test_a_full_disk_is_reported_by_whichever_method_meets_it(monkeypatch, no_clone, tmp_path, large, call):
    if call is Sendfile:
        CopyRange(monkeypatch, errors={"always": errno.ENOSYS})
    call(monkeypatch, errors={1: errno.ENOSPC}, most=50_000)
    with pytest.raises(OSError) as caught:
        copy_one(large, tmp_path / "copy")
    error = caught.value
    assert error.kind is ErrorKind.DISK_FULL and error.operation is Operation.COPY and error.offset == 50_000
    assert error.needed == large.stat().st_size and error.available > 0
    assert error.destination == "absent" and not (tmp_path / "copy").exists()


@linux
def test_never_cloning_means_not_by_copy_file_range_either(monkeypatch, tmp_path, large):
    ranges = CopyRange(monkeypatch)
    cloned = []
    monkeypatch.setattr("py_eacopy.backends.portable.file_copy.clone", lambda *args: cloned.append(args) or 0)
    report = copy_one(large, tmp_path / "copy", reflink="never")
    assert not ranges.made and not cloned and report.methods == {"sendfile": 1}


def test_a_small_file_is_not_worth_a_clone(no_clone, tmp_path):
    small = tmp_path / "small"
    small.write_bytes(b"x" * (clone.CLONE_MINIMUM - 1))
    copy_one(small, tmp_path / "copy")
    assert not no_clone
    small.write_bytes(b"x" * clone.CLONE_MINIMUM)
    copy_one(small, tmp_path / "copy")
    assert len(no_clone) == 1


@linux
@pytest.mark.parametrize(
    "release, good",
    [("5.3.0-generic", True), ("5.2.21", False), ("4.19.0", False), ("6.1", True), ("10.0.1", True), ("odd", False)],
)
def test_copy_file_range_is_used_from_linux_5_3_on(monkeypatch, release, good):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "version", "x86_64")))
    assert system._kernel_copies_ranges() is good


def test_writes_that_fall_short_are_continued(monkeypatch, no_clone, tmp_path, large):
    real = os.write
    monkeypatch.setattr(os, "write", lambda target, block: real(target, memoryview(block)[: max(1, len(block) // 3)]))
    copy_one(large, tmp_path / "copy", reflink="never", buffer_size=40_000)
    small = tmp_path / "small"
    small.write_bytes(b"0123456789" * 100)
    copy_one(small, tmp_path / "small copy")
    assert (tmp_path / "small copy").read_bytes() == small.read_bytes()
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


def test_reads_that_fall_short_are_not_taken_for_the_end(monkeypatch, tmp_path):
    real = os.read
    monkeypatch.setattr(os, "read", lambda source, count: real(source, min(count, 7)))
    small = tmp_path / "small"
    small.write_bytes(b"0123456789" * 10)
    copy_one(small, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == small.read_bytes()


class Recorder(Monitor):
    """Follows a transfer without a job."""

    def __init__(self):
        self.pieces = []

    def advance(self, count):
        self.pieces.append(count)


@linux
def test_pieces_follow_the_speed_of_the_device(monkeypatch, tmp_path):
    size = 400 << 20
    source = tmp_path / "sparse"
    with open(source, "wb") as stream:
        stream.truncate(size)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    speed = [1e9]  # bytes a second

    def moves(source, target, count, offset_source, offset_target):
        now[0] += count / speed[0]
        if offset_source > size // 2:
            speed[0] = 1e7  # the cache is full
        return count

    monkeypatch.setattr(os, "copy_file_range", moves)
    recorder = Recorder()
    with open(source, "rb") as reader, open(tmp_path / "copy", "wb") as writer:
        transfer = data._Transfer(reader.fileno(), writer.fileno(), CopyOptions(), recorder)
        assert transfer.copy_range(0, size) == size
    assert sum(recorder.pieces) == size
    assert max(recorder.pieces) / 1e9 <= 2 * data.PIECE_LONG, "long calls keep a cancel waiting"
    assert max(recorder.pieces) >= 8 * data.PIECE_FIRST, "short calls cost time"
    assert recorder.pieces[-2] / 1e7 <= data.PIECE_LONG


# Cloning ----------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ENOMEM])
@pytest.mark.parametrize("reflink", ["auto", "always"])
def test_a_clone_that_really_fails_is_reported(monkeypatch, tmp_path, large, number, reflink):
    def fails(*_):
        raise OSError(number, "")

    monkeypatch.setattr(clone.fcntl, "ioctl", fails)
    with pytest.raises(EACopyError) as caught:
        copy_one(large, tmp_path / "copy", reflink=reflink)
    assert caught.value.errno == number and caught.value.operation is Operation.CLONE
    assert not (tmp_path / "copy").exists()


@linux
def test_an_interrupted_clone_is_asked_for_again(monkeypatch, tmp_path, large):
    answers = [InterruptedError(errno.EINTR, ""), OSError(errno.EOPNOTSUPP, "")]

    def answer(*_):
        raise answers.pop(0)

    monkeypatch.setattr(clone.fcntl, "ioctl", answer)
    copy_one(large, tmp_path / "copy")
    assert not answers and (tmp_path / "copy").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("existing", [None, b"what was there", b"longer" * 2_000_000])
def test_insisting_on_a_clone_where_there_is_none_leaves_what_was_there(
    monkeypatch, no_clone, tmp_path, large, existing
):
    copy = tmp_path / "copy"
    if existing is not None:
        copy.write_bytes(existing)
    with pytest.raises(NotImplementedError) as caught:
        copy_one(large, copy, reflink="always")
    assert caught.value.kind is ErrorKind.UNSUPPORTED and caught.value.operation is Operation.CLONE
    if existing is None:
        assert caught.value.destination == "absent" and not copy.exists()
    else:
        assert caught.value.destination == "old" and copy.read_bytes() == existing


# Holes ------------------------------------------------------------------------------------------------------------


def make_sparse(path, size):
    with open(path, "wb") as stream:
        stream.truncate(size)
        for offset in (0, size // 2, size - 10):
            stream.seek(offset)
            stream.write(b"data")


@linux
@pytest.mark.parametrize("size", [200_000, 40 << 20])
def test_holes_stay_holes(tmp_path, no_clone, size):
    make_sparse(tmp_path / "sparse", size)
    copy_one(tmp_path / "sparse", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == size
    assert (tmp_path / "copy").stat().st_blocks <= (tmp_path / "sparse").stat().st_blocks
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()


@linux
@pytest.mark.parametrize("answer", ["EINVAL", "ENOTSUP", "backwards"])
def test_a_file_system_that_does_not_know_its_holes_is_copied_as_data(monkeypatch, tmp_path, no_clone, answer):
    make_sparse(tmp_path / "sparse", 4 << 20)
    real = os.lseek

    def lseek(descriptor, offset, whence):
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            return real(descriptor, offset, whence)
        if answer == "backwards":
            return 0
        raise OSError(getattr(errno, answer), "")

    monkeypatch.setattr(os, "lseek", lseek)
    copy_one(tmp_path / "sparse", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()


@linux
def test_what_could_not_be_emptied_does_not_show_through_holes(monkeypatch, tmp_path, no_clone):
    make_sparse(tmp_path / "sparse", 4 << 20)
    (tmp_path / "copy").write_bytes(b"old" * 1_000_000)
    real = os.ftruncate

    def refuse(descriptor, size):
        if size == 0:
            raise PermissionError(errno.EACCES, "")
        real(descriptor, size)

    monkeypatch.setattr(os, "ftruncate", refuse)
    copy_one(tmp_path / "sparse", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()


@linux
def test_what_cannot_be_emptied_and_is_longer_is_left_alone(monkeypatch, tmp_path, large, no_clone):
    (tmp_path / "copy").write_bytes(b"old" * 2_000_000)

    def refuse(descriptor, size):
        raise PermissionError(errno.EACCES, "")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(PermissionError) as caught:
        copy_one(large, tmp_path / "copy")
    assert caught.value.destination == "old" and (tmp_path / "copy").read_bytes() == b"old" * 2_000_000


@linux
@pytest.mark.parametrize("reflink", ["auto", "always"])
def test_a_clone_that_did_nothing_is_found_out_by_its_size(monkeypatch, tmp_path, large, reflink):
    monkeypatch.setattr(clone.fcntl, "ioctl", lambda *_: 0)
    if reflink == "auto":
        assert "clone" not in copy_one(large, tmp_path / "copy").methods
        assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    else:
        with pytest.raises(NotImplementedError):
            copy_one(large, tmp_path / "copy", reflink=reflink)
        assert not (tmp_path / "copy").exists()


# The direct path --------------------------------------------------------------------------------------------------


def test_the_direct_path_takes_small_files_and_leaves_large_ones_alone(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * (1 << 20))
    large.write_bytes(b"x" * ((1 << 20) + 1))
    target = os.fsencode(tmp_path / "copy")
    assert BACKEND.copy_file(os.fsencode(large), target, CopyOptions()) == NEEDS_JOB
    assert not os.path.exists(target)
    assert BACKEND.copy_file(os.fsencode(small), target, CopyOptions()) == COPIED
    inside = os.fsencode(tmp_path / "directory")
    os.mkdir(inside)
    assert BACKEND.copy_file(os.fsencode(small), inside, CopyOptions(into_directory=True)) == COPIED_INTO
    assert os.listdir(inside) == [b"small"]


def test_the_direct_path_raises_what_the_job_reports(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    pairs = [("missing", "copy"), ("file", "file"), ("directory", "copy"), ("file", "directory"), ("file", "no/copy")]
    for source, destination in pairs:
        source, destination = tmp_path / source, tmp_path / destination
        (failure,) = copy_items([(source, destination)]).errors
        with pytest.raises(type(failure)) as caught:
            BACKEND.copy_file(os.fsencode(source), os.fsencode(destination), CopyOptions())
        for name in ("args", "kind", "errno", "operation", "filename", "filename2", "destination", "root"):
            assert getattr(caught.value, name) == getattr(failure, name), (source, name)


# Directories that are open ----------------------------------------------------------------------------------------


@posix
class TestDirectoryCache:
    @pytest.fixture
    def chain(self, tmp_path):
        names = ["one", "two", "three", "four"]
        os.makedirs(os.path.join(str(tmp_path), *names))
        return [str(tmp_path), *names]

    def open_chain(self, cache, chain):
        found, parent = [], None
        for name in chain:
            parent, _ = cache.open(parent, name, parent is None)
            found.append(parent)
        for one in found:
            cache.unpin(one)
        return found

    def is_open(self, found):
        return [one.descriptor is not None for one in found]

    def test_those_used_last_stay_open_and_the_root_always(self, chain):
        cache = directory.DirectoryCache(2)
        found = self.open_chain(cache, chain)
        assert self.is_open(found) == [True, False, False, True, True]
        cache.close_all()
        assert not any(self.is_open(found))

    def test_one_that_was_closed_is_opened_again_by_walking_down(self, chain):
        cache = directory.DirectoryCache(0)
        found = self.open_chain(cache, chain)
        assert self.is_open(found) == [True, False, False, False, False]
        descriptor = cache.pin(found[4])
        assert os.fstat(descriptor).st_ino == os.stat(os.path.join(*chain)).st_ino
        assert self.is_open(found) == [True, False, False, False, True]
        cache.unpin(found[4])
        cache.close_all()

    def test_the_way_back_is_one_step_from_a_directory_inside(self, monkeypatch, chain):
        cache = directory.DirectoryCache(1)
        found = self.open_chain(cache, chain)
        assert self.is_open(found) == [True, False, False, False, True]
        opened = []
        real = os.open
        monkeypatch.setattr(at, "open", lambda name, *args, **more: opened.append(name) or real(name, *args, **more))
        cache.discard(found[4])
        assert opened == [".."] and self.is_open(found) == [True, False, False, True, False]
        cache.close_all()

    def test_another_directory_of_the_same_name_is_not_taken_for_it(self, chain):
        cache = directory.DirectoryCache(0)
        found = self.open_chain(cache, chain)
        path = os.path.join(*chain[:3])
        os.rename(path, path + ".moved")
        os.makedirs(os.path.join(*chain))
        with pytest.raises(FileNotFoundError):
            try:
                cache.pin(found[4])
            finally:
                cache.unpin(found[4])
        cache.close_all()

    def test_being_out_of_descriptors_closes_what_is_not_in_use(self, monkeypatch, chain):
        cache = directory.DirectoryCache(10)
        found = self.open_chain(cache, chain)
        real, refusals = os.open, [errno.EMFILE, errno.ENFILE]

        def refuse(*args, **more):
            if refusals:
                raise OSError(refusals.pop(), "")
            return real(*args, **more)

        monkeypatch.setattr(at, "open", refuse)
        again, _ = cache.open(found[0], "one", False)
        assert not refusals and self.is_open(found) == [True, False, False, False, False]
        cache.unpin(again)
        cache.close_all()


@posix
@pytest.mark.parametrize("free, threads", [(500, 4), (60, 4), (10, 1), (0, 1)])
def test_threads_and_directories_share_the_descriptors_that_are_left(monkeypatch, free, threads):
    monkeypatch.setattr(limits, "_limit", lambda: free + 5)
    monkeypatch.setattr(limits, "_open_now", lambda limit: 5)
    workers, directories = limits.share_descriptors(4)
    assert workers == threads and directories >= 4
    assert workers * limits._PER_WORKER + directories <= max(free, limits._PER_WORKER + 4)


@posix
def test_a_job_leaves_no_descriptor_and_no_thread(tmp_path):
    for level in range(30):
        os.makedirs(str(tmp_path / "tree" / ("d%d" % (level % 7)) / ("e%d" % level)))
    where = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    before, threads = len(os.listdir(where)), set(threading.enumerate())
    copy_items([(tmp_path / "tree", tmp_path / "copy")], trees=True)
    copy_items([(tmp_path / "tree", tmp_path / "copy")], trees=True)  # fails: it exists
    assert len(os.listdir(where)) <= before and set(threading.enumerate()) <= threads


@linux
def test_a_source_with_a_lease_is_waited_for(tmp_path):
    """Samba and NFS servers hold leases, and give them back when somebody else opens the file."""
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "file").write_bytes(b"content")
    old = signal.signal(signal.SIGIO, signal.SIG_IGN)
    holder = os.open(str(tmp_path / "file"), os.O_RDWR)
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        timer = threading.Timer(0.1, lambda: fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK))
        start = time.monotonic()
        timer.start()
        copy_one(tmp_path / "file", tmp_path / "copy")
        assert time.monotonic() - start >= 0.1 and (tmp_path / "copy").read_bytes() == b"content"
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, old)


@linux
def test_each_directory_of_a_tree_is_flushed_once_after_all_that_is_in_it(monkeypatch, tmp_path):
    make_tree(str(tmp_path / "tree"))
    flushed = []
    real = os.fsync

    def fsync(descriptor):
        flushed.append(os.path.relpath(os.readlink("/proc/self/fd/%d" % descriptor), str(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    copy_items([(tmp_path / "tree", tmp_path / "new" / "copy")], trees=True, fsync=True)
    expected = {os.path.join("new/copy", path) for path in snapshot(str(tmp_path / "tree"))}
    assert set(flushed) == expected | {"new/copy", "new", "."} and len(flushed) == len(set(flushed))
    for path in expected:
        assert flushed.index(path) < flushed.index(os.path.dirname(path))


# Where names are paths, as on Windows -------------------------------------------------------------------------------


def make_tree(root):
    os.makedirs(os.path.join(root, "a", "deep", "er"))
    os.makedirs(os.path.join(root, "empty"))
    for number in range(40):
        with open(os.path.join(root, "a", "deep", "file%d" % number), "wb") as stream:
            stream.write(b"%d" % number * number * 300)
    os.utime(os.path.join(root, "a", "deep", "file1"), ns=(10**18, 10**18 + 100))
    os.utime(os.path.join(root, "a"), ns=(10**18, 10**18 + 200))


def snapshot(root):
    found = {}
    for where, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = os.path.join(where, name)
            info = os.lstat(path)
            content = None
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as stream:
                    content = stream.read()
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("atomic", [False, True])
def test_without_directory_descriptors_a_tree_is_copied_by_its_paths(monkeypatch, tmp_path, atomic):
    make_tree(str(tmp_path / "tree"))
    os.symlink("deep", str(tmp_path / "tree" / "a" / "link"))
    os.symlink("..", str(tmp_path / "tree" / "a" / "up"))
    expected = snapshot(str(tmp_path / "tree"))
    monkeypatch.setattr(system, "DIRECTORY_HANDLES", False)
    monkeypatch.setattr(system, "METADATA_BY_DESCRIPTOR", False)
    pair = (tmp_path / "tree", tmp_path / "copy")
    report = copy_items([pair], trees=True, follow_symlinks=False, atomic=atomic)
    assert not report.errors and snapshot(str(tmp_path / "copy")) == expected
    again = copy_items([pair], trees=True, follow_symlinks=False, dirs_exist_ok=True, atomic=atomic)
    assert {error.errno for error in again.errors} == {errno.EEXIST}, "the links are there already"
    assert {os.path.basename(error.filename) for error in again.errors} == {"link", "up"}
    followed = copy_items([(pair[0], tmp_path / "followed")], trees=True, follow_symlinks=True)
    assert [error.errno for error in followed.errors] == [errno.ELOOP]
    assert (tmp_path / "followed" / "a" / "link" / "file7").read_bytes() == b"7" * 7 * 300


def test_without_directory_descriptors_a_tree_does_not_descend_into_its_copy(monkeypatch, tmp_path):
    make_tree(str(tmp_path / "tree"))
    monkeypatch.setattr(system, "DIRECTORY_HANDLES", False)
    monkeypatch.setattr(system, "METADATA_BY_DESCRIPTOR", False)
    report = copy_items([(tmp_path / "tree", tmp_path / "tree" / "a" / "copy")], trees=True)
    assert not report.errors
    assert sorted(os.listdir(str(tmp_path / "tree" / "a" / "copy" / "a"))) == ["deep"]


# Stopping ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch, tmp_path, no_clone):
    """A file whose copy takes ten seconds, in calls of 10 ms."""
    path = tmp_path / "slow"
    path.write_bytes(b"x" * 10_000_000)
    begun = threading.Event()
    real = os.write

    def write(descriptor, block):
        begun.set()
        time.sleep(0.01)
        return real(descriptor, memoryview(block)[:10_000])

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(system, "COPY_FILE_RANGE", False)
    monkeypatch.setattr(system, "SENDFILE", False)
    return path, begun


def stopped_within(seconds, function):
    """Runs what raises, and returns what it raised."""
    start, threads = time.monotonic(), set(threading.enumerate())
    with pytest.raises(BaseException) as caught:
        function()
    assert time.monotonic() - start < seconds
    assert set(threading.enumerate()) <= threads
    return caught.value


def test_cancelling_stops_a_copy_and_removes_what_is_partial(tmp_path, slow):
    source, begun = slow
    control = Control()
    threading.Thread(target=lambda: begun.wait() and control.cancel()).start()
    error = stopped_within(5, lambda: copy_items([(source, tmp_path / "copy")], control=control))
    assert isinstance(error, InterruptedError) and error.kind is ErrorKind.INTERRUPTED
    assert error.destination == "absent" and error.filename == str(source)
    assert not (tmp_path / "copy").exists()


def test_cancelling_leaves_the_old_file_when_the_copy_is_atomic_and_says_so_when_it_is_not(tmp_path, slow):
    source, begun = slow
    for atomic, state in [(True, "old"), (False, "partial")]:
        begun.clear()
        (tmp_path / "copy").write_bytes(b"old")
        control = Control()
        threading.Thread(target=lambda control=control: begun.wait() and control.cancel()).start()
        pair = (source, tmp_path / "copy")
        error = stopped_within(5, lambda: copy_items([pair], control=control, atomic=atomic))  # noqa: B023
        assert error.destination == state
        assert sorted(os.listdir(str(tmp_path))) == ["copy", "slow"]
        assert ((tmp_path / "copy").read_bytes() == b"old") is atomic


def test_what_is_cancelled_before_it_begins_touches_nothing(tmp_path, large):
    control = Control()
    control.cancel()
    stopped_within(5, lambda: copy_items([(large, tmp_path / "copy")], control=control))
    assert not (tmp_path / "copy").exists()


def test_waiting_for_another_try_can_be_cancelled(tmp_path):
    control = Control()
    timer = threading.Timer(0.2, control.cancel)
    timer.start()
    options = {"error_strategy": "retry", "retry_delay": 60.0}
    error = stopped_within(
        5, lambda: copy_items([(tmp_path / "missing", tmp_path / "copy")], control=control, **options)
    )
    assert isinstance(error, InterruptedError)


@pytest.mark.parametrize("where", ["progress", "filter", "items"])
def test_an_exception_of_the_callers_comes_out_unchanged_and_nothing_partial_is_left(tmp_path, slow, where):
    source, begun = slow
    os.mkdir(str(tmp_path / "tree"))
    os.rename(str(source), str(tmp_path / "tree" / "slow"))
    os.mkdir(str(tmp_path / "tree" / "zz"))
    mine = KeyError("mine")

    def fail(*_):
        begun.wait(5)
        raise mine

    def items():
        yield os.fsencode(tmp_path / "tree"), os.fsencode(tmp_path / "copy")
        fail()

    control = Control(fail if where == "progress" else None)
    seen = []

    def names_filter(path, names):
        seen.append(path)
        if len(seen) > 1:
            fail()
        return [False] * len(names)

    job = CopyJob(
        trees=True,
        items=items() if where == "items" else [(os.fsencode(tmp_path / "tree"), os.fsencode(tmp_path / "copy"))],
        options=CopyOptions(),
        filter=names_filter if where == "filter" else None,
    )
    assert stopped_within(5, lambda: BACKEND.run(job, control)) is mine
    assert not (tmp_path / "copy" / "slow").exists()


def test_a_bug_in_a_worker_is_not_lost(monkeypatch, tmp_path, large):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("py_eacopy.backends.portable.file_copy.copy_data", fails)
    assert isinstance(stopped_within(5, lambda: copy_items([(large, tmp_path / "copy")])), MemoryError)
    assert not (tmp_path / "copy").exists()


def test_a_system_without_threads_is_reported(monkeypatch, tmp_path, large):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError) as caught:
        copy_items([(large, tmp_path / "copy")])
    assert caught.value.operation is Operation.START and not (tmp_path / "copy").exists()


def test_a_failing_item_keeps_further_ones_from_being_begun(tmp_path, large):
    def items():
        yield os.fsencode(tmp_path / "missing"), os.fsencode(tmp_path / "copy")
        while True:
            time.sleep(0.01)
            yield os.fsencode(large), os.fsencode(tmp_path / "another")

    job = CopyJob(trees=False, items=items(), options=CopyOptions(thread_count=1))
    report = BACKEND.run(job, Control())
    assert [error.errno for error in report.errors] == [errno.ENOENT]


def test_a_small_tree_is_copied_by_one_thread_and_slow_work_by_more(monkeypatch, tmp_path, slow):
    make_tree(str(tmp_path / "tree"))
    started = []
    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self) or real(self))
    monkeypatch.setattr("py_eacopy.backends.portable.job._TICK", 10)
    copy_items([(tmp_path / "tree", tmp_path / "copy")], trees=True)
    assert len(started) == 1
    monkeypatch.setattr("py_eacopy.backends.portable.job._TICK", 0.01)
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    copy_items([(tmp_path / "file", tmp_path / ("copy%d" % number)) for number in range(10)])
    assert len(started) == 5


def test_items_are_read_a_few_at_a_time(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    given = []

    def items():
        for number in range(3000):
            given.append(number)
            if number % 100 == 0:
                copied = len(os.listdir(str(tmp_path))) - 1
                assert number - copied < 300, "that many wait in memory"
            yield os.fsencode(tmp_path / "file"), os.fsencode(tmp_path / ("copy%d" % number))

    report = BACKEND.run(CopyJob(trees=False, items=items(), options=CopyOptions()), Control())
    assert report.files_copied == 3000 == len(given)


# Progress ---------------------------------------------------------------------------------------------------------


class Records:
    def __init__(self):
        self.made = []
        self.board = progress.ProgressBoard(lambda *record: self.made.append(record), lambda: None)


def test_a_small_file_is_begun_and_finished_at_once():
    records = Records()
    flight = records.board.begin("small", 5)
    records.board.finish(flight, "small", 5)
    records.board.finish(records.board.begin("empty", 0), "empty", 0)
    records.board.deliver()
    assert records.made == [(0, 5, "small"), (5, 5, "small"), (0, 0, "empty"), (0, 0, "empty")]


def test_a_large_file_is_told_of_at_most_twenty_times_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    records = Records()
    flight = records.board.begin("large", 1_000_000)
    for step in range(1000):  # one second
        flight.copied = step * 1000
        now[0] += 0.001
        records.board.deliver()
    records.board.finish(flight, "large", 1_000_500)
    records.board.deliver()
    assert records.made[0] == (0, 1_000_000, "large") and records.made[-1] == (1_000_500, 1_000_500, "large")
    copied = [record[0] for record in records.made]
    assert copied == sorted(set(copied)) and 15 <= len(copied) <= 22


def test_a_file_that_is_tried_again_begins_again():
    records = Records()
    records.board.lose(records.board.begin("large", 1_000_000))
    records.board.finish(records.board.begin("large", 1_000_000), "large", 1_000_000)
    records.board.deliver()
    assert [record[0] for record in records.made] == [0, 0, 1_000_000]


def test_a_slow_callback_keeps_the_workers_waiting_rather_than_memory_growing(monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "RECORDS_MAXIMUM", 10)
    monkeypatch.setattr(progress, "RECORDS_WAKE", 5)
    os.mkdir(str(tmp_path / "tree"))
    for number in range(100):
        (tmp_path / "tree" / str(number)).write_bytes(b"x")
    left = []

    def callback(copied, total, name):
        left.append(100 - len(os.listdir(str(tmp_path / "copy"))))
        time.sleep(0.001)

    copy_items([(tmp_path / "tree", tmp_path / "copy")], trees=True, control=Control(callback))
    assert len(left) == 200 and left[20] > 50, "the files are not all copied before the callback heard of them"


# Verifying --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 12345, verify.BUFFER_MAXIMUM, 3 * verify.BUFFER_MAXIMUM + 1])
def test_the_first_difference_is_told(tmp_path, at):
    content = bytearray(os.urandom(1 << 16) * 14)
    (tmp_path / "a").write_bytes(content)
    content[at] ^= 1
    (tmp_path / "b").write_bytes(content)
    monitor = Monitor()
    with open(str(tmp_path / "a"), "rb") as a, open(str(tmp_path / "b"), "r+b") as b, pytest.raises(OSError):
        verify.compare_data(a.fileno(), b.fileno(), monitor)
    assert monitor.operation is Operation.VERIFY and monitor.offset == at


def test_a_copy_that_ends_too_soon_is_found(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    (tmp_path / "b").write_bytes(b"x" * 299_999)
    monitor = Monitor()
    with open(str(tmp_path / "a"), "rb") as a, open(str(tmp_path / "b"), "r+b") as b, pytest.raises(OSError):
        verify.compare_data(a.fileno(), b.fileno(), monitor)
    assert monitor.offset == 299_999
