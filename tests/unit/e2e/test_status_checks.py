"""Detection of status statements that contradict the state of the cluster, for the chaos test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from examples.kubectl import Object
from tests.e2e.support.status_checks import LONGEST_S, NEVER, ClusterState, StatementLifetimes, false_statements

SPEC = {"replicas": 1, "database": {"secretRef": {"name": "database"}}}


def resource(generation: int = 2, ready_replicas: int = 1, **statuses: str) -> Object:
    """A SomaBrain whose status and conditions are about generation 2."""
    conditions = [{"type": kind, "status": status, "observedGeneration": 2} for kind, status in statuses.items()]
    status = {
        "observedGeneration": 2,
        "readyReplicas": ready_replicas,
        "conditions": conditions,
        "migration": {"jobName": "migrate-1"},
    }
    return {"metadata": {"generation": generation}, "spec": SPEC, "status": status}


def deployment(ready: int) -> dict[str, Any]:
    return {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "readyReplicas": ready}}


TRUE = ClusterState(
    resource(Ready="True", Available="True", ReferencesResolved="True", Migrated="True"),
    deployment(1),
    secrets=frozenset({"database"}),
)


def test_true_status_has_no_false_statements() -> None:
    assert list(false_statements(TRUE)) == []


def test_ready_without_serving_pods_is_false() -> None:
    assert list(false_statements(replace(TRUE, deployment=deployment(0)))) == [
        "readyReplicas",
        "Available=True, and no pod serves",
        "Ready=True, and it is not",
    ]


def test_ready_of_earlier_generation_is_the_only_false_statement() -> None:
    earlier = replace(TRUE, resource=resource(generation=3, Ready="True", Available="True"), deployment=deployment(0))
    assert list(false_statements(earlier)) == ["Ready=True, and of an earlier generation"]


def test_deleted_secret_and_failed_job_are_detected() -> None:
    state = replace(TRUE, secrets=frozenset(), failed_jobs=frozenset({"migrate-1"}))
    assert list(false_statements(state)) == [
        "ReferencesResolved=True, and a Secret is not there",
        "Migrated=True, and its Job failed",
    ]


def test_negative_conditions_are_false_when_resources_exist() -> None:
    brain = resource(ready_replicas=1, Available="False", ReferencesResolved="False")
    assert list(false_statements(replace(TRUE, resource=brain))) == [
        "Available=False, and pods serve",
        "ReferencesResolved=False, and all Secrets are there",
    ]


def test_ready_after_observed_edit_is_always_a_failure() -> None:
    brain = resource(generation=3, Ready="True")
    brain["status"]["observedGeneration"] = 3
    statements = set(false_statements(ClusterState(brain, deployment(1), secrets=frozenset({"database"}))))
    assert NEVER in statements
    lives = StatementLifetimes()
    lives.observe(statements, 1.0)
    lives.observe(set(), 1.1)
    assert [words.partition(":")[0] for words in lives.failures()] == [NEVER]


def test_false_statement_is_failure_only_beyond_limit() -> None:
    lives = StatementLifetimes()
    lives.observe({"short", "long"}, 1.0)
    lives.observe({"long"}, 2.0)
    lives.observe({"long"}, 1.25 + LONGEST_S)
    assert lives.all() == [(LONGEST_S + 0.25, "long"), (1.0, "short")]
    assert lives.failures() == [f"long: {LONGEST_S + 0.25:.1f} s"]


def test_paused_time_is_not_counted() -> None:
    lives = StatementLifetimes()
    lives.observe({"words"}, 1.0)
    lives.observe({"words"}, 3.0)
    lives.pause()
    lives.observe({"words"}, 60.0)
    lives.observe(set(), 61.0)
    assert lives.all() == [(3.0, "words")]


def test_histogram_groups_statements_by_lifetime() -> None:
    lives = StatementLifetimes(ended=[(0.1, "a"), (0.2, "b"), (4.0, "a"), (9.0, "a")])
    assert [line.split()[3] for line in lives.histogram()[:6]] == ["2", "0", "0", "0", "1", "1"]
    assert lives.histogram()[6:] == ["longest 9.0 s: a", "longest 0.2 s: b"]
