"""What is measured, and what the project promised for it."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import attr

import py_eacopy

from . import contestants, data
from .floor import Floor
from .measure import Contestant, Figures, Result, Runner, Target
from .places import Place

_MILLI = 1e3
_MICRO = 1e6


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Setting:
    """What every work is given.

    Attributes:
        runner: makes the measurements.
        config: of py_eacopy: 4 threads, and the backend that was asked for.
        floor: the bare C programs; None without a C compiler.
        quick: a tenth of the data.
    """

    runner: Runner
    config: py_eacopy.Config
    floor: Optional[Floor]
    quick: bool

    def share(self, count: int) -> int:
        """`count`, or a tenth of it when it must be quick."""
        return count // 10 if self.quick else count


#: Measures at a place.
Work = Callable[[Setting, Place], Iterator[Result]]


def library(setting: Setting, place: Place) -> Iterator[Result]:
    """The interpreter's own library tree."""
    with data_at(place, data.library_tree) as tree:
        figures = copy_tree(setting, place, tree, contestants.trees(setting.config, setting.floor))
        targets = _tree_targets(setting, place, 4, 2, 4.5)
        yield Result("library", place.name, tree.describe(), "ms", figures, targets)


def small_files(setting: Setting, place: Place) -> Iterator[Result]:
    """50,000 files of 1 KB in 500 folders."""
    with data_at(place, lambda path: data.small_files(path, setting.share(500), 100, 1024)) as tree:
        figures = copy_tree(setting, place, tree, contestants.trees(setting.config, setting.floor))
        targets = _tree_targets(setting, place, 6, 2.5, 3.5)
        yield Result("small-files", place.name, tree.describe(), "ms", figures, targets)


def portable(setting: Setting, place: Place) -> Iterator[Result]:
    """The library tree in pure Python."""
    config = setting.config.with_backend("portable")
    with data_at(place, data.library_tree) as tree:
        copiers = contestants.trees(config, None)[:2]
        targets = [Target("times", 1, "shutil.copytree")]
        figures = copy_tree(setting, place, tree, copiers)
        yield Result("portable", place.name, tree.describe(), "ms", figures, targets)


def small_file(setting: Setting, place: Place) -> Iterator[Result]:
    """One file of 4 KB, per call."""
    count = setting.share(10_000)
    with data_at(place, lambda path: data.one_file(path, 4096)) as file:
        figures = setting.runner.alternate(
            contestants.small_file(setting.config, setting.floor, count),
            file.path,
            place.path / "copies",
            memory=count * 8192,
            scale=_MICRO,
            check=lambda source, destination: data.check_copy(source, destination / f"copy{count - 1}"),
        )
    targets = []
    if place.name == "tmpfs":
        targets = [Target("times", 1.8, "shutil.copyfile"), Target("within", 1.5, "floor")]
    yield Result("small-file", place.name, f"4,096 bytes, {count:,} calls a run", "us", figures, targets)


def large_file(setting: Setting, place: Place) -> Iterator[Result]:
    """One file of 700 MB; where the file system can clone, with cloning forbidden, and then with it."""
    clones = place.name == "xfs"
    config = setting.config.with_reflink("never") if clones else setting.config
    with data_at(place, lambda path: data.one_file(path, setting.share(700_000_000))) as file:
        figures = _copy_file(setting, place, file, contestants.large_file(config, setting.floor))
        targets = {"tmpfs": [Target("times", 1.3, "cp")], "xfs": [Target("times", 1.4, "cp --reflink=never")]}
        what = file.describe() + (", cloning forbidden" if clones else "")
        yield Result("large-file", place.name, what, "ms", figures, targets.get(place.name, []))
        if clones:
            cp = "cp --reflink=always"
            cloners = contestants.installed(
                [
                    Contestant(contestants.label(config), contestants.calling(py_eacopy.copy, config=setting.config)),
                    contestants.command_contestant(cp, contestants.command(*cp.split())),
                ]
            )
            figures = _copy_file(setting, place, file, cloners)
            yield Result("clone", place.name, file.describe(), "ms", figures, [Target("below", 5)])


