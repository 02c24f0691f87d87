"""Store of the watched SomaBrains and their children, so that reading them costs no request.

Objects are stored as compressed JSON without the fields that nothing reads: a thousand SomaBrains with all their
children take a few megabytes. Versions of an object are ordered by their `resourceVersion`, whose order Kubernetes
promises (KEP-5504); the response to our own write is newer than any event before it.

A deletion while no watch runs has no event: kopf lists again and reports only the objects that exist. So the relister
lists too after each list of kopf, and the store deletes the objects that this list does not have.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from somabrain_operator.kube import names
from somabrain_operator.kube.kinds import ALL_NAMESPACES
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, object_version, text
from somabrain_operator.kube.owner import owner_name

_FIELD_MANAGER: Final = names.MANAGER
Enqueue = Callable[[Key, Callable[[], bool]], None]
"""Enqueues a key unless the function, called once the key is not being processed, returns False."""


class ObjectRef(NamedTuple):
    """Kind, namespace and name of an object."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Entry:
    """One stored object."""

    key: Key
    version: int
    compressed: bytes
    resync: int
    """Number of our last list that returned it, or before which an event delivered it."""
    written_version: int = 0
    """Version that our last write returned."""


class ObjectStore:
    """The newest known version of each object."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty, with a monotonic clock in seconds."""
        self._clock = clock
        self._entries: dict[ObjectRef, _Entry] = {}
        self._by_brain: dict[Key, set[ObjectRef]] = {}
        self._resync = 0
        self._tombstones: dict[ObjectRef, int] = {}
        self.listed_at_s = float("-inf")
        """Time of the last event of an object of one of kopf's lists."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None if it is not in the store."""
        entry = self._entries.get(ObjectRef(kind, namespace, name))
        return _decompress(entry.compressed) if entry else None

    def list_for(self, key: Key, kind: str) -> tuple[Manifest, ...]:
        """Return all objects of a kind that belong to a SomaBrain."""
        return tuple(
            _decompress(self._entries[ref].compressed)
            for ref in sorted(self._by_brain.get(key, ()))
            if ref.kind == kind
        )

    def brain_keys(self) -> tuple[Key, ...]:
        """Return the keys of all SomaBrains."""
        return tuple(Key(ref.namespace, ref.name) for ref in self._entries if ref.kind == names.KIND)

    def on_watch_event(self, kind: str, event: str | None, manifest: Manifest, enqueue: Enqueue) -> None:
        """Store the object of a watch event, and enqueue the SomaBrains for which it is new.

        Args:
            kind: kind of the object.
            event: ADDED, MODIFIED or DELETED; None for an object of the initial list.
            manifest: the object.
            enqueue: called with each key and a function that returns False for the event of our own write.
        """
        if event is None:
            self.listed_at_s = self._clock()
        ref, version = _ref(kind, manifest), object_version(manifest)
        previous = self._entries.get(ref)
        keys: tuple[Key, ...] = ()
        if event == "DELETED":
            keys = self._delete(ref, version, _brain_key(kind, manifest))
        elif previous is not None and previous.version == version:
            previous.resync = self._resync
        else:
            keys = self._upsert(ref, version, kind, manifest)
        for key in keys:
            enqueue(key, lambda: event == "DELETED" or not self._is_own_write(ref, version))

    def on_write(self, kind: str, answer: Manifest) -> None:
        """Store the response to our own write; the watch event of the same version is then not new."""
        ref, version = _ref(kind, answer), object_version(answer)
        if self._tombstones.get(ref, -1) >= version:
            return  # it was deleted since, and the event of that came before this response
        self._upsert(ref, version, kind, answer)
        if entry := self._entries.get(ref):
            entry.written_version = version

    def begin_resync(self) -> None:
        """Begin a relist; its objects go to `on_listed`, and `finish_resync` ends it."""
        self._resync += 1
        self._tombstones = {}

    def on_listed(self, kind: str, manifest: Manifest) -> tuple[Key, ...]:
        """Store an object of our relist; return the keys of the SomaBrains for which it is new."""
        ref, version = _ref(kind, manifest), object_version(manifest)
        if self._tombstones.get(ref, -1) >= version:
            return ()
        previous = self._entries.get(ref)
        if previous is not None and previous.version >= version:
            previous.resync = self._resync
            return ()
        return self._upsert(ref, version, kind, manifest)

    def finish_resync(self, kinds: Collection[str], unread: Collection[tuple[str, str]] = ()) -> tuple[Key, ...]:
        """Delete the objects of these kinds that the relist did not return; return the keys of their SomaBrains.

        Args:
            kinds: the listed kinds.
            unread: pairs of kind and namespace that could not be listed; namespace ALL_NAMESPACES: the whole kind.
        """
        stale = [
            (ref, entry)
            for ref, entry in self._entries.items()
            if entry.resync < self._resync
            and ref.kind in kinds
            and not {(ref.kind, ref.namespace), (ref.kind, ALL_NAMESPACES)} & {*unread}
        ]
        return tuple(key for ref, entry in stale for key in self._delete(ref, entry.version, entry.key))

    def _is_own_write(self, ref: ObjectRef, version: int) -> bool:
        """Return whether our last write returned this version of an object."""
        entry = self._entries.get(ref)
        return entry is not None and entry.written_version == version

    def _upsert(self, ref: ObjectRef, version: int, kind: str, manifest: Manifest) -> tuple[Key, ...]:
        """Store an object unless a newer version is stored; return the keys of its present and former SomaBrain."""
        previous, key = self._entries.get(ref), _brain_key(kind, manifest)
        affected = tuple(dict.fromkeys((key,) if previous is None else (key, previous.key)))
        if previous is not None and previous.version > version:
            return affected
        if previous is not None and previous.key != key:
            self._by_brain[previous.key].discard(ref)
        self._entries[ref] = _Entry(
            key, version, _compress(kind, manifest), self._resync, previous.written_version if previous else 0
        )
        self._by_brain.setdefault(key, set()).add(ref)
        return affected

    def _delete(self, ref: ObjectRef, version: int, key: Key) -> tuple[Key, ...]:
        """Delete an object unless a newer version is stored; return the keys of its SomaBrains."""
        self._tombstones[ref] = version
        previous = self._entries.get(ref)
        if previous is None:
            return (key,)
        if previous.version <= version:
            del self._entries[ref]
            self._by_brain[previous.key].discard(ref)
            if not self._by_brain[previous.key]:
                del self._by_brain[previous.key]
        return tuple(dict.fromkeys((previous.key, key)))


