"""The blocking client: the same calls, from threads without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from somabrain_client import Change, MemoryClient, MemoryDraft, SyncMemoryClient
from somabrain_client.errors import NotFoundError
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess


@pytest.fixture
def client(brain: ServiceProcess, idp: Issuer, request: pytest.FixtureRequest) -> Iterator[SyncMemoryClient]:
    with SyncMemoryClient(brain.address, token=idp.token(request.node.name)) as client:
        client.create_namespace("notes")
        yield client


def test_sync_client_mirrors_async_client_signatures() -> None:
    """The blocking client has every public method of the asynchronous one, with the same signature."""
    for name, method in inspect.getmembers(MemoryClient, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(SyncMemoryClient, name)) == inspect.signature(method), name


def test_remember_recall_update_and_forget(client: SyncMemoryClient) -> None:
    memory = client.remember("notes", "The heron stood in the reeds.")
    assert client.get(memory.name, consistency_token=memory.consistency_token) == memory
    assert client.recall("notes", "heron").hits[0].memory == memory
    changed = client.update(memory.name, text="The heron flew away.")
    assert [former.text for former in client.revisions(memory.name)] == [memory.text]
    client.forget(changed.name)
    with pytest.raises(NotFoundError):
        client.get(memory.name)


def test_lists_page_lazily_and_can_be_abandoned(client: SyncMemoryClient) -> None:
    texts = [f"number {number}" for number in range(7)]
    client.batch_remember("notes", [MemoryDraft(text) for text in texts])
    assert [memory.text for memory in client.list("notes", page_size=2)] == texts
    calls = client.attempts.calls
    for memory in client.list("notes", page_size=2):
        assert memory.text == texts[0]
        break
    assert client.attempts.calls == calls + 1


def test_watch_yields_writes_of_another_thread(client: SyncMemoryClient) -> None:
    events = client.watch("notes")
    next(events)  # the checkpoint: from here on
    writer = threading.Thread(target=client.remember, args=("notes", "from another thread"))
    writer.start()
    change = next(event for event in events if isinstance(event, Change))
    writer.join()
    events.close()
    assert client.get(change.name).text == "from another thread"


def test_concurrent_threads_share_one_client(client: SyncMemoryClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.remember("notes", f"number {number}"), range(40)))
    assert {memory.text for memory in client.list("notes")} == {f"number {number}" for number in range(40)}


def test_closed_client_raises_runtime_error(brain: ServiceProcess, idp: Issuer) -> None:
    client = SyncMemoryClient(brain.address, token=idp.token("closed"))
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.get_namespace("notes")


def test_forked_process_is_refused_immediately(client: SyncMemoryClient, brain: ServiceProcess, idp: Issuer) -> None:
    """Calls, and iterations that its parent began, fail at once in a forked process; the parent's continue."""
    assert client.get_namespace("notes").name == "namespaces/notes"
    program = [sys.executable, "-m", "tests.integration.service.forked_iterations"]
    done = subprocess.run(
        [*program, brain.address, idp.token("test_forked_process_is_refused_immediately")],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "GRPC_ENABLE_FORK_SUPPORT": "0"},
        cwd=Path(__file__).parents[4],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "told\ntold\ntold\nnumber 1, number 2\nafter the fork\n"


def test_run_executes_several_calls_as_one_coroutine(client: SyncMemoryClient) -> None:
    """By `run` in a thread, and by `run_async` from any event loop: each here is a new one."""

    async def twice(connection: MemoryClient) -> list[str]:
        stored = [await connection.remember("notes", text) for text in ("one", "two")]
        return [memory.text for memory in stored]

    assert client.run(twice) == ["one", "two"]
    assert [asyncio.run(client.run_async(twice)) for _ in range(2)] == [["one", "two"]] * 2
    assert len(list(client.list("notes"))) == 6


async def test_cancelling_run_cancels_the_coroutine(client: SyncMemoryClient) -> None:
    """A coroutine whose caller is cancelled is cancelled on the client's loop."""
    cancelled = threading.Event()

    async def wait(connection: MemoryClient) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(client.run_async(wait))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 10)
