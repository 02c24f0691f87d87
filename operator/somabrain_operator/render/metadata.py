"""Metadata of every child: name, labels, owner reference, and the hash of what was rendered."""

from __future__ import annotations

from collections.abc import Mapping

from somabrain_operator.kube import names
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.objects import Json, Manifest, mapping, text
from somabrain_operator.kube.owner import Owner, owner_reference


def render_object(
    owner: Owner,
    component: str,
    kind: tuple[str, str],
    body: Mapping[str, Json],
    *,
    name: str | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a manifest with metadata, owner reference and the hash of all its content.

    Args:
        owner: the SomaBrain.
        component: the last part of the object's name, and its component label.
        kind: apiVersion and kind.
        body: everything but apiVersion, kind and metadata.
        name: name of the object, if it is not `<brain>-<component>`.
        annotations: annotations besides the hash.
        labels: labels besides those of all children, which take precedence.
    """
    api_version, kind_name = kind
    metadata: dict[str, Json] = {
        "name": name or owner.child(component),
        "namespace": owner.key.namespace,
        "labels": {**(labels or {}), **names.labels(owner.key.name, component)},
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations:
        metadata["annotations"] = annotations
    return with_rendered_hash({"apiVersion": api_version, "kind": kind_name, "metadata": metadata, **body})


def with_rendered_hash(manifest: Manifest) -> Manifest:
    """Return a manifest with the hash of all its content as an annotation."""
    metadata = mapping(manifest, "metadata")
    others = {name: value for name, value in mapping(metadata, "annotations").items() if name != names.RENDERED_HASH}
    fingerprint = content_hash({**manifest, "metadata": {**metadata, "annotations": others}})
    return {**manifest, "metadata": {**metadata, "annotations": {**others, names.RENDERED_HASH: fingerprint}}}


def rendered_hash(manifest: Manifest) -> str:
    """Return the rendered hash from the annotations of a rendered or a live object."""
    return text(manifest, "metadata", "annotations", names.RENDERED_HASH)
