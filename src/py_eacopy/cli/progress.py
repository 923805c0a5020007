"""Shows how far a copy is: a bar and the files in flight on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import threading
import time
from typing import Any, Dict, Iterator, Tuple

from .. import Control
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
            found = (now.files_copied, now.files_found, text.size(now.bytes_copied), text.size(now.bytes_found))
            print("%d of %d files, %s of %s, %s/s" % (*found, text.size(rate)), file=sys.stderr, flush=True)

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
    live = Live(console=console, get_renderable=display.render, refresh_per_second=_REDRAWS_A_SECOND, transient=True)
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

    def render(self) -> Any:
        """The picture of this moment."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self._control.snapshot()
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = now.bytes_copied / seconds
        left = text.duration((now.bytes_found - now.bytes_copied) / rate) if rate > 0 else "?"
        with self._lock:
            rows = list(self._in_flight.items())[:_ROWS]

        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=24)
        table.add_column(justify="right", no_wrap=True)
        table.add_row(
            Text("%d of %d files" % (now.files_copied, now.files_found), style="bold"),
            ProgressBar(total=max(now.bytes_found, 1), completed=now.bytes_copied),
            Text(
                "%s of %s, %s/s, %s left"
                % (text.size(now.bytes_copied), text.size(now.bytes_found), text.size(rate), left)
            ),
        )
        for name, (copied, total) in rows:
            table.add_row(
                Text("  " + text.plain(name)),
                ProgressBar(total=max(total, 1), completed=copied),
                Text("%s of %s" % (text.size(copied), text.size(total))),
            )
        return table
