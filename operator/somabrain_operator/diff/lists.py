"""Which lists are maps in disguise: the merge keys of the Kubernetes API (x-kubernetes-list-map-keys)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from somabrain_operator.tree import Json, mapping

_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "env": (("name",),),
    "volumes": (("name",),),
    "imagePullSecrets": (("name",),),
    "volumeMounts": (("mountPath",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
}
"""Lists not named here are atomic in the types we render: server-side apply replaces them whole."""

Identity = tuple[Json, ...]


def keyed(field: str, sequence: Sequence[Json]) -> dict[Identity, int] | None:
    """Return the position of each item by its merge key, or None when the list is atomic."""
    for keys in _KEYS.get(field, ()):
        if all(keys[0] in mapping(item) for item in sequence):
            return {tuple(mapping(item).get(key) for key in keys): place for place, item in enumerate(sequence)}
    return None
