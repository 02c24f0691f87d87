"""Accessors for JSON trees: Kubernetes objects as the API server sends them.

A value that is missing or of another type reads as empty: live objects may have any content, and the pure code that
evaluates them must not fail on a missing field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Manifest: TypeAlias = Mapping[str, Json]


def at(tree: Json, *path: str) -> Json:
    """Return the value at `path`, or None."""
    for key in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def mapping(tree: Json, *path: str) -> Mapping[str, Json]:
    """Return the mapping at `path`, or an empty one."""
    value = at(tree, *path)
    return value if isinstance(value, Mapping) else {}


def items(tree: Json, *path: str) -> Sequence[Json]:
    """Return the list at `path`, or an empty one."""
    value = at(tree, *path)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def text(tree: Json, *path: str) -> str:
    """Return the string at `path`, or an empty one."""
    value = at(tree, *path)
    return value if isinstance(value, str) else ""


def number(tree: Json, *path: str) -> int:
    """Return the whole number at `path`, or 0: the API omits zeros."""
    value = at(tree, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def object_version(manifest: Manifest) -> int:
    """Return the resourceVersion of an object as a number, whose order KEP-5504 promises; 0 without one."""
    version = text(manifest, "metadata", "resourceVersion")
    return int(version) if version.isdecimal() else 0


def by_name(tree: Json, *path: str) -> Mapping[str, Json]:
    """Return the list at `path` keyed by its items' `name`."""
    return {text(item, "name"): item for item in items(tree, *path)}


def condition(tree: Json, kind: str) -> Mapping[str, Json]:
    """Return the status condition of type `kind`, or an empty mapping."""
    return next((mapping(item) for item in items(tree, "status", "conditions") if text(item, "type") == kind), {})
