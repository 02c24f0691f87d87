"""Step that migrates the database before the pods change.

The attempts are stored in the status, so the back-off survives a restart of the operator and a deleted Job. A Job is
created for one attempt and never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from pydantic import ValidationError

from common.aio.backoff import Backoff
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.status import MigrationStatus
from somabrain_operator.kube import timestamps
from somabrain_operator.kube.names import MIGRATION, MIGRATION_HASH, RETRY_MIGRATION, ChildId, child_id
from somabrain_operator.kube.objects import Manifest, condition, mapping, number, text
from somabrain_operator.kube.owner import belongs_to, is_owned_by
from somabrain_operator.observe.pod_status import failure_reason, is_terminated, of_job, termination_message
from somabrain_operator.observe.redact import redact
from somabrain_operator.plan.plan import ConditionResult, Plan, vault_image
from somabrain_operator.render.metadata import rendered_hash
from somabrain_operator.render.migration import migration_hash, migration_job_name, render_migration_job
from somabrain_operator.render.vault import VAULT, owner_fingerprint

RETRY: Final = Backoff(initial_s=10, cap_s=600)
POD_CHECK_INTERVAL_S: Final = 10.0
"""Interval at which a Job without a pod is observed again: that its pod is refused changes nothing that is watched."""
POD_CREATION_DEADLINE_S: Final = 60.0
"""Age of a Job at which a pod that was never created is a failure, even if no event says why."""


def migrate(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Pass if the database is migrated for the image, or if spec.migration.enabled is false; else halt."""
    if not spec.migration.enabled:
        message = "spec.migration.enabled is false: the operator does not check that the schema fits the image."
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
        return _running(plan, spec, record, job)
    if record.attempt and record.next_attempt_at is None:
        error = f"Job {record.job_name} no longer exists, and its result is unknown."
        return _retry_or_wait(plan, spec, _schedule_retry(record, error, plan.observed.now))
    if record.attempt:
        return _retry_or_wait(plan, spec, record)
    return _start(plan, spec, record)


def without_uncreated_job(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str) -> Plan:
    """Return the plan after the API server refused a write: a Job that was not created does not count as an attempt.

    Args:
        plan: the plan that was applied.
        children: live objects afterwards.
        refusal: the API server's error message.
    """
    if all(child_id(each) in children for each in plan.apply if text(each, "kind") == "Job"):
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


def _latest_job(plan: Plan, record: MigrationStatus, fingerprint: str) -> Manifest | None:
    """Return the Job of this resource's last attempt, or None if it does not exist.

    A Job that an earlier resource left does not count: with Vault its hash is the same, and the database may not be.
    """
    attempts = [
        job for job in plan.observed.jobs if _job_fingerprint(job) == fingerprint and is_owned_by(job, plan.owner)
    ]
    latest = max(attempts, key=_attempt, default=None)
    return latest if latest is not None and _attempt(latest) >= (record.attempt or 0) else None


