"""A store of LangGraph, by the behaviour that the tests of LangGraph's own PostgresStore require, and beyond it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, Item, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from somabrain_client import SyncMemoryClient, key_name
from somabrain_client.errors import (
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from somabrain_client.integrations.langgraph import SomaBrainStore, key_of
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.platform import Platform

TTL_S = 3.0
TTL_MINUTES = TTL_S / 60


def value_of(store: SomaBrainStore, namespace: tuple[str, ...] = ("a",), *, refresh_ttl: bool | None = None) -> Any:
    item = store.get(namespace, "k", refresh_ttl=refresh_ttl)
    return item.value if item else None


def keys(items: list[Any]) -> list[str]:
    return [item.key for item in items]


def namespaces(items: list[Any]) -> set[tuple[str, ...]]:
    return {item.namespace for item in items}


def fill(store: Any, *places: tuple[str, ...]) -> None:
    for place in places:
        store.put(place, "k", {"v": 1})


# Batches


def test_batch_results_keep_the_order_of_operations(store: Any) -> None:
    store.put(("zoo", "birds"), "heron", {"name": "Harold"})
    store.put(("zoo", "cats"), "lynx", {"name": "Luna"})
    get_heron, get_missing = GetOp(("zoo", "birds"), "heron"), GetOp(("zoo",), "nobody")
    put, search = PutOp(("zoo",), "map", {"name": "the map"}), SearchOp(("zoo",), filter={"name": "Harold"})
    listing = ListNamespacesOp()
    heron, none, listed, results, missing = store.batch([get_heron, put, listing, search, get_missing])
    assert (heron.key, heron.value, none, missing) == ("heron", {"name": "Harold"}, None, None)
    assert isinstance(heron, Item)
    assert listed == [("zoo", "birds"), ("zoo", "cats")]
    assert keys(results) == ["heron"]
    missing, results, put_again, listed = store.batch([get_missing, SearchOp(("zoo",)), put, listing])
    assert (missing, put_again) == (None, None)
    assert sorted(keys(results)) == ["heron", "lynx", "map"]
    assert ("zoo",) in listed


def test_batch_get_returns_none_for_missing_items(store: Any) -> None:
    fill(store, ("a",), ("b",))
    first, second, third = store.batch([GetOp(("a",), "k"), GetOp(("c",), "k"), GetOp(("b",), "k")])
    assert (first.namespace, second, third.namespace) == (("a",), None, ("b",))


def test_batch_puts_and_deletes(store: Any) -> None:
    store.put(("a",), "old", {"v": 0})
    done = store.batch([PutOp(("a",), "one", {"v": 1}), PutOp(("a",), "old", None), PutOp(("a",), "never", None)])
    assert done == [None, None, None]
    assert keys(store.search(("a",))) == ["one"]


def test_batch_reads_precede_puts_and_last_put_of_a_key_wins(store: Any) -> None:
    """As in both of LangGraph's own stores."""
    read, *_ = store.batch([GetOp(("a",), "k"), PutOp(("a",), "k", {"v": 1}), PutOp(("a",), "k", {"v": 2})])
    assert read is None
    assert store.get(("a",), "k").value == {"v": 2}
    *_, read = store.batch([PutOp(("a",), "k", {"v": 3}), PutOp(("a",), "k", None), GetOp(("a",), "k")])
    assert read.value == {"v": 2}
    assert store.get(("a",), "k") is None


def test_batch_searches_apply_filters_limits_and_prefixes_separately(store: Any) -> None:
    for number, (place, tag) in enumerate([("foo", "a"), ("bar", "a"), ("baz", "b")]):
        store.put(("test", place), f"key{number}", {"tag": tag})
    tagged, two, foo = store.batch(
        [SearchOp(("test",), filter={"tag": "a"}), SearchOp(("test",), limit=2), SearchOp(("test", "foo"))]
    )
    assert namespaces(tagged) == {("test", "foo"), ("test", "bar")}
    assert len(two) == 2
    assert keys(foo) == ["key0"]


