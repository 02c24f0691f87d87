"""While something is wrong the status names it, with field and remedy, and other resources are reconciled."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from somabrain_operator.kube.names import RENDERED_HASH, labels
from tests.integration.operator.api import KINDS, Object
from tests.integration.operator.brains import NAME, POD_ADDRESS, Brain, ControllerStub, running, waiting
from tests.support.waiting import eventually

METADATA_NAME = "kubernetes.io/metadata.name"


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": 1}]}}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "x"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}},
}


def refuse(brain: Brain, group: str, resources: str, example: Object) -> str:
    """Let an admission policy refuse to create something in the resource's namespace; return its name."""
    name = f"no-{resources}-{brain.namespace}"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resources], "operations": ["CREATE"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": f"no {resources} here"}],
        },
    }
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {METADATA_NAME: brain.namespace}}},
    }
    brain.api.create(policy)
    brain.api.create(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": binding,
        }
    )
    until_refused(brain, example, f"no {resources} here")
    return name


def until_refused(brain: Brain, example: Object, message: str) -> None:
    """Wait until the API server refuses the example: it learns of new policies by a watch."""
    eventually(
        lambda: brain.api.refusal(example, brain.namespace),
        lambda answer: message in answer,
        f"{message!r} is answered",
    )


@contextmanager
def unready_pod(body: str) -> Iterator[None]:
    """Answer /ready with 503 and a body, at the address of a pod."""

    class Unready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/ready" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer((POD_ADDRESS, 8080), Unready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_unready_pod_condition_quotes_readiness_response(served: Brain, controller_stub: ControllerStub) -> None:
    """The status quotes the pod's readiness response, which the operator requests: the kubelet does not report it."""
    pod = served.api.get("Pod", "server-0", served.namespace)
    with unready_pod('{"ready": false, "reason": "PostgreSQL cannot be reached: connection refused."}'):
        controller_stub.pod_status(pod, "Running", [running()], address=POD_ADDRESS)
        controller_stub.roll_out(ready=0)
        condition = served.until("Available", "False", "PostgreSQL cannot be reached: connection refused.")
    assert condition["message"] == "No pod serves. Pod server-0: PostgreSQL cannot be reached: connection refused."
    assert served.until("Degraded", "True")
    assert served.until("Ready", "False")
    controller_stub.pod_status(pod, "Running", [running()], ready=True, address=POD_ADDRESS)
    controller_stub.roll_out()
    assert served.until("Ready", "True")
    assert served.until("Degraded", "False")


def test_unreachable_pod_condition_quotes_kubelet_warning(served: Brain, controller_stub: ControllerStub) -> None:
    """For a pod that cannot be reached, the status quotes the kubelet's latest warning about its probe."""
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "unhealthy"},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "involvedObject": {"kind": "Pod", "name": "server-0", "namespace": served.namespace},
    }
    served.api.create(event, served.namespace)
    pod = served.api.get("Pod", "server-0", served.namespace)
    controller_stub.pod_status(pod, "Running", [running()], address="127.0.0.58")
    controller_stub.roll_out(ready=0)
    served.until("Available", "False", "Pod server-0: Readiness probe failed")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "registry.example/brain:nope"}, "correct spec.image"),
        ({"version": "9.9.9"}, "correct spec.version"),
        ({}, "correct spec.image: it is not set"),
    ],
)
def test_image_pull_failure_names_the_field(
    brain: Brain, controller_stub: ControllerStub, fields: dict[str, str], message: str
) -> None:
    """An image that cannot be pulled is named with its field as soon as the migration's pod lacks it."""
    brain.apply(**fields)
    job = brain.job()
    name = str(job["metadata"]["name"])
    pod = controller_stub.pod(f"{name}-x", job["spec"]["template"], {"batch.kubernetes.io/job-name": name})
    controller_stub.pod_status(pod, "Pending", [waiting("ImagePullBackOff", "not found", "migrate")])
    assert brain.until("Ready", "False", message)["reason"] == "Stuck"
    assert brain.until("Degraded", "True", "cannot be pulled (ImagePullBackOff)")


def test_missing_secret_is_reported_until_complete(brain: Brain, controller_stub: ControllerStub) -> None:
    """A missing Secret is named with field, namespace and keys until it is complete; then the migration starts."""
    brain.api.delete("Secret", "somabrain-database", brain.namespace)
    brain.apply()
    condition = brain.until(
        "ReferencesResolved", "False", "Secret somabrain-database, named by spec.database.secretRef.name"
    )
    assert f"is not in namespace {brain.namespace}; create it with app-dsn, worker-dsn" in condition["message"]
    assert brain.until("Ready", "False", "somabrain-database")
    assert brain.jobs() == []
    brain.secret("somabrain-database", note="no key that is used")
    brain.until("ReferencesResolved", "False", "lacks app-dsn, worker-dsn or has it empty; add it.", timeout_s=10)
    brain.rotate("somabrain-database", **{"app-dsn": "postgresql://a@pg/s", "worker-dsn": "postgresql://w@pg/s"})
    brain.until("ReferencesResolved", "True")
    brain.job()


