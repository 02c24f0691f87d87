"""Result of the last health check of a dependency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Health of one dependency.

    `reason` is a sentence for the person on call, `notes` are further ones; `latency_s` None: it did not answer.
    """

    ok: bool
    reason: str
    latency_s: float | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the JSON object of this check in /healthz."""
        body: dict[str, object] = {"status": "ok"} if self.ok else {"status": "failing", "reason": self.reason}
        if self.ok and self.latency_s is not None:
            body["latency_ms"] = round(self.latency_s * 1000, 3)
        if self.notes:
            body["notes"] = list(self.notes)
        return body


HealthProbe = Callable[[], HealthCheck]
"""Returns the last health check, without I/O."""
