"""ConfigMaps of the service's settings, as environment variables, and of the policy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from somabrain_operator.api.v1alpha1.encoder import Encoder, EndpointEncoder
from somabrain_operator.api.v1alpha1.grpc import Grpc
from somabrain_operator.api.v1alpha1.platform import Tls
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.children import CONFIG, POLICY
from somabrain_operator.kube.names import Key, env_var
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.references.catalog import encoder_key
from somabrain_operator.render.metadata import render_object
from somabrain_operator.render.setting_names import is_older_than_0_2, need_former_names, with_former_names

ISSUER_FOLDER: Final = "/var/run/secrets/somabrain/issuer"
"""Mount path of the token and the CA certificate for the cluster's own issuer."""
SETTINGS_FOLDER: Final = "/etc/somabrain/settings"
"""Mount path of settings files, and of files that settings name."""
TLS_FOLDER: Final = "/var/run/secrets/somabrain/tls"
"""Mount path of the servers' certificate."""
DEFAULT_GRPC_PORT: Final = Grpc().port
SHUTDOWN_DELAY_S: Final = 3
"""Seconds for which a stopping server still accepts calls, so that clients disconnect first."""
POLICY_FILE: Final = "sb.rego"
_METHODS_SINCE_0_2: Final = tuple(
    f'MemoryService/{method}",' for method in ("ForgetMemories", "ListSessions", "ListSubjects", "TouchMemory")
)
"""Ends of the policy's lines with methods that a service of 0.1 does not have."""


def uses_cluster_issuer(spec: SomaBrainSpec) -> bool:
    """Return whether the keys are those of the cluster's own issuer, which can only be read with a token."""
    return spec.auth.mode == "jwt" and spec.auth.jwks_url is None


def service_environment(key: Key, spec: SomaBrainSpec, *, former_names: bool = False) -> dict[str, str]:
    """Return the settings that are not secret and whose change rolls the pods."""
    config = spec.config
    environment = {
        env_var("log", "level"): config.log_level,
        env_var("grpc", "reflection"): str(config.reflection).lower(),
        env_var("grpc", "drain_s"): str(config.drain_seconds),
        env_var("grpc", "shutdown_delay_s"): str(SHUTDOWN_DELAY_S),
        env_var("grpc", "max_connection_age_s"): str(config.max_connection_age_seconds),
        env_var("database", "pool_size"): str(config.pool_size),
        env_var("database", "statement_timeout_s"): str(config.statement_timeout_seconds),
        env_var("policy", "cache_s"): str(config.policy_cache_seconds),
    }
    if spec.opa.url is not None:
        environment[env_var("policy", "url")] = spec.opa.url
    environment |= {
        **_encoder_environment(config.encoder, former_names=former_names),
        **_grpc_environment(spec.grpc),
        **auth_environment(spec),
        **_platform_environment(key, spec),
    }
    return dict(sorted((with_former_names(environment) if former_names else environment).items()))


def _encoder_environment(encoder: Encoder, *, former_names: bool) -> dict[str, str]:
    environment = {env_var("encoder", "kind"): encoder.kind, env_var("encoder", "threads"): str(encoder.threads)}
    if encoder.minilm:
        environment[env_var("encoder", "minilm")] = "true"
    if encoder.onnx:
        environment[env_var("encoder", "onnx")] = json.dumps([each.model_dump() for each in encoder.onnx])
    if encoder.endpoints:
        endpoints = [_endpoint(each) for each in encoder.endpoints]
        endpoints = [with_former_names(each) for each in endpoints] if former_names else endpoints
        environment[env_var("encoder", "endpoints")] = json.dumps(endpoints)
    if encoder.client:
        environment[env_var("encoder", "client")] = json.dumps([each.model_dump() for each in encoder.client])
    return environment


def _endpoint(endpoint: EndpointEncoder) -> dict[str, Json]:
    shared = ("id", "url", "model", "dimensions", "attempts", "batch", "concurrency", "max_input_characters")
    key = {"api_key_file": f"{SETTINGS_FOLDER}/{encoder_key(endpoint.id)}"} if endpoint.secret_ref else {}
    return {
        **{name: getattr(endpoint, name) for name in shared},
        "breaker_failures": endpoint.breaker_failures,
        **key,
        "timeout_s": endpoint.timeout_seconds,
        "breaker_reset_s": endpoint.breaker_reset_seconds,
    }


def _grpc_environment(grpc: Grpc) -> dict[str, str]:
    environment = {env_var("grpc", "port"): str(grpc.port)} if grpc.port != DEFAULT_GRPC_PORT else {}
    if grpc.tls:
        environment[env_var("grpc", "tls", "cert_file")] = f"{TLS_FOLDER}/tls.crt"
        environment[env_var("grpc", "tls", "key_file")] = f"{TLS_FOLDER}/tls.key"
    if grpc.tls and grpc.tls.client_ca:
        environment[env_var("grpc", "tls", "client_ca_file")] = f"{TLS_FOLDER}/ca.crt"
    return environment


