"""Fields that another manager set in a live object, such as `hostNetwork`.

Server-side apply leaves fields of other managers in place. metadata.managedFields lists the owners; a field of the spec
or the data that another manager owns and that was not rendered is foreign. Defaults have no owner, so they never count
as foreign. Format: sigs.k8s.io/structured-merge-diff, fieldpath.

A value that our own JSON patch put back is recorded under our name, with the operation Update; so is a default that the
API server sets in answer. Neither is foreign. But once the rendering changes, such a field that is not rendered is
removed, and one in the place of a rendered field is removed at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from somabrain_operator.diff.lists import positions_by_key
from somabrain_operator.diff.subset import Difference, Path, differences
from somabrain_operator.kube.names import MANAGER, RENDERED_HASH
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, text

_Elements: TypeAlias = tuple[str, ...]
"""A path in managedFields, such as f:spec, f:ports, k:{"port":1,"protocol":"TCP"}."""
_COMPARED_FIELDS: Final = ("spec", "data")
_CLOSED_FIELDS: Final = ("binaryData",)
"""Fields of an object that must not exist unless they are rendered: pods mount them beside `data`."""
_IGNORED_PATH: Final[Path] = ("spec", "template", "metadata", "annotations")
"""Path that is not compared: `kubectl rollout restart` sets an annotation in it."""


def drift(rendered: Manifest, live: Manifest) -> tuple[Difference, ...]:
    """Return every path at which the live object differs from the rendered one."""
    unique = dict.fromkeys(differences(rendered, live))
    unique.update(dict.fromkeys(_owned_by_others(rendered, live)))
    unique.update(
        (Difference((field,), "foreign"), None) for field in _CLOSED_FIELDS if field in live and field not in rendered
    )
    return tuple(unique)


def has_foreign_owner(rendered: Manifest, live: Manifest) -> bool:
    """Return whether another manager is the owner of a field that drifts."""
    return any(not owned.ours for _, owned, _, _ in _findings(rendered, live))


def released(rendered: Manifest, live: Manifest) -> Sequence[Json]:
    """Return metadata.managedFields of `live` without the ownership of fields that drift.

    A manager that set a default keeps owning it: removing the field changes no value, and so no owner.
    """
    elements: dict[int, set[_Elements]] = {}
    for index, owned, found, _ in _findings(rendered, live):
        if not owned.ours:
            elements.setdefault(index, set()).add(found)
    entries: list[Json] = []
    for index, entry in enumerate(items(live, "metadata", "managedFields")):
        fields = _without(mapping(entry, "fieldsV1"), elements.get(index, set()), ())
        entries += [{**mapping(entry), "fieldsV1": fields}] if fields else []
    return entries


def _without(fields: Mapping[str, Json], elements: set[_Elements], path: _Elements) -> dict[str, Json]:
    """Return owned fields without these, and without what only held them."""
    kept: dict[str, Json] = {}
    for element, subfields in fields.items():
        below = _without(mapping(subfields), elements, (*path, element))
        if (*path, element) not in elements and (below or not subfields):
            kept[element] = below
    return kept


def _owned_by_others(rendered: Manifest, live: Manifest) -> Iterator[Difference]:
    return (difference for _, _, _, difference in _findings(rendered, live))


def _findings(rendered: Manifest, live: Manifest) -> Iterator[tuple[int, _OwnedFields, _Elements, Difference]]:
    """Yield the entry of managedFields, its fieldpath and the difference of each field that drifts by its owner."""
    hashes = [text(each, "metadata", "annotations", RENDERED_HASH) for each in (rendered, live)]
    for index, entry in enumerate(items(live, "metadata", "managedFields")):
        ours = text(entry, "manager") == MANAGER
        if (ours and text(entry, "operation") == "Apply") or text(entry, "subresource"):
            continue
        owned = _OwnedFields(ours, rendering_changed=hashes[0] != hashes[1])
        for field in _COMPARED_FIELDS:
            if field in rendered and field in live:
                fields = mapping(entry, "fieldsV1", f"f:{field}")
                for found, difference in owned.differences(fields, rendered[field], live[field], (field,)):
                    yield index, owned, (f"f:{field}", *found), difference


@dataclass(frozen=True, slots=True)
class _OwnedFields:
    """Fields of one entry of managedFields."""

    ours: bool
    """True if they are ours, by a JSON patch."""
    rendering_changed: bool

    def differences(
        self, fields: Mapping[str, Json], rendered: Json, live: Json, path: Path
    ) -> Iterator[tuple[_Elements, Difference]]:
        """Yield the fields at or below `path` that were not rendered, and whole values of another manager."""
        for element, subfields in fields.items() if path != _IGNORED_PATH else ():
            step = _step(element, live, str(path[-1]))
            if step is None:
                continue
            child_path = (*path, step)
            desired = _counterpart(rendered, live, step, str(path[-1]))
            if desired is None:
                if not self.ours or self.rendering_changed or _lacks_rendered(rendered, live):
                    yield (element,), Difference(child_path, "foreign")
            elif mapping(subfields):
                below = self.differences(mapping(subfields), desired, _child(live, step), child_path)
                yield from (((element, *found), difference) for found, difference in below)
            elif not self.ours and desired and isinstance(desired, Mapping | list | tuple):
                yield (element,), Difference(child_path, "changed")  # owned whole, so it may have more than ours


def _lacks_rendered(rendered: Json, live: Json) -> bool:
    """Return whether a live mapping lacks a rendered key: a key beside it may be its alternative."""
    return isinstance(rendered, Mapping) and any(
        key not in mapping(live) for key, value in rendered.items() if value not in ({}, [], ())
    )


def _step(element: str, live: Json, field: str) -> str | int | None:
    """Return the key or position in `live` that a fieldpath element names, or None if it does not exist."""
    if element.startswith("f:") and isinstance(live, Mapping) and element[2:] in live:
        return element[2:]
    if element.startswith("k:") and isinstance(live, Sequence) and not isinstance(live, str):
        merge_key = json.loads(element[2:])
        return next((index for index, item in enumerate(live) if merge_key.items() <= mapping(item).items()), None)
    return None


def _child(tree: Json, step: str | int) -> Json:
    if isinstance(step, int):
        return tree[step] if isinstance(tree, Sequence) and step < len(tree) else None
    return mapping(tree).get(step)


def _counterpart(rendered: Json, live: Json, step: str | int, field: str) -> Json:
    """Return what was rendered for the same key, or for the list item with the same merge key."""
    if isinstance(step, str):
        return mapping(rendered).get(step)
    if not isinstance(rendered, Sequence) or not isinstance(live, Sequence) or isinstance(rendered, str):
        return None
    rendered_positions, live_positions = positions_by_key(field, rendered), positions_by_key(field, live)
    if rendered_positions is None or live_positions is None:
        return None
    identity = next((key for key, position in live_positions.items() if position == step), None)
    return rendered[rendered_positions[identity]] if identity in rendered_positions else None
