"""Builds and runs the floor: bare C programs that make only the system calls which a copy cannot do without."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import attr

_SOURCES = Path(__file__).parent


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Floor:
    """The built programs. They measure themselves, so that the start of a process is not part of the floor."""

    folder: Path

    def copy_tree(self, source: Path, destination: Path, threads: int) -> float:
        """Seconds for a tree with the metadata of shutil.copy2."""
        return self._run("tree", str(source), str(destination), str(threads))

    def walk(self, source: Path, destination: Path, threads: int) -> float:
        """Seconds to list two trees that are alike, and to look at every file on both sides."""
        return self._run("walk", str(source), str(destination), str(threads))

    def copy_file(self, source: Path, prefix: Path, copies: int, threads: int) -> float:
        """Seconds for `copies` copies of one file, named by the prefix and a number from 0."""
        return self._run("file", str(source), str(prefix), str(copies), str(threads))

    def compare(self, first: Path, second: Path, threads: int) -> float:
        """Seconds to read two files of one size, and to compare them block by block."""
        return self._run("compare", str(first), str(second), str(threads))

    def _run(self, program: str, *arguments: str) -> float:
        done = subprocess.run([str(self.folder / program), *arguments], check=True, stdout=subprocess.PIPE)
        return float(done.stdout)


def build(folder: Path) -> Optional[Floor]:
    """Compiles the programs into a folder; None without a C compiler (the environment's CC, or cc)."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        return None
    for program in ("tree", "file", "walk", "compare"):
        source = _SOURCES / (program + ".c")
        subprocess.run([*compiler, "-O2", "-pthread", str(source), "-o", str(folder / program)], check=True)
    return Floor(folder)
