"""Convert timestamps and durations from and to protobuf, with bounds checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import InvalidArgument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_from_proto(message: Message, field: str, field_path: str) -> datetime | None:
    """Return the Timestamp `field` of `message` in UTC, to the microsecond; None if it is unset.

    Raises:
        InvalidArgument: it is not between the years 1 and 9999; the error names `field_path`.
    """
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidArgument(
            field_path, "must be a time between the years 1 and 9999, with 0 to 999999999 nanos"
        ) from exc


def duration_from_proto(message: Message, field: str, field_path: str) -> timedelta | None:
    """Return the Duration `field` of `message`; None if it is unset.

    Raises:
        InvalidArgument: it exceeds ten thousand years, or its parts differ in sign; the error names `field_path`.
    """
    if not message.HasField(field):
        return None
    value: Duration = getattr(message, field)
    try:
        value.ToJsonString()  # checks the bounds of google.protobuf.Duration
        return value.ToTimedelta()
    except (ValueError, OverflowError) as exc:
        raise InvalidArgument(
            field_path, "must be a duration of at most 315576000000 s, with seconds and nanos of the same sign"
        ) from exc


def set_timestamp(message: Timestamp, value: datetime | None) -> None:
    """Set `message` to a time; None leaves it unset."""
    if value is not None:
        since_epoch = value - _EPOCH
        message.seconds, message.nanos = (
            86_400 * since_epoch.days + since_epoch.seconds,
            1_000 * since_epoch.microseconds,
        )


def set_duration(message: Duration, value: timedelta | None) -> None:
    """Set `message` to a duration; None leaves it unset."""
    if value is not None:
        message.FromTimedelta(value)
