"""Batches: what they copy, what they report, how they fail, which pairs they refuse, and how little they hold."""

import collections
import errno
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc

import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, Control, EACopy, InvalidArgumentError
from py_eacopy._batch import checked_pairs


@pytest.fixture
def files(tmp_path):
    """Makes files called 0, 1... with contents of their own; returns their paths."""

    def make(count):
        (tmp_path / "source").mkdir(exist_ok=True)
        for number in range(count):
            (tmp_path / "source" / str(number)).write_bytes(b"content %d" % number)
        return [str(tmp_path / "source" / str(number)) for number in range(count)]

    (tmp_path / "target").mkdir()
    return make


def to(tmp_path, name):
    return str(tmp_path / "target" / str(name))


def written(tmp_path):
    return sorted(os.listdir(str(tmp_path / "target")))


# What comes of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, shutils", [("batch_copy", shutil.copy), ("batch_copy2", shutil.copy2)])
def test_each_pair_is_copied_as_by_shutil(backend, tmp_path, files, name, shutils):
    sources = files(50)
    for number, source in enumerate(sources):
        os.chmod(source, 0o600 + number)
        os.utime(source, ns=(1_500_000_000_000_000_000 + number, 1_400_000_000_123_456_789 + number))
    report = getattr(py_eacopy, name)([(source, to(tmp_path, n)) for n, source in enumerate(sources)])
    (tmp_path / "expected").mkdir()
    for number, source in enumerate(sources):
        shutils(source, str(tmp_path / "expected" / str(number)))
    size = sum(os.path.getsize(source) for source in sources)
    assert (report.files_copied, report.bytes_copied, report.bytes_written) == (50, size, size)
    assert (report.ok, report.errors, report.backend, report.retries) == (True, (), backend, 0)
    assert report.seconds > 0 and sum(report.methods.values()) == 50
    for number in range(50):
        copy, expected = os.stat(to(tmp_path, number)), os.stat(str(tmp_path / "expected" / str(number)))
        assert copy.st_mode == expected.st_mode
        assert (copy.st_mtime_ns == expected.st_mtime_ns) == (name == "batch_copy2")
        assert trees.read(to(tmp_path, number)) == b"content %d" % number


def test_trees_are_copied_as_by_copytree(backend, tmp_path):
    trees.make_tree(str(tmp_path / "tree"))
    pairs = [(str(tmp_path / "tree"), str(tmp_path / "copies" / str(number))) for number in range(3)]
    report = py_eacopy.batch_copytree(pairs)  # links stay links, by default
    shutil.copytree(str(tmp_path / "tree"), str(tmp_path / "expected"), symlinks=True)
    expected = trees.snapshot(str(tmp_path / "expected"))
    for _, copy in pairs:
        assert trees.snapshot(copy) == expected
    assert report.ok and report.symlinks_copied == 9 and report.directories_created >= 3 * 7


@pytest.mark.parametrize("symlinks", [None, True, False])
@pytest.mark.parametrize("follow", [True, False])
def test_the_config_decides_about_links_in_trees_unless_the_call_does(backend, tmp_path, symlinks, follow):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    (tmp_path / "tree" / "link").symlink_to("file")
    options = {} if symlinks is None else {"symlinks": symlinks}
    py_eacopy.batch_copytree([(tmp_path / "tree", tmp_path / "copy")], config=Config(follow_symlinks=follow), **options)
    assert (tmp_path / "copy" / "link").is_symlink() == (not follow if symlinks is None else symlinks)


