"""State of the Deployment's rollout: numbers of pods, and why some are not ready."""

from __future__ import annotations

from dataclasses import dataclass

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import SERVER
from somabrain_operator.kube.objects import Manifest, condition, items, number, text
from somabrain_operator.observe import pod_status
from somabrain_operator.observe.redact import redact

MAX_LISTED_PODS = 5
"""Maximum pods that a message names; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """State of the Deployment and its pods."""

    exists: bool
    desired: int
    replicas: int
    ready: int
    updated: int
    generation_observed: bool
    """True if the controller has observed the last change; until then its numbers are about the previous one."""
    all_updated: bool
    """True if it has, and no pod of an earlier template is left."""
    completed: bool
    """True if all pods of this template were once ready together, so a pod not ready now is not just starting."""
    unready: tuple[str, ...]
    """Sentence per pod that does not serve, with the reason."""
    has_failing_pod: bool
    """True if at least one pod cannot run, and time alone will not help."""
    starting: bool
    """True if all pods that do not serve are only starting."""
    stalled: str
    """Reason why the rollout makes no progress; empty if it does or is not in progress."""
    deadline_exceeded: bool = False
    """True if that is so since the Deployment's progress deadline: its controller has given up."""


def read_rollout(
    live: Manifest | None,
    all_pods: tuple[Manifest, ...],
    spec: SomaBrainSpec | None,
    reports: dict[str, str],
    secrets: tuple[str, ...] = (),
    component: str = SERVER,
) -> Rollout:
    """Return the state of a Deployment.

    Args:
        live: the live Deployment; None if it does not exist.
        all_pods: pods of all components.
        spec: the SomaBrain's spec; None if it is invalid.
        reports: readiness reports by name of the pod.
        secrets: secret contents to redact from the reasons.
        component: the component of the Deployment's pods.
    """
    if live is None:
        return Rollout(False, 0, 0, 0, 0, False, False, False, (), False, True, "")
    unready_pods = [pod for pod in _pods(all_pods, component) if not pod_status.is_ready(pod)]
    desired, replicas = number(live, "spec", "replicas"), number(live, "status", "replicas")
    ready, updated = number(live, "status", "readyReplicas"), number(live, "status", "updatedReplicas")
    generation_observed = number(live, "status", "observedGeneration") >= number(live, "metadata", "generation")
    reasons = {
        pod_status.name_of(pod): pod_status.not_ready_reason(pod, spec, reports.get(pod_status.name_of(pod), ""))
        for pod in unready_pods
    }
    return Rollout(
        exists=True,
        desired=desired,
        replicas=replicas,
        ready=ready,
        updated=updated,
        generation_observed=generation_observed,
        all_updated=generation_observed and updated == replicas == desired,
        completed=generation_observed and text(condition(live, "Progressing"), "reason") == "NewReplicaSetAvailable",
        unready=tuple(f"Pod {name}: {redact(reason, secrets)}" for name, reason in reasons.items()),
        has_failing_pod=any(pod_status.failure_reason(pod, spec) for pod in unready_pods),
        starting=all(reason == pod_status.STARTING for reason in reasons.values()),
        stalled=_stalled(live),
        deadline_exceeded=_deadline_exceeded(live),
    )


def _pods(all_pods: tuple[Manifest, ...], component: str) -> list[Manifest]:
    return [pod for pod in pod_status.of_component(all_pods, component) if not pod_status.is_terminated(pod)]


def _stalled(live: Manifest) -> str:
    failure = condition(live, "ReplicaFailure")
    if text(failure, "status") == "True":
        return f"the pods cannot be created: {text(failure, 'message')}"
    return "the new pods did not become ready in time" if _deadline_exceeded(live) else ""


def _deadline_exceeded(live: Manifest) -> bool:
    progressing = condition(live, "Progressing")
    return text(progressing, "status") == "False" and text(progressing, "reason") == "ProgressDeadlineExceeded"


def summarize(messages: tuple[str, ...]) -> str:
    """Return the first MAX_LISTED_PODS messages, and the number of the others."""
    more = len(messages) - MAX_LISTED_PODS
    return " ".join(messages[:MAX_LISTED_PODS]) + (f" And {more} more." if more > 0 else "")


def running_image(all_pods: tuple[Manifest, ...]) -> str:
    """Return the image that every server pod runs, or an empty string if they differ or there are no pods."""
    images = {
        text(container, "image")
        for pod in _pods(all_pods, SERVER)
        for container in items(pod, "spec", "containers")
        if text(container, "name") == SERVER
    }
    return images.pop() if len(images) == 1 else ""
