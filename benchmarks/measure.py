"""Alternating runs of contestants on the same data, and the figures that come out."""

import os
import statistics
import sys
from pathlib import Path
from typing import Callable, List, Optional, Sequence

import attr

from . import data
from .machine import ForeignTime, wait_until_quiet, warm_memory

# A run is disturbed when others used more than this share of a processor, or this many seconds, meanwhile.
_DISTURBED_SHARE = 0.1
_DISTURBED_SECONDS = 0.03
_REPEATS = 3

#: Copies source to destination, which does not exist, and returns the seconds it took.
Run = Callable[[Path, Path], float]


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Contestant:
    """Something that copies.

    Attributes:
        name: as in the table.
        run: does it once.
    """

    name: str
    run: Run


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Target:
    """What the project promised.

    Attributes:
        kind: "times" (so many times as fast as `other`), "within" (at most so many times the time of `other`) or
            "below" (at most this value, in the work's unit).
        value: the number.
        other: name of the contestant to compare with.
    """

    kind: str
    value: float
    other: str = ""


@attr.s(slots=True, auto_attribs=True)
class Figures:
    """What one contestant reached.

    Attributes:
        name: of the contestant.
        values: of each run, in the work's unit.
        disturbed: how many of these runs had to share the machine with other programs.
    """

    name: str
    values: List[float] = attr.Factory(list)
    disturbed: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@attr.s(slots=True, auto_attribs=True)
class Result:
    """One work at one place.

    Attributes:
        work: its name.
        place: the file system, or "" where it does not matter.
        what: the data in words.
        unit: of the values: "s", "ms", "us" or "MB". Contestants report seconds or MB; `scale` is already applied.
        figures: the first is py_eacopy's.
        targets: of py_eacopy.
    """

    work: str
    place: str
    what: str
    unit: str
    figures: List[Figures]
    targets: List[Target]


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Runner:
    """How measurements are made.

    Attributes:
        runs: of each contestant.
        patience: seconds to wait for other programs to be quiet, before each run.
    """

    runs: int
    patience: float

    def alternate(
        self,
        contestants: Sequence[Contestant],
        source: Path,
        destination: Path,
        *,
        memory: int,
        scale: float,
        check: Optional[Callable[[Path, Path], None]] = data.check_copy,
    ) -> List[Figures]:
        """Runs A B C A B C... Every run has a fresh destination, a warm source, and no writes of others left to do.

        Args:
            contestants: who.
            source: what to copy.
            destination: a path that each contestant makes; removed after each run, outside the measured time.
            memory: bytes of memory that a copy needs.
            scale: factor from seconds to the unit of the figures.
            check: called with source and destination after each contestant's first run; None for no check.
        """
        figures = [Figures(contestant.name) for contestant in contestants]
        for turn in range(self.runs):
            for contestant, figure in zip(contestants, figures):
                for left in reversed(range(_REPEATS)):
                    seconds, disturbed = self._once(
                        contestant, source, destination, memory, check if turn == 0 else None
                    )
                    if not disturbed or left == 0 or self.patience == 0:
                        break
                figure.values.append(seconds * scale)
                figure.disturbed += disturbed
                _show(f"  run {turn + 1} of {self.runs}: {contestant.name}")
        _show("")
        return figures

    def _once(
        self,
        contestant: Contestant,
        source: Path,
        destination: Path,
        memory: int,
        check: Optional[Callable[[Path, Path], None]],
    ) -> "tuple[float, bool]":
        os.sync()
        wait_until_quiet(self.patience)
        warm_memory(memory)
        foreign = ForeignTime()
        seconds = contestant.run(source, destination)
        disturbed = foreign.seconds() > _DISTURBED_SECONDS + _DISTURBED_SHARE * seconds
        if check is not None:
            check(source, destination)
        data.remove(destination)
        return seconds, disturbed


def _show(line: str) -> None:
    """On a terminal: what is being done, in a line that is written over."""
    if sys.stderr.isatty():
        print(f"\r{line:70.70}\r", end="", file=sys.stderr, flush=True)
