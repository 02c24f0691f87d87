"""Failure reasons of a pod, as sentences that name the field and the remedy. Pure.

A pod that only needs time is not a failure. Termination messages of containers and readiness reports of pods may
contain anything: the caller redacts them before they are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import MIGRATION, PROVISION
from somabrain_operator.kube.objects import Json, Manifest, at, condition, items, mapping, number, text
from somabrain_operator.observe.vault_agent_log import exit_error

_IMAGE_PULL_REASONS: Final = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
STARTING: Final = "it is starting."
_SIGNAL_EXIT_BASE: Final = 128
"""An exit code above it is this value plus the number of the signal."""
_NORMAL_WAITING_REASONS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


def name_of(pod: Manifest) -> str:
    """Return the pod's name."""
    return text(pod, "metadata", "name")


def of_component(pods: Sequence[Manifest], component: str) -> tuple[Manifest, ...]:
    """Return the pods of a component that are not being deleted."""
    return tuple(
        pod
        for pod in pods
        if mapping(pod, "metadata", "labels").get("app.kubernetes.io/component") == component
        and not text(pod, "metadata", "deletionTimestamp")
    )


def of_job(pods: Sequence[Manifest], job: str) -> list[Manifest]:
    """Return the pods of a Job that are not being deleted, oldest first."""
    job_pods = [
        pod
        for component in (MIGRATION, PROVISION)
        for pod in of_component(pods, component)
        if mapping(pod, "metadata", "labels").get("batch.kubernetes.io/job-name") == job
    ]
    return sorted(job_pods, key=lambda pod: text(pod, "metadata", "creationTimestamp"))


def is_terminated(pod: Manifest) -> bool:
    """Return whether the pod was evicted or has finished: it never runs again, and its controller replaces it."""
    return text(pod, "status", "phase") in ("Failed", "Succeeded")


def is_ready(pod: Manifest) -> bool:
    """Return whether the pod's condition Ready is True."""
    return text(condition(pod, "Ready"), "status") == "True"


def failure_reason(pod: Manifest, spec: SomaBrainSpec | None) -> str:
    """Return why the pod cannot run, or an empty string if it runs or only needs time."""
    scheduled = condition(pod, "PodScheduled")
    if text(scheduled, "status") == "False":
        return f"it cannot be scheduled: {_sentence(text(scheduled, 'message'))}"
    for container in _containers(pod):
        name = text(container, "name")
        waiting = mapping(container, "state", "waiting")
        reason = text(waiting, "reason")
        if reason in _IMAGE_PULL_REASONS:
            field, remedy = _image_field(name, spec)
            image = text(container, "image")
            return f"the image {image} of container {name} cannot be pulled ({reason}); correct {field}{remedy}."
        if reason == "CrashLoopBackOff":
            return f"container {name} keeps exiting{_termination_clause(container)}"
        if reason not in _NORMAL_WAITING_REASONS:
            return f"container {name} cannot start ({reason}): {_sentence(text(waiting, 'message'))}"
        if text(pod, "status", "phase") == "Failed":
            return f"container {name} ended{_termination_clause(container)}"
    return ""


def not_ready_reason(pod: Manifest, spec: SomaBrainSpec | None, report: str) -> str:
    """Return why the pod does not serve.

    Args:
        pod: a pod that is not ready.
        spec: the SomaBrain's spec; None if it is invalid.
        report: the pod's response on /ready, or the kubelet's message about its probe; may be empty.
    """
    if failure := failure_reason(pod, spec):
        return failure
    if report:
        return _sentence(report)
    for container in _containers(pod):
        if mapping(container, "state", "terminated") and not _is_init_done(container):
            return f"container {text(container, 'name')} ended{_termination_clause(container)}"
        if number(container, "restartCount") and not at(container, "ready"):
            return f"container {text(container, 'name')} was restarted{_termination_clause(container)}"
    return STARTING


def termination_message(pod: Manifest, *containers: str) -> str:
    """Return the termination message or else the cause of the first of `containers` that failed, or an empty string."""
    for status in _containers(pod):
        if text(status, "name") in containers:
            for state in ("state", "lastState"):
                terminated = mapping(status, state, "terminated")
                if terminated and number(terminated, "exitCode"):
                    return (
                        _container_message(text(status, "name"), terminated) or f"it ended with {_cause(terminated)}."
                    )
    return ""


def _containers(pod: Manifest) -> Iterator[Json]:
    yield from items(pod, "status", "initContainerStatuses")
    yield from items(pod, "status", "containerStatuses")


def _is_init_done(container: Json) -> bool:
    return text(container, "state", "terminated", "reason") == "Completed"


def _image_field(container: str, spec: SomaBrainSpec | None) -> tuple[str, str]:
    if container in ("opa", "vault"):
        return f"spec.{container}.image", " or let the node reach the registry"
    if spec is not None and spec.image is None and spec.version is not None:
        return "spec.version", " or let the node reach the registry"
    if spec is not None and spec.image is None:
        return "spec.image", ": it is not set, and the registry has no image of the operator's own version"
    return "spec.image", " or let the node reach the registry"


def _termination_clause(container: Json) -> str:
    """Return the container's last termination as the end of a sentence."""
    terminated = mapping(container, "state", "terminated") or mapping(container, "lastState", "terminated")
    if not terminated:
        return "."
    # A killed container left no message about it: its last log lines are older and misleading.
    message = (
        ""
        if number(terminated, "exitCode") > _SIGNAL_EXIT_BASE
        else _container_message(text(container, "name"), terminated)
    )
    return f" ({_cause(terminated)}): {_sentence(message)}" if message else f" ({_cause(terminated)})."


def _container_message(container: str, terminated: Json) -> str:
    """Return a container's termination message; for Vault's agent the error in its log."""
    message = text(terminated, "message")
    return exit_error(message) if container == "vault" else message


def _cause(terminated: Json) -> str:
    reason = text(terminated, "reason")
    code = number(terminated, "exitCode")
    return f"{reason}, exit code {code}" if reason not in ("", "Error") else f"exit code {code}"


def _sentence(message: str) -> str:
    message = " ".join(message.split())
    return message if message.endswith((".", "!", "?")) or not message else f"{message}."
