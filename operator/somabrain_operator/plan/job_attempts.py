"""Attempts of a Job that must succeed once for its fingerprint: started, waited for, retried with growing back-off.

The attempts are stored in the status, so the back-off survives a restart of the operator and a deleted Job. A Job is
created for one attempt and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from common.aio.backoff import Backoff
from somabrain_operator.api.v1alpha1.status import MigrationStatus
from somabrain_operator.kube import timestamps
from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.kube.objects import Manifest, condition, number, text
from somabrain_operator.kube.owner import belongs_to, is_owned_by
from somabrain_operator.observe.pod_status import failure_reason, is_terminated, of_job, termination_message
from somabrain_operator.observe.redact import redact
from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.render.metadata import rendered_hash
from somabrain_operator.render.vault import VAULT

RETRY: Final = Backoff(initial_s=10, cap_s=600)
POD_CHECK_INTERVAL_S: Final = 10.0
"""Interval at which a Job without a pod is observed again: that its pod is refused changes nothing that is watched."""
POD_CREATION_DEADLINE_S: Final = 60.0
"""Age of a Job at which a pod that was never created is a failure, even if no event gives the reason."""


@dataclass(frozen=True, slots=True)
class Task:
    """A Job that must succeed, and how the status describes it."""

    container: str
    """Name of its container."""
    annotation: str
    """Annotation of its Jobs with the fingerprint."""
    fingerprint: str
    record: MigrationStatus
    """Record in the status of the attempts for this fingerprint, or a new one."""
    retry_annotation: str
    """Annotation of the SomaBrain with which a person retries."""
    retry_token: str | None
    """A value other than the recorded one requests an immediate attempt."""
    activity: str
    """Activity of a running Job, such as `is migrating the database for IMAGE`."""
    subject: str
    """Sentence about a resource that is paused, without its end, such as `The migration has not run`."""
    resources: str
    """Fields of the spec that a quota may refuse."""
    succeeded: str
    """Sentence about the success."""
    job_name: Callable[[int], str]
    """Returns the name of an attempt's Job."""
    render: Callable[[int], Manifest]
    """Returns an attempt's Job."""
    store: Callable[[Plan, MigrationStatus, ConditionResult], Plan]
    """Returns the plan with record and condition."""
    owned: bool = True
    """False: the Job outlives the SomaBrain, and has no owner."""


def run_job(plan: Plan, task: Task) -> Plan:
    """Return the plan, passed if an attempt has succeeded, else halted, with the Job to create if one is due."""
    record = task.record
    job = _latest_job(plan, task, record)
    if job is not None:
        record = _with_job(task, record, job)
    if record.completed_at is not None:
        return _succeeded(plan, task, record)
    if job is not None and condition(job, "Complete").get("status") == "True":
        completed_at = text(job, "status", "completionTime") or timestamps.iso(plan.observed.now)
        return _succeeded(plan, task, _without_error(record, completed_at=completed_at))
    if job is not None and condition(job, "Failed").get("status") == "True":
        return _retry_or_wait(plan, task, _with_failure(plan, task, record, job))
    if job is not None:
        return _running(plan, task, record, job)
    if record.attempt and record.next_attempt_at is None:
        error = f"Job {record.job_name} no longer exists, and its result is unknown."
        return _retry_or_wait(plan, task, _schedule_retry(record, error, plan.observed.now))
    if record.attempt:
        return _retry_or_wait(plan, task, record)
    return _start(plan, task, record)


def attempt_name(name: str, fingerprint: str, attempt: int) -> str:
    """Return the name of an attempt's Job."""
    return f"{name}-{fingerprint[:8]}-{attempt}"


def _latest_job(plan: Plan, task: Task, record: MigrationStatus) -> Manifest | None:
    """Return the Job of this resource's last attempt, or None if it does not exist.

    A Job that an earlier resource left does not count: with Vault its hash is the same, and the database may not be.
    """
    attempts = [
        job
        for job in plan.observed.jobs
        if _job_fingerprint(task, job) == task.fingerprint and (is_owned_by(job, plan.owner) or not task.owned)
    ]
    latest = max(attempts, key=_attempt, default=None)
    return latest if latest is not None and _attempt(latest) >= (record.attempt or 0) else None


