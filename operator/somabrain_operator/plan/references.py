"""The step that waits for the Secrets and ConfigMaps that the spec names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from somabrain_operator.hashing import content_hash
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.named import USERS, references_of, vault_files
from somabrain_operator.names import SERVER, Key
from somabrain_operator.observed import Resolved
from somabrain_operator.plan.values import Finding, Plan, passed, stop
from somabrain_operator.render.config import service_environment, shared_by


def resolve_references(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Wait until every Secret and ConfigMap that the spec names is there with the keys that are used."""
    references = plan.observed.references
    lacking = [_lack(each, plan.owner.key.namespace) for each in references if not each.exists or each.missing]
    if lacking:
        refused = any(each.refusal for each in references)
        reason = "NotAllowed" if refused else "KeyMissing" if all(each.exists for each in references) else "NotFound"
        return stop(plan, "ReferencesResolved", Finding("False", reason, " ".join(lacking)))
    if taken := list(_taken(plan.owner.key, references, spec)):
        return stop(plan, "ReferencesResolved", Finding("False", "SettingTaken", " ".join(taken)))
    config_hash = content_hash({
        "settings": service_environment(plan.owner.key, spec),
        "policy": "" if spec.opa.policy or not spec.opa.enabled else plan.release.policy,
        "vault": spec.vault.version if spec.vault else None,
        "references": {
            each.reference.field: dict(each.digests)
            for each in references
            if SERVER in each.reference.users and each.reference.rolls
        },
    })  # fmt: skip
    found = ", ".join(f"{each.reference.kind} {each.reference.name}" for each in references)
    message = f"Found with all keys that are used: {found}." if found else "The spec names none."
    return passed(replace(plan, config_hash=config_hash), "ReferencesResolved", Finding("True", "Found", message))


def _taken(key: Key, references: tuple[Resolved, ...], spec: SomaBrainSpec) -> Iterator[str]:
    """Yield which keys set what is set elsewhere: one of the two would have no effect."""
    setters = dict.fromkeys({**service_environment(key, spec), **shared_by(spec)}, "by this resource's own fields")
    setters |= {name.upper(): f"by {each.field}" for each in references_of(spec) for name in each.files}
    setters |= {file.upper(): "by spec.vault.secrets" for user in USERS for file in vault_files(spec, user)}
    for each in references:
        for name in each.digests if each.reference.whole else ():
            here = f"{each.reference.kind} {each.reference.name}, named by {each.reference.field}.name,"
            if before := setters.get(name.upper()):
                yield f"{here} has the key {name}, which is set {before}; remove it there or here."
            setters[name.upper()] = f"by {each.reference.field}"


def _lack(found: Resolved, namespace: str) -> str:
    reference = found.reference
    what = f"{reference.kind} {reference.name}, named by {reference.field}.name,"
    if found.refusal:
        return f"{what} cannot be read: {found.refusal}"
    if not found.exists:
        ending = f"a key that ends in {reference.suffix}" if reference.suffix else "the settings"
        wanted = ", ".join(reference.keys) or ending
        return f"{what} is not in namespace {namespace}; create it with {wanted}, or correct the name."
    return f"{what} lacks {', '.join(found.missing)} or has it empty; add it."
