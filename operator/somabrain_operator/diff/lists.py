"""Merge keys of lists that are maps in the Kubernetes API (x-kubernetes-list-map-keys)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from somabrain_operator.kube.objects import Json, mapping

_MERGE_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
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
"""Merge keys by field. All other lists of the rendered types are atomic: server-side apply replaces them whole."""

MergeKey: TypeAlias = tuple[str, ...]


def positions_by_key(field: str, sequence: Sequence[Json]) -> dict[MergeKey, int] | None:
    """Return the position of each item by its merge key, the first of equal ones; None if the list is atomic."""
    for keys in _MERGE_KEYS.get(field, ()):
        if all(isinstance(mapping(item).get(keys[0]), str | int) for item in sequence):
            positions: dict[MergeKey, int] = {}
            for position, item in enumerate(sequence):
                positions.setdefault(tuple(str(mapping(item).get(key)) for key in keys), position)
            return positions
    return None
