"""Memories as JSON Lines, for export and import: each line is an `ExportedMemory` in protobuf's JSON mapping.

An import takes over the fields that a caller can set; name, revision, create_time and update_time are assigned again.
Pure.
"""

from __future__ import annotations

import hashlib

from google.protobuf import json_format

from somabrain.memory.v1 import memory_service_pb2
from somabrain_client.changes import ExportedMemory
from somabrain_client.models import MemoryDraft
from somabrain_client.proto_mapping import draft_from_proto, memory_to_proto


class LineError(ValueError):
    """A line is not a memory; the message gives the reason."""


def line_from_memory(exported: ExportedMemory) -> str:
    """Return a memory, with its vector if it has one, as one line of JSON."""
    message = memory_service_pb2.ExportedMemory(memory=memory_to_proto(exported.memory))
    if exported.vector is not None:
        message.vector.values.extend(exported.vector)
        message.vector.encoder_id = exported.encoder_id
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)


def draft_from_line(line: str, number: int) -> MemoryDraft:
    """Return the draft of a line; its request id is derived from the line and its number, so a repeat changes nothing.

    Raises:
        LineError: the line is not an ExportedMemory, or has no text.
    """
    message = memory_service_pb2.ExportedMemory()
    try:
        json_format.Parse(line, message)
    except json_format.ParseError as exc:
        raise LineError(f"is not a memory in JSON: {exc}") from exc
    if not message.memory.text:
        raise LineError("has no memory.text")
    request_id = hashlib.sha256(f"{number}\0{line}".encode()).hexdigest()[:32]
    return draft_from_proto(
        memory_service_pb2.RememberRequest(
            memory=message.memory,
            vector=message.vector if message.HasField("vector") else None,
            request_id=f"import-{request_id}",
        )
    )
