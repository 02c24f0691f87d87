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

from somabrain_operator import moments
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.model.status import MigrationStatus
from somabrain_operator.names import MIGRATION, MIGRATION_HASH, RETRY_MIGRATION, ChildId, child_id
from somabrain_operator.plan.backoff import Backoff
from somabrain_operator.plan.values import Finding, Plan, vault_image
from somabrain_operator.pods import last_words, of_component, trouble
from somabrain_operator.redact import redact
from somabrain_operator.render.metadata import owned
from somabrain_operator.render.migration import migration_hash, migration_job_name, render_migration_job
from somabrain_operator.render.vault import VAULT, owner_fingerprint
from somabrain_operator.tree import Manifest, condition, mapping, number, text

RETRY: Final = Backoff(base_s=10, cap_s=600)


def migrate(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Pass when the database has been migrated for the image, or when somebody else does it; else stop."""
    if not spec.migration.enabled:
        message = "spec.migration.enabled is false: whether the schema fits the image is not known here."
        return _with(plan, None, Finding("Unknown", "Skipped", message))
    fingerprint = migration_hash(plan.image, _owner_digest(plan, spec))
    record = _record(plan.observed.brain.status, fingerprint)
    job = _job(plan, record, fingerprint)
    if job is not None:
        record = _with_job(plan, record, job)
    if record.completed_at is not None:
        return _done(plan, record)
    if job is not None and condition(job, "Complete").get("status") == "True":
        finished = text(job, "status", "completionTime") or moments.iso(plan.observed.now)
        return _done(plan, _only(record, completed_at=finished))
    if job is not None and condition(job, "Failed").get("status") == "True":
        return _failed(plan, spec, _with_failure(plan, record, job))
    if job is not None:
        return _running(plan, record, job)
    if record.attempt and record.next_attempt_at is None:
        lost = f"Job {record.job_name} is gone, and whether it finished is not known."
        return _failed(plan, spec, _refused(record, lost, plan.observed.now))
    if record.attempt:
        return _failed(plan, spec, record)
    return _start(plan, spec, record)


def without_unmade_job(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str) -> Plan:
    """Return the plan as it stands when the API server refused something: a Job that is not there is no attempt.

    Args:
        plan: what was to be done.
        children: live objects after it was tried.
        refusal: what the API server said.
    """
    if all(child_id(each) in children for each in plan.apply if text(each, "kind") == "Job"):
        return plan
    finding = Finding("False", "ApplyRefused", f"The migration could not be started: {refusal}")
    kept = _with(plan, remembered(plan.observed.brain.status), finding)
    return replace(kept, stopped=finding, holds_back=True)


def remembered(status: Manifest) -> MigrationStatus | None:
    """Return what the status says of migrations, or None when it says nothing that can be read."""
    kept = mapping(status, "migration")
    try:
        return MigrationStatus.model_validate(kept) if kept else None
    except ValidationError:
        return None  # somebody wrote something else there; migrating again does no harm


def _record(status: Manifest, fingerprint: str) -> MigrationStatus:
    """Return what the status remembers of this very migration, or a fresh record."""
    record = remembered(status) or MigrationStatus()
    if record.hash == fingerprint:
        return record
    return MigrationStatus(hash=fingerprint, retry_token=record.retry_token)


def _job(plan: Plan, record: MigrationStatus, fingerprint: str) -> Manifest | None:
    """Return the Job of the last attempt, if it is there."""
    attempts = [job for job in plan.observed.jobs if _hash(job) == fingerprint and owned(job, plan.owner)]
    latest = max(attempts, key=_attempt, default=None)
    return latest if latest is not None and _attempt(latest) >= (record.attempt or 0) else None


def _with_job(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record of the Job's attempt: the status may not know it, as its writer was killed in between."""
    if _attempt(job) > (record.attempt or 0):
        record = MigrationStatus(hash=record.hash, last_error=record.last_error, retry_token=_token(plan))
    return record.model_copy(
        update={
            "job_name": text(job, "metadata", "name"),
            "attempt": _attempt(job),
            "started_at": text(job, "metadata", "creationTimestamp") or record.started_at,
        }
    )


def _token(plan: Plan) -> str | None:
    return plan.observed.brain.annotations.get(RETRY_MIGRATION, "")[:256] or None


def _hash(job: Manifest) -> str:
    return text(job, "metadata", "annotations", MIGRATION_HASH)


def _attempt(job: Manifest) -> int:
    last = text(job, "metadata", "name").rsplit("-", 1)[-1]
    return int(last) if last.isdecimal() else 0


def _owner_digest(plan: Plan, spec: SomaBrainSpec) -> str:
    """Return a hash of the owner's connection string, or of where Vault has it."""
    found = (each for each in plan.observed.references if each.reference.field == "spec.migration.database.secretRef")
    secret = next(found, None)
    return next(iter(secret.digests.values())) if secret is not None else owner_fingerprint(spec)


def _only(record: MigrationStatus, **update: str) -> MigrationStatus:
    """Return the record without what is over: the error and the next attempt."""
    return record.model_copy(update={"last_error": None, "next_attempt_at": None, **update})


def _done(plan: Plan, record: MigrationStatus) -> Plan:
    stale = tuple(_stale_jobs(plan, current=record.job_name))
    finding = Finding("True", "Succeeded", f"The database has the schema of {plan.image}.")
    return _with(replace(plan, delete=plan.delete + stale), record, finding)


def _stale_jobs(plan: Plan, current: str | None) -> Iterator[ChildId]:
    """Yield Jobs that nobody waits for. One whose pod is at work is left to finish: a cut index build stays half."""
    for job in plan.observed.jobs:
        at_work = number(job, "status", "ready") > 0
        if text(job, "metadata", "name") != current and owned(job, plan.owner) and not at_work:
            yield child_id(job)


def _running(plan: Plan, record: MigrationStatus, job: Manifest) -> Plan:
    name = text(job, "metadata", "name")
    latest = _pods_of(plan, name)[-1:]  # the Job replaces a pod that failed, and only this one says how it stands
    wrong = [words for pod in latest if (words := trouble(pod, plan.observed.brain.spec))]
    if wrong:
        finding = Finding("False", "Stuck", f"Job {name} cannot run: {redact(wrong[0], _secrets(plan))}")
        return _held(plan, record, finding, failure=True)
    finding = Finding("False", "Running", f"Job {name} is migrating the database for {plan.image}.")
    return _held(plan, record, finding)


def _with_failure(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record with why the Job failed and when the next attempt is due.

    The time is said once, then kept. The words may come later, as nobody promises that a pod is told of before its Job,
    and stay when the pod goes.
    """
    name = text(job, "metadata", "name")
    said = [words for pod in _pods_of(plan, name) if (words := last_words(pod, VAULT, MIGRATION))]
    if record.next_attempt_at is not None:
        return record.model_copy(update={"last_error": redact(said[-1], _secrets(plan))}) if said else record
    fallback = text(condition(job, "Failed"), "message") or "it says no reason"
    failed_at = moments.parse(text(condition(job, "Failed"), "lastTransitionTime")) or plan.observed.now
    return _refused(record, redact(said[-1] if said else fallback, _secrets(plan)), failed_at)


def _refused(record: MigrationStatus, error: str, since: datetime) -> MigrationStatus:
    due = since + timedelta(seconds=RETRY.delay_s(record.attempt or 1))
    return record.model_copy(update={"last_error": error, "next_attempt_at": moments.iso(due)})


def _failed(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    """Wait for the next attempt, or start it when it is due or asked for."""
    token = _token(plan)
    asked = token is not None and token != record.retry_token
    due = moments.parse(record.next_attempt_at or "") or plan.observed.now
    left_s = (due - plan.observed.now).total_seconds()
    if asked or left_s <= 0:
        return _start(plan, spec, record)
    message = (
        f"Attempt {record.attempt} failed: {record.last_error} The next one starts at {record.next_attempt_at}; "
        f"to try at once: kubectl annotate sb {plan.owner.key.name} {RETRY_MIGRATION}=$(date +%s) --overwrite"
    )
    return replace(_held(plan, record, Finding("False", "Failed", message), failure=True), wake_after_s=left_s)


def _start(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    attempt = (record.attempt or 0) + 1
    fingerprint = record.hash or ""
    if plan.hold:
        finding = Finding("False", "Paused", "The migration has not run, because spec.paused is true.")
        return _held(plan, record, finding)
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
        started_at=moments.iso(plan.observed.now),
        last_error=record.last_error,
        retry_token=_token(plan),
    )
    finding = Finding("False", "Running", f"Job {started.job_name} is migrating the database for {plan.image}.")
    stale = tuple(_stale_jobs(plan, current=record.job_name))
    return _held(replace(plan, apply=(*plan.apply, job), delete=plan.delete + stale), started, finding)


def _secrets(plan: Plan) -> list[str]:
    return [secret for each in plan.observed.references for secret in each.secrets]


def _pods_of(plan: Plan, job: str) -> list[Manifest]:
    pods = of_component(plan.observed.pods, MIGRATION)
    mine = [pod for pod in pods if mapping(pod, "metadata", "labels").get("batch.kubernetes.io/job-name") == job]
    return sorted(mine, key=lambda pod: text(pod, "metadata", "creationTimestamp"))


def _with(plan: Plan, record: MigrationStatus | None, finding: Finding) -> Plan:
    return replace(plan, migration=record, findings={**plan.findings, "Migrated": finding})


def _held(plan: Plan, record: MigrationStatus, finding: Finding, *, failure: bool = False) -> Plan:
    return replace(_with(plan, record, finding), stopped=finding, holds_back=failure)
