"""Manifests of the last complete apply, stored in a ConfigMap; they stay in force while a later spec is halted."""

from __future__ import annotations

import json
from typing import Final

from somabrain_operator.kube.children import LAST_APPLIED
from somabrain_operator.kube.objects import Manifest, mapping, text
from somabrain_operator.kube.owner import Owner, belongs_to, is_owned_by, owner_name, owner_reference
from somabrain_operator.render.deployment import with_replicas
from somabrain_operator.render.metadata import render_object, with_rendered_hash

_DATA_KEY: Final = "children.json"


def render_last_applied(owner: Owner, manifests: tuple[Manifest, ...]) -> Manifest:
    """Return the ConfigMap that stores `manifests`, without the Deployment's `replicas`, which change often."""
    children = [with_replicas(each, None) if text(each, "kind") == "Deployment" else each for each in manifests]
    content = json.dumps(children, ensure_ascii=False, separators=(",", ":"))
    return render_object(owner, LAST_APPLIED, ("v1", "ConfigMap"), {"data": {_DATA_KEY: content}})


def parse_last_applied(live: Manifest | None, owner: Owner) -> tuple[Manifest, ...]:
    """Return the manifests that a live ConfigMap stores; empty if it does not belong to `owner` or is not valid.

    A record that an earlier resource of this name left as an orphan is read as if it were of `owner`.
    """
    if live is None or not belongs_to(live, owner):
        return ()
    try:
        stored = json.loads(text(live, "data", _DATA_KEY))
    except ValueError:
        return ()
    manifests = (each for each in stored if mapping(each)) if isinstance(stored, list) else ()
    if is_owned_by(live, owner):
        return tuple(each for each in manifests if is_owned_by(each, owner))
    return tuple(_adopted(each, owner) for each in manifests if _was_of_this_name(each, owner))


def _was_of_this_name(manifest: Manifest, owner: Owner) -> bool:
    return (text(manifest, "metadata", "namespace"), owner_name(manifest)) == owner.key


def _adopted(manifest: Manifest, owner: Owner) -> Manifest:
    """Return a manifest of an earlier resource of this name with `owner` as its owner."""
    metadata = {**mapping(manifest, "metadata"), "ownerReferences": [owner_reference(owner)]}
    return with_rendered_hash({**manifest, "metadata": metadata})
