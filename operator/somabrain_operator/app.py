"""The operator as nested contexts: entering them in order is startup, unwinding them is shutdown."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from typing import Final

import aiohttp
import kopf
import structlog

from common.config.settings import OperatorSettings, Settings
from common.net.http_server import http_server
from somabrain_operator.controller.reconcile import Reconciler
from somabrain_operator.controller.workqueue import WorkQueue
from somabrain_operator.health import MAX_OVERDUE_LEASES, HealthInputs, make_app
from somabrain_operator.informer.optional_kinds import OptionalKinds
from somabrain_operator.informer.relist import Relister
from somabrain_operator.informer.served_crd import ServedCrd
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.informer.watch_liveness import WatchLiveness
from somabrain_operator.informer.watch_session import WatchSessions
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.transport import open_transport
from somabrain_operator.leaderelection.elector import LeaderElector
from somabrain_operator.leaderelection.lease import LeaseConfig
from somabrain_operator.metrics import Metrics
from somabrain_operator.observe.budgets import BudgetLister
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.state import OperatorDefaults
from somabrain_operator.python_gc import collect_when_idle
from somabrain_operator.references.poller import ReferencePoller
from somabrain_operator.references.tracked import TrackedReferences
from somabrain_operator.references.watcher import ReferenceWatcher

STOP_GRACE_S: Final = 15.0
"""Time that reconciles in progress get to finish at shutdown; each of their calls has a timeout."""
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Operator:
    """The running components that the event handlers use."""

    queue: WorkQueue
    store: ObjectStore
    elector: LeaderElector
    watch_sessions: WatchSessions


def operator_defaults(settings: OperatorSettings) -> OperatorDefaults:
    """Return the defaults of this release, overridden by the settings."""
    return OperatorDefaults(
        service_repository=settings.service_repository,
        service_version=settings.service_version or metadata.version("somabrain"),
        opa_image=settings.opa_image,
        vault_image=settings.vault_image,
        policy=files("common.policy").joinpath("sb.rego").read_text(encoding="utf-8"),
        stall_after_s=settings.stall_after_s,
        provisions=settings.provision,
        finalizers=settings.provision and not settings.namespaces,
    )


@asynccontextmanager
async def lifespan(settings: Settings, log_in: Callable[[], kopf.ConnectionInfo | None]) -> AsyncIterator[Operator]:
    """Run the operator's own tasks and yield the components that the event handlers use.

    Args:
        settings: the settings.
        log_in: returns the API server's address and the credentials.

    Raises:
        ConfigurationError: the HTTP port cannot be bound.
        SomaBrainError: the API server did not become available within START_GRACE_S.
    """
    metrics, store, watches = Metrics(), ObjectStore(), watch_sessions(settings.operator)
    metrics.watch_tasks(lambda: len(asyncio.all_tasks()))
    async with open_transport(log_in) as transport, aiohttp.ClientSession() as session:
        cluster = Cluster(transport, metrics.count_write)
        crd = ServedCrd(cluster)
        tracked = TrackedReferences()
        reference_watcher = ReferenceWatcher(
            cluster, tracked, settings.operator.namespaces, enabled=settings.operator.reference_watch
        )
        reference_poller = ReferencePoller(
            cluster, tracked, reference_watcher, settings.operator.reference_poll_interval_s
        )
        optional_kinds = OptionalKinds(cluster, settings.operator.reference_poll_interval_s)
        reconciler = Reconciler(
            cluster,
            optional_kinds,
            ReadinessProbe(session),
            BudgetLister(cluster, settings.operator.reference_poll_interval_s),
            operator_defaults(settings.operator),
            tracked,
            store,
            metrics.conditions,
            crd,
        )
        queue = WorkQueue(
            reconciler.reconcile,
            metrics,
            workers=settings.operator.max_concurrent_reconciles,
            resync_s=settings.operator.resync_period_s,
        )
        lease_config, liveness = _lease_config(settings.operator), WatchLiveness()
        elector = LeaderElector(cluster, lease_config, liveness, metrics)

        def outages() -> list[str]:
            refusals = watches.refusals() if watches.all_brains_refused() else ()
            return [*crd.outages(), *lease_failures(leading=False), *refusals]

        def lease_failures(*, leading: bool) -> list[str]:
            """Return the failure of the last attempt: a leader still leads until the renew deadline."""
            return [elector.failure] if elector.failure and elector.leading is leading else []

        health_inputs = HealthInputs(
            queue.oldest_s,
            liveness.overdue_s,
            MAX_OVERDUE_LEASES * lease_config.lease_duration_s,
            lambda: elector.leading,
            outages,
            lambda: [
                *crd.degradations(),
                *lease_failures(leading=True),
                *watches.refusals(),
                *reference_watcher.refusals(),
            ],
        )

        async with http_server(settings.http, make_app(metrics, health_inputs)) as port:
            _log.info("HTTP server started", http_port=port)
            await crd.wait_until_served()
            await optional_kinds.wait_for_discovery()  # before kopf discovers kinds: it never watches later ones
            relister = Relister(cluster, store, queue.add, settings.operator, optional_kinds.missing_kinds)

            async def work() -> None:
                await optional_kinds.wait_for_discovery()
                await relister.wait_for_sync()

                def enqueue_all() -> None:
                    for key in store.brain_keys():
                        queue.add(key)

                enqueue_all()
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(reference_watcher.run(queue.add, reference_poller.read_once))
                        await reference_watcher.wait_for_first_attempt()
                        group.create_task(queue.run())
                        group.create_task(relister.run())
                        group.create_task(reference_poller.run(queue.add))
                        group.create_task(optional_kinds.run(enqueue_all))
                finally:
                    metrics.conditions.clear()

            async with (
                elector.release_on_exit(),
                _background(elector.run(work), crd.run(), collect_when_idle(lambda: not queue.oldest_s())),
            ):
                _log.info("operator started", http_port=port, namespaces=list(settings.operator.namespaces) or "all")
                try:
                    yield Operator(queue, store, elector, watches)
                finally:
                    await queue.stop(STOP_GRACE_S)
                    _log.info("operator stopped")


def watch_sessions(settings: OperatorSettings) -> WatchSessions:
    """Return the sessions of kopf's watches."""
    return WatchSessions(settings.namespaces, _lease_config(settings).namespace)


def _lease_config(settings: OperatorSettings) -> LeaseConfig:
    namespace = settings.lease_namespace or (settings.namespaces[0] if settings.namespaces else "default")
    former = settings.former_lease_namespace if settings.former_lease_namespace != namespace else None
    identity = settings.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return LeaseConfig(namespace, settings.lease_name, identity, settings.lease_duration_s, former)


@asynccontextmanager
async def _background(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run coroutines until the end of the block; one that fails stops the process, so that the kubelet restarts it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_supervised(each)) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _supervised(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - the boundary of a task: nothing above it would report the error
        _log.exception("background task failed; stopping")
        signal.raise_signal(signal.SIGTERM)
