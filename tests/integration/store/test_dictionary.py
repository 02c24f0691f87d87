"""A namespace with keys is a dictionary of paths: any sequence of calls by key is answered as a dictionary would."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from common.config.settings import DatabaseSettings, SearchIndexSettings
from common.errors import Aborted, AlreadyExists, NotFound
from somabrain_service.commands.batch_remember_memories import RememberItem, batch_remember_memories
from somabrain_service.commands.forget_memories import forget_memories
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.touch_memory import touch_memory
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.pagination import Order
from somabrain_service.store.open import open_store
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

STEPS = 1000
KEYS = ["a", "a/", "a/1", "a/1 ", "a/2", "a/b/c", "A/1", "b", "é", "e\u0301", "\uffff", "\U0001f41d"]
PREFIXES = ["", "a", "a/", "a/1", "é", "\uffff", "none"]
START = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")
_numbers = itertools.count()


@dataclass
class Entry:
    """A path of the dictionary: the memory as the last call returned it."""

    memory: Memory

    def is_live(self, now: datetime) -> bool:
        return self.memory.expire_time is None or self.memory.expire_time > now


class Dictionary(RuleBasedStateMachine):
    """Calls by key against a store, each compared with a dictionary. `database` and `indexed` are set by the test."""

    database: Clone
    indexed: bool

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.now = START
        self.paths: dict[str, Entry] = {}
        self.stale: dict[str, str] = {}
        search_index = SearchIndexSettings() if self.indexed else None
        store = self.run(
            self.stack.enter_async_context(
                open_store(self.database.app_dsn, DatabaseSettings(), search_index=search_index)
            )
        )
        services = AppContext(store, {}, "lexical", clock=lambda: self.now)
        self.brain = Brain(services, tenant_id("https://issuer.test", "a"), NamespaceName.of(f"n{next(_numbers)}"))
        self.run(self.brain.create(encoder="lexical"))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    def draw(self, seed: int) -> tuple[Random, str]:
        """Advance the clock by a second, and choose a key, by a seed: a thousand steps stay within the bounds."""
        self.now += timedelta(seconds=1)
        self.paths = {key: entry for key, entry in self.paths.items() if entry.is_live(self.now)}
        chance = Random(seed)
        return chance, chance.choice(KEYS)

    def put(self, memory: Memory) -> None:
        if (former := self.paths.get(memory.key)) is not None:
            self.stale[memory.key] = former.memory.etag
        self.paths[memory.key] = Entry(memory)

    seeds = st.integers(0, 2**16 - 1)

    @rule(seed=seeds)
    def upsert(self, seed: int) -> None:
        chance, key = self.draw(seed)
        former = self.paths.get(key)
        ttl = chance.choice([None, None, timedelta(seconds=20)])
        memory = self.run(self.brain.upsert(key, f"bee {seed}", ttl=ttl))
        assert (memory.key, memory.text, memory.revision) == (
            key,
            f"bee {seed}",
            former.memory.revision + 1 if former else 1,
        )
        assert former is None or memory.name == former.memory.name
        self.put(memory)

    @rule(seed=seeds)
    def create(self, seed: int) -> None:
        chance, key = self.draw(seed)
        call = (
            self.brain.upsert(key, f"bee {seed}", etag="absent")
            if chance.random() < 0.5
            else self._remembered(f"bee {seed}", key)
        )
        if (holder := self.paths.get(key)) is None:
            self.put(self.run(call))
            return
        with pytest.raises(AlreadyExists) as caught:
            self.run(call)
        assert caught.value.holder == str(holder.memory.name)

    async def _remembered(self, text: str, key: str) -> Memory:
        return (await self.brain.remember(text, key=key)).memory

    @rule(seed=seeds)
    def create_two(self, seed: int) -> None:
        chance, key = self.draw(seed)
        keys = [key, chance.choice(KEYS)]
        brain, items = self.brain, [RememberItem(MemoryDraft(f"bee {seed} {key}", key=key)) for key in keys]
        batch = self.run(batch_remember_memories(brain.services, brain.tenant, brain.parent, items))
        for each, result in zip(keys, batch.results, strict=True):
            if each in self.paths:
                assert isinstance(result, AlreadyExists)
                assert result.holder == str(self.paths[each].memory.name)
            else:
                assert isinstance(result, Memory)
                self.put(result)

    @rule(seed=seeds)
    def compare_and_set(self, seed: int) -> None:
        chance, key = self.draw(seed)
        entry = self.paths.get(key)
        etag = entry.memory.etag if entry and chance.random() < 0.5 else self.stale.get(key, "0" * 24)
        if entry and etag == entry.memory.etag:
            self.put(self.run(self.brain.upsert(key, f"bee {seed}", etag=etag)))
            return
        with pytest.raises(Aborted):
            self.run(self.brain.upsert(key, f"bee {seed}", etag=etag))

    @rule(seed=seeds)
    def get(self, seed: int) -> None:
        _, key = self.draw(seed)
        if entry := self.paths.get(key):
            assert self.run(self.brain.get(key)) == entry.memory
            return
        with pytest.raises(NotFound):
            self.run(self.brain.get(key))

    @rule(seed=seeds)
    def rename(self, seed: int) -> None:
        chance, key = self.draw(seed)
        entry, new = self.paths.get(key), chance.choice(KEYS)
        if entry is None:
            return
        if new in self.paths and new != key:
            with pytest.raises(AlreadyExists):
                self.run(self.brain.update(entry.memory, key=new))
            return
        renamed = self.run(self.brain.update(entry.memory, key=new)).memory
        assert (renamed.name, renamed.key) == (entry.memory.name, new)
        del self.paths[key]
        self.paths[new] = Entry(renamed)

    @rule(seed=seeds)
    def forget(self, seed: int) -> None:
        _, key = self.draw(seed)
        if self.paths.pop(key, None):
            self.run(self.brain.forget(self.brain.key(key)))
            return
        with pytest.raises(NotFound):
            self.run(self.brain.forget(self.brain.key(key)))

    @rule(seed=seeds)
    def forget_below(self, seed: int) -> None:
        chance, _ = self.draw(seed)
        if chance.random() < 0.8:
            return
        prefix = chance.choice(PREFIXES[1:])
        brain, gone = self.brain, [key for key in self.paths if key.startswith(prefix)]
        result = self.run(forget_memories(brain.services, brain.tenant, brain.parent, MemoryFilter(key_prefix=prefix)))
        assert result.forgotten == len(gone)
        for key in gone:
            del self.paths[key]

    @rule(seed=seeds)
    def touch(self, seed: int) -> None:
        _, key = self.draw(seed)
        brain, end = self.brain, self.now + timedelta(seconds=30)
        call = touch_memory(brain.services, brain.tenant, brain.key(key), timedelta(seconds=30))
        if (entry := self.paths.get(key)) is None:
            with pytest.raises(NotFound):
                self.run(call)
            return
        touched = self.run(call)
        former = entry.memory.expire_time
        assert touched.expire_time == (None if former is None else max(former, end))
        assert touched.etag == entry.memory.etag
        self.paths[key] = Entry(touched)

    @rule(seed=seeds)
    def list_below(self, seed: int) -> None:
        chance, _ = self.draw(seed)
        prefix, descending = chance.choice(PREFIXES), chance.random() < 0.5
        listed = self.run(
            self.brain.list_all(
                page_size=chance.choice([2, 1000]),
                order=Order.parse("key desc" if descending else "key"),
                filter=MemoryFilter(key_prefix=prefix),
            )
        )
        keys = sorted((key for key in self.paths if key.startswith(prefix)), key=str.encode, reverse=descending)
        assert listed == [self.paths[key].memory for key in keys]

    @rule(seed=seeds)
    def recall_below(self, seed: int) -> None:
        chance, _ = self.draw(seed)
        prefix = chance.choice(PREFIXES)
        hits = self.run(self.brain.recall("bee", top_k=200, filter=MemoryFilter(key_prefix=prefix))).hits
        expected = {key: entry.memory for key, entry in self.paths.items() if key.startswith(prefix)}
        assert {hit.memory.key: hit.memory for hit in hits} == expected

    @rule(seed=seeds)
    def let_time_pass(self, seed: int) -> None:
        self.now += timedelta(seconds=seed % 15)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("indexed", [False, True], ids=["postgresql", "search index"])
def test_keyed_namespace_behaves_like_a_dictionary_over_a_thousand_calls(database: Clone, indexed: bool) -> None:
    machine = type("Drawn", (Dictionary,), {"database": database, "indexed": indexed})
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            max_examples=3,
            stateful_step_count=STEPS,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        ),
    )
