"""Fields that another manager set in a live object, such as `hostNetwork`, and the patch that removes them.

Server-side apply leaves fields of other managers in place. metadata.managedFields lists the owners; a field of the spec
or the data that another manager owns and that was not rendered is foreign. Defaults have no owner, so they never count
as foreign. Format: sigs.k8s.io/structured-merge-diff, fieldpath.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from somabrain_operator.diff.lists import positions_by_key
from somabrain_operator.diff.subset import Difference, Path, differences
from somabrain_operator.kube.names import MANAGER
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, text

_COMPARED_FIELDS: Final = ("spec", "data")
_IGNORED_PATH: Final[Path] = ("spec", "template", "metadata", "annotations")
"""Path that is not compared: `kubectl rollout restart` sets an annotation in it."""


def drift(rendered: Manifest, live: Manifest) -> tuple[Difference, ...]:
    """Return every path at which the live object differs from the rendered one."""
    unique = dict.fromkeys(differences(rendered, live))
    unique.update(dict.fromkeys(Difference(path, "foreign") for path in _owned_by_others(rendered, live)))
    return tuple(unique)


def removal_patch(rendered: Manifest, live: Manifest, drifted: Sequence[Difference]) -> list[Json]:
    """Return the JSON patch (RFC 6902) that removes foreign fields from exactly this version of the object.

    A list with both a foreign and a missing item (a container renamed, a port renumbered) is replaced whole: if the
    foreign item is removed first the list may be empty, if the missing one is added first two items may have the same
    name, and the API server rejects both.
    """
    missing = {each.path for each in drifted if each.kind == "missing"}
    foreign = {each.path for each in drifted if each.kind == "foreign"}
    whole = {path[:-1] for path in foreign if path[:-1] in missing}
    paths = {path if path[:-1] not in whole else path[:-1] for path in foreign}
    outermost = [path for path in paths if not any(path[:end] in paths for end in range(1, len(path)))]
    # In reverse order, so that a removal does not shift the positions of later ones.
    ordered = sorted(outermost, key=lambda path: [(isinstance(step, int), step) for step in path], reverse=True)
    version = text(live, "metadata", "resourceVersion")
    test: dict[str, Json] = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return [test, *(_operation(rendered, live, path, replace=path in whole) for path in ordered)]


def _operation(rendered: Manifest, live: Manifest, path: Path, *, replace: bool) -> Json:
    pointer = "".join(f"/{_escaped(step)}" for step in path)
    if not replace:
        return {"op": "remove", "path": pointer}
    desired: Json = rendered
    actual: Json = live
    field = ""
    for step in path:
        desired, actual, field = _counterpart(desired, actual, step, field), _child(actual, step), str(step)
    return {"op": "replace", "path": pointer, "value": desired}


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _owned_by_others(rendered: Manifest, live: Manifest) -> Iterator[Path]:
    for entry in items(live, "metadata", "managedFields"):
        ours = text(entry, "manager") == MANAGER and text(entry, "operation") == "Apply"
        if ours or text(entry, "subresource"):
            continue
        for field in _COMPARED_FIELDS:
            if field in rendered and field in live:
                owned_fields = mapping(entry, "fieldsV1", f"f:{field}")
                yield from _not_rendered(owned_fields, rendered[field], live[field], (field,))


def _not_rendered(owned_fields: Mapping[str, Json], rendered: Json, live: Json, path: Path) -> Iterator[Path]:
    for element, subfields in owned_fields.items() if path != _IGNORED_PATH else ():
        step = _step(element, live, str(path[-1]))
        if step is None:
            continue
        child_path = (*path, step)
        actual = _child(live, step)
        desired = _counterpart(rendered, live, step, str(path[-1]))
        if desired is None:
            yield child_path
        else:
            yield from _not_rendered(mapping(subfields), desired, actual, child_path)


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
