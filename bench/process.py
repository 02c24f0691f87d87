"""Resource usage of processes, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor time so far, current and peak resident memory."""

    cpu_s: float
    now_mib: float
    peak_mib: float


def stat(process: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (proc(5)); the second is a name that may contain spaces."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def cpu_s(process: int) -> float:
    """Return the processor time of a process and its threads so far in seconds, to the ns (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process << 3) | 2)


def usage(process: int) -> Usage:
    """Return the usage of a process (resident memory from VmRSS and VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if " kB" in value}
    return Usage(cpu_s(process), kib["VmRSS"] / 1024, kib["VmHWM"] / 1024)
