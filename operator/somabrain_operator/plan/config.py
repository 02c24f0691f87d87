"""The steps that judge the spec by itself: what the schema cannot say, and versions that go backwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from somabrain_operator.model.quantity import quantity_value
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.names import ALLOW_DOWNGRADE, IMAGE, SERVER, ChildId, child_id
from somabrain_operator.plan.keeping import recorded
from somabrain_operator.plan.monitoring import without_kind
from somabrain_operator.plan.values import Finding, Plan, passed, stop
from somabrain_operator.plan.versions import is_downgrade, tag_of
from somabrain_operator.render.metadata import owned
from somabrain_operator.tree import text


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
    message = " ".join(("The spec is valid.", *_notes(spec), *without_kind(plan, spec)))
    return passed(replace(plan, image=image), "ConfigValid", Finding("True", "Valid", message))


def _notes(spec: SomaBrainSpec) -> Iterator[str]:
    """Yield what of the spec has no effect, and why."""
    if scaling := spec.autoscaling:
        yield (
            f"How many pods there are, {scaling.min} to {scaling.max}, is decided by spec.autoscaling; "
            "spec.replicas is not used."
        )


def check_version(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Refuse a version older than the one that serves: its code may not know the schema, which never goes back."""
    before = _image_before(plan)
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


def _image_before(plan: Plan) -> str:
    """Return the image that was last applied; the record has it also when the Deployment was deleted."""
    identity = ChildId("Deployment", plan.owner.child(SERVER))
    live = plan.observed.children.get(identity)
    known = {child_id(each): each for each in recorded(plan)} | ({identity: live} if live is not None else {})
    before = known.get(identity)
    return text(before, "metadata", "annotations", IMAGE) if before and owned(before, plan.owner) else ""
