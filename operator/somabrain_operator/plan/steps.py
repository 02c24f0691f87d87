"""The steps, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeAlias

from somabrain_operator.hashing import content_hash
from somabrain_operator.model.quantity import quantity_value
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.model.status import ConditionType
from somabrain_operator.names import ALLOW_DOWNGRADE, IMAGE, SERVER, ChildId, child_id
from somabrain_operator.observed import Observed, Release, Resolved
from somabrain_operator.plan.migration import migrate, remembered
from somabrain_operator.plan.values import Finding, Plan
from somabrain_operator.plan.versions import is_downgrade, tag_of
from somabrain_operator.render.base import render_headless_service, render_service, render_service_account
from somabrain_operator.render.config import render_config, render_policy, service_environment
from somabrain_operator.render.deployment import render_deployment
from somabrain_operator.render.disruption import render_disruption_budget
from somabrain_operator.render.metadata import Owner, brain_of, owned, rendered_hash
from somabrain_operator.tree import Manifest, number, text

LACKING_S: Final = 15.0
"""How soon a missing Secret is looked for again: nobody tells when it is made."""
Step: TypeAlias = Callable[[Plan, SomaBrainSpec], Plan]


def possible_children(brain: str) -> tuple[ChildId, ...]:
    """Return every child under a fixed name that any spec can lead to; what a plan leaves out of these is pruned."""
    return (
        ChildId("ServiceAccount", f"{brain}-{SERVER}"),
        ChildId("Service", f"{brain}-grpc"),
        ChildId("Service", f"{brain}-headless"),
        ChildId("ConfigMap", f"{brain}-config"),
        ChildId("ConfigMap", f"{brain}-policy"),
        ChildId("Deployment", f"{brain}-{SERVER}"),
        ChildId("PodDisruptionBudget", f"{brain}-{SERVER}"),
    )


def make_plan(observed: Observed, release: Release) -> Plan:
    """Return what is to be done about what was observed."""
    brain = observed.brain
    plan = Plan(observed, release, Owner(brain.key, brain.uid), migration=remembered(brain.status))
    if brain.spec is None:
        return stop(plan, "ConfigValid", Finding("False", "Invalid", brain.problem))
    for step in STEPS:
        plan = step(plan, brain.spec)
        if plan.stopped:
            break
    return replace(plan, apply=(), delete=()) if plan.hold else plan


def stop(plan: Plan, condition: ConditionType, finding: Finding) -> Plan:
    """Return the plan with a failure that keeps the steps after from running."""
    findings = {**plan.findings, condition: finding}
    return replace(plan, findings=findings, stopped=finding, holds_back=True)


def passed(plan: Plan, condition: ConditionType, finding: Finding) -> Plan:
    """Return the plan with one finding more."""
    return replace(plan, findings={**plan.findings, condition: finding})


def pause(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Hold all writes while the resource is paused; the steps still run, so that the status stays true."""
    if spec.paused:
        message = "spec.paused is true: nothing is changed until it is false."
        return replace(passed(plan, "Paused", Finding("True", "Paused", message)), hold=True)
    return passed(plan, "Paused", Finding("False", "Running", "spec.paused is false."))


