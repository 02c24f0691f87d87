"""The settings of the service as environment variables, and the policy, each in a ConfigMap."""

from __future__ import annotations

import json
from typing import Final

from somabrain_operator.model.encoder import Encoder, EndpointEncoder
from somabrain_operator.model.grpc import Grpc
from somabrain_operator.model.platform import Tls
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.named import encoder_key
from somabrain_operator.names import Key, variable
from somabrain_operator.render.metadata import Owner, render_object
from somabrain_operator.tree import Json, Manifest

ISSUER_FOLDER: Final = "/var/run/secrets/somabrain/issuer"
"""Where the token and the certificate for the cluster's own issuer are mounted."""
SETTINGS_FOLDER: Final = "/etc/somabrain/settings"
"""Where files are settings, and where they name others."""
TLS_FOLDER: Final = "/var/run/secrets/somabrain/tls"
"""Where the servers' certificate is mounted."""
DEFAULT_GRPC_PORT: Final = Grpc().port
SHUTDOWN_DELAY_S: Final = 3
"""How long a stopping server still accepts calls, so that clients leave first."""
POLICY_FILE: Final = "sb.rego"


def uses_cluster_issuer(spec: SomaBrainSpec) -> bool:
    """Return whether the keys are those of the cluster's own issuer, which wants a token to be read."""
    return spec.auth.mode == "jwt" and spec.auth.jwks_url is None


def service_environment(key: Key, spec: SomaBrainSpec) -> dict[str, str]:
    """Return the settings that are no secret, and that pods are rolled for."""
    config = spec.config
    environment = {
        variable("log", "level"): config.log_level,
        variable("grpc", "reflection"): str(config.reflection).lower(),
        variable("grpc", "drain_s"): str(config.drain_seconds),
        variable("grpc", "drain_notice_s"): str(SHUTDOWN_DELAY_S),
        variable("grpc", "max_connection_age_s"): str(config.max_connection_age_seconds),
        variable("database", "pool_size"): str(config.pool_size),
        variable("database", "statement_timeout_s"): str(config.statement_timeout_seconds),
        variable("policy", "cache_s"): str(config.policy_cache_seconds),
    }
    if spec.opa.url is not None:
        environment[variable("policy", "url")] = spec.opa.url
    return dict(
        sorted(
            {
                **environment,
                **_encoder_environment(config.encoder),
                **_grpc_environment(spec.grpc),
                **_auth_environment(spec),
                **_platform_environment(key, spec),
            }.items()
        )
    )


def _encoder_environment(encoder: Encoder) -> dict[str, str]:
    environment = {variable("encoder", "kind"): encoder.kind, variable("encoder", "threads"): str(encoder.threads)}
    if encoder.minilm:
        environment[variable("encoder", "minilm")] = "true"
    if encoder.onnx:
        environment[variable("encoder", "onnx")] = json.dumps([each.model_dump() for each in encoder.onnx])
    if encoder.endpoints:
        environment[variable("encoder", "endpoints")] = json.dumps([_endpoint(each) for each in encoder.endpoints])
    if encoder.client:
        environment[variable("encoder", "client")] = json.dumps([each.model_dump() for each in encoder.client])
    return environment


def _endpoint(endpoint: EndpointEncoder) -> dict[str, Json]:
    common_fields = endpoint.model_dump(exclude={"secret_ref", "timeout_seconds", "breaker_rest_seconds"})
    key = {"api_key_file": f"{SETTINGS_FOLDER}/{encoder_key(endpoint.id)}"} if endpoint.secret_ref else {}
    return {
        **common_fields,
        **key,
        "timeout_s": endpoint.timeout_seconds,
        "breaker_rest_s": endpoint.breaker_reset_seconds,
    }


def _grpc_environment(grpc: Grpc) -> dict[str, str]:
    environment = {variable("grpc", "port"): str(grpc.port)} if grpc.port != DEFAULT_GRPC_PORT else {}
    if grpc.tls:
        environment[variable("grpc", "tls", "cert_file")] = f"{TLS_FOLDER}/tls.crt"
        environment[variable("grpc", "tls", "key_file")] = f"{TLS_FOLDER}/tls.key"
    if grpc.tls and grpc.tls.client_ca:
        environment[variable("grpc", "tls", "client_ca_file")] = f"{TLS_FOLDER}/ca.crt"
    return environment


