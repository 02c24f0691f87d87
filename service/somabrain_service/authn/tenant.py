"""Tenant of a call: always from the caller's identity, never from the request."""

from __future__ import annotations

from somabrain_service.authn.caller import caller
from somabrain_service.domain.names import TenantId, tenant_id


def caller_tenant() -> TenantId:
    """Return the tenant of the call being handled."""
    identity = caller.get()
    return tenant_id(identity.issuer, identity.tenant)
