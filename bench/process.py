"""What a process uses, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor time so far, memory now and at most."""

    cpu_s: float
    now_mib: float
    peak_mib: float


def stat(process: int | str) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)): the second is a name that may hold spaces."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def cpu_s(process: int) -> float:
    """User and system time of a process so far, its threads included, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process << 3) | 2)


def usage(process: int) -> Usage:
    """Return what a process uses (resident memory, as VmRSS and VmHWM say)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if " kB" in value}
    return Usage(cpu_s(process), kib["VmRSS"] / 1024, kib["VmHWM"] / 1024)
