"""The native search index equals the reference implementation: counts, hits, scores and breakdowns, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
import somabrain_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import MemoryKind
from somabrain_service.domain.ranking.score import Tuning
from somabrain_service.store.index_source import NEVER, MemoryRow
from somabrain_service.store.kernel import is_installed
from somabrain_service.store.search_index.index import SearchIndex
from tests.drawn_filters import labels, nested
from tests.unit.service.store import reference_index
from tests.unit.service.store.reference_index import UNIX_EPOCH, ReferenceIndex, StoredMemory

WORDS = ["bee", "hive", "meadow", "clover", "queen", "drone", "wax", "honey", "frost"]
INSTRUCTION_SETS = somabrain_kernel.instruction_sets()
every_instruction_set = pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)

sessions = st.sampled_from(["", "s1", "s2"])
subjects = st.sampled_from(["", "ada", "ben"])
seconds = st.integers(-50, 50)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """The rows scaled to length 1; rows of zeros remain."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.asarray(scaled, np.float32)


@st.composite
def drawn_vectors(draw: st.DrawFn, dimensions: int) -> NDArray[np.float32]:
    """A vector of length 1 or 0: in one of few directions, along an axis, close to another, or anywhere."""
    chance = np.random.default_rng(draw(st.integers(0, 5) | st.integers(0, 2**32 - 1)))
    some = chance.normal(size=dimensions)
    near = np.random.default_rng(0).normal(size=dimensions) + 0.01 * some
    axis = np.zeros(dimensions)
    axis[draw(st.integers(0, dimensions - 1))] = draw(st.sampled_from([-1.0, 1.0]))
    spiked = some * chance.choice([1e-3, 1.0], size=dimensions, p=[0.9, 0.1])
    return unit(draw(st.sampled_from([some, near, axis, spiked, np.zeros(dimensions)])))


@st.composite
def drawn_memories(draw: st.DrawFn, id_: int, dimensions: int) -> StoredMemory:
    terms = draw(st.dictionaries(st.sampled_from(WORDS), st.sampled_from([1, 1, 2, 500]), max_size=5))
    session = draw(sessions)
    row = MemoryRow(
        id=id_,
        kind=draw(st.sampled_from([int(kind) for kind in MemoryKind])),
        session=session,
        # Distinct within a session: ids are.
        position=id_ * draw(st.sampled_from([1, 1, 7])) + 1_000 * draw(st.integers(0, 1)) if session else 0,
        subject=draw(subjects),
        labels=draw(labels),
        event_us=draw(seconds) * 1_000_000 + draw(st.integers(0, 1)),
        create_us=draw(seconds) * 1_000_000,
        expire_us=draw(st.just(NEVER) | seconds.map(lambda n: n * 1_000_000)),
        salience=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        pinned=draw(st.booleans()),
        doc_length=sum(terms.values()),
        key=draw(st.sampled_from(["", f"a/{id_}", f"b/{id_}"])),
    )
    vector = draw(st.none() | drawn_vectors(dimensions))
    return StoredMemory(row, terms, vector, other_vector=vector is None and draw(st.booleans()))


@dataclass(frozen=True)
class Update:
    """One step of an index: ids that changed, and which of the memories there are now."""

    changed_ids: Sequence[int]
    memories: Sequence[StoredMemory]


@dataclass(frozen=True)
class Query:
    """A query at a time."""

    terms: tuple[str, ...]
    vector: NDArray[np.float32] | None
    filter: MemoryFilter
    limit: int
    top_k: int
    tuning: Tuning
    now_s: int


def distinct_positions(memories: Sequence[StoredMemory]) -> bool:
    places = [(memory.row.session, memory.row.position) for memory in memories if memory.row.session]
    return len(places) == len(set(places))


@st.composite
def updates(draw: st.DrawFn, dimensions: int) -> list[Update]:
    stored: dict[int, StoredMemory] = {}
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        ids = draw(st.lists(st.integers(0, 40), unique=True, max_size=25))
        memories = [draw(drawn_memories(id_, dimensions)) for id_ in ids if draw(st.integers(0, 3))]
        retained = {id_: memory for id_, memory in stored.items() if id_ not in ids}
        while not distinct_positions([*retained.values(), *memories]):
            memories.pop()
        stored = retained | {memory.row.id: memory for memory in memories}
        steps.append(Update(ids, memories))
    return steps


