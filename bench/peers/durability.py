"""Durability of an addition in each system, read from the settings of its database while it runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import psycopg

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import DATABASE

SETTINGS = ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes")


def of_product(data: Path) -> str:
    """Describe the durability of the product, by the settings that its sessions have."""
    return f"an fsync of PostgreSQL's WAL ({_settings(data, DatabaseSettings().app_role, DATABASE)})"


def of_mem0(data: Path, own: str) -> str:
    """Describe the durability of mem0; `own`: what its clients' processes write themselves."""
    return f"an fsync of PostgreSQL's WAL ({_settings(data, 'postgres', 'postgres')}); {own}"


def of_chroma(data: Path) -> str:
    """Describe the durability of chroma, by the journal of its SQLite file."""
    with sqlite3.connect(f"file:{data / 'chroma.sqlite3'}?mode=ro", uri=True) as connection:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    return (
        f"an fsync of its SQLite file and of the journal (journal_mode={journal}, read from the file; it sets no"
        " synchronous level, so SQLite's default, FULL; strace shows eight of them before the answer and no later one);"
        " the vector index is written later and rebuilt from that file"
    )


def vector_index_scans(data: Path) -> int:
    """Return how many of mem0's searches the planner answered from a vector index (pg_stat_user_indexes)."""
    with psycopg.connect(_dsn(data, "postgres", "postgres")) as connection:
        statement = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname LIKE '%hnsw%'"
        row = connection.execute(statement).fetchone()
    return int(row[0] or 0) if row else 0


def analyze(data: Path) -> None:
    """Collect the planner's statistics of mem0's tables, which autovacuum does a minute later."""
    with psycopg.connect(_dsn(data, "postgres", "postgres"), autocommit=True) as connection:
        connection.execute("ANALYZE")


def _settings(data: Path, role: str, database: str) -> str:
    with psycopg.connect(_dsn(data, role, database)) as connection:
        rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(SETTINGS)])
        return ", ".join(f"{name}={setting}" for name, setting in rows)


def _dsn(data: Path, role: str, database: str) -> str:
    # The fifth line of postmaster.pid is the directory of the socket.
    directory = (data / "postmaster.pid").read_text().splitlines()[4]
    return f"postgresql://{role}@/{database}?host={quote(directory, safe='')}"
