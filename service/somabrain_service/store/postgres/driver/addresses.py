"""The addresses of a DSN, in the order in which they are tried.

libpq tries the addresses of several hosts, or of one name, one after the other, and waits for each until the timeout of
a connection. So one that never answers, as of a node that died, would delay every connection that the others accept at
once. Here an address that was silent is tried after the others for a while.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Iterable
from itertools import zip_longest

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SILENT_S = 30.0
"""Seconds for which an address that did not answer is tried after the others."""

_NAMES = ("host", "port", "hostaddr")
Address = tuple[str, str, str]
"""Host, port and IP address, as libpq's parameters host, port and hostaddr; empty: libpq's default."""


class SilentAddresses:
    """The addresses that did not answer within `SILENT_S`."""

    def __init__(self) -> None:
        self._silent_at: dict[Address, float] = {}

    def add(self, address: Address) -> None:
        """Remember an address that did not answer."""
        self._silent_at[address] = time.monotonic()

    def remove(self, address: Address) -> None:
        """Forget an address, which answered."""
        self._silent_at.pop(address, None)

    def last(self, addresses: Iterable[Address]) -> list[Address]:
        """Return the addresses, those that did not answer at the end, the one that was tried last behind all others."""
        now = time.monotonic()
        self._silent_at = {each: at for each, at in self._silent_at.items() if at + SILENT_S > now}
        return sorted(addresses, key=lambda each: self._silent_at.get(each, 0.0))


async def resolve(dsn: str) -> list[Address]:
    """Return every address of a DSN, in libpq's order; at random if the DSN asks for it (load_balance_hosts).

    Raises:
        psycopg.OperationalError: no name can be resolved.
    """
    addresses: list[Address] = []
    failure = "no host"
    for host, port, hostaddr in hosts(dsn):
        if hostaddr or not host or host.startswith(("/", "@")):  # a socket's folder, or an abstract socket
            addresses.append((host, port, hostaddr))
            continue
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as exc:
            failure = f"{host} cannot be resolved: {exc.strerror or exc}"
            continue
        addresses += dict.fromkeys((host, port, str(info[4][0])) for info in found)
    if not addresses:
        raise psycopg.OperationalError(failure)
    at_random = conninfo_to_dict(dsn).get("load_balance_hosts") == "random"
    return random.sample(addresses, len(addresses)) if at_random else addresses


def conninfo(dsn: str, address: Address) -> str:
    """Return the connection string that leads to one address of a DSN."""
    parts = {**conninfo_to_dict(dsn), **dict(zip(_NAMES, address, strict=True))}
    return make_conninfo("", **{name: value for name, value in parts.items() if value != ""})


def hosts(dsn: str) -> list[Address]:
    """Return host, port and hostaddr of each host that a DSN names, in its order; one port or none counts for all."""
    parts = conninfo_to_dict(dsn)
    names, ports, hostaddrs = (str(parts.get(name) or "").split(",") for name in _NAMES)
    if len(ports) == 1:
        ports *= max(len(names), len(hostaddrs))
    return list(zip_longest(names, ports, hostaddrs, fillvalue=""))
