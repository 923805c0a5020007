"""Control: cancelling and watching a call from another thread."""

import functools
import os
import shutil
import threading
import time

import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, Control, EACopy, ErrorKind, Snapshot


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """600 MB without holes, in memory where there is such a place."""
    if os.path.isdir("/dev/shm"):
        path = "/dev/shm/eacopy-control-%d" % os.getpid()
        os.mkdir(path)
    else:
        path = str(tmp_path_factory.mktemp("large"))
    os.mkdir(path + "/tree")
    os.mkdir(path + "/target")
    block = trees.make_bytes(1 << 20)
    with open(path + "/tree/large", "wb") as stream:
        for _ in range(600):
            stream.write(block)
    trees.write(path + "/small", b"content")
    yield path
    trees.remove(path)


@pytest.fixture
def target(large):
    path = large + "/target"
    yield path
    for name in os.listdir(path):
        trees.remove(path + "/" + name) if os.path.isdir(path + "/" + name) else os.unlink(path + "/" + name)


def calls(large, target):
    """Every function that copies something large, as a function of a control."""
    file, tree = large + "/tree/large", large + "/tree"
    eac = EACopy()
    return {
        "copyfile": functools.partial(py_eacopy.copyfile, file, target + "/copy"),
        "copy": functools.partial(py_eacopy.copy, file, target + "/copy"),
        "copy2": functools.partial(py_eacopy.copy2, file, target),
        "copytree": functools.partial(py_eacopy.copytree, tree, target + "/copy"),
        "batch_copy": functools.partial(py_eacopy.batch_copy, [(file, target + "/copy")]),
        "batch_copy2": functools.partial(py_eacopy.batch_copy2, [(file, target)]),
        "batch_copytree": functools.partial(py_eacopy.batch_copytree, [(tree, target + "/copy")]),
        "EACopy.copy2": functools.partial(eac.copy2, file, target + "/copy"),
        "EACopy.copytree": functools.partial(eac.copytree, tree, target + "/copy"),
        "EACopy.batch_copy": functools.partial(eac.batch_copy, [(file, target + "/copy")]),
    }


NAMES = sorted(calls("", ""))


