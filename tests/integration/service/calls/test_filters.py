"""Filters over the wire: the client and the command line build them, and a hostile one has a clear status."""

from __future__ import annotations

from pathlib import Path

import pytest

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client import Condition, Filter, MemoryDraft
from somabrain_client.errors import CallError, InvalidArgumentError
from tests.integration.service.command_line import SCRIPT, run
from tests.integration.service.conftest import Connect
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess

NUMBERS = range(8)


async def test_client_lists_recalls_and_forgets_by_filter(connect: Connect) -> None:
    """Each operator, any_of, none_of, pages of a recall, a dry run and a bound."""
    async with connect("filters") as client:
        await client.create_namespace("n")
        await client.batch_remember("n", [MemoryDraft(f"bee {n}", labels={"n": str(n), f"is{n}": ""}) for n in NUMBERS])

        async def listed(where: Filter) -> list[int]:
            return sorted([int(memory.labels["n"]) async for memory in client.list("n", where=where)])

        for condition, expected in (
            (Condition("n", "=", 3.0), [3]),
            (Condition("n", "!=", 3), [0, 1, 2, 4, 5, 6, 7]),
            (Condition("n", "<", 2), [0, 1]),
            (Condition("n", "<=", "2"), [0, 1, 2]),
            (Condition("n", ">", 5), [6, 7]),
            (Condition("n", ">=", 6.5), [7]),
            (Condition("n", "in", (1, "2", 9)), [1, 2]),
            (Condition("n", "prefix", "4"), [4]),
            (Condition("is5", "exists"), [5]),
        ):
            where = Filter(conditions=(condition,))
            assert await listed(where) == expected
            hits = (await client.recall("n", "bee", where=where)).hits
            assert sorted(int(hit.memory.labels["n"]) for hit in hits) == expected
        low, high = (Filter(conditions=(Condition("n", sign, 4),)) for sign in ("<", ">"))
        assert await listed(Filter(any_of=(low, high))) == [0, 1, 2, 3, 5, 6, 7]
        assert await listed(Filter(none_of=(low, high))) == [4]
        first = await client.recall("n", "bee", top_k=5)
        second = await client.recall("n", "bee", top_k=5, page_token=first.next_page_token)
        assert sorted(hit.memory.text for hit in (*first.hits, *second.hits)) == [f"bee {n}" for n in NUMBERS]
        counted = await client.forget_where("n", low, dry_run=True)
        some = await client.forget_where("n", low, max_count=3)
        assert [(each.count, each.matching) for each in (counted, some)] == [(0, 4), (3, 4)]
        assert await listed(Filter()) == [3, 4, 5, 6, 7]


def wide() -> memory_pb2.MemoryFilter:
    condition = memory_pb2.LabelCondition(label="a", operator=memory_pb2.LABEL_OPERATOR_EQUAL, values=["x"])
    return memory_pb2.MemoryFilter(conditions=[condition] * 10_000)


def deep(depth: int) -> memory_pb2.MemoryFilter:
    message = memory_pb2.MemoryFilter(sessions=["s"])
    for _ in range(depth):
        message = memory_pb2.MemoryFilter(none_of=[message])
    return message


def unknown_operator() -> memory_pb2.MemoryFilter:
    condition = memory_pb2.LabelCondition(label="a", values=["x"])
    condition.operator = 77  # type: ignore[assignment]
    return memory_pb2.MemoryFilter(conditions=[condition])


HOSTILE = {
    "10,000 conditions": wide(),
    "nested one too deep": deep(8),
    "nested far too deep": deep(60),
    "unknown operator": unknown_operator(),
    "empty nested filter": memory_pb2.MemoryFilter(any_of=[memory_pb2.MemoryFilter()]),
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
async def test_invalid_filter_is_invalid_argument_in_every_method(
    connect: Connect, message: memory_pb2.MemoryFilter
) -> None:
    parent = "namespaces/n"
    async with connect("filters-hostile") as client:
        call, stubs = client._transport.call, client._memories
        for attempt in (
            call(stubs.Recall, pb.RecallRequest(parent=parent, query="x", filter=message)),
            call(stubs.ListMemories, pb.ListMemoriesRequest(parent=parent, filter=message)),
            call(stubs.ForgetMemories, pb.ForgetMemoriesRequest(parent=parent, filter=message)),
        ):
            with pytest.raises(InvalidArgumentError, match="filter"):
                await attempt


async def test_filter_nested_beyond_protobuf_depth_is_refused(connect: Connect) -> None:
    """It is refused with a status, and the server continues to serve."""
    async with connect("filters-deepest") as client:
        with pytest.raises(CallError):
            await client._transport.call(
                client._memories.Recall, pb.RecallRequest(parent="namespaces/n", query="x", filter=deep(95))
            )
        await client.create_namespace("n")
        await client.remember("n", "bees")
        assert len((await client.recall("n", "bees")).hits) == 1


def test_cli_lists_recalls_and_forgets_by_filter(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(idp.token("filters-cli"))
    cli = [str(SCRIPT), "--address", brain.address, "--token-file", str(token)]
    assert run([*cli, "namespace", "create", "n"]).returncode == 0
    for number in ("2", "10"):
        assert run([*cli, "remember", "n", f"bee {number}", "--label", f"p={number}"]).returncode == 0
    assert b"bee 2" not in run([*cli, "list", "n", "--where", "p > 9"]).stdout
    assert b"bee 10" in run([*cli, "recall", "n", "bee", "--where", "p in 9,10", "--where", "p exists"]).stdout
    for wrong in ("p", "p ~ 3", "p exists 3", "p ="):
        assert run([*cli, "list", "n", "--where", wrong]).returncode == 2
    dry = run([*cli, "forget-where", "n", "--where", "p < 9", "--dry-run"])
    assert dry.stdout == b"forgotten: 0 of 1 memories that match\n"
    assert run([*cli, "forget-where", "n", "--where", "p < 9"]).stdout == b"forgotten: 1 of 1 memories that match\n"
    assert run([*cli, "forget-where", "n"]).returncode == 1
