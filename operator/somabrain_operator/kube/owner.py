"""Ownership of children: the SomaBrain that owns them, and the owner references of live objects."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_operator.kube import names
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Json, Manifest, items, mapping, text


@dataclass(frozen=True, slots=True)
class Owner:
    """SomaBrain that owns the children; deleting it deletes them."""

    key: Key
    uid: str

    def child(self, component: str) -> str:
        """Return the name of a child."""
        return names.child_name(self.key.name, component)


def is_owned_by(live: Manifest, owner: Owner) -> bool:
    """Return whether a live object is controlled by this very SomaBrain."""
    return any(
        mapping(each).get("uid") == owner.uid and mapping(each).get("controller") is True
        for each in items(live, "metadata", "ownerReferences")
    )


def owner_name(live: Json) -> str:
    """Return the name of the SomaBrain that controls a live object, or an empty string."""
    owners = (each for each in items(live, "metadata", "ownerReferences") if mapping(each).get("controller") is True)
    return next((text(each, "name") for each in owners if text(each, "kind") == names.KIND), "")
