"""A process that was forked after a client was created is told at once what to do, before gRPC is entered."""

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


def test_a_blocking_client_of_the_parent_process_is_refused_in_a_fork() -> None:
    """Calls and iterations say so at once; leaving the `with` block in the forked process ends nothing."""
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


async def test_an_asynchronous_client_of_the_parent_process_is_refused_in_a_fork() -> None:
    """Calls, pages and streams say so at once on an event loop of the forked process; closing it ends nothing."""
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
def test_a_new_client_in_a_fork_is_refused_when_the_parent_had_one(is_closed: bool) -> None:
    """Also after the parent closed its client: gRPC would hang or crash in the forked process."""
    client = SyncMemoryClient(ADDRESS)
    if is_closed:
        client.close()
    for create in (lambda: MemoryClient(ADDRESS), lambda: SyncMemoryClient(ADDRESS)):
        message = error_in_fork(create)
        assert "was forked after process " in message
        assert REMEDY in message
    client.close()
