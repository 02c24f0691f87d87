"""What of the contract this version does not honour, and what callers may not set: tables, and nothing else.

Paths are field names from the request on; a repeated field has no index in them.
"""

from __future__ import annotations

from collections.abc import Mapping

_MEMORY = "/somabrain.memory.v1.MemoryService/"

UNIMPLEMENTED_METHODS: Mapping[str, str] = {
}
"""Methods that are not there yet, each with what to do instead."""

UNHONOURED_FIELDS: Mapping[str, Mapping[str, str]] = {}
"""By request: fields that are not honoured yet, each with why."""

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
