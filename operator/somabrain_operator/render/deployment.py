"""Deployment of the memory service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from somabrain_operator.api.v1alpha1.placement import Probes, TopologySpread
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.children import CONFIG
from somabrain_operator.kube.objects import Json, Manifest, mapping
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.config import (
    ISSUER_FOLDER,
    SHUTDOWN_DELAY_S,
    TLS_FOLDER,
    policy_config_map,
    uses_cluster_issuer,
)
from somabrain_operator.render.files import FILE_MODE, secrets_dir_variable, settings_mount, settings_volume
from somabrain_operator.render.metadata import render_object, with_rendered_hash
from somabrain_operator.render.opa import render_opa_container
from somabrain_operator.render.pod import (
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    http_probe,
    image_pull_secrets,
    pod_security,
    resource_requirements,
    scheduling_fields,
)
from somabrain_operator.render.vault import agent_annotation, vault_container, vault_mount, vault_volumes

PROGRESS_DEADLINE_S: Final = 300
TOKEN_LIFETIME_S: Final = 600
"""Minimum lifetime that the API server allows; the kubelet renews the token."""
ISSUER_VOLUME: Final[dict[str, Json]] = {
    "name": "issuer",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_LIFETIME_S}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    },
}
"""The token and the CA needed to read the API server's keys, and nothing else."""
ISSUER_MOUNT: Final[dict[str, Json]] = {"name": "issuer", "mountPath": ISSUER_FOLDER, "readOnly": True}
TERMINATION_MARGIN_S: Final = 10
"""Seconds beyond shutdown delay and drain, to close connections, before the kubelet kills the pod."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of the containers of a pod."""

    service: str
    opa: str
    vault: str


def render_deployment(owner: Owner, spec: SomaBrainSpec, images: Images, config_hash: str) -> Manifest:
    """Return the Deployment without its `replicas`, which `with_replicas` sets.

    Args:
        owner: the SomaBrain.
        spec: its spec.
        images: images of the containers.
        config_hash: hash of all that a server reads only at startup; a change rolls the pods.
    """
    selector = names.selector(owner.key.name, names.SERVER)
    opa_containers = (render_opa_container(spec.opa, images.opa, images.service),) if spec.opa.enabled else ()
    pod: dict[str, Json] = {
        "serviceAccountName": owner.child(names.SERVER),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": SHUTDOWN_DELAY_S + spec.config.drain_seconds + TERMINATION_MARGIN_S,
        "securityContext": pod_security(spec.pod_security_context),
        **image_pull_secrets(spec.image_pull_secrets),
        **scheduling_fields(spec.scheduling),
        "topologySpreadConstraints": [spread_constraint(spec.topology_spread, selector)],
        "initContainers": [*vault_container(spec, names.SERVER, images.vault), *opa_containers],
        "containers": [_server_container(owner, spec, images.service)],
        "volumes": list(_volumes(owner, spec)),
    }
    annotations = {names.CONFIG_HASH: config_hash, **agent_annotation(spec, names.SERVER)}
    return render_object(
        owner,
        names.SERVER,
        ("apps/v1", "Deployment"),
        {
            "spec": {
                "revisionHistoryLimit": 3,
                "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": names.labels(owner.key.name, names.SERVER), "annotations": annotations},
                    "spec": pod,
                },
            }
        },
        annotations={names.IMAGE: images.service},
    )


def _volumes(owner: Owner, spec: SomaBrainSpec) -> Iterator[dict[str, Json]]:
    yield TMP_VOLUME
    yield from settings_volume(spec, names.SERVER)
    if spec.opa.enabled:
        yield {"name": "policy", "configMap": {"name": policy_config_map(owner, spec)}}
    if uses_cluster_issuer(spec):
        yield ISSUER_VOLUME
    if tls := spec.grpc.tls:
        keys = ("tls.crt", "tls.key", *(("ca.crt",) if tls.client_ca else ()))
        items: list[Json] = [{"key": key, "path": key} for key in keys]
        yield {"name": "tls", "secret": {"secretName": tls.secret_ref.name, "defaultMode": FILE_MODE, "items": items}}
    yield from vault_volumes(spec, names.SERVER)


def with_replicas(deployment: Manifest, replicas: int | None) -> Manifest:
    """Return a rendered Deployment with `replicas`; None: without, as another manager owns the field."""
    spec = {field: value for field, value in mapping(deployment, "spec").items() if field != "replicas"}
    return with_rendered_hash({**deployment, "spec": spec if replicas is None else {"replicas": replicas, **spec}})


def _server_container(owner: Owner, spec: SomaBrainSpec, image: str) -> dict[str, Json]:
    mounts: list[Json] = [TMP_MOUNT, *settings_mount(spec, names.SERVER), *vault_mount(spec, names.SERVER)]
    if uses_cluster_issuer(spec):
        mounts.append(ISSUER_MOUNT)
    if spec.grpc.tls:
        mounts.append({"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True})
    return {
        "name": names.SERVER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "env": [secrets_dir_variable(spec, names.SERVER)],
        "envFrom": [{"configMapRef": {"name": owner.child(CONFIG)}}],
        "ports": [
            {"name": "grpc", "containerPort": spec.grpc.port, "protocol": "TCP"},
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
        ],
        **probes(spec.probes),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resource_requirements(spec.resources),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }


def spread_constraint(spread: TopologySpread, selector: dict[str, str]) -> dict[str, Json]:
    """Return the constraint that spreads the pods with these labels."""
    return {
        "maxSkew": spread.max_skew,
        "topologyKey": spread.topology_key,
        "whenUnsatisfiable": spread.when_unsatisfiable,
        "labelSelector": {"matchLabels": selector},
    }


def probes(spec: Probes) -> dict[str, Json]:
    """Return the probes of a container, by field of its spec."""
    timeout_s = spec.timeout_seconds
    return {
        "startupProbe": http_probe("/livez", "http", period_s=1, failures=spec.startup_seconds),
        "livenessProbe": http_probe(
            "/livez",
            "http",
            period_s=spec.liveness_period_seconds,
            failures=spec.liveness_failures,
            timeout_s=timeout_s,
        ),
        "readinessProbe": http_probe(
            "/ready",
            "http",
            period_s=spec.readiness_period_seconds,
            failures=spec.readiness_failures,
            timeout_s=timeout_s,
        ),
    }
