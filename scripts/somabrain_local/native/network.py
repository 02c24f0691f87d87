"""The host's end of the cable to the node. Nothing else of the host's network is touched."""

from __future__ import annotations

import socket
from contextlib import suppress

from somabrain_local import shell
from somabrain_local.errors import CommandFailed
from somabrain_local.native.layout import HOST_ADDRESS, HOST_LINK, LINK_BITS, NODE_LINK


def connect(pid: int) -> None:
    """Lay a cable between the host and the network namespace of process `pid`."""
    shell.run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", NODE_LINK, "netns", str(pid)])
    shell.run(["ip", "address", "add", f"{HOST_ADDRESS}/{LINK_BITS}", "dev", HOST_LINK])
    shell.run(["ip", "link", "set", HOST_LINK, "up"])


def disconnect() -> None:
    """Remove the cable, if it is there."""
    if is_connected():
        with suppress(CommandFailed):  # it also goes by itself, when the namespace does
            shell.run(["ip", "link", "delete", HOST_LINK])
    shell.wait_until(lambda: not is_connected(), what=f"The link {HOST_LINK} did not go away", timeout_s=10)


def is_connected() -> bool:
    """Return whether the host's end is there."""
    return HOST_LINK in {name for _, name in socket.if_nameindex()}
