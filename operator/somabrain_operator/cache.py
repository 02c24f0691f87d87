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
from somabrain_operator.render.metadata import owner_name
from somabrain_operator.tree import Json, Manifest, items, mapping, text

_OURS: Final = names.MANAGER


class Ref(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Held:
    """One object."""

    key: Key
    version: int
    packed: bytes
    listing: int
    """The last listing of ours before which it was told, or that named it."""
    written: int = 0
    """The version that our last write made."""


class Cache:
    """The newest version of each object that was told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing; measure by a clock in seconds that never goes back."""
        self._clock = clock
        self._held: dict[Ref, _Held] = {}
        self._of: dict[Key, set[Ref]] = {}
        self._listing = 0
        self._gone: dict[Ref, int] = {}
        self.listed_at_s = float("-inf")
        """When kopf told last of an object that it only listed."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when there is none."""
        held = self._held.get(Ref(kind, namespace, name))
        return _unpacked(held.packed) if held else None

    def of(self, key: Key, kind: str) -> tuple[Manifest, ...]:
        """Return all objects of a kind that belong to a SomaBrain."""
        return tuple(_unpacked(self._held[ref].packed) for ref in sorted(self._of.get(key, ())) if ref.kind == kind)

    def brains(self) -> tuple[Key, ...]:
        """Return every SomaBrain there is."""
        return tuple(Key(ref.namespace, ref.name) for ref in self._held if ref.kind == names.KIND)

    def told(self, kind: str, event: str | None, seen: Manifest) -> tuple[Key, ...]:
        """Take an event of a watch, None where an object is only listed; return the SomaBrains for which it is news."""
        if event is None:
            self.listed_at_s = self._clock()
        ref, version = _ref(kind, seen), _version(seen)
        before = self._held.get(ref)
        if event == "DELETED":
            return self._forget(ref, version, _key(kind, seen))
        if before is not None and before.version == version:
            before.listing = self._listing
            return ()
        return self._keep(ref, version, kind, seen)

    def wrote(self, kind: str, answer: Manifest) -> None:
        """Take the answer to a write of ours: the event that it comes back as is no news."""
        ref, version = _ref(kind, answer), _version(answer)
        self._keep(ref, version, kind, answer)
        if held := self._held.get(ref):
            held.written = version

    def is_echo(self, kind: str, seen: Manifest) -> bool:
        """Return whether this version of an object is the one that our last write made."""
        held = self._held.get(_ref(kind, seen))
        return held is not None and held.written == _version(seen)

    def begin(self) -> None:
        """Begin a listing of our own; its objects go to `listed`, and `end` ends it."""
        self._listing += 1
        self._gone = {}

    def listed(self, kind: str, seen: Manifest) -> tuple[Key, ...]:
        """Take an object of our own listing; return the SomaBrains for which it is news."""
        ref, version = _ref(kind, seen), _version(seen)
        if self._gone.get(ref, -1) >= version:
            return ()
        before = self._held.get(ref)
        if before is not None and before.version >= version:
            before.listing = self._listing
            return ()
        return self._keep(ref, version, kind, seen)

    def end(self, kinds: Collection[str]) -> tuple[Key, ...]:
        """Forget what our listing of some kinds did not name; return the SomaBrains that owned it."""
        left = [(ref, held) for ref, held in self._held.items() if held.listing < self._listing and ref.kind in kinds]
        return tuple(key for ref, held in left for key in self._forget(ref, held.version, held.key))

    def _keep(self, ref: Ref, version: int, kind: str, seen: Manifest) -> tuple[Key, ...]:
        """Hold an object unless a newer version of it is held; return whose it is, and whose it was."""
        before, key = self._held.get(ref), _key(kind, seen)
        concerned = tuple(dict.fromkeys((key,) if before is None else (key, before.key)))
        if before is not None and before.version > version:
            return concerned
        if before is not None and before.key != key:
            self._of[before.key].discard(ref)
        self._held[ref] = _Held(key, version, _packed(kind, seen), self._listing, before.written if before else 0)
        self._of.setdefault(key, set()).add(ref)
        return concerned

    def _forget(self, ref: Ref, version: int, key: Key) -> tuple[Key, ...]:
        """Hold an object no more, unless a newer version of it is held."""
        self._gone[ref] = version
        before = self._held.get(ref)
        if before is None:
            return (key,)
        if before.version <= version:
            del self._held[ref]
            self._of[before.key].discard(ref)
            if not self._of[before.key]:
                del self._of[before.key]
        return tuple(dict.fromkeys((before.key, key)))


def _ref(kind: str, seen: Manifest) -> Ref:
    return Ref(kind, text(seen, "metadata", "namespace"), text(seen, "metadata", "name"))


def _key(kind: str, seen: Manifest) -> Key:
    """Return whose an object is: the SomaBrain itself, its owner's, or, as for pods, by its label."""
    namespace = text(seen, "metadata", "namespace")
    if kind == names.KIND:
        return Key(namespace, text(seen, "metadata", "name"))
    return Key(namespace, owner_name(seen) or text(seen, "metadata", "labels", "app.kubernetes.io/instance"))


def _version(seen: Manifest) -> int:
    version = text(seen, "metadata", "resourceVersion")
    return int(version) if version.isdecimal() else 0


def _packed(kind: str, seen: Manifest) -> bytes:
    metadata = dict(mapping(seen, "metadata"))
    if kind in ("Pod", names.KIND):
        metadata.pop("managedFields", None)
    else:
        metadata["managedFields"] = [each for each in items(metadata, "managedFields") if _may_be_foreign(each)]
    body: dict[str, Json] = {**seen, "kind": kind, "metadata": metadata}
    if kind == "Pod":
        body["spec"] = {"containers": [
            {"name": text(each, "name"), "image": text(each, "image")} for each in items(seen, "spec", "containers")
        ]}  # fmt: skip
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _may_be_foreign(entry: Json) -> bool:
    """Return whether somebody else's fields are in it; who owns parts of a status is never asked.

    Who scaled is: an autoscaler's fields are in the subresource `scale`.
    """
    part, manager, operation = (text(entry, field) for field in ("subresource", "manager", "operation"))
    return part in ("", "scale") and (manager, operation) != (_OURS, "Apply")


def _unpacked(packed: bytes) -> Manifest:
    found: Mapping[str, Json] = json.loads(zlib.decompress(packed))
    return found
