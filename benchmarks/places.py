"""Where is measured: file systems whose data is in memory, so that no disk is measured instead."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List, Optional

import attr

NAMES = ("tmpfs", "ext4", "xfs")

_MAKE = {
    # No lazy initialisation: it would go on while others are being measured.
    "ext4": ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
}
_IMAGE_SIZE = 6 << 30


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Place:
    """A file system to measure on.

    Attributes:
        name: one of NAMES.
        path: an empty directory there.
    """

    name: str
    path: Path


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A new directory on tmpfs, removed afterwards."""
    base = "/dev/shm"
    if not os.path.ismount(base):
        raise SystemExit("benchmarks: /dev/shm must be a tmpfs with some gigabytes of room")
    path = Path(tempfile.mkdtemp(prefix="py-eacopy-benchmarks-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def open_place(name: str, memory: Path) -> Iterator[Optional[Place]]:
    """Makes a place for as long as the context lasts; None, with the reason printed, where it cannot be made.

    Args:
        name: one of NAMES.
        memory: directory on tmpfs for the place or its image.
    """
    folder = memory / name
    folder.mkdir()
    if name == "tmpfs":
        yield Place(name, folder)
        shutil.rmtree(folder)
        return
    reason = _why_not(name)
    if reason is not None:
        print(f"SKIPPED: {name}: {reason}", file=sys.stderr)
        yield None
        return
    image = memory / (name + ".img")
    with open(image, "wb") as file:
        file.truncate(_IMAGE_SIZE)
    try:
        subprocess.run([*_MAKE[name], str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
        try:
            data = folder / "data"
            data.mkdir()
            yield Place(name, data)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        image.unlink()


def _why_not(name: str) -> Optional[str]:
    if os.geteuid() != 0:
        return "only root may mount a loop device"
    missing: List[str] = [tool for tool in (_MAKE[name][0], "mount", "umount") if shutil.which(tool) is None]
    if missing:
        return " and ".join(missing) + " is not installed"
    return None
