"""Control group of the cluster: limits its pods, and contains every process it started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from devcluster import shell
from devcluster.native.layout import CGROUP


def roots(mounts: str) -> list[Path]:
    """Return the cluster's folder in each hierarchy, from the text of /proc/mounts."""
    rows = [line.split() for line in mounts.splitlines()]
    return [Path(row[1]) / CGROUP for row in rows if row[2] in ("cgroup", "cgroup2")]


def create() -> Path:
    """Create the group and return the cgroup.procs file by which a process joins its `system` subgroup."""
    folders = _roots()
    for folder in folders:
        folder.mkdir(exist_ok=True)
        offered = folder.parent / "cgroup.controllers"  # cgroup v2 delegates controllers level by level
        if enabled := " ".join(f"+{name}" for name in offered.read_text().split()) if offered.exists() else "":
            for level in (folder.parent, folder):
                (level / "cgroup.subtree_control").write_text(enabled)
    # One hierarchy is enough to find processes; "pids" needs no settings before a process may join.
    chosen = next((folder for folder in folders if folder.parent.name == "pids"), folders[0]) / "system"
    chosen.mkdir(exist_ok=True)
    return chosen / "cgroup.procs"


def members() -> set[int]:
    """Return the ids of all processes in the group."""
    pids: set[int] = set()
    for folder in _roots():
        for file in folder.rglob("cgroup.procs"):
            with suppress(OSError):  # it may be removed meanwhile
                pids.update(map(int, file.read_text().split()))
    return pids


def kill() -> None:
    """Kill every process in the group, and return when all are gone.

    Raises:
        Timeout: a process cannot be killed.
    """

    def none_left() -> bool:
        for pid in (pids := members()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    shell.wait_until(none_left, what="The cluster's processes did not end", timeout_s=30, every_s=0.05)


def remove() -> None:
    """Remove the group, which must be empty.

    Raises:
        Timeout: the kernel still uses a part of it.
    """

    def removed() -> bool:
        for root in _roots():
            for folder in [*sorted(root.rglob("*/"), reverse=True), root]:
                with suppress(OSError):  # busy for a moment after its last process
                    folder.rmdir()
        return not remaining()

    shell.wait_until(removed, what="The cluster's control groups could not be removed", timeout_s=10, every_s=0.05)


def remaining() -> list[Path]:
    """Return the folders of the group that exist."""
    return [folder for folder in _roots() if folder.exists()]


def _roots() -> list[Path]:
    return roots(Path("/proc/mounts").read_text())
