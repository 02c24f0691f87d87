"""Check of an etag (AIP-154)."""

from __future__ import annotations

from typing import Literal

from common.errors import Aborted

ABSENT = "absent"
"""Etag of a memory that does not exist, for an update that only creates; no etag of the service has letters past f."""


def check_etag(etag: str, current: str, resource: Literal["memory", "namespace"]) -> None:
    """Check that a client changes what it has read; an empty `etag` always passes.

    Raises:
        Aborted: `etag` is not the current one.
    """
    if etag and etag != current:
        raise Aborted(f"etag: is not the current one; read the {resource} again and retry with its etag.")
