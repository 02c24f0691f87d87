"""Parsing of the SomaBrain object."""

from __future__ import annotations

from pydantic import ValidationError

from somabrain_operator.api.v1alpha1.base import LocalObjectReference, SecretSource
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.children import DATABASE
from somabrain_operator.kube.names import Key, child_name
from somabrain_operator.kube.objects import Manifest, items, mapping, number, text
from somabrain_operator.observe.state import Brain


def parse_brain(key: Key, manifest: Manifest) -> Brain:
    """Return the resource; for a spec that does not fit the model, with `problem` instead of a spec."""
    spec, problem = None, ""
    try:
        spec = with_provisioned_secret(key, SomaBrainSpec.model_validate(manifest.get("spec")))
    except ValidationError as exc:
        problem = " ".join(
            f"spec.{'.'.join(str(step) for step in each['loc'])}: {each['msg']}; correct or remove it."
            for each in exc.errors(include_url=False, include_input=False)
        )
    metadata = mapping(manifest, "metadata")
    return Brain(
        key=key,
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        annotations={name: str(value) for name, value in mapping(metadata, "annotations").items()},
        spec=spec,
        problem=problem,
        status=mapping(manifest, "status"),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(str(each) for each in items(metadata, "finalizers")),
    )


def with_provisioned_secret(key: Key, spec: SomaBrainSpec) -> SomaBrainSpec:
    """Return the spec with the Secret that `spec.database.provision` leads to, as if a person had named it."""
    if spec.database is None or spec.database.provision is None:
        return spec
    made = LocalObjectReference(name=child_name(key.name, DATABASE))
    database = spec.database.model_copy(update={"secret_ref": made})
    migration = spec.migration.model_copy(update={"database": SecretSource(secret_ref=made)})
    return spec.model_copy(update={"database": database, "migration": migration})
