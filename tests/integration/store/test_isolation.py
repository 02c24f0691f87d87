"""The database itself isolates tenants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from common.errors import NotFound
from somabrain_service.commands.forget_memories import forget_memories
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.list_groups import list_groups
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.commands.touch_memory import touch_memory
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import LabelCondition, LabelOperator
from somabrain_service.domain.pagination import GroupField, GroupQuery, ListQuery, RevisionQuery
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import TABLES
from tests.support.clones import Clone

NOT_OF_A_TENANT = {"alembic_version", "schema_info"}
OF_THE_WORKER = {"relayed"}


async def fill(brain: Brain) -> None:
    """Put a row into every table that a service of this version writes."""
    await brain.create()
    stored = await brain.remember(
        "Ada keeps bees.", session="s", labels={"k": "v"}, subject="ada", request_id="r-1", key="a", index_text="Ada"
    )
    deleted = await brain.remember("Ada sold a hive.", session="s")
    await brain.forget(deleted.memory.name)
    assert (await brain.update(stored.memory, salience=0.9)).memory.revision == 2


@pytest.fixture
async def two_tenants(brain: Brain) -> tuple[Brain, Brain]:
    a, b = brain.of("tenant-a"), brain.of("tenant-b")
    await fill(a)
    await fill(b)
    return a, b


def as_tenant(app: psycopg.Connection[Any], tenant: str) -> None:
    """Set the tenant of the open transaction as the service does."""
    app.execute("SET LOCAL citus.propagate_set_commands = 'local'")
    app.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(tenant)))


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute(TABLES)} - NOT_OF_A_TENANT - OF_THE_WORKER


async def test_tenant_reads_no_row_of_another_tenant_in_any_table(
    two_tenants: tuple[Brain, Brain], database: Clone
) -> None:
    a, b = two_tenants
    with psycopg.connect(database.app_dsn) as app, psycopg.connect(database.owner_dsn) as owner:
        as_tenant(app, str(a.tenant))
        for table in tables(database.owner_dsn):
            name = sql.Identifier(table)
            stored = {row[0] for row in owner.execute(sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(name))}
            assert {a.tenant, b.tenant} <= stored, f"{table} holds nothing to hide"
            visible = {row[0] for row in app.execute(sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(name))}
            assert visible == {a.tenant}, table


async def test_session_without_tenant_reads_and_writes_no_row(
    two_tenants: tuple[Brain, Brain], database: Clone
) -> None:
    del two_tenants
    with psycopg.connect(database.app_dsn) as app:
        for setting in (None, ""):
            if setting is not None:
                as_tenant(app, setting)
            for table in tables(database.owner_dsn):
                name = sql.Identifier(table)
                assert app.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall() == [], table
                assert app.execute(sql.SQL("DELETE FROM {}").format(name)).rowcount == 0, table


async def test_tenant_cannot_insert_update_or_delete_rows_of_another(
    two_tenants: tuple[Brain, Brain], database: Clone
) -> None:
    a, b = two_tenants
    with psycopg.connect(database.app_dsn) as app:
        for table in tables(database.owner_dsn):
            as_tenant(app, str(a.tenant))
            name = sql.Identifier(table)
            deleted = app.execute(sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(name), [b.tenant])
            assert deleted.rowcount == 0, table
            # A distributed engine refuses to move a row to another tenant before row security does.
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                app.execute(sql.SQL("UPDATE {} SET tenant_id = %s").format(name), [b.tenant])
            app.rollback()


@pytest.mark.own_server
async def test_every_table_forces_row_security_and_belongs_to_the_owner(database: Clone) -> None:
    """Every table, also one added later, forces row security and belongs to the owner's role."""
    with psycopg.connect(database.superuser_dsn) as connection:
        rows = connection.execute(
            """SELECT relname, relrowsecurity AND relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class
               WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = 'public'::regnamespace
               AND relname <> 'alembic_version'"""
        ).fetchall()
        assert len(rows) >= 11
        assert [row[0] for row in rows if not row[1]] == []
        assert {row[2] for row in rows} == {"somabrain_owner"}
        members = connection.execute(
            """SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole, (SELECT count(*) FROM pg_auth_members
               WHERE member = r.oid) FROM pg_roles r WHERE rolname LIKE 'somabrain%'"""
        ).fetchall()
        assert sorted(members) == [
            ("somabrain_app", False, 0),
            ("somabrain_owner", False, 0),
            ("somabrain_worker", False, 0),
        ]


async def test_app_role_cannot_alter_schema_or_read_worker_data(database: Clone) -> None:
    with psycopg.connect(database.app_dsn, autocommit=True) as app:
        for statement in (
            "CREATE TABLE t (i int)",
            "ALTER TABLE memories NO FORCE ROW LEVEL SECURITY",
            "SELECT * FROM relayed",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)


