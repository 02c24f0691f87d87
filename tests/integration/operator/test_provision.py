"""Databases that the operator provisions, on a real API server: validation, finalizer, deletion."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.loopback import api_server
from somabrain_operator.kube.names import FINALIZER, RETAIN_DATABASE
from tests.integration.operator.api import Api, Object, Refused, api_of
from tests.integration.operator.brains import NAME, SPEC, Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, wait_for_kind
from tests.integration.operator.process import Operator, operator
from tests.support.waiting import eventually

EXAMPLE: Object = yaml.safe_load(Path("examples/provision.yaml").read_text(encoding="utf-8"))["spec"]
PROVISION: Object = {"adminSecretRef": {"name": "admin"}}
ADMIN = "postgresql://root:an-administrator-s@pg.db.svc:5432/"
OTHERS = "example.com/theirs"


@pytest.fixture(scope="module")
def provisioning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Operator]]:
    """An API server with the chart's rights for provisioning, and an operator that uses them."""
    with api_server() as server, api_of(server) as verbs:
        verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        for manifest in rendered("provision.enabled=true"):
            verbs.create(manifest, namespace_of(manifest))
        wait_for_kind(verbs)
        folder = tmp_path_factory.mktemp("provisioning")
        with operator(account_of(verbs, folder), folder / "log", SOMABRAIN_OPERATOR__PROVISION="true") as started:
            started.wait_until_started()
            yield verbs, started


@pytest.fixture
def brain(provisioning: tuple[Api, Operator]) -> Brain:
    """A namespace with an administrator's Secret."""
    verbs, _ = provisioning
    name = f"p-{uuid.uuid4().hex[:8]}"
    verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    verbs.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name)
    brain = Brain(verbs, name)
    brain.secret("admin", uri=ADMIN)
    return brain


def manifest(spec: Object) -> Object:
    return {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "metadata": {"name": NAME}, "spec": spec}


VAULT: Object = {
    "address": "https://vault:8200",
    "role": "r",
    "secrets": [{"path": "p", "key": "k", "file": "SOMABRAIN_OWNER_DSN"}],
}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EXAMPLE, ""),
        ({"database": {}}, "spec.database: set either secretRef"),
        ({"database": {"secretRef": {"name": "s"}, "provision": PROVISION}}, "spec.database: set either secretRef"),
        ({**SPEC, "database": {"provision": PROVISION}}, "which makes the owner too; remove it"),
        ({"database": {"provision": PROVISION}, "vault": VAULT}, "which makes the owner too; remove it"),
        ({"database": {"provision": PROVISION}, "migration": {"enabled": False}}, ""),
        ({"database": {"provision": {**PROVISION, "database": "Has Space"}}}, "should match"),
        ({"database": {"provision": {**PROVISION, "database": "a" * 46}}}, "may not be more than 45"),
        ({"database": {"provision": {**PROVISION, "deletionPolicy": "Maybe"}}}, "Unsupported value"),
    ],
)
def test_provision_validation_names_field_and_remedy(brain: Brain, spec: Object, message: str) -> None:
    """The API server rejects a contradictory spec with the field and the remedy, and accepts the example."""
    refusal = brain.api.refusal(manifest(spec), brain.namespace)
    assert message in refusal
    assert (refusal == "") == (message == "")


def test_database_of_resource_is_immutable(brain: Brain) -> None:
    """The database's name is fixed at creation, since another database would be empty."""
    brain.provision(database="one")
    for other in ("two", None):
        with pytest.raises(Refused, match="cannot change, because the memories stay in the former database"):
            brain.apply(database={"provision": {"database": other}})


def test_own_database_cannot_change_to_provisioned_one(brain: Brain) -> None:
    """A SomaBrain with its own database cannot change to a provisioned one, which would be empty."""
    brain.api.create(manifest(SPEC), brain.namespace)
    change = {"secretRef": None, "provision": PROVISION}
    with pytest.raises(Refused, match="cannot change from secretRef to provision, which makes an empty database"):
        brain.apply(database=change, migration={"database": None})


def finalizers(brain: Brain) -> list[str]:
    """Return the finalizers of the resource; KeyError if it is deleted."""
    return list(brain.resource()["metadata"].get("finalizers", ()))


def test_finalizer_follows_deletion_policy(brain: Brain) -> None:
    """Only deletionPolicy Delete adds the finalizer, before the Job exists; Retain removes it and no other one."""
    brain.provision(deletionPolicy="Delete")
    brain.job_named("-provision-")
    assert finalizers(brain) == [FINALIZER]
    brain.api.patch("SomaBrain", NAME, brain.namespace, {"metadata": {"finalizers": [OTHERS, FINALIZER]}})
    brain.apply(database={"provision": {"deletionPolicy": "Retain"}})
    eventually(lambda: finalizers(brain), lambda now: now == [OTHERS], "the finalizer is removed")
    brain.api.patch("SomaBrain", NAME, brain.namespace, {"metadata": {"finalizers": []}})


