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


def is_orphan(live: Manifest, owner: Owner) -> bool:
    """Return whether a live object was applied for a SomaBrain of this name and has no controller.

    Deleting a SomaBrain with `--cascade=orphan` leaves such objects. Labels alone are not proof: others may copy them.
    """
    has_controller = any(mapping(each).get("controller") is True for each in items(live, "metadata", "ownerReferences"))
    labels = mapping(live, "metadata", "labels")
    return (
        not has_controller
        and labels.get("app.kubernetes.io/managed-by") == names.MANAGER
        and labels.get("app.kubernetes.io/instance") == owner.key.name
        and text(live, "metadata", "annotations", names.RENDERED_HASH) != ""
    )


def belongs_to(live: Manifest, owner: Owner) -> bool:
    """Return whether a live object is controlled by this SomaBrain, or is an orphan that it adopts."""
    return is_owned_by(live, owner) or is_orphan(live, owner)


def owner_reference(owner: Owner) -> dict[str, Json]:
    """Return the owner reference of the children of a SomaBrain."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_name(live: Json) -> str:
    """Return the name of the SomaBrain that controls a live object, or an empty string."""
    owners = (each for each in items(live, "metadata", "ownerReferences") if mapping(each).get("controller") is True)
    return next((text(each, "name") for each in owners if text(each, "kind") == names.KIND), "")
