"""With row security off, a tenant neither reads nor writes another's rows, since every statement names its tenant.

The other tenant is a duplicate: its rows have the same namespace numbers, names, memory ids, request ids and
sessions, so a statement that does not name its tenant would read or write them too.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.erase_subject import erase_subject
from somabrain_service.commands.list_namespaces import list_namespaces
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.commands.shared.context import utc_now
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import MemoryDraft
from somabrain_service.domain.names import MemoryName
from somabrain_service.domain.pagination import NamespaceQuery, Order, OrderField, RevisionQuery
from somabrain_service.store.maintenance import MaintenanceStore
from tests.conformance.target import TENANT_TABLES
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server

DUPLICATE = UUID(int=7)
PARENTS_FIRST = tuple(reversed(TENANT_TABLES))


def without_row_security(database: Clone) -> None:
    with psycopg.connect(database.owner_dsn) as owner:
        for table in TENANT_TABLES:
            name = sql.Identifier(table)
            owner.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
            owner.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))


def rows_of(owner: psycopg.Connection[tuple[object, ...]], table: str, tenant: UUID) -> list[tuple[object, ...]]:
    statement = sql.SQL("SELECT * FROM {} WHERE tenant_id = %s ORDER BY 1, 2, 3, 4").format(sql.Identifier(table))
    return owner.execute(statement, [tenant]).fetchall()


def all_rows_of(database: Clone, tenant: UUID) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(database.owner_dsn) as owner:
        return {table: rows_of(owner, table, tenant) for table in TENANT_TABLES}


def plant_duplicate(database: Clone, tenant: UUID) -> None:
    """Copy every row of a tenant to the duplicate tenant, with the same numbers and different words."""
    with psycopg.connect(database.owner_dsn) as owner:
        for table in PARENTS_FIRST:
            for row in rows_of(owner, table, tenant):
                copied = [DUPLICATE, *(Jsonb(value) if isinstance(value, dict) else value for value in row[1:])]
                owner.execute(
                    sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({})").format(
                        sql.Identifier(table), sql.SQL(", ").join([sql.Placeholder()] * len(copied))
                    ),
                    copied,
                )
        owner.execute("UPDATE memories SET text = 'the twin''s ' || text WHERE tenant_id = %s", [DUPLICATE])


NO_ROWS = ("relayed", "memory_vectors", "memory_token_vectors")
"""Tables without rows of a namespace without vectors that nobody publishes."""


async def fill(brain: Brain) -> MemoryName:
    """Put rows into every table of tenants; return the name of a memory that was forgotten by the request `r-0`."""
    first = await brain.remember("Ada keeps bees.", session="s", labels={"k": "v"}, subject="ada", request_id="r-1")
    await brain.update(first.memory, text="Ada keeps many bees.")
    await brain.remember_all(
        *(RememberItem(MemoryDraft(f"Bee {number} dances.", session="s", labels={"k": "v"})) for number in range(4)),
        *(RememberItem(MemoryDraft(f"Wasp {number}.", subject="wasp")) for number in range(3)),
    )
    await brain.remember("A kept bee.", key="hive/1")
    await brain.remember("A short life.", ttl=timedelta(hours=1), request_id="r-2")
    gone = (await brain.remember("A lost bee.")).memory.name
    await brain.forget(gone, request_id="r-0")
    return gone


async def test_reads_return_only_rows_of_their_tenant(words: Brain, database: Clone) -> None:
    """Recall, lists, statistics, revisions and replays are the same as without the duplicate tenant."""
    await fill(words)
    before = await words.statistics()
    plant_duplicate(database, words.tenant)
    without_row_security(database)
    assert await words.statistics() == before
    for question in ("bees dance", "wasp", "ada keeps"):
        answer = await words.recall_once(question, top_k=50)
        assert len({hit.memory.name for hit in answer.hits}) == len(answer.hits) > 0
        assert [hit.memory.text for hit in answer.hits if "twin" in hit.memory.text] == []
    narrow = MemoryFilter(labels={"k": "v"}, sessions=("s",))
    assert len((await words.recall_once("bee", filter=narrow, top_k=50)).hits) == 5
    for field in OrderField:
        memories = await words.list_all(order=Order(field))
        assert len(memories) == (1 if field is OrderField.KEY else before.memories)
        assert [memory.text for memory in memories if "twin" in memory.text] == []
    replayed = await words.remember("Ada keeps bees.", session="s", labels={"k": "v"}, subject="ada", request_id="r-1")
    assert replayed.memory.text == "Ada keeps many bees."
    revisions = await list_revisions(words.services, words.tenant, RevisionQuery(replayed.memory.name))
    assert [revision.text for revision in revisions.memories] == ["Ada keeps bees."]
    page = await list_namespaces(words.services, words.tenant, NamespaceQuery(10))
    assert [namespace.name for namespace in page.namespaces] == [words.parent]


async def test_writes_leave_another_tenant_unchanged(words: Brain, database: Clone) -> None:
    """Remember, Update, Forget, erasure, settings and DeleteNamespace change no row of the duplicate tenant."""
    gone = await fill(words)
    plant_duplicate(database, words.tenant)
    without_row_security(database)
    before = all_rows_of(database, DUPLICATE)
    assert min(len(rows) for table, rows in before.items() if table not in NO_ROWS) > 0
    first = (await words.list_all())[0]
    again = await words.remember("One more bee dances.", session="s", labels={"k": "w"}, request_id="r-3")
    assert again.memory.session_position == 5
    await words.update(first, text="Ada sold her bees.", labels={"k": "x"}, session="t")
    await words.forget(again.memory.name, request_id="r-4")
    assert (await erase_subject(words.services, words.tenant, words.parent, "wasp", request_id="r-5")).count == 3
    await words.forget(gone, request_id="r-0")  # answered as before
    await words.change(language="de")
    await words.change(encoder="lexical")
    assert all_rows_of(database, DUPLICATE) == before
    await delete_namespace(words.services, words.tenant, words.parent, request_id="r-6")
    assert all_rows_of(database, DUPLICATE) == before
    assert [table for table, rows in all_rows_of(database, words.tenant).items() if rows] == ["idempotency_keys"]


async def test_jobs_leave_another_tenant_unchanged(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """Expiry and trimming of the feed of one tenant change no row of the other."""
    await fill(words)
    plant_duplicate(database, words.tenant)
    without_row_security(database)
    before = all_rows_of(database, DUPLICATE)
    later = utc_now() + timedelta(days=30)
    pending = [each for each in await maintenance.expired(later, 10) if each.tenant == words.tenant]
    assert [await maintenance.expire(each, later, 10) for each in pending] == [1]
    due = await maintenance.namespaces_to_trim(later, timedelta(), 10)
    trimmed = [
        await maintenance.trim_changes(each, later, timedelta(), 99) for each in due if each.tenant == words.tenant
    ]
    assert [each.count > 0 for each in trimmed] == [True]
    assert all_rows_of(database, DUPLICATE) == before
