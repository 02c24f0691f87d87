"""The parts of the search index, compared with simple implementations of the same."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain_service.domain.ranking.fixed_point import fixed_point
from somabrain_service.store.search_index.postings import InvertedIndex
from somabrain_service.store.search_index.ragged_array import RaggedArray
from somabrain_service.store.search_index.top_k import top_k

actions = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["extend", "extend", "remove", "clear"]), st.integers(1, 40)),
    max_size=80,
)


@settings(deadline=None)
@given(actions)
def test_ragged_lists_are_lists_and_keep_nothing_that_was_removed(actions: list[tuple[int, str, int]]) -> None:
    ragged, lists, fresh = RaggedArray(2), defaultdict[int, list[int]](list), iter(range(1, 100_000))
    for number, action, count in actions:
        if action == "extend":
            values = [next(fresh) for _ in range(count)]
            ragged.extend(number, np.array([values, values], np.int32))
            lists[number] += values
        elif action == "remove" and lists[number]:
            ragged.remove(number, lists[number].pop(count % len(lists[number])))
        elif action == "clear":
            ragged.clear(number)
            lists[number].clear()
        for n, values in lists.items():
            assert sorted(ragged.get(n)[0].tolist()) == sorted(ragged.get(n)[1].tolist()) == sorted(values)
    remaining = ragged._data[ragged._data > 0].tolist()
    assert sorted(remaining) == sorted(2 * [value for values in lists.values() for value in values])


def test_what_ragged_lists_left_behind_is_used_again() -> None:
    ragged = RaggedArray(1)
    for turn in range(2_000):
        ragged.extend(turn % 7, np.full((1, 50), turn, np.int32))
        if turn % 7 == 6:
            for number in range(7):
                ragged.clear(number)
    assert ragged.size_bytes < 100_000


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3)), max_size=12), st.data())
def test_an_index_knows_rows_of_keys_and_forgets_both_together(
    having: list[dict[str, int]], data: st.DataObject
) -> None:
    index = InvertedIndex()
    rows: dict[int, dict[str, int]] = {}
    for row, keys in enumerate(having):
        numbers = [
            index.add(key, np.array([row], np.int32), np.array([times], np.int32)) for key, times in keys.items()
        ]
        index.record_keys(np.full(len(numbers), row, np.int32), np.array(numbers, np.int32))
        rows[row] = keys
        if data.draw(st.booleans()):
            removed = data.draw(st.sampled_from(sorted(rows)))
            index.remove(removed)
            del rows[removed]
        for key in "abcde":
            expected = sorted((r, keys[key]) for r, keys in rows.items() if key in keys)
            assert sorted(zip(*index.postings(key).tolist(), strict=True)) == expected
            assert (index.key_id(key) >= 0) == bool(expected) == (key in set(index.keys()))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6)), unique_by=lambda pair: pair[1]), st.integers(1, 9))
def test_the_best_are_the_highest_and_the_lowest_ids_among_equals(pairs: list[tuple[int, int]], limit: int) -> None:
    score, ids = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], np.int64)
    chosen = {int(ids[i]) for i in top_k(score, ids, limit)}
    assert chosen == {i for _, i in sorted((-s, i) for s, i in pairs)[:limit]}


@given(st.integers(2, 700), st.integers(0, 2**32 - 1))
def test_products_in_fixed_point_are_exact_in_any_order(dimensions: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    a, b = chance.normal(size=(2, dimensions))
    a, b = (fixed_point((v / np.linalg.norm(v)).astype(np.float32)) for v in (a, b))
    whole = int(np.rint(a.astype(np.float64) * 2048) @ np.rint(b.astype(np.float64) * 2048))
    order = chance.permutation(dimensions)
    one_by_one = np.float32(0)
    for i in order:
        one_by_one += a[i] * b[i]
    assert float(one_by_one) == float(a[order] @ b[order]) == whole / 2048**2
    assert np.array_equal(a.astype(np.float16).astype(np.float32), a)
    assert np.array_equal(fixed_point(a), a)
