"""Values are within the contract's bounds, and an error names the field and its bound."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import FailedPrecondition, InvalidArgument
from somabrain_service.domain import analyzer, limits
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft, MemoryKind, Vector
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, memory_id, tenant_id
from somabrain_service.domain.namespace import NamespaceDraft, NamespaceSettings
from somabrain_service.domain.pagination import ListQuery, Order
from somabrain_service.domain.recall import RecallQuery

NOTES = NamespaceName("notes")
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: MemoryDraft(""), "memory.text"),
        (lambda: MemoryDraft("x" * 102401), "memory.text"),
        (lambda: MemoryDraft("ä" * 51201), "memory.text"),
        (lambda: MemoryDraft("a\0b"), "memory.text"),
        (lambda: MemoryDraft("a", session="s" * 257), "memory.session"),
        (lambda: MemoryDraft("a", session="\0"), "memory.session"),
        (lambda: MemoryDraft("a", subject="s" * 257), "memory.subject"),
        (lambda: MemoryDraft("a", session_position=1), "memory.session_position"),
        (lambda: MemoryDraft("a", session="s", session_position=-1), "memory.session_position"),
        (lambda: MemoryDraft("a", session="s", session_position=2**63 - 1), "memory.session_position"),
        (lambda: MemoryDraft("a", labels={str(i): "" for i in range(65)}), "memory.labels"),
        (lambda: MemoryDraft("a", labels={"": "v"}), "memory.labels (a key)"),
        (lambda: MemoryDraft("a", labels={"k" * 64: "v"}), "memory.labels (a key)"),
        (lambda: MemoryDraft("a", labels={"k": "v" * 257}), "memory.labels[k]"),
        (lambda: MemoryDraft("a", salience=1.1), "memory.salience"),
        (lambda: MemoryDraft("a", salience=float("nan")), "memory.salience"),
        (lambda: MemoryDraft("a", ttl=timedelta(0)), "memory.ttl"),
        (lambda: MemoryDraft("a", ttl=HOUR, expire_time=datetime(2030, 1, 1, tzinfo=UTC)), "memory.ttl"),
        (lambda: Vector.of(()), "vector.values"),
        (lambda: Vector.of((1.0,) * 4097), "vector.values"),
        (lambda: Vector.of((float("inf"),)), "vector.values"),
        (lambda: Vector.of((0.0, -0.0)), "vector.values"),
        (lambda: RecallQuery(NOTES), "query"),
        (lambda: RecallQuery(NOTES, "x" * 65537), "query"),
        (lambda: RecallQuery(NOTES, "a", top_k=201), "top_k"),
        (lambda: RecallQuery(NOTES, "a", top_k=-1), "top_k"),
        (lambda: RecallQuery(NOTES, "a", min_score=1.5), "min_score"),
        (lambda: RecallQuery(NOTES, vector=Vector.of((1.0,)), min_score=0.5), "min_score"),
        (lambda: ListQuery(NOTES, page_size=1001), "page_size"),
        (lambda: Order.parse("name"), "order_by"),
        (lambda: Order.parse("create_time descending"), "order_by"),
        (lambda: MemoryFilter(sessions=("s" * 257,)), "filter.sessions"),
        (lambda: MemoryFilter(subjects=tuple(map(str, range(257)))), "filter.subjects"),
        (lambda: MemoryFilter(labels={"k": "\0"}), "filter.labels[k]"),
        (lambda: NamespaceDraft(NOTES, display_name="d" * 257), "namespace.display_name"),
        (lambda: NamespaceSettings(default_ttl=timedelta(0)), "namespace.settings.default_ttl"),
        # So long that no memory could be stored: each would end after the year 9999.
        (lambda: NamespaceSettings(default_ttl=timedelta(days=3_000_000)), "namespace.settings.default_ttl"),
        (lambda: NamespaceSettings(recency_half_life=timedelta(days=365_001)), "namespace.settings.recency_half_life"),
        (lambda: NamespaceName.of("Notes"), "namespace_id"),
        (lambda: NamespaceName.of(""), "namespace_id"),
        (lambda: NamespaceName.of("-a"), "namespace_id"),
        (lambda: NamespaceName.of("a" * 64), "namespace_id"),
        (lambda: NamespaceName.parse("notes"), "parent"),
        (lambda: NamespaceName.parse("namespaces/a/b"), "parent"),
        (lambda: NamespaceName.parse("namespaces/a\n"), "parent"),
        (lambda: MemoryName.parse("namespaces/a/memories/1"), "name"),
        (lambda: MemoryName.parse("namespaces/a/memories/ffffffffffffffff"), "name"),
        (lambda: MemoryName.parse("namespaces/a"), "name"),
    ],
)
def test_value_out_of_bounds_error_names_field(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.field == field
    assert len(caught.value.description) > 10


def test_value_at_bound_is_accepted() -> None:
    draft = MemoryDraft(
        "ä" * 51200,
        session="s" * 256,
        session_position=limits.MAX_SESSION_POSITION,
        labels={f"{i:063}": "v" * 256 for i in range(64)},
        salience=0.0,
    )
    assert len(draft.text.encode()) == limits.MAX_TEXT_BYTES
    assert RecallQuery(NOTES, "a", top_k=0).top_k == 10
    assert RecallQuery(NOTES, "a", top_k=200).top_k == 200
    assert ListQuery(NOTES).page_size == 100
    assert Order.parse(" event_time  desc ") == Order.parse("event_time desc")


@given(st.integers(0, 2**63 - 1))
def test_memory_names_round_trip_and_sort_by_id(number: int) -> None:
    name = MemoryName(NOTES, MemoryId(number))
    assert MemoryName.parse(str(name)) == name
    other = MemoryName(NOTES, MemoryId(number // 2))
    assert (str(name) > str(other)) == (name > other)


@given(st.text())
def test_any_text_parses_to_name_or_is_invalid(text: str) -> None:
    """Any text parses to a name that is written like it, or raises InvalidArgument."""
    for parse in (NamespaceName.parse, MemoryName.parse, NamespaceName.of):
        try:
            parsed = parse(text)
        except InvalidArgument:
            continue
        assert str(parsed) in (text, f"namespaces/{text}")


def test_tenant_id_depends_on_issuer() -> None:
    assert tenant_id("https://a", "t") == tenant_id("https://a", "t")
    assert len({tenant_id("https://a", "t"), tenant_id("https://b", "t"), tenant_id("https://a", "u")}) == 3
    assert isinstance(tenant_id("https://a", "t"), UUID)
    assert tenant_id("https://a", "t").version == 5


@given(st.timedeltas(timedelta(0), timedelta(days=25_000)), st.integers(0, 2**32))
def test_memory_ids_are_63_bits_and_increase_with_time(age: timedelta, random: int) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC) + age
    number = memory_id(now, random)
    assert 0 < number < 2**63
    assert memory_id(now + timedelta(microseconds=1), 0) > number


def test_etag_changes_with_memory() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    memory = Memory(
        MemoryName(NOTES, MemoryId(1)),
        "a",
        MemoryKind.EPISODIC,
        "",
        None,
        "",
        {},
        moment,
        moment,
        moment,
        0.5,
        None,
        False,
        1,
    )
    assert memory.etag == replace(memory).etag
    assert memory.etag != replace(memory, revision=2).etag


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The bees were dancing; a bee dances.", {"bee": 2, "danc": 2}),
        ("Caroline's dog isn't here, don’t worry", {"carolin": 1, "dog": 1, "worri": 1}),
        ("ＦＵＬＬ width and ﬁne ligatures", {"full": 1, "width": 1, "fine": 1, "ligatur": 1}),
        (
            "snake_case 3.14 C++ naïve Ünïcode 日本語 🎉",
            {"snake": 1, "case": 1, "3": 1, "14": 1, "c": 1, "naïv": 1, "ünïcode": 1, "日本語": 1},
        ),
        ("in May 2023", {"may": 1, "2023": 1}),
        ("who is it?", {}),
    ],
)
def test_terms_are_stems_without_stop_words(text: str, terms: dict[str, int]) -> None:
    assert analyzer.latest_analyzer("en").terms(text) == terms


@given(st.sampled_from(analyzer.LANGUAGES), st.text(max_size=200))
def test_terms_of_any_text_are_within_index_limits(language: str, text: str) -> None:
    for term, count in analyzer.latest_analyzer(language).terms(text).items():
        assert 1 <= len(term) <= 64
        assert count >= 1
        assert "\0" not in term


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("de", "In den Häusern der Stadt spielten Kinder", "haus stadt spielt kind"),
        ("fr", "L’homme qu'il a vu mangeait des chevaux", "homm a vu mang cheval"),
        ("it", "dell'amico, un'amica", "amic amic"),
        ("es", "¿Dónde está la biblioteca de los niños?", "dond bibliotec niñ"),
        ("tr", "IŞIK İstanbul'un evlerimizde", "ışık istanbul un ev"),
        ("hi", "लड़कियों ने किताबें पढ़ीं", "लड़क न किताब पढ़"),
        ("ru", "Мы читали книги о пчёлах", "чита книг пчел"),
        ("zh", "我昨天吃了苹果。iPhone15很贵", "我昨 昨天 天吃 吃了 了苹 苹果 iphone15 很贵"),
        ("ja", "猫はリンゴ", "猫は はリ リン ンゴ"),
        ("ko", "서울에서 밥", "서울 울에 에서 밥"),
        ("mul", "The Häuser, die Bees", "the häuser die bees"),
    ],
)
def test_analyzer_terms_are_stable(language: str, text: str, terms: str) -> None:
    """An analyzer's terms are stored and must not change: a new stemmer needs a new analyzer name."""
    assert analyzer.latest_analyzer(language).terms(text) == Counter(unicodedata.normalize("NFKC", terms).split())


def test_unknown_language_error_names_field() -> None:
    assert analyzer.latest_analyzer("en").name == "en-1"
    with pytest.raises(InvalidArgument, match=r"namespace\.settings\.language"):
        analyzer.latest_analyzer("tlh")


@pytest.mark.parametrize("name", ["en-2", "tlh-1", "", "en", "../en-1"])
def test_unknown_analyzer_is_failed_precondition(name: str) -> None:
    with pytest.raises(FailedPrecondition, match="newer version"):
        analyzer.get_analyzer(name)


def test_range_error_states_exact_bounds() -> None:
    with pytest.raises(InvalidArgument, match=rf"between 0 and {2**62}, but is {2**63 - 1}$"):
        limits.check_range("memory.session_position", 2**63 - 1, 0, limits.MAX_SESSION_POSITION)
    with pytest.raises(InvalidArgument, match=r"between 0 and 1, but is 1.0000001$"):
        limits.check_range("memory.salience", 1.0000001, 0, 1)
