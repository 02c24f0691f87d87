"""States of a SomaBrain that tools wait in: how a test reaches each, and the expected judgement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from somabrain_operator.kube import timestamps
from tests.integration.operator.api import Object
from tests.integration.operator.brains import NAME, Brain, ControllerStub, running, waiting
from tests.support.waiting import eventually

Drive = Callable[[Brain, ControllerStub], object]
REPOSITORY = "ghcr.io/somabrain/somabrain-service"


@dataclass(frozen=True)
class Case:
    """A state and the judgement of kstatus and Argo CD that fits it."""

    name: str
    drive: Drive
    """Brings the resource into the state, and returns when its status says so."""
    kstatus: str
    argocd: str
    outlasts_patience: bool = False
    """True if the state is judged only after the operator's setting `stall_after_s`."""
    in_previous: bool = True
    """False if the previous version does not notice the state."""


def _waits(kind: str, status: str, message: str = "", **fields: Any) -> Drive:
    """Apply the resource and wait for a condition."""

    def drive(brain: Brain, _: ControllerStub) -> None:
        brain.apply(**fields)
        brain.until(kind, status, message)

    return drive


def _served_then(kind: str, status: str, message: str = "", **fields: Any) -> Drive:
    """Let it serve, change its spec, and wait for a condition."""

    def drive(brain: Brain, stub: ControllerStub) -> None:
        brain.apply(version="0.2.0")
        stub.serve()
        brain.apply(**fields)
        brain.until(kind, status, message)

    return drive


def _serves(brain: Brain, stub: ControllerStub) -> None:
    brain.apply()
    stub.serve()


def _rolls_out(brain: Brain, stub: ControllerStub) -> None:
    brain.apply()
    stub.finish_migration()
    eventually(brain.deployment, bool, "a Deployment")
    brain.until("Migrated", "True")


def _cannot_pull(brain: Brain, stub: ControllerStub) -> None:
    _rolls_out(brain, stub)
    live = brain.deployment()
    status = {
        "observedGeneration": live["metadata"]["generation"],
        "replicas": 1,
        "updatedReplicas": 1,
        "unavailableReplicas": 1,
    }
    brain.api.status("Deployment", f"{NAME}-server", brain.namespace, status)
    pod = stub.pod("server-0", live["spec"]["template"])
    stub.pod_status(pod, "Pending", [waiting("ImagePullBackOff")])
    brain.until("Degraded", "True", "cannot be pulled")


def _gives_up(brain: Brain, stub: ControllerStub) -> None:
    _cannot_pull(brain, stub)
    exceeded = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "",
        "lastTransitionTime": timestamps.iso(datetime.now(UTC)),
    }
    brain.api.status("Deployment", f"{NAME}-server", brain.namespace, {"conditions": [exceeded]})
    brain.until("Degraded", "True", "makes no progress")


def _loses_its_pod(brain: Brain, stub: ControllerStub) -> None:
    _serves(brain, stub)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "unhealthy"},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "involvedObject": {"kind": "Pod", "name": "server-0", "namespace": brain.namespace},
    }
    brain.api.create(event, brain.namespace)
    pod = brain.api.get("Pod", "server-0", brain.namespace)
    stub.pod_status(pod, "Running", [running()], address="127.0.0.58")
    stub.roll_out(ready=0)
    brain.until("Degraded", "True", "Readiness probe failed")


def _fails_to_migrate(brain: Brain, stub: ControllerStub) -> None:
    brain.apply()
    stub.fail_migration("PostgreSQL cannot be reached.")
    brain.until("Migrated", "False", "PostgreSQL cannot be reached.")


def _fails_to_migrate_twice(brain: Brain, stub: ControllerStub) -> None:
    _fails_to_migrate(brain, stub)
    stub.fail_migration("PostgreSQL cannot be reached.", attempt=2)
    brain.until("Migrated", "False", "Attempt 2 failed")


def _is_refused(brain: Brain, stub: ControllerStub) -> None:
    _serves(brain, stub)
    brain.api.patch("ConfigMap", f"{NAME}-config", brain.namespace, {"data": {"X": "1"}, "immutable": True})
    brain.until("Degraded", "True", "immutable")


def _name_is_taken(brain: Brain, _: ControllerStub) -> None:
    brain.api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": f"{NAME}-server"}}, brain.namespace
    )
    brain.apply()
    brain.until("Degraded", "True", "does not belong to this resource")


