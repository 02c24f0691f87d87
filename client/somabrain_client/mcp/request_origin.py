"""Checks of Host and Origin against DNS rebinding: no web page may reach a server on loopback. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = ("127.0.0.1:*", "localhost:*", "[::1]:*")
LOOPBACK_ORIGINS: Final = tuple(f"http://{host}" for host in LOOPBACK)


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """Accepted values of Host and Origin; `NAME:*` accepts the name with any port."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def accepts_host(self, host: str | None) -> bool:
        """Return whether a request's Host is accepted; None: it has not exactly one, which is refused."""
        return host is not None and _is_accepted(host, self.hosts)

    def accepts_origin(self, origin: str | None) -> bool:
        """Return whether a request's Origin is accepted; None: it has none, as from a program that is no browser."""
        return origin is None or _is_accepted(origin, self.origins)


def accepted_origins(
    hosts: Iterable[str], origins: Iterable[str], resource_url: str | None, *, loopback: bool
) -> RequestOrigin:
    """Return what is accepted: what the settings list, the public URL's own, and on loopback its names."""
    all_hosts, all_origins = {*LOOPBACK, *hosts}, {*origins}
    if resource_url is not None:
        parts = urlsplit(resource_url)
        all_hosts.add(parts.netloc)
        all_origins.add(f"{parts.scheme}://{parts.netloc}")
    if loopback:
        all_origins.update(LOOPBACK_ORIGINS)
    return RequestOrigin(frozenset(map(str.lower, all_hosts)), frozenset(map(str.lower, all_origins)))


def _is_accepted(value: str, accepted: frozenset[str]) -> bool:
    value = value.lower()
    name, colon, port = value.rpartition(":")
    return value in accepted or bool(colon and port.isdecimal() and f"{name}:*" in accepted)
