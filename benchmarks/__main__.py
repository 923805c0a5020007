"""The command: ``python -m benchmarks``, with the package installed."""

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import List, Optional

import py_eacopy

from . import async_overhead, machine, places, report, works
from . import floor as bare
from .measure import Result, Runner
from .works import Setting

WORKS = {**works.WORKS, **async_overhead.WORKS}


def main(arguments: Optional[List[str]] = None) -> None:
    """Measures what was asked for and prints it."""
    asked = _parser().parse_args(arguments)
    # So that file systems are unmounted whatever ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("benchmarks: terminated"))
    config = py_eacopy.Config(thread_count=asked.threads, backend=None if asked.backend == "auto" else asked.backend)
    facts = machine.describe()
    facts["py_eacopy"] = f"{py_eacopy.__version__}, {py_eacopy.backend_info(config=config).name} backend"
    facts["threads"] = str(asked.threads)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), "\n", flush=True)
    results: List[Result] = []
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(places.memory_folder())
        programs = memory / "programs"
        programs.mkdir()
        floor = bare.build(programs)
        if floor is None:
            print("SKIPPED: floor: no C compiler", file=sys.stderr)
        runner = Runner(runs=asked.runs or (3 if asked.quick else 7), patience=asked.patience)
        setting = Setting(runner=runner, config=config, floor=floor, quick=asked.quick)
        for name in asked.where:
            chosen = [work for work in asked.work if name in WORKS[work][1]]
            if not chosen:
                continue
            with places.open_place(name, memory) as place:
                if place is None:
                    continue
                for work in chosen:
                    for result in WORKS[work][0](setting, place):
                        results.append(result)
                        print(report.as_text(result), flush=True)
    print(report.summary(results))
    if asked.json:
        report.write_json(asked.json, facts, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures py_eacopy beside others.")
    parser.add_argument("--work", nargs="+", choices=list(WORKS), default=list(WORKS), help="what to measure (all)")
    parser.add_argument(
        "--where", nargs="+", choices=places.NAMES, default=list(places.NAMES), help="file systems (all)"
    )
    parser.add_argument("--runs", type=int, help="runs of each contestant (7; with --quick 3)")
    parser.add_argument("--threads", type=int, default=4, help="of py_eacopy and the floor (4)")
    parser.add_argument("--backend", choices=("auto", "native", "portable"), default="auto", help="of py_eacopy (auto)")
    parser.add_argument(
        "--patience",
        type=float,
        default=5,
        help="wait so many seconds before a run for other programs to be quiet; repeat a disturbed run (5; 0: neither)",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, 3 runs: tries the benchmark")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


if __name__ == "__main__":
    main()
