"""The network service beside rsync in daemon mode: `python -m benchmarks.network`; docs/benchmarks.md has the figures.

Server and daemon run in processes of their own, on tmpfs. The client is timed: ours as a call, rsync as a command.
"""

import argparse
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import py_eacopy

from . import data, places
from .wire import Wire

#: Seconds of each run, and bytes on the wire where they are counted.
Values = List[Tuple[float, int]]
#: Copies once, to a destination with this name, and returns what was measured.
Contestant = Callable[[str], Tuple[float, int]]

_SERVE = """
import sys, py_eacopy
with py_eacopy.EACopyServer(port=0, shares={"data": sys.argv[1]}, security_file=False,
                            config=py_eacopy.Config(backend=sys.argv[2])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
_MEGABITS, _ROUND_TRIP = 100, 0.020


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each contestant (7)")
    parser.add_argument("--backend", choices=("auto", "native", "portable"), default="auto", help="of both our sides")
    parser.add_argument("--work", nargs="+", choices=list(_WORKS), default=list(_WORKS), help="what to measure (all)")
    arguments = parser.parse_args()
    if shutil.which("rsync") is None:
        raise SystemExit("benchmarks: rsync is not installed")
    config = py_eacopy.Config(backend=arguments.backend)
    print("backend:", py_eacopy.backend_info(config=config).name, flush=True)
    with places.memory_folder() as memory:
        for name in arguments.work:
            place = memory / name
            place.mkdir()
            _WORKS[name](place, config, arguments.runs)
            shutil.rmtree(place)


def first_push(place: Path, config: py_eacopy.Config, runs: int) -> None:
    tree = data.library_tree(place / "tree")

    def ours(name: str) -> Tuple[float, int]:
        with serving(place / "ours", config) as port:  # a fresh one, that remembers nothing
            return push(tree.path, name, port, config)

    with daemon(place / "theirs") as rsync_port:
        contestants: Dict[str, Contestant] = {
            "py_eacopy": ours,
            "rsync -a": lambda name: rsync(tree.path, name, rsync_port),
        }
        show("push of the library tree, first time", 2, tree.files, measured(contestants, runs, place, fresh=True))


def linked(place: Path, config: py_eacopy.Config, runs: int) -> None:
    tree = data.library_tree(place / "tree")
    with serving(place / "ours", config) as port, daemon(place / "theirs") as rsync_port:
        push(tree.path, "before", port, config)
        rsync(tree.path, "before", rsync_port)
        contestants: Dict[str, Contestant] = {
            "py_eacopy": lambda name: push(tree.path, name, port, config),
            "rsync --link-dest": lambda name: rsync(tree.path, name, rsync_port, "--link-dest=/before"),
        }
        # The server remembers the last place of a file: the last copy stays, as the last of somebody's builds does.
        values = measured(contestants, runs, place, fresh=True, kept=1)
        show("the same tree to another folder, all linked", 3, tree.files, values)


def skipped(place: Path, config: py_eacopy.Config, runs: int) -> None:
    tree = data.library_tree(place / "tree")
    with serving(place / "ours", config) as port, daemon(place / "theirs") as rsync_port:
        contestants: Dict[str, Contestant] = {
            "py_eacopy": lambda name: push(tree.path, name, port, config),
            "rsync -a": lambda name: rsync(tree.path, name, rsync_port),
        }
        for contestant in contestants.values():
            contestant("copy")
        show(
            "the same tree to the same folder, all skipped",
            2,
            tree.files,
            measured(contestants, runs, place, fresh=False),
        )


def pulled(place: Path, config: py_eacopy.Config, runs: int) -> None:
    tree = data.library_tree(place / "tree")
    for folder in ("ours", "theirs"):
        (place / folder).mkdir()
    with serving(place, config) as port, daemon(place) as rsync_port:

        def ours(name: str) -> Tuple[float, int]:
            start = time.perf_counter()
            source = f"eacopy://127.0.0.1:{port}/data/{tree.path.name}"
            report = py_eacopy.copy_with_server(source, place / "ours" / name, config=config)
            return time.perf_counter() - start, report.bytes_sent + report.bytes_received

        def theirs(name: str) -> Tuple[float, int]:
            start = time.perf_counter()
            source = f"rsync://127.0.0.1:{rsync_port}/data/{tree.path.name}/"
            subprocess.run(["rsync", "-a", source, str(place / "theirs" / name)], check=True)
            return time.perf_counter() - start, 0

        contestants: Dict[str, Contestant] = {"py_eacopy": ours, "rsync -a": theirs}
        show("the library tree pulled", None, tree.files, measured(contestants, runs, place, fresh=True))
        for contestant in contestants.values():
            contestant("copy")
        show("pulled again, all skipped", None, tree.files, measured(contestants, runs, place, fresh=False))


def large_file(place: Path, config: py_eacopy.Config, runs: int) -> None:
    file = data.one_file(place / "large", 700 << 20)

    def ours(name: str) -> Tuple[float, int]:
        with serving(place / "ours", config) as port:
            return push(file.path, name, port, config)

    with daemon(place / "theirs") as rsync_port:
        contestants: Dict[str, Contestant] = {
            "py_eacopy": ours,
            "rsync -a": lambda name: rsync(file.path, name, rsync_port),
        }
        show("one file of 700 MB", 2, 1, measured(contestants, runs, place, fresh=True))


def slow_wire(place: Path, config: py_eacopy.Config, runs: int) -> None:
    tree = data.library_tree(place / "tree")
    config = config.with_compression_level("auto")

    def ours(name: str) -> Tuple[float, int]:
        with serving(place / "ours", config) as port, Wire(port, _MEGABITS, _ROUND_TRIP) as wire:
            seconds, _ = push(tree.path, name, wire.port, config)
            return seconds, wire.bytes

    with daemon(place / "theirs") as rsync_port:

        def theirs(name: str) -> Tuple[float, int]:
            with Wire(rsync_port, _MEGABITS, _ROUND_TRIP) as wire:
                seconds, _ = rsync(tree.path, name, wire.port, "-z")
                return seconds, wire.bytes

        contestants: Dict[str, Contestant] = {'py_eacopy, level "auto"': ours, "rsync -az": theirs}
        title = f"the library tree over a wire of {_MEGABITS} Mbit/s and {_ROUND_TRIP * 1e3:.0f} ms"
        show(title, 1, tree.files, measured(contestants, min(runs, 3), place, fresh=True))


_WORKS: Dict[str, Callable[[Path, py_eacopy.Config, int], None]] = {
    "first": first_push,
    "linked": linked,
    "skipped": skipped,
    "pulled": pulled,
    "large": large_file,
    "wire": slow_wire,
}


# Contestants ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(folder: Path, config: py_eacopy.Config) -> Iterator[int]:
    """Our server, in a process of its own; the port it listens at."""
    folder.mkdir(exist_ok=True)
    arguments = [sys.executable, "-c", _SERVE, str(folder), config.backend or "auto"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def push(source: Path, name: str, port: int, config: py_eacopy.Config) -> Tuple[float, int]:
    start = time.perf_counter()
    report = py_eacopy.copy_with_server(source, f"eacopy://127.0.0.1:{port}/data/{name}", config=config)
    return time.perf_counter() - start, report.bytes_sent + report.bytes_received


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[int]:
    """rsync's daemon; the port it listens at."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    settings = folder.with_name("rsyncd.conf")
    settings.write_text(
        f"use chroot = no\nuid = 0\ngid = 0\n[data]\npath = {folder}\nread only = no\n", encoding="utf-8"
    )
    arguments = ["rsync", "--daemon", "--no-detach", f"--config={settings}", "--address=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(arguments) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def rsync(source: Path, name: str, port: int, *options: str) -> Tuple[float, int]:
    slash = "/" if source.is_dir() else ""
    start = time.perf_counter()
    arguments = ["rsync", "-a", *options, str(source) + slash, f"rsync://127.0.0.1:{port}/data/{name}"]
    subprocess.run(arguments, check=True)
    return time.perf_counter() - start, 0


# Measuring ------------------------------------------------------------------------------------------------------------


def measured(
    contestants: Dict[str, Contestant], runs: int, place: Path, fresh: bool, kept: int = 0
) -> Dict[str, Values]:
    """Alternating runs; with `fresh` all copies but the `kept` last are removed after each, outside of the measured
    time."""
    values: Dict[str, Values] = {name: [] for name in contestants}
    for run in range(runs):
        for name, contestant in contestants.items():
            copy = f"copy{run}" if fresh else "copy"
            values[name].append(contestant(copy))
            if not fresh:
                continue
            for folder in ("ours", "theirs"):
                done = place / folder / f"copy{run - kept}"
                if done.is_dir():
                    shutil.rmtree(done)
                elif done.exists():
                    done.unlink()
    return values


def show(title: str, promised: Optional[float], files: int, values: Dict[str, Values]) -> None:
    print(
        f"\n### {title}\n\n| | median ms | best | us a file | wire MB | against the first |\n|---|---|---|---|---|---|"
    )
    medians = {name: statistics.median(seconds for seconds, _ in runs) for name, runs in values.items()}
    first = next(iter(medians.values()))
    for name, runs in values.items():
        wire = statistics.median(count for _, count in runs) / 1e6
        print(
            f"| {name} | {medians[name] * 1e3:.1f} | {min(runs)[0] * 1e3:.1f} | {medians[name] / files * 1e6:.1f} | "
            f"{wire:.2f} | {medians[name] / first:.2f} |"
        )
    if promised is not None:
        print(f"\npromised: {promised:g} times as fast as the second", flush=True)


if __name__ == "__main__":
    main()
