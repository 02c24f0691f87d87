"""The kernel's settings and modules the node needs, and putting the settings back.

The kubelet writes some settings that have no namespace; what they were before
is kept in the cluster's folder and restored when the cluster goes.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from somabrain_local import shell
from somabrain_local.errors import CommandFailed, LocalError

SETTINGS = tuple(
    Path("/proc/sys", name)
    for name in ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
)
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def prepare(backup: Path) -> None:
    """Write the present settings to `memory` and load the modules that are not built in.

    Raises:
        LocalError: bridged packets cannot be filtered, so Services would not work.
    """
    draft = backup.with_suffix(".draft")
    draft.write_text(json.dumps({str(path): path.read_text().strip() for path in SETTINGS}))
    draft.replace(backup)
    for module in ("br_netfilter", "overlay"):
        with suppress(CommandFailed):  # it may be built in; what counts is checked below
            shell.run(["modprobe", module])
    if not BRIDGE_FILTER.exists():
        raise LocalError(
            "The kernel has no br_netfilter: install this kernel's modules, or use Docker and CLUSTER=kind."
        )


def restore(backup: Path) -> None:
    """Put the settings in `memory` back, if there are any."""
    if backup.exists():
        for path, value in json.loads(backup.read_text()).items():
            Path(path).write_text(value)