def start_drop(brain: Brain) -> Object:
    """Have a database provisioned, delete the resource, and return the Job that drops the database."""
    brain.provision(deletionPolicy="Delete")
    ControllerStub(brain).complete(brain.job_named("-provision-"))
    brain.until("Provisioned", "True")
    brain.api.delete("SomaBrain", NAME, brain.namespace)
    eventually(lambda: [job for job in brain.jobs() if "--drop" in str(job)], bool, "a Job that drops")
    return next(job for job in brain.jobs() if "--drop" in str(job))


def wait_until_deleted(brain: Brain, timeout_s: float = 45.0) -> None:
    eventually(lambda: brain.api.objects("SomaBrain", brain.namespace), lambda left: left == [], "gone", timeout_s)


def fail(brain: Brain, job: Object, message: str) -> None:
    """As the kubelet and the Job controller: the Job's pod ended with a message."""
    stub, name = ControllerStub(brain), str(job["metadata"]["name"])
    pod = stub.pod(f"{name}-x", job["spec"]["template"], {"batch.kubernetes.io/job-name": name})
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "message": message,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:01Z",
    }
    status: dict[str, Any] = {"name": "provision", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    stub.pod_status(pod, "Failed", [{**status, "state": {"terminated": ended}}])
    stub.reach_deadline(job)


def test_failed_drop_keeps_finalizer_until_annotation(brain: Brain) -> None:
    """The condition quotes the Job; the annotation removes the finalizer, and the Secret remains with the database."""
    fail(brain, start_drop(brain), "PostgreSQL cannot be reached as the administrator: no route to host.")
    said = eventually(
        lambda: brain.conditions()["Provisioned"], lambda now: "could not be dropped" in now["message"], "the reason"
    )
    assert "PostgreSQL cannot be reached as the administrator: no route to host." in said["message"]
    assert finalizers(brain) == [FINALIZER]
    brain.annotate(RETAIN_DATABASE, "true")
    wait_until_deleted(brain)
    assert "app-dsn" in brain.api.get("Secret", f"{NAME}-database", brain.namespace)["data"]


def test_namespace_deletion_is_not_blocked_by_failed_drop(brain: Brain, provisioning: tuple[Api, Operator]) -> None:
    """While a drop waits for its next attempt, a dry run's refusal reveals the namespace's deletion; it completes."""
    job = start_drop(brain)
    fail(brain, job, "no route to host")
    eventually(
        lambda: brain.conditions()["Provisioned"], lambda now: "could not be dropped" in now["message"], "the reason"
    )
    brain.api.delete("Namespace", brain.namespace)
    wait_until_deleted(brain)
    released = eventually(
        lambda: [
            each
            for each in provisioning[1].events()
            if each["event"] == "finalizer removed" and each["namespace"] == brain.namespace
        ],
        bool,
        "a line in the log",
    )
    assert released[0]["why"].startswith("Its namespace is being deleted, and no Job can drop its database, which is")


def test_completed_drop_deletes_secret_and_resource(brain: Brain) -> None:
    """Once the Job has succeeded, the Secret and the resource are deleted."""
    job = start_drop(brain)
    assert "ownerReferences" not in job["metadata"]
    ControllerStub(brain).complete(job)
    wait_until_deleted(brain)
    names = [each["metadata"]["name"] for each in brain.api.objects("Secret", brain.namespace)]
    assert names == ["admin"]


def test_retain_policy_has_no_finalizer_and_keeps_secret(brain: Brain) -> None:
    """With the default policy a deletion is immediate, and a new resource of the same name adopts the Secret."""
    brain.provision()
    ControllerStub(brain).complete(brain.job_named("-provision-"))
    brain.until("Provisioned", "True")
    before = brain.api.get("Secret", f"{NAME}-database", brain.namespace)
    assert "ownerReferences" not in before["metadata"]
    brain.api.delete("SomaBrain", NAME, brain.namespace)
    wait_until_deleted(brain)
    brain.collect_garbage()
    brain.provision()
    ControllerStub(brain).complete(brain.job_named("-provision-"))
    brain.until("Provisioned", "True")
    after = brain.api.get("Secret", f"{NAME}-database", brain.namespace)
    assert (after["metadata"]["uid"], after["data"]) == (before["metadata"]["uid"], before["data"])


def test_missing_provision_rights_name_the_chart_value(brain: Brain) -> None:
    """Without provision.enabled nothing is attempted, and the condition names the chart's value."""
    brain.provision()
    said = brain.until("Provisioned", "False", "set provision.enabled to true in the values of its chart")
    assert said["reason"] == "NotAllowed"
