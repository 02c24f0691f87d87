"""Two tenants of one service are isolated from each other, over gRPC and in SQL."""

from __future__ import annotations

import asyncio

import pytest

from examples.kubectl import CommandFailed
from somabrain_client.errors import NotFoundError
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import Database


async def test_tenants_are_isolated_over_grpc_and_in_sql(
    served: Brain, another_namespace: str, database: Database
) -> None:
    """Callers from two Kubernetes namespaces use the same names and cannot read each other's memories."""
    # Named after the namespace: the database may hold what earlier runs left to other tenants.
    texts = f"The safe of {another_namespace} opens with 4711.", f"The safe of {another_namespace} has a brass lever."
    mine, yours = texts
    async with served.client() as one, served.client(tenant=another_namespace) as two:
        await one.create_namespace("vault")
        theirs = await one.remember("vault", mine)
        with pytest.raises(NotFoundError):
            await two.recall("vault", "How does the safe open?")
        await two.create_namespace("vault")
        await two.remember("vault", yours)
        assert [hit.memory.text for hit in (await two.recall("vault", "How does the safe open?")).hits] == [yours]
        assert [hit.memory.text for hit in (await one.recall("vault", "How does the safe open?")).hits] == [mine]
        for call in (two.get(theirs.name), two.forget(theirs.name)):
            with pytest.raises(NotFoundError):
                await call
        assert [memory.text async for memory in two.list("vault")] == [yours]
        assert (await one.get(theirs.name)).text == mine
    await asyncio.to_thread(_assert_sql_isolation, database, texts)


def _assert_sql_isolation(database: Database, texts: tuple[str, str]) -> None:
    """Assert that the service's role sees the rows of one tenant per transaction, and none without a tenant."""
    tenants = {text: database.sql(f"SELECT tenant_id FROM memories WHERE text = '{text}'") for text in texts}
    assert len(set(tenants.values())) == 2
    assert database.sql_as("app", "SELECT count(*) FROM memories") == "0"
    for mine, not_mine in (texts, texts[::-1]):
        setting = f"SET app.tenant_id = '{tenants[mine]}';"
        rows = database.sql_as("app", f"{setting} SELECT text FROM memories").splitlines()
        assert mine in rows
        assert not_mine not in rows
        other = tenants[not_mine]
        where = f"WHERE tenant_id = '{other}'"
        assert database.sql_as("app", f"{setting} DELETE FROM memories {where} RETURNING 1") == ""
        with pytest.raises(CommandFailed, match="row-level security"):
            database.sql_as("app", f"{setting} {_insert(other)}")


def _insert(tenant: str) -> str:
    """Return the SQL for a row of another tenant, with each column that has no default."""
    return (
        "INSERT INTO namespaces (tenant_id, name, display_name, analyzer, language, encoder, feed_retention, "
        f"create_time, update_time, epoch) VALUES ('{tenant}', 'planted', '', 'en-1', 'en', 'lexical', '7 days', "
        "now(), now(), 'e')"
    )
