"""The client returns every reason of a degraded result, also those of a newer service."""

from __future__ import annotations

import pytest

from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_client.proto_mapping import recall_result_from_proto


@pytest.mark.parametrize(
    ("number", "expected"), [(memory_pb2.DEGRADED_REASON_NO_TERMS, "NO_TERMS"), (2_000_000_000, "2000000000")]
)
def test_degraded_reason_falls_back_to_number_when_unknown(number: int, expected: str) -> None:
    """A reason that only a newer contract has is returned as its number, and does not fail the call."""
    message = memory_service_pb2.RecallResponse(degraded=[number])  # type: ignore[list-item]
    assert recall_result_from_proto(message).degraded == (expected,)
