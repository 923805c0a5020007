"""Deltas beside rsync, xdelta3 and zstd: `python -m benchmarks.delta`; docs/benchmarks.md has the figures.

The data are two versions of a large shared library, out of two wheels that pip fetches, and an image of 1 GB with 1 %
of its 4 KB blocks changed. Servers and rsync's daemon run in processes of their own, on tmpfs.
"""

import argparse
import functools
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, Union

import py_eacopy

from . import floor, network, places

_PACKAGE, _OLD, _NEW, _MEMBER = "pyarrow", "19.0.0", "19.0.1", "libarrow.so.1900"
_WORKS = ("local", "patches", "server")
#: Does it once, and returns how many bytes came out of it.
Contestant = Callable[[], int]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delta", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each contestant (5)")
    parser.add_argument("--backend", choices=("auto", "native", "portable"), default="auto")
    parser.add_argument("--work", nargs="+", choices=_WORKS, default=_WORKS, help="what to measure (all)")
    parser.add_argument("--megabytes", type=int, default=1000, help="of the image (1000)")
    arguments = parser.parse_args()
    config = py_eacopy.Config(backend=arguments.backend)
    print("backend:", py_eacopy.backend_info(config=config).name, flush=True)
    with places.memory_folder() as memory:
        if "local" in arguments.work:
            with places.open_place("xfs", memory) as place:
                if place is not None:
                    local(place.path, place.path, config, arguments.runs, arguments.megabytes)
                    local(place.path, memory, config, arguments.runs, arguments.megabytes)
        if "patches" in arguments.work:
            patches(memory, config, arguments.runs)
        if "server" in arguments.work:
            server(memory, config, arguments.runs)


def local(folder: Path, elsewhere: Path, config: py_eacopy.Config, runs: int, megabytes: int) -> None:
    """An image, the older version of which lies on a file system that clones; it may lie elsewhere itself."""
    old, new, copy = folder / "old", elsewhere / "new", folder / "copy"
    changed_image(old, new, megabytes)
    size = new.stat().st_size

    def ours() -> int:
        return py_eacopy.delta_copy(new, copy, old, config=config).bytes_written

    def rsync() -> int:
        shutil.copyfile(old, copy)
        return run(["rsync", "--no-whole-file", "--inplace", str(new), str(copy)]) or size

    contestants: Dict[str, Contestant] = {
        "delta_copy": ours,
        "cp --reflink=never": lambda: run(["cp", "--reflink=never", str(new), str(copy)]) or size,
        "cp and rsync --no-whole-file --inplace": rsync,
    }
    bare = floor.build(elsewhere)
    if bare is not None and elsewhere != folder:
        for threads in (1, 2):
            contestants[f"floor: read and compare both, {threads} thread" + "s" * (threads > 1)] = functools.partial(
                _written_by_the_floor, bare, old, new, threads
            )
    results = measured({name: c for name, c in contestants.items() if installed(name)}, runs, copy)
    where = "beside it" if elsewhere == folder else "out of a tmpfs"
    show(f"an image of {megabytes} MB, 1 % of its blocks changed, to XFS, {where}", results, size)
    for path in (old, new, copy):
        path.unlink(missing_ok=True)


def _written_by_the_floor(bare: floor.Floor, old: Path, new: Path, threads: int) -> int:
    bare.compare(old, new, threads)
    return 0


def patches(folder: Path, config: py_eacopy.Config, runs: int) -> None:
    """Patches of a library."""
    old, new = library(folder, _OLD), library(folder, _NEW)
    patch, made = folder / "patch", folder / "made"
    print(f"\n{_PACKAGE} {_OLD} and {_NEW}, {_MEMBER}: {old.stat().st_size:,} and {new.stat().st_size:,} bytes")

    def ours(level: int) -> Contestant:
        return lambda: py_eacopy.create_delta(new, old, patch, level, config=config).bytes_written

    def command(*arguments: str) -> Contestant:
        def call() -> int:
            run([*arguments])
            return patch.stat().st_size

        return call

    zstd = ["zstd", "-q", "-f", "--long=27", f"--patch-from={old}", str(new), "-o", str(patch)]
    contestants: Dict[str, Contestant] = {
        "create_delta, level 3": ours(3),
        "zstd -3 --long --patch-from": command(*zstd, "-3"),
        "create_delta, level 9": ours(9),
        "create_delta, level 15": ours(15),
        "create_delta, level 19": ours(19),
        "xdelta3 -9": command("xdelta3", "-f", "-9", "-e", "-s", str(old), str(new), str(patch)),
    }
    results = measured({name: c for name, c in contestants.items() if installed(name)}, runs, patch)
    show("making a patch", results, new.stat().st_size)

    py_eacopy.create_delta(new, old, patch, config=config)
    theirs = ["zstd", "-q", "-f", "-d", "--long=31", f"--patch-from={old}", str(patch), "-o", str(made)]
    applying: Dict[str, Contestant] = {
        "apply_delta": lambda: py_eacopy.apply_delta(old, patch, made, config=config).bytes_written,
        "zstd -d --patch-from": lambda: run(theirs) or made.stat().st_size,
    }
    results = measured({name: c for name, c in applying.items() if installed(name)}, runs, made)
    if made.exists() and made.read_bytes() != new.read_bytes():
        raise SystemExit("benchmarks: a patch made something else")
    show("applying it", results, new.stat().st_size)


