"""The MCP server is part of the resource: it rolls after the servers, and Ready and Degraded include it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import is_owned_by
from somabrain_operator.observe.state import ObservedState, OtherBudget, OtherBudgets
from somabrain_operator.status import render_status
from tests.unit.operator.samples import (
    DEPLOYMENT,
    IMAGE,
    OWNER,
    conditions,
    migrated,
    observed,
    plan,
    pod,
    resolved,
    rolled_out,
    settled,
    spec,
    waiting,
)

MCP: dict[str, Any] = {
    "resourceUrl": "https://memory.example/mcp",
    "exchange": {"url": "https://issuer.example/token", "secretRef": {"name": "mcp-client"}},
    "replicas": 2,
}
WITH_ALL: dict[str, Any] = {**MCP, "networkPolicy": {}, "podDisruptionBudget": {}}
MCP_DEPLOYMENT = ChildId("Deployment", "quickstart-mcp")


def serving(ready: int = 2, mcp: dict[str, Any] | None = None, **fields: Any) -> ObservedState:
    """Return a resource whose servers serve, with `ready` of the two pods of its MCP server ready."""
    state = settled(observed(spec(**fields, mcp=mcp or MCP), status=migrated()))
    live = rolled_out(state.children[MCP_DEPLOYMENT], 2, ready)
    pods = (pod("p0"), *(pod(f"m{number}", component="mcp", ready=number < ready) for number in range(2)))
    return replace(state, children={**state.children, MCP_DEPLOYMENT: live}, pods=pods)


def edited(state: ObservedState, **fields: Any) -> ObservedState:
    """Return the same state with another spec."""
    desired = spec(**fields)
    brain = replace(state.brain, spec=desired, generation=2)
    return replace(state, brain=brain, references=resolved(desired))


def applied(state: ObservedState) -> dict[ChildId, Any]:
    """Return what is applied, by identity."""
    return {child_id(each): each for each in plan(state).apply}


def of_mcp(manifests: dict[ChildId, Manifest]) -> set[str]:
    """Return the kinds of the MCP server's children."""
    return {identity.kind for identity in manifests if identity.name == "quickstart-mcp"}


