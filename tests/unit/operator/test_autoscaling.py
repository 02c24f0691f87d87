"""The spec sets the number of pods until an autoscaler does; the handover removes no pod."""

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


def live_deployment(replicas: int, *owners: Any) -> Any:
    return {"metadata": {"managedFields": list(owners)}, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("replicas", "bounds", "deployment", "applied"),
    [
        (3, None, live_deployment(1, SCALED), 3),
        (1, (2, 5), None, 2),
        (9, (2, 5), None, 5),
        (1, (2, 5), live_deployment(3), 3),
        (1, (2, 5), live_deployment(3, EDITED), 3),
        (1, (2, 5), live_deployment(3, SCALED), None),
        (0, (2, 5), live_deployment(0), 2),
        (4, (2, 5), live_deployment(0, SCALED), 4),
    ],
    ids=[
        "without an autoscaler the spec decides, also after manual scaling",
        "a new Deployment starts at the minimum",
        "a new Deployment is capped at the maximum",
        "the live number is retained before the autoscaler scales",
        "a manual edit does not count as scaling",
        "the field is omitted once the autoscaler has scaled",
        "0 is raised to the minimum, as an autoscaler never scales from 0",
        "also when it was scaled to 0 by hand",
    ],
)
def test_desired_replicas(replicas: int, bounds: tuple[int, int] | None, deployment: Any, applied: int | None) -> None:
    """The number of replicas to apply, for each combination of spec, autoscaler bounds and live Deployment."""
    assert desired_replicas(replicas, bounds, deployment) == applied


def scaled_by_autoscaler(state: ObservedState, replicas: int) -> ObservedState:
    """Return the same state after the autoscaler has scaled."""
    was: Any = state.children[DEPLOYMENT]
    now = {
        **was,
        "metadata": {**was["metadata"], "managedFields": [SCALED]},
        "spec": {**was["spec"], "replicas": replicas},
    }
    return replace(state, children={**state.children, DEPLOYMENT: now})


def test_replicas_are_omitted_once_autoscaler_owns_them() -> None:
    """Once the autoscaler has scaled, `replicas` is no longer applied, and the rest is as rendered."""
    before = settled(observed(spec(autoscaling={"min": 2, "max": 5}), status=migrated()))
    assert "replicas" in _deployment(before)["spec"]
    after = scaled_by_autoscaler(before, 4)
    assert "replicas" not in _deployment(after)["spec"]


def test_status_reports_that_spec_replicas_is_unused() -> None:
    """The status explains to users of `kubectl scale` why spec.replicas has no effect."""
    message = conditions(observed(spec(autoscaling={"max": 5})))["ConfigValid"]["message"]
    assert "1 to 5, is decided by spec.autoscaling; spec.replicas is not used." in message


def test_autoscaler_is_deleted_immediately_when_disabled() -> None:
    """The autoscaler is deleted at once: during a rollout it would compete over the number of pods."""
    before = settled(observed(spec(autoscaling={"max": 5}), status=migrated()))
    plain = replace(before, brain=replace(before.brain, spec=spec(config={"logLevel": "debug"})))
    assert AUTOSCALER in plan(plain).delete


def test_autoscaler_retains_replicas_during_failed_migration() -> None:
    """While a migration fails, the autoscaler stays and controls the number of pods."""
    scaled = scaled_by_autoscaler(settled(observed(spec(autoscaling={"min": 2, "max": 5}), status=migrated())), 4)
    blocked = replace(scaled, brain=replace(scaled.brain, spec=spec(version="0.3.0")))
    applied = {child_id(each): each for each in plan(blocked).apply}
    assert AUTOSCALER in applied
    assert "replicas" not in _deployment(blocked)["spec"]


def _deployment(state: ObservedState) -> Any:
    return {child_id(each): each for each in plan(state).apply}[DEPLOYMENT]