def test_batch_listings_apply_depths_and_suffixes_separately(store: Any) -> None:
    places = [
        ("test", "docs", "public"),
        ("test", "docs", "private"),
        ("test", "images", "public"),
        ("prod", "docs", "public"),
    ]
    fill(store, *places)
    every, shallow, public = store.batch(
        [
            ListNamespacesOp(),
            ListNamespacesOp(max_depth=2),
            ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("public",)),)),
        ]
    )
    assert every == sorted(places)
    assert shallow == [("prod", "docs"), ("test", "docs"), ("test", "images")]
    assert public == sorted(place for place in places if place[-1] == "public")


def test_batch_of_a_thousand_operations_succeeds(store: Any) -> None:
    puts = [PutOp(("load", str(number % 10)), f"item {number}", {"number": number}) for number in range(300)]
    assert store.batch(puts) == [None] * len(puts)
    got = store.batch([GetOp(put.namespace, put.key) for put in puts])
    assert [item.value for item in got] == [put.value for put in puts]
    assert len(store.list_namespaces(prefix=("load",), limit=100)) == 10
    assert len(store.search(("load",), limit=1000)) == 300


# Items


def test_item_is_put_changed_and_deleted(store: Any) -> None:
    place, value = ("test", "documents"), {"title": "Reeds", "pages": [1, 2.5, None, True], "by": {"name": "Ada 🦢"}}
    store.put(place, "doc", value)
    item = store.get(place, "doc")
    assert (item.namespace, item.key, item.value) == (place, "doc", value)
    store.put(place, "doc", {"title": "Rushes"})
    changed = store.get(place, "doc")
    assert changed.value == {"title": "Rushes"}
    assert changed.updated_at > item.updated_at
    assert changed.created_at == item.created_at
    assert store.get(("test", "other"), "doc") is None
    store.delete(place, "doc")
    store.delete(place, "doc")
    assert store.get(place, "doc") is None


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",), ("a", "nul\0"), ("langgraph", "x")])
def test_invalid_namespaces_are_refused(store: Any, namespace: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"v": 1})


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",)])
def test_batch_with_invalid_namespace_is_refused_before_any_operation(store: Any, namespace: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("a",), "k", {"v": 1}), PutOp(namespace, "k", {"v": 1})])
    assert store.search(()) == []


def test_separators_in_namespaces_and_keys_do_not_collide(store: Any) -> None:
    """No two items share a memory, whatever is in their labels and keys."""
    places = [
        (("a",), "b/c"),
        (("a", "b"), "c"),
        (("a/b",), "c"),
        (("a",), ".b"),
        (("a",), "..b"),
        (("a",), "b..c"),
        (("a",), ""),
    ]
    for number, (namespace, key) in enumerate(places):
        store.put(namespace, key, {"number": number})
    for number, (namespace, key) in enumerate(places):
        item = store.get(namespace, key)
        assert (item.namespace, item.key, item.value) == (namespace, key, {"number": number})
    assert len(store.search((), limit=100)) == len(places)


def test_non_json_value_is_refused_by_name(store: Any) -> None:
    with pytest.raises(ValueError, match="The value of 'k' is not a JSON value"):
        store.put(("a",), "k", {"v": float("nan")})
    assert store.get(("a",), "k") is None


def test_value_round_trips_types_and_unusual_characters(store: Any) -> None:
    """Floats stay floats, and NUL and unpaired surrogates round-trip, which jsonb cannot store."""
    value = {"large": 1e20, "int": 10**30, "nul": "a\0b", "half": "\ud800", "\0": 1, "long name " * 9: "x"}
    store.put(("a",), "k", value)
    back = store.get(("a",), "k").value
    assert back == value
    assert isinstance(back["large"], float)


# Namespaces


