"""A resource is Ready, Reconciling for a bounded time, or Stalled with a message for the person on call."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from somabrain_operator.kube import timestamps
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.status import render_status
from somabrain_operator.status.stall import stalls_after_s
from tests.unit.operator.samples import (
    DEPLOYMENT,
    IMAGE,
    NOW,
    RELEASE,
    conditions,
    job,
    migrated,
    observed,
    plan,
    pod,
    settled,
    spec,
    waiting,
)

PATIENCE_S = RELEASE.stall_after_s


def serving(**fields: Any) -> ObservedState:
    """Return a resource that is migrated, rolled out and ready."""
    state = settled(observed(spec(**fields), status=migrated()))
    replicas = state.brain.spec.replicas if state.brain.spec else 0
    return replace(state, pods=tuple(pod(f"p{number}") for number in range(replicas)))


def without_secrets(state: ObservedState) -> ObservedState:
    """Return the same state with no Secret in the namespace."""
    return replace(state, references=tuple(replace(each, exists=False, digests={}) for each in state.references))


def failing(state: ObservedState, since: datetime, *, generation: int = 1) -> ObservedState:
    """Return the same state with a status in which a generation fails since a time."""
    status = {**state.brain.status, "observedGeneration": generation, "failingSince": timestamps.iso(since)}
    return replace(state, brain=replace(state.brain, status=status))


def with_deployment_status(state: ObservedState, **status: Any) -> ObservedState:
    """Return the same state with the Deployment's status changed."""
    live: Any = state.children[DEPLOYMENT]
    return replace(state, children={**state.children, DEPLOYMENT: {**live, "status": {**live["status"], **status}}})


def true_condition(state: ObservedState, refusal: str = "") -> str:
    """Return the one condition of Ready, Reconciling and Stalled that is True."""
    reported = conditions(state, refusal)
    (true,) = (kind for kind in ("Ready", "Reconciling", "Stalled") if reported[kind]["status"] == "True")
    assert reported[true]["message"]
    return true


def failing_since(state: ObservedState) -> Any:
    """Return the time since which the resource fails by its status, or None."""
    return render_status(plan(state), state.children).get("failingSince")


@pytest.mark.parametrize(
    ("waited_s", "expected"), [(0, "Reconciling"), (PATIENCE_S - 1, "Reconciling"), (PATIENCE_S, "Stalled")]
)
def test_missing_secret_is_stalled_after_timeout(waited_s: float, expected: str) -> None:
    """A Secret that does not exist is Reconciling for five minutes, then Stalled, with the same sentence."""
    since = NOW - timedelta(seconds=waited_s)
    state = failing(without_secrets(serving()), since)
    assert true_condition(state) == expected
    assert "is not in namespace" in conditions(state)[expected]["message"]
    assert failing_since(state) == timestamps.iso(since)
    status = render_status(plan(state), state.children)
    due_s = PATIENCE_S - waited_s if expected == "Reconciling" else None
    assert stalls_after_s(plan(state), status) == due_s


def test_failing_since_is_set_on_failure_and_cleared_when_ready() -> None:
    """The first failure sets the time, and a Ready resource has none, so that the next failure has its own."""
    assert failing_since(without_secrets(serving())) == timestamps.iso(NOW)
    recovered = failing(serving(), NOW - timedelta(hours=1))
    assert (true_condition(recovered), failing_since(recovered)) == ("Ready", None)


def test_new_generation_resets_failing_since() -> None:
    """A spec that was just applied is waited for, however long the one before it had failed."""
    state = failing(without_secrets(serving()), NOW - timedelta(hours=1))
    edited = replace(state, brain=replace(state.brain, generation=2))
    assert (true_condition(state), true_condition(edited)) == ("Stalled", "Reconciling")
    assert failing_since(edited) == timestamps.iso(NOW)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (observed(spec(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})), "RequestAboveLimit"),
        (replace(observed(), brain=replace(observed().brain, spec=None, problem="spec.x: no.")), "Invalid"),
        (replace(serving(), brain=observed(spec(version="0.1.0")).brain), "Downgrade"),
    ],
)
def test_permanent_error_is_stalled_immediately(state: ObservedState, reason: str) -> None:
    """An invalid field and a refused downgrade are Stalled in the first status, with their own reason."""
    assert true_condition(state) == "Stalled"
    assert conditions(state)["Stalled"]["reason"] == reason


