"""A migration gates the Deployment; a failed one changes nothing, is reported, and is retried with a back-off."""

from __future__ import annotations

import time

from somabrain_operator.kube.names import RETRY_MIGRATION
from tests.integration.operator.brains import NAME, Brain, ControllerStub, running
from tests.support.waiting import eventually

OTHER = "registry.example/brain:2"


def test_only_migration_job_has_owner_dsn(brain: Brain, controller_stub: ControllerStub) -> None:
    """The Job alone has the owner's connection string; the servers do not have it."""
    brain.apply()
    job = brain.job()
    assert "owner-dsn" in str(job["spec"])
    assert "app-dsn" not in str(job["spec"])
    controller_stub.finish_migration()
    eventually(brain.deployment, bool, "a Deployment")
    assert "owner-dsn" not in str(brain.deployment()["spec"])


def test_failed_migration_keeps_deployment_and_reports_error(served: Brain, controller_stub: ControllerStub) -> None:
    """Migrated=False and Degraded=True have the Job's last message without the password; Available stays True."""
    before = served.deployment()
    served.apply(image=OTHER)
    controller_stub.fail_migration(
        "division by zero at postgresql://owner:swordfish@pg/s; password swordfish", image=OTHER
    )
    # The pod's end is seen before the Job's: for a moment the migration is stuck.
    assert served.until("Migrated", "False", "division by zero at [redacted]; password [redacted]", reason="Failed")
    assert served.until("Degraded", "True", "division by zero")
    assert served.until("Available", "True")
    assert served.deployment()["spec"] == before["spec"]
    assert "swordfish" not in str(served.resource())
    assert served.job(image=OTHER)["metadata"]["name"] == served.resource()["status"]["migration"]["jobName"]


def test_deployment_image_changes_only_after_migration(served: Brain, controller_stub: ControllerStub) -> None:
    """The Deployment gets the new image only after its migration has succeeded."""
    served.apply(image=OTHER)
    served.until("Migrated", "False", OTHER)
    assert f"server {OTHER}" not in served.containers()
    controller_stub.finish_migration(image=OTHER)
    eventually(served.containers, lambda containers: containers == [f"server {OTHER}"], "the new image")
    assert served.until("Migrated", "True", OTHER)


def test_migration_backoff_is_skipped_by_annotation_not_job_deletion(
    brain: Brain, controller_stub: ControllerStub
) -> None:
    """The second attempt waits ten seconds although the Job was deleted, unless the annotation requests it."""
    brain.apply()
    controller_stub.fail_migration("no such role")
    brain.until("Migrated", "False", "Attempt 1 failed: no such role")
    brain.api.delete("Job", str(brain.job()["metadata"]["name"]), brain.namespace)
    time.sleep(2)
    assert brain.jobs() == []
    brain.annotate(RETRY_MIGRATION, "please")
    brain.job(attempt=2)
    brain.annotate("note", "x")
    time.sleep(1)
    assert len(brain.jobs()) == 1


def test_migration_is_retried_after_backoff(brain: Brain, controller_stub: ControllerStub) -> None:
    """When the back-off is over, another Job is created without a request, and its success counts."""
    brain.apply()
    controller_stub.fail_migration("the database is away")
    brain.until("Migrated", "False", "Attempt 1 failed")
    eventually(brain.jobs, lambda jobs: len(jobs) == 2, "a second Job", timeout_s=60)
    controller_stub.finish_migration(attempt=2)
    brain.until("Migrated", "True")
    status = brain.resource()["status"]["migration"]
    assert (status["attempt"], status.get("lastError"), status.get("nextAttemptAt")) == (2, None, None)


def test_quota_refusal_of_migration_pod_is_reported_until_spec_fits(
    brain: Brain, controller_stub: ControllerStub
) -> None:
    """A quota's refusal, which only an event of the Job has, is in the status; resources that fit replace the Job."""
    brain.apply()
    job = brain.job()
    controller_stub.refuse_pod(job, "is forbidden: failed quota: small: must specify limits.cpu for: migrate")
    stuck = brain.until("Migrated", "False", "failed quota: small: must specify limits.cpu for: migrate")
    assert stuck["reason"] == "Stuck"
    assert brain.until("Degraded", "True", "failed quota: small")
    brain.apply(migration={"resources": {"limits": {"cpu": "1", "memory": "512Mi"}}})
    resources = brain.job(attempt=2)["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "1", "memory": "512Mi"}
    eventually(brain.jobs, lambda jobs: len(jobs) == 1, "the stuck Job is deleted")
    controller_stub.finish_migration(attempt=2)
    brain.until("Migrated", "True")


def test_past_quota_refusal_is_not_reported(brain: Brain, controller_stub: ControllerStub) -> None:
    """Once the quota was raised and the pod exists, the event of its refusal, which stays an hour, does not count."""
    brain.apply()
    job = brain.job()
    name = str(job["metadata"]["name"])
    controller_stub.refuse_pod(job, "is forbidden: exceeded quota: small")
    brain.until("Degraded", "True", "exceeded quota: small")
    pod = controller_stub.pod(f"{name}-x", job["spec"]["template"], {"batch.kubernetes.io/job-name": name})
    controller_stub.pod_status(pod, "Running", [running("migrate")], ready=True)
    assert brain.until("Migrated", "False", "is migrating the database")["reason"] == "Running"
    assert brain.until("Degraded", "False")


def test_job_deadline_is_reported_instead_of_earlier_quota_refusal(
    brain: Brain, controller_stub: ControllerStub
) -> None:
    """After a refusal the Job got a pod and reached its deadline: its error is the deadline, even without the pod."""
    brain.apply()
    job = brain.job()
    controller_stub.refuse_pod(job, "is forbidden: exceeded quota: small")
    brain.until("Migrated", "False", "exceeded quota: small")
    controller_stub.reach_deadline(job)
    failed = brain.until("Migrated", "False", "Attempt 1 failed: Job was active longer than specified deadline")
    assert failed["reason"] == "Failed"


def test_disabled_migration_is_skipped(brain: Brain) -> None:
    """The Deployment is created at once, and the status does not claim a migration."""
    brain.apply(migration={"enabled": False})
    eventually(brain.deployment, bool, "a Deployment")
    assert brain.until("Migrated", "Unknown")["reason"] == "Skipped"
    assert brain.jobs() == []
    assert brain.resource()["metadata"]["name"] == NAME
