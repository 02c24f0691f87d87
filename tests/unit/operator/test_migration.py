"""A migration runs once per fingerprint, gates the Deployment, and is retried with growing back-off when it fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from somabrain_operator.api.v1alpha1.status import MigrationStatus
from somabrain_operator.kube import timestamps
from somabrain_operator.kube.names import RENDERED_HASH, RETRY_MIGRATION, child_id, labels
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.plan.job_attempts import RETRY
from somabrain_operator.plan.migration import parse_migration_status, without_uncreated_job
from tests.unit.operator import samples
from tests.unit.operator.samples import FINGERPRINT, NOW, job, migrated, observed, plan, pod, spec

JOB_NAME = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
QUOTA = 'pods "m" is forbidden: failed quota: small: must specify limits.cpu for: migrate'


def kinds(state: ObservedState) -> list[str]:
    return [str(manifest["kind"]) for manifest in plan(state).apply]


def failed_once(*, due_in_s: float, **more: str) -> dict[str, Any]:
    due = timestamps.iso(NOW + timedelta(seconds=due_in_s))
    return {
        "migration": {
            "hash": FINGERPRINT,
            "attempt": 1,
            "jobName": "quickstart-migrate-x-1",
            "lastError": "no role.",
            "nextAttemptAt": due,
            **more,
        }
    }


def record(state: ObservedState) -> MigrationStatus:
    migration = plan(state).migration
    assert migration is not None
    return migration


def failed_pod(name: str, message: str, job_name: str) -> Any:
    dead: Any = pod(name, component="migrate", ready=False, containers=[samples.terminated(message)], job_name=job_name)
    return {**dead, "status": {**dead["status"], "phase": "Failed"}}


def test_first_attempt_is_recorded_with_its_job() -> None:
    """The status names the Job that was started, so that a restarted operator finds it."""
    started = record(observed())
    assert (started.hash, started.attempt, started.job_name) == (
        FINGERPRINT,
        1,
        f"quickstart-migrate-{FINGERPRINT[:8]}-1",
    )


def test_running_job_blocks_deployment_and_second_job() -> None:
    """While the Job runs, the Deployment does not change and no second Job is created."""
    working = pod("m", component="migrate", job_name=JOB_NAME)
    planned = plan(observed(jobs=[job(ready=1)], pods=[working]))
    assert "Job" not in [each["kind"] for each in planned.apply]
    assert (planned.conditions["Migrated"].reason, planned.failed, planned.requeue_after_s) == ("Running", False, None)


def test_unrecorded_job_is_adopted_by_hash() -> None:
    """A Job that is not in the status is adopted by its hash instead of created twice."""
    assert record(observed(jobs=[job()])).attempt == 1


def test_success_stays_recorded_after_job_ttl() -> None:
    """A success stays recorded after the Job was deleted by its TTL."""
    assert kinds(observed(status=migrated()))[-1] == "Deployment"
    assert record(observed(jobs=[job(state="Complete")])).completed_at is not None


@pytest.mark.parametrize("change", [{"replicas": 3}, {"resources": {}}, {"config": {"logLevel": "debug"}}])
def test_unrelated_change_starts_no_migration(change: dict[str, Any]) -> None:
    """A change of replicas, resources or settings starts no migration."""
    assert "Job" not in kinds(observed(spec(**change), status=migrated()))


def test_new_image_is_migrated_before_deployment_changes() -> None:
    """A new image is migrated for first; until then the Deployment is not in the plan."""
    assert kinds(observed(spec(version="0.3.0"), status=migrated()))[3:] == ["Job"]


def test_changed_owner_dsn_starts_migration() -> None:
    """A changed owner DSN starts a migration, as it may lead to another database."""
    desired = spec()
    database, owner = samples.resolved(desired)
    state = observed(desired, references=(database, replace(owner, digests={"owner-dsn": "other"})), status=migrated())
    assert "Job" in kinds(state)


def test_failed_job_message_is_redacted() -> None:
    """The termination message is in the status, redacted, together with the time of the next attempt."""
    message = f"could not connect with {samples.SECRETS[0]}: password hunter22 refused"
    name = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
    dead = pod("m", component="migrate", ready=False, containers=[samples.terminated(message)], job_name=name)
    state = observed(jobs=[job(state="Failed")], pods=[dead])
    migration = record(state)
    assert migration.last_error == "could not connect with [redacted]: password [redacted] refused"
    assert migration.next_attempt_at == timestamps.iso(NOW + timedelta(seconds=RETRY.initial_s))
    planned = plan(state)
    assert planned.conditions["Migrated"].reason == "Failed"
    assert RETRY_MIGRATION in planned.conditions["Migrated"].message
    assert (planned.failed, planned.requeue_after_s) == (True, RETRY.initial_s)
    assert "Deployment" not in kinds(state)


def test_late_pod_message_replaces_job_message() -> None:
    """The pod's message replaces the Job's, even if the pod is observed after the Job failed."""
    name = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
    first = record(observed(jobs=[job(state="Failed")]))
    assert first.last_error == "Job has reached the specified backoff limit"
    status = {"migration": first.model_dump(by_alias=True, exclude_none=True)}
    later = record(observed(jobs=[job(state="Failed")], pods=[failed_pod("m", "no such role", name)], status=status))
    assert (later.last_error, later.next_attempt_at) == ("no such role", first.next_attempt_at)
    without_pod = {"migration": later.model_dump(by_alias=True, exclude_none=True)}
    assert record(observed(jobs=[job(state="Failed")], status=without_pod)).last_error == "no such role"


def test_failed_attempt_waits_for_backoff() -> None:
    """No Job is created before the back-off is over, even when the failed one was deleted."""
    for jobs in ([job(state="Failed")], []):
        planned = plan(observed(status=failed_once(due_in_s=60), jobs=jobs))
        assert "Job" not in [manifest["kind"] for manifest in planned.apply]
        assert planned.requeue_after_s == 60


def test_next_attempt_starts_after_backoff() -> None:
    """When the back-off is over another Job is created, and the failed one stays for its logs."""
    state = observed(status=failed_once(due_in_s=-1), jobs=[job(state="Failed")])
    assert kinds(state)[-1] == "Job"
    assert (record(state).attempt, plan(state).delete) == (2, ())


def test_backoff_doubles_up_to_cap() -> None:
    """The back-off doubles with each failure, up to ten minutes."""
    assert [RETRY.delay_s(attempt) for attempt in (1, 2, 3, 7, 50)] == [10, 20, 40, 600, 600]


def test_retry_annotation_overrides_backoff_once() -> None:
    """A new value of the annotation overrides the back-off once."""
    annotated = observed(status=failed_once(due_in_s=60), annotations={RETRY_MIGRATION: "now"})
    assert kinds(annotated)[-1] == "Job"
    assert record(annotated).retry_token == "now"
    again = observed(status=failed_once(due_in_s=60, retryToken="now"), annotations={RETRY_MIGRATION: "now"})
    assert "Job" not in kinds(again)


def test_deleted_running_job_counts_as_failed_attempt() -> None:
    """A Job deleted while it ran counts as a failed attempt, so deleting Jobs starts no loop."""
    lost = {"migration": {"hash": FINGERPRINT, "attempt": 1, "jobName": "quickstart-migrate-x-1"}}
    migration = record(observed(status=lost))
    assert migration.last_error == "Job quickstart-migrate-x-1 no longer exists, and its result is unknown."
    assert migration.next_attempt_at == timestamps.iso(NOW + timedelta(seconds=10))


def test_unpullable_image_is_stuck_and_names_field() -> None:
    """A Job whose image cannot be pulled is a failure, and the message names spec.version."""
    name = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
    stuck = pod(
        "m",
        component="migrate",
        ready=False,
        job_name=name,
        containers=[samples.waiting("ImagePullBackOff", name="migrate")],
    )
    planned = plan(observed(spec(version="0.2.0"), jobs=[job()], pods=[stuck]))
    finding = planned.conditions["Migrated"]
    assert (finding.reason, planned.failed) == ("Stuck", True)
    assert "cannot be pulled (ImagePullBackOff); correct spec.version" in finding.message


def test_failed_pod_message_is_redacted() -> None:
    """While the Job has retries left, the status has its pod's message, redacted."""
    name = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
    dead = failed_pod("m", f"could not connect with {samples.SECRETS[0]}", name)
    message = plan(observed(jobs=[job()], pods=[dead])).conditions["Migrated"].message
    assert message.endswith("could not connect with [redacted].")


