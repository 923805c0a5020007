"""What the settings cost and bring: `python -m benchmarks.settings`; docs/performance.md has the figures."""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import py_eacopy
from py_eacopy import Config

from . import data, places

#: Copies from source to destination, which does not exist.
Call = Callable[[Path, Path], object]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settings", description=__doc__)
    parser.add_argument("--where", nargs="+", choices=places.NAMES, default=places.NAMES)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each setting (7)")
    arguments = parser.parse_args()
    print("backend:", py_eacopy.backend_info().name)
    with places.memory_folder() as memory:
        for name in arguments.where:
            with places.open_place(name, memory) as place:
                if place is not None:
                    measure(place, arguments.runs)


def measure(place: places.Place, runs: int) -> None:
    tree = data.library_tree(place.path / "tree").path
    small = data.small_files(place.path / "small", 20, 250, 4096).path
    pairs = [(path, path.name) for path in sorted(small.rglob("*.dat"))]
    large = data.one_file(place.path / "large", 300 << 20).path

    print_table(
        f"{place.name}: threads, the library tree",
        {f"{n} threads": copy_tree(Config(thread_count=n)) for n in (1, 2, 4, 8, 16)},
        tree,
        place.path / "out",
        runs,
    )
    print_table(
        f"{place.name}: safety, the library tree with 4 threads",
        {
            "plain": copy_tree(Config()),
            "atomic": copy_tree(Config(atomic=True)),
            "verify": copy_tree(Config(verify=True)),
            "progress callback": copy_tree(Config(progress_callback=lambda copied, total, name: None)),
            "ignore=ignore_patterns": lambda s, d: py_eacopy.copytree(s, d, ignore=py_eacopy.ignore_patterns("*.none")),
            "custom copy_function": lambda s, d: py_eacopy.copytree(
                s, d, copy_function=lambda a, b: shutil.copy2(a, b)
            ),
        },
        tree,
        place.path / "out",
        runs,
    )

    def one_by_one(source: Path, destination: Path) -> None:
        destination.mkdir()
        for path, name in pairs:
            py_eacopy.copy2(path, destination / f"{path.parent.name}-{name}")

    def as_batch(source: Path, destination: Path) -> None:
        destination.mkdir()
        py_eacopy.batch_copy2((path, destination / f"{path.parent.name}-{name}") for path, name in pairs)

    print_table(
        f"{place.name}: {len(pairs):,} files of 4 KB",
        {"copy2 in a loop": one_by_one, "batch_copy2": as_batch},
        small,
        place.path / "out",
        runs,
    )
    print_table(
        f"{place.name}: one file of 300 MB",
        {
            **{f"{n} threads": copy_file(Config(thread_count=n, reflink="never")) for n in (1, 2, 4)},
            **{
                f"4 threads, buffer {size >> 10} KiB": copy_file(Config(buffer_size=size, reflink="never"))
                for size in (16 << 10, 64 << 10, 256 << 10, 1 << 20)
            },
        },
        large,
        place.path / "out",
        runs,
    )
    if place.name == "xfs":
        for what, source, copy in (("one file of 300 MB", large, copy_file), ("the library tree", tree, copy_tree)):
            print_table(
                f"{place.name}: reflink, {what}",
                {f'reflink="{choice}"': copy(Config(reflink=choice)) for choice in ("auto", "always", "never")},
                source,
                place.path / "out",
                runs,
            )


def copy_tree(config: Config) -> Call:
    return lambda source, destination: py_eacopy.copytree(source, destination, config=config)


def copy_file(config: Config) -> Call:
    return lambda source, destination: py_eacopy.copyfile(source, destination, config=config)


def print_table(title: str, calls: Dict[str, Call], source: Path, destination: Path, runs: int) -> None:
    times: Dict[str, List[float]] = {name: [] for name in calls}
    for _ in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call(source, destination)
            times[name].append(time.perf_counter() - start)
            shutil.rmtree(destination) if destination.is_dir() else destination.unlink()
    rows: List[Tuple[str, float]] = [(name, statistics.median(values[1:])) for name, values in times.items()]
    print(f"\n{title}\n")
    print("| setting | median | to the first |\n|---|---|---|")
    for name, median in rows:
        print(f"| {name} | {median * 1000:.0f} ms | {median / rows[0][1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
