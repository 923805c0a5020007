"""EACopy: settings of its own, with the functions as methods."""

import tempfile
from pathlib import Path

import py_eacopy

with tempfile.TemporaryDirectory() as folder:
    source = Path(folder, "assets")
    source.mkdir()
    for number in range(20):
        (source / f"texture{number}.dds").write_bytes(bytes(number * 1000))

    with py_eacopy.EACopy(thread_count=8, atomic=True) as eac:
        eac.copytree(source, Path(folder, "share"))
        eac.copytree(source, Path(folder, "share"), dirs_exist_ok=True)  # over the first one
        print("copied with", eac)

    # The global configuration is another one.
    print("threads elsewhere:", py_eacopy.config.thread_count)

    try:
        eac.copytree(source, Path(folder, "again"))
    except ValueError as error:
        print("as expected:", error)