def auth_environment(spec: SomaBrainSpec) -> dict[str, str]:
    """Return the settings by which tokens of callers are verified, without the credentials of introspection."""
    auth = spec.auth
    environment = {
        env_var("auth", "mode"): auth.mode,
        env_var("auth", "issuer"): auth.issuer,
        env_var("auth", "audience"): auth.audience,
        env_var("auth", "tenant_claim"): auth.tenant_claim,
        env_var("auth", "cache_s"): str(auth.cache_seconds),
        env_var("auth", "refusal_cache_s"): str(auth.refusal_cache_seconds),
    }
    if auth.scope_claim is not None:
        environment[env_var("auth", "scope_claim")] = auth.scope_claim
    if auth.jwks_url is not None:
        environment[env_var("auth", "jwks_url")] = auth.jwks_url
    if uses_cluster_issuer(spec):
        environment[env_var("auth", "jwks_token_file")] = f"{ISSUER_FOLDER}/token"
        environment[env_var("auth", "jwks_ca_file")] = f"{ISSUER_FOLDER}/ca.crt"
    if introspection := auth.introspection:
        environment[env_var("auth", "introspection", "address")] = introspection.address
        environment[env_var("auth", "introspection", "path")] = introspection.path
        if introspection.ca_secret_ref:
            environment[env_var("auth", "introspection", "ca_file")] = f"{SETTINGS_FOLDER}/auth-ca.crt"
    return environment


def _platform_environment(key: Key, spec: SomaBrainSpec) -> dict[str, str]:
    environment: dict[str, str] = {}
    if cache := spec.cache:
        environment |= {env_var("cache", "url"): cache.url} if cache.url else {}
        environment[env_var("cache", "ttl_s")] = str(cache.ttl_seconds)
        environment |= _tls_environment("cache", cache.tls)
    if flags := spec.flags:
        environment[env_var("flags", "endpoints")] = json.dumps(flags.endpoints)
        environment[env_var("flags", "prefix")] = flags.prefix
        environment |= _tls_environment("flags", flags.tls)
    if events := spec.events:
        environment[env_var("events", "brokers")] = json.dumps(events.brokers)
        environment[env_var("events", "topic")] = events.topic
        environment[env_var("events", "source")] = f"/somabrain/{key.namespace}/{key.name}"
        environment[env_var("events", "unpublished_retention_s")] = str(events.unpublished_retention_seconds)
        layer = "SSL" if events.tls else "PLAINTEXT"
        environment[env_var("events", "security_protocol")] = f"SASL_{layer}" if events.sasl else layer
        if events.sasl:
            environment[env_var("events", "sasl_mechanism")] = events.sasl.mechanism
        if events.tls:
            environment |= _tls_environment("events", events.tls)
    return environment


def _tls_environment(group: str, tls: Tls) -> dict[str, str]:
    """Return the paths of the certificates for a server, as `references_of` names the files."""
    environment = {env_var(group, "ca_file"): f"{SETTINGS_FOLDER}/{group}-ca.crt"} if tls.ca_secret_ref else {}
    if tls.client_secret_ref:
        environment[env_var(group, "cert_file")] = f"{SETTINGS_FOLDER}/{group}-tls.crt"
        environment[env_var(group, "key_file")] = f"{SETTINGS_FOLDER}/{group}-tls.key"
    return environment


def quota_environment(spec: SomaBrainSpec) -> dict[str, str]:
    """Return the number of servers among which the rates of tenants are divided.

    A server reads it at start. A change does not roll the others: until they restart, a rate is off by as much as the
    number of servers has changed. With an autoscaler it is the maximum, so that no tenant exceeds its rate.
    """
    server_count = spec.autoscaling.max if spec.autoscaling else max(spec.replicas, 1)
    return {env_var("quota", "replicas"): str(server_count)}


def render_config(owner: Owner, spec: SomaBrainSpec, images: Iterable[str]) -> Manifest:
    """Return the ConfigMap of the service's settings, which pods of all these images read when a container starts."""
    environment = service_environment(owner.key, spec, former_names=need_former_names(images))
    data = {**environment, **quota_environment(spec)}
    return render_object(owner, CONFIG, ("v1", "ConfigMap"), {"data": data})


def default_policy(policy: str, image: str) -> str:
    """Return the default policy for an image: of 0.1 it is the one of 0.1, so that its pods are not rolled."""
    if not is_older_than_0_2(image):
        return policy
    lines = policy.splitlines(keepends=True)
    return "".join(line for line in lines if not line.strip().endswith(_METHODS_SINCE_0_2))


def render_policy(owner: Owner, policy: str) -> Manifest:
    """Return the ConfigMap of the default policy."""
    return render_object(owner, POLICY, ("v1", "ConfigMap"), {"data": {POLICY_FILE: policy}})


def policy_config_map(owner: Owner, spec: SomaBrainSpec) -> str:
    """Return the name of the ConfigMap that holds the policy in force."""
    return spec.opa.policy.config_map_ref.name if spec.opa.policy else owner.child(POLICY)
