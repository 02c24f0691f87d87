"""What is wrong with a pod, in words that name the field and the remedy. Pure.

A pod that only takes its time is no trouble. What a container says (its termination message) and what a pod says
of itself (its readiness answer) may hold anything: whoever shows it redacts it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from somabrain_operator.agent_log import ended_for
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.tree import Json, Manifest, at, condition, items, mapping, number, text

_PULLING: Final = frozenset({
    "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
STARTING: Final = "it is starting."
_KILLED: Final = 128
"""Exit codes beyond it are this and the number of the signal."""
_HARMLESS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


def name_of(pod: Manifest) -> str:
    """Return the pod's name."""
    return text(pod, "metadata", "name")


def of_component(pods: Sequence[Manifest], component: str) -> tuple[Manifest, ...]:
    """Return the pods of a component that are not on their way out."""
    return tuple(
        pod
        for pod in pods
        if mapping(pod, "metadata", "labels").get("app.kubernetes.io/component") == component
        and not text(pod, "metadata", "deletionTimestamp")
    )


def is_over(pod: Manifest) -> bool:
    """Return whether the pod will never run again: evicted, or ended; who made it has made another."""
    return text(pod, "status", "phase") in ("Failed", "Succeeded")


def is_ready(pod: Manifest) -> bool:
    """Return whether the kubelet calls the pod ready."""
    return text(condition(pod, "Ready"), "status") == "True"


def trouble(pod: Manifest, spec: SomaBrainSpec | None) -> str:
    """Return why the pod cannot run, or an empty string: it runs, or it only needs time."""
    scheduled = condition(pod, "PodScheduled")
    if text(scheduled, "status") == "False":
        return f"it cannot be scheduled: {_sentence(text(scheduled, 'message'))}"
    for container in _containers(pod):
        name = text(container, "name")
        waiting = mapping(container, "state", "waiting")
        reason = text(waiting, "reason")
        if reason in _PULLING:
            field, remedy = _image_field(name, spec)
            image = text(container, "image")
            return f"the image {image} of container {name} cannot be pulled ({reason}); correct {field}{remedy}."
        if reason == "CrashLoopBackOff":
            return f"container {name} ends again and again{_ending(container)}"
        if reason not in _HARMLESS:
            return f"container {name} cannot start ({reason}): {_sentence(text(waiting, 'message'))}"
        if text(pod, "status", "phase") == "Failed":
            return f"container {name} ended{_ending(container)}"
    return ""


def why_not_ready(pod: Manifest, spec: SomaBrainSpec | None, report: str) -> str:
    """Return why the pod does not serve.

    Args:
        pod: one that is not ready.
        spec: what the resource asks for.
        report: what the pod answers on /ready, or what the kubelet said of its probe; may be empty.
    """
    if wrong := trouble(pod, spec):
        return wrong
    if report:
        return _sentence(report)
    for container in _containers(pod):
        if mapping(container, "state", "terminated") and not _is_init_done(container):
            return f"container {text(container, 'name')} ended{_ending(container)}"
        if number(container, "restartCount") and not at(container, "ready"):
            return f"container {text(container, 'name')} was restarted{_ending(container)}"
    return STARTING


def last_words(pod: Manifest, *containers: str) -> str:
    """Return the last message of the first of some containers that failed, or how it ended, or an empty string."""
    for status in _containers(pod):
        if text(status, "name") in containers:
            for state in ("state", "lastState"):
                ended = mapping(status, state, "terminated")
                if ended and number(ended, "exitCode"):
                    return _said(text(status, "name"), ended) or f"it ended with {_cause(ended)}."
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
        return "spec.image", ": it is not set, and the operator's own version is not there"
    return "spec.image", " or let the node reach the registry"


def _ending(container: Json) -> str:
    """Return how the container ended last, as the end of a sentence."""
    ended = mapping(container, "state", "terminated") or mapping(container, "lastState", "terminated")
    if not ended:
        return "."
    # Who was killed said nothing of it: its last log lines are from better times.
    said = "" if number(ended, "exitCode") > _KILLED else _said(text(container, "name"), ended)
    return f" ({_cause(ended)}): {_sentence(said)}" if said else f" ({_cause(ended)})."


def _said(container: str, ended: Json) -> str:
    """Return a container's message; of the log of Vault's agent what it ended for."""
    message = text(ended, "message")
    return ended_for(message) if container == "vault" else message


def _cause(ended: Json) -> str:
    reason = text(ended, "reason")
    code = number(ended, "exitCode")
    return f"{reason}, exit code {code}" if reason not in ("", "Error") else f"exit code {code}"


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return words if words.endswith((".", "!", "?")) or not words else f"{words}."
