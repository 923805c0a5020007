"""Syncing beside rsync and cp: `python -m benchmarks.sync`, with the package installed.

Three works on one tree: nothing has changed, one file in a hundred has, a new copy beside an older one it is linked to;
and, when asked for, the memory that very many unchanged files take. Contestants run in turn, so that what disturbs the
machine meets them all. How they compare is the median of what each turn's pair gives: a machine that is slower for some
turns changes the milliseconds of a work, but not that. A run during which other programs used a processor is counted.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

import py_eacopy

from . import data, floor, places
from .machine import ForeignTime, wait_until_quiet

#: Does it once, and returns the seconds it took.
Contestant = Callable[[], float]

# As in measure.py: others used more than this share of a processor, or this many seconds.
_DISTURBED_SHARE = 0.1
_DISTURBED_SECONDS = 0.03

# The peak is not getrusage's: that begins with the peak of the process which started this one.
_MEMORY = """
import sys
import py_eacopy

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

config = py_eacopy.Config(backend=sys.argv[3] or None, thread_count=int(sys.argv[4]))
before = peak()
report = py_eacopy.sync(sys.argv[1], sys.argv[2], config=config)
print(report.files_skipped, before, peak())
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each contestant (7)")
    parser.add_argument("--backend", choices=("auto", "native", "portable"), default="auto")
    parser.add_argument("--threads", type=int, default=4, help="of py_eacopy and the walk (4)")
    parser.add_argument(
        "--patience", type=float, default=1, help="seconds to wait before each turn for others to be quiet (1)"
    )
    parser.add_argument("--where", choices=places.NAMES, default="tmpfs", help="file system (tmpfs)")
    parser.add_argument("--memory", type=int, metavar="FILES", help="also the memory for so many files, in thousands")
    arguments = parser.parse_args()
    backend = None if arguments.backend == "auto" else arguments.backend
    config = py_eacopy.Config(backend=backend, thread_count=arguments.threads)
    name = running_backend(config)
    print(f"backend that syncs: {name}; threads: {arguments.threads}; runs: {arguments.runs}", flush=True)
    with places.memory_folder() as memory, places.open_place(arguments.where, memory) as place:
        if place is None:
            raise SystemExit(1)
        programs = memory / "programs"
        programs.mkdir()
        bench = Bench(place.path, config, f"sync ({name})", floor.build(programs), arguments.runs, arguments.patience)
        bench.unchanged()
        bench.changed()
        bench.linked()
        if arguments.memory:
            many_files(memory, config, arguments.memory)


def running_backend(config: py_eacopy.Config) -> str:
    """Which backend a sync gets: with "auto", native gives way to portable while it cannot sync."""
    info = py_eacopy.backend_info(config=config)
    return info.name if "sync" in info.capabilities else "portable"


