"""What was applied when all steps last passed, kept in a ConfigMap: what holds on while a later spec is held back."""

from __future__ import annotations

import json
from typing import Final

from somabrain_operator.render.deployment import scaled
from somabrain_operator.render.metadata import Owner, owned, render_object
from somabrain_operator.tree import Manifest, mapping, text

APPLIED: Final = "applied"
_FILE: Final = "children.json"


def render_applied(owner: Owner, manifests: tuple[Manifest, ...]) -> Manifest:
    """Return the ConfigMap that remembers `manifests`; not how many pods there are, which changes all the time."""
    kept = [scaled(each, None) if text(each, "kind") == "Deployment" else each for each in manifests]
    content = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    return render_object(owner, APPLIED, ("v1", "ConfigMap"), {"data": {_FILE: content}})


def applied_before(live: Manifest | None, owner: Owner) -> tuple[Manifest, ...]:
    """Return what a live ConfigMap remembers; nothing where it is not ours or was scribbled over."""
    if live is None or not owned(live, owner):
        return ()
    try:
        kept = json.loads(text(live, "data", _FILE))
    except ValueError:
        return ()
    return tuple(each for each in kept if mapping(each) and owned(each, owner)) if isinstance(kept, list) else ()
