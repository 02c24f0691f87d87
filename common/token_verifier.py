"""How a token is found to be true: what both ways of finding out have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a token that is true, for us, and now."""

    claims: Mapping[str, object]
    fetched_at: float
    """When what this rests on was asked for, by the monotonic clock; from then on it is believed for a while."""


class TokenVerifier(Protocol):
    """Whoever finds out."""

    async def verify(self, token: str) -> VerifiedToken:
        """Return what `token` claims.

        Raises:
            Unauthenticated: it is not true, not for us, or not now; the cause is for metrics only.
            Unavailable: it cannot be found out now.
        """
        ...