def _auth_environment(spec: SomaBrainSpec) -> dict[str, str]:
    auth = spec.auth
    environment = {
        variable("auth", "mode"): auth.mode,
        variable("auth", "issuer"): auth.issuer,
        variable("auth", "audience"): auth.audience,
        variable("auth", "tenant_claim"): auth.tenant_claim,
        variable("auth", "cache_s"): str(auth.cache_seconds),
        variable("auth", "refusal_cache_s"): str(auth.refusal_cache_seconds),
    }
    if auth.scope_claim is not None:
        environment[variable("auth", "scope_claim")] = auth.scope_claim
    if auth.jwks_url is not None:
        environment[variable("auth", "jwks_url")] = auth.jwks_url
    if uses_cluster_issuer(spec):
        environment[variable("auth", "jwks_token_file")] = f"{ISSUER_FOLDER}/token"
        environment[variable("auth", "jwks_ca_file")] = f"{ISSUER_FOLDER}/ca.crt"
    if introspection := auth.introspection:
        environment[variable("auth", "introspection", "address")] = introspection.address
        environment[variable("auth", "introspection", "path")] = introspection.path
        if introspection.ca_secret_ref:
            environment[variable("auth", "introspection", "ca_file")] = f"{SETTINGS_FOLDER}/auth-ca.crt"
    return environment


def _platform_environment(key: Key, spec: SomaBrainSpec) -> dict[str, str]:
    environment: dict[str, str] = {}
    if cache := spec.cache:
        environment |= {variable("cache", "url"): cache.url} if cache.url else {}
        environment[variable("cache", "ttl_s")] = str(cache.ttl_seconds)
        environment |= _tls_environment("cache", cache.tls)
    if flags := spec.flags:
        environment[variable("flags", "endpoints")] = json.dumps(flags.endpoints)
        environment[variable("flags", "prefix")] = flags.prefix
        environment |= _tls_environment("flags", flags.tls)
    if events := spec.events:
        environment[variable("events", "brokers")] = json.dumps(events.brokers)
        environment[variable("events", "topic")] = events.topic
        environment[variable("events", "source")] = f"/somabrain/{key.namespace}/{key.name}"
        environment[variable("events", "hold_s")] = str(events.unpublished_retention_seconds)
        layer = "SSL" if events.tls else "PLAINTEXT"
        environment[variable("events", "security_protocol")] = f"SASL_{layer}" if events.sasl else layer
        if events.sasl:
            environment[variable("events", "sasl_mechanism")] = events.sasl.mechanism
        if events.tls:
            environment |= _tls_environment("events", events.tls)
    return environment


def _tls_environment(group: str, tls: Tls) -> dict[str, str]:
    """Return where the certificates for a server are, as `named` puts them among the settings."""
    environment = {variable(group, "ca_file"): f"{SETTINGS_FOLDER}/{group}-ca.crt"} if tls.ca_secret_ref else {}
    if tls.client_secret_ref:
        environment[variable(group, "cert_file")] = f"{SETTINGS_FOLDER}/{group}-tls.crt"
        environment[variable(group, "key_file")] = f"{SETTINGS_FOLDER}/{group}-tls.key"
    return environment


def quota_environment(spec: SomaBrainSpec) -> dict[str, str]:
    """Return among how many servers the rates of tenants are divided.

    A server learns it as it starts. It is no reason to roll the others: until they are, a rate is off by as much as
    their number has changed. With an autoscaler it is the most there can be: no tenant gets more than its rate.
    """
    server_count = spec.autoscaling.max if spec.autoscaling else max(spec.replicas, 1)
    return {variable("quota", "replicas"): str(server_count)}


def render_config(owner: Owner, spec: SomaBrainSpec) -> Manifest:
    """Return the ConfigMap of the service's settings."""
    data = {**service_environment(owner.key, spec), **quota_environment(spec)}
    return render_object(owner, "config", ("v1", "ConfigMap"), {"data": data})


def render_policy(owner: Owner, policy: str) -> Manifest:
    """Return the ConfigMap of the default policy."""
    return render_object(owner, "policy", ("v1", "ConfigMap"), {"data": {POLICY_FILE: policy}})


def policy_config_map(owner: Owner, spec: SomaBrainSpec) -> str:
    """Return the name of the ConfigMap that holds the policy in force."""
    return spec.opa.policy.config_map_ref.name if spec.opa.policy else owner.child("policy")
