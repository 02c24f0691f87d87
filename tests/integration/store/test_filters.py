"""Filters select according to their definition, in every store; memories are forgotten by them; hits come in pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import AlreadyExists, InvalidArgument, NotFound
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.forget_memories import ForgetMemoriesResult, forget_memories
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import LabelCondition, LabelOperator
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.recall import RecallQuery, RecallResult
from tests.drawn_filters import LABELS, VALUES, nested
from tests.integration.store.conftest import Brain

START = datetime(2026, 1, 1, tzinfo=UTC)


def labelled(label: str, operator: LabelOperator, *values: str) -> MemoryFilter:
    return MemoryFilter(conditions=(LabelCondition(label, operator, values),))


def matches(memory: Memory, f: MemoryFilter) -> bool:
    """The definition of a filter, of those fields that these tests set."""
    return (
        (not f.sessions or memory.session in f.sessions)
        and memory.key.startswith(f.key_prefix)
        and all(condition.matches(memory.labels) for condition in f.conditions)
        and (not f.any_of or any(matches(memory, each) for each in f.any_of))
        and not any(matches(memory, each) for each in f.none_of)
    )


async def forget(brain: Brain, memory_filter: MemoryFilter, **options: object) -> ForgetMemoriesResult:
    return await forget_memories(brain.services, brain.tenant, brain.parent, memory_filter, **options)  # type: ignore[arg-type]


@pytest.fixture
async def labels(words: Brain) -> tuple[Brain, Sequence[Memory]]:
    """A namespace with every value of the drawn filters, in one label and in all, and two memories without labels."""
    drafts = [MemoryDraft("bee", labels={LABELS[i % 3]: value}, session="ab"[i % 2]) for i, value in enumerate(VALUES)]
    drafts += [MemoryDraft("bee", labels=dict.fromkeys(LABELS, value), key=f"k/{value}") for value in VALUES]
    drafts += [MemoryDraft("bee"), MemoryDraft("bee", key="é")]
    return words, await words.remember_all(*map(RememberItem, drafts))


plain = st.builds(MemoryFilter, sessions=st.sampled_from([("a",), ("", "b")])) | st.builds(
    MemoryFilter, key_prefix=st.sampled_from(["k/", "é"])
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(memory_filter=nested(plain))
async def test_filter_selects_according_to_its_definition(
    labels: tuple[Brain, Sequence[Memory]], memory_filter: MemoryFilter
) -> None:
    """ListMemories, Recall, and the count of ForgetMemories agree with the definition, in SQL and in the index."""
    brain, stored = labels
    expected = {memory.name for memory in stored if matches(memory, memory_filter)}
    assert {memory.name for memory in await brain.list_all(filter=memory_filter)} == expected
    hits = (await brain.recall("bee", filter=memory_filter, top_k=200)).hits
    assert {hit.memory.name for hit in hits} == expected
    if not memory_filter.empty:
        assert (await forget(brain, memory_filter, dry_run=True)).matching == len(expected)


@pytest.mark.parametrize("operator", LabelOperator)
async def test_each_operator_compares_each_pair_of_values(
    labels: tuple[Brain, Sequence[Memory]], operator: LabelOperator
) -> None:
    """EQUAL, NOT_EQUAL, LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, IN, PREFIX, EXISTS, by list and by recall."""
    brain, stored = labels
    for value in VALUES:
        memory_filter = labelled("n", operator, *(() if operator is LabelOperator.EXISTS else (value,)))
        expected = {memory.name for memory in stored if matches(memory, memory_filter)}
        assert {memory.name for memory in await brain.list_all(filter=memory_filter)} == expected, value
        hits = (await brain.recall_once("bee", filter=memory_filter, top_k=200)).hits
        assert {hit.memory.name for hit in hits} == expected, value


@pytest.mark.parametrize(
    ("one", "operator", "other", "is_met"),
    [
        ("9", LabelOperator.LESS, "10", True),
        ("nine", LabelOperator.GREATER, "10", False),
        ("1.0", LabelOperator.EQUAL, "1e0", True),
        ("9007199254740993", LabelOperator.GREATER, "9007199254740992", True),
        ("1.7976931348623157e308", LabelOperator.LESS, "1e309", True),
        ("5e-324", LabelOperator.GREATER, "0", True),
        ("-0", LabelOperator.EQUAL, "0", True),
        ("NaN", LabelOperator.EQUAL, "NaN", True),
        ("é", LabelOperator.EQUAL, "e\u0301", False),
        ("007", LabelOperator.EQUAL, "7", False),
    ],
)
def test_numbers_compare_as_decimals_and_other_values_by_bytes(
    one: str, operator: LabelOperator, other: str, is_met: bool
) -> None:
    assert LabelCondition("n", operator, (other,)).matches({"n": one}) is is_met


async def test_forget_by_filter_deletes_oldest_first_up_to_the_limit(words: Brain) -> None:
    await words.remember_all(*(RememberItem(MemoryDraft(f"text {n}", labels={"n": str(n)})) for n in range(20)))
    ten = labelled("n", LabelOperator.LESS, "10")
    counted = await forget(words, ten, dry_run=True, max_count=4)
    assert (counted.forgotten, counted.matching, len(await words.list_all())) == (0, 10, 20)
    some = await forget(words, ten, max_count=4)
    assert (some.forgotten, some.matching) == (4, 10)
    assert [memory.labels["n"] for memory in await words.list_all(filter=ten)] == [str(n) for n in range(4, 10)]
    rest = await forget(words, ten)
    assert (rest.forgotten, rest.matching) == (6, 6)
    assert sorted(int(memory.labels["n"]) for memory in await words.list_all()) == list(range(10, 20))
    statistics = await words.statistics()
    assert (statistics.memories, statistics.text_bytes) == (10, 10 * len("text 10"))
    assert await words.recalled_texts("text", filter=ten) == []


@pytest.mark.parametrize("delete_batch_size", [3])
async def test_repeated_forget_by_filter_deletes_nothing_more(words: Brain) -> None:
    await words.remember_all(*(RememberItem(MemoryDraft(f"text {n}", session="s")) for n in range(10)))
    of_session = MemoryFilter(sessions=("s",))
    first = await forget(words, of_session, request_id="r", max_count=7)
    again = await forget(words, of_session, request_id="r", max_count=7)
    assert (first.forgotten, again.forgotten, len(await words.list_all())) == (7, 7, 3)
    with pytest.raises(AlreadyExists):
        await forget(words, of_session, request_id="r", max_count=8)


async def test_forget_with_empty_filter_deletes_nothing(words: Brain) -> None:
    await words.remember("bees")
    with pytest.raises(InvalidArgument, match="filter"):
        await forget(words, MemoryFilter())
    for bound in (-1, 10_001):
        with pytest.raises(InvalidArgument, match="max_count"):
            await forget(words, MemoryFilter(sessions=("",)), max_count=bound)
    with pytest.raises(NotFound):
        await forget(words.at("none"), MemoryFilter(sessions=("",)))
    assert len(await words.list_all()) == 1


async def test_race_forget_by_filter_against_updates(words: Brain) -> None:
    """No memory is forgotten that an acknowledged update took out of the filter before, and none partly."""
    stored = await words.remember_all(*(RememberItem(MemoryDraft("bees", labels={"old": "1"})) for _ in range(30)))
    old = labelled("old", LabelOperator.EXISTS)
    saved: list[Memory] = []

    async def save(memory: Memory) -> None:
        try:
            saved.append((await words.update(memory, labels={"new": "1"})).memory)
        except NotFound:
            return

    async with asyncio.TaskGroup() as group:
        for memory in stored[::2]:
            group.create_task(save(memory))
        forgetting = group.create_task(forget(words, old))
    left = await words.list_all()
    assert {memory.name for memory in left} == {memory.name for memory in saved}
    assert forgetting.result().forgotten == len(stored) - len(saved)
    assert (await words.statistics()).memories == len(left)


def test_filter_beyond_its_bounds_is_refused_by_field() -> None:
    """10,000 conditions, deep nesting, empty filters and wrong numbers of values are refused with the field's name."""
    exists = LabelCondition("a", LabelOperator.EXISTS)
    deep = MemoryFilter(sessions=("s",))
    for _ in range(7):
        deep = MemoryFilter(any_of=(deep,))
    for make in (
        lambda: MemoryFilter(conditions=(exists,) * 10_000),
        lambda: MemoryFilter(any_of=(MemoryFilter(sessions=("s",)),) * 129),
        lambda: MemoryFilter(none_of=(deep,)),
        lambda: MemoryFilter(any_of=(MemoryFilter(),)),
        lambda: MemoryFilter(none_of=(MemoryFilter(),)),
        lambda: LabelCondition("a", LabelOperator.EXISTS, ("x",)),
        lambda: LabelCondition("a", LabelOperator.EQUAL),
        lambda: LabelCondition("a", LabelOperator.EQUAL, ("x", "y")),
        lambda: LabelCondition("a", LabelOperator.IN),
        lambda: LabelCondition("a", LabelOperator.IN, ("x",) * 257),
        lambda: LabelCondition("", LabelOperator.EXISTS),
        lambda: LabelCondition("a", LabelOperator.EQUAL, ("\0",)),
        lambda: LabelCondition("a", LabelOperator.EQUAL, ("v" * 257,)),
    ):
        with pytest.raises(InvalidArgument, match="filter"):
            make()


