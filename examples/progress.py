"""Progress per file, totals for a bar, and stopping from another thread."""

import tempfile
import threading
from pathlib import Path

import py_eacopy

with tempfile.TemporaryDirectory() as folder:
    source = Path(folder, "source")
    source.mkdir()
    for number in range(5):
        (source / f"part{number}.bin").write_bytes(bytes(2_000_000))

    # Called in this thread: first (0, total), last (total, total).
    def show(copied: int, total: int, filename: str) -> None:
        print(f"{Path(filename).name}: {copied} of {total}")

    py_eacopy.copytree(source, Path(folder, "copy"), config=py_eacopy.Config(progress_callback=show))

    # A control tells the totals and can stop the copy; both from any thread.
    control = py_eacopy.Control()
    timer = threading.Timer(60, control.cancel)
    timer.start()
    py_eacopy.copytree(source, Path(folder, "again"), control=control)
    timer.cancel()
    print(control.snapshot())

    # An exception out of the callback stops the copy, and comes out of the call.
    def refuse(copied: int, total: int, filename: str) -> None:
        raise KeyError("enough")

    try:
        py_eacopy.copytree(source, Path(folder, "never"), config=py_eacopy.Config(progress_callback=refuse))
    except KeyError as error:
        print("stopped by", repr(error))
