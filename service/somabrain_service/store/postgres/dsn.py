"""A DSN, looked at before it is used: what libpq says of one that is wrong repeats parts of it, the password's too."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

_PORTS = re.compile(r"[0-9,]*")


def validate_dsn(dsn: str) -> str | None:
    """What is wrong with a libpq URL, as the end of a sentence that holds nothing of it; None: it can be tried."""
    if not dsn.strip():
        return "is empty"
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "is not a libpq URL"
    host, port, name = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
    # What follows one of these signs in a password is read as host, port or database, and would be told as such.
    if "@" in host + name or not _PORTS.fullmatch(port):
        return "has an @ or a / in its password, or a port that is no number; write %40 for @ and %2F for /"
    return None
