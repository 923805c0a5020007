"""Prints results as Markdown tables, and writes them as JSON."""

import json
from pathlib import Path
from typing import Dict, List, Optional

import attr

from .measure import Figures, Result, Target


def verdict(result: Result, target: Target) -> Optional[str]:
    """A target in words, with what was reached; None when the contestant to compare with was not there."""
    mine = result.figures[0].median
    if target.kind == "below":
        return _words(mine <= target.value, f"{mine:.1f} {result.unit}, must be at most {target.value:g} {result.unit}")
    other = _find(result, target.other)
    if other is None:
        return None
    if target.kind == "times":
        times = other.median / mine
        text = f"{times:.2f}x as fast as {target.other}, must be {target.value:g}x"
        return _words(times >= target.value, text)
    ratio = mine / other.median
    return _words(ratio <= target.value, f"{ratio:.2f}x the time of {target.other}, must be at most {target.value:g}x")


def as_text(result: Result) -> str:
    """The result as a Markdown section."""
    lines = [f"### {result.work}" + (f" on {result.place}" if result.place else ""), "", f"{result.what}.", ""]
    compare = len(result.figures) > 1
    lines.append(f"| | median {result.unit} | best | runs |" + (" median against the first |" if compare else ""))
    lines.append("|---|---|---|---|" + ("---|" if compare else ""))
    for figure in result.figures:
        runs = str(len(figure.values)) + (f" ({figure.disturbed} disturbed)" if figure.disturbed else "")
        line = f"| {figure.name} | {figure.median:.1f} | {min(figure.values):.1f} | {runs} |"
        lines.append(line + (f" {figure.median / result.figures[0].median:.2f} |" if compare else ""))
    verdicts = [verdict(result, target) for target in result.targets]
    lines += ["", *(f"- {line}" for line in verdicts if line is not None), ""]
    return "\n".join(lines)


def write_json(path: Path, machine: Dict[str, str], results: List[Result]) -> None:
    """Everything that was measured, run by run."""
    content = {
        "machine": machine,
        "results": [
            {**attr.asdict(result), "verdicts": [verdict(result, target) for target in result.targets]}
            for result in results
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _find(result: Result, name: str) -> Optional[Figures]:
    return next((figure for figure in result.figures if figure.name == name), None)


def _words(reached: bool, text: str) -> str:
    return f"{'reached' if reached else '**missed**'}: {text}"
