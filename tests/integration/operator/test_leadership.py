"""Of several operators only the leader writes; when it stops, is killed, or loses its Lease, another leads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.loopback import api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, install
from tests.integration.operator.forwarder import Forwarder, forwarder
from tests.integration.operator.process import ENVIRONMENT, Operator, operator
from tests.support.waiting import eventually

LEASE = ENVIRONMENT["SOMABRAIN_OPERATOR__LEASE_NAME"]
LEASE_S = 3
SHORT = {"SOMABRAIN_OPERATOR__LEASE_DURATION_S": str(LEASE_S)}


@pytest.fixture(scope="module")
def separate_api() -> Iterator[Api]:
    """An API server for the operators of this file's tests only."""
    with api_server() as server, api_of(server) as api:
        install(api)
        yield api


@pytest.fixture(scope="module")
def own_account(separate_api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of its operators' account."""
    return account_of(separate_api, tmp_path_factory.mktemp("account"))


def health(one: Operator) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(one.get("/healthz"))
    return report


def until_leading(one: Operator, timeout_s: float) -> None:
    eventually(lambda: health(one), lambda report: bool(report["leading"]), "it leads", timeout_s)


def named(separate_api: Api, name: str) -> Brain:
    separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    brain = Brain(separate_api, name)
    brain.secrets()
    return brain


def test_stopped_leader_releases_lease_at_once(separate_api: Api, own_account: Path, tmp_path: Path) -> None:
    """A leader that stops releases its Lease, and the other operator leads long before the Lease would expire.

    Until then the other writes nothing. When everything is in sync, it writes nothing but the Lease.
    """
    brain = named(separate_api, "handover")
    with operator(own_account, tmp_path / "first") as first, operator(own_account, tmp_path / "second") as second:
        first.wait_until_started()
        second.wait_until_started()
        leader, other = (
            (first, second)
            if eventually(
                lambda: health(first)["leading"], lambda leading: leading or health(second)["leading"], "one leads"
            )
            else (second, first)
        )
        brain.apply()
        ControllerStub(brain).serve()
        assert not health(other)["leading"]
        assert "somabrain_operator_leader 0.0" in other.get("/metrics")
        assert "api_writes_total{" not in other.get("/metrics")
        time.sleep(1)
        before = separate_api.writes()
        assert leader.stop() == 0
        until_leading(other, 1)
        eventually(lambda: other.get("/metrics"), lambda text: 'reconciles_total{outcome="ok"}' in text, "it works")
        time.sleep(2)
        assert separate_api.writes() == before
        brain.apply(replicas=2)
        eventually(brain.deployment, lambda live: live["spec"]["replicas"] == 2, "the second applies", 5)


def test_killed_leader_is_replaced_when_lease_expires(separate_api: Api, own_account: Path, tmp_path: Path) -> None:
    """A killed leader is replaced when its Lease expires, not before, because it might still write."""
    with operator(own_account, tmp_path / "first", **SHORT) as first:
        first.wait_until_started()
        until_leading(first, 10)
        with operator(own_account, tmp_path / "second", **SHORT) as second:
            second.wait_until_started()
            eventually(
                lambda: [each["event"] for each in second.events()],
                lambda events: "lease is held by another operator; waiting" in events,
                "the second waits",
            )
            first.process.kill()
            started = time.monotonic()
            until_leading(second, 2 * LEASE_S)
            assert time.monotonic() - started > LEASE_S * 2 / 3 - 0.5


def test_leader_stops_writing_when_lease_is_lost(separate_api: Api, own_account: Path, tmp_path: Path) -> None:
    """An operator that loses its Lease writes nothing more; it leads again when the Lease of the other expires."""
    brain = named(separate_api, "lost")
    with operator(own_account, tmp_path / "log", **SHORT) as one:
        one.wait_until_started()
        until_leading(one, 10)
        separate_api.patch("Lease", LEASE, SYSTEM, {"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 6}})
        eventually(lambda: health(one), lambda report: not report["leading"], "it stops", 1)
        before = separate_api.all_writes()
        brain.apply()
        time.sleep(2)
        assert separate_api.all_writes() == before
        assert "observedGeneration" not in brain.resource()["status"]
        until_leading(one, 12)
        ControllerStub(brain).serve()


def test_deleted_lease_is_recreated(separate_api: Api, own_account: Path, tmp_path: Path) -> None:
    """A deleted Lease is created again, and the operator still leads."""
    with operator(own_account, tmp_path / "log", **SHORT) as one:
        one.wait_until_started()
        until_leading(one, 10)
        separate_api.delete("Lease", LEASE, SYSTEM)
        eventually(
            lambda: separate_api.get("Lease", LEASE, SYSTEM)["spec"]["holderIdentity"], bool, "there is a Lease", 3
        )
        assert health(one)["leading"]


@pytest.fixture
def leader_forwarder(separate_api: Api) -> Iterator[Forwarder]:
    """A forwarder between an operator and the API server."""
    with forwarder(separate_api.server.url) as running:
        yield running


def test_health_detects_frozen_watch(leader_forwarder: Forwarder, own_account: Path, tmp_path: Path) -> None:
    """Health fails when open watch connections are silent, although the Lease is renewed over new connections."""
    config = tmp_path / "kubeconfig"
    config.write_text(own_account.read_text().replace(leader_forwarder.target, leader_forwarder.url))
    with operator(config, tmp_path / "log", **SHORT) as one:
        one.wait_until_started()
        until_leading(one, 10)
        time.sleep(3 * LEASE_S + 1)
        assert health(one)["watch_silent_s"] < LEASE_S
        leader_forwarder.freeze()
        eventually(lambda: one.status("/healthz"), lambda status: status == 503, "health notices", 6 * LEASE_S)
