"""Memory filters as SQL: a filter applies before the search and not to its results.

Counterpart of `search_index.filters`; the conformance tests compare both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import NUMBER, LabelCondition, LabelOperator, is_number
from somabrain_service.store.postgres.driver.arrays import numbers

LIVE = "(m.expire_time IS NULL OR m.expire_time > :now)"


_NUMBER = f"CASE WHEN l.value ~ '^{NUMBER}$' THEN CAST(l.value AS numeric) END"
_COMPARES = {
    LabelOperator.LESS: "<",
    LabelOperator.LESS_OR_EQUAL: "<=",
    LabelOperator.GREATER: ">",
    LabelOperator.GREATER_OR_EQUAL: ">=",
}


def conditions(memory_filter: MemoryFilter) -> tuple[str, dict[str, object]]:
    """Return conditions on `memories m` for live memories, and their values. They also use :tenant, :ns and :now."""
    values: dict[str, object] = {}
    matching = _matching(memory_filter, values, outermost=True)
    return " AND ".join(["m.tenant_id = :tenant", "m.namespace_id = :ns", LIVE, *matching]), values


def _matching(memory_filter: MemoryFilter, values: dict[str, object], *, outermost: bool = False) -> list[str]:
    """Return conditions, each true or false, never NULL unless it is the outermost; their values go to `values`."""

    def bind(value: object) -> str:
        name = f"f{len(values)}"
        values[name] = value
        return f":{name}"

    sql = [
        _labelled(f"l.key = {bind(key)} AND l.value = {bind(value)}")
        for key, value in sorted(memory_filter.labels.items())
    ]
    for column, kind, selected in (
        ("kind", "smallint", [int(kind) for kind in memory_filter.kinds]),
        ("session", "text", list(memory_filter.sessions)),
        ("subject", "text", list(memory_filter.subjects)),
    ):
        if selected:
            sql.append(f"m.{column} = ANY(CAST({bind(selected)} AS {kind}[]))")
    if memory_filter.key_prefix:
        begins = _begins("m.key", memory_filter.key_prefix, bind)
        sql.append(begins if outermost else f"({begins}) IS TRUE")  # of a test IS TRUE no index is used
    for column in ("event_time", "create_time"):
        for end, compares in (("from", ">="), ("until", "<")):
            bound = getattr(memory_filter, f"{column}_{end}")
            if bound is not None:
                sql.append(f"m.{column} {compares} {bind(bound)}")
    if memory_filter.pinned is not None:
        sql.append(f"m.pinned = {bind(memory_filter.pinned)}")
    sql += [_condition(condition, bind) for condition in memory_filter.conditions]
    if memory_filter.any_of:
        sql.append(f"({' OR '.join(_all(each, values) for each in memory_filter.any_of)})")
    sql += [f"NOT {_all(each, values)}" for each in memory_filter.none_of]
    return sql


def _all(memory_filter: MemoryFilter, values: dict[str, object]) -> str:
    return f"({' AND '.join(_matching(memory_filter, values))})"


def _labelled(condition: str) -> str:
    """Return the condition that a memory has a label `l` that meets `condition`: a hashed lookup, not a join."""
    return (
        "(m.id IN (SELECT l.memory FROM memory_labels l WHERE l.tenant_id = :tenant AND l.namespace_id = :ns"
        f" AND {condition})) IS TRUE"
    )


def _condition(condition: LabelCondition, bind: Callable[[object], str]) -> str:
    """Return a condition as `LabelCondition.matches` defines it."""
    key, operator = f"l.key = {bind(condition.label)}", condition.operator
    if operator is LabelOperator.EXISTS:
        return _labelled(key)
    if operator is LabelOperator.PREFIX:
        return _labelled(f"{key} AND {_begins('l.value', condition.values[0], bind)}")
    if operator in _COMPARES:
        value, compares = condition.values[0], _COMPARES[operator]
        if is_number(value):
            return _labelled(f"{key} AND {_NUMBER} {compares} CAST({bind(value)} AS numeric)")
        return _labelled(f"{key} AND l.value {compares} {bind(value)} AND {_NUMBER} IS NULL")
    numeric = [value for value in condition.values if is_number(value)]
    textual = [value for value in condition.values if not is_number(value)]
    equal = [f"l.value = ANY(CAST({bind(textual)} AS text[]))"] if textual else []
    equal += [f"{_NUMBER} = ANY(CAST({bind(numbers(numeric))} AS numeric[]))"] if numeric else []
    having = _labelled(f"{key} AND ({' OR '.join(equal)})")
    return f"NOT {having}" if operator is LabelOperator.NOT_EQUAL else having


def _begins(column: str, prefix: str, bind: Callable[[object], str]) -> str:
    """Return the condition that a column begins with `prefix`, beside starts_with as a range, which uses an index."""
    first, end = bind(prefix), prefix_end(prefix)
    before_end = f" AND {column} < {bind(end)}" if end else ""
    return f"{column} >= {first}{before_end} AND starts_with({column}, {first})"


def prefix_end(prefix: str) -> str:
    """Return the first string after all that begin with `prefix`, in the order of bytes; empty: no string is.

    In UTF-8 the order of bytes is that of code points.
    """
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return ""
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)  # no surrogates in UTF-8
