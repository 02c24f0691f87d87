"""Whether the process can serve: asked of PostgreSQL once a second, and known to probes and gRPC health.

Readiness is not liveness: a process whose database is gone lives, says why it is not ready, and recovers by
itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from common.errors import SomaBrainError
from somabrain_service.metrics import Metrics
from somabrain_service.store.protocols import Store
from somabrain_service.store.records import SchemaState

EVERY_S = 1.0
TIMEOUT_S = 2.0
STALE_S = EVERY_S + 2 * TIMEOUT_S

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found out last. `reason` is a sentence; `latency_s` None: PostgreSQL did not answer."""

    ready: bool
    reason: str
    latency_s: float | None = None


STARTING = Standing(False, "The service has just started and has not heard from PostgreSQL yet.")
DRAINING = Standing(False, "The service is draining: it was asked to stop.")


class Readiness:
    """The standing of the process. `on_change` is told each time that `ready` turns."""

    def __init__(self, store: Store, metrics: Metrics, on_change: Callable[[bool], Awaitable[None]]) -> None:
        self._store = store
        self._metrics = metrics
        self._on_change = on_change
        self._standing = STARTING
        self._looked_at = time.monotonic()
        self._draining = False

    @property
    def standing(self) -> Standing:
        """What was found out at most a second and a probe ago."""
        if not self._draining and time.monotonic() - self._looked_at > STALE_S:
            return Standing(False, f"PostgreSQL has not been probed for more than {STALE_S:g} s.")
        return self._standing

    async def watch(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask PostgreSQL now."""
        found = await self._probe()
        self._looked_at = time.monotonic()
        if found.latency_s is not None:
            self._metrics.store_seconds.set(found.latency_s)
        if not self._draining:
            await self._become(found)

    async def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True
        await self._become(replace(DRAINING, latency_s=self._standing.latency_s))

    async def _become(self, found: Standing) -> None:
        before, self._standing = self._standing, found
        self._metrics.ready.set(found.ready)
        if before.ready != found.ready:
            _log.info("ready" if found.ready else "not ready", reason=found.reason)
            await self._on_change(found.ready)
        elif before.reason != found.reason:
            _log.info("still not ready", reason=found.reason)

    async def _probe(self) -> Standing:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                schema = await self._store.schema_state()
        except TimeoutError:
            return Standing(False, f"PostgreSQL did not answer within {TIMEOUT_S:g} s.")
        except SomaBrainError as exc:
            # The cause is the store's own words for the log; this question touches no memory.
            return Standing(False, f"{exc.message} ({exc.__cause__})" if exc.__cause__ else exc.message)
        latency_s = time.perf_counter() - started
        if schema.compatible:
            return Standing(True, "PostgreSQL answers and its schema fits.", latency_s)
        return Standing(False, schema_sentence(schema), latency_s)


def schema_sentence(schema: SchemaState) -> str:
    """Say why the schema does not fit, and what helps."""
    if schema.current is None:
        return "The database has no schema yet: run `somabrain-service migrate`."
    if schema.current < schema.head:
        return (
            f"The database's schema is {schema.current} and this version needs {schema.head}: "
            "run `somabrain-service migrate`."
        )
    return (
        f"The database's schema {schema.current} is compatible with {schema.oldest_compatible} and newer, and this "
        f"version has {schema.head}: run a newer version of the service."
    )
