"""A naive datetime is the machine's local time, as in Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from somabrain_client import Filter, MemoryDraft
from somabrain_client.cli.arguments import timestamp
from somabrain_client.proto_mapping import draft_to_proto, filter_to_proto, timestamp_to_proto

LOCAL = datetime(2024, 5, 1, 9, 30)  # noqa: DTZ001 - deliberately without a zone
IN_UTC = {
    "America/New_York": datetime(2024, 5, 1, 13, 30, tzinfo=UTC),
    "Asia/Tokyo": datetime(2024, 5, 1, 0, 30, tzinfo=UTC),
    "UTC": datetime(2024, 5, 1, 9, 30, tzinfo=UTC),
}


@pytest.fixture(params=list(IN_UTC))
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of the machine."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_naive_times_in_drafts_and_filters_are_local(zone: str) -> None:
    memory = draft_to_proto(MemoryDraft("text", event_time=LOCAL, expire_time=LOCAL), "namespaces/notes").memory
    where = filter_to_proto(Filter(event_time_from=LOCAL, event_time_until=LOCAL))
    created = filter_to_proto(Filter(create_time_from=LOCAL, create_time_until=LOCAL))
    assert where is not None
    assert created is not None
    for sent in (
        memory.event_time,
        memory.expire_time,
        where.event_time_from,
        where.event_time_until,
        created.create_time_from,
        created.create_time_until,
    ):
        assert sent.ToDatetime(tzinfo=UTC) == IN_UTC[zone]


def test_aware_time_is_independent_of_local_zone(zone: str) -> None:
    value = LOCAL.replace(tzinfo=timezone(timedelta(hours=2)))
    for given in (value, value.astimezone()):
        sent = timestamp_to_proto(given)
        assert sent is not None
        assert sent.ToDatetime(tzinfo=UTC) == value, zone


def test_naive_time_out_of_utc_range_is_rejected() -> None:
    """The first and the last time of Python are valid with a zone."""
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert timestamp_to_proto(first) is not None
    assert timestamp_to_proto(last) is not None
    with pytest.raises(ValueError, match="give a time with tzinfo=UTC"):
        timestamp_to_proto(first.replace(tzinfo=None))


def test_cli_timestamp_without_zone_is_utc(zone: str) -> None:
    assert timestamp("2024-05-01T09:30:00") == datetime(2024, 5, 1, 9, 30, tzinfo=UTC), zone
