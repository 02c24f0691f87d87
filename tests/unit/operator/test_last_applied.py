"""While a step is blocked, everything is applied as it was when all steps last succeeded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.diff.foreign import drift
from somabrain_operator.kube.children import last_applied_id
from somabrain_operator.kube.names import RENDERED_HASH, child_id, labels
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.references.catalog import references_of
from somabrain_operator.references.resolved import ResolvedReference
from tests.unit.operator.samples import DEPLOYMENT, migrated, observed, plan, settled, spec

RECORD = last_applied_id("quickstart")


def blocked(serving: ObservedState, **fields: Any) -> ObservedState:
    """Return a resource that served, and whose spec now requires a migration that has not run."""
    desired = spec(version="0.3.0", **fields)
    return replace(serving, brain=replace(serving.brain, spec=desired, generation=2))


def scaled_by_autoscaler(state: ObservedState, replicas: int) -> ObservedState:
    """Return the same state after an autoscaler has scaled."""
    before = settled(state)
    live: Any = before.children[DEPLOYMENT]
    return replace(
        state, children={**before.children, DEPLOYMENT: {**live, "spec": {**live["spec"], "replicas": replicas}}}
    )


def with_record(state: ObservedState, content: str) -> ObservedState:
    """Return the same state with another content of the record."""
    record: Any = state.children[RECORD]
    return replace(state, children={**state.children, RECORD: {**record, "data": {"children.json": content}}})


def applied(state: ObservedState) -> dict[Any, Manifest]:
    return {child_id(each): each for each in plan(state).apply}


def test_deployment_stays_as_last_applied_during_migration() -> None:
    """During a migration the Deployment is applied as the last complete plan rendered it."""
    before = settled(observed(status=migrated()))
    deployment = applied(blocked(before))[DEPLOYMENT]
    assert "0.2.0" in str(deployment)
    assert "0.3.0" not in str(deployment)
    assert drift(deployment, before.children[DEPLOYMENT]) == ()


def test_deleted_deployment_is_restored_from_last_applied() -> None:
    """A Deployment deleted while a migration fails is created again from the last complete plan."""
    before = settled(observed(status=migrated()))
    deleted = replace(before, children={k: v for k, v in before.children.items() if k != DEPLOYMENT})
    assert "0.2.0" in str(applied(blocked(deleted))[DEPLOYMENT])


@pytest.mark.parametrize("kind", ["Deployment", "ConfigMap"])
def test_missing_secret_retains_applied_children(kind: str) -> None:
    """Settings, policy and Deployment stay while a Secret is missing."""
    before = settled(observed(status=migrated()))
    lost = replace(before, references=tuple(ResolvedReference(each, exists=False) for each in references_of(spec())))
    assert kind in {identity.kind for identity in applied(lost)}


def test_invalid_spec_retains_serving_children() -> None:
    """With an invalid stored spec the children of the last valid one stay."""
    before = settled(observed(spec(replicas=2), status=migrated()))
    broken = replace(before, brain=replace(before.brain, spec=None, problem="spec.x: no."))
    deployment: Any = applied(broken)[DEPLOYMENT]
    assert deployment["spec"]["replicas"] == 2
    assert "Service" in {identity.kind for identity in applied(broken)}


def test_replicas_follow_spec_during_failed_migration() -> None:
    """`replicas` follows the spec even while the rest of it is blocked."""
    before = settled(observed(status=migrated()))
    deployment: Any = applied(blocked(before, replicas=5))[DEPLOYMENT]
    assert deployment["spec"]["replicas"] == 5


def test_last_applied_omits_replicas() -> None:
    """The record has no `replicas`: an autoscaler changes it, and otherwise the spec sets it."""
    state = observed(spec(autoscaling={"max": 9}), status=migrated())
    one, five = (applied(scaled_by_autoscaler(state, number))[RECORD] for number in (1, 5))
    assert one == five


def test_last_applied_is_written_before_deployment() -> None:
    """The record is applied before the Deployment, so it is never older than what serves."""
    first = plan(observed(status=migrated())).apply[0]
    assert child_id(first) == RECORD


def test_last_applied_of_earlier_resource_is_ignored() -> None:
    """The record of a deleted resource is ignored by a new one of the same name."""
    before = settled(observed(status=migrated()))
    again = replace(blocked(before), brain=replace(blocked(before).brain, uid="another"))
    assert DEPLOYMENT not in applied(again)


@pytest.mark.parametrize(
    "content", ["", "no JSON", "{}", "7", '["x", {}, null, [1]]', '["\\ud800"]', "[" * 100_000, "[" * 900 + "]" * 900]
)
def test_malformed_last_applied_is_ignored(content: str) -> None:
    """An unreadable record raises no error, and the Deployment is left as it is."""
    before = settled(observed(status=migrated()))
    assert DEPLOYMENT not in applied(blocked(with_record(before, content)))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Job"},
        {"kind": "Secret"},
        {"kind": "FutureKind"},
        {"kind": 7},
        {"kind": "Service"},
        {"metadata": {"name": "pwn"}},
        {"metadata": {"namespace": "kube-system"}},
        {"metadata": {"namespace": None}},
        {"metadata": {"ownerReferences": []}},
        {"metadata": "x"},
    ],
)
def test_foreign_entries_in_last_applied_are_ignored(change: dict[str, Any]) -> None:
    """An entry of another kind, name, namespace or owner than any child of the resource has is ignored."""
    before = settled(observed(status=migrated()))
    genuine: Any = before.children[DEPLOYMENT]
    metadata: Any = change.get("metadata", {})
    merged = {**genuine["metadata"], **metadata} if isinstance(metadata, dict) else metadata
    entry = {**genuine, **change, "metadata": merged}
    expected = set(applied(blocked(with_record(before, "[]"))))
    assert set(applied(blocked(with_record(before, json.dumps([entry]))))) == expected
    assert DEPLOYMENT in applied(blocked(with_record(before, json.dumps([entry, genuine]))))


@pytest.mark.parametrize("kind", ["Job", "Secret", "Deployment"])
def test_unowned_last_applied_is_not_used(kind: str) -> None:
    """A forged record from before the resource existed causes no write other than the resource's own."""
    owner = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "name": "quickstart", "controller": True}
    name = "quickstart-server" if kind == "Deployment" else "pwn"
    entry = {"kind": kind, "metadata": {"name": name, "namespace": "demo", "ownerReferences": [owner]}, "spec": {}}
    metadata: dict[str, Any] = {
        "name": RECORD.name,
        "namespace": "demo",
        "labels": labels("quickstart", "applied"),
        "annotations": {RENDERED_HASH: "x"},
    }
    planted: Manifest = {"kind": "ConfigMap", "metadata": metadata, "data": {"children.json": json.dumps([entry])}}
    assert plan(observed(children=[planted])).apply == plan(observed()).apply


def test_last_applied_is_never_pruned() -> None:
    """The record is not pruned although no step applies it."""
    before = settled(observed(status=migrated()))
    assert plan(before).delete == ()
    assert RECORD not in plan(blocked(before)).delete


def test_deployment_of_other_owner_is_not_overwritten() -> None:
    """A Deployment of another owner is not applied from the record."""
    before = settled(observed(status=migrated()))
    theirs: Any = {**before.children[DEPLOYMENT], "metadata": {"name": "quickstart-server", "namespace": "demo"}}
    state = blocked(replace(before, children={**before.children, DEPLOYMENT: theirs}))
    assert DEPLOYMENT not in applied(state)


def test_deleting_deployment_does_not_allow_downgrade() -> None:
    """The record has the version that served, so deleting the Deployment does not allow a downgrade."""
    newer = spec(version="0.3.0")
    record = plan(observed(newer)).migration
    assert record is not None
    before = settled(observed(newer, status=migrated(record.hash or "")))
    children = {k: v for k, v in before.children.items() if k != DEPLOYMENT}
    older = replace(before, children=children, brain=replace(before.brain, spec=spec(version="0.2.0")))
    assert plan(older).conditions["ConfigValid"].reason == "Downgrade"
