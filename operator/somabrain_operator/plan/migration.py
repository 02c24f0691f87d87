"""The step that migrates the database before the pods change.

What has been tried is kept in the status, so neither a restart of the operator nor a deleted Job forgets the
back-off. A Job is made for one attempt and never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from somabrain_operator import timestamps
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.model.status import MigrationStatus
from somabrain_operator.names import MIGRATION, MIGRATION_HASH, RETRY_MIGRATION, ChildId, child_id
from somabrain_operator.objects import Manifest, condition, mapping, number, text
from somabrain_operator.plan.backoff import Backoff
from somabrain_operator.plan.plan import ConditionResult, Plan, vault_image
from somabrain_operator.pod_status import failure_reason, of_component, termination_message
from somabrain_operator.redact import redact
from somabrain_operator.render.metadata import is_owned_by
from somabrain_operator.render.migration import migration_hash, migration_job_name, render_migration_job
from somabrain_operator.render.vault import VAULT, owner_fingerprint

RETRY: Final = Backoff(base_s=10, cap_s=600)


def migrate(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Pass when the database has been migrated for the image, or when somebody else does it; else stop."""
    if not spec.migration.enabled:
        message = "spec.migration.enabled is false: whether the schema fits the image is not known here."
        return _with_migration(plan, None, ConditionResult("Unknown", "Skipped", message))
    fingerprint = migration_hash(plan.image, _owner_digest(plan, spec))
    record = _record(plan.observed.brain.status, fingerprint)
    job = _latest_job(plan, record, fingerprint)
    if job is not None:
        record = _with_job(plan, record, job)
    if record.completed_at is not None:
        return _succeeded(plan, record)
    if job is not None and condition(job, "Complete").get("status") == "True":
        completed_at = text(job, "status", "completionTime") or timestamps.iso(plan.observed.now)
        return _succeeded(plan, _without_error(record, completed_at=completed_at))
    if job is not None and condition(job, "Failed").get("status") == "True":
        return _retry_or_wait(plan, spec, _with_failure(plan, record, job))
    if job is not None:
        return _running(plan, record, job)
    if record.attempt and record.next_attempt_at is None:
        error = f"Job {record.job_name} is gone, and whether it finished is not known."
        return _retry_or_wait(plan, spec, _schedule_retry(record, error, plan.observed.now))
    if record.attempt:
        return _retry_or_wait(plan, spec, record)
    return _start(plan, spec, record)


def without_uncreated_job(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str) -> Plan:
    """Return the plan as it stands when the API server refused something: a Job that is not there is no attempt.

    Args:
        plan: what was to be done.
        children: live objects after it was tried.
        refusal: what the API server said.
    """
    if all(child_id(each) in children for each in plan.apply if text(each, "kind") == "Job"):
        return plan
    result = ConditionResult("False", "ApplyRefused", f"The migration could not be started: {refusal}")
    halted = _with_migration(plan, parse_migration_status(plan.observed.brain.status), result)
    return replace(halted, halted_by=result, failed=True)


def parse_migration_status(status: Manifest) -> MigrationStatus | None:
    """Return what the status says of migrations, or None when it says nothing that can be read."""
    stored = mapping(status, "migration")
    try:
        return MigrationStatus.model_validate(stored) if stored else None
    except ValidationError:
        return None  # somebody wrote something else there; migrating again does no harm


def _record(status: Manifest, fingerprint: str) -> MigrationStatus:
    """Return what the status remembers of this very migration, or a fresh record."""
    record = parse_migration_status(status) or MigrationStatus()
    if record.hash == fingerprint:
        return record
    return MigrationStatus(hash=fingerprint, retry_token=record.retry_token)


def _latest_job(plan: Plan, record: MigrationStatus, fingerprint: str) -> Manifest | None:
    """Return the Job of the last attempt, if it is there."""
    attempts = [
        job for job in plan.observed.jobs if _job_fingerprint(job) == fingerprint and is_owned_by(job, plan.owner)
    ]
    latest = max(attempts, key=_attempt, default=None)
    return latest if latest is not None and _attempt(latest) >= (record.attempt or 0) else None


