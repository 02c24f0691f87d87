"""ADK's memory service over SomaBrain, through ADK's own runner and by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.adk.events.event import Event
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions import InMemorySessionService
from google.genai.types import Blob, Content, FunctionCall, Part

from examples.integrations.google_adk_agent import APP, USER, converse
from somabrain_client import SyncMemoryClient
from somabrain_client.errors import InvalidArgumentError
from somabrain_client.integrations.google_adk import SomaBrainMemoryService
from tests.integrations import access
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform

SCOPE: dict[str, Any] = {"app_name": APP, "user_id": USER}
SEARCH = Part(function_call=FunctionCall(name="load_memory", args={"query": "Which tea does the user like?"}))


def service_of(tenant: Tenant) -> SomaBrainMemoryService:
    return SomaBrainMemoryService(tenant.client, tenant.namespace)


def event(text: str, event_id: str, author: str = "user", **content: object) -> Event:
    return Event(id=event_id, author=author, content=Content(role=author, parts=[Part(text=text)]), **content)


async def search_texts(service: SomaBrainMemoryService, query: str, **scope: str) -> list[str]:
    response = await service.search_memory(query=query, **{**SCOPE, **scope})
    return ["".join(part.text or "" for part in entry.content.parts or ()) for entry in response.memories]


async def test_runner_saves_each_turn_once_and_recalls_it_after_restart(tenant: Tenant, platform: Platform) -> None:
    """Two turns of one session, each added with the whole session; after a restart another session finds the first."""
    service, sessions = service_of(tenant), InMemorySessionService()
    await converse(service, sessions, "monday", "I like green tea in the morning.", Part(text="Noted."))
    await converse(service, sessions, "monday", "And black coffee on Sundays.", Part(text="Noted, too."))
    session = await sessions.get_session(session_id="monday", **SCOPE)
    assert session is not None
    for _ in range(2):
        await service.add_session_to_memory(session)
    memories = list(tenant.client.list(tenant.namespace))
    assert [memory.index_text for memory in memories] == [
        "I like green tea in the morning.",
        "Noted.",
        "And black coffee on Sundays.",
        "Noted, too.",
    ]
    assert [memory.session_position for memory in memories] == [0, 1, 2, 3]
    assert {(memory.revision, memory.session, memory.subject) for memory in memories} == {(1, "tea/ada/monday", "ada")}
    platform.restart()
    searched = await converse(service, sessions, "friday", "What shall I have?", SEARCH, Part(text="Tea."))
    assert searched[0] == "I like green tea in the morning."


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("google_adk_agent.py", platform, tmp_path):
        assert output.endswith("found: I like green tea in the morning.\n")


async def test_only_new_events_with_text_are_stored(tenant: Tenant) -> None:
    service = service_of(tenant)
    call = Event(id="e2", author="model", content=Content(parts=[SEARCH]))
    events = [event("The heron stands.", "e1"), call, event("   ", "e3"), Event(id="e4", author="user")]
    for added in (events, events, [*events, event("The otter swims.", "e5")]):
        await service.add_events_to_memory(events=added, session_id="s", **SCOPE)
    assert sorted(memory.key for memory in tenant.client.list(tenant.namespace)) == [
        "adk:tea/ada/s/e1",
        "adk:tea/ada/s/e5",
    ]


async def test_memory_has_every_field_of_its_event_with_time_zone(tenant: Tenant) -> None:
    service = service_of(tenant)
    parts = [
        Part(text="Look at "),
        Part(inline_data=Blob(data=b"\x00\xff", mime_type="image/png")),
        Part(text="this heron"),
    ]
    said = Event(id="e1", author="user", content=Content(role="user", parts=parts))
    await service.add_events_to_memory(events=[said], session_id="s", custom_metadata={"topic": "birds"}, **SCOPE)
    (entry,) = (await service.search_memory(query="heron", **SCOPE)).memories
    assert entry.content == said.content
    assert (entry.author, entry.custom_metadata) == ("user", {"topic": "birds"})
    moment = datetime.fromisoformat(entry.timestamp or "")
    assert moment.utcoffset() == timedelta(0)
    assert abs(moment.timestamp() - said.timestamp) < 0.001


async def test_users_and_apps_are_isolated_whatever_their_names(tenant: Tenant) -> None:
    service = service_of(tenant)
    scopes = [("a", "b/c", "s"), ("a/b", "c", "s"), ("a", "b", "c/s"), ("a%2Fb", "c", "s")]
    for number, (app, user, session) in enumerate(scopes):
        added = [event(f"heron number {number}", "e")]
        await service.add_events_to_memory(app_name=app, user_id=user, events=added, session_id=session)
    for number, (app, user, _) in enumerate(scopes):
        assert await search_texts(service, "heron", app_name=app, user_id=user) == [f"heron number {number}"]
    assert len({memory.session for memory in tenant.client.list(tenant.namespace)}) == 4
    assert tenant.client.erase_subject(tenant.namespace, "c") == 2
    assert await search_texts(service, "heron", app_name="a/b", user_id="c") == []


async def test_memories_without_session_are_added_and_replaced_once(tenant: Tenant) -> None:
    service = service_of(tenant)
    tea = MemoryEntry(content=Content(parts=[Part(text="Ada drinks tea.")]), author="notes")
    named = MemoryEntry(content=Content(parts=[Part(text="Ada lives in Bern.")]), id="home")
    for _ in range(2):
        await service.add_memory(memories=[tea, named], **SCOPE)
    assert sorted(await search_texts(service, "Ada")) == ["Ada drinks tea.", "Ada lives in Bern."]
    moved = MemoryEntry(content=Content(parts=[Part(text="Ada lives in Basel.")]), id="home")
    await service.add_memory(memories=[moved], **SCOPE)
    assert (await search_texts(service, "Where does Ada live?"))[0] == "Ada lives in Basel."
    assert len(list(tenant.client.list(tenant.namespace))) == 2


async def test_deleted_memory_stays_deleted_when_session_is_added_again(tenant: Tenant) -> None:
    """Its text is not stored either, not even in revisions."""
    service = service_of(tenant)
    events = [event("The heron stands.", "e1"), event("The heron flies.", "e2")]
    await service.add_events_to_memory(events=events, session_id="s", **SCOPE)
    entries = (await service.search_memory(query="heron", **SCOPE)).memories
    standing = next(entry for entry in entries if entry.content.parts[0].text == "The heron stands.")
    await service.delete_memory(memory_id=standing.id, app_name=APP, user_id="another")
    assert len(await search_texts(service, "heron")) == 2
    for _ in range(2):
        await service.delete_memory(memory_id=standing.id, **SCOPE)
        await service.add_events_to_memory(events=events, session_id="s", **SCOPE)
        assert await search_texts(service, "heron") == ["The heron flies."]
    for memory in tenant.client.list(tenant.namespace):
        texts = [memory.text, *(revision.text for revision in tenant.client.revisions(memory.name))]
        assert not any("stands" in text for text in texts)


@pytest.mark.parametrize("query", ["", "  \n", "\0"])
async def test_empty_query_finds_nothing(tenant: Tenant, query: str) -> None:
    service = service_of(tenant)
    await service.add_events_to_memory(events=[event("The heron stands.", "e1")], session_id="s", **SCOPE)
    assert await search_texts(service, query) == []


async def test_overlong_query_is_truncated(tenant: Tenant) -> None:
    service = service_of(tenant)
    await service.add_events_to_memory(events=[event("The heron stands.", "e1")], session_id="s", **SCOPE)
    assert await search_texts(service, "heron " + "ä" * 70_000) == ["The heron stands."]


async def test_text_over_the_limit_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        await service_of(tenant).add_events_to_memory(events=[event("x" * 110_000, "e1")], session_id="s", **SCOPE)


async def write(client: SyncMemoryClient, namespace: str, text: str) -> None:
    added = [event(text, text.replace(" ", "-"))]
    await SomaBrainMemoryService(client, namespace).add_events_to_memory(events=added, session_id="s", **SCOPE)


async def read(client: SyncMemoryClient, namespace: str) -> list[str]:
    return await search_texts(SomaBrainMemoryService(client, namespace), "heron")


async def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    await access.check_tenants(make_tenant, write, read)


async def test_revoked_token_is_refused(tenant: Tenant, platform: Platform) -> None:
    await access.check_revoked_token(tenant, platform, write, read)


async def test_read_only_tenant_can_only_read(tenant: Tenant, platform: Platform) -> None:
    await access.check_read_only(tenant, platform, write, read)


async def test_quota_is_enforced(make_tenant: MakeTenant, platform: Platform) -> None:
    await access.check_quota(make_tenant, platform, write, read)
