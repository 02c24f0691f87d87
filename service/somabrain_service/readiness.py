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

PROBE_INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 2.0
STALE_AFTER_S = PROBE_INTERVAL_S + 2 * PROBE_TIMEOUT_S

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadinessState:
    """What was found out last. `reason` is a sentence; `latency_s` None: PostgreSQL did not answer."""

    ready: bool
    reason: str
    latency_s: float | None = None


STARTING = ReadinessState(False, "The service has just started and has not heard from PostgreSQL yet.")
DRAINING = ReadinessState(False, "The service is draining: it was asked to stop.")


class Readiness:
    """The standing of the process. `on_change` is told each time that `ready` turns."""

    def __init__(self, store: Store, metrics: Metrics, on_change: Callable[[bool], Awaitable[None]]) -> None:
        self._store = store
        self._metrics = metrics
        self._on_change = on_change
        self._state = STARTING
        self._probed_at = time.monotonic()
        self._draining = False

    @property
    def state(self) -> ReadinessState:
        """What was found out at most a second and a probe ago."""
        if not self._draining and time.monotonic() - self._probed_at > STALE_AFTER_S:
            return ReadinessState(False, f"PostgreSQL has not been probed for more than {STALE_AFTER_S:g} s.")
        return self._state

    async def watch(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def probe(self) -> None:
        """Ask PostgreSQL now."""
        state = await self._probe_schema()
        self._probed_at = time.monotonic()
        if state.latency_s is not None:
            self._metrics.store_probe_duration.set(state.latency_s)
        if not self._draining:
            await self._set(state)

    async def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True
        await self._set(replace(DRAINING, latency_s=self._state.latency_s))

    async def _set(self, state: ReadinessState) -> None:
        previous, self._state = self._state, state
        self._metrics.ready.set(state.ready)
        if previous.ready != state.ready:
            _log.info("ready" if state.ready else "not ready", reason=state.reason)
            await self._on_change(state.ready)
        elif previous.reason != state.reason:
            _log.info("still not ready", reason=state.reason)

    async def _probe_schema(self) -> ReadinessState:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                schema = await self._store.schema_state()
        except TimeoutError:
            return ReadinessState(False, f"PostgreSQL did not answer within {PROBE_TIMEOUT_S:g} s.")
        except SomaBrainError as exc:
            # The cause is the store's own words for the log; this question touches no memory.
            return ReadinessState(False, f"{exc.message} ({exc.__cause__})" if exc.__cause__ else exc.message)
        latency_s = time.perf_counter() - started
        if schema.compatible:
            return ReadinessState(True, "PostgreSQL answers and its schema fits.", latency_s)
        return ReadinessState(False, explain_incompatibility(schema), latency_s)


def explain_incompatibility(schema: SchemaState) -> str:
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
