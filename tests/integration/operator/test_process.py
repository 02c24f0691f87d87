"""The operator's process has only the rights it needs, stops gracefully, and writes nothing new as it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.loopback import api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, install, namespace_of, rendered, tool, wait_for_kind
from tests.integration.operator.process import Operator, operator
from tests.support.waiting import eventually


@pytest.fixture
def separate_api() -> Iterator[Api]:
    """A separate API server, for operators that must be the only ones."""
    with api_server() as server, api_of(server) as api:
        yield api


def test_operator_exits_cleanly_and_restart_writes_nothing(separate_api: Api, tmp_path: Path) -> None:
    """A stopped operator exits with 0, and with everything in sync the next one writes nothing."""
    install(separate_api)
    account = account_of(separate_api, tmp_path)
    brain = Brain(separate_api, "demo")
    separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain.secrets()
    with operator(account, tmp_path / "first") as first:
        first.wait_until_started()
        brain.apply()
        ControllerStub(brain).serve()
        time.sleep(1)
        before = separate_api.writes()
        assert first.stop() == 0
        assert first.events()[-1]["event"] == "Activity 'stop' succeeded."
    with operator(account, tmp_path / "second") as second:
        second.wait_until_started()
        eventually(
            lambda: second.get("/metrics"),
            lambda text: 'somabrain_operator_reconciles_total{outcome="ok"}' in text,
            "the resource is looked at",
        )
        time.sleep(1)
        assert separate_api.writes() == before


def test_restart_during_reconcile_creates_only_missing_objects(separate_api: Api, tmp_path: Path) -> None:
    """A stopped operator finishes work in progress, and the next one creates only missing objects, none twice."""
    install(separate_api)
    account = account_of(separate_api, tmp_path)
    brain = Brain(separate_api, "demo")
    separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain.secrets()
    with operator(account, tmp_path / "first") as first:
        first.wait_until_started()
        brain.apply()
        eventually(lambda: brain.child("ServiceAccount", "server"), bool, "it has begun")
        assert first.stop() == 0
        assert first.events()[-1]["event"] == "Activity 'stop' succeeded."
        assert not [each for each in first.events() if "exception" in each]
    with operator(account, tmp_path / "second") as second:
        second.wait_until_started()
        ControllerStub(brain).serve()
    children = [each for each in separate_api.writes() if "status" not in each and " events " not in each]
    assert sorted(children) == sorted(set(children))


def test_namespaced_operator_stays_within_its_namespaces(separate_api: Api, tmp_path: Path) -> None:
    """With rights in one namespace it works only there, and no request is forbidden."""
    for name in (SYSTEM, "mine", "theirs"):
        separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    manifests = rendered("watchNamespaces={mine}")
    assert not [each for each in manifests if str(each["kind"]).startswith("ClusterRole")]
    for manifest in manifests:
        separate_api.create(manifest, namespace_of(manifest))
    wait_for_kind(separate_api)
    account = account_of(separate_api, tmp_path)
    mine, theirs = Brain(separate_api, "mine"), Brain(separate_api, "theirs")
    mine.secrets()
    environment = {"SOMABRAIN_OPERATOR__NAMESPACES": '["mine"]'}
    with operator(account, tmp_path / "log", **environment) as started:
        started.wait_until_started()
        theirs.apply()
        mine.apply()
        ControllerStub(mine).serve()
        assert "observedGeneration" not in theirs.resource()["status"]
        assert not [each for each in started.events() if "is forbidden: User" in str(each)]


def test_missing_crd_is_reported_and_awaited(separate_api: Api, tmp_path: Path) -> None:
    """Without the CustomResourceDefinition the operator is not healthy, names the chart that has it, and waits for it.

    A restart would not help, so `/livez` does not fail.
    """
    with operator(separate_api.server.kubeconfig, tmp_path / "log") as started:
        until_crd_missing(started)
        assert "install the chart somabrain-operator with crd.install=true" in started.log.read_text()
        assert started.status("/livez") == 200
        install(separate_api)
        started.wait_until_started()
        brain = created(separate_api, "demo")
        ControllerStub(brain).serve()
        assert started.status("/healthz") == 200


def test_operator_survives_crd_deletion_and_recreation(separate_api: Api, tmp_path: Path) -> None:
    """While the CustomResourceDefinition is missing the operator is unhealthy with the reason; afterwards it continues.

    It is the same process, and it logs no traceback.
    """
    install(separate_api)
    (definition,) = (each for each in rendered() if each["kind"] == "CustomResourceDefinition")
    with operator(account_of(separate_api, tmp_path), tmp_path / "log") as started:
        started.wait_until_started()
        ControllerStub(created(separate_api, "first")).serve()
        separate_api.delete("CustomResourceDefinition", definition["metadata"]["name"])
        until_crd_missing(started)
        separate_api.create(definition)
        wait_for_kind(separate_api)
        ControllerStub(created(separate_api, "second")).serve()
        eventually(lambda: started.status("/healthz"), lambda status: status == 200, "it is healthy")
        assert started.process.poll() is None
        assert "Traceback" not in started.log.read_text()


def until_crd_missing(one: Operator) -> None:
    """Wait until an operator reports in /healthz that its kind is not served."""
    eventually(
        lambda: (one.status("/healthz"), one.body("/healthz")),
        lambda answer: answer[0] == 503 and "does not serve somabrains.somabrain.io" in answer[1],
        "health names the missing kind",
    )


def created(api: Api, namespace: str) -> Brain:
    """Create a SomaBrain in a new namespace."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    brain = Brain(api, namespace)
    brain.secrets()
    brain.apply()
    return brain