def test_replacement_pod_clears_failure() -> None:
    """A Job retries by itself: its newest pod counts."""
    name = f"quickstart-migrate-{FINGERPRINT[:8]}-1"
    working: Any = pod("n", component="migrate", ready=True, job_name=name)
    working = {**working, "metadata": {**working["metadata"], "creationTimestamp": timestamps.iso(NOW)}}
    planned = plan(observed(jobs=[job(ready=1)], pods=[working, failed_pod("m", "no role", name)]))
    assert (planned.conditions["Migrated"].reason, planned.failed) == ("Running", False)


def test_unrecorded_attempt_has_its_own_backoff() -> None:
    """A Job created just before the operator died gets its own back-off, not that of the attempt before."""
    state = observed(status=failed_once(due_in_s=-1), jobs=[job(2)], annotations={RETRY_MIGRATION: "now"})
    working = record(state)
    assert (working.attempt, working.next_attempt_at, working.retry_token) == (2, None, "now")
    failed = plan(replace(state, jobs=(job(2, state="Failed"),)))
    assert failed.requeue_after_s == 2 * RETRY.initial_s
    assert "Job" not in [manifest["kind"] for manifest in failed.apply]


def test_rejected_job_is_not_recorded_as_attempt() -> None:
    """A Job that the API server refused is not recorded, and the recorded migration stays."""
    state = observed(spec(version="0.3.0"), status=migrated())
    refused = without_uncreated_job(plan(state), {}, "no Jobs here.")
    assert refused.conditions["Migrated"].message == "The migration could not be started: no Jobs here."
    assert (refused.migration, refused.failed) == (parse_migration_status(migrated()), True)
    planned = plan(state)
    created = {child_id(each): each for each in planned.apply}
    assert without_uncreated_job(planned, created, "no Pods here.") == planned