def test_deleted_secret_does_not_disturb_running_pods(served: Brain) -> None:
    """Deleting a Secret leaves the running pods alone, and the status says that the Secret is missing."""
    before = served.deployment()["spec"]
    served.api.delete("Secret", "somabrain-database", served.namespace)
    served.until("ReferencesResolved", "False", "somabrain-database")
    assert served.until("Available", "True")
    assert served.deployment()["spec"] == before


def test_invalid_resource_does_not_block_others(brain: Brain, controller_stub: ControllerStub) -> None:
    """A valid resource becomes Ready beside an invalid one."""
    wrong = {
        "apiVersion": "somabrain.io/v1alpha1",
        "kind": "SomaBrain",
        "metadata": {"name": "wrong"},
        "spec": {"database": {"secretRef": {"name": "none"}}, "migration": {"enabled": False}},
    }
    brain.api.create(wrong, brain.namespace)
    brain.apply()
    controller_stub.serve()


def test_request_above_limit_is_reported(brain: Brain) -> None:
    """The operator names a request above its limit, since the schema cannot compare them."""
    brain.apply(resources={"requests": {"cpu": 2}, "limits": {"cpu": "500m"}})
    brain.until("ConfigValid", "False", "spec.resources.requests.cpu (2) is more than spec.resources.limits.cpu (500m)")


def test_api_server_rejection_is_in_the_status(brain: Brain) -> None:
    """When the API server refuses an object, for example by an admission policy, its message is in the status."""
    refuse(brain, "", "services", SERVICE)
    brain.apply()
    brain.until("Degraded", "True", "no services here")
    assert brain.until("Ready", "False")["reason"] == "ApplyRefused"


def test_rejected_job_does_not_count_as_attempt(brain: Brain, controller_stub: ControllerStub) -> None:
    """A refused Job is not counted as an attempt; once the Job is allowed, it is the first attempt."""
    name = refuse(brain, "batch", "jobs", JOB)
    brain.apply()
    brain.until("Migrated", "False", "could not be started")
    assert "migration" not in brain.resource()["status"]
    assert brain.until("Progressing", "False")
    brain.api.client.delete(KINDS["ValidatingAdmissionPolicyBinding"], name)
    controller_stub.finish_migration()
    brain.until("Migrated", "True")
    assert brain.resource()["status"]["migration"]["attempt"] == 1


def test_admission_webhook_failure_is_in_the_status(brain: Brain) -> None:
    """The failure of an admission webhook, for which the API server answers with 500, is in the status."""
    webhook = {
        "name": "down.example.com",
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": {"matchLabels": {METADATA_NAME: brain.namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE"]}],
    }
    brain.api.create(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": f"down-{brain.namespace}"},
            "webhooks": [webhook],
        }
    )
    until_refused(brain, SERVICE, "failed calling webhook")
    brain.apply()
    brain.until("Degraded", "True", "failed calling webhook")
    assert brain.until("Ready", "False")["reason"] == "ApplyRefused"


def test_foreign_service_with_same_name_is_not_adopted(brain: Brain) -> None:
    """A Service that does not belong to the resource is left unchanged, and the status names it.

    Nothing is created beside it. Once it is deleted the resource continues without intervention.
    """
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{NAME}-grpc"},
        "spec": {"ports": [{"port": 1}]},
    }
    brain.api.create(theirs, brain.namespace)
    brain.apply()
    brain.until("Degraded", "True", f"Service {NAME}-grpc exists and does not belong to this resource; delete it")
    assert brain.child("Service", "grpc")["spec"]["ports"][0]["port"] == 1
    accounts = [each["metadata"]["name"] for each in brain.api.objects("ServiceAccount", brain.namespace)]
    assert f"{NAME}-server" not in accounts
    brain.api.delete("Service", f"{NAME}-grpc", brain.namespace)
    brain.until("Migrated", "False", "is migrating the database", timeout_s=15)


