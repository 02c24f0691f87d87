"""A call continues the caller's trace, with a bearer token or without one."""

from __future__ import annotations

import pytest

from somabrain_client.retry import RetryPolicy
from somabrain_client.transport import Transport

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("token", "trace", "expected"),
    [
        ("t", TRACE, (("authorization", "Bearer t"), ("traceparent", TRACE))),
        (None, TRACE, (("traceparent", TRACE),)),
        ("t", "", (("authorization", "Bearer t"),)),
        (None, None, ()),
    ],
)
async def test_attempt_metadata_has_token_and_traceparent(
    token: str | None, trace: str | None, expected: tuple[tuple[str, str], ...]
) -> None:
    source = None if trace is None else lambda: trace
    transport = Transport("127.0.0.1:9", token, 1.0, RetryPolicy(), None, traceparent=source)
    try:
        assert await transport._metadata() == expected
    finally:
        await transport.close()
