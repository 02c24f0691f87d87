"""LlamaIndex' memory block: what leaves the short-term memory is stored, and found again by the latest message.

with SyncMemoryClient("localhost:50052") as client:
    block = SomaBrainMemoryBlock(client=client, namespace="agents", subject="ada")
    memory = Memory.from_defaults(session_id="monday", memory_blocks=[block])
"""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock
from pydantic import Field

from somabrain_client.integrations.conversations import path_of, query_of, remember_once, session_of
from somabrain_client.integrations.json_values import digest
from somabrain_client.models import Filter, MemoryDraft
from somabrain_client.sync_client import SyncMemoryClient

ROOT = "llama-index:"
"""Begins the keys of messages, so that other memories may be in the same namespace."""
CHARACTERS_PER_TOKEN = 3
"""A cautious guess, by which a block is shortened rather too much than too little."""


class SomaBrainMemoryBlock(BaseMemoryBlock[str]):
    """Messages of one subject in a namespace of SomaBrain, of all sessions. Any event loop may use it."""

    name: str = "somabrain"
    client: SyncMemoryClient = Field(exclude=True, description="The connection, which the caller closes.")
    namespace: str = Field(description="An existing namespace of SomaBrain.")
    subject: str = Field(default="", description="The person in the conversations, whom EraseSubject forgets.")
    top_k: int = Field(default=5, ge=1, le=200, description="Maximum messages that are recalled.")

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        """Return the messages that match the latest one best, a line each, the best first; empty without any."""
        query = query_of((messages[-1].content or "") if messages else "")
        if not query:
            return ""
        where = Filter(key_prefix=f"{ROOT}{path_of(self.subject)}/")
        result = await self.client.run_async(
            lambda client: client.recall(self.namespace, query, where=where, top_k=self.top_k)
        )
        return "\n".join(hit.memory.text for hit in result.hits)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Store the messages that have a text; the same text of a session and role is stored once."""
        drafts = []
        for message in messages:
            text = (message.content or "").replace("\0", " ")
            if not text.strip():
                continue
            session_id = str(message.additional_kwargs.get("session_id", ""))
            role = message.role.value
            drafts.append(
                MemoryDraft(
                    text=f"{role}: {text}",
                    key=f"{ROOT}{path_of(self.subject)}/{path_of(session_id, digest(role, text))}",
                    index_text=text,
                    session=session_of(self.subject, session_id) if session_id else "",
                    subject=self.subject,
                )
            )
        await self.client.run_async(lambda client: remember_once(client, self.namespace, drafts))

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Return the content without its last lines, which match worst, as many as have these tokens; None: all."""
        lines = content.split("\n")
        excess = tokens_to_truncate * CHARACTERS_PER_TOKEN
        while lines and excess > 0:
            excess -= len(lines.pop()) + 1
        return "\n".join(lines) or None
