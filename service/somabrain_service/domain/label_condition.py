"""Conditions on labels: operators, and which values are numbers.

Numbers are compared as decimals, exactly and without a binary approximation: two different integers are never equal,
however long, as ids of other systems are. `search_index` and `postgres` compare as this module does; conformance tests
compare all three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from common.errors import InvalidArgument
from somabrain_service.domain import limits

NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?"
"""A number in JSON (RFC 8259), with an exponent that every engine can compare; also as PostgreSQL's expression."""
_NUMBER = re.compile(NUMBER)


class LabelOperator(IntEnum):
    """Comparison of a label's value with a condition's; numbers as in the contract."""

    EQUAL = 1
    NOT_EQUAL = 2
    LESS = 3
    LESS_OR_EQUAL = 4
    GREATER = 5
    GREATER_OR_EQUAL = 6
    IN = 7
    PREFIX = 8
    EXISTS = 9


def is_number(value: str) -> bool:
    """Return whether a value is compared as a number with numbers."""
    return _NUMBER.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class LabelCondition:
    """A condition on a label."""

    label: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validate the fields against their bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        limits.check_text("filter.conditions.label", self.label, limits.MAX_LABEL_KEY_BYTES, required=True)
        least, most = {LabelOperator.IN: (1, limits.MAX_FILTER_VALUES), LabelOperator.EXISTS: (0, 0)}.get(
            self.operator, (1, 1)
        )
        if not least <= len(self.values) <= most:
            wanted = str(most) if least == most else f"{least} to {most}"
            raise InvalidArgument(
                "filter.conditions.values",
                f"must have {wanted} values for the operator {self.operator.name}, but has {len(self.values)}",
            )
        for value in self.values:
            limits.check_text("filter.conditions.values", value, limits.MAX_LABEL_VALUE_BYTES)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether a memory with these labels meets the condition: the definition that every store follows."""
        value = labels.get(self.label)
        match self.operator:
            case LabelOperator.NOT_EQUAL:
                return value is None or not _equal(value, self.values[0])
            case _ if value is None:
                return False
            case LabelOperator.EXISTS:
                return True
            case LabelOperator.EQUAL | LabelOperator.IN:
                return any(_equal(value, other) for other in self.values)
            case LabelOperator.PREFIX:
                return value.startswith(self.values[0])
        order = _order(value, self.values[0])
        return order is not None and order in _ORDERS[self.operator]


_ORDERS: Mapping[LabelOperator, tuple[int, ...]] = {
    LabelOperator.LESS: (-1,),
    LabelOperator.LESS_OR_EQUAL: (-1, 0),
    LabelOperator.GREATER: (1,),
    LabelOperator.GREATER_OR_EQUAL: (0, 1),
}


def _equal(one: str, other: str) -> bool:
    return _order(one, other) == 0


def _order(one: str, other: str) -> int | None:
    """Return -1, 0 or 1 as `one` is less than, equal to or greater than `other`; None: one is a number, one is not."""
    if is_number(one) != is_number(other):
        return None
    if is_number(one):
        return int(Decimal(one).compare(Decimal(other)))
    return (one > other) - (one < other)  # code points are in the order of the bytes of UTF-8
