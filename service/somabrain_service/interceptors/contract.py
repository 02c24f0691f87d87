"""Tables about the contract: output-only fields and write methods."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from google.protobuf.message import Message

OUTPUT_ONLY: Mapping[str, tuple[str, Collection[str]]] = {
    "somabrain.memory.v1.RememberRequest": (
        "memory",
        {"name", "create_time", "update_time", "revision", "etag"},
    ),
    "somabrain.memory.v1.CreateNamespaceRequest": (
        "namespace",
        {"name", "statistics", "create_time", "update_time", "version", "epoch", "etag"},
    ),
}
"""Per request type: its resource field, and the resource's output-only fields."""

WRITE_METHODS = frozenset(
    {
        *(
            f"/somabrain.memory.v1.MemoryService/{method}"
            for method in (
                "Remember",
                "BatchRemember",
                "UpdateMemory",
                "TouchMemory",
                "ForgetMemory",
                "BatchForget",
                "ForgetMemories",
            )
        ),
        *(
            f"/somabrain.memory.v1.NamespaceService/{method}"
            for method in ("CreateNamespace", "UpdateNamespace", "DeleteNamespace", "EraseSubject")
        ),
    }
)
"""Methods that write; all others only read."""

TOUCH = "/somabrain.memory.v1.MemoryService/TouchMemory"


def methods_of(method: str, request: Message) -> tuple[str, ...]:
    """Return the methods that a call needs permission for: a read that renews what it returns is also a TouchMemory."""
    refreshes = "refresh_ttl" in request.DESCRIPTOR.fields_by_name and request.HasField("refresh_ttl")
    return (method, TOUCH) if refreshes else (method,)
