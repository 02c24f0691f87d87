"""Work queue: one worker at a time processes a key, and several process different keys.

An event is only a key. A key that is added again while it waits is processed once; one that is added while it is
processed is processed again. A key that fails is requeued after the back-off of its error; one that succeeds is
requeued after the time that its reconcile returned, and at the latest after the resync period.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from somabrain_operator.controller.rate_limits import backoff_for
from somabrain_operator.kube.names import Key
from somabrain_operator.metrics import Metrics

NO_REQUEUE: Final = -1.0
"""Return value of a reconcile whose key is not to be requeued."""
_log = structlog.stdlib.get_logger(__name__)


class WorkQueue:
    """Queue that runs `reconcile` for its keys.

    Args:
        reconcile: returns the seconds after which the key is requeued, None for the resync period, or NO_REQUEUE.
        metrics: counts outcomes and durations.
        workers: maximum concurrent reconciles.
        resync_s: seconds after which every key is requeued, plus or minus a tenth.
    """

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[float | None]],
        metrics: Metrics,
        *,
        workers: int,
        resync_s: float,
    ) -> None:
        self._reconcile = reconcile
        self._metrics = metrics
        self._workers = workers
        self._resync_s = resync_s
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._added_at_s: dict[Key, float] = {}
        self._processing: set[Key] = set()
        self._dirty: dict[Key, list[Callable[[], bool]]] = {}
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._stopping = False
        self._running = False
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.watch_queue(lambda: float(len(self._added_at_s)), self.oldest_s)

    def add(self, key: Key, still_relevant: Callable[[], bool] = lambda: True) -> None:
        """Enqueue a key.

        Args:
            key: the resource.
            still_relevant: returns False to skip it; evaluated once the key is not being processed: until then
                the event of our own write may arrive before the response to the write.
        """
        if self._stopping:
            return
        if key in self._processing:
            self._dirty.setdefault(key, []).append(still_relevant)
            return
        if not still_relevant():
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key not in self._added_at_s:
            self._added_at_s[key] = time.monotonic()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Enqueue a key after a delay; of several delays the earliest counts, and `add` cancels it."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        if timer := self._timers.get(key):
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._on_timer, key)

    def oldest_s(self) -> float:
        """Return the seconds since the oldest key was enqueued, counted while the queue runs; 0 if it is empty."""
        return time.monotonic() - min(self._added_at_s.values()) if self._added_at_s and self._running else 0.0

    async def run(self) -> None:
        """Process keys until cancelled or stopped; keys interrupted by a cancellation wait for the next run."""
        self._running, self._added_at_s = True, dict.fromkeys(self._added_at_s, time.monotonic())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._run_worker())
        finally:
            self._running = False

    async def stop(self, grace_s: float) -> None:
        """Accept no more keys, and wait at most `grace_s` seconds for reconciles in progress."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()

    def _on_timer(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run_worker(self) -> None:
        while not self._stopping:
            key = await self._ready.get()
            started = time.monotonic()
            self._processing.add(key)
            self._idle.clear()
            try:
                self._on_success(key, await self._reconcile(key))
            except asyncio.CancelledError:
                self._dirty[key] = [lambda: True]
                raise
            except Exception as exc:  # noqa: BLE001 - the boundary of a key: a failure of one may not stop the others
                self._on_failure(key, exc)
            finally:
                self._metrics.duration.observe(time.monotonic() - started)
                self._processing.discard(key)
                self._added_at_s.pop(key, None)
                if not self._processing:
                    self._idle.set()
                for still_relevant in self._dirty.pop(key, ()):
                    self.add(key, still_relevant)

    def _on_success(self, key: Key, requeue_after_s: float | None) -> None:
        self._metrics.reconciles.labels("ok").inc()
        self._failures.pop(key, None)
        if requeue_after_s == NO_REQUEUE:
            return
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        self.add_after(
            key, min(self._resync_s * jitter, self._resync_s if requeue_after_s is None else max(requeue_after_s, 0.05))
        )

    def _on_failure(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = backoff_for(error).delay_s(failures, random.random())  # noqa: S311 - spreads load, guards nothing
        self._metrics.reconciles.labels(getattr(error, "reason", "INTERNAL").lower()).inc()
        is_expected = hasattr(error, "reason")
        _log.warning(
            "reconcile failed",
            namespace=key.namespace,
            name=key.name,
            error=str(error) if is_expected else type(error).__name__,
            failures=failures,
            again_in_s=round(delay_s, 1),
            exc_info=None if is_expected else error,
        )
        self.add_after(key, delay_s)
