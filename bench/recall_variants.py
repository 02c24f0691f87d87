"""Variants of Recall through the real server: options of namespaces, of requests, and flags."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench.dialogue import Conversation, Turn
from somabrain_client import Memory, MemoryClient, MemoryDraft, RecallResult
from somabrain_service.domain.limits import MAX_BATCH_BYTES
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.flags.registry import FLAG_NAMES

CONCURRENCY = 8
BATCH = 200
SEED = 7
ACCEPTED_REASONS = frozenset({"NO_TERMS"})
"""Reasons for a degraded answer that lie in the question; any other would make a figure wrong."""


@dataclass(frozen=True)
class Variant:
    """Options with which conversations are stored and queried. `words` False: query with the vector only.

    `flags`: values of flags while questions are sent; a variant that has only these uses the default's namespaces.
    """

    label: str
    settings: Mapping[str, object] = field(default_factory=dict)
    sessions: bool = True
    words: bool = True
    salience: bool = False
    recent: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the flags exist: a key in etcd that belongs to no flag has no effect.

        Raises:
            ValueError: naming the flag.
        """
        if unknown := set(self.flags) - set(FLAG_NAMES):
            raise ValueError(f"no such flag: {', '.join(sorted(unknown))}; the flags are {', '.join(FLAG_NAMES)}")


DEFAULTS = Variant("everything at its default")
FLAG_VARIANTS = (
    Variant("everything, flag `late_interaction` off", flags={"late_interaction": "false"}),
    Variant("everything, flag `priors` off", flags={"priors": "false"}),
    Variant("everything, flag `contiguity` off", flags={"contiguity": "false"}),
    Variant("everything, flag `dense_recall` off", flags={"dense_recall": "false"}),
)
VARIANTS = (
    Variant("words alone (BM25)", {"encoder": "lexical"}, sessions=False),
    Variant("words, and contiguity", {"encoder": "lexical"}),
    Variant("vectors alone (cosine)", sessions=False, words=False),
    Variant("vectors, and contiguity", words=False),
    Variant("everything, content `facts`", {"content": "facts"}),
    Variant("everything, neither stems nor stop list (language `mul`)", {"language": "mul"}),
    Variant("everything, salience drawn at random", salience=True),
    Variant(
        "everything, recency of 90 days, the last turn now", {"recency_half_life": timedelta(days=90)}, recent=True
    ),
)


@dataclass(frozen=True)
class Stored:
    """A conversation in a namespace, and the turn id of each memory name."""

    namespace: str
    turns: Mapping[str, str]

    def hits(self, answer: RecallResult) -> list[str]:
        """Return the ids of the turns of an answer, best first."""
        return [self.turns[hit.memory.name] for hit in answer.hits]


async def store(client: MemoryClient, namespace: str, conversation: Conversation, variant: Variant) -> Stored:
    """Store a conversation in a new namespace."""
    await client.create_namespace(namespace, **variant.settings)  # type: ignore[arg-type]
    rng = random.Random(SEED)
    late = datetime.now(UTC) - max(turn.time for turn in conversation.turns) if variant.recent else timedelta(0)
    turns: dict[str, str] = {}
    for batch in batches(conversation.turns):
        drafts = [
            MemoryDraft(
                turn.text,
                session=turn.session if variant.sessions else "",
                session_position=turn.position if variant.sessions else None,
                event_time=turn.time + late,
                salience=rng.random() if variant.salience else None,
            )
            for turn in batch
        ]
        for turn, memory in zip(batch, await client.batch_remember(namespace, drafts), strict=True):
            assert isinstance(memory, Memory), memory
            turns[memory.name] = turn.id
    return Stored(namespace, turns)


def batches(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Yield the turns in groups of at most `BATCH`, and of at most half the bytes that a batch may have."""
    batch: list[Turn] = []
    size = 0
    for turn in turns:
        length = len(turn.text.encode())
        if batch and (len(batch) == BATCH or size + length > MAX_BATCH_BYTES // 2):
            yield batch
            batch, size = [], 0
        batch.append(turn)
        size += length
    if batch:
        yield batch


@dataclass(frozen=True)
class Questioner:
    """Sends questions as a variant does, at most `CONCURRENCY` at a time."""

    client: MemoryClient
    encoder: OnnxEncoder
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))

    async def recall(
        self, stored: Stored, questions: Sequence[str], variant: Variant, top_k: int
    ) -> list[RecallResult]:
        """Return the answers in the order of the questions; ends the program if one is degraded."""
        answers = await asyncio.gather(*(self._recall(stored.namespace, one, variant, top_k) for one in questions))
        for question, answer in zip(questions, answers, strict=True):
            if reasons := set(answer.degraded) - ACCEPTED_REASONS:
                sys.exit(f"The answer to {question!r} is degraded: {', '.join(sorted(reasons))}.")
        return answers

    async def _recall(self, namespace: str, question: str, variant: Variant, top_k: int) -> RecallResult:
        async with self.slots:
            if variant.words:
                return await self.client.recall(namespace, question, top_k=top_k)
            vector = (await self.encoder.encode([question]))[0].tolist()
            return await self.client.recall(namespace, vector=vector, top_k=top_k)
