"""Evidence recall@10 through the real server, an ablation of Recall, and how well scores detect unanswerable questions.

    make bench-recall DATA=conversations.json

The file is a JSON list of {conversation, turns: [{id, session, position, session_time, text}], questions: [{question,
evidence: [ids of turns]}]}. Each conversation becomes a namespace, each session a session, and each question a
Recall; its score is the share of its evidence among the first ten, and the figure is the mean over all questions.

Rows marked `server` call the running service over gRPC: a part is switched off by an option of a namespace or request.
Parts without such an option are computed by the pure scorer (`bench.ablation`).

Each question is also sent to the next conversation, which does not contain the answer: the AUC is the probability that
the absolute score of a question in its own conversation is above that of one in the next.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench.ablation import rows
from bench.conversations import Conversation, K, auc, evidence_recall, mean, read, time_of
from bench.server import somabrain
from somabrain_client import Memory, MemoryClient, MemoryDraft, RecallResult
from somabrain_service.encoders import minilm
from somabrain_service.encoders.onnx import OnnxEncoder

CONCURRENCY = 8
BATCH = 200
SEED = 7


@dataclass(frozen=True)
class Variant:
    """Options with which conversations are stored and queried. `words` False: query with the vector only."""

    label: str
    settings: Mapping[str, object] = field(default_factory=dict)
    sessions: bool = True
    words: bool = True
    salience: bool = False
    recent: bool = False


DEFAULTS = Variant("everything at its default")
VARIANTS = (
    DEFAULTS,
    Variant("words alone (BM25)", {"encoder": "lexical"}, sessions=False),
    Variant("words, and contiguity", {"encoder": "lexical"}),
    Variant("vectors alone (cosine)", sessions=False, words=False),
    Variant("vectors, and contiguity", words=False),
    Variant("words and vectors, no contiguity", sessions=False),
    Variant("everything, neither stems nor stop list (language `mul`)", {"language": "mul"}),
    Variant("everything, salience drawn at random", salience=True),
    Variant(
        "everything, recency of 90 days, the last turn now", {"recency_half_life": timedelta(days=90)}, recent=True
    ),
)


@dataclass(frozen=True)
class Figures:
    """Recall of each question, and the best absolute and relative scores in its own and in the next conversation."""

    recalls: list[float] = field(default_factory=list)
    absolute: tuple[list[float], list[float]] = ([], [])
    relative: tuple[list[float], list[float]] = ([], [])


async def store_conversation(
    client: MemoryClient, name: str, conversation: Conversation, variant: Variant
) -> dict[str, str]:
    """Store a conversation, and return the turn id of each memory name."""
    await client.create_namespace(name, **variant.settings)  # type: ignore[arg-type]
    rng = random.Random(SEED)
    late = datetime.now(UTC) - max(map(time_of, conversation["turns"])) if variant.recent else timedelta(0)
    drafts = [
        MemoryDraft(
            turn["text"],
            session=str(turn["session"]) if variant.sessions else "",
            session_position=turn["position"] if variant.sessions else None,
            event_time=time_of(turn) + late,
            salience=rng.random() if variant.salience else None,
        )
        for turn in conversation["turns"]
    ]
    turns: dict[str, str] = {}
    for start in range(0, len(drafts), BATCH):
        for offset, memory in enumerate(await client.batch_remember(name, drafts[start : start + BATCH])):
            assert isinstance(memory, Memory), memory
            turns[memory.name] = conversation["turns"][start + offset]["id"]
    return turns


async def measure(
    client: MemoryClient, conversations: Sequence[Conversation], variant: Variant, number: int, encoder: OnnxEncoder
) -> Figures:
    """Store all conversations with the options of the variant, and query all questions.

    With the default variant each question is also sent to the next conversation.
    """
    names = [f"v{number}-{i}" for i in range(len(conversations))]
    turns = [
        await store_conversation(client, name, conversation, variant)
        for name, conversation in zip(names, conversations, strict=True)
    ]
    figures = Figures()
    slots = asyncio.Semaphore(CONCURRENCY)

    async def recall_question(name: str, question: str) -> RecallResult:
        async with slots:
            if variant.words:
                return await client.recall(name, question, top_k=K)
            return await client.recall(name, vector=(await encoder.encode([question]))[0].tolist(), top_k=K)

    for i, conversation in enumerate(conversations):
        questions = [one["question"] for one in conversation["questions"]]
        home = await asyncio.gather(*(recall_question(names[i], question) for question in questions))
        assert not any(answer.degraded for answer in home)
        figures.recalls.extend(
            evidence_recall(question, [turns[i][hit.memory.name] for hit in answer.hits])
            for question, answer in zip(conversation["questions"], home, strict=True)
        )
        if variant is DEFAULTS and len(conversations) > 1:
            away = await asyncio.gather(
                *(recall_question(names[(i + 1) % len(conversations)], question) for question in questions)
            )
            for side, answers in enumerate((home, away)):
                figures.absolute[side].extend(answer.best_lexical for answer in answers)
                figures.relative[side].extend(answer.hits[0].score if answer.hits else 0.0 for answer in answers)
    return figures


async def compare(address: str, conversations: list[Conversation]) -> float:
    """Print the server's rows, and return the figure of the default variant."""
    encoder = minilm.load(threads=1)
    default = 0.0
    async with MemoryClient(address, deadline_s=120) as client:
        for number, variant in enumerate(VARIANTS):
            figures = await measure(client, conversations, variant, number, encoder)
            print(f"| {variant.label} | {mean(figures.recalls):.3f} | server |", flush=True)
            if variant is DEFAULTS:
                default, default_figures = mean(figures.recalls), figures
    await encoder.close()
    if default_figures.absolute[1]:
        print("\nasked at home and in the next conversation, AUC of")
        print(f"  the best absolute lexical score = {auc(*default_figures.absolute):.3f}")
        print(f"  the best hit's score            = {auc(*default_figures.relative):.3f}")
    return default


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: bench_recall.py FILE")
    conversations = read(sys.argv[1])
    memories = sum(len(conversation["turns"]) for conversation in conversations)
    questions = sum(len(conversation["questions"]) for conversation in conversations)
    print(f"{len(conversations)} conversations, {memories} memories, {questions} questions\n")
    print(f"| what takes part | evidence recall@{K} | by |\n| --- | ---: | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder:
        print("starting the server with its own PostgreSQL", file=sys.stderr, flush=True)
        with somabrain(["serve", "--embedded", "--data-dir", f"{folder}/data"], {}) as server:
            default = asyncio.run(compare(server.address, conversations))
    print(f"\n| everything without | evidence recall@{K} | by |\n| --- | ---: | --- |")
    for label, figure in rows(conversations):
        print(f"| {label} | {figure:.3f} | scorer |", flush=True)
    print(f"\nevidence recall@{K} = {default:.3f}")


if __name__ == "__main__":
    main()