def test_running_migration_retry_is_reconciling() -> None:
    """A retried migration is Reconciling while it runs, and Stalled again at once if it fails again."""
    state = failing(observed(jobs=[job(ready=1)], pods=[pod("m", component="migrate")]), NOW - timedelta(hours=1))
    assert true_condition(state) == "Reconciling"
    assert conditions(state)["Reconciling"]["reason"] == "Running"
    assert true_condition(replace(state, jobs=(job(state="Failed"),))) == "Stalled"


def test_first_migration_failure_is_reconciling() -> None:
    """The first failure of a migration, such as a database that is not reachable yet, is Reconciling."""
    assert true_condition(observed(jobs=[job(state="Failed")])) == "Reconciling"


def test_exceeded_progress_deadline_is_stalled_immediately() -> None:
    """The progress deadline has passed already, so no further wait follows."""
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    pods = (pod("p0", ready=False, containers=[waiting("ImagePullBackOff")]),)
    pulling = replace(with_deployment_status(serving(), readyReplicas=0, conditions=[]), pods=pods)
    assert true_condition(pulling) == "Reconciling"
    given_up = with_deployment_status(pulling, conditions=[exceeded])
    assert true_condition(given_up) == "Stalled"
    unobserved = with_deployment_status(given_up, observedGeneration=0)
    assert true_condition(unobserved) == "Reconciling", "the controller has not observed the corrected Deployment"


def test_failed_rollout_of_earlier_spec_does_not_stall_new_one() -> None:
    """While a new version migrates, failing pods of the old one do not make the resource Stalled."""
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    old = with_deployment_status(serving(), readyReplicas=0, conditions=[exceeded])
    newer = replace(old, brain=replace(old.brain, spec=spec(version="0.3.0"), generation=2))
    state = failing(newer, NOW - timedelta(hours=1), generation=2)
    assert conditions(state)["Degraded"]["status"] == "True"
    assert true_condition(state) == "Reconciling"


def test_rejected_write_is_reconciling_before_stalled() -> None:
    """A quota or a webhook may change: what the API server refuses is Reconciling first."""
    refusal = "exceeded quota: pods=10."
    assert true_condition(serving(), refusal) == "Reconciling"
    assert true_condition(failing(serving(), NOW - timedelta(hours=1)), refusal) == "Stalled"


def test_paused_resource_is_stalled_only_with_pending_change() -> None:
    """A paused resource that matches its spec is Ready; one with a pending change or migration is Stalled."""
    state = serving()
    paused = replace(state, brain=replace(state.brain, spec=spec(paused=True)))
    assert true_condition(paused) == "Ready"
    changed = replace(state, brain=replace(state.brain, spec=spec(paused=True, grpc={"port": 50099})))
    assert true_condition(changed) == "Stalled"
    assert "nothing is changed while it is paused" in conditions(changed)["Stalled"]["message"]
    newer = replace(state, brain=replace(state.brain, spec=spec(paused=True, version="0.3.0")))
    assert conditions(newer)["Stalled"]["reason"] == "Paused"


def test_degraded_serving_resource_is_ready_not_stalled() -> None:
    """A resource that serves as specified is Ready, for any cause of Degraded."""
    state = serving(replicas=2)
    assert true_condition(replace(state, pods=(pod("p0", image=IMAGE), pod("p1", image=IMAGE)))) == "Ready"
    hibernated = serving(replicas=0)
    assert true_condition(hibernated) == "Ready"
    assert conditions(hibernated)["Ready"]["reason"] == "Hibernated"
