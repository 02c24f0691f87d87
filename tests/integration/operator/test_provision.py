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
def granted(provisioning: tuple[Api, Operator]) -> Brain:
    """A namespace with an administrator's Secret, and an operator that may provision."""
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
def test_provision_validation_names_field_and_remedy(granted: Brain, spec: Object, message: str) -> None:
    """The API server rejects a contradictory spec with the field and the remedy, and accepts the example."""
    refusal = granted.api.refusal(manifest(spec), granted.namespace)
    assert message in refusal
    assert (refusal == "") == (message == "")


def test_database_of_resource_is_immutable(granted: Brain) -> None:
    """The database's name is fixed at creation, since another database would be empty."""
    granted.provision(database="one")
    for other in ("two", None):
        with pytest.raises(Refused, match="cannot change, because the memories stay in the former database"):
            granted.apply(database={"provision": {"database": other}})


def test_own_database_cannot_change_to_provisioned_one(granted: Brain) -> None:
    """A SomaBrain with its own database cannot change to a provisioned one, which would be empty."""
    granted.api.create(manifest(SPEC), granted.namespace)
    change = {"secretRef": None, "provision": PROVISION}
    with pytest.raises(Refused, match="cannot change from secretRef to provision, which makes an empty database"):
        granted.apply(database=change, migration={"database": None})


def finalizers(brain: Brain) -> list[str]:
    """Return the finalizers of the resource; KeyError if it is deleted."""
    return list(brain.resource()["metadata"].get("finalizers", ()))


def test_finalizer_follows_deletion_policy(granted: Brain) -> None:
    """Only deletionPolicy Delete adds the finalizer, before the Job exists; Retain removes it and no other one."""
    granted.provision(deletionPolicy="Delete")
    granted.job_named("-provision-")
    assert finalizers(granted) == [FINALIZER]
    granted.api.patch("SomaBrain", NAME, granted.namespace, {"metadata": {"finalizers": [OTHERS, FINALIZER]}})
    granted.apply(database={"provision": {"deletionPolicy": "Retain"}})
    eventually(lambda: finalizers(granted), lambda now: now == [OTHERS], "the finalizer is removed")
    granted.api.patch("SomaBrain", NAME, granted.namespace, {"metadata": {"finalizers": []}})


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


def test_failed_drop_keeps_finalizer_until_annotation(granted: Brain) -> None:
    """The condition quotes the Job; the annotation removes the finalizer, and the Secret remains with the database."""
    fail(granted, start_drop(granted), "PostgreSQL cannot be reached as the administrator: no route to host.")
    said = eventually(
        lambda: granted.conditions()["Provisioned"], lambda now: "could not be dropped" in now["message"], "the reason"
    )
    assert "PostgreSQL cannot be reached as the administrator: no route to host." in said["message"]
    assert finalizers(granted) == [FINALIZER]
    granted.annotate(RETAIN_DATABASE, "true")
    wait_until_deleted(granted)
    assert "app-dsn" in granted.api.get("Secret", f"{NAME}-database", granted.namespace)["data"]


def test_namespace_deletion_is_not_blocked_by_failed_drop(granted: Brain, provisioning: tuple[Api, Operator]) -> None:
    """While a drop waits for its next attempt, a dry run's refusal reveals the namespace's deletion; it completes."""
    job = start_drop(granted)
    fail(granted, job, "no route to host")
    eventually(
        lambda: granted.conditions()["Provisioned"], lambda now: "could not be dropped" in now["message"], "the reason"
    )
    granted.api.delete("Namespace", granted.namespace)
    wait_until_deleted(granted)
    released = eventually(
        lambda: [
            each
            for each in provisioning[1].events()
            if each["event"] == "finalizer removed" and each["namespace"] == granted.namespace
        ],
        bool,
        "a line in the log",
    )
    assert released[0]["why"].startswith("Its namespace is being deleted, and no Job can drop its database, which is")


def test_completed_drop_deletes_secret_and_resource(granted: Brain) -> None:
    """Once the Job has succeeded, the Secret and the resource are deleted."""
    job = start_drop(granted)
    assert "ownerReferences" not in job["metadata"]
    ControllerStub(granted).complete(job)
    wait_until_deleted(granted)
    names = [each["metadata"]["name"] for each in granted.api.objects("Secret", granted.namespace)]
    assert names == ["admin"]


def test_retain_policy_has_no_finalizer_and_keeps_secret(granted: Brain) -> None:
    """With the default policy a deletion is immediate, and a new resource of the same name adopts the Secret."""
    granted.provision()
    ControllerStub(granted).complete(granted.job_named("-provision-"))
    granted.until("Provisioned", "True")
    before = granted.api.get("Secret", f"{NAME}-database", granted.namespace)
    assert "ownerReferences" not in before["metadata"]
    granted.api.delete("SomaBrain", NAME, granted.namespace)
    wait_until_deleted(granted)
    granted.collect_garbage()
    granted.provision()
    ControllerStub(granted).complete(granted.job_named("-provision-"))
    granted.until("Provisioned", "True")
    after = granted.api.get("Secret", f"{NAME}-database", granted.namespace)
    assert (after["metadata"]["uid"], after["data"]) == (before["metadata"]["uid"], before["data"])


def test_missing_provision_rights_name_the_chart_value(brain: Brain) -> None:
    """Without provision.enabled nothing is attempted, and the condition names the chart's value."""
    brain.provision()
    said = brain.until("Provisioned", "False", "set provision.enabled to true in the values of its chart")
    assert said["reason"] == "NotAllowed"
