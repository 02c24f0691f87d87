"""Statements of the status that the chaos test regards as false."""

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


def test_what_is_so_is_not_called_false() -> None:
    assert list(false_statements(TRUE)) == []


def test_ready_of_pods_that_do_not_serve_is_false() -> None:
    assert list(false_statements(replace(TRUE, deployment=deployment(0)))) == [
        "readyReplicas",
        "Available=True, and no pod serves",
        "Ready=True, and it is not",
    ]


def test_ready_of_an_earlier_generation_is_false_and_nothing_else_of_it_is_judged() -> None:
    earlier = replace(TRUE, resource=resource(generation=3, Ready="True", Available="True"), deployment=deployment(0))
    assert list(false_statements(earlier)) == ["Ready=True, and of an earlier generation"]


def test_a_secret_that_is_gone_and_a_job_that_failed_are_noticed() -> None:
    state = replace(TRUE, secrets=frozenset(), failed_jobs=frozenset({"migrate-1"}))
    assert list(false_statements(state)) == [
        "ReferencesResolved=True, and a Secret is not there",
        "Migrated=True, and its Job failed",
    ]


def test_what_is_called_missing_and_is_there_is_false() -> None:
    brain = resource(ready_replicas=1, Available="False", ReferencesResolved="False")
    assert list(false_statements(replace(TRUE, resource=brain))) == [
        "Available=False, and pods serve",
        "ReferencesResolved=False, and all Secrets are there",
    ]


def test_a_status_that_has_seen_an_edit_is_never_ready_by_what_was_before() -> None:
    brain = resource(generation=3, Ready="True")
    brain["status"]["observedGeneration"] = 3
    statements = set(false_statements(ClusterState(brain, deployment(1), secrets=frozenset({"database"}))))
    assert NEVER in statements
    lives = StatementLifetimes()
    lives.observe(statements, 1.0)
    lives.observe(set(), 1.1)
    assert [words.partition(":")[0] for words in lives.failures()] == [NEVER]


def test_what_lives_longer_than_it_may_is_a_failure_and_what_lives_less_is_not() -> None:
    lives = StatementLifetimes()
    lives.observe({"short", "long"}, 1.0)
    lives.observe({"long"}, 2.0)
    lives.observe({"long"}, 1.25 + LONGEST_S)
    assert lives.all() == [(LONGEST_S + 0.25, "long"), (1.0, "short")]
    assert lives.failures() == [f"long: {LONGEST_S + 0.25:.1f} s"]


def test_time_in_which_the_api_server_shows_nothing_counts_for_none() -> None:
    lives = StatementLifetimes()
    lives.observe({"words"}, 1.0)
    lives.observe({"words"}, 3.0)
    lives.pause()
    lives.observe({"words"}, 60.0)
    lives.observe(set(), 61.0)
    assert lives.all() == [(3.0, "words")]


def test_the_histogram_counts_each_statement_by_the_time_it_lived() -> None:
    lives = StatementLifetimes(ended=[(0.1, "a"), (0.2, "b"), (4.0, "a"), (9.0, "a")])
    assert [line.split()[3] for line in lives.histogram()[:6]] == ["2", "0", "0", "0", "1", "1"]
    assert lives.histogram()[6:] == ["longest 9.0 s: a", "longest 0.2 s: b"]
