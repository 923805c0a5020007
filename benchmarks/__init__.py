"""Measures py_eacopy beside shutil, cp, rsync and a bare C program on the same data: ``python -m benchmarks``."""

import sys

if sys.platform != "linux":
    raise SystemExit("benchmarks: file systems in memory are made the Linux way, so this runs on Linux only")