def server(folder: Path, config: py_eacopy.Config, runs: int) -> None:
    """The library, pushed and pulled; the other side has the older version at the path."""
    old, new, patch, here = library(folder, _OLD), library(folder, _NEW), folder / "patch", folder / "here"
    with network.serving(folder / "ours", config) as port, network.daemon(folder / "theirs") as rsync_port:
        address, module = f"eacopy://127.0.0.1:{port}/data/copy", f"rsync://127.0.0.1:{rsync_port}/data/copy"

        def push(level: Union[int, str], **options: Any) -> Contestant:
            options.setdefault("delta", True)  # "auto" makes none on one machine
            return lambda: _wire(
                py_eacopy.copy_with_server(new, address, compression_level=level, config=config, **options)
            )

        def pull(level: Union[int, str]) -> Contestant:
            return lambda: _wire(
                py_eacopy.copy_with_server(address, here, compression_level=level, delta=True, config=config)
            )

        def rsync(source: str, target: str) -> Contestant:
            return lambda: _rsync("-z", "--no-whole-file", source, target)

        pushes: Dict[str, Contestant] = {
            "push, level 3": push(3),
            "push, level 9": push(9),
            'push, level "auto"': push("auto"),
            "push, level 3, reference": push(3, reference=old),
            "push, level 3, delta=False": push(3, delta=False),
            "rsync -z --no-whole-file": rsync(str(new), module),
        }
        pulls: Dict[str, Contestant] = {
            "pull, level 3": pull(3),
            'pull, level "auto"': pull("auto"),
            "rsync -z --no-whole-file": rsync(module, str(here)),
        }
        copies = (folder / "ours" / "copy", folder / "theirs" / "copy")
        for title, contestants, there, target in (
            ("pushing it; the server has the older version", pushes, old, copies),
            ("pulling it; the older version is here", pulls, new, (here,)),
            ("pulling it; the server remembers the version that is here", {"pull, level 3": pull(3)}, new, (here,)),
        ):
            if "remembers" in title:
                py_eacopy.copy_with_server(old, f"eacopy://127.0.0.1:{port}/data/older/copy", config=config)
            results: Dict[str, List[Tuple[float, int]]] = {name: [] for name in contestants if installed(name)}
            for _ in range(runs):
                for name in results:
                    for copy in copies:
                        shutil.copyfile(there, copy)
                    for copy in target:
                        shutil.copyfile(old, copy)
                    start = time.perf_counter()
                    wire = contestants[name]()
                    results[name].append((time.perf_counter() - start, wire))
                    if not any(copy.read_bytes() == new.read_bytes() for copy in target):
                        raise SystemExit(f"benchmarks: {name} made something else")
            show(title, results, new.stat().st_size, "bytes on the wire")
    size = py_eacopy.create_delta(new, old, patch, config=config).bytes_written
    print(f"\nthe patch, level 3: {size:,} bytes")


def _wire(report: py_eacopy.CopyReport) -> int:
    return report.bytes_sent + report.bytes_received


def _rsync(*arguments: str) -> int:
    told = subprocess.run(["rsync", "-a", "--stats", *arguments], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return sum(
        int(text.replace(",", "")) for text in re.findall(r"Total bytes (?:sent|received): ([0-9,]+)", told.stdout)
    )


# Data -----------------------------------------------------------------------------------------------------------------


def changed_image(old: Path, new: Path, megabytes: int) -> None:
    chance = random.Random(1)
    blocks = megabytes * 256
    changed = set(chance.sample(range(blocks), blocks // 100))
    with open(old, "wb") as first, open(new, "wb") as second:
        for megabyte in range(megabytes):
            data = chance.getrandbits(8 << 20).to_bytes(1 << 20, "little")
            first.write(data)
            piece = bytearray(data)
            for block in range(256):
                if megabyte * 256 + block in changed:
                    piece[block * 4096 : block * 4096 + 64] = chance.getrandbits(512).to_bytes(64, "little")
            second.write(piece)


def library(folder: Path, version: str) -> Path:
    wheels = folder / version
    asked = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "-q", *asked, "-d", str(wheels), f"{_PACKAGE}=={version}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/" + _MEMBER))
        (folder / f"library-{version}").write_bytes(archive.read(name))
    return folder / f"library-{version}"


# Measuring ------------------------------------------------------------------------------------------------------------


def run(command: List[str]) -> int:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 0


def installed(name: str) -> bool:
    words = name.split()
    tool = "rsync" if "rsync" in words else words[0]
    return "_" in tool or tool in ("push,", "pull,", "floor:") or shutil.which(tool) is not None


def measured(contestants: Dict[str, Contestant], runs: int, target: Path) -> Dict[str, List[Tuple[float, int]]]:
    """Alternating runs; what they make is removed before each."""
    values: Dict[str, List[Tuple[float, int]]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, contestant in contestants.items():
            if target.exists():
                target.unlink()
            start = time.perf_counter()
            size = contestant()
            values[name].append((time.perf_counter() - start, size))
    return values


def show(title: str, results: Dict[str, List[Tuple[float, int]]], whole: int, what: str = "bytes written") -> None:
    print(f"\n### {title}\n\n| | median ms | {what} | of the whole |\n|---|---|---|---|")
    for name, runs in results.items():
        median = statistics.median(seconds for seconds, _ in runs) * 1e3
        print(f"| {name} | {median:.0f} | {runs[0][1]:,} | {runs[0][1] / whole:.2%} |", flush=True)


if __name__ == "__main__":
    main()
