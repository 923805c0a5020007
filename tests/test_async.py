"""The asynchronous functions on every event loop: results, errors, progress, and what cancelling leaves behind."""

import asyncio
import contextvars
import functools
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import anyio
import anyio.lowlevel
import anyio.to_thread
import leaks
import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, Control, EACopy
from py_eacopy._event_loop import CONCURRENT_JOBS, EVENTS_AT_ONCE

pytestmark = pytest.mark.anyio

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

MEMORY = "/dev/shm"
SIZE = 1 << 30
#: The promise is 100 ms on a quiet machine; this bound is for a busy one. The figure itself is printed.
BOUND = 5.0
#: What no copy comes to the end of, so that a timeout is never too late, however busy the machine.
ENDLESS = "/dev/zero"


@pytest.fixture(scope="module")
def memory():
    """A directory in memory with room for a file of 1 GB and its copies."""
    if not os.path.isdir(MEMORY) or shutil.disk_usage(MEMORY).free < 4 * SIZE:
        pytest.skip("%s has no 4 GB left" % MEMORY)
    path = tempfile.mkdtemp(prefix="eacopy-async-", dir=MEMORY)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def large(memory):
    """A file of 1 GB without holes."""
    path = os.path.join(memory, "large")
    block = trees.make_bytes(1 << 20)
    with open(path, "wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(block)
    return path


@pytest.fixture
def target(memory):
    path = os.path.join(memory, "target")
    os.mkdir(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def tree(tmp_path):
    trees.make_tree(str(tmp_path / "tree"))
    return str(tmp_path / "tree")


try:
    import uvloop  # noqa: F401
except ImportError:
    UVLOOP = False
else:
    UVLOOP = True

only_asyncio = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param("asyncio", id="asyncio"),
        pytest.param(
            ("asyncio", {"use_uvloop": True}),
            id="uvloop",
            marks=pytest.mark.skipif(not UVLOOP, reason="uvloop is not installed"),
        ),
    ],
)


