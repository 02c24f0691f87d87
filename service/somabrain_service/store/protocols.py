"""The narrow protocol of a store. Commands import this and nothing else of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The database's schema beside this image's. `current` None: the migrations have not run."""

    current: int | None
    oldest_compatible: int | None
    head: int

    @property
    def compatible(self) -> bool:
        """Whether this image may serve: current >= its head >= oldest compatible."""
        if self.current is None or self.oldest_compatible is None:
            return False
        return self.current >= self.head >= self.oldest_compatible


class Store(Protocol):
    """Every call is one transaction of one tenant.

    Raises:
        StoreUnavailable: of every method: PostgreSQL is gone.
    """

    async def ping(self) -> None:
        """Ask the database for a sign of life."""

    async def schema_state(self) -> SchemaState:
        """Compare schemas, for /ready."""
        ...
