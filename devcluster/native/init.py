"""First process of the cluster's namespaces: starts and supervises the components.

Started as `python3 -m devcluster.native.init ROOT BINARIES`.

It is process 1 of its PID namespace: when it ends, the kernel kills all others.
It reaps orphans (container shims leave them), and restarts a component that died
after a delay that doubles from half a second to eight.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from devcluster import shell
from devcluster.environment import inherited
from devcluster.native.components import Component, components
from devcluster.native.layout import (
    LINK_BITS,
    NODE_ADDRESS,
    NODE_LINK,
    PRIVATE_FOLDERS,
    SERVICES,
    Layout,
)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
STEADY_AFTER_S = 20.0


def isolate_mounts() -> None:
    """Share mounts among pods only, and mount a tmpfs over each folder that components hard-code."""
    shell.run(["mount", "--make-rshared", "/"])
    for folder in PRIVATE_FOLDERS:
        shell.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "somabrain", folder])


def connect() -> None:
    """Set the node's address once the host has created the veth pair; no default route is set."""
    shell.wait_until(
        lambda: NODE_LINK in {name for _, name in socket.if_nameindex()},
        what="The link to the host did not appear",
        timeout_s=30,
        every_s=0.02,
    )
    shell.run(["ip", "link", "set", "lo", "up"])
    shell.run(["ip", "address", "add", f"{NODE_ADDRESS}/{LINK_BITS}", "dev", NODE_LINK])
    shell.run(["ip", "link", "set", NODE_LINK, "up"])
    shell.run(["ip", "route", "add", SERVICES, "dev", NODE_LINK])
    for setting in ("ip_forward", "../bridge/bridge-nf-call-iptables"):
        Path("/proc/sys/net/ipv4", setting).write_text("1")


class Supervisor:
    """Restarts components that end, and reaps all other processes."""

    def __init__(self, processes: tuple[Component, ...], logs: Path) -> None:
        """Take the components to supervise, and the folder of their logs."""
        self._logs = logs
        self._running: dict[int, tuple[Component, float]] = {}
        self._due = dict.fromkeys(processes, 0.0)
        self._pauses = dict.fromkeys(processes, FIRST_PAUSE_S)

    def run(self) -> None:
        """Start due components and reap ended processes; never return."""
        while True:
            now = time.monotonic()
            for component in [each for each, due in self._due.items() if due <= now]:
                del self._due[component]
                self._running[self._start(component)] = component, now
            time.sleep(0.1)
            while ended := self._reap():
                if ended in self._running:
                    self._schedule(*self._running.pop(ended))

    def _start(self, component: Component) -> int:
        # Not subprocess.Popen: it reaps discarded processes by itself.
        with (self._logs / f"{component.name}.log").open("ab") as log, Path("/dev/null").open("rb") as devnull:
            files = [
                (os.POSIX_SPAWN_DUP2, source.fileno(), target) for target, source in enumerate((devnull, log, log))
            ]
            return os.posix_spawnp(component.argv[0], component.argv, inherited(), file_actions=files, setsid=True)

    def _schedule(self, component: Component, started: float) -> None:
        now = time.monotonic()
        if now - started > STEADY_AFTER_S:
            self._pauses[component] = FIRST_PAUSE_S
        pause = self._pauses[component]
        self._due[component] = now + pause
        self._pauses[component] = min(2 * pause, LONGEST_PAUSE_S)
        print(f"{component.name} ended after {now - started:.1f} s; restarting it in {pause} s", flush=True)

    @staticmethod
    def _reap() -> int:
        try:
            return os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return 0


def main() -> None:
    """Set up the namespaces and supervise until killed."""
    layout, binaries = Layout(Path(sys.argv[1])), Path(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    isolate_mounts()
    connect()
    Supervisor(components(layout, binaries, sys.executable), layout.logs).run()


if __name__ == "__main__":
    main()
