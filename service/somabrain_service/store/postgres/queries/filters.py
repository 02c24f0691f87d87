"""Memory filters as SQL: a filter applies before the search and not to its results.

Counterpart of `search_index.filters`; the conformance tests compare both.
"""

from __future__ import annotations

import sys

from somabrain_service.domain.filter import MemoryFilter

LIVE = "(m.expire_time IS NULL OR m.expire_time > :now)"


def conditions(memory_filter: MemoryFilter) -> tuple[str, dict[str, object]]:
    """Return conditions on `memories m` for live memories, and their values. They also use :tenant, :ns and :now."""
    sql = ["m.tenant_id = :tenant", "m.namespace_id = :ns", LIVE]
    values: dict[str, object] = {}
    for i, (key, value) in enumerate(sorted(memory_filter.labels.items())):
        sql.append(
            "(m.id IN (SELECT l.memory FROM memory_labels l WHERE l.tenant_id = :tenant AND l.namespace_id = :ns"
            f" AND l.key = :label_key_{i} AND l.value = :label_value_{i})) IS TRUE"  # a hashed lookup, not a join
        )
        values |= {f"label_key_{i}": key, f"label_value_{i}": value}
    for column, name, selected in (
        ("kind", "kinds", [int(kind) for kind in memory_filter.kinds]),
        ("session", "sessions", list(memory_filter.sessions)),
        ("subject", "subjects", list(memory_filter.subjects)),
    ):
        if selected:
            kind = "smallint" if column == "kind" else "text"
            sql.append(f"m.{column} = ANY(CAST(:{name} AS {kind}[]))")
            values[name] = selected
    if memory_filter.key_prefix:
        sql.append("m.key >= :key_prefix")  # beside starts_with, so that the index on keys is used
        sql.append("starts_with(m.key, :key_prefix)")
        values["key_prefix"] = memory_filter.key_prefix
        if end := prefix_end(memory_filter.key_prefix):
            sql.append("m.key < :key_prefix_end")
            values["key_prefix_end"] = end
    for column in ("event_time", "create_time"):
        for end, compares in (("from", ">="), ("until", "<")):
            bound = getattr(memory_filter, f"{column}_{end}")
            if bound is not None:
                sql.append(f"m.{column} {compares} :{column}_{end}")
                values[f"{column}_{end}"] = bound
    if memory_filter.pinned is not None:
        sql.append("m.pinned = :pinned")
        values["pinned"] = memory_filter.pinned
    return " AND ".join(sql), values


def prefix_end(prefix: str) -> str:
    """Return the first string after all that begin with `prefix`, in the order of bytes; empty: no string is.

    In UTF-8 the order of bytes is that of code points.
    """
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return ""
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)  # no surrogates in UTF-8
