"""The first process of the cluster's namespaces: starts the components and keeps them running.

Started as `python3 -m somabrain_local.native.init ROOT BINARIES`.

It is process 1 in there: when it ends, the kernel kills all the others. It
reaps orphans (container shims leave them), and starts a component that died
again after a pause that doubles from half a second to eight.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from somabrain_local import shell
from somabrain_local.environment import inherited
from somabrain_local.native.components import Component, components
from somabrain_local.native.layout import (
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
    """Share mounts among pods only, and put memory in place of the folders that components hard-code."""
    shell.run(["mount", "--make-rshared", "/"])
    for folder in PRIVATE_FOLDERS:
        shell.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "somabrain", folder])


def connect() -> None:
    """Give the node its address once the host has put the cable in; there is no default route."""
    shell.wait_until(
        lambda: NODE_LINK in {name for _, name in socket.if_nameindex()},
        what="The link to the host did not appear", timeout_s=30, every_s=0.02,
    )  # fmt: skip
    shell.run(["ip", "link", "set", "lo", "up"])
    shell.run(["ip", "address", "add", f"{NODE_ADDRESS}/{LINK_BITS}", "dev", NODE_LINK])
    shell.run(["ip", "link", "set", NODE_LINK, "up"])
    shell.run(["ip", "route", "add", SERVICES, "dev", NODE_LINK])
    for setting in ("ip_forward", "../bridge/bridge-nf-call-iptables"):
        Path("/proc/sys/net/ipv4", setting).write_text("1")


class Supervisor:
    """Keeps components running and reaps everything else."""

    def __init__(self, processes: tuple[Component, ...], logs: Path) -> None:
        """Take the components to keep running, and the folder of their logs."""
        self._logs = logs
        self._running: dict[int, tuple[Component, float]] = {}
        self._due = dict.fromkeys(processes, 0.0)
        self._pauses = dict.fromkeys(processes, FIRST_PAUSE_S)

    def run(self) -> None:
        """Start what is due, reap what has ended; never returns."""
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
        # Not subprocess.Popen: it reaps behind our back what it forgot.
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
        print(f"{component.name} ended after {now - started:.1f} s; starting it again in {pause} s", flush=True)

    @staticmethod
    def _reap() -> int:
        try:
            return os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return 0


def main() -> None:
    """Set the namespaces up and supervise for ever."""
    layout, binaries = Layout(Path(sys.argv[1])), Path(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    isolate_mounts()
    connect()
    Supervisor(components(layout, binaries, sys.executable), layout.logs).run()


if __name__ == "__main__":
    main()
