"""MCP server beside the servers: Deployment, Service, NetworkPolicy, and its settings.

Its variables are in the pod template, so that a change rolls the pods. It has the ServiceAccount of the servers, which
is bound to no role, and a token of it only where the cluster is the issuer of callers' tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from somabrain_operator.api.v1alpha1.mcp import Mcp, McpNetworkPolicy
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.names import MCP, env_var
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.base import endpoint
from somabrain_operator.render.config import SETTINGS_FOLDER, SHUTDOWN_DELAY_S, auth_environment, uses_cluster_issuer
from somabrain_operator.render.deployment import (
    ISSUER_MOUNT,
    ISSUER_VOLUME,
    PROGRESS_DEADLINE_S,
    TERMINATION_MARGIN_S,
    probes,
    spread_constraint,
)
from somabrain_operator.render.files import secrets_dir_variable, settings_mount, settings_volume
from somabrain_operator.render.metadata import render_object
from somabrain_operator.render.network import http_ingress, peers
from somabrain_operator.render.pod import (
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    image_pull_secrets,
    pod_security,
    resource_requirements,
    scheduling_fields,
)

COMMAND: Final = ("somabrain", "mcp", "--http")
_ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - clients are outside the pod
_DNS_PORT: Final = 53
_API_SERVER_PORTS: Final = (443, 6443)
"""Ports of API servers: that of their Service, and the usual one behind it."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL_PORT: Final = re.compile(r"^https?://[^/]*:(\d+)(?:/|$)")


def mcp_environment(owner: Owner, spec: SomaBrainSpec, mcp: Mcp) -> dict[str, str]:
    """Return the settings of the MCP server that are not secret, by name of the variable."""
    audience = spec.auth.audience if mcp.same_resource else mcp.audience or mcp.resource_url
    environment = {
        **auth_environment(spec),
        env_var("auth", "audience"): audience,
        env_var("log", "level"): spec.config.log_level,
        env_var("mcp", "address"): endpoint(owner, spec.grpc.port),
        env_var("mcp", "allowed_hosts"): json.dumps([*_service_hosts(owner), *mcp.allowed_hosts]),
        env_var("mcp", "drain_s"): str(mcp.drain_seconds),
        env_var("mcp", "host"): _ALL_ADDRESSES,
        env_var("mcp", "port"): str(mcp.port),
        env_var("mcp", "resource_url"): mcp.resource_url,
        env_var("mcp", "shutdown_delay_s"): str(SHUTDOWN_DELAY_S),
    }
    if mcp.allowed_origins:
        environment[env_var("mcp", "allowed_origins")] = json.dumps(mcp.allowed_origins)
    if mcp.namespace is not None:
        environment[env_var("mcp", "namespace")] = mcp.namespace
    if mcp.same_resource:
        environment[env_var("mcp", "same_resource")] = "true"
    if exchange := mcp.exchange:
        environment[env_var("mcp", "exchange", "url")] = exchange.url
        environment[env_var("mcp", "exchange", "audience")] = exchange.audience
        environment[env_var("mcp", "exchange", "scope")] = exchange.scope
        if exchange.ca_secret_ref:
            environment[env_var("mcp", "exchange", "ca_file")] = f"{SETTINGS_FOLDER}/mcp-exchange-ca.crt"
    if spec.grpc.tls:
        environment[env_var("mcp", "tls")] = "true"
        if mcp.tls.ca_secret_ref:
            environment[env_var("mcp", "ca_file")] = f"{SETTINGS_FOLDER}/mcp-ca.crt"
        if mcp.tls.client_secret_ref:
            environment[env_var("mcp", "cert_file")] = f"{SETTINGS_FOLDER}/mcp-tls.crt"
            environment[env_var("mcp", "key_file")] = f"{SETTINGS_FOLDER}/mcp-tls.key"
    return dict(sorted(environment.items()))


def mcp_replicas(spec: SomaBrainSpec, mcp: Mcp) -> int:
    """Return the number of pods: none for a service that is hibernated, as there is nothing to call."""
    return 0 if spec.replicas == 0 and spec.autoscaling is None else mcp.replicas


def mcp_endpoint(owner: Owner, mcp: Mcp) -> str:
    """Return the URL of the MCP endpoint inside the cluster."""
    return f"http://{owner.child(MCP)}.{owner.key.namespace}.svc:{mcp.port}{urlsplit(mcp.resource_url).path or '/'}"


def _service_hosts(owner: Owner) -> tuple[str, ...]:
    """Return the values of the header Host by which clients inside the cluster call the Service."""
    name, namespace = owner.child(MCP), owner.key.namespace
    return f"{name}:*", f"{name}.{namespace}:*", f"{name}.{namespace}.svc:*"