def _with_job(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record of the Job's attempt: the status may lack it if the operator was killed in between."""
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
    """Return a hash of the owner's connection string, or of its location in Vault."""
    matches = (each for each in plan.observed.references if each.reference.field == "spec.migration.database.secretRef")
    secret = next(matches, None)
    return next(iter(secret.digests.values())) if secret is not None else owner_fingerprint(spec)


def _without_error(record: MigrationStatus, **update: str) -> MigrationStatus:
    """Return the updated record without the error and the time of the next attempt."""
    return record.model_copy(update={"last_error": None, "next_attempt_at": None, **update})


def _succeeded(plan: Plan, record: MigrationStatus) -> Plan:
    stale = tuple(_stale_jobs(plan, current=record.job_name))
    result = ConditionResult("True", "Succeeded", f"The database has the schema of {plan.image}.")
    return _with_migration(replace(plan, delete=plan.delete + stale), record, result)


def _stale_jobs(plan: Plan, current: str | None) -> Iterator[ChildId]:
    """Yield other Jobs, which are obsolete, except running ones: an interrupted index build would stay invalid."""
    for job in plan.observed.jobs:
        is_running = number(job, "status", "ready") > 0
        if text(job, "metadata", "name") != current and belongs_to(job, plan.owner) and not is_running:
            yield child_id(job)


def _running(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus, job: Manifest) -> Plan:
    """Wait for the Job, or replace it if it is stuck and the spec has changed or a retry is requested."""
    name = text(job, "metadata", "name")
    has_live_pod = any(not is_terminated(pod) for pod in of_job(plan.observed.pods, name))
    interval_s = None if has_live_pod else POD_CHECK_INTERVAL_S
    failure = _stuck_reason(plan, job)
    if not failure:
        result = ConditionResult("False", "Running", f"Job {name} is migrating the database for {plan.image}.")
        return replace(_halted(plan, record, result), requeue_after_s=interval_s)
    if not plan.paused and number(job, "status", "ready") == 0 and _is_superseded(plan, spec, record, job):
        return _start(replace(plan, delete=(*plan.delete, child_id(job))), spec, record)
    result = ConditionResult("False", "Stuck", f"Job {name} {redact(failure, _secrets(plan))}")
    return replace(_halted(plan, record, result, failed=True), requeue_after_s=interval_s)


def _stuck_reason(plan: Plan, job: Manifest) -> str:
    """Return why the Job makes no progress, as the rest of a sentence that begins with its name, or an empty string."""
    name = text(job, "metadata", "name")
    if refusal := plan.observed.pod_refusals.get(name):
        return (
            f"cannot create its pod: {refusal.rstrip('.')}. Correct what refuses it: a quota, a limit range or an "
            "admission policy of the namespace, or spec.migration.resources and spec.vault.resources."
        )
    pods = of_job(plan.observed.pods, name)
    for pod in pods[-1:]:  # the Job replaces a pod that failed, so only the newest shows its state
        if reason := failure_reason(pod, plan.observed.brain.spec):
            return f"cannot run: {reason}"
    created = timestamps.parse(text(job, "metadata", "creationTimestamp")) or plan.observed.now
    age_s = (plan.observed.now - created).total_seconds()
    had_pod = bool(pods) or any(number(job, "status", field) for field in ("active", "failed", "terminating"))
    if age_s > POD_CREATION_DEADLINE_S and not had_pod:
        return (
            f"has had no pod for more than {POD_CREATION_DEADLINE_S:.0f} s, and no event says why; "
            f"see kubectl describe job {name}, and whether the cluster's Job controller works."
        )
    return ""


def _is_superseded(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus, job: Manifest) -> bool:
    """Return whether the spec now leads to another Job than this one, or a retry is requested."""
    token = _retry_token(plan)
    current = rendered_hash(_render_job(plan, spec, record.hash or "", record.attempt or 1))
    return (token is not None and token != record.retry_token) or rendered_hash(job) not in ("", current)


def _with_failure(plan: Plan, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record with the Job's error and the time of the next attempt.

    The time is set once. The error may arrive later, as the event of a pod may come after that of its Job, and stays
    when the pod is deleted.
    """
    name = text(job, "metadata", "name")
    pods = of_job(plan.observed.pods, name)
    messages = [message for pod in pods if (message := termination_message(pod, VAULT, MIGRATION))]
    had_pod = number(job, "status", "failed") > 0  # a refusal is then of a later pod, or over
    if not messages and not had_pod and (refusal := plan.observed.pod_refusals.get(name)):
        messages = [f"its pod could not be created: {refusal}"]
    if record.next_attempt_at is not None:
        return record.model_copy(update={"last_error": redact(messages[-1], _secrets(plan))}) if messages else record
    fallback = text(condition(job, "Failed"), "message") or "no reason given."
    failed_at = timestamps.parse(text(condition(job, "Failed"), "lastTransitionTime")) or plan.observed.now
    return _schedule_retry(record, redact(messages[-1] if messages else fallback, _secrets(plan)), failed_at)


def _schedule_retry(record: MigrationStatus, error: str, since: datetime) -> MigrationStatus:
    due = since + timedelta(seconds=RETRY.delay_s(record.attempt or 1))
    return record.model_copy(update={"last_error": error, "next_attempt_at": timestamps.iso(due)})


def _retry_or_wait(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    """Wait for the next attempt, or start it if it is due or requested."""
    token = _retry_token(plan)
    retry_requested = token is not None and token != record.retry_token
    due = timestamps.parse(record.next_attempt_at or "") or plan.observed.now
    remaining_s = (due - plan.observed.now).total_seconds()
    if retry_requested or remaining_s <= 0:
        return _start(plan, spec, record)
    message = (
        f"Attempt {record.attempt} failed: {record.last_error} The next attempt starts at {record.next_attempt_at}; "
        f"to retry now: kubectl annotate sb {plan.owner.key.name} {RETRY_MIGRATION}=$(date +%s) --overwrite"
    )
    return replace(
        _halted(plan, record, ConditionResult("False", "Failed", message), failed=True), requeue_after_s=remaining_s
    )


def _start(plan: Plan, spec: SomaBrainSpec, record: MigrationStatus) -> Plan:
    fingerprint = record.hash or ""
    attempt = _next_attempt(plan, record, fingerprint)
    if plan.paused:
        result = ConditionResult("False", "Paused", "The migration has not run, because spec.paused is true.")
        return _halted(plan, record, result)
    job = _render_job(plan, spec, fingerprint, attempt)
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


def _next_attempt(plan: Plan, record: MigrationStatus, fingerprint: str) -> int:
    """Return the first number past the last attempt whose name is free: an earlier resource may have left Jobs."""
    taken = {text(job, "metadata", "name") for job in plan.observed.jobs}
    numbers = count((record.attempt or 0) + 1)
    return next(each for each in numbers if migration_job_name(plan.owner, fingerprint, each) not in taken)


def _render_job(plan: Plan, spec: SomaBrainSpec, fingerprint: str, attempt: int) -> Manifest:
    return render_migration_job(
        plan.owner,
        spec,
        image=plan.image,
        vault_image=vault_image(spec, plan.release),
        fingerprint=fingerprint,
        attempt=attempt,
    )


def _secrets(plan: Plan) -> list[str]:
    return [secret for each in plan.observed.references for secret in each.secrets]


def _with_migration(plan: Plan, record: MigrationStatus | None, result: ConditionResult) -> Plan:
    return replace(plan, migration=record, conditions={**plan.conditions, "Migrated": result})


def _halted(plan: Plan, record: MigrationStatus, result: ConditionResult, *, failed: bool = False) -> Plan:
    return replace(_with_migration(plan, record, result), halted_by=result, failed=failed, transient=failed)
