"""The table that ends a copy: what there was, and what became of it."""

from typing import List, Sequence

from .. import CopyReport
from . import text

_HEADINGS = ("", "Total", "Copied", "Linked", "Skipped", "Mismatch", "FAILED", "Extras")


def lines(report: CopyReport, dry_run: bool = False) -> List[str]:
    """The table and what else is worth telling, line by line.

    A mismatch is a file where the other side has a directory, or the reverse; extras are what was removed because the
    source does not have it. What nobody counts is left blank.
    """
    done = report.files_copied + report.files_linked + report.files_skipped
    size = report.bytes_copied + report.bytes_linked + report.bytes_skipped
    rows: List[Sequence[object]] = [
        _HEADINGS,
        ("Directories", "", report.directories_created, "", "", "", "", report.directories_removed),
        (
            "Files",
            done + len(report.errors),
            report.files_copied,
            report.files_linked,
            report.files_skipped,
            report.mismatches,
            len(report.errors),
            report.files_removed,
        ),
        (
            "Bytes",
            text.size(size),
            text.size(report.bytes_copied),
            text.size(report.bytes_linked),
            text.size(report.bytes_skipped),
            "",
            "",
            text.size(report.bytes_removed),
        ),
    ]
    if report.symlinks_copied:
        rows.append(("Symlinks", "", report.symlinks_copied, "", "", "", "", ""))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(_HEADINGS))]
    table = ["  ".join(_cell(value, width) for value, width in zip(row, widths)).rstrip() for row in rows]
    if dry_run:
        return ["Dry run: nothing was written. The table is what would be done.", *table]
    return table + _below(report)


def _cell(value: object, width: int) -> str:
    shown = str(value)
    return shown.ljust(width) if shown in ("Directories", "Files", "Bytes", "Symlinks") else shown.rjust(width)


def _below(report: CopyReport) -> List[str]:
    found = ["Time %s" % text.duration(report.seconds)]
    if report.bytes_copied and report.seconds > 0:
        found[0] += ", %s/s" % text.size(report.bytes_copied / report.seconds)
    if report.retries:
        found.append("Further tries: %d" % report.retries)
    if report.bytes_reused:
        found.append("Reused %s, written %s" % (text.size(report.bytes_reused), text.size(report.bytes_written)))
    if report.server is not None:
        wire = (text.plain(report.server), text.size(report.bytes_sent), text.size(report.bytes_received))
        found.append("Server %s; sent %s, received %s" % wire)
    found.extend("Not kept: %s" % text.plain(str(what)) for what in report.not_kept)
    return found
