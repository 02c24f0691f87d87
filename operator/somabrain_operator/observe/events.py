"""Events of other controllers, which explain what no status shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from somabrain_operator.kube.objects import Manifest, condition, number, text
from somabrain_operator.observe.pod_status import is_terminated

JOB_CONTROLLER: Final = "job-controller"
KUBELET: Final = "kubelet"
"""Components that record events, by the names that they give themselves."""
_REFUSED: Final = "FailedCreate"
_CREATED: Final = "SuccessfulCreate"
"""Reasons of the Job controller's events about the creation of a pod."""


def waits_for_pod(job: Manifest, pods: Iterable[Manifest]) -> bool:
    """Return whether a Job that is not complete has no pod that can run, so that its events may say why.

    Args:
        job: a live Job.
        pods: its pods that are not being deleted.
    """
    has_pod = any(number(job, "status", field) for field in ("active", "terminating"))
    return text(condition(job, "Complete"), "status") != "True" and not has_pod and all(map(is_terminated, pods))


def pod_refusal(events: Iterable[Manifest]) -> str:
    """Return why a Job's pod was refused, from all events of the Job; empty if a pod was created since.

    The pods themselves do not show that: a pod that was created may be gone long before the event of the refusal is.
    """
    candidates = (each for each in events if text(each, "reason") in (_REFUSED, _CREATED))
    latest = latest_event([each for each in candidates if may_be_from(each, JOB_CONTROLLER)])
    return text(latest, "message").removeprefix("Error creating: ") if text(latest, "reason") == _REFUSED else ""


def may_be_from(event: Manifest, component: str) -> bool:
    """Return whether an event names no other component than this one as its origin.

    That is no proof: an account that may create events may name any. It keeps out what others report of the object.
    """
    origins = (text(event, "source", "component"), text(event, "reportingComponent"))
    return all(each in ("", component) for each in origins)


def latest_event(events: Sequence[Manifest]) -> Manifest | None:
    """Return the event that occurred last. In the same second a creation is later: it ends what was refused before."""
    return max(events, key=lambda each: (_occurred_at(each), text(each, "reason") == _CREATED), default=None)


def _occurred_at(event: Manifest) -> str:
    """Return the time of an event's last occurrence, in ISO 8601: recorders of the newer API set other fields."""
    times = (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",), ("metadata", "creationTimestamp"))
    return next((timestamp for path in times if (timestamp := text(event, *path))), "")
