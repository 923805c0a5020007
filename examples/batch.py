"""Many copies as one job, from pairs that are made while the copying goes on."""

import tempfile
from pathlib import Path
from typing import Iterator, Tuple

import py_eacopy

with tempfile.TemporaryDirectory() as folder:
    renders, share = Path(folder, "renders"), Path(folder, "share")
    renders.mkdir()
    share.mkdir()
    for frame in range(200):
        (renders / f"frame{frame:04}.exr").write_bytes(bytes(4096))

    def finished_frames() -> Iterator[Tuple[Path, Path]]:
        for path in sorted(renders.iterdir()):
            yield path, share / path.name

    report = py_eacopy.batch_copy2(finished_frames())
    print(
        f"{report.files_copied} files, {report.bytes_copied} bytes in {report.seconds:.3f} s by {dict(report.methods)}"
    )

    # What fails is in the report when failures are to be ignored; otherwise it is raised.
    pairs = [(renders / "frame0000.exr", share / "a.exr"), (renders / "frame9999.exr", share / "b.exr")]
    report = py_eacopy.batch_copy2(pairs, config=py_eacopy.Config(error_strategy="ignore", log_level="CRITICAL"))
    for error in report.errors:
        print("failed:", error.kind.name, error.filename)

    try:
        py_eacopy.batch_copy2([(renders / "frame0000.exr", share / "c"), (renders / "frame0001.exr", share / "c")])
    except ValueError as error:
        print("as expected:", error)
