"""Shows how far a copy is: a bar and the files in flight on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import threading
import time
from typing import Any, Dict, Iterator, Sequence, Tuple

from .. import Control, Snapshot
from . import text

#: Seconds between two lines where no terminal is.
_LINE_INTERVAL = 2.0
_REDRAWS_A_SECOND = 10
#: Files in flight that are shown at most.
_ROWS = 8


@contextlib.contextmanager
def shown(control: Control, quiet: bool) -> Iterator[None]:
    """Shows the progress of the call that is given this control, for as long as the block runs."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        with _bars(control):
            yield
    else:
        with _lines(control):
            yield


@contextlib.contextmanager
def _lines(control: Control) -> Iterator[None]:
    over = threading.Event()
    started = time.monotonic()

    def report() -> None:
        while not over.wait(_LINE_INTERVAL):
            now = control.snapshot()
            rate = now.bytes_copied / (time.monotonic() - started)
            found = (_files_done(now), now.files_found, text.size(now.bytes_copied), text.size(rate))
            print("%d of %d files, %s copied, %s/s" % found, file=sys.stderr, flush=True)

    thread = threading.Thread(target=report, name="eacopy-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _bars(control: Control) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    display = _Display(control)
    control.progress = display.update
    console = Console(stderr=True)
    live = Live(
        console=console,
        get_renderable=lambda: display.render(console),
        refresh_per_second=_REDRAWS_A_SECOND,
        transient=True,
    )
    with live:
        yield


class _Display:
    """What is drawn. The thread that copies tells of files, that of the display asks for the picture."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._started = time.monotonic()
        self._in_flight: Dict[str, Tuple[int, int]] = {}
        self._lock = threading.Lock()

    def update(self, copied: int, total: int, filename: str) -> None:
        """The progress callback."""
        with self._lock:
            if copied >= total:
                self._in_flight.pop(filename, None)
            else:
                self._in_flight[filename] = (copied, total)

    def render(self, console: Any) -> Any:
        """The picture of this moment."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        now = self._control.snapshot()
        with self._lock:
            in_flight = list(self._in_flight.items())
        seconds = max(time.monotonic() - self._started, 1e-6)
        fraction = _fraction(now, [sizes for _, sizes in in_flight])
        left = text.duration(seconds / fraction - seconds) if fraction > 0 else "?"
        copied = text.size(now.bytes_copied)
        if _files_done(now) + len(in_flight) >= now.files_found:  # before that, most sizes are not known
            copied += " of " + text.size(_bytes_found(now))

        total = Table.grid(padding=(0, 1), expand=True)
        total.add_column(no_wrap=True)
        total.add_column(ratio=1)
        total.add_column(justify="right", no_wrap=True)
        total.add_row(
            Text("%d of %d files" % (_files_done(now), now.files_found), style="bold"),
            _bar(fraction),
            Text("%s, %s/s, %s left" % (copied, text.size(now.bytes_copied / seconds), left)),
        )
        files = Table.grid(padding=(0, 1), expand=True)
        files.add_column(ratio=1, no_wrap=True)
        files.add_column(width=12)
        files.add_column(justify="right", no_wrap=True, width=22)
        room = console.width - 12 - 22 - 4
        for name, (done, size) in in_flight[:_ROWS]:
            shown = Text("  " + _tail(text.plain(name), room))
            files.add_row(shown, _bar(done / max(size, 1)), Text("%s of %s" % (text.size(done), text.size(size))))
        return Group(total, files)


def _bar(fraction: float) -> Any:
    from rich.progress_bar import ProgressBar

    # Rich's own colour for what is done looks like an alarm.
    return ProgressBar(total=1.0, completed=fraction, complete_style="green", finished_style="green")


def _tail(name: str, room: int) -> str:
    """The end of a path: its beginning is the same for all."""
    from rich.cells import cell_len

    if cell_len(name) <= room:
        return name
    while name and cell_len(name) >= room:
        name = name[1:]
    return "\u2026" + name


def _files_done(now: Snapshot) -> int:
    return now.files_copied + now.files_linked + now.files_skipped


def _bytes_found(now: Snapshot) -> int:
    return max(now.bytes_found, now.bytes_copied)


def _fraction(now: Snapshot, in_flight: Sequence[Tuple[int, int]]) -> float:
    """How much of what has been found is done: by files or by bytes, whichever promises less.

    Bytes alone would promise too much, because a file's size is known only once it is looked at.
    """
    bytes_done = now.bytes_copied + now.bytes_linked + now.bytes_skipped
    by_bytes = bytes_done / now.bytes_found if now.bytes_found else 0.0
    parts = sum(done / size for done, size in in_flight if size)
    by_files = (_files_done(now) + parts) / now.files_found if now.files_found else 0.0
    return min(by_bytes, by_files, 1.0)