def test_recreated_resource_waits_for_deletion_of_old_children(served: Brain) -> None:
    """A re-created resource waits until the children of the first are deleted, and then gets its own."""
    served.api.delete("SomaBrain", NAME, served.namespace)
    served.apply()
    served.until("Ready", "False", "belongs to an earlier resource of this name and is deleted with it")
    uid = served.resource()["metadata"]["uid"]
    first = {
        "Deployment": ["server"],
        "ConfigMap": ["config", "policy"],
        "Service": ["grpc", "headless"],
        "ServiceAccount": ["server"],
    }
    for kind, components in first.items():
        for component in components:
            served.api.delete(kind, f"{NAME}-{component}", served.namespace)
    served.until("Migrated", "False", "is migrating the database")
    assert served.child("Service", "grpc")["metadata"]["ownerReferences"][0]["uid"] == uid


def test_recreated_resource_adopts_orphaned_children(served: Brain, controller_stub: ControllerStub) -> None:
    """After `kubectl delete --cascade=orphan` a re-created resource adopts the children without an outage.

    The Deployment is unchanged until the migration has run again.
    """
    before = served.deployment()
    served.api.delete("SomaBrain", NAME, served.namespace)
    for kind in ("ConfigMap", "Deployment", "Job", "Service", "ServiceAccount"):  # as the garbage collector does
        for each in served.api.objects(kind, served.namespace):
            if each["metadata"].get("ownerReferences"):
                orphaning = {"metadata": {"ownerReferences": None}}
                served.api.patch(kind, str(each["metadata"]["name"]), served.namespace, orphaning)
    served.apply()
    uid = served.resource()["metadata"]["uid"]
    served.until("Migrated", "False", "is migrating the database")
    assert served.until("Available", "True")
    waiting = served.deployment()
    assert (waiting["spec"], waiting["metadata"].get("ownerReferences")) == (before["spec"], None)
    controller_stub.complete(next(each for each in served.jobs() if each["metadata"].get("ownerReferences")))
    served.until("Migrated", "True")
    controller_stub.roll_out()
    assert served.until("Ready", "True")
    assert served.deployment()["metadata"]["uid"] == before["metadata"]["uid"]
    for kind, component in (("Deployment", "server"), ("ConfigMap", "applied")):
        assert served.child(kind, component)["metadata"]["ownerReferences"][0]["uid"] == uid


@pytest.mark.parametrize("kind", ["Job", "Secret", "FutureKind"])
def test_forged_last_applied_record_is_not_applied_to_new_resource(
    brain: Brain, controller_stub: ControllerStub, kind: str
) -> None:
    """A ConfigMap that looks like an orphaned record leads to no write of its entries, and is replaced in the end."""
    owner = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "name": NAME, "controller": True}
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "evil:1"}]}
    metadata = {"name": "pwn", "namespace": brain.namespace, "ownerReferences": [owner]}
    entry = {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": {"template": {"spec": pod}}}
    marks = {"labels": labels(NAME, "applied"), "annotations": {RENDERED_HASH: "x"}}
    planted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{NAME}-applied", **marks},
        "data": {"children.json": json.dumps([entry])},
    }
    brain.api.create(planted, brain.namespace)
    brain.apply()
    brain.until("Migrated", "False", "is migrating the database")
    assert [each["metadata"]["name"] for each in brain.jobs() if each["metadata"]["name"] == "pwn"] == []
    controller_stub.serve()
    assert "pwn" not in brain.child("ConfigMap", "applied")["data"]["children.json"]


def test_paused_resource_reports_drift_without_reverting_it(served: Brain, controller_stub: ControllerStub) -> None:
    """While paused, drift stays and is in the status; afterwards it is reverted."""
    served.apply(paused=True)
    served.until("Paused", "True")
    assert served.until("Ready", "True")
    edit = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mine:1"}]
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, edit)
    served.until("Progressing", "False", "containers[0].image is changed), and nothing is changed while it is paused.")
    assert served.until("Ready", "False")
    assert served.containers() == ["server mine:1"]
    served.apply(paused=False)
    eventually(served.containers, lambda containers: containers != ["server mine:1"], "the drift is put back")


def test_ready_condition_keeps_generation_it_was_observed_for(served: Brain) -> None:
    """Right after an edit, Ready=True still has the generation that it was observed for."""
    served.apply(replicas=2)
    resource = served.resource()
    ready = next(each for each in resource["status"]["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False" or ready["observedGeneration"] < resource["metadata"]["generation"]


def test_status_and_children_contain_no_secret_values(served: Brain) -> None:
    """Neither the status nor the children contain values of the Secrets."""
    objects = [
        served.resource(),
        *(
            each
            for kind in ("ConfigMap", "Deployment", "Job", "Service")
            for each in served.api.objects(kind, served.namespace)
        ),
    ]
    assert not [word for word in ("hunter22", "swordfish", "postgresql://") if word in str(objects)]
