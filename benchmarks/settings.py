"""What the settings cost and bring: `python -m benchmarks.settings`; docs/performance.md has the figures."""

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import Callable, Dict

import py_eacopy
from py_eacopy import Config

from . import contestants, data, places, report
from .measure import Contestant, Result, Run, Runner


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settings", description=__doc__)
    parser.add_argument("--where", nargs="+", choices=places.NAMES, default=places.NAMES)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each setting (7)")
    parser.add_argument("--patience", type=float, default=5, help="as for python -m benchmarks (5)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("benchmarks: terminated"))
    print("backend:", py_eacopy.backend_info().name)
    runner = Runner(runs=arguments.runs, patience=arguments.patience)
    with places.memory_folder() as memory:
        for name in arguments.where:
            with places.open_place(name, memory) as place:
                if place is not None:
                    measure(runner, place)


def measure(runner: Runner, place: places.Place) -> None:
    """All tables for one file system; the first line of each is what the others are compared with."""

    def table(title: str, runs: Dict[str, Run], source: data.Data) -> None:
        figures = runner.alternate(
            [Contestant(name, run) for name, run in runs.items()],
            source.path,
            place.path / "out",
            memory=source.size + source.files * 8192,
            scale=1e3,
            check=None,
        )
        print(report.as_text(Result(title, place.name, source.describe(), "ms", figures, [])), flush=True)

    tree = data.library_tree(place.path / "tree")
    table("threads", {f"{n} threads": copy_tree(Config(thread_count=n)) for n in (1, 2, 4, 8, 16)}, tree)
    table(
        "safety",
        {
            "plain": copy_tree(Config()),
            "atomic": copy_tree(Config(atomic=True)),
            "verify": copy_tree(Config(verify=True)),
            "fsync": copy_tree(Config(fsync=True)),
        },
        tree,
    )
    table(
        "callbacks",
        {
            "none": copy_tree(Config()),
            "progress callback": copy_tree(Config(progress_callback=lambda copied, total, name: None)),
            "ignore=ignore_patterns": copy_tree(Config(), ignore=py_eacopy.ignore_patterns("*.none")),
            "custom copy_function": copy_tree(Config(), copy_function=lambda a, b: shutil.copy2(a, b)),
        },
        tree,
    )
    if place.name == "xfs":
        table("reflink", {choice: copy_tree(Config(reflink=choice)) for choice in ("auto", "always", "never")}, tree)
    data.remove(tree.path)

    small = data.small_files(place.path / "small", 20, 250, 4096)
    paths = sorted(small.path.rglob("*.dat"))

    def one_by_one(source: str, destination: str) -> None:
        Path(destination).mkdir()
        for path in paths:
            py_eacopy.copy2(path, f"{destination}/{path.parent.name}-{path.name}")

    def as_batch(source: str, destination: str) -> None:
        Path(destination).mkdir()
        py_eacopy.batch_copy2((path, f"{destination}/{path.parent.name}-{path.name}") for path in paths)

    runs = {"copy2 in a loop": contestants.calling(one_by_one), "batch_copy2": contestants.calling(as_batch)}
    table("batches", runs, small)
    data.remove(small.path)

    large = data.one_file(place.path / "large", 300 << 20)
    table("threads", {f"{n} threads": copy_file(Config(thread_count=n, reflink="never")) for n in (1, 2, 4)}, large)
    sizes = {f"{size >> 10} KiB": size for size in (8 << 20, 16 << 10, 64 << 10, 256 << 10, 1 << 20)}
    buffers = {name: copy_file(Config(buffer_size=size, reflink="never")) for name, size in sizes.items()}
    table("buffer", buffers, large)
    if place.name == "xfs":
        table("reflink", {choice: copy_file(Config(reflink=choice)) for choice in ("auto", "always", "never")}, large)
    data.remove(large.path)


def copy_tree(config: Config, **options: Callable[..., object]) -> Run:
    return contestants.calling(py_eacopy.copytree, config=config, **options)


def copy_file(config: Config) -> Run:
    return contestants.calling(py_eacopy.copyfile, config=config)


if __name__ == "__main__":
    main()
