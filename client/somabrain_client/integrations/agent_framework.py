"""Microsoft Agent Framework's `ContextProvider`: each run receives earlier messages, and its own messages are stored.

with SyncMemoryClient("localhost:50052") as client:
    provider = SomaBrainContextProvider(client, "agents", subject="ada")
    agent = Agent(client=chat_client, context_providers=[provider])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_framework import ContextProvider, Message

from somabrain_client.integrations.conversations import path_of, query_of, remember_once, session_of
from somabrain_client.integrations.json_values import digest
from somabrain_client.models import Filter, MemoryDraft
from somabrain_client.sync_client import SyncMemoryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_framework import AgentSession, SessionContext, SupportsAgentRun

ROOT = "agent-framework:"
"""Begins the keys of messages, so that other memories may be in the same namespace."""
DEFAULT_PROMPT = "What was said earlier, and may bear on this:"
STORED = "stored"
"""Name in the provider's state: number of messages of this session that were stored."""


class SomaBrainContextProvider(ContextProvider):
    """Messages of one subject in a namespace of SomaBrain, of all sessions. Any event loop may use it."""

    def __init__(
        self,
        client: SyncMemoryClient,
        namespace: str,
        *,
        subject: str = "",
        top_k: int = 5,
        prompt: str = DEFAULT_PROMPT,
        source_id: str = "somabrain",
    ) -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            subject: the person in the conversations, whom EraseSubject forgets; each has separate memories.
            top_k: maximum messages that a run is given, 1 to 200.
            prompt: precedes them.
            source_id: names the provider in the framework.
        """
        super().__init__(source_id)
        self._client = client
        self._namespace = namespace
        self._subject = subject
        self._top_k = top_k
        self._prompt = prompt
        self._prefix = f"{ROOT}{path_of(subject)}/"

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Give the run a message with what matches its input best."""
        query = query_of("\n".join(message.text for message in context.input_messages))
        if not query:
            return
        result = await self._client.run_async(
            lambda client: client.recall(
                self._namespace, query, where=Filter(key_prefix=self._prefix), top_k=self._top_k
            )
        )
        if result.hits:
            lines = [self._prompt, *(hit.memory.text for hit in result.hits)]
            context.extend_messages(self, [Message("user", ["\n".join(lines)])])

    async def after_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Store the run's input and its answer, as far as they are texts; a run that is stored again is stored once."""
        answers = context.response.messages if context.response else []
        said: Sequence[Message] = [*context.input_messages, *answers]
        drafts = []
        for number, message in enumerate(said, state.get(STORED, 0)):
            text = message.text.replace("\0", " ")
            if text.strip():
                key = path_of(session.session_id, str(number), digest(str(message.role), text))
                drafts.append(
                    MemoryDraft(
                        text=f"{message.role}: {text}",
                        key=self._prefix + key,
                        index_text=text,
                        session=session_of(self._subject, session.session_id),
                        subject=self._subject,
                    )
                )
        await self._client.run_async(lambda client: remember_once(client, self._namespace, drafts))
        state[STORED] = state.get(STORED, 0) + len(said)
