"""A free port chosen for a server is reserved for the process that chose it, before anything listens on it."""

from __future__ import annotations

import subprocess
import sys

from devcluster.loopback.server_process import free_ports

CHOOSE = "from devcluster.loopback.server_process import free_ports; print(*free_ports({count}), flush=True)"


def test_chosen_port_is_unique_across_calls_and_processes() -> None:
    """Neither this process nor another gets a port again while the process that chose it runs."""
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSE.format(count=1000) + "; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        taken = set(map(int, other.stdout.readline().split()))
        mine = {port for _ in range(100) for port in free_ports(10)}
        other.communicate("\n", timeout=10)
    assert (len(taken), len(mine)) == (1000, 1000)
    assert not taken & mine


def test_ports_are_released_when_their_process_exits() -> None:
    """Successive processes can choose more ports in total than there are."""
    for _ in range(6):
        choose = [sys.executable, "-c", CHOOSE.format(count=3000)]
        ports = subprocess.run(choose, capture_output=True, text=True, check=True).stdout
        assert len(ports.split()) == 3000
