"""What a file system cannot remember of a file, so that its absence is no difference."""

import os
import sys
from typing import Dict, NamedTuple


class Traits(NamedTuple):
    """Times that differ by less than `granularity`, in nanoseconds, are the same. `modes`: files have permissions."""

    granularity: int
    modes: bool


_USUAL = Traits(1, not sys.platform.startswith("win"))
_TRAITS = {
    "vfat": Traits(2_000_000_000, False),
    "msdos": Traits(2_000_000_000, False),
    "exfat": Traits(2_000_000_000, False),  # 10 ms, but other systems write 2 s
    "hfs": Traits(1_000_000_000, True),
    "hfsplus": Traits(1_000_000_000, True),
    "ext2": Traits(1_000_000_000, True),
    "ext3": Traits(1_000_000_000, True),
    "minix": Traits(1_000_000_000, True),
    "udf": Traits(1_000, True),
    "ntfs": Traits(100, False),
    "ntfs3": Traits(100, False),
    "fuseblk": Traits(100, False),
    "cifs": Traits(100, False),
    "smb3": Traits(100, False),
}


class FileSystems:
    """The traits of devices; looked up once."""

    def __init__(self) -> None:
        self._types = _types_of_devices()

    def traits(self, source: int, target: int) -> Traits:
        """What a source on one device and a copy on another can have in common."""
        a = _TRAITS.get(self._types.get(source, ""), _USUAL)
        b = _TRAITS.get(self._types.get(target, ""), _USUAL)
        return Traits(max(a.granularity, b.granularity), a.modes and b.modes)


def _types_of_devices() -> Dict[int, str]:
    types: Dict[int, str] = {}
    if sys.platform != "linux":
        return types
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            for line in file:
                before, _, after = line.partition(b" - ")
                major, _, minor = before.split()[2].partition(b":")
                types[os.makedev(int(major), int(minor))] = os.fsdecode(after.split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return types
