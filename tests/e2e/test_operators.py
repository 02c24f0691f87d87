"""Several operators, one with stalled watches, and one for some namespaces only: the writes of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from devcluster.crds import prometheus_operator
from examples.kubectl import Kubectl
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.faults import OPERATOR
from tests.e2e.support.operators import OperatorPod, Release, rights, used
from tests.e2e.support.waiting import eventually

PAIR = ("replicas=2", "operator.leaseSeconds=3", "operator.referencesSeconds=5")
API = 6443
MONITORING: dict[str, object] = {"serviceMonitor": {}, "rules": {}, "dashboard": {}}
DEFINITIONS = ("servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")


@pytest.fixture(scope="module")
def release(kubectl: Kubectl, installed: None) -> Iterator[Release]:
    """The operator's release, restored afterwards."""
    release = Release(kubectl)
    yield release
    release.upgrade()


@pytest.fixture(scope="module")
def pair(release: Release) -> list[OperatorPod]:
    """Two operators with a short Lease."""
    release.upgrade(*PAIR)
    return release.pods()


async def leader_and_other(pair: list[OperatorPod]) -> tuple[OperatorPod, OperatorPod]:
    """Wait until exactly one of the two leads, and return both."""
    leads = await eventually(lambda: [each.leads() for each in pair], lambda now: sum(now) == 1, "not one leads")
    leader, other = sorted(pair, key=lambda each: not leads[pair.index(each)])
    return leader, other


async def test_failover_reverts_drift_and_only_the_leader_writes(
    pair: list[OperatorPod], served: Brain, chaos: Chaos, kubectl: Kubectl
) -> None:
    """Drift is reverted throughout a failover, and an operator that does not lead writes nothing, even after a hang."""
    first, second = await leader_and_other(pair)
    await served.edited_by_hand()
    assert await asyncio.to_thread(second.writes) == {}
    written, pod = await asyncio.to_thread(first.writes), await asyncio.to_thread(first.now)
    await asyncio.to_thread(chaos.signal, "STOP", pod, "operator")
    try:
        await eventually(second.leads, bool, "nobody takes over from one that hangs")
        await served.edited_by_hand()
    finally:
        await asyncio.to_thread(chaos.signal, "CONT", pod, "operator")
    assert await leader_and_other([first, second]) == (second, first)
    await served.edited_by_hand()
    assert await asyncio.to_thread(first.writes) == written
    await asyncio.to_thread(kubectl, "delete", "pod", second.name, "-n", OPERATOR, "--wait=false")
    await eventually(first.leads, bool, "nobody takes over from one that goes")
    await served.edited_by_hand()
    assert await asyncio.to_thread(first.restarts) == 0


@pytest.fixture(scope="module")
def frozen(release: Release, pair: list[OperatorPod], chaos: Chaos) -> Iterator[OperatorPod]:
    """The operator that does not lead, with connections over which nothing more arrives."""
    release.settle()
    _, other = asyncio.run(leader_and_other(release.pods()))
    with chaos.frozen(other.now()["status"]["podIP"], API):
        yield other


@pytest.fixture
def kinds(kubectl: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """The CRDs of the Prometheus operator, to be applied; removed at the end."""
    definitions = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in prometheus_operator(tmp_path)]
    list_file = tmp_path / "wanted.json"
    items = [each for each in definitions if each["metadata"]["name"] in DEFINITIONS]
    list_file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    yield list_file
    kubectl("delete", "--ignore-not-found", "-f", str(list_file))