async def until_under_way(control, least=SIZE // 100):
    """Returns when so many bytes have been copied."""
    with anyio.fail_after(20):
        while control.snapshot().bytes_copied < least:
            await anyio.sleep(0.001)


class Stopped:
    """Measures how long a copy goes on after it was told to stop, and looks that nothing of it is left."""

    def __init__(self, capsys):
        self._capsys = capsys
        self.threads = leaks.threads()
        self.told_at = None

    def tell(self, action):
        self.told_at = time.monotonic()
        action()

    def check(self, target, left=()):
        seconds = time.monotonic() - self.told_at
        assert sorted(os.listdir(target)) == sorted(left), "a partial file stays"
        with self._capsys.disabled():
            print(" [%.1f ms]" % (seconds * 1000), end="")
        assert seconds < BOUND
        # The copy's own threads are out; the kernel may need a moment to take them away.
        end = time.monotonic() + BOUND
        while leaks.threads() > self.threads:
            assert time.monotonic() < end, "a thread goes on"
            time.sleep(0.001)


@pytest.fixture
def stopped(capsys):
    return Stopped(capsys)


# Results and errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["copyfile", "copy", "copy2"])
@pytest.mark.parametrize("owner", ["package", "EACopy"])
async def test_a_file_is_copied_as_by_the_blocking_function(backend, tmp_path, name, owner):
    functions = py_eacopy if owner == "package" else EACopy()
    source = tmp_path / "source"
    source.write_bytes(trees.make_bytes(5_000_000))
    source.chmod(0o741)
    os.utime(source, ns=(1_500_000_000_123_456_789, 1_400_000_000_987_654_321))
    blocking, awaited = str(tmp_path / "blocking"), tmp_path / "awaited"
    getattr(functions, name)(source, blocking)
    assert await getattr(functions, "async_" + name)(source, awaited) is awaited
    assert awaited.read_bytes() == source.read_bytes()
    assert (awaited.stat().st_mode, awaited.stat().st_mtime_ns == source.stat().st_mtime_ns) == (
        os.stat(blocking).st_mode,
        name == "copy2",
    )


async def test_a_directory_takes_the_file_in_and_bytes_are_answered_in_bytes(backend, tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    source, directory = os.fsencode(tmp_path / "source"), os.fsencode(tmp_path / "directory")
    assert await py_eacopy.async_copy(source, directory) == os.path.join(directory, b"source")
    assert await EACopy().async_copy2(source, directory) == os.path.join(directory, b"source")
    with pytest.raises(FileNotFoundError) as raised:
        await py_eacopy.async_copy(source + b"-missing", directory)
    assert raised.value.filename == source + b"-missing"


@pytest.mark.parametrize("owner", ["package", "EACopy"])
async def test_a_tree_is_copied_as_by_the_blocking_function(backend, tree, tmp_path, owner):
    functions = py_eacopy if owner == "package" else EACopy()
    target = str(tmp_path / "copy")
    arguments = {"symlinks": True, "ignore": py_eacopy.ignore_patterns("deeper", "one")}
    assert await functions.async_copytree(tree, target, **arguments) is target
    shutil.copytree(tree, str(tmp_path / "expected"), **arguments)
    assert not os.path.exists(target + "/sub/deeper")
    assert trees.snapshot(target) == trees.snapshot(str(tmp_path / "expected"))


@pytest.mark.parametrize("name", ["batch_copy", "batch_copy2", "batch_copytree"])
@pytest.mark.parametrize("owner", ["package", "EACopy"])
async def test_a_batch_is_copied_as_by_the_blocking_function(backend, tree, tmp_path, name, owner):
    functions = py_eacopy if owner == "package" else EACopy()
    source = tree if name == "batch_copytree" else tree + "/sub/large"
    options = {"symlinks": True} if name == "batch_copytree" else {}
    reports = []
    for where in ("blocking", "awaited"):
        (tmp_path / where).mkdir()
        pairs = ((source, str(tmp_path / where / str(number))) for number in range(3))
        if where == "blocking":
            reports.append(getattr(functions, name)(pairs, **options))
        else:
            reports.append(await getattr(functions, "async_" + name)(pairs, **options))
    first, second = reports
    assert first.files_copied == second.files_copied and first.files_copied % 3 == 0 and first.files_copied
    assert first.bytes_copied == second.bytes_copied
    assert (second.ok, second.backend) == (True, backend)


async def test_errors_are_those_of_the_blocking_function_and_no_group(backend, tree, tmp_path):
    with pytest.raises(FileNotFoundError) as blocking:
        py_eacopy.copyfile(tree + "/missing", tmp_path / "copy")
    with pytest.raises(FileNotFoundError) as awaited:
        await py_eacopy.async_copyfile(tree + "/missing", tmp_path / "copy")
    assert type(awaited.value) is type(blocking.value) and str(awaited.value) == str(blocking.value)
    with pytest.raises(shutil.Error) as raised:
        await py_eacopy.async_copytree(tree, tmp_path / "copy")  # it has a link that leads nowhere
    assert [error[0] for error in raised.value.args[0]] == [tree + "/dangling"]
    with pytest.raises(TypeError, match="ignore must be"):
        await py_eacopy.async_copytree(tree, tmp_path / "other", False, True)
    with pytest.raises(TypeError, match="control must be"):
        await py_eacopy.async_copy(tree + "/one", tmp_path / "other", control=tree)
    with pytest.raises(TypeError, match="config must be"):
        await py_eacopy.async_copy(tree + "/one", tmp_path / "other", config=tree)
    assert not os.path.exists(str(tmp_path / "other"))


async def test_the_config_is_that_of_the_task(backend, tree, tmp_path):
    """Two tasks with temporary configurations of their own, and a thread that sees neither."""

    async def copy_with(existing_is_fine):
        with py_eacopy.temporary_config(dirs_exist_ok=existing_is_fine):
            await anyio.lowlevel.checkpoint()
            await py_eacopy.async_copytree(tree + "/sub", target)

    target = tmp_path / "copy"
    target.mkdir()
    results = {}

    async def note(existing_is_fine):
        try:
            await copy_with(existing_is_fine)
        except FileExistsError as error:
            results[existing_is_fine] = error
        else:
            results[existing_is_fine] = None

    async with anyio.create_task_group() as group:
        group.start_soon(note, False)
        group.start_soon(note, True)
    assert results[True] is None and isinstance(results[False], FileExistsError)


async def test_context_variables_reach_what_runs_in_the_thread(backend, tree, tmp_path):
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    seen = set()

    def ignore(directory, names):
        seen.add((variable.get(), threading.current_thread() is threading.main_thread()))
        return []

    await py_eacopy.async_copytree(tree + "/sub", tmp_path / "copy", ignore=ignore)
    assert seen == {("inside", False)}


async def test_an_exception_from_ignore_comes_out_unchanged(backend, tree, tmp_path):
    mine = LookupError("mine")

    def ignore(directory, names):
        raise mine

    with pytest.raises(LookupError) as raised:
        await py_eacopy.async_copytree(tree, tmp_path / "copy", ignore=ignore)
    assert raised.value is mine


# Progress -------------------------------------------------------------------------------------------------------------


async def run_with_callback(name, tree, target, callback):
    """Every asynchronous function with a progress callback; returns the sources that it reports, and their sizes."""
    eac = EACopy(progress_callback=callback)
    function = getattr(eac, "async_" + name)
    if name == "copytree":
        await function(tree + "/sub", target)
    elif name == "batch_copytree":
        await function([(tree + "/sub", target)])
    elif name.startswith("batch"):
        await function([(tree + "/sub/large", target)])
    else:
        await function(tree + "/sub/large", target)
    if not name.endswith("tree"):
        return {tree + "/sub/large": os.path.getsize(tree + "/sub/large")}
    paths = [os.path.join(path, file) for path, _, files in os.walk(tree + "/sub") for file in files]
    return {path: os.path.getsize(path) for path in paths}


ALL = ["copyfile", "copy", "copy2", "copytree", "batch_copy", "batch_copy2", "batch_copytree"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_progress_is_told_in_the_loop_first_and_last_of_each_file(backend, tree, tmp_path, name, kind):
    events, task = {}, anyio.get_current_task()

    def plain(copied, total, filename):
        assert anyio.get_current_task() == task
        events.setdefault(filename, []).append((copied, total))

    async def coroutine(copied, total, filename):
        await anyio.lowlevel.checkpoint()
        plain(copied, total, filename)

    callback = plain if kind == "plain" else coroutine
    expected = await run_with_callback(name, tree, str(tmp_path / "copy"), callback)
    assert set(events) == set(expected)
    for path, size in expected.items():
        assert events[path][0] == (0, size) and events[path][-1] == (size, size) and len(events[path]) >= 2
        assert events[path] == sorted(events[path])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_an_exception_from_the_callback_comes_out_unchanged(backend, tree, tmp_path, name, kind):
    class Mine(BaseException):
        pass

    mine = Mine()

    def plain(copied, total, filename):
        raise mine

    async def coroutine(copied, total, filename):
        await anyio.lowlevel.checkpoint()
        raise mine

    with leaks.none(), pytest.raises(Mine) as raised:
        await run_with_callback(name, tree, str(tmp_path / "copy"), plain if kind == "plain" else coroutine)
    assert raised.value is mine and raised.value.__cause__ is None


async def test_an_exception_from_the_callback_stops_a_large_copy_at_once(backend, large, target, stopped):
    def callback(copied, total, filename):
        if copied:
            stopped.tell(lambda: None)
            raise LookupError

    with pytest.raises(LookupError):
        await EACopy(progress_callback=callback).async_copyfile(large, target + "/copy")
    stopped.check(target)


async def test_a_control_has_a_callback_too_and_it_goes_first(backend, tree, tmp_path):
    seen = []

    async def callback(*event):
        seen.append(event)

    control = Control(callback)
    config = Config(progress_callback=lambda *event: pytest.fail("the control's goes first"))
    await py_eacopy.async_copy(tree + "/one", tmp_path / "copy", config=config, control=control)
    assert seen == [(0, 1, tree + "/one"), (1, 1, tree + "/one")]
    assert control.progress is callback
    assert control.snapshot() == py_eacopy.Snapshot(files_found=1, bytes_found=1, files_copied=1, bytes_copied=1)


async def test_a_slow_callback_does_not_slow_the_copy_and_misses_neither_first_nor_last(backend, tree, tmp_path):
    first = anyio.Event()
    complete = anyio.Event()
    events = []

    async def callback(copied, total, filename):
        first.set()
        await complete.wait()  # so that all the others are merged
        events.append((copied, total, filename))

    async def watch():
        await first.wait()
        while control.snapshot().files_copied < 60:
            await anyio.sleep(0.001)
        complete.set()

    control = Control(callback)
    pairs = [(tree + "/sub/large", str(tmp_path / str(number))) for number in range(60)]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await py_eacopy.async_batch_copy(pairs, control=control)
    size = os.path.getsize(tree + "/sub/large")
    assert [event[0] for event in events].count(0) == [event[0] for event in events].count(size) == 60


async def test_a_callback_may_copy_even_when_all_turns_are_taken(backend, tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    copies = 2 * CONCURRENT_JOBS

    async def callback(copied, total, filename):
        await py_eacopy.async_copy(filename, tmp_path / ("inner-%s" % number.get()), config=Config())

    async def one(which):
        number.set(which)
        await EACopy(progress_callback=callback).async_copy(tmp_path / "source", tmp_path / ("outer-%d" % which))

    number = contextvars.ContextVar("number")
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for which in range(copies):
                group.start_soon(one, which)
    assert len(os.listdir(str(tmp_path))) == 1 + 2 * copies


async def test_many_events_do_not_hold_up_the_loop(backend, tmp_path):
    """The loop gets its turn in the middle of a large batch of events."""
    (tmp_path / "source").mkdir()
    for number in range(4 * EVENTS_AT_ONCE):
        (tmp_path / "source" / str(number)).touch()
    longest = run = 0

    def callback(*event):
        nonlocal longest, run
        run += 1
        longest = max(longest, run)

    async def other():
        nonlocal run
        while True:
            run = 0
            await anyio.lowlevel.checkpoint()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # the other task leaves no time to the copying thread otherwise
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await EACopy(progress_callback=callback).async_copytree(tmp_path / "source", tmp_path / "copy")
            group.cancel_scope.cancel()
    finally:
        sys.setswitchinterval(interval)
    assert 1 <= longest <= 2 * EVENTS_AT_ONCE  # trio lets tasks take their turns in any order, so one may get two


async def test_the_loop_goes_on_while_a_large_file_is_copied(backend, large, target, capsys):
    late = []

    async def tick():
        while True:
            expected = time.perf_counter() + 0.001
            await anyio.sleep(0.001)
            late.append(time.perf_counter() - expected)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await py_eacopy.async_copyfile(large, target + "/copy")
        group.cancel_scope.cancel()
    with capsys.disabled():
        print(" [%d ticks, latest by %.1f ms]" % (len(late), max(late) * 1000), end="")
    assert len(late) > 3 and max(late) < 2.0


# Cancelling -----------------------------------------------------------------------------------------------------------


@on_linux
@pytest.mark.parametrize("atomic", [False, True], ids=["in place", "atomic"])
@pytest.mark.parametrize("watched", [False, True], ids=["alone", "with progress"])
async def test_a_cancelled_scope_stops_a_copy_in_its_middle(backend, large, target, stopped, atomic, watched):
    control = Control((lambda *event: None) if watched else None)
    config = Config(atomic=atomic)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel():
                await until_under_way(control)
                stopped.tell(scope.cancel)

            group.start_soon(cancel)
            await py_eacopy.async_copyfile(large, target + "/copy", config=config, control=control)
            pytest.fail("it ended before it was cancelled")
    assert scope.cancelled_caught and control.snapshot().files_copied == 0
    assert not control.cancelled, "that is for the caller to do"
    stopped.check(target)


@on_linux
@pytest.mark.parametrize("name", ["copytree", "batch_copy", "batch_copytree"])
async def test_a_cancelled_scope_stops_trees_and_batches(backend, memory, large, target, stopped, name):
    tree = os.path.join(memory, "tree")
    os.mkdir(tree)
    os.link(large, tree + "/large")
    (control, function) = Control(), getattr(py_eacopy, "async_" + name)
    if name == "copytree":
        call = functools.partial(function, tree, target + "/copy", control=control)
    elif name == "batch_copy":
        call = functools.partial(function, [(large, target + "/copy")], control=control)
    else:
        call = functools.partial(function, [(tree, target + "/copy")], control=control)
    try:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await until_under_way(control)
                stopped.tell(scope.cancel)
        assert [names for _, _, names in os.walk(target) if names] == []
        stopped.check(target, [] if name == "batch_copy" else ["copy"])
    finally:
        shutil.rmtree(tree)


@on_linux
async def test_a_timeout_stops_a_copy_and_is_raised_as_one(backend, target, stopped):
    stopped.tell(lambda: None)
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.03):
            await py_eacopy.async_copyfile(ENDLESS, target + "/copy")
    stopped.check(target)
    with anyio.move_on_after(0.03) as scope:
        await py_eacopy.async_copyfile(ENDLESS, target + "/copy")
    assert scope.cancelled_caught and os.listdir(target) == []


@on_linux
async def test_a_failing_sibling_stops_a_copy(backend, large, target, stopped):
    control = Control()
    with pytest.raises(BaseException) as raised:
        async with anyio.create_task_group() as group:
            group.start_soon(
                functools.partial(py_eacopy.async_copyfile, large, target + "/copy", control=control),
            )
            await until_under_way(control)
            stopped.tell(lambda: None)
            raise LookupError("the sibling's")
    stopped.check(target)
    assert [type(error) for error in raised.value.exceptions] == [LookupError], "and nothing of the copy's"


@on_linux
async def test_overwriting_is_partial_when_cancelled_and_old_when_atomic(backend, large, target):
    for atomic in (False, True):
        old = trees.write(target + "/copy", b"old")
        control = Control()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                copy = functools.partial(py_eacopy.async_copyfile, large, old, config=Config(atomic=atomic))
                group.start_soon(functools.partial(copy, control=control))
                await until_under_way(control)
                scope.cancel()
        assert os.listdir(target) == ["copy"]
        assert (trees.read(old) == b"old") == atomic


async def test_what_is_cancelled_before_it_begins_writes_nothing(backend, tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await py_eacopy.async_copy(tmp_path / "source", tmp_path / "copy")
        pytest.fail("it does not notice")
    assert os.listdir(str(tmp_path)) == ["source"]


async def test_what_waits_for_its_turn_is_cancelled_at_once_and_never_begins(backend, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    go_on = threading.Event()
    begun = []

    def ignore(directory, names):
        begun.append(directory)
        go_on.wait(60)
        return []

    async def hold(which):
        await py_eacopy.async_copytree(tmp_path / "source", tmp_path / ("held-%d" % which), ignore=ignore)

    try:
        async with anyio.create_task_group() as group:
            for which in range(CONCURRENT_JOBS):
                group.start_soon(hold, which)
            with anyio.fail_after(60):
                while len(begun) < CONCURRENT_JOBS:
                    await anyio.sleep(0.005)
            started = time.monotonic()
            with anyio.move_on_after(0.05) as scope:
                await py_eacopy.async_copy(tmp_path / "file", tmp_path / "copy")
            assert scope.cancelled_caught and time.monotonic() - started < BOUND
            go_on.set()
    finally:
        go_on.set()
    await py_eacopy.async_copy(tmp_path / "file", tmp_path / "another")
    assert not (tmp_path / "copy").exists() and (tmp_path / "another").exists()


async def test_a_wait_between_two_tries_is_cancelled_at_once(backend, tmp_path):
    config = Config(error_strategy="retry", retry_count=3, retry_delay=60)
    started = time.monotonic()
    with anyio.move_on_after(0.1) as scope:
        await py_eacopy.async_copy(tmp_path / "missing", tmp_path / "copy", config=config)
    assert scope.cancelled_caught and time.monotonic() - started < 0.1 + BOUND


async def test_cancelling_while_a_callback_is_awaited_stops_the_copy(backend, large, target, stopped):
    async def callback(*event):
        if event[0]:
            stopped.tell(scope.cancel)
            await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await EACopy(progress_callback=callback).async_copyfile(large, target + "/copy")
    assert scope.cancelled_caught
    stopped.check(target)


@on_linux
async def test_a_control_cancels_from_another_task_and_that_is_an_error_of_the_copy(backend, large, target, stopped):
    control = Control()

    async def cancel():
        await until_under_way(control)
        stopped.tell(control.cancel)

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(py_eacopy.CopyInterruptedError) as raised:
            await py_eacopy.async_copyfile(large, target + "/copy", control=control)
        stopped.check(target)
    assert raised.value.kind is py_eacopy.ErrorKind.INTERRUPTED
    with pytest.raises(py_eacopy.CopyInterruptedError):
        await py_eacopy.async_copyfile(large, target + "/copy", control=control)
    assert os.listdir(target) == []


async def test_a_control_serves_one_call_at_a_time(backend, large, target):
    control = Control()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            copy = functools.partial(py_eacopy.async_copyfile, large, control=control)
            group.start_soon(copy, target + "/copy")
            await until_under_way(control, 1)
            with pytest.raises(py_eacopy.InvalidArgumentError, match="serves another call"):
                await copy(target + "/other")
            with pytest.raises(py_eacopy.InvalidArgumentError, match="serves another call"):
                py_eacopy.copyfile(large, target + "/other", control=control)
            scope.cancel()
    assert os.listdir(target) == []


# What only asyncio does -----------------------------------------------------------------------------------------------


@only_asyncio
@on_linux
@pytest.mark.parametrize("times", [1, 2, 5])
async def test_task_cancel_however_often_waits_for_the_copy(backend, anyio_backend, large, target, stopped, times):
    control = Control()
    task = asyncio.ensure_future(py_eacopy.async_copyfile(large, target + "/copy", control=control))
    await until_under_way(control)
    stopped.tell(task.cancel)
    for _ in range(times - 1):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopped.check(target)
    assert task.cancelled()


@only_asyncio
@on_linux
async def test_task_cancel_while_a_failed_callback_ends_the_copy_is_not_lost(backend, anyio_backend, large, target):

    def callback(copied, total, filename):
        if copied:
            task.cancel()
            asyncio.get_running_loop().call_soon(task.cancel)
            raise LookupError

    task = asyncio.ensure_future(EACopy(progress_callback=callback).async_copyfile(large, target + "/copy"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(target) == []


@only_asyncio
@on_linux
async def test_wait_for_waits_for_the_copy(backend, anyio_backend, target, stopped):
    stopped.tell(lambda: None)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(py_eacopy.async_copyfile(ENDLESS, target + "/copy"), 0.03)
    stopped.check(target)


@only_asyncio
@on_linux
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup came with Python 3.11")
async def test_asyncio_timeout_and_task_group(backend, anyio_backend, large, target, stopped):
    stopped.tell(lambda: None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await py_eacopy.async_copyfile(ENDLESS, target + "/copy")
    stopped.check(target)
    assert asyncio.current_task().cancelling() == 0
    control = Control()
    with pytest.raises(BaseException) as raised:
        async with asyncio.TaskGroup() as group:
            group.create_task(py_eacopy.async_copyfile(large, target + "/copy", control=control))
            await until_under_way(control)
            stopped.tell(lambda: None)
            raise LookupError
    stopped.check(target)
    assert [type(error) for error in raised.value.exceptions] == [LookupError]


@only_asyncio
@on_linux
async def test_gather_cancels_all(backend, anyio_backend, large, target, stopped):
    controls = [Control(), Control()]
    copies = [
        asyncio.ensure_future(py_eacopy.async_copyfile(large, "%s/%d" % (target, number), control=control))
        for number, control in enumerate(controls)
    ]
    both = asyncio.gather(*copies)
    for control in controls:
        await until_under_way(control, 1)
    stopped.tell(both.cancel)
    with pytest.raises(asyncio.CancelledError):
        await both
    await asyncio.wait(copies)  # gather itself waits for the first that is cancelled
    stopped.check(target)


# Everything at once ---------------------------------------------------------------------------------------------------


@on_linux
async def test_500_copies_with_random_cancellations_leave_whole_files_and_nothing_else(backend, memory, target):
    seed = int(os.environ.get("STRESS_SEED") or random.randrange(1 << 30))
    dice = random.Random(seed)
    sizes = [0, 1, 4096, 70_000, 300_000, 1_500_000, 9_000_000]
    sources = [trees.write("%s/source-%d" % (memory, size), trees.make_bytes(size)) for size in sizes]
    os.mkdir(memory + "/sources")
    for number in range(20):
        os.link(dice.choice(sources), "%s/sources/%d" % (memory, number))
    counted = {"complete": 0, "cancelled": 0}
    made = []

    async def one(number):
        source = dice.choice(sources)
        destination = "%s/%d" % (target, number)
        config = Config(atomic=dice.random() < 0.3, thread_count=dice.choice([1, 4]))
        if dice.random() < 0.3:
            config.progress_callback = dice.choice([plain, coroutine])
        kind = dice.choice(["copyfile", "copy2", "copytree", "batch_copy"])
        if kind == "copytree":
            source = memory + "/sources"
            call = py_eacopy.async_copytree(source, destination, config=config)
        elif kind == "batch_copy":
            call = py_eacopy.async_batch_copy([(source, destination)], config=config)
        else:
            call = getattr(py_eacopy, "async_" + kind)(source, destination, config=config)
        made.append((source, destination))
        patience = dice.choice([0, 0.0005, 0.005, 0.02, 0.1, 1000])
        cancelled = False
        await anyio.sleep(dice.random() * 0.3)
        if asyncio_runs() and dice.random() < 0.5:
            try:
                await asyncio.wait_for(call, patience)
            except asyncio.TimeoutError:
                cancelled = True
        else:
            with anyio.move_on_after(patience) as scope:
                await call
            cancelled = scope.cancelled_caught
        counted["cancelled" if cancelled else "complete"] += 1
        if not cancelled and kind != "copytree":
            assert trees.read(destination) == trees.read(source), (seed, kind)
        if not cancelled and kind == "copytree":
            assert len(os.listdir(destination)) == 20, seed

    def plain(*event):
        pass

    async def coroutine(*event):
        await anyio.lowlevel.checkpoint()

    try:
        await py_eacopy.async_copy(sources[0], target + "/first")  # what the loop keeps is not counted
        with leaks.none():
            async with anyio.create_task_group() as group:
                for number in range(500):
                    group.start_soon(one, number)
        assert counted["complete"] > 20 and counted["cancelled"] > 20, (seed, counted)
        assert trees.temporaries(target) == [], seed
        by_content = {size: trees.read(source) for size, source in zip(sizes, sources)}
        for source, destination in made:
            paths = [destination]
            if os.path.isdir(destination):
                paths = [os.path.join(destination, name) for name in os.listdir(destination)]
            for path in paths:
                if os.path.exists(path):
                    size = os.path.getsize(path)
                    assert size in by_content and trees.read(path) == by_content[size], (seed, source, path)
                    if path == destination:
                        assert size == os.path.getsize(source), (seed, source, path)
                    else:
                        assert size == os.path.getsize(os.path.join(source, os.path.basename(path))), (seed, path)
    finally:
        shutil.rmtree(memory + "/sources")
        for source in sources:
            os.unlink(source)


def asyncio_runs():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
