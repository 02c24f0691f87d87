"""A call in a process forked after a client was created fails with the remedy, before gRPC is entered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from somabrain_client import MemoryClient, SyncMemoryClient
from tests.forking import error_in_fork

ADDRESS = "127.0.0.1:1"
REMEDY = "create the first client after the fork, in each process, or start processes with the method spawn"


def error_in_forked_loop(make_call: Callable[[], Awaitable[object]]) -> str:
    """Await a call on an event loop of a forked process; return the message of its RuntimeError."""

    async def call() -> None:
        await make_call()

    return error_in_fork(lambda: asyncio.run(call()))


def test_sync_client_of_parent_is_rejected_after_fork() -> None:
    """Calls and iterations fail at once; leaving the `with` block in the forked process closes nothing."""
    with SyncMemoryClient(ADDRESS, deadline_s=60) as client:
        for call in (
            lambda: client.recall("notes", "anything"),
            lambda: client.create_namespace("notes"),
            lambda: next(client.list("notes")),
            lambda: next(client.watch("notes")),
            lambda: next(client.export("notes")),
        ):
            message = error_in_fork(call)
            assert message.startswith("the client was created in process ")
            assert REMEDY in message
        assert error_in_fork(client.close) == ""


async def test_async_client_of_parent_is_rejected_after_fork() -> None:
    """Calls, pages and streams fail at once on an event loop of the forked process; closing it closes nothing."""
    async with MemoryClient(ADDRESS, deadline_s=60) as client:
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: client.recall("notes", "anything"),
            lambda: anext(client.list("notes")),
            lambda: anext(client.watch("notes")),
            lambda: anext(client.export("notes")),
        )
        for make_call in calls:
            message = await asyncio.to_thread(error_in_forked_loop, make_call)
            assert message.startswith("the client was created in process ")
            assert REMEDY in message
        assert await asyncio.to_thread(error_in_forked_loop, lambda: client.__aexit__(None, None, None)) == ""


@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
def test_new_client_after_fork_is_rejected_if_parent_had_one(is_closed: bool) -> None:
    """A new client is rejected even after the parent closed its own: gRPC would hang or crash in the fork."""
    client = SyncMemoryClient(ADDRESS)
    if is_closed:
        client.close()
    for create in (lambda: MemoryClient(ADDRESS), lambda: SyncMemoryClient(ADDRESS)):
        message = error_in_fork(create)
        assert "was forked after process " in message
        assert REMEDY in message
    client.close()
