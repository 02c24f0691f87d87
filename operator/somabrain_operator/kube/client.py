"""Kubernetes client: reads and writes with a timeout each; errors are converted and writes counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from common.errors import Aborted, FailedPrecondition, NotFound
from somabrain_operator.kube import names, timestamps
from somabrain_operator.kube.errors import from_code
from somabrain_operator.kube.kinds import BRAIN, CHILDREN, EVENT, SECRET, Kind
from somabrain_operator.kube.names import ChildId
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, number, text
from somabrain_operator.kube.owner import Owner
from somabrain_operator.kube.transport import APPLY, JSON_PATCH, Transport

PAGE_SIZE: Final = 100
"""Objects per page of a list: bounds the memory and the time that parsing blocks the event loop."""
_FIELD_MANAGER: Final = {"fieldManager": names.MANAGER}
_FORCE_APPLY: Final = {**_FIELD_MANAGER, "force": "true", "fieldValidation": "Ignore"}
"""An apply rejects unknown fields anyway; validating them a second time costs a quarter of its time."""
_APPLIED: Final = {BRAIN.kind: BRAIN, **CHILDREN}
_METADATA: Final = "application/json;as={kind};g=meta.k8s.io;v=v1"
"""Media type of objects without spec, data and status: contents of Secrets are not sent."""
_WATCH_S: Final = 300
"""Seconds after which the API server ends a watch."""
_WATCH_SILENCE_S: Final = 90.0
"""Seconds without an event or a bookmark, which comes every minute, after which a watch counts as lost."""
_FROM_WATCH_CACHE: Final = {"resourceVersion": "0"}
"""Query for a read from the API server's watch cache, without a read of etcd."""