def test_dangling_links_and_existing_directories_are_as_asked_for(backend, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("nowhere")
    pairs = [(tmp_path / "tree", tmp_path / "copy")]
    py_eacopy.batch_copytree(pairs, symlinks=False, ignore_dangling_symlinks=True)
    with pytest.raises(FileExistsError):
        py_eacopy.batch_copytree(pairs)
    py_eacopy.batch_copytree(pairs, symlinks=False, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    py_eacopy.batch_copytree(pairs, False, True, config=Config(dirs_exist_ok=True))
    with pytest.raises(shutil.Error) as raised:
        py_eacopy.batch_copytree(pairs, symlinks=False, dirs_exist_ok=True)
    assert raised.value.errors[0].errno == errno.ENOENT


def test_links_to_files_are_followed_as_copy_does(backend, tmp_path, files):
    (source,) = files(1)
    os.symlink(source, str(tmp_path / "link"))
    py_eacopy.batch_copy([(tmp_path / "link", to(tmp_path, "copy"))])
    assert not os.path.islink(to(tmp_path, "copy")) and trees.read(to(tmp_path, "copy")) == b"content 0"


def test_a_directory_takes_files_in_under_their_names(backend, tmp_path, files):
    report = py_eacopy.batch_copy((source, tmp_path / "target") for source in files(5))
    assert report.files_copied == 5 and written(tmp_path) == list("01234")


@pytest.mark.parametrize("shape", [list, tuple, iter, set, collections.deque])
def test_any_iterable_of_pairs_will_do(backend, tmp_path, files, shape):
    pairs = shape([(source, to(tmp_path, number)) for number, source in enumerate(files(5))])
    assert py_eacopy.batch_copy(pairs).files_copied == 5


def test_the_pairs_of_a_mapping_are_its_items(backend, tmp_path, files):
    pairs = {source: to(tmp_path, number) for number, source in enumerate(files(5))}
    assert py_eacopy.batch_copy(pairs.items()).files_copied == 5


def test_paths_may_be_of_any_kind_and_names_any_bytes(backend, tmp_path, files):
    sources = files(3)
    odd = os.fsencode(str(tmp_path / "target")) + b"/\xff\xfe\n"
    report = py_eacopy.batch_copy(
        [(sources[0], to(tmp_path, 0)), (tmp_path / "source" / "1", tmp_path / "target" / "1")]
        + [[os.fsencode(sources[2]), odd]]
    )
    assert report.files_copied == 3 and trees.read(odd) == b"content 2"


def test_an_empty_batch_is_a_report_of_nothing(backend):
    for pairs in ([], (), iter([])):
        for function in (py_eacopy.batch_copy, py_eacopy.batch_copy2, py_eacopy.batch_copytree):
            report = function(pairs)
            assert (report.files_copied, report.errors, report.ok) == (0, (), True)


def test_the_methods_of_a_class_take_its_settings(backend, tmp_path, files):
    sources = files(3)
    events = []
    eac = EACopy(error_strategy="ignore", progress_callback=lambda *event: events.append(event))
    pairs = [(source, to(tmp_path, number)) for number, source in enumerate([*sources, "missing"])]
    assert len(eac.batch_copy(pairs).errors) == 1 and len(events) == 6
    assert eac.batch_copy2([(sources[0], to(tmp_path, "again"))]).files_copied == 1
    assert eac.batch_copytree([(tmp_path / "source", tmp_path / "tree")]).files_copied == 3


# Failing --------------------------------------------------------------------------------------------------------------


def test_one_failing_pair_is_its_own_exception_and_none_is_begun_after_it(backend, tmp_path, files):
    sources = files(1)

    def pairs():
        yield sources[0], to(tmp_path, "first")
        yield "missing", to(tmp_path, "missing")
        for number in range(100_000):
            yield sources[0], to(tmp_path, number)

    config = Config(thread_count=1)
    with pytest.raises(FileNotFoundError) as raised:
        py_eacopy.batch_copy(pairs(), config=config)
    assert raised.value.filename == "missing" and raised.value.filename2 == to(tmp_path, "missing")
    assert "first" in written(tmp_path) and len(written(tmp_path)) < 10_000


def test_under_ignore_all_others_are_copied_and_each_failure_is_in_the_report(backend, tmp_path, files, caplog):
    pairs = [(source, to(tmp_path, number)) for number, source in enumerate(files(20))]
    pairs[3:3] = [("missing-a", to(tmp_path, "a"))]
    pairs[9:9] = [("missing-b", to(tmp_path, "b"))]
    report = py_eacopy.batch_copy(pairs, config=Config(error_strategy="ignore"))
    assert sorted(error.filename for error in report.errors) == ["missing-a", "missing-b"]
    assert not report.ok and report.files_copied == 20 and len(written(tmp_path)) == 20
    assert sorted(record.getMessage().count("missing") for record in caplog.records) == [1, 1]


def test_failures_inside_of_trees_are_collected_and_the_rest_is_copied(backend, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "link").symlink_to("nowhere")
        (tmp_path / name / "file").write_bytes(b"content")
    pairs = [(str(tmp_path / name), str(tmp_path / ("copy of " + name))) for name in ("one", "two")]
    report = py_eacopy.batch_copytree(pairs, symlinks=False, config=Config(error_strategy="ignore"))
    assert sorted(error.filename for error in report.errors) == [str(tmp_path / n / "link") for n in ("one", "two")]
    for _, copy in pairs:
        assert os.listdir(copy) == ["file"]


def test_cancelling_stops_a_batch(backend, tmp_path, files):
    (source,) = files(1)
    control = Control()

    def pairs():
        for number in range(100_000):
            if number == 1000:
                control.cancel()
            yield source, to(tmp_path, number)

    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.batch_copy(pairs(), control=control)
    assert len(written(tmp_path)) <= 2000
    assert all(trees.read(to(tmp_path, name)) == b"content 0" for name in written(tmp_path))


def test_an_exception_out_of_the_iterable_comes_out_unchanged(backend, tmp_path, files):
    (source,) = files(1)
    mine = LookupError("mine")

    def pairs():
        yield source, to(tmp_path, "copy")
        raise mine

    with pytest.raises(LookupError) as raised:
        py_eacopy.batch_copy(pairs())
    assert raised.value is mine and written(tmp_path) in ([], ["copy"])


# Which pairs are refused ----------------------------------------------------------------------------------------------


def refused(tmp_path, call, pairs, message):
    """A list is refused before anything is written, a generator when it is read."""
    before = written(tmp_path)
    with pytest.raises(InvalidArgumentError, match=message) as raised:
        call(pairs)
    assert isinstance(raised.value, ValueError) and raised.value.kind is py_eacopy.ErrorKind.INVALID_ARGUMENT
    assert written(tmp_path) == before, "something was written"
    with pytest.raises(InvalidArgumentError, match=message):
        call(tuple(pairs))
    assert written(tmp_path) == before
    with pytest.raises(InvalidArgumentError, match=message):
        call(iter(pairs))


@pytest.mark.parametrize("name", ["batch_copy", "batch_copy2"])
def test_a_destination_that_is_taken_is_refused(backend, tmp_path, files, monkeypatch, name):
    one, two = files(2)
    call = getattr(py_eacopy, name)
    same = "pair 1 of the batch .*an earlier pair has the same destination"
    refused(tmp_path, call, [(one, to(tmp_path, "copy")), (two, to(tmp_path, "copy"))], same)
    assert not os.path.exists(to(tmp_path, "copy")) or trees.read(to(tmp_path, "copy")) == b"content 0"
    refused(tmp_path, call, [(one, to(tmp_path, "copy")), (two, to(tmp_path, "./../target//copy"))], same)
    refused(tmp_path, call, [(one, tmp_path / "target" / "x"), (two, os.fsencode(to(tmp_path, "x")))], same)
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, call, [(one, "target/relative"), (two, to(tmp_path, "relative"))], same)
    os.symlink("target", "also-target")
    refused(tmp_path, call, [(one, "target/linked"), (two, "also-target/linked")], same)
    # Into a directory under the name of the source.
    refused(tmp_path, call, [(one, "target"), (two, "target/0")], same)


def test_a_destination_that_is_a_link_is_what_it_leads_to(backend, tmp_path, files):
    one, two = files(2)
    trees.write(to(tmp_path, "real"), b"old")
    os.symlink("real", to(tmp_path, "link"))
    pairs = [(one, to(tmp_path, "real")), (two, to(tmp_path, "link"))]
    with pytest.raises(InvalidArgumentError, match="same destination"):
        py_eacopy.batch_copy(pairs)
    assert trees.read(to(tmp_path, "real")) == b"old"


def test_a_destination_that_is_another_pairs_source_is_refused(backend, tmp_path, files):
    one, two = files(2)
    message = "pair 1 of the batch .*destination is another pair's source"
    refused(tmp_path, py_eacopy.batch_copy, [(one, two), (two, to(tmp_path, "copy"))], message)
    trees.write(two, b"content 1")
    refused(tmp_path, py_eacopy.batch_copy, [(two, to(tmp_path, "x")), (one, two)], message)
    assert trees.read(two) == b"content 1"


def test_a_file_onto_itself_is_the_same_error_as_that_of_copy(backend, tmp_path, files):
    (source,) = files(1)
    with pytest.raises(shutil.SameFileError):
        py_eacopy.batch_copy([(source, source)])
    assert trees.read(source) == b"content 0"


def test_one_source_may_have_many_destinations(backend, tmp_path, files):
    (source,) = files(1)
    assert py_eacopy.batch_copy([(source, to(tmp_path, number)) for number in range(20)]).files_copied == 20


@pytest.mark.parametrize(
    "pairs, message",
    [
        ([("a", "x"), ("b", "x")], "its destination and that of an earlier pair are the same"),
        ([("a", "x"), ("b", "x/sub")], "its destination and that of an earlier pair .* inside each other"),
        ([("a", "x/sub"), ("b", "x")], "its destination and that of an earlier pair .* inside each other"),
        ([("a", "x"), ("b", "a/sub")], "its destination and the source of an earlier pair"),
        ([("a", "x"), ("b", "a")], "its destination and the source of an earlier pair are the same"),
        ([("a/deep", "x"), ("b", "a")], "its destination and the source of an earlier pair .* inside each other"),
        ([("a", "b/sub"), ("b", "x")], "its source and the destination of an earlier pair"),
        ([("a", "b"), ("b", "x")], "its source and the destination of an earlier pair are the same"),
        ([("a", "x"), ("x/sub", "y")], "its source and the destination of an earlier pair .* inside each other"),
        ([("b", "y"), ("a", "b-link/z")], "its destination and the source of an earlier pair"),
    ],
)
def test_trees_that_touch_are_refused(backend, tmp_path, monkeypatch, pairs, message):
    for name in ("a/deep", "b", "x/sub"):
        os.makedirs(str(tmp_path / "target" / name))
    monkeypatch.chdir(tmp_path / "target")
    (tmp_path / "target" / "a" / "deep" / "file").write_bytes(b"content")
    (tmp_path / "target" / "link").symlink_to("x")
    (tmp_path / "target" / "b-link").symlink_to("b")
    before = trees.snapshot(str(tmp_path))

    def call(pairs):
        py_eacopy.batch_copytree(pairs, dirs_exist_ok=True)

    with pytest.raises(InvalidArgumentError, match=message):
        call(pairs)
    assert trees.snapshot(str(tmp_path)) == before
    with pytest.raises(InvalidArgumentError, match=message):
        call(iter(pairs))


def test_a_tree_into_its_own_subfolder_works_as_in_shutil(backend, tmp_path):
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"content")
    py_eacopy.batch_copytree([(tmp_path / "tree", tmp_path / "tree" / "copy")])
    assert (tmp_path / "tree" / "copy" / "sub" / "file").read_bytes() == b"content"
    assert not (tmp_path / "tree" / "copy" / "copy").exists()


