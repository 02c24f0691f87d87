"""Readiness of the process: PostgreSQL is probed once a second, for HTTP probes and gRPC health.

The probe also reads PostgreSQL's clock, so a process that is ready knows the time of all processes.

Readiness is not liveness: a process whose database is unreachable stays alive, reports why it is not ready, and
recovers by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from common.errors import SomaBrainError
from somabrain_service.domain.database_clock import MAX_SILENT_DIFFERENCE_S, DatabaseClock
from somabrain_service.metrics import Metrics
from somabrain_service.store.protocols import Store
from somabrain_service.store.records import SchemaState

PROBE_INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 2.0
"""Seconds after which a probe without an answer makes the process not ready."""
PROBE_LIMIT_S = 30.0
"""Seconds after which such a probe is given up. Until then it may connect to another address, after silent ones."""
MAX_LOGGED_REASONS = 16
STALE_AFTER_S = PROBE_INTERVAL_S + 2 * PROBE_TIMEOUT_S

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadinessState:
    """Result of the last probe. `reason` is a sentence; `latency_s` None: PostgreSQL did not answer.

    `notes`: further sentences, which do not affect readiness.
    """

    ready: bool
    reason: str
    latency_s: float | None = None
    notes: tuple[str, ...] = ()


STARTING = ReadinessState(False, "The service has just started and has not probed PostgreSQL yet.")
SILENT = ReadinessState(False, f"PostgreSQL did not answer within {PROBE_TIMEOUT_S:g} s.")
DRAINING = ReadinessState(False, "The service is draining: it is shutting down.")


class Readiness:
    """Readiness of the process. `on_change` is called each time that `ready` changes; each probe updates `clock`."""

    def __init__(
        self, store: Store, metrics: Metrics, on_change: Callable[[bool], Awaitable[None]], clock: DatabaseClock
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._state = STARTING
        self._probed_at = time.monotonic()
        self._draining = False
        self._logged: set[str] = set()
        """Reasons logged since `ready` changed last: a server that hangs has two, by turns."""

    @property
    def state(self) -> ReadinessState:
        """Current state; not ready if the last probe is older than `STALE_AFTER_S`."""
        if not self._draining and time.monotonic() - self._probed_at > STALE_AFTER_S:
            return ReadinessState(False, f"PostgreSQL has not been probed for more than {STALE_AFTER_S:g} s.")
        return self._state

    async def watch(self) -> None:
        """Probe once a second, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def probe(self) -> None:
        """Probe PostgreSQL now."""
        probing = asyncio.create_task(self._probe_schema())
        try:
            while not (await asyncio.wait({probing}, timeout=PROBE_TIMEOUT_S))[0]:
                await self._record(SILENT)
            await self._record(await probing)
        finally:
            probing.cancel()

    async def _record(self, state: ReadinessState) -> None:
        self._probed_at = time.monotonic()
        if state.latency_s is not None:
            self._metrics.store_probe_duration.set(state.latency_s)
        if not self._draining:
            await self._set(state)

    async def drain(self) -> None:
        """Set not ready, permanently."""
        self._draining = True
        await self._set(replace(DRAINING, latency_s=self._state.latency_s))

    async def _set(self, state: ReadinessState) -> None:
        previous, self._state = self._state, state
        self._metrics.ready.set(state.ready)
        if previous.ready != state.ready:
            _log.info("ready" if state.ready else "not ready", reason=state.reason)
            self._logged = {state.reason}
            await self._on_change(state.ready)
        elif state.reason not in self._logged:
            self._logged = {state.reason} if len(self._logged) >= MAX_LOGGED_REASONS else self._logged | {state.reason}
            _log.info("still not ready", reason=state.reason)

    async def _probe_schema(self) -> ReadinessState:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                schema = await self._store.schema_state()
                latency_s = time.perf_counter() - started
                await self._read_clock()
        except TimeoutError:
            return SILENT
        except SomaBrainError as exc:
            # The cause may be shown, because this query reads no memory and so the store's message repeats none.
            return ReadinessState(False, f"{exc.message} ({exc.__cause__})" if exc.__cause__ else exc.message)
        notes = tuple(note for note in (self._clock.explain_difference(),) if note)
        if schema.compatible:
            return ReadinessState(True, "PostgreSQL answers and its schema is compatible.", latency_s, notes)
        return ReadinessState(False, explain_incompatibility(schema), latency_s, notes)

    async def _read_clock(self) -> None:
        # After the schema's queries, so that the time to connect does not blur it.
        sent_s = time.monotonic()
        database_time = await self._store.ping()
        correction = self._clock.record(sent_s, database_time, time.monotonic())
        if abs(correction.total_seconds()) > MAX_SILENT_DIFFERENCE_S:
            _log.warning("database clock was set", correction_s=round(correction.total_seconds(), 3))


def explain_incompatibility(schema: SchemaState) -> str:
    """Return why the schema is incompatible, and the remedy."""
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