def files_below(target):
    return [name for _, _, names in os.walk(target) for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_it_cancels_from_another_thread(backend, large, target, name):
    control = Control()
    told = []

    def cancel():
        while control.snapshot().bytes_copied < 30 << 20:
            time.sleep(0.001)
        told.append(time.monotonic())
        control.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(py_eacopy.CopyInterruptedError) as raised:
        calls(large, target)[name](control=control)
    seconds = time.monotonic() - told[0]
    canceller.join()
    assert seconds < 5 and control.cancelled
    assert control.snapshot().bytes_copied == 0, "what is no longer there does not count"
    assert isinstance(raised.value, InterruptedError) and raised.value.kind is ErrorKind.INTERRUPTED
    assert files_below(target) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_call_with_a_cancelled_control_does_not_begin(backend, large, target, name):
    control = Control()
    control.cancel()
    for _ in range(2):
        with pytest.raises(py_eacopy.CopyInterruptedError):
            calls(large, target)[name](control=control)
    assert files_below(target) == []


def test_a_small_file_is_not_copied_either_when_cancelled_before(backend, large, target):
    control = Control()
    control.cancel()
    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.copyfile(large + "/small", target + "/copy", control=control)
    assert os.listdir(target) == []


def test_it_cancels_a_tree_whose_files_the_caller_copies(backend, large, target):
    control = Control()
    (target_tree, tree) = target + "/copy", target + "/tree"
    os.mkdir(tree)
    for number in range(5):
        trees.write("%s/%d" % (tree, number), b"content")
    copied = []

    def copy_function(source, destination):
        copied.append(shutil.copyfile(source, destination))
        control.cancel()

    with pytest.raises(py_eacopy.CopyInterruptedError):
        py_eacopy.copytree(tree, target_tree, copy_function=copy_function, control=control)
    assert len(copied) == 1 and os.listdir(target_tree) == [os.path.basename(copied[0])]


def test_a_snapshot_grows_to_the_last_state_and_keeps_it(backend, large, target):
    control = Control()
    assert control.snapshot() == Snapshot()
    seen, over = [], threading.Event()

    def watch():
        while not over.is_set():
            seen.append(control.snapshot())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    py_eacopy.copytree(large + "/tree", target + "/copy", config=Config(reflink="never"), control=control)
    over.set()
    watcher.join()
    size = 600 << 20
    assert control.snapshot() == Snapshot(files_found=1, bytes_found=size, files_copied=1, bytes_copied=size, errors=0)
    assert [shot.bytes_copied for shot in seen] == sorted(shot.bytes_copied for shot in seen)
    assert any(0 < shot.bytes_copied < size for shot in seen)


def test_errors_are_counted_and_kept(backend, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("nowhere")
    (tmp_path / "tree" / "file").write_bytes(b"content")
    control = Control()
    with pytest.raises(shutil.Error) as raised:
        py_eacopy.copytree(tmp_path / "tree", tmp_path / "copy", control=control)
    assert tuple(control.errors) == raised.value.errors and len(control.errors) == 1
    assert control.snapshot().errors == 1 and control.snapshot().files_copied == 1
    py_eacopy.copytree(tmp_path / "tree", tmp_path / "other", symlinks=True, control=control)
    assert control.errors == [] and control.snapshot().errors == 0


def test_its_callback_goes_before_that_of_the_config_and_each_call_has_its_own(backend, tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    source, target = str(tmp_path / "source"), str(tmp_path / "copy")
    mine, first, second = [], [], []
    configs = [Config(progress_callback=lambda *event, to=to: to.append(event)) for to in (first, second)]
    with_callback, without = Control(lambda *event: mine.append(event)), Control()
    expected = [(0, 7, source), (7, 7, source)]
    py_eacopy.copy(source, target, config=configs[0], control=with_callback)
    assert (mine, first) == (expected, [])
    py_eacopy.copy(source, target, config=configs[0], control=without)
    py_eacopy.copy(source, target, config=configs[1], control=without)
    py_eacopy.copy(source, target, control=without)
    assert (mine, first, second) == (expected, expected, expected)


def test_it_serves_one_call_at_a_time_and_again_when_that_is_over(backend, large, target):
    control = Control()
    errors = []

    def other():
        try:
            py_eacopy.copyfile(large + "/small", target + "/other", control=control)
        except py_eacopy.InvalidArgumentError as error:
            errors.append(str(error))

    def meanwhile(copied, total, filename):
        if copied == 0:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    config = Config(progress_callback=meanwhile)
    py_eacopy.copyfile(large + "/tree/large", target + "/copy", config=config, control=control)
    assert errors == ["this Control serves another call already; give each call one of its own"]
    assert os.listdir(target) == ["copy"]
    py_eacopy.copyfile(large + "/small", target + "/other", control=control)
    assert control.snapshot().bytes_copied == 7


def test_after_a_failure_it_can_be_used_again(backend, tmp_path):
    control = Control()
    with pytest.raises(FileNotFoundError):
        py_eacopy.copy(tmp_path / "missing", tmp_path / "copy", control=control)
    (tmp_path / "source").write_bytes(b"content")
    py_eacopy.copy(tmp_path / "source", tmp_path / "copy", control=control)
    assert control.snapshot().files_copied == 1 and control.errors == []


@pytest.mark.parametrize("bad", ["control", 1, object(), Config(), Control])
def test_anything_else_is_a_type_error_before_anything_is_written(backend, tmp_path, bad):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"content")
    source, target = tmp_path / "source", tmp_path / "copy"
    for call in (
        functools.partial(py_eacopy.copy, source / "file", target),
        functools.partial(py_eacopy.copytree, source, target),
        functools.partial(py_eacopy.copytree, source, target, copy_function=lambda *paths: None),
        functools.partial(py_eacopy.batch_copy, [(source / "file", target)]),
        functools.partial(EACopy().copy2, source / "file", target),
    ):
        with pytest.raises(TypeError, match="control must be a py_eacopy.Control, not "):
            call(control=bad)
    assert os.listdir(str(tmp_path)) == ["source"]
