"""Retention of the change feed, as its readers observe it."""

from __future__ import annotations

from datetime import datetime

from common.errors import OutOfRange
from somabrain_service.domain.changes import Change
from somabrain_service.domain.namespace import DEFAULT_FEED_RETENTION, Namespace


def require_retained(namespace: Namespace, changes: list[Change] | None, now: datetime) -> list[Change]:
    """Return the changes, unless some are older than the feed's retention, whether or not they are already trimmed.

    Args:
        namespace: the namespace of the feed.
        changes: the changes after a cursor; None: some of them are already trimmed.
        now: current time.

    Raises:
        OutOfRange: some changes are older than the retention.
    """
    retention = namespace.settings.feed_retention or DEFAULT_FEED_RETENTION
    if changes is None or (changes and now - changes[0].change_time > retention):
        raise OutOfRange(
            f"The feed of {namespace.name} retains changes for {retention}, and some after this cursor are older; "
            "export the namespace and watch from the export's cursor."
        )
    return changes
