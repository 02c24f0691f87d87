"""Memories as lines of JSON, to be exported and imported: each line is an `ExportedMemory` in protobuf's JSON mapping.

The memory's own fields travel; its name, revision and times of keeping belong to where it was, and are given anew.
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
    """A line that is no memory; the message says what is wrong with it."""


def line_from_memory(exported: ExportedMemory) -> str:
    """Return a memory, and its vector where it came with one, as one line."""
    message = memory_service_pb2.ExportedMemory(memory=memory_to_proto(exported.memory))
    if exported.vector is not None:
        message.vector.values.extend(exported.vector)
        message.vector.encoder_id = exported.encoder_id
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)


def draft_from_line(line: str, number: int) -> MemoryDraft:
    """Return the memory of a line, to be kept; the same line at the same place makes the same request id.

    Raises:
        LineError: it is no ExportedMemory, or has no text.
    """
    message = memory_service_pb2.ExportedMemory()
    try:
        json_format.Parse(line, message)
    except json_format.ParseError as exc:
        raise LineError(f"is no memory in JSON: {exc}") from exc
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