def test_namespaces_are_listed_by_prefix_suffix_depth_and_page(store: Any) -> None:
    places = [
        (top, kind, access) for top in ("test", "prod") for kind in ("docs", "images") for access in ("open", "closed")
    ]
    fill(store, *places)
    assert store.list_namespaces(limit=100) == sorted(places)
    assert store.list_namespaces(prefix=("test",)) == sorted(place for place in places if place[0] == "test")
    assert store.list_namespaces(suffix=("open",)) == sorted(place for place in places if place[2] == "open")
    assert store.list_namespaces(max_depth=1) == [("prod",), ("test",)]
    assert store.list_namespaces(limit=3, offset=2) == sorted(places)[2:5]
    assert store.list_namespaces(prefix=("test",), suffix=("open",)) == [
        ("test", "docs", "open"),
        ("test", "images", "open"),
    ]


def test_prefix_and_suffix_match_whole_labels_and_star_matches_one(store: Any) -> None:
    uid = [("uid", "users", "alice"), ("uid", "users", "malice"), ("uid", "a", "b", "alice")]
    fill(store, ("foo",), ("foo", "child"), ("foobar",), ("foobar", "baz"), *uid)
    assert store.list_namespaces(prefix=("foo",)) == [("foo",), ("foo", "child")]
    assert store.list_namespaces(suffix=("alice",)) == [("uid", "a", "b", "alice"), ("uid", "users", "alice")]
    assert store.list_namespaces(prefix=("uid", "*", "alice")) == [("uid", "users", "alice")]
    assert store.list_namespaces(prefix=("uid",)) == sorted(uid)


def test_search_prefix_matches_whole_labels(store: Any) -> None:
    fill(store, ("foo",), ("foo", "child"), ("foo", "child", "deep"), ("foobar",), ("foobar", "baz"), ("foo2",))
    assert namespaces(store.search(("foo",))) == {("foo",), ("foo", "child"), ("foo", "child", "deep")}
    assert namespaces(store.search(("foobar",))) == {("foobar",), ("foobar", "baz")}
    assert namespaces(store.search(("foo", "child"))) == {("foo", "child"), ("foo", "child", "deep")}
    assert namespaces(store.search(("foo2",))) == {("foo2",)}
    assert store.search(("f",)) == []


def test_empty_prefix_matches_every_namespace(store: Any) -> None:
    fill(store, ("a",), ("b", "c"), ("d", "e", "f"))
    assert namespaces(store.search(())) == {("a",), ("b", "c"), ("d", "e", "f")}


def test_pattern_characters_are_literal(store: Any) -> None:
    fill(store, ("user_1",), ("user_1", "child"), ("userX1",), ("a%b",), ("axxb",))
    assert namespaces(store.search(("user_1",))) == {("user_1",), ("user_1", "child")}
    assert namespaces(store.search(("a%b",))) == {("a%b",)}


def test_label_ending_with_line_feed_is_distinct(store: Any) -> None:
    fill(store, ("users", "alice"), ("users", "alice\n"))
    assert store.list_namespaces(suffix=("alice",)) == [("users", "alice")]
    assert store.list_namespaces(prefix=("users", "alice")) == [("users", "alice")]


def test_namespace_longer_than_a_subject_is_listed(store: Any) -> None:
    deep = ("a", *(f"label {number}" for number in range(60)))
    fill(store, deep, ("a", "b"))
    assert store.list_namespaces(prefix=("a",)) == sorted([("a", "b"), deep])
    assert store.get(deep, "k").namespace == deep


# Searches


def test_search_is_filtered_paged_and_newest_first(store: Any) -> None:
    store.put(("test", "docs"), "one", {"author": "Ada", "tags": ["x"]})
    store.put(("test", "docs"), "two", {"author": "Bob", "tags": ["y"]})
    store.put(("test", "images"), "three", {"author": "Ada"})
    assert keys(store.search(("test",))) == ["three", "two", "one"]
    assert keys(store.search(("test", "docs"))) == ["two", "one"]
    assert keys(store.search(("test",), filter={"author": "Ada"})) == ["three", "one"]
    assert keys(store.search(("test",), limit=2)) == ["three", "two"]
    assert keys(store.search(("test",), limit=2, offset=2)) == ["one"]
    assert store.search(("test",), limit=0) == []
    store.put(("test", "docs"), "one", {"author": "Ada"})
    assert keys(store.search(("test",))) == ["one", "three", "two"]
    assert all(item.score is None for item in store.search(("test",)))