def test_trees_side_by_side_with_names_that_begin_alike_are_fine(backend, tmp_path):
    for name in ("a", "ab"):
        (tmp_path / name).mkdir()
    pairs = [(tmp_path / "a", tmp_path / "x"), (tmp_path / "ab", tmp_path / "xy"), (tmp_path / "a", tmp_path / "a-c")]
    assert py_eacopy.batch_copytree(pairs).ok


@pytest.mark.parametrize("name", ["batch_copy", "batch_copy2", "batch_copytree"])
@pytest.mark.parametrize("pairs", ["ab", b"ab", 7, None, {"ab": "cd"}])
def test_what_is_no_iterable_of_pairs_is_a_type_error(backend, name, pairs):
    with pytest.raises(TypeError, match="pairs must be an iterable of .* pairs, not "):
        getattr(py_eacopy, name)(pairs)


@pytest.mark.parametrize("pair", ["ab", b"ab", ("a",), ("a", "b", "c"), 7, None, {"a", "b"}, {"a": 1, "b": 2}])
@pytest.mark.parametrize("name", ["batch_copy", "batch_copytree"])
def test_what_is_no_pair_is_a_type_error_that_says_which(backend, tmp_path, files, name, pair):
    (source,) = files(1)
    first = (source if name == "batch_copy" else os.path.dirname(source), to(tmp_path, "copy"))
    with pytest.raises(TypeError, match="pair 1 of the batch must be a tuple"):
        getattr(py_eacopy, name)([first, pair])
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    "pair, error, message",
    [
        ((1, "b"), TypeError, "the source of pair 1 must be"),
        (("a", None), TypeError, "the destination of pair 1 must be"),
        (("a\0", "b"), ValueError, "src contains a NUL"),
        (("a", "b\0"), ValueError, "dst contains a NUL"),
        (("", "b"), FileNotFoundError, "opening the source"),
        (("a", ""), FileNotFoundError, "opening the destination"),
    ],
)
def test_a_bad_path_in_a_pair_is_refused_before_anything_is_written(backend, tmp_path, files, pair, error, message):
    (source,) = files(1)
    with pytest.raises(error, match=message):
        py_eacopy.batch_copy([(source, to(tmp_path, "copy")), pair])
    assert written(tmp_path) == []


