"""Waiting for a resource ends: it is Ready, or Reconciling for a while, or Stalled with the sentence for a person."""

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
    """Return the same state with a status that says since when a generation fails."""
    status = {**state.brain.status, "observedGeneration": generation, "failingSince": timestamps.iso(since)}
    return replace(state, brain=replace(state.brain, status=status))


def deployed(state: ObservedState, **status: Any) -> ObservedState:
    """Return the same state with the Deployment's status changed."""
    live: Any = state.children[DEPLOYMENT]
    return replace(state, children={**state.children, DEPLOYMENT: {**live, "status": {**live["status"], **status}}})


def outlook(state: ObservedState, refusal: str = "") -> str:
    """Return which of Ready, Reconciling and Stalled is True; there is exactly one."""
    reported = conditions(state, refusal)
    (true,) = (kind for kind in ("Ready", "Reconciling", "Stalled") if reported[kind]["status"] == "True")
    assert reported[true]["message"]
    return true


def since_of(state: ObservedState) -> Any:
    """Return since when the status says that the resource fails, or None."""
    return render_status(plan(state), state.children).get("failingSince")


@pytest.mark.parametrize(
    ("waited_s", "expected"), [(0, "Reconciling"), (PATIENCE_S - 1, "Reconciling"), (PATIENCE_S, "Stalled")]
)
def test_what_others_are_to_bring_stalls_only_after_a_while(waited_s: float, expected: str) -> None:
    """A Secret that does not exist is Reconciling for five minutes, then Stalled, with the same sentence."""
    since = NOW - timedelta(seconds=waited_s)
    state = failing(without_secrets(serving()), since)
    assert outlook(state) == expected
    assert "is not in namespace" in conditions(state)[expected]["message"]
    assert since_of(state) == timestamps.iso(since)
    status = render_status(plan(state), state.children)
    due_s = PATIENCE_S - waited_s if expected == "Reconciling" else None
    assert stalls_after_s(plan(state), status) == due_s


def test_the_time_of_a_failure_begins_with_it_and_ends_when_the_resource_is_ready() -> None:
    """The first failure sets the time, and a Ready resource has none, so that the next failure has its own."""
    assert since_of(without_secrets(serving())) == timestamps.iso(NOW)
    mended = failing(serving(), NOW - timedelta(hours=1))
    assert (outlook(mended), since_of(mended)) == ("Ready", None)


def test_a_new_spec_has_its_own_time() -> None:
    """A spec that was just applied is waited for, however long the one before it had failed."""
    state = failing(without_secrets(serving()), NOW - timedelta(hours=1))
    edited = replace(state, brain=replace(state.brain, generation=2))
    assert (outlook(state), outlook(edited)) == ("Stalled", "Reconciling")
    assert since_of(edited) == timestamps.iso(NOW)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (observed(spec(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})), "RequestAboveLimit"),
        (replace(observed(), brain=replace(observed().brain, spec=None, problem="spec.x: no.")), "Invalid"),
        (replace(serving(), brain=observed(spec(version="0.1.0")).brain), "Downgrade"),
    ],
)
def test_what_no_waiting_mends_is_stalled_at_once(state: ObservedState, reason: str) -> None:
    """An invalid field and a refused downgrade are Stalled in the first status, with their own reason."""
    assert outlook(state) == "Stalled"
    assert conditions(state)["Stalled"]["reason"] == reason


def test_a_migration_that_runs_is_progress_however_long_it_failed_before() -> None:
    """A retried migration is Reconciling while it runs, and Stalled again at once if it fails again."""
    state = failing(observed(jobs=[job(ready=1)], pods=[pod("m", component="migrate")]), NOW - timedelta(hours=1))
    assert outlook(state) == "Reconciling"
    assert conditions(state)["Reconciling"]["reason"] == "Running"
    assert outlook(replace(state, jobs=(job(state="Failed"),))) == "Stalled"


def test_a_migration_that_fails_is_tried_again_before_it_stalls() -> None:
    """The first failure of a migration, such as of a database that is not there yet, is Reconciling."""
    assert outlook(observed(jobs=[job(state="Failed")])) == "Reconciling"


def test_a_rollout_that_the_cluster_gave_up_is_stalled_at_once() -> None:
    """The progress deadline is five minutes already, so nobody waits as long again."""
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    pods = (pod("p0", ready=False, containers=[waiting("ImagePullBackOff")]),)
    pulling = replace(deployed(serving(), readyReplicas=0, conditions=[]), pods=pods)
    assert outlook(pulling) == "Reconciling"
    given_up = deployed(pulling, conditions=[exceeded])
    assert outlook(given_up) == "Stalled"
    unobserved = deployed(given_up, observedGeneration=0)
    assert outlook(unobserved) == "Reconciling", "the controller has not seen the corrected Deployment"


def test_the_failed_rollout_of_an_earlier_spec_is_not_that_of_a_new_one() -> None:
    """While a new version migrates, the pods of the old one may fail as they like."""
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    old = deployed(serving(), readyReplicas=0, conditions=[exceeded])
    newer = replace(old, brain=replace(old.brain, spec=spec(version="0.3.0"), generation=2))
    state = failing(newer, NOW - timedelta(hours=1), generation=2)
    assert conditions(state)["Degraded"]["status"] == "True"
    assert outlook(state) == "Reconciling"


def test_a_refused_write_is_tried_again_before_it_stalls() -> None:
    """A quota or a webhook may change: what the API server refuses is Reconciling first."""
    refusal = "exceeded quota: pods=10."
    assert outlook(serving(), refusal) == "Reconciling"
    assert outlook(failing(serving(), NOW - timedelta(hours=1)), refusal) == "Stalled"


def test_a_paused_resource_stalls_only_if_a_change_waits() -> None:
    """Paused and as the spec says is Ready; a change, a migration included, waits for a person."""
    state = serving()
    paused = replace(state, brain=replace(state.brain, spec=spec(paused=True)))
    assert outlook(paused) == "Ready"
    changed = replace(state, brain=replace(state.brain, spec=spec(paused=True, grpc={"port": 50099})))
    assert outlook(changed) == "Stalled"
    assert "nothing is changed while it is paused" in conditions(changed)["Stalled"]["message"]
    newer = replace(state, brain=replace(state.brain, spec=spec(paused=True, version="0.3.0")))
    assert conditions(newer)["Stalled"]["reason"] == "Paused"


def test_a_lesser_fault_leaves_a_resource_ready_and_not_stalled() -> None:
    """A resource that serves as specified is done, whatever else Degraded names."""
    state = serving(replicas=2)
    assert outlook(replace(state, pods=(pod("p0", image=IMAGE), pod("p1", image=IMAGE)))) == "Ready"
    hibernated = serving(replicas=0)
    assert outlook(hibernated) == "Ready"
    assert conditions(hibernated)["Ready"]["reason"] == "Hibernated"