LONG = "x" * 300
ITEMS = {
    "five": {"n": 5, "s": "pear", "flag": True, "tags": ["a", "b"], "by": {"name": "Ada"}, "text": LONG},
    "ten": {"n": 10, "s": "apple", "flag": False, "tags": ["a"], "none": None, "text": LONG + "y"},
    "text": {"n": "10", "s": "apples", "w" * 80: "far"},
    "plain": {"tags": "a"},
    "many": {f"field {number}": number for number in range(80)},
}
FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"n": 10}, ["ten"]),
    ({"n": 10.0}, ["ten"]),
    ({"n": "10"}, ["text"]),
    ({"n": {"$gt": 5}}, ["ten"]),  # PostgresStore compares these as texts, and 10 is not more than 5
    ({"n": {"$gte": 5}}, ["five", "ten"]),
    ({"n": {"$lt": 10}}, ["five"]),
    ({"n": {"$gt": 4, "$lte": 5.0}}, ["five"]),
    ({"n": {"$ne": 5}}, ["ten", "text"]),
    ({"s": {"$gt": "apple"}}, ["five", "text"]),
    ({"s": {"$lte": "apple"}}, ["ten"]),
    ({"flag": True}, ["five"]),
    ({"flag": 1}, []),
    ({"none": None}, ["ten"]),
    ({"missing": None}, []),
    ({"missing": {"$ne": 1}}, []),
    ({"tags": ["a"]}, ["ten"]),
    ({"tags": {"$ne": ["a"]}}, ["five", "plain"]),
    ({"by": {"name": "Ada"}}, ["five"]),
    ({"by": {"name": "Bob"}}, []),
    ({"text": LONG}, ["five"]),
    ({"text": {"$gt": LONG}}, ["ten"]),
    ({"w" * 80: "far"}, ["text"]),
    ({"field 79": 79}, ["many"]),
    ({"field 79": {"$lt": 79}}, []),
    ({"n": {"$gte": 5}, "flag": False}, ["ten"]),
    ({f"field {number}": number for number in range(40)}, ["many"]),
]


def test_filters_compare_by_value_type(store: Any) -> None:
    """Numbers with numbers by value, texts with texts, and lists, objects and long texts as a whole."""
    for key, value in ITEMS.items():
        store.put(("f",), key, value)
    store.put(("f",), "never", {"n": 7}, index=False)
    store.delete(("f",), "never")
    for conditions, expected in FILTERS:
        assert sorted(keys(store.search(("f",), filter=conditions))) == sorted(expected), conditions


@pytest.mark.parametrize(
    ("condition", "words"), [({"$in": [1]}, "Unsupported operator"), ({"$gt": [1]}, "numbers or texts")]
)
def test_invalid_filter_is_refused(store: Any, condition: dict[str, Any], words: str) -> None:
    store.put(("f",), "k", {"n": 1})
    with pytest.raises(ValueError, match=words):
        store.search(("f",), filter={"n": condition})


def test_filter_pages_count_only_matching_items(store: Any) -> None:
    """Offset and limit count the matching items, not the items that were read."""
    store.batch([PutOp(("p",), f"{number:03}", {"tags": [number % 3]}) for number in range(60)])
    pages = [keys(store.search(("p",), filter={"tags": [1]}, limit=8, offset=offset)) for offset in (0, 8, 16)]
    assert [len(page) for page in pages] == [8, 8, 4]
    assert len({key for page in pages for key in page}) == 20