@pytest.mark.usefixtures("frozen")  # meanwhile: it takes half a minute until that is noticed
async def test_monitoring_is_created_when_its_crds_appear_and_removed_with_spec(served: Brain, kinds: Path) -> None:
    """Monitoring is created once its CRDs exist; until then the status names the missing kind, and it is Ready."""
    await asyncio.to_thread(served.apply, monitoring=MONITORING)
    await served.until("ConfigValid", "True", "The ServiceMonitor of spec.monitoring is not created yet")
    await served.ready()
    await asyncio.to_thread(served.kubectl, "apply", "--server-side", "-f", str(kinds))
    established = ("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in DEFINITIONS))
    await asyncio.to_thread(served.kubectl, *established)
    await eventually(partial(monitoring_objects_exist, served), all, "not all is made")
    await served.until("ConfigValid", "True", "The spec is valid.")
    await asyncio.to_thread(served.apply)
    await eventually(partial(monitoring_objects_exist, served), lambda exist: not any(exist), "not all is pruned")


def monitoring_objects_exist(brain: Brain) -> list[bool]:
    """Return for each object of `spec.monitoring` whether it exists."""
    names = {"servicemonitor": "server", "prometheusrule": "server", "configmap": "dashboard"}
    objects = (brain.kubectl.find(brain.namespace, kind, f"{brain.name}-{name}") for kind, name in names.items())
    return [each is not None for each in objects]


async def test_operator_with_frozen_watches_is_restarted(frozen: OperatorPod, kubectl: Kubectl) -> None:
    """An operator with stalled watches fails its liveness probe and is restarted."""
    await eventually(frozen.restarts, lambda count: count == 1, "it is not started anew", timeout_s=90)
    of = f"involvedObject.name={frozen.name},reason=Unhealthy"
    events = (await asyncio.to_thread(kubectl.get, OPERATOR, "events", "--field-selector", of))["items"]
    assert any("Liveness probe failed" in each["message"] and "503" in each["message"] for each in events)


async def test_operator_rights_are_minimal_and_sufficient(release: Release, served: Brain) -> None:
    """Each write of the operator is granted explicitly: no right is for all verbs or all kinds.

    Secrets are read by name, and their metadata is watched, for which Kubernetes has no smaller right.
    """
    await asyncio.to_thread(release.settle)  # the one that was frozen may still be starting
    await served.edited_by_hand()
    granted = await asyncio.to_thread(rights, release.kubectl, served.namespace)
    assert {right.verb for right in granted if right.resource == "secrets"} == {"get", "list", "watch"}
    assert not {right for right in granted if "*" in right}
    for operator in await asyncio.to_thread(release.pods):
        assert used(await asyncio.to_thread(operator.writes)) <= granted
        assert "is forbidden: User" not in await asyncio.to_thread(operator.log)


async def test_single_namespace_install_has_no_rights_elsewhere(
    release: Release, served: Brain, brain: Brain, kubectl: Kubectl
) -> None:
    """With watchNamespaces it has rights in those namespaces only, and SomaBrains elsewhere wait."""
    before = await asyncio.to_thread(rights, kubectl, served.namespace)
    await asyncio.to_thread(release.upgrade, f"watchNamespaces={{{served.namespace}}}")
    assert await asyncio.to_thread(rights, kubectl, served.namespace) == before
    assert await asyncio.to_thread(rights, kubectl, brain.namespace) == set()
    await asyncio.to_thread(brain.apply, replicas=0, migration={"enabled": False})
    await served.edited_by_hand()
    assert "observedGeneration" not in (await asyncio.to_thread(brain.resource))["status"]
    (operator,) = await asyncio.to_thread(release.pods)
    assert "is forbidden: User" not in await asyncio.to_thread(operator.log)
    await asyncio.to_thread(release.upgrade)
    await brain.until("Available", "False", "spec.replicas is 0")


async def test_deleted_watched_namespace_does_not_block_others(
    release: Release, served: Brain, another_namespace: str, kubectl: Kubectl
) -> None:
    """With the first of watchNamespaces deleted, edits in the other are reverted, also by an operator that starts then.

    Its health names the namespace that it may not watch.
    """
    await asyncio.to_thread(release.upgrade, f"watchNamespaces={{{another_namespace},{served.namespace}}}")
    await served.edited_by_hand()
    deleted = ("delete", "namespace", another_namespace, "--timeout=60s")
    await asyncio.to_thread(partial(kubectl, *deleted, timeout_s=70))
    await served.edited_by_hand()
    await asyncio.to_thread(kubectl, "rollout", "restart", "-n", OPERATOR, "deployment/somabrain-operator")
    await asyncio.to_thread(release.settle)
    await served.edited_by_hand()
    (operator,) = await asyncio.to_thread(release.pods)
    report = await asyncio.to_thread(operator.health)
    assert (report["status"], report["leading"]) == ("degraded", True)
    assert any(f"in namespace {another_namespace}: if the namespace was deleted" in it for it in report["reasons"])
    assert await asyncio.to_thread(operator.restarts) == 0
