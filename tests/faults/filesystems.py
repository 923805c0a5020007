"""File systems of every kind, made in a file and mounted: tests must not depend on where the temporary directory is."""

import os
import shutil
import subprocess
import tempfile
from typing import Dict, List, Optional

import pytest

#: The kinds and what makes them; a kind without a command is mounted as it is.
MAKE: Dict[str, List[str]] = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
    "tmpfs": [],
}
#: Those that share extents between files.
CLONING = ("xfs", "btrfs")
KINDS = tuple(MAKE)


class Mounts:
    """Mounts what is asked for and takes it all down again."""

    def __init__(self) -> None:
        self._directory: Optional[str] = None
        self._shared: Dict[str, str] = {}
        self._mounted: List[str] = []
        self._working: List[str] = []

    def shared(self, kind: str) -> str:
        """A new directory on a roomy file system of this kind, which is the same for all tests until :meth:`close`."""
        if kind not in self._shared:
            self._shared[kind] = self.make(kind, 2 << 30)
        self._working.append(tempfile.mkdtemp(dir=self._shared[kind]))
        return self._working[-1]

    def clean(self) -> None:
        """Removes the directories that :meth:`shared` gave: a test that fails must not fill the disk of others."""
        for path in self._working:
            subprocess.run(["rm", "-rf", path], check=True)
        self._working = []

    def make(self, kind: str, size: int, options: str = "") -> str:
        """A new, empty file system of about `size` bytes; its root is open to everybody. Skips where that cannot be."""
        if os.geteuid() != 0:
            pytest.skip(f"mounting {kind} needs root")
        command = MAKE[kind]
        if command and not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed")
        if self._directory is None:
            self._directory = tempfile.mkdtemp(
                prefix="eacopy-mounts-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
            )
            os.chmod(self._directory, 0o755)
        point = tempfile.mkdtemp(prefix=kind + "-", dir=self._directory)
        if command:
            image = point + ".image"
            with open(image, "wb") as stream:
                stream.truncate(size)
            self._run(command + [image], f"making an image of {kind}")
            self._run(
                ["mount", "-t", kind, "-o", ",".join(filter(None, ["loop", options])), image, point], f"mounting {kind}"
            )
        else:
            self._run(
                ["mount", "-t", kind, "-o", ",".join(filter(None, [f"size={size}", options])), kind, point],
                f"mounting {kind}",
            )
        self._mounted.append(point)
        os.chmod(point, 0o777)
        return point

    def unmount(self, point: str) -> None:
        subprocess.run(["umount", "-l", point], check=True)
        self._mounted.remove(point)
        if os.path.exists(point + ".image"):
            os.unlink(point + ".image")

    def close(self) -> None:
        for point in list(reversed(self._mounted)):
            self.unmount(point)
        if self._directory is not None:
            shutil.rmtree(self._directory)

    @staticmethod
    def _run(command: List[str], what: str) -> None:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
        if done.returncode:
            pytest.skip(f"{what} is not possible here: {done.stdout.strip()}")