def test_query_matches_words_and_updated_text(store: Any) -> None:
    for number, text in enumerate(["zany zebra Xerxes", "something about dogs", "text about birds"]):
        store.put(("q",), f"doc{number}", {"text": text})
    first = store.search(("q",), query="Zany Xerxes")
    assert first[0].key == "doc0"
    store.put(("q",), "doc0", {"text": "new text about dogs"})
    after = next((item.score for item in store.search(("q",), query="Zany Xerxes") if item.key == "doc0"), 0.0)
    assert after < first[0].score
    renewed = next(item for item in store.search(("q",), query="new text about dogs") if item.key == "doc0")
    assert renewed.score > after
    store.put(("q",), "hidden", {"text": "new text about dogs"}, index=False)
    assert "hidden" not in keys(store.search(("q",), query="new text about dogs"))
    assert "hidden" in keys(store.search(("q",)))


@pytest.mark.parametrize("refresh_ttl", [True, False])
def test_query_combines_with_filters(store: Any, refresh_ttl: bool) -> None:
    docs = [
        ("red apple", "red", 4.5),
        ("red car", "red", 3.0),
        ("green apple", "green", 4.0),
        ("blue car", "blue", 3.5),
    ]
    for number, (text, color, score) in enumerate(docs, 1):
        store.put(("q",), f"doc{number}", {"text": text, "color": color, "score": score})

    def search_keys(query: str, **conditions: Any) -> list[str]:
        return keys(store.search(("q",), query=query, filter=conditions, refresh_ttl=refresh_ttl))

    assert search_keys("apple", color="red") == ["doc1", "doc2"]
    assert search_keys("car", color="red") == ["doc2", "doc1"]
    blue = search_keys("blue", score={"$gt": 3.2})
    assert (len(blue), blue[0]) == (3, "doc4")
    assert search_keys("apple", score={"$gte": 4.0}, color="green") == ["doc3"]


def test_query_pages_do_not_overlap(store: Any) -> None:
    for number in range(5):
        store.put(("q",), f"doc{number}", {"text": f"test document number {number}"})
    pages = [keys(store.search(("q",), query="test", limit=2, offset=offset)) for offset in (0, 2, 4)]
    assert sorted(key for page in pages for key in page) == [f"doc{number}" for number in range(5)]
    assert len(store.search(("q",), query="test", limit=10)) == 5


@pytest.mark.parametrize("query", ["", None, "test " * 100, "test!@#$%^&*()"])
def test_unusual_queries_find_the_item(store: Any, query: str | None) -> None:
    store.put(("q",), "doc", {"text": "test document"})
    assert keys(store.search(("q",), query=query)) == ["doc"]


def test_index_paths_select_the_searched_fields(store: Any) -> None:
    """The paths of a put: fields and elements of lists; fields beside them are not searched."""
    store.put(("q",), "one", {"a": "heron", "b": [{"c": "otter"}, {"c": "newt"}], "d": "badger"}, index=["a", "b[*].c"])
    store.put(("q",), "two", {"a": "lynx", "d": "heron"}, index=["a"])
    assert store.search(("q",), query="heron")[0].key == "one"
    assert store.search(("q",), query="newt")[0].key == "one"
    assert store.search(("q",), query="lynx")[0].key == "two"
    best = {name: store.search(("q",), query=name)[0].score for name in ("heron", "badger")}
    assert best["badger"] < best["heron"]


def test_store_has_default_index_paths_and_put_overrides_them(tenant: Tenant) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace, fields=["title", "missing"])
    store.put(("q",), "one", {"title": "heron", "body": "lynx"})
    store.put(("q",), "two", {"title": "otter", "body": "newt"}, index=["body"])
    store.put(("q",), "none", {"body": "heron"})
    assert keys(store.search(("q",), query="heron"))[0] == "one"
    assert keys(store.search(("q",), query="newt"))[0] == "two"
    assert "none" not in keys(store.search(("q",), query="heron"))
    assert len(store.search(("q",))) == 3


