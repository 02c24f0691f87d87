"""Manifests of the last complete apply, stored in a ConfigMap; they stay in force while a later spec is halted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from somabrain_operator.kube.children import LAST_APPLIED, possible_children
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.names import child_id
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, text
from somabrain_operator.kube.owner import Owner, is_owned_by
from somabrain_operator.render.deployment import with_replicas
from somabrain_operator.render.metadata import render_object

_DATA_KEY: Final = "children.json"


def render_last_applied(owner: Owner, manifests: tuple[Manifest, ...]) -> Manifest:
    """Return the ConfigMap that stores `manifests`, without the Deployment's `replicas`, which change often."""
    children = [with_replicas(each, None) if text(each, "kind") == "Deployment" else each for each in manifests]
    content = json.dumps(children, ensure_ascii=False, separators=(",", ":"))
    return render_object(owner, LAST_APPLIED, ("v1", "ConfigMap"), {"data": {_DATA_KEY: content}})


def last_applied_hash(record: Manifest) -> str:
    """Return the hash of what a record stores."""
    return content_hash(text(record, "data", _DATA_KEY))


def parse_last_applied(live: Manifest | None, owner: Owner, expected_hash: str) -> tuple[Manifest, ...]:
    """Return the manifests of children that a live ConfigMap of `owner` stores; empty if it is not valid.

    They are applied with the operator's permissions, which are more than those of writing a ConfigMap. So only children
    that rendering can lead to count, and a ConfigMap that `owner` does not own counts for nothing, even if it looks
    like an orphan: anyone may have created it before the resource. Nor does one that was changed since its hash was
    written to the status, which fewer accounts may write; an empty hash is of an operator that wrote none.
    """
    if live is None or not is_owned_by(live, owner):
        return ()
    try:
        if expected_hash not in ("", last_applied_hash(live)):
            return ()
    except UnicodeEncodeError:  # a lone surrogate
        return ()
    known = frozenset(possible_children(owner.key.name))
    return tuple(
        each
        for each in _stored_manifests(text(live, "data", _DATA_KEY))
        if child_id(each) in known
        and text(each, "metadata", "namespace") == owner.key.namespace
        and is_owned_by(each, owner)
    )


def _stored_manifests(content: str) -> Iterator[Manifest]:
    """Yield the mappings of a JSON list; none if the content is anything else."""
    try:
        stored: Json = json.loads(content)
        content_hash(stored)  # a lone surrogate or deep nesting may be valid JSON that later code could not hash
    except (ValueError, RecursionError):
        return
    yield from (mapping(each) for each in items(stored))
