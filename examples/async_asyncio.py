"""Copying in an asyncio program: the loop stays free, and a copy that is cancelled really stops."""

import asyncio
import tempfile
from pathlib import Path

import py_eacopy


async def main(folder: Path) -> None:
    large = folder / "large.img"
    with open(large, "wb") as file:
        for _ in range(200):
            file.write(bytes(range(256)) * 4096)

    # Two copies at once.
    await asyncio.gather(
        py_eacopy.async_copy2(large, folder / "one.img"),
        py_eacopy.async_copyfile(large, folder / "two.img"),
    )
    print("copied:", sorted(path.name for path in folder.iterdir()))

    # A time limit. reflink="never", or a file system that clones would be done before it.
    slow = py_eacopy.Config(reflink="never")
    try:
        await asyncio.wait_for(py_eacopy.async_copyfile(large, folder / "three.img", config=slow), timeout=0.002)
        print("that was fast")
    except asyncio.TimeoutError:
        print("stopped; three.img is there:", (folder / "three.img").exists())


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
