"""What the watches told of each SomaBrain and of what it owns, so that a look at it costs no request.

Objects lie here as compressed JSON without what nobody reads: a thousand SomaBrains with all their children take a few
megabytes. Two versions of an object are told apart by their `resourceVersion`, whose order Kubernetes promises
(KEP-5504); an answer to our own write is newer than any event before it.

What is deleted while no watch runs is never told: kopf lists anew and speaks only of what is there. So whoever fills
the cache does that again after each listing of kopf's, and what is not named then is gone.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from somabrain_operator import names
from somabrain_operator.names import Key
from somabrain_operator.objects import Json, Manifest, items, mapping, text
from somabrain_operator.render.metadata import owner_name

_FIELD_MANAGER: Final = names.MANAGER


class ObjectRef(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Entry:
    """One object."""

    key: Key
    version: int
    compressed: bytes
    resync: int
    """The last listing of ours before which it was told, or that named it."""
    written_version: int = 0
    """The version that our last write made."""


class ObjectStore:
    """The newest version of each object that was told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing; measure by a clock in seconds that never goes back."""
        self._clock = clock
        self._entries: dict[ObjectRef, _Entry] = {}
        self._by_brain: dict[Key, set[ObjectRef]] = {}
        self._resync = 0
        self._tombstones: dict[ObjectRef, int] = {}
        self.listed_at_s = float("-inf")
        """When kopf told last of an object that it only listed."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when there is none."""
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
        """Return every SomaBrain there is."""
        return tuple(Key(ref.namespace, ref.name) for ref in self._entries if ref.kind == names.KIND)

    def on_watch_event(self, kind: str, event: str | None, manifest: Manifest) -> tuple[Key, ...]:
        """Take an event of a watch, None where an object is only listed; return the SomaBrains for which it is news."""
        if event is None:
            self.listed_at_s = self._clock()
        ref, version = _ref(kind, manifest), _version(manifest)
        previous = self._entries.get(ref)
        if event == "DELETED":
            return self._delete(ref, version, _brain_key(kind, manifest))
        if previous is not None and previous.version == version:
            previous.resync = self._resync
            return ()
        return self._upsert(ref, version, kind, manifest)

    def on_write(self, kind: str, answer: Manifest) -> None:
        """Take the answer to a write of ours: the event that it comes back as is no news."""
        ref, version = _ref(kind, answer), _version(answer)
        self._upsert(ref, version, kind, answer)
        if entry := self._entries.get(ref):
            entry.written_version = version

    def is_own_write(self, kind: str, manifest: Manifest) -> bool:
        """Return whether this version of an object is the one that our last write made."""
        entry = self._entries.get(_ref(kind, manifest))
        return entry is not None and entry.written_version == _version(manifest)

    def begin_resync(self) -> None:
        """Begin a listing of our own; its objects go to `listed`, and `end` ends it."""
        self._resync += 1
        self._tombstones = {}

    def on_listed(self, kind: str, manifest: Manifest) -> tuple[Key, ...]:
        """Take an object of our own listing; return the SomaBrains for which it is news."""
        ref, version = _ref(kind, manifest), _version(manifest)
        if self._tombstones.get(ref, -1) >= version:
            return ()
        previous = self._entries.get(ref)
        if previous is not None and previous.version >= version:
            previous.resync = self._resync
            return ()
        return self._upsert(ref, version, kind, manifest)

    def finish_resync(self, kinds: Collection[str]) -> tuple[Key, ...]:
        """Forget what our listing of some kinds did not name; return the SomaBrains that owned it."""
        stale = [
            (ref, entry) for ref, entry in self._entries.items() if entry.resync < self._resync and ref.kind in kinds
        ]
        return tuple(key for ref, entry in stale for key in self._delete(ref, entry.version, entry.key))

    def _upsert(self, ref: ObjectRef, version: int, kind: str, manifest: Manifest) -> tuple[Key, ...]:
        """Hold an object unless a newer version of it is held; return whose it is, and whose it was."""
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
        """Hold an object no more, unless a newer version of it is held."""
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
    """Return whose an object is: the SomaBrain itself, its owner's, or, as for pods, by its label."""
    namespace = text(manifest, "metadata", "namespace")
    if kind == names.KIND:
        return Key(namespace, text(manifest, "metadata", "name"))
    return Key(namespace, owner_name(manifest) or text(manifest, "metadata", "labels", "app.kubernetes.io/instance"))


def _version(manifest: Manifest) -> int:
    version = text(manifest, "metadata", "resourceVersion")
    return int(version) if version.isdecimal() else 0


def _compress(kind: str, manifest: Manifest) -> bytes:
    metadata = dict(mapping(manifest, "metadata"))
    if kind in ("Pod", names.KIND):
        metadata.pop("managedFields", None)
    else:
        metadata["managedFields"] = [each for each in items(metadata, "managedFields") if _may_be_foreign(each)]
    body: dict[str, Json] = {**manifest, "kind": kind, "metadata": metadata}
    if kind == "Pod":
        body["spec"] = {"containers": [
            {"name": text(each, "name"), "image": text(each, "image")} for each in items(manifest, "spec", "containers")
        ]}  # fmt: skip
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _may_be_foreign(entry: Json) -> bool:
    """Return whether somebody else's fields are in it; who owns parts of a status is never asked.

    Who scaled is: an autoscaler's fields are in the subresource `scale`.
    """
    part, manager, operation = (text(entry, field) for field in ("subresource", "manager", "operation"))
    return part in ("", "scale") and (manager, operation) != (_FIELD_MANAGER, "Apply")


def _decompress(packed: bytes) -> Manifest:
    manifest: Mapping[str, Json] = json.loads(zlib.decompress(packed))
    return manifest
