"""Values of a /metrics page."""

from __future__ import annotations


def read_metrics(page: str) -> dict[str, float]:
    """Return the samples by name and labels, as they are written."""
    samples = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}
