"""Memories, drafts of new memories, and vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from common.errors import AlreadyExists, InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.names import MemoryName

NEUTRAL_SALIENCE = 0.5
MAX_RENEWAL = timedelta(seconds=30)
"""Longest time of a renewal, from its reading of the clock to its commit. So long after a memory has expired, it may
still prove renewed: what is remembered of its expiry is read again."""


class MemoryKind(IntEnum):
    """Kind of a memory (Tulving 1972, 1985); numbers as in the contract and in the database."""

    EPISODIC = 1
    SEMANTIC = 2
    PROCEDURAL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A caller's own vector, float64[d]. `encoder_id` empty: the namespace's encoder."""

    values: NDArray[np.float64]
    encoder_id: str = ""
    field: str = "vector"

    @classmethod
    def of(cls, values: Sequence[float], encoder_id: str = "") -> Vector:
        """Create a vector of these numbers; raises as the class does."""
        return cls(np.array(values, np.float64), encoder_id)

    def __post_init__(self) -> None:
        """Validate the fields against the contract's bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        if not 1 <= len(self.values) <= limits.MAX_VECTOR_DIMENSIONS:
            raise InvalidArgument(
                f"{self.field}.values", f"must have 1 to {limits.MAX_VECTOR_DIMENSIONS} numbers, not {len(self.values)}"
            )
        largest = np.abs(self.values).max()
        if not np.isfinite(largest):
            raise InvalidArgument(f"{self.field}.values", "must be finite numbers; remove NaN and infinity")
        if not largest:
            raise InvalidArgument(f"{self.field}.values", "must not be all zero: it has no direction to compare")


@dataclass(frozen=True, slots=True)
class MemoryDraft:
    """A memory to be stored, as supplied by the caller, within the contract's bounds.

    `session_position` None: after the last one. `event_time` None: now. `salience` None: neutral.
    At most one of `expire_time`, `ttl` and `pinned`; if all are unset, the namespace's default expiry applies.
    """

    text: str
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
        """Validate the fields against the contract's bounds.

        Raises:
            InvalidArgument: naming the field, its bound and the remedy.
        """
        limits.check_text("memory.text", self.text, limits.MAX_TEXT_BYTES, required=True)
        limits.check_text("memory.session", self.session, limits.MAX_SESSION_BYTES)
        limits.check_text("memory.subject", self.subject, limits.MAX_SUBJECT_BYTES)
        limits.check_text("memory.key", self.key, limits.MAX_KEY_BYTES)
        limits.check_text("memory.index_text", self.index_text, limits.MAX_TEXT_BYTES)
        if self.session_position is not None:
            if not self.session:
                raise InvalidArgument(
                    "memory.session_position", "needs a session; set memory.session or leave it unset"
                )
            limits.check_range("memory.session_position", self.session_position, 0, limits.MAX_SESSION_POSITION)
        check_labels("memory.labels", self.labels)
        if self.salience is not None:
            limits.check_range("memory.salience", self.salience, 0, 1)
        if self.expire_time is not None and self.ttl is not None:
            raise InvalidArgument("memory.ttl", "excludes memory.expire_time; set one of them")
        if self.pinned and (self.expire_time is not None or self.ttl is not None):
            raise InvalidArgument(
                "memory.pinned", "excludes an expiry: a pinned memory is never removed by age; set one"
            )
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise InvalidArgument("memory.ttl", "must be more than 0; leave it unset for a memory that does not expire")

    @property
    def indexed_text(self) -> str:
        """The text that is searched."""
        return self.index_text or self.text

    @property
    def stored_bytes(self) -> int:
        """Bytes of its texts and key, which count for the tenant's quota."""
        return len(self.text.encode()) + len(self.key.encode()) + len(self.index_text.encode())


def check_labels(name: str, labels: Mapping[str, str]) -> None:
    """Check labels against their bounds; `name` is the field that errors name."""
    if len(labels) > limits.MAX_LABELS:
        raise InvalidArgument(name, f"has {len(labels)} labels, at most {limits.MAX_LABELS} are allowed; remove some")
    for key, value in labels.items():
        limits.check_text(f"{name} (a key)", key, limits.MAX_LABEL_KEY_BYTES, required=True)
        limits.check_text(f"{name}[{key}]", value, limits.MAX_LABEL_VALUE_BYTES)


def position_conflict(position: int | None) -> AlreadyExists:
    """Return the error for a session position that another memory has."""
    return AlreadyExists(
        f"memory.session_position: {position} is taken in this session; "
        "leave it unset for the position after the last one."
    )


def key_conflict(holder: MemoryName) -> AlreadyExists:
    """Return the error for a key that a live memory has."""
    return AlreadyExists(
        f"memory.key: is the key of {holder}; update that memory, or choose another key.", holder=str(holder)
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """A stored memory. Times are timezone-aware, in UTC, to the microsecond."""

    name: MemoryName
    text: str
    kind: MemoryKind
    session: str
    session_position: int | None
    subject: str
    labels: Mapping[str, str]
    event_time: datetime
    create_time: datetime
    update_time: datetime
    salience: float
    expire_time: datetime | None
    pinned: bool
    revision: int
    key: str = ""
    index_text: str = ""

    @property
    def etag(self) -> str:
        """Etag (AIP-154): changes whenever the memory does."""
        state = f"{self.name}:{self.revision}:{self.update_time.timestamp():.6f}"
        return hashlib.blake2b(state.encode(), digest_size=12).hexdigest()

    @property
    def indexed_text(self) -> str:
        """As `MemoryDraft.indexed_text`."""
        return self.index_text or self.text

    @property
    def stored_bytes(self) -> int:
        """As `MemoryDraft.stored_bytes`."""
        return len(self.text.encode()) + len(self.key.encode()) + len(self.index_text.encode())

    @property
    def size_bytes(self) -> int:
        """Upper bound of the memory's size in a message, as `SIZE` of store/postgres/queries/rows.py."""
        strings = self.stored_bytes + len(self.session.encode()) + len(self.subject.encode())
        labels = sum(len(k.encode()) + len(v.encode()) + 16 for k, v in self.labels.items())
        return 512 + strings + labels
