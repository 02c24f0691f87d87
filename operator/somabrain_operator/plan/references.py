"""Step that waits for the Secrets and ConfigMaps that the spec names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.names import MCP, SERVER
from somabrain_operator.kube.owner import Owner
from somabrain_operator.plan.plan import ConditionResult, Plan, halt, with_condition
from somabrain_operator.references.catalog import ADMIN_FIELD, USERS, Reference, User, references_of, vault_files
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.render.config import default_policy, quota_environment, service_environment
from somabrain_operator.render.mcp import mcp_environment
from somabrain_operator.render.setting_names import present_name


def resolve_references(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Halt unless every Secret and ConfigMap that the spec names exists with the used keys."""
    references = plan.observed.references
    problems = [
        describe_missing(each, plan.owner.key.namespace)
        for each in references
        if each.reference.required and (not each.exists or each.missing)
    ]
    if problems:
        required = [each for each in references if each.reference.required]
        any_refused = any(each.refusal for each in required)
        reason = "NotAllowed" if any_refused else "KeyMissing" if all(each.exists for each in required) else "NotFound"
        return halt(plan, "ReferencesResolved", ConditionResult("False", reason, " ".join(problems)), transient=True)
    if conflicts := [*_setting_conflicts(plan.owner, references, spec)]:
        return halt(plan, "ReferencesResolved", ConditionResult("False", "SettingTaken", " ".join(conflicts)))
    config_hash = content_hash({
        # Under former names, as version 0.1 hashed them, so that the rename of settings rolls no pods.
        "settings": service_environment(plan.owner.key, spec, former_names=True),
        "policy": "" if spec.opa.policy or not spec.opa.enabled else default_policy(plan.release.policy, plan.image),
        "vault": spec.vault.version if spec.vault else None,
        "references": startup_digests(references, SERVER),
    })  # fmt: skip
    found = (each.reference for each in references if each.exists)
    names = ", ".join(dict.fromkeys(f"{each.kind} {each.name}" for each in found))
    message = f"Found with all keys that are used: {names}." if names else "The spec names no Secret and no ConfigMap."
    return with_condition(
        replace(plan, config_hash=config_hash), "ReferencesResolved", ConditionResult("True", "Found", message)
    )


def startup_digests(references: tuple[ResolvedReference, ...], user: User) -> dict[str, dict[str, str]]:
    """Return hashes of the keys that pods of `user` read only at startup, by field of the spec and key."""
    return {
        each.reference.field: dict(each.digests)
        for each in references
        if user in each.reference.users and each.reference.triggers_rollout
    }


def _setting_conflicts(owner: Owner, references: tuple[ResolvedReference, ...], spec: SomaBrainSpec) -> Iterator[str]:
    """Yield sentences about keys whose setting is set elsewhere too: one of the two would have no effect.

    The MCP server has separate settings, which do not conflict with those of servers and migrations.
    """
    environment = {**service_environment(owner.key, spec), **quota_environment(spec)}
    from_vault = {present_name(file): "by spec.vault.secrets" for user in USERS for file in vault_files(spec, user)}
    others = _setters(environment, (each for each in references_of(spec) if each.users != (MCP,)))
    yield from _conflicts((each for each in references if each.reference.users != (MCP,)), {**others, **from_vault})
    if spec.mcp:
        of_mcp = _setters(mcp_environment(owner, spec, spec.mcp), (e for e in references_of(spec) if MCP in e.users))
        yield from _conflicts((each for each in references if MCP in each.reference.users), of_mcp)


def _setters(environment: Mapping[str, str], references: Iterable[Reference]) -> dict[str, str]:
    """Return by what each setting is set that fields of the spec set: themselves, or the keys that they name."""
    by_keys = {present_name(name): f"by {each.field}" for each in references for name in each.files}
    return dict.fromkeys(environment, "by this resource's own fields") | by_keys


def _conflicts(references: Iterable[ResolvedReference], setters: dict[str, str]) -> Iterator[str]:
    for each in references:
        for name in each.digests if each.reference.all_keys else ():
            source = f"{each.reference.kind} {each.reference.name}, named by {each.reference.field}.name,"
            if other_setter := setters.get(present_name(name)):
                yield f"{source} has the key {name}, which is set {other_setter}; remove it there or here."
            setters[present_name(name)] = f"by {each.reference.field}"


def describe_missing(resolved: ResolvedReference, namespace: str) -> str:
    """Return the sentence about a reference that does not exist, cannot be read, or lacks keys."""
    reference = resolved.reference
    subject = f"{reference.kind} {reference.name}, named by {reference.field}.name,"
    if resolved.refusal:
        return f"{subject} cannot be read: {resolved.refusal}"
    if not resolved.exists:
        fallback = f"a key that ends in {reference.suffix}" if reference.suffix else "the settings"
        fallback = "uri, or host, username and password" if reference.field == ADMIN_FIELD else fallback
        required = ", ".join(reference.keys) or fallback
        return f"{subject} is not in namespace {namespace}; create it with {required}, or correct the name."
    return f"{subject} lacks {', '.join(resolved.missing)} or has it empty; add it."
