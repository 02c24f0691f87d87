"""How a dependency was found when it was last looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """`reason` is a sentence for the person on call, `notes` are more; `latency_s` None: it did not answer."""

    ok: bool
    reason: str
    latency_s: float | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as /healthz says it."""
        body: dict[str, object] = {"status": "ok"} if self.ok else {"status": "failing", "reason": self.reason}
        if self.ok and self.latency_s is not None:
            body["latency_ms"] = round(self.latency_s * 1000, 3)
        if self.notes:
            body["notes"] = list(self.notes)
        return body


HealthProbe = Callable[[], HealthCheck]
"""Tells how it was found last; asks nobody."""
