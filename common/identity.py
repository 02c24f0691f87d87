"""A caller that is known, and how the claims of a token name one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from common import json_pointer
from common.config.settings import AuthSettings
from common.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that is known."""

    subject: str
    tenant: str
    issuer: str
    scopes: frozenset[str] | None
    """None: no scope claim is configured, so none is asked for."""
    expires_at: float
    """Seconds since the epoch; infinite when the identity rests on no token."""


class ClaimReader:
    """Reads identities where the settings say that they stand."""

    def __init__(self, auth: AuthSettings) -> None:
        """Parse the pointers.

        Raises:
            ConfigurationError: one is no JSON Pointer.
        """
        self._tenant = json_pointer.parse(auth.tenant_claim, "auth.tenant_claim")
        self._scope = None if auth.scope_claim is None else json_pointer.parse(auth.scope_claim, "auth.scope_claim")

    def read(self, claims: Mapping[str, object]) -> Identity:
        """Return whom the claims name. That they are true, for us and for now, is known already.

        Raises:
            Unauthenticated: they name nobody.
        """
        tenant = json_pointer.resolve(claims, self._tenant)
        if not isinstance(tenant, str) or not tenant:
            raise Unauthenticated("tenant_missing")
        expires_at, subject = claims.get("exp"), claims.get("sub")
        if not isinstance(subject, str) or not isinstance(expires_at, int | float) or not math.isfinite(expires_at):
            raise Unauthenticated("malformed")
        scopes = None if self._scope is None else _scopes(json_pointer.resolve(claims, self._scope))
        return Identity(subject, tenant, str(claims.get("iss")), scopes, float(expires_at))


def _scopes(claim: object) -> frozenset[str]:
    """Return the scopes of a claim: a list, or a space-separated string (RFC 8693, 4.2); none of anything else."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(item for item in claim if isinstance(item, str))
    return frozenset()
