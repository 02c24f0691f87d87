"""Labels and nested filters that hypothesis draws: values close to each other, by their bytes and as numbers."""

from __future__ import annotations

from hypothesis import strategies as st

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import LabelCondition, LabelOperator

VALUES = [
    "",
    "red",
    "redder",
    "Red",
    "é",
    "e\u0301",
    "\U0001f41d",
    "\uffff",
    "1",
    "1.0",
    "1e0",
    "10",
    "9",
    "-2",
    "-10",
    "-0",
    "0",
    "0.5",
    "5e-1",
    "007",
    "+5",
    ".5",
    "5.",
    "1e999",
    "-1e999",
    "1e-999",
    "1e1000",
    "1.7976931348623157e308",
    "5e-324",
    "NaN",
    "inf",
    "9007199254740992",
    "9007199254740993",
    " 1",
    "1\n",
    "٣",
]
"""Values that differ by normalisation, case, notation of a number, and past the precision and the range of float64."""
LABELS = ["colour", "size", "n", "n\n"]

labels = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(VALUES), max_size=3)


@st.composite
def conditions(draw: st.DrawFn) -> LabelCondition:
    operator = draw(st.sampled_from(LabelOperator))
    least, most = {LabelOperator.EXISTS: (0, 0), LabelOperator.IN: (1, 3)}.get(operator, (1, 1))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=least, max_size=most))
    return LabelCondition(draw(st.sampled_from([*LABELS, "none"])), operator, tuple(values))


def nested(plain: st.SearchStrategy[MemoryFilter]) -> st.SearchStrategy[MemoryFilter]:
    """Filters of conditions, and of filters within each other, whose leaves are `plain`."""
    some = st.lists(conditions(), max_size=3).map(tuple)
    leaves = st.builds(MemoryFilter, conditions=some) | plain
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            MemoryFilter,
            conditions=some,
            any_of=st.lists(inner.filter(lambda each: not each.empty), max_size=2).map(tuple),
            none_of=st.lists(inner.filter(lambda each: not each.empty), max_size=2).map(tuple),
        ),
        max_leaves=4,
    )