class Bench:
    """The library tree at one place, and what is done to it."""

    def __init__(
        self,
        place: Path,
        config: py_eacopy.Config,
        name: str,
        bare: Optional[floor.Floor],
        runs: int,
        patience: float,
    ) -> None:
        self._config, self._name, self._bare, self._runs, self._patience = config, name, bare, runs, patience
        self._threads = config.thread_count or 1
        self._source, self._target, self._place = place / "source", place / "target", place
        self._tree = data.library_tree(self._source)
        self._files = sorted(path for path in self._source.rglob("*") if path.is_file() and not path.is_symlink())
        print(f"{self._tree.describe()}, the library of Python {sys.version.split()[0]}")

    def unchanged(self) -> None:
        self._sync()
        contestants: Dict[str, Contestant] = {
            self._name: lambda: self._sync(copied=0),
            "rsync -a": lambda: self._rsync("-a"),
        }
        bare = self._bare
        if bare is not None:
            contestants["floor: a walk that looks at both sides"] = lambda: bare.walk(
                self._source, self._target, self._threads
            )
        self._measure("nothing has changed", contestants, lambda: None)

    def changed(self) -> None:
        """Each turn changes the same files once more, so that every contestant has the same to do."""
        chosen = self._files[::100]
        stamp = int(time.time()) - 1_000_000

        def touch() -> None:
            nonlocal stamp
            stamp += 10
            for path in chosen:
                os.utime(path, (stamp, stamp))

        contestants: Dict[str, Contestant] = {
            self._name: lambda: self._sync(copied=len(chosen)),
            "rsync -a": lambda: self._rsync("-a"),
        }
        self._measure(f"1 % has changed ({len(chosen)} files)", contestants, touch)

    def linked(self) -> None:
        """A new version beside the older one, where all files are the same."""
        older = self._place / "older"
        py_eacopy.sync(str(self._source), str(older), config=self._config)

        def ours() -> float:
            start = time.perf_counter()
            report = py_eacopy.sync(str(self._source), str(self._target), link_dirs=[str(older)], config=self._config)
            seconds = time.perf_counter() - start
            expect("files linked", report.files_linked, self._tree.files)
            first = self._files[0].relative_to(self._source)
            expect("files that are the same", os.path.samefile(older / first, self._target / first), True)
            return seconds

        contestants: Dict[str, Contestant] = {
            self._name + ", link_dirs": ours,
            "rsync -a --link-dest": lambda: self._rsync("-a", f"--link-dest={older}"),
            "cp -al, the older version": lambda: run(["cp", "-al", str(older), str(self._target)]),
        }
        self._measure("linked to an older version", contestants, lambda: data.remove(self._target))
        data.remove(self._target)
        data.remove(older)

    def _sync(self, copied: Optional[int] = None) -> float:
        start = time.perf_counter()
        report = py_eacopy.sync(str(self._source), str(self._target), config=self._config)
        seconds = time.perf_counter() - start
        if copied is not None:
            expect("files copied", report.files_copied, copied)
        return seconds

    def _rsync(self, *options: str) -> float:
        return run(["rsync", *options, f"{self._source}/", f"{self._target}/"])

    def _measure(self, title: str, contestants: Dict[str, Contestant], prepare: Callable[[], None]) -> None:
        contestants = {name: call for name, call in contestants.items() if installed(name)}
        values: Dict[str, List[float]] = {name: [] for name in contestants}
        disturbed = dict.fromkeys(contestants, 0)
        for turn in range(self._runs + 1):
            for name, contestant in contestants.items():
                prepare()
                wait_until_quiet(self._patience)
                foreign = ForeignTime()
                seconds = contestant()
                away = foreign.seconds()
                if turn == 0:  # the first turn warms the caches, and is looked at rather than measured
                    data.check_copy(self._source, self._target)
                else:
                    values[name].append(seconds)
                    disturbed[name] += away > _DISTURBED_SECONDS + _DISTURBED_SHARE * seconds
        show(title, values, disturbed)


def many_files(folder: Path, config: py_eacopy.Config, thousands: int) -> None:
    """Empty files, so that they take inodes and no more; a process of its own tells its largest size."""
    source, target = folder / "many", folder / "again"
    for directory in range(thousands):
        path = source / f"{directory:04}"
        path.mkdir(parents=True)
        for number in range(1000):
            os.close(os.open(path / f"file{number:03}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    py_eacopy.sync(str(source), str(target), config=config)
    asked = [str(source), str(target), config.backend or "", str(config.thread_count or 1)]
    done = subprocess.run([sys.executable, "-c", _MEMORY, *asked], check=True, stdout=subprocess.PIPE)
    skipped, before, peak = map(int, done.stdout.split())
    expect("files skipped", skipped, thousands * 1000)
    print(f"\n{skipped:,} files, unchanged: {peak / 1024:.0f} MB at most, {before / 1024:.0f} MB before the call")


def run(command: List[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def installed(name: str) -> bool:
    word = name.split()[0]
    return word not in ("rsync", "cp") or shutil.which(word) is not None


def expect(what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise SystemExit(f"benchmarks: {what}: {actual:,} instead of {expected:,}")


def show(title: str, values: Dict[str, List[float]], disturbed: Dict[str, int]) -> None:
    ours = next(iter(values.values()))
    print(
        f"\n### {title}\n\n| | median ms | min to max | its time to ours, paired | disturbed |\n|---|---|---|---|---|"
    )
    for name, seconds in values.items():
        pairs = statistics.median(theirs / own for theirs, own in zip(seconds, ours))
        spread = f"{min(seconds) * 1e3:.0f} to {max(seconds) * 1e3:.0f}"
        median = statistics.median(seconds) * 1e3
        print(f"| {name} | {median:.1f} | {spread} | {pairs:.2f}x | {disturbed[name]} of {len(seconds)} |", flush=True)


if __name__ == "__main__":
    main()