def test_disabled_migration_is_skipped_with_status_unknown() -> None:
    """With migrations disabled, Migrated is Unknown: the operator cannot tell whether the schema fits."""
    planned = plan(observed(spec(migration={"enabled": False})))
    assert (planned.conditions["Migrated"].status, planned.conditions["Migrated"].reason) == ("Unknown", "Skipped")
    assert (planned.apply[-1]["kind"], planned.migration) == ("Deployment", None)


def test_outdated_jobs_are_deleted_unless_running() -> None:
    """Outdated Jobs are deleted unless they run, as an interrupted index build would stay incomplete."""
    stale, working = job(fingerprint="a" * 16), job(fingerprint="b" * 16, ready=1)
    planned = plan(observed(status=migrated(), jobs=[stale, working]))
    assert [child.name for child in planned.delete] == ["quickstart-migrate-aaaaaaaa-1"]


def test_malformed_migration_status_is_ignored() -> None:
    """An unreadable record counts as absent: migrating again does no harm."""
    assert kinds(observed(status={"migration": {"attempt": "many"}}))[-1] == "Job"


def test_paused_resource_starts_no_migration() -> None:
    """A paused resource starts no migration, and Migrated has the reason Paused."""
    planned = plan(observed(spec(paused=True)))
    assert (planned.apply, planned.conditions["Migrated"].reason) == ((), "Paused")


def rendered_job(state: ObservedState) -> Any:
    """Return the Job that is started for a state, as it is live before it has a pod."""
    started: Any = next(each for each in plan(state).apply if each["kind"] == "Job")
    created = timestamps.iso(NOW - timedelta(seconds=30))
    return {**started, "metadata": {**started["metadata"], "creationTimestamp": created}, "status": {"ready": 0}}


def test_rejected_job_pod_is_stuck_with_quota_message() -> None:
    """A quota that refuses the Job's pod is quoted, and Degraded follows; the Job is observed again soon."""
    state = observed(jobs=[job()], pod_refusals={JOB_NAME: QUOTA})
    planned, conditions = plan(state), samples.conditions(state)
    assert (planned.conditions["Migrated"].reason, planned.failed) == ("Stuck", True)
    assert QUOTA in planned.conditions["Migrated"].message
    assert "spec.migration.resources" in planned.conditions["Migrated"].message
    assert (conditions["Degraded"]["status"], conditions["Degraded"]["reason"]) == ("True", "Stuck")
    assert conditions["Progressing"]["status"] == "False"
    assert planned.requeue_after_s == 10


def test_job_without_pod_is_requeued() -> None:
    """Nothing that is watched changes when a pod is refused, so a Job without a pod is observed every ten seconds."""
    planned = plan(observed(jobs=[job()]))
    assert (planned.conditions["Migrated"].reason, planned.requeue_after_s) == ("Running", 10)


