"""The service image without the operator: not ready before migrations, and its entry point migrates and then serves."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from examples.kubectl import CommandFailed, Kubectl, Object
from somabrain_service.store import schema
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import DATABASE, MIGRATION
from tests.e2e.support.database import Database
from tests.e2e.support.images import service_image
from tests.e2e.support.waiting import eventually


def pod(name: str, args: list[str]) -> Object:
    """A pod of the image under the restricted profile; without `args` it runs the entry point alone."""
    variables = {
        "SOMABRAIN_POSTGRES_DSN": (DATABASE, "app-dsn"),
        "SOMABRAIN_WORKER_DSN": (DATABASE, "worker-dsn"),
        "SOMABRAIN_OWNER_DSN": (MIGRATION, "owner-dsn"),
    }
    container = {
        "name": "service",
        "image": service_image(),
        "imagePullPolicy": "IfNotPresent",
        **({"args": args} if args else {}),
        "env": [
            {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for variable, (secret, key) in variables.items()
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": security,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def answers(kubectl: Kubectl, namespace: str, pod: str, path: str) -> tuple[int, str]:
    """Return status and body of an HTTP response on port 8080; the status is 0 without a response.

    Each request has its own port forward: kubectl ends one at the first connection that is refused.
    """
    try:
        with (
            kubectl.forward(namespace, f"pod/{pod}", 8080) as address,
            urlopen(f"http://{address}{path}", timeout=5) as response,
        ):
            return response.status, response.read().decode()
    except HTTPError as refusal:
        return refusal.code, refusal.read().decode()
    except (OSError, CommandFailed) as silence:
        return 0, str(silence)


async def test_image_is_ready_only_after_migrations(
    kubectl: Kubectl, namespace: str, database: Database, own_database: str, measured: Measured
) -> None:
    """On an empty database `serve` is not ready and gives the reason; the entry point migrates it, and both serve."""
    await asyncio.to_thread(kubectl.apply, namespace, pod("server", ["serve"]))
    server, alone = (partial(answers, kubectl, namespace, name) for name in ("server", "alone"))
    code, words = await eventually(
        partial(server, "/ready"), lambda answer: answer[0] == 503 and "no schema" in answer[1], "/ready was not 503"
    )
    measured(f"before: /ready {code} {words.strip()}")
    assert server("/livez")[0] == 200
    assert database.sql("SELECT to_regclass('schema_info') IS NULL", own_database) == "t"

    await asyncio.to_thread(kubectl.apply, namespace, pod("alone", []))
    for request in (alone, server):
        await eventually(partial(request, "/ready"), lambda answer: answer[0] == 200, "/ready was not 200")
    assert database.sql("SELECT current FROM schema_info", own_database) == str(schema.HEAD)
    with kubectl.forward(namespace, "pod/alone", 50052) as address, grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
