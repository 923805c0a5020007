"""The data that is copied, and the proof that a copy of it is right."""

import filecmp
import os
import random
import shutil
import stat
import sysconfig
from pathlib import Path
from typing import Iterator, List, Tuple

import attr

from .machine import warm_memory


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Data:
    """What was made.

    Attributes:
        path: of the file or of the tree's root.
        files: how many.
        size: bytes in all files.
    """

    path: Path
    files: int
    size: int

    def describe(self) -> str:
        return f"{self.files:,} {'file' if self.files == 1 else 'files'}, {self.size / 1e6:,.1f} MB"


def library_tree(path: Path) -> Data:
    """The running interpreter's own library without site-packages, links replaced by what they point to."""
    shutil.copytree(sysconfig.get_path("stdlib"), path, ignore=shutil.ignore_patterns("site-packages"))
    return _counted(path)


def small_files(path: Path, folders: int, files: int, size: int) -> Data:
    """`folders` directories with `files` files of `size` bytes each."""
    content = random.Random(0).getrandbits(8 * size).to_bytes(size, "little")
    for folder in range(folders):
        directory = path / f"folder{folder:04}"
        directory.mkdir(parents=True)
        for number in range(files):
            (directory / f"file{number:04}.dat").write_bytes(content)
    return Data(path, folders * files, folders * files * size)


def one_file(path: Path, size: int) -> Data:
    """A file of random bytes, so that no file system can store it smaller."""
    warm_memory(size)
    generator = random.Random(0)
    with open(path, "wb") as file:
        left = size
        while left:
            piece = min(left, 8 << 20)
            file.write(generator.getrandbits(8 * piece).to_bytes(piece, "little"))
            left -= piece
    return Data(path, 1, size)


def check_copy(source: Path, destination: Path) -> None:
    """Raises unless the destination holds what the source holds, with the same modes and times of files in trees."""
    filecmp.clear_cache()  # it knows files by their names, sizes and times: the last contestant's had the same
    if not source.is_dir():
        if not filecmp.cmp(source, destination, shallow=False):
            raise AssertionError(f"{destination} differs from {source}")
        return
    expected, actual = sorted(_entries(source)), sorted(_entries(destination))
    if expected != actual:
        difference = sorted(set(expected) ^ set(actual))[:5]
        raise AssertionError(f"{destination} differs from {source}: {difference}")
    for name, mode, _size, _time in expected:
        if stat.S_ISREG(mode) and not filecmp.cmp(source / name, destination / name, shallow=False):
            raise AssertionError(f"{destination / name} differs from {source / name}")


def remove(path: Path) -> None:
    """Removes a file or tree, if there."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def _counted(path: Path) -> Data:
    sizes: List[int] = [size for _name, mode, size, _time in _entries(path) if stat.S_ISREG(mode)]
    return Data(path, len(sizes), sum(sizes))


def _entries(root: Path) -> Iterator[Tuple[str, int, int, int]]:
    """Relative name, mode, size (0 for directories) and time (whole microseconds: utime of old systems has no more)."""
    for folder, _names, files in os.walk(root):
        for name in [".", *files]:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            size = st.st_size if stat.S_ISREG(st.st_mode) else 0
            yield os.path.relpath(path, root), st.st_mode, size, st.st_mtime_ns // 1000
