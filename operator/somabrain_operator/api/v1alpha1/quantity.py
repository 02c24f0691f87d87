"""Kubernetes quantities: their schema, and their value for comparison.

Source: k8s.io/apimachinery/pkg/api/resource.Quantity.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

PATTERN: Final = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$"

Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": PATTERN,
            "maxLength": 32,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""Kubernetes quantity, such as 1, 250m or 512Mi; never negative."""

_UNITS: Final = {
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in zip((-3, -2, -1, 1, 2, 3, 4, 5, 6), "numkMGTPE", strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_PARTS: Final = re.compile(r"^([0-9.]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]|)$")


def quantity_value(quantity: int | str) -> Decimal | None:
    """Return the amount in its base unit (cores, bytes), or None if it is not a valid quantity."""
    match = _PARTS.match(str(quantity))
    if not match or not re.match(PATTERN, str(quantity)):
        return None
    digits, unit = match.groups()
    if unit[:1] in ("e", "E") and len(unit) > 1:
        return Decimal(digits + unit)
    scale = _UNITS.get(unit)
    return None if scale is None else Decimal(digits) * scale
