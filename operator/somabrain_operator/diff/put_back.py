"""Patch that puts a live object back to its rendered manifest in one write.

What is foreign is removed and what is missing or changed is added in the same JSON patch (RFC 6902). Two writes would
store the state between them: a probe without a handler is refused, and a volume without a source becomes an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from somabrain_operator.diff.foreign import released
from somabrain_operator.diff.lists import positions_by_key
from somabrain_operator.diff.subset import Difference, Path, is_closed
from somabrain_operator.kube.objects import Json, Manifest, text

_NOT_PUT_BACK: Final = ("apiVersion", "kind", "metadata", "status")
_ADDED_BY_APPLY: Final = ("changed", "missing")


def needs_patch(drifted: Sequence[Difference]) -> bool:
    """Return whether a server-side apply alone does not put this drift back: it removes nothing and keeps the order."""
    return any(each.kind not in _ADDED_BY_APPLY for each in drifted)


def put_back_patch(rendered: Manifest, live: Manifest, drifted: Sequence[Difference]) -> list[Json]:
    """Return the JSON patch from exactly this version of the object to the rendered one, without its metadata."""
    actual = {field: value for field, value in live.items() if field not in _NOT_PUT_BACK}
    desired = {field: value for field, value in rendered.items() if field not in _NOT_PUT_BACK}
    foreign = frozenset(each.path for each in drifted if each.kind == "foreign")
    differing = frozenset(each.path[:end] for each in drifted for end in range(len(each.path) + 1))
    changed = frozenset(each.path for each in drifted if each.kind == "changed")
    return [
        _version_test(live),
        *_operations(actual, _PutBack(foreign, changed, differing).put_back(desired, actual, ()), ""),
    ]


def release_patch(rendered: Manifest, live: Manifest) -> list[Json]:
    """Return the JSON patch that takes drifting fields from the managers that own them; `live` has all its owners."""
    fields = {"op": "replace", "path": "/metadata/managedFields", "value": released(rendered, live)}
    return [_version_test(live), fields]


def _version_test(live: Manifest) -> Json:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "metadata", "resourceVersion")}


class _PutBack:
    """The rendered tree merged over what may stay of the live one."""

    def __init__(self, foreign: frozenset[Path], changed: frozenset[Path], differing: frozenset[Path]) -> None:
        """Take the paths that are foreign, those that are changed, and those at or below which anything differs."""
        self._foreign = foreign
        self._changed = changed
        self._differing = differing

    def put_back(self, rendered: Json, live: Json, path: Path) -> Json:
        """Return the subtree at `path`: defaults stay, foreign fields do not, and ours are all there."""
        if path not in self._differing:
            return live
        if path in self._changed:
            return rendered
        if isinstance(rendered, Mapping) and isinstance(live, Mapping):
            return self._mapping(rendered, live, path)
        if isinstance(rendered, Sequence) and isinstance(live, Sequence) and not isinstance(rendered, str):
            return self._list(rendered, live, path)
        return rendered

    def _mapping(self, rendered: Mapping[str, Json], live: Mapping[str, Json], path: Path) -> Json:
        kept = {key: value for key, value in live.items() if key in rendered or self._may_stay((*path, key))}
        added = {key: value for key, value in rendered.items() if key not in live and value not in ({}, [], ())}
        return {
            **{
                key: self.put_back(rendered[key], value, (*path, key)) if key in rendered else value
                for key, value in kept.items()
            },
            **added,
        }

    def _may_stay(self, path: Path) -> bool:
        return path not in self._foreign and not is_closed(path[:-1])

    def _list(self, rendered: Sequence[Json], live: Sequence[Json], path: Path) -> Json:
        """Return the rendered items in their order; those of a keyed list keep the defaults of their live ones."""
        live_positions = positions_by_key(str(path[-1]), live)
        rendered_positions = positions_by_key(str(path[-1]), rendered)
        if live_positions is None or rendered_positions is None:
            return rendered
        return [
            self.put_back(rendered[position], live[live_positions[key]], (*path, live_positions[key]))
            if key in live_positions
            else rendered[position]
            for key, position in rendered_positions.items()
        ]


def _operations(live: Json, desired: Json, pointer: str) -> Iterator[Json]:
    """Yield the operations from one tree to another; a list of another length is replaced whole, so order is free."""
    if live == desired:
        return
    if isinstance(live, Mapping) and isinstance(desired, Mapping):
        for key in live.keys() | desired.keys():
            yield from _key_operations(live, desired, key, f"{pointer}/{_escaped(key)}")
    elif isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        for position, (actual, wanted) in enumerate(zip(live, desired, strict=True)):
            yield from _operations(actual, wanted, f"{pointer}/{position}")
    else:
        yield {"op": "replace", "path": pointer, "value": desired}


def _key_operations(live: Mapping[str, Json], desired: Mapping[str, Json], key: str, pointer: str) -> Iterator[Json]:
    if key not in desired:
        yield {"op": "remove", "path": pointer}
    elif key not in live:
        yield {"op": "add", "path": pointer, "value": desired[key]}
    else:
        yield from _operations(live[key], desired[key], pointer)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
