"""watch_copytree: the events it yields, and what stopping, failing and slowness of the reader do."""

import asyncio
import gc
import os
import sys
import tempfile
import time

import anyio
import leaks
import pytest
from faults import trees

import py_eacopy
from py_eacopy import Config, EACopy, ProgressEvent, Snapshot

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

SIZE = 300 << 20


@pytest.fixture(scope="module")
def memory():
    """A directory in memory, where there is such a place, with a tree of one large file and some small ones."""
    path = tempfile.mkdtemp(prefix="eacopy-watch-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    for tree in ("large", "small"):
        os.mkdir("%s/%s" % (path, tree))
        for number in range(50):
            trees.write("%s/%s/%d" % (path, tree, number), b"content %d" % number)
    block = trees.make_bytes(1 << 20)
    with open(path + "/large/file", "wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(block)
    yield path
    trees.remove(path)


@pytest.fixture
def target(memory):
    path = memory + "/target"
    yield path
    trees.remove(path)


def by_file(events):
    found = {}
    for event in events:
        assert isinstance(event, ProgressEvent)
        found.setdefault(event.filename, []).append((event.copied_bytes, event.total_bytes))
    return found


def partial_files(target):
    found = []
    for directory, _, names in os.walk(target):
        for name in names:
            content = trees.read(os.path.join(directory, name))
            if content != b"content " + name.encode() and len(content) != SIZE:
                found.append(name)
    return found


async def test_each_file_is_told_from_first_to_last(backend, memory, target):
    events = [event async for event in EACopy().watch_copytree(memory + "/large", target)]
    found = by_file(events)
    assert set(found) == {memory + "/large/" + name for name in os.listdir(memory + "/large")}
    for name, told in found.items():
        size = os.path.getsize(name)
        assert told[0] == (0, size) and told[-1] == (size, size) and told == sorted(told)
    assert sum(event.finished for event in events) == 51
    assert trees.snapshot(target) == trees.snapshot(memory + "/large")


async def test_the_instance_has_its_say_except_for_its_own_callback(backend, memory, target):
    eac = EACopy(dirs_exist_ok=True, progress_callback=lambda *event: pytest.fail("not called"))
    for _ in range(2):
        assert [event async for event in eac.watch_copytree(memory + "/small", target)]
    ignore = py_eacopy.ignore_patterns("1*")
    with pytest.raises(FileExistsError):
        async for _ in eac.watch_copytree(memory + "/small", target, ignore=ignore, dirs_exist_ok=False):
            pass
    trees.remove(target)
    async for _ in eac.watch_copytree(memory + "/small", target, True, ignore):
        pass
    assert "1" not in os.listdir(target) and "2" in os.listdir(target)


async def test_nothing_is_copied_until_it_is_read(backend, memory, target):
    watch = EACopy().watch_copytree(memory + "/small", target)
    await anyio.sleep(0.05)
    assert not os.path.exists(target) and watch.snapshot() == Snapshot()
    await watch.aclose()
    assert [event async for event in watch] == [] and not os.path.exists(target)


async def test_a_failure_comes_out_at_the_end(backend, memory, target):
    watch = EACopy().watch_copytree(memory + "/missing", target)
    with pytest.raises(FileNotFoundError) as raised:
        async for _ in watch:
            pass
    assert raised.value.filename == memory + "/missing"
    assert [event async for event in watch] == [], "and once only"
    os.symlink("nowhere", memory + "/small/link")
    events = []
    try:
        with pytest.raises(py_eacopy.TreeError):
            async for event in EACopy().watch_copytree(memory + "/small", target):
                events.append(event)
    finally:
        os.unlink(memory + "/small/link")
    assert len(by_file(events)) == 50, "what was copied all the same"


async def test_bad_arguments_are_refused(backend, memory, target):
    with pytest.raises(TypeError, match="src must be"):
        async for _ in EACopy().watch_copytree(7, target):
            pass
    with pytest.raises(TypeError, match="ignore must be"):
        async for _ in EACopy().watch_copytree(memory + "/small", target, False, True):
            pass
    assert not os.path.exists(target)


async def test_leaving_early_stops_the_copy_before_the_block_ends(backend, memory, target):
    with leaks.none():
        async with EACopy(reflink="never").watch_copytree(memory + "/large", target) as events:
            async for event in events:
                if event.total_bytes == SIZE:
                    break
        assert not os.path.exists(target + "/file"), "complete or absent, and it was not complete"
        assert partial_files(target) == []


async def test_an_exception_in_the_block_stops_the_copy(backend, memory, target):
    with leaks.none(), pytest.raises(LookupError):
        async with EACopy(reflink="never").watch_copytree(memory + "/large", target) as events:
            async for event in events:
                if event.total_bytes == SIZE:
                    raise LookupError
    assert not os.path.exists(target + "/file") and partial_files(target) == []


async def test_leaving_early_without_a_block_stops_the_copy_too(backend, memory, target):
    threads = leaks.threads()
    async for event in EACopy(reflink="never").watch_copytree(memory + "/large", target):
        if event.total_bytes == SIZE:
            break
    del event
    gc.collect()
    with anyio.fail_after(10):
        while leaks.threads() > threads or os.path.exists(target + "/file"):
            await anyio.sleep(0.005)
    assert partial_files(target) == []


@pytest.mark.parametrize("how", ["scope", "timeout", "task"])
async def test_cancelling_the_reader_stops_the_copy(backend, anyio_backend, memory, target, how, capsys):
    async def read():
        async for event in EACopy(reflink="never").watch_copytree(memory + "/large", target):
            if event.total_bytes == SIZE:
                begun.set()

    begun = anyio.Event()
    with leaks.none():
        if how == "scope":
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await begun.wait()
                told = time.monotonic()
                group.cancel_scope.cancel()
        elif how == "timeout":
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(read)
                    await begun.wait()
                    told = time.monotonic()
                    scope.deadline = anyio.current_time()
        elif anyio_backend == "trio":
            pytest.skip("trio has no such thing")
        else:
            task = asyncio.ensure_future(read())
            await begun.wait()
            told = time.monotonic()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
        seconds = time.monotonic() - told
        assert not os.path.exists(target + "/file") and partial_files(target) == []
    with capsys.disabled():
        print(" [%.1f ms]" % (seconds * 1000), end="")
    assert seconds < 5


async def test_a_slow_reader_slows_nothing_and_misses_neither_first_nor_last(backend, memory, target):
    watch = EACopy(reflink="never").watch_copytree(memory + "/large", target)
    events = [await watch.__anext__()]
    with anyio.fail_after(30):
        while watch.snapshot().files_copied < 51:
            await anyio.sleep(0.005)
    assert os.path.getsize(target + "/file") == SIZE, "all was copied while nobody read"
    events += [event async for event in watch]
    for name, told in by_file(events).items():
        size = os.path.getsize(name)
        assert told[0] == (0, size) and told[-1] == (size, size)


async def test_closing_again_and_after_the_end_does_nothing(backend, memory, target):
    watch = EACopy().watch_copytree(memory + "/small", target)
    events = [event async for event in watch]
    assert watch.snapshot().files_copied == 50 and len(events) == 100
    for _ in range(2):
        await watch.aclose()
    assert [event async for event in watch] == []
    assert len(os.listdir(target)) == 50


async def test_many_can_be_watched_at_once(backend, memory, target):
    counts = []

    async def read(number):
        count = 0
        async for event in EACopy(thread_count=1).watch_copytree(memory + "/small", "%s/%d" % (target, number)):
            count += event.finished
        counts.append(count)

    with leaks.none(), anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(read, number)
    assert counts == [50] * 60


async def test_the_reader_gives_the_loop_its_turn(backend, memory, target):
    turns = 0

    async def other():
        nonlocal turns
        while True:
            await anyio.sleep(0)
            turns += 1

    os.mkdir(memory + "/many")
    for number in range(1000):
        trees.write("%s/many/%d" % (memory, number), b"")
    try:
        watch = EACopy().watch_copytree(memory + "/many", target)
        events = [await watch.__anext__()]
        with anyio.fail_after(30):
            while watch.snapshot().files_copied < 1000:
                await anyio.sleep(0.005)
        await anyio.sleep(0.05)
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await anyio.sleep(0)
            before = turns
            events += [event async for event in watch]
            assert turns > before
            group.cancel_scope.cancel()
        assert len(events) == 2000
    finally:
        trees.remove(memory + "/many")


async def test_watching_under_a_config_that_retries_can_be_cancelled(backend, memory, target):
    os.makedirs(target + "/1")
    eac = EACopy.with_config(Config(error_strategy="retry", retry_delay=60, dirs_exist_ok=True))
    started = time.monotonic()
    with anyio.move_on_after(0.1) as scope:
        async for _ in eac.watch_copytree(memory + "/small", target):
            pass
    assert scope.cancelled_caught and time.monotonic() - started < 10
