"""Token verifiers: local signature check or RFC 7662 introspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from common.health import HealthCheck

PROBE_INTERVAL_S = 10.0
"""Seconds between probes of the server that tokens are verified with."""
NOT_PROBED = HealthCheck(False, "The token issuer has not been queried yet.")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Claims of a bearer token that is valid now, for this audience."""

    claims: Mapping[str, object]
    fetched_at: float
    """Monotonic time, in seconds, at which the keys or the introspection were requested: caching counts from it."""


class TokenVerifier(Protocol):
    """Verifies bearer tokens."""

    async def verify(self, token: str) -> VerifiedToken:
        """Return the claims of `token`.

        Raises:
            Unauthenticated: it is invalid, for another audience, or not valid now; the cause is for metrics only.
            Unavailable: it cannot be verified now.
        """
        ...

    def last_check(self) -> HealthCheck:
        """Return the last health check of the server that tokens are verified with, without I/O."""
        ...

    async def probe(self) -> None:
        """Query that server now, unless it answered within `PROBE_INTERVAL_S`, and update the health check."""
        ...