def check_config(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Refuse what the schema cannot: requests above their limits."""
    for field, wanted in (("spec.resources", spec.resources), ("spec.opa.resources", spec.opa.resources)):
        for name in ("cpu", "memory"):
            request, limit = getattr(wanted.requests, name), getattr(wanted.limits, name)
            asked, most = quantity_value(request or 0), quantity_value(limit or 0)
            if limit is not None and asked is not None and most is not None and asked > most:
                message = (
                    f"{field}.requests.{name} ({request}) is more than {field}.limits.{name} ({limit}); "
                    "lower the request or raise the limit."
                )
                return stop(plan, "ConfigValid", Finding("False", "RequestAboveLimit", message))
    image = spec.image or f"{plan.release.service_repository}:{spec.version or plan.release.service_version}"
    return passed(replace(plan, image=image), "ConfigValid", Finding("True", "Valid", "The spec is valid."))


def check_version(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Refuse a version older than the one that serves: its code may not know the schema, which never goes back."""
    live = plan.observed.children.get(ChildId("Deployment", plan.owner.child(SERVER)))
    before = text(live, "metadata", "annotations", IMAGE) if live and owned(live, plan.owner) else ""
    if before in ("", plan.image):
        return plan
    old, new = tag_of(before), tag_of(plan.image)
    older = is_downgrade(old, new)
    if older is None:
        message = (
            f"The spec is valid. Whether {plan.image} is older than {before} is not known: both tags must be SemVer."
        )
        return passed(plan, "ConfigValid", Finding("True", "VersionsNotCompared", message))
    if older and plan.observed.brain.annotations.get(ALLOW_DOWNGRADE) != new:
        message = (
            f"{new} is older than {old}, which serves and whose schema the database has; set the version "
            f"back to {old}, or, where {new} is known to work with that schema: "
            f"kubectl annotate sb {plan.owner.key.name} {ALLOW_DOWNGRADE}={new} --overwrite"
        )
        return stop(plan, "ConfigValid", Finding("False", "Downgrade", message))
    return plan


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


def base_objects(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Ask for the pods' identity and the Services."""
    owner = plan.owner
    return ask(
        plan, (render_service_account(owner), render_service(owner, spec.service), render_headless_service(owner))
    )


def serve(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Ask for settings, policy and Deployment; reached only when the database has the schema that the image needs."""
    owner = plan.owner
    deployment = render_deployment(
        owner,
        spec,
        image=plan.image,
        opa_image=spec.opa.image or plan.release.opa_image,
        config_hash=plan.config_hash,
    )
    policy = () if spec.opa.policy else (render_policy(owner, plan.release.policy),)
    asked = ask(plan, (render_config(owner, spec), *policy, deployment))
    return asked if asked.stopped else replace(asked, deployment=deployment)


def protect(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Ask for the bound on what drains may take away."""
    budget = spec.pod_disruption_budget
    return ask(plan, (render_disruption_budget(plan.owner, budget),)) if budget else plan


def ask(plan: Plan, manifests: Iterable[Manifest]) -> Plan:
    """Add children to the plan, unless one of their names is taken by an object that is not ours."""
    wanted = tuple(manifests)
    for manifest in wanted:
        identity = child_id(manifest)
        live = plan.observed.children.get(identity)
        if live is not None and brain_of(live) == plan.owner.key.name and not owned(live, plan.owner):
            message = f"{identity.kind} {identity.name} is of an earlier resource of this name, and goes with it."
            finding = Finding("True", "Replacing", message)
            return replace(plan, stopped=finding)  # its deletion is an event, which wakes this resource
        if live is not None and not owned(live, plan.owner):
            message = (
                f"{identity.kind} {identity.name} exists and does not belong to this resource; "
                "delete it, or give this resource another name."
            )
            return stop(plan, "Degraded", Finding("True", "NameTaken", message))
    return replace(plan, apply=plan.apply + wanted)


def prune(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Delete our children that left the plan, once the pods that used them are gone."""
    if not rolled_out(plan):
        return plan
    kept = {child_id(manifest) for manifest in plan.apply}
    left = tuple(
        identity
        for identity, live in plan.observed.children.items()
        if identity not in kept and owned(live, plan.owner)
    )
    return replace(plan, delete=plan.delete + left)


def rolled_out(plan: Plan) -> bool:
    """Return whether no pod of an earlier template is left."""
    deployment = plan.deployment
    live = plan.observed.children.get(child_id(deployment)) if deployment else None
    if deployment is None or live is None:
        return False
    return (
        rendered_hash(live) == rendered_hash(deployment)
        and number(live, "status", "observedGeneration") >= number(live, "metadata", "generation")
        and number(live, "status", "replicas") == number(live, "status", "updatedReplicas")
    )


STEPS: Final[tuple[Step, ...]] = (
    pause,  # first: a paused resource is looked at and never written
    check_config,  # before anything is read for it
    check_version,  # before the database is migrated for it
    resolve_references,  # pods without their Secret would only hang
    base_objects,  # the migration's pod needs its identity
    migrate,  # the pods must not be newer than the schema
    serve,
    protect,
    prune,  # last: what is replaced goes after its replacement is there
)
