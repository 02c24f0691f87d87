"""Reads and writes, each with a time-out, each error wrapped, each write counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from common.errors import Aborted, FailedPrecondition, NotFound
from somabrain_operator import moments, names
from somabrain_operator.cluster.connection import APPLY, JSON_PATCH, Connection
from somabrain_operator.cluster.kinds import BRAIN, CHILDREN, EVENT, Kind
from somabrain_operator.metrics import Metrics
from somabrain_operator.names import ChildId, Key
from somabrain_operator.render.metadata import Owner
from somabrain_operator.tree import Json, Manifest, items, mapping, text

PAGE: Final = 100
"""Objects of one answer to a listing: so many are in memory at once, and the event loop is held up as long."""
_MANAGER: Final = {"fieldManager": names.MANAGER}
_FORCED: Final = {**_MANAGER, "force": "true", "fieldValidation": "Ignore"}
"""An apply refuses fields that are not known in any case; looking for them once more costs a quarter of its time."""
_LAST_HEARD: Final = {"resourceVersion": "0"}
"""Out of the API server's memory, without asking etcd."""


class Cluster:
    """The API server, seen through the few verbs the operator needs."""

    def __init__(self, connection: Connection, metrics: Metrics) -> None:
        """Use an open connection; its owner closes it."""
        self._connection = connection
        self._metrics = metrics

    async def get(self, kind: Kind, namespace: str, name: str, *, newest: bool = True) -> Manifest | None:
        """Return an object, or None when there is none; not `newest`: as the API server last heard of it."""
        what, how = _what(kind, namespace, name), {} if newest else _LAST_HEARD
        try:
            return await self._connection.ask(what, "GET", kind.path(namespace, name), query=how)
        except NotFound:
            return None

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        """Return the objects of a namespace, or of all (`*`), that carry the labels and fields."""
        return tuple([each async for each in self.each(kind, namespace, labels, fields)])

    async def each(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> AsyncIterator[Manifest]:
        """Yield the same, read in pages."""
        query = {"limit": str(PAGE), "labelSelector": _selector(labels), "fieldSelector": _selector(fields or {})}
        wanted = {name: value for name, value in query.items() if value}
        while True:
            page = await self._connection.ask(_what(kind, namespace, "*"), "GET", kind.path(namespace), query=wanted)
            for found in items(page, "items"):
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **mapping(found)}
            following = text(page, "metadata", "continue")
            if not following:
                return
            wanted["continue"] = following

    async def served(self, group: str, version: str) -> frozenset[str]:
        """Return the kinds that the API server knows of a group; every account may ask that."""
        try:
            found = await self._connection.ask(f"the group {group}", "GET", f"/apis/{group}/{version}")
        except NotFound:
            return frozenset()
        return frozenset(text(each, "kind") for each in items(found, "resources"))

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply a child server-side, forced, and return it as it stands then."""
        return await self._apply(CHILDREN[text(manifest, "kind")], manifest)

    async def remove(self, live: Manifest, patch: Sequence[Json]) -> Manifest:
        """Remove fields from a child by a JSON patch that holds for this version of it only.

        Raises:
            Aborted: the child has changed since it was read.
        """
        kind, namespace, name = CHILDREN[text(live, "kind")], _namespace(live), text(live, "metadata", "name")
        what, path = _what(kind, namespace, name), kind.path(namespace, name)
        try:
            answer = await self._connection.ask(what, "PATCH", path, query=_MANAGER, body=patch, form=JSON_PATCH)
        except FailedPrecondition as exc:
            raise Aborted(f"{what} changed meanwhile.") from exc
        self._count(kind.kind, "patch")
        return answer

    async def put(self, kind: Kind, manifest: Manifest) -> None:
        """Create an object, or replace the version of it that the manifest names.

        Raises:
            Aborted: it exists already, or another version of it does.
        """
        fresh = not text(manifest, "metadata", "resourceVersion")
        namespace, name = _namespace(manifest), text(manifest, "metadata", "name")
        method, path = ("POST", kind.path(namespace)) if fresh else ("PUT", kind.path(namespace, name))
        await self._connection.ask(_what(kind, namespace, name), method, path, query=_MANAGER, body=manifest)
        self._count(kind.kind, "create" if fresh else "update")

    async def delete(self, namespace: str, child: ChildId) -> None:
        """Delete a child and what it owns; one that is gone is as good."""
        kind, how = CHILDREN[child.kind], {"propagationPolicy": "Background"}
        try:
            what = _what(kind, namespace, child.name)
            await self._connection.ask(what, "DELETE", kind.path(namespace, child.name), query=how)
        except NotFound:
            return
        self._count(child.kind, "delete")

    async def write_status(self, key: Key, uid: str, status: Mapping[str, Json]) -> Manifest:
        """Apply the status of a SomaBrain; a resource of the same name that is another one is left alone."""
        body: dict[str, Json] = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": status,
        }
        return await self._apply(BRAIN, body, "status")

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
        event: Manifest = {
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
            "involvedObject": {**about, "uid": owner.uid}, "source": {"component": names.MANAGER},
            "type": "Warning" if warning else "Normal", "reason": reason, "message": message,
            "count": 1, "firstTimestamp": moment, "lastTimestamp": moment,
        }  # fmt: skip
        await self._connection.ask(_what(EVENT, *key), "POST", EVENT.path(key.namespace), body=event)
        self._count(EVENT.kind, "create")

    async def _apply(self, kind: Kind, body: Manifest, subresource: str = "") -> Manifest:
        namespace, name = _namespace(body), text(body, "metadata", "name")
        path, how = kind.path(namespace, name, subresource), _FORCED
        what = _what(kind, namespace, name)
        answer = await self._connection.ask(what, "PATCH", path, query=how, body=body, form=APPLY)
        self._count(f"{kind.kind}{subresource.capitalize()}", "apply")
        return answer

    def _count(self, kind: str, verb: str) -> None:
        self._metrics.writes.labels(kind, verb).inc()


def _what(kind: Kind, namespace: str, name: str) -> str:
    return f"{kind.kind} {namespace}/{name}"


def _selector(wanted: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in wanted.items())


def _namespace(manifest: Manifest) -> str:
    return text(manifest, "metadata", "namespace")
