"""Settings of the memory service that a resource may set; each default is the service's own."""

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
from somabrain_operator.model.base import ApiModel, LocalObjectReference, Url, is_url, rule, rules
from somabrain_operator.model.encoder import Encoder

_AUTH: Final = AuthSettings()
_DATABASE: Final = DatabaseSettings()
_GRPC: Final = GrpcSettings()
_POLICY: Final = PolicySettings()

JsonPointer = Annotated[str, Field(max_length=256)]


class Config(ApiModel):
    """Settings of the memory service."""

    log_level: Literal["debug", "info", "warning", "error"] = LogSettings().level
    """The least severe record that is written."""
    encoder: Encoder = Encoder()
    """How text becomes a vector."""
    reflection: bool = _GRPC.reflection
    """Whether gRPC server reflection answers."""
    drain_seconds: Annotated[int, Field(ge=0, le=600)] = int(_GRPC.drain_s)
    """How long calls in flight may finish when a pod stops."""
    max_connection_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_GRPC.max_connection_age_s)
    """After this a client is asked to reconnect, so that new replicas get their share."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = _DATABASE.pool_size
    """Connections to PostgreSQL a pod."""
    statement_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_DATABASE.statement_timeout_s)
    """PostgreSQL ends a statement that takes longer."""
    policy_cache_seconds: Annotated[int, Field(ge=0, le=5)] = int(_POLICY.cache_s)
    """How long a policy decision is kept."""


class Introspection(ApiModel):
    """The identity service that is asked about each token (RFC 7662)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.address) || {is_url('self.address')}",
                "spec.auth.introspection.address is no URL; write where the identity service is",
            )
        )
    )

    address: Url = _AUTH.introspection.address
    """Where it is."""
    path: Annotated[str, Field(max_length=256, pattern="^/")] = _AUTH.introspection.path
    """The introspection endpoint there."""
    secret_ref: LocalObjectReference
    """A Secret with the keys `client-id` and `client-secret`, as which the service asks."""
    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the authority of its certificate. Not set: those that the image trusts."""


class Auth(ApiModel):
    """Who calls. Without `jwksUrl` the tokens are those of the cluster's own service accounts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.issuer) || {is_url('self.issuer')}",
                "spec.auth.issuer is no URL; write the `iss` of the tokens, such as https://issuer.example",
            ),
            rule(
                f"!has(self.jwksUrl) || {is_url('self.jwksUrl')}",
                "spec.auth.jwksUrl is no URL; write where the issuer's keys are read, or remove it for the cluster's",
            ),
            rule(
                "(has(self.mode) && self.mode == 'introspection') == has(self.introspection)",
                "spec.auth.introspection: give it if, and only if, spec.auth.mode is introspection",
            ),
            rule(
                "!has(self.tenantClaim) || self.tenantClaim.startsWith('/')",
                "spec.auth.tenantClaim is no JSON Pointer; start it with a slash, such as /tenant",
            ),
            rule(
                "!has(self.scopeClaim) || self.scopeClaim.startsWith('/')",
                "spec.auth.scopeClaim is no JSON Pointer; start it with a slash, such as /scope, or remove it",
            ),
        )
    )

    mode: Literal["jwt", "introspection"] = "jwt"
    """`jwt`: signed tokens, checked against the issuer's keys. `introspection`: the identity service is asked."""
    introspection: Introspection | None = None
    """Whom to ask; with mode `introspection` only."""
    issuer: Url = _AUTH.issuer
    """The `iss` that tokens must carry."""
    audience: Annotated[str, Field(min_length=1, max_length=256)] = _AUTH.audience
    """The `aud` that tokens must carry."""
    jwks_url: Url | None = None
    """Where the issuer's public keys are read. Not set: at the cluster's API server, with a short-lived token."""
    tenant_claim: JsonPointer = _AUTH.tenant_claim
    """JSON Pointer (RFC 6901) to the claim that names the tenant."""
    scope_claim: JsonPointer | None = _AUTH.scope_claim
    """JSON Pointer to the claim that holds the scopes. Not set: no scopes are asked."""
    cache_seconds: Annotated[int, Field(ge=0, le=60)] = int(_AUTH.cache_s)
    """How long a checked token is believed without checking again, never past its `exp`."""
    refusal_cache_seconds: Annotated[int, Field(ge=0, le=5)] = int(_AUTH.refusal_cache_s)
    """How long a refused one is refused without checking again."""
