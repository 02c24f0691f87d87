"""The step that waits for the Secrets and ConfigMaps that the spec names."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from somabrain_operator.hashing import content_hash
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.observed import Resolved
from somabrain_operator.plan.values import Finding, Plan, passed, stop
from somabrain_operator.render.config import service_environment

LACKING_S: Final = 15.0
"""How soon a missing Secret is looked for again: nobody tells when it is made."""


def resolve_references(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Wait until every Secret and ConfigMap that the spec names is there with the keys that are used."""
    lacking = [_lack(each, plan.owner.key.namespace) for each in plan.observed.references if each.missing]
    if lacking:
        exist = all(each.exists for each in plan.observed.references)
        refused = any(each.refusal for each in plan.observed.references)
        reason = "NotAllowed" if refused else "KeyMissing" if exist else "NotFound"
        stopped = stop(plan, "ReferencesResolved", Finding("False", reason, " ".join(lacking)))
        return replace(stopped, wake_after_s=LACKING_S)
    config_hash = content_hash({
        "settings": service_environment(spec),
        "policy": "" if spec.opa.policy else plan.release.policy,
        "references": {
            each.reference.field: dict(each.digests)
            for each in plan.observed.references
            if not each.reference.field.startswith("spec.migration.")
        },
    })  # fmt: skip
    found = ", ".join(f"{each.reference.kind} {each.reference.name}" for each in plan.observed.references)
    finding = Finding("True", "Found", f"Found with all keys that are used: {found}.")
    return passed(replace(plan, config_hash=config_hash), "ReferencesResolved", finding)


def _lack(found: Resolved, namespace: str) -> str:
    reference = found.reference
    what = f"{reference.kind} {reference.name}, named by {reference.field}.name,"
    if found.refusal:
        return f"{what} cannot be read: {found.refusal}"
    if not found.exists:
        wanted = ", ".join(reference.keys) or "a key that ends in .rego"
        return f"{what} is not in namespace {namespace}; create it with {wanted}, or correct the name."
    return f"{what} lacks {', '.join(found.missing)} or has it empty; add it."
