"""PostgreSQL inside the process's own folder, for `serve --embedded` and the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """libpq URLs of the three roles over a Unix socket; none is a superuser."""

    owner_dsn: str
    app_dsn: str
    worker_dsn: str


@contextmanager
def embedded_database(directory: Path) -> Iterator[EmbeddedDatabase]:
    """Start PostgreSQL with its data in `directory`, make roles and extension, and stop it on leaving. Blocks.

    Raises:
        ConfigurationError: the extra `embedded` is not installed, or the folder cannot be used.
    """
    raise NotImplementedError
    yield
