"""How a dependency was found when it was last looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """`reason` is a sentence for the person on call, `notes` are more; `latency_s` None: it did not answer."""

    ok: bool
    reason: str
    latency_s: float | None = None
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Return it as /healthz says it."""
        said: dict[str, object] = {"status": "ok"} if self.ok else {"status": "failing", "reason": self.reason}
        if self.ok and self.latency_s is not None:
            said["latency_ms"] = round(self.latency_s * 1000, 3)
        if self.notes:
            said["notes"] = list(self.notes)
        return said


Look = Callable[[], Check]
"""Tells how it was found last; asks nobody."""
