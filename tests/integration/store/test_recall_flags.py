"""Each flag of Recall removes its part of the score, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import FailedPrecondition
from somabrain_service.domain.memory import Vector
from somabrain_service.flags.registry import FixedFlags, Flags
from tests.integration.store.conftest import Brain

QUESTION = "What do bees do in winter?"


def switched(brain: Brain, **flags: bool) -> Brain:
    return replace(brain, services=replace(brain.services, flags=FixedFlags(Flags.model_validate(flags))))


async def remember_some(brain: Brain) -> None:
    for text, salience in (("In winter the bees cluster.", 1.0), ("It is cold outside.", 0.0), ("Bees dance.", 0.5)):
        await brain.remember(text, session="s", salience=salience)


async def test_disabled_dense_recall_ranks_by_lexical_score(brain: Brain) -> None:
    await remember_some(brain)
    off = switched(brain, dense_recall=False)
    answer = await off.recall(QUESTION)
    assert (answer.encoder_id, answer.degraded) == ("", ())
    assert {hit.breakdown.dense for hit in answer.hits} == {0.0}
    assert (await brain.recall(QUESTION)).hits[0].breakdown.dense > 0
    vector = Vector.of(tuple([1.0] * 384))
    assert (await off.recall(QUESTION, vector=vector)).hits == answer.hits
    with pytest.raises(FailedPrecondition, match="flag dense_recall"):
        await off.recall(vector=vector)


async def test_disabled_contiguity_adds_no_boost_or_neighbours(words: Brain) -> None:
    await remember_some(words)
    contiguities = {hit.memory.text: hit.breakdown.contiguity for hit in (await words.recall("cluster")).hits}
    assert contiguities["It is cold outside."] > 0
    answer = await switched(words, contiguity=False).recall("cluster")
    assert [(hit.memory.text, hit.breakdown.contiguity) for hit in answer.hits] == [("In winter the bees cluster.", 0)]


async def test_disabled_bias_ignores_recency_and_salience(words: Brain) -> None:
    await remember_some(words)
    weighed = {hit.breakdown.salience for hit in (await words.recall("bees")).hits}
    assert weighed > {1.0}
    answer = await switched(words, bias=False).recall("bees")
    assert {(hit.breakdown.recency, hit.breakdown.salience) for hit in answer.hits} == {(1.0, 1.0)}
    assert all(
        hit.score == pytest.approx(hit.breakdown.lexical_relative + hit.breakdown.contiguity) for hit in answer.hits
    )
