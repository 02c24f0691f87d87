"""The harness' memory store over SomaBrain, through an agent's runs and beside the harness' own store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import TextPart, ToolCallPart
from pydantic_ai_harness.memory import (
    InMemoryStore,
    MemoryConflictError,
    MemoryOperation,
    MemoryOperationConflictError,
    MemoryStore,
    MetadataMemoryStore,
    SearchableMemoryStore,
)

from examples.integrations.pydantic_ai_agent import run
from somabrain_client import Filter, SyncMemoryClient, key_name
from somabrain_client.errors import InvalidArgumentError
from somabrain_client.integrations.pydantic_ai_harness import SomaBrainMemoryStore
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform


@pytest.fixture
def store(tenant: Tenant) -> SomaBrainMemoryStore:
    return SomaBrainMemoryStore(tenant.client, tenant.namespace)


async def content(store: Any, path: str) -> str | None:
    file = await store.read(path, max_chars=100_000)
    return file.content if file else None


def files(tenant: Tenant) -> dict[str, str]:
    where = Filter(key_prefix="pydantic-ai:")
    listed = tenant.client.list(tenant.namespace, where=where)
    return {memory.key.removeprefix("pydantic-ai:"): json.loads(memory.text)["content"] for memory in listed}


def test_store_implements_every_harness_protocol(store: SomaBrainMemoryStore) -> None:
    for protocol in (MemoryStore, MetadataMemoryStore, SearchableMemoryStore):
        assert isinstance(store, protocol)


async def test_agent_notes_survive_restart_and_are_written_once(
    store: SomaBrainMemoryStore, tenant: Tenant, platform: Platform
) -> None:
    """Runs of one agent: a note, one more appended after a restart, and a run that receives both."""
    first = ToolCallPart("write_memory", {"content": "Ada prefers green tea."})
    await run(store, "I like green tea.", first, TextPart("Noted."))
    platform.restart()
    second = ToolCallPart("write_memory", {"content": "Ada lives in Bern."})
    await run(store, "I live in Bern.", second, TextPart("Noted."))
    (notes,) = files(tenant).values()
    assert notes == "Ada prefers green tea.\nAda lives in Bern.\n"
    messages = await run(store, "What do you know?", TextPart("A lot."))
    assert all(note in str(messages) for note in ("Ada prefers green tea.", "Ada lives in Bern."))
    search = ToolCallPart("search_memory", {"query": "What does Ada drink?"})
    messages = await run(store, "What do I drink?", search, TextPart("Tea."))
    assert "Ada prefers green tea." in str(messages)
    assert files(tenant).keys() == {"ada/main/MEMORY.md"}


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("pydantic_ai_agent.py", platform, tmp_path):
        assert "found: {'matches': [{'file': 'tea.md', 'snippet': 'Ada prefers green tea." in output


async def test_every_call_matches_the_harness_store(store: SomaBrainMemoryStore) -> None:
    """The same calls, with the versions that each store gave; results are compared without them."""

    async def converse(store: Any) -> list[object]:
        results: list[object] = []
        versions: dict[str, str | None] = {"stale": "stale"}

        async def attempt(call: Any, name: str = "") -> None:
            try:
                result = await call
            except (MemoryConflictError, MemoryOperationConflictError, ValueError, TypeError) as exc:
                results.append(type(exc).__name__ if not isinstance(exc, ValueError) else "ValueError")
                return
            if name:
                versions[name] = result.version
            shown = getattr(result, "__dict__", result)
            results.append({**shown, "version": bool(shown["version"])} if isinstance(shown, dict) else shown)

        op = MemoryOperation("op-1", "f")
        await attempt(store.read("a/b.md", max_chars=5))
        await attempt(store.get_operation(op))
        await attempt(store.write("a/b.md", "heron\nreeds ä\0", expected_version=None, operation=op), "b1")
        await attempt(store.write("a/b.md", "heron\nreeds ä\0", expected_version=None, operation=op))
        await attempt(store.get_operation(op))
        await attempt(store.get_operation(MemoryOperation("op-1", "other")))
        await attempt(store.write("a/b.md", "x", expected_version=None, operation=MemoryOperation("op-1", "other")))
        await attempt(store.read("a/b.md", max_chars=5))
        await attempt(store.read("a/b.md", max_chars=100))
        await attempt(store.write("a/b.md", "again", expected_version=None))
        await attempt(store.write("a/b.md", "again", expected_version=versions["stale"]))
        await attempt(store.write("new.md", "again", expected_version=versions["stale"]))
        await attempt(
            store.write_with_metadata("a/b.md", "", expected_version=versions["b1"], metadata={"by": "ada"}), "b2"
        )
        await attempt(store.read("a/b.md", max_chars=100))
        await attempt(store.write("a/b.md", "third", expected_version=versions["b2"]), "b3")
        await attempt(store.read("a/b.md", max_chars=100))
        for path in ("a/c.md", "a/d/e.md", "b.md", "a.md", "A.md"):
            await attempt(store.write(path, f"in {path}", expected_version=None), path)
        for prefix, limit in (("", 100), ("a/", 100), ("a", 100), ("a/", 1), ("c/", 5), ("", 2)):
            await attempt(store.list_paths(prefix, limit=limit))
        gone = MemoryOperation("op-2", "g")
        await attempt(store.delete("a/c.md", expected_version=versions["stale"], operation=gone))
        await attempt(store.delete("a/c.md", expected_version=versions["a/c.md"], operation=gone))
        await attempt(store.delete("a/c.md", expected_version=versions["a/c.md"], operation=gone))
        await attempt(store.get_operation(gone))
        await attempt(store.delete("a/c.md", expected_version=versions["a/c.md"]))
        await attempt(store.delete("a/c.md", expected_version=None))
        await attempt(store.delete("b.md", expected_version=None))
        await attempt(store.read("a/c.md", max_chars=5))
        for path in ("", "/a", "a//b", "a/../b", ".", "a/.", "a b", "ä", "x" * 201, "a\n"):
            await attempt(store.read(path, max_chars=5))
        await attempt(store.read("a/b.md", max_chars=0))
        await attempt(store.list_paths("", limit=0))
        await attempt(store.list_paths("a/..", limit=5))
        for metadata in ({"by": 1}, {"by": "\0"}, {"by": "x" * 5000}, {}):
            await attempt(store.write_with_metadata("m.md", "x", expected_version=None, metadata=metadata))
        for query in ("", "  ", "nothing-of-the-kind"):
            result = await store.search(
                "", query, limit=0 if query.strip() else 5, max_files=5, max_chars=99, max_file_chars=9
            )
            results.append(result.matches)
        return results

    got, expected = await converse(store), await converse(InMemoryStore())
    assert got == expected


async def test_search_respects_prefix_and_limits(store: SomaBrainMemoryStore) -> None:
    texts = {
        "ada/tea.md": "Ada prefers green tea in the morning. " + "And so on. " * 50,
        "ada/trains.md": "The trains to Basel leave at nine.",
        "ada/shopping.md": "Buy bread, tea and a kettle.",
        "ada/deep/tea.md": "Green tea again.",
        "adam/tea.md": "Adam prefers green tea.",
    }
    for path, text in texts.items():
        await store.write(path, text, expected_version=None)
    bounds: dict[str, Any] = {"limit": 5, "max_files": 100, "max_chars": 200, "max_file_chars": 10_000}
    result = await store.search("ada/", "green tea", **bounds)
    assert result.matches[0].path == "ada/tea.md"
    assert {match.path for match in result.matches} <= {"ada/tea.md", "ada/trains.md", "ada/shopping.md"}
    assert "green tea" in result.matches[0].snippet
    assert sum(len(match.path.removeprefix("ada/")) + len(match.snippet) for match in result.matches) <= 200
    one = await store.search("ada/", "green tea", **{**bounds, "limit": 1})
    assert ([match.path for match in one.matches], one.truncated) == (["ada/tea.md"], True)
    assert (await store.search("ada/", "green tea", **{**bounds, "max_file_chars": 10})).matches[
        0
    ].snippet == "Ada prefer"


async def test_one_of_concurrent_writes_succeeds_and_others_conflict(store: SomaBrainMemoryStore) -> None:
    async def write(number: int) -> bool:
        try:
            await store.write("a.md", str(number), expected_version=None)
        except MemoryConflictError:
            return False
        return True

    made = await asyncio.gather(*(write(number) for number in range(16)))
    assert made.count(True) == 1
    assert await content(store, "a.md") == str(made.index(True))


async def test_concurrent_retries_of_one_operation_apply_once(store: SomaBrainMemoryStore, tenant: Tenant) -> None:
    """Retries of one operation, also concurrent ones, all succeed, and there is one revision."""
    op = MemoryOperation("op", "f")
    await asyncio.gather(*(store.write("a.md", "text", expected_version=None, operation=op) for _ in range(8)))
    assert tenant.client.get(key_name(tenant.namespace, "pydantic-ai:a.md")).revision == 1
    assert (await store.get_operation(op)).replayed is True  # type: ignore[union-attr]


async def test_lost_receipt_is_recovered_from_the_server(store: SomaBrainMemoryStore, tenant: Tenant) -> None:
    op = MemoryOperation("op", "f")
    first = await store.write("a.md", "text", expected_version=None, operation=op)
    tenant.client.forget(key_name(tenant.namespace, "pydantic-ai-receipt:op"))
    again = await store.write("a.md", "text", expected_version=None, operation=op)
    assert (again.version, again.existed) == (first.version, first.existed)
    deleted = MemoryOperation("delete", "f")
    await store.delete("a.md", expected_version=first.version, operation=deleted)
    tenant.client.forget(key_name(tenant.namespace, "pydantic-ai-receipt:delete"))
    assert (await store.delete("a.md", expected_version=first.version, operation=deleted)).existed


async def test_receipts_expire_after_a_week(store: SomaBrainMemoryStore, tenant: Tenant) -> None:
    await store.write("a.md", "text", expected_version=None, operation=MemoryOperation("op", "f"))
    receipt = tenant.client.get(key_name(tenant.namespace, "pydantic-ai-receipt:op"))
    assert receipt.expire_time is not None
    assert abs((receipt.expire_time - receipt.create_time).total_seconds() - 7 * 86_400) < 5
    assert tenant.client.get(key_name(tenant.namespace, "pydantic-ai:a.md")).expire_time is None


async def test_file_over_the_limit_is_refused_by_name(store: SomaBrainMemoryStore) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await store.write("a.md", "x" * 110_000, expected_version=None)


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    await SomaBrainMemoryStore(client, namespace).write(f"{text.replace(' ', '-')}.md", text, expected_version=None)


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    store = SomaBrainMemoryStore(client, namespace)
    return [str(await content(store, path)) for path in await store.list_paths(limit=100)]


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