def memory(setting: Setting, place: Place) -> Iterator[Result]:
    """Peak memory of copying 200,000 files, above that of the bare interpreter."""
    keywords = f"thread_count={setting.config.thread_count}, backend={setting.config.backend!r}"
    script = f"import sys, py_eacopy\npy_eacopy.copytree(sys.argv[1], sys.argv[2], config=py_eacopy.Config({keywords}))"
    figures = Figures(contestants.label(setting.config))
    with data_at(place, lambda path: data.small_files(path, setting.share(2000), 100, 100)) as tree:
        for _ in range(min(setting.runner.runs, 3)):
            bare = _peak_megabytes("pass")
            figures.values.append(_peak_megabytes(script, str(tree.path), str(place.path / "copy")) - bare)
            data.remove(place.path / "copy")
        what = tree.describe() + f"; the bare interpreter has {bare:.1f} MB"
        yield Result("memory", place.name, what, "MB", [figures], [Target("below", 60)])


def import_time(setting: Setting, place: Place) -> Iterator[Result]:
    """`import py_eacopy` in a new interpreter."""
    forbidden = ("anyio", "asyncio", "click", "rich", "trio")
    script = (
        "import sys, time; start = time.perf_counter(); import py_eacopy; print(time.perf_counter() - start)\n"
        f"print(*[name for name in {forbidden!r} if name in sys.modules])"
    )
    loaded: List[str] = []

    def run(_source: Path, _destination: Path) -> float:
        done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
        seconds, *names = done.stdout.decode().split()
        loaded[:] = names
        return float(seconds)

    contestant = [Contestant("import py_eacopy", run)]
    figures = setting.runner.alternate(contestant, place.path, place.path / "none", memory=0, scale=_MILLI, check=None)
    what = "it loads " + (", ".join(loaded) if loaded else "none of " + ", ".join(forbidden))
    yield Result("import", "", what, "ms", figures, [Target("below", 60)])


def progress(setting: Setting, place: Place) -> Iterator[Result]:
    """The library tree with a progress callback that does nothing."""
    config = setting.config.with_progress_callback(lambda copied, total, filename: None)
    without = contestants.label(setting.config)
    copiers = [
        Contestant(f"{without}, callback", contestants.calling(py_eacopy.copytree, config=config)),
        Contestant(without, contestants.calling(py_eacopy.copytree, config=setting.config)),
    ]
    with data_at(place, data.library_tree) as tree:
        figures = copy_tree(setting, place, tree, copiers)
        yield Result("progress", place.name, tree.describe(), "ms", figures, [Target("within", 1.1, without)])


#: Name: (work, the places where it is measured).
WORKS: Dict[str, Tuple[Work, Tuple[str, ...]]] = {
    "library": (library, ("tmpfs", "ext4")),
    "small-files": (small_files, ("tmpfs", "ext4")),
    "small-file": (small_file, ("tmpfs", "ext4")),
    "large-file": (large_file, ("tmpfs", "ext4", "xfs")),
    "memory": (memory, ("tmpfs",)),
    "import": (import_time, ("tmpfs",)),
    "portable": (portable, ("tmpfs", "ext4")),
    "progress": (progress, ("tmpfs",)),
}


@contextlib.contextmanager
def data_at(place: Place, make: Callable[[Path], data.Data]) -> Iterator[data.Data]:
    """What `make` made at a place, removed afterwards."""
    path = place.path / "source"
    made = make(path)
    try:
        yield made
    finally:
        data.remove(path)


def _tree_targets(setting: Setting, place: Place, shutil_: float, cp: float, rsync: float) -> List[Target]:
    return [
        Target("times", shutil_, "shutil.copytree"),
        Target("times", cp, "cp -a"),
        Target("times", rsync, "rsync -a"),
        Target("within", 1.15, "floor"),
    ]


def copy_tree(setting: Setting, place: Place, tree: data.Data, copiers: List[Contestant]) -> List[Figures]:
    """Lets all of them copy a tree in turn, and checks their copies."""
    needed = tree.size + tree.files * 8192
    return setting.runner.alternate(copiers, tree.path, place.path / "copy", memory=needed, scale=_MILLI)


def _copy_file(setting: Setting, place: Place, file: data.Data, copiers: List[Contestant]) -> List[Figures]:
    return setting.runner.alternate(copiers, file.path, place.path / "copy", memory=file.size, scale=_MILLI)


def _peak_megabytes(script: str, *arguments: str) -> float:
    """Of a new interpreter. The kernel's figure for its memory map: getrusage would include that of the parent."""
    script += "\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    done = subprocess.run([sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE)
    return int(done.stdout.split()[1]) * 1024 / 1e6
