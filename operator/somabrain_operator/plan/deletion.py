"""Plan for a SomaBrain that is being deleted and whose database is dropped with it.

Only such a SomaBrain has a finalizer, and whatever the operator cannot do for it releases it, with a sentence for the
log: no database that is out of reach may hold up the deletion of a namespace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.errors import ConfigurationError
from somabrain_operator.api.v1alpha1.status import ProvisionStatus
from somabrain_operator.kube import names
from somabrain_operator.kube.children import DATABASE
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.observe.state import ObservedState, OperatorDefaults
from somabrain_operator.plan.job_attempts import run_job
from somabrain_operator.plan.plan import Plan
from somabrain_operator.plan.provision import admin_reference, parse_provision_status, provision_task
from somabrain_operator.render.provision import is_provisioned_secret, render_drop_job, secret_values, stored_database


@dataclass(frozen=True, slots=True)
class Deletion:
    """Steps for a SomaBrain that is being deleted."""

    plan: Plan
    released: str = ""
    """Reason for which its finalizer is removed now, as a sentence; empty: it stays."""
    secret: Manifest | None = None
    """Secret to delete before that."""
    probe: Manifest | None = None
    """A Job that is not due: whether the API server would create it shows if the namespace is being deleted."""


PROBE_INTERVAL_S = 10.0
"""Seconds between such probes: no watch that the operator is permitted reports it."""


def plan_deletion(observed: ObservedState, release: OperatorDefaults) -> Deletion:
    """Return what is done for a SomaBrain with the finalizer that is being deleted."""
    brain = observed.brain
    plan = Plan(observed, release, Owner(brain.key, brain.uid))
    spec = brain.spec
    provision = spec.database.provision if spec is not None and spec.database is not None else None
    given = observed.database
    if spec is None or provision is None or provision.deletion_policy != "Delete":
        return Deletion(plan, "Its spec no longer says deletionPolicy: Delete; its database is left.")
    if names.RETAIN_DATABASE in brain.annotations:
        return Deletion(plan, f"It has the annotation {names.RETAIN_DATABASE}; its database is left.")
    secret = plan.owner.child(DATABASE)
    if given is None or given.secret is None or not is_provisioned_secret(given.secret, plan.owner):
        return Deletion(plan, f"There is no Secret {secret} of it, so what it made is not known, and is left.")
    try:
        stored = stored_database(secret_values(given.secret))
    except ConfigurationError as exc:
        return Deletion(plan, f"Secret {secret} {exc.message}, so what it made is not known, and is left.")
    fingerprint = content_hash(["drop", brain.uid, stored.id])
    former = parse_provision_status(brain.status)
    record = former if former.hash == fingerprint else ProvisionStatus(hash=fingerprint, login=former.login)
    image = spec.image or f"{release.service_repository}:{spec.version or release.service_version}"
    plan = replace(plan, image=image)
    reference = admin_reference(plan)
    digest = content_hash(dict(reference.digests) if reference is not None else {})[:8]
    making = provision_task(
        plan,
        spec,
        provision,
        stored,
        record.model_copy(update={"database": stored.database}),
        admin_digest=digest,
        fingerprint=fingerprint,
    )
    task = replace(
        making,
        activity=f"is dropping the database {stored.database} and its roles",
        succeeded=f"The database {stored.database} and its roles are dropped.",
        render=lambda attempt: render_drop_job(making.render(attempt)),
        owned=False,
    )
    dropping = run_job(plan, task)
    if dropping.halted_by is None:
        return Deletion(dropping, task.succeeded, secret=given.secret)
    remedy = (
        f" To delete the SomaBrain and leave the database: kubectl annotate sb {brain.key.name} "
        f"{names.RETAIN_DATABASE}=true"
    )
    result = dropping.conditions["Provisioned"]
    if dropping.failed:
        result = replace(result, message=f"The database could not be dropped: {result.message}{remedy}")
    due_s = min(PROBE_INTERVAL_S, PROBE_INTERVAL_S if dropping.requeue_after_s is None else dropping.requeue_after_s)
    dropping = replace(dropping, conditions={**dropping.conditions, "Provisioned": result}, requeue_after_s=due_s)
    probe = None if dropping.apply else task.render((record.attempt or 0) + 1)
    return Deletion(dropping, probe=probe)
