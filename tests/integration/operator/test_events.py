"""Each transition is one event with the message of its condition, and conditions are metrics."""

from __future__ import annotations

import time

from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.process import Operator
from tests.support.waiting import eventually


def list_events(brain: Brain) -> list[tuple[str, str, str]]:
    """Return type, reason and message of each event of the resource."""
    uid = brain.resource()["metadata"]["uid"]
    events = [each for each in brain.api.objects("Event", brain.namespace) if each["involvedObject"].get("uid") == uid]
    return sorted((each["type"], each["reason"], each["message"]) for each in events)


def test_each_transition_emits_one_event(served: Brain, controller_stub: ControllerStub, running: Operator) -> None:
    """Serving, failing and serving again are one event each, with the condition's message; none otherwise."""
    conditions = served.conditions()
    ready = (conditions["Ready"]["reason"], conditions["Ready"]["message"])
    first = [("Normal", *ready)]  # Available says the same, and the migration of a new resource is the Job's to tell
    assert eventually(lambda: list_events(served), lambda events: len(events) >= len(first), "they are told") == first
    controller_stub.roll_out(ready=0)
    down = served.until("Available", "False")
    warning = ("Warning", down["reason"], down["message"])
    eventually(lambda: list_events(served), lambda events: warning in events, "the failure is told")
    assert [each for each in list_events(served) if each[1:] == warning[1:]] == [warning]  # Ready says the same: once
    controller_stub.roll_out()
    served.until("Ready", "True")
    before = eventually(
        lambda: list_events(served),
        lambda events: events.count(("Normal", *ready)) == 2,
        "that it serves is told again",
    )
    writes = served.api.writes()
    time.sleep(3)
    assert (list_events(served), served.api.writes()) == (before, writes)


def test_condition_metrics_disappear_with_the_resource(served: Brain, running: Operator) -> None:
    """Each condition of a resource is a metric, on which an alert can be set, until the resource is deleted."""
    series = f'somabrain_operator_condition{{name="{NAME}",namespace="{served.namespace}",type="%s"}} %s'
    expected = [series % labels for labels in (("Ready", 1.0), ("Migrated", 1.0), ("Degraded", 0.0), ("Paused", 0.0))]
    # They are said a moment after the API server has them.
    eventually(lambda: running.get("/metrics"), lambda now: all(each in now for each in expected), "they are said")
    assert "somabrain_operator_leader 1.0" in running.get("/metrics")
    served.api.delete("SomaBrain", NAME, served.namespace)
    eventually(lambda: running.get("/metrics"), lambda now: f'namespace="{served.namespace}"' not in now, "they go")
