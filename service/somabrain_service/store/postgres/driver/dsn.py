"""Validation of a DSN before use: libpq's errors about an invalid DSN repeat parts of it, also of the password."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

_PORTS = re.compile(r"[0-9,]*")


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
