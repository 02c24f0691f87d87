"""Step that migrates the database before the pods change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.status import MigrationStatus
from somabrain_operator.kube.names import MIGRATION, MIGRATION_HASH, RETRY_MIGRATION, ChildId, child_id
from somabrain_operator.kube.objects import Manifest, mapping, text
from somabrain_operator.plan.job_attempts import Task, run_job
from somabrain_operator.plan.plan import ConditionResult, Plan, vault_image
from somabrain_operator.references.catalog import OWNER_FIELD
from somabrain_operator.render.migration import migration_hash, migration_job_name, render_migration_job
from somabrain_operator.render.vault import owner_fingerprint


def migrate(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Pass if the database is migrated for the image, or if spec.migration.enabled is false; else halt."""
    if not spec.migration.enabled:
        message = "spec.migration.enabled is false: the operator does not check that the schema fits the image."
        return _with_migration(plan, None, ConditionResult("Unknown", "Skipped", message))
    fingerprint = migration_hash(plan.image, _owner_digest(plan, spec))

    def render(attempt: int) -> Manifest:
        return render_migration_job(
            plan.owner,
            spec,
            image=plan.image,
            vault_image=vault_image(spec, plan.release),
            fingerprint=fingerprint,
            attempt=attempt,
        )

    return run_job(
        plan,
        Task(
            container=MIGRATION,
            annotation=MIGRATION_HASH,
            fingerprint=fingerprint,
            record=_record(plan.observed.brain.status, fingerprint),
            retry_annotation=RETRY_MIGRATION,
            retry_token=plan.observed.brain.annotations.get(RETRY_MIGRATION, "")[:256] or None,
            activity=f"is migrating the database for {plan.image}",
            subject="The migration has not run",
            resources="spec.migration.resources and spec.vault.resources",
            succeeded=f"The database has the schema of {plan.image}.",
            job_name=lambda attempt: migration_job_name(plan.owner, fingerprint, attempt),
            render=render,
            store=_with_migration,
        ),
    )


def without_uncreated_job(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str) -> Plan:
    """Return the plan after the API server refused a write: a Job that was not created does not count as an attempt.

    Args:
        plan: the plan that was applied.
        children: live objects afterwards.
        refusal: the API server's error message.
    """
    jobs = [each for each in plan.apply if text(each, "kind") == "Job" and child_id(each) not in children]
    if not any(text(job, "metadata", "annotations", MIGRATION_HASH) for job in jobs):
        return plan
    result = ConditionResult("False", "ApplyRefused", f"The migration could not be started: {refusal}")
    halted = _with_migration(plan, parse_migration_status(plan.observed.brain.status), result)
    return replace(halted, halted_by=result, failed=True, transient=True)


def parse_migration_status(status: Manifest) -> MigrationStatus | None:
    """Return the migration record of the status, or None if it is missing or invalid."""
    stored = mapping(status, "migration")
    try:
        return MigrationStatus.model_validate(stored) if stored else None
    except ValidationError:
        return None  # somebody else wrote it; migrating again does no harm


def _record(status: Manifest, fingerprint: str) -> MigrationStatus:
    """Return the status' record of the migration with this fingerprint, or a new record."""
    record = parse_migration_status(status) or MigrationStatus()
    if record.hash == fingerprint:
        return record
    return MigrationStatus(hash=fingerprint, retry_token=record.retry_token)


def _owner_digest(plan: Plan, spec: SomaBrainSpec) -> str:
    """Return a hash of the owner's connection string, or of its location in Vault."""
    matches = (each for each in plan.observed.references if each.reference.field == OWNER_FIELD)
    secret = next(matches, None)
    return next(iter(secret.digests.values()), "") if secret is not None else owner_fingerprint(spec)


def _with_migration(plan: Plan, record: MigrationStatus | None, result: ConditionResult) -> Plan:
    return replace(plan, migration=record, conditions={**plan.conditions, "Migrated": result})
