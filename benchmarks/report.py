"""Prints results as Markdown tables, and writes them as JSON."""

import json
from pathlib import Path
from typing import Dict, List, Optional

import attr

from .measure import Result, Target


@attr.s(frozen=True, slots=True, auto_attribs=True)
class Verdict:
    """What became of a target.

    Attributes:
        promised: the target in words.
        measured: the same figure as it came out.
        reached: whether it is good enough.
    """

    promised: str
    measured: str
    reached: bool

    def __str__(self) -> str:
        return f"{'reached' if self.reached else '**missed**'}: {self.measured} (promised: {self.promised})"


def verdicts(result: Result) -> List[Verdict]:
    """About each target whose contestant to compare with was there."""
    return [verdict for verdict in (_judge(result, target) for target in result.targets) if verdict is not None]


def _judge(result: Result, target: Target) -> Optional[Verdict]:
    mine = result.figures[0].median
    if target.kind == "below":
        unit = result.unit
        return Verdict(f"at most {target.value:g} {unit}", f"{mine:.1f} {unit}", mine <= target.value)
    other = next((figure.median for figure in result.figures if figure.name == target.other), None)
    if other is None:
        return None
    if target.kind == "times":
        reached = other / mine >= target.value
        return Verdict(f"{target.value:g}x as fast as {target.other}", f"{other / mine:.2f}x", reached)
    reached = mine / other <= target.value
    return Verdict(f"at most {target.value:g}x the time of {target.other}", f"{mine / other:.2f}x", reached)


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
    lines += ["", *(f"- {verdict}" for verdict in verdicts(result)), ""]
    return "\n".join(lines)


def summary(results: List[Result]) -> str:
    """All targets in one Markdown table."""
    lines = ["### Promised and measured", "", "| work | file system | promised | measured | |", "|---|---|---|---|---|"]
    for result in results:
        for verdict in verdicts(result):
            end = "reached" if verdict.reached else "**missed**"
            lines.append(f"| {result.work} | {result.place} | {verdict.promised} | {verdict.measured} | {end} |")
    return "\n".join([*lines, ""])


def write_json(path: Path, machine: Dict[str, str], results: List[Result]) -> None:
    """Everything that was measured, run by run."""
    content = {
        "machine": machine,
        "results": [
            {**attr.asdict(result), "verdicts": [attr.asdict(verdict) for verdict in verdicts(result)]}
            for result in results
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
