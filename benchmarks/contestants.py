"""Who copies: py_eacopy, shutil, the commands that are installed, and the floor.

Functions are timed inside this process. A command is timed from its start to its end, as its user has to wait; the
start of a process is about a millisecond of that.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, List, Optional

import py_eacopy

from .floor import Floor
from .measure import Contestant, Run


def calling(function: Callable[..., Any], **keywords: Any) -> Run:
    """Times a function of (source, destination)."""

    def run(source: Path, destination: Path) -> float:
        start = time.perf_counter()
        function(str(source), str(destination), **keywords)
        return time.perf_counter() - start

    return run


def calling_often(function: Callable[..., Any], count: int, **keywords: Any) -> Run:
    """Times `count` calls that copy one file to fresh names in a new directory; returns seconds per call."""

    def run(source: Path, destination: Path) -> float:
        destination.mkdir()
        origin = str(source)
        names = [os.path.join(str(destination), f"copy{number}") for number in range(count)]
        start = time.perf_counter()
        for name in names:
            function(origin, name, **keywords)
        return (time.perf_counter() - start) / count

    return run


def command(*arguments: str) -> Run:
    """Times a command that is given the source and the destination last."""

    def run(source: Path, destination: Path) -> float:
        start = time.perf_counter()
        subprocess.run([*arguments, str(source), str(destination)], check=True)
        return time.perf_counter() - start

    return run


def rsync(source: Path, destination: Path) -> float:
    """Times `rsync -a`; a trailing slash means the contents of a tree."""
    slash = os.sep if source.is_dir() else ""
    start = time.perf_counter()
    subprocess.run(["rsync", "-a", str(source) + slash, str(destination)], check=True)
    return time.perf_counter() - start


def installed(contestants: List[Optional[Contestant]]) -> List[Contestant]:
    """Those that are there."""
    return [contestant for contestant in contestants if contestant is not None]


def command_contestant(name: str, run: Run) -> Optional[Contestant]:
    """A command, or None where it is not installed; the command is the first word of the name."""
    return Contestant(name, run) if shutil.which(name.split()[0]) else None


def trees(config: py_eacopy.Config, floor: Optional[Floor]) -> List[Contestant]:
    """Who copies trees with their metadata."""
    bare = None
    if floor is not None:
        bare = Contestant(
            "floor", lambda source, destination: floor.copy_tree(source, destination, config.thread_count)
        )
    return installed(
        [
            Contestant(label(config), calling(py_eacopy.copytree, config=config)),
            Contestant("shutil.copytree", calling(shutil.copytree)),
            command_contestant("cp -a", command("cp", "-a")),
            command_contestant("rsync -a", rsync),
            bare,
        ]
    )


def small_file(config: py_eacopy.Config, floor: Optional[Floor], count: int) -> List[Contestant]:
    """Who copies the data of one small file, per call."""
    bare = None
    if floor is not None:
        bare = Contestant("floor", lambda source, destination: _floor_often(floor, source, destination, count))
    return installed(
        [
            Contestant(label(config), calling_often(py_eacopy.copyfile, count, config=config)),
            Contestant("shutil.copyfile", calling_often(shutil.copyfile, count)),
            bare,
        ]
    )


def large_file(config: py_eacopy.Config, floor: Optional[Floor]) -> List[Contestant]:
    """Who copies one large file with its mode."""
    cp = "cp --reflink=never" if config.reflink == "never" else "cp"
    bare = None
    if floor is not None:
        bare = Contestant(
            "floor", lambda source, destination: _floor_once(floor, source, destination, config.thread_count)
        )
    return installed(
        [
            Contestant(label(config), calling(py_eacopy.copy, config=config)),
            Contestant("shutil.copy", calling(shutil.copy)),
            command_contestant(cp, command(*cp.split())),
            command_contestant("rsync -a", rsync),
            bare,
        ]
    )


def label(config: py_eacopy.Config) -> str:
    """py_eacopy with the backend that really runs."""
    return f"py_eacopy ({py_eacopy.backend_info(config=config).name})"


def _floor_often(floor: Floor, source: Path, destination: Path, count: int) -> float:
    destination.mkdir()
    return floor.copy_file(source, destination / "copy", count, 1) / count


def _floor_once(floor: Floor, source: Path, destination: Path, threads: int) -> float:
    seconds = floor.copy_file(source, destination, 1, threads)
    destination.with_name(destination.name + "0").rename(destination)
    return seconds
