"""Authentication of callers, and authorization of their calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from common.config.groups.base import Group, Seconds


class IntrospectionSettings(Group):
    """Token introspection at a central identity service (RFC 7662)."""

    address: Annotated[str, Field(pattern="^https?://[^/]")] = "http://auth.soma-infra.svc.cluster.local:8080"
    """Base URL of the identity service; the default is its address in soma-infra. Bearer tokens and `client_secret` are
    sent there: use https unless the network encrypts."""
    path: Annotated[str, Field(pattern="^/")] = "/realms/somabrain/protocol/openid-connect/token/introspect"
    """Path of the introspection endpoint; the default is Keycloak's for a realm `somabrain`."""
    client_id: str | None = None
    """Client id with which the service authenticates there. Required with `auth.mode=introspection`."""
    client_secret: SecretStr | None = None
    """Secret of `client_id`. Required with `auth.mode=introspection`."""
    ca_file: Path | None = None
    """PEM authorities of `address`'s certificate, read again when the file changes. None: the system's."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 2.0
    """Maximum seconds per request; after that the call fails with UNAVAILABLE, which clients retry."""


class AuthSettings(Group):
    """Authentication of callers."""

    mode: Literal["jwt", "introspection", "none"] = "jwt"
    """`jwt`: signed tokens, verified with the issuer's keys. `introspection`: tokens verified by the identity service,
    which knows revoked ones. `none`: every caller is the tenant `anonymous_tenant`; only on loopback."""
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    """Required `iss` of tokens. The default is a Kubernetes cluster's own issuer."""
    audience: str = "somabrain"
    """Required `aud` of tokens."""
    jwks_url: str = "https://kubernetes.default.svc/openid/v1/jwks"
    """URL of the issuer's public keys (JWKS)."""
    jwks_ca_file: Path | None = None
    """PEM authorities of `jwks_url`'s certificate, read again when the file changes. None: the system's."""
    jwks_token_file: Path | None = None
    """File with the bearer token for `jwks_url`, read again at each fetch because it is rotated on disk. None: no token
    is sent."""
    tenant_claim: str = "/kubernetes.io/namespace"
    """JSON Pointer (RFC 6901) to the claim that names the tenant."""
    scope_claim: str | None = None
    """JSON Pointer to the claim with the scopes: a list, or a space-separated string. None: scopes are not checked."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Tolerated clock difference for `exp` and `nbf`, in seconds."""
    cache_s: Annotated[float, Field(ge=0, le=60)] = 60.0
    """Maximum seconds that a verified token, never past its `exp`, and the issuer's keys are cached."""
    refusal_cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """Seconds that the rejection of a token is cached."""
    anonymous_tenant: str = "local"
    """Tenant of every caller when `mode` is `none`."""
    introspection: IntrospectionSettings = IntrospectionSettings()


class PolicySettings(Group):
    """Authorization of calls by a policy engine (OPA)."""

    enabled: bool = True
    """Require a decision for each call. May be false only with `auth.mode=none`: the embedded server on loopback."""
    url: str = "http://localhost:8181/v1/data/sb/policy"
    """URL of the rule that decides, in OPA's data API."""
    timeout_s: Seconds = 1.0
    """Maximum seconds to wait for a decision; without one the call is denied."""
    cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """Seconds that a decision is cached."""
