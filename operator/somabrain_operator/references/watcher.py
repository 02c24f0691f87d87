"""Watches of the metadata of Secrets and ConfigMaps, by which a change of a referenced one enqueues its SomaBrains.

There is one watch per kind and namespace, or per kind for all namespaces, and only metadata is sent. Without the right
to watch, and while a watch is interrupted, the poller reads what it would have covered.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from common.errors import OutOfRange, PermissionDenied, SomaBrainError
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import ALL_NAMESPACES, CONFIG_MAP, SECRET, Kind
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Manifest, object_version, text
from somabrain_operator.references.tracked import Target, TrackedReferences

RETRY_S: Final = 1.0
"""Seconds between attempts of an interrupted watch."""
REFUSED_RETRY_S: Final = 10.0
"""Seconds between attempts of a watch that is not permitted."""
_log = structlog.stdlib.get_logger(__name__)
Enqueue = Callable[[Key, Callable[[], bool]], None]
"""Enqueues a key unless the function, called once the key is not being processed, returns False."""


@dataclass(slots=True, eq=False)
class _Watch:
    """Watch of one kind in one namespace, or in all."""

    kind: Kind
    namespace: str
    version: str = ""
    """resourceVersion up to which events are known; empty: none."""
    is_open: bool = False
    refusal: str = ""
    """Reason for which it is not permitted; empty if it is."""
    attempted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first attempt to open it."""


class ReferenceWatcher:
    """All watches of referenced kinds."""

    def __init__(
        self, cluster: Cluster, tracked: TrackedReferences, namespaces: Collection[str], *, enabled: bool = True
    ) -> None:
        """Open no watch yet.

        Args:
            cluster: client.
            tracked: references of all SomaBrains.
            namespaces: Kubernetes namespaces whose SomaBrains are reconciled; empty: all.
            enabled: False never opens one, so that everything is polled.
        """
        self._cluster = cluster
        self._tracked = tracked
        scopes = [*namespaces] or [ALL_NAMESPACES]
        self._enabled = enabled
        self._watches = {(kind.kind, each): _Watch(kind, each) for kind in (SECRET, CONFIG_MAP) for each in scopes}

    def refusals(self) -> tuple[str, ...]:
        """Return a sentence for each watch that is not permitted."""
        return tuple(each.refusal for each in self._watches.values() if each.refusal)

    def covers_all(self) -> bool:
        """Return whether every watch is open, so that nothing has to be polled."""
        return all(each.is_open for each in self._watches.values())

    def covers(self, kind: str, namespace: str) -> bool:
        """Return whether a change of any object of a kind in a namespace is noticed."""
        watch = self._watches.get((kind, ALL_NAMESPACES)) or self._watches.get((kind, namespace))
        return watch is not None and watch.is_open

    async def wait_for_first_attempt(self) -> None:
        """Wait until each watch is open or cannot be opened: what is read after it is watched since then."""
        if self._enabled:
            await asyncio.gather(*(each.attempted.wait() for each in self._watches.values()))

    async def run(self, enqueue: Enqueue, on_gap: Callable[[str], None]) -> None:
        """Watch until cancelled.

        Args:
            enqueue: called with each SomaBrain of a changed object.
            on_gap: called with a namespace, or ALL_NAMESPACES, in which events may have been missed.
        """
        if not self._enabled:
            _log.info("references are polled", reason="the setting operator.reference_watch is false")
            return
        try:
            async with asyncio.TaskGroup() as group:
                for each in self._watches.values():
                    group.create_task(self._run(each, enqueue, on_gap))
        finally:
            for each in self._watches.values():
                each.is_open, each.version = False, ""

    async def _run(self, watch: _Watch, enqueue: Enqueue, on_gap: Callable[[str], None]) -> None:
        while True:
            delay_s, opened_at_s = 0.0, time.monotonic()
            try:
                await self._follow(watch, enqueue, on_gap)
                if time.monotonic() - opened_at_s > RETRY_S:
                    continue  # the API server ended the watch in time: it is opened again at the same version
                delay_s = RETRY_S
            except OutOfRange:
                watch.version = ""
            except PermissionDenied as exc:
                delay_s = REFUSED_RETRY_S
                self._report_refusal(watch, exc.message)
            except SomaBrainError as exc:
                delay_s = RETRY_S
                _log.warning("watch of references interrupted", kind=watch.kind.kind, error=exc.message)
            watch.is_open = False
            watch.attempted.set()
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, guards nothing

    async def _follow(self, watch: _Watch, enqueue: Enqueue, on_gap: Callable[[str], None]) -> None:
        """Open the watch and handle its events until the API server ends it."""
        has_gap = not watch.version
        watch.version = watch.version or await self._cluster.collection_version(watch.kind, watch.namespace)
        async with self._cluster.watch_metadata(watch.kind, watch.namespace, watch.version) as events:
            if watch.refusal:
                _log.info("watch of references is permitted again", kind=watch.kind.kind, namespace=watch.namespace)
            watch.refusal, watch.is_open = "", True
            watch.attempted.set()
            if has_gap:
                on_gap(watch.namespace)
            async for event, manifest in events:
                watch.version = text(manifest, "metadata", "resourceVersion") or watch.version
                if event != "BOOKMARK":
                    self._on_event(watch.kind, event, manifest, enqueue)

    def _on_event(self, kind: Kind, event: str, manifest: Manifest, enqueue: Enqueue) -> None:
        target = Target(kind.kind, text(manifest, "metadata", "namespace"), text(manifest, "metadata", "name"))
        version, deleted = object_version(manifest), event == "DELETED"
        for key in self._tracked.users(target):
            enqueue(key, partial(self._tracked.is_stale, key, target, version, deleted=deleted))

    def _report_refusal(self, watch: _Watch, message: str) -> None:
        where = "" if watch.namespace == ALL_NAMESPACES else f" in namespace {watch.namespace}"
        refusal = (
            f"Referenced {watch.kind.kind}s{where} are polled and not watched: grant list and watch on "
            f"{watch.kind.plural}, as the chart's rbac.watchReferences does, or set it to false. {message}"
        )
        if watch.refusal != refusal:
            watch.refusal = refusal
            _log.warning("watch of references was refused", reason=refusal)
