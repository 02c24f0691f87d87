"""Comparison of a live object with the rendered one, which must be a subset of it.

The live object may have more: defaults, and values that the API server allocates. Items of keyed lists are the
exception: only the operator adds containers, variables or volumes, so an additional item is foreign. Quantities are
compared by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from somabrain_operator.api.v1alpha1.quantity import quantity_value
from somabrain_operator.diff.lists import positions_by_key
from somabrain_operator.kube.objects import Json

Path: TypeAlias = tuple[str | int, ...]
_QUANTITIES: Final = frozenset({"limits", "requests"})
_CLOSED: Final[frozenset[Path]] = frozenset({("data",), ("spec", "selector")})
"""Mappings that must have exactly the rendered keys."""
_ATOMIC: Final = frozenset({"matchLabels", "nodeSelector"})
"""The same at any path: their keys have no separate owners (x-kubernetes-map-type: atomic)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Path at which the live object differs from the rendered one."""

    path: Path
    kind: Literal["changed", "missing", "foreign", "reordered"]

    def __str__(self) -> str:
        return f"{format_path(self.path)} is {self.kind}"


def format_path(path: Path) -> str:
    """Return a path in the usual notation: spec.template.spec.containers[0].image."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def is_closed(path: Path) -> bool:
    """Return whether the mapping at `path` must have exactly the rendered keys."""
    return path in _CLOSED or (len(path) > 0 and path[-1] in _ATOMIC)


def differences(rendered: Json, live: Json, path: Path = ()) -> Iterator[Difference]:
    """Yield the differences of `live` from `rendered`; paths are those of `live`."""
    if isinstance(rendered, Mapping):
        if not isinstance(live, Mapping):
            yield Difference(path, "changed")
            return
        for key, value in rendered.items():
            if key in live:
                yield from differences(value, live[key], (*path, key))
            elif value not in ({}, [], ()):
                yield Difference((*path, key), "missing")
        if is_closed(path):
            yield from (Difference((*path, key), "foreign") for key in live if key not in rendered)
    elif isinstance(rendered, Sequence) and not isinstance(rendered, str):
        yield from _list_differences(rendered, live, path)
    elif not _equal(rendered, live, path):
        yield Difference(path, "changed")


def _list_differences(rendered: Sequence[Json], live: Json, path: Path) -> Iterator[Difference]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        yield Difference(path, "changed")
        return
    field = str(path[-1]) if path else ""
    rendered_positions, live_positions = positions_by_key(field, rendered), positions_by_key(field, live)
    if rendered_positions is None or live_positions is None:
        if len(rendered) != len(live):
            yield Difference(path, "changed")
            return
        for position, (desired, actual) in enumerate(zip(rendered, live, strict=True)):
            yield from differences(desired, actual, (*path, position))
        return
    for identity, position in rendered_positions.items():
        if identity in live_positions:
            yield from differences(
                rendered[position], live[live_positions[identity]], (*path, live_positions[identity])
            )
        else:
            yield Difference(path, "missing")
    if field != "ownerReferences":
        matched = [live_positions[identity] for identity in rendered_positions if identity in live_positions]
        if matched != sorted(matched):  # the order of init containers is that in which they start
            yield Difference(path, "reordered")
        yield from (
            Difference((*path, position), "foreign") for position in range(len(live)) if position not in matched
        )


def _equal(rendered: Json, live: Json, path: Path) -> bool:
    if rendered == live:
        return True
    is_quantity = path[-1:] == ("sizeLimit",) or (len(path) > 1 and path[-2] in _QUANTITIES)
    if is_quantity and isinstance(rendered, int | str) and isinstance(live, int | str):
        amount = quantity_value(rendered)
        return amount is not None and amount == quantity_value(live)
    return False