def _with_job(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record of the Job's attempt: the status may not know it, as its writer was killed in between."""
    if _attempt(job) > (record.attempt or 0):
        record = MigrationStatus(hash=record.hash, last_error=record.last_error, retry_token=_retry_token(plan))
    return record.model_copy(
        update={
            "job_name": text(job, "metadata", "name"),
            "attempt": _attempt(job),
            "started_at": text(job, "metadata", "creationTimestamp") or record.started_at,
        }
    )


def _retry_token(plan: Plan) -> str | None:
    return plan.observed.brain.annotations.get(RETRY_MIGRATION, "")[:256] or None


def _job_fingerprint(job: Manifest) -> str:
    return text(job, "metadata", "annotations", MIGRATION_HASH)


def _attempt(job: Manifest) -> int:
    last = text(job, "metadata", "name").rsplit("-", 1)[-1]
    return int(last) if last.isdecimal() else 0


def _owner_digest(plan: Plan, spec: SomaBrainSpec) -> str:
    """Return a hash of the owner's connection string, or of where Vault has it."""
    matches = (each for each in plan.observed.references if each.reference.field == "spec.migration.database.secretRef")
    secret = next(matches, None)
    return next(iter(secret.digests.values())) if secret is not None else owner_fingerprint(spec)


def _without_error(record: MigrationStatus, **update: str) -> MigrationStatus:
    """Return the record without what is over: the error and the next attempt."""
    return record.model_copy(update={"last_error": None, "next_attempt_at": None, **update})


def _succeeded(plan: Plan, record: MigrationStatus) -> Plan:
    stale = tuple(_stale_jobs(plan, current=record.job_name))
    result = ConditionResult("True", "Succeeded", f"The database has the schema of {plan.image}.")
    return _with_migration(replace(plan, delete=plan.delete + stale), record, result)


def _stale_jobs(plan: Plan, current: str | None) -> Iterator[ChildId]:
    """Yield Jobs that nobody waits for. One whose pod is at work is left to finish: a cut index build stays half."""
    for job in plan.observed.jobs:
        is_running = number(job, "status", "ready") > 0
        if text(job, "metadata", "name") != current and is_owned_by(job, plan.owner) and not is_running:
            yield child_id(job)


def _running(plan: Plan, record: MigrationStatus, job: Manifest) -> Plan:
    name = text(job, "metadata", "name")
    latest = _pods_of(plan, name)[-1:]  # the Job replaces a pod that failed, and only this one says how it stands
    failures = [words for pod in latest if (words := failure_reason(pod, plan.observed.brain.spec))]
    if failures:
        result = ConditionResult("False", "Stuck", f"Job {name} cannot run: {redact(failures[0], _secrets(plan))}")
        return _halted(plan, record, result, failed=True)
    result = ConditionResult("False", "Running", f"Job {name} is migrating the database for {plan.image}.")
    return _halted(plan, record, result)


def _with_failure(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record with why the Job failed and when the next attempt is due.

    The time is said once, then kept. The words may come later, as nobody promises that a pod is told of before its Job,
    and stay when the pod goes.
    """
    name = text(job, "metadata", "name")
    messages = [words for pod in _pods_of(plan, name) if (words := termination_message(pod, VAULT, MIGRATION))]
    if record.next_attempt_at is not None:
        return record.model_copy(update={"last_error": redact(messages[-1], _secrets(plan))}) if messages else record
    fallback = text(condition(job, "Failed"), "message") or "it says no reason"
    failed_at = timestamps.parse(text(condition(job, "Failed"), "lastTransitionTime")) or plan.observed.now
    return _schedule_retry(record, redact(messages[-1] if messages else fallback, _secrets(plan)), failed_at)


def _schedule_retry(record: MigrationStatus, error: str, since: datetime) -> MigrationStatus:
    due = since + timedelta(seconds=RETRY.delay_s(record.attempt or 1))
    return record.model_copy(update={"last_error": error, "next_attempt_at": timestamps.iso(due)})


def _retry_or_wait(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    """Wait for the next attempt, or start it when it is due or asked for."""
    token = _retry_token(plan)
    retry_requested = token is not None and token != record.retry_token
    due = timestamps.parse(record.next_attempt_at or "") or plan.observed.now
    remaining_s = (due - plan.observed.now).total_seconds()
    if retry_requested or remaining_s <= 0:
        return _start(plan, spec, record)
    message = (
        f"Attempt {record.attempt} failed: {record.last_error} The next one starts at {record.next_attempt_at}; "
        f"to try at once: kubectl annotate sb {plan.owner.key.name} {RETRY_MIGRATION}=$(date +%s) --overwrite"
    )
    return replace(
        _halted(plan, record, ConditionResult("False", "Failed", message), failed=True), requeue_after_s=remaining_s
    )


def _start(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    attempt = (record.attempt or 0) + 1
    fingerprint = record.hash or ""
    if plan.paused:
        result = ConditionResult("False", "Paused", "The migration has not run, because spec.paused is true.")
        return _halted(plan, record, result)
    job = render_migration_job(
        plan.owner,
        spec,
        image=plan.image,
        vault_image=vault_image(spec, plan.release),
        fingerprint=fingerprint,
        attempt=attempt,
    )
    started = MigrationStatus(
        hash=fingerprint,
        job_name=migration_job_name(plan.owner, fingerprint, attempt),
        attempt=attempt,
        started_at=timestamps.iso(plan.observed.now),
        last_error=record.last_error,
        retry_token=_retry_token(plan),
    )
    result = ConditionResult("False", "Running", f"Job {started.job_name} is migrating the database for {plan.image}.")
    stale = tuple(_stale_jobs(plan, current=record.job_name))
    return _halted(replace(plan, apply=(*plan.apply, job), delete=plan.delete + stale), started, result)


def _secrets(plan: Plan) -> list[str]:
    return [secret for each in plan.observed.references for secret in each.secrets]


def _pods_of(plan: Plan, job: str) -> list[Manifest]:
    pods = of_component(plan.observed.pods, MIGRATION)
    job_pods = [pod for pod in pods if mapping(pod, "metadata", "labels").get("batch.kubernetes.io/job-name") == job]
    return sorted(job_pods, key=lambda pod: text(pod, "metadata", "creationTimestamp"))


def _with_migration(plan: Plan, record: MigrationStatus | None, result: ConditionResult) -> Plan:
    return replace(plan, migration=record, conditions={**plan.conditions, "Migrated": result})


def _halted(plan: Plan, record: MigrationStatus, result: ConditionResult, *, failed: bool = False) -> Plan:
    return replace(_with_migration(plan, record, result), halted_by=result, failed=failed)
