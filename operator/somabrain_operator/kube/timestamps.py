"""Timestamps in Kubernetes' format: RFC 3339 in UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(timestamp: datetime) -> str:
    """Return `timestamp` in the format of metav1.Time."""
    return timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime | None:
    """Return the time that `text` denotes, in UTC if it names no zone, or None if it is invalid."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
