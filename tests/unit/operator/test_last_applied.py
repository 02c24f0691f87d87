"""While a step does not pass, everything is kept as it was when all steps last did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.diff.foreign import drift
from somabrain_operator.names import child_id
from somabrain_operator.objects import Manifest
from somabrain_operator.observed_state import ObservedState, ResolvedReference
from somabrain_operator.plan.last_applied import last_applied_id
from somabrain_operator.reference_catalog import references_of
from tests.unit.operator.samples import DEPLOYMENT, migrated, observed, plan, settled, spec

RECORD = last_applied_id("quickstart")


def blocked(serving: ObservedState, **fields: Any) -> ObservedState:
    """Return a resource that served, whose spec now asks for what has not been migrated."""
    desired = spec(version="0.3.0", **fields)
    return replace(serving, brain=replace(serving.brain, spec=desired, generation=2))


def handed_over(state: ObservedState, replicas: int) -> ObservedState:
    """Return the same with an autoscaler having scaled."""
    before = settled(state)
    live: Any = before.children[DEPLOYMENT]
    return replace(
        state, children={**before.children, DEPLOYMENT: {**live, "spec": {**live["spec"], "replicas": replicas}}}
    )


def applied(state: ObservedState) -> dict[Any, Manifest]:
    return {child_id(each): each for each in plan(state).apply}


def test_an_edited_deployment_is_what_it_was_while_a_migration_runs() -> None:
    """It is applied as the last spec that passed rendered it, and that is what is there."""
    before = settled(observed(status=migrated()))
    kept = applied(blocked(before))[DEPLOYMENT]
    assert "0.2.0" in str(kept)
    assert "0.3.0" not in str(kept)
    assert drift(kept, before.children[DEPLOYMENT]) == ()


def test_a_deleted_deployment_comes_back_as_it_was() -> None:
    """A migration that fails for hours must not meet a service that is gone."""
    before = settled(observed(status=migrated()))
    gone = replace(before, children={k: v for k, v in before.children.items() if k != DEPLOYMENT})
    assert "0.2.0" in str(applied(blocked(gone))[DEPLOYMENT])


@pytest.mark.parametrize("kind", ["Deployment", "ConfigMap"])
def test_a_missing_secret_takes_nothing_away(kind: str) -> None:
    """Settings, policy and Deployment are kept while the Secret is looked for."""
    before = settled(observed(status=migrated()))
    lost = replace(before, references=tuple(ResolvedReference(each, exists=False) for each in references_of(spec())))
    assert kind in {identity.kind for identity in applied(lost)}


def test_a_spec_that_the_model_refuses_keeps_what_serves() -> None:
    """What is stored may be of another schema; the pods are those of the last good one."""
    before = settled(observed(spec(replicas=2), status=migrated()))
    broken = replace(before, brain=replace(before.brain, spec=None, problem="spec.x: no."))
    kept: Any = applied(broken)[DEPLOYMENT]
    assert kept["spec"]["replicas"] == 2
    assert "Service" in {identity.kind for identity in applied(broken)}


def test_it_can_be_scaled_while_a_migration_fails() -> None:
    """How many pods there are is as the spec says, whatever is held back."""
    before = settled(observed(status=migrated()))
    kept: Any = applied(blocked(before, replicas=5))[DEPLOYMENT]
    assert kept["spec"]["replicas"] == 5


def test_the_number_of_pods_is_not_kept() -> None:
    """An autoscaler changes it all the time, and it is as the spec says in any case."""
    seen = observed(spec(autoscaling={"max": 9}), status=migrated())
    one, five = (applied(handed_over(seen, number))[RECORD] for number in (1, 5))
    assert one == five


def test_the_record_is_written_before_what_it_records() -> None:
    """An operator killed in between finds a record that is not older than what serves."""
    first = plan(observed(status=migrated())).apply[0]
    assert child_id(first) == RECORD


def test_a_record_of_an_earlier_resource_counts_for_nothing() -> None:
    """Deleted and created anew, a resource begins with nothing."""
    before = settled(observed(status=migrated()))
    again = replace(blocked(before), brain=replace(blocked(before).brain, uid="another"))
    assert DEPLOYMENT not in applied(again)


@pytest.mark.parametrize("content", ["", "no JSON", "{}", '["x", {}]'])
def test_a_record_somebody_scribbled_over_counts_for_nothing(content: str) -> None:
    """No crash; the Deployment is left as it is, as nobody knows what it was."""
    before = settled(observed(status=migrated()))
    record: Any = before.children[RECORD]
    scribbled = {**before.children, RECORD: {**record, "data": {"children.json": content}}}
    assert DEPLOYMENT not in applied(blocked(replace(before, children=scribbled)))


def test_the_record_is_never_pruned() -> None:
    """It is ours, and no step asks for it."""
    before = settled(observed(status=migrated()))
    assert plan(before).delete == ()
    assert RECORD not in plan(blocked(before)).delete


def test_a_child_that_somebody_else_took_the_name_of_is_left_alone() -> None:
    """Kept is what is ours, or gone."""
    before = settled(observed(status=migrated()))
    theirs: Any = {**before.children[DEPLOYMENT], "metadata": {"name": "quickstart-server", "namespace": "demo"}}
    seen = blocked(replace(before, children={**before.children, DEPLOYMENT: theirs}))
    assert DEPLOYMENT not in applied(seen)


def test_a_deleted_deployment_is_no_way_around_the_refused_downgrade() -> None:
    """The record knows the version that served."""
    newer = spec(version="0.3.0")
    record = plan(observed(newer)).migration
    assert record is not None
    before = settled(observed(newer, status=migrated(record.hash or "")))
    gone = {k: v for k, v in before.children.items() if k != DEPLOYMENT}
    older = replace(before, children=gone, brain=replace(before.brain, spec=spec(version="0.2.0")))
    assert plan(older).conditions["ConfigValid"].reason == "Downgrade"
