"""Manifests of the last complete apply, stored in a ConfigMap; they stay in force while a later spec is halted."""

from __future__ import annotations

import json
from typing import Final

from somabrain_operator.kube.children import LAST_APPLIED
from somabrain_operator.kube.objects import Manifest, mapping, text
from somabrain_operator.kube.owner import Owner, is_owned_by
from somabrain_operator.render.deployment import with_replicas
from somabrain_operator.render.metadata import render_object

_DATA_KEY: Final = "children.json"


def render_last_applied(owner: Owner, manifests: tuple[Manifest, ...]) -> Manifest:
    """Return the ConfigMap that stores `manifests`, without the Deployment's `replicas`, which change often."""
    children = [with_replicas(each, None) if text(each, "kind") == "Deployment" else each for each in manifests]
    content = json.dumps(children, ensure_ascii=False, separators=(",", ":"))
    return render_object(owner, LAST_APPLIED, ("v1", "ConfigMap"), {"data": {_DATA_KEY: content}})


def parse_last_applied(live: Manifest | None, owner: Owner) -> tuple[Manifest, ...]:
    """Return the manifests that a live ConfigMap stores; empty if it is not owned by `owner` or is not valid."""
    if live is None or not is_owned_by(live, owner):
        return ()
    try:
        stored = json.loads(text(live, "data", _DATA_KEY))
    except ValueError:
        return ()
    return (
        tuple(each for each in stored if mapping(each) and is_owned_by(each, owner)) if isinstance(stored, list) else ()
    )