def test_job_without_pod_is_stuck_after_a_minute() -> None:
    """After a minute without a pod the Job is stuck: events may be lost. A Job that had a pod is not."""
    late = NOW + timedelta(minutes=29)
    finding = plan(observed(jobs=[job()], now=late)).conditions["Migrated"]
    assert (finding.reason, "has had no pod for more than 60 s" in finding.message) == ("Stuck", True)
    had_pod: Any = {**job(), "status": {"failed": 1}}
    assert plan(observed(jobs=[had_pod], now=late)).conditions["Migrated"].reason == "Running"


def test_last_error_of_job_without_pod_is_the_rejection() -> None:
    """The error of a Job that reached its deadline without a pod is the refusal, not the deadline."""
    refused = record(observed(jobs=[job(state="Failed")], pod_refusals={JOB_NAME: QUOTA}))
    assert refused.last_error == f"its pod could not be created: {QUOTA}"


def test_last_error_of_job_with_pod_is_not_an_old_rejection() -> None:
    """The error of a Job whose pod ran is not an old refusal, even if the pod and its message no longer exist."""
    finished: Any = job(state="Failed")
    ran = {**finished, "status": {**finished["status"], "failed": 1}}
    failed = record(observed(jobs=[ran], pod_refusals={JOB_NAME: QUOTA}))
    assert failed.last_error == "Job has reached the specified backoff limit"


@pytest.mark.parametrize("owners", [[], [{"uid": "another", "controller": True}]])
@pytest.mark.parametrize("state", [None, "Complete", "Failed"])
def test_orphaned_job_of_earlier_resource_is_not_adopted(state: str | None, owners: list[Any]) -> None:
    """The migration runs once more, under a name that is free, though with Vault an orphaned Job has the same hash."""
    left: list[Any] = [job(1, state=state), job(2, state=state)]
    for each in left:
        each["metadata"] |= {
            "ownerReferences": owners,
            "labels": labels("quickstart", "migrate"),
            "annotations": each["metadata"]["annotations"] | {RENDERED_HASH: "x"},
        }
    started = plan(observed(jobs=left))
    assert started.conditions["Migrated"].reason == "Running"
    assert [child_id(each).name for each in started.apply if each["kind"] == "Job"] == [f"{JOB_NAME[:-1]}3"]
    assert record(observed(jobs=[*left, job(3)])).attempt == 3


def test_stuck_job_is_replaced_after_resources_change() -> None:
    """Resources that a quota requires reach a Job that is already stuck: it is deleted and started again."""
    stuck = rendered_job(observed())
    unchanged = observed(jobs=[stuck], pod_refusals={JOB_NAME: QUOTA})
    assert ("Job" in kinds(unchanged), plan(unchanged).delete) == (False, ())
    limited = spec(migration={**samples.MINIMAL["migration"], "resources": {"limits": {"cpu": "1"}}})
    planned = plan(observed(limited, jobs=[stuck], pod_refusals={JOB_NAME: QUOTA}))
    started: Any = planned.apply[-1]
    assert started["metadata"]["name"].endswith("-2")
    assert started["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1"}
    assert [each.name for each in planned.delete] == [JOB_NAME]
    paused = spec(paused=True, migration=limited.migration.model_dump(by_alias=True, exclude_none=True))
    assert plan(observed(paused, jobs=[stuck], pod_refusals={JOB_NAME: QUOTA})).conditions["Migrated"].reason == "Stuck"


def test_running_job_is_not_replaced_after_resources_change() -> None:
    """A change of resources leaves a Job alone that is not stuck."""
    limited = spec(migration={**samples.MINIMAL["migration"], "resources": {"limits": {"cpu": "1"}}})
    state = observed(limited, jobs=[rendered_job(observed())])
    assert (plan(state).conditions["Migrated"].reason, "Job" in kinds(state)) == ("Running", False)


def test_retry_annotation_replaces_stuck_job() -> None:
    """The annotation that requests a retry also replaces a stuck Job, once."""
    stuck = rendered_job(observed())
    recorded = {"migration": {"hash": FINGERPRINT, "attempt": 1, "jobName": JOB_NAME}}
    requested = observed(
        jobs=[stuck], status=recorded, pod_refusals={JOB_NAME: QUOTA}, annotations={RETRY_MIGRATION: "now"}
    )
    assert (record(requested).attempt, [each.name for each in plan(requested).delete]) == (2, [JOB_NAME])