def test_non_latin_scripts_are_searchable(store: Any) -> None:
    texts = ["这是中文", "これは日本語です", "이건 한국어야", "Это русский", "यह रूसी है"]
    for number, text in enumerate(texts):
        store.put(("user", "memories"), str(number), {"text": text})
    for number, text in enumerate(texts):
        assert store.search(("user", "memories"), query=text)[0].key == str(number)


def test_json_syntax_and_field_names_are_not_searched(tenant: Tenant) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    store.put(("q",), "one", {"preference": {"drink": "green tea"}, "strength": 3})
    memory = tenant.client.get(key_name(tenant.namespace, key_of(("q",), "one")))
    assert memory.index_text == "green tea\n3"


# Lives


def test_reads_refresh_ttl_unless_disabled(store: Any) -> None:
    store.put(("t",), "item", {"v": "green tea"}, ttl=TTL_MINUTES)
    store.put(("t",), "always", {"v": "x"})
    reads: list[Callable[[], Any]] = [
        lambda: store.get(("t",), "item"),
        lambda: store.search(("t",), query="tea", limit=1)[0],
        lambda: store.search(("t",), filter={"v": "green tea"})[0],
    ]
    for read in reads:
        time.sleep(TTL_S * 0.6)
        assert read().key == "item"
    time.sleep(TTL_S * 0.6)
    assert store.get(("t",), "item", refresh_ttl=False) is not None
    time.sleep(TTL_S * 0.6)
    assert store.get(("t",), "item", refresh_ttl=False) is None
    assert keys(store.search(("t",))) == ["always"]
    assert keys(store.search(("t",), query="tea")) == ["always"]


def test_store_ttl_configuration_is_the_default(tenant: Tenant) -> None:
    """`default_ttl` and `refresh_on_read` apply where a call has no other; an expired item is absent from listings."""
    store = SomaBrainStore(tenant.client, tenant.namespace, ttl={"default_ttl": TTL_MINUTES, "refresh_on_read": False})
    store.put(("t", "short"), "item", {"v": 1})
    store.put(("t", "long"), "item", {"v": 1}, ttl=None)
    time.sleep(TTL_S * 0.6)
    assert store.get(("t", "short"), "item") is not None
    assert store.list_namespaces() == [("t", "long"), ("t", "short")]
    time.sleep(TTL_S * 0.6)
    assert store.get(("t", "short"), "item") is None
    assert store.list_namespaces() == [("t", "long")]
    assert store.get(("t", "long"), "item") is not None


def test_each_item_is_refreshed_by_its_own_ttl(store: Any, tenant: Tenant) -> None:
    store.put(("t",), "item", {"v": 1}, ttl=10)
    store.put(("t",), "longer", {"v": 1}, ttl=100)
    before = [tenant.client.get(key_name(tenant.namespace, key_of(("t",), key))) for key in ("item", "longer")]
    assert len(store.search(("t",))) == 2
    after = [tenant.client.get(memory.name) for memory in before]
    for old, new in zip(before, after, strict=True):
        assert old.expire_time is not None
        assert new.expire_time is not None
        assert new.expire_time > old.expire_time
        assert (new.expire_time - old.expire_time).total_seconds() < 60


def test_store_configured_to_return_expired_items_is_refused(tenant: Tenant) -> None:
    with pytest.raises(ValueError, match="omit_expired"):
        SomaBrainStore(tenant.client, tenant.namespace, ttl={"omit_expired": False})


def test_zero_ttl_is_refused_by_name(store: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="ttl"):
        store.put(("t",), "item", {"v": 1}, ttl=0)


# What a store over a contract without keys could not do


def test_concurrent_puts_of_one_key_leave_one_memory(tenant: Tenant) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    start = threading.Barrier(32)

    def put(number: int) -> None:
        start.wait()
        store.put(("race",), "k", {"number": number})

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(put, range(32)))
    (memory,) = tenant.client.list(tenant.namespace)
    assert memory.revision == 32
    assert value_of(store, ("race",))["number"] in range(32)


