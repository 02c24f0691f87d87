"""Host's end of the veth pair to the node. Nothing else in the host's network is changed."""

from __future__ import annotations

import socket
from contextlib import suppress

from devcluster import shell
from devcluster.errors import CommandFailed
from devcluster.native.layout import HOST_ADDRESS, HOST_LINK, LINK_BITS, NODE_LINK


def connect(pid: int) -> None:
    """Create a veth pair between the host and the network namespace of process `pid`."""
    shell.run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", NODE_LINK, "netns", str(pid)])
    shell.run(["ip", "address", "add", f"{HOST_ADDRESS}/{LINK_BITS}", "dev", HOST_LINK])
    shell.run(["ip", "link", "set", HOST_LINK, "up"])


def disconnect() -> None:
    """Remove the veth pair, if it exists."""
    if is_connected():
        with suppress(CommandFailed):  # it is also removed together with the namespace
            shell.run(["ip", "link", "delete", HOST_LINK])
    shell.wait_until(lambda: not is_connected(), what=f"The link {HOST_LINK} was not removed", timeout_s=10)


def is_connected() -> bool:
    """Return whether the host's end exists."""
    return HOST_LINK in {name for _, name in socket.if_nameindex()}
