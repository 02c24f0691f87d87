"""Which changes of the status are told as events: one a transition, in the words of the condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from somabrain_operator.model.status import ConditionType
from somabrain_operator.objects import Json, items, text

EVENT_CONDITIONS: Final[tuple[ConditionType, ...]] = ("Degraded", "Available", "Ready", "Migrated")
"""What is wrong first; a later condition that changed for the same cause adds nothing."""
MAX_MESSAGE_LENGTH: Final = 1024
"""The API server's own bound."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One event to tell."""

    reason: str
    message: str
    warning: bool


def transitions(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Transition, ...]:
    """Return the events that lead from one status to the next.

    A condition that was not there, or was not looked at, counts as False: that a new resource does not serve yet is no
    news. One that is not looked at any more is told when it is looked at again.
    """
    events: dict[tuple[str, str], Transition] = {}
    for kind in EVENT_CONDITIONS:
        old, new = _condition(before, kind), _condition(after, kind)
        previous, current = text(old, "status"), text(new, "status")
        if current == "Unknown" or current == previous or (current == "False" and previous != "True"):
            continue
        warning = (kind, current) in (("Degraded", "True"), ("Available", "False"))
        reason, message = text(new, "reason"), text(new, "message")[:MAX_MESSAGE_LENGTH]
        events.setdefault((reason, message), Transition(reason, message, warning))
    return tuple(events.values())


def _condition(status: Mapping[str, Json], kind: ConditionType) -> Json:
    return next((each for each in items(status, "conditions") if text(each, "type") == kind), None)
