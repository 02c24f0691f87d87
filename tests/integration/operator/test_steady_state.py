"""In the steady state nothing but the Lease is written, counted from the API server's audit log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.controllers import controllers
from devcluster.loopback import api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import Brain
from tests.integration.operator.chart import account_of, install
from tests.integration.operator.process import operator
from tests.support.waiting import eventually

COUNT = 8
NEVER = {"image": "registry.example/brain:never", "migration": {"enabled": False}}
IDLE_S = 15
RECONCILES = 'somabrain_operator_reconciles_total{outcome="ok"}'


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A separate API server, with stubs of the controllers and the kubelet."""
    with api_server() as server, api_of(server) as verbs, controllers(server, tmp_path / "controllers"):
        install(verbs)
        yield verbs


def create_brain(api: Api, number: int) -> Brain:
    """Create a resource; every second one never becomes ready, because its image cannot be pulled."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"quiet-{number}"}})
    brain = Brain(api, f"quiet-{number}")
    brain.secrets()
    brain.apply(**(NEVER if number % 2 else {}))
    return brain


@pytest.mark.timeout(240)
def test_steady_state_and_takeover_write_nothing(api: Api, tmp_path: Path) -> None:
    """Nothing is written in the steady state, also with resources that never become ready.

    An operator that takes over from a killed one writes nothing either.
    """
    with operator(account_of(api, tmp_path), tmp_path / "first") as first:
        first.wait_until_started()
        brains = [create_brain(api, number) for number in range(COUNT)]
        for number, brain in enumerate(brains):
            brain.until("Ready", "False" if number % 2 else "True", "cannot be pulled" if number % 2 else "")
        time.sleep(2)
        before = api.writes()
        assert before
        time.sleep(IDLE_S)
        assert api.writes() == before
        first.process.kill()
        first.process.wait()
    with operator(account_of(api, tmp_path), tmp_path / "second") as second:
        second.wait_until_started()
        eventually(
            lambda: second.metrics().get(RECONCILES, 0), lambda reconciles: reconciles >= COUNT, "all are looked at"
        )
        time.sleep(2)
        assert api.writes() == before
        brains[0].apply(replicas=2)
        brains[0].until("Ready", "True", "2 of 2")
