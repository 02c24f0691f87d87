"""Kubernetes events for changes of the status: one per transition, with the condition's reason and message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from somabrain_operator.api.v1alpha1.status import ConditionType
from somabrain_operator.kube.objects import Json, items, text

EVENT_CONDITIONS: Final[tuple[ConditionType, ...]] = ("Degraded", "Ready", "Available", "Migrated")
"""Conditions with events; of those with the same message a warning has the event, or else the first."""
MAX_MESSAGE_LENGTH: Final = 1024
"""The API server's own limit."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Content of one event."""

    reason: str
    message: str
    warning: bool


def transitions(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Transition, ...]:
    """Return the events for the change from one status to the next.

    A missing or Unknown condition counts as False: a new resource that does not serve yet has no event. One that
    becomes Unknown has its event when its status is known again. The migration of a new resource has none: its Job has
    events, and that the resource serves follows.
    """
    events: dict[str, Transition] = {}
    is_new = text(_condition(before, "Available"), "reason") == "NotDeployed"
    for kind in EVENT_CONDITIONS:
        if kind == "Migrated" and is_new:
            continue
        old, new = _condition(before, kind), _condition(after, kind)
        previous, current = text(old, "status"), text(new, "status")
        if current == "Unknown" or current == previous or (current == "False" and previous != "True"):
            continue
        warning = (kind, current) in (("Degraded", "True"), ("Available", "False"))
        reason, message = text(new, "reason"), text(new, "message")[:MAX_MESSAGE_LENGTH]
        if message not in events or warning:
            events[message] = Transition(reason, message, warning)
    return tuple(events.values())


def _condition(status: Mapping[str, Json], kind: ConditionType) -> Json:
    return next((each for each in items(status, "conditions") if text(each, "type") == kind), None)
