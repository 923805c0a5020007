"""Copying from programs written for trio: its nurseries, timeouts and threads, in its own words."""

import functools
import os
import sys
import threading
import time

import leaks
import pytest
from faults import trees

import py_eacopy
from py_eacopy import Control, EACopy

trio = pytest.importorskip("trio")
pytest.importorskip("pytest_trio")

pytestmark = [
    pytest.mark.trio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

SIZE = 400 << 20
#: The promise is 100 ms on a quiet machine; this bound is for a busy one.
BOUND = 5.0
#: What no copy comes to the end of, so that a timeout is never too late, however busy the machine.
ENDLESS = "/dev/zero"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """400 MB without holes, in memory where there is such a place."""
    if os.path.isdir("/dev/shm"):
        path = "/dev/shm/eacopy-trio-%d" % os.getpid()
        os.mkdir(path)
    else:
        path = str(tmp_path_factory.mktemp("large"))
    block = trees.make_bytes(1 << 20)
    with open(path + "/large", "wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(block)
    os.mkdir(path + "/target")
    yield path + "/large"
    trees.remove(path)


@pytest.fixture
def destination(large):
    path = os.path.join(os.path.dirname(large), "target", "copy")
    yield path
    if os.path.exists(path):
        os.unlink(path)


async def until_under_way(control):
    with trio.fail_after(20):
        while control.snapshot().bytes_copied < SIZE // 100:
            await trio.sleep(0.001)


async def test_copies_run_in_a_nursery(backend, tmp_path):
    source = trees.write(tmp_path / "source", trees.make_bytes(100_000))
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(py_eacopy.async_copy2, source, tmp_path / str(number))
    assert all(trees.read(tmp_path / str(number)) == trees.read(source) for number in range(20))


async def test_fail_after_raises_too_slow_and_leaves_nothing(backend, destination, capsys):
    started = time.monotonic()
    with leaks.none(), pytest.raises(trio.TooSlowError), trio.fail_after(0.03):
        await py_eacopy.async_copyfile(ENDLESS, destination)
    with capsys.disabled():
        print(" [%.1f ms]" % ((time.monotonic() - started - 0.03) * 1000), end="")
    assert time.monotonic() - started < 0.03 + BOUND and not os.path.exists(destination)


async def test_move_on_after_goes_on(backend, destination):
    with trio.move_on_after(0.03) as scope:
        await py_eacopy.async_copyfile(ENDLESS, destination)
    assert scope.cancelled_caught and not os.path.exists(destination)


async def test_a_failing_child_of_the_nursery_stops_the_copy(backend, large, destination):
    control = Control()
    with leaks.none(), pytest.raises(BaseException) as raised:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(functools.partial(py_eacopy.async_copyfile, large, destination, control=control))
            await until_under_way(control)
            raise LookupError
    assert [type(error) for error in raised.value.exceptions] == [LookupError]
    assert not os.path.exists(destination)


async def test_an_error_comes_out_bare(backend, tmp_path):
    with pytest.raises(FileNotFoundError):
        await py_eacopy.async_copy(tmp_path / "missing", tmp_path / "copy")


async def test_a_shielded_copy_is_finished_although_all_around_it_is_cancelled(backend, large, destination):
    with trio.move_on_after(0.01), trio.CancelScope(shield=True):
        await py_eacopy.async_copyfile(large, destination)
    assert os.path.getsize(destination) == SIZE


async def test_each_call_is_a_checkpoint(backend, tmp_path):
    source = trees.write(tmp_path / "source", b"content")
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await py_eacopy.async_copy(source, tmp_path / "copy")
        nursery.cancel_scope.cancel()
    assert turns > 0


async def test_a_coroutine_callback_uses_trio(backend, tmp_path):
    source = trees.write(tmp_path / "source", b"content")
    sender, receiver = trio.open_memory_channel(10)

    async def callback(*event):
        await sender.send(event)

    await EACopy(progress_callback=callback).async_copy(source, tmp_path / "copy")
    assert receiver.receive_nowait() == (0, 7, str(source))
    assert receiver.receive_nowait() == (7, 7, str(source))


async def test_functions_that_run_in_the_worker_thread_can_call_the_loop(backend, tmp_path):
    (tmp_path / "source").mkdir()
    trees.write(tmp_path / "source" / "file", b"content")
    seen = []

    def ignore(directory, names):
        assert threading.current_thread() is not threading.main_thread()
        seen.append(trio.from_thread.run_sync(threading.current_thread) is threading.main_thread())
        return []

    await py_eacopy.async_copytree(tmp_path / "source", tmp_path / "copy", ignore=ignore)
    assert seen == [True]


async def test_a_trio_program_that_ends_with_an_error_leaves_no_partial_file(backend, large, destination):
    async def main():
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            control = Control()
            nursery.start_soon(functools.partial(py_eacopy.async_copyfile, large, destination, control=control))
            await until_under_way(control)
            raise LookupError

    with pytest.raises(BaseException) as raised:
        await trio.to_thread.run_sync(trio.run, main)
    assert [type(error) for error in raised.value.exceptions] == [LookupError]
    assert not os.path.exists(destination)
