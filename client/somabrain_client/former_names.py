"""The names that the client had in 0.1: each still works, with a DeprecationWarning, until 0.3."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Final

ACCEPTED_UNTIL: Final = "0.3"
"""The first version without them."""

EXPORTS: Final[Mapping[str, str]] = {
    "UNCHANGED": "UNSET",
    "Answer": "RecallResult",
    "Draft": "MemoryDraft",
    "Exported": "ExportedMemory",
    "Kind": "MemoryKind",
    "Unchanged": "Unset",
}
"""The present name of each, by its former one, in `somabrain_client`."""

ERRORS: Final[Mapping[str, str]] = {"Explanation": "ErrorDetails"}
"""The same in `somabrain_client.errors`."""


def former_names(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's `__getattr__` (PEP 562) that resolves former names to present ones, with a warning."""

    def find(name: str) -> object:
        present = names.get(name)
        if present is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn(f"{module}.{name}", f"{module}.{present}", stacklevel=3)
        value: object = getattr(importlib.import_module(module), present)
        return value

    return find


def warn(former: str, present: str, *, stacklevel: int) -> None:
    """Warn the caller, `stacklevel` frames up, that a name has changed."""
    message = f"{former} is called {present} now; the former name goes in {ACCEPTED_UNTIL}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
