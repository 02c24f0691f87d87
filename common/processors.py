"""The processors that this process may use: its affinity, and the limit of its control group."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_processors(cpu_max: Path = _CPU_MAX) -> int:
    """Return the number of processors, at least 1. Python counts those of the machine, also in a pod with a limit.

    Args:
        cpu_max: file of control groups version 2: quota and period in microseconds, `max` without a limit.
    """
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, min(available, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group of version 2, or no limit
        return available
