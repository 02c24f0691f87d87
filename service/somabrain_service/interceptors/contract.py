"""What of the contract callers may not set, and what of it writes: tables, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
"""By request: the resource in it, and those of its fields that the server alone sets."""

WRITE_METHODS = frozenset(
    {
        *(
            f"/somabrain.memory.v1.MemoryService/{method}"
            for method in ("Remember", "BatchRemember", "UpdateMemory", "ForgetMemory", "BatchForget")
        ),
        *(
            f"/somabrain.memory.v1.NamespaceService/{method}"
            for method in ("CreateNamespace", "UpdateNamespace", "DeleteNamespace", "EraseSubject")
        ),
    }
)
"""Methods that change or forget something; the others only read."""
