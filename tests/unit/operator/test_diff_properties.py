"""Any change of a field is drift; an addition to a mapping is not, unless the mapping is closed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain_operator.diff.subset import Difference, differences, is_closed
from somabrain_operator.kube.names import child_id
from tests.unit.operator.samples import migrated, observed, plan

MANIFESTS: list[Any] = list(plan(observed(status=migrated())).apply)


def leaves(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, child in children:
        yield from leaves(child, (*path, step))
    if not isinstance(tree, dict | list):
        yield path


def mappings(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(tree, dict):
        yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, child in children:
        yield from mappings(child, (*path, step))


def at_path(tree: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


LEAVES = [(index, path) for index, manifest in enumerate(MANIFESTS) for path in leaves(manifest)]
ALL_MAPPINGS = [(index, path) for index, manifest in enumerate(MANIFESTS) for path in mappings(manifest)]
MAPPINGS = [(index, path) for index, path in ALL_MAPPINGS if not is_closed(path)]
CLOSED = [(index, path) for index, path in ALL_MAPPINGS if is_closed(path)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(LEAVES), st.booleans())
def test_changed_or_removed_leaf_is_drift(where: tuple[int, tuple[str | int, ...]], remove: bool) -> None:
    """Changing or removing any field of any child is detected."""
    index, path = where
    live = copy.deepcopy(MANIFESTS[index])
    parent, last = at_path(live, path[:-1]), path[-1]
    if remove:
        del parent[last]
    else:
        parent[last] = {"other": "kind"}
    assert list(differences(MANIFESTS[index], live)), f"{child_id(MANIFESTS[index])} {path}"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MAPPINGS))
def test_key_added_to_open_mapping_is_not_drift(where: tuple[int, tuple[str | int, ...]]) -> None:
    """A key added to an open mapping may be a default: only its owner makes it foreign."""
    index, path = where
    live = copy.deepcopy(MANIFESTS[index])
    at_path(live, path)["addedByTheServer"] = 1
    assert list(differences(MANIFESTS[index], live)) == []


@pytest.mark.parametrize("where", CLOSED, ids=str)
def test_key_added_to_closed_mapping_is_foreign(where: tuple[int, tuple[str | int, ...]]) -> None:
    """A key added to data or to a selector is foreign: one label more selects other pods."""
    index, path = where
    live = copy.deepcopy(MANIFESTS[index])
    at_path(live, path)["added"] = "by hand"
    assert Difference((*path, "added"), "foreign") in differences(MANIFESTS[index], live)


def test_manifest_does_not_differ_from_itself() -> None:
    """A manifest does not differ from itself."""
    assert [list(differences(manifest, manifest)) for manifest in MANIFESTS] == [[]] * len(MANIFESTS)
