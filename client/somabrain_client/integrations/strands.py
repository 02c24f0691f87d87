"""Strands' `MemoryStore`: facts and messages of agents as memories.

    with SyncMemoryClient("localhost:50052") as client:
        store = SomaBrainMemoryStore(client, "agents", name="notes", subject="ada")
        agent = Agent(memory_manager=MemoryManager(stores=[store], add_tool_config=True))

A fact is a memory that belongs to no session; a message is one of its run's session.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from strands.memory import AddMessagesContext, ExtractionConfig, MemoryEntry, MemoryStore, SearchOptions
from strands.types.content import Message

from somabrain_client.integrations.conversations import path_of, query_of, remember_once, session_of
from somabrain_client.integrations.json_values import NO_WORDS, digest, encode, index_text
from somabrain_client.models import Filter, MemoryDraft, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

ROOT = "strands:"
"""Begins the keys of entries, so that other memories may be in the same namespace."""
DEFAULT_TOP_K = 10


class SomaBrainMemoryStore(MemoryStore):
    """Memories of one subject in a namespace of SomaBrain. Any event loop may use it."""

    def __init__(
        self,
        client: SyncMemoryClient,
        namespace: str,
        *,
        name: str = "somabrain",
        subject: str = "",
        description: str | None = None,
        max_search_results: int | None = None,
        writable: bool = True,
        extraction: ExtractionConfig | bool | None = None,
    ) -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            name: the store's name for the agent; stores of other names have other memories.
            subject: the person whom the memories are about, and whom EraseSubject forgets; each has their own.
            description: tells the model what the store is for.
            max_search_results: maximum entries of a search that names no other, 1 to 200; None: 10.
            writable: whether the agent may add.
            extraction: when the agent's messages are added by themselves, as in Strands.
        """
        self.name = name
        self.description = description
        self.max_search_results = max_search_results
        self.writable = writable
        self.extraction = extraction
        self._client = client
        self._namespace = namespace
        self._subject = subject
        self._run_id = uuid.uuid4().hex  # sequence numbers begin again with each run
        self._prefix = f"{ROOT}{path_of(subject, name)}/"

    async def initialize(self) -> None:
        """Fail before the agent runs if the namespace does not exist or the caller may not read it."""
        await self._client.run_async(lambda client: client.get_namespace(self._namespace))

    async def search(self, query: str, options: SearchOptions | None = None) -> list[MemoryEntry]:
        """Return the entries that match best, the best first; their metadata has `score`, `id` and `time`, too."""
        text = query_of(query)
        if not text:
            return []
        top_k = (options or {}).get("max_search_results") or self.max_search_results or DEFAULT_TOP_K
        result = await self._client.run_async(
            lambda client: client.recall(self._namespace, text, where=Filter(key_prefix=self._prefix), top_k=top_k)
        )
        entries = []
        for hit in result.hits:
            document = json.loads(hit.memory.text)
            found = {"score": hit.score, "id": hit.memory.name, "time": hit.memory.event_time.isoformat()}
            entries.append(MemoryEntry(content=document["content"], metadata={**document["metadata"], **found}))
        return entries

    async def add(self, content: str, metadata: Mapping[str, object] | None = None) -> None:
        """Store a fact; the same fact added again, with the same metadata, is stored once."""
        text = encode({"content": content, "metadata": dict(metadata or {})}, "metadata")
        draft = MemoryDraft(
            text=text,
            key=self._prefix + path_of("", digest(text)),
            kind=MemoryKind.SEMANTIC,
            subject=self._subject,
            index_text=index_text(content),
        )
        await self._client.run_async(lambda client: remember_once(client, self._namespace, [draft]))

    async def add_messages(self, messages: list[Message], context: AddMessagesContext | None = None) -> None:
        """Store the messages that have a text, in their order; a batch that is sent again is stored once."""
        numbers = context.sequence_numbers if context else None
        drafts = []
        for place, message in enumerate(messages):
            said = "\n".join(block["text"] for block in message["content"] if "text" in block)
            searched = index_text(said)
            if searched == NO_WORDS:
                continue
            text = encode({"content": said, "metadata": {"role": message["role"]}}, "A message")
            number = str(numbers[place]) if numbers else uuid.uuid4().hex
            drafts.append(
                MemoryDraft(
                    text=text,
                    key=self._prefix + path_of(self._run_id, number, digest(text)),
                    session=session_of(self._subject, self.name, self._run_id),
                    subject=self._subject,
                    index_text=searched,
                )
            )
        await self._client.run_async(lambda client: remember_once(client, self._namespace, drafts))
