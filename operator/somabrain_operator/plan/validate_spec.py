"""Steps that validate the spec by itself: rules that the schema cannot express, and downgrades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from somabrain_operator.api.v1alpha1.quantity import quantity_value
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import ALLOW_DOWNGRADE, IMAGE, SERVER, ChildId, child_id
from somabrain_operator.kube.objects import text
from somabrain_operator.kube.owner import belongs_to
from somabrain_operator.kube.semver import is_downgrade, tag_of
from somabrain_operator.plan.disruption import unlisted_budgets_notes
from somabrain_operator.plan.last_applied import last_applied
from somabrain_operator.plan.monitoring import missing_kind_notes
from somabrain_operator.plan.plan import ConditionResult, Plan, halt, with_condition
from somabrain_operator.render.setting_names import is_older_than_0_2


def validate_spec(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Reject requests above their limits, which the schema cannot do."""
    containers = {
        "spec.resources": spec.resources,
        "spec.opa.resources": spec.opa.resources,
        "spec.migration.resources": spec.migration.resources,
        "spec.vault.resources": spec.vault.resources if spec.vault else None,
        "spec.mcp.resources": spec.mcp.resources if spec.mcp else None,
    }
    for field, resources in containers.items():
        if resources is None:
            continue
        for name in ("cpu", "memory"):
            request, limit = getattr(resources.requests, name), getattr(resources.limits, name)
            request_value, limit_value = quantity_value(request or 0), quantity_value(limit or 0)
            if (
                limit is not None
                and request_value is not None
                and limit_value is not None
                and request_value > limit_value
            ):
                message = (
                    f"{field}.requests.{name} ({request}) is more than {field}.limits.{name} ({limit}); "
                    "lower the request or raise the limit."
                )
                return halt(plan, "ConfigValid", ConditionResult("False", "RequestAboveLimit", message))
    image = spec.image or f"{plan.release.service_repository}:{spec.version or plan.release.service_version}"
    if spec.mcp and is_older_than_0_2(image):
        message = f"spec.mcp needs an image of version 0.2 or later, and {image} has no MCP server; remove spec.mcp."
        return halt(plan, "ConfigValid", ConditionResult("False", "McpNotInImage", message))
    message = " ".join(
        (
            "The spec is valid.",
            *_ineffective_fields(spec),
            *missing_kind_notes(plan, spec),
            *unlisted_budgets_notes(plan),
        )
    )
    return with_condition(replace(plan, image=image), "ConfigValid", ConditionResult("True", "Valid", message))


def _ineffective_fields(spec: SomaBrainSpec) -> Iterator[str]:
    """Yield sentences about fields of the spec that have no effect."""
    if autoscaling := spec.autoscaling:
        yield (
            f"The number of pods, {autoscaling.min} to {autoscaling.max}, is decided by spec.autoscaling; "
            "spec.replicas is not used."
        )


def check_version(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Reject a version older than the one that serves: its code may not know the schema, which is never downgraded."""
    current_image = _last_applied_image(plan)
    if current_image in ("", plan.image):
        return plan
    old, new = tag_of(current_image), tag_of(plan.image)
    downgrade = is_downgrade(old, new)
    if downgrade is None:
        message = (
            f"The spec is valid. Whether {plan.image} is older than {current_image} is unknown: "
            "both tags must be SemVer."
        )
        return with_condition(plan, "ConfigValid", ConditionResult("True", "VersionsNotCompared", message))
    if downgrade and plan.observed.brain.annotations.get(ALLOW_DOWNGRADE) != new:
        message = (
            f"{new} is older than {old}, which serves and whose schema the database has; set the version "
            f"back to {old}, or, if {new} is known to work with that schema: "
            f"kubectl annotate sb {plan.owner.key.name} {ALLOW_DOWNGRADE}={new} --overwrite"
        )
        return halt(plan, "ConfigValid", ConditionResult("False", "Downgrade", message))
    return plan


def _last_applied_image(plan: Plan) -> str:
    """Return the last applied image; the record has it even if the Deployment was deleted; empty if unknown."""
    identity = ChildId("Deployment", plan.owner.child(SERVER))
    live = plan.observed.children.get(identity)
    deployments = {child_id(each): each for each in last_applied(plan)} | ({identity: live} if live is not None else {})
    deployment = deployments.get(identity)
    return (
        text(deployment, "metadata", "annotations", IMAGE) if deployment and belongs_to(deployment, plan.owner) else ""
    )
