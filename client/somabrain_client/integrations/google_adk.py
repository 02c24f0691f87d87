"""Google ADK's `BaseMemoryService`: events of sessions as memories, each stored once.

    with SyncMemoryClient("localhost:50052") as client:
        runner = Runner(agent=agent, memory_service=SomaBrainMemoryService(client, "agents"), ...)

An event is a memory: its content is the text, the texts of its parts are what is searched, the user is the subject.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.genai.types import Content

from somabrain_client.base_client import key_name
from somabrain_client.integrations.conversations import keys_below, path_of, query_of, remember_once, session_of
from somabrain_client.integrations.json_values import NO_WORDS, digest, encode
from somabrain_client.integrations.keyed_memories import get_or_none
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Condition, Filter, Memory, MemoryDraft, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions.session import Session

ROOT = "adk:"
"""Begins the keys of events, so that other memories may be in the same namespace."""
AUTHOR, DELETED = "author", "deleted"
"""Labels: the author; and that it was deleted: its key stays in use, so that adding its session does not restore it."""
DEFAULT_TOP_K = 10


class SomaBrainMemoryService(BaseMemoryService):
    """Memories of ADK's users in one namespace of SomaBrain. Any event loop may use it."""

    def __init__(
        self,
        client: SyncMemoryClient,
        namespace: str,
        *,
        top_k: int = DEFAULT_TOP_K,
        min_match: float | None = None,
    ) -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            top_k: maximum memories of a search, 1 to 200.
            min_match: least similarity by words of a search's best memory, 0 to 1, or else it finds nothing; None: 0.
        """
        self._client = client
        self._namespace = namespace
        self._top_k = top_k
        self._min_match = min_match

    async def add_session_to_memory(self, session: Session) -> None:
        """Store the events of a session that have a text; those that are stored already are left as they are."""
        await self.add_events_to_memory(
            app_name=session.app_name, user_id=session.user_id, events=session.events, session_id=session.id
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store events as `add_session_to_memory` does; searches return `custom_metadata` with each of them."""
        prefix = prefix_of(app_name, user_id)
        drafts = [
            MemoryDraft(
                text=encode_entry(event.content, custom_metadata),
                key=prefix + path_of(session_id or "", event.id),
                index_text=text,
                session=session_of(app_name, user_id, session_id) if session_id else "",
                subject=user_id,
                labels={AUTHOR: event.author} if event.author else {},
                event_time=datetime.fromtimestamp(event.timestamp, UTC),
            )
            for event in events
            if event.content is not None and (text := text_of(event.content))
        ]

        async def add(client: MemoryClient) -> None:
            stored = await keys_below(client, self._namespace, prefix + path_of(session_id or "", ""))
            await remember_once(client, self._namespace, [draft for draft in drafts if draft.key not in stored])

        await self._client.run_async(add)

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store memories that belong to no session; one with an id replaces the one that has it.

        Without an id, the same memory added again is stored once. `custom_metadata` is joined with each memory's own.
        """
        prefix = prefix_of(app_name, user_id)

        async def add(client: MemoryClient) -> None:
            for memory in memories:
                text = encode_entry(memory.content, {**(custom_metadata or {}), **memory.custom_metadata})
                entry_id = memory.id or path_of("", digest(text, memory.author or "", memory.timestamp or ""))
                await client.upsert(
                    self._namespace,
                    prefix + entry_id,
                    text,
                    kind=MemoryKind.SEMANTIC,
                    index_text=text_of(memory.content) or NO_WORDS,
                    subject=user_id,
                    labels={AUTHOR: memory.author} if memory.author else {},
                    event_time=datetime.fromisoformat(memory.timestamp) if memory.timestamp else None,
                )

        await self._client.run_async(add)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Return the user's memories that match best, the best first; the times have an offset, that of UTC."""
        prefix, text = prefix_of(app_name, user_id), query_of(query)
        if not text:
            return SearchMemoryResponse()
        deleted = Filter(conditions=(Condition(DELETED, "exists"),))
        result = await self._client.run_async(
            lambda client: client.recall(
                self._namespace,
                text,
                where=Filter(key_prefix=prefix, none_of=(deleted,)),
                top_k=self._top_k,
                min_match=self._min_match,
            )
        )
        return SearchMemoryResponse(memories=[entry_of(hit.memory, prefix) for hit in result.hits])

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Forget a memory by the id that a search returned; its event is not stored again with its session."""
        if not memory_id:
            return
        key = prefix_of(app_name, user_id) + memory_id

        async def delete(client: MemoryClient) -> None:
            memory = await get_or_none(client, self._namespace, key)
            if memory is None or DELETED in memory.labels:
                return
            await client.forget(key_name(self._namespace, key), allow_missing=True)
            await client.upsert(
                self._namespace, key, NO_WORDS, index_text=NO_WORDS, labels={DELETED: "yes"}, subject=user_id
            )

        await self._client.run_async(delete)


def prefix_of(app_name: str, user_id: str) -> str:
    """Return what the keys of a user's memories begin with."""
    return f"{ROOT}{path_of(app_name, user_id)}/"


def text_of(content: Content) -> str:
    """Return the texts of a content's parts, a line each; empty without any."""
    return "\n".join(part.text for part in content.parts or () if part.text and part.text.strip())


def encode_entry(content: Content | None, custom_metadata: Mapping[str, object] | None) -> str:
    """Return the JSON of a memory's content and metadata."""
    document = content.model_dump(mode="json", exclude_none=True) if content else {}
    return encode({"content": document, "custom_metadata": dict(custom_metadata or {})}, "custom_metadata")


def entry_of(memory: Memory, prefix: str) -> MemoryEntry:
    """Return the entry of a memory; its id is the part of the key after the user's prefix."""
    document = json.loads(memory.text)
    return MemoryEntry(
        content=Content.model_validate(document["content"]),
        custom_metadata=document["custom_metadata"],
        id=memory.key.removeprefix(prefix),
        author=memory.labels.get(AUTHOR),
        timestamp=memory.event_time.isoformat(),
    )
