"""Memory of processes: proportional set size, so that a page of several processes is counted once in their sum."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.process import stat

PARENT = 1
"""Field of the parent's id in what `stat` returns."""


def pss_mib(processes: Iterable[int]) -> float:
    """Return the proportional set size of processes in MiB (proc(5), smaps_rollup)."""
    return sum(_pss_kib(process) for process in processes) / 1024


def postgres_processes(data: Path) -> list[int]:
    """Return the postmaster of a data directory and its children."""
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    processes = [postmaster]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(stat(entry.name)[PARENT])
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
            if parent == postmaster:
                processes.append(int(entry.name))
    return processes


def _pss_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
