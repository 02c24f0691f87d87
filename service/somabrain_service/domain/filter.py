"""Filter of memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.label_condition import LabelCondition
from somabrain_service.domain.memory import MemoryKind, check_labels


@dataclass(frozen=True, slots=True)
class MemoryFilter:
    """A memory must match every set field, of a tuple any value, but all `conditions` and not one of `none_of`.

    `..._from` is inclusive, `..._until` exclusive.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[MemoryKind, ...] = ()
    sessions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    event_time_from: datetime | None = None
    event_time_until: datetime | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    pinned: bool | None = None
    key_prefix: str = ""
    conditions: tuple[LabelCondition, ...] = ()
    any_of: tuple[MemoryFilter, ...] = ()
    none_of: tuple[MemoryFilter, ...] = ()

    def __post_init__(self) -> None:
        """Validate the fields against their bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        check_labels("filter.labels", self.labels)
        limits.check_text("filter.key_prefix", self.key_prefix, limits.MAX_KEY_BYTES)
        for name, values, size in (
            ("filter.sessions", self.sessions, limits.MAX_SESSION_BYTES),
            ("filter.subjects", self.subjects, limits.MAX_SUBJECT_BYTES),
        ):
            if len(values) > limits.MAX_FILTER_VALUES:
                raise InvalidArgument(name, f"has {len(values)} values, at most {limits.MAX_FILTER_VALUES} are allowed")
            for value in values:
                limits.check_text(name, value, size)
        if len(self.kinds) > limits.MAX_FILTER_VALUES:
            raise InvalidArgument("filter.kinds", f"has {len(self.kinds)} values, at most {limits.MAX_FILTER_VALUES}")
        for name, nested in (("filter.any_of", self.any_of), ("filter.none_of", self.none_of)):
            if any(each.empty for each in nested):
                raise InvalidArgument(name, "contains an empty filter, which matches every memory; remove it")
        if self.clauses > limits.MAX_FILTER_CLAUSES:
            raise InvalidArgument(
                "filter",
                f"has {self.clauses} conditions and nested filters, at most {limits.MAX_FILTER_CLAUSES} are allowed; "
                "use IN for many values, or several calls",
            )
        if self.depth > limits.MAX_FILTER_DEPTH:
            raise InvalidArgument(
                "filter", f"is nested {self.depth} deep, at most {limits.MAX_FILTER_DEPTH} are allowed"
            )

    @property
    def depth(self) -> int:
        """Number of filters within each other; 1: none is nested."""
        return 1 + max((each.depth for each in (*self.any_of, *self.none_of)), default=0)

    @property
    def clauses(self) -> int:
        """Number of conditions and nested filters, at all depths."""
        return len(self.conditions) + sum(1 + each.clauses for each in (*self.any_of, *self.none_of))

    @property
    def empty(self) -> bool:
        """True if every memory matches."""
        return self == MemoryFilter()
