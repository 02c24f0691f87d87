"""A forgotten memory leaves no trace in the live database."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from common.errors import Aborted, NotFound
from somabrain_service.commands.get_memory import get_memory
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import TABLES, counted_exactly
from tests.support.clones import Clone


def dump(database: Clone) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(database.owner_dsn) as owner:
        tables = [row[0] for row in owner.execute(TABLES)]
        return "\n".join(
            str(row)
            for table in tables
            for row in owner.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
        )


async def test_forgotten_memory_leaves_no_word_in_any_table(brain: Brain, database: Clone) -> None:
    await brain.remember("The meadow hums.", session="s", labels={"place": "meadow"})
    secret = await brain.remember(
        "The zanzibarite meadow is worth xylographs.",
        session="s",
        labels={"colour": "quinacridone"},
        subject="wollstonecraft",
        request_id="r",
    )
    # What it was before is kept in a revision until then.
    await brain.update(secret.memory, text="The syzygetic meadow is worth xylographs.", request_id="u")
    words = ("zanzibarit", "syzygetic", "xylograph", "quinacridone", "wollstonecraft")
    before = dump(database)
    assert all(before.count(word) >= 1 for word in words)
    embedding = before.count("[0.") + before.count("[-0.")
    await brain.forget(secret.memory.name)
    after = dump(database)
    assert [word for word in words if word in after] == []
    assert after.count("[0.") + after.count("[-0.") == embedding - 1
    assert "meadow" in after
    counted_exactly(database)


async def test_forgotten_memory_is_absent_from_next_read(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    token = await brain.forget(result.memory.name)
    assert (await brain.recall("bees", consistency_token=token)).hits == ()
    assert await brain.list_all(consistency_token=token) == []
    with pytest.raises(NotFound):
        await get_memory(brain.services, brain.tenant, result.memory.name, consistency_token=token)


async def test_forget_with_stale_etag_is_refused(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    with pytest.raises(Aborted, match="etag"):
        await brain.forget(result.memory.name, etag="old")
    assert len(await brain.list_all()) == 1
    await brain.forget(result.memory.name, etag=result.memory.etag)
    assert await brain.list_all() == []


async def test_forgetting_missing_memory_fails_unless_allow_missing(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    token = await brain.forget(result.memory.name, request_id="f")
    assert await brain.forget(result.memory.name, request_id="f") == token
    with pytest.raises(NotFound):
        await brain.forget(result.memory.name)
    assert await brain.forget(result.memory.name, allow_missing=True) == token


async def test_change_feed_has_remember_and_forget_without_text(brain: Brain, database: Clone) -> None:
    result = await brain.remember("Bees dance.")
    await brain.forget(result.memory.name)
    with psycopg.connect(database.owner_dsn) as owner:
        feed = owner.execute("SELECT version, ordinal, type, memory, revision FROM changes ORDER BY version").fetchall()
    memory = result.memory.name.memory
    assert feed == [(1, 0, 1, memory, 1), (2, 0, 3, memory, 1)]
