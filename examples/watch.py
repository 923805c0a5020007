"""Watching a copy as an asynchronous iterator."""

import asyncio
import tempfile
from pathlib import Path

import py_eacopy


async def main(folder: Path) -> None:
    source = folder / "builds"
    source.mkdir()
    for number in range(10):
        (source / f"build{number}.zip").write_bytes(bytes(1_000_000))

    eac = py_eacopy.EACopy()
    async for event in eac.watch_copytree(source, folder / "share"):
        if event.finished:
            print("finished", Path(event.filename).name, event.total_bytes)

    # Leaving early stops the copy before `async with` ends.
    async with eac.watch_copytree(source, folder / "other") as events:
        async for event in events:
            print("first event:", event)
            break


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