def render_mcp_service(owner: Owner, mcp: Mcp) -> Manifest:
    """Return the Service of the endpoint: each request is complete in itself, so any pod may answer it."""
    return render_object(
        owner,
        MCP,
        ("v1", "Service"),
        {
            "spec": {
                "type": mcp.service.type,
                "selector": names.selector(owner.key.name, MCP),
                "ports": [{"name": MCP, "port": mcp.port, "targetPort": MCP, "protocol": "TCP", "appProtocol": "http"}],
            }
        },
        annotations=mcp.service.annotations,
    )


def render_mcp_deployment(owner: Owner, spec: SomaBrainSpec, mcp: Mcp, image: str, config_hash: str) -> Manifest:
    """Return the Deployment without its `replicas`, which `with_replicas` sets.

    Args:
        owner: the SomaBrain.
        spec: its spec.
        mcp: the spec's MCP server.
        image: image of the service.
        config_hash: hash of the Secrets and ConfigMaps that it reads only at startup; a change rolls the pods.
    """
    selector = names.selector(owner.key.name, MCP)
    with_issuer = uses_cluster_issuer(spec)
    pod: dict[str, Json] = {
        "serviceAccountName": owner.child(names.SERVER),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": SHUTDOWN_DELAY_S + mcp.drain_seconds + TERMINATION_MARGIN_S,
        "securityContext": pod_security(spec.pod_security_context),
        **image_pull_secrets(spec.image_pull_secrets),
        **scheduling_fields(spec.scheduling),
        "topologySpreadConstraints": [spread_constraint(spec.topology_spread, selector)],
        "containers": [_container(owner, spec, mcp, image)],
        "volumes": [TMP_VOLUME, *settings_volume(spec, MCP), *((ISSUER_VOLUME,) if with_issuer else ())],
    }
    return render_object(
        owner,
        MCP,
        ("apps/v1", "Deployment"),
        {
            "spec": {
                "revisionHistoryLimit": 3,
                "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {
                        "labels": names.labels(owner.key.name, MCP),
                        "annotations": {names.CONFIG_HASH: config_hash},
                    },
                    "spec": pod,
                },
            }
        },
    )


def _container(owner: Owner, spec: SomaBrainSpec, mcp: Mcp, image: str) -> dict[str, Json]:
    with_issuer = uses_cluster_issuer(spec)
    settings = mcp_environment(owner, spec, mcp)
    variables: list[dict[str, Json]] = [secrets_dir_variable(spec, MCP)]
    variables += ({"name": name, "value": value} for name, value in settings.items())
    return {
        "name": MCP,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(COMMAND),
        "env": [_without_empty_value(each) for each in variables],
        "ports": [
            {"name": MCP, "containerPort": mcp.port, "protocol": "TCP"},
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
        ],
        **probes(spec.probes),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resource_requirements(mcp.resources),
        "securityContext": container_security(),
        "volumeMounts": [TMP_MOUNT, *settings_mount(spec, MCP), *((ISSUER_MOUNT,) if with_issuer else ())],
    }


def _without_empty_value(variable: dict[str, Json]) -> dict[str, Json]:
    """Return a variable as the API server stores it, which omits an empty value."""
    return {field: value for field, value in variable.items() if value != ""}


def render_mcp_network_policy(owner: Owner, spec: SomaBrainSpec, mcp: Mcp, policy: McpNetworkPolicy) -> Manifest:
    """Return the policy: who may call the endpoint, and all that the pods may connect to."""
    servers: Json = {"podSelector": {"matchLabels": names.selector(owner.key.name, names.SERVER)}}
    ports = sorted({*_identity_ports(spec, mcp), *policy.egress_ports})
    egress: list[Json] = [
        {"ports": [{"port": spec.grpc.port, "protocol": "TCP"}], "to": [servers]},
        {"ports": [{"port": _DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]},
        {"ports": [{"port": port, "protocol": "TCP"} for port in ports]},
    ]
    return render_object(
        owner,
        MCP,
        ("networking.k8s.io/v1", "NetworkPolicy"),
        {
            "spec": {
                "podSelector": {"matchLabels": names.selector(owner.key.name, MCP)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [
                    {"ports": [{"port": MCP, "protocol": "TCP"}], "from": peers(policy.clients)},
                    http_ingress(policy.scrapers),
                ],
                "egress": egress,
            }
        },
    )


def _identity_ports(spec: SomaBrainSpec, mcp: Mcp) -> Iterator[int]:
    """Yield the ports of the issuer's keys or the identity service, and of the token endpoint."""
    auth = spec.auth
    if uses_cluster_issuer(spec):
        yield from _API_SERVER_PORTS
    if auth.mode == "jwt" and auth.jwks_url is not None:
        yield _port(auth.jwks_url)
    if auth.introspection:
        yield _port(auth.introspection.address)
    if mcp.exchange:
        yield _port(mcp.exchange.url)


def _port(url: str) -> int:
    named = _URL_PORT.match(url)
    return int(named[1]) if named else _DEFAULT_PORTS[url.partition("://")[0]]