def _ref(kind: str, manifest: Manifest) -> ObjectRef:
    return ObjectRef(kind, text(manifest, "metadata", "namespace"), text(manifest, "metadata", "name"))


def _brain_key(kind: str, manifest: Manifest) -> Key:
    """Return the key of an object's SomaBrain: its own, its owner's, or, as for pods, by its label."""
    namespace = text(manifest, "metadata", "namespace")
    if kind == names.KIND:
        return Key(namespace, text(manifest, "metadata", "name"))
    return Key(namespace, owner_name(manifest) or text(manifest, "metadata", "labels", "app.kubernetes.io/instance"))


def _compress(kind: str, manifest: Manifest) -> bytes:
    metadata = dict(mapping(manifest, "metadata"))
    if kind in ("Pod", names.KIND):
        metadata.pop("managedFields", None)
    else:
        metadata["managedFields"] = [each for each in items(metadata, "managedFields") if _may_be_foreign(each)]
    body: dict[str, Json] = {**manifest, "kind": kind, "metadata": metadata}
    if kind == "Pod":
        body["spec"] = {
            "containers": [
                {"name": text(each, "name"), "image": text(each, "image")}
                for each in items(manifest, "spec", "containers")
            ]
        }
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _may_be_foreign(entry: Json) -> bool:
    """Return whether an entry of managedFields may have fields of another manager; entries of a status are not needed.

    Those of the subresource `scale` are: they show who scaled, such as an autoscaler.
    """
    part, manager, operation = (text(entry, field) for field in ("subresource", "manager", "operation"))
    return part in ("", "scale") and (manager, operation) != (_FIELD_MANAGER, "Apply")


def _decompress(packed: bytes) -> Manifest:
    manifest: Mapping[str, Json] = json.loads(zlib.decompress(packed))
    return manifest
