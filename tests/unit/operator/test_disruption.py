"""Another PodDisruptionBudget that selects the same pods is reported: with two of them no pod can be evicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.kube.label_selector import selects
from somabrain_operator.observe.state import ObservedState, OtherBudget, OtherBudgets
from somabrain_operator.plan.disruption import MAX_LISTED_BUDGETS, OVERLAP_CHECK_INTERVAL_S
from tests.unit.operator.samples import conditions, migrated, observed, plan, pod, settled, spec

LABELS = {"app": "a", "tier": "back"}
ALL: dict[str, Any] = {}


def serving(*budgets: OtherBudget, failure: str = "") -> ObservedState:
    """Return a resource with a budget that serves, and the budgets of others."""
    state = settled(observed(spec(podDisruptionBudget={"maxUnavailable": 1}), status=migrated()))
    return replace(state, pods=(pod("p0"),), other_budgets=OtherBudgets(budgets, failure))


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (ALL, True),
        (None, False),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchLabels": {"app": "a", "zone": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["b"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Near"}]}, False),
        ({"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selector_matches_like_api_server(selector: Any, selected: bool) -> None:
    """matchLabels and every operator of matchExpressions are evaluated as by the API server."""
    assert selects(selector, LABELS) == selected


@pytest.mark.parametrize("selector", [ALL, {"matchLabels": {"app.kubernetes.io/name": "somabrain"}}])
def test_overlapping_budget_is_degraded_with_both_names(selector: dict[str, Any]) -> None:
    """Degraded names both budgets and the remedy, Ready stays True, and the overlap is checked again periodically."""
    state = serving(OtherBudget("everything", selector), OtherBudget("web", {"matchLabels": {"app": "web"}}))
    degraded = conditions(state)["Degraded"]
    assert (degraded["status"], degraded["reason"]) == ("True", "BudgetsOverlap")
    assert degraded["message"].startswith("The pods are selected by PodDisruptionBudget everything and by ")
    assert "quickstart-server" in degraded["message"]
    assert "delete everything" in degraded["message"]
    assert "remove spec.podDisruptionBudget" in degraded["message"]
    assert "web" not in degraded["message"]
    assert conditions(state)["Ready"]["status"] == "True"
    assert plan(state).requeue_after_s == OVERLAP_CHECK_INTERVAL_S


@pytest.mark.parametrize("selector", [None, {"matchLabels": {"app.kubernetes.io/component": "migrate"}}])
def test_budget_over_other_pods_is_ignored(selector: Any) -> None:
    """A budget that does not select the pods leaves the status as it is, and is not checked again."""
    state = serving(OtherBudget("other", selector))
    assert conditions(state) == conditions(serving())
    assert plan(state).requeue_after_s is None


def test_no_overlap_without_own_budget() -> None:
    """A single budget of another owner allows evictions as usual, and is not reported."""
    state = settled(observed(spec(), status=migrated()))
    state = replace(state, pods=(pod("p0"),), other_budgets=OtherBudgets((OtherBudget("everything", ALL),)))
    assert conditions(state)["Degraded"]["status"] == "False"


def test_budget_overlap_uses_labels_of_running_pods() -> None:
    """A budget selects pods as they run, also by a label that a webhook added."""
    state = serving(OtherBudget("mesh", {"matchLabels": {"mesh": "on"}}))
    live: Any = pod("p0")
    live["metadata"]["labels"]["mesh"] = "on"
    assert conditions(replace(state, pods=(live,)))["Degraded"]["reason"] == "BudgetsOverlap"


def test_overlap_message_lists_bounded_number_of_budgets() -> None:
    """With hundreds of budgets the message stays short."""
    state = serving(*(OtherBudget(f"b{number:03}", ALL) for number in range(300)))
    message = conditions(state)["Degraded"]["message"]
    assert f"b{MAX_LISTED_BUDGETS - 1:03} and {300 - MAX_LISTED_BUDGETS} more" in message
    assert f"b{MAX_LISTED_BUDGETS:03}" not in message


def test_forbidden_budget_list_is_reported_as_unknown() -> None:
    """Without the right to list budgets ConfigValid quotes the refusal, and nothing is degraded."""
    reported = conditions(serving(failure="poddisruptionbudgets.policy is forbidden."))
    assert reported["ConfigValid"]["status"] == "True"
    assert reported["ConfigValid"]["message"].endswith(
        "Whether another PodDisruptionBudget selects the same pods is unknown: "
        "poddisruptionbudgets.policy is forbidden."
    )
    assert reported["Degraded"]["status"] == "False"
