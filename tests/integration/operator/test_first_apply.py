"""A resource becomes Ready after `kubectl apply`, with no more writes than needed."""

from __future__ import annotations

import time

from tests.integration.operator.api import Api
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.support.waiting import eventually


def test_first_apply_runs_migration_then_deployment_then_ready(brain: Brain, controller_stub: ControllerStub) -> None:
    """Base objects and the Job are created first, the Deployment after the Job, and Ready follows the pods."""
    brain.apply()
    job = brain.job()
    assert {"app.kubernetes.io/instance": NAME}.items() <= job["metadata"]["labels"].items()
    for kind, component in (("ServiceAccount", "server"), ("Service", "grpc"), ("Service", "headless")):
        owner = brain.child(kind, component)["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"]) == ("SomaBrain", brain.resource()["metadata"]["uid"])
    assert brain.api.objects("Deployment", brain.namespace) == []
    brain.until("Migrated", "False", "is migrating the database")
    controller_stub.finish_migration()
    eventually(brain.deployment, bool, "a Deployment")
    brain.until("Progressing", "True")
    controller_stub.roll_out()
    brain.until("Ready", "True", "1 of 1 pods serve.")
    status = brain.resource()["status"]
    assert (status["phase"], status["readyReplicas"], status["migration"]["attempt"]) == ("Ready", 1, 1)
    assert status["endpoint"] == f"dns:///{NAME}-headless.{brain.namespace}.svc:50052"


def test_reconcile_in_sync_writes_nothing(served: Brain) -> None:
    """Events about a resource that is in sync cause no write."""
    time.sleep(0.5)
    before = served.api.writes()
    served.annotate("note", "one")
    served.annotate("note", "two")
    served.api.patch("Deployment", f"{NAME}-server", served.namespace, {"metadata": {"labels": {"note": "x"}}})
    time.sleep(2)
    assert served.api.writes() == before


def test_first_apply_writes_each_object_once(brain: Brain, controller_stub: ControllerStub) -> None:
    """A new resource applies each of its objects once."""
    before = len(brain.api.writes())
    brain.apply()
    controller_stub.serve()
    writes = [write for write in brain.api.writes()[before:] if "status" not in write and " events " not in write]
    assert sorted(writes) == sorted(set(writes))
    assert len(writes) == 8


def test_scaling_updates_deployment_without_migration(served: Brain, controller_stub: ControllerStub) -> None:
    """Scaling changes the Deployment and starts no migration."""
    served.apply(replicas=3)
    eventually(lambda: served.deployment()["spec"]["replicas"], lambda replicas: replicas == 3, "3 replicas")
    controller_stub.roll_out(ready=1)
    served.until("Available", "True", "1 of 3 pods serve.")
    controller_stub.roll_out()
    served.until("Ready", "True", "3 of 3")
    assert len(served.jobs()) == 1


def test_zero_replicas_reports_hibernated(served: Brain, controller_stub: ControllerStub) -> None:
    """With 0 replicas the status says that nothing serves, and the phase is Hibernated."""
    served.apply(replicas=0)
    eventually(lambda: served.deployment()["spec"]["replicas"], lambda replicas: replicas == 0, "0 replicas")
    controller_stub.roll_out()
    served.until("Available", "False", "spec.replicas is 0: nothing serves; the memories are kept.")
    eventually(lambda: served.resource()["status"]["phase"], lambda phase: phase == "Hibernated", "Hibernated")


def test_changed_setting_updates_configmap_and_rolls_pods(served: Brain) -> None:
    """A changed setting is in the ConfigMap, and the pods are rolled to read it."""
    before = served.deployment()["spec"]["template"]["metadata"]["annotations"]
    served.apply(config={"logLevel": "debug"})
    eventually(
        lambda: served.deployment()["spec"]["template"]["metadata"]["annotations"],
        lambda after: after != before,
        "the template changed",
    )
    assert served.child("ConfigMap", "config")["data"]["SOMABRAIN_LOG__LEVEL"] == "debug"


def test_rotated_secret_rolls_pods_only_for_used_keys(served: Brain) -> None:
    """A changed key that the pods use rolls them, another key does not; Secrets are polled, not watched."""
    template = served.deployment()["spec"]["template"]
    served.rotate("somabrain-database", other="x")
    time.sleep(4)
    assert served.deployment()["spec"]["template"] == template
    served.rotate("somabrain-database", **{"app-dsn": "postgresql://app:other@pg/s"})
    eventually(lambda: served.deployment()["spec"]["template"], lambda now: now != template, "the template changed")


def test_custom_policy_replaces_default_configmap(served: Brain, controller_stub: ControllerStub) -> None:
    """The named ConfigMap is mounted, and the default one is deleted once no pod uses it."""
    rules = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rules"},
        "data": {"a.rego": "package sb.policy"},
    }
    served.api.create(rules, served.namespace)
    served.apply(opa={"policy": {"configMapRef": {"name": "rules"}}})
    eventually(
        lambda: [
            each for each in served.deployment()["spec"]["template"]["spec"]["volumes"] if each["name"] == "policy"
        ],
        lambda volumes: volumes[0]["configMap"]["name"] == "rules",
        "the policy is mounted",
    )
    assert served.child("ConfigMap", "policy")
    controller_stub.roll_out()
    eventually(
        lambda: [each["metadata"]["name"] for each in served.api.objects("ConfigMap", served.namespace)],
        lambda names: f"{NAME}-policy" not in names,
        "the default policy is gone",
    )


def test_deleted_service_is_recreated(served: Brain) -> None:
    """A deleted Service is created again."""
    served.api.delete("Service", f"{NAME}-headless", served.namespace)
    eventually(lambda: served.child("Service", "headless"), bool, "the Service is back")


def test_deleted_resource_is_removed_without_finalizer(served: Brain, api: Api) -> None:
    """A deleted resource is removed at once, without a finalizer, and its children are not created again."""
    api.delete("SomaBrain", NAME, served.namespace)
    assert api.objects("SomaBrain", served.namespace) == []
    time.sleep(0.5)  # what was under way as it went has been refused by then
    before = api.writes()
    api.delete("Service", f"{NAME}-grpc", served.namespace)
    time.sleep(1)
    assert api.writes() == before
    assert f"{NAME}-grpc" not in {each["metadata"]["name"] for each in api.objects("Service", served.namespace)}
