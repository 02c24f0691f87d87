"""SQL with named parameters, `:name`, converted to PostgreSQL's numbered ones, `$1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_NAME = re.compile(r"(?<![:\w]):(\w+)")


@dataclass(frozen=True, slots=True, eq=False)
class Sql:
    """A statement as written (`text`) and as sent (`query`), and the names of its parameters in order."""

    text: str
    query: bytes
    names: tuple[str, ...]


Statement = tuple[Sql, Mapping[str, object]]


@lru_cache(maxsize=1024)
def sql(text: str) -> Sql:
    """Parse a statement; a name that occurs again is the same parameter."""
    names = tuple(dict.fromkeys(_NAME.findall(text)))
    number = {name: f"${i}" for i, name in enumerate(names, start=1)}
    return Sql(text, _NAME.sub(lambda match: number[match[1]], text).encode(), names)
