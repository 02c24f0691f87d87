"""A list has every memory once, in the requested order, and its page tokens are valid for one request only."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from common.errors import InvalidArgument
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.domain.cursors import page_token
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.pagination import ListQuery, Order
from tests.integration.store.conftest import Brain

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


async def remember_some(brain: Brain) -> None:
    for i in range(23):
        await brain.remember(
            f"memory {i}",
            session="s" if i % 3 else "",
            event_time=EPOCH + timedelta(days=(i * 7) % 5),
        )


@pytest.mark.parametrize("page_size", [1, 5, 23, 1000])
@pytest.mark.parametrize("way", ["", " desc"])
@pytest.mark.parametrize("field", ["create_time", "event_time", "session_position"])
async def test_list_returns_every_memory_once_in_order(words: Brain, field: str, way: str, page_size: int) -> None:
    await remember_some(words)
    listed = await words.list_all(page_size=page_size, order=Order.parse(field + way))
    assert len({memory.name for memory in listed}) == 23 == len(listed)

    def key(position: int) -> tuple[object, str]:
        value = getattr(listed[position], field)
        return (2**63 if value is None else value), str(listed[position].name)

    keys = [key(i) for i in range(23)]
    assert keys == sorted(keys, reverse=bool(way))


async def test_page_token_of_another_request_or_altered_is_refused(words: Brain) -> None:
    await remember_some(words)
    page = await list_memories(words.services, words.tenant, ListQuery(words.parent, page_size=5))
    token = page.next_page_token
    other = words.of("other").at("words")
    await other.create(encoder="lexical")
    for brain, query in (
        (words, ListQuery(words.parent, page_size=6, page_token=token)),
        (words, ListQuery(words.parent, page_size=5, page_token=token, order=Order.parse("event_time"))),
        (words, ListQuery(words.parent, page_size=5, page_token=token, filter=MemoryFilter(sessions=("s",)))),
        (words, ListQuery(words.parent, page_size=5, page_token=token[:-4] + "AAAA")),
        (words, ListQuery(words.parent, page_size=5, page_token="!")),
        (words, ListQuery(words.parent, page_size=5, page_token="ä" * 40)),
        (other, ListQuery(other.parent, page_size=5, page_token=token)),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await list_memories(brain.services, brain.tenant, query)
        assert caught.value.field == "page_token"


async def test_writes_between_pages_do_not_shift_pages(words: Brain) -> None:
    await remember_some(words)
    first = await list_memories(words.services, words.tenant, ListQuery(words.parent, page_size=10))
    await words.forget(first.memories[0].name)
    second = await list_memories(
        words.services, words.tenant, ListQuery(words.parent, page_size=10, page_token=first.next_page_token)
    )
    assert [memory.text for memory in second.memories] == [f"memory {i}" for i in range(10, 20)]


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("create_time", "soon"),
        ("create_time", "-1"),
        ("create_time", "1" * 30),
        ("event_time", "\0"),
        ("event_time", "999999-01-01"),
        ("session_position", "2024-01-01"),
    ],
)
async def test_forged_page_token_with_valid_digest_is_refused(words: Brain, order: str, key: str) -> None:
    """A forged token is refused although its digest is valid, because the digest is not secret."""
    query = ListQuery(words.parent, order=Order.parse(order))
    forged = dataclasses.replace(query, page_token=page_token(words.tenant, query, key, 1))
    with pytest.raises(InvalidArgument, match="page_token: is invalid"):
        await list_memories(words.services, words.tenant, forged)
