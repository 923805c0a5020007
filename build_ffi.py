"""Describes the binding py_eacopy._native to cffi; the declarations are read from native/eacopy_c.h.

`python build_ffi.py OUTPUT.c` writes the C source of the binding. setup.py does that and has CMake compile it.
"""

import sys
from pathlib import Path

from cffi import FFI

HEADER = Path(__file__).resolve().parent / "native" / "eacopy_c.h"


def declarations() -> str:
    """The part of the header that is plain declarations."""
    text = HEADER.read_text(encoding="utf-8")
    begin, end = "/* cdef: begin */", "/* cdef: end */"
    if begin not in text or end not in text:
        raise SystemExit(f"{HEADER} must have the lines {begin!r} and {end!r} around its declarations")
    return text.split(begin, 1)[1].split(end, 1)[0]


def builder() -> FFI:
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source("py_eacopy._native", '#include "eacopy_c.h"')
    return ffi


if __name__ == "__main__":
    builder().emit_c_code(sys.argv[1])