@st.composite
def queries(draw: st.DrawFn, dimensions: int) -> Query:
    time = st.none() | seconds.map(lambda n: UNIX_EPOCH + timedelta(seconds=n))
    filters = st.builds(
        MemoryFilter,
        labels=labels,
        kinds=st.lists(st.sampled_from(MemoryKind), max_size=2).map(tuple),
        sessions=st.lists(sessions | st.just("none"), max_size=2).map(tuple),
        subjects=st.lists(subjects, max_size=2).map(tuple),
        event_time_from=time,
        event_time_until=time,
        create_time_from=time,
        create_time_until=time,
        pinned=st.sampled_from([None, None, False, True]),
        key_prefix=st.sampled_from(["", "", "a/", "a/1", "b"]),
    )
    return Query(
        tuple(sorted(draw(st.sets(st.sampled_from([*WORDS, "absent"]), max_size=6)))),
        draw(st.none() | drawn_vectors(dimensions)),
        draw(st.just(MemoryFilter()) | filters | nested(filters)),
        draw(st.sampled_from([1, 2, 5, 200])),
        draw(st.sampled_from([1, 2, 10, 200])),
        Tuning(draw(st.booleans()), draw(st.booleans())),
        draw(seconds),
    )


@st.composite
def states(draw: st.DrawFn) -> tuple[list[Update], list[Query], timedelta | None]:
    dimensions = draw(st.sampled_from([1, 3, 31, 64, 65, 200]))
    half_life = draw(st.none() | st.sampled_from([timedelta(seconds=1), timedelta(seconds=30), timedelta(days=9)]))
    return draw(updates(dimensions)), draw(st.lists(queries(dimensions), min_size=1, max_size=3)), half_life


@every_instruction_set
@settings(deadline=None, max_examples=60)
@given(state=states())
def test_index_matches_reference_implementation(
    state: tuple[list[Update], list[Query], timedelta | None], instruction_set: str
) -> None:
    """After any updates, counts, keys and rankings are those of a scan by definition, to the last bit."""
    steps, searches, half_life = state
    index = SearchIndex(reference_index.namespace(0, half_life), instruction_set)
    expected = ReferenceIndex({})
    for version, step in enumerate(steps, start=1):
        current = reference_index.namespace(version, half_life)
        index.apply(step.changed_ids, reference_index.index_rows(step.memories), current.read_version)
        expected.apply(step.changed_ids, step.memories)
        assert index.memories == len(expected.memories)
        assert set(index.keys) == expected.keys()
        for query in searches:
            now = UNIX_EPOCH + timedelta(seconds=query.now_s)
            statistics = expected.statistics(current, query.terms, now)
            assert index.statistics(current, query.terms, now) == statistics
            search = reference_index.search(
                statistics,
                query.terms,
                query.vector,
                memory_filter=query.filter,
                limit=query.limit,
                top_k=query.top_k,
                tuning=query.tuning,
            )
            assert index.rank(current, search, now) == expected.rank(current, search, now)


def clustered_memories(count: int, dimensions: int, spread: float, seed: int) -> list[StoredMemory]:
    """Memories in sessions of 20 whose vectors are scattered around one direction, closer for a smaller `spread`."""
    chance = np.random.default_rng(seed)
    vectors = unit(chance.normal(size=dimensions) + spread * chance.normal(size=(count, dimensions)))
    words = chance.zipf(1.3, size=(count, 12)) % 500
    memories = []
    for id_, (vector, drawn) in enumerate(zip(vectors, words, strict=True)):
        terms = {f"w{word}": int(tf) for word, tf in zip(*np.unique(drawn, return_counts=True), strict=True)}
        row = MemoryRow(id_, 1, f"s{id_ // 20}", id_ % 20, "", {}, id_, id_, NEVER, 0.5, False, 12)
        memories.append(StoredMemory(row, terms, vector))
    return memories