async def test_worker_role_reads_only_the_columns_it_needs(two_tenants: tuple[Brain, Brain], database: Clone) -> None:
    """The worker's role may read only the columns listed in this test, because it sees every tenant.

    A new column is not readable. Two of the columns contain words of a memory: the text, whose length is counted, and
    the terms, whose counts are reduced.
    """
    del two_tenants
    needed = {
        "namespaces": {
            "tenant_id",
            "id",
            "name",
            "version",
            "epoch",
            "feed_retention",
            "analyzer",
            "encoder",
            "update_time",
            "analyzed_after",
        },
        "usage": {
            "tenant_id",
            "namespace_id",
            "memories",
            "text_bytes",
            "tokens",
            "vectors",
            "token_texts",
            "token_bytes",
        },
        "memories": {
            "tenant_id",
            "namespace_id",
            "id",
            "text",
            "revision",
            "length",
            "expire_time",
            "update_time",
            "key",
            "index_text",
        },
        "memory_vectors": {"tenant_id", "namespace_id", "memory", "encoder_id"},
        "memory_token_vectors": {"tenant_id", "namespace_id", "memory", "size_bytes"},
        "terms": {"tenant_id", "namespace_id", "term", "df"},
        "memory_terms": {"tenant_id", "namespace_id", "term", "memory"},
        "changes": {
            "tenant_id",
            "namespace_id",
            "version",
            "ordinal",
            "type",
            "memory",
            "revision",
            "change_time",
            "traceparent",
        },
        "idempotency_keys": {"tenant_id", "key", "namespace_id", "memory", "expire_time"},
    }
    with psycopg.connect(database.owner_dsn) as owner, psycopg.connect(database.worker_dsn, autocommit=True) as worker:
        for table in tables(database.owner_dsn):
            columns = owner.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                [table],
            ).fetchall()
            for (column,) in columns:
                question = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
                if column in needed.get(table, set()):
                    assert worker.execute(question).fetchall(), f"{table}.{column} holds nothing to hide"
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        worker.execute(question)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE memories SET text = 'forged'",
        "UPDATE memories SET expire_time = now()",
        "INSERT INTO memories SELECT * FROM memories",
        "UPDATE namespaces SET name = 'another'",
        "UPDATE namespaces SET epoch = 'another'",
        "DELETE FROM namespaces",
        "UPDATE changes SET memory = 1",
        "DELETE FROM usage",
        "UPDATE idempotency_keys SET expire_time = now()",
        "UPDATE terms SET term = 'another'",
    ],
)
async def test_worker_role_writes_only_what_its_jobs_need(
    two_tenants: tuple[Brain, Brain], database: Clone, statement: str
) -> None:
    del two_tenants
    with psycopg.connect(database.worker_dsn) as worker, pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute(statement)


async def test_no_command_reaches_data_of_another_tenant(two_tenants: tuple[Brain, Brain]) -> None:
    a, b = two_tenants
    (theirs,) = await b.list_all()
    await b.at("elsewhere").create()
    await b.at("elsewhere").remember("Ben's.", key="b")
    assert (await a.get("a")).name != theirs.name == (await b.get("a")).name
    assert a.tenant != b.tenant
    stranger = a.of("tenant-c")
    for me in (a, stranger):
        with pytest.raises(NotFound):
            await get_memory(me.services, me.tenant, theirs.name)
        with pytest.raises(NotFound):
            await me.forget(theirs.name)
        foreign = me.at("elsewhere")  # a namespace of b alone
        for call in (foreign.get("b"), foreign.forget(foreign.key("b")), foreign.upsert("b", "stolen")):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(NotFound):
            await me.update(theirs, text="stolen")
        with pytest.raises(NotFound):
            await list_revisions(me.services, me.tenant, RevisionQuery(theirs.name))
    with pytest.raises(NotFound):
        await stranger.recall("bees")
    for ref in (theirs.name, a.at("elsewhere").key("b")):
        with pytest.raises(NotFound):
            await touch_memory(a.services, a.tenant, ref, timedelta(hours=1))
    for group_by in GroupField:
        query = GroupQuery(a.parent, group_by)
        groups = (await list_groups(a.services, a.tenant, query)).groups
        assert [group.memories for group in groups] == [1]
        with pytest.raises(NotFound):
            await list_groups(stranger.services, stranger.tenant, query)
    everything = MemoryFilter(conditions=(LabelCondition("none", LabelOperator.NOT_EQUAL, ("x",)),))
    for dry_run in (True, False):
        with pytest.raises(NotFound):
            await forget_memories(stranger.services, stranger.tenant, stranger.parent, everything, dry_run=dry_run)
        with pytest.raises(NotFound):
            await forget_memories(a.services, a.tenant, b.at("elsewhere").parent, everything, dry_run=dry_run)
    assert len(await a.list_all(filter=everything)) == 1
    with pytest.raises(NotFound):
        await list_memories(stranger.services, stranger.tenant, ListQuery(stranger.parent))
    assert [memory.name for memory in await b.list_all()] == [theirs.name]
    assert theirs.name not in [hit.memory.name for hit in (await a.recall("bees")).hits]
