"""Settings of the memory service that a resource may set; each default is that of the service."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from common.config.settings import (
    AuthSettings,
    DatabaseSettings,
    GrpcSettings,
    LogSettings,
    PolicySettings,
)
from somabrain_operator.api.v1alpha1.base import ApiModel, LocalObjectReference, Url, is_url, rule, rules
from somabrain_operator.api.v1alpha1.encoder import Encoder

_AUTH: Final = AuthSettings()
_DATABASE: Final = DatabaseSettings()
_GRPC: Final = GrpcSettings()
_POLICY: Final = PolicySettings()

JsonPointer = Annotated[str, Field(max_length=256)]


class Config(ApiModel):
    """Settings of the memory service."""

    log_level: Literal["debug", "info", "warning", "error"] = LogSettings().level
    """Minimum level of log records that are written."""
    encoder: Encoder = Encoder()
    """Encoders, which turn text into vectors."""
    reflection: bool = _GRPC.reflection
    """True: gRPC server reflection is enabled."""
    drain_seconds: Annotated[int, Field(ge=0, le=600)] = int(_GRPC.drain_s)
    """Seconds that calls in flight may take to finish when a pod stops."""
    max_connection_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_GRPC.max_connection_age_s)
    """Seconds after which a client is asked to reconnect, so that new pods get their share of calls."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = _DATABASE.pool_size
    """Maximum pooled connections to PostgreSQL per pod."""
    statement_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_DATABASE.statement_timeout_s)
    """Seconds after which PostgreSQL cancels a statement."""
    policy_cache_seconds: Annotated[int, Field(ge=0, le=5)] = int(_POLICY.cache_s)
    """Seconds for which a policy decision is cached."""


class Introspection(ApiModel):
    """Identity service that validates each bearer token (RFC 7662)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.address) || {is_url('self.address')}",
                "spec.auth.introspection.address is not an HTTP URL; write the address of the identity service",
            )
        )
    )

    address: Url = _AUTH.introspection.address
    """URL of the service, without the path of the endpoint."""
    path: Annotated[str, Field(max_length=256, pattern="^/")] = _AUTH.introspection.path
    """Path of the introspection endpoint."""
    secret_ref: LocalObjectReference
    """A Secret with the keys `client-id` and `client-secret`, the credentials of introspection requests."""
    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the CA of its certificate. Not set: the CAs that the image trusts."""


class Auth(ApiModel):
    """Authentication of callers. Without `jwksUrl` the tokens are those of the cluster's own service accounts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.issuer) || {is_url('self.issuer')}",
                "spec.auth.issuer is not an HTTP URL; write the `iss` of the tokens, such as https://issuer.example",
            ),
            rule(
                f"!has(self.jwksUrl) || {is_url('self.jwksUrl')}",
                "spec.auth.jwksUrl is not an HTTP URL; write that of the issuer's keys, or remove it for the cluster's",
            ),
            rule(
                "(has(self.mode) && self.mode == 'introspection') == has(self.introspection)",
                "spec.auth.introspection: set it if, and only if, spec.auth.mode is introspection",
            ),
            rule(
                "!has(self.tenantClaim) || self.tenantClaim.startsWith('/')",
                "spec.auth.tenantClaim is not a JSON Pointer; start it with a slash, such as /tenant",
            ),
            rule(
                "!has(self.scopeClaim) || self.scopeClaim.startsWith('/')",
                "spec.auth.scopeClaim is not a JSON Pointer; start it with a slash, such as /scope, or remove it",
            ),
        )
    )

    mode: Literal["jwt", "introspection"] = "jwt"
    """`jwt`: signed tokens, verified with the issuer's keys. `introspection`: the identity service validates them."""
    introspection: Introspection | None = None
    """Identity service; with mode `introspection` only."""
    issuer: Url = _AUTH.issuer
    """Required `iss` of tokens."""
    audience: Annotated[str, Field(min_length=1, max_length=256)] = _AUTH.audience
    """Required `aud` of tokens."""
    jwks_url: Url | None = None
    """URL of the issuer's public keys. Not set: those of the cluster's API server, read with a short-lived token."""
    tenant_claim: JsonPointer = _AUTH.tenant_claim
    """JSON Pointer (RFC 6901) to the claim that names the tenant."""
    scope_claim: JsonPointer | None = _AUTH.scope_claim
    """JSON Pointer to the claim that holds the scopes. Not set: no scopes are required."""
    cache_seconds: Annotated[int, Field(ge=0, le=60)] = int(_AUTH.cache_s)
    """Seconds for which a valid token is cached, never past its `exp`."""
    refusal_cache_seconds: Annotated[int, Field(ge=0, le=5)] = int(_AUTH.refusal_cache_s)
    """Seconds for which the rejection of an invalid token is cached."""
