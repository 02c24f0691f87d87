"""Each transition is one event with the condition's message; without a transition there is no event."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain_operator.kube.names import Key
from somabrain_operator.metrics import ConditionMetrics, Metrics
from somabrain_operator.status.transitions import Transition, transitions


def status(**conditions: str) -> dict[str, Any]:
    """Return a status; each condition is `Status Reason sentence`."""
    parts = {kind: text.split(" ", 2) for kind, text in conditions.items()}
    return {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": message}
            for kind, (status, reason, message) in parts.items()
        ]
    }


READY = "True Serving 1 of 1 pods serve."
DOWN = "False NoPodReady No pod serves."


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, status(Ready=DOWN, Available=DOWN, Degraded="False UnderWay x", Migrated="False Running x"), ()),
        (status(Ready=DOWN), status(Ready=READY), (("Serving", False),)),
        (status(Ready=READY), status(Ready="True Serving 2 of 2 pods serve."), ()),
        (status(Available=READY, Ready=READY), status(Available=DOWN, Ready=DOWN), (("NoPodReady", True),)),
        ({}, status(Degraded="True Failed The migration failed."), (("Failed", True),)),
        (
            status(Available="False NoPodReady No pod serves.", Ready=DOWN),
            status(Available="True PodsReady 1 of 1 pods serve.", Ready=READY),
            (("Serving", False),),
        ),
        (
            status(Available="False NotDeployed x", Migrated="False Running x"),
            status(Available=DOWN, Migrated="True Done x"),
            (),
        ),
        (
            status(Available=READY, Migrated="False Running x"),
            status(Available=READY, Migrated="True Done x"),
            (("Done", False),),
        ),
        (status(Degraded="True Failed x"), status(Degraded="False AsExpected x"), (("AsExpected", False),)),
        (status(Migrated="True Done x"), status(Migrated="Unknown NotReached x"), ()),
        (status(Migrated="Unknown NotReached x"), status(Migrated="True Done x"), (("Done", False),)),
        (status(Progressing="True RollingOut x"), status(Progressing="False RolledOut x"), ()),
    ],
    ids=[
        "a new resource does not serve yet",
        "it serves",
        "it serves with more pods",
        "no pod serves, reported once",
        "a new resource that fails",
        "it serves, reported once",
        "a new resource is migrated",
        "an upgrade is migrated",
        "a failure is corrected",
        "a condition becomes unknown",
        "an unknown condition becomes true",
        "a condition without events",
    ],
)
def test_transition_emits_one_event(before: Any, after: Any, expected: tuple[tuple[str, bool], ...]) -> None:
    """A transition gives one event, which is a warning if a person may have to act."""
    assert tuple((each.reason, each.warning) for each in transitions(before, after)) == expected
    assert transitions(after, after) == ()


def test_event_message_is_truncated() -> None:
    """A message is cut at 1024 characters, as the API server refuses longer events."""
    (transition,) = transitions({}, status(Degraded=f"True Failed {'x' * 2000}"))
    assert transition == Transition("Failed", "x" * 1024, warning=True)


def test_condition_metric_is_removed_with_resource() -> None:
    """The gauge is 1 for True, 0 for False, -1 for Unknown; a deleted resource has no series."""
    metrics = Metrics()
    conditions: ConditionMetrics = metrics.conditions
    conditions.update(
        Key("demo", "a"), status(Ready=READY, Degraded="False AsExpected x", Migrated="Unknown NotReached x")
    )
    conditions.update(Key("demo", "b"), status(Ready=DOWN))
    series = 'somabrain_operator_condition{name="%s",namespace="demo",type="%s"} %s'
    text = metrics.exposition().decode()
    for name, kind, value in (
        ("a", "Ready", 1.0),
        ("a", "Degraded", 0.0),
        ("a", "Migrated", -1.0),
        ("b", "Ready", 0.0),
    ):
        assert series % (name, kind, value) in text
    conditions.remove(Key("demo", "a"))
    assert 'name="a"' not in metrics.exposition().decode()
    conditions.clear()
    assert 'name="b"' not in metrics.exposition().decode()