class Cluster:
    """Client of the API server with the few verbs that the operator needs."""

    def __init__(self, transport: Transport, count_write: Callable[[str, str], None]) -> None:
        """Use an open connection; its owner closes it.

        Args:
            transport: the connection.
            count_write: called with kind and verb after each write.
        """
        self._transport = transport
        self._count_write = count_write

    async def get(self, kind: Kind, namespace: str, name: str, *, newest: bool = True) -> Manifest | None:
        """Return an object, or None if it does not exist; not `newest`: from the API server's watch cache."""
        target, query = _describe(kind, namespace, name), {} if newest else _FROM_WATCH_CACHE
        try:
            return await self._transport.request(target, "GET", kind.path(namespace, name), query=query)
        except NotFound:
            return None

    async def get_children(self, namespace: str, children: Iterable[ChildId]) -> dict[ChildId, Manifest]:
        """Return those of the children that exist, of any owner, read concurrently."""
        identities = tuple(children)
        found = await asyncio.gather(*(self.get(CHILDREN[each.kind], namespace, each.name) for each in identities))
        return {
            identity: {"kind": identity.kind, **live}
            for identity, live in zip(identities, found, strict=True)
            if live is not None
        }

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        """Return the objects of a namespace, or of all (`*`), that have the labels and fields."""
        return tuple([each async for each in self.list_paged(kind, namespace, labels, fields)])

    async def list_paged(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> AsyncIterator[Manifest]:
        """Yield the objects that `list` returns, read in pages."""
        query = {"limit": str(PAGE_SIZE), "labelSelector": _selector(labels), "fieldSelector": _selector(fields or {})}
        parameters = {name: value for name, value in query.items() if value}
        while True:
            page = await self._transport.request(
                _describe(kind, namespace, "*"), "GET", kind.path(namespace), query=parameters
            )
            for item in items(page, "items"):
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **mapping(item)}
            continue_token = text(page, "metadata", "continue")
            if not continue_token:
                return
            parameters["continue"] = continue_token

    async def collection_version(self, kind: Kind, namespace: str) -> str:
        """Return the resourceVersion of a collection, from which it can be watched, without its contents."""
        media_type = _METADATA.format(kind="PartialObjectMetadataList")
        page = await self._transport.request(
            _describe(kind, namespace, "*"), "GET", kind.path(namespace), query={"limit": "1"}, accept=media_type
        )
        return text(page, "metadata", "resourceVersion")

    @asynccontextmanager
    async def watch_metadata(
        self, kind: Kind, namespace: str, version: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, Manifest]]]:
        """Watch the metadata of a collection; yield an iterator over event types (also BOOKMARK) and objects.

        Args:
            kind: kind of the objects.
            namespace: Kubernetes namespace, or ALL_NAMESPACES.
            version: resourceVersion after which to begin.

        Raises:
            OutOfRange: the API server no longer has this version.
            SomaBrainError: the collection cannot be watched, or the watch was interrupted.
        """
        target = _describe(kind, namespace, "*")
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        }
        media_type = _METADATA.format(kind="PartialObjectMetadata")
        async with self._transport.stream(
            target, kind.path(namespace), query=query, accept=media_type, silence_s=_WATCH_SILENCE_S
        ) as stream:
            yield _events(target, stream)

    async def served_kinds(self, group: str, version: str) -> frozenset[str]:
        """Return the kinds that the API server serves of a group; every account may read that."""
        try:
            resource_list = await self._transport.request(f"the group {group}", "GET", f"/apis/{group}/{version}")
        except NotFound:
            return frozenset()
        return frozenset(text(each, "kind") for each in items(resource_list, "resources"))

    async def served_groups(self) -> frozenset[str]:
        """Return the groups that the API server lists."""
        groups = await self._transport.request("the groups", "GET", "/apis")
        return frozenset(text(each, "name") for each in items(groups, "groups"))

    async def served_schema(self, kind: Kind) -> Manifest:
        """Return the schema of a custom kind as the API server publishes it; empty if it does not serve the kind."""
        target = f"the schema of {kind.kind}"
        try:
            document = await self._transport.request(target, "GET", f"/openapi/v3/apis/{kind.group}/{kind.version}")
        except NotFound:
            return {}
        identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        schemas = mapping(document, "components", "schemas").values()
        matches = (each for each in schemas if identity in items(each, "x-kubernetes-group-version-kind"))
        return mapping(next(matches, None))

    async def apply(self, manifest: Manifest, subresource: str = "", *, dry_run: bool = False) -> Manifest:
        """Apply a child, or a subresource of a SomaBrain, server-side with force, and return the resulting object.

        Args:
            manifest: the object.
            subresource: its subresource, such as `status`; empty: the object itself.
            dry_run: True: the API server validates and writes nothing.

        Raises:
            SomaBrainError: it was not written, for example because `metadata.uid` is that of another object.
        """
        kind = _APPLIED[text(manifest, "kind")]
        namespace, name = _namespace(manifest), text(manifest, "metadata", "name")
        target, path = _describe(kind, namespace, name), kind.path(namespace, name, subresource)
        query = {**_FORCE_APPLY, "dryRun": "All"} if dry_run else _FORCE_APPLY
        answer = await self._transport.request(target, "PATCH", path, query=query, body=manifest, content_type=APPLY)
        if dry_run:
            return answer
        self._count_write(f"{kind.kind}{subresource.capitalize()}", "apply")
        return answer

    async def patch_version(self, live: Manifest, patch: Sequence[Json]) -> Manifest:
        """Change a child, or a SomaBrain, by a JSON patch that tests its version first.

        Raises:
            Aborted: the child has changed since it was read.
            FailedPrecondition: the API server refused the result.
        """
        kind, namespace, name = _APPLIED[text(live, "kind")], _namespace(live), text(live, "metadata", "name")
        target, path = _describe(kind, namespace, name), kind.path(namespace, name)
        try:
            answer = await self._transport.request(
                target, "PATCH", path, query=_FIELD_MANAGER, body=patch, content_type=JSON_PATCH
            )
        except FailedPrecondition as exc:
            # A failed test and an invalid result are both 422, and a webhook may answer the same with any content.
            newest = await self.get(kind, namespace, name)
            if newest is None or text(newest, "metadata", "resourceVersion") != text(
                live, "metadata", "resourceVersion"
            ):
                raise Aborted(f"{target} was changed concurrently.") from exc
            raise
        self._count_write(kind.kind, "patch")
        return answer

    async def create_or_replace(self, kind: Kind, manifest: Manifest) -> None:
        """Create an object, or replace it if it still has the version that the manifest names.

        Raises:
            Aborted: it exists already, or has another version.
        """
        fresh = not text(manifest, "metadata", "resourceVersion")
        namespace, name = _namespace(manifest), text(manifest, "metadata", "name")
        method, path = ("POST", kind.path(namespace)) if fresh else ("PUT", kind.path(namespace, name))
        await self._transport.request(
            _describe(kind, namespace, name), method, path, query=_FIELD_MANAGER, body=manifest
        )
        self._count_write(kind.kind, "create" if fresh else "update")

    async def delete(self, namespace: str, child: ChildId) -> None:
        """Delete a child and its dependents; one that is already deleted is not an error."""
        kind, query = CHILDREN[child.kind], {"propagationPolicy": "Background"}
        try:
            target = _describe(kind, namespace, child.name)
            await self._transport.request(target, "DELETE", kind.path(namespace, child.name), query=query)
        except NotFound:
            return
        self._count_write(child.kind, "delete")

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete the Secret with this uid; one that is already deleted, or another of that name, is not an error."""
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        target, path = _describe(SECRET, namespace, name), SECRET.path(namespace, name)
        try:
            await self._transport.request(target, "DELETE", path, body=body)
        except (NotFound, Aborted):
            return
        self._count_write(SECRET.kind, "delete")

    async def record_event(self, owner: Owner, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event of a SomaBrain, for `kubectl describe`.

        Args:
            owner: the SomaBrain.
            reason: a CamelCase word.
            message: a sentence without secrets, at most 1024 characters.
            warning: True if a person may have to act.
        """
        key, timestamp = owner.key, timestamps.iso(datetime.now(UTC))
        involved_object = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": key.name,
            "namespace": key.namespace,
        }
        event: Manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
            "involvedObject": {**involved_object, "uid": owner.uid},
            "source": {"component": names.MANAGER},
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": timestamp,
            "lastTimestamp": timestamp,
        }
        await self._transport.request(_describe(EVENT, *key), "POST", EVENT.path(key.namespace), body=event)
        self._count_write(EVENT.kind, "create")


async def _events(target: str, stream: AsyncIterator[Manifest]) -> AsyncIterator[tuple[str, Manifest]]:
    async for each in stream:
        event, manifest = text(each, "type"), mapping(each, "object")
        if event == "ERROR":
            raise from_code(target, number(manifest, "code"), text(manifest, "message"))
        yield event, manifest


def _describe(kind: Kind, namespace: str, name: str) -> str:
    return f"{kind.kind} {namespace}/{name}"


def _selector(requirements: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in requirements.items())


def _namespace(manifest: Manifest) -> str:
    return text(manifest, "metadata", "namespace")
