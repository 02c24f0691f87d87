"""The Deployment of the memory service."""

from __future__ import annotations

from typing import Final

from somabrain_operator import names
from somabrain_operator.model.placement import Probes
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.render.base import GRPC_PORT, HTTP_PORT
from somabrain_operator.render.config import (
    DRAIN_NOTICE_S,
    ISSUER_FOLDER,
    asks_cluster_issuer,
    policy_config_map,
    variable,
)
from somabrain_operator.render.metadata import Owner, render_object, sealed
from somabrain_operator.render.opa import render_opa_container
from somabrain_operator.render.pod import (
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    from_secret,
    http_probe,
    placed,
    pod_security,
    resources,
)
from somabrain_operator.tree import Json, Manifest, mapping

PROGRESS_DEADLINE_S: Final = 300
TOKEN_LIFE_S: Final = 600
"""The shortest the API server gives; the kubelet renews it."""
STOP_MARGIN_S: Final = 10
"""Beyond drain and its notice, for closing connections, before the kubelet kills."""


def render_deployment(owner: Owner, spec: SomaBrainSpec, *, image: str, opa_image: str, config_hash: str) -> Manifest:
    """Return the Deployment without its `replicas`, which `scaled` sets.

    Args:
        owner: the SomaBrain.
        spec: what it asks for.
        image: of the service.
        opa_image: of the policy agent.
        config_hash: of all that the pods read at their start; a change rolls them.
    """
    selector = names.selector(owner.key.name, names.SERVER)
    issuer, spread = asks_cluster_issuer(spec), spec.topology_spread
    volumes: list[Json] = [TMP_VOLUME, {"name": "policy", "configMap": {"name": policy_config_map(owner, spec)}}]
    pod: dict[str, Json] = {
        "serviceAccountName": owner.child(names.SERVER),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_NOTICE_S + spec.config.drain_seconds + STOP_MARGIN_S,
        "securityContext": pod_security(),
        **placed(spec.scheduling),
        "topologySpreadConstraints": [
            {
                "maxSkew": spread.max_skew,
                "topologyKey": spread.topology_key,
                "whenUnsatisfiable": spread.when_unsatisfiable,
                "labelSelector": {"matchLabels": selector},
            }
        ],
        "initContainers": [render_opa_container(spec.opa, opa_image)],
        "containers": [_server(owner, spec, image)],
        "volumes": [*volumes, _issuer_volume()] if issuer else volumes,
    }
    annotations = {names.IMAGE: image}
    return render_object(owner, names.SERVER, ("apps/v1", "Deployment"), {
        "spec": {
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": names.labels(owner.key.name, names.SERVER),
                    "annotations": {names.CONFIG_HASH: config_hash},
                },
                "spec": pod,
            },
        }
    }, annotations=annotations)  # fmt: skip


def scaled(deployment: Manifest, replicas: int | None) -> Manifest:
    """Return a rendered Deployment with `replicas`; None: they are somebody else's."""
    spec = {field: value for field, value in mapping(deployment, "spec").items() if field != "replicas"}
    return sealed({**deployment, "spec": spec if replicas is None else {"replicas": replicas, **spec}})


def _server(owner: Owner, spec: SomaBrainSpec, image: str) -> dict[str, Json]:
    secret = spec.database.secret_ref.name
    mounts: list[Json] = [TMP_MOUNT]
    if asks_cluster_issuer(spec):
        mounts.append({"name": "issuer", "mountPath": ISSUER_FOLDER, "readOnly": True})
    return {
        "name": names.SERVER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "env": [
            from_secret(variable("postgres_dsn"), secret, "app-dsn"),
            from_secret(variable("worker_dsn"), secret, "worker-dsn"),
        ],
        "envFrom": [{"configMapRef": {"name": owner.child("config")}}],
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
        ],
        **_probes(spec.probes),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources(spec.resources),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }


def _probes(wanted: Probes) -> dict[str, Json]:
    seconds = wanted.timeout_seconds
    return {
        "startupProbe": http_probe("/livez", "http", period_s=1, failures=wanted.startup_seconds),
        "livenessProbe": http_probe(
            "/livez", "http",
            period_s=wanted.liveness_period_seconds, failures=wanted.liveness_failures, timeout_s=seconds,
        ),
        "readinessProbe": http_probe(
            "/ready", "http",
            period_s=wanted.readiness_period_seconds, failures=wanted.readiness_failures, timeout_s=seconds,
        ),
    }  # fmt: skip


def _issuer_volume() -> dict[str, Json]:
    """Return the token and the certificate that the API server's key endpoint asks for, and nothing else."""
    return {
        "name": "issuer",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_LIFE_S}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            ]
        },
    }
