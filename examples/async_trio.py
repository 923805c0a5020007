"""Copying in a trio program: timeouts, nurseries and progress that is awaited."""

import tempfile
from pathlib import Path

import trio

import py_eacopy


async def main(folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.bin").write_bytes(bytes(10_000))

    # A failure of one task stops the copies of the others.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(py_eacopy.async_copytree, source, folder / "first")
        nursery.start_soon(py_eacopy.async_copytree, source, folder / "second")
    print("copied:", sorted(path.name for path in folder.iterdir()))

    # A progress callback that is a coroutine function is awaited in the loop.
    finished = 0

    async def count(copied: int, total: int, filename: str) -> None:
        nonlocal finished
        finished += copied == total
        await trio.lowlevel.checkpoint()

    config = py_eacopy.Config(progress_callback=count)
    await py_eacopy.async_copytree(source, folder / "third", config=config)
    print("files that told they were complete:", finished)

    with trio.move_on_after(0) as scope:
        await py_eacopy.async_copytree(source, folder / "fourth")
    print("cancelled:", scope.cancelled_caught)


with tempfile.TemporaryDirectory() as temporary:
    trio.run(main, Path(temporary))
