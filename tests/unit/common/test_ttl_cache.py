"""The cache is bounded, and its entries expire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.aio.ttl_cache import TTLCache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_entry_expires_exactly_at_its_time() -> None:
    clock = Clock()
    cache: TTLCache[str, int] = TTLCache(10, clock)
    cache.put("a", 1, expires_at=5.0)
    clock.now = 4.999
    assert cache.get("a") == 1
    clock.now = 5.0
    assert cache.get("a") is None
    assert len(cache) == 0


def test_put_with_past_expiry_removes_existing_entry() -> None:
    clock = Clock()
    cache: TTLCache[str, int] = TTLCache(10, clock)
    cache.put("a", 1, expires_at=5.0)
    cache.put("a", 2, expires_at=0.0)
    assert cache.get("a") is None


def test_least_recently_used_entry_is_evicted_first() -> None:
    cache: TTLCache[str, int] = TTLCache(2, Clock())
    cache.put("a", 1, 9.0)
    cache.put("b", 2, 9.0)
    cache.get("a")
    cache.put("c", 3, 9.0)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10))), st.integers(1, 8))
def test_size_never_exceeds_capacity(puts: list[tuple[int, float]], capacity: int) -> None:
    cache: TTLCache[int, int] = TTLCache(capacity, Clock())
    for key, until in puts:
        cache.put(key, key, until)
        assert len(cache) <= capacity
