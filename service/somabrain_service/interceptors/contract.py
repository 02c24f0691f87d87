"""What of the contract callers may not set, and what of it writes: tables, and nothing else.

Paths are field names from the request on; a repeated field has no index in them.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTPUT_ONLY: Mapping[str, frozenset[str]] = {
    "somabrain.memory.v1.RememberRequest": frozenset(
        {"memory.name", "memory.create_time", "memory.update_time", "memory.revision", "memory.etag"}
    ),
    "somabrain.memory.v1.CreateNamespaceRequest": frozenset(
        {
            "namespace.name",
            "namespace.statistics",
            "namespace.create_time",
            "namespace.update_time",
            "namespace.version",
            "namespace.epoch",
            "namespace.etag",
        }
    ),
}
"""By request: fields that the server alone sets."""

WRITES = frozenset(
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
