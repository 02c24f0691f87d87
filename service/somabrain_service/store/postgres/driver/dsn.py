"""Parsing and validation of a DSN: libpq's errors about an invalid DSN repeat parts of it, also of the password."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

Target = frozenset[tuple[str, str]]
"""Server, database and role of a DSN: all its parameters but the passwords."""

_PORTS = re.compile(r"[0-9,]*")
_PASSWORDS = frozenset({"password", "sslpassword"})


def validate_dsn(dsn: str) -> str | None:
    """Return the problem of a libpq URL, as the end of a sentence without any part of the URL; None: it is valid."""
    if not dsn.strip():
        return "is empty"
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "is not a libpq URL"
    host, port, name = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
    # The text after one of these characters in a password is parsed as host, port or database, and reported as such.
    if "@" in host + name or not _PORTS.fullmatch(port):
        return "has an @ or a / in its password, or a port that is not a number; write %40 for @ and %2F for /"
    return None


def dsn_target(dsn: str) -> Target:
    """Return the target of a valid DSN. A connection that is open stays useful while only a password changes."""
    return frozenset((name, str(value)) for name, value in conninfo_to_dict(dsn).items() if name not in _PASSWORDS)
