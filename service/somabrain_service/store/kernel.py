"""Import of the native kernel, a separate package, which may be missing."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed() -> bool:
    """Return whether this Python has the kernel; without it there is no search index, and PostgreSQL searches."""
    return find_spec("somabrain_kernel") is not None