async def test_largest_allowed_filter_is_answered(labels: tuple[Brain, Sequence[Memory]]) -> None:
    """128 conditions, each with the largest value, and IN with 256 values."""
    brain, _ = labels
    many = LabelCondition("n", LabelOperator.IN, tuple(f"{n}{'v' * 250}" for n in range(256)))
    for condition in (many, LabelCondition("n", LabelOperator.LESS, ("9" * 256,))):
        memory_filter = MemoryFilter(conditions=(condition,) * 128)
        listed = {memory.name for memory in await brain.list_all(filter=memory_filter)}
        hits = (await brain.recall("bee", filter=memory_filter, top_k=200)).hits
        assert {hit.memory.name for hit in hits} == listed


async def pages(brain: Brain, query: RecallQuery) -> list[RecallResult]:
    results = [await recall_memories(brain.services, brain.tenant, query)]
    while token := results[-1].next_page_token:
        results.append(await recall_memories(brain.services, brain.tenant, replace(query, page_token=token)))
    return results


@pytest.mark.parametrize("top_k", [1, 7, 200])
async def test_recall_pages_form_one_ranking(brain: Brain, top_k: int) -> None:
    """Together the pages have the hits of one large page, in the same order with the same scores, and no duplicates."""
    texts = ["bees and honey", "wasps", "honey", "bees", "a hive of bees", "bread and honey", "tea"]
    for number in range(28):
        await brain.remember(f"{texts[number % 7]} {number}", session="s" if number % 3 else "", salience=number / 28)
    whole = await brain.recall_once("bees honey", top_k=200)
    paged = await pages(brain, RecallQuery(brain.parent, "bees honey", top_k=top_k))
    assert [hit for page in paged for hit in page.hits] == list(whole.hits)
    assert all(len(page.hits) <= top_k and not page.state_changed for page in paged)