def _with_job(task: Task, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record of the Job's attempt: the status may lack it if the operator was killed in between."""
    if _attempt(job) > (record.attempt or 0):
        record = _new_attempt(task, record)
    return record.model_copy(
        update={
            "job_name": text(job, "metadata", "name"),
            "attempt": _attempt(job),
            "started_at": text(job, "metadata", "creationTimestamp") or record.started_at,
        }
    )


def _new_attempt(task: Task, record: MigrationStatus) -> MigrationStatus:
    """Return the record without the result of the attempt before, except its error."""
    return record.model_copy(
        update={
            "started_at": None,
            "completed_at": None,
            "next_attempt_at": None,
            "retry_token": task.retry_token,
        }
    )


def _job_fingerprint(task: Task, job: Manifest) -> str:
    return text(job, "metadata", "annotations", task.annotation)


def _attempt(job: Manifest) -> int:
    last = text(job, "metadata", "name").rsplit("-", 1)[-1]
    return int(last) if last.isdecimal() else 0


def _without_error(record: MigrationStatus, **update: str) -> MigrationStatus:
    """Return the updated record without the error and the time of the next attempt."""
    return record.model_copy(update={"last_error": None, "next_attempt_at": None, **update})


def _succeeded(plan: Plan, task: Task, record: MigrationStatus) -> Plan:
    stale = tuple(_stale_jobs(plan, task, current=record.job_name))
    result = ConditionResult("True", "Succeeded", task.succeeded)
    return task.store(replace(plan, delete=plan.delete + stale), record, result)


def _stale_jobs(plan: Plan, task: Task, current: str | None) -> Iterator[ChildId]:
    """Yield other Jobs, which are obsolete, except running ones: an interrupted index build would stay invalid."""
    for job in plan.observed.jobs:
        is_running = number(job, "status", "ready") > 0
        is_other = bool(_job_fingerprint(task, job)) and text(job, "metadata", "name") != current
        if is_other and belongs_to(job, plan.owner) and not is_running:
            yield child_id(job)


def _running(plan: Plan, task: Task, record: MigrationStatus, job: Manifest) -> Plan:
    """Wait for the Job, or replace it if it is stuck and the spec has changed or a retry is requested."""
    name = text(job, "metadata", "name")
    has_live_pod = any(not is_terminated(pod) for pod in of_job(plan.observed.pods, name))
    interval_s = None if has_live_pod else POD_CHECK_INTERVAL_S
    failure = _stuck_reason(plan, task, job)
    if not failure:
        result = ConditionResult("False", "Running", f"Job {name} {task.activity}.")
        return replace(_halted(plan, task, record, result), requeue_after_s=interval_s)
    if not plan.paused and number(job, "status", "ready") == 0 and _is_superseded(task, record, job):
        return _start(replace(plan, delete=(*plan.delete, child_id(job))), task, record)
    result = ConditionResult("False", "Stuck", f"Job {name} {redact(failure, _secrets(plan))}")
    return replace(_halted(plan, task, record, result, failed=True), requeue_after_s=interval_s)


def _stuck_reason(plan: Plan, task: Task, job: Manifest) -> str:
    """Return why the Job makes no progress, as the rest of a sentence that begins with its name, or an empty string."""
    name = text(job, "metadata", "name")
    if refusal := plan.observed.pod_refusals.get(name):
        return (
            f"cannot create its pod: {refusal.rstrip('.')}. Correct what refuses it: a quota, a limit range or an "
            f"admission policy of the namespace, or {task.resources}."
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


def _is_superseded(task: Task, record: MigrationStatus, job: Manifest) -> bool:
    """Return whether the spec now leads to another Job than this one, or a retry is requested."""
    current = rendered_hash(task.render(record.attempt or 1))
    return _retry_requested(task, record) or rendered_hash(job) not in ("", current)


def _retry_requested(task: Task, record: MigrationStatus) -> bool:
    return task.retry_token is not None and task.retry_token != record.retry_token


def _with_failure(plan: Plan, task: Task, record: MigrationStatus, job: Manifest) -> MigrationStatus:
    """Return the record with the Job's error and the time of the next attempt.

    The time is set once. The error may arrive later, as the event of a pod may come after that of its Job, and stays
    when the pod is deleted.
    """
    name = text(job, "metadata", "name")
    pods = of_job(plan.observed.pods, name)
    messages = [message for pod in pods if (message := termination_message(pod, VAULT, task.container))]
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


def _retry_or_wait(plan: Plan, task: Task, record: MigrationStatus) -> Plan:
    """Wait for the next attempt, or start it if it is due or requested."""
    due = timestamps.parse(record.next_attempt_at or "") or plan.observed.now
    remaining_s = (due - plan.observed.now).total_seconds()
    if _retry_requested(task, record) or remaining_s <= 0:
        return _start(plan, task, record)
    message = (
        f"Attempt {record.attempt} failed: {record.last_error} The next attempt starts at {record.next_attempt_at}; "
        f"to retry now: kubectl annotate sb {plan.owner.key.name} {task.retry_annotation}=$(date +%s) --overwrite"
    )
    result = ConditionResult("False", "Failed", message)
    return replace(_halted(plan, task, record, result, failed=True), requeue_after_s=remaining_s)


def _start(plan: Plan, task: Task, record: MigrationStatus) -> Plan:
    attempt = _next_attempt(plan, task, record)
    if plan.paused:
        result = ConditionResult("False", "Paused", f"{task.subject}, because spec.paused is true.")
        return _halted(plan, task, record, result)
    name = task.job_name(attempt)
    started = _new_attempt(task, record).model_copy(
        update={"job_name": name, "attempt": attempt, "started_at": timestamps.iso(plan.observed.now)}
    )
    result = ConditionResult("False", "Running", f"Job {name} {task.activity}.")
    stale = tuple(_stale_jobs(plan, task, current=record.job_name))
    job = task.render(attempt)
    return _halted(replace(plan, apply=(*plan.apply, job), delete=plan.delete + stale), task, started, result)


def _next_attempt(plan: Plan, task: Task, record: MigrationStatus) -> int:
    """Return the first number past the last attempt whose name is free: an earlier resource may have left Jobs."""
    taken = {text(job, "metadata", "name") for job in plan.observed.jobs}
    numbers = count((record.attempt or 0) + 1)
    return next(each for each in numbers if task.job_name(each) not in taken)


def _secrets(plan: Plan) -> list[str]:
    return [secret for each in plan.observed.references for secret in each.secrets]


def _halted(plan: Plan, task: Task, record: MigrationStatus, result: ConditionResult, *, failed: bool = False) -> Plan:
    return replace(task.store(plan, record, result), halted_by=result, failed=failed, transient=failed)