def _hibernates(brain: Brain, stub: ControllerStub) -> None:
    _serves(brain, stub)
    brain.apply(replicas=0)
    eventually(brain.deployment, lambda live: live["spec"]["replicas"] == 0, "no replicas")
    stub.roll_out()
    brain.until("Available", "False", "spec.replicas is 0")
    eventually(lambda: brain.resource()["status"]["phase"], lambda phase: phase == "Hibernated", "Hibernated")


def _does_not_scale(brain: Brain, stub: ControllerStub) -> None:
    brain.apply(autoscaling={"min": 1, "max": 3})
    stub.serve()
    inactive = {
        "type": "ScalingActive",
        "status": "False",
        "reason": "FailedGetResourceMetric",
        "message": "no metrics known",
        "lastTransitionTime": timestamps.iso(datetime.now(UTC)),
    }
    status = {"currentReplicas": 1, "desiredReplicas": 1, "conditions": [inactive]}
    brain.api.status("HorizontalPodAutoscaler", f"{NAME}-server", brain.namespace, status)
    brain.until("Degraded", "True", "no metrics known")


def _mends_a_downgrade(brain: Brain, stub: ControllerStub) -> None:
    _is_downgraded(brain, stub)
    brain.apply(version="0.3.0")
    brain.until("Migrated", "False", f"{REPOSITORY}:0.3.0")


_LIMIT = {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}
_no_secret = _waits("ReferencesResolved", "False", "is not in namespace", database={"secretRef": {"name": "late"}})
_no_key = _waits("ReferencesResolved", "False", "lacks", database={"secretRef": {"name": "somabrain-migration"}})
_is_downgraded = _served_then("ConfigValid", "False", "is older than", version="0.1.0")
_paused_before_a_change = _served_then("Paused", "True", paused=True, grpc={"port": 50099})

CASES = (
    Case("migrating", _waits("Migrated", "False", "is migrating"), "InProgress", "Progressing"),
    Case("rolling out", _rolls_out, "InProgress", "Progressing"),
    Case("serving", _serves, "Current", "Healthy"),
    Case("serving, its autoscaler without metrics", _does_not_scale, "Current", "Healthy"),
    Case("a Secret is not there yet", _no_secret, "InProgress", "Progressing"),
    Case("a Secret is not there for long", _no_secret, "Failed", "Degraded", outlasts_patience=True),
    Case("a key is missing", _no_key, "InProgress", "Progressing"),
    Case("a key is missing for long", _no_key, "Failed", "Degraded", outlasts_patience=True),
    Case("the migration failed and is tried again", _fails_to_migrate, "InProgress", "Progressing"),
    Case("the migration fails for long", _fails_to_migrate_twice, "Failed", "Degraded", outlasts_patience=True),
    Case("the image cannot be pulled", _cannot_pull, "InProgress", "Progressing"),
    Case("the rollout's deadline is over", _gives_up, "Failed", "Degraded"),
    Case("PostgreSQL is away", _loses_its_pod, "InProgress", "Progressing"),
    Case("PostgreSQL is away for long", _loses_its_pod, "Failed", "Degraded", outlasts_patience=True),
    Case("the API server refuses a child", _is_refused, "InProgress", "Progressing", in_previous=False),
    Case("an invalid field", _waits("ConfigValid", "False", "lower the request", **_LIMIT), "Failed", "Degraded"),
    Case("a refused downgrade", _is_downgraded, "Failed", "Degraded"),
    Case("a refused downgrade, mended", _mends_a_downgrade, "InProgress", "Progressing"),
    Case("a name is taken", _name_is_taken, "Failed", "Degraded"),
    Case("hibernated", _hibernates, "Current", "Healthy"),
    Case("paused while it serves", _served_then("Paused", "True", paused=True), "Current", "Suspended"),
    Case("paused before a change", _paused_before_a_change, "Failed", "Suspended"),
)


def just_applied(brain: Brain) -> Object:
    """Return a resource that no operator has reconciled."""
    brain.apply()
    return brain.resource()


def just_edited(brain: Brain) -> Object:
    """Return a resource that no operator has reconciled since an edit of its spec."""
    brain.apply(replicas=2)
    return brain.resource()
