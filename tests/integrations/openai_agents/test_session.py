"""Sessions of OpenAI's Agents SDK over SomaBrain, through the SDK's runner and beside the SDK's own session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents.memory import SQLiteSession
from agents.memory.session import Session
from agents.memory.session_settings import SessionSettings

from examples.integrations.openai_agent import converse
from somabrain_client import SyncMemoryClient
from somabrain_client.errors import InvalidArgumentError
from somabrain_client.integrations.openai_agents import SomaBrainSession
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform


def say(text: str, role: str = "user") -> Any:
    return {"role": role, "content": text}


def texts(items: list[Any]) -> list[str]:
    return [item["content"] if isinstance(item["content"], str) else item["content"][0]["text"] for item in items]


def session_of(tenant: Tenant, session_id: str = "s", **options: Any) -> SomaBrainSession:
    return SomaBrainSession(session_id, tenant.client, tenant.namespace, **options)


async def test_runner_resumes_session_after_restart_without_duplicates(tenant: Tenant, platform: Platform) -> None:
    assert isinstance(session_of(tenant), Session)
    first = await converse(session_of(tenant), "I like green tea.", "Noted.")
    platform.restart()
    second = await converse(session_of(tenant), "What do I like?", "Green tea.")
    third = await converse(session_of(tenant), "Thanks.", "Gladly.")
    said = ["I like green tea.", "Noted.", "What do I like?", "Green tea.", "Thanks.", "Gladly."]
    assert [texts(items) for items in (first, second, third)] == [said[:1], said[:3], said[:5]]
    assert texts(await session_of(tenant).get_items()) == said
    assert len(list(tenant.client.list(tenant.namespace))) == len(said)


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("openai_agent.py", platform, tmp_path):
        assert "the model was given 3 items, the first: {'content': 'I like green tea.', 'role': 'user'}" in output


async def test_every_method_matches_the_sdk_session(tenant: Tenant) -> None:
    """The same calls of both sessions return the same."""
    call = {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"q": "tea"}', "id": "fc1"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "green tea ☕"}
    images = {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:,"}, {"type": "input_text", "text": "this"}],
    }

    async def run(session: Any) -> list[object]:
        results: list[object] = [await session.get_items(), await session.pop_item()]
        await session.add_items([])
        await session.add_items([say("one"), call, output, images])
        await session.add_items([say("two", "assistant")])
        results += [await session.get_items(limit) for limit in (None, 1, 2, 3, 100, 0)]
        results += [await session.pop_item(), await session.get_items()]
        await session.add_items([say("three")])
        results.append(await session.get_items(2))
        await session.clear_session()
        await session.clear_session()
        return [*results, await session.get_items(), await session.pop_item()]

    assert await run(session_of(tenant)) == await run(SQLiteSession("s"))


async def test_sessions_and_subjects_are_isolated_whatever_their_names(tenant: Tenant) -> None:
    names = [("", "a/b"), ("a", "b"), ("", "b"), ("a/b", "c"), ("a", "b/c"), ("", "a%2Fb")]
    for number, (subject, name) in enumerate(names):
        await session_of(tenant, name, subject=subject).add_items([say(str(number))])
    for number, (subject, name) in enumerate(names):
        assert texts(await session_of(tenant, name, subject=subject).get_items()) == [str(number)]
    await session_of(tenant, "b", subject="a").clear_session()
    assert len(list(tenant.client.list(tenant.namespace))) == len(names) - 1
    assert tenant.client.erase_subject(tenant.namespace, "a") == 1


async def test_session_id_over_the_limit_is_supported(tenant: Tenant) -> None:
    session = session_of(tenant, "long " * 100)
    await session.add_items([say("one"), say("two")])
    assert texts(await session.get_items()) == ["one", "two"]


async def test_session_settings_limit_is_the_default(tenant: Tenant) -> None:
    session = session_of(tenant, session_settings=SessionSettings(limit=2))
    await session.add_items([say(str(number)) for number in range(5)])
    assert texts(await session.get_items()) == ["3", "4"]
    assert texts(await session.get_items(4)) == ["1", "2", "3", "4"]


async def test_items_over_one_batch_keep_their_order(tenant: Tenant) -> None:
    items = [say(f"{number} " + "x" * 9000) for number in range(700)]
    tenant.client.create_namespace("many", encoder="lexical")
    session = SomaBrainSession("s", tenant.client, "many")
    await session.add_items(items)
    assert await session.get_items() == items


async def test_concurrent_pops_return_distinct_items(tenant: Tenant) -> None:
    session = session_of(tenant)
    await session.add_items([say(str(number)) for number in range(6)])
    popped = await asyncio.gather(*(session.pop_item() for _ in range(8)))
    assert sorted(texts([item for item in popped if item])) == [str(number) for number in range(6)]
    assert popped.count(None) == 2


async def test_message_text_is_searched_without_json_syntax(tenant: Tenant) -> None:
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "The heron stands.", "annotations": []}],
    }
    call = {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"q": "tea"}'}
    await session_of(tenant).add_items([answer, call, {"type": "reasoning", "id": "rs_1", "summary": []}])
    listed = sorted(memory.index_text for memory in tenant.client.list(tenant.namespace))
    assert listed == ["-", "The heron stands.", '{"q": "tea"}']


async def test_item_over_the_limit_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await session_of(tenant).add_items([say("x" * 110_000)])


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    await SomaBrainSession("s", client, namespace).add_items([say(text)])


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    return texts(await SomaBrainSession("s", client, namespace).get_items())


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
