"""Which changes of the status are told as events: one a transition, in the words of the condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from somabrain_operator.model.status import ConditionType
from somabrain_operator.tree import Json, items, text

TOLD: Final[tuple[ConditionType, ...]] = ("Degraded", "Available", "Ready", "Migrated")
"""What is wrong first; a later condition that changed for the same cause adds nothing."""
LONGEST_MESSAGE: Final = 1024
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
    found: dict[tuple[str, str], Transition] = {}
    for kind in TOLD:
        old, new = _condition(before, kind), _condition(after, kind)
        was, now = text(old, "status"), text(new, "status")
        if now == "Unknown" or now == was or (now == "False" and was != "True"):
            continue
        warning = (kind, now) in (("Degraded", "True"), ("Available", "False"))
        reason, message = text(new, "reason"), text(new, "message")[:LONGEST_MESSAGE]
        found.setdefault((reason, message), Transition(reason, message, warning))
    return tuple(found.values())


def _condition(status: Mapping[str, Json], kind: ConditionType) -> Json:
    return next((each for each in items(status, "conditions") if text(each, "type") == kind), None)
