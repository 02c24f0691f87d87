"""A memory of LlamaIndex whose old messages are in SomaBrain, and come back when they matter.

    python examples/integrations/llama_index_memory.py [ADDRESS [TOKEN_FILE]]

No language model takes part, so no key is needed: the memory is what an agent would be given.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import AlreadyExistsError
from somabrain_client.integrations.llama_index import SomaBrainMemoryBlock

NAMESPACE = "llama-index-example"


def memory_of(client: SyncMemoryClient, namespace: str, session_id: str) -> Memory:
    """Return the memory of a session with little room for short-term memory, so that messages leave it soon."""
    block = SomaBrainMemoryBlock(client=client, namespace=namespace, subject="ada")
    return Memory.from_defaults(
        session_id=session_id,
        memory_blocks=[block],
        token_limit=200,
        chat_history_token_ratio=0.2,
        token_flush_size=10,
    )


async def talk(memory: Memory, *texts: str) -> None:
    """Put what the user and the assistant say by turns."""
    for number, text in enumerate(texts):
        await memory.aput(ChatMessage(role="assistant" if number % 2 else "user", content=text))


async def main(address: str = "localhost:50052", token_file: str = "") -> None:
    """Talk in one session until the first message is long gone, and ask for it in another."""
    with SyncMemoryClient(address, token=Path(token_file) if token_file else None) as client:
        try:
            client.create_namespace(NAMESPACE)
        except AlreadyExistsError:
            print(f"the namespace {NAMESPACE} is there already")
        filler = [f"Let us talk about train number {number} to Basel and its stops." for number in range(12)]
        await talk(memory_of(client, NAMESPACE, "monday"), "Ada prefers green tea in the morning.", "Noted.", *filler)
        asking = memory_of(client, NAMESPACE, "friday")
        await talk(asking, "Which tea does Ada prefer in the morning?")
        given = "\n".join(message.content or "" for message in await asking.aget())
        print("given:", next(line for line in given.splitlines() if "green tea" in line))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