@every_instruction_set
@pytest.mark.parametrize("spread", [0.01, 0.3, 30.0])
def test_pruned_search_matches_full_scan(spread: float, instruction_set: str) -> None:
    """Among 9,000 memories, enough for every bound to be used, the best are those of a scan by definition."""
    memories = clustered_memories(9_000, 96, spread, seed=3)
    index, expected = SearchIndex(reference_index.namespace(0), instruction_set), ReferenceIndex({})
    current = reference_index.namespace(1)
    index.apply((), reference_index.index_rows(memories), current.read_version)
    expected.apply((), memories)
    chance = np.random.default_rng(4)
    for number in range(4):
        terms = tuple(sorted({f"w{word}" for word in chance.zipf(1.3, size=8) % 500}))
        vector = unit(chance.normal(size=96)) if number % 2 else memories[number].vector
        statistics = expected.statistics(current, terms, UNIX_EPOCH)
        search = reference_index.search(statistics, terms, vector, limit=20, top_k=200)
        assert index.rank(current, search, UNIX_EPOCH) == expected.rank(current, search, UNIX_EPOCH)


@every_instruction_set
@settings(deadline=None)
@given(data=st.data(), dimensions=st.integers(1, 400))
def test_distances_equal_exact_arithmetic(data: st.DataObject, dimensions: int, instruction_set: str) -> None:
    """A distance is the rounded quotient of exact integers, whatever instructions multiply the bytes."""
    vectors = data.draw(st.lists(drawn_vectors(dimensions), min_size=1, max_size=8))
    rows = [MemoryRow(i, 1, "", 0, "", {}, 0, 0, NEVER, 0.5, False, 0) for i in range(len(vectors))]
    memories = [StoredMemory(row, {}, vector) for row, vector in zip(rows, vectors, strict=True)]
    index = somabrain_kernel.Index(0, instruction_set)
    index.apply([], reference_index.index_rows(memories), 1)
    query = data.draw(drawn_vectors(dimensions))
    expected = reference_index.distances(vectors, query).tolist()
    assert index.distances(list(range(len(vectors))), query) == expected


def test_index_answers_only_at_its_own_version() -> None:
    """At another version than the index has, there are neither counts nor a ranking."""
    index = SearchIndex(reference_index.namespace(7))
    current, other = reference_index.namespace(7), reference_index.namespace(8)
    search = reference_index.search(ReferenceIndex({}).statistics(current, (), UNIX_EPOCH), (), None)
    assert index.statistics(current, (), UNIX_EPOCH) is not None
    assert index.statistics(other, (), UNIX_EPOCH) is None
    assert index.rank(current, search, UNIX_EPOCH) is not None
    assert index.rank(other, search, UNIX_EPOCH) is None


def test_concurrent_search_observes_one_version() -> None:
    """Searches in threads, while updates are applied, observe a version as a whole or not at all."""
    index = SearchIndex(reference_index.namespace(0))
    memories = clustered_memories(600, 64, 30.0, seed=5)
    versions = 40

    def applied(version: int) -> list[StoredMemory]:
        return memories[: version * 15]

    def rank_at(version: int) -> bool:
        current = reference_index.namespace(version)
        expected = ReferenceIndex({})
        expected.apply((), applied(version))
        statistics = expected.statistics(current, ("w1", "w2"), UNIX_EPOCH)
        search = reference_index.search(statistics, ("w1", "w2"), memories[0].vector)
        answers = {index.rank(current, search, UNIX_EPOCH) for _ in range(50)} - {None}
        return answers <= {expected.rank(current, search, UNIX_EPOCH)}

    with ThreadPoolExecutor(4) as threads:
        ranked = [threads.submit(rank_at, version) for version in range(1, versions + 1)]
        for version in range(1, versions + 1):
            new = applied(version)[(version - 1) * 15 :]
            as_of = reference_index.namespace(version).read_version
            index.apply((), reference_index.index_rows(new), as_of)
        assert all(future.result() for future in ranked)


def test_invalid_argument_raises_value_error() -> None:
    """Inconsistent arrays raise a ValueError, not a panic."""
    with pytest.raises(ValueError, match='instruction set "mmx" is not one of'):
        somabrain_kernel.Index(0, "mmx")
    index = SearchIndex(reference_index.namespace(0))
    statistics = ReferenceIndex({}).statistics(reference_index.namespace(0), (), UNIX_EPOCH)
    search = reference_index.search(statistics, (), None)
    wrong = replace(search, seeds=(3,))
    with pytest.raises(ValueError, match="must belong to terms"):
        index.rank(reference_index.namespace(0), wrong, UNIX_EPOCH)


def test_kernel_is_installed() -> None:
    """The test environment has the kernel; without it the service would search in PostgreSQL."""
    assert is_installed()
