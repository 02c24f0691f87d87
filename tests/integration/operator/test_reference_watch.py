"""Changes of referenced Secrets and ConfigMaps are detected by watches of their metadata, at no cost when idle."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.loopback import api_server
from devcluster.loopback.kubernetes import AUDIT_POLICY
from tests.integration.operator.api import OPERATOR, Api, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, tool, wait_for_kind
from tests.integration.operator.forwarder import forwarder
from tests.integration.operator.process import operator
from tests.support.waiting import eventually

NOTICED_S = 5.0
CONFIG_HASH = "somabrain.io/config-hash"


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server whose audit log includes reads."""
    with api_server(AUDIT_POLICY.with_name("audit-reads.yaml")) as server, api_of(server) as verbs:
        for name in (SYSTEM, "demo", "other"):
            verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield verbs


def install(api: Api, *settings: str) -> None:
    """Install the chart with settings."""
    for manifest in rendered(*settings):
        api.create(manifest, namespace_of(manifest))
    wait_for_kind(api)


def reads(api: Api) -> list[str]:
    """Return the operator's reads of Secrets, from the audit log."""
    events = [json.loads(line) for line in Path(api.server.audit_log).read_text().splitlines()]
    return [
        f"{each['verb']} {each['requestURI']}"
        for each in events
        if each["user"]["username"] == OPERATOR and (each.get("objectRef") or {}).get("resource") == "secrets"
    ]


def rolled(brain: Brain) -> str:
    """Return the hash in the pod template, which changes with the references."""
    return str(brain.deployment()["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH])


def rotated(brain: Brain, password: str) -> None:
    """Change a used key of a Secret, and wait until the pods roll."""
    before = rolled(brain)
    brain.rotate("somabrain-database", **{"app-dsn": f"postgresql://app:{password}@pg/s"})
    eventually(lambda: rolled(brain), lambda now: now != before, f"the pods roll for {password}", NOTICED_S)


def versions(brain: Brain) -> list[str]:
    """Return the versions of the resource and its Deployment, which change with every write."""
    return [each["metadata"]["resourceVersion"] for each in (brain.resource(), brain.deployment())]


def served(api: Api) -> Brain:
    """Return a SomaBrain that serves."""
    brain = Brain(api, "demo")
    brain.secrets()
    brain.apply()
    ControllerStub(brain).serve()
    return brain


def test_reference_change_is_detected_by_watch_without_polling(api: Api, tmp_path: Path) -> None:
    """Creation, change and deletion are detected although nothing is polled, and nothing is read in between.

    Only metadata is listed and watched. Other Secrets, and keys that are not used, change nothing.
    """
    install(api)
    with operator(account_of(api, tmp_path), tmp_path / "log") as running:
        running.wait_until_started()
        brain = served(api)
        rotated(brain, "second")
        ControllerStub(brain).roll_out()
        brain.until("Ready", "True")
        brain.api.delete("Secret", "somabrain-database", "demo")
        brain.until("ReferencesResolved", "False", "is not in namespace demo", NOTICED_S)
        brain.secret("somabrain-database", **{"app-dsn": "postgresql://a@pg/s", "worker-dsn": "postgresql://w@pg/s"})
        brain.until("ReferencesResolved", "True", timeout_s=NOTICED_S)
        ControllerStub(brain).roll_out()
        brain.until("Ready", "True")

        time.sleep(1)
        before, versions_before = reads(api), versions(brain)
        Brain(api, "other").secrets()
        time.sleep(6)
        assert reads(api) == before
        brain.rotate("somabrain-database", unused="x")
        eventually(lambda: reads(api), lambda now: now != before, "the Secret is read again", NOTICED_S)
        time.sleep(1)
        assert versions(brain) == versions_before
        listed = [each for each in reads(api) if not each.startswith("get ")]
        assert {each.split(" ")[0] for each in listed} == {"list", "watch"}
        assert running.body("/healthz").count("polled") == 0


def test_reference_change_during_watch_outage_is_detected(api: Api, tmp_path: Path) -> None:
    """A reopened watch continues where it ended."""
    install(api)
    account = account_of(api, tmp_path)
    with forwarder(api.server.url) as between:
        account.write_text(account.read_text().replace(between.target, between.url))
        long_lease = {"SOMABRAIN_OPERATOR__LEASE_DURATION_S": "60"}
        with operator(account, tmp_path / "log", **long_lease) as running:
            running.wait_until_started()
            brain = served(api)
            before = rolled(brain)
            with between.unreachable():
                brain.rotate("somabrain-database", **{"app-dsn": "postgresql://app:meanwhile@pg/s"})
                time.sleep(3)
            eventually(lambda: rolled(brain), lambda now: now != before, "the pods roll", NOTICED_S)
            rotated(brain, "afterwards")
            assert len([each for each in reads(api) if each.startswith("list ")]) == 1, "no version was lost"


def test_missing_watch_right_falls_back_to_polling_and_is_reported(api: Api, tmp_path: Path) -> None:
    """An operator that may only read Secrets by name polls them, and names the right and the setting."""
    install(api, "rbac.watchReferences=false")
    account = account_of(api, tmp_path)
    argv = [tool("kubectl"), "--kubeconfig", str(account), "get", "secrets", "-n", "demo"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "cannot list resource" in done.stderr
    with operator(account, tmp_path / "log") as running:
        running.wait_until_started()
        brain = served(api)
        rotated(brain, "second")
        report = json.loads(running.body("/healthz"))
        assert report["status"] == "degraded"
        (reason,) = (each for each in report["reasons"] if "Secrets are polled" in each)
        assert "grant list and watch on secrets" in reason
        assert "rbac.watchReferences" in reason
        assert not [each for each in report["reasons"] if "ConfigMaps" in each]


def test_disabled_reference_watch_polls_without_degradation(api: Api, tmp_path: Path) -> None:
    """The chart's setting removes both the right and the watch: nothing is refused, and nothing degraded."""
    install(api, "rbac.watchReferences=false")
    told = {"SOMABRAIN_OPERATOR__REFERENCE_WATCH": "false"}
    with operator(account_of(api, tmp_path), tmp_path / "log", **told) as running:
        running.wait_until_started()
        brain = served(api)
        rotated(brain, "second")
        assert json.loads(running.body("/healthz"))["status"] == "ok"
        assert {each.split(" ")[0] for each in reads(api)} == {"get"}
