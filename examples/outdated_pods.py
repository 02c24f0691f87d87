"""Replacement of pods that run an earlier build of their image's tag, so that a second demo runs the current code."""

from __future__ import annotations

import time

from examples.kubectl import CommandFailed, Kubectl, Object

POD = "newest-images"
TIMEOUT_S = 60


def replace_outdated_pods(kubectl: Kubectl, namespaces: tuple[str, ...]) -> list[str]:
    """Delete the pods whose image tag now names another build on the node; return their names."""
    pods = [pod for namespace in namespaces for pod in kubectl.get(namespace, "pods")["items"] if _is_running(pod)]
    running = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): _builds(pod) for pod in pods}
    if not running:
        return []
    newest = _newest_builds(
        kubectl, namespaces[0], sorted({image for builds in running.values() for image, _ in builds})
    )
    outdated = [pod for pod, builds in running.items() if any(newest[image] != build for image, build in builds)]
    for namespace, name in outdated:
        kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
    return [name for _, name in outdated]


def _is_running(pod: Object) -> bool:
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def _builds(pod: Object) -> list[tuple[str, str]]:
    """Return each container's image and the build that runs."""
    images = {each["name"]: each["image"] for each in pod["spec"]["containers"]}
    return [(images[status["name"]], status["imageID"]) for status in pod["status"]["containerStatuses"]]


def _newest_builds(kubectl: Kubectl, namespace: str, images: list[str]) -> dict[str, str]:
    """Return the build of each image that the node starts now, from the status of a pod that starts them and ends."""
    containers = [
        {
            "name": f"image-{index}",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["true"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        for index, image in enumerate(images)
    ]
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "containers": containers, "securityContext": security}
    kubectl("delete", "pod", POD, "-n", namespace, "--ignore-not-found")
    kubectl.apply(namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec})
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while (pod := kubectl.get(namespace, "pod", POD))["status"]["phase"] != "Succeeded":
            if time.monotonic() > deadline:
                raise CommandFailed(f"The pod {POD} in {namespace} did not run: {pod['status']}")
            time.sleep(0.3)
    finally:
        kubectl("delete", "pod", POD, "-n", namespace, "--wait=false")
    return dict(_builds(pod))
