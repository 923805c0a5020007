"""The functions of shutil, under the same names."""

import tempfile
from pathlib import Path

import py_eacopy

with tempfile.TemporaryDirectory() as folder:
    here = Path(folder)
    (here / "photos" / "2026").mkdir(parents=True)
    (here / "photos" / "2026" / "sea.jpg").write_bytes(b"blue" * 1000)
    (here / "photos" / "notes.tmp").write_text("not needed")

    print("backend:", py_eacopy.backend_info().name)
    print("one file:", py_eacopy.copy2(here / "photos" / "2026" / "sea.jpg", here))

    ignore = py_eacopy.ignore_patterns("*.tmp")
    print("a tree:", py_eacopy.copytree(here / "photos", here / "backup", ignore=ignore))
    print("what is in it:", sorted(str(path.relative_to(here)) for path in (here / "backup").rglob("*")))

    # Written beside the old file and renamed over it: a reader sees one or the other.
    careful = py_eacopy.Config(atomic=True, fsync=True, verify=True)
    py_eacopy.copy2(here / "sea.jpg", here / "backup" / "2026" / "sea.jpg", config=careful)

    try:
        py_eacopy.copy(here / "missing", here / "backup")
    except FileNotFoundError as error:  # an EACopyError too
        print("as expected:", error)