async def test_recall_page_after_a_change_reports_it(words: Brain) -> None:
    for number in range(9):
        await words.remember(f"bees {number}")
    query = RecallQuery(words.parent, "bees", top_k=3)
    first = await recall_memories(words.services, words.tenant, query)
    await words.remember("wasps")
    second = await recall_memories(words.services, words.tenant, replace(query, page_token=first.next_page_token))
    assert (first.state_changed, second.state_changed) == (False, True)
    assert len(second.hits) == 3


async def test_recall_page_omits_memories_expired_since_the_first_page(words: Brain) -> None:
    """The ranking stays that of the first page, without memories that have expired since."""
    early = replace(words, services=replace(words.services, clock=lambda: START))
    late = replace(words, services=replace(words.services, clock=lambda: START + timedelta(seconds=5)))
    for number in range(6):
        await early.remember(f"bees {number}", ttl=timedelta(seconds=5) if number % 2 else None)
    query = RecallQuery(words.parent, "bees", top_k=3)
    whole = [hit.memory for hit in (await early.recall_once("bees", top_k=6)).hits]
    first = await recall_memories(early.services, words.tenant, query)
    second = await recall_memories(late.services, words.tenant, replace(query, page_token=first.next_page_token))
    assert [hit.memory for hit in first.hits] == whole[:3]
    assert [hit.memory for hit in second.hits] == [memory for memory in whole[3:] if memory.expire_time is None]


async def test_page_token_of_another_recall_is_refused(words: Brain) -> None:
    for number in range(4):
        await words.remember(f"bees {number}")
    query = RecallQuery(words.parent, "bees", top_k=2)
    token = (await recall_memories(words.services, words.tenant, query)).next_page_token
    other = words.at("others")
    await other.create(encoder="lexical")
    for changed in (
        replace(query, query="wasps"),
        replace(query, top_k=3),
        replace(query, filter=MemoryFilter(sessions=("s",))),
        replace(query, parent=NamespaceName.of("others")),
        replace(query, min_score=0.1),
    ):
        with pytest.raises(InvalidArgument, match="page_token"):
            await recall_memories(words.services, words.tenant, replace(changed, page_token=token))
    for altered in ("!", token[:-4] + "AAAA", "AAAA", token + "A" * 5000):
        with pytest.raises(InvalidArgument, match="page_token"):
            await recall_memories(words.services, words.tenant, replace(query, page_token=altered))