# Reading lazily -------------------------------------------------------------------------------------------------------


def test_pairs_are_read_while_others_are_copied_in_the_calling_thread(backend, tmp_path, files):
    (source,) = files(1)
    seen = []

    def pairs():
        for number in range(10_000):
            seen.append((len(written(tmp_path)) if number % 1000 == 0 else 0, threading.current_thread()))
            yield source, to(tmp_path, number)

    assert py_eacopy.batch_copy(pairs()).files_copied == 10_000
    assert {thread for _, thread in seen} == {threading.current_thread()}
    ahead = [number - copied for number, (copied, _) in enumerate(seen) if number % 1000 == 0]
    assert max(ahead) < 5000, "it reads much further than it copies"


def test_checking_pairs_takes_little_memory():
    count = 60_000
    pairs = (("/nowhere/s/%d/%d" % (n // 100, n), "/nowhere/a-longer-name/%d/%d" % (n // 100, n)) for n in range(count))
    tracemalloc.start()
    try:
        for _ in checked_pairs(pairs, trees=False):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < 80


COPYING = """
import sys
import py_eacopy
count, source, target = int(sys.argv[1]), *sys.argv[2:]
def pairs():
    for number in range(count):
        yield source, "%s/%d/%d" % (target, number % 100, number)
report = py_eacopy.batch_copy(pairs())
assert report.files_copied == count
# Not getrusage: that also counts what the process was before exec.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="writes many files into memory")
def test_a_long_batch_is_not_held_in_memory(backend, capsys):
    """As far as it grows with the number of pairs: that is what checking takes, and no more."""
    target = "/dev/shm/eacopy-batch-%d" % os.getpid()
    try:
        os.mkdir(target)
        trees.write(target + "/source", b"")
        peaks = []
        for count in (1_000, 61_000):
            for number in range(100):
                os.mkdir("%s/%d" % (target, number))
            command = [sys.executable, "-c", COPYING, str(count), target + "/source", target]
            environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
            peaks.append(int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout))
            for number in range(100):
                shutil.rmtree("%s/%d" % (target, number))
        with capsys.disabled():
            print(" [%d bytes a pair]" % ((peaks[1] - peaks[0]) * 1024 // 60_000), end="")
        assert (peaks[1] - peaks[0]) * 1024 / 60_000 < 100
    finally:
        shutil.rmtree(target)
