"""The identity of an authenticated caller, and the reader that takes it from a token's claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from common.auth import claims
from common.config.settings import AuthSettings
from common.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller."""

    subject: str
    tenant: str
    issuer: str
    scopes: frozenset[str] | None
    """Scopes of the token. None: no scope claim is configured, so scopes are not checked."""
    expires_at: float
    """Unix time in seconds; infinite when the identity does not come from a token."""


class ClaimReader:
    """Reads identities from the claims that the settings name."""

    def __init__(self, auth: AuthSettings) -> None:
        """Parse the pointers.

        Raises:
            ConfigurationError: one is not a JSON Pointer.
        """
        self._tenant = claims.parse(auth.tenant_claim, "auth.tenant_claim")
        self._scope = None if auth.scope_claim is None else claims.parse(auth.scope_claim, "auth.scope_claim")

    def read(self, payload: Mapping[str, object]) -> Identity:
        """Return the identity in the claims of an already verified token.

        Raises:
            Unauthenticated: tenant, subject or expiry is missing or malformed.
        """
        tenant = claims.resolve(payload, self._tenant)
        if not isinstance(tenant, str) or not tenant:
            raise Unauthenticated("tenant_missing")
        expires_at, subject = numeric_date(payload.get("exp")), payload.get("sub")
        if not isinstance(subject, str) or expires_at is None:
            raise Unauthenticated("malformed")
        scopes = None if self._scope is None else scopes_of(claims.resolve(payload, self._scope))
        return Identity(subject, tenant, str(payload.get("iss")), scopes, expires_at)


def numeric_date(claim: object) -> float | None:
    """Return the Unix time of a claim (RFC 7519, 2: NumericDate); None: it is not a finite number."""
    if not isinstance(claim, int | float):
        return None
    try:
        return float(claim) if math.isfinite(claim) else None
    except OverflowError:  # JSON has integers of any length
        return None


def scopes_of(claim: object) -> frozenset[str]:
    """Return the scopes of a claim: a list, or a space-separated string (RFC 8693, 4.2); empty for any other type."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(item for item in claim if isinstance(item, str))
    return frozenset()