def test_misspelt_setting_fails_startup_with_suggestion(separate_api: Api, tmp_path: Path) -> None:
    """A misspelt setting ends the operator with the nearest name in the message."""
    with operator(separate_api.server.kubeconfig, tmp_path / "log", SOMABRAIN_OPERATOR__WORKER="3") as started:
        assert started.process.wait(60) != 0
    assert "did you mean SOMABRAIN_OPERATOR__MAX_CONCURRENT_RECONCILES?" in (tmp_path / "log").read_text()


def test_health_and_metrics_are_served(running: Operator, served: Brain) -> None:
    """Health shows that the loop runs; metrics show writes, the queue, the leader and the conditions."""
    assert '"status": "ok"' in running.get("/healthz")
    of = f'name="quickstart",namespace="{served.namespace}"'
    ready = f'somabrain_operator_condition{{{of},type="Ready"}}'
    metrics = eventually(
        running.metrics, lambda it: it.get(ready) == 1, "Ready is counted"
    )  # after the status is written
    assert metrics['somabrain_operator_reconciles_total{outcome="ok"}'] > 0
    assert metrics["somabrain_operator_reconcile_duration_seconds_count"] > 0
    assert metrics['somabrain_operator_api_writes_total{kind="Deployment",verb="apply"}'] > 0
    assert metrics["somabrain_operator_leader"] == 1
    assert metrics["somabrain_operator_queue_depth"] >= 0 <= metrics["somabrain_operator_queue_oldest_seconds"] < 30
    assert metrics["somabrain_operator_tasks"] > 5
    assert metrics[f'somabrain_operator_condition{{{of},type="Degraded"}}'] == 0


def test_service_account_has_needed_rights_and_cannot_write_secrets(
    running: Operator, served: Brain, account: Path
) -> None:
    """Under the chart's rights no request of the operator is forbidden, and it can write no Secret."""
    assert not [each for each in running.events() if "is forbidden: User" in str(each)]
    name = ("secret", "somabrain-database", "a=b")
    argv = ["kubectl", "--kubeconfig", str(account), "annotate", *name, "-n", served.namespace]
    done = subprocess.run([tool(argv[0]), *argv[1:]], capture_output=True, text=True, check=False)
    assert "cannot patch resource" in done.stderr
