"""The short form of `make chaos`: faults, one after the other, and a status that says nothing false for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.chaos_operator import run, untrue
from tests.integration.operator.api import Object

SHORT = ("api server restart", "operator killed mid step", "secret deleted", "deployment edited by hand")


@pytest.mark.timeout(300)
def test_no_false_statement_lives_longer_than_five_seconds(tmp_path: Path) -> None:
    """And after each fault the resource is Ready again."""
    assert run(tmp_path, seed=3, chosen=SHORT) == []


def test_what_is_not_so_is_found() -> None:
    """A status that says Ready of pods that do not serve is caught, and one of an older generation is not judged."""
    said = {"type": "Ready", "status": "True", "observedGeneration": 2}
    status = {"observedGeneration": 2, "readyReplicas": 1, "conditions": [said]}
    resource: Object = {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    serving = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "readyReplicas": 1}}
    idle = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1}}
    secrets = frozenset({"somabrain-database"})
    assert list(untrue(resource, serving, secrets)) == []
    assert list(untrue(resource, idle, secrets)) == ["readyReplicas", "Ready=True, and it is not"]
    assert list(untrue({**resource, "metadata": {"generation": 3}}, idle, secrets)) == []
