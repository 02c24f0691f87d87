"""The spec sets the number of pods until an autoscaler does; the handover loses no pod."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.render.autoscaling import desired_replicas
from tests.unit.operator.samples import DEPLOYMENT, conditions, migrated, observed, plan, settled, spec

AUTOSCALER = ChildId("HorizontalPodAutoscaler", "quickstart-server")
SCALED = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "scale",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}
EDITED = {key: value for key, value in SCALED.items() if key != "subresource"}


def live(replicas: int, *owners: Any) -> Any:
    return {"metadata": {"managedFields": list(owners)}, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("replicas", "bounds", "deployment", "applied"),
    [
        (3, None, live(1, SCALED), 3),
        (1, (2, 5), None, 2),
        (9, (2, 5), None, 5),
        (1, (2, 5), live(3), 3),
        (1, (2, 5), live(3, EDITED), 3),
        (1, (2, 5), live(3, SCALED), None),
        (0, (2, 5), live(0), 2),
        (4, (2, 5), live(0, SCALED), 4),
    ],
    ids=[
        "without an autoscaler the spec decides, whoever scaled",
        "a new Deployment starts at the fewest",
        "and never above the most",
        "what is there stays while the autoscaler has not scaled",
        "an edit by hand is no scaling",
        "once it has scaled the field is its own",
        "hibernation ends, because at 0 an autoscaler rests for good",
        "also when somebody scaled it to 0",
    ],
)
def test_who_decides(replicas: int, bounds: tuple[int, int] | None, deployment: Any, applied: int | None) -> None:
    """The number of replicas to apply, for each combination of spec, autoscaler bounds and live Deployment."""
    assert desired_replicas(replicas, bounds, deployment) == applied


def handed_over(state: ObservedState, replicas: int) -> ObservedState:
    """Return the same state after the autoscaler has scaled."""
    was: Any = state.children[DEPLOYMENT]
    now = {
        **was,
        "metadata": {**was["metadata"], "managedFields": [SCALED]},
        "spec": {**was["spec"], "replicas": replicas},
    }
    return replace(state, children={**state.children, DEPLOYMENT: now})


def test_the_handed_over_field_is_left_out_and_nothing_else_changes() -> None:
    """Once the autoscaler has scaled, `replicas` is no longer applied, and the rest is as rendered."""
    before = settled(observed(spec(autoscaling={"min": 2, "max": 5}), status=migrated()))
    assert "replicas" in _deployment(before)["spec"]
    after = handed_over(before, 4)
    assert "replicas" not in _deployment(after)["spec"]


def test_the_status_says_that_replicas_are_not_used() -> None:
    """The status explains to users of `kubectl scale` why spec.replicas has no effect."""
    message = conditions(observed(spec(autoscaling={"max": 5})))["ConfigValid"]["message"]
    assert "1 to 5, is decided by spec.autoscaling; spec.replicas is not used." in message


def test_without_autoscaling_the_autoscaler_goes_at_once() -> None:
    """The autoscaler is deleted at once: during a rollout it would compete over the number of pods."""
    before = settled(observed(spec(autoscaling={"max": 5}), status=migrated()))
    plain = replace(before, brain=replace(before.brain, spec=spec(config={"logLevel": "debug"})))
    assert AUTOSCALER in plan(plain).delete


def test_an_autoscaled_deployment_is_kept_as_it_is_scaled() -> None:
    """While a migration fails, the autoscaler stays and keeps control of the number of pods."""
    scaled = handed_over(settled(observed(spec(autoscaling={"min": 2, "max": 5}), status=migrated())), 4)
    blocked = replace(scaled, brain=replace(scaled.brain, spec=spec(version="0.3.0")))
    applied = {child_id(each): each for each in plan(blocked).apply}
    assert AUTOSCALER in applied
    assert "replicas" not in _deployment(blocked)["spec"]


def _deployment(state: ObservedState) -> Any:
    return {child_id(each): each for each in plan(state).apply}[DEPLOYMENT]
