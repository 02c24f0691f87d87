"""Table of all systems with ratios, as Markdown, so that a page can contain it unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.peers.figures import Rounds

MISSING = "—"


@dataclass(frozen=True)
class Row:
    """One figure of all systems."""

    title: str
    unit: str
    rounds: Rounds = field(default_factory=Rounds)


def significant(value: float | None, digits: int = 2) -> str:
    """Format a number with at least `digits` significant digits; digits before the point are never rounded away."""
    if value is None:
        return MISSING
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(digits - 1 - magnitude, 0)}f}"


def table(rows: Sequence[Row], systems: Mapping[str, str], product: str) -> str:
    """Return a table of `rows`.

    `systems` maps the systems to their titles, in the columns' order. Behind them is one column of ratios for each
    system but `product`: the product's figure divided by that system's.
    """
    others = [system for system in systems if system != product]
    header = ["", *systems.values(), *(f"ratio to {systems[other]}" for other in others)]
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    for row in rows:
        figures = [_with_unit(row.rounds.median(system), row.unit) for system in systems]
        ratios = [significant(row.rounds.ratio(product, other)) for other in others]
        lines.append(_line([row.title, *figures, *ratios]))
    return "\n".join(lines)


def _with_unit(value: float | None, unit: str) -> str:
    return MISSING if value is None else significant(value) + unit


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
