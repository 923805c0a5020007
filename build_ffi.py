"""Describes the binding py_eacopy._native to cffi; the declarations are read from the headers of native/.

`python build_ffi.py OUTPUT.c` writes the C source of the binding. setup.py does that and has CMake compile it.
"""

import sys
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent / "native"
#: Each may use what those before it declare.
HEADERS = ("eacopy_c.h", "eacopy_net.h", "eacopy_sync.h")


def declarations(header: Path) -> str:
    """The part of a header that is plain declarations."""
    text = header.read_text(encoding="utf-8")
    begin, end = "/* cdef: begin */", "/* cdef: end */"
    if begin not in text or end not in text:
        raise SystemExit(f"{header} must have the lines {begin!r} and {end!r} around its declarations")
    return text.split(begin, 1)[1].split(end, 1)[0]


def builder() -> FFI:
    ffi = FFI()
    for header in HEADERS:
        ffi.cdef(declarations(NATIVE / header))
    ffi.set_source("py_eacopy._native", "\n".join(f'#include "{header}"' for header in HEADERS))
    return ffi


if __name__ == "__main__":
    builder().emit_c_code(sys.argv[1])
