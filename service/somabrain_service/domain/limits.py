"""Bounds of the contract, and the checks that report a field out of its bound."""

from __future__ import annotations

from datetime import timedelta

from common.errors import InvalidArgument

MAX_TEXT_BYTES = 100 * 1024
MAX_QUERY_BYTES = 64 * 1024
MAX_SESSION_BYTES = 256
MAX_SUBJECT_BYTES = 256
MAX_KEY_BYTES = 2048
"""A B-tree entry of PostgreSQL takes 2704 bytes."""
MAX_LABELS = 64
MAX_LABEL_KEY_BYTES = 63
MAX_LABEL_VALUE_BYTES = 256
MAX_DISPLAY_NAME_BYTES = 256
MAX_REQUEST_ID_BYTES = 128
MAX_TOKEN_BYTES = 4096
"""A page token contains a key, encoded twice in base64: at most 3.8 KB."""
MAX_TOP_K = 200
MAX_RECALL_DEPTH = 10_000
"""Maximum hits of all pages of a Recall; there are never as many candidates."""
DEFAULT_TOP_K = 10
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
MAX_FILTER_VALUES = 256
MAX_FILTER_CLAUSES = 128
MAX_FILTER_DEPTH = 8
MAX_FORGOTTEN = 10_000
"""Maximum memories that one ForgetMemories forgets, in one transaction."""
MAX_VECTOR_DIMENSIONS = 4096
MAX_SESSION_POSITION = 2**62
MAX_DURATION = timedelta(days=365_000)
"""Maximum duration in a namespace's settings: from now, its end is still a representable time."""
MAX_BATCH_ITEMS = 500
MAX_BATCH_BYTES = 3 * 1024 * 1024
MAX_RESPONSE_BYTES = 3 * 1024 * 1024
"""Maximum size of a page or hit list: gRPC rejects messages over 4 MiB before any handler can respond."""


def check_text(field: str, value: str, limit: int, *, required: bool = False) -> None:
    """Check a string against its bound in bytes of UTF-8.

    Raises:
        InvalidArgument: too long, empty though required, or with a NUL, which PostgreSQL cannot store.
    """
    if required and not value:
        raise InvalidArgument(field, f"is required: 1 to {limit} bytes of UTF-8")
    if "\0" in value:
        raise InvalidArgument(field, "must not contain NUL (U+0000); remove it")
    size = len(value.encode())
    if size > limit:
        raise InvalidArgument(field, f"has {size} bytes, at most {limit} are allowed; shorten or split it")


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Check a number against its inclusive bounds; NaN is always out of range."""
    if not low <= value <= high:
        raise InvalidArgument(field, f"must be between {low} and {high}, but is {value}")


def check_count(field: str, value: int, high: int, default: int) -> int:
    """Return a count of 1 to `high`, where 0 means `default`."""
    if value < 0 or value > high:
        raise InvalidArgument(field, f"must be between 1 and {high}, or 0 for {default}, but is {value}")
    return value or default
