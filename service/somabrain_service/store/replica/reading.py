"""A reading of PostgreSQL whose searches are answered from memory, where that is exactly as far as the reading."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.scoring import Candidates
from somabrain_service.domain.tokens import Moment
from somabrain_service.store.postgres.pipeline import Connection
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.replica.replica import Replica
from somabrain_service.store.replica.replicas import Replicas


class ReplicaReading(PostgresSnapshot):
    """See `Reading`."""

    def __init__(
        self,
        connection: Connection,
        namespace: Namespace,
        now: datetime,
        *,
        replicas: Replicas,
        tenant: TenantId,
    ) -> None:
        super().__init__(connection, namespace, now)
        self._now = now
        self._replicas = replicas
        self._tenant = tenant
        self._replica: Replica | None = None
        self._moment: Moment | None = None

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """See `Reading.statistics`."""
        self._replica = await self._replicas.at(self._tenant, self.namespace, self)
        if self._replica is None:
            seen = await super().statistics(terms)
            self._replicas.want(self._tenant, seen)
            return seen
        self._moment = self._replica.moment
        seen = self._replica.statistics(self.namespace, terms, self._now)
        self._vector_count = seen.vectors
        return seen

    async def candidates(self, search: Search) -> Candidates:
        """See `Reading.candidates`."""
        # Another reading may have taken the replica further meanwhile.
        if self._replica is None or self._replica.moment != self._moment:
            return await super().candidates(search)
        return self._replica.candidates(search, self._now)
