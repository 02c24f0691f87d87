"""The store over PostgreSQL: what each call does in its transaction."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from psycopg import IntegrityError

from common.errors import Aborted, AlreadyExists, NotFound, SomaBrainError
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryName, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.domain.quota import Stock
from somabrain_service.domain.tokens import Moment
from somabrain_service.store import schema
from somabrain_service.store.background import Background
from somabrain_service.store.postgres import (
    batch,
    erasing,
    filters,
    looking,
    namespaces,
    requests,
    rows,
    updating,
    writing,
)
from somabrain_service.store.postgres.connection import Connection
from somabrain_service.store.postgres.faults import Retry, violated
from somabrain_service.store.postgres.joining import Joining
from somabrain_service.store.postgres.known import KnownNamespaces
from somabrain_service.store.postgres.reading import PostgresReading
from somabrain_service.store.postgres.sql import sql
from somabrain_service.store.postgres.stocks import LARGEST, Stocks
from somabrain_service.store.postgres.transactions import Transactions
from somabrain_service.store.protocols import Reading
from somabrain_service.store.values import Erased, MemoryUpdate, NewMemory, SchemaState, Written, WrittenMany

_PING = sql("SELECT 1")
_SCHEMA_THERE = sql("SELECT to_regclass('schema_info') IS NOT NULL")
_SCHEMA = sql(schema.READ)
_INSERT_NAMESPACE = sql(f"""
WITH n AS (
    INSERT INTO namespaces (tenant_id, name, display_name, analyzer, language, encoder, recency_half_life, default_ttl,
        feed_retention, create_time, update_time, epoch)
    VALUES (:tenant, :name, :display_name, :analyzer, :language, :encoder, :recency_half_life, :default_ttl,
        :feed_retention, :now, :now, :epoch)
    ON CONFLICT (tenant_id, name) DO NOTHING RETURNING *
), u AS (INSERT INTO usage (tenant_id, namespace_id) SELECT tenant_id, id FROM n)
SELECT {rows.NAMESPACE} FROM n
""")
_LIVE_MEMORY = sql(f"SELECT {rows.MEMORY} FROM memories m WHERE m.namespace_id = :ns AND m.id = :id AND {filters.LIVE}")
_LOCKED_MEMORY = sql(f"{_LIVE_MEMORY.text} FOR UPDATE")


class PostgresStore:
    """See `Store`."""

    def __init__(self, transactions: Transactions, stocks: Stocks, tasks: Background) -> None:
        self._transactions = transactions
        self._stocks = stocks
        self._inserts = Joining(self._insert_joined, LARGEST, tasks)
        self._known = KnownNamespaces()

    def connections(self) -> tuple[int, int]:
        """See `Store.connections`."""
        return self._transactions.connections()

    def in_memory(self) -> tuple[int, int]:
        """See `Store.in_memory`."""
        return 0, 0

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._transactions.ask(_PING)

    async def schema_state(self) -> SchemaState:
        """See `Store.schema_state`."""
        there = await self._transactions.ask(_SCHEMA_THERE)
        found = await self._transactions.ask(_SCHEMA) if there and there[0] else None
        match found:
            case (int(current), int(oldest_compatible)):
                return SchemaState(current, oldest_compatible, schema.HEAD)
            case _:
                return SchemaState(None, None, schema.HEAD)

    async def create_namespace(
        self, tenant: TenantId, draft: NamespaceDraft, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.create_namespace`."""

        async def work(connection: Connection) -> Namespace:
            if await requests.find(connection, request, now):
                row = (await connection.execute(namespaces.FIND, {"name": draft.name.namespace})).one_or_none()
                if row is None:
                    raise NotFound("Namespace", str(draft.name), "It was deleted since; use a new request id.")
                return rows.namespace(row)
            values = {
                "tenant": tenant,
                "name": draft.name.namespace,
                "display_name": draft.display_name,
                "analyzer": analyzer,
                "language": draft.settings.language,
                "encoder": draft.settings.encoder,
                "recency_half_life": draft.settings.recency_half_life,
                "default_ttl": draft.settings.default_ttl,
                "feed_retention": draft.settings.feed_retention,
                "now": now,
                "epoch": secrets.token_hex(6),
            }
            row = (await connection.execute(_INSERT_NAMESPACE, values)).one_or_none()
            if row is None:
                # Perhaps its own twin was first: then that one's answer is this one's.
                if await requests.find(connection, request, now):
                    raise Retry
                raise AlreadyExists(f"{draft.name} exists already; choose another name or use it as it is.")
            await requests.keep(connection, tenant, request, now, ns=row.id, memory=None)
            return rows.namespace(row)

        return await self._transactions.write(tenant, work, repeatable=request is not None)

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """See `Store.namespace`."""
        if known := self._known.get(tenant, name):
            return known
        async with self._looking(tenant, name) as (_, namespace):
            return namespace

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """See `Store.measure_namespace`."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.measure(connection, name, now)

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.page(connection, after, limit)

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.update_namespace`."""

        async def work(connection: Connection) -> Namespace:
            return await namespaces.update(connection, tenant, change, analyzer, now, request)

        return self._known.keep(tenant, await self._transactions.write(tenant, work, repeatable=request is not None))

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """See `Store.delete_namespace`."""

        async def work(connection: Connection) -> bool:
            return await erasing.delete_namespace(connection, tenant, name, etag, now, request)

        deleted = await self._transactions.write(tenant, work, repeatable=request is not None)
        self._forget(tenant, name)
        return deleted

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> Erased:
        """See `Store.erase_subject`."""

        async def work(connection: Connection) -> Erased:
            return await erasing.erase_subject(connection, tenant, name, subject, now, request)

        return await self._transactions.write(tenant, work, repeatable=request is not None)

    @asynccontextmanager
    async def reading(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AsyncIterator[Reading]:
        """See `Store.reading`."""
        async with self._looking(tenant, name) as (connection, namespace):
            yield PostgresReading(connection, namespace, now)

    @asynccontextmanager
    async def _looking(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[tuple[Connection, Namespace]]:
        """A snapshot, and the namespace in it.

        Raises:
            NotFound: no such namespace.
        """
        find = (namespaces.FIND, {"name": name.namespace})
        async with self._transactions.read(tenant, find) as (connection, (found,)):
            row = found.one_or_none()
            if row is None:
                self._forget(tenant, name)
                raise namespaces.absent(name)
            yield connection, self._known.keep(tenant, rows.namespace(row))

    def _forget(self, tenant: TenantId, name: NamespaceName) -> None:
        """Believe nothing of a namespace that is gone."""
        self._known.forget(tenant, name)

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> Written:
        """See `Store.insert_memory`."""
        key = (tenant, namespace.name, namespace.etag)
        return await self._inserts.do(key, (namespace, new, request), batch.stock_of(new))

    async def _insert_joined(
        self, key: tuple[TenantId, NamespaceName, str], items: Sequence[tuple[Namespace, NewMemory, RequestKey | None]]
    ) -> Sequence[Written | SomaBrainError]:
        """Keep memories of one namespace that came together."""
        tenant, (namespace, *_) = key[0], items[0]
        written = await self.insert_memories(tenant, namespace, [(new, request) for _, new, request in items])
        return [Written(kept, written.moment) if isinstance(kept, Memory) else kept for kept in written.results]

    async def insert_memories(
        self, tenant: TenantId, namespace: Namespace, items: Sequence[tuple[NewMemory, RequestKey | None]]
    ) -> WrittenMany:
        """See `Store.insert_memories`."""
        total = sum((batch.stock_of(new) for new, _ in items), Stock())
        now = items[0][0].create_time if items else datetime.now(UTC)

        believed = looking.believed(namespace, items)

        async def work(connection: Connection) -> WrittenMany:
            nonlocal believed
            room = await self._stocks.room(connection, tenant, total, now)
            seen, believed = believed if room is None else None, None
            if seen is None:
                seen = await looking.look(connection, tenant, namespace.name, items, now)
                self._check(tenant, namespace, seen.namespace.etag if seen else None)
            if seen is None:
                raise namespaces.absent(namespace.name)
            return await batch.insert(connection, tenant, seen, items, room)

        return await self._transactions.write(tenant, work, repeatable=all(request for _, request in items))

    async def answered(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> Written | None:
        """See `Store.answered`."""
        if request is None:
            return None
        async with self._transactions.read(tenant) as (connection, _):
            if await requests.find(connection, request, now) is None:
                return None
            return await _again(connection, parent, request, now)

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, update: MemoryUpdate, request: RequestKey | None
    ) -> Written | None:
        """See `Store.update_memory`."""
        name, now, draft = update.before.name, update.update_time, update.draft
        growth = len(draft.text.encode()) - len(update.before.text.encode())

        async def work(connection: Connection) -> Written | None:
            await self._check_stock(connection, tenant, Stock(text_bytes=growth), request, now)
            if draft.session:
                lock = writing.session_lock(tenant, namespace.name, draft.session)
                await connection.execute(writing.LOCK_SESSION, {"session": lock})
            if await requests.find(connection, request, now):
                return await _again(connection, namespace.name, request, now)
            row = (await connection.execute(namespaces.FIND, {"name": namespace.name.namespace})).one_or_none()
            self._check(tenant, namespace, None if row is None else rows.namespace(row).etag)
            if row is None:
                raise namespaces.absent(namespace.name)
            which = {"ns": row.id, "id": name.memory, "now": now}
            found = (await connection.execute(_LOCKED_MEMORY, which)).one_or_none()
            if found is None:
                raise NotFound("Memory", str(name))
            if rows.memory(namespace.name, found) != update.before:
                return None
            try:
                memory, counts = await updating.update(connection, tenant, row.id, update)
            except IntegrityError as exc:
                if violated(exc) == "memories_position":
                    raise writing.place_taken(draft.session_position) from None
                raise
            await requests.keep(connection, tenant, request, now, ns=row.id, memory=name.memory)
            changed = [(name.memory, memory.revision)]
            raising = writing.raising(tenant, row.id, writing.ChangeType.UPDATED, changed, now, counts, namespace.etag)
            moment = writing.raised(await connection.execute(*raising))
            lost = [term for term, df in counts.terms.items() if df < 0]
            await connection.execute_last(writing.DROP_TERMS, {"ns": row.id, "terms": lost})
            return Written(memory, moment)

        return await self._transactions.write(tenant, work, repeatable=request is not None)

    async def delete_memory(
        self, tenant: TenantId, name: MemoryName, etag: str, now: datetime, request: RequestKey | None
    ) -> Moment | None:
        """See `Store.delete_memory`."""

        async def work(connection: Connection) -> Moment | None:
            parent = {"name": name.namespace.namespace}
            namespace = (await connection.execute(namespaces.FIND, parent)).one_or_none()
            if namespace is None:
                raise namespaces.absent(name.namespace)
            if await requests.find(connection, request, now):
                return Moment(namespace.epoch, namespace.version)
            which = {"ns": namespace.id, "id": name.memory, "now": now}
            row = (await connection.execute(_LOCKED_MEMORY, which)).one_or_none()
            if row is None:
                return None
            if etag and etag != rows.memory(name.namespace, row).etag:
                raise Aborted("etag: is not the current one; read the memory again and decide anew.")
            gone = (await connection.execute(writing.DELETE, which)).one()
            await requests.keep(connection, tenant, request, now, ns=namespace.id, memory=name.memory)
            counts = writing.Counts(
                memories=-1,
                text_bytes=-gone.text_bytes,
                tokens=-gone.length,
                vectors=-gone.vectors,
                terms=dict.fromkeys(gone.terms, -1),
            )
            changed = [(name.memory, gone.revision)]
            raising = writing.raising(tenant, namespace.id, writing.ChangeType.FORGOTTEN, changed, now, counts)
            moment = writing.raised(await connection.execute(*raising))
            # What no memory holds any more goes with the last that held it; the namespace's row is locked by now.
            await connection.execute_last(writing.DROP_TERMS, {"ns": namespace.id, "terms": gone.terms})
            return moment

        return await self._transactions.write(tenant, work, repeatable=request is not None)

    async def _check_stock(
        self, connection: Connection, tenant: TenantId, more: Stock, request: RequestKey | None, now: datetime
    ) -> None:
        """Hold a write against what the tenant may hold; one that was answered before writes nothing and passes.

        Raises:
            ResourceExhausted: it does not fit.
        """
        room = await self._stocks.room(connection, tenant, more, now)
        refused = room.let_in(more) if room else None
        if refused and await requests.find(connection, request, now) is None:
            raise refused

    def _check(self, tenant: TenantId, namespace: Namespace, etag: str | None) -> None:
        """Hold a namespace as it was believed to be against the etag it has; None: it is gone."""
        if etag == namespace.etag:
            return
        self._known.forget(tenant, namespace.name)
        if etag is None:
            raise namespaces.absent(namespace.name)
        raise Aborted("The namespace's settings were changed meanwhile; try again.")


async def _again(connection: Connection, name: NamespaceName, request: RequestKey | None, now: datetime) -> Written:
    """The answer to a request that has been answered before: its memory as it is now."""
    answered = await requests.find(connection, request, now)
    if answered is None:
        raise Retry
    row = None
    if answered.memory is not None and not answered.forgotten:
        which = {"ns": answered.ns, "id": answered.memory, "now": now}
        row = (await connection.execute(_LIVE_MEMORY, which)).one_or_none()
    if row is None:
        raise NotFound("Memory", f"{name}/memories/{answered.memory or 0:016x}", "It has been forgotten since.")
    return Written(rows.memory(name, row), answered.moment)