def test_mcp_children_are_owned_and_pruned_with_the_field() -> None:
    """Each child of the MCP server is owned by the resource, and all are deleted when spec.mcp is removed."""
    children = applied(serving(mcp=WITH_ALL))
    kinds = {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"}
    assert of_mcp(children) == kinds
    assert all(is_owned_by(each, OWNER) for each in children.values())
    without = edited(serving(mcp=WITH_ALL))
    assert of_mcp(applied(without)) == set()
    assert {each.kind for each in plan(without).delete if each.name == "quickstart-mcp"} == kinds


def test_mcp_server_is_absent_until_migration_succeeded() -> None:
    """No child of the MCP server is applied before the migration has succeeded."""
    assert of_mcp(applied(observed(spec(mcp=MCP)))) == set()


def test_mcp_pods_roll_after_servers() -> None:
    """During a rollout of the servers the MCP server's template is unchanged; then it gets the new image."""
    upgrade = {"version": "0.3.0", "mcp": MCP}
    state = edited(serving(), **upgrade)
    state = replace(state, brain=replace(state.brain, status=_migrated_for(state)))
    state = replace(state, children={**state.children, **_recorded(serving())})
    during = applied(state)
    assert "0.3.0" in str(during[DEPLOYMENT])
    assert IMAGE in str(during[MCP_DEPLOYMENT])
    live = {**state.children, DEPLOYMENT: rolled_out(during[DEPLOYMENT], 1, 1)}
    assert "0.3.0" in str(applied(replace(state, children=live))[MCP_DEPLOYMENT])


def _recorded(state: ObservedState) -> dict[ChildId, Manifest]:
    """Return the record of the last applied children."""
    return {identity: each for identity, each in applied(state).items() if identity.name == "quickstart-applied"}


def _migrated_for(state: ObservedState) -> dict[str, Any]:
    started = plan(replace(state, brain=replace(state.brain, status={}))).migration
    assert started is not None
    return migrated(started.hash or "")


@pytest.mark.parametrize(
    ("fields", "replicas"), [({}, 2), ({"replicas": 0}, 0), ({"replicas": 0, "autoscaling": {"max": 2}}, 2)]
)
def test_mcp_replicas_are_zero_while_hibernated(fields: dict[str, Any], replicas: int) -> None:
    """The MCP server has its own number of pods, and none while the service is hibernated."""
    resources = {"requests": {"cpu": "1"}}
    children = applied(settled(observed(spec(**fields, resources=resources, mcp=MCP), status=migrated())))
    assert children[MCP_DEPLOYMENT]["spec"]["replicas"] == replicas


def test_mcp_replicas_follow_spec_while_step_halts() -> None:
    """While a Secret is missing, the last applied MCP server is applied, with the number of pods of the spec."""
    before = serving()
    missing = tuple(replace(each, exists=False, digests={}) for each in before.references)
    halted = replace(edited(before, mcp={**MCP, "replicas": 5}), references=missing)
    deployment = applied(halted)[MCP_DEPLOYMENT]
    assert deployment["spec"]["replicas"] == 5
    assert deployment["spec"]["template"] == before.children[MCP_DEPLOYMENT]["spec"]["template"]  # type: ignore[index,call-overload]


def test_mcp_pods_roll_only_for_references_not_reloaded() -> None:
    """A rotated client secret changes nothing; a rotated CA of the servers changes the MCP pods and no server."""
    state = serving(
        grpc={"tls": {"secretRef": {"name": "certificate"}}},
        mcp={**MCP, "tls": {"caSecretRef": {"name": "service-ca"}}},
    )

    def rotated(field: str) -> dict[ChildId, Any]:
        references = tuple(
            replace(each, digests=dict.fromkeys(each.digests, "another")) if each.reference.field == field else each
            for each in state.references
        )
        assert references != state.references
        return applied(replace(state, references=references))

    before = applied(state)
    secret, authority = rotated("spec.mcp.exchange.secretRef"), rotated("spec.mcp.tls.caSecretRef")
    assert secret[MCP_DEPLOYMENT] == before[MCP_DEPLOYMENT]
    assert authority[MCP_DEPLOYMENT] != before[MCP_DEPLOYMENT]
    assert authority[DEPLOYMENT] == before[DEPLOYMENT]


def test_mcp_variables_have_no_empty_value() -> None:
    """A variable without a value has no field for it: the API server omits an empty one, which would be drift."""
    bare = serving(mcp={"resourceUrl": "https://memory.example/mcp", "sameResource": True})
    exchanged = serving(mcp={**MCP, "exchange": {**MCP["exchange"], "scope": ""}})
    for state, name in ((bare, "SOMABRAIN_SECRETS_DIR"), (exchanged, "SOMABRAIN_MCP__EXCHANGE__SCOPE")):
        (container,) = applied(state)[MCP_DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
        assert {"name": name} in container["env"]
        assert all(each.get("value") != "" for each in container["env"])


def test_image_without_mcp_server_is_rejected() -> None:
    """An image of 0.1 has no MCP server: the spec is refused with the field and the remedy."""
    refused = conditions(observed(spec(version="0.1.0", mcp=MCP)))["ConfigValid"]
    assert (refused["status"], refused["reason"]) == ("False", "McpNotInImage")
    assert "remove spec.mcp" in refused["message"]


def test_mcp_setting_with_two_sources_is_rejected() -> None:
    """A Secret of the MCP server cannot set what a field sets; it may set what one of the servers' Secrets sets."""
    state = serving(secretRefs=[{"name": "more"}], mcp={**MCP, "secretRefs": [{"name": "own"}]})

    def with_keys(**keys: str) -> ObservedState:
        references = tuple(
            replace(each, digests={keys[each.reference.name]: "x"}) if each.reference.name in keys else each
            for each in state.references
        )
        return replace(state, references=references)

    conflict = conditions(with_keys(own="SOMABRAIN_MCP__PORT", more="SOMABRAIN_LOG__FORMAT"))["ReferencesResolved"]
    assert (conflict["status"], conflict["reason"]) == ("False", "SettingTaken")
    assert "spec.mcp.secretRefs[0]" in conflict["message"]
    both = conditions(with_keys(own="SOMABRAIN_LOG__FORMAT", more="SOMABRAIN_LOG__FORMAT"))["ReferencesResolved"]
    assert both["status"] == "True"


def test_ready_status_includes_mcp_endpoint() -> None:
    """With both serving it is Ready; McpAvailable and the endpoint are in the status only with spec.mcp."""
    state = serving()
    status: Any = render_status(plan(state), state.children)
    reported = {each["type"]: each["status"] for each in status["conditions"]}
    assert (reported["Ready"], reported["McpAvailable"], reported["Degraded"]) == ("True", "True", "False")
    assert status["mcpEndpoint"] == "http://quickstart-mcp.demo.svc:8090/mcp"
    without = settled(observed(status=migrated()))
    plain: Any = render_status(plan(without), without.children)
    assert "mcpEndpoint" not in plain
    assert "McpAvailable" not in [each["type"] for each in plain["conditions"]]


def test_failing_mcp_pod_is_degraded_and_service_stays_available() -> None:
    """A bad MCP pod: Available stays True, Ready and McpAvailable are False, and Degraded names pod and cause."""
    state = serving(ready=0)
    failing = pod("m0", component="mcp", ready=False, containers=[waiting("CrashLoopBackOff", name="mcp")])
    reported = conditions(replace(state, pods=(pod("p0"), failing)))
    assert {kind: reported[kind]["status"] for kind in ("Available", "McpAvailable", "Ready", "Degraded")} == {
        "Available": "True",
        "McpAvailable": "False",
        "Ready": "False",
        "Degraded": "True",
    }
    assert reported["Degraded"]["message"].startswith("MCP server: Pod m0: container mcp keeps exiting")
    assert reported["Ready"]["message"].startswith("MCP server: ")
    assert reported["Reconciling"]["status"] == "True"


def test_starting_mcp_server_is_progressing() -> None:
    """Until its controller has observed the Deployment, the resource is Progressing and Reconciling, not Ready."""
    state = serving()
    live: Any = state.children[MCP_DEPLOYMENT]
    unseen = {**live, "metadata": {**live["metadata"], "generation": 7}}
    reported = conditions(replace(state, children={**state.children, MCP_DEPLOYMENT: unseen}))
    assert (reported["Ready"]["status"], reported["Progressing"]["status"]) == ("False", "True")
    assert (reported["Reconciling"]["status"], reported["Degraded"]["status"]) == ("True", "False")


def test_mcp_server_past_progress_deadline_is_stalled() -> None:
    """A rollout of the MCP server that its controller has given up is Stalled at once."""
    state = serving(ready=0)
    live: Any = state.children[MCP_DEPLOYMENT]
    given_up = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    late = {**live, "status": {**live["status"], "conditions": given_up}}
    reported = conditions(replace(state, children={**state.children, MCP_DEPLOYMENT: late}))
    assert (reported["Stalled"]["status"], reported["Stalled"]["reason"]) == ("True", "Stalled")
    assert "MCP server: " in reported["Stalled"]["message"]


def test_missing_mcp_deployment_is_not_ready() -> None:
    """A missing MCP Deployment makes the resource not Ready, whatever the servers do."""
    state = serving()
    left = {identity: each for identity, each in state.children.items() if identity != MCP_DEPLOYMENT}
    reported = conditions(state, children=left)
    assert (reported["McpAvailable"]["reason"], reported["Ready"]["status"]) == ("NotDeployed", "False")


def test_overlapping_budget_over_mcp_pods_is_reported() -> None:
    """A budget of another owner that selects the MCP pods is reported with the field to remove."""
    state = serving(mcp=WITH_ALL)
    selector = {"matchLabels": {"app.kubernetes.io/component": "mcp"}}
    overlapping = replace(state, other_budgets=OtherBudgets((OtherBudget("theirs", selector),)))
    degraded = conditions(overlapping)["Degraded"]
    assert degraded["reason"] == "BudgetsOverlap"
    assert "remove spec.mcp.podDisruptionBudget" in degraded["message"]
    assert "quickstart-server" not in degraded["message"]
