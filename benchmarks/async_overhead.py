"""What awaiting costs, and how late it makes others in the same event loop."""

import contextlib
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Tuple

import anyio
import anyio.to_thread

import py_eacopy

from . import contestants, data
from .measure import Contestant, Result, Run, Target
from .places import Place
from .works import Setting, Work, copy_tree, data_at

_GIGABYTE = 1 << 30
_TICK = 0.001


def tree(setting: Setting, place: Place) -> Iterator[Result]:
    """The library tree, awaited and not."""
    config = setting.config
    direct = contestants.label(config)
    copiers = [Contestant(direct, contestants.calling(py_eacopy.copytree, config=config))]
    for loop in event_loops():
        copiers.append(Contestant(f"async_copytree ({loop})", _awaiting(loop, config)))
    with data_at(place, data.library_tree) as source:
        first, *awaited = copy_tree(setting, place, source, copiers)
    for loop, figures in zip(event_loops(), awaited):
        targets = [Target("within", 1.05, direct)]
        yield Result(f"async-tree, {loop}", place.name, source.describe(), "ms", [figures, first], targets)


def file(setting: Setting, place: Place) -> Iterator[Result]:
    """A file of 4 KB, per call, beside a bare worker thread."""
    config, count = setting.config, setting.share(2000)

    async def in_thread(source: str, destination: str) -> None:
        await anyio.to_thread.run_sync(lambda: py_eacopy.copy(source, destination, config=config))

    async def awaited(source: str, destination: str) -> None:
        await py_eacopy.async_copy(source, destination, config=config)

    with data_at(place, lambda path: data.one_file(path, 4096)) as source:
        for loop in event_loops():
            figures = setting.runner.alternate(
                [
                    Contestant(f"async_copy ({loop})", _awaiting_often(loop, count, awaited)),
                    Contestant("anyio.to_thread", _awaiting_often(loop, count, in_thread)),
                ],
                source.path,
                place.path / "copies",
                memory=count * 8192,
                scale=1e6,
                check=lambda source, destination: data.check_copy(source, destination / f"copy{count - 1}"),
            )
            what = f"4,096 bytes, {count:,} calls a run"
            targets = [Target("within", 2, "anyio.to_thread")]
            yield Result(f"async-file, {loop}", place.name, what, "us", figures, targets)


def ticker(setting: Setting, place: Place) -> Iterator[Result]:
    """How late a task is at worst that sleeps a millisecond at a time while 1 GB is copied in the same loop."""
    with data_at(place, lambda path: data.one_file(path, setting.share(_GIGABYTE))) as source:
        for loop in event_loops():
            figures = setting.runner.alternate(
                [
                    Contestant(f"while copying ({loop})", _latest_tick(loop, _copying(setting.config))),
                    Contestant("while sleeping", _latest_tick(loop, _sleeping)),
                ],
                source.path,
                place.path / "copy",
                memory=source.size,
                scale=1e3,
                check=None,
            )
            what = f"{source.describe()}; {max(figures[0].values):.1f} ms late in the worst run"
            yield Result(f"ticker, {loop}", place.name, what, "ms", figures, [Target("below", 20)])


#: As in works.py.
WORKS: Dict[str, Tuple[Work, Tuple[str, ...]]] = {
    "async-tree": (tree, ("tmpfs",)),
    "async-file": (file, ("tmpfs",)),
    "ticker": (ticker, ("tmpfs",)),
}


def event_loops() -> List[str]:
    """Those that are installed."""
    loops = ["asyncio"]
    for name in ("uvloop", "trio"):
        with contextlib.suppress(ImportError):
            __import__(name)
            loops.append(name)
    return loops


def _run_in(loop: str, function: Callable[[], Awaitable[float]]) -> float:
    if loop == "uvloop":
        return anyio.run(function, backend="asyncio", backend_options={"use_uvloop": True})
    return anyio.run(function, backend=loop)


def _awaiting(loop: str, config: py_eacopy.Config) -> Run:
    def run(source: Path, destination: Path) -> float:
        async def main() -> float:
            start = time.perf_counter()
            await py_eacopy.async_copytree(str(source), str(destination), config=config)
            return time.perf_counter() - start

        return _run_in(loop, main)

    return run


def _awaiting_often(loop: str, count: int, function: Callable[[str, str], Awaitable[Any]]) -> Run:
    def run(source: Path, destination: Path) -> float:
        async def main() -> float:
            destination.mkdir()
            names = [str(destination / f"copy{number}") for number in range(count)]
            start = time.perf_counter()
            for name in names:
                await function(str(source), name)
            return (time.perf_counter() - start) / count

        return _run_in(loop, main)

    return run


def _copying(config: py_eacopy.Config) -> Callable[[Path, Path], Awaitable[Any]]:
    return lambda source, destination: py_eacopy.async_copyfile(source, destination, config=config)


async def _sleeping(source: Path, destination: Path) -> None:
    await anyio.sleep(0.5)


def _latest_tick(loop: str, function: Callable[[Path, Path], Awaitable[Any]]) -> Run:
    def run(source: Path, destination: Path) -> float:
        late: List[float] = []

        async def tick() -> None:
            while True:
                due = time.perf_counter() + _TICK
                await anyio.sleep(_TICK)
                late.append(time.perf_counter() - due)

        async def main() -> float:
            async with anyio.create_task_group() as group:
                group.start_soon(tick)
                await anyio.sleep(10 * _TICK)  # the ticker is under way
                await function(source, destination)
                group.cancel_scope.cancel()
            return max(late)

        return _run_in(loop, main)

    return run
