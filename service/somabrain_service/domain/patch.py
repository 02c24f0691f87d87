"""Partial update of a memory (AIP-134)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from common.errors import InvalidArgument
from somabrain_service.domain.memory import Memory, MemoryDraft, MemoryKind

FIELDS = (
    "text",
    "kind",
    "session",
    "session_position",
    "subject",
    "labels",
    "event_time",
    "salience",
    "expire_time",
    "ttl",
    "pinned",
    "key",
    "index_text",
)
"""Fields that an update may change, by the contract's names: all that a caller may set in Remember."""
REPLACED_FIELDS = tuple(field for field in FIELDS if field != "key")
"""Fields of the mask `*`. A caller that knows nothing of keys must not remove one, so the key has to be named."""


@dataclass(frozen=True, slots=True)
class MemoryPatch:
    """New values for the fields in `paths`, as in `MemoryDraft`; all other fields are ignored."""

    paths: tuple[str, ...]
    text: str = ""
    kind: MemoryKind = MemoryKind.EPISODIC
    session: str = ""
    session_position: int | None = None
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    event_time: datetime | None = None
    salience: float | None = None
    expire_time: datetime | None = None
    ttl: timedelta | None = None
    pinned: bool = False
    key: str = ""
    index_text: str = ""

    def __post_init__(self) -> None:
        """Validate the paths.

        Raises:
            InvalidArgument: there are no paths, or one cannot be changed.
        """
        if not self.paths:
            raise InvalidArgument("update_mask", f"names no field; name one or more of {', '.join(FIELDS)}")
        for path in self.paths:
            if path not in FIELDS:
                raise InvalidArgument(
                    "update_mask",
                    f"names a field that cannot change; name one or more of {', '.join(FIELDS)}, or `*` alone",
                )

    def apply(self, memory: Memory) -> MemoryDraft:
        """Return the updated memory as a draft. Moved to another session without a position, it is appended there.

        Raises:
            InvalidArgument: a field is out of its bound, or conflicts with one that is unchanged.
        """
        paths = set(self.paths)
        session = self.session if "session" in paths else memory.session
        position = memory.session_position if session == memory.session else None
        expires = not paths.isdisjoint({"expire_time", "ttl"})
        return MemoryDraft(
            text=self.text if "text" in paths else memory.text,
            kind=self.kind if "kind" in paths else memory.kind,
            session=session,
            session_position=self.session_position if "session_position" in paths else position,
            subject=self.subject if "subject" in paths else memory.subject,
            labels=self.labels if "labels" in paths else memory.labels,
            event_time=self.event_time if "event_time" in paths else memory.event_time,
            salience=self.salience if "salience" in paths else memory.salience,
            expire_time=self.expire_time if expires else memory.expire_time,
            ttl=self.ttl if expires else None,
            pinned=self.pinned if "pinned" in paths else memory.pinned,
            key=self.key if "key" in paths else memory.key,
            index_text=self.index_text if "index_text" in paths else memory.index_text,
        )
