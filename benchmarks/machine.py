"""What a machine does to a measurement: other programs take its processors, and memory has to be fetched first."""

import mmap
import os
import platform
import resource
import time
from typing import Dict

_TICK = os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x00200000
_MEBIBYTE = 1 << 20


def describe() -> Dict[str, str]:
    """What a reader has to know about the machine."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def warm_memory(size: int) -> None:
    """Takes `size` bytes of memory and gives them back.

    A virtual machine hands memory that is free for some seconds back to its host, and gets it again page by page when
    it is touched. That can cost several times what the copy costs, and would hit whoever comes first.
    """
    with mmap.mmap(-1, max(size, _MEBIBYTE)) as memory:
        zeros = bytes(_MEBIBYTE)
        for offset in range(0, len(memory) - _MEBIBYTE + 1, _MEBIBYTE):
            memory[offset : offset + _MEBIBYTE] = zeros


class ForeignTime:
    """Processor seconds that neither this process and its children nor the kernel's own threads used since it was made.

    What the hypervisor took away counts too.
    """

    def __init__(self) -> None:
        self._start = _foreign_seconds()

    def seconds(self) -> float:
        """So far."""
        return max(0.0, _foreign_seconds() - self._start)


def wait_until_quiet(patience: float) -> None:
    """Waits until other programs use less than a tenth of one processor, at most `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        foreign = ForeignTime()
        time.sleep(0.2)
        if foreign.seconds() < 0.02 + 1.0 / _TICK:
            return


def _foreign_seconds() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, interrupt, soft_interrupt, steal = map(int, file.readline().split()[1:9])
    busy = user + nice + system + interrupt + soft_interrupt + steal
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (busy - _kernel_thread_ticks()) / _TICK - own


def _kernel_thread_ticks() -> int:
    ticks = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[6]) & _KERNEL_THREAD:
            ticks += int(fields[11]) + int(fields[12])
    return ticks
