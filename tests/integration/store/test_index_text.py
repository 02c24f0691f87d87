"""A memory with an index text is found by it and returned with its text, byte for byte, up to 100 KiB."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from common.errors import InvalidArgument
from somabrain_service.background.reanalyze import Reanalyze
from somabrain_service.background.reencode import Reencode
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.domain.pagination import RevisionQuery
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.store.maintenance import MaintenanceStore
from tests.integration.store.conftest import Brain

VALUE = json.dumps({"type": "bee\u0000\ud800", "n": [1.0, 2e308], "é": "e\u0301"}) + "\r\n "


async def test_index_text_is_searched_and_text_is_stored(words: Brain) -> None:
    """JSON is stored byte for byte; its syntax and words are not searched, those of the index text are."""
    stored = (await words.remember(VALUE, index_text="honey")).memory
    assert (stored.text, stored.index_text) == (VALUE, "honey")
    assert await words.recalled_texts("type bee") == []
    assert await words.recalled_texts("honey") == [VALUE]
    assert await words.list_all() == [stored]


async def test_update_of_text_or_index_text_reindexes_it(words: Brain) -> None:
    stored = (await words.remember("bees", index_text="honey")).memory
    changed = (await words.update(stored, text="wasps")).memory
    assert await words.recalled_texts("honey") == ["wasps"]
    assert await words.recalled_texts("wasps") == []
    plain = (await words.update(changed, index_text="")).memory
    assert await words.recalled_texts("honey") == []
    assert await words.recalled_texts("wasps") == ["wasps"]
    again = (await words.update(plain, index_text="wax")).memory
    assert await words.recalled_texts("wax") == ["wasps"]
    former = (await list_revisions(words.services, words.tenant, RevisionQuery(again.name))).memories
    texts = [(memory.text, memory.index_text) for memory in former]
    assert texts == [("wasps", ""), ("wasps", "honey"), ("bees", "honey")]


async def test_vector_is_that_of_the_index_text(brain: Brain) -> None:
    """The memory is as near to a query as one with the index text as its text."""
    await brain.remember('{"a": 1}', index_text="Ada keeps bees.")
    await brain.remember("Ada keeps bees.")
    hits = (await brain.recall("Who has insects?")).hits
    assert len({hit.breakdown.dense for hit in hits}) == 1
    assert len(hits) == 2


async def test_reindexing_jobs_use_the_index_text(brain: Brain, maintenance: MaintenanceStore) -> None:
    """After a change of language and of encoder the index text is still searched."""
    await brain.remember("{}", index_text="Bienen sammeln Honig")
    clock = brain.services.clock
    await brain.change(language="de", encoder="lexical")
    await Reanalyze(clock, 1.0).run_once(maintenance)
    assert await brain.recalled_texts("Biene") == ["{}"]
    await brain.change(encoder=ENCODER_ID)
    await Reencode(brain.services.encoders, clock, 1.0).run_once(maintenance)
    result = await brain.recall("Biene")
    assert (result.degraded, result.hits[0].breakdown.dense > 0) == ((), True)


async def test_text_and_index_text_are_limited_to_100_kib_and_count_for_quota(words: Brain) -> None:
    most = 102_400
    stored = (await words.remember("é" * (most // 2), index_text="y" * most, key="k")).memory
    assert (await words.statistics()).text_bytes == 2 * most + 1
    assert (await words.get("k")).text == "é" * (most // 2)
    with pytest.raises(InvalidArgument, match=r"memory\.text: has 102401 bytes, at most 102400"):
        await words.update(stored, text="x" * (most + 1))
    with pytest.raises(InvalidArgument, match=r"memory\.index_text: has 102401 bytes, at most 102400"):
        await words.update(stored, index_text="x" * (most + 1))
    await words.update(stored, index_text="", event_time=datetime(2026, 1, 1, tzinfo=UTC))
    assert (await words.statistics()).text_bytes == most + 1
    await words.forget(stored.name)
    assert (await words.statistics()).text_bytes == 0
