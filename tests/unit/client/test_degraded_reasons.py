"""The client gives every reason of a degraded result, those of a newer service too."""

from __future__ import annotations

import pytest

from somabrain.memory.v1 import memory_pb2, memory_service_pb2
from somabrain_client.proto_mapping import recall_result_from_proto


@pytest.mark.parametrize(
    ("number", "expected"), [(memory_pb2.DEGRADED_REASON_NO_TERMS, "NO_TERMS"), (2_000_000_000, "2000000000")]
)
def test_a_reason_is_given_by_its_name_or_else_by_its_number(number: int, expected: str) -> None:
    """A reason that only a newer contract has is its number: it does not fail the call."""
    message = memory_service_pb2.RecallResponse(degraded=[number])  # type: ignore[list-item]
    assert recall_result_from_proto(message).degraded == (expected,)
