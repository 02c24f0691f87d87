"""An operator for some namespaces: one that is missing, deleted or forbidden does not block the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.loopback import api_server
from tests.integration.operator.api import Api, Object, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, wait_for_kind
from tests.integration.operator.process import ENVIRONMENT, Operator, operator
from tests.support.waiting import eventually

LEASE = ENVIRONMENT["SOMABRAIN_OPERATOR__LEASE_NAME"]
TENANTS = ("team-a", "team-b")
WATCH = {
    "SOMABRAIN_OPERATOR__NAMESPACES": json.dumps(TENANTS),
    "SOMABRAIN_OPERATOR__LEASE_NAMESPACE": SYSTEM,
    "SOMABRAIN_OPERATOR__LEASE_DURATION_S": "3",
}
FORMER = {"SOMABRAIN_OPERATOR__FORMER_LEASE_NAMESPACE": TENANTS[0]}
BEFORE = {**WATCH, "SOMABRAIN_OPERATOR__LEASE_NAMESPACE": TENANTS[0]}
"""An operator as the chart of the previous release set it up."""


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server with the chart for two namespaces, of which the first and its roles do not exist."""
    with api_server() as server, api_of(server) as verbs:
        for name in (SYSTEM, TENANTS[1]):
            create_namespace(verbs, name)
        for manifest in rendered(f"watchNamespaces={{{','.join(TENANTS)}}}"):
            if manifest["metadata"].get("namespace") != TENANTS[0]:
                verbs.create(manifest, namespace_of(manifest))
        wait_for_kind(verbs)
        yield verbs


def create_namespace(api: Api, name: str) -> None:
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def roles(namespace: str) -> list[Object]:
    """Return the chart's roles in a namespace."""
    manifests = rendered(f"watchNamespaces={{{','.join(TENANTS)}}}")
    return [each for each in manifests if each["metadata"].get("namespace") == namespace and "Role" in each["kind"]]


def tenant(api: Api, namespace: str) -> Brain:
    """Create a SomaBrain in a namespace."""
    brain = Brain(api, namespace)
    brain.secrets()
    brain.apply()
    return brain


def health(one: Operator) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(one.get("/healthz"))
    return report


def leads(one: Operator) -> bool:
    return "somabrain_operator_leader 1.0" in one.get("/metrics")


def test_missing_namespace_does_not_block_others(api: Api, tmp_path: Path) -> None:
    """A SomaBrain beside a missing namespace is served, and `/healthz` names the namespace with the remedy.

    Once that namespace and the operator's rights in it exist, SomaBrains in it are served too, by the same process.
    """
    with operator(account_of(api, tmp_path), tmp_path / "log", **WATCH, **FORMER) as started:
        started.wait_until_started()
        ControllerStub(tenant(api, TENANTS[1])).serve()
        report = eventually(lambda: health(started), lambda it: it["status"] == "degraded", "it is degraded")
        assert any(
            "watch somabrains in namespace team-a: if the namespace was deleted" in it for it in report["reasons"]
        )
        create_namespace(api, TENANTS[0])
        for manifest in roles(TENANTS[0]):
            api.create(manifest, TENANTS[0])
        ControllerStub(tenant(api, TENANTS[0])).serve()
        eventually(lambda: health(started), lambda it: it["status"] == "ok" and "reasons" not in it, "all is well")
        assert started.process.poll() is None
        assert "Traceback" not in started.log.read_text()


def test_deleted_namespace_does_not_block_others(api: Api, tmp_path: Path) -> None:
    """Without its rights in one namespace, a restarted operator still reverts edits and takes changes in the other."""
    create_namespace(api, TENANTS[0])
    for manifest in roles(TENANTS[0]):
        api.create(manifest, TENANTS[0])
    account = account_of(api, tmp_path)
    with operator(account, tmp_path / "first", **WATCH, **FORMER) as first:
        first.wait_until_started()
        brain = tenant(api, TENANTS[1])
        ControllerStub(brain).serve()
        for manifest in roles(TENANTS[0]):  # as the namespace controller does with all content of the namespace
            api.delete(manifest["kind"], manifest["metadata"]["name"], TENANTS[0])
        api.delete("Lease", LEASE, TENANTS[0])
        brain.apply(replicas=2)
        eventually(brain.deployment, lambda live: live["spec"]["replicas"] == 2, "the edit is applied")
    with operator(account, tmp_path / "second", **WATCH, **FORMER) as second:
        second.wait_until_started()
        brain.apply(replicas=3)
        eventually(brain.deployment, lambda live: live["spec"]["replicas"] == 3, "the next one is applied")
        assert second.status("/healthz") == 200


def test_lease_creation_failure_is_reported_in_healthz(api: Api, tmp_path: Path) -> None:
    """Where the Lease cannot be created, `/healthz` fails and says so; a restart would not help, so `/livez` does not.

    Once it can be created, the operator leads.
    """
    elsewhere = {**WATCH, "SOMABRAIN_OPERATOR__LEASE_NAMESPACE": "gone"}
    with operator(account_of(api, tmp_path), tmp_path / "log", **elsewhere) as started:
        started.wait_until_started()
        eventually(lambda: started.status("/healthz"), lambda status: status == 503, "health fails")
        assert "The Lease gone/" in started.body("/healthz")
        assert "check that its namespace exists" in started.body("/healthz")
        assert started.status("/livez") == 200
        create_namespace(api, "gone")
        for manifest in roles(SYSTEM):
            api.create({**manifest, "metadata": {**manifest["metadata"], "namespace": "gone"}}, "gone")
        eventually(lambda: leads(started), bool, "it leads", 10)
        assert "The Lease" not in started.body("/healthz")


def test_operator_honours_lease_of_previous_release(api: Api, tmp_path: Path) -> None:
    """An operator with the Lease's former place alone and one with both never lead together, whichever stops first."""
    create_namespace(api, TENANTS[0])
    for manifest in roles(TENANTS[0]):
        api.create(manifest, TENANTS[0])
    account = account_of(api, tmp_path)
    with operator(account, tmp_path / "before", **BEFORE) as before:
        before.wait_until_started()
        eventually(lambda: leads(before), bool, "the earlier one leads", 10)
        with operator(account, tmp_path / "after", **WATCH, **FORMER) as after:
            after.wait_until_started()
            waits(after)
            assert not leads(after)
            before.stop()
            eventually(lambda: leads(after), bool, "the later one leads once the earlier one has stopped", 5)
            with operator(account, tmp_path / "again", **BEFORE) as again:
                again.wait_until_started()
                waits(again)
                assert (leads(after), leads(again)) == (True, False)
                after.stop()
                eventually(lambda: leads(again), bool, "the earlier release leads again", 5)


def waits(one: Operator) -> None:
    """Wait until an operator has logged that another one leads."""
    waiting = "lease is held by another operator; waiting"
    eventually(lambda: [each["event"] for each in one.events()], lambda events: waiting in events, "it waits")


def test_missing_namespace_of_former_lease_is_ignored(api: Api, tmp_path: Path) -> None:
    """Without the namespace of the former Lease the leader holds the current one alone."""
    with operator(account_of(api, tmp_path), tmp_path / "log", **WATCH, **FORMER) as started:
        started.wait_until_started()
        eventually(lambda: leads(started), bool, "it leads", 10)
        names = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in api.objects("Lease", SYSTEM)]
        assert names == [(SYSTEM, LEASE)]
