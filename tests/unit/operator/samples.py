"""Observed states to plan from: a resource in a given state, and everything else healthy by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import timestamps
from somabrain_operator.kube.names import MIGRATION, SERVER, ChildId, Key, child_id, labels
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.observe.state import Brain, ObservedState, OperatorDefaults
from somabrain_operator.plan import Plan, make_plan
from somabrain_operator.references.catalog import references_of
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.render.migration import migration_hash
from somabrain_operator.status import render_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = Key("demo", "quickstart")
UID = "5d8f6f0e-0000-4000-8000-000000000001"
OWNER = Owner(KEY, UID)
RELEASE = OperatorDefaults(
    service_repository="ghcr.io/somabrain/somabrain-service",
    service_version="0.2.0",
    opa_image="docker.io/openpolicyagent/opa:1.22.2-static",
    vault_image="docker.io/hashicorp/vault:1.21.0",
    policy="package sb.policy\n\ndefault allow := false\n",
)
IMAGE = "ghcr.io/somabrain/somabrain-service:0.2.0"
FINGERPRINT = migration_hash(IMAGE, "hash-of-owner-dsn")
DEPLOYMENT = ChildId("Deployment", "quickstart-server")
MINIMAL: Mapping[str, Any] = {
    "database": {"secretRef": {"name": "somabrain-database"}},
    "migration": {"database": {"secretRef": {"name": "somabrain-migration"}}},
}
SECRETS = ("postgresql://somabrain_app:hunter22@pg:5432/somabrain",)


def spec(**fields: Any) -> SomaBrainSpec:
    """Return the minimal spec with `fields` set in addition."""
    return SomaBrainSpec.model_validate({**MINIMAL, **fields})


def resolved(desired: SomaBrainSpec) -> tuple[ResolvedReference, ...]:
    """Return every reference of the spec as resolved."""
    return tuple(
        ResolvedReference(
            each,
            exists=True,
            digests={key: f"hash-of-{key}" for key in each.keys or (f"{each.name}.rego",)},
            secrets=SECRETS,
        )
        for each in references_of(desired)
    )


def observed(
    desired: SomaBrainSpec | None = None,
    *,
    status: Mapping[str, Any] | None = None,
    children: Sequence[Manifest] = (),
    jobs: Sequence[Manifest] = (),
    pods: Sequence[Manifest] = (),
    references: tuple[ResolvedReference, ...] | None = None,
    annotations: Mapping[str, str] | None = None,
    reports: Mapping[str, str] | None = None,
    generation: int = 1,
    missing_kinds: frozenset[str] = frozenset(),
    now: datetime = NOW,
    pod_refusals: Mapping[str, str] | None = None,
) -> ObservedState:
    """Return the observed state of the resource."""
    effective = desired or spec()
    brain = Brain(KEY, UID, generation, annotations or {}, effective, "", status or {}, deleting=False)
    return ObservedState(
        brain=brain,
        references=resolved(effective) if references is None else references,
        children={child_id(child): child for child in children},
        jobs=tuple(jobs),
        pods=tuple(pods),
        reports=reports or {},
        now=now,
        missing_kinds=missing_kinds,
        pod_refusals=pod_refusals or {},
    )


def migrated(fingerprint: str = FINGERPRINT) -> dict[str, Any]:
    """Return a status that records a successful migration."""
    return {"migration": {"hash": fingerprint, "attempt": 1, "completedAt": "2026-01-02T03:00:00Z"}}


def plan(state: ObservedState) -> Plan:
    """Return the plan for an observed state."""
    return make_plan(state, RELEASE)


def settled(state: ObservedState, *, ready: int | None = None) -> ObservedState:
    """Return the same state with all children applied and the Deployment rolled out, as its controller reports."""
    children = {child_id(child): child for child in plan(state).apply}
    desired = state.brain.spec.replicas if state.brain.spec else 0
    children[DEPLOYMENT] = rolled_out(children[DEPLOYMENT], desired, desired if ready is None else ready)
    return replace(state, children=children)


def rolled_out(deployment: Manifest, replicas: int, ready: int, *, updated: int | None = None) -> Manifest:
    """Return a Deployment with the status of its controller."""
    metadata: Any = deployment["metadata"]
    return {
        **deployment,
        "metadata": {**metadata, "generation": 1},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas if updated is None else updated,
            "readyReplicas": ready,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        },
    }


def conditions(
    state: ObservedState, refusal: str = "", children: Mapping[ChildId, Manifest] | None = None
) -> dict[str, Any]:
    """Return the conditions of the status, by type."""
    status: Any = render_status(plan(state), state.children if children is None else children, refusal)
    return {each["type"]: each for each in status["conditions"]}


def job(attempt: int = 1, *, state: str | None = None, ready: int = 0, fingerprint: str = FINGERPRINT) -> Manifest:
    """Return a live migration Job: running, or finished in `state` (Complete, Failed)."""
    finished = (
        [
            {
                "type": state,
                "status": "True",
                "message": "Job has reached the specified backoff limit",
                "lastTransitionTime": timestamps.iso(NOW),
            }
        ]
        if state
        else []
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"quickstart-migrate-{fingerprint[:8]}-{attempt}",
            "namespace": "demo",
            "creationTimestamp": timestamps.iso(NOW - timedelta(seconds=30)),
            "annotations": {"somabrain.io/migration-hash": fingerprint},
            "ownerReferences": [{"uid": UID, "controller": True}],
        },
        "status": {"ready": ready, "conditions": finished},
    }


def pod(
    name: str,
    *,
    component: str = SERVER,
    ready: bool = True,
    containers: Sequence[Mapping[str, Any]] = (),
    image: str = IMAGE,
    job_name: str = "",
    extra: Sequence[Mapping[str, Any]] = (),
) -> Manifest:
    """Return a live pod; `containers` are container statuses, `extra` are conditions."""
    marks = labels("quickstart", component) | ({"batch.kubernetes.io/job-name": job_name} if job_name else {})
    return {
        "metadata": {"name": name, "namespace": "demo", "labels": marks},
        "spec": {"containers": [{"name": component, "image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}, *extra],
            "containerStatuses": list(containers),
        },
    }


def waiting(reason: str, message: str = "", name: str = SERVER, **more: Any) -> dict[str, Any]:
    """Return the status of a container in the state `waiting`."""
    return {"name": name, "image": IMAGE, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def terminated(message: str, code: int = 1, name: str = MIGRATION) -> dict[str, Any]:
    """Return the status of a container that terminated."""
    state = {"terminated": {"exitCode": code, "reason": "Error", "message": message}}
    return {"name": name, "image": IMAGE, "state": state}
