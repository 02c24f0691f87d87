"""One SomaBrain in its own namespace, and a stub of the controllers, which do not run in the tests."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from somabrain_operator.kube import timestamps
from somabrain_operator.kube.kinds import CHILDREN, PROMETHEUS
from tests.integration.operator.api import Api, Object
from tests.support.waiting import eventually

NAME = "quickstart"
POD_ADDRESS = "127.0.0.57"
"""A pod's address on this machine's loopback; the server's HTTP port is the same for all pods."""
SPEC: Object = {
    "database": {"secretRef": {"name": "somabrain-database"}},
    "migration": {"database": {"secretRef": {"name": "somabrain-migration"}}},
}


@dataclass(frozen=True)
class Brain:
    """A SomaBrain and its namespace."""

    api: Api
    namespace: str

    def secrets(self) -> None:
        """Create the two Secrets that its spec names."""
        self.secret(
            "somabrain-database", **{"app-dsn": "postgresql://app:hunter22@pg/s", "worker-dsn": "postgresql://w@pg/s"}
        )
        self.secret("somabrain-migration", **{"owner-dsn": "postgresql://owner:swordfish@pg/s"})

    def secret(self, name: str, **data: str) -> None:
        """Create a Secret."""
        self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data},
                        self.namespace)  # fmt: skip

    def provision(self, **provision: str) -> None:
        """Create the resource with a database provisioned by the administrator of the Secret `admin`."""
        spec = {"database": {"provision": {"adminSecretRef": {"name": "admin"}, **provision}}}
        manifest = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "metadata": {"name": NAME}}
        self.api.create({**manifest, "spec": spec}, self.namespace)

    def collect_garbage(self) -> None:
        """As the garbage collector: delete what a deleted SomaBrain owned."""
        for kind in CHILDREN.keys() - {each.kind for each in PROMETHEUS}:
            for child in self.api.objects(kind, self.namespace):
                if "ownerReferences" in child["metadata"]:
                    self.api.delete(kind, _name(child), self.namespace)

    def job_named(self, part: str) -> Object:
        """Wait for a Job with a part of its name."""
        listed = eventually(
            self.jobs, lambda jobs: any(part in _name(job) for job in jobs), f"a Job with {part} in its name"
        )
        return next(job for job in listed if part in _name(job))

    def rotate(self, name: str, **data: str) -> None:
        """Change keys of a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.api.patch("Secret", name, self.namespace, {"data": encoded})

    def apply(self, **fields: Any) -> None:
        """Create the resource, or set fields of its spec."""
        try:
            self.api.get("SomaBrain", NAME, self.namespace)
        except KeyError:
            manifest = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "metadata": {"name": NAME}}
            self.api.create({**manifest, "spec": {**SPEC, **fields}}, self.namespace)
        else:
            self.api.patch("SomaBrain", NAME, self.namespace, {"spec": fields})

    def annotate(self, name: str, value: str) -> None:
        """Annotate the resource."""
        self.api.patch("SomaBrain", NAME, self.namespace, {"metadata": {"annotations": {name: value}}})

    def child(self, kind: str, component: str) -> Object:
        """Return a child."""
        return self.api.get(kind, f"{NAME}-{component}", self.namespace)

    def deployment(self) -> Object:
        """Return the Deployment."""
        return self.child("Deployment", "server")

    def containers(self) -> list[str]:
        """Return name and image of each container in the Deployment."""
        specs = self.deployment()["spec"]["template"]["spec"]["containers"]
        return [f"{each['name']} {each['image']}" for each in specs]

    def resource(self) -> Object:
        """Return the resource."""
        return self.api.get("SomaBrain", NAME, self.namespace)

    def conditions(self) -> dict[str, Object]:
        """Return the conditions of the newest generation, by type."""
        resource = self.resource()
        return {
            each["type"]: each
            for each in resource.get("status", {}).get("conditions", ())
            if each["observedGeneration"] == resource["metadata"]["generation"]
        }

    def until(self, kind: str, status: str, message: str = "", timeout_s: float = 20, reason: str = "") -> Object:
        """Wait until a condition has a status, its message contains a text, and it has the reason; return it."""
        return eventually(
            lambda: self.conditions()[kind],
            lambda condition: (
                condition["status"] == status
                and message in condition["message"]
                and reason in ("", condition["reason"])
            ),
            f"{kind}={status} {message!r} {reason}",
            timeout_s,
        )

    def jobs(self) -> list[Object]:
        """Return the migration Jobs, oldest first."""
        return sorted(self.api.objects("Job", self.namespace), key=lambda job: str(job["metadata"]["name"]))

    def job(self, attempt: int = 1, image: str = "") -> Object:
        """Wait for the Job of an attempt and, if given, of an image."""

        def fits(job: Object) -> bool:
            job_image = job["spec"]["template"]["spec"]["containers"][0]["image"]
            return _name(job).endswith(f"-{attempt}") and image in ("", job_image)

        listed = eventually(self.jobs, lambda jobs: any(map(fits, jobs)), f"Job {attempt} {image}")
        return next(job for job in listed if fits(job))


def _name(manifest: Object) -> str:
    return str(manifest["metadata"]["name"])


@dataclass(frozen=True)
class ControllerStub:
    """The work of the Job controller, the Deployment controller and the kubelet."""

    brain: Brain

    def finish_migration(self, attempt: int = 1, image: str = "") -> None:
        """As the Job controller: the Job is complete."""
        self.complete(self.brain.job(attempt, image))

    def complete(self, job: Object) -> None:
        """As the Job controller: this Job is complete."""
        conditions = [_true("SuccessCriteriaMet"), _true("Complete")]
        self._job(job, {"completionTime": _now(), "succeeded": 1, "conditions": conditions})

    def fail_migration(self, message: str, attempt: int = 1, image: str = "", container: str = "migrate") -> None:
        """As the kubelet: the Job's pod ended with a message. As the Job controller: the Job has failed."""
        job = self.brain.job(attempt, image)
        pod = self.pod(f"{_name(job)}-x", job["spec"]["template"], {"batch.kubernetes.io/job-name": _name(job)})
        ended = {"exitCode": 1, "reason": "Error", "message": message, "startedAt": _now(), "finishedAt": _now()}
        self.pod_status(pod, "Failed", [_container(container, {"terminated": ended})])
        failed = {**_true("Failed"), "reason": "BackoffLimitExceeded", "message": "Job has reached its backoff limit"}
        target = {**_true("FailureTarget"), "reason": "BackoffLimitExceeded"}
        self._job(job, {"failed": 1, "conditions": [target, failed]})

    def reach_deadline(self, job: Object) -> None:
        """As the Job controller: the Job's pod, which ran too long, is deleted, and the Job has failed."""
        message = "Job was active longer than specified deadline"
        target, failed = (
            {**_true(kind), "reason": "DeadlineExceeded", "message": message} for kind in ("FailureTarget", "Failed")
        )
        self._job(job, {"failed": 1, "conditions": [target, failed]})

    def refuse_pod(self, job: Object, message: str) -> None:
        """As the Job controller: the API server refuses the Job's pod, which only an event reports."""
        self._job(job, {"ready": 0})
        involved = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": _name(job),
            "uid": job["metadata"]["uid"],
            "namespace": self.brain.namespace,
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{_name(job)}.1"},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": f'Error creating: pods "{_name(job)}-x" {message}',
            "source": {"component": "job-controller"},
            "involvedObject": involved,
            "firstTimestamp": _now(),
            "lastTimestamp": _now(),
            "count": 1,
        }
        self.brain.api.create(event, self.brain.namespace)

    def _job(self, job: Object, status: Object) -> None:
        live = self.brain.api.get("Job", _name(job), self.brain.namespace)
        started = live.get("status", {}).get("startTime") or status.get("completionTime") or _now()
        # The API server takes no other once there is one, and none after the completion.
        self.brain.api.status("Job", _name(job), self.brain.namespace, {"startTime": started, **status})

    def roll_out(self, ready: int | None = None, component: str = "server") -> Object:
        """As the Deployment controller: all pods have the current template, and `ready` of them are ready."""
        live = eventually(lambda: self.brain.child("Deployment", component), bool, "a Deployment")
        replicas = live["spec"]["replicas"]
        ready_replicas = replicas if ready is None else ready
        progressing = {**_true("Progressing"), "reason": "NewReplicaSetAvailable", "message": ""}
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready_replicas,
            "availableReplicas": ready_replicas,
            "unavailableReplicas": replicas - ready_replicas,
            "conditions": [progressing],
        }
        self.brain.api.status("Deployment", _name(live), self.brain.namespace, status)
        return live

    def rolling(self, ready: int) -> None:
        """As the Deployment controller: one pod of the current template was created, and the old ones still run."""
        live = self.brain.deployment()
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": ready + 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": 1,
        }
        self.brain.api.status("Deployment", _name(live), self.brain.namespace, status)

    def init_failed(self, pod: Object, container: str, message: str) -> None:
        """As the kubelet: an init container of a pod fails repeatedly."""
        ended = {"exitCode": 1, "reason": "Error", "message": message, "startedAt": _now(), "finishedAt": _now()}
        again = _container(container, {"waiting": {"reason": "CrashLoopBackOff"}})
        status = {
            "phase": "Pending",
            "conditions": [{"type": "Ready", "status": "False"}],
            "initContainerStatuses": [{**again, "lastState": {"terminated": ended}}],
        }
        self.brain.api.status("Pod", _name(pod), self.brain.namespace, status)

    def scale(self, replicas: int) -> None:
        """As the autoscaler's controller: set another number of pods."""
        self.brain.api.scale("Deployment", f"{NAME}-server", self.brain.namespace, replicas)

    def pod(self, name: str, template: Object, labels: Iterable[tuple[str, str]] | dict[str, str] = ()) -> Object:
        """As a controller: create a pod from a template."""
        metadata = {"name": name, "labels": {**template["metadata"]["labels"], **dict(labels)}}
        return self.brain.api.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}, self.brain.namespace
        )

    def pod_status(
        self, pod: Object, phase: str, containers: list[Object], *, ready: bool = False, address: str = ""
    ) -> None:
        """As the kubelet: set the status of a pod."""
        status: Object = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": containers,
        }
        if address:
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        self.brain.api.status("Pod", _name(pod), self.brain.namespace, status)

    def serve(self) -> None:
        """Finish the migration and the rollout, with one pod ready."""
        self.finish_migration()
        live = self.roll_out()
        pod = self.pod("server-0", live["spec"]["template"])
        self.pod_status(pod, "Running", [running()], ready=True)
        self.brain.until("Ready", "True")


def running(name: str = "server") -> Object:
    """Return the status of a container that runs."""
    return _container(name, {"running": {"startedAt": _now()}})


def waiting(reason: str, message: str = "", name: str = "server") -> Object:
    """Return the status of a container that waits."""
    return _container(name, {"waiting": {"reason": reason, "message": message}})


def _container(name: str, state: Object) -> Object:
    return {"name": name, "image": "i", "imageID": "", "ready": "running" in state, "restartCount": 0, "state": state}


def _now() -> str:
    return timestamps.iso(datetime.now(UTC))


def _true(kind: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": _now()}
