"""Reads and writes, each with a time-out, each error wrapped, each write counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, cast

from lightkube.core.async_client import AsyncClient
from lightkube.generic_resource import GenericNamespacedResource
from lightkube.types import CascadeType, PatchType

from common.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from somabrain_operator import moments, names
from somabrain_operator.cluster.errors import translated
from somabrain_operator.cluster.kinds import BRAIN, CHILDREN, EVENT, Kind
from somabrain_operator.metrics import Metrics
from somabrain_operator.names import ChildId, Key
from somabrain_operator.render.metadata import Owner
from somabrain_operator.tree import Json, Manifest, text

TIMEOUT_S: Final = 15.0


class Cluster:
    """The API server, seen through the few verbs the operator needs."""

    def __init__(self, client: AsyncClient, metrics: Metrics) -> None:
        """Use an open client; its owner closes it."""
        self._client = client
        self._metrics = metrics

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when there is none."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named(kind.__name__, namespace, name):
                    return _plain(await self._client.get(kind, name, namespace=namespace))
        except NotFound:
            return None
        except TimeoutError as exc:
            raise _late(kind.__name__, name) from exc

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        """Return the objects of a namespace that carry the labels and fields."""
        wanted = self._client.list(
            kind, namespace=namespace, labels=dict(labels) or None, fields=dict(fields or {}) or None
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named(kind.__name__, namespace, "*"):
                    return tuple([_plain(each) async for each in wanted])
        except TimeoutError as exc:
            raise _late(kind.__name__, "*") from exc

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply a child server-side, forced, and return it as it stands then."""
        return await self._patch(CHILDREN[text(manifest, "kind")], manifest, PatchType.APPLY, force=True)

    async def remove(self, live: Manifest, patch: Sequence[Json]) -> Manifest:
        """Remove fields from a child by a JSON patch that holds for this version of it only.

        Raises:
            Aborted: the child has changed since it was read.
        """
        kind, namespace, name = CHILDREN[text(live, "kind")], _namespace(live), text(live, "metadata", "name")
        try:
            return await self._send(kind, namespace, name, list(patch), PatchType.JSON)
        except FailedPrecondition as exc:
            raise Aborted(f"{text(live, 'kind')} {namespace}/{name} changed meanwhile.") from exc

    async def put(self, kind: Kind, manifest: Manifest) -> None:
        """Create an object, or replace the version of it that the manifest names.

        Raises:
            Aborted: it exists already, or another version of it does.
        """
        fresh, name = not text(manifest, "metadata", "resourceVersion"), text(manifest, "metadata", "name")
        send = self._client.create if fresh else self._client.replace
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named(kind.__name__, _namespace(manifest), name):
                    await send(kind.from_dict(dict(manifest)), field_manager=names.MANAGER)
        except TimeoutError as exc:
            raise _late(kind.__name__, name) from exc
        self._metrics.writes.labels(kind.__name__, "create" if fresh else "update").inc()

    async def delete(self, namespace: str, child: ChildId) -> None:
        """Delete a child and what it owns; one that is gone is as good."""
        kind = CHILDREN[child.kind]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named(child.kind, namespace, child.name):
                    await self._client.delete(kind, child.name, namespace=namespace, cascade=CascadeType.BACKGROUND)
        except NotFound:
            return
        except TimeoutError as exc:
            raise _late(child.kind, child.name) from exc
        self._metrics.writes.labels(child.kind, "delete").inc()

    async def write_status(self, key: Key, uid: str, status: Mapping[str, Json]) -> Manifest:
        """Apply the status of a SomaBrain; a resource of the same name that is another one is left alone."""
        body: dict[str, Json] = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": status,
        }
        return await self._patch(cast("Kind", BRAIN.Status), body, PatchType.APPLY, force=True)

    async def announce(self, owner: Owner, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event of a SomaBrain, for `kubectl describe`.

        Args:
            owner: the SomaBrain.
            reason: one CamelCase word.
            message: a sentence without secrets, at most 1024 characters.
            warning: whether a person may have to act.
        """
        key, moment = owner.key, moments.iso(datetime.now(UTC))
        about = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": key.name, "namespace": key.namespace}
        event: GenericNamespacedResource = EVENT.from_dict({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
            "involvedObject": {**about, "uid": owner.uid}, "source": {"component": names.MANAGER},
            "type": "Warning" if warning else "Normal", "reason": reason, "message": message,
            "count": 1, "firstTimestamp": moment, "lastTimestamp": moment,
        })  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named("Event", *key):
                    await self._client.create(event)
        except TimeoutError as exc:
            raise _late("Event", key.name) from exc
        self._metrics.writes.labels("Event", "create").inc()

    async def _patch(self, kind: Kind, body: Manifest, how: PatchType, *, force: bool = False) -> Manifest:
        namespace, name = _namespace(body), text(body, "metadata", "name")
        return await self._send(kind, namespace, name, dict(body), how, force=force)

    async def _send(
        self, kind: Kind, namespace: str, name: str, body: Json, how: PatchType, *, force: bool = False
    ) -> Manifest:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with _named(kind.__name__, namespace, name):
                    answer = await self._client.patch(
                        kind, name, cast("dict[str, object]", body), namespace=namespace,
                        patch_type=how, field_manager=names.MANAGER, force=force,
                    )  # fmt: skip
        except TimeoutError as exc:
            raise _late(kind.__name__, name) from exc
        self._metrics.writes.labels(kind.__name__, "apply" if how is PatchType.APPLY else "patch").inc()
        return _plain(answer)


@contextmanager
def _named(kind: str, namespace: str, name: str) -> Iterator[None]:
    with translated(f"{kind} {namespace}/{name}"):
        yield


def _late(kind: str, name: str) -> Unavailable:
    return Unavailable(f"The API server took longer than {TIMEOUT_S:.0f} s over {kind} {name}.")


def _namespace(manifest: Manifest) -> str:
    return text(manifest, "metadata", "namespace")


def _plain(answer: object) -> Manifest:
    """Return a generic resource as what it is: a dict."""
    if not isinstance(answer, dict):
        raise Unavailable("The API server answered with something that is no object.")
    return cast("Manifest", answer)
