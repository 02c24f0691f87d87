"""Kernel modules that the node needs, and backup and restore of kernel settings.

The kubelet writes some settings that are not namespaced; their former values are
saved in the cluster's folder and restored when the cluster is removed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from devcluster import shell
from devcluster.errors import CommandFailed, LocalError

SETTINGS = tuple(
    Path("/proc/sys", name)
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
)
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def prepare(backup: Path) -> None:
    """Save the current settings to `backup` and load the modules that are not built in.

    Raises:
        LocalError: bridged packets cannot be filtered, so Services would not work.
    """
    draft = backup.with_suffix(".draft")
    draft.write_text(json.dumps({str(path): path.read_text().strip() for path in SETTINGS}))
    draft.replace(backup)
    for module in ("br_netfilter", "overlay"):
        with suppress(CommandFailed):  # it may be built in; its effect is checked below
            shell.run(["modprobe", module])
    if not BRIDGE_FILTER.exists():
        raise LocalError(
            "The kernel has no br_netfilter: install this kernel's modules, or use Docker and CLUSTER=kind."
        )


def restore(backup: Path) -> None:
    """Restore the settings in `backup`, if the file exists."""
    if backup.exists():
        for path, value in json.loads(backup.read_text()).items():
            Path(path).write_text(value)
