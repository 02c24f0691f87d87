"""Evidence recall@10 through the real server at its defaults, and BM25 alone beside it.

    make bench-recall DATA=conversations.json

The file is a JSON list of {conversation, turns: [{id, session, position, session_time, text}], questions: [{question,
evidence: [ids of turns]}]}. Each conversation becomes a namespace, each session a session, and each question a
Recall; its score is the share of its evidence among the first ten, and the figure is the mean over all questions.

BM25 alone is asked of the same server: of namespaces whose encoder is `lexical`, where no memory has a session, so
nothing but BM25 takes part in the score.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

from bench.server import somabrain
from somabrain_client import MemoryClient

K = 10
AT_ONCE = 8


class Turn(TypedDict):
    """One turn of a conversation."""

    id: str
    session: int
    position: int
    session_time: str
    text: str


class Question(TypedDict):
    """A question, and the turns that hold its answer."""

    question: str
    evidence: list[str]


class Conversation(TypedDict):
    """Turns and the questions about them."""

    conversation: str
    turns: list[Turn]
    questions: list[Question]


async def each(what: str, items: Sequence[object], work: Callable[[int], Awaitable[None]]) -> None:
    """Work on all items, some at once, and say how far it is every two seconds."""
    done, told = 0, time.monotonic()
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        nonlocal done, told
        async with slots:
            await work(index)
        done += 1
        if time.monotonic() - told > 2:
            told = time.monotonic()
            print(f"  {what}: {done} of {len(items)}", file=sys.stderr, flush=True)

    async with asyncio.TaskGroup() as tasks:
        for index in range(len(items)):
            tasks.create_task(one(index))


async def measure(client: MemoryClient, talk: Conversation, number: int, *, alone: bool) -> list[float]:
    """Store a conversation, ask its questions, and return the recall of each; `alone`: BM25 and nothing else."""
    namespace = f"{'bm25' if alone else 'default'}-{number}"
    await client.create_namespace(namespace, encoder="lexical" if alone else "")
    turns, questions = talk["turns"], [item for item in talk["questions"] if item["evidence"]]
    ids: dict[str, str] = {}
    recalls = [0.0] * len(questions)

    async def remember(index: int) -> None:
        turn = turns[index]
        began = datetime.strptime(turn["session_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        memory = await client.remember(
            namespace,
            turn["text"],
            session="" if alone else str(turn["session"]),
            session_position=None if alone else turn["position"],
            event_time=began + timedelta(seconds=turn["position"]),
        )
        ids[memory.name] = turn["id"]

    async def ask(index: int) -> None:
        answer = await client.recall(namespace, questions[index]["question"], top_k=K)
        assert not answer.degraded, answer.degraded
        found = {ids[hit.memory.name] for hit in answer.hits}
        gold = set(questions[index]["evidence"])
        recalls[index] = len(found & gold) / len(gold)

    await each(f"{namespace}, stored", turns, remember)
    await each(f"{namespace}, asked", questions, ask)
    return recalls


async def compare(address: str, talks: list[Conversation]) -> None:
    """Print both figures."""
    async with MemoryClient(address, deadline_s=60) as client:
        whole = [recall for n, talk in enumerate(talks) for recall in await measure(client, talk, n, alone=False)]
        alone = [recall for n, talk in enumerate(talks) for recall in await measure(client, talk, n, alone=True)]
    print(f"{len(talks)} conversations, {sum(len(talk['turns']) for talk in talks)} memories, {len(whole)} questions")
    print(f"evidence recall@{K} = {sum(whole) / len(whole):.3f}")
    print(f"BM25 alone = {sum(alone) / len(alone):.3f}")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: bench_recall.py FILE")
    talks: list[Conversation] = json.loads(Path(sys.argv[1]).read_text())
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        print("starting the server with its own PostgreSQL", file=sys.stderr, flush=True)
        with somabrain(["serve", "--embedded", "--data-dir", f"{folder}/data"], {}) as server:
            asyncio.run(compare(server.address, talks))


if __name__ == "__main__":
    main()
