"""OpenAI Agents' `Session`: the items of a conversation as memories of a session, in its order.

    with SyncMemoryClient("localhost:50052") as client:
        session = SomaBrainSession("conversation-7", client, "agents")
        result = await Runner.run(agent, "What did I say?", session=session)

An item is a memory: its JSON is the text, and its words are what is searched.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from agents.memory.session import SessionABC
from agents.memory.session_settings import SessionSettings, resolve_session_limit

from somabrain_client.errors import NotFoundError
from somabrain_client.integrations.conversations import path_of, remember_once, session_of
from somabrain_client.integrations.json_values import encode, index_text
from somabrain_client.integrations.keyed_memories import is_namespace_missing
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Filter, Memory, MemoryDraft
from somabrain_client.sync_client import SyncMemoryClient

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

ROOT = "openai-agents:"
"""Begins the keys of items, so that other memories may be in the same namespace."""
SEARCHED_FIELDS = ("content", "text", "output", "arguments", "summary")
"""Fields of an item whose texts are searched; of their parts the text and the refusal."""
MAX_PAGE = 1000


class SomaBrainSession(SessionABC):
    """A conversation in a namespace of SomaBrain. Any event loop may use it."""

    def __init__(
        self,
        session_id: str,
        client: SyncMemoryClient,
        namespace: str,
        *,
        subject: str = "",
        session_settings: SessionSettings | None = None,
    ) -> None:
        """Store the arguments; no call is made.

        Args:
            session_id: names the conversation; the same for each run that continues it.
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            subject: the person in the conversation, whom EraseSubject forgets; each subject's sessions are its own.
            session_settings: `limit` is the number of latest items that a run is given.
        """
        self.session_id = session_id
        self.session_settings = session_settings
        self._client = client
        self._namespace = namespace
        self._subject = subject
        parts = (subject, session_id) if subject else (session_id,)
        self._session = session_of(*parts)
        self._where = Filter(sessions=(self._session,), key_prefix=f"{ROOT}{path_of(*parts)}/")

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the latest `limit` items (None: that of the settings, or else all), the oldest of them first."""
        chosen = resolve_session_limit(limit, self.session_settings)
        if chosen is not None and chosen <= 0:
            return []
        memories = await self._client.run_async(lambda client: self._latest(client, chosen))
        return [cast("TResponseInputItem", json.loads(memory.text)) for memory in reversed(memories)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items after those that are there."""
        drafts = [
            MemoryDraft(
                text=encode(item, "An item of the session"),
                key=f"{self._where.key_prefix}{uuid.uuid4().hex}",
                index_text=index_text(*searched_of(item)),
                session=self._session,
                subject=self._subject,
            )
            for item in items
        ]
        await self._client.run_async(lambda client: remember_once(client, self._namespace, drafts))

    async def pop_item(self) -> TResponseInputItem | None:
        """Forget the latest item and return it; None if there is not any."""

        async def pop(client: MemoryClient) -> Memory | None:
            while latest := await self._latest(client, 1):
                try:
                    await client.forget(latest[0].name)
                except NotFoundError as exc:  # another caller has it
                    if is_namespace_missing(exc, self._namespace):
                        raise
                    continue
                return latest[0]
            return None

        memory = await self._client.run_async(pop)
        return None if memory is None else cast("TResponseInputItem", json.loads(memory.text))

    async def clear_session(self) -> None:
        """Forget all items."""

        async def clear(client: MemoryClient) -> None:
            while True:
                forgotten = await client.forget_where(self._namespace, self._where)
                if forgotten.count == forgotten.matching:
                    return

        await self._client.run_async(clear)

    async def _latest(self, client: MemoryClient, limit: int | None) -> list[Memory]:
        """Return the latest memories, the latest first."""
        page_size = min(limit or MAX_PAGE, MAX_PAGE)
        listed = client.list(self._namespace, where=self._where, order_by="session_position desc", page_size=page_size)
        memories: list[Memory] = []
        async with aclosing(listed):
            async for memory in listed:
                memories.append(memory)
                if len(memories) == limit:
                    break
        return memories


def searched_of(item: object) -> list[object]:
    """Return the searched text of an item: messages, calls and results, without ids and types."""
    if not isinstance(item, Mapping):
        return []
    return [_words(item[field]) for field in SEARCHED_FIELDS if field in item]


def _words(value: object) -> object:
    if isinstance(value, Mapping):
        return [value[field] for field in ("text", "refusal") if field in value]
    return [_words(each) for each in value] if isinstance(value, list | tuple) else value
