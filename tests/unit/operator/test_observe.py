"""Events explain what no status shows: the latest one decides, and a reconcile works without them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import PermissionDenied, ResourceExhausted, SomaBrainError, Unavailable
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import Kind
from somabrain_operator.kube.names import KIND, MANAGER
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.observe.budgets import BudgetLister
from somabrain_operator.observe.events import pod_refusal, waits_for_pod
from somabrain_operator.observe.observe import observe
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.state import ObservedState, OtherBudget, OtherBudgets
from somabrain_operator.references.tracked import TrackedReferences
from tests.unit.operator.samples import KEY, MINIMAL, UID, job, pod

QUOTA = 'pods "m" is forbidden: exceeded quota: small'


def failed_create(second: int, message: str = QUOTA) -> dict[str, Any]:
    return {"reason": "FailedCreate", "message": f"Error creating: {message}", "lastTimestamp": timestamp(second)}


def successful_create(second: int) -> dict[str, Any]:
    return {"reason": "SuccessfulCreate", "message": "Created pod: m", "lastTimestamp": timestamp(second)}


def timestamp(second: int) -> str:
    return f"2026-01-02T03:04:{second:02}Z"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], ""),
        ([failed_create(1, "old"), failed_create(2)], QUOTA),
        ([failed_create(1), successful_create(2)], ""),
        ([successful_create(2), failed_create(1)], ""),
        ([successful_create(1), failed_create(2)], QUOTA),
        ([successful_create(1), failed_create(1)], ""),
        ([failed_create(1), successful_create(1)], ""),
        (
            [
                failed_create(1),
                {"reason": "SuccessfulDelete", "message": "Deleted pod: m", "lastTimestamp": timestamp(2)},
            ],
            QUOTA,
        ),
        ([failed_create(1) | {"source": {"component": "job-controller"}}], QUOTA),
        ([failed_create(1) | {"source": {"component": "somebody"}}], ""),
        ([failed_create(1) | {"reportingComponent": "somebody"}], ""),
        ([failed_create(1), successful_create(2) | {"reportingComponent": "somebody"}], QUOTA),
        ([{"reason": "DeadlineExceeded", "message": "too long", "lastTimestamp": timestamp(2)}], ""),
    ],
)
def test_failed_create_event_counts_until_pod_is_created(events: list[dict[str, Any]], expected: str) -> None:
    """The latest event of a creation decides, whether or not the created pod still exists; a creation wins a tie.

    Events that name another origin than the Job controller do not count.
    """
    assert pod_refusal(events) == expected


@pytest.mark.parametrize("field", ["active", "terminating"])
def test_job_whose_status_counts_a_pod_does_not_wait_for_one(field: str) -> None:
    """A Job whose status counts a pod is not refused one, even while that pod is deleted and so not listed."""
    assert waits_for_pod({**job(), "status": {"failed": 1}}, [])
    assert not waits_for_pod({**job(), "status": {field: 1}}, [])


class ClusterStub(Cluster):
    """A cluster without referenced Secrets, and with events or an error for them."""

    def __init__(self, events: tuple[Manifest, ...] = (), error: SomaBrainError | None = None) -> None:
        self.events = events
        self.error = error

    async def get(self, kind: Kind, namespace: str, name: str, *, newest: bool = True) -> Manifest | None:
        return None

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        if self.error is not None:
            raise self.error
        return tuple(each for each in self.events if (fields or {}).get("reason", each["reason"]) == each["reason"])


class SilentProbe(ReadinessProbe):
    """A probe of pods that report no reason for not being ready."""

    def __init__(self) -> None:
        pass

    async def fetch_reason(self, address: str) -> str:
        return ""


async def observed_with(cluster: Cluster) -> ObservedState:
    """Return the observed state of a resource whose server is not ready and whose Job has no pod."""
    store = ObjectStore()
    brain = {"metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": UID}, "spec": MINIMAL}
    server: Any = pod("s", ready=False, containers=[{"name": "server", "state": {"running": {}}}])
    waiting: Any = job()
    waiting["metadata"]["ownerReferences"][0] |= {"kind": KIND, "name": KEY.name}
    store.on_write(KIND, brain)
    store.on_write("Pod", {**server, "status": {**server["status"], "podIP": "127.0.0.57"}})
    store.on_write("Job", waiting)
    state = await observe(
        cluster, store, SilentProbe(), BudgetLister(cluster, 60), TrackedReferences(), KEY, frozenset()
    )
    assert state is not None
    return state


async def test_events_explain_unready_and_rejected_pods() -> None:
    """The kubelet's event explains a pod without a report, and the Job controller's a Job without a pod."""
    unhealthy = {"reason": "Unhealthy", "message": "Readiness probe failed", "lastTimestamp": timestamp(1)}
    state = await observed_with(ClusterStub((failed_create(1), unhealthy)))
    assert state.reports == {"s": "Readiness probe failed"}
    assert list(state.pod_refusals.values()) == [QUOTA]
    assert (await observed_with(ClusterStub((failed_create(1), successful_create(2))))).pod_refusals == {}


@pytest.mark.parametrize("error", [Unavailable("away."), PermissionDenied("no."), ResourceExhausted("slower.")])
async def test_unreadable_events_do_not_fail_observe(error: SomaBrainError) -> None:
    """Without events the state is still observed, without their messages, and the log has the error."""
    with capture_logs() as logged:
        state = await observed_with(ClusterStub(error=error))
    assert (state.reports, state.pod_refusals, len(state.jobs)) == ({}, {}, 1)
    assert [(each["log_level"], each["error"]) for each in logged] == [("warning", error.message)] * 2


class BudgetCluster(ClusterStub):
    """A cluster with a foreign budget and one of the operator in each namespace, which counts its list calls."""

    lists = 0

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        self.lists += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        ours: Manifest = {"metadata": {"name": "ours", "labels": {"app.kubernetes.io/managed-by": MANAGER}}, "spec": {}}
        return ({"metadata": {"name": f"of-{namespace}"}, "spec": {"selector": {}}}, ours)


async def test_budgets_are_listed_once_per_namespace_and_interval() -> None:
    """The budgets of a namespace are listed once per interval for all its SomaBrains, without the operator's own."""
    cluster = BudgetCluster()
    lister = BudgetLister(cluster, 3600)
    listed = await asyncio.gather(*(lister.list(namespace) for namespace in ("a", "b") * 50))
    assert listed == [OtherBudgets((OtherBudget("of-a", {}),)), OtherBudgets((OtherBudget("of-b", {}),))] * 50
    assert cluster.lists == 2
    expiring = BudgetLister(cluster, 0)
    assert await expiring.list("a") == await expiring.list("a")
    assert cluster.lists == 4


async def test_unlistable_budgets_do_not_fail_observe() -> None:
    """A refused list is logged and returned as the reason why the budgets are unknown."""
    with capture_logs() as logged:
        assert await BudgetLister(BudgetCluster(error=PermissionDenied("no.")), 60).list("a") == OtherBudgets((), "no.")
    assert [each["error"] for each in logged] == ["no."]
