"""While a step halts, the last applied state is enforced: edits are reverted, deleted children are created again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.support.waiting import eventually

REPOSITORY = "ghcr.io/somabrain/somabrain-service"
EVIL = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil:1"}]


@pytest.fixture(params=["a migration that failed", "a Secret that is gone", "a downgrade that is refused"])
def blocked(brain: Brain, controller_stub: ControllerStub, request: pytest.FixtureRequest) -> Brain:
    """A SomaBrain that serves 0.2.0, and whose newest spec is halted."""
    brain.apply(version="0.2.0")
    controller_stub.serve()
    if request.param == "a migration that failed":
        brain.apply(version="0.3.0")
        controller_stub.fail_migration("no", image=f"{REPOSITORY}:0.3.0")
        brain.until("Migrated", "False", "no")
    elif request.param == "a Secret that is gone":
        brain.api.delete("Secret", "somabrain-database", brain.namespace)
        brain.until("ReferencesResolved", "False")
    else:
        brain.apply(version="0.1.0")
        brain.until("ConfigValid", "False")
    return brain


def test_edit_is_reverted_to_last_applied_spec(blocked: Brain) -> None:
    """An edited Deployment is restored to the last spec that passed."""
    before = blocked.deployment()["spec"]
    blocked.api.patch("Deployment", f"{NAME}-server", blocked.namespace, EVIL)
    eventually(blocked.deployment, lambda now: bool(now["spec"] == before), "the edit is put back", 10)


@pytest.mark.parametrize(
    ("kind", "component"), [("Deployment", "server"), ("ConfigMap", "config"), ("Service", "headless")]
)
def test_deleted_child_is_recreated_from_last_applied(blocked: Brain, kind: str, component: str) -> None:
    """A deleted child is created again unchanged."""
    field = "data" if kind == "ConfigMap" else "spec"
    before = blocked.child(kind, component)[field]
    blocked.api.delete(kind, f"{NAME}-{component}", blocked.namespace)
    after: Any = eventually(lambda: blocked.child(kind, component)[field], bool, f"the {kind} is back", 10)
    assert {k: v for k, v in after.items() if not k.startswith("clusterIP")} == {
        k: v for k, v in before.items() if not k.startswith("clusterIP")
    }


def test_tampered_last_applied_record_is_ignored(blocked: Brain) -> None:
    """While the newest spec is halted, a record that somebody changed leads to no write of the objects it names."""
    record = blocked.child("ConfigMap", "applied")["data"]["children.json"]
    forged = record.replace(f"{REPOSITORY}:0.2.0", "evil:1")
    assert forged != record
    data = {"data": {"children.json": forged}}
    blocked.api.patch("ConfigMap", f"{NAME}-applied", blocked.namespace, data)
    blocked.api.delete("Service", f"{NAME}-headless", blocked.namespace)
    time.sleep(2)
    assert blocked.containers() == [f"server {REPOSITORY}:0.2.0"]
    blocked.api.patch("ConfigMap", f"{NAME}-applied", blocked.namespace, {"data": {"children.json": record}})
    eventually(
        lambda: blocked.child("Service", "headless"), bool, "with the operator's own content it counts again", 10
    )


def test_halted_resource_can_be_scaled(blocked: Brain) -> None:
    """The running version can be scaled while the newest spec is halted."""
    blocked.apply(replicas=3)
    eventually(lambda: blocked.deployment()["spec"]["replicas"], lambda number: number == 3, "3 replicas", 10)
    assert blocked.containers() == [f"server {REPOSITORY}:0.2.0"]
