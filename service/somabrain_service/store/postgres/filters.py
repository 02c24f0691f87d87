"""A filter as SQL, so that it narrows what is searched and never what was found."""

from __future__ import annotations

from somabrain_service.domain.filter import MemoryFilter

LIVE = "(m.expire_time IS NULL OR m.expire_time > :now)"


def conditions(where: MemoryFilter) -> tuple[str, dict[str, object]]:
    """Conditions on `memories m` and their values; live memories only. Expects :ns and :now beside them."""
    sql = ["m.namespace_id = :ns", LIVE]
    values: dict[str, object] = {}
    for i, (key, value) in enumerate(sorted(where.labels.items())):
        sql.append(
            "(m.id IN (SELECT l.memory FROM memory_labels l WHERE l.namespace_id = :ns"
            f" AND l.key = :label_key_{i} AND l.value = :label_value_{i})) IS TRUE"  # a hashed lookup, not a join
        )
        values |= {f"label_key_{i}": key, f"label_value_{i}": value}
    for column, name, chosen in (
        ("kind", "kinds", [int(kind) for kind in where.kinds]),
        ("session", "sessions", list(where.sessions)),
        ("subject", "subjects", list(where.subjects)),
    ):
        if chosen:
            kind = "smallint" if column == "kind" else "text"
            sql.append(f"m.{column} = ANY(CAST(:{name} AS {kind}[]))")
            values[name] = chosen
    for column in ("event_time", "create_time"):
        for end, compares in (("from", ">="), ("until", "<")):
            moment = getattr(where, f"{column}_{end}")
            if moment is not None:
                sql.append(f"m.{column} {compares} :{column}_{end}")
                values[f"{column}_{end}"] = moment
    if where.pinned is not None:
        sql.append("m.pinned = :pinned")
        values["pinned"] = where.pinned
    return " AND ".join(sql), values
