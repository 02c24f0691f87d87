"""The operator as nested contexts: reading down is startup, unwinding is shutdown."""

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
from common.errors import ConfigurationError, NotFound, ResourceExhausted, Unavailable
from somabrain_operator import names
from somabrain_operator.cache import Cache
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.connection import connection
from somabrain_operator.cluster.kinds import BRAIN
from somabrain_operator.cluster.listing import Listing
from somabrain_operator.cluster.optional import OptionalKinds
from somabrain_operator.cluster.probe import ReadinessProbe
from somabrain_operator.election import Election
from somabrain_operator.garbage import collect_when_idle
from somabrain_operator.health import FROZEN_LEASES, Vitals, http_server, make_app
from somabrain_operator.leadership import Seat
from somabrain_operator.metrics import Metrics
from somabrain_operator.observed import Release
from somabrain_operator.proof import WatchProof
from somabrain_operator.queue import WorkQueue
from somabrain_operator.reconcile import Reconciler
from somabrain_operator.references import ReferenceWatch
from somabrain_operator.tree import Json, Manifest

STOP_GRACE_S: Final = 15.0
"""How long reconciles under way may finish; each of their calls has a time-out."""
START_GRACE_S: Final = 45.0
"""How long an API server that is starting is waited for; then the kubelet starts the operator anew."""
_log = structlog.stdlib.get_logger("somabrain_operator")


@dataclass(frozen=True, slots=True)
class Intake:
    """Where events go: each is kept as what is known now, and becomes the key of whom it concerns."""

    queue: WorkQueue
    cache: Cache
    election: Election

    def seen(self, kind: str, event: str | None, found: Manifest) -> None:
        """Take an event of a SomaBrain or of a child; None: it is only listed."""
        for key in self.cache.told(kind, event, found):
            self.queue.add(key, lambda: event == "DELETED" or not self.cache.is_echo(kind, found))

    def lease_seen(self, event: str | None, seen: Json) -> None:
        """Take an event of a Lease of the operator's name."""
        self.election.lease_seen(event, seen)


def release(told: OperatorSettings) -> Release:
    """Return what this operator was released with, as far as the settings do not say otherwise."""
    return Release(
        service_repository=told.service_repository,
        service_version=told.service_version or metadata.version("somabrain"),
        opa_image=told.opa_image,
        vault_image=told.vault_image,
        policy=files("common.policy").joinpath("sb.rego").read_text(encoding="utf-8"),
    )


@asynccontextmanager
async def running(told: Settings, log_in: Callable[[], kopf.ConnectionInfo | None]) -> AsyncIterator[Intake]:
    """Run the operator's own parts and yield where events go.

    Args:
        told: the settings.
        log_in: says where the API server is, and who we are.

    Raises:
        ConfigurationError: the CustomResourceDefinition is not installed, or the HTTP port cannot be bound.
    """
    metrics, cache = Metrics(), Cache()
    metrics.watch_tasks(lambda: len(asyncio.all_tasks()))
    async with connection(log_in) as open_connection, aiohttp.ClientSession() as session:
        cluster = Cluster(open_connection, metrics)
        await _require_crd(cluster, told.operator)
        references = ReferenceWatch(cluster, told.operator.reference_poll_interval_s)
        optional = OptionalKinds(cluster, told.operator.reference_poll_interval_s)
        reconciler = Reconciler(
            cluster, optional, ReadinessProbe(session), release(told.operator), references, cache, metrics.conditions
        )
        queue = WorkQueue(
            reconciler.reconcile,
            metrics,
            workers=told.operator.max_concurrent_reconciles,
            resync_s=told.operator.resync_period_s,
        )
        await optional.known()  # before kopf looks for them: what is not there then is never watched
        listing = Listing(cluster, cache, queue.add, told.operator, optional.lacking)
        seat, proof = _seat(told.operator), WatchProof()
        election = Election(cluster, seat, proof, metrics)
        vitals = Vitals(queue.oldest_s, proof.silent_s, FROZEN_LEASES * seat.lease_s, lambda: election.leading)

        async def work() -> None:
            await optional.known()
            await listing.filled()

            def look_at_all() -> None:
                for key in cache.brains():
                    queue.add(key)

            look_at_all()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(queue.run())
                    group.create_task(listing.run())
                    group.create_task(references.run(queue.add))
                    group.create_task(optional.run(look_at_all))
            finally:
                metrics.conditions.clear()

        async with (
            http_server(told.http, make_app(metrics, vitals)) as port,
            election.released(),
            _background(election.run(work), collect_when_idle(lambda: not queue.oldest_s())),
        ):
            _log.info("operator started", http_port=port, namespaces=list(told.operator.namespaces) or "all")
            try:
                yield Intake(queue, cache, election)
            finally:
                await queue.stop(STOP_GRACE_S)
                _log.info("operator stopped")


def _seat(told: OperatorSettings) -> Seat:
    """Return the Lease that this operator asks for.

    Raises:
        ConfigurationError: it would lie where nothing is watched, so that its events would not be seen.
    """
    namespace = told.lease_namespace or (told.namespaces[0] if told.namespaces else "default")
    if told.namespaces and namespace not in told.namespaces:
        raise ConfigurationError(
            f"operator.lease_namespace: {namespace} is not watched; name one of operator.namespaces, or leave it out."
        )
    identity = told.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return Seat(namespace, told.lease_name, identity, told.lease_duration_s)


async def _require_crd(cluster: Cluster, told: OperatorSettings) -> None:
    """Return once the API server serves the kind; a server that is starting is waited for."""
    ends_at = asyncio.get_running_loop().time() + START_GRACE_S
    while True:
        try:
            await cluster.list(BRAIN, told.namespaces[0] if told.namespaces else "*", {})
        except NotFound as exc:
            raise ConfigurationError(
                f"The API server does not know {names.PLURAL}.{names.GROUP}; install the chart somabrain-operator "
                "with crd.install=true, or apply crds/."
            ) from exc
        except (ResourceExhausted, Unavailable) as exc:
            if asyncio.get_running_loop().time() > ends_at:
                raise
            _log.warning("waiting for the API server", error=exc.message)
            await asyncio.sleep(1)
        else:
            return


@asynccontextmanager
async def _background(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run coroutines until the end of the block; one that fails stops the process, so that it is started anew."""
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
    except Exception:  # noqa: BLE001 - the boundary of a task: nothing above it would notice
        _log.exception("a part of the operator failed; stopping")
        signal.raise_signal(signal.SIGTERM)