def test_refreshing_read_creates_no_revision(store: Any, tenant: Tenant) -> None:
    """Nor does it change the item's times or the namespace's version."""
    store.put(("t",), "item", {"v": "green tea"}, ttl=10)
    before = store.get(("t",), "item", refresh_ttl=False)
    version = tenant.client.get_namespace(tenant.namespace).version
    for _ in range(3):
        assert store.get(("t",), "item").updated_at == before.updated_at
        assert len(store.search(("t",), query="tea")) == 1
    (memory,) = tenant.client.list(tenant.namespace)
    assert memory.revision == 1
    assert list(tenant.client.revisions(memory.name)) == []
    assert tenant.client.get_namespace(tenant.namespace).version == version


def test_key_of_1024_bytes_and_value_of_100_kb_are_stored(store: Any) -> None:
    key, value = "ä" * 512, {"text": "word " * 20_000}
    store.put(("long",), key, value)
    assert store.get(("long",), key).value == value
    assert keys(store.search(("long",), query="word")) == [key]


# Isolation and quotas


def test_tenants_are_isolated(make_tenant: MakeTenant, platform: Platform) -> None:
    mine, other = make_tenant(), make_tenant()
    SomaBrainStore(mine.client, mine.namespace).put(("a",), "k", {"v": "secret"})
    with pytest.raises(NotFoundError):
        SomaBrainStore(other.client, mine.namespace).get(("a",), "k")
    other.client.create_namespace(mine.namespace)
    theirs = SomaBrainStore(other.client, mine.namespace)
    assert theirs.get(("a",), "k") is None
    assert theirs.search((), query="secret") == []
    assert theirs.list_namespaces() == []
    theirs.delete(("a",), "k")
    assert value_of(SomaBrainStore(mine.client, mine.namespace)) == {"v": "secret"}


def test_revoked_token_cannot_read_or_write(tenant: Tenant, platform: Platform) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    store.put(("a",), "k", {"v": 1})
    platform.run("revoke", token=tenant.token)
    ends_at = time.monotonic() + 10
    while True:
        try:
            store.get(("a",), "k")
        except UnauthenticatedError:
            break
        assert time.monotonic() < ends_at, "the revoked token is still accepted"
        time.sleep(0.1)
    with pytest.raises(UnauthenticatedError):
        store.put(("a",), "k", {"v": 2})
    with SyncMemoryClient(platform.address, token=platform.token(tenant.name)) as client:
        assert value_of(SomaBrainStore(client, tenant.namespace)) == {"v": 1}


def test_read_only_tenant_cannot_write_or_refresh(tenant: Tenant, platform: Platform) -> None:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    store.put(("a",), "k", {"v": 1}, ttl=10)
    platform.run("make_read_only", tenant=tenant.name)
    assert value_of(store, refresh_ttl=False) == {"v": 1}
    calls: list[Callable[[], Any]] = [
        lambda: store.put(("a",), "k", {"v": 2}),
        lambda: store.delete(("a",), "k"),
        lambda: store.get(("a",), "k"),
    ]
    for refused in calls:
        with pytest.raises(PermissionDeniedError, match="read"):
            refused()
    assert store.search(("a",), refresh_ttl=False)[0].value == {"v": 1}


def test_put_over_quota_is_refused(make_tenant: MakeTenant, platform: Platform) -> None:
    tenant = make_tenant(limited=True)
    store = SomaBrainStore(tenant.client, tenant.namespace)
    for number in range(platform.quota):
        store.put(("a",), str(number), {"v": number})
    with pytest.raises(ResourceExhaustedError):
        store.put(("a",), "more", {"v": 0})
    store.put(("a",), "0", {"v": "changed"})
    assert len(store.search(("a",), limit=100)) == platform.quota
